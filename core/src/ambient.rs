//! What a call cannot know by itself: the time, and a number that nobody else has.

use alloc::format;
use alloc::string::String;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the host gives to each call of its surroundings: the core has no clock and no source of randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambient {
    /// The time.
    pub now: Timestamp,
    /// A fresh random UUID (version 4). All ids that the call makes come from it, so no two calls of any host on
    /// the same storage may ever get the same one, and nobody may be able to guess it: it names upload sessions.
    pub nonce: Uuid,
}

/// A point in time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// The last millisecond that RFC 3339 has a form for: that of the year 9999.
const LAST: u64 = 253_402_300_799_999;

impl Timestamp {
    /// The time in the form of RFC 3339, in seconds and UTC, such as `2027-01-15T08:00:00Z`. One beyond the year 9999 is its
    /// last second.
    pub fn rfc3339(self) -> String {
        let seconds = self.0.min(LAST) / 1000;
        let (day, second) = (seconds / 86_400, seconds % 86_400);
        // The years are counted from March on, so that the day that a leap year has more is its last one. An era has 400
        // years, always 146,097 days; 1970 began 719,468 days after the first.
        let since = day + 719_468;
        let (era, of_era) = (since / 146_097, since % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let date = of_year - (153 * month + 2) / 5 + 1;
        let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
        let (hour, minute) = (second / 3600, second / 60 % 60);
        format!("{:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{:02}Z", era * 400 + year, second % 60)
    }

    /// The time that much later.
    #[must_use]
    pub fn after(self, time: core::time::Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; nothing when the clock went back.
    pub fn since(self, earlier: Self) -> core::time::Duration {
        core::time::Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_form() {
        let day = 86_400_000;
        for (time, form) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_800_000_000_999, "2027-01-15T08:00:00Z"),
            (58 * day, "1970-02-28T00:00:00Z"),
            (59 * day, "1970-03-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_799_000, "2000-02-29T23:59:59Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp(time).rfc3339(), form);
        }
    }
}
