//! The map of the registry: every key of a record is made here, and nowhere else.
//!
//! | key | value | read as |
//! |---|---|---|
//! | `repo/<repository>` | [`RepositoryRecord`](crate::record::RepositoryRecord) | the repository exists |
//! | `tag/<repository>:<tag>` | [`TagRecord`](crate::record::TagRecord) | the tag names a manifest |
//! | `platforms/<repository>:<tag>` | [`PlatformsRecord`](crate::record::PlatformsRecord) | the newest image a platform pushed to the tag: its maintained list |
//! | `mirrored/<repository>:<tag>` | [`MirroredRecord`](crate::record::MirroredRecord) | when an upstream was last asked where the tag is |
//! | `tagged/<repository>@<digest>/<tag>` | nothing | the tag names the manifest, or its maintained list does |
//! | `left/<repository>@<digest>` | [`LeftRecord`](crate::record::LeftRecord) | when a tag or manifest last ceased to name the manifest or blob |
//! | `manifest/<repository>@<digest>` | [`ManifestRecord`](crate::record::ManifestRecord) | the repository holds the manifest |
//! | `payload/<repository>@<digest>` | raw bytes | the manifest as it was pushed |
//! | `referrer/<repository>@<subject>/<digest>` | descriptor | the manifest refers to the subject |
//! | `deleted/<repository>@<digest>` | [`DeletedRecord`](crate::record::DeletedRecord) | the manifest was deleted, and can be undeleted |
//! | `deletedpayload/<repository>@<digest>` | raw bytes | the deleted manifest as it was pushed |
//! | `deletedtag/<repository>:<tag>` | [`DeletedTagRecord`](crate::record::DeletedTagRecord) | what the tag was when it was last deleted |
//! | `deletedtagged/<repository>@<digest>/<tag>` | nothing | the deleted tag names the manifest, or its maintained list does |
//! | `link/<repository>@<digest>` | [`LinkRecord`](crate::record::LinkRecord) | the repository holds the blob |
//! | `pulled/<repository>@<digest>` | [`PulledRecord`](crate::record::PulledRecord) | when the blob was last pulled from a mirror, to the hour |
//! | `pulledmanifest/<repository>@<digest>` | [`PulledRecord`](crate::record::PulledRecord) | when the manifest was last pulled, to the hour, how often and by whom |
//! | `pulledtag/<repository>:<tag>` | [`PulledRecord`](crate::record::PulledRecord) | when a manifest was last pulled by the tag, to the hour, how often and by whom |
//! | `holder/<digest>/<repository>` | nothing | the same, the other way round |
//! | `use/<repository>@<digest>/<manifest>` | nothing | the manifest needs the blob or child manifest |
//! | `blob/<digest>` | [`BlobRecord`](crate::record::BlobRecord) | where the bytes of the blob are |
//! | `quarantine/<digest>` | [`QuarantineRecord`](crate::record::QuarantineRecord) | the blob is damaged, and what is wrong with it |
//! | `quarantine/<repository>@<digest>` | the same | the manifest is |
//! | `upload/<id>` | [`UploadRecord`](crate::record::UploadRecord) | an upload session |
//! | `event/<listener>/<time>-<nonce>` | [`Event`](crate::event::Event) | what a listener has not been told yet |
//! | `activity/<time backwards>-<nonce>` | the same | what happened, for whoever looks: kept for a time |
//! | `queue/<listener>` | counter | how many events that are |
//! | `chunk/<id>/<offset>` | [`Extent`](crate::record::Extent) | bytes that the session has received, and where in it they begin |
//! | `finished/<id>` | [`FinishedRecord`](crate::record::FinishedRecord) | the session has become a blob |
//! | `object/<object>` | [`Owner`](crate::record::Owner) | what the object belongs to: a session or a blob |
//! | `released/<object>` | [`ReleasedRecord`](crate::record::ReleasedRecord) | the object belongs to nothing, and is erased later |
//! | `bytes/<object>` | raw bytes | an object that is so small that its bytes lie among the records |
//! | `pushed/<repository>` | [`PushedRecord`](crate::record::PushedRecord) | when a manifest was last pushed to it |
//! | `usage/<repository>` | counter | the bytes of its blobs, manifests and open uploads |
//! | `recount/<repository>` | [`RecountRecord`](crate::record::RecountRecord) | the bytes of the repository are being counted, and nothing was taken from them since |
//! | `group/<id>` | [`GroupRecord`](crate::record::GroupRecord) | what many repositories of one quota had together a moment ago |
//! | `over/<id>/<repository>` | [`OverRecord`](crate::record::OverRecord) | the repository is over the soft limit of a quota, which was told |
//! | `over/<id>/` | the same | all repositories of a quota are, together |
//! | `meta/storage` | [`MetaRecord`](crate::record::MetaRecord) | the format of the records, and what all hosts of them agree on |
//! | `meta/session-key` | [`SessionKey`](crate::record::SessionKey) | the secret with which hosts sign their tokens |
//! | `meta/pulls-since` | [`PullsSinceRecord`](crate::record::PullsSinceRecord) | since when it is noted what is pulled |
//! | `meta/protected` | [`ProtectedRecord`](crate::record::ProtectedRecord) | all protect marks |
//! | `meta/census` | [`CensusRecord`](crate::record::CensusRecord) | how much there was when it was last counted |
//! | `meta/scrub` | [`ScrubRecord`](crate::record::ScrubRecord) | up to where all bytes were read again |
//! | `lease/<job>` | [`LeaseRecord`](crate::record::LeaseRecord) | which host does a job that one host does at a time |
//! | `signin/<user>/<place>` | `SignInRecord` | somebody has signed in to the web page; `<user>` is a hash of the name |
//! | `token/<user>/<place>` | `ApiTokenRecord` | the user has an API token |
//! | `host/…` | what a host makes of it | what a host keeps for itself; no flow reads or changes it |
//!
//! A repository name holds neither `:` nor `@`, a tag and a digest no `/`: every key reads in one way, and no
//! prefix of one repository is a prefix of another's.

