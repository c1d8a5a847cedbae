//! Where the layout is: in a directory of this machine, or in a bucket.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

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
#[derive(Debug)]
pub(crate) struct Disk {
    /// The directory that holds everything, open: the way to it need not be gone for each of millions of files.
    root: PathBuf,
    held: OwnedFd,
}

impl Disk {
    /// All that is below a directory.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn below(root: &Path) -> io::Result<Self> {
        let held = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root: root.to_owned(), held })
    }

    /// Opens a file. A symbolic link is not followed, as whoever may write to the directory could have root read another
    /// file by it; a pipe, on which nobody may ever write, is not waited for.
    fn open(&self, path: &Path) -> io::Result<(File, fs::Metadata)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        regular(rustix::fs::openat(&self.held, self.place(path), flags, Mode::empty())?.into())
    }

    /// Where a path is from the directory that is open.
    fn place<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

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
        let (mut file, metadata) = self.open(path)?;
        let length = usize::try_from(metadata.len().min(most)).unwrap_or_default();
        // Most are read as a whole by one call, and that there is no more is known from their length.
        let mut bytes = vec![0; length];
        let mut read = 0;
        while read < length {
            match file.read(&mut bytes[read..])? {
                0 => break,
                some => read += some,
            }
        }
        bytes.truncate(read);
        Ok((bytes.into(), metadata.modified()?))
    }

    fn stat(&self, path: &Path, reader: Reader) -> io::Result<Stat> {
        let found = match rustix::fs::statat(&self.held, self.place(path), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(error @ (Errno::ACCESS | Errno::PERM)) => return Err(error.into()),
            Err(_) => return Err(io::ErrorKind::NotFound.into()),
        };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(Errno::LOOP.into()),
            _ => return Err(io::ErrorKind::NotFound.into()),
        }
        let size = u64::try_from(found.st_size).unwrap_or_default();
        // Of an empty file it is known at once what is in it.
        if size == 0 {
            return Ok(Stat { size, private: false });
        }
        let private = !may_read(&found, reader);
        let own = rustix::process::geteuid();
        if !own.is_root() && (private || own.as_raw() != reader.user) && File::open(path).is_err() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Stat { size, private })
    }

    fn read(&self, path: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let (mut file, _) = self.open(path)?;
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

/// Opens a file, through symbolic links. A pipe, on which nobody may ever write, is not waited for.
pub(super) fn regular_behind_links(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    regular(OpenOptions::new().read(true).custom_flags(flags).open(path)?).map(|(file, _)| file)
}

/// A file that was opened, unless it is something else.
fn regular(file: File) -> io::Result<(File, fs::Metadata)> {
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(io::ErrorKind::IsADirectory.into()) }
}

/// Whether a file was not opened because it is a symbolic link.
pub(super) fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// Whether that user may read a file, by what its mode says.
fn may_read(found: &rustix::fs::Stat, reader: Reader) -> bool {
    let mode = Mode::from_raw_mode(found.st_mode);
    match () {
        () if reader.user == 0 => true,
        () if found.st_uid == reader.user => mode.contains(Mode::RUSR),
        () if found.st_gid == reader.group => mode.contains(Mode::RGRP),
        () => mode.contains(Mode::ROTH),
    }
}
