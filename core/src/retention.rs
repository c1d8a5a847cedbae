//! Retention: which tags of a repository stay, and which manifests that no tag needs (SPEC X40 to X59).
//!
//! This is the judgement alone, from what was read as plain values: nothing here reads or changes a record. Keeping wins
//! over deleting over all rules, tags are judged one by one by their names, and what is not known keeps.

mod judge;
mod plan;
mod rule;
mod version;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::Serialize;

pub use self::judge::judge;
pub use self::plan::{Plan, PlannedManifest, PlannedTag};
pub use self::rule::{Rule, check};
pub use self::version::version;
use crate::ambient::Timestamp;
use crate::digest::Digest;
use crate::name::Tag;

/// What was read of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its tags, each once.
    pub tags: Vec<SeenTag>,
    /// Its manifests, each once, in the order of their digests.
    pub manifests: Vec<SeenManifest>,
    /// Since when it is noted what is pulled; `None` when it never was, as far as is known.
    pub pulls_since: Option<Timestamp>,
    /// How many records did not read.
    pub unreadable: u64,
    /// How long a tag is left alone that was deleted and brought back.
    pub undelete_within: Duration,
}

/// A tag as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenTag {
    /// Its name.
    pub tag: Tag,
    /// What it names.
    pub digest: Digest,
    /// When it came to name that.
    pub pushed: Timestamp,
    /// When it was imported, if it was not pushed here since: what was pulled before that is not known.
    pub imported: Option<Timestamp>,
    /// When it was last pulled, by its name or by the digest; `None` when no pull was noted.
    pub pulled: Option<Timestamp>,
    /// When it was brought back after it had been deleted.
    pub undeleted: Option<Timestamp>,
    /// Why nobody may delete it, if it is protected.
    pub protected: Option<String>,
}

/// A manifest as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenManifest {
    /// Its digest.
    pub digest: Digest,
    /// What it refers to.
    pub subject: Option<Digest>,
    /// When it was last pushed or imported, or a tag or index last ceased to name it: the latest of these.
    pub since: Timestamp,
    /// When it was last pulled by its digest or a tag; `None` when no pull was noted.
    pub pulled: Option<Timestamp>,
    /// Whether a tag names it, by itself or by the list of its platforms; or a tag that can be brought back.
    pub tagged: bool,
    /// The manifests that need it, here or among what can be brought back; and what it refers to, if that was deleted and can
    /// be brought back.
    pub needed_by: Vec<Digest>,
    /// The registry made it, as a list, and it goes for good: it cannot be brought back.
    pub maintained: bool,
    /// Why nobody may delete it, if it is protected.
    pub protected: Option<String>,
}

/// What becomes of a tag or manifest, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether it goes.
    pub deleted: bool,
    /// The rule by which it goes or stays; `None` when it stays whatever the rules say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why.
    pub reason: String,
}

/// What becomes of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What becomes of each tag that was seen, in the same order.
    pub tags: Vec<Verdict>,
    /// By the name of each rule with `keep_last` the tags that are the last of it, by their places: as long as they are
    /// there, no other tag comes to be one of the last.
    pub last: BTreeMap<String, Vec<usize>>,
    /// The manifests that go, by their places among those that were seen.
    pub manifests: Vec<(usize, Verdict)>,
    /// How many manifests were seen.
    pub manifests_seen: usize,
    /// How many manifests no tag needs, and stay as long as something can be brought back that goes now.
    pub manifests_waiting: usize,
    /// What whoever wrote the rules should know.
    pub warnings: Vec<String>,
}

impl Judgement {
    /// How many tags go.
    pub fn tags_deleted(&self) -> usize {
        self.tags.iter().filter(|verdict| verdict.deleted).count()
    }

    /// Whether a person has to agree: to more than a fifth of the tags or of the manifests, or to all of them.
    pub fn needs_approval(&self) -> bool {
        let much = |deleted: usize, all: usize| deleted > 0 && (deleted == all || deleted.saturating_mul(5) > all);
        much(self.tags_deleted(), self.tags.len()) || much(self.manifests.len(), self.manifests_seen)
    }
}
