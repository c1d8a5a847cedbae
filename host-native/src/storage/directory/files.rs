//! Objects as plain files, each written once: `objects/ab/<name>`, where `ab` are the first two digits of the name.
//!
//! Everything here blocks, and runs where it may.

mod adopt;
mod inventory;
mod layout;
mod object;
mod read;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use orlop_core::Fault;
use orlop_core::effect::{Erase, Inventory, Join, Load, Measure, Stored};
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;

pub(crate) use self::adopt::{Adoption, Means, means};
use self::layout::Layout;
pub(crate) use self::object::ObjectFile;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, Semaphore};

use crate::storage::counters::Counters;
use crate::storage::directory::sink::Sink;
use crate::storage::directory::window::Window;
use crate::storage::disk::blocking;
use crate::storage::disk::fault;
use crate::storage::disk::{Opened, Pace, space};

/// How many calls copy or measure objects at once.
const WHOLE: usize = 8;

/// The files of one data directory.
#[derive(Clone)]
pub(crate) struct Files {
    layout: Arc<Layout>,
    keep_free: u64,
    /// One permit for each call that may copy objects or read them as a whole at once: that keeps a disk busy, and must
    /// not take all the threads that others wait for.
    whole: Arc<Semaphore>,
    /// Held by each call that erases, and by a backup against all of them.
    erasing: Arc<RwLock<()>>,
}

impl Files {
    /// Makes the directories that are missing. Once less than `keep_free` bytes are free on the disk, no more objects
    /// are written.
    pub(crate) fn open(directory: &Path, keep_free: u64, counters: &Counters) -> Result<Self, Fault> {
        Ok(Self {
            layout: Arc::new(Layout::prepare(directory, counters.clone())?),
            keep_free,
            whole: Arc::new(Semaphore::new(WHOLE)),
            erasing: Arc::default(),
        })
    }

    /// Whether a data directory has the directory of objects.
    pub(crate) fn exist(directory: &Path) -> Result<bool, Fault> {
        Layout::exists(directory)
    }

    /// An object that is to be written. There is no file before there is a byte.
    pub(crate) fn object(&self, object: &ObjectId) -> ObjectFile {
        ObjectFile::new(self.layout.clone(), object, self.keep_free)
    }

    /// The same, written on threads that may wait for the disk.
    pub(crate) fn sink(&self, object: &ObjectId) -> Sink {
        Sink::new(self.object(object))
    }

    pub(crate) async fn join(&self, effect: Join) -> Result<bool, Fault> {
        let (paths, into) = (self.paths(&effect.from), self.object(&effect.into));
        let _permit = self.whole.acquire().await.ok();
        blocking::run(move || read::join(&paths, into)).await
    }

    pub(crate) async fn load(&self, effect: Load) -> Result<Option<Bytes>, Fault> {
        let paths = self.paths(&effect.objects);
        blocking::run(move || read::load(&paths, effect.limit)).await
    }

    pub(crate) async fn measure(&self, effect: Measure, pace: Option<Pace>) -> Result<Option<Meter>, Fault> {
        let paths = self.paths(&effect.objects);
        // What takes its time keeps no others from theirs.
        let _permit = if pace.is_none() { self.whole.acquire().await.ok() } else { None };
        blocking::run(move || read::measure(&paths, effect.meter, pace)).await
    }

    /// Removes objects. While a backup is made they stay, as orphans, and nothing waits for it.
    ///
    /// The directory is not made durable: a file that comes back after a power cut is an orphan too, which the next
    /// garbage collection finds. So whoever waits for this is spared an fsync.
    pub(crate) async fn erase(&self, effect: Erase) -> Result<(), Fault> {
        let paths = self.paths(&effect.objects);
        let Ok(erasing) = self.erasing.clone().try_read_owned() else { return Ok(()) };
        blocking::run(move || {
            let erased = paths.iter().try_for_each(|path| erase(path));
            drop(erasing);
            erased
        })
        .await
    }

    pub(crate) async fn inventory(&self, effect: Inventory) -> Result<Vec<Stored>, Fault> {
        let layout = self.layout.clone();
        blocking::run(move || inventory::inventory(&layout, effect.after, effect.limit)).await
    }

    /// Faults when there is no room for objects of so many bytes more.
    pub(crate) async fn room(&self, bytes: u64) -> Result<(), Fault> {
        let files = self.clone();
        blocking::run(move || space::check(files.layout.root(), files.keep_free.saturating_add(bytes))).await
    }

    /// The bytes of the disk, and how many are free; none where it does not say.
    pub(crate) async fn space(&self) -> Option<(u64, u64)> {
        let files = self.clone();
        blocking::run(move || Ok(space::of(files.layout.root()))).await.ok().flatten()
    }

    /// A window on an object that is about to be written.
    pub(crate) fn window(&self, object: &ObjectId) -> Window {
        Window::new(self.clone(), *object)
    }

    /// Sees to it that nothing is erased for a while.
    pub(crate) async fn keep_all(&self) -> OwnedRwLockWriteGuard<()> {
        self.erasing.clone().write_owned().await
    }

    /// Where the objects are.
    pub(crate) fn root(&self) -> &Path {
        self.layout.root()
    }

    /// Opens an object to be streamed, if nothing of the disk has to be read for that.
    pub(crate) fn open_cached(&self, object: &ObjectId) -> Option<Opened> {
        Opened::open_cached(&self.layout.object(object))
    }

    /// Opens an object to be streamed; `None` when it is not there. It may wait for the disk.
    pub(crate) fn open_now(&self, object: &ObjectId) -> Result<Option<Opened>, Fault> {
        Opened::open(&self.layout.object(object))
    }

    /// The file of an object.
    pub(crate) fn path(&self, object: &ObjectId) -> PathBuf {
        self.layout.object(object)
    }

    fn paths(&self, objects: &[ObjectId]) -> Vec<PathBuf> {
        objects.iter().map(|object| self.layout.object(object)).collect()
    }
}

fn erase(path: &Path) -> Result<(), Fault> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(fault::at("remove", path, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
