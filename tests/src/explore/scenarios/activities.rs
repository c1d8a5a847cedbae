//! Scenarios of what is kept of what happened, for an hour or as many as two.

use orlop_core::Config;

use super::{LAYER, amd64, arm64, stocked};
use crate::explore::sample::{delete, digest, get, mount, push};
use crate::explore::scenario::{Call, HOUR, Scenario};

/// What happens is kept for a while.
pub fn activities() -> Vec<Scenario> {
    let kept = || Config { activity_lifetime: HOUR, ..Config::default() };
    let (amd64, arm64) = (amd64(), arm64());
    let told = |name: &str, config: Config| stocked(Scenario::new(name, config)).given(&push("a", "v1", &amd64));
    let old = |name: &str| told(name, kept()).given(&push("a", "v2", &amd64)).later(HOUR * 2);
    vec![
        told("push manifest × pull, with activity", kept()).at_once([push("a", "v1", &arm64), get("a", "v1")]),
        old("push manifest × forget what happened").at_once([push("a", "v1", &arm64), Call::Prune]),
        old("delete by digest × forget what happened").at_once([delete("a", digest(&amd64)), Call::Prune]),
        old("mount × forget what happened").at_once([mount("b", LAYER, "a"), Call::Prune]),
        old("gc × forget what happened").later(HOUR * 24).at_once([Call::Gc, Call::Prune]),
        old("forget what happened, twice").at_once([Call::Prune, Call::Prune]),
        told("push manifest × forget what happened lately", kept()).at_once([push("a", "v2", &arm64), Call::Prune]),
        told("push manifest × keep two of what happened", Config { activities: 2, ..kept() })
            .given(&push("a", "v2", &amd64))
            .given(&push("a", "v3", &amd64))
            .at_once([push("a", "v4", &arm64), Call::Prune]),
        old("forget what happened, by two clocks").with_other(kept()).at_once([push("a", "v2", &arm64), Call::Prune]),
    ]
}
