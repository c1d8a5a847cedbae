//! Reading a blob once for all who want it: from the store into a file, or from a file past a hash.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use orlop_core::Fault;
use orlop_core::digest::Digest;
use orlop_core::http::Pieces;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Cache;
use crate::storage::disk::{Opened, blocking, fault, space, write_all};
use crate::storage::shared::objects::{Bytestream, Objects, Place, Verify};

/// How many bytes a batch has at most: as many are written while the next ones come.
const BATCH: usize = 1 << 20;

/// How many bytes the batches of all jobs have together, and as many that are written; with very many, what their pieces
/// have.
const TOGETHER: usize = 16 << 20;

/// How many bytes the first batch has: whoever waits for the first byte waits for that.
const FIRST: usize = 64 << 10;

/// How long bytes wait to become a batch.
const GATHERING: Duration = Duration::from_millis(100);

/// How far a job has come, for one that waits for it.
pub(in crate::storage::shared) type Progressing = watch::Receiver<Progress>;

/// How far a job has come.
#[derive(Clone, Default)]
pub(in crate::storage::shared) struct Progress {
    /// The file, once there is one and the store has begun to answer.
    pub(in crate::storage::shared) file: Option<Arc<Opened>>,
    /// How many bytes of it are there. All of them are only once they are known to be right.
    pub(in crate::storage::shared) filled: u64,
    /// Why there are going to be no more, if that is so.
    pub(in crate::storage::shared) end: Option<End>,
}

/// Why a job went no further.
#[derive(Clone)]
pub(in crate::storage::shared) enum End {
    /// The store does not have the first object.
    Gone,
    /// The store cannot be read, or has other bytes.
    Failed(Fault),
    /// The file cannot be written or read. What it has was seen by this, which can go on with the rest from the store.
    Stopped(Box<Verify>),
}

/// A blob that is being read.
#[derive(Default)]
pub(super) struct Fill {
    progress: watch::Sender<Progress>,
}

impl Fill {
    pub(super) fn progress(&self) -> Progressing {
        self.progress.subscribe()
    }
}

/// The reading of a blob. When it ends, however it does, others may begin it anew.
pub(super) struct Job {
    cache: Cache,
    digest: Digest,
    fill: Arc<Fill>,
    /// How many bytes are reserved for its file.
    reserved: u64,
    /// What is to go to make room for it.
    evicted: Vec<Digest>,
}

/// A file that is being filled, and goes when it is not [kept](super::place::Directory::keep).
struct Partial {
    path: PathBuf,
    file: Arc<Opened>,
    kept: bool,
}

/// What has come since the last batch.
struct Batch {
    pieces: Vec<Bytes>,
    /// What has seen all until here.
    verify: Verify,
    last: bool,
}

impl Job {
    pub(super) fn new(cache: Cache, digest: Digest, fill: Arc<Fill>, reserved: u64, evicted: Vec<Digest>) -> Self {
        Self { cache, digest, fill, reserved, evicted }
    }

    /// Reads the blob from the store into a file, as fast as these two can.
    pub(super) async fn fetch(mut self, objects: Objects, pieces: Pieces) {
        let verify = Verify::new(&objects, self.digest, &pieces);
        let mut partial = match self.create().await {
            Ok(partial) => partial,
            Err(fault) => return self.stop(&fault, verify),
        };
        let mut stream = match objects.read_all(pieces.blob).await {
            Ok(Some(stream)) => stream,
            Ok(None) => return self.end(End::Gone),
            Err(fault) => return self.end(End::Failed(fault)),
        };
        self.fill.progress.send_modify(|progress| progress.file = Some(partial.file.clone()));
        let mut written = verify.clone();
        let mut most = FIRST;
        let mut came = gather(&mut stream, verify, most).await;
        loop {
            let Batch { pieces, verify, last } = match came {
                Ok(batch) => batch,
                Err(fault) => return self.failed(fault),
            };
            let length: usize = pieces.iter().map(Bytes::len).sum();
            let (file, path) = (partial.file.clone(), partial.path.clone());
            let writing = blocking::begin(move || {
                write_all(file.file(), &pieces).map_err(|error| fault::at("write", &path, &error))
            });
            most = (most * 2).min(self.share());
            let next = async {
                match last {
                    true => None,
                    false => Some(gather(&mut stream, verify.clone(), most).await),
                }
            };
            let (wrote, next) = tokio::join!(writing, next);
            if let Err(fault) = blocking::finished(wrote) {
                return self.stop(&fault, written);
            }
            self.cache.0.counters.cache_filled.inc_by(length as u64);
            written = verify;
            let Some(next) = next else { break };
            self.reach(written.count());
            came = next;
        }
        let kept = self.keep(&mut partial).await;
        self.reach(written.count());
        if let Err(fault) = kept {
            self.cache.tell(&fault.to_string());
        }
    }

