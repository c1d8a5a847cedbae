//! The data directory, which one process has at a time.

use std::cmp::Ordering;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::{error, fmt, io};

use orlop_core::Fault;

/// The name of the file that is locked. It stays: to remove it would let two processes lock two files of that name.
pub(super) const LOCK_FILE: &str = "orlop.lock";

/// A data directory that this process has to itself until it drops this, or ends.
pub(crate) struct DataDirectory {
    path: PathBuf,
    _lock: File,
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
        let failed = |error| OpenError::Directory(directory.to_owned(), error);
        let missing = directory.ancestors().take_while(|above| !above.exists()).count();
        // What it holds may be private: who may read it is for the server to say.
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        // Each new name, and that of the directory also if another start has made it and was killed.
        directory.ancestors().skip(1).take(missing.max(1)).try_for_each(sync_above).map_err(failed)?;
        let path = directory.join(LOCK_FILE);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {
                // Whoever looks for the process finds it here; what cannot be written only makes it harder to find.
                let _ = lock.set_len(0).and_then(|()| (&lock).write_all(std::process::id().to_string().as_bytes()));
                Ok(Self { path: directory.to_owned(), _lock: lock })
            }
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
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

/// The number of the process that has a data directory open, if one has.
pub(crate) fn holder(directory: &Path) -> Option<u32> {
    let mut lock = OpenOptions::new().read(true).write(true).open(directory.join(LOCK_FILE)).ok()?;
    let Err(TryLockError::WouldBlock) = lock.try_lock() else { return None };
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Makes the names in a directory above ours durable. One that may not be read belongs to somebody else, who made it
/// long ago.
pub(crate) fn sync_above(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    match File::open(directory).and_then(|opened| opened.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
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
                "the data directory {} is that of docker-registry or distribution, which Orlop does not read: give an empty \
                 directory with --data, and copy the images, for example by `skopeo sync`",
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
