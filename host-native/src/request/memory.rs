//! How much memory answers may take together: manifests and lists stand in memory until their clients have read them.
//!
//! What clients push of manifests is bounded for each of them in the same way, and for all by the storage.
//!
//! Small ones are bounded by the number of requests. A large one takes its size from what there is for all, and from the
//! share of its client, until its last byte has left; when there is no room it is thrown away and made again later.
//! However many read a manifest at the same moment, it is in memory once, and once in the share of each of its clients.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::crowd::{Client, Crowd, Slot};

/// In how many bytes memory is counted.
const UNIT: usize = 1 << 10;

/// Answers up to this size are not counted: all requests together have no more than some tens of megabytes of them.
const SMALL: usize = 64 << 10;

/// How many bytes all other answers may take: some of the largest manifests.
const ROOM: usize = 32 << 20;

/// How many of these one client may take. Others still get theirs while one reads nothing.
const SHARE: usize = 8 << 20;

/// How many answers are made at once before their size is known. Lists have places of their own, for one may take long:
/// its rules may have it read all names there are.
const MAKING: usize = 8;

/// How many answers of mirrors are made at once, which may have to wait for an upstream: others wait for none of them.
const FETCHING: usize = 64;

/// How many lists of one client are made at once.
const LISTING: usize = 2;

/// How many lists of one client wait for that.
const LISTS_QUEUED: usize = 256;

/// How many bytes of manifests one client may be pushing at once: a quarter of what those of all may take.
const PUSHED: usize = 32 << 20;

/// How many bytes a manifest may have whose length is not announced.
const UNKNOWN: u64 = 4 << 20;

/// How long an answer waits for memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many answers of one client wait.
const QUEUE: usize = 64;

/// How much of an answer is handed to the connection at once. More would count as sent, though no client takes it.
const SLICE: usize = 64 << 10;

/// The memory for answers.
pub(crate) struct Memory {
    making: Semaphore,
    listing: Semaphore,
    fetching: Semaphore,
    lists: Crowd,
    pushed: Crowd,
    room: Arc<Semaphore>,
    shares: Crowd,
    shared: Arc<Shared>,
}

/// An answer that is being made, until this is dropped.
pub(crate) struct Making<'m> {
    _permit: SemaphorePermit<'m>,
    _slot: Option<Slot>,
}

/// Says what the bytes of an answer are: those of a manifest of that repository with that digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) repository: String,
    pub(crate) digest: String,
}

/// What an answer takes of the memory, until this is dropped.
pub(crate) struct Held {
    bytes: usize,
    /// None where the bytes were in memory already.
    room: Option<OwnedSemaphorePermit>,
    share: Arc<Slot>,
}

/// The answers in memory that others may read as well.
#[derive(Default)]
struct Shared(Mutex<HashMap<Name, Weak<Kept>>>);

/// An answer in memory.
struct Kept {
    bytes: Bytes,
    name: Option<Name>,
    among: Arc<Shared>,
    /// What its clients have taken of their shares for it, each once.
    shares: Mutex<HashMap<Client, Weak<Slot>>>,
    _room: OwnedSemaphorePermit,
}

impl Memory {
    /// Nothing is taken yet.
    pub(crate) fn new() -> Self {
        Self {
            making: Semaphore::new(MAKING),
            listing: Semaphore::new(MAKING),
            fetching: Semaphore::new(FETCHING),
            lists: Crowd::new(LISTING, LISTS_QUEUED),
            pushed: Crowd::new(PUSHED / UNIT, QUEUE),
            room: Arc::new(Semaphore::new(ROOM / UNIT)),
            shares: Crowd::new(SHARE / UNIT, QUEUE),
            shared: Arc::default(),
        }
    }

