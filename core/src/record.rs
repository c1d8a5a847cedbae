//! Records: the values behind the [keys](crate::keys), as JSON.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ambient::Timestamp;
use crate::config::PULLERS;
use crate::digest::Digest;
use crate::effect::Value;
use crate::flows::usage::Census;
use crate::keys::Key;
use crate::manifest::Platform;
use crate::meter::MeterState;
use crate::name::{Repository, Tag};
use crate::object::ObjectId;
use crate::protect::Mark;

/// A repository exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRecord {
    /// When something was first pushed to it.
    pub created: Timestamp,
}

/// A manifest was pushed to a repository. Of what was pushed before this was written down, the tags tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedRecord {
    /// When that last was.
    pub pushed: Timestamp,
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
    /// When it was imported from another registry, if it was not pushed here since: the next import may move it, and what
    /// was pulled there before is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Timestamp>,
    /// When it was last undeleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undeleted: Option<Timestamp>,
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
    /// The bytes of its config and layers as it says them, of an index those of all images in it; none where that was not
    /// known when it was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<u64>,
    /// The manifest it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// When it was last pushed, here or where it was imported from.
    pub pushed: Timestamp,
    /// When it was imported from another registry, if it was not pushed here since: what was pulled there before is not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Timestamp>,
    /// The call that pushed it last. Whoever points a tag at a manifest writes this record anew, so that a
    /// delete that did not see the tag fails its expectation.
    pub by: Uuid,
    /// Made by the registry itself, as a list that a tag has but does not name: garbage collection takes it when the
    /// tag has moved on.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub maintained: bool,
    /// A mirror has fetched it, so that its upstream can give it again.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub fetched: bool,
    /// Since when its bytes are known to be damaged or missing: it is not there until it is pushed or fetched again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<Timestamp>,
}

impl ManifestRecord {
    /// Since when it has been here: it was last pushed or, with a push elsewhere long ago, imported.
    pub(crate) fn came(&self) -> Timestamp {
        self.imported.map_or(self.pushed, |imported| imported.max(self.pushed))
    }
}

/// A manifest that was deleted. Until it is purged it can be undeleted: `use/` still says what it needs, and its bytes count
/// for the usage of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedRecord {
    /// The manifest as it was.
    pub manifest: ManifestRecord,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// Who did it: the name of a user, or what deletes by itself; empty for nobody in particular.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The maintained lists that it was taken out of, some hundred at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) listed: Vec<Listed>,
}

/// A tag whose maintained list has lost something with a manifest, and is there still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(crate) tag: Tag,
    /// The image that the list lost; none when the manifest was the list itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<PlatformImage>,
}

/// A tag that was deleted, and can be undeleted. Of several deletions of one tag the last counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTagRecord {
    /// The tag as it was.
    pub tag: TagRecord,
    /// Its maintained list, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platforms: Option<PlatformsRecord>,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// Who did it, as in [`DeletedRecord::by`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// It went along with the manifest that it named, and comes back with it.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub along: bool,
}

/// All protect marks: one record, so that a delete reads one and expects one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedRecord {
    /// The marks, in the order of their texts.
    pub marks: Vec<ProtectMark>,
}

/// A protect mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectMark {
    /// What it protects: `REPOSITORY:TAG`, where both may be patterns, or `REPOSITORY@DIGEST`.
    pub what: Mark,
    /// Since when.
    pub since: Timestamp,
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
    /// A mirror has fetched it, and no manifest that was pushed since needs it: its upstream can give it again, and eviction
    /// may take it.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub fetched: bool,
}

/// Where the bytes of a blob are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// Its size in bytes.
    pub size: u64,
    /// The objects it is made of, in order. An empty blob has none.
    pub extents: Vec<Extent>,
    /// Since when its bytes are known to be damaged or missing: it is not there until it is pushed or fetched again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<Timestamp>,
    /// Its bytes were taken over from another registry, and nobody has hashed them since.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub unverified: bool,
    /// When its bytes were hashed, if they were taken over from another registry: a scrub that began before has read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Timestamp>,
}

