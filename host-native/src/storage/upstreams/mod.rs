//! The registries that mirrors stand in front of: what the core asks of them, performed.
//!
//! Small things are [inquired](inquire) once for all who ask at the same time. A blob is [fetched](fetch) by one
//! [flight](flight), a task of its own, into an object; all who want the blob [follow](following) it by reading the file
//! that is being written. What is not to be kept is [relayed](relay).

mod fetch;
mod flight;
mod flights;
mod following;
mod inquire;
mod relay;
mod remembered;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use orlop_core::http;
use orlop_core::mirror::{As, Source, Unmet, UpstreamName, Wanted};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub(super) use self::fetch::{Begun, Fetcher};
pub(super) use self::flight::Flight;
pub(super) use self::flights::Flights;
pub(crate) use self::following::Following;
use self::inquire::Inquiries;
pub(super) use self::inquire::Taken;
pub(crate) use self::relay::Relaying;
use self::remembered::Remembered;
use crate::remote::{Answer, Failure, Get, Login, Remote, Seen, Slice};
use crate::settings::RemoteSetting;
use crate::storage::body::UNIT;
use crate::storage::counters::{Asked, UpstreamCounters};

/// How long the bytes of a blob may take to begin to come.
const BEGINNING: Duration = Duration::from_secs(30);

/// How many bytes the answers may have together that are in memory as a whole: manifests and lists. Sixteen of the largest.
const ANSWERS: usize = 64 << 20;

/// How many of these bytes the answers of one upstream may have: one that is slow holds up no other.
const ANSWERS_OF_ONE: usize = ANSWERS / 4;

/// The upstreams of the settings, by their names.
pub struct Upstreams {
    named: BTreeMap<UpstreamName, Arc<Upstream>>,
    /// What all of them have of [`ANSWERS`], in units of [`UNIT`] bytes.
    room: Arc<Semaphore>,
}

impl Default for Upstreams {
    fn default() -> Self {
        Self { named: BTreeMap::new(), room: Arc::new(Semaphore::new(ANSWERS / UNIT)) }
    }
}

/// Another registry, with what is known of it.
pub(super) struct Upstream {
    name: UpstreamName,
    setting: RemoteSetting,
    remote: Remote,
    inquiries: Inquiries,
    remembered: Remembered,
    /// What all upstreams have.
    room: Arc<Semaphore>,
    /// What this one has of [`ANSWERS_OF_ONE`].
    own_room: Arc<Semaphore>,
    /// Whether there was no memory for its last answer.
    crowded: AtomicBool,
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
            let known = before.named.get(&name).filter(|known| known.setting == setting);
            let upstream = match known {
                Some(known) => known.clone(),
                None => Arc::new(Upstream::open(name.clone(), setting, &before.room)?),
            };
            Ok((name, upstream))
        };
        let named = settings.into_iter().map(open).collect::<Result<_, String>>()?;
        Ok(Self { named, room: before.room.clone() })
    }

    /// Goes on looking at the files that have passwords.
    pub(crate) fn watch(&self) {
        self.named.values().for_each(|upstream| upstream.remote.watch());
    }

    /// The upstream of that name.
    pub(super) fn get(&self, name: &UpstreamName) -> Result<&Arc<Upstream>, Unmet> {
        let gone = || Unmet::Failed(format!("{} is an upstream of no mirror any more", name.as_str()));
        self.named.get(name).ok_or_else(gone)
    }
}

impl Upstream {
    fn open(name: UpstreamName, setting: RemoteSetting, room: &Arc<Semaphore>) -> Result<Self, String> {
        let (remote, remembered) = (Remote::open(&setting)?, Remembered::new()?);
        Ok(Self {
            name,
            setting,
            remote,
            inquiries: Inquiries::default(),
            remembered,
            room: room.clone(),
            own_room: Arc::new(Semaphore::new(ANSWERS_OF_ONE / UNIT)),
            crowded: AtomicBool::new(false),
            failing: AtomicBool::new(false),
        })
    }

