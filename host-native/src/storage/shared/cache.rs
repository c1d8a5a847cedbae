//! What was pulled from the object store, on a disk of this machine.
//!
//! A file has the bytes of one blob, of however many objects, and is named by its digest, so that it says by itself whether
//! it is right. A blob is read from the store once, into a file, by a task that waits for no client; all who want it are
//! sent what the file has already ([`Fill`](fill::Fill)). Its bytes are hashed meanwhile, and the last of them are there
//! for nobody before the hash is right.
//!
//! Nothing here is durable, and nothing is believed: a file that was there at the start, that was written to, or that was
//! hashed more than a day ago is read past a hash again while it is sent. Whatever is wrong with the disk, the answer is
//! to read from the store.

mod fill;
mod index;
mod place;

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orlop_core::Fault;
use orlop_core::digest::Digest;
use orlop_core::http::{Piece, Pieces};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

pub(super) use self::fill::{End, Progress, Progressing};
use self::fill::{Fill, Job};
use self::index::Index;
use self::place::Directory;
use super::objects::Objects;
use crate::settings::CacheSettings;
use crate::storage::counters::Counters;
use crate::storage::disk::{Opened, blocking};

/// How many blobs are read into files at once. More of them are read past the cache, and none waits.
const FILLS: usize = 64;

/// A range from the first byte on that has so many bytes is likely to be followed by the rest.
const BEGINNING: u64 = 1 << 20;

/// How often it is told that the cache cannot be written.
const TELL: Duration = Duration::from_secs(60);

/// Whether a directory can be used as a cache.
///
/// # Errors
///
/// With what is wrong.
pub(super) fn check(settings: &CacheSettings) -> Result<(), String> {
    place::check(&settings.directory)
}

/// A cache of blobs. A clone is the same.
#[derive(Clone)]
pub(super) struct Cache(Arc<Inner>);

struct Inner {
    directory: Directory,
    keep_free: u64,
    index: Mutex<Index>,
    counters: Counters,
    /// When it was last told that the cache cannot be written.
    told: Mutex<Option<Instant>>,
}

/// Where a blob can be read.
pub(super) enum Source {
    /// A file has all of it.
    File(Arc<Opened>),
    /// A file is being filled with it, or read past a hash.
    Fill(Progressing),
}

