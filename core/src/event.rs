//! Events: what happened to manifests and tags, kept among the records until whoever wanted to know was told.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ambient::Timestamp;
use crate::digest::Digest;
use crate::effect::Fault;
use crate::keys::Key;
use crate::name::{Repository, Tag};
use crate::pattern::Pattern;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the others are called what they are")]
pub enum Happening {
    Push,
    Pull,
    Delete,
    /// A push has exceeded the soft limit of a quota.
    Quota,
    /// A blob or manifest was found to be damaged, and is out of use.
    Damaged,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The call that did it.
    pub id: Uuid,
    /// When.
    pub time: Timestamp,
    /// What.
    pub happening: Happening,
    /// Where.
    pub repository: String,
    /// The manifest, or the blob that is damaged; none when tags were deleted, which leaves the manifest where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The tags that were made, read or deleted; where a manifest was deleted, those that went with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The media type of the manifest, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The size of the manifest in bytes, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The quota whose soft limit was exceeded: its name, and how many bytes there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Exceeded>,
    /// The name of the caller; empty for nobody in particular.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The request that did it, where the host tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Source>,
}

/// The soft limit of a quota was exceeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exceeded {
    /// The name of the quota, or its patterns when it has none.
    pub name: String,
    /// Whether it is for all its repositories together.
    pub together: bool,
    /// The bytes that there are with the push.
    pub bytes: u64,
    /// From how many on there is a warning.
    pub soft: u64,
    /// How many there may be; none where nothing is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// The request that made something happen, as the host saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The address of the client, with its port where that is known.
    pub address: String,
    /// The method.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Which host the client meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// What the URLs of the registry begin with for the client.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base: String,
    /// What the client says it is.
    pub agent: String,
    /// The name and port of the server that answered it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// Which of several servers it was.
    #[serde(default, skip_serializing_if = "Uuid::is_nil")]
    pub instance: Uuid,
}

/// Which of what happened is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// In repositories that match.
    pub repository: Option<Pattern>,
    /// What that user did.
    pub user: Option<String>,
    /// What happened.
    pub happening: Option<Happening>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// How many at most; one at least.
    pub n: usize,
    /// Behind that one, as the page before says: at most some hundred bytes.
    pub after: Option<String>,
}

/// What happened, the last first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Each with its name, which tells it from all others.
    pub events: Vec<(String, Event)>,
    /// Behind what the next page goes on; none at the end. There may be more though this page is short, or empty.
    pub next: Option<String>,
}

impl Looked {
    /// Whether an event is looked for.
    pub(crate) fn wants(&self, event: &Event, repository: &Repository) -> bool {
        self.repository.as_ref().is_none_or(|pattern| pattern.matches(repository))
            && self.user.as_ref().is_none_or(|user| *user == event.by)
            && self.happening.is_none_or(|happening| happening == event.happening)
            && self.until.is_none_or(|until| event.time <= until)
    }
}

/// Somebody who wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The name of the queue: of lower-case letters, digits and dashes.
    pub name: String,
    /// Of what.
    pub happenings: Vec<Happening>,
    /// Where.
    pub repositories: Vec<Pattern>,
}

/// The oldest events of a queue, in the order in which they happened. One that does not read has its key alone: it is to be
/// taken out of the queue, or none behind it is ever told.
pub type Queued = Result<Vec<(Key, Option<Event>)>, Fault>;

impl Listener {
    /// Whether this is to be told.
    pub(crate) fn wants(&self, happening: Happening, repository: &Repository) -> bool {
        self.happenings.contains(&happening) && self.repositories.iter().any(|pattern| pattern.matches(repository))
    }
}

/// What tells an event from others of the same call.
pub(crate) enum Part<'a> {
    /// It is the only one.
    Whole,
    /// It is about that tag.
    Tag(&'a str),
    /// It is about that manifest.
    Manifest(&'a Digest),
    /// It is about tags that go with that manifest, by a commit before that of the manifest: the how many-th.
    TagsOf(&'a Digest, usize),
    /// A push exceeds the soft limit of the quota of that number.
    Quota(usize),
    /// That blob or manifest is damaged, in that repository, of those that have it.
    Damaged(&'a Digest, &'a str),
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Tag(tag) => write!(f, "-tag-{tag}"),
            // So that these are told before the manifest.
            Self::TagsOf(digest, number) => write!(f, "-from-{digest}-{number:06}"),
            Self::Manifest(digest) => write!(f, "-manifest-{digest}"),
            Self::Quota(number) => write!(f, "-quota-{number}"),
            Self::Damaged(digest, repository) => write!(f, "-damaged-{digest}-{repository}"),
        }
    }
}

/// Names of tags, as an event has them.
pub(crate) fn names<'t>(tags: impl IntoIterator<Item = &'t Tag>) -> Vec<String> {
    tags.into_iter().map(|tag| tag.as_str().into()).collect()
}
