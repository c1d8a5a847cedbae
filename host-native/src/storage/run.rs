//! The host: performs what the core asks for, until a call is over.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use orlop_core::effect::{BodyEnd, Received};
use orlop_core::http::Pieces;
use orlop_core::mirror::{Followed, Unmet};
use orlop_core::object::ObjectId;
use orlop_core::stall::Stall;
use orlop_core::step::{Ask, Rest};
use orlop_core::{Error, Fault, Step};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::settings::{Engines, Options};
use crate::storage::body::{Held, RequestBody, UNIT};
use crate::storage::engine::{Opened, Storage};
use crate::storage::receive::{Open, Receiving, receive};
use crate::storage::{Backup, Counters, OpenError, Presence, Use};

/// How many bytes all bodies that are collected may take together: thousands of usual manifests, or 32 of the largest.
const COLLECTED: usize = 128 << 20;

/// The storage of one registry, and all that is done with it.
pub struct Host {
    storage: Storage,
    call_lifetime: Duration,
    /// What all bodies that are collected may take together.
    collected: Arc<Semaphore>,
    /// The bodies that are being received.
    receiving: Receiving,
    /// Whether nobody should come any more.
    leaving: AtomicBool,
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
            storage,
            call_lifetime: options.call_lifetime,
            collected: Arc::new(Semaphore::new(COLLECTED / UNIT)),
            receiving: Receiving::default(),
            leaving: AtomicBool::new(false),
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
        let (result, rest) = self.answer(step, body).await;
        if let Some(rest) = rest {
            self.finish(rest).await;
        }
        result
    }

    /// Does what a call has left for after its answer. None of it asks for a body.
    pub(crate) async fn finish(&self, rest: Rest) {
        // What is left has nothing to leave in its turn.
        let _ = self.answer(rest.begin(), &mut RequestBody::empty()).await;
    }

    /// Runs a call until it has its result, and gives what it leaves for afterwards.
    pub(crate) async fn answer<R: Send>(&self, mut step: Step<R>, body: &mut RequestBody) -> (R, Option<Rest>) {
        let clock = Clock::start();
        let mut stall = Stall::new(self.call_lifetime);
        let mut held = Held::of(&self.collected);
        let mut open: Option<Open> = None;
        loop {
            step = match step {
                Step::Collect(Ask { effect, waiting }) => {
                    waiting.answer(Ok(body.collect(effect.limit, &mut held).await))
                }
                Step::Receive(Ask { effect, waiting }) => {
                    let began = clock.passed();
                    // Boxed, as what measures: they are large, and a pull, which needs neither, would have to move them.
                    let receiving = receive(&self.storage, &self.receiving, effect, body, &mut open);
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
                Step::Measure(Ask { effect, waiting }) => waiting.answer(Box::pin(self.storage.measure(effect)).await),
                Step::Erase(Ask { effect, waiting }) => {
                    // An object that was still being received goes as it is dropped.
                    open = open.filter(|open| !effect.objects.contains(&open.object));
                    waiting.answer(self.storage.erase(effect).await)
                }
                Step::Inventory(Ask { effect, waiting }) => waiting.answer(self.storage.inventory(effect).await),
                Step::Get(Ask { effect, waiting }) => waiting.answer(self.storage.get(effect).await),
                Step::Scan(Ask { effect, waiting }) => waiting.answer(self.storage.scan(effect).await),
                Step::Commit(Ask { effect, waiting }) => match stall.check(clock.passed()) {
                    Ok(()) => waiting.answer(self.storage.commit(effect).await),
                    Err(fault) => waiting.answer(Err(fault)),
                },
                // No setting makes a mirror, so there is no upstream to ask.
                Step::Inquire(Ask { waiting, .. }) => waiting.answer(Ok(Err(Unmet::Absent))),
                Step::Fetch(Ask { waiting, .. }) => waiting.answer(Ok(Err(Unmet::Absent))),
                Step::Follow(Ask { effect, waiting }) => {
                    let unknown = Error::BlobUnknown(effect.fetching.digest);
                    waiting.answer(Ok(Followed::Over(Err(unknown))))
                }
                Step::Relay(Ask { waiting, .. }) => waiting.answer(Ok(Err(Unmet::Absent))),
                Step::Respond(result) => return (result, None),
                Step::Answered(result, rest) => return (result, Some(rest)),
            }
        }
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
