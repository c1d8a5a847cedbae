//! A directory that one process has at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The name of the file that is locked. It stays: to remove it would let two processes lock two files of that name.
pub(in crate::storage) const LOCK_FILE: &str = "orlop.lock";

/// The lock of a directory, until this is dropped or the process ends.
pub(in crate::storage) struct Lock {
    _file: File,
}

/// Why a directory could not be locked.
pub(in crate::storage) enum LockError {
    /// Another process has it.
    InUse,
    /// It cannot be made or written to.
    Failed(io::Error),
}

impl Lock {
    /// Makes the directory if need be, durably, and locks it.
    pub(in crate::storage) fn take(directory: &Path) -> Result<Self, LockError> {
        let failed = LockError::Failed;
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
                Ok(Self { _file: lock })
            }
            Err(TryLockError::WouldBlock) => Err(LockError::InUse),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The number of the process that has a directory locked, if one has.
pub(crate) fn holder(directory: &Path) -> Option<u32> {
    let mut lock = OpenOptions::new().read(true).write(true).open(directory.join(LOCK_FILE)).ok()?;
    let Err(TryLockError::WouldBlock) = lock.try_lock() else { return None };
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Makes the names in a directory above ours durable. One that may not be read belongs to somebody else, who made it
/// long ago.
pub(in crate::storage) fn sync_above(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    match File::open(directory).and_then(|opened| opened.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}
