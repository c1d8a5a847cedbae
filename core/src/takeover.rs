//! What another registry has kept, on its way into this one (SPEC Y1–Y14).
//!
//! A host finds it, reads manifests and puts the bytes of blobs at rest; the [registry](crate::Registry) makes the records.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::ambient::Timestamp;
use crate::config::MANIFEST_LIMIT;
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{self, Manifest, Need, Platform, Shape};
use crate::media::ManifestType;
use crate::name::{Repository, Tag};
use crate::object::ObjectId;

/// A blob that a repository held there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The repository that is to hold it.
    pub repository: Repository,
    /// What it is called.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// The object with its bytes, which belongs to nothing yet. None for an empty blob, and where the registry was said to
    /// have the blob.
    pub object: Option<ObjectId>,
    /// Whether its bytes were hashed and are those of the digest.
    pub verified: bool,
}

/// A manifest that a repository held there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
    pub(crate) payload: Bytes,
    platform: Option<Platform>,
}

/// A manifest and the repository that is to hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The repository.
    pub repository: Repository,
    /// The manifest.
    pub revision: Revision,
    /// When it was pushed there.
    pub pushed: Timestamp,
}

/// A tag there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// The manifest that it names.
    pub digest: Digest,
    /// When it was pushed there.
    pub pushed: Timestamp,
    /// For which platform the manifest is an image, as far as that is known.
    pub platform: ImagePlatform,
}

/// For which platform a manifest is an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImagePlatform {
    /// The configuration was not read: the registry reads it.
    Unread,
    /// For this one, or none that is known.
    Read(Option<KnownPlatform>),
}

/// A platform, as an image configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPlatform(pub(crate) Platform);

/// What a manifest needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// What it is called.
    pub digest: Digest,
    /// How many bytes it has by the manifest.
    pub size: u64,
    /// What it is.
    pub what: NeededAs,
}

/// What it is that a manifest needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeededAs {
    /// A blob: a configuration or a layer.
    Blob,
    /// A layer that may stay outside the registry.
    OutsideBlob,
    /// Something that an index lists: a manifest or, in build caches, a blob.
    Child,
}

/// Why a manifest cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Its bytes have this digest, which is another.
    Digest(Digest),
    /// It has so many bytes: more than a manifest may have.
    TooLarge(u64),
    /// It is of schema 1, which no client of today reads.
    SchemaOne,
    /// It is no manifest, or none that is taken here: with what is wrong.
    Document(String),
}

impl Revision {
    /// Reads a manifest that is kept under a digest. Its media type is the one that it says itself and, if it says none,
    /// the one that it looks like (SPEC Y6).
    ///
    /// # Errors
    ///
    /// When these are not the bytes of the digest, or no manifest that the registry takes.
    pub fn read(digest: Digest, payload: Bytes) -> Result<Self, Unreadable> {
        let size = payload.len() as u64;
        if size > MANIFEST_LIMIT {
            return Err(Unreadable::TooLarge(size));
        }
        let actual = digest.algorithm().digest(&payload);
        if actual != digest {
            return Err(Unreadable::Digest(actual));
        }
        let media_type = media_type(&payload)?;
        let manifest = Manifest::parse(&payload, Some(media_type.as_str())).map_err(|error| match error {
            Error::Manifest(reason) => Unreadable::Document(reason),
            other => Unreadable::Document(alloc::format!("{other:?}")),
        })?;
        let platform = manifest.image_config.as_ref().and_then(manifest::Named::inline);
        let platform = platform.and_then(|bytes| Platform::of_config(&bytes));
        Ok(Self { digest, manifest, payload, platform })
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.payload.len() as u64
    }

    /// The image configuration whose bytes tell the platform, if the manifest does not have them itself.
    pub fn configuration(&self) -> Option<Digest> {
        self.manifest.image_config.as_ref().filter(|_| self.platform.is_none()).map(|config| config.digest)
    }

