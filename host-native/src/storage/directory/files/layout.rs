//! Where the objects lie in a data directory, and how a name is read back.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use orlop_core::Fault;
use orlop_core::object::ObjectId;

use crate::storage::counters::Counters;
use crate::storage::disk::fault;

/// The directory of all objects, in a data directory.
const OBJECTS: &str = "objects";

/// The directories of objects.
pub(super) struct Layout {
    objects: PathBuf,
    counters: Counters,
    /// The user and group to whom new objects are given: root may write for another, who serves.
    heir: Option<(u32, u32)>,
}

impl Layout {
    /// Makes the directories that are missing. Their name in the data directory is for the caller to make durable.
    pub(super) fn prepare(directory: &Path, counters: Counters) -> Result<Self, Fault> {
        let heir = match fs::metadata(directory) {
            Ok(found) if rustix::process::geteuid().is_root() && found.uid() != 0 => Some((found.uid(), found.gid())),
            _ => None,
        };
        let layout = Self { objects: directory.join(OBJECTS), counters, heir };
        for digits in all_digits() {
            let made = layout.directory(&digits);
            fs::create_dir_all(&made).map_err(|error| fault::at("make", &made, &error))?;
        }
        layout.sync(&layout.objects)?;
        Ok(layout)
    }

    /// Whether there is a directory of objects in a data directory.
    pub(super) fn exists(directory: &Path) -> Result<bool, Fault> {
        let objects = directory.join(OBJECTS);
        objects.try_exists().map_err(|error| fault::at("look for", &objects, &error))
    }

    /// The directory of all objects.
    pub(super) fn root(&self) -> &Path {
        &self.objects
    }

    /// The directory of the objects whose names begin with these two digits: `objects/ab`.
    pub(super) fn directory(&self, digits: &str) -> PathBuf {
        self.objects.join(digits)
    }

    /// The file of an object: `objects/ab/<name>`.
    pub(super) fn object(&self, object: &ObjectId) -> PathBuf {
        let name = object.to_string();
        self.directory(&name[..2]).join(name)
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync(&self, directory: &Path) -> Result<(), Fault> {
        self.counters.fsyncs.inc();
        File::open(directory)
            .and_then(|opened| opened.sync_all())
            .map_err(|error| fault::at("make durable", directory, &error))
    }

    /// Gives a new file to whom the data directory belongs.
    pub(super) fn give(&self, file: &File) -> io::Result<()> {
        self.heir.map_or(Ok(()), |(user, group)| fchown(file, Some(user), Some(group)))
    }

    /// Makes the bytes of a file durable.
    pub(super) fn sync_data(&self, file: &File) -> io::Result<()> {
        self.counters.fsyncs.inc();
        file.sync_data()
    }
}

/// What a name can begin with, in order: directories of a 256th of all objects stay small enough to list.
pub(super) fn all_digits() -> impl Iterator<Item = String> {
    (0..=u8::MAX).map(|byte| format!("{byte:02x}"))
}
