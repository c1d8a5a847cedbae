//! To whom the data directory belongs: root imports, and another user serves.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

/// The user to whom a data directory belongs, and who is to serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Owner {
    /// The owner of a directory, or whoever makes it.
    pub(super) fn of(directory: &Path) -> Self {
        match fs::metadata(directory) {
            Ok(found) => Self { user: found.uid(), group: found.gid() },
            Err(_) => Self { user: rustix::process::geteuid().as_raw(), group: rustix::process::getegid().as_raw() },
        }
    }

    /// Gives it the files and directories that root has made in it, but for objects: a file that is linked belongs to
    /// another program too, and one that was written has its owner already.
    pub(super) fn give(self, directory: &Path) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() || self.user == 0 {
            return Ok(());
        }
        self.own(directory)?;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_file() || kind.is_dir() {
                self.own(&entry.path())?;
            }
            if entry.file_name() == "objects" && kind.is_dir() {
                for below in fs::read_dir(entry.path())? {
                    let below = below?;
                    if below.file_type()?.is_dir() {
                        self.own(&below.path())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives it the file of an object that this process has written.
    pub(super) fn own_object(self, path: &Path) -> io::Result<()> {
        if rustix::process::geteuid().is_root() && self.user != 0 { self.own(path) } else { Ok(()) }
    }

    fn own(self, path: &Path) -> io::Result<()> {
        let now = fs::symlink_metadata(path)?;
        if (now.uid(), now.gid()) == (self.user, self.group) {
            return Ok(());
        }
        chown(path, Some(self.user), Some(self.group))
    }
}
