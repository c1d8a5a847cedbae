//! A part of an object while it comes in: in memory, or in a file of this machine.
//!
//! A store takes parts of some MiB, and a client may take hours to send one. In memory, slow clients would sooner or
//! later have all of it, and others would wait for them. So the bytes of parts that come in are counted, and a part
//! that finds no memory goes on in a file, which has no name and is gone with the process. Memory to send such a part
//! from is counted by itself: whoever waits for that waits for the store, and for no client.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;
use orlop_core::Fault;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::storage::disk::{Opened, blocking};

/// In how many bytes memory is counted.
const UNIT: usize = 256 << 10;

/// How many bytes parts may have in memory together, those that come in and those that came in there and are sent.
const COMING: usize = 48 << 20;

/// How many bytes parts may have in memory together that are read from their files and sent: one of the
/// [largest](super::sink::LARGE_PART).
const SENDING: usize = 32 << 20;

/// Where such files are, if `TMPDIR` does not say: in the first that there is. `/tmp` is in memory on many systems.
const SPOOLS: [&str; 2] = ["/var/tmp", "/tmp"];

/// What all parts of a process share. A clone is the same.
#[derive(Clone)]
pub(super) struct Spool {
    directory: Arc<Path>,
    coming: Arc<Semaphore>,
    sending: Arc<Semaphore>,
}

/// A part that comes in.
pub(super) struct Part {
    spool: Spool,
    length: usize,
    pieces: Vec<Bytes>,
    /// The memory that the pieces take.
    memory: Option<OwnedSemaphorePermit>,
    /// What came first, if there is no memory for it.
    file: Option<File>,
}

/// What is sent of a part, and the memory that it takes until that is dropped.
pub(super) struct Payload {
    pub(super) bytes: PutPayload,
    pub(super) memory: Option<OwnedSemaphorePermit>,
}

impl Spool {
    /// Files will be where `TMPDIR` says, or where long-lived temporary files are.
    ///
    /// # Errors
    ///
    /// When none can be made there.
    pub(super) fn open() -> Result<Self, String> {
        let [usual, other] = SPOOLS.map(PathBuf::from);
        let directory = match std::env::var_os("TMPDIR") {
            Some(directory) => directory.into(),
            None if usual.is_dir() => usual,
            None => other,
        };
        Self::in_directory(&directory, COMING)
    }

    fn in_directory(directory: &Path, coming: usize) -> Result<Self, String> {
        tempfile::tempfile_in(directory).map_err(|error| {
            format!(
                "no file can be made in {}: {error}; uploads that find no memory go on there: set TMPDIR to a directory \
                 that can be written",
                directory.display()
            )
        })?;
        let semaphore = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT));
        Ok(Self { directory: directory.into(), coming: semaphore(coming), sending: semaphore(SENDING) })
    }

    /// A part without bytes.
    pub(super) fn part(&self) -> Part {
        Part { spool: self.clone(), length: 0, pieces: Vec::new(), memory: None, file: None }
    }

    /// A file without a name, to be written and read.
    pub(super) fn file(&self) -> io::Result<Opened> {
        tempfile::tempfile_in(&self.directory).map(|file| Opened::of(file, &self.directory))
    }

    pub(super) fn failed(&self, error: &io::Error) -> Fault {
        // Another process may have room: the client may well come again.
        Fault::Unavailable(format!("a part of an upload cannot be kept in {}: {error}", self.directory.display()))
    }
}

impl Part {
    /// How many bytes have come.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Takes bytes.
    pub(super) async fn append(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let counted = self.length.div_ceil(UNIT);
        self.length += bytes.len();
        self.pieces.push(bytes);
        if self.file.is_none() {
            let more = u32::try_from(self.length.div_ceil(UNIT) - counted).unwrap_or(u32::MAX);
            match (self.spool.coming.clone().try_acquire_many_owned(more), &mut self.memory) {
                (Ok(more), Some(memory)) => memory.merge(more),
                (Ok(more), memory) => *memory = Some(more),
                (Err(_), _) => return self.write().await,
            }
            return Ok(());
        }
        self.write().await
    }

    /// Moves what is in memory to the end of the file.
    async fn write(&mut self) -> Result<(), Fault> {
        let (spool, file, pieces) = (self.spool.clone(), self.file.take(), mem::take(&mut self.pieces));
        let written = blocking::run(move || {
            let write = || {
                let mut file = match file {
                    Some(file) => file,
                    None => tempfile::tempfile_in(&spool.directory)?,
                };
                pieces.iter().try_for_each(|piece| file.write_all(piece))?;
                Ok(file)
            };
            write().map_err(|error| spool.failed(&error))
        });
        self.file = Some(written.await?);
        self.memory = None;
        Ok(())
    }

    /// All of it, to be sent. Waits for memory that others send from.
    pub(super) async fn into_payload(self) -> Result<Payload, Fault> {
        let Self { spool, length, pieces, memory, file } = self;
        let Some(mut file) = file else {
            return Ok(Payload { bytes: PutPayload::from_iter(pieces), memory });
        };
        let units = u32::try_from(length.min(SENDING).div_ceil(UNIT)).unwrap_or(u32::MAX);
        let memory = spool.sending.clone().acquire_many_owned(units).await.ok();
        let read = blocking::run(move || {
            let mut read = || {
                file.rewind()?;
                // Not at once: an allocator keeps as much for every thread as the largest piece that it was given back.
                let piece = |from: usize| {
                    let mut piece = vec![0; UNIT.min(length - from)];
                    file.read_exact(&mut piece)?;
                    Ok(Bytes::from(piece))
                };
                (0..length).step_by(UNIT).map(piece).collect::<io::Result<Vec<_>>>()
            };
            read().map_err(|error| spool.failed(&error))
        });
        Ok(Payload { bytes: PutPayload::from_iter(read.await?), memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn content(part: Part) -> Bytes {
        part.into_payload().await.expect("a payload").bytes.into()
    }

    #[tokio::test]
    async fn a_part_that_finds_no_memory_goes_on_in_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = Spool::in_directory(directory.path(), 4 * UNIT).expect("a spool");
        let piece = |byte: u8, length: usize| Bytes::from(vec![byte; length]);
        let (mut slow, mut other) = (spool.part(), spool.part());
        slow.append(piece(1, 3 * UNIT)).await.expect("there is memory");
        assert!(slow.file.is_none());
        other.append(piece(2, 10)).await.expect("there is memory");
        assert!(other.file.is_none());
        other.append(piece(3, UNIT)).await.expect("there is a file");
        assert!(other.file.is_some() && other.memory.is_none(), "its memory is given back");
        other.append(piece(4, 5)).await.expect("there is a file");
        assert_eq!(spool.coming.available_permits(), 1);
        assert_eq!(content(other).await, [piece(2, 10), piece(3, UNIT), piece(4, 5)].concat());
        slow.append(piece(5, UNIT)).await.expect("there is memory again");
        assert!(slow.file.is_none());
        assert_eq!(content(slow).await, [piece(1, 3 * UNIT), piece(5, UNIT)].concat());
        assert_eq!(spool.coming.available_permits(), 4);
        assert_eq!(spool.sending.available_permits(), SENDING / UNIT);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let wrong = Spool::in_directory(Path::new("/proc/self"), COMING).err().expect("it is refused");
        assert!(wrong.contains("/proc/self") && wrong.contains("TMPDIR"), "{wrong}");
    }
}