    /// Waits until one more answer may be made. A client waits for its own lists, with few of them at once and for a few
    /// seconds, and with nothing else for lists. What is `mirrored` may take long: it waits for its like alone, and for a
    /// few seconds.
    pub(crate) async fn making(&self, client: &Client, list: bool, mirrored: bool) -> Option<Making<'_>> {
        let slot = if list { Some(self.lists.enter_within(client, 1, PATIENCE).await?) } else { None };
        let room = match (list, mirrored) {
            (_, true) => &self.fetching,
            (true, false) => &self.listing,
            (false, false) => &self.making,
        };
        let permit = match mirrored {
            true => timeout(PATIENCE, room.acquire()).await.ok()?.ok()?,
            false => room.acquire().await.ok()?,
        };
        Some(Making { _permit: permit, _slot: slot })
    }

    /// Waits until the client may push a manifest of so many bytes; small ones wait for nothing. Large ones that come slowly,
    /// or never, would otherwise take the memory that there is for those of all.
    ///
    /// # Errors
    ///
    /// When it pushes too many for too long.
    pub(crate) async fn pushing(&self, client: &Client, length: Option<u64>) -> Result<Option<Slot>, ()> {
        let bytes = usize::try_from(length.unwrap_or(UNKNOWN)).unwrap_or(usize::MAX);
        if bytes <= SMALL {
            return Ok(None);
        }
        self.pushed.enter_within(client, bytes.div_ceil(UNIT), PATIENCE).await.map(Some).ok_or(())
    }

    /// The response with the memory that it takes, or without that its size, if there is no room for it at once. Those of
    /// one name have the same bytes.
    pub(crate) async fn bound(
        &self,
        client: &Client,
        name: Option<&Name>,
        response: Response,
        held: Option<Held>,
    ) -> Result<Response, usize> {
        if is_small(&response) {
            return Ok(response);
        }
        let size = size(&response);
        let held = match held.filter(|held| held.bytes >= size) {
            None => self.hold(client, name, size, Duration::ZERO).await.ok_or(size)?,
            Some(held) => held,
        };
        let (head, body) = response.into_parts();
        // It is one piece, so nothing is copied.
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let kept = self.keep(name, bytes, held.room).ok_or(size)?;
        let rest = Bytes::from_owner(Owned { _share: kept.lend(client, held.share), kept });
        Ok(Response::from_parts(head, Body::new(Slices { rest })))
    }

    /// Waits for memory for an answer of so many bytes.
    pub(crate) async fn wait(&self, client: &Client, name: Option<&Name>, bytes: usize) -> Option<Held> {
        self.hold(client, name, bytes, PATIENCE).await
    }

    /// Memory for an answer of so many bytes, within `patience`.
    async fn hold(&self, client: &Client, name: Option<&Name>, bytes: usize, patience: Duration) -> Option<Held> {
        let units = bytes.div_ceil(UNIT);
        let share = match self.shared.of(name).and_then(|kept| kept.share(client)) {
            Some(share) => share,
            None => Arc::new(self.shares.enter_within(client, units, patience).await?),
        };
        let room = match self.shared.of(name) {
            Some(_) => None,
            None => {
                let units = u32::try_from(units.min(ROOM / UNIT)).ok()?;
                Some(timeout(patience, self.room.clone().acquire_many_owned(units)).await.ok()?.ok()?)
            }
        };
        Some(Held { bytes, room, share })
    }

    /// The answer of that name that is in memory, or this one from now on, if it has room.
    fn keep(&self, name: Option<&Name>, bytes: Bytes, room: Option<OwnedSemaphorePermit>) -> Option<Arc<Kept>> {
        let mut shared = self.shared.lock();
        if let Some(kept) = name.and_then(|name| shared.get(name)?.upgrade()) {
            return Some(kept);
        }
        let (among, shares) = (self.shared.clone(), Mutex::default());
        let kept = Arc::new(Kept { bytes, name: name.cloned(), among, shares, _room: room? });
        if let Some(name) = name {
            shared.insert(name.clone(), Arc::downgrade(&kept));
        }
        Some(kept)
    }
}

/// Whether an answer takes none of the memory that is counted.
pub(crate) fn is_small(response: &Response) -> bool {
    size(response) <= SMALL
}

fn size(response: &Response) -> usize {
    usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX)
}

impl Shared {
    fn of(&self, name: Option<&Name>) -> Option<Arc<Kept>> {
        self.lock().get(name?)?.upgrade()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Weak<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// What the client has taken of its share for this.
    fn share(&self, client: &Client) -> Option<Arc<Slot>> {
        self.shares().get(client)?.upgrade()
    }

    /// Lets the client read it: with that share, unless it has one for it already.
    fn lend(&self, client: &Client, share: Arc<Slot>) -> Arc<Slot> {
        let mut shares = self.shares();
        if let Some(share) = shares.get(client).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        shares.insert(client.clone(), Arc::downgrade(&share));
        share
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<Client, Weak<Slot>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        let mut shared = self.among.lock();
        // Another of the same name may have come since.
        if shared.get(name).is_some_and(|kept| kept.strong_count() == 0) {
            shared.remove(name);
        }
    }
}

/// Bytes that give their memory back when the last part of them is gone, wherever that waits to be sent.
struct Owned {
    kept: Arc<Kept>,
    _share: Arc<Slot>,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.kept.bytes
    }
}

/// A body in memory that is handed on piece by piece.
struct Slices {
    rest: Bytes,
}

