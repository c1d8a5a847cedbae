//! Bytes at rest: parts and contents as plain files, each written once.
//!
//! | file | what |
//! |---|---|
//! | `uploads/a/<upload>.<nonce>` | a part; `a` is the first digit of `<upload>` |
//! | `blobs/sha256/ab/<hex>/<nonce>` | a content; `ab` are the first two digits of `<hex>` |
//! | `temporary/…` | a content that is being copied together; what a crash leaves is removed at start-up |
//!
//! Everything here blocks, and runs where it may.

mod assemble;
mod inventory;
mod layout;
mod part;
mod read;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use orlop_core::Fault;
use orlop_core::effect::{Assemble, ContentId, Erase, Inventory, Load, Measure, Object, PartId, Stored};
use orlop_core::meter::Meter;

use self::layout::Layout;
pub(crate) use self::part::PartFile;
pub(crate) use self::read::Opened;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, Semaphore};

use crate::storage::directory::blocking;
use crate::storage::directory::counters::Counters;
use crate::storage::directory::fault;
use crate::storage::directory::sink::Sink;
use crate::storage::directory::space;

/// How many contents are copied together or measured at once.
const WHOLE: usize = 8;

/// The files of one data directory.
#[derive(Clone)]
pub(crate) struct Files {
    layout: Arc<Layout>,
    keep_free: u64,
    /// One permit for each content that may be copied or read as a whole at once: they keep a disk busy, and must not
    /// take all the threads that others wait for.
    whole: Arc<Semaphore>,
    /// Held by whoever erases, and by a backup against all of them.
    erasing: Arc<RwLock<()>>,
}

impl Files {
    /// Makes the directories and removes what a crash left half copied. Once less than `keep_free` bytes are free
    /// on the disk, no more parts and copies are written.
    pub(crate) fn open(directory: &Path, keep_free: u64, counters: &Counters) -> Result<Self, Fault> {
        Ok(Self {
            layout: Arc::new(Layout::prepare(directory, counters.clone())?),
            keep_free,
            whole: Arc::new(Semaphore::new(WHOLE)),
            erasing: Arc::default(),
        })
    }

    /// Whether there is any content, or was before it was erased.
    pub(crate) fn have_contents(&self) -> Result<bool, Fault> {
        self.layout.has_contents()
    }

    /// A part that is to be written. There is no file before there is a byte.
    pub(crate) fn part(&self, part: &PartId) -> PartFile {
        PartFile::new(self.layout.clone(), part, self.keep_free)
    }

    /// The same, written on threads that may wait for the disk.
    pub(crate) fn sink(&self, part: &PartId) -> Sink {
        Sink::new(self.part(part))
    }

    pub(crate) async fn assemble(&self, effect: Assemble) -> Result<(), Fault> {
        let files = self.clone();
        let _permit = if effect.parts.len() > 1 { self.whole.acquire().await.ok() } else { None };
        blocking::run(move || assemble::assemble(&files.layout, files.keep_free, &effect.parts, &effect.content)).await
    }

    pub(crate) async fn load(&self, effect: Load) -> Result<Option<Bytes>, Fault> {
        let path = self.layout.content(&effect.content);
        blocking::run(move || read::load(&path, effect.limit)).await
    }

    pub(crate) async fn measure(&self, effect: Measure) -> Result<Option<Meter>, Fault> {
        let path = self.layout.content(&effect.content);
        let _permit = self.whole.acquire().await.ok();
        blocking::run(move || read::measure(&path, effect.meter)).await
    }

    pub(crate) async fn erase(&self, effect: Erase) -> Result<(), Fault> {
        let _erasing = self.erasing.read().await;
        let layout = self.layout.clone();
        blocking::run(move || erase(&layout, &effect.target)).await
    }

    pub(crate) async fn inventory(&self, effect: Inventory) -> Result<Vec<Stored>, Fault> {
        let layout = self.layout.clone();
        blocking::run(move || inventory::inventory(&layout, effect.after, effect.limit)).await
    }

    /// Faults when there is no room for more parts.
    pub(crate) async fn room(&self) -> Result<(), Fault> {
        let files = self.clone();
        blocking::run(move || space::check(files.layout.root(), files.keep_free)).await
    }

    /// Sees to it that nothing is erased for a while.
    pub(crate) async fn keep_all(&self) -> OwnedRwLockWriteGuard<()> {
        self.erasing.clone().write_owned().await
    }

    /// Where parts and contents are.
    pub(crate) fn directories(&self) -> [&Path; 2] {
        self.layout.directories()
    }

    /// Opens a content to be streamed; `None` when it is not there.
    pub(crate) async fn open_content(&self, content: &ContentId) -> Result<Option<Opened>, Fault> {
        let path = self.layout.content(content);
        // To hand this to another thread costs several times as much as it does.
        if let Some(opened) = Opened::open_cached(&path) {
            return Ok(Some(opened));
        }
        blocking::run(move || Opened::open(&path)).await
    }
}

/// Removes a part or a content.
///
/// The directory is not made durable: a file that comes back after a power cut is one that no record names, and the
/// next sweep finds it again. So an erasing call, and whoever waits for it, is spared an fsync.
fn erase(layout: &Layout, target: &Object) -> Result<(), Fault> {
    let (path, directory) = match target {
        Object::Part(part) => (layout.part(part), None),
        Object::Content(content) => (layout.content(content), Some(layout.contents(&content.digest))),
    };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(fault::at("remove", &path, &error));
        }
        _ => {}
    }
    if let Some(directory) = directory {
        // This refuses a directory with another content in it, which is what is wanted. Whoever is about to put
        // one there makes the directory again.
        let _ = std::fs::remove_dir(directory);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
