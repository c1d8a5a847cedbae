//! A file that is open to be streamed.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use orlop_core::Fault;

use crate::storage::disk::fault;

/// How far apart the bytes are that are looked for to see whether a range is in memory. Each look costs what sending
/// 12 KiB does.
const LOOK: usize = 1 << 20;

/// Opens a file; `None` when it is not there.
pub(crate) fn open(path: &Path) -> Result<Option<File>, Fault> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault::at("open", path, &error)),
    }
}

/// A file that is open, whose bytes do not change: it can be read to its end even if it is removed meanwhile.
pub(crate) struct Opened {
    file: File,
    path: PathBuf,
}

impl Opened {
    /// Opens it; `None` when it is not there. It may wait for the disk.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, Fault> {
        Ok(open(path)?.map(|file| Self::of(file, path)))
    }

    /// One that is open already.
    pub(crate) fn of(file: File, path: &Path) -> Self {
        Self { file, path: path.to_owned() }
    }

    /// The same if nothing of the disk has to be read for it; `None` when it has, or the file is not there.
    pub(crate) fn open_cached(path: &Path) -> Option<Self> {
        use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
        let opened = openat2(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED);
        Some(Self::of(opened.ok()?.into(), path))
    }

    /// The file, to be sent by the kernel.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether a range that is not empty seems to be in memory as a whole: a byte in every [`LOOK`] is. What is read
    /// ahead for a neighbour, and what is thrown out, are larger runs than that.
    pub(crate) fn is_cached(&self, range: Range<u64>) -> bool {
        let mut byte = [0];
        let mut looked_at = range.clone().step_by(LOOK).chain([range.end - 1]);
        looked_at.all(|offset| self.read_cached(&mut byte, offset).is_some())
    }

    /// Reads into `buffer` from `offset` on as much as is in memory already; `None` when that is nothing, and the
    /// disk would have to be waited for.
    pub(crate) fn read_cached(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        use rustix::io::ReadWriteFlags;
        let into = &mut [io::IoSliceMut::new(buffer)];
        rustix::io::preadv2(&self.file, into, offset, ReadWriteFlags::NOWAIT).ok().filter(|&read| read > 0)
    }

    /// Fills `buffer` from `offset` on, waiting for the disk.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), Fault> {
        self.file.read_exact_at(buffer, offset).map_err(|error| fault::at("read", &self.path, &error))
    }
}
