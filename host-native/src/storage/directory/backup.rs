//! A backup of a registry that goes on serving: a second data directory inside the first, `backup`, as of one moment.
//!
//! Records are copied out of one snapshot. Objects never change once they are written, so they are linked, and no byte
//! is copied; nothing is erased between the snapshot and the last link, so what its records name is there.
//! To copy the directory elsewhere is for other programs, which have all the time they want.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use orlop_core::Fault;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::storage::directory::format;
use crate::storage::directory::records::Records;
use crate::storage::disk::{fault, sync_above};

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Where it is.
    pub path: PathBuf,
    /// How many records it has.
    pub records: u64,
    /// How many files.
    pub files: u64,
}

/// Makes the backup of a data directory, whose objects are in `objects`, in the place of the one before. The caller sees
/// to it that nothing is erased.
pub(crate) fn back_up(records: &Records, directory: &Path, objects: &Path) -> Result<Backup, Fault> {
    let (path, unfinished) = (directory.join("backup"), directory.join("backup.new"));
    let failed = |error| fault::at("back up to", &unfinished, &error);
    remove(&unfinished).map_err(failed)?;
    fs::create_dir(&unfinished).map_err(failed)?;
    format::copy(directory, &unfinished).map_err(failed)?;
    let mut backup = Backup { path: path.clone(), records: records.copy_to(&unfinished)?, files: 0 };
    let to = unfinished.join(objects.file_name().unwrap_or_default());
    backup.files += link_all(objects, &to).map_err(failed)?;
    let synced = File::open(&unfinished).and_then(|opened| Ok(rustix::fs::syncfs(opened)?));
    synced.map_err(failed)?;
    replace(&path, &unfinished).map_err(failed)?;
    sync_above(&path).map_err(failed)?;
    remove(&unfinished).map_err(failed)?;
    Ok(backup)
}

/// Puts the new backup in the place of the old one, if there is one, which is in the new one's place then. A crash
/// leaves either of them under its name.
fn replace(path: &Path, new: &Path) -> io::Result<()> {
    if !path.try_exists()? {
        return fs::rename(new, path);
    }
    match renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE) {
        // A file system that cannot do that: then there is none for a moment.
        Err(Errno::INVAL | Errno::NOSYS) => {
            remove(path)?;
            fs::rename(new, path)
        }
        exchanged => Ok(exchanged?),
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives every file below `from` a second name below `to`.
fn link_all(from: &Path, to: &Path) -> io::Result<u64> {
    fs::create_dir(to)?;
    let mut files = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            files += link_all(&from, &to)?;
            continue;
        }
        match fs::hard_link(&from, &to) {
            // An object whose client has just gone, which no record names.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            linked => {
                linked?;
                files += 1;
            }
        }
    }
    Ok(files)
}