impl BlobRecord {
    /// A blob whose bytes are as its digest says.
    pub(crate) fn sound(size: u64, extents: Vec<Extent>) -> Self {
        Self { size, extents, quarantined: None, unverified: false, read: None }
    }
}

/// A blob or manifest is damaged, and out of use until it is pushed or fetched again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// When that was found.
    pub since: Timestamp,
    /// What is wrong with it.
    pub problem: String,
}

/// How far the scrub has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubRecord {
    /// The call that wrote this: of two that scrub at once, the second one notices.
    pub by: Uuid,
    /// When it began at the beginning.
    pub began: Timestamp,
    /// When it came to the end; none while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What is read now.
    pub reading: Reading,
    /// Up to which key; none at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many blobs were read since it began.
    pub blobs: u64,
    /// How many manifests.
    pub manifests: u64,
    /// How many bytes these have.
    pub bytes: u64,
    /// How many of them are damaged.
    pub damaged: u64,
}

/// What a scrub reads, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// Blobs that were taken over from another registry, and that nobody has read since.
    Unverified,
    /// All blobs.
    Blobs,
    /// All manifests.
    Manifests,
}

/// An object as a piece of a blob or of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Which object.
    pub object: ObjectId,
    /// All its bytes: how many there are, at least 1.
    pub size: u64,
    /// The bytes are a record. Only the first extent can be such.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub small: bool,
}

/// What an object belongs to. It is there as long as the object is of use, and goes by the commit that ends that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// An upload session that is open.
    Upload(Uuid),
    /// A blob.
    Blob(Digest),
}

/// An object that belonged to a session or a blob, or of which it was found that it belongs to nothing. It stays for a
/// while, for records that are restored to an earlier moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedRecord {
    /// Since when no record names it, or when that was found.
    pub released: Timestamp,
    /// How many bytes it has.
    pub size: u64,
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
    /// When its last request ended, or was known to be still receiving.
    pub touched: Timestamp,
    /// How many chunks it has.
    pub chunks: u32,
}

impl UploadRecord {
    /// How many bytes the session has: the offset of the next chunk.
    pub fn offset(&self) -> u64 {
        self.meter.count
    }
}

/// An upload session that has become a blob. It is remembered for a while, so that a client that did not get the
/// answer may ask again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedRecord {
    /// The repository it belonged to.
    pub repository: Repository,
    /// The blob.
    pub digest: Digest,
    /// When it was finished.
    pub finished: Timestamp,
}

/// The format of the records, which this version reads and writes. Format 1 is that of Orlop 0.1, which had no record
/// of it.
pub const FORMAT: u32 = 2;

/// What all hosts that share these records agree on. The first host writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaRecord {
    /// The format of the records. It is read before the rest, which another format may have in another form.
    pub format: u32,
    /// [`Config::call_lifetime`](crate::Config::call_lifetime) in milliseconds: garbage collection by one host erases
    /// what a call on another host has received, once it is older than this.
    pub call_lifetime_ms: u64,
}

/// The format of a storage to which a registry is being copied: no version serves it.
pub const UNFINISHED: u32 = 0;

/// A manifest, a tag, or a blob of a mirror was pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledRecord {
    /// When that was last written down.
    pub pulled: Timestamp,
    /// How often a client got the manifest, or asked for the tag, since that is counted; 0 for blobs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub times: u64,
    /// By which users lately, the last one first: [`PULLERS`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<PulledBy>,
}

/// A user who has pulled something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledBy {
    /// The name by which the host knows the user.
    pub user: String,
    /// When that was last written down.
    pub pulled: Timestamp,
}

impl PulledRecord {
    /// It was pulled then; how often and by whom is not counted.
    pub(crate) fn at(pulled: Timestamp) -> Self {
        Self { pulled, times: 0, by: Vec::new() }
    }

    /// It was pulled again, so many times, by these users, the last one last.
    pub(crate) fn again(&mut self, now: Timestamp, times: u64, users: &[String]) {
        // The clock of another host may be ahead.
        self.pulled = self.pulled.max(now);
        self.times = self.times.saturating_add(times);
        for user in users {
            self.by.retain(|by| by.user != *user);
            self.by.insert(0, PulledBy { user: user.clone(), pulled: now });
        }
        self.by.truncate(PULLERS);
    }
}

