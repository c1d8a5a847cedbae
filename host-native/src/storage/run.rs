//! The host: performs what the core asks for, until a call is over.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use futures_util::future::BoxFuture;
use orlop_core::effect::{BodyEnd, Committed, Received};
use orlop_core::http::{self, Pieces};
use orlop_core::mirror::{Fetching, Followed, Relayed, Source, Unmet};
use orlop_core::object::ObjectId;
use orlop_core::stall::Stall;
use orlop_core::step::{Ask, Rest};
use orlop_core::{Asked, Claim, Config, Error, Fault, Job, Registry, Step};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::crowd::Client;
use crate::settings::{Engines, Options};
use crate::storage::ambient::ambient;
use crate::storage::body::{Held, RequestBody, UNIT};
use crate::storage::engine::{Opened, Storage};
use crate::storage::receive::{Open, Receiving, receive};
use crate::storage::upstreams::{Begun, Fetcher, Flight, Flights, Following, Relaying, Taken, Upstreams};
use crate::storage::{Adoption, Backup, Counters, Leased, OpenError, Outbox, Pace, Presence, Use};

/// How many bytes all bodies that are collected may take together: thousands of usual manifests, or 32 of the largest.
const COLLECTED: usize = 128 << 20;

/// How long a blob is waited for that another host fetches.
const ELSEWHERE: Duration = Duration::from_secs(15);

/// How often it is looked whether it has come.
const LOOK: Duration = Duration::from_millis(250);

/// The storage of one registry, and all that is done with it. A clone is the same.
#[derive(Clone)]
pub struct Host {
    storage: Arc<Storage>,
    call_lifetime: Duration,
    /// What all bodies that are collected may take together.
    collected: Arc<Semaphore>,
    /// The bodies that are being received.
    receiving: Arc<Receiving>,
    /// The blobs that are being fetched from upstreams.
    flights: Flights,
    /// Whether nobody should come any more.
    leaving: Arc<AtomicBool>,
}

/// What belongs to one call.
pub(crate) struct Belongings<'c> {
    /// The body of its request.
    body: &'c mut RequestBody,
    /// The registries that it may ask.
    upstreams: Arc<Upstreams>,
    /// From whose share it begins fetches, if it was sent by a client that has one.
    client: Option<Client>,
    /// Those who follow it, if it fetches a blob.
    flight: Option<Arc<Flight>>,
    /// What it follows.
    following: Option<Following>,
    /// What it has asked for to be passed on.
    relaying: Option<Relaying>,
    /// What the last answer of an upstream takes of memory.
    taken: Option<Taken>,
    /// How fast it reads objects past a meter, if nobody waits for it.
    pace: Option<Pace>,
}

impl<'c> Belongings<'c> {
    /// A call that may ask for this body, and for what these upstreams have.
    pub(crate) fn new(body: &'c mut RequestBody, upstreams: &Arc<Upstreams>) -> Self {
        let upstreams = upstreams.clone();
        Self { body, upstreams, client: None, flight: None, following: None, relaying: None, taken: None, pace: None }
    }

    /// The same for a call that takes from the share of this client.
    pub(crate) fn of(self, client: Option<&Client>) -> Self {
        Self { client: client.cloned(), ..self }
    }

    /// The body of its answer, where that comes from an upstream. `outbox` is that of the connection, if it can send
    /// files.
    pub(crate) fn incoming(self, body: &http::Body, outbox: Option<Outbox>, asked: &Arc<Asked>) -> Option<Body> {
        match body {
            http::Body::Coming(Range { start, end }) => {
                self.following.map(|following| following.into_body(*start..*end, outbox, asked.clone()))
            }
            http::Body::Relayed => self.relaying.map(Body::new),
            http::Body::Empty | http::Body::Bytes(_) | http::Body::Pieces(_) => None,
        }
    }
}

