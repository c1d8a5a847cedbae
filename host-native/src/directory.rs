//! The data directory, which one process has at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::{error, fmt, io};

use orlop_core::Fault;

/// The name of the file that is locked. It stays: to remove it would let two processes lock two files of that name.
const LOCK_FILE: &str = "orlop.lock";

/// A data directory that this process has to itself until it drops this, or ends.
pub(crate) struct DataDirectory {
    _lock: File,
}

/// Why a data directory could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    InUse(PathBuf),
    /// It cannot be made or written to.
    Directory(PathBuf, io::Error),
    /// What is in it cannot be used.
    Storage(Fault),
}

impl DataDirectory {
    /// Makes the directory if need be, and locks it.
    pub(crate) fn lock(directory: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Directory(directory.to_owned(), error);
        fs::create_dir_all(directory).map_err(failed)?;
        let path = directory.join(LOCK_FILE);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
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
