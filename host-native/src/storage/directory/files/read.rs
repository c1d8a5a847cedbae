//! Reading objects: whole, past a meter, into another one, or opened to be streamed.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use orlop_core::Fault;
use orlop_core::meter::Meter;

use super::object::ObjectFile;
use crate::storage::directory::fault;

/// How many bytes are read at once past a meter.
const MEASURE_PIECE: usize = 256 << 10;

/// How far apart the bytes are that are looked for to see whether a range is in memory. Each look costs what sending
/// 12 KiB does.
const LOOK: usize = 1 << 20;

/// Opens a file; `None` when it is not there.
fn open(path: &Path) -> Result<Option<File>, Fault> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault::at("open", path, &error)),
    }
}

/// Reads objects whole, one behind the other; `None` when one is not there or they have more than `limit` bytes.
pub(super) fn load(paths: &[PathBuf], limit: u64) -> Result<Option<Bytes>, Fault> {
    let mut bytes = Vec::new();
    for path in paths {
        let Some(file) = open(path)? else { return Ok(None) };
        let failed = |error| fault::at("read", path, &error);
        let size = file.metadata().map_err(failed)?.len();
        if size > limit.saturating_sub(bytes.len() as u64) {
            return Ok(None);
        }
        bytes.reserve_exact(usize::try_from(size).unwrap_or_default());
        file.take(size).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(Some(bytes.into()))
}

/// Reads objects past a meter, one behind the other; `None` when one is not there.
pub(super) fn measure(paths: &[PathBuf], mut meter: Meter) -> Result<Option<Meter>, Fault> {
    let mut buffer = vec![0; MEASURE_PIECE];
    for path in paths {
        let Some(mut file) = open(path)? else { return Ok(None) };
        while meter.room() > 0 {
            let most = usize::try_from(meter.room()).unwrap_or(usize::MAX).min(buffer.len());
            match file.read(&mut buffer[..most]) {
                Ok(0) => break,
                Ok(read) => meter.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fault::at("read", path, &error)),
            }
        }
    }
    Ok(Some(meter))
}

/// Copies objects, one behind the other, into a new one; `false` when one is not there.
pub(super) fn join(paths: &[PathBuf], mut into: ObjectFile) -> Result<bool, Fault> {
    for path in paths {
        let Some(from) = open(path)? else { return Ok(false) };
        into.append_file(&from, path)?;
    }
    into.seal()?;
    Ok(true)
}

/// An object that is open: it can be read to its end even if it is erased meanwhile.
pub(crate) struct Opened {
    file: File,
    path: PathBuf,
}

impl Opened {
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Fault> {
        Ok(open(path)?.map(|file| Self { file, path: path.to_owned() }))
    }

    /// The same if nothing of the disk has to be read for it; `None` when it has, or the file is not there.
    pub(super) fn open_cached(path: &Path) -> Option<Self> {
        use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
        let opened = openat2(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED);
        Some(Self { file: opened.ok()?.into(), path: path.to_owned() })
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
