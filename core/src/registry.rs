//! The registry: where calls begin.

mod activity;
#[cfg(feature = "api")]
mod identity;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use uuid::Uuid;

use crate::asked::Asked;
use crate::digest::Digest;
use crate::effect::{Fault, Step, Value};
use crate::error::{Error, stamped};
use crate::event::Queued;
pub use crate::flows::check::{CheckReport, Finding, Located, Part};
pub use crate::flows::contents::Loose;
pub use crate::flows::damaged::{Damage, DamagedPage, NeededBy};
pub use crate::flows::gather::Gathering;
pub use crate::flows::gc::Report;
pub use crate::flows::import::{Family, Holdings};
pub use crate::flows::lease::{Acquired, Claim, Job, Lease};
pub use crate::flows::meta::{Agreement, Disagreement};
pub use crate::flows::mirror::{Eviction, LetGo, Mirrored};
pub use crate::flows::purge::{Purged, Remaining};
pub use crate::flows::quarantine::Suspected;
use crate::flows::retention::BY;
pub use crate::flows::retention::{Retained, RetentionReport};
pub use crate::flows::scrub::{ScrubTotal, Scrubbed};
pub use crate::flows::transfer::{Arrival, Departure, Immovable, Named, Run, named};
pub use crate::flows::undelete::{Deleted, DeletedPage, Refused, Undeleted, Undeleting};
pub use crate::flows::usage::{Census, Drift, QuotaUsage, Recount, RepositoryUsage, Usage};
use crate::flows::{Call, fault};
use crate::http::{Body, Method, PullCount, Request, Response};
use crate::keys::Key;
use crate::mirror::Fetching;
use crate::name::{Repository, Tag};
use crate::object::ObjectId;
use crate::protect::Mark;
use crate::record::{CensusRecord, ProtectMark, ScrubRecord, SessionKey};
use crate::retention::{Plan, Rule};
use crate::step::{Io, start};
use crate::takeover::{Held, Layer, LayersTaken, ManifestsTaken, Presence, Tagged, TagsTaken};
use crate::target::Reference;
use crate::{Ambient, Caller, Config};

/// The registry. It has no state: a replica needs nothing but the shared storage.
#[derive(Clone, Debug)]
pub struct Registry {
    config: Arc<Config>,
}

