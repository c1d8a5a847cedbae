//! The seam: what keeps records and objects, behind one closed list of engines.
//!
//! An engine has two narrow interfaces, *records* (`get`, `scan`, `commit`) and *objects* (`sink`, `join`, `load`,
//! `measure`, `erase`, `inventory`, `open`), and what an administrator asks of it. Another engine is a folder beside
//! [`directory`](super::directory) and an arm in each `match` here; nothing above names an engine.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use orlop_core::effect::{Commit, Committed, Erase, Get, Inventory, Join, Load, Measure, Scan, Stored, Value};
use orlop_core::http::Piece;
use orlop_core::keys::Key;
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;
use orlop_core::{Asked, Fault};
use uuid::Uuid;

use crate::settings::Options;
use crate::storage::directory::{self, Backup, Counters, Directory, OpenError, Outbox};

/// Where records and objects are kept.
pub(super) enum Storage {
    /// A directory on a disk of this machine: records in redb, bytes in files.
    Directory(Directory),
}

/// An object while it is written. Dropped before it is sealed, it is removed.
pub(super) enum Sink {
    Directory(directory::Sink),
}

/// A streamed body whose objects are there.
pub(crate) enum Opened {
    Directory(directory::Content),
}

impl Storage {
    pub(super) fn open(directory: &Path, options: &Options) -> Result<Self, OpenError> {
        Directory::open(directory, options).map(Self::Directory)
    }

    pub(super) async fn get(&self, effect: Get) -> Result<Vec<Option<Value>>, Fault> {
        match self {
            Self::Directory(directory) => directory.records.get(effect).await,
        }
    }

    pub(super) async fn scan(&self, effect: Scan) -> Result<Vec<(Key, Value)>, Fault> {
        match self {
            Self::Directory(directory) => directory.records.scan(effect).await,
        }
    }

    pub(super) async fn commit(&self, effect: Commit) -> Result<Committed, Fault> {
        match self {
            Self::Directory(directory) => directory.records.commit(effect).await,
        }
    }

    pub(super) fn sink(&self, object: &ObjectId) -> Sink {
        match self {
            Self::Directory(directory) => Sink::Directory(directory.objects.sink(object)),
        }
    }

    pub(super) async fn join(&self, effect: Join) -> Result<bool, Fault> {
        match self {
            Self::Directory(directory) => directory.objects.join(effect).await,
        }
    }

    pub(super) async fn load(&self, effect: Load) -> Result<Option<Bytes>, Fault> {
        match self {
            Self::Directory(directory) => directory.objects.load(effect).await,
        }
    }

    pub(super) async fn measure(&self, effect: Measure) -> Result<Option<Meter>, Fault> {
        match self {
            Self::Directory(directory) => directory.objects.measure(effect).await,
        }
    }

    pub(super) async fn erase(&self, effect: Erase) -> Result<(), Fault> {
        match self {
            Self::Directory(directory) => directory.objects.erase(effect).await,
        }
    }

    pub(super) async fn inventory(&self, effect: Inventory) -> Result<Vec<Stored>, Fault> {
        match self {
            Self::Directory(directory) => directory.objects.inventory(effect).await,
        }
    }

    /// Opens the objects of a body that is to be streamed; `None` when one is not there.
    pub(super) async fn open_pieces(&self, pieces: Vec<Piece>) -> Result<Option<Opened>, Fault> {
        match self {
            Self::Directory(directory) => Ok(directory.open_pieces(pieces).await?.map(Opened::Directory)),
        }
    }

    /// Where the bytes of an object are, for an administrator.
    pub(super) fn place(&self, object: &ObjectId) -> String {
        match self {
            Self::Directory(directory) => directory.objects.path(object).display().to_string(),
        }
    }

    /// How many records there are.
    pub(super) fn count(&self) -> Result<u64, Fault> {
        match self {
            Self::Directory(directory) => directory.records.count(),
        }
    }

    /// Whether records can be read and there is room to write.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        match self {
            Self::Directory(directory) => directory.ready().await,
        }
    }

    pub(super) async fn back_up(&self) -> Result<Backup, Fault> {
        match self {
            Self::Directory(directory) => directory.back_up().await,
        }
    }

    /// Under which name this host holds [leases](orlop_core::Lease).
    pub(super) fn holder(&self) -> Uuid {
        match self {
            // One process has a directory at a time. The leases of the one before are its own from the start, so that
            // nothing waits for the end of what a process had that was killed.
            Self::Directory(_) => Uuid::nil(),
        }
    }

    /// What it counts.
    pub(super) fn counters(&self) -> &Counters {
        match self {
            Self::Directory(directory) => directory.counters(),
        }
    }
}

impl Sink {
    /// Writes a batch. Nothing else of this object is written until that is done.
    pub(super) async fn append(&mut self, batch: Vec<Bytes>) -> Result<(), Fault> {
        match self {
            Self::Directory(sink) => sink.append(batch).await,
        }
    }

    /// Writes the last batch and makes all of it durable.
    pub(super) async fn seal(self, last: Vec<Bytes>) -> Result<(), Fault> {
        match self {
            Self::Directory(sink) => sink.seal(last).await,
        }
    }
}

impl Opened {
    /// It as the body of an answer to that request, which the log names when it cannot be sent. `outbox` is that of the
    /// connection, if it can send files.
    pub(crate) fn into_body(self, outbox: Option<Outbox>, asked: Arc<Asked>) -> Body {
        match self {
            Self::Directory(content) => Body::new(content.into_body(outbox, Some(asked))),
        }
    }
}
