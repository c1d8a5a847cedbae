//! A scenario: a prepared store and a handful of calls that are made at the same time.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use orlop_core::ambient::Timestamp;
use orlop_core::digest::Digest;
use orlop_core::keys::Key;
use orlop_core::memory::{Memory, RequestBody, Upstream};
use orlop_core::mirror::UpstreamName;
use orlop_core::name::Repository;
use orlop_core::object::ObjectId;
use orlop_core::protect::Mark;
use orlop_core::record::{BlobRecord, SessionKey};
use orlop_core::registry::LetGo;
use orlop_core::takeover::{Held, Layer, Tagged};
use orlop_core::target::Reference;
use orlop_core::{
    Acquired, Agreement, Ambient, Body, Claim, Config, Disagreement, Error, Fault, Job, Lease, Method, PullCount,
    Purged, Recount, Refused, Registry, Report, Request, Response, Step, Undeleting,
};
use uuid::Uuid;

use super::mirrored::Mirrored;
use super::scenarios::signed::Act;

/// A call that is to be made.
#[derive(Clone, Debug)]
pub enum Call {
    /// A request and its body.
    Request(Request, RequestBody),
    /// A garbage collection.
    Gc,
    /// A blob of several objects becomes one.
    Gather,
    /// Mirrors that have more than they may lose blobs.
    Evict,
    /// The scrub reads everything, up to the first that is damaged.
    Scrub,
    /// A host has found the bytes of a blob to be wrong while it sent them, or an object of it to be missing.
    Suspect(Digest),
    /// A host has sent a blob whole, and its bytes were right.
    Verified(Digest),
    /// What happened long ago is forgotten.
    Prune,
    /// The counters of all repositories are compared with what they count, and repaired.
    Recount,
    /// An administrator takes all out of a repository of a mirror.
    LetGo(Repository),
    /// What the rules of retention let go in a repository is deleted, with approval.
    Retain(Repository),
    /// What was deleted comes back.
    Undelete(Repository, Reference, Undeleting),
    /// Something is removed at once and for good.
    Purge(Repository, Option<Reference>),
    /// A protect mark is set.
    Protect(Mark),
    /// A host notes that these were pulled.
    NotePulls(Vec<PullCount>),
    /// A host starts: it agrees with the others, and offers this session key.
    Agree(u8),
    /// A host acquires the lease of garbage collection.
    Acquire(Claim),
    /// A host renews a lease.
    Renew(Lease),
    /// A host releases a lease.
    Release(Lease),
    /// Blobs of another registry are imported.
    AdoptBlobs(Vec<Layer>),
    /// Manifests of another registry are imported.
    AdoptManifests(Vec<Held>),
    /// Tags of another registry are imported.
    AdoptTags(Vec<Tagged>),
    /// Something of a user: a session or an API token.
    User(Act),
    /// So much time passes, for all.
    Wait(Duration),
    /// Something is pushed to all upstreams, or deleted there.
    Upstream(Request, RequestBody),
}

/// A call that has begun.
pub(super) enum Begun<'s> {
    Answering(Step),
    Collecting(Step<Report>),
    Waiting(Duration),
    Changing(&'s Request, &'s RequestBody),
}

/// A store as it is found, and what happens at once.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is about.
    pub name: String,
    /// The registry.
    pub registry: Registry,
    /// The same without its mirrors: it serves what is there, and asks no upstream.
    pub local: Registry,
    /// The configuration of it.
    pub config: Config,
    /// The store before the calls.
    pub before: Memory,
    /// The calls, all of them made at the same moment.
    pub calls: Vec<Call>,
    /// The other host, if there is one. It makes every other call.
    pub other: Option<Other>,
    /// The digests that are deleted explicitly, beforehand or by the calls.
    pub deleted: BTreeSet<String>,
    /// What was damaged beforehand: digests of blobs, and manifests as `<repository>@<digest>`.
    pub(super) damaged: BTreeSet<String>,
    /// The objects that an import brings whose bytes nobody has hashed.
    pub(super) unhashed: BTreeSet<ObjectId>,
    /// Whether a counter is wrong before the calls. One of them is a recount: when all are over, it is right.
    pub(super) miscounted: bool,
    /// The repositories of its mirrors.
    pub(super) mirrored: Mirrored,
}

