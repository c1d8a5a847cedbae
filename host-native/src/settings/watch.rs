//! What is told of the server, and to whom.

use clap::{Args, ValueEnum};

use super::WebhookSetting;

/// What is told of the server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What is told of the server")]
pub struct Watch {
    /// Where to serve /metrics, /livez and /readyz, for administrators alone
    #[arg(long, env = "ORLOP_ADMIN_ADDR", value_name = "HOST:PORT")]
    pub admin_addr: Option<String>,

    /// Where to send traces: one span a request, by OTLP over HTTP to an OpenTelemetry collector
    ///
    /// Such as http://127.0.0.1:4318/v1/traces. Header fields for the collector stand in OTEL_EXPORTER_OTLP_HEADERS, as
    /// NAME=VALUE,… `traceparent` is believed of trusted proxies alone.
    #[arg(long, env = "ORLOP_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// How lines of the log are written
    #[arg(long, env = "ORLOP_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Whom to tell of pushes, pulls and deletes, as a table of TOML (repeatable)
    ///
    /// { name = "ci", url = "https://…", events = ["push"], repositories = ["**"], format = "cloudevents" }; the format
    /// may be distribution. With secret-file = "…" each request is signed by HMAC-SHA256.
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