impl Host {
    /// Opens a data directory, which is made if there is none. Nobody else may have it open.
    ///
    /// # Errors
    ///
    /// When another process has it, or it cannot be read and written.
    pub fn open(directory: &Path, options: &Options) -> Result<Self, OpenError> {
        Ok(Self::on(Storage::open(directory, options)?, options))
    }

    /// Connects to a database and an object store, which any number of hosts may use together.
    ///
    /// # Errors
    ///
    /// With what is wrong with one of them, and what to do about it.
    pub async fn connect(engines: &Engines, options: &Options) -> Result<Self, String> {
        Ok(Self::on(Storage::connect(engines, options).await?, options))
    }

    fn on(storage: Storage, options: &Options) -> Self {
        Self {
            flights: Flights::new(&storage.counters().upstreams),
            storage: Arc::new(storage),
            call_lifetime: options.call_lifetime,
            collected: Arc::new(Semaphore::new(COLLECTED / UNIT)),
            receiving: Arc::default(),
            leaving: Arc::default(),
        }
    }

    /// What was opened, for the log.
    ///
    /// # Errors
    ///
    /// When the records cannot be read.
    pub fn describe(&self) -> Result<String, Fault> {
        self.storage.describe()
    }

    /// What performs its effects.
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// From now on it is not ready, so that a balancer sends nobody any more.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether records can be read, there is room to write, and it goes on.
    ///
    /// # Errors
    ///
    /// With what is wrong.
    pub async fn ready(&self) -> Result<(), Fault> {
        if self.leaving.load(Ordering::Relaxed) {
            return Err(Fault::Failed("the server is stopping".into()));
        }
        self.storage.ready().await
    }

    /// Makes a backup in the data directory, as of one moment, while calls go on. Those that erase something wait.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails. The backup before this one stays then.
    pub async fn back_up(&self) -> Result<Backup, Fault> {
        self.storage.back_up().await
    }

    /// A URL by which a client can read an object from an object store itself. None where there is no such store, or
    /// where it cannot sign one now: then the registry sends the object.
    pub(crate) async fn sign(&self, object: &ObjectId) -> Option<String> {
        self.storage.sign(object).await.unwrap_or_else(|fault| {
            tracing::warn!("clients are not sent to the object store: {fault}");
            None
        })
    }

    /// Where the bytes of an object are, for an administrator.
    pub fn place(&self, object: &ObjectId) -> String {
        self.storage.place(object)
    }

    /// The file of this machine that has exactly the bytes of an object, if there is one. Nothing changes it.
    pub(crate) fn file(&self, object: &ObjectId, size: u64) -> Option<PathBuf> {
        let file = self.storage.file(object)?;
        file.metadata().is_ok_and(|there| there.is_file() && there.len() == size).then_some(file)
    }

    /// Whether other hosts may use the storage at the same time.
    pub(crate) fn has_several_hosts(&self) -> bool {
        self.storage.has_several_hosts()
    }

    /// The bytes of the disk of this machine that has the objects, and how many are free; nothing is known of a store.
    pub(crate) async fn space(&self) -> Option<(u64, u64)> {
        self.storage.space().await
    }

    /// How a database and an object store stand, for an administrator: a line for each thing.
    pub(crate) async fn examine(&self) -> Result<Vec<String>, Fault> {
        self.storage.examine().await
    }

    /// Says that this process uses the storage, and sees whether others use it in a way that does not go with that. A
    /// directory, which one process has at a time, needs none.
    pub(crate) async fn enter(&self, how: Use) -> Result<Option<Presence>, String> {
        self.storage.enter(how).await
    }

    /// Under which name it holds leases.
    pub(super) fn holder(&self) -> Uuid {
        self.storage.holder()
    }

    /// What the storage counts.
    pub(crate) fn counters(&self) -> &Counters {
        self.storage.counters()
    }

    /// Runs a call to its end, and what it leaves for after its answer. `body` is what the call may ask for.
    pub async fn run<R: Send>(&self, step: Step<R>, body: &mut RequestBody) -> R {
        self.run_mirroring(step, body, &Arc::default()).await
    }

