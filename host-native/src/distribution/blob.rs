//! Blobs and manifests: whether they are what they are said to be.

use std::io;
use std::path::Path;

use bytes::Bytes;
use orlop_core::Timestamp;
use orlop_core::config::MANIFEST_LIMIT;
use orlop_core::digest::Digest;
use orlop_core::meter::Meter;
use orlop_core::takeover::{Revision, Unreadable};

use super::contents::{Bad, NOT_FOLLOWED, link_path, read_link};
use super::tree::{Stat, is_link};
use super::{Kind, Source};

/// The largest image configuration that is read to learn a platform, in bytes.
const CONFIGURATION: u64 = 4 << 20;

/// The user as whom a server is to read what is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reader {
    /// The user.
    pub(crate) user: u32,
    /// Its group.
    pub(crate) group: u32,
}

/// What a look at a blob has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It is there, with so many bytes.
    Fine {
        /// How many.
        size: u64,
        /// They were hashed.
        verified: bool,
        /// The server's user may not read the file.
        private: bool,
    },
    /// There are no bytes.
    Missing,
    /// Its bytes are others.
    Damaged,
    /// The same, as its size has told.
    WrongSize,
    /// In its place there is a symbolic link.
    Link,
    /// It is not known whether it is there.
    Unreadable,
}

impl Look {
    /// What is wrong, if something is.
    pub(crate) fn problem(self) -> Option<(Kind, &'static str)> {
        match self {
            Self::Fine { .. } => None,
            Self::Missing => Some((Kind::BlobMissing, "its bytes are missing: it is left out")),
            Self::Damaged => Some((Kind::BlobDigest, "its bytes are not those of its digest: it is left out")),
            Self::WrongSize => {
                Some((Kind::BlobSize, "it has not the size that manifests say, and other bytes: it is left out"))
            }
            Self::Link => {
                Some((Kind::BlobMissing, "its bytes are behind a symbolic link, which is not followed: it is left out"))
            }
            Self::Unreadable => Some((Kind::Unreadable, "it cannot be read")),
        }
    }
}

impl Source {
    /// Looks at a blob: whether it is there, how many bytes it has, and whether `reader` can read them. Its bytes are
    /// hashed with `verify`.
    pub(crate) fn look(&self, digest: &Digest, reader: Reader, verify: bool) -> Look {
        let Stat { size, private } = match self.tree().stat(&self.data(digest), reader) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Look::Missing,
            Err(error) if is_link(&error) => return Look::Link,
            Err(_) => return Look::Unreadable,
        };
        // Of an empty file it is known at once.
        if size == 0 {
            let sound = digest.algorithm().digest(b"") == *digest;
            return if sound { Look::Fine { size, verified: true, private: false } } else { Look::Damaged };
        }
        if verify { self.hash(digest, private) } else { Look::Fine { size, verified: false, private } }
    }

    /// Hashes a blob.
    pub(crate) fn hash(&self, digest: &Digest, private: bool) -> Look {
        let hash = || -> io::Result<Meter> {
            let mut meter = Meter::new(digest.algorithm());
            self.tree().read(&self.data(digest), &mut |bytes| meter.update(bytes))?;
            Ok(meter)
        };
        match hash() {
            Ok(meter) if meter.digest() == *digest => Look::Fine { size: meter.count(), verified: true, private },
            Ok(_) => Look::Damaged,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Look::Missing,
            Err(_) => Look::Unreadable,
        }
    }

    /// Looks whether the link by which a repository holds something is in order, and when it was made: never, where it was
    /// deleted. With what is wrong with it.
    pub(crate) fn check_link(&self, below: &Path, digest: &Digest) -> Result<Option<Timestamp>, (Kind, String)> {
        let path = link_path(below, digest);
        match read_link(self.tree(), &path) {
            Ok((named, at)) if named == *digest => Ok(Some(at)),
            Ok((named, _)) => Err((Kind::WrongLink, format!("its link names {named}: it is left out"))),
            Err(Bad::Empty) => Err((Kind::EmptyLink, "its link is empty: it is left out".into())),
            Err(Bad::NoDigest(text) | Bad::Algorithm(text)) => {
                Err((Kind::WrongLink, format!("its link has another thing in it, `{text}`: it is left out")))
            }
            Err(Bad::Link) => Err((Kind::WrongLink, format!("its link is {NOT_FOLLOWED}: it is left out"))),
            // A directory without a link is what a delete leaves.
            Err(Bad::Missing) => Ok(None),
            Err(Bad::Error(error)) => Err((Kind::Unreadable, format!("{}: {error}", path.display()))),
        }
    }

    /// Reads a manifest; with what is wrong with it.
    pub(crate) fn manifest(&self, digest: &Digest) -> Result<Revision, (Kind, String)> {
        let left_out = |kind, problem: &dyn std::fmt::Display| Err((kind, format!("{problem}: it is left out")));
        let bytes = match self.read_at_most(digest, MANIFEST_LIMIT + 1) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return left_out(Kind::BlobMissing, &"its bytes are missing");
            }
            Err(error) if is_link(&error) => {
                return left_out(Kind::BlobMissing, &format!("its file is {NOT_FOLLOWED}"));
            }
            Err(error) => return Err((Kind::Unreadable, error.to_string())),
        };
        Revision::read(*digest, bytes).or_else(|wrong| match &wrong {
            Unreadable::SchemaOne => Err((Kind::SchemaOne, wrong.to_string())),
            Unreadable::Digest(_) => left_out(Kind::BlobDigest, &wrong),
            Unreadable::TooLarge(_) | Unreadable::Document(_) => left_out(Kind::Manifest, &wrong),
        })
    }

    /// The bytes of an image configuration, if they are those of the digest.
    pub(crate) fn configuration(&self, digest: &Digest) -> Option<Result<Bytes, Look>> {
        let bytes = self.read_at_most(digest, CONFIGURATION + 1).ok()?;
        if bytes.len() as u64 > CONFIGURATION {
            return None;
        }
        let sound = digest.algorithm().digest(&bytes) == *digest;
        Some(if sound { Ok(bytes) } else { Err(Look::Damaged) })
    }

    fn read_at_most(&self, digest: &Digest, most: u64) -> io::Result<Bytes> {
        match self.tree().small(&self.data(digest), most) {
            Ok((bytes, _)) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Err(io::ErrorKind::NotFound.into()),
            Err(error) => Err(error),
        }
    }
}