/// Another host on the same store.
#[derive(Clone, Debug)]
pub struct Other {
    /// The registry as it is there.
    pub registry: Registry,
    /// The configuration of it.
    pub config: Config,
    /// How much the clock there is ahead.
    pub ahead: Duration,
}

/// How far the clocks of hosts may differ.
pub const SKEW: Duration = Duration::from_secs(30);

/// An hour.
pub const HOUR: Duration = Duration::from_secs(3600);

impl Scenario {
    /// A scenario on an empty store. Bodies of up to four bytes are kept among the records, larger ones as objects, of
    /// which three are joined.
    pub fn new(name: impl Into<String>, config: Config) -> Self {
        let config = Config { small_object: 4, blob_objects: 2, ..config };
        let mut before = Memory::new();
        // A time of zero would hide what is compared with it.
        before.now = Timestamp(1_000_000);
        Self {
            name: name.into(),
            registry: Registry::new(config.clone()),
            local: Registry::new(Config { mirrors: Vec::new(), ..config.clone() }),
            mirrored: Mirrored::by(&config),
            config,
            before,
            calls: Vec::new(),
            other: None,
            deleted: BTreeSet::new(),
            damaged: BTreeSet::new(),
            unhashed: BTreeSet::new(),
            miscounted: false,
        }
    }

    /// A bit of a blob flips.
    #[must_use]
    pub fn with_damaged(self, blob: &[u8]) -> Self {
        self.altered(blob, |memory, object| memory.flip(object))
    }

    /// An object of a blob is lost.
    #[must_use]
    pub fn with_lost(self, blob: &[u8]) -> Self {
        self.altered(blob, |memory, object| drop(memory.objects.remove(&object)))
    }

    fn altered(mut self, blob: &[u8], alter: impl FnOnce(&mut Memory, ObjectId)) -> Self {
        let digest = super::sample::digest(blob).to_string();
        let record = &self.before.records[&Key::stored(format!("blob/{digest}"))];
        let record: BlobRecord = serde_json::from_slice(record).expect("a record is JSON");
        alter(&mut self.before, record.extents.last().expect("it has bytes").object);
        self.damaged.insert(digest);
        self
    }

