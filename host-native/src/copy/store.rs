//! Files that are read by their names: those of a directory, or those in an archive (tar).

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::{Blob, tarred};
use crate::remote::Failure;

/// How many bytes are read at once.
const READ: usize = 256 << 10;

/// Files by their names.
#[derive(Clone, Debug)]
pub(super) enum Store {
    /// Those below a directory.
    Directory(PathBuf),
    /// Those in an archive.
    Archive {
        /// What it is called.
        path: PathBuf,
        /// The archive itself.
        file: Arc<File>,
        /// Where in it which file is: offset and length.
        entries: Arc<HashMap<String, (u64, u64)>>,
    },
}

impl Store {
    /// The files in an archive that is not compressed.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) async fn archive(path: &Path) -> Result<Self, Failure> {
        let at = path.to_owned();
        // It may be long.
        let read = spawn_blocking(move || {
            let file = regular(&at)?;
            let entries = tarred::entries(&file)?;
            Ok(Self::Archive { path: at, file: Arc::new(file), entries: Arc::new(entries) })
        });
        let read = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let shown = path.display();
        read.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::Unusable(format!("there is no {shown}")),
            _ => Failure::Unusable(format!("{shown} cannot be read: {error}")),
        })
    }

    /// What the whole is called.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Archive { path, .. } => path,
        }
    }

    /// Opens a file: the file, the offset of its first byte, and its length. [`Failure::Absent`] when there is none.
    pub(super) async fn open(&self, name: &str) -> Result<Reading, Failure> {
        let shown = format!("{}: {name}", self.path().display());
        match self {
            Self::Directory(path) => {
                let path = path.join(name);
                let opened = spawn_blocking(move || {
                    let file = regular(&path)?;
                    let length = file.metadata()?.len();
                    Ok((file, length))
                });
                let opened = opened.await.unwrap_or_else(|error| Err(io::Error::other(error)));
                match opened {
                    Ok((file, length)) => Ok(Reading { file: Arc::new(file), at: 0, end: length, shown }),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::Absent),
                    Err(error) => Err(Failure::Unusable(format!("{shown} cannot be read: {error}"))),
                }
            }
            Self::Archive { file, entries, .. } => {
                let &(at, length) = entries.get(name).ok_or(Failure::Absent)?;
                Ok(Reading { file: file.clone(), at, end: at + length, shown })
            }
        }
    }

    /// All of a file that is small.
    pub(super) async fn read(&self, name: &str, most: usize) -> Result<Bytes, Failure> {
        let mut reading = self.open(name).await?;
        let mut whole = Vec::new();
        while let Some(bytes) = reading.chunk().await? {
            if whole.len() + bytes.len() > most {
                return Err(Failure::Unusable(format!("{} has more than {most} bytes", reading.shown)));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.into())
    }
}

/// Opens a file to be read where it is wanted. A pipe, on which nobody may ever write, is not waited for.
fn regular(path: &Path) -> io::Result<File> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    match file.metadata()?.file_type() {
        kind if kind.is_file() => Ok(file),
        kind if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::other(
            "it is no file but a pipe or a device, and is read at many places: write it to a file first",
        )),
    }
}

/// A file, or a part of an archive, as it is read.
pub(super) struct Reading {
    file: Arc<File>,
    at: u64,
    end: u64,
    shown: String,
}

impl Reading {
    /// The same without its first bytes.
    pub(super) fn skip(mut self, bytes: u64) -> Self {
        self.at = self.at.saturating_add(bytes).min(self.end);
        self
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> u64 {
        self.end - self.at
    }
}

#[async_trait]
impl Blob for Reading {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let (file, at) = (self.file.clone(), self.at);
        let want = usize::try_from(self.left()).unwrap_or(READ).min(READ);
        if want == 0 {
            return Ok(None);
        }
        let read = spawn_blocking(move || {
            let mut bytes = vec![0; want];
            let read = file.read_at(&mut bytes, at)?;
            bytes.truncate(read);
            Ok(bytes)
        });
        let read = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let wrong = |reason: String| Failure::Unusable(format!("{} cannot be read: {reason}", self.shown));
        let bytes = read.map_err(|error| wrong(error.to_string()))?;
        if bytes.is_empty() {
            return Err(wrong("it has become shorter".into()));
        }
        self.at += bytes.len() as u64;
        Ok(Some(bytes.into()))
    }
}
