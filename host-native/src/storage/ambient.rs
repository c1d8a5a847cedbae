//! What a call cannot know by itself: the time, and a name for what it makes.

use std::time::SystemTime;

use orlop_core::{Ambient, Timestamp};
use uuid::Uuid;

/// What a call cannot know by itself.
pub(crate) fn ambient() -> Ambient {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ambient { now: Timestamp(now.as_millis().try_into().unwrap_or(u64::MAX)), nonce: Uuid::new_v4() }
}