impl Cache {
    /// Opens a cache, which is made if there is none.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used.
    pub(super) async fn open(settings: &CacheSettings, keep_free: u64, counters: &Counters) -> Result<Self, String> {
        let (settings, counters) = (settings.clone(), counters.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let (directory, mut found) = Directory::open(&settings.directory)?;
            found.sort_by_key(|found| found.used);
            let mut index = Index::new(settings.size);
            for found in found {
                index.add(found.digest, found.size, None);
            }
            let cache = Inner { directory, keep_free, index: Mutex::new(index), counters, told: Mutex::default() };
            let cache = Self(Arc::new(cache));
            let over = cache.index().make_room(0).unwrap_or_default();
            cache.evict(&over);
            Ok(cache)
        });
        opened.await.map_err(|error| error.to_string())?
    }

    /// Where the cache has a blob, or is going to have it from now on; `None` when it is to be read from the store, as all
    /// that is no blob.
    pub(super) async fn find(&self, objects: &Objects, pieces: &Pieces) -> Option<Source> {
        let digest = pieces.digest?;
        let size = pieces.blob.iter().map(Piece::length).sum();
        let (source, result) = match self.look(objects, digest, pieces, size).await {
            Some((source, result)) => (Some(source), result),
            None => match self.begin(objects, &digest, pieces, size) {
                Some((source, result)) => (Some(source), result),
                None => (None, "bypass"),
            },
        };
        self.0.counters.cache_read(result);
        source
    }

    /// What is there of a blob.
    async fn look(
        &self,
        objects: &Objects,
        digest: Digest,
        pieces: &Pieces,
        size: u64,
    ) -> Option<(Source, &'static str)> {
        let (found, open) = {
            let mut index = self.index();
            if let Some(fill) = index.fills.get(&digest) {
                return Some((Source::Fill(fill.progress()), "shared"));
            }
            index.use_file(&digest)?
        };
        let opened = match open {
            Some(open) => open,
            None => {
                let path = self.0.directory.file(&digest);
                // To hand this to another thread costs several times as much as it does.
                let opened = match Opened::open_cached(&path) {
                    Some(opened) => Ok(Some(opened)),
                    None => blocking::run(move || Opened::open(&path)).await,
                };
                match opened {
                    Ok(Some(opened)) => Arc::new(opened),
                    Ok(None) => {
                        self.drop_file(&digest, "it is gone");
                        return None;
                    }
                    Err(fault) => {
                        self.drop_file(&digest, &fault.to_string());
                        return None;
                    }
                }
            }
        };
        let metadata = opened.file().metadata().and_then(|metadata| Ok((metadata.len(), metadata.modified()?)));
        let modified = match metadata {
            Ok((length, modified)) if length == size && found == size => modified,
            Ok((length, _)) => {
                self.drop_file(&digest, &format!("it has {length} bytes, and {size} are recorded"));
                return None;
            }
            Err(error) => {
                self.drop_file(&digest, &error.to_string());
                return None;
            }
        };
        let (trusted, noted) = {
            let mut index = self.index();
            (index.is_trusted(&digest, modified, &opened), index.notes(&digest))
        };
        if noted {
            note(&opened);
        }
        if trusted {
            return Some((Source::File(opened), "hit"));
        }
        let (job, progress) = match self.job(&digest, 0)? {
            Ok(begun) => begun,
            Err(progress) => return Some((Source::Fill(progress), "shared")),
        };
        tokio::spawn(job.read_again(objects.clone(), pieces.clone(), opened, modified));
        Some((Source::Fill(progress), "hit"))
    }

    /// Begins to read a blob from the store into a file, if it is to have one.
    fn begin(&self, objects: &Objects, digest: &Digest, pieces: &Pieces, size: u64) -> Option<(Source, &'static str)> {
        if !self.index().takes(size) || !begins(pieces) {
            return None;
        }
        match self.job(digest, size)? {
            Err(progress) => Some((Source::Fill(progress), "shared")),
            Ok((job, progress)) => {
                tokio::spawn(job.fetch(objects.clone(), pieces.clone()));
                Some((Source::Fill(progress), "miss"))
            }
        }
    }

    /// A job for a blob, with room for `size` bytes; or how far the one has come that there is. `None` when there are too
    /// many, or no room.
    fn job(&self, digest: &Digest, size: u64) -> Option<Result<(Job, Progressing), Progressing>> {
        let mut index = self.index();
        if let Some(fill) = index.fills.get(digest) {
            return Some(Err(fill.progress()));
        }
        if index.fills.len() >= FILLS {
            return None;
        }
        let evicted = if size == 0 { Vec::new() } else { index.make_room(size)? };
        index.reserve(size);
        let fill = Arc::new(Fill::default());
        let progress = fill.progress();
        index.fills.insert(*digest, fill.clone());
        drop(index);
        Some(Ok((Job::new(self.clone(), *digest, fill, size, evicted), progress)))
    }

    /// A file that was being read cannot be read: it is dropped, and the store has the bytes.
    pub(super) fn unreadable(&self, digest: &Digest, fault: &Fault) {
        self.drop_file(digest, &fault.to_string());
    }

    /// Drops a file. The blob is read from the store again.
    fn drop_file(&self, digest: &Digest, why: &str) {
        if !self.index().remove(digest) {
            return;
        }
        tracing::warn!("the file of {digest} in the object cache is dropped: {why}");
        self.count();
        let path = self.0.directory.file(digest);
        // Its end is not awaited: whoever finds the name before it goes finds the same file, and drops it again.
        drop(blocking::begin(move || {
            let _ = fs::remove_file(path);
            Ok(())
        }));
    }

    /// Removes files that are in the index no more. It may wait for the disk.
    fn evict(&self, digests: &[Digest]) {
        for digest in digests {
            let path = self.0.directory.file(digest);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    self.tell(&format!("{} cannot be removed: {error}", path.display()));
                }
                _ => {}
            }
        }
        self.0.counters.cache_evictions.inc_by(digests.len() as u64);
        self.count();
    }

    /// Says that the cache cannot be written, once in a while.
    fn tell(&self, why: &str) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() > TELL) {
            *told = Some(Instant::now());
            tracing::warn!("the object cache takes nothing for now, and pulls are served from the store: {why}");
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) {
        let bytes = self.index().bytes();
        self.0.counters.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// Whether what is wanted is worth reading all of the blob: that is wanted, or a good part from the first byte on. A client
/// that looks at the end of a layer of gigabytes does not have all of it fetched.
fn begins(pieces: &Pieces) -> bool {
    let Some(part) = &pieces.part else { return true };
    match (part.first(), pieces.blob.first()) {
        (Some(Piece::Slice(first, range)), Some(Piece::Slice(object, _))) => {
            first == object && range.start == 0 && part.iter().map(Piece::length).sum::<u64>() >= BEGINNING
        }
        _ => false,
    }
}

/// Where each object of a blob begins in it.
pub(super) fn beginnings(pieces: &Pieces) -> HashMap<orlop_core::object::ObjectId, u64> {
    let mut begin = 0;
    let mut beginnings = HashMap::with_capacity(pieces.blob.len());
    for piece in &pieces.blob {
        if let Piece::Slice(object, _) = piece {
            beginnings.insert(*object, begin);
        }
        begin += piece.length();
    }
    beginnings
}

/// Notes on the disk that a file is used, so that it is known after a start. File systems do that by themselves once a
/// day, or never.
fn note(file: &Arc<Opened>) {
    let file = file.clone();
    drop(blocking::begin(move || {
        let time = |nanoseconds| Timespec { tv_sec: 0, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time(UTIME_NOW), last_modification: time(UTIME_OMIT) };
        let _ = rustix::fs::futimens(file.file(), &times);
        Ok(())
    }));
}
