//! Mistakes of imports alone: their commits are known by what they put.

use bytes::Bytes;
use orlop_core::effect::{Commit, Expect, Value};
use orlop_core::keys::Key;
use orlop_core::object::ObjectId;
use orlop_core::record::BlobRecord;
use serde_json::{Value as Json, json};

/// What is wrong with imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importing {
    /// A blob is made whether or not there is one.
    BlobAnew,
    /// A blob whose bytes nobody has hashed does not say so.
    AsHashed,
    /// The object of a blob that is new is erased as one that was brought in vain.
    ErasingWhatIsNamed,
    /// A manifest is made whether or not there is one.
    ManifestAnew,
    /// Nothing says what a manifest needs.
    UsesForgotten,
    /// What is imported is not counted.
    CountingNothing,
    /// A tag is made or moved whoever has pushed to it since it was read.
    OverPushed,
    /// A push leaves a tag as one that the next import may move.
    PushedAsImported,
    /// An import leaves a tag as one that the next import may not move.
    ImportedAsPushed,
    /// A tag is made by a commit that leaves the record of its manifest as it is.
    TagAlone,
    /// What has sound bytes by an import is still said to be damaged.
    QuarantineStays,
}

/// Before this, all that is imported was pushed, and nothing else.
const IMPORTED_BEFORE: u64 = 1_000_000;

fn begins(key: &Key, with: &str) -> bool {
    key.as_str().starts_with(with)
}

fn read(value: &Value) -> Json {
    serde_json::from_slice(value).unwrap_or_default()
}

/// Whether the commit puts such a record.
fn puts(commit: &Commit, family: &str, such: impl Fn(&Json) -> bool) -> bool {
    commit.put.iter().any(|(key, value)| begins(key, family) && such(&read(value)))
}

/// Whether it takes blobs over whose bytes nobody has hashed.
fn takes_blobs(commit: &Commit) -> bool {
    puts(commit, "blob/", |blob| blob["unverified"] == true)
}

/// Whether it takes manifests over.
fn takes_manifests(commit: &Commit) -> bool {
    let imported = |manifest: &Json| manifest["pushed"].as_u64().is_some_and(|pushed| pushed < IMPORTED_BEFORE);
    puts(commit, "manifest/", imported) && puts(commit, "payload/", |_| true)
}

/// Whether it takes tags over.
fn takes_tags(commit: &Commit) -> bool {
    puts(commit, "tag/", |tag| !tag["imported"].is_null())
}

fn is_about(expectation: &Expect, family: &str) -> bool {
    match expectation {
        Expect::Absent(key) | Expect::Present(key) | Expect::Exactly(key, _) => begins(key, family),
        Expect::NoneUnder(prefix) => prefix.as_str().starts_with(family),
    }
}

fn forget(commit: &mut Commit, family: &str) {
    commit.expect.retain(|expectation| !is_about(expectation, family));
}

/// Says of every tag that is put when it was imported, if it was.
fn say_of_tags(commit: &mut Commit, imported: Option<u64>) {
    for (_, value) in commit.put.iter_mut().filter(|(key, _)| begins(key, "tag/")) {
        let mut tag = read(value);
        tag["imported"] = json!(imported);
        *value = Bytes::from(tag.to_string());
    }
}

impl Importing {
    /// Makes the mistake in a commit.
    pub(super) fn alter(self, commit: &mut Commit) {
        let (blobs, manifests, tags) = (takes_blobs(commit), takes_manifests(commit), takes_tags(commit));
        match self {
            Self::BlobAnew if blobs => forget(commit, "blob/"),
            Self::ManifestAnew if manifests => forget(commit, "manifest/"),
            Self::OverPushed if tags => forget(commit, "tag/"),
            Self::AsHashed if blobs => {
                for (_, value) in commit.put.iter_mut().filter(|(key, _)| begins(key, "blob/")) {
                    let Ok(record) = serde_json::from_slice::<BlobRecord>(value) else { continue };
                    let hashed = BlobRecord { unverified: false, ..record };
                    *value = serde_json::to_vec(&hashed).unwrap_or_default().into();
                }
            }
            Self::UsesForgotten if manifests => commit.put.retain(|(key, _)| !begins(key, "use/")),
            Self::CountingNothing if blobs || manifests => commit.add.clear(),
            Self::PushedAsImported if !tags => say_of_tags(commit, Some(IMPORTED_BEFORE)),
            Self::ImportedAsPushed if tags => say_of_tags(commit, None),
            Self::TagAlone if tags => commit.put.retain(|(key, _)| !begins(key, "manifest/")),
            Self::QuarantineStays if puts(commit, "blob/", |_| true) => {
                commit.delete.retain(|key| !begins(key, "quarantine/"));
            }
            _ => {}
        }
    }

    /// What it erases once a commit is done, although that names it.
    pub(super) fn superfluous(self, commit: &Commit) -> Vec<ObjectId> {
        if self != Self::ErasingWhatIsNamed || !takes_blobs(commit) {
            return Vec::new();
        }
        let named = commit.put.iter().filter_map(|(key, _)| key.as_str().strip_prefix("object/")?.parse().ok());
        named.collect()
    }
}
