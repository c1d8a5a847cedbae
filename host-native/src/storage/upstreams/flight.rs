//! Flights: fetches of blobs, each a task of its own that any number of calls follow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use orlop_core::digest::Digest;
use orlop_core::mirror::{Fetching, Followed};
use orlop_core::name::Repository;
use orlop_core::{Error, Fault};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::task::TaskTracker;

use super::Following;
use crate::storage::counters::UpstreamCounters;
use crate::storage::disk::{Buffers, Opened};

/// How many fetches are under way at once; others wait for one to end. Each has a connection, a file, and a share of the
/// memory that all bodies have together that are being received.
const AT_ONCE: usize = 64;

/// How many there are with those that wait, whose clients may be gone; more are refused for the moment.
const MOST: usize = 1024;

/// What a flight brings, and whereto.
type Place = (Repository, Digest);

/// The flights of a host. A clone has the same.
#[derive(Clone)]
pub(in crate::storage) struct Flights {
    flying: Arc<Mutex<HashMap<Place, Arc<Flight>>>>,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    buffers: Buffers,
    /// How many there are, to be counted.
    running: Gauge,
}

/// The fetch of a blob, for those who follow it.
#[derive(Default)]
pub(in crate::storage) struct Flight(watch::Sender<Progress>);

/// How far a flight has come.
#[derive(Clone, Default)]
pub(super) struct Progress {
    /// What has come, once there is something to be read.
    pub(super) shown: Option<Shown>,
    /// How it has ended, if it has.
    pub(super) over: Option<Result<(), Error>>,
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

impl Flights {
    /// None yet.
    pub(in crate::storage) fn new(counters: &UpstreamCounters) -> Self {
        Self {
            flying: Arc::default(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: TaskTracker::new(),
            buffers: Buffers::default(),
            running: counters.flights.clone(),
        }
    }

    /// Follows the flight that brings a blob, which is begun by `fly` unless it is under way: a task that goes on when all
    /// who follow it have left.
    pub(in crate::storage) async fn follow(
        &self,
        fetching: Fetching,
        fly: impl FnOnce(Fetching, Arc<Flight>) -> BoxFuture<'static, Result<(), Error>>,
    ) -> (Followed, Option<Following>) {
        let place = (fetching.repository.clone(), fetching.digest);
        let mut first = None;
        let flight = {
            let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
            match flying.get(&place) {
                Some(flight) => flight.clone(),
                None if flying.len() >= MOST => return (Followed::Over(Err(Error::Busy)), None),
                None => {
                    let flight = Arc::new(Flight::default());
                    flying.insert(place.clone(), flight.clone());
                    self.running.inc();
                    let landing = Landing { flights: self.clone(), place, flight: flight.clone() };
                    let (room, flown) = (self.room.clone(), fly(fetching, flight.clone()));
                    // Before it looks whether it is followed.
                    first = Some(flight.0.subscribe());
                    self.tasks.spawn(async move {
                        let permit = tokio::select! {
                            permit = room.acquire_owned() => permit.ok(),
                            // What has not begun, and is wanted by nobody any more, need not begin.
                            () = landing.flight.0.closed() => return,
                        };
                        let result = flown.await;
                        landing.flight.end(result);
                        drop::<Option<OwnedSemaphorePermit>>(permit);
                    });
                    flight
                }
            }
        };
        let mut progress = first.unwrap_or_else(|| flight.0.subscribe());
        // The flight has the other end.
        let begun = progress.wait_for(|progress| progress.shown.is_some() || progress.over.is_some()).await;
        let progress = begun.map(|progress| progress.clone()).unwrap_or_default();
        match (progress.over, progress.shown) {
            (Some(result), _) => (Followed::Over(result), None),
            (None, Some(Shown { file, size, .. })) => {
                (Followed::Coming(size), Some(Following::new(flight, file, self.buffers.clone())))
            }
            (None, None) => (Followed::Over(Err(ended())), None),
        }
    }

    /// Waits for all that are under way. None begins from now on that this waits for.
    pub(in crate::storage) async fn land(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn ended() -> Error {
    Error::Storage(Fault::Failed("the fetch of the blob has ended".into()))
}

impl Flight {
    /// More of the blob can be read.
    pub(super) fn show(&self, shown: Shown) {
        self.0.send_modify(|progress| progress.shown = Some(shown));
    }

    /// It is over.
    fn end(&self, result: Result<(), Error>) {
        self.0.send_modify(|progress| progress.over = Some(result));
    }

    /// How far it has come.
    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.0.subscribe()
    }
}

/// Sees to it that a flight which has ended, however it did, is followed by nobody any more.
struct Landing {
    flights: Flights,
    place: Place,
    flight: Arc<Flight>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.flying.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
        self.flights.running.dec();
        self.flight.0.send_modify(|progress| {
            progress.over.get_or_insert_with(|| Err(ended()));
        });
    }
}