    /// A bit of a manifest flips, in its `schemaVersion`: so what it needs can still be read off it.
    #[must_use]
    pub fn with_damaged_manifest(mut self, repository: &str, manifest: &[u8]) -> Self {
        let name = format!("{repository}@{}", super::sample::digest(manifest));
        let payload = self.before.records.get_mut(&Key::stored(format!("payload/{name}"))).expect("it is there");
        let text = String::from_utf8_lossy(payload).replace(r#""schemaVersion":2"#, r#""schemaVersion":3"#);
        assert_ne!(text.as_bytes(), payload.as_ref());
        *payload = text.into();
        self.damaged.insert(name);
        self
    }

    /// The bytes of a blob were taken over, and nobody has read them since.
    #[must_use]
    pub fn with_unverified(mut self, blob: &[u8]) -> Self {
        let key = Key::stored(format!("blob/{}", super::sample::digest(blob)));
        let mut record: BlobRecord = serde_json::from_slice(&self.before.records[&key]).expect("a record is JSON");
        record.unverified = true;
        self.before.records.insert(key, serde_json::to_vec(&record).expect("a record has a form").into());
        self
    }

    /// Puts a registry behind the upstream of that name: what another scenario has prepared.
    #[must_use]
    pub fn with_upstream(mut self, name: &str, registry: Self) -> Self {
        let upstream = Upstream { memory: registry.before, ..Upstream::new(registry.registry) };
        self.before.upstreams.insert(UpstreamName::new(name), upstream);
        self.mirrored.take_down(&self.before);
        self
    }

    /// Makes a call beforehand.
    ///
    /// # Panics
    ///
    /// When it is refused.
    #[must_use]
    pub fn given(mut self, call: &Call) -> Self {
        self.make(call);
        self
    }

    /// Opens an upload session beforehand and calls it by the name that [`session`](Self::session) knows.
    #[must_use]
    pub fn given_session(mut self, repository: &str, chunks: &[&'static [u8]]) -> Self {
        let opened = self.make(&super::sample::ask("POST", format!("/v2/{repository}/blobs/uploads/")));
        let session = opened.header("Location").expect("a session has a location").to_string();
        for chunk in chunks {
            self.make(&super::sample::patch(&session, None, chunk));
        }
        self
    }

    /// The location of the only upload session there is.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn session(&self) -> String {
        let (key, value) =
            self.before.records.iter().find(|(key, _)| key.as_str().starts_with("upload/")).expect("a session");
        let record: serde_json::Value = serde_json::from_slice(value).expect("a record is JSON");
        let repository = record["repository"].as_str().expect("a session belongs to a repository");
        format!("/v2/{repository}/blobs/uploads/{}", &key.as_str()["upload/".len()..])
    }

    /// Puts an object there that belongs to nothing yet.
    #[must_use]
    pub fn with_object(mut self, object: ObjectId, bytes: &'static [u8]) -> Self {
        self.before.objects.insert(object, (bytes.into(), self.before.now));
        self
    }

    /// Lets time pass.
    #[must_use]
    pub fn later(mut self, time: Duration) -> Self {
        self.before.advance(time);
        self
    }

    /// Makes what is counted of a repository wrong.
    #[must_use]
    pub fn with_counter(mut self, repository: &str, counted: u64) -> Self {
        self.before.records.insert(Key::stored(format!("usage/{repository}")), counted.to_string().into());
        self.miscounted = true;
        self
    }

    /// Puts another host on the store, with a configuration of its own and a clock that is ahead. Of the calls that are
    /// made at once, the second, the fourth and so on are made there.
    #[must_use]
    pub fn with_other(mut self, config: Config) -> Self {
        self.other = Some(Other { registry: Registry::new(config.clone()), config, ahead: SKEW });
        self
    }

    /// Acquires the lease of garbage collection beforehand, for the first host.
    ///
    /// # Panics
    ///
    /// When it is held.
    pub fn given_lease(&mut self) -> Lease {
        let step = self.registry.acquire(Job::Gc, holder(0), Claim::Free, self.before.ambient());
        match self.before.run(step, &RequestBody::default()) {
            Ok(Acquired::Ours(lease)) => lease,
            held => panic!("{}: {held:?}", self.name),
        }
    }

    /// Makes these calls at the same time.
    #[must_use]
    pub fn at_once(mut self, calls: impl IntoIterator<Item = Call>) -> Self {
        for call in calls {
            self.take_down(&call);
            self.calls.push(call);
        }
        let mut upstreams = self.before.clone();
        for call in &self.calls {
            if let Call::Upstream(request, body) = call {
                change_upstreams(&mut upstreams, request, body);
                self.mirrored.take_down(&upstreams);
            }
        }
        self
    }

    fn take_down(&mut self, call: &Call) {
        if let Call::Purge(_, Some(Reference::Digest(digest))) = call {
            self.deleted.insert(digest.to_string());
        }
        if let Call::AdoptBlobs(layers) = call {
            let unhashed = layers.iter().filter(|layer| !layer.verified);
            self.unhashed.extend(unhashed.filter_map(|layer| layer.object));
        }
        if let Call::Request(request, _) = call
            && request.method == Method::Delete
            && let Some((_, digest)) = request.target.rsplit_once('/')
        {
            self.deleted.insert(digest.into());
        }
    }

    fn make(&mut self, call: &Call) -> Response {
        self.take_down(call);
        let (request, body) = match call {
            Call::Request(request, body) => (request, body),
            Call::NotePulls(pulls) => {
                let step = self.registry.note_pulls(pulls.clone(), self.before.ambient());
                self.before.run(step, &RequestBody::default()).expect("the storage does not fail");
                return Response::new(200);
            }
            Call::Gc => {
                let step = self.registry.gc(self.before.ambient());
                let _ = self.before.run(step, &RequestBody::default());
                return Response::new(200);
            }
            Call::AdoptBlobs(layers) => {
                let step = self.registry.adopt_blobs(layers.clone(), self.before.ambient());
                self.before.run(step, &RequestBody::default()).expect("blobs are imported");
                return Response::new(200);
            }
            Call::AdoptManifests(manifests) => {
                let step = self.registry.adopt_manifests(manifests.clone(), self.before.ambient());
                self.before.run(step, &RequestBody::default()).expect("manifests are imported");
                return Response::new(200);
            }
            Call::AdoptTags(tags) => {
                let step = self.registry.adopt_tags(tags.clone(), false, self.before.ambient());
                self.before.run(step, &RequestBody::default()).expect("tags are imported");
                return Response::new(200);
            }
            Call::User(act) => {
                let step = act.begin(&self.registry, self.before.ambient());
                let done = self.before.run(step, &RequestBody::default());
                assert_eq!(done.status, 200, "{act:?} is done beforehand");
                return done;
            }
            Call::Scrub => {
                let step = self.registry.scrub(u64::MAX, Duration::ZERO, self.before.ambient());
                self.before.run(step, &RequestBody::default()).expect("the storage does not fail");
                return Response::new(200);
            }
            other => panic!("{}: {other:?} is no call to be made beforehand", self.name),
        };
        let response = self.before.call(&self.registry, request, body.clone());
        assert!(response.status < 300, "{}: {request:?} was refused beforehand: {response:?}", self.name);
        response
    }

    /// What surrounds the call of that number. Its nonce is the same in every schedule, so that what two
    /// schedules result in can be compared.
    pub fn ambient(&self, call: usize) -> Ambient {
        let nonce = uuid::Builder::from_random_bytes((0xca11_u128 << 64 | call as u128).to_be_bytes()).into_uuid();
        let ahead = self.other_of(call).map_or(Duration::ZERO, |other| other.ahead);
        Ambient { now: self.before.now.after(ahead), nonce }
    }

    /// What surrounds a fetch that a call begins when it has heard so many outcomes.
    pub(super) fn ambient_of_fetch(&self, call: usize, heard: usize, now: Timestamp) -> Ambient {
        let number = 0xfe7c_u128 << 64 | (heard as u128) << 32 | call as u128;
        let nonce = uuid::Builder::from_random_bytes(number.to_be_bytes()).into_uuid();
        let ahead = self.other_of(call).map_or(Duration::ZERO, |other| other.ahead);
        Ambient { now: now.after(ahead), nonce }
    }

    /// The other host, if it makes the call of that number.
    fn other_of(&self, call: usize) -> Option<&Other> {
        self.other.as_ref().filter(|_| call % 2 == 1)
    }

    /// Whether the other host makes the call of that number.
    pub(super) fn is_on_other(&self, call: usize) -> bool {
        self.other_of(call).is_some()
    }

    /// Begins the call of that number, on the host that makes it.
    pub(super) fn begin(&self, call: usize) -> Begun<'_> {
        let registry = self.other_of(call).map_or(&self.registry, |other| &other.registry);
        let ambient = self.ambient(call);
        let holder = holder(u128::from(self.is_on_other(call)));
        Begun::Answering(match &self.calls[call] {
            Call::Request(request, _) => registry.call(request.clone(), ambient),
            // What it says of a blob depends on who else is there, and decides nothing.
            Call::Gather => registry.gather(None, ambient).map(|result| told(result.map(drop))),
            // How many blobs go depends on who else is there, and decides nothing.
            Call::Evict => registry.evict(ambient).map(|result| told(result.map(drop))),
            Call::Suspect(digest) => registry.suspect(*digest, ambient).map(|result| told(result.map(drop))),
            Call::Verified(digest) => {
                let record = &self.before.records[&Key::stored(format!("blob/{digest}"))];
                let record: BlobRecord = serde_json::from_slice(record).expect("a record is JSON");
                let read = record.extents.iter().map(|extent| extent.object).collect();
                registry.verified(*digest, read, ambient).map(told)
            }
            // What it has read depends on who else is there, and decides nothing.
            Call::Scrub => registry.scrub(u64::MAX, Duration::ZERO, ambient).map(|result| told(result.map(drop))),
            Call::Recount => registry.recount(ambient).map(recounted),
            // What went depends on it too, and what has changed meanwhile stays.
            Call::LetGo(name) => registry.let_go_of(name.clone(), None, ambient).map(let_go),
            Call::AdoptBlobs(layers) => registry.adopt_blobs(layers.clone(), ambient).map(told),
            Call::AdoptManifests(manifests) => registry.adopt_manifests(manifests.clone(), ambient).map(told),
            Call::AdoptTags(tags) => registry.adopt_tags(tags.clone(), false, ambient).map(told),
            // What went depends on who else is there, and what has changed meanwhile stays.
            Call::Retain(name) => {
                registry.apply_retention(name.clone(), None, true, ambient).map(|result| told(result.map(drop)))
            }
            Call::Undelete(name, reference, how) => {
                registry.undelete(name.clone(), reference.clone(), how.clone(), ambient).map(undeleted)
            }
            // What was there for it depends on who else is there, and decides nothing.
            Call::Purge(name, reference) => registry.purge(name.clone(), reference.clone(), false, ambient).map(purged),
            Call::Protect(mark) => registry.protect(mark.clone(), ambient).map(undeleted),
            Call::NotePulls(pulls) => registry.note_pulls(pulls.clone(), ambient).map(told),
            // How many that were depends on who else is there.
            Call::Prune => registry.prune_activity(ambient).map(|result| told(result.map(drop))),
            Call::Agree(key) => registry.agree(Some(SessionKey::new([*key; 32])), ambient).map(agreed),
            Call::Acquire(claim) => registry.acquire(Job::Gc, holder, *claim, ambient).map(told),
            Call::Renew(lease) => registry.renew(lease.clone(), ambient).map(told),
            Call::Release(lease) => registry.release(lease.clone(), ambient).map(told),
            Call::User(act) => act.begin(registry, ambient),
            Call::Gc => return Begun::Collecting(registry.gc(ambient)),
            Call::Wait(time) => return Begun::Waiting(*time),
            Call::Upstream(request, body) => return Begun::Changing(request, body),
        })
    }