impl http_body::Body for Slices {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let rest = &mut self.get_mut().rest;
        let slice = rest.split_to(rest.len().min(SLICE));
        Poll::Ready(Some(slice).filter(|slice| !slice.is_empty()).map(|slice| Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_one_client_does_not_read_keeps_nothing_from_others_and_comes_back() {
        let (memory, client) = (Memory::new(), |n: u8| Client::at([192, 0, 2, n].into()));
        let large = || Response::new(Body::from(vec![b'x'; 4 << 20]));
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(memory.bound(&client(1), None, large(), None).await.unwrap());
        }
        assert_eq!(memory.bound(&client(1), None, large(), None).await.err(), Some(4 << 20));
        assert!(memory.wait(&client(1), None, 4 << 20).await.is_none());
        let small = Response::new(Body::from(vec![b'x'; SMALL]));
        assert!(memory.bound(&client(1), None, small, None).await.is_ok());
        for n in 2..5 {
            for _ in 0..2 {
                held.push(memory.bound(&client(n), None, large(), None).await.unwrap());
            }
        }
        assert!(memory.bound(&client(9), None, large(), None).await.is_err(), "there is an end to it");
        // The last byte counts, not the end of the body.
        let mut body = held.pop().unwrap().into_body();
        let mut first = None;
        while let Some(frame) = body.frame().await {
            first.get_or_insert(frame.unwrap().into_data().unwrap());
        }
        drop(body);
        assert!(memory.bound(&client(9), None, large(), None).await.is_err());
        drop(first);
        let waited = memory.wait(&client(9), None, 4 << 20).await;
        assert!(memory.bound(&client(9), None, large(), waited).await.is_ok());
    }
    #[tokio::test(start_paused = true)]
    async fn whoever_asks_for_many_lists_waits_for_them_alone() {
        let (memory, client) = (Memory::new(), |n: u8| Client::at([192, 0, 2, n].into()));
        let mut lists = Vec::new();
        for _ in 0..LISTING {
            lists.push(memory.making(&client(1), true, false).await.unwrap());
        }
        assert!(memory.making(&client(1), true, false).await.is_none(), "a few seconds are over");
        assert!(memory.making(&client(1), false, false).await.is_some(), "something else");
        let mut waiting = Vec::new();
        for n in 0..FETCHING {
            waiting.push(memory.making(&client(n as u8), false, true).await.unwrap());
        }
        assert!(memory.making(&client(1), false, true).await.is_none(), "upstreams take long");
        assert!(memory.making(&client(1), false, false).await.is_some(), "what waits for none of them");
        assert!(memory.making(&client(2), true, false).await.is_some(), "somebody else");
        // Many addresses together take what there is for lists, and nothing else.
        for n in 3..=5 {
            for _ in 0..LISTING {
                lists.push(memory.making(&client(n), true, false).await.unwrap());
            }
        }
        assert!(timeout(PATIENCE * 2, memory.making(&client(6), true, false)).await.is_err());
        assert!(memory.making(&client(6), false, false).await.is_some());
        lists.pop();
        assert!(memory.making(&client(6), true, false).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_manifest_is_in_memory_once_and_once_in_the_share_of_each_of_its_clients() {
        let (memory, client) = (Memory::new(), |n: u8| Client::at([192, 0, 2, n].into()));
        let name = |n: u8| Name { repository: "a".into(), digest: n.to_string() };
        let large = || Response::new(Body::from(vec![b'x'; 4 << 20]));
        let room = || memory.room.available_permits() * UNIT;
        let read = async |client: &Client, name: &Name| memory.bound(client, Some(name), large(), None).await;
        let mut readers = Vec::new();
        for number in 0..200 {
            readers.push(read(&client(number % 20), &name(1)).await.unwrap());
        }
        assert_eq!(room(), ROOM - (4 << 20));
        // Others of its own it gets as ever, and no more than that, whoever reads the first as well.
        readers.push(read(&client(1), &name(2)).await.unwrap());
        assert!(read(&client(1), &name(3)).await.is_err());
        assert!(read(&client(1), &name(2)).await.is_ok());
        assert!(memory.wait(&client(1), Some(&name(3)), 4 << 20).await.is_none());
        // Who brought it may go: it stays counted as long as others read it.
        readers.remove(0);
        assert_eq!(room(), ROOM - (8 << 20));
        let body = axum::body::to_bytes(readers.remove(0).into_body(), usize::MAX).await.unwrap();
        assert_eq!(body.len(), 4 << 20);
        drop((body, readers));
        assert_eq!(room(), ROOM);
        assert!(memory.shared.lock().is_empty(), "nothing is kept of what is read by none");
        assert!(read(&client(1), &name(3)).await.is_ok());
    }
}
