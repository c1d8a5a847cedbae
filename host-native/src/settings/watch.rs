//! Metrics, traces, the form of the log, webhooks.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::WebhookSetting;
use super::number::dated_time;

/// Metrics, traces, the form of the log, webhooks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Monitoring")]
pub struct Watch {
    /// The address of /metrics, /livez and /readyz, which ask for no login
    #[arg(long, env = "ORLOP_ADMIN_ADDR", value_name = "HOST:PORT")]
    pub admin_addr: Option<String>,

    /// The OpenTelemetry collector to send a span of each request to, by OTLP over HTTP
    ///
    /// For example http://127.0.0.1:4318/v1/traces. OTEL_EXPORTER_OTLP_HEADERS=NAME=VALUE,… sets header fields for the
    /// collector. `traceparent` is accepted only from trusted proxies.
    #[arg(long, env = "ORLOP_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// The format of the log
    #[arg(long, env = "ORLOP_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// How long it is kept what happened: pushes, deletes, what is damaged, quotas that are exceeded; 100y at most, 0 keeps
    /// nothing
    ///
    /// The console, the API and `orlop activity` show it. Pulls are not kept. Of more than 100,000 the oldest go first.
    #[arg(long, env = "ORLOP_ACTIVITY_LIFETIME", default_value = "30d", value_name = "TIME", value_parser = dated_time)]
    pub(crate) activity_lifetime: Duration,

    /// A webhook for pushes, pulls and deletes, as a table of TOML (repeatable)
    ///
    /// { name = "ci", url = "https://…", events = ["push"], repositories = ["**"], format = "cloudevents" }; the format
    /// may be distribution, and the event "quota" tells of soft limits that are exceeded. With secret-file = "…" each request is signed with HMAC-SHA256.
    #[arg(long = "webhook", env = "ORLOP_WEBHOOK", value_name = "TABLE", value_delimiter = '\n')]
    pub webhook: Vec<WebhookSetting>,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}