    /// The same for a call that may ask these upstreams, too.
    pub async fn run_mirroring<R: Send>(&self, step: Step<R>, body: &mut RequestBody, upstreams: &Arc<Upstreams>) -> R {
        self.run_with(step, &mut Belongings::new(body, upstreams)).await
    }

    /// The same for a call that nobody has sent, and that may ask these upstreams.
    pub(crate) async fn run_asking<R: Send>(&self, step: Step<R>, upstreams: &Arc<Upstreams>) -> R {
        self.run_with(step, &mut Belongings::new(&mut RequestBody::empty(), upstreams)).await
    }

    /// The same for a call that nobody waits for, and that reads objects past a meter at this pace.
    pub(crate) async fn run_paced<R: Send>(&self, step: Step<R>, pace: Option<Pace>) -> R {
        let mut body = RequestBody::empty();
        self.run_with(step, &mut Belongings { pace, ..Belongings::new(&mut body, &Arc::default()) }).await
    }

    /// Fetches a blob, or waits until the fetch that is under way is over.
    pub(crate) async fn bring(&self, fetching: Fetching, upstreams: &Arc<Upstreams>) -> Result<(), Error> {
        let mut body = RequestBody::empty();
        let mut own = Belongings::new(&mut body, upstreams);
        match (self.follow(fetching, &mut own).await, own.following) {
            (Followed::Over(result), _) => result,
            (Followed::Coming(_), Some(following)) => following.over().await,
            (Followed::Coming(_), None) => Ok(()),
        }
    }

    /// The same for a call to which more belongs than a body.
    async fn run_with<R: Send>(&self, step: Step<R>, own: &mut Belongings<'_>) -> R {
        let (result, rest) = self.answer(step, own).await;
        if let Some(rest) = rest {
            self.finish(rest).await;
        }
        result
    }

    /// Does what a call has left for after its answer. None of it asks for a body, or an upstream.
    pub(crate) async fn finish(&self, rest: Rest) {
        // What is left has nothing to leave in its turn.
        let mut body = RequestBody::empty();
        let _ = self.answer(rest.begin(), &mut Belongings::new(&mut body, &Arc::default())).await;
    }

    /// From now on, fetches end that no call follows.
    pub(crate) fn end_unfollowed(&self) {
        self.flights.leave();
    }

    /// Waits for the fetches that are under way, which end as soon as no call follows them.
    pub(crate) async fn land(&self) {
        self.flights.land().await;
    }

