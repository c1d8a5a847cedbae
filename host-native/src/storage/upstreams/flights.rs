//! All flights of a host: who begins one, who joins one, and how many there are.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use orlop_core::Error;
use orlop_core::digest::Digest;
use orlop_core::mirror::{As, Fetching, Followed, Source};
use orlop_core::name::Repository;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Following;
use super::flight::{Flight, Progress, Shown, Wanting, ended, hops};
use crate::crowd::{Client, Crowd, Slot};
use crate::storage::counters::UpstreamCounters;
use crate::storage::disk::Buffers;

/// How many fetches are under way at once; others wait for one to end. Each has a connection, a file, and a share of the
/// memory that all bodies have together that are being received.
const AT_ONCE: usize = 64;

/// How many of these run on the share of one client: another one's need not wait for them.
const AT_ONCE_OF_CLIENT: usize = AT_ONCE / 2;

/// How many there are with those that wait, whose clients may be gone; more are refused for the moment.
const MOST: usize = 1024;

/// How many of these one client has begun.
const MOST_OF_CLIENT: usize = MOST / 4;

/// How long a request that has come through another registry follows a flight that brings nothing, before it is looked
/// whether the flight waits for that registry: longer than most upstreams take to answer, and short for a client.
const GOING_ROUND: Duration = Duration::from_secs(1);

/// How many flights of others, one after the other, a call sees fail that may not speak for it, before it begins its own.
const OF_OTHERS: usize = 3;

/// The flights of a host. A clone has the same.
#[derive(Clone)]
pub(in crate::storage) struct Flights {
    flying: Arc<Mutex<HashMap<Place, Arc<Flight>>>>,
    /// What each client has of `MOST`.
    begun: Crowd,
    /// What each client has of `room`.
    shares: Crowd,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    /// From when a flight that is not followed ends.
    leaving: CancellationToken,
    buffers: Buffers,
    /// How many there are, to be counted.
    running: Gauge,
}

/// What a flight brings, and whereto: for all who want it, or for one way of asking alone.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    repository: Repository,
    digest: Digest,
    alone: Option<(As, String)>,
}

/// What a flight that is followed comes to.
enum Settled {
    Coming(Shown),
    Over(Result<(), Error>),
    /// It waits, by way of others, for the very request that follows it.
    Round,
}

impl Flights {
    /// None yet.
    pub(in crate::storage) fn new(counters: &UpstreamCounters) -> Self {
        Self {
            flying: Arc::default(),
            begun: Crowd::new(MOST_OF_CLIENT, 0),
            shares: Crowd::new(AT_ONCE_OF_CLIENT, MOST),
            room: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: TaskTracker::new(),
            leaving: CancellationToken::new(),
            buffers: Buffers::default(),
            running: counters.flights.clone(),
        }
    }

    /// Follows the flight that brings a blob, which is begun by `fly` unless it is under way: a task that goes on when all
    /// who follow it have left. It runs on the share of the client that began it, or of one that has joined it before it
    /// ran: whichever is free first.
    ///
    /// Two registries that mirror each other could wait for each other's flights. So a request that has come through
    /// another registry asks the upstream that the flight waits for, by `has`, whether that has the blob for such a
    /// request. If not, it has a flight of its own, with its own `Via`, by which the loop is noticed.
    pub(in crate::storage) async fn follow(
        &self,
        fetching: Fetching,
        client: Option<&Client>,
        fly: impl Fn(Fetching, Arc<Flight>) -> BoxFuture<'static, Result<(), Error>>,
        has: impl Fn(Source) -> BoxFuture<'static, bool>,
    ) -> (Followed, Option<Following>) {
        let mut place = Place { repository: fetching.repository.clone(), digest: fetching.digest, alone: None };
        let alone = Place { alone: Some((fetching.login().clone(), fetching.via().to_owned())), ..place.clone() };
        let mut of_others = 0;
        loop {
            let Some((flight, mut progress)) = self.join(&place, &fetching, client, &fly) else {
                return (Followed::Over(Err(Error::Busy)), None);
            };
            let goes_round = place.alone.is_none() && hops(fetching.via()).count() > 1;
            let has = |asking: &Source| {
                has(Source { login: fetching.login().clone(), via: fetching.via().to_owned(), ..asking.clone() })
            };
            match settled(&mut progress, goes_round, has).await {
                Settled::Coming(Shown { file, size, .. }) => {
                    return (Followed::Coming(size), Some(Following::new(progress, file, self.buffers.clone())));
                }
                Settled::Round => place = alone.clone(),
                // For whoever began it; not, therefore, for whoever joined it.
                Settled::Over(Err(Error::BlobUnknown(_) | Error::UpstreamPaused(_)))
                    if place.alone.is_none() && flight.speaks_not_for(&fetching) =>
                {
                    of_others += 1;
                    if of_others == OF_OTHERS {
                        place = alone.clone();
                    }
                }
                Settled::Over(result) => return (Followed::Over(result), None),
            }
        }
    }

