//! How fast something is read that nobody waits for.

use std::time::Duration;

/// So many bytes a second at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace(u64);

impl Pace {
    /// So many bytes a second, and at least one.
    pub(crate) fn new(rate: u64) -> Self {
        Self(rate.max(1))
    }

    /// How long so many bytes are to take at least.
    pub(crate) fn time_for(self, bytes: u64) -> Duration {
        Duration::try_from_secs_f64(bytes as f64 / self.0 as f64).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time() {
        assert_eq!(Pace::new(20_000_000).time_for(5_000_000), Duration::from_millis(250));
        assert_eq!(Pace::new(0).time_for(2), Duration::from_secs(2));
        assert_eq!(Pace::new(1).time_for(0), Duration::ZERO);
        assert!(Pace::new(1).time_for(u64::MAX) > Duration::from_secs(1 << 60));
    }
}
