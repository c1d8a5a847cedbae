//! The seam: what keeps records and objects, behind one closed list of engines.
//!
//! An engine has two narrow interfaces, *records* (`get`, `scan`, `commit`) and *objects* (`sink`, `join`, `load`,
//! `measure`, `erase`, `inventory`, `open`), and what an administrator asks of it. Another engine is a folder beside
//! [`directory`](super::directory) and an arm in each `match` here; nothing above names an engine.
//!
//! What waits for a network is boxed: a future has room for the largest of its arms, which a pull from this machine's disk
//! would have to move for nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use orlop_core::effect::{Commit, Committed, Erase, Get, Inventory, Join, Load, Measure, Scan, Stored, Value};
use orlop_core::http::Pieces;
use orlop_core::keys::Key;
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;
use orlop_core::{Asked, Fault};
use uuid::Uuid;

use crate::settings::{Engines, Options};
use crate::storage::counters::Counters;
use crate::storage::directory::{self, Adoption, Backup, Directory, OpenError};
use crate::storage::disk::{self, Outbox, Pace};
use crate::storage::shared::{self, Presence, Shared, Use};

/// Where records and objects are kept.
pub(super) enum Storage {
    /// A directory on a disk of this machine: records in redb, bytes in files.
    Directory(Directory),
    /// Records in PostgreSQL and objects in an object store, together with other processes.
    Shared(Shared),
}

/// An object while it is written. Dropped before it is sealed, it is removed.
pub(super) enum Sink {
    Directory(directory::Sink),
    Shared(Box<shared::Sink>),
}

/// Where the bytes of an object can be read while it is written.
pub(super) enum Window {
    /// In the file of the object itself, which is there with the first byte.
    Directory(directory::Window),
    /// In a file of this machine beside it.
    Shared(shared::Window),
}

/// A streamed body whose objects are there.
pub(crate) enum Opened {
    Directory(directory::Content),
    /// Boxed as all that waits for a network.
    Shared(Box<shared::Content>),
}

impl Storage {
    pub(super) fn open(directory: &Path, options: &Options) -> Result<Self, OpenError> {
        Directory::open(directory, options).map(Self::Directory)
    }

    pub(super) async fn connect(engines: &Engines, options: &Options) -> Result<Self, String> {
        Shared::open(engines, options).await.map(Self::Shared)
    }

    /// Whether an object's age counts from when it was begun, and not from when it was complete.
    pub(super) fn ages_from_the_beginning(&self) -> bool {
        match self {
            Self::Directory(_) => false,
            // A store may say of a multipart upload when it was begun.
            Self::Shared(_) => true,
        }
    }

    /// Whether other hosts may use it at the same time.
    pub(super) fn has_several_hosts(&self) -> bool {
        match self {
            Self::Directory(_) => false,
            Self::Shared(_) => true,
        }
    }

    pub(super) async fn get(&self, effect: Get) -> Result<Vec<Option<Value>>, Fault> {
        match self {
            Self::Directory(directory) => directory.records.get(effect).await,
            Self::Shared(shared) => shared.records.get(effect).await,
        }
    }

    pub(super) async fn scan(&self, effect: Scan) -> Result<Vec<(Key, Value)>, Fault> {
        match self {
            Self::Directory(directory) => directory.records.scan(effect).await,
            Self::Shared(shared) => shared.records.scan(effect).await,
        }
    }

    pub(super) async fn commit(&self, effect: Commit) -> Result<Committed, Fault> {
        match self {
            Self::Directory(directory) => directory.records.commit(effect).await,
            Self::Shared(shared) => shared.records.commit(effect).await,
        }
    }

    /// An object to be written, and how many bytes it will have if that is known.
    pub(super) fn sink(&self, object: &ObjectId, expected: Option<u64>) -> Sink {
        match self {
            Self::Directory(directory) => Sink::Directory(directory.objects.sink(object)),
            Self::Shared(shared) => Sink::Shared(Box::new(shared.objects.sink(object, expected))),
        }
    }