use alloc::string::String;
use core::fmt::{self, Write as _};

use uuid::Uuid;

use crate::ambient::{Ambient, Timestamp};
use crate::digest::Digest;
use crate::event::Part;
use crate::flows::lease::Job;
use crate::name::{Repository, Tag};
use crate::object::ObjectId;
#[cfg(feature = "api")]
use crate::secret::UserKey;
use crate::target::Reference;

/// The key of a record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// What a family of keys begins with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(String);

impl Key {
    /// The key as text: what a host stores and sorts by, byte for byte.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A key of what a host keeps for itself.
    pub fn of_host(rest: &str) -> Self {
        Self(text(format_args!("host/{rest}")))
    }

    /// A key that a host has stored before.
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Prefix {
    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A prefix of keys of what a host keeps for itself.
    pub fn of_host(rest: &str) -> Self {
        Self(text(format_args!("host/{rest}")))
    }

    /// A prefix of keys that a host has stored before; the empty text is the prefix of all keys.
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What of `key` stands behind the prefix; empty when it does not begin with it.
    pub fn rest<'k>(&self, key: &'k Key) -> &'k str {
        key.0.strip_prefix(&self.0).unwrap_or_default()
    }

    /// The place where `rest` stands or would stand among the keys of this prefix. It need not be a valid
    /// name: it is only compared (SPEC N7).
    pub(crate) fn at(&self, rest: &str) -> Key {
        Key(text(format_args!("{}{rest}", self.0)))
    }
}

impl Prefix {
    /// The keys of this prefix of which the rest begins with `rest`.
    pub(crate) fn narrowed(&self, rest: &str) -> Self {
        Self(text(format_args!("{}{rest}", self.0)))
    }
}

/// How many bytes most keys have at most: a short prefix, a repository and a SHA-256.
const USUAL: usize = 128;

