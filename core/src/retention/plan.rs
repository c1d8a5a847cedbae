//! A plan: what a run of retention would delete in a repository now, and why.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use super::{Judgement, Rule, Seen, Verdict};
use crate::digest::{Algorithm, Digest};
use crate::name::Repository;

/// How many digits the name of a plan has.
const DIGITS: usize = 16;

/// What a run would do in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The repository.
    pub repository: String,
    /// The name of the plan: a hash over the rules, how long a delete can be undone, and everything that goes, as it was
    /// read. It is another one as soon as something else would go.
    pub plan: String,
    /// How many tags go.
    pub tags_deleted: usize,
    /// How many manifests go that no tag needs.
    pub manifests_deleted: usize,
    /// How many manifests there are; 0 where no rule asks for what no tag needs.
    pub manifests_seen: usize,
    /// Whether a person has to agree, because more than a fifth of the tags or manifests go, or all of them.
    pub needs_approval: bool,
    /// Every tag, in the order of their names, and what becomes of it.
    pub tags: Vec<PlannedTag>,
    /// The manifests that go.
    pub manifests: Vec<PlannedManifest>,
    /// What whoever wrote the rules should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A tag in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedTag {
    /// Its name.
    pub tag: String,
    /// What it names; `None` when its record does not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What becomes of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A manifest in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedManifest {
    /// Its digest.
    pub digest: Digest,
    /// What becomes of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Plan {
    /// The plan of what was judged. `read` are the bytes of the records of everything that goes, by which it is known
    /// again, and `unreadable` the names of the tags whose records do not read.
    pub(crate) fn new<'v>(
        rules: &[Rule],
        name: &Repository,
        seen: &Seen,
        judgement: &Judgement,
        read: impl Iterator<Item = &'v [u8]>,
        unreadable: Vec<String>,
    ) -> Self {
        let mut hashed = String::new();
        for rule in rules.iter().filter(|rule| rule.is_about(name)) {
            hashed.push_str(&format!("{rule:?}\n"));
        }
        // What can be undone is another thing to agree to than what cannot.
        hashed.push_str(&format!("{:?}\n", seen.undelete_within));
        let mut hashed = hashed.into_bytes();
        hashed.extend_from_slice(name.as_str().as_bytes());
        for record in read {
            hashed.extend_from_slice(&(record.len() as u64).to_be_bytes());
            hashed.extend_from_slice(record);
        }
        let hash = Algorithm::Sha256.digest(&hashed).to_string();
        let (_, digits) = hash.split_once(':').unwrap_or_default();
        let planned = seen.tags.iter().zip(&judgement.tags);
        let planned = planned.map(|(tag, verdict)| PlannedTag {
            tag: tag.tag.as_str().into(),
            digest: Some(tag.digest),
            verdict: verdict.clone(),
        });
        let mut tags: Vec<PlannedTag> = planned.collect();
        let reason =
            || Verdict { deleted: false, rule: None, reason: "its record does not read: run orlop check".into() };
        tags.extend(unreadable.into_iter().map(|tag| PlannedTag { tag, digest: None, verdict: reason() }));
        tags.sort_by(|one, other| one.tag.cmp(&other.tag));
        let manifests = judgement.manifests.iter();
        let manifests = manifests.filter_map(|(at, verdict)| {
            Some(PlannedManifest { digest: seen.manifests.get(*at)?.digest, verdict: verdict.clone() })
        });
        Self {
            repository: name.as_str().into(),
            plan: digits.chars().take(DIGITS).collect(),
            tags_deleted: judgement.tags_deleted(),
            manifests_deleted: judgement.manifests.len(),
            manifests_seen: judgement.manifests_seen,
            needs_approval: judgement.needs_approval(),
            tags,
            manifests: manifests.collect(),
            warnings: judgement.warnings.clone(),
        }
    }

    /// Whether nothing goes.
    pub fn is_empty(&self) -> bool {
        self.tags_deleted == 0 && self.manifests_deleted == 0
    }
}
