//! Numbers with and without a unit, as people write them.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de};

/// A size: bytes, or a number with a unit.
pub(super) fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "write a number with a unit, such as 64MiB or 10GB".into())
}

/// A size in a table of TOML, which may be a plain number of bytes.
pub(super) fn size_in_table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Bytes(u64),
        Text(String),
    }
    match Written::deserialize(deserializer) {
        Ok(Written::Bytes(bytes)) => Ok(ByteSize::b(bytes)),
        Ok(Written::Text(text)) => {
            size(&text).map_err(|reason| de::Error::custom(format!("`{text}` is not a size: {reason}")))
        }
        Err(_) => Err(de::Error::custom("a size is a number of bytes, or text such as \"10GiB\"")),
    }
}

/// The same, where it may be left out.
pub(super) fn optional_size_in_table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    size_in_table(deserializer).map(Some)
}

/// A time with a unit; 0 needs none.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 90s, 6h or 7d"))
}

/// A time of a hundred years at most, so that what lies so far ahead has a date.
pub(super) fn dated_time(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(100 * 31_557_600);
    match time(text)? {
        longer if longer > LONGEST => Err("100y is the longest; 0 is none".into()),
        time => Ok(time),
    }
}

/// A time after which something goes, or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime(pub(super) Option<Duration>);

pub(super) fn lifetime(text: &str) -> Result<Lifetime, String> {
    match text {
        "never" => Ok(Lifetime(None)),
        text => time(text).map(|time| Lifetime(Some(time))).map_err(|reason| format!("{reason}, or never")),
    }
}

/// How many.
pub(super) fn count(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("write a number from 1 on: 0 would serve no client".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("write a whole number, such as 512".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_or_it_is_said_how_to_write_them() {
        assert_eq!(size("64MiB").unwrap(), ByteSize::mib(64));
        assert_eq!(size("64").unwrap(), ByteSize::b(64));
        assert!(size("64 megabytes").unwrap_err().contains("such as 64MiB"));
        assert_eq!(time("0").unwrap(), Duration::ZERO);
        assert!(time("3").unwrap_err().contains("90s, 6h or 7d"));
        assert_eq!(dated_time("100y").unwrap(), time("100y").unwrap());
        assert!(dated_time("101y").unwrap_err().contains("100y is the longest"));
        assert_eq!(lifetime("never").unwrap(), Lifetime(None));
        assert_eq!(lifetime("1d").unwrap(), Lifetime(Some(Duration::from_secs(86_400))));
        assert!(lifetime("for ever").unwrap_err().ends_with("or never"));
        assert!(count("many").unwrap_err().contains("whole number"));
        assert!(count("0").is_err());
    }
}
