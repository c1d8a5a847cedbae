//! Records: the values behind the [keys](crate::keys), as JSON.

use alloc::string::String;
use alloc::vec::Vec;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ambient::Timestamp;
use crate::digest::Digest;
use crate::effect::{Fault, Value};
use crate::keys::Key;
use crate::manifest::Platform;
use crate::meter::MeterState;
use crate::name::Repository;

/// A repository exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRecord {
    /// When something was first pushed to it.
    pub created: Timestamp,
}

/// What a tag names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRecord {
    /// The manifest, under the algorithm it was pushed with (SPEC J2).
    pub digest: Digest,
    /// When the tag came to name it.
    pub pushed: Timestamp,
    /// The call that did: it makes the record of each call another, so that whoever expects this one notices
    /// every call in between.
    pub by: Uuid,
}

/// The maintained list of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformsRecord {
    /// The list as a manifest; `None` when it was deleted.
    pub list: Option<Digest>,
    /// The newest image of each platform, in the order of the platforms' names.
    pub(crate) images: Vec<PlatformImage>,
}

/// An entry of a maintained list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlatformImage {
    pub(crate) platform: Platform,
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// When it was pushed.
    pub(crate) pushed: Timestamp,
}

/// A manifest in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRecord {
    /// The media type it was pushed with.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// The manifest it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// When it was last pushed.
    pub pushed: Timestamp,
    /// The call that pushed it last. Whoever points a tag at a manifest writes this record anew, so that a
    /// delete that did not see the tag fails its expectation.
    pub by: Uuid,
    /// Made by the registry itself, as a list that a tag has but does not name: the sweep takes it when the tag has
    /// moved on.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub maintained: bool,
}

/// A tag has ceased to name a manifest, or a manifest that needed the blob or manifest is gone: from then on counts
/// how long nothing has named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRecord {
    /// When the last one did.
    pub left: Timestamp,
}

/// A blob in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRecord {
    /// When it was last pushed or mounted.
    pub linked: Timestamp,
    /// The call that did.
    pub by: Uuid,
}

/// The bytes of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// Its size in bytes.
    pub size: u64,
    /// The content that holds them is the one of this call, under the digest of the blob.
    pub content: Uuid,
}

/// An upload session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    /// The repository it belongs to (SPEC F11).
    pub repository: Repository,
    /// How many bytes there are, and the hash over them.
    pub meter: MeterState,
    /// When it was opened.
    pub started: Timestamp,
    /// When the last chunk came.
    pub touched: Timestamp,
    /// How many parts it has.
    pub parts: u32,
}

impl UploadRecord {
    /// How many bytes the session has: the offset of the next chunk.
    pub fn offset(&self) -> u64 {
        self.meter.count
    }
}

/// A part of an upload session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Where in the upload it begins, in bytes.
    pub offset: u64,
}

/// A record as the bytes that are stored.
pub(crate) fn encode<T: Serialize>(record: &T) -> Value {
    // Records are structs of strings, numbers and lists: they always have a JSON form.
    Value::from(serde_json::to_vec(record).unwrap_or_default())
}

/// A record out of the bytes that were stored; bytes that do not read are a fault of the storage.
pub(crate) fn decode<T: DeserializeOwned>(key: &Key, value: &Value) -> Result<T, Fault> {
    serde_json::from_slice(value)
        .map_err(|error| Fault::Failed(alloc::format!("the record {key:?} is damaged: {error}")))
}