    /// Runs a call until it has its result, and gives what it leaves for afterwards.
    pub(crate) async fn answer<R: Send>(&self, mut step: Step<R>, own: &mut Belongings<'_>) -> (R, Option<Rest>) {
        let clock = Clock::start();
        let mut stall = Stall::new(self.call_lifetime);
        let mut held = Held::of(&self.collected);
        let mut open: Option<Open> = None;
        let mut begun: Option<Begun> = None;
        loop {
            step = match step {
                Step::Collect(Ask { effect, waiting }) => {
                    waiting.answer(Ok(own.body.collect(effect.limit, &mut held).await))
                }
                Step::Receive(Ask { effect, waiting }) => {
                    let began = clock.passed();
                    // Boxed, as what measures: they are large, and a pull, which needs neither, would have to move them.
                    let receiving = receive(&self.storage, &self.receiving, effect, own.body, &mut open);
                    let received = Box::pin(receiving).await;
                    // A pause leaves an object that is begun, and not complete.
                    let early = self.storage.ages_from_the_beginning();
                    let counts =
                        |received: &Received| received.kept.is_none() && (early || received.end != BodyEnd::Later);
                    if received.as_ref().is_ok_and(counts) {
                        stall.made(if early { began } else { clock.passed() });
                    }
                    waiting.answer(received)
                }
                Step::Join(Ask { effect, waiting }) => {
                    let began = clock.passed();
                    let joined = self.storage.join(effect).await;
                    stall.made(if self.storage.ages_from_the_beginning() { began } else { clock.passed() });
                    waiting.answer(joined)
                }
                Step::Load(Ask { effect, waiting }) => waiting.answer(self.storage.load(effect).await),
                Step::Measure(Ask { effect, waiting }) => {
                    waiting.answer(Box::pin(self.storage.measure(effect, own.pace)).await)
                }
                Step::Erase(Ask { effect, waiting }) => {
                    // An object that was still being received goes as it is dropped.
                    open = open.filter(|open| !effect.objects.contains(&open.object));
                    begun = begun.filter(|begun| !effect.objects.contains(&begun.object));
                    waiting.answer(self.storage.erase(effect).await)
                }
                Step::Inventory(Ask { effect, waiting }) => waiting.answer(self.storage.inventory(effect).await),
                Step::Get(Ask { effect, waiting }) => waiting.answer(self.storage.get(effect).await),
                Step::Scan(Ask { effect, waiting }) => waiting.answer(self.storage.scan(effect).await),
                Step::Commit(Ask { effect, waiting }) => match stall.check(clock.passed()) {
                    Ok(()) => {
                        let damaged = effect.damaged();
                        let committed = self.storage.commit(effect).await;
                        if let (Some(what), Ok(Committed::Done)) = (damaged, &committed) {
                            self.counters().damage_found.inc();
                            let kind = if what.contains('@') { "manifest" } else { "blob" };
                            tracing::error!(what, "a {kind} is damaged, and out of use until it is pushed again");
                        }
                        waiting.answer(committed)
                    }
                    Err(fault) => waiting.answer(Err(fault)),
                },
                // Boxed, for the same reason.
                Step::Inquire(Ask { effect, waiting }) => {
                    // Of several answers, a call has the bytes of one at a time.
                    own.taken = None;
                    let answered = match own.upstreams.get(&effect.wanted.upstream) {
                        Ok(upstream) => {
                            let counters = &self.counters().upstreams;
                            Box::pin(upstream.inquire(effect.wanted, effect.limit, counters)).await
                        }
                        Err(unmet) => Err(unmet),
                    };
                    let answer = answered.map(|(answer, taken)| {
                        own.taken = taken;
                        answer
                    });
                    waiting.answer(Ok(answer))
                }
                Step::Fetch(Ask { effect, waiting }) => {
                    let began = clock.passed();
                    let fetched = match own.upstreams.get(&effect.source.upstream) {
                        Ok(upstream) => {
                            let fetcher = Fetcher {
                                storage: &self.storage,
                                receiving: &self.receiving,
                                counters: &self.counters().upstreams,
                                flight: own.flight.as_deref(),
                            };
                            Box::pin(fetcher.fetch(upstream, effect, &mut begun)).await
                        }
                        Err(unmet) => Ok(Err(unmet)),
                    };
                    // What broke off is an object that is begun, and not complete.
                    let early = self.storage.ages_from_the_beginning();
                    let counts =
                        |received: &Received| received.kept.is_none() && (early || received.end != BodyEnd::Cut);
                    if matches!(&fetched, Ok(Ok(received)) if counts(received)) {
                        stall.made(if early { began } else { clock.passed() });
                    }
                    waiting.answer(fetched)
                }
                Step::Follow(Ask { effect, waiting }) => {
                    waiting.answer(Ok(Box::pin(self.follow(effect.fetching, own)).await))
                }
                Step::Relay(Ask { effect, waiting }) => {
                    waiting.answer(Ok(Box::pin(self.relay(&effect.source, effect.range, own)).await))
                }
                Step::Respond(result) => return (result, None),
                Step::Answered(result, rest) => return (result, Some(rest)),
            }
        }
    }