impl Registry {
    /// A registry with that configuration.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config) }
    }

    /// The same, called so in `Via` if it has another name there.
    #[must_use]
    pub fn called(self, via: Option<&str>) -> Self {
        match via {
            Some(via) => Self::new(Config { via: via.into(), ..Config::clone(&self.config) }),
            None => self,
        }
    }

    /// How it is configured.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Begins a call. Every request is answered; one that nobody understands, too.
    pub fn call(&self, request: Request, ambient: Ambient) -> Step {
        let asked = self.read(request, None);
        self.call_of(Arc::new(Caller::anybody()), Arc::new(asked), ambient)
    }

    /// Reads a request. `root` is the prefix of the mirror whose repositories the client sees at the root, by the address
    /// or the name of the host that it speaks to; `?ns=`, by which containerd says which registry it means, may name
    /// another one (SPEC V).
    pub fn read(&self, request: Request, root: Option<&str>) -> Asked {
        Asked::within(request, root, &self.config.mirrors)
    }

    /// Begins a call of somebody. A host has held [`access`](Asked::access) against the rights and refuses what it
    /// may tell by the request alone; the flows see to what only the records tell. What the caller may not pull or
    /// list is to it as if it were not there.
    pub fn call_of(&self, caller: Arc<Caller>, asked: Arc<Asked>, ambient: Ambient) -> Step {
        let config = self.config.clone();
        start(|io| async move {
            let call = Call { io, config, ambient, caller };
            let response = finish(asked.request.method, call.answer(&asked).await);
            // Flows write URLs from `/v2/` on; here alone they become what the client is to use.
            let response = asked.outward(response);
            let base = call.config.external_url.as_ref().or(asked.request.base.as_ref());
            match base {
                Some(base) => base.apply(response),
                None => response,
            }
        })
    }

    /// Begins to agree with the other hosts of the storage. A host makes this call when it starts, before any other, and
    /// does not start when it is refused. The first host writes what all others must agree on. `offered` becomes the
    /// session key if there is none yet; a host that signs no tokens offers none.
    pub fn agree(&self, offered: Option<SessionKey>, ambient: Ambient) -> Step<Result<Agreement, Disagreement>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).agree(offered).await })
    }

    /// Begins to acquire the lease of a job for a host, which `holder` names.
    pub fn acquire(&self, job: Job, holder: Uuid, claim: Claim, ambient: Ambient) -> Step<Result<Acquired, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).acquire(&job, holder, claim).await.map_err(fault) })
    }

    /// Begins to renew a lease. Nothing comes of it when another host has acquired it meanwhile: then the job is to end
    /// here.
    pub fn renew(&self, lease: Lease, ambient: Ambient) -> Step<Result<Option<Lease>, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).renew(lease).await.map_err(fault) })
    }

    /// Begins to give a lease back, so that another host need not wait for its end.
    pub fn release(&self, lease: Lease, ambient: Ambient) -> Step<Result<(), Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).release(lease).await.map_err(fault) })
    }

    /// Begins a garbage collection, a call like any other.
    pub fn gc(&self, ambient: Ambient) -> Step<Report> {
        let call = self.own(ambient);
        start(|io| async move { call(io).gc(false).await })
    }

    /// Begins to find out what a garbage collection would remove now, and why. It changes nothing.
    pub fn gc_dry_run(&self, ambient: Ambient) -> Step<Report> {
        let call = self.own(ambient);
        start(|io| async move { call(io).gc(true).await })
    }

    /// Whether blobs of several objects are to be [gathered](Self::gather).
    pub fn gathers(&self) -> bool {
        self.config.gathered.is_some()
    }

    /// Begins to make the next blob behind `after` one object, of those that [are to be](crate::config::Gathered). A host
    /// goes on with the key that it is told, until all are looked at.
    pub fn gather(&self, after: Option<Key>, ambient: Ambient) -> Step<Result<Gathering, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).gather(after).await.map_err(fault) })
    }

    /// Whether a repository belongs to a mirror, so that an answer may have to wait for an upstream.
    pub fn mirrors(&self, name: &Repository) -> bool {
        self.config.mirror_of(name).is_some()
    }

    /// Whether a mirror has a bound to its bytes.
    pub fn evicts(&self) -> bool {
        self.config.mirrors.iter().any(|mirror| mirror.max.is_some() && !mirror.offline)
    }

    /// Begins to take the blobs that were not pulled for longest out of mirrors that have more bytes than they may.
    pub fn evict(&self, ambient: Ambient) -> Step<Result<Eviction, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).evict().await.map_err(fault) })
    }

    /// Begins to list the tags that the upstream of a mirrored repository has.
    pub fn upstream_tags(&self, name: Repository, ambient: Ambient) -> Step<Result<Vec<Tag>, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).upstream_tags(&name).await })
    }

    /// Begins to bring a manifest and those that it lists into a mirrored repository. It results in the blobs that they
    /// need and that are not there yet, which are to be [fetched](Self::fetching).
    pub fn bring(&self, name: Repository, reference: Reference, ambient: Ambient) -> Step<Result<Vec<Digest>, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).bring_image(&name, &reference).await })
    }

    /// The fetch of a blob for a mirrored repository, which nobody has asked for.
    pub fn fetching(&self, name: Repository, digest: Digest) -> Fetching {
        Fetching::unasked(self.config.clone(), name, digest)
    }

    /// Begins to find out what the mirrors have.
    pub fn mirrored(&self, ambient: Ambient) -> Step<Result<Vec<Mirrored>, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).mirrored().await.map_err(fault) })
    }

    /// Begins to take something out of a mirrored repository, or all that it has. The upstream is asked for it again when a
    /// client wants it; so what was pushed, before this was a mirror, stays.
    pub fn let_go_of(
        &self,
        name: Repository,
        reference: Option<Reference>,
        ambient: Ambient,
    ) -> Step<Result<LetGo, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).let_go_of(&name, reference.as_ref()).await })
    }

    /// Whether a rule of retention is about a repository.
    pub fn retains(&self, name: &Repository) -> bool {
        self.config.retention.iter().any(|rule| rule.is_about(name))
    }

    /// The rules of retention.
    pub fn retention(&self) -> &[Rule] {
        &self.config.retention
    }

    /// Whether garbage collection removes manifests that no tag and no index names, once they are old enough.
    pub fn removes_untagged(&self) -> bool {
        self.config.untagged_lifetime.is_some()
    }

    /// Begins to list the repositories behind `after`, some hundred; none is the end.
    pub fn repositories(&self, after: Option<Repository>, ambient: Ambient) -> Step<Result<Vec<Repository>, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).repositories(after.as_ref()).await.map_err(fault) })
    }

    /// Begins to look whether there is a repository.
    pub fn has_repository(&self, name: Repository, ambient: Ambient) -> Step<Result<bool, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).has_repository(&name).await.map_err(fault) })
    }

    /// Begins to find out what a run of [retention](crate::retention) would do in a repository. It commits nothing.
    pub fn plan_retention(&self, name: Repository, ambient: Ambient) -> Step<Result<Plan, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).plan_retention(&name).await.map_err(fault) })
    }

    /// Begins to do what the rules of [retention](crate::retention) say in a repository. `plan` is the one that was agreed
    /// to: nothing is done when it is another one now. What needs approval is done when it is `approved`.
    pub fn apply_retention(
        &self,
        name: Repository,
        plan: Option<String>,
        approved: bool,
        ambient: Ambient,
    ) -> Step<Result<Retained, Fault>> {
        let config = self.config.clone();
        let caller = Caller { name: BY.into(), ..Caller::anybody() };
        start(move |io| async move {
            let call = Call { io, config, ambient, caller: Arc::new(caller) };
            call.apply_retention(&name, plan.as_deref(), approved).await.map_err(fault)
        })
    }

    /// Begins to note what was [pulled](Response::pulled), how often and by whom, and since when that is noted, if it is the
    /// first time. What is not there any more is passed over. No pulls may be noted that no client has made: those of a
    /// sync, say. Gives back what is not noted, since others note the same or the storage failed on the way: it is to be
    /// noted again. After a fault, nothing is noted, unless the commit that failed was made nevertheless.
    pub fn note_pulls(&self, pulls: Vec<PullCount>, ambient: Ambient) -> Step<Result<Vec<PullCount>, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).note_pulls(pulls).await.map_err(fault) })
    }

    /// Begins to list what was deleted and can be undeleted, in one repository or in all: the page behind `after`, which
    /// the page before has named.
    pub fn deleted(
        &self,
        name: Option<Repository>,
        after: Option<Key>,
        ambient: Ambient,
    ) -> Step<Result<DeletedPage, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).deleted(name.as_ref(), after).await.map_err(fault) })
    }

    /// Begins to bring back what was deleted: a manifest with the tags that went with it, or a tag with what it named.
    pub fn undelete(
        &self,
        name: Repository,
        reference: Reference,
        how: Undeleting,
        ambient: Ambient,
    ) -> Step<Result<Undeleted, Refused>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).undelete(&name, &reference, &how).await })
    }

    /// The same by a caller, whose rights for tags count as they do for a push: a tag that may not be made or changed is
    /// [refused](Refused::Protected).
    pub fn undelete_by(
        &self,
        caller: Arc<Caller>,
        name: Repository,
        reference: Reference,
        how: Undeleting,
        ambient: Ambient,
    ) -> Step<Result<Undeleted, Refused>> {
        let config = self.config.clone();
        start(move |io| async move { Call { io, config, ambient, caller }.undelete(&name, &reference, &how).await })
    }

    /// Begins to remove at once, for good, and with the blobs that nothing else needs: a manifest, a tag with what it
    /// names, a blob, or without a reference all that was deleted in the repository and is not there. What is protected
    /// needs `force`. When something has gone before it failed, what it returns says [both](Purged::fault).
    pub fn purge(
        &self,
        name: Repository,
        reference: Option<Reference>,
        force: bool,
        ambient: Ambient,
    ) -> Step<Result<Purged, Refused>> {
        self.purge_by(Caller::anybody(), name, reference, force, ambient)
    }

    /// The same, told of as done by that caller.
    pub fn purge_by(
        &self,
        caller: Caller,
        name: Repository,
        reference: Option<Reference>,
        force: bool,
        ambient: Ambient,
    ) -> Step<Result<Purged, Refused>> {
        let (config, caller) = (self.config.clone(), Arc::new(caller));
        start(
            move |io| async move { Call { io, config, ambient, caller }.purge(&name, reference.as_ref(), force).await },
        )
    }

    /// Begins to list the protect marks.
    pub fn protections(&self, ambient: Ambient) -> Step<Result<Vec<ProtectMark>, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).protections().await.map_err(fault) })
    }

    /// Begins to set a protect mark; `false` when it was set before.
    pub fn protect(&self, mark: Mark, ambient: Ambient) -> Step<Result<bool, Refused>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).protect(&mark).await })
    }

    /// Begins to look whether there is a tag or manifest now that a mark protects by its name.
    pub fn protects_any(&self, mark: Mark, ambient: Ambient) -> Step<Result<bool, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).protects_any(&mark).await.map_err(fault) })
    }

    /// Begins to remove a protect mark; `false` when there is none.
    pub fn unprotect(&self, mark: Mark, ambient: Ambient) -> Step<Result<bool, Refused>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).unprotect(&mark).await })
    }

    /// Begins a check of everything that is stored. It reads every byte, and changes nothing.
    pub fn check(&self, ambient: Ambient) -> Step<CheckReport> {
        let call = self.own(ambient);
        start(|io| async move { call(io).check().await })
    }

    /// Begins to read on, for `room` bytes, where the last call of the scrub has ended. What is damaged is put in
    /// quarantine: it is not there until it is pushed or fetched again. One blob is read whole, however large it is. When
    /// everything has been read, there is nothing to do until `every` has passed since the beginning.
    pub fn scrub(&self, room: u64, every: Duration, ambient: Ambient) -> Step<Result<Scrubbed, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).scrub(room, every).await.map_err(fault) })
    }

    /// Begins to look how far the scrub is; `None` before the first.
    pub fn scrub_state(&self, ambient: Ambient) -> Step<Result<Option<ScrubRecord>, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).scrub_state().await.map_err(fault) })
    }

    /// Begins to let the next call of the scrub begin at the beginning.
    pub fn scrub_anew(&self, ambient: Ambient) -> Step<Result<(), Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).scrub_anew().await.map_err(fault) })
    }

    /// Begins to look at a blob whose bytes were wrong or missing when a client was to get them: when they are, it is put
    /// in quarantine. It results in what it is then.
    pub fn suspect(&self, digest: Digest, ambient: Ambient) -> Step<Result<Suspected, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).suspect(&digest).await.map_err(fault) })
    }

    /// Begins to note that all bytes of a blob were read, and are those of its digest: of one that still has these objects,
    /// from which they were read, behind what of it lies among the records.
    pub fn verified(&self, digest: Digest, read: Vec<ObjectId>, ambient: Ambient) -> Step<Result<(), Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).verified(&digest, &read).await.map_err(fault) })
    }

    /// Begins to list what is damaged, behind `after`, and which images need it.
    pub fn damaged(&self, after: Option<Key>, ambient: Ambient) -> Step<Result<DamagedPage, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).damaged(after).await.map_err(fault) })
    }

    /// Begins to find out where the bytes of a blob are; `None` when there is no such blob.
    pub fn locate(&self, digest: Digest, ambient: Ambient) -> Step<Result<Option<Located>, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).located(&digest).await.map_err(fault) })
    }

    /// Begins to list the manifests of a repository that no tag leads to, from behind `after` on (SPEC Y40).
    pub fn loose(&self, repository: Repository, after: Option<Key>, ambient: Ambient) -> Step<Result<Loose, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).loose(&repository, after).await.map_err(fault) })
    }

    /// Begins to look up what was counted last, by whatever host, if that is no longer ago than `within`.
    pub fn counted(&self, within: Duration, ambient: Ambient) -> Step<Result<Option<CensusRecord>, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).counted(within).await.map_err(fault) })
    }

    /// Begins to keep what was counted for [other hosts](Self::counted). It is as old as this call, not as the one that
    /// has counted: that may have taken longer than the others wait.
    pub fn keep_census(&self, census: Census, ambient: Ambient) -> Step<Result<(), Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).keep_census(census).await.map_err(fault) })
    }

    /// Begins to count everything.
    pub fn census(&self, ambient: Ambient) -> Step<Result<Census, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).census().await.map_err(fault) })
    }

    /// Begins to find out what each repository takes, and how full each quota is. It reads all records but the manifests
    /// themselves, by pages, and changes nothing.
    pub fn usage(&self, ambient: Ambient) -> Step<Result<Usage, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).usage().await.map_err(fault) })
    }

    /// Begins to find out how full each quota of the settings is, in their order. It reads a record of each repository.
    pub fn quotas(&self, ambient: Ambient) -> Step<Result<Vec<QuotaUsage>, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).quotas().await.map_err(fault) })
    }

    /// Begins to compare what is counted of each repository with its records, and to repair each counter that is wrong.
    /// Pushes and deletes go on meanwhile.
    pub fn recount(&self, ambient: Ambient) -> Step<Recount> {
        let call = self.own(ambient);
        start(|io| async move { call(io).recount().await })
    }

    /// Begins to read the oldest events that a [listener](crate::event::Listener) has not been told.
    pub fn queued(&self, listener: String, ambient: Ambient) -> Step<Queued> {
        let call = self.own(ambient);
        start(|io| async move { call(io).queued(&listener).await.map_err(fault) })
    }

    /// Begins to forget events that were told.
    pub fn told(&self, events: Vec<Key>, ambient: Ambient) -> Step<Result<(), Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).told(events).await.map_err(fault) })
    }

    /// Begins to look at a registry that is to be copied to another storage.
    pub fn depart(&self, ambient: Ambient) -> Step<Result<Departure, Immovable>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).depart().await })
    }

    /// Begins to claim an empty storage for the copy of a registry, or to go on with a copy that was interrupted.
    pub fn arrive(&self, departure: Departure, ambient: Ambient) -> Step<Result<Arrival, Immovable>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).arrive(&departure).await })
    }

    /// Begins to take the next records of a registry into its copy. Their objects are there. An empty page is the end.
    pub fn take_in(
        &self,
        arrival: Arrival,
        page: Vec<(Key, Value)>,
        ambient: Ambient,
    ) -> Step<Result<Arrival, Immovable>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).take_in(&arrival, page).await })
    }

    /// Begins to note up to which key a copy was compared with its source; without a key, that it is to be compared
    /// from its beginning.
    pub fn note_compared(
        &self,
        arrival: Arrival,
        last: Option<Key>,
        ambient: Ambient,
    ) -> Step<Result<Arrival, Immovable>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).note_compared(&arrival, last.as_ref()).await })
    }

    /// Begins to end a copy: from then on it can be served.
    pub fn settle(&self, arrival: Arrival, departure: Departure, ambient: Ambient) -> Step<Result<(), Immovable>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).settle(arrival, departure).await })
    }

    /// Begins to list what a repository holds, a page at a time: behind `after`, which the page before has told.
    pub fn holdings(
        &self,
        name: Repository,
        family: Family,
        after: Option<Key>,
        ambient: Ambient,
    ) -> Step<Result<Holdings, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).holdings(&name, family, after).await.map_err(fault) })
    }

    /// Begins to list the blobs that are in quarantine, a page at a time: behind `after`, which the page before has told.
    pub fn quarantined(&self, after: Option<Key>, ambient: Ambient) -> Step<Result<Holdings, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).quarantined(after).await.map_err(fault) })
    }

    /// Begins to find out which of these blobs there are, for whoever is about to bring them.
    pub fn present(&self, digests: Vec<Digest>, ambient: Ambient) -> Step<Result<Vec<Presence>, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).present(&digests).await.map_err(fault) })
    }

    /// Begins to take over blobs of another registry, some hundred at a time.
    pub fn adopt_blobs(&self, layers: Vec<Layer>, ambient: Ambient) -> Step<Result<LayersTaken, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).adopt_blobs(&layers).await.map_err(fault) })
    }

    /// Begins to take over manifests of another registry, some hundred at a time and a few MiB of them.
    pub fn adopt_manifests(&self, manifests: Vec<Held>, ambient: Ambient) -> Step<Result<ManifestsTaken, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).adopt_manifests(&manifests).await.map_err(fault) })
    }

    /// Begins to take over tags of another registry, some hundred at a time. A dry run changes nothing, and says what would
    /// become of tags whose manifests are there.
    pub fn adopt_tags(&self, tags: Vec<Tagged>, dry_run: bool, ambient: Ambient) -> Step<Result<TagsTaken, Fault>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).adopt_tags(&tags, dry_run).await.map_err(fault) })
    }

    /// A call that nobody sent.
    fn own(&self, ambient: Ambient) -> impl FnOnce(Io) -> Call + use<> {
        let config = self.config.clone();
        move |io| Call { io, config, ambient, caller: Arc::new(Caller::anybody()) }
    }
}

/// Turns the end of a flow into what is sent.
fn finish(method: Method, answer: Result<Response, Error>) -> Response {
    let head = method == Method::Head;
    let mut response = answer.unwrap_or_else(|error| {
        // A name that cannot be is not there: containerd asks HEAD first and goes on after a 404 (SPEC B3).
        let malformed = matches!(error, Error::Repository(_) | Error::Digest(_));
        let mut response = Response::from(error);
        if head && malformed {
            response.status = 404;
        }
        response
    });
    if head {
        // RFC 9110, 9.3.2; SPEC P5.
        response.body = Body::Empty;
    }
    if !matches!(response.status, 204 | 304) && response.header("Content-Length").is_none() {
        response = response.with("Content-Length", "0");
    }
    stamped(response)
}