fn is_zero(times: &u64) -> bool {
    *times == 0
}

/// It is noted which manifests and tags are pulled. Of what was pulled before, nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullsSinceRecord {
    /// Since when.
    pub since: Timestamp,
}

/// A tag of a mirror, as its upstream last had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirroredRecord {
    /// The call that pointed the tag at what the upstream has, as the record of the tag names it. When that names another
    /// call, the tag has been pushed since, while its repository was no mirror's, and this record says nothing of it.
    pub by: Uuid,
    /// When the upstream last said where the tag is: it stays usable for a while after that.
    pub checked: Timestamp,
    /// Since when the upstream says that it has no such tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Timestamp>,
}

/// What stands in the place of [`MetaRecord`] until the copy of a registry is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedRecord {
    /// [`UNFINISHED`].
    pub format: u32,
    /// Which registry is copied.
    pub registry: Digest,
    /// The call that wrote this: whoever copies at the same time notices.
    pub by: Uuid,
    /// Up to which key records were copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<String>,
    /// All records were copied.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub complete: bool,
    /// Up to which key the copy was compared with the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<String>,
}

/// The secret with which hosts sign the tokens that they give to clients: what one host signs, all others accept, and
/// so does the same host after a restart. It is neither logged nor sent to clients.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// A key of random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The bytes, for what signs.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<SessionKey> for String {
    fn from(key: SessionKey) -> Self {
        hex::encode(key.0)
    }
}

impl TryFrom<String> for SessionKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut key = [0; 32];
        // The error says nothing of the text.
        hex::decode_to_slice(text, &mut key).map_err(|_| "it is not 32 bytes in hexadecimal")?;
        Ok(Self(key))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

/// A host does a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The host that does it.
    pub holder: Uuid,
    /// The call that acquired the lease: it makes the record of each another, so that a holder who lost the lease fails
    /// its expectation.
    pub by: Uuid,
    /// When it ends, unless it is renewed.
    pub until: Timestamp,
    /// How often it was acquired since the record is there.
    pub generation: u64,
}

/// How much there was when everything was last counted, for the hosts that have not counted it themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CensusRecord {
    /// When that was.
    pub counted: Timestamp,
    /// What was counted.
    pub census: Census,
}

/// What many repositories of one quota had together a moment ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// When that was.
    pub summed: Timestamp,
    /// Their bytes.
    pub bytes: u64,
}

/// The soft limit of a quota was exceeded, and who listens was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverRecord {
    /// Since when.
    pub since: Timestamp,
}

/// The bytes of a repository are being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecountRecord {
    /// The call that counts.
    pub by: Uuid,
    /// When it began.
    pub since: Timestamp,
}

/// The number in the record of a counter; 0 if there is none. One that does not read counts as none: it says what other
/// records say, only sooner, and nothing may fail for ever because of it.
pub fn count(value: Option<&Value>) -> u64 {
    value.and_then(|value| core::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
}

/// The record of a counter to which `more` was added: it does not go below 0, where it has no record.
pub fn added(value: Option<&Value>, more: i64) -> Option<Value> {
    let sum = count(value).saturating_add_signed(more);
    (sum > 0).then(|| alloc::format!("{sum}").into())
}

/// A record as the bytes that are stored.
pub(crate) fn encode<T: Serialize>(record: &T) -> Value {
    // Records are structs of strings, numbers and lists: they always have a JSON form.
    Value::from(serde_json::to_vec(record).unwrap_or_default())
}

/// A record that does not read: the storage has lost or changed its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Under which key it is.
    pub key: Key,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the record {:?} is damaged: {}", self.key, self.reason)
    }
}

/// A record out of the bytes that were stored.
pub(crate) fn decode<T: DeserializeOwned>(key: &Key, value: &Value) -> Result<T, Damaged> {
    let damaged = |error: serde_json::Error| Damaged { key: key.clone(), reason: alloc::format!("{error}") };
    serde_json::from_slice(value).map_err(damaged)
}