/// The text of a key, made without growing it piece by piece.
fn text(parts: fmt::Arguments<'_>) -> String {
    let mut text = String::with_capacity(USUAL);
    // A string takes everything.
    let _ = text.write_fmt(parts);
    text
}

/// Whether a record goes along when a registry is copied to another storage. Leases, objects that belong to nothing and
/// what hosts keep for themselves are of one storage, `meta/storage` says of the copy that it is complete, and `meta/scrub` which
/// of the bytes here were read.
pub fn is_copied(key: &Key) -> bool {
    let stays = [Prefix::of_host(""), leases(), all_released(), Prefix(meta().0), Prefix(scrub().0)];
    !stays.iter().any(|stays| key.0.starts_with(&stays.0))
}

pub(crate) fn repository(repository: &Repository) -> Key {
    Key(text(format_args!("repo/{repository}")))
}

pub(crate) fn repositories() -> Prefix {
    Prefix("repo/".into())
}

pub(crate) fn tag(repository: &Repository, tag: &Tag) -> Key {
    Key(text(format_args!("tag/{repository}:{tag}")))
}

pub(crate) fn tags(repository: &Repository) -> Prefix {
    Prefix(text(format_args!("tag/{repository}:")))
}

/// The tags of all repositories.
pub(crate) fn all_tags() -> Prefix {
    Prefix("tag/".into())
}

pub(crate) fn platforms(repository: &Repository, tag: &Tag) -> Key {
    Key(text(format_args!("platforms/{repository}:{tag}")))
}

pub(crate) fn tagged(repository: &Repository, manifest: &Digest, tag: &Tag) -> Key {
    Key(text(format_args!("tagged/{repository}@{manifest}/{tag}")))
}

pub(crate) fn tagged_with(repository: &Repository, manifest: &Digest) -> Prefix {
    Prefix(text(format_args!("tagged/{repository}@{manifest}/")))
}

/// What all tags of a repository name.
pub(crate) fn all_tagged(repository: &Repository) -> Prefix {
    Prefix(text(format_args!("tagged/{repository}@")))
}

pub(crate) fn left(repository: &Repository, target: &Digest) -> Key {
    Key(text(format_args!("left/{repository}@{target}")))
}

pub(crate) fn lefts(repository: &Repository) -> Prefix {
    Prefix(text(format_args!("left/{repository}@")))
}

pub(crate) fn manifest(repository: &Repository, manifest: &Digest) -> Key {
    Key(text(format_args!("manifest/{repository}@{manifest}")))
}

pub(crate) fn manifests(repository: &Repository) -> Prefix {
    Prefix(text(format_args!("manifest/{repository}@")))
}

/// The manifests of all repositories.
pub(crate) fn all_manifests() -> Prefix {
    Prefix("manifest/".into())
}

pub(crate) fn payload(repository: &Repository, manifest: &Digest) -> Key {
    Key(text(format_args!("payload/{repository}@{manifest}")))
}

pub(crate) fn referrer(repository: &Repository, subject: &Digest, manifest: &Digest) -> Key {
    Key(text(format_args!("referrer/{repository}@{subject}/{manifest}")))
}

pub(crate) fn referrers(repository: &Repository, subject: &Digest) -> Prefix {
    Prefix(text(format_args!("referrer/{repository}@{subject}/")))
}

pub(crate) fn deleted(repository: &Repository, manifest: &Digest) -> Key {
    Key(text(format_args!("deleted/{repository}@{manifest}")))
}

/// The deleted manifests of a repository.
pub(crate) fn deleted_in(repository: &Repository) -> Prefix {
    Prefix(text(format_args!("deleted/{repository}@")))
}

/// The place of a manifest or tag in the [list](crate::Registry::deleted) of what was deleted, whether it is in it or not.
pub fn place_of_deleted(repository: &Repository, reference: &Reference) -> Key {
    match reference {
        Reference::Tag(tag) => deleted_tag(repository, tag),
        Reference::Digest(digest) => deleted(repository, digest),
    }
}

