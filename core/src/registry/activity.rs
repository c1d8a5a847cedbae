//! What happened, for whoever looks it up.

use alloc::sync::Arc;

use super::Registry;
use crate::effect::{Fault, Step};
use crate::event::{Activity, Looked};
use crate::flows::{Call, fault};
use crate::step::start;
use crate::{Ambient, Caller};

impl Registry {
    /// Whether it is kept what happens.
    pub fn keeps_activity(&self) -> bool {
        !self.config.activity_lifetime.is_zero()
    }

    /// Begins to look up what happened in the repositories from which somebody may pull. It reads some thousand records at
    /// most; a page may be short, or empty, though there are more.
    pub fn activity(&self, caller: Arc<Caller>, looked: Looked, ambient: Ambient) -> Step<Result<Activity, Fault>> {
        let config = self.config.clone();
        start(|io| async move {
            let call = Call { io, config, ambient, caller };
            call.activity(&looked).await.map_err(fault)
        })
    }

    /// Begins to forget what happened too long ago, and of more than are to be kept the oldest: how many. Hosts do it
    /// regularly, one of them at a time.
    pub fn prune_activity(&self, ambient: Ambient) -> Step<Result<u64, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).prune_activity().await.map_err(fault) })
    }
}
