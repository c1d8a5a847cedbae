//! The log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{Layer, Registry};

use crate::settings::LogFormat;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

/// A log that runs.
pub struct Log(Handle<Targets, Registry>);

impl Log {
    /// Lets other lines through from now on.
    pub fn set(&self, filter: Targets) {
        let _ = self.0.reload(filter);
    }
}

/// Starts the log with what `filter` lets through, in the format asked for. In colour if a person looks on and `NO_COLOR` is not set.
pub fn start(filter: Targets, format: LogFormat) -> Log {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(colour).with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let (filter, handle) = reload::Layer::new(filter);
    // A second log in one process is a test's affair.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Log(handle)
}
