//! Files that are read by their names: those of a directory, or those in an archive (tar).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::Blob;
use crate::remote::Failure;

/// How many bytes are read at once.
const READ: usize = 256 << 10;

/// How many links in an archive are followed from one to the next.
const LINKS: usize = 8;

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
    pub(super) fn archive(path: &Path) -> Result<Self, Failure> {
        let wrong = |error: io::Error| Failure::Unusable(format!("{} cannot be read: {error}", path.display()));
        let file = File::open(path).map_err(wrong)?;
        let entries = entries(&file).map_err(wrong)?;
        Ok(Self::Archive { path: path.into(), file: Arc::new(file), entries: Arc::new(entries) })
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
                    let file = File::open(path)?;
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

/// Where in an archive which file is. Links lead to the file that they name.
fn entries(file: &File) -> io::Result<HashMap<String, (u64, u64)>> {
    let mut magic = [0; 2];
    if file.read_at(&mut magic, 0)? == 2 && magic == [0x1f, 0x8b] {
        return Err(io::Error::other("it is compressed: decompress it first, for example by gunzip"));
    }
    let length = file.metadata()?.len();
    let mut archive = tar::Archive::new(file);
    let (mut files, mut links) = (HashMap::new(), HashMap::new());
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = plain(&entry.path()?);
        match (entry.header().entry_type(), entry.link_name()?) {
            (tar::EntryType::Regular | tar::EntryType::Continuous, _) => {
                let place = (entry.raw_file_position(), entry.size());
                if place.0.checked_add(place.1).is_none_or(|end| end > length) {
                    return Err(io::Error::other(format!("it is cut off: it ends within {name}")));
                }
                files.insert(name, place);
            }
            (tar::EntryType::Symlink, Some(to)) => {
                let beside = Path::new(&name).parent().unwrap_or(Path::new("")).join(to);
                links.insert(name, plain(&beside));
            }
            (tar::EntryType::Link, Some(to)) => {
                links.insert(name, plain(&to));
            }
            _ => {}
        }
    }
    for (name, first) in &links {
        let mut to = first;
        for _ in 0..LINKS {
            match links.get(to) {
                Some(next) => to = next,
                None => break,
            }
        }
        if let Some(&place) = files.get(to) {
            files.insert(name.clone(), place);
        }
    }
    Ok(files)
}

/// A path without `.` and `..`, as names in archives are compared. Nothing is opened by it.
fn plain(path: &Path) -> String {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    parts.join("/")
}
