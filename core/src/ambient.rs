//! What a call cannot know by itself: the time, and a number that nobody else has.

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

impl Timestamp {
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
