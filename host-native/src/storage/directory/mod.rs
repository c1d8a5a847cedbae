//! The embedded engine, a directory on a disk of this machine: records in redb, bytes in files.

mod backup;
mod content;
mod files;
mod format;
mod lock;
mod records;
mod sink;
mod window;

use std::path::Path;
use std::sync::Arc;

use orlop_core::Fault;
use orlop_core::http::Pieces;

pub use self::backup::Backup;
use self::backup::back_up;
pub(crate) use self::content::Content;
use self::files::Files;
pub(crate) use self::files::{Adoption, Means, means};
use self::lock::DataDirectory;
pub use self::lock::OpenError;
use self::records::Records;
pub(super) use self::sink::Sink;
pub(super) use self::window::Window;
use crate::settings::Options;
use crate::storage::counters::Counters;
use crate::storage::disk::{Buffers, blocking};

/// A data directory that is open, which no other process has meanwhile.
pub(super) struct Directory {
    pub(super) records: Arc<Records>,
    pub(super) objects: Files,
    counters: Counters,
    buffers: Buffers,
    /// Let go last.
    locked: DataDirectory,
}

impl Directory {
    /// Opens a data directory, which is made if there is none.
    pub(super) fn open(directory: &Path, options: &Options) -> Result<Self, OpenError> {
        format::check(directory)?;
        let locked = DataDirectory::lock(directory)?;
        let new = format::is_new(directory)?;
        match new {
            true => format::begin(directory)?,
            false if !Records::exist(directory)? => return Err(OpenError::RecordsMissing(directory.to_owned())),
            false if !Files::exist(directory)? => return Err(OpenError::ObjectsMissing(directory.to_owned())),
            false => {}
        }
        let counters = Counters::default();
        let objects = Files::open(directory, options.keep_free, &counters)?;
        let records = Records::open(directory, options, &counters)?;
        // The records are worth nothing in a file that a power cut leaves without a name.
        locked.sync()?;
        if new {
            format::end(directory)?;
        }
        Ok(Self { records: Arc::new(records), objects, counters, buffers: Buffers::default(), locked })
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) async fn ready(&self) -> Result<(), Fault> {
        self.records.count()?;
        self.objects.room(0).await
    }

    /// Makes a backup in the data directory, as of one moment. What would be erased meanwhile stays, for the next garbage
    /// collection.
    pub(super) async fn back_up(&self) -> Result<Backup, Fault> {
        let kept = self.objects.keep_all().await;
        let (records, objects, directory) = (self.records.clone(), self.objects.clone(), self.locked.path().to_owned());
        let made = blocking::run(move || back_up(&records, &directory, objects.root())).await;
        drop(kept);
        made
    }

    pub(super) async fn open_pieces(&self, pieces: Pieces) -> Result<Option<Content>, Fault> {
        Content::open(&self.objects, &self.buffers, pieces.into_sent()).await
    }
}