    /// Whether it has failed when it was asked last.
    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Asks it. Its answer has to begin within `patience`.
    async fn ask(&self, asked: Get<'_>, patience: Duration, counters: &UpstreamCounters) -> Result<Answer, Failure> {
        let of_caller = asked.login.is_some();
        let (name, answers) = (self.name.clone(), counters.clone());
        let seen: Seen = Arc::new(move |status| answers.answered(name.as_str(), status.map(|status| status.as_u16())));
        let asking = self.remote.get(Get { seen: Some(seen.clone()), ..asked });
        let came = timeout(patience, asking).await.unwrap_or_else(|_| {
            seen(None);
            Err(Failure::Unreachable(self.late(patience)))
        });
        // That the login of a caller is wrong is no failure of the upstream.
        let came = came.map_err(|failure| match failure {
            Failure::LoginRefused(reason) if of_caller => Failure::Denied(reason),
            other => other,
        });
        self.note(came.as_ref().err(), counters);
        came
    }

    /// Asks for a blob, or some bytes of it.
    async fn ask_for_blob(
        &self,
        source: &Source,
        range: Option<Slice>,
        counters: &UpstreamCounters,
    ) -> Result<Answer, Failure> {
        let Source { repository, login: whose, via, .. } = source;
        let wanted = blob(http::Method::Get, source);
        if let Some(Err(Unmet::Absent)) = self.remembered.get(&wanted) {
            return Err(Failure::Absent);
        }
        let asked = Get {
            repository: repository.as_str(),
            resource: &wanted.resource,
            range,
            via: Some(via),
            login: login(whose),
            ..Get::default()
        };
        let came = self.ask(asked, BEGINNING, counters).await;
        if matches!(came, Err(Failure::Absent)) {
            self.remembered.add(&wanted, Err(&Unmet::Absent));
        }
        came
    }

    fn late(&self, patience: Duration) -> String {
        format!("{} does not answer within {} seconds", self.name.as_str(), patience.as_secs())
    }

    /// Counts an answer. That an upstream begins to fail is logged, and that it works again, and nothing in between.
    fn note(&self, failure: Option<&Failure>, counters: &UpstreamCounters) {
        let result = match failure {
            None => "done",
            Some(Failure::Absent) => "absent",
            Some(Failure::Denied(_)) => "denied",
            Some(Failure::Paused(_)) => "paused",
            Some(_) => "failed",
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

/// A blob, as it is asked for.
fn blob(method: http::Method, source: &Source) -> Wanted {
    let Source { upstream, repository, digest, login, via } = source.clone();
    Wanted { upstream, method, repository, resource: format!("blobs/{digest}"), accept: Vec::new(), login, via }
}

/// The login of a caller, as it is sent on. One that cannot be read is none. The mirror's own is known to what sends it;
/// where callers are asked for theirs, there is none (see the settings).
fn login(whose: &As) -> Option<Login> {
    let As::Caller(Some(login)) = whose else { return None };
    let (scheme, rest) = login.authorization().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Login::Bearer(rest.trim().to_owned()));
    }
    let basic = BASE64_STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (username, password) = std::str::from_utf8(&basic).ok()?.split_once(':')?;
    Some(Login::Basic { username: username.to_owned(), password: password.to_owned() })
}

/// Why an upstream has not given what it was asked for, as the core takes it.
fn unmet(failure: Failure) -> Unmet {
    match failure {
        Failure::Absent => Unmet::Absent,
        Failure::Denied(_) => Unmet::Denied,
        Failure::Paused(left) => Unmet::Paused(left),
        Failure::LoginRefused(reason)
        | Failure::Unreachable(reason)
        | Failure::Unusable(reason)
        | Failure::Damaged(reason) => Unmet::Failed(reason),
    }
}
