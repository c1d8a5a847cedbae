//! What clients were told by a registry, and what it may be after a crash.
//!
//! Every request is an entry: what it may change, and what its answer said. From the entries that were answered
//! before a crash follows what each [`Fact`] may be after it: exactly what was acknowledged, or, where a request was
//! under way, either what was before or what it asked for.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// Something a registry can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fact {
    /// Whether a repository has a blob.
    Blob { repository: String, digest: String },
    /// Whether a repository has a manifest.
    Manifest { repository: String, digest: String },
    /// What a tag names.
    Tag { repository: String, tag: String },
    /// How far an upload is; it is known by its path.
    Session { repository: String, path: String },
}

/// What it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// It is not there.
    Absent,
    /// It is there.
    Present,
    /// It names this digest.
    Names(String),
    /// It has received at least, and at most, so many bytes.
    Received(u64, u64),
}

impl Value {
    /// Whether `found` is what this says.
    pub(crate) fn admits(&self, found: &Self) -> bool {
        match (self, found) {
            (Self::Received(least, most), Self::Received(from, to)) => least <= from && to <= most,
            _ => self == found,
        }
    }
}

/// A request and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The port of the client's side of the connection, and how many requests went over it before.
    pub(crate) place: (u16, usize),
    /// The request, for messages.
    pub(crate) call: String,
    /// What it may change.
    pub(crate) may: Vec<(Fact, Value)>,
    pub(crate) outcome: Outcome,
}

/// What the answer to a request said.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// There was none.
    Unanswered,
    /// It is done, and these are the facts now. Some may be one thing or another.
    Done(Vec<(Fact, Vec<Value>)>),
    /// Nothing has changed.
    Refused,
    /// The registry does not know: it may have happened or not.
    Failed,
}

/// Everything that one client has asked, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    pub(crate) entries: Vec<Entry>,
    pub(crate) sent: Sent,
}

/// The bytes behind digests and sessions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// Blobs by digest.
    pub(crate) blobs: BTreeMap<String, Bytes>,
    /// Manifests by digest.
    pub(crate) manifests: BTreeMap<String, Bytes>,
    /// What a session is to become in the end, by its path.
    pub(crate) sessions: BTreeMap<String, Bytes>,
    /// Every repository that a request named.
    pub(crate) repositories: Vec<String>,
}

impl Sent {
    pub(crate) fn add(&mut self, other: &Self) {
        self.blobs.extend(other.blobs.clone());
        self.manifests.extend(other.manifests.clone());
        self.sessions.extend(other.sessions.clone());
        self.repositories.extend(other.repositories.iter().cloned());
        self.repositories.sort();
        self.repositories.dedup();
    }
}

/// What each fact may be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) facts: BTreeMap<Fact, Vec<Value>>,
}

impl Ledger {
    /// Adds what a journal says, as far as `answered` says that the client had its answers. What stands in it
    /// before is where the journal begins.
    pub(crate) fn add(&mut self, journal: &Journal, answered: impl Fn(&Entry) -> bool) {
        for entry in &journal.entries {
            match &entry.outcome {
                Outcome::Done(facts) if answered(entry) => self.facts.extend(facts.iter().cloned()),
                Outcome::Refused if answered(entry) => {}
                Outcome::Failed if answered(entry) => self.may(entry),
                Outcome::Unanswered => self.may(entry),
                _ => {
                    // A client that waits for an answer asks for nothing more.
                    self.may(entry);
                    return;
                }
            }
        }
    }

    fn may(&mut self, entry: &Entry) {
        for (fact, value) in &entry.may {
            self.facts.entry(fact.clone()).or_insert_with(|| vec![Value::Absent]).push(value.clone());
        }
    }

    /// Whether a fact may be this.
    pub(crate) fn admits(&self, fact: &Fact, found: &Value) -> bool {
        match self.facts.get(fact) {
            Some(values) => values.iter().any(|value| value.admits(found)),
            None => *found == Value::Absent,
        }
    }

    /// Whether a fact is certainly what it was acknowledged to be.
    pub(crate) fn is(&self, fact: &Fact, value: &Value) -> bool {
        self.facts.get(fact).is_some_and(|values| values.iter().all(|one| one == value))
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob { repository, digest } => write!(f, "blob {digest} in {repository}"),
            Self::Manifest { repository, digest } => write!(f, "manifest {digest} in {repository}"),
            Self::Tag { repository, tag } => write!(f, "tag {repository}:{tag}"),
            Self::Session { path, .. } => write!(f, "session {path}"),
        }
    }
}
