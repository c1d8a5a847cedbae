//! The stall rule: what keeps the bytes of a call from garbage collection until a record names them.
//!
//! Garbage collection removes objects that no record names once they are older than any call can live
//! ([`Config::call_lifetime`](crate::Config::call_lifetime)). A call that was held up for so long, by a suspended
//! machine or a disk that hung, could name an object that is gone. So a host makes no commit of a call when more than
//! half of that time has passed since the call's first object was complete; the other half is for the commit itself.
//!
//! Every host keeps the rule with this type, one for each call.

use alloc::format;
use core::time::Duration;

use crate::effect::Fault;

/// Since when a call has objects that no record names yet.
///
/// Times are what some clock of the host shows that never goes back, in whatever way it counts.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    since: Option<Duration>,
    most: Duration,
}

impl Stall {
    /// The rule for a call that begins. All hosts of one storage must agree on `call_lifetime`.
    pub fn new(call_lifetime: Duration) -> Self {
        Self { since: None, most: call_lifetime / 2 }
    }

    /// An object of the call is complete.
    pub fn made(&mut self, now: Duration) {
        self.since.get_or_insert(now);
    }

    /// Whether the call may still commit.
    ///
    /// # Errors
    ///
    /// When it was held up for too long.
    pub fn check(&self, now: Duration) -> Result<(), Fault> {
        let passed = self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        if passed <= self.most {
            return Ok(());
        }
        let most = self.most;
        Err(Fault::Failed(format!(
            "the call was held up for {passed:?} after it had received its body, more than the {most:?} in which its \
             bytes are safe from garbage collection"
        )))
    }
}