pub(crate) fn all_deleted() -> Prefix {
    Prefix("deleted/".into())
}

pub(crate) fn deleted_payload(repository: &Repository, manifest: &Digest) -> Key {
    Key(text(format_args!("deletedpayload/{repository}@{manifest}")))
}

pub(crate) fn deleted_tag(repository: &Repository, tag: &Tag) -> Key {
    Key(text(format_args!("deletedtag/{repository}:{tag}")))
}

/// The deleted tags of a repository.
pub(crate) fn deleted_tags(repository: &Repository) -> Prefix {
    Prefix(text(format_args!("deletedtag/{repository}:")))
}

pub(crate) fn all_deleted_tags() -> Prefix {
    Prefix("deletedtag/".into())
}

pub(crate) fn deleted_tagged(repository: &Repository, manifest: &Digest, tag: &Tag) -> Key {
    Key(text(format_args!("deletedtagged/{repository}@{manifest}/{tag}")))
}

/// What all deleted tags of a repository name.
pub(crate) fn all_deleted_tagged(repository: &Repository) -> Prefix {
    Prefix(text(format_args!("deletedtagged/{repository}@")))
}

/// The deleted tags that name a manifest.
pub(crate) fn deleted_tagged_with(repository: &Repository, manifest: &Digest) -> Prefix {
    Prefix(text(format_args!("deletedtagged/{repository}@{manifest}/")))
}

pub(crate) fn link(repository: &Repository, blob: &Digest) -> Key {
    Key(text(format_args!("link/{repository}@{blob}")))
}

pub(crate) fn links(repository: &Repository) -> Prefix {
    Prefix(text(format_args!("link/{repository}@")))
}

/// The blobs that all repositories hold.
pub(crate) fn all_links() -> Prefix {
    Prefix("link/".into())
}

pub(crate) fn pulled(repository: &Repository, blob: &Digest) -> Key {
    Key(text(format_args!("pulled/{repository}@{blob}")))
}

pub(crate) fn pulled_manifest(repository: &Repository, manifest: &Digest) -> Key {
    Key(text(format_args!("pulledmanifest/{repository}@{manifest}")))
}

pub(crate) fn pulled_manifests(repository: &Repository) -> Prefix {
    Prefix(text(format_args!("pulledmanifest/{repository}@")))
}

pub(crate) fn pulled_tag(repository: &Repository, tag: &Tag) -> Key {
    Key(text(format_args!("pulledtag/{repository}:{tag}")))
}

pub(crate) fn pulled_tags(repository: &Repository) -> Prefix {
    Prefix(text(format_args!("pulledtag/{repository}:")))
}

/// When what of all repositories was last pulled: blobs of mirrors, manifests, tags.
pub(crate) fn all_pulls() -> [Prefix; 3] {
    ["pulled/", "pulledmanifest/", "pulledtag/"].map(|prefix| Prefix(prefix.into()))
}

pub(crate) fn holder(blob: &Digest, repository: &Repository) -> Key {
    Key(text(format_args!("holder/{blob}/{repository}")))
}

pub(crate) fn holders(blob: &Digest) -> Prefix {
    Prefix(text(format_args!("holder/{blob}/")))
}

/// Which repositories hold which blobs.
pub(crate) fn all_holders() -> Prefix {
    Prefix("holder/".into())
}

pub(crate) fn used(repository: &Repository, target: &Digest, manifest: &Digest) -> Key {
    Key(text(format_args!("use/{repository}@{target}/{manifest}")))
}

pub(crate) fn users(repository: &Repository, target: &Digest) -> Prefix {
    Prefix(text(format_args!("use/{repository}@{target}/")))
}

/// What all manifests of a repository need.
pub(crate) fn uses(repository: &Repository) -> Prefix {
    Prefix(text(format_args!("use/{repository}@")))
}

