//! What the log lets through.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// The parts that the log can be set for. `access` and `audit` are logs of their own; the others are the rooms of the
/// program.
const PARTS: [&str; 9] = ["access", "audit", "auth", "command", "observe", "request", "server", "settings", "storage"];

const LEVELS: [(&str, LevelFilter); 6] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
    ("off", LevelFilter::OFF),
];

/// Reads a filter such as `warn,orlop::audit=info`: a level for everything, which is `info` unless it is given, and
/// levels for parts.
pub(super) fn filter(text: &str) -> Result<Targets, String> {
    let mut filter = Targets::new().with_default(LevelFilter::INFO);
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        filter = match word.split_once('=') {
            Some((part, name)) => filter.with_target(known(part.trim())?, level(name.trim())?),
            None => filter.with_default(level(word)?),
        };
    }
    Ok(filter)
}

fn level(name: &str) -> Result<LevelFilter, String> {
    let found = LEVELS.iter().find(|(level, _)| level.eq_ignore_ascii_case(name));
    found.map(|(_, level)| *level).ok_or_else(|| {
        format!(
            "`{name}` is not a level; write error, warn, info, debug, trace or off, and for a part of the program \
             PART=LEVEL, such as info,orlop::access=off"
        )
    })
}

/// The name of a part. Those of libraries are not known here.
fn known(part: &str) -> Result<&str, String> {
    let of_orlop = part.strip_prefix("orlop::").map(|rest| rest.split("::").next().unwrap_or(rest));
    match of_orlop {
        Some(name) if !PARTS.contains(&name) => {
            Err(format!("there is no part `{part}`; there are: orlop::{}", PARTS.join(", orlop::")))
        }
        _ if part.is_empty() => Err("a part needs a name, such as orlop::access=off".into()),
        _ => Ok(part),
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_part_leaves_the_rest_at_info() {
        let filter = filter("orlop::access=off").unwrap();
        assert!(filter.would_enable("orlop::request", &Level::INFO));
        assert!(!filter.would_enable("orlop::request", &Level::DEBUG));
        assert!(!filter.would_enable("orlop::access", &Level::ERROR));
    }

    #[test]
    fn levels_are_for_everything_or_for_a_part() {
        let filter = filter("warn, orlop::audit=info").unwrap();
        assert!(!filter.would_enable("orlop::server", &Level::INFO));
        assert!(filter.would_enable("orlop::server", &Level::ERROR));
        assert!(filter.would_enable("orlop::audit", &Level::INFO));
    }

    #[test]
    fn what_would_silence_the_log_by_mistake_is_refused() {
        for (text, expected) in [
            ("verbose", "`verbose` is not a level; write error, warn"),
            ("orlop::access", "`orlop::access` is not a level"),
            ("orlop::access=none", "`none` is not a level"),
            ("orlop::acess=off", "there is no part `orlop::acess`; there are: orlop::access"),
            ("=off", "a part needs a name"),
        ] {
            let told = filter(text).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