    /// Joins the flight to a place, or begins it; nothing when there are too many.
    fn join(
        &self,
        place: &Place,
        fetching: &Fetching,
        client: Option<&Client>,
        fly: impl Fn(Fetching, Arc<Flight>) -> BoxFuture<'static, Result<(), Error>>,
    ) -> Option<(Arc<Flight>, watch::Receiver<Progress>)> {
        let mut flying = self.lock();
        let others = flying.len();
        let vacant = match flying.entry(place.clone()) {
            Entry::Occupied(flight) => {
                let flight = flight.get();
                flight.wanted_by(client);
                return Some((flight.clone(), flight.follow()));
            }
            Entry::Vacant(vacant) => vacant,
        };
        if others >= MOST {
            return None;
        }
        let begun = match client {
            Some(client) => Some(self.begun.enter(client)?),
            None => None,
        };
        let (flight, wanting) = Flight::new(fetching.clone());
        let flight = Arc::new(flight);
        flight.wanted_by(client);
        vacant.insert(flight.clone());
        self.running.inc();
        // Before it looks whether it is followed.
        let progress = flight.follow();
        let landing = Landing { flights: self.clone(), place: place.clone(), flight: flight.clone(), _begun: begun };
        let flown = fly(fetching.clone(), flight.clone());
        self.tasks.spawn(async move {
            let _taken = tokio::select! {
                taken = landing.flights.take(wanting) => taken,
                // What has not begun, and is not wanted any more, need not begin.
                () = landing.left() => return,
            };
            tokio::select! {
                result = flown => landing.land(result),
                () = landing.given_up() => {}
            }
        });
        Some((flight, progress))
    }

    /// Waits until there is room for one more flight, which these clients want.
    async fn take(&self, wanting: Wanting) -> (Option<Slot>, Option<OwnedSemaphorePermit>) {
        (self.share(wanting).await, self.room.clone().acquire_owned().await.ok())
    }