    /// A window on an object that is about to be written.
    pub(super) fn window(&self, object: &ObjectId) -> Window {
        match self {
            Self::Directory(directory) => Window::Directory(directory.objects.window(object)),
            Self::Shared(shared) => Window::Shared(shared.objects.window()),
        }
    }

    /// Faults when so many bytes more would leave less on the disk than is to be left free.
    pub(super) async fn has_room(&self, bytes: u64) -> Result<(), Fault> {
        match self {
            Self::Directory(directory) => directory.objects.room(bytes).await,
            // A store says so itself, when it is full.
            Self::Shared(_) => Ok(()),
        }
    }

    pub(super) async fn join(&self, effect: Join) -> Result<bool, Fault> {
        match self {
            Self::Directory(directory) => directory.objects.join(effect).await,
            Self::Shared(shared) => Box::pin(shared.objects.join(effect)).await,
        }
    }

    pub(super) async fn load(&self, effect: Load) -> Result<Option<Bytes>, Fault> {
        match self {
            Self::Directory(directory) => directory.objects.load(effect).await,
            Self::Shared(shared) => Box::pin(shared.objects.load(effect)).await,
        }
    }

    /// Reads objects past a meter, at this pace if it is to take its time.
    pub(super) async fn measure(&self, effect: Measure, pace: Option<Pace>) -> Result<Option<Meter>, Fault> {
        match self {
            Self::Directory(directory) => directory.objects.measure(effect, pace).await,
            Self::Shared(shared) => Box::pin(shared.objects.measure(effect, pace)).await,
        }
    }

    pub(super) async fn erase(&self, effect: Erase) -> Result<(), Fault> {
        match self {
            Self::Directory(directory) => directory.objects.erase(effect).await,
            Self::Shared(shared) => Box::pin(shared.objects.erase(effect)).await,
        }
    }

    /// Makes objects of files of another program: of which of them.
    pub(super) async fn adopt(&self, adoptions: Vec<Adoption>) -> Result<Vec<bool>, Fault> {
        match self {
            Self::Directory(directory) => directory.objects.adopt(adoptions).await,
            Self::Shared(_) => Err(Fault::Failed("an object store takes no files of another program".into())),
        }
    }

    pub(super) async fn inventory(&self, effect: Inventory) -> Result<Vec<Stored>, Fault> {
        match self {
            Self::Directory(directory) => directory.objects.inventory(effect).await,
            Self::Shared(shared) => Box::pin(shared.objects.inventory(effect)).await,
        }
    }

    /// Ends what was begun in the storage longer ago than any call can live, and is none of the objects that garbage
    /// collection can see: how many things that were.
    pub(super) async fn end_unrecorded(&self, call_lifetime: Duration) -> Result<u64, Fault> {
        match self {
            // What is in a directory is an object or is gone with the process that wrote it.
            Self::Directory(_) => Ok(0),
            Self::Shared(shared) => Box::pin(shared.objects.end_unrecorded(call_lifetime)).await,
        }
    }

    /// Opens the objects of a body that is to be streamed; `None` when one is not there.
    pub(super) async fn open_pieces(&self, pieces: Pieces) -> Result<Option<Opened>, Fault> {
        match self {
            Self::Directory(directory) => Ok(directory.open_pieces(pieces).await?.map(Opened::Directory)),
            Self::Shared(shared) => {
                Ok(Box::pin(shared.objects.open_pieces(pieces)).await?.map(Box::new).map(Opened::Shared))
            }
        }
    }

    /// A URL by which a client can read an object from the store itself; none where there is no such store.
    pub(super) async fn sign(&self, object: &ObjectId) -> Result<Option<String>, Fault> {
        match self {
            Self::Directory(_) => Ok(None),
            Self::Shared(shared) => Box::pin(shared.objects.sign(object)).await.map(Some),
        }
    }

    /// Where the bytes of an object are, for an administrator.
    pub(super) fn place(&self, object: &ObjectId) -> String {
        match self {
            Self::Directory(directory) => directory.objects.path(object).display().to_string(),
            Self::Shared(shared) => shared.objects.path(object),
        }
    }

