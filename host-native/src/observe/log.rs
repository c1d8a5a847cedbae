//! The log, on standard error.

use std::io::{self, IsTerminal, Write};

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
    let escape = match format {
        LogFormat::Text => |c| format!("\\u{{{:x}}}", u32::from(c)),
        LogFormat::Json => |c| format!("\\u{:04x}", u32::from(c)),
    };
    // When nobody reads the log any more, that cannot be told either.
    let lines = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_writer(move || Plain { out: io::stderr(), escape });
    let lines = match format {
        LogFormat::Text => lines.with_ansi(colour).with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let (filter, handle) = reload::Layer::new(filter);
    // A second log in one process is a test's affair.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Log(handle)
}

/// Writes lines without what could make them look on a terminal like something else than they are: controls of C1, and
/// characters that change the direction of text or end a line of their own. Those of C0 are escaped where a line is made.
struct Plain<W> {
    out: W,
    escape: fn(char) -> String,
}

fn misleads(c: char) -> bool {
    matches!(
        c,
        '\u{80}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line).map(|()| line.len())
    }

    /// A line comes as a whole.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let text = match std::str::from_utf8(line) {
            Ok(text) if text.contains(misleads) => text,
            _ => return self.out.write_all(line),
        };
        let mut plain = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if misleads(c) { plain += &(self.escape)(c) } else { plain.push(c) }
        }
        self.out.write_all(plain.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
