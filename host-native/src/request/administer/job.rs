//! Jobs: what administrators have a server do, and how it stands.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::observe::date::rfc3339_seconds;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "they are called what the command line calls them")]
pub(crate) enum Kind {
    Gc,
    GcDryRun,
    Scrub,
    Check,
    Recount,
    Sync,
    SyncDryRun,
    MirrorFetch,
    MirrorEvict,
    Backup,
}

impl Kind {
    /// All of them, as they are written.
    pub(crate) const ALL: &[(&str, Self)] = &[
        ("gc", Self::Gc),
        ("gc-dry-run", Self::GcDryRun),
        ("scrub", Self::Scrub),
        ("check", Self::Check),
        ("recount", Self::Recount),
        ("sync", Self::Sync),
        ("sync-dry-run", Self::SyncDryRun),
        ("mirror-fetch", Self::MirrorFetch),
        ("mirror-evict", Self::MirrorEvict),
        ("backup", Self::Backup),
    ];

    /// The one that is written so.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(written, _)| *written == name).map(|(_, kind)| *kind)
    }

    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Whether a server that takes no changes does not do it.
    pub(crate) fn changes(self) -> bool {
        !matches!(self, Self::GcDryRun | Self::SyncDryRun | Self::Check | Self::Backup)
    }
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It is being done.
    Running,
    /// It came to its end.
    Done,
    /// It ended early, or not all of it could be done.
    Failed,
    /// The server that did it is gone, or was stopped.
    Interrupted,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// How much is done.
    pub(crate) done: u64,
    /// Of how much, where that is known.
    pub(crate) total: Option<u64>,
    /// What is counted: `blobs`, `bytes`, `tags` or `images`.
    pub(crate) unit: String,
    /// What it is doing.
    pub(crate) text: String,
}

/// A job. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// What it does.
    pub(crate) job: Kind,
    /// With what: the name of a sync, or images.
    pub(crate) target: Option<String>,
    pub(crate) state: State,
    /// Who began it; nobody where the server did so by itself.
    pub(crate) by: String,
    pub(crate) began: u64,
    pub(crate) ended: Option<u64>,
    pub(crate) progress: Option<Progress>,
    /// What the command for it reports, once it has ended.
    pub(crate) report: Option<Json>,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

impl Job {
    /// One that begins.
    pub(crate) fn begin(job: Kind, target: Option<String>, by: String, began: u64) -> Self {
        let state = State::Running;
        Self { job, target, state, by, began, ended: None, progress: None, report: None, error: None }
    }

    /// It as clients see it.
    pub(crate) fn told(&self) -> Json {
        let mut told = json!(self);
        told["began"] = rfc3339_seconds(self.began).into();
        told["ended"] = self.ended.map(rfc3339_seconds).into();
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_written_as_they_are_read() {
        for (name, kind) in Kind::ALL {
            assert_eq!((json!(kind), Kind::of(name), kind.name()), (json!(name), Some(*kind), *name));
        }
        assert_eq!(Kind::of("dance"), None);
    }
}