    /// The body that the call of that number brings.
    pub(super) fn body(&self, call: usize) -> RequestBody {
        match &self.calls[call] {
            Call::Request(_, body) => body.clone(),
            _ => RequestBody::default(),
        }
    }

    /// Whether objects stay after their record is gone, whichever host collects, for longer than all that happens here, and
    /// nothing is purged.
    pub(super) fn keeps(&self) -> bool {
        let kept = |config: &Config| !config.keep_erased.is_zero();
        !self.is_in_steps() && kept(&self.config) && self.other.as_ref().is_none_or(|other| kept(&other.config))
    }

    /// Whether its other host takes pushes to the repositories of the mirrors.
    pub(super) fn takes_pushes(&self) -> bool {
        self.other.as_ref().is_some_and(|other| other.config.mirrors.iter().any(|mirror| mirror.offline))
    }

    /// Longer than every grace and lifetime, but for that of objects whose record is gone.
    pub fn long_enough(&self) -> Duration {
        let Config { upload_lifetime, blob_grace, untagged_lifetime, undelete_within, call_lifetime, .. } =
            &self.config;
        let kept = untagged_lifetime.unwrap_or_default() + undelete_within.unwrap_or_default();
        *upload_lifetime + *blob_grace + kept + *call_lifetime + HOUR
    }