    /// The file of an object, where objects are files.
    pub(super) fn file(&self, object: &ObjectId) -> Option<PathBuf> {
        match self {
            Self::Directory(directory) => Some(directory.objects.path(object)),
            Self::Shared(_) => None,
        }
    }

    /// What was opened, for the log.
    pub(super) fn describe(&self) -> Result<String, Fault> {
        match self {
            Self::Directory(directory) => Ok(format!("{} records", directory.records.count()?)),
            Self::Shared(shared) => Ok(shared.describe()),
        }
    }

    /// Whether records can be read and there is room to write.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        match self {
            Self::Directory(directory) => directory.ready().await,
            Self::Shared(shared) => shared.ready().await,
        }
    }

    pub(super) async fn back_up(&self) -> Result<Backup, Fault> {
        match self {
            Self::Directory(directory) => directory.back_up().await,
            Self::Shared(_) => Err(Fault::Failed(
                "the database and the object store are backed up by their own tools: see orlop(7)".into(),
            )),
        }
    }

    /// The bytes of the disk of this machine that has the objects, and how many are free; nothing is known of a store.
    pub(super) async fn space(&self) -> Option<(u64, u64)> {
        match self {
            Self::Directory(directory) => directory.objects.space().await,
            Self::Shared(_) => None,
        }
    }

    /// How the engines stand, for an administrator; nothing to say of a directory.
    pub(super) async fn examine(&self) -> Result<Vec<String>, Fault> {
        match self {
            Self::Directory(_) => Ok(Vec::new()),
            Self::Shared(shared) => Box::pin(shared.examine()).await,
        }
    }

    /// Says that this process uses the storage, where others could use it at the same time.
    pub(super) async fn enter(&self, how: Use) -> Result<Option<Presence>, String> {
        match self {
            Self::Directory(_) => Ok(None),
            Self::Shared(shared) => Box::pin(shared.enter(how)).await.map(Some),
        }
    }

    /// Under which name this host holds [leases](orlop_core::Lease).
    pub(super) fn holder(&self) -> Uuid {
        match self {
            // One process has a directory at a time. The leases of the one before are its own from the start, so that
            // nothing waits for the end of what a process had that was killed.
            Self::Directory(_) => Uuid::nil(),
            Self::Shared(shared) => shared.holder(),
        }
    }

    /// What it counts.
    pub(super) fn counters(&self) -> &Counters {
        match self {
            Self::Directory(directory) => directory.counters(),
            Self::Shared(shared) => shared.counters(),
        }
    }
}

impl Sink {
    /// Writes a batch. Nothing else of this object is written until that is done.
    pub(super) async fn append(&mut self, batch: Vec<Bytes>) -> Result<(), Fault> {
        match self {
            Self::Directory(sink) => sink.append(batch).await,
            Self::Shared(sink) => Box::pin(sink.append(batch)).await,
        }
    }

    /// Writes the last batch and makes all of it durable.
    pub(super) async fn seal(self, last: Vec<Bytes>) -> Result<(), Fault> {
        match self {
            Self::Directory(sink) => sink.seal(last).await,
            Self::Shared(sink) => Box::pin(sink.seal(last)).await,
        }
    }
}

impl Window {
    /// Shows a batch that is being written.
    pub(super) async fn append(&mut self, batch: Vec<Bytes>) {
        match self {
            Self::Directory(_) => {}
            Self::Shared(window) => window.append(batch).await,
        }
    }

    /// The file to read from; `None` before the first byte is written, and when it cannot be had.
    pub(super) async fn opened(&mut self) -> Option<Arc<disk::Opened>> {
        match self {
            Self::Directory(window) => window.opened().await,
            Self::Shared(window) => window.opened(),
        }
    }
}

impl Opened {
    /// It as the body of an answer to that request, which the log names when it cannot be sent. `outbox` is that of the
    /// connection, if it can send files.
    pub(crate) fn into_body(self, outbox: Option<Outbox>, asked: Arc<Asked>) -> Body {
        match self {
            Self::Directory(content) => Body::new(content.into_body(outbox, Some(asked))),
            Self::Shared(content) => Body::new(content.into_body(outbox, asked)),
        }
    }
}