pub(crate) fn blob(blob: &Digest) -> Key {
    Key(text(format_args!("blob/{blob}")))
}

pub(crate) fn blobs() -> Prefix {
    Prefix("blob/".into())
}

pub(crate) fn quarantined_blob(blob: &Digest) -> Key {
    Key(text(format_args!("quarantine/{blob}")))
}

pub(crate) fn quarantined_manifest(repository: &Repository, manifest: &Digest) -> Key {
    Key(text(format_args!("quarantine/{repository}@{manifest}")))
}

/// What is in quarantine by this record: a digest, of a manifest behind its repository and an `@`.
pub(crate) fn quarantined(key: &Key) -> Option<&str> {
    key.0.strip_prefix(&quarantine().0)
}

/// Whether this is the record of the blob or manifest of that name.
pub(crate) fn holds_bytes_of(key: &Key, name: &str) -> bool {
    [blobs(), all_manifests()].iter().any(|family| key.0.strip_prefix(&family.0) == Some(name))
}

pub(crate) fn quarantine() -> Prefix {
    Prefix("quarantine/".into())
}

pub(crate) fn upload(id: &Uuid) -> Key {
    Key(text(format_args!("upload/{id}")))
}

/// In the order in which they happened, as far as clocks tell: the time has 14 digits of milliseconds.
pub(crate) fn event(listener: &str, ambient: &Ambient, part: &Part<'_>) -> Key {
    Key(text(format_args!("event/{listener}/{:014}-{}{part}", ambient.now.0, ambient.nonce)))
}

/// The last millisecond that 14 digits have.
const LAST: u64 = 99_999_999_999_999;

/// What happened last comes first: the time is counted backwards.
pub(crate) fn activity(ambient: &Ambient, part: &Part<'_>) -> Key {
    Key(text(format_args!("activity/{:014}-{}{part}", LAST.saturating_sub(ambient.now.0), ambient.nonce)))
}

/// The place among activities before all of that time and of earlier times.
pub(crate) fn activity_of(time: Timestamp) -> Key {
    Key(text(format_args!("activity/{:014}", LAST.saturating_sub(time.0))))
}

pub(crate) fn activities() -> Prefix {
    Prefix("activity/".into())
}

pub(crate) fn events(listener: &str) -> Prefix {
    Prefix(text(format_args!("event/{listener}/")))
}

pub(crate) fn all_events() -> Prefix {
    Prefix("event/".into())
}

pub(crate) fn queue(listener: &str) -> Key {
    Key(text(format_args!("queue/{listener}")))
}

/// The counter of the queue in which an event is.
pub(crate) fn queue_of(event: &Key) -> Key {
    queue(listener_of(event))
}

/// The listener for whom an event is.
pub(crate) fn listener_of(event: &Key) -> &str {
    let rest = event.0.strip_prefix("event/").unwrap_or_default();
    rest.split_once('/').map_or(rest, |(listener, _)| listener)
}

pub(crate) fn mirrored(repository: &Repository, tag: &Tag) -> Key {
    Key(text(format_args!("mirrored/{repository}:{tag}")))
}

pub(crate) fn uploads() -> Prefix {
    Prefix("upload/".into())
}

/// In the order of their bytes: the offset has 20 digits, as many as any has.
pub(crate) fn chunk(upload: &Uuid, offset: u64) -> Key {
    Key(text(format_args!("chunk/{upload}/{offset:020}")))
}

pub(crate) fn chunks(upload: &Uuid) -> Prefix {
    Prefix(text(format_args!("chunk/{upload}/")))
}

/// The chunks of all sessions.
pub(crate) fn all_chunks() -> Prefix {
    Prefix("chunk/".into())
}

pub(crate) fn finished(upload: &Uuid) -> Key {
    Key(text(format_args!("finished/{upload}")))
}

pub(crate) fn all_finished() -> Prefix {
    Prefix("finished/".into())
}

pub(crate) fn object(object: &ObjectId) -> Key {
    Key(text(format_args!("object/{object}")))
}