    /// After how many garbage collections, with all graces between them, nothing is left that nothing leads to: where
    /// garbage collection takes manifests, their blobs have a grace of their own, and where it only deletes them, an image
    /// of an index has one too.
    pub(super) fn collections(&self) -> usize {
        match (self.config.untagged_lifetime, self.config.undelete_within) {
            (None, None) => 1,
            (Some(_), None) | (None, Some(_)) => 2,
            (Some(_), Some(_)) => 5,
        }
    }

    /// Whether a call takes several commits, each of them right by itself, so that only what the records say is looked at.
    pub(super) fn is_in_steps(&self) -> bool {
        self.purges() || self.config.tags_a_commit < Config::default().tags_a_commit
    }

    fn purges(&self) -> bool {
        self.calls.iter().any(|call| matches!(call, Call::Purge(..)))
    }

    /// Whether nothing is removed but by purges of what was deleted before.
    pub(super) fn purges_only_deleted(&self) -> bool {
        let removes_nothing = |call: &Call| match call {
            Call::Purge(_, reference) => reference.is_none(),
            Call::Request(request, _) => request.method != Method::Delete,
            Call::Undelete(..) => true,
            _ => false,
        };
        self.purges() && self.calls.iter().all(removes_nothing)
    }

    /// Whether one of the calls says that bytes were read.
    pub(super) fn is_read(&self) -> bool {
        self.calls.iter().any(|call| matches!(call, Call::Scrub | Call::Verified(_)))
    }