    /// Reads the bytes of its configuration.
    pub fn configured(&mut self, bytes: &[u8]) {
        self.platform = Platform::of_config(bytes);
    }

    /// For which platform it is an image, as far as was read.
    pub fn platform(&self) -> Option<KnownPlatform> {
        self.platform.clone().map(KnownPlatform)
    }

    /// Whether it lists other manifests.
    pub fn is_index(&self) -> bool {
        self.manifest.media_type.is_list()
    }

    /// The manifest that it refers to.
    pub fn subject(&self) -> Option<Digest> {
        self.manifest.subject
    }

    /// What it needs, with the sizes that it says, in no order. What it names several times may come several times.
    pub fn needs(&self) -> Vec<Needed> {
        let named = manifest::sizes(&self.payload).into_iter();
        let needed = named.filter_map(|(digest, size)| {
            let what = match self.manifest.needs.get(&digest)? {
                Need::Blob => NeededAs::Blob,
                Need::Optional => NeededAs::OutsideBlob,
                Need::Child => NeededAs::Child,
            };
            Some(Needed { digest, size, what })
        });
        needed.collect()
    }
}

/// The media type of a manifest, from the document alone.
fn media_type(payload: &[u8]) -> Result<ManifestType, Unreadable> {
    let shape = Shape::of(payload).map_err(Unreadable::Document)?;
    // Docker, "Image Manifest Version 2, Schema 1".
    let named = shape.media_type.as_deref().filter(|named| !named.is_empty());
    if shape.schema_version == Some(1) || named.is_some_and(|named| named.contains("distribution.manifest.v1+")) {
        return Err(Unreadable::SchemaOne);
    }
    match named {
        Some(named) => ManifestType::named(named)
            .ok_or_else(|| Unreadable::Document(alloc::format!("`{named}` is no type of manifest that is taken here"))),
        None if shape.has_manifests => Ok(ManifestType::OciIndex),
        None => Ok(ManifestType::OciManifest),
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(actual) => write!(f, "its bytes have another digest, {actual}"),
            Self::TooLarge(size) => write!(f, "it has {size} bytes, and a manifest at most {MANIFEST_LIMIT}"),
            Self::SchemaOne => {
                f.write_str("it is a manifest of schema 1, which no client of today reads: push the image anew")
            }
            Self::Document(reason) => f.write_str(reason),
        }
    }
}

impl core::error::Error for Unreadable {}

/// Whether the registry has a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It does not.
    Absent,
    /// It does.
    Here,
    /// It does, but the bytes are damaged: it can be brought anew with bytes that were hashed.
    Damaged,
}

/// What became of blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayersTaken {
    /// Blobs that are new.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How often a repository holds one from now on.
    pub links: u64,
    /// Blobs that the registry was said to have, and has no more: to be brought again, with an object.
    pub again: Vec<Layer>,
    /// Blobs that have so many bytes here, and another size there. What is here stays.
    pub differing: Vec<(Digest, u64)>,
    /// Records that do not read, for which something was passed by.
    pub damaged: Vec<String>,
}

/// What became of manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestsTaken {
    /// Manifests that are new, one for each repository.
    pub manifests: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that do not read, for which something was passed by.
    pub damaged: Vec<String>,
}

/// What became of tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagsTaken {
    /// Tags that are new.
    pub made: u64,
    /// Tags that were imported before, and name another manifest now.
    pub moved: u64,
    /// Tags that are as they should be.
    pub same: u64,
    /// Tags that were pushed here to another manifest: they stay.
    pub kept: Vec<KeptTag>,
    /// Tags whose manifest the repository does not hold.
    pub without_manifest: Vec<(Repository, Tag, Digest)>,
    /// Records that do not read, for which something was passed by.
    pub damaged: Vec<String>,
}

/// A tag that was pushed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTag {
    /// The repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// What it names here.
    pub here: Digest,
    /// What it names there.
    pub there: Digest,
}
