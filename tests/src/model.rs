//! The registry as a plain value: what `SPEC.md` says, as maps, with no thought of storage, order or failure.
//!
//! It is written from the specification and not from the core: two people who read the same text. Given the same
//! requests, the registry must say what the [`Model`] [says](Says), and at the end serve the same. It takes only what
//! both must agree on from outside: the configuration, and the id that the registry gave to a new session.

mod blobs;
mod deleted;
pub mod document;
mod gc;
pub mod grammar;
mod lists;
mod maintained;
mod manifests;
mod ranges;
mod says;
mod uploads;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use orlop_core::{Config, Method};

use crate::system::Call;
pub use deleted::Told;
use deleted::{Deleted, DeletedTag};
use grammar::{Path, Query};
use manifests::{Manifest, Tag};
pub use says::Says;

/// A registry as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    config: Config,
    /// The time since the beginning.
    now: Duration,
    repositories: BTreeMap<String, Repository>,
    sessions: BTreeMap<String, Session>,
    /// Sessions that have become blobs (SPEC H7).
    finished: BTreeMap<String, Finished>,
    /// Tags and manifests that may not be deleted (SPEC X20).
    marks: BTreeSet<String>,
}

/// What a repository holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Repository {
    created: Duration,
    blobs: BTreeMap<String, Blob>,
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, Tag>,
    deleted: BTreeMap<String, Deleted>,
    deleted_tags: BTreeMap<String, DeletedTag>,
}

/// A blob in a repository, and when it was last pushed or mounted there, or a manifest ceased to need it (SPEC L9).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blob {
    bytes: Bytes,
    left: Duration,
}

/// An upload session: what it has taken, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    repository: String,
    bytes: Vec<u8>,
    touched: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Finished {
    repository: String,
    digest: String,
    at: Duration,
}

/// Why something cannot be done. Where several things are wrong, the specification does not say which is told.
type Refusals = Vec<Says>;

impl Model {
    /// An empty registry.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            now: Duration::ZERO,
            repositories: BTreeMap::new(),
            sessions: BTreeMap::new(),
            finished: BTreeMap::new(),
            marks: BTreeSet::new(),
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        self.now += time;
    }

    /// What the registry may say to a request: one of these. A session that it opens has this id.
    pub fn answer(&mut self, call: &Call, id: &str) -> Vec<Says> {
        self.decide(call, id).map_or_else(|refusals| refusals, |says| vec![says])
    }

    fn decide(&mut self, call: &Call, id: &str) -> Result<Says, Refusals> {
        let (path, query) = call.request.target.split_once('?').unwrap_or((&call.request.target, ""));
        let query = Query::read(query);
        // SPEC A16.
        let coding = call.request.headers.get("Content-Encoding").unwrap_or_default().to_lowercase();
        if !matches!(coding.as_str(), "" | "identity") && call.request.length != Some(0) {
            return Err(vec![Says::refusal(415, "UNSUPPORTED").with("Accept-Encoding", "identity")]);
        }
        // SPEC B3: to HEAD, what cannot be a name is not there.
        let path = grammar::route(path).map_err(|refusals| match call.request.method {
            Method::Head => refusals.into_iter().map(Says::absent).collect(),
            _ => refusals,
        })?;
        let allowed = path.methods();
        if !allowed.contains(&call.request.method) {
            // SPEC A13.
            let allowed = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(vec![Says::refusal(405, "UNSUPPORTED").with("Allow", allowed)]);
        }
        use Method::{Delete, Patch, Post, Put};
        match (path, call.request.method) {
            // SPEC A4.
            (Path::Base, _) => Ok(Says::new(200).bytes("application/json", "{}")),
            (Path::Catalog, _) => self.catalog(&query),
            (Path::Tags(name), _) => self.tags(&name, &query),
            (Path::Referrers(name, subject), _) => Ok(self.referrers(&name, &subject, &query)),
            (Path::Blob(name, digest), Delete) => self.delete_blob(&name, &digest),
            (Path::Blob(name, digest), _) => self.pull_blob(call, &name, &digest),
            (Path::Uploads(name), Post) => self.start(call, &name, &query, id),
            (Path::Upload(name, id), Patch) => self.chunk(call, &name, &id),
            (Path::Upload(name, id), Put) => self.finish(call, &name, &id, &query),
            (Path::Upload(name, id), Delete) => self.cancel(&name, &id),
            (Path::Upload(name, id), _) => self.status(&name, &id),
            // SPEC B4.
            (Path::Manifest(_, reference), Put | Delete)
                if !reference.contains(':') && !grammar::is_tag(&reference) =>
            {
                Err(vec![Says::refusal(400, "TAG_INVALID")])
            }
            (Path::Manifest(name, reference), Put) => self.put_manifest(call, &name, &reference, &query),
            (Path::Manifest(name, reference), Delete) => self.delete_manifest(&name, &reference),
            (Path::Manifest(name, reference), _) => self.pull_manifest(call, &name, &reference),
            (Path::Uploads(_), _) => unreachable!("it takes POST alone"),
        }
    }

    /// The repository, which exists from its first blob or manifest on (SPEC E1, N1).
    fn keep(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.into()).or_insert_with(|| Repository {
            created: self.now,
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            deleted: BTreeMap::new(),
            deleted_tags: BTreeMap::new(),
        })
    }

    /// The digests of every blob that some repository holds.
    pub fn held(&self) -> impl Iterator<Item = &str> {
        self.repositories.values().flat_map(|repository| repository.blobs.keys().map(String::as_str))
    }

    /// How many bytes a session has taken, while it lives.
    pub fn taken(&self, id: &str) -> Option<&[u8]> {
        self.sessions.get(id).map(|session| session.bytes.as_slice())
    }
}