    /// Whether what is purged is to be gone for good: nobody pushes or imports it again, nor undeletes it before.
    pub(super) fn is_purged(&self) -> bool {
        let pushes = |call: &Call| match call {
            Call::Request(request, _) => request.method != Method::Delete,
            Call::AdoptBlobs(_) | Call::AdoptManifests(_) => true,
            Call::Purge(_, None) => self.calls.iter().any(|call| matches!(call, Call::Undelete(..))),
            _ => false,
        };
        self.is_in_steps() && !self.calls.iter().any(pushes)
    }
}

/// The name of a host as a holder of leases.
fn holder(host: u128) -> Uuid {
    Uuid::from_u128(host + 1)
}

/// What a host was told that has asked for something of its own.
pub(super) fn told<T: Debug>(result: Result<T, Fault>) -> Response {
    match result {
        Ok(result) => Response::new(200).with_bytes("text/plain", format!("{result:?}")),
        Err(fault) => Response::new(500).with_bytes("text/plain", fault.to_string()),
    }
}

/// What an administrator was told who has undeleted or protected something.
fn undeleted<T: Debug>(result: Result<T, Refused>) -> Response {
    match result {
        Err(Refused::Storage(fault)) => told::<()>(Err(fault)),
        Err(Refused::Contention) => Response::new(503),
        result => told(Ok(result)),
    }
}

/// What an administrator was told who has purged something.
fn purged(result: Result<Purged, Refused>) -> Response {
    match result {
        Ok(Purged { fault: Some(fault), .. }) => told::<()>(Err(Fault::Failed(fault))),
        result => undeleted(result.map(drop)),
    }
}

/// What a recount has said that has ended. (What it found depends on who else was there.)
fn recounted(recount: Recount) -> Response {
    told(recount.fault.map_or(Ok(()), |fault| Err(Fault::Failed(fault))))
}

/// What an administrator was told who has let go of something.
fn let_go(result: Result<LetGo, Error>) -> Response {
    result.map_or_else(Response::from, |_| told(Ok(())))
}

/// What a host was told that has started. (A session key does not show itself.)
fn agreed(result: Result<Agreement, Disagreement>) -> Response {
    match result {
        Ok(agreement) => told(Ok(agreement.session_key.map(|key| key.bytes()[0]))),
        Err(Disagreement::Storage(fault)) => told::<()>(Err(fault)),
        Err(refused) => told(Ok(refused.to_string())),
    }
}

impl Call {
    /// Whether what is told of it still holds after a crash. A lease may be lost: then it is acquired anew.
    pub(super) fn is_lasting(&self) -> bool {
        !matches!(self, Self::Acquire(_) | Self::Renew(_) | Self::Release(_))
    }
}

/// Makes a request of every upstream.
pub(super) fn change_upstreams(memory: &mut Memory, request: &Request, body: &RequestBody) {
    for upstream in memory.upstreams.values_mut() {
        upstream.memory.call(&upstream.registry, request, body.clone());
    }
}

/// A response with the bytes that its client gets; `None` when an object went before it could be opened, so
/// that the host makes the call again.
pub(super) fn filled(store: &Memory, response: Response) -> Option<Response> {
    let streamed = matches!(response.body, Body::Pieces(_));
    let filled = store.fill(response);
    if streamed && filled.status == 500 { None } else { Some(filled) }
}
