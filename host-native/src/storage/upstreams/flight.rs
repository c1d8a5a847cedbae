//! A flight: the fetch of a blob, which any number of calls follow.

use std::sync::Arc;

use orlop_core::mirror::{Fetching, Source};
use orlop_core::{Error, Fault};
use tokio::sync::{mpsc, watch};

use crate::crowd::Client;
use crate::storage::disk::Opened;

/// The fetch of a blob, for those who follow it. It is followed as long as there are receivers of its progress.
pub(in crate::storage) struct Flight {
    /// What it was begun for.
    fetching: Fetching,
    progress: watch::Sender<Progress>,
    wanting: mpsc::UnboundedSender<Option<Client>>,
}

/// The clients that want a flight which does not run yet, as they come; none where it is this registry itself.
pub(super) type Wanting = mpsc::UnboundedReceiver<Option<Client>>;

/// How far a flight has come.
#[derive(Clone, Default)]
pub(super) struct Progress {
    /// Whom it asks, once it does.
    pub(super) asking: Option<Source>,
    /// What has come, once there is something to be read.
    pub(super) shown: Option<Shown>,
    /// How it has ended, if it has.
    pub(super) over: Option<Result<(), Error>>,
}

impl Progress {
    /// Whether it is known what becomes of those who follow.
    pub(super) fn is_settled(&self) -> bool {
        self.shown.is_some() || self.over.is_some()
    }
}

/// What has come of a blob.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) file: Arc<Opened>,
    /// How many bytes the blob has.
    pub(super) size: u64,
    /// How many of them may be read: all only once they are known to be right.
    pub(super) there: u64,
}

impl Flight {
    /// One that no client wants yet.
    pub(super) fn new(fetching: Fetching) -> (Self, Wanting) {
        let (wanting, wanted) = mpsc::unbounded_channel();
        (Self { fetching, progress: watch::Sender::default(), wanting }, wanted)
    }

    /// This client wants it, which matters as long as it does not run.
    pub(super) fn wanted_by(&self, client: Option<&Client>) {
        let _ = self.wanting.send(client.cloned());
    }

    /// It asks this upstream from now on.
    pub(super) fn asks(&self, source: &Source) {
        self.progress.send_modify(|progress| progress.asking = Some(source.clone()));
    }

    /// More of the blob can be read.
    pub(super) fn show(&self, shown: Shown) {
        self.progress.send_modify(|progress| progress.shown = Some(shown));
    }

    /// It is over, unless it was before.
    pub(super) fn end(&self, result: Result<(), Error>) {
        self.progress.send_modify(|progress| {
            progress.over.get_or_insert(result);
        });
    }

    /// Follows it.
    pub(super) fn follow(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Whether any call follows it.
    pub(super) fn is_followed(&self) -> bool {
        !self.progress.is_closed()
    }

    /// Waits until no call follows it.
    pub(super) async fn left(&self) {
        self.progress.closed().await;
    }

    /// Whether all bytes of the blob have come, and are right.
    pub(super) fn is_complete(&self) -> bool {
        self.progress.borrow().shown.as_ref().is_some_and(|shown| shown.there == shown.size)
    }

    /// Whether upstreams may answer `other` in another way than they have answered this flight: it asks with another login,
    /// or this one has come through registries that it has not, which may have refused it for that (SPEC V15).
    pub(super) fn speaks_not_for(&self, other: &Fetching) -> bool {
        let passed = |hop: &str| hops(other.via()).any(|other| other == hop);
        self.fetching.login() != other.login() || !hops(self.fetching.via()).all(passed)
    }
}

/// The registries that a value of `Via` names.
pub(super) fn hops(via: &str) -> impl Iterator<Item = &str> {
    via.split(',').map(str::trim)
}

/// Why a flight has ended that has not said so.
pub(super) fn ended() -> Error {
    Error::Storage(Fault::Failed("the fetch of the blob has ended".into()))
}
