//! The host: performs what the core asks for, until a call is over.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use orlop_core::step::Ask;
use orlop_core::{Config, Fault, Step};
use tokio::sync::Semaphore;

use crate::storage::body::{Held, RequestBody, UNIT};
use crate::storage::directory::backup::{Backup, back_up};
use crate::storage::directory::blocking;
use crate::storage::directory::files::{Files, Opened};
use crate::storage::directory::lock::{DataDirectory, OpenError};
use crate::storage::directory::records::Records;
use crate::storage::receive::receive;

/// How many bytes all bodies that are collected may take together: thousands of usual manifests, or 32 of the largest.
const COLLECTED: usize = 128 << 20;

/// What a host is given besides a data directory.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many bytes of the records are held in memory.
    pub cache: usize,
    /// How many bytes of the disk are left free: uploads stop there, so that deleting still works.
    pub keep_free: u64,
    /// Longer than any call can live, as the core's configuration has it.
    pub call_lifetime: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache: 64 << 20, keep_free: 64 << 20, call_lifetime: Config::default().call_lifetime }
    }
}

/// The storage of one data directory, and all that is done with it.
pub struct Host {
    files: Files,
    records: Arc<Records>,
    call_lifetime: Duration,
    /// What all bodies that are collected may take together.
    collected: Arc<Semaphore>,
    /// Whether nobody should come any more.
    leaving: AtomicBool,
    /// Let go last.
    directory: DataDirectory,
}

impl Host {
    /// Opens a data directory, which is made if there is none. Nobody else may have it open.
    ///
    /// # Errors
    ///
    /// When another process has it, or it cannot be read and written.
    pub fn open(directory: &Path, options: &Options) -> Result<Self, OpenError> {
        let locked = DataDirectory::lock(directory)?;
        let files = Files::open(directory, options.keep_free)?;
        if !Records::exist(directory)? && files.have_contents()? {
            return Err(OpenError::RecordsMissing(directory.to_owned()));
        }
        let records = Arc::new(Records::open(directory, options.cache, options.keep_free)?);
        // The records are worth nothing in a file that a power cut leaves without a name.
        locked.sync()?;
        let collected = Arc::new(Semaphore::new(COLLECTED / UNIT));
        Ok(Self {
            files,
            records,
            call_lifetime: options.call_lifetime,
            collected,
            leaving: AtomicBool::new(false),
            directory: locked,
        })
    }

    /// How many records there are.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn count_records(&self) -> Result<u64, Fault> {
        self.records.count()
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
        self.records.count()?;
        self.files.room().await
    }

    /// Makes a backup in the data directory, as of one moment, while calls go on. Those that erase something wait.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails. The backup before this one stays then.
    pub async fn back_up(&self) -> Result<Backup, Fault> {
        let kept = self.files.keep_all().await;
        let (records, files, directory) = (self.records.clone(), self.files.clone(), self.directory.path().to_owned());
        let made = blocking::run(move || back_up(&records, &directory, &files.directories())).await;
        drop(kept);
        made
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
                    let received = receive(&self.files, effect, body).await;
                    unnamed.begin();
                    waiting.answer(received)
                }
                Step::Assemble(Ask { effect, waiting }) => {
                    let assembled = self.files.assemble(effect).await;
                    unnamed.begin();
                    waiting.answer(assembled)
                }
                Step::Load(Ask { effect, waiting }) => waiting.answer(self.files.load(effect).await),
                Step::Measure(Ask { effect, waiting }) => waiting.answer(self.files.measure(effect).await),
                Step::Erase(Ask { effect, waiting }) => waiting.answer(self.files.erase(effect).await),
                Step::Inventory(Ask { effect, waiting }) => waiting.answer(self.files.inventory(effect).await),
                Step::Get(Ask { effect, waiting }) => waiting.answer(self.records.get(effect).await),
                Step::Scan(Ask { effect, waiting }) => waiting.answer(self.records.scan(effect).await),
                Step::Commit(Ask { effect, waiting }) => match unnamed.check() {
                    Ok(()) => waiting.answer(self.records.commit(effect).await),
                    Err(fault) => waiting.answer(Err(fault)),
                },
                Step::Respond(result) => return result,
            }
        }
    }

    /// Opens a content to be streamed; `None` when it is not there.
    pub(crate) async fn open_content(&self, content: &orlop_core::effect::ContentId) -> Result<Option<Opened>, Fault> {
        self.files.open_content(content).await
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
