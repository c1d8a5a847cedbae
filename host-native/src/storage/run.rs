//! The host: performs what the core asks for, until a call is over.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use orlop_core::effect::ContentId;
use orlop_core::step::Ask;
use orlop_core::{Fault, Step};
use tokio::sync::Semaphore;

use crate::settings::Options;
use crate::storage::body::{Held, RequestBody, UNIT};
use crate::storage::engine::{Opened, Storage};
use crate::storage::receive::{Receiving, receive};
use crate::storage::{Backup, Counters, OpenError};

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
        Ok(Self {
            storage: Storage::open(directory, options)?,
            call_lifetime: options.call_lifetime,
            collected: Arc::new(Semaphore::new(COLLECTED / UNIT)),
            receiving: Receiving::default(),
            leaving: AtomicBool::new(false),
        })
    }

    /// How many records there are.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn count_records(&self) -> Result<u64, Fault> {
        self.storage.count()
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

    /// What the storage counts.
    pub(crate) fn counters(&self) -> &Counters {
        self.storage.counters()
    }

    /// Runs a call to its end. `body` is what the call may ask for.
    pub async fn run<R: Send>(&self, mut step: Step<R>, body: &mut RequestBody) -> R {
        let mut unnamed = Unnamed::new(self.call_lifetime);
        let mut held = Held::of(&self.collected);
        loop {
            step = match step {
                Step::Collect(Ask { effect, waiting }) => {
                    waiting.answer(Ok(body.collect(effect.limit, &mut held).await))
                }
                Step::Receive(Ask { effect, waiting }) => {
                    let received = receive(&self.storage, &self.receiving, effect, body).await;
                    unnamed.begin();
                    waiting.answer(received)
                }
                Step::Assemble(Ask { effect, waiting }) => {
                    let assembled = self.storage.assemble(effect).await;
                    unnamed.begin();
                    waiting.answer(assembled)
                }
                Step::Load(Ask { effect, waiting }) => waiting.answer(self.storage.load(effect).await),
                Step::Measure(Ask { effect, waiting }) => waiting.answer(self.storage.measure(effect).await),
                Step::Erase(Ask { effect, waiting }) => waiting.answer(self.storage.erase(effect).await),
                Step::Inventory(Ask { effect, waiting }) => waiting.answer(self.storage.inventory(effect).await),
                Step::Get(Ask { effect, waiting }) => waiting.answer(self.storage.get(effect).await),
                Step::Scan(Ask { effect, waiting }) => waiting.answer(self.storage.scan(effect).await),
                Step::Commit(Ask { effect, waiting }) => match unnamed.check() {
                    Ok(()) => waiting.answer(self.storage.commit(effect).await),
                    Err(fault) => waiting.answer(Err(fault)),
                },
                Step::Respond(result) => return result,
            }
        }
    }

    /// Opens a content to be streamed; `None` when it is not there.
    pub(crate) async fn open_content(&self, content: &ContentId) -> Result<Option<Opened>, Fault> {
        self.storage.open_content(content).await
    }
}

/// Since when a call has made bytes that no record names yet.
///
/// The sweep takes bytes that no record names for garbage once they are older than a call can live. A call that was
/// held up for so long (a suspended machine, a disk that hung) might name bytes that are gone. So nothing is committed
/// when more than half of that time has passed since the first of its bytes were there; the other half is for the
/// commit itself.
struct Unnamed {
    since: Option<(Instant, SystemTime)>,
    most: Duration,
}

impl Unnamed {
    fn new(call_lifetime: Duration) -> Self {
        Self { since: None, most: call_lifetime / 2 }
    }

    fn begin(&mut self) {
        self.since.get_or_insert_with(|| (Instant::now(), SystemTime::now()));
    }

    fn check(&self) -> Result<(), Fault> {
        let Some((instant, time)) = self.since else { return Ok(()) };
        // The one clock stands still while the machine sleeps, the other can be set back: the later of them is right.
        let passed = instant.elapsed().max(time.elapsed().unwrap_or_default());
        if passed <= self.most {
            return Ok(());
        }
        Err(Fault::Failed(format!("a call was held up for {passed:?}: its bytes may be taken for abandoned")))
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::effect::{Assemble, Commit, Committed, ContentId, Durability};
    use orlop_core::keys::Key;
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_call_that_was_held_up_names_no_bytes() {
        let directory = TempDir::new().unwrap();
        // No call is as fast as this asks, so every one was held up.
        let options = Options { call_lifetime: Duration::ZERO, ..Options::default() };
        let host = Host::open(directory.path(), &options).unwrap();
        let content = ContentId { digest: orlop_core::digest::Algorithm::Sha256.digest(b""), nonce: Uuid::nil() };
        let commit = |name: &str| {
            let put = vec![(Key::stored(name), bytes::Bytes::new())];
            Commit { expect: vec![], put, delete: vec![], durability: Durability::Durable }
        };
        let (first, second) = (commit("first"), commit("second"));
        let call = orlop_core::step::start(|io| async move {
            let before = io.ask(first).await;
            io.ask(Assemble { parts: vec![], content }).await.unwrap();
            (before, io.ask(second).await)
        });
        let (before, after) = host.run(call, &mut RequestBody::empty()).await;
        assert_eq!(before, Ok(Committed::Done), "there were no bytes yet");
        assert!(matches!(after, Err(Fault::Failed(_))), "{after:?}");
        assert_eq!(host.count_records(), Ok(1));
    }
}