    /// What a flight takes of the share of the first of these clients that has some left. This registry itself needs none.
    async fn share(&self, mut wanting: Wanting) -> Option<Slot> {
        let (mut known, mut waiting) = (HashSet::new(), FuturesUnordered::new());
        loop {
            tokio::select! {
                Some(wants) = wanting.recv() => {
                    let client = wants?;
                    if known.insert(client.clone()) {
                        waiting.push(async move { self.shares.enter_within(&client, 1, Duration::MAX).await });
                    }
                }
                Some(Some(share)) = waiting.next() => return Some(share),
                else => return None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Arc<Flight>>> {
        self.flying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, a flight ends that is not followed.
    pub(in crate::storage) fn leave(&self) {
        self.leaving.cancel();
    }

    /// Waits for all that are under way, which end as soon as they are not followed. None begins from now on that this
    /// waits for.
    pub(in crate::storage) async fn land(&self) {
        self.leave();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Waits until it is known what a flight comes to.
async fn settled(
    progress: &mut watch::Receiver<Progress>,
    may_go_round: bool,
    has: impl Fn(&Source) -> BoxFuture<'static, bool>,
) -> Settled {
    let mut asked = None;
    let looking = progress.clone();
    let goes_round = async {
        // It may go on with another upstream.
        loop {
            sleep(GOING_ROUND).await;
            let asking = looking.borrow().asking.clone();
            if let Some(source) = asking.filter(|asking| asked.as_ref() != Some(asking)) {
                if !has(&source).await {
                    return;
                }
                asked = Some(source);
            }
        }
    };
    let is_settled = progress.wait_for(Progress::is_settled);
    let progress = tokio::select! {
        // The flight has the other end.
        settled = is_settled => settled.map(|progress| progress.clone()).unwrap_or_default(),
        () = goes_round, if may_go_round => return Settled::Round,
    };
    match (progress.over, progress.shown) {
        (Some(result), _) => Settled::Over(result),
        (None, Some(shown)) => Settled::Coming(shown),
        (None, None) => Settled::Over(Err(ended())),
    }
}

/// Sees to it that a flight which has ended, however it did, is joined and followed no more.
struct Landing {
    flights: Flights,
    place: Place,
    flight: Arc<Flight>,
    _begun: Option<Slot>,
}

impl Landing {
    /// The flight is over. Whoever is told so, and begins it again, does not find this one.
    fn land(self, result: Result<(), Error>) {
        self.forget();
        self.flight.end(result);
    }

    /// Waits until it is not followed, and cannot be joined.
    async fn left(&self) {
        loop {
            self.flight.left().await;
            let mut flying = self.flights.lock();
            if !self.flight.is_followed() {
                self.forget_in(&mut flying);
                return;
            }
        }
    }

    /// Waits until the host leaves and the flight is not followed. One that has all bytes only has to write that down.
    async fn given_up(&self) {
        self.flights.leaving.cancelled().await;
        self.left().await;
        if self.flight.is_complete() {
            std::future::pending().await
        }
    }

    fn forget(&self) {
        self.forget_in(&mut self.flights.lock());
    }

    /// Another one may be under way to the same place by now.
    fn forget_in(&self, flying: &mut HashMap<Place, Arc<Flight>>) {
        if flying.get(&self.place).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            flying.remove(&self.place);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.forget();
        self.flights.running.dec();
        self.flight.end(Err(ended()));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use orlop_core::digest::Algorithm;
    use orlop_core::{Config, Registry};
    use tokio::time::timeout;

    use super::*;

    fn fetching(blob: usize) -> Fetching {
        let digest = Algorithm::Sha256.digest(blob.to_string().as_bytes());
        Registry::new(Config::default()).fetching("hub/app".parse().unwrap(), digest)
    }

    /// Follows the flight of that blob; the last one comes as soon as it runs, the others never do.
    async fn followed(flights: &Flights, blob: usize, client: &Client) -> Followed {
        let fly = |_, _| match blob {
            AT_ONCE_OF_CLIENT => async { Ok(()) }.boxed(),
            _ => std::future::pending().boxed(),
        };
        flights.follow(fetching(blob), Some(client), fly, |_| async { true }.boxed()).await.0
    }

    #[tokio::test(start_paused = true)]
    async fn a_flight_that_waits_for_its_client_runs_for_another_one_that_joins_it() {
        let flights = Flights::new(&UpstreamCounters::default());
        let [busy, other] = ["busy", "other"].map(|name| Client::User(name.into()));
        let mut waiting: FuturesUnordered<_> =
            (0..=AT_ONCE_OF_CLIENT).map(|blob| followed(&flights, blob, &busy)).collect();
        let patience = Duration::from_secs(60);
        assert!(timeout(patience, waiting.next()).await.is_err(), "the client has begun as many as it may");
        let followed = timeout(patience, followed(&flights, AT_ONCE_OF_CLIENT, &other)).await;
        assert!(matches!(followed, Ok(Followed::Over(Ok(())))), "{followed:?}");
        // For all who follow it.
        assert!(matches!(timeout(patience, waiting.next()).await, Ok(Some(Followed::Over(Ok(()))))));
    }
}
