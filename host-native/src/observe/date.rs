//! Times in reports, as people and programs read them.

use std::time::{Duration, UNIX_EPOCH};

use orlop_core::Timestamp;

/// The last second that RFC 3339 has a form for: that of the year 9999.
const LAST: u64 = 253_402_300_799;

/// A time in the form of RFC 3339, in seconds and UTC. One beyond the year 9999 is its last second.
pub fn rfc3339(time: Timestamp) -> String {
    rfc3339_seconds(time.0 / 1000)
}

/// The same of a time in seconds since 1970.
pub fn rfc3339_seconds(seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_form() {
        assert_eq!(rfc3339(Timestamp(1_800_000_000_999)), "2027-01-15T08:00:00Z");
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00Z");
        for seconds in [LAST, LAST + 1, u64::MAX / 1000, u64::MAX] {
            assert_eq!(rfc3339_seconds(seconds), "9999-12-31T23:59:59Z");
        }
        assert_eq!(rfc3339(Timestamp(u64::MAX)), "9999-12-31T23:59:59Z");
    }
}
