//! Files and directories that are being written. They are called `.copying-…` until they are whole, and locked by the
//! process that writes them: so a later copy can tell what a killed process has left, and remove it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::{NamedTempFile, TempDir};

/// What the names of unfinished files begin with.
const PREFIX: &str = ".copying-";

/// A file that is removed when this is dropped before it was [put in its place](place).
pub(super) fn file(directory: &Path) -> io::Result<NamedTempFile> {
    loop {
        let named = tempfile::Builder::new().prefix(PREFIX).tempfile_in(directory)?;
        if hold(named.as_file(), named.path())? {
            return Ok(named);
        }
    }
}

/// Gives a file the name that it is to have, when its bytes are on the disk.
pub(super) fn place(named: NamedTempFile, to: &Path) -> io::Result<()> {
    named.as_file().sync_all()?;
    name(named, to)
}

/// The same without waiting for the disk: whoever reads the file holds its bytes against something.
pub(super) fn name(named: NamedTempFile, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::set_permissions(named.path(), Permissions::from_mode(0o644))?;
    named.persist(to).map_err(|error| error.error)?;
    Ok(())
}

/// A directory for what a file is made of. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Staging {
    directory: TempDir,
    _held: File,
}

impl Staging {
    /// Beside that file, whose name is a part of its own.
    pub(super) fn beside(file: &Path) -> io::Result<Self> {
        loop {
            let directory = tempfile::Builder::new().prefix(&prefix_of(file)).tempdir_in(parent_of(file))?;
            let held = File::open(directory.path())?;
            if hold(&held, directory.path())? {
                return Ok(Self { directory, _held: held });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes from a directory the unfinished files whose process has ended.
pub(super) fn sweep(directory: &Path) {
    sweep_named(directory, PREFIX);
}

/// Removes what an earlier process has left beside that file when it wrote it.
pub(super) fn sweep_beside(file: &Path) {
    sweep_named(parent_of(file), &prefix_of(file));
}

fn sweep_named(directory: &Path, prefix: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let unfinished = entry.file_name().to_string_lossy().starts_with(prefix) && (kind.is_file() || kind.is_dir());
        // The lock is kept until the name is gone, so that whoever has just made the file notices.
        if let Some(file) = unfinished.then(|| File::open(entry.path()).ok()).flatten()
            && file.try_lock().is_ok()
        {
            // What cannot be removed stays for the next copy.
            let _ = if kind.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
        }
    }
}

/// Locks what was just made; false when another process has taken it for left over and removed it in between. Where a
/// file system has no locks, nothing is taken for left over either.
fn hold(file: &File, path: &Path) -> io::Result<bool> {
    if file.lock().is_err() {
        return Ok(true);
    }
    match fs::symlink_metadata(path) {
        Ok(named) => Ok(named.ino() == file.metadata()?.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn parent_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn prefix_of(file: &Path) -> String {
    format!("{PREFIX}{}-", file.file_name().unwrap_or_default().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_has_left_is_removed_and_what_a_living_one_writes_stays() {
        let directory = TempDir::new().unwrap();
        let names = || {
            let mut names: Vec<_> =
                fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            names
        };
        let (archive, other) = (directory.path().join("a.tar"), directory.path().join("b.tar"));
        // Without a lock, as a process that was killed leaves them.
        for left in [".copying-1", ".copying-a.tar-1/blobs", ".copying-b.tar-1/blobs", "copying-1"] {
            fs::create_dir_all(directory.path().join(left)).unwrap();
        }
        fs::write(directory.path().join(".copying-2"), "x").unwrap();
        let (file, staging) = (file(directory.path()).unwrap(), Staging::beside(&archive).unwrap());
        sweep_beside(&archive);
        assert_eq!(names().len(), 6);
        sweep(directory.path());
        let mut kept = vec![file.path().to_owned(), staging.path().to_owned(), directory.path().join("copying-1")];
        kept.sort();
        assert_eq!(names(), kept);
        place(file, &other).unwrap();
        drop(staging);
        assert_eq!(names(), [other, directory.path().join("copying-1")]);
    }
}
