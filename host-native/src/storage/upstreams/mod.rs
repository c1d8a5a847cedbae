//! The registries that mirrors stand in front of: what the core asks of them, performed.
//!
//! Small things are [inquired](inquire) once for all who ask at the same time. A blob is [fetched](fetch) by one
//! [flight](flight), a task of its own, into an object; all who want the blob [follow](following) it by reading the file
//! that is being written. What is not to be kept is [relayed](relay).

mod absent;
mod fetch;
mod flight;
mod following;
mod inquire;
mod relay;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orlop_core::mirror::{Unmet, UpstreamName};
use tokio::time::timeout;

use self::absent::Absences;
pub(super) use self::fetch::{Begun, Fetcher};
pub(super) use self::flight::{Flight, Flights};
pub(crate) use self::following::Following;
use self::inquire::Inquiries;
pub(crate) use self::relay::Relaying;
use crate::remote::{Answer, Failure, Get, Remote};
use crate::settings::RemoteSetting;
use crate::storage::counters::{Asked, UpstreamCounters};

/// How long an answer may take to begin, with what has to be asked for it elsewhere. Clients wait no longer for what is
/// here already.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same for an upstream that has failed the last time.
const LITTLE_PATIENCE: Duration = Duration::from_secs(3);

/// The upstreams of the settings, by their names.
#[derive(Default)]
pub struct Upstreams(BTreeMap<UpstreamName, Arc<Upstream>>);

/// Another registry, with what is known of it.
pub(super) struct Upstream {
    name: UpstreamName,
    setting: RemoteSetting,
    remote: Remote,
    inquiries: Inquiries,
    absences: Absences,
    /// Whether it has failed when it was asked last.
    failing: AtomicBool,
}

impl Upstreams {
    /// Those of the settings. One that was there `before`, with the same settings, stays what it is, with its connections
    /// and its pause.
    ///
    /// # Errors
    ///
    /// When a file that is named cannot be used.
    pub fn open(settings: BTreeMap<UpstreamName, RemoteSetting>, before: &Self) -> Result<Self, String> {
        let open = |(name, setting): (UpstreamName, RemoteSetting)| {
            let known = before.0.get(&name).filter(|known| known.setting == setting);
            let upstream = match known {
                Some(known) => known.clone(),
                None => Arc::new(Upstream::open(name.clone(), setting)?),
            };
            Ok((name, upstream))
        };
        settings.into_iter().map(open).collect::<Result<_, String>>().map(Self)
    }

    /// Goes on looking at the files that have passwords.
    pub(crate) fn watch(&self) {
        self.0.values().for_each(|upstream| upstream.remote.watch());
    }

    /// The upstream of that name.
    pub(super) fn get(&self, name: &UpstreamName) -> Result<&Arc<Upstream>, Unmet> {
        let gone = || Unmet::Failed(format!("{} is an upstream of no mirror any more", name.as_str()));
        self.0.get(name).ok_or_else(gone)
    }
}

impl Upstream {
    fn open(name: UpstreamName, setting: RemoteSetting) -> Result<Self, String> {
        let remote = Remote::open(&setting)?;
        let (inquiries, absences) = (Inquiries::default(), Absences::default());
        Ok(Self { name, setting, remote, inquiries, absences, failing: AtomicBool::new(false) })
    }

    /// Asks it, unless it has said a moment ago that it does not have that.
    async fn ask(&self, asked: Get<'_>, counters: &UpstreamCounters) -> Result<Answer, Failure> {
        let place = format!("{}/{}", asked.repository, asked.resource);
        if self.absences.has(&place) {
            return Err(Failure::Absent);
        }
        let patience = if self.failing.load(Ordering::Relaxed) { LITTLE_PATIENCE } else { PATIENCE };
        let came = timeout(patience, self.remote.get(asked)).await.unwrap_or_else(|_| {
            let (name, seconds) = (self.name.as_str(), patience.as_secs());
            Err(Failure::Unreachable(format!("{name} does not answer within {seconds} s")))
        });
        if matches!(came, Err(Failure::Absent)) {
            self.absences.add(place);
        }
        self.note(came.as_ref().err(), counters);
        came
    }

    /// Counts an answer. That an upstream begins to fail is logged, and that it works again, and nothing in between.
    fn note(&self, failure: Option<&Failure>, counters: &UpstreamCounters) {
        let result = match failure {
            None => "done",
            Some(Failure::Absent) => "absent",
            Some(Failure::Denied(_)) => "denied",
            Some(Failure::Paused(_)) => "paused",
            Some(Failure::LoginRefused(_) | Failure::Unreachable(_) | Failure::Unusable(_)) => "failed",
        };
        let upstream = self.name.as_str();
        counters.requests.get_or_create(&Asked { upstream: upstream.into(), result }).inc();
        let failed = failure.filter(|_| matches!(result, "paused" | "failed"));
        match (failed, self.failing.swap(failed.is_some(), Ordering::Relaxed)) {
            (Some(failure), false) => tracing::warn!(upstream, "an upstream fails: {failure}"),
            (None, true) => tracing::info!(upstream, "an upstream works again"),
            _ => {}
        }
    }
}

/// Why an upstream has not given what it was asked for, as the core takes it.
fn unmet(failure: Failure) -> Unmet {
    match failure {
        Failure::Absent => Unmet::Absent,
        Failure::Denied(_) => Unmet::Denied,
        Failure::Paused(left) => Unmet::Paused(left),
        Failure::LoginRefused(reason) | Failure::Unreachable(reason) | Failure::Unusable(reason) => {
            Unmet::Failed(reason)
        }
    }
}
