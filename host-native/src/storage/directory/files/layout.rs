//! Where everything lies in a data directory, and how a name is read back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use orlop_core::Fault;
use orlop_core::digest::{Algorithm, Digest};
use orlop_core::effect::{ContentId, PartId};
use uuid::Uuid;

use crate::storage::directory::counters::Counters;
use crate::storage::directory::fault;

/// The directories of parts, contents and copies under way.
pub(super) struct Layout {
    uploads: PathBuf,
    blobs: PathBuf,
    temporary: PathBuf,
    counters: Counters,
}

impl Layout {
    /// Makes the directories, and empties the one of copies under way. Their names in the data directory are for the
    /// caller to make durable.
    pub(super) fn prepare(directory: &Path, counters: Counters) -> Result<Self, Fault> {
        let layout = Self {
            uploads: directory.join("uploads"),
            blobs: directory.join("blobs"),
            temporary: directory.join("temporary"),
            counters,
        };
        match fs::remove_dir_all(&layout.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(fault::at("empty", &layout.temporary, &error));
            }
            _ => {}
        }
        let algorithms = Algorithm::ALL.map(|algorithm| layout.algorithm(algorithm));
        for made in [&layout.uploads, &layout.temporary, &layout.blobs].into_iter().chain(&algorithms) {
            fs::create_dir_all(made).map_err(|error| fault::at("make", made, &error))?;
        }
        for digit in DIGITS {
            let made = layout.parts(digit);
            fs::create_dir_all(&made).map_err(|error| fault::at("make", &made, &error))?;
        }
        layout.sync(&layout.uploads)?;
        layout.sync(&layout.blobs)?;
        Ok(layout)
    }

    /// Where parts and contents are.
    pub(super) fn directories(&self) -> [&Path; 2] {
        [&self.uploads, &self.blobs]
    }

    /// A directory on the disk where all of it is.
    pub(super) fn root(&self) -> &Path {
        &self.blobs
    }

    /// The directory of all parts whose upload begins with this digit: `uploads/a`.
    pub(super) fn parts(&self, digit: &str) -> PathBuf {
        self.uploads.join(digit)
    }

    pub(super) fn part(&self, part: &PartId) -> PathBuf {
        let name = format!("{}.{}", part.upload, part.nonce);
        self.parts(&name[..1]).join(name)
    }

    /// The directory of all contents of an algorithm: `blobs/sha256`.
    pub(super) fn algorithm(&self, algorithm: Algorithm) -> PathBuf {
        self.blobs.join(algorithm.name())
    }

    /// Whether anybody has made a directory for a content.
    pub(super) fn has_contents(&self) -> Result<bool, Fault> {
        for algorithm in Algorithm::ALL.map(|algorithm| self.algorithm(algorithm)) {
            let mut listed = fs::read_dir(&algorithm).map_err(|error| fault::at("list", &algorithm, &error))?;
            if listed.next().is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The directory of the contents of one digest: `blobs/sha256/ab/<hex>`.
    pub(super) fn contents(&self, digest: &Digest) -> PathBuf {
        let hex = digest.encoded();
        self.algorithm(digest.algorithm()).join(&hex[..2]).join(hex)
    }

    pub(super) fn content(&self, content: &ContentId) -> PathBuf {
        self.contents(&content.digest).join(content.nonce.to_string())
    }

    /// Where a content is copied together before it gets its name.
    pub(super) fn temporary(&self, content: &ContentId) -> PathBuf {
        // A call makes one content at a time, but may be asked again for the same: a fresh name never collides.
        self.temporary.join(format!("{}.{}", content.nonce, Uuid::new_v4()))
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync(&self, directory: &Path) -> Result<(), Fault> {
        self.count_fsync();
        File::open(directory)
            .and_then(|opened| opened.sync_all())
            .map_err(|error| fault::at("make durable", directory, &error))
    }

    /// Something is about to be made durable.
    pub(super) fn count_fsync(&self) {
        self.counters.fsyncs.inc();
    }
}

/// The digits that a name can begin with, in their order. Directories of them stay small enough to list.
pub(super) const DIGITS: [&str; 16] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"];

/// The part of that file name, if it is one.
pub(super) fn part_named(name: &str) -> Option<PartId> {
    let (upload, nonce) = name.split_once('.')?;
    Some(PartId { upload: uuid_named(upload)?, nonce: uuid_named(nonce)? })
}

/// The UUID of that text. Only the form that we write is one, so that each object has one name.
pub(super) fn uuid_named(text: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(text).ok()?;
    (uuid.to_string() == text).then_some(uuid)
}

/// The digest of which `name` is the directory.
pub(super) fn digest_named(algorithm: Algorithm, name: &str) -> Option<Digest> {
    format!("{}:{name}", algorithm.name()).parse().ok()
}
