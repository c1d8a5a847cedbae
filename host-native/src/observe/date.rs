//! Times in reports, as people and programs read them.

use orlop_core::Timestamp;

/// A time in the form of RFC 3339, in seconds and UTC. One beyond the year 9999 is its last second.
pub fn rfc3339(time: Timestamp) -> String {
    time.rfc3339()
}

/// The same of a time in seconds since 1970.
pub fn rfc3339_seconds(seconds: u64) -> String {
    Timestamp(seconds.saturating_mul(1000)).rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_form() {
        assert_eq!(rfc3339(Timestamp(1_800_000_000_999)), "2027-01-15T08:00:00Z");
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00Z");
        for seconds in [253_402_300_799, 253_402_300_800, u64::MAX / 1000, u64::MAX] {
            assert_eq!(rfc3339_seconds(seconds), "9999-12-31T23:59:59Z");
        }
        assert_eq!(rfc3339(Timestamp(u64::MAX)), "9999-12-31T23:59:59Z");
    }
}
