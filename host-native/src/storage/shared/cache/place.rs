//! The directory of a cache: what is in it, and that it is one.
//!
//! `CACHE` says what the directory is, `orlop.lock` which process has it, `partial/` holds files that are being filled, and
//! `sha256/ab/<hex>` what a blob of that digest has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use orlop_core::digest::{Algorithm, Digest};
use rustix::fs::Access;

use crate::storage::disk::{LOCK_FILE, Lock, LockError};

/// The file that says what the directory is, and what stands in it.
const FILE: &str = "CACHE";
const TITLE: &str = "Orlop object cache, format 1\n";

/// Where files are that are being filled.
const PARTIAL: &str = "partial";

/// What else may lie in a directory that is to become a cache.
const NOTHING: [&str; 2] = ["lost+found", LOCK_FILE];

/// The directory of a cache, which no other process has meanwhile.
pub(super) struct Directory {
    path: PathBuf,
    _lock: Lock,
}

/// A file that was in the cache when it was opened.
pub(super) struct Found {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// When it was last used, as far as that is known.
    pub(super) used: SystemTime,
}

/// Sees whether a directory is a cache, or can be made one. Nothing is written.
///
/// # Errors
///
/// With what is wrong.
pub(super) fn check(directory: &Path) -> Result<(), String> {
    let shown = directory.display();
    let failed = |error: io::Error| unusable(directory, &error);
    match fs::read_to_string(directory.join(FILE)) {
        Ok(text) if text == TITLE => {}
        // A start was killed, or the power went, before it was written.
        Ok(text) if text.is_empty() => {}
        Ok(text) => {
            return Err(format!(
                "object-cache = {shown} says that it is `{}`, and this version reads `{}`: remove it while no server uses \
                 it, or name another directory",
                text.trim(),
                TITLE.trim()
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_dir(directory) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
                    if !NOTHING.contains(&name.as_str()) {
                        return Err(format!(
                            "object-cache = {shown} is not a cache of Orlop, it has `{name}` in it: name an empty directory"
                        ));
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        },
        Err(error) => return Err(failed(error)),
    }
    // The directory, or the one in which it is to be made.
    let above = directory.ancestors().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let there = above.into_iter().find(|above| above.exists()).unwrap_or(Path::new("/"));
    rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| failed(error.into()))
}

fn unusable(directory: &Path, error: &io::Error) -> String {
    format!(
        "object-cache = {} cannot be used: {error}; name a directory that this user may write to",
        directory.display()
    )
}

impl Directory {
    /// Opens a cache, which is made if there is none, and removes what a process has left that was killed. The files that
    /// are there come along.
    ///
    /// # Errors
    ///
    /// When it is something else, cannot be written, or another process has it.
    pub(super) fn open(directory: &Path) -> Result<(Self, Vec<Found>), String> {
        check(directory)?;
        let failed = |error: io::Error| unusable(directory, &error);
        let lock = Lock::take(directory).map_err(|error| match error {
            LockError::InUse => format!(
                "object-cache = {} is in use by another orlop: give each server a directory of its own",
                directory.display()
            ),
            LockError::Failed(error) => failed(error),
        })?;
        fs::write(directory.join(FILE), TITLE).map_err(failed)?;
        let partial = directory.join(PARTIAL);
        fs::create_dir_all(&partial).map_err(failed)?;
        for left in fs::read_dir(&partial).map_err(failed)? {
            fs::remove_file(left.map_err(failed)?.path()).map_err(failed)?;
        }
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            list(&directory.join(algorithm.name()), algorithm, &mut found).map_err(failed)?;
        }
        Ok((Self { path: directory.to_owned(), _lock: lock }, found))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file to be filled.
    pub(super) fn partial(&self) -> PathBuf {
        self.path.join(PARTIAL).join(uuid::Uuid::new_v4().to_string())
    }

    /// The file of a blob.
    pub(super) fn file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.encoded();
        self.path.join(digest.algorithm().name()).join(&hex[..2]).join(hex)
    }

    /// Puts a file that is filled in its place. It need not be durable: it is hashed before it is used after a start.
    pub(super) fn keep(&self, partial: &Path, digest: &Digest) -> io::Result<()> {
        let file = self.file(digest);
        match fs::rename(partial, &file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(file.parent().unwrap_or(&self.path))?;
                fs::rename(partial, &file)
            }
            renamed => renamed,
        }
    }
}

/// Adds the files below the directory of an algorithm. What is not of the cache is left alone.
fn list(directory: &Path, algorithm: Algorithm, found: &mut Vec<Found>) -> io::Result<()> {
    let Some(digits) = entries(directory)? else { return Ok(()) };
    for digits in digits {
        let Some(files) = entries(&digits?.path())? else { continue };
        for file in files {
            let (file, name) = file.map(|file| (file.metadata(), file.file_name()))?;
            let named = name.to_str().and_then(|hex| format!("{}:{hex}", algorithm.name()).parse().ok());
            if let (Ok(metadata), Some(digest)) = (file, named)
                && metadata.is_file()
            {
                let used = metadata.accessed().into_iter().chain(metadata.modified()).max();
                found.push(Found { digest, size: metadata.len(), used: used.unwrap_or(SystemTime::UNIX_EPOCH) });
            }
        }
    }
    Ok(())
}

/// What is in a directory; `None` when it is none.
fn entries(directory: &Path) -> io::Result<Option<fs::ReadDir>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}
