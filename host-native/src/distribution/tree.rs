//! Where the layout is: in a directory of this machine, or in a bucket.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::OFlags;

use super::Reader;

/// How many bytes of a file are hashed at once.
const BUFFER: usize = 256 << 10;

/// Files below directories. A path begins with the root of the [source](super::Source).
pub(crate) trait Tree: fmt::Debug + Send + Sync {
    /// Calls `each` for all that is in a directory, in no order.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such directory, `NotADirectory` where there is something else.
    fn list(&self, path: &Path, each: &mut dyn FnMut(Item)) -> io::Result<()>;

    /// The first bytes of a file, so many at most, and when it was written.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is none, `IsADirectory` where there is something else; [`is_link`] where it is a symbolic
    /// link.
    fn small(&self, path: &Path, most: u64) -> io::Result<(Bytes, SystemTime)>;

    /// How many bytes a file has, and whether `reader` can read them.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is none, and whatever keeps this process from reading it.
    fn stat(&self, path: &Path, reader: Reader) -> io::Result<Stat>;

    /// Reads a whole file.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is none.
    fn read(&self, path: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()>;

    /// When an upload, a directory, was changed last.
    fn changed(&self, upload: &Path) -> Option<SystemTime>;

    /// How many files are read at once.
    fn at_once(&self) -> usize;

    /// Why nothing can be read any more, once that is so.
    fn failed(&self) -> Option<String>;
}

/// Something in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// What it is called; none where that is not UTF-8.
    pub(crate) name: Result<String, String>,
    /// What it is.
    pub(crate) what: What,
}

/// What something in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Another directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A file, or anything else.
    File,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// How many bytes it has.
    pub(crate) size: u64,
    /// The server's user may not read it.
    pub(crate) private: bool,
}

/// The disks of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk;

impl Tree for Disk {
    fn list(&self, path: &Path, each: &mut dyn FnMut(Item)) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let what = match entry.file_type() {
                Ok(kind) if kind.is_dir() => What::Directory,
                Ok(kind) if kind.is_symlink() => What::Link,
                _ => What::File,
            };
            let name = entry.file_name().into_string().map_err(|name| name.to_string_lossy().into_owned());
            each(Item { name, what });
        }
        Ok(())
    }

    fn small(&self, path: &Path, most: u64) -> io::Result<(Bytes, SystemTime)> {
        let file = regular(path)?;
        let metadata = file.metadata()?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(most)).unwrap_or_default());
        file.take(most).read_to_end(&mut bytes)?;
        Ok((bytes.into(), metadata.modified()?))
    }

    fn stat(&self, path: &Path, reader: Reader) -> io::Result<Stat> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(metadata) if metadata.is_symlink() => return Err(rustix::io::Errno::LOOP.into()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        let size = metadata.len();
        // Of an empty file it is known at once what is in it.
        if size == 0 {
            return Ok(Stat { size, private: false });
        }
        let private = !may_read(&metadata, reader);
        let own = rustix::process::geteuid();
        if !own.is_root() && (private || own.as_raw() != reader.user) && File::open(path).is_err() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Stat { size, private })
    }

    fn read(&self, path: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut file = regular(path)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                read => each(&buffer[..read]),
            }
        }
    }

    fn changed(&self, upload: &Path) -> Option<SystemTime> {
        let files =
            [upload.to_owned(), upload.join("data"), upload.join("startedat"), upload.join("hashstates/sha256")];
        files.iter().filter_map(|file| fs::metadata(file).ok()?.modified().ok()).max()
    }

    fn at_once(&self) -> usize {
        // Most of what is not in memory is waited for, and a disk serves many at once.
        const EACH: usize = 4;
        std::thread::available_parallelism().map_or(1, usize::from) * EACH
    }

    fn failed(&self) -> Option<String> {
        // One file that cannot be read says nothing of others.
        None
    }
}

/// Opens a file. A symbolic link is not followed, as whoever may write to the directory could have root read another file
/// by it; a pipe, on which nobody may ever write, is not waited for.
fn regular(path: &Path) -> io::Result<File> {
    opened(path, OFlags::NOFOLLOW | OFlags::NONBLOCK)
}

/// The same, through symbolic links.
pub(super) fn regular_behind_links(path: &Path) -> io::Result<File> {
    opened(path, OFlags::NONBLOCK)
}

fn opened(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::IsADirectory.into()) }
}

/// Whether a file was not opened because it is a symbolic link.
pub(super) fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Whether that user may read a file, by what its mode says.
fn may_read(metadata: &fs::Metadata, reader: Reader) -> bool {
    let mode = metadata.mode();
    match () {
        () if reader.user == 0 => true,
        () if metadata.uid() == reader.user => mode & 0o400 != 0,
        () if metadata.gid() == reader.group => mode & 0o040 != 0,
        () => mode & 0o004 != 0,
    }
}