    /// Follows the fetch of a blob.
    async fn follow(&self, fetching: Fetching, own: &mut Belongings<'_>) -> Followed {
        let (upstreams, client) = (own.upstreams.clone(), own.client.as_ref());
        let fly = |fetching, flight| self.clone().fly(fetching, flight, upstreams.clone());
        let counters = self.counters().upstreams.clone();
        let has = |source: Source| -> BoxFuture<'static, bool> {
            let (upstreams, counters) = (upstreams.clone(), counters.clone());
            Box::pin(async move {
                match upstreams.get(&source.upstream) {
                    Ok(upstream) => upstream.has(source, &counters).await,
                    Err(_) => true,
                }
            })
        };
        let (followed, following) = self.flights.follow(fetching, client, fly, has).await;
        own.following = following;
        followed
    }

    /// Fetches a blob, a call of its own, which `flight` tells those of who follow it. Where several hosts have one
    /// storage, one of them fetches a blob at a time; the others wait a while for it to come.
    fn fly(
        self,
        fetching: Fetching,
        flight: Arc<Flight>,
        upstreams: Arc<Upstreams>,
    ) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let fetch = || self.fetch(fetching.clone(), Some(flight.clone()), &upstreams);
            if !self.storage.has_several_hosts() {
                return fetch().await;
            }
            let (began, registry) = (Instant::now(), Registry::new(Config::default()));
            while began.elapsed() < ELSEWHERE {
                let job = Job::Fetch(fetching.repository.clone(), fetching.digest);
                if let Ok(Leased::Done(result)) = self.under_lease(&registry, job, Claim::Free, fetch()).await {
                    return result;
                }
                tokio::time::sleep(LOOK).await;
                // With no upstream to ask, it finds the blob or nothing.
                if let Ok(()) = self.fetch(fetching.clone(), None, &Arc::default()).await {
                    return Ok(());
                }
            }
            fetch().await
        })
    }

    async fn fetch(
        &self,
        fetching: Fetching,
        flight: Option<Arc<Flight>>,
        upstreams: &Arc<Upstreams>,
    ) -> Result<(), Error> {
        let mut body = RequestBody::empty();
        let mut own = Belongings { flight, ..Belongings::new(&mut body, upstreams) };
        self.run_with(fetching.begin(ambient()), &mut own).await
    }

    /// Asks for bytes of a blob that are to be passed on.
    async fn relay(
        &self,
        source: &Source,
        range: Option<Range<u64>>,
        own: &mut Belongings<'_>,
    ) -> Result<Relayed, Unmet> {
        let upstream = own.upstreams.get(&source.upstream)?;
        let (relayed, relaying) = upstream.relay(source, range, &self.counters().upstreams).await?;
        own.relaying = Some(relaying);
        Ok(relayed)
    }

    /// Makes objects of files of another program, durably: of which of them. In a data directory alone, and while nothing
    /// else is done with that: an object is as old as its file, and garbage until a record names it.
    pub(crate) async fn adopt(&self, adoptions: Vec<Adoption>) -> Result<Vec<bool>, Fault> {
        self.storage.adopt(adoptions).await
    }

    /// Ends uploads in an object store that no record knows and no call that lives has begun, which garbage collection of
    /// objects cannot see: how many there were.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn end_unrecorded(&self) -> Result<u64, Fault> {
        self.storage.end_unrecorded(self.call_lifetime).await
    }

    /// Opens the objects of a body that is to be streamed; `None` when one is not there.
    pub(crate) async fn open_pieces(&self, pieces: Pieces) -> Result<Option<Opened>, Fault> {
        self.storage.open_pieces(pieces).await
    }
}

/// The clock of a call, for the [stall rule](Stall). One clock stands still while the machine sleeps, the other can be
/// set back: the later of them is right.
struct Clock {
    instant: Instant,
    time: SystemTime,
}

impl Clock {
    fn start() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    fn passed(&self) -> Duration {
        self.instant.elapsed().max(self.time.elapsed().unwrap_or_default())
    }
}