    /// Reads a file of the cache past a hash, as fast as the disk can.
    pub(super) async fn read_again(self, objects: Objects, pieces: Pieces, opened: Arc<Opened>, modified: SystemTime) {
        let mut verify = Verify::new(&objects, self.digest, &pieces);
        self.fill.progress.send_modify(|progress| progress.file = Some(opened.clone()));
        let mut buffer = vec![0; BATCH];
        while verify.count() < verify.size() {
            let file = opened.clone();
            let mut seen = verify.clone();
            let reading = blocking::run(move || {
                let wanted = usize::try_from(seen.size() - seen.count()).unwrap_or(BATCH).min(BATCH);
                let read = file.read(&mut buffer[..wanted], seen.count());
                let passed = read.is_ok().then(|| seen.pass(&buffer[..wanted], Place::Cache));
                Ok((seen, buffer, read, passed))
            });
            let (seen, read, passed);
            (seen, buffer, read, passed) = match reading.await {
                Ok(read) => read,
                Err(fault) => return self.end(End::Failed(fault)),
            };
            if let Err(fault) = read {
                self.cache.unreadable(&self.digest, &fault);
                return self.end(End::Stopped(Box::new(verify)));
            }
            if let Some(Err(fault)) = passed {
                self.cache.unreadable(&self.digest, &fault);
                return match verify.count() {
                    // Nothing was sent of it.
                    0 => self.end(End::Stopped(Box::new(verify))),
                    _ => self.end(End::Failed(fault)),
                };
            }
            verify = seen;
            self.reach(verify.count());
        }
        self.cache.index().trust(&self.digest, modified);
    }

    /// The file to be filled, once there is room for it on the disk.
    async fn create(&mut self) -> Result<Partial, Fault> {
        let (cache, size, evicted) = (self.cache.clone(), self.reserved, std::mem::take(&mut self.evicted));
        blocking::run(move || {
            cache.evict(&evicted);
            let directory = &cache.0.directory;
            let wanted = cache.0.keep_free.saturating_add(size);
            if space::check(directory.path(), wanted).is_err() {
                let evicted = cache.index().free(size);
                cache.evict(&evicted);
                space::check(directory.path(), wanted)?;
            }
            let path = directory.partial();
            let made = File::options().read(true).write(true).create_new(true).open(&path);
            let file = made.map_err(|error| fault::at("make", &path, &error))?;
            let file = Arc::new(Opened::of(file, &path));
            Ok(Partial { path, file, kept: false })
        })
        .await
    }

    /// Puts the file into its place, and into the index.
    async fn keep(&mut self, partial: &mut Partial) -> Result<(), Fault> {
        let (cache, digest, path, file) = (self.cache.clone(), self.digest, partial.path.clone(), partial.file.clone());
        let modified = blocking::run(move || {
            let kept = cache.0.directory.keep(&path, &digest).and_then(|()| file.file().metadata()?.modified());
            kept.map_err(|error| fault::at("keep", &path, &error))
        })
        .await?;
        partial.kept = true;
        let mut index = self.cache.index();
        index.release(self.reserved);
        index.add(self.digest, self.reserved, Some((modified, &partial.file)));
        self.reserved = 0;
        Ok(())
    }

    /// How many bytes a batch has while there are as many jobs as now.
    fn share(&self) -> usize {
        (TOGETHER / self.cache.index().fills.len().max(1)).clamp(BATCH / 4, BATCH)
    }

    fn reach(&self, filled: u64) {
        self.fill.progress.send_modify(|progress| progress.filled = filled);
    }

    /// The store cannot be read, or its bytes are wrong.
    fn failed(self, fault: Fault) {
        tracing::error!("{} is not read to its end: {fault}", self.digest);
        self.end(End::Failed(fault));
    }

    /// The file cannot be written: all who read it go on from the store.
    fn stop(self, fault: &Fault, verify: Verify) {
        self.cache.tell(&fault.to_string());
        self.end(End::Stopped(Box::new(verify)));
    }

    fn end(self, end: End) {
        self.fill.progress.send_modify(|progress| progress.end = Some(end));
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let mut index = self.cache.index();
        index.fills.remove(&self.digest);
        index.release(self.reserved);
        let removed = std::mem::take(&mut self.evicted);
        drop(index);
        self.cache.evict(&removed);
        // For whoever still waits: if all has come, this is looked at by nobody.
        self.fill.progress.send_modify(|progress| {
            progress.end.get_or_insert_with(|| End::Failed(Fault::Failed("the reading of the blob has ended".into())));
        });
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            // If this fails, the next start removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The next bytes, `most` or a little more, past the hash.
async fn gather(stream: &mut Bytestream, mut verify: Verify, most: usize) -> Result<Batch, Fault> {
    let (mut pieces, mut length) = (Vec::new(), 0);
    let due = Instant::now() + GATHERING;
    while length < most {
        let came = match pieces.is_empty() {
            true => stream.next().await,
            false => match timeout_at(due, stream.next()).await {
                Ok(came) => came,
                Err(_) => break,
            },
        };
        let Some(bytes) = came.transpose()? else { break };
        verify.pass(&bytes, Place::Store)?;
        length += bytes.len();
        pieces.push(bytes);
        // To hash some hundred KiB takes a while, in which others have something to do too.
        tokio::task::yield_now().await;
    }
    let last = verify.count() >= verify.size();
    Ok(Batch { pieces, verify, last })
}