pub(crate) fn objects() -> Prefix {
    Prefix("object/".into())
}

pub(crate) fn released(object: &ObjectId) -> Key {
    Key(text(format_args!("released/{object}")))
}

pub(crate) fn all_released() -> Prefix {
    Prefix("released/".into())
}

pub(crate) fn bytes(object: &ObjectId) -> Key {
    Key(text(format_args!("bytes/{object}")))
}

pub(crate) fn pushed(repository: &Repository) -> Key {
    Key(text(format_args!("pushed/{repository}")))
}

pub(crate) fn usage(repository: &Repository) -> Key {
    Key(text(format_args!("usage/{repository}")))
}

pub(crate) fn usages() -> Prefix {
    Prefix("usage/".into())
}

pub(crate) fn recount(repository: &Repository) -> Key {
    Key(text(format_args!("recount/{repository}")))
}

pub(crate) fn recounts() -> Prefix {
    Prefix("recount/".into())
}

pub(crate) fn group(id: &Digest) -> Key {
    Key(text(format_args!("group/{id}")))
}

pub(crate) fn groups() -> Prefix {
    Prefix("group/".into())
}

/// Without a repository, that of all repositories of the quota together.
pub(crate) fn over(id: &Digest, repository: Option<&Repository>) -> Key {
    Key(text(format_args!("over/{id}/{}", repository.map(Repository::as_str).unwrap_or_default())))
}

pub(crate) fn overs() -> Prefix {
    Prefix("over/".into())
}

pub(crate) fn meta() -> Key {
    Key("meta/storage".into())
}

pub(crate) fn session_key() -> Key {
    Key("meta/session-key".into())
}

pub(crate) fn pulls_since() -> Key {
    Key("meta/pulls-since".into())
}

pub(crate) fn protected() -> Key {
    Key("meta/protected".into())
}

pub(crate) fn census() -> Key {
    Key("meta/census".into())
}

pub(crate) fn scrub() -> Key {
    Key("meta/scrub".into())
}

pub(crate) fn lease(job: &Job) -> Key {
    match job {
        Job::Gc => Key("lease/gc".into()),
        Job::Gather => Key("lease/gather".into()),
        Job::Census => Key("lease/census".into()),
        Job::Evict => Key("lease/evict".into()),
        Job::Retention => Key("lease/retention".into()),
        Job::Scrub => Key("lease/scrub".into()),
        Job::Activity => Key("lease/activity".into()),
        Job::Fetch(repository, digest) => Key(text(format_args!("lease/fetch/{repository}@{digest}"))),
        Job::Sync(name) => Key(text(format_args!("lease/sync/{name}"))),
        Job::Queue(listener) => Key(text(format_args!("lease/queue/{listener}"))),
    }
}

#[cfg(feature = "api")]
pub(crate) fn sign_in(user: &UserKey, place: u8) -> Key {
    Key(text(format_args!("signin/{user}/{place:02x}")))
}

/// The sessions of a user.
#[cfg(feature = "api")]
pub(crate) fn sign_ins_of(user: &UserKey) -> Prefix {
    Prefix(text(format_args!("signin/{user}/")))
}

#[cfg(feature = "api")]
pub(crate) fn all_sign_ins() -> Prefix {
    Prefix("signin/".into())
}

#[cfg(feature = "api")]
pub(crate) fn api_token(user: &UserKey, place: u8) -> Key {
    Key(text(format_args!("token/{user}/{place:02x}")))
}

/// The API tokens of a user.
#[cfg(feature = "api")]
pub(crate) fn api_tokens_of(user: &UserKey) -> Prefix {
    Prefix(text(format_args!("token/{user}/")))
}

#[cfg(feature = "api")]
pub(crate) fn all_api_tokens() -> Prefix {
    Prefix("token/".into())
}

pub(crate) fn leases() -> Prefix {
    Prefix("lease/".into())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.0)
    }
}
