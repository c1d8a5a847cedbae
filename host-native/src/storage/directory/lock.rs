//! The data directory, which one process has at a time.

use std::cmp::Ordering;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::{error, fmt, io};

use orlop_core::Fault;

use crate::storage::disk::{Lock, LockError};

/// A data directory that this process has to itself until it drops this, or ends.
pub(crate) struct DataDirectory {
    path: PathBuf,
    _lock: Lock,
}

/// Why a data directory could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    InUse(PathBuf),
    /// It cannot be made or written to.
    Directory(PathBuf, io::Error),
    /// It has objects and no records: with new records, all of them would be garbage.
    RecordsMissing(PathBuf),
    /// It has records, and the directory of the objects is gone.
    ObjectsMissing(PathBuf),
    /// It is of another version of Orlop.
    Format {
        /// The directory.
        directory: PathBuf,
        /// The format that it has.
        found: u32,
        /// The format that this version has.
        ours: u32,
    },
    /// It is that of docker-registry or distribution.
    Distribution(PathBuf),
    /// It has something in it that is not Orlop's: the name of that.
    Foreign(PathBuf, String),
    /// What is in it cannot be used.
    Storage(Fault),
}

impl DataDirectory {
    /// Makes the directory if need be, durably, and locks it.
    pub(crate) fn lock(directory: &Path) -> Result<Self, OpenError> {
        match Lock::take(directory) {
            Ok(lock) => Ok(Self { path: directory.to_owned(), _lock: lock }),
            Err(LockError::InUse) => Err(OpenError::InUse(directory.to_owned())),
            Err(LockError::Failed(error)) => Err(OpenError::Directory(directory.to_owned(), error)),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes durable what is in the directory by name, once all of that is made.
    pub(crate) fn sync(&self) -> Result<(), OpenError> {
        let synced = File::open(&self.path).and_then(|opened| opened.sync_all());
        synced.map_err(|error| OpenError::Directory(self.path.clone(), error))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(directory) => write!(
                f,
                "the data directory {} is in use by another orlop: stop that one, or choose another with --data",
                directory.display()
            ),
            Self::Directory(directory, error) => write!(
                f,
                "the data directory {} cannot be used: {error}; choose one that this user may write to with --data",
                directory.display()
            ),
            Self::RecordsMissing(directory) => write!(
                f,
                "the data directory {} has no records.redb, which says what is in the registry: restore that file, or begin in an \
                 empty directory",
                directory.display()
            ),
            Self::ObjectsMissing(directory) => write!(
                f,
                "the data directory {} has records but no directory `objects`, where the bytes of all blobs are: restore \
                 that too, or begin in an empty directory",
                directory.display()
            ),
            Self::Format { directory, found, ours } => {
                let directory = directory.display();
                write!(
                    f,
                    "the data directory {directory} has format {found}, and this version of Orlop reads format {ours}: "
                )?;
                match found.cmp(ours) {
                    Ordering::Less => f.write_str(
                        "start it with the version that wrote it, begin in an empty directory with this one, and copy the \
                         images, for example by `skopeo sync`",
                    ),
                    _ => f.write_str("a newer version wrote it; start that one"),
                }
            }
            Self::Distribution(directory) => write!(
                f,
                "the data directory {} is that of docker-registry or distribution: give another with --data, and import this \
                 one into it by `orlop import distribution`",
                directory.display()
            ),
            Self::Foreign(directory, name) => write!(
                f,
                "the directory {} is not a data directory of Orlop, it has `{name}` in it: give an empty one with --data",
                directory.display()
            ),
            Self::Storage(fault) => write!(f, "the data directory cannot be opened: {fault}"),
        }
    }
}

impl error::Error for OpenError {}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        Self::Storage(fault)
    }
}
