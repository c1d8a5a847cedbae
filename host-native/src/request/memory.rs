//! How much memory answers may take together: manifests and lists stand in memory until their clients have read them.
//!
//! Small ones are bounded by the number of requests. A large one takes its size from what there is for all, and from the
//! share of its client, until its last byte has left; when there is no room it is thrown away and made again later.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::request::crowd::{Client, Crowd, Slot};

/// In how many bytes memory is counted.
const UNIT: usize = 1 << 10;

/// Answers up to this size are not counted: all requests together have no more than some tens of megabytes of them.
const SMALL: usize = 64 << 10;

/// How many bytes all other answers may take: some of the largest manifests.
const ROOM: usize = 32 << 20;

/// How many of these one client may take. Others still get theirs while one reads nothing.
const SHARE: usize = 8 << 20;

/// How many answers are made at once before their size is known.
const MAKING: usize = 8;

/// How long an answer waits for memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many answers of one client wait.
const QUEUE: usize = 64;

/// How much of an answer is handed to the connection at once. More would count as sent, though no client takes it.
const SLICE: usize = 64 << 10;

/// The memory for answers.
pub(crate) struct Memory {
    making: Semaphore,
    room: Arc<Semaphore>,
    shares: Crowd,
}

/// What an answer takes of the memory, until this is dropped.
pub(crate) struct Held {
    bytes: usize,
    _room: OwnedSemaphorePermit,
    _share: Slot,
}

impl Memory {
    /// Nothing is taken yet.
    pub(crate) fn new() -> Self {
        Self {
            making: Semaphore::new(MAKING),
            room: Arc::new(Semaphore::new(ROOM / UNIT)),
            shares: Crowd::new(SHARE / UNIT, QUEUE),
        }
    }

    /// Waits until one more answer may be made.
    pub(crate) async fn making(&self) -> Option<SemaphorePermit<'_>> {
        self.making.acquire().await.ok()
    }

    /// Memory for an answer of so many bytes, within `patience`.
    async fn hold(&self, client: &Client, bytes: usize, patience: Duration) -> Option<Held> {
        let units = bytes.div_ceil(UNIT);
        let share = self.shares.enter_within(client, units, patience).await?;
        let units = u32::try_from(units.min(ROOM / UNIT)).ok()?;
        let room = timeout(patience, self.room.clone().acquire_many_owned(units)).await.ok()?.ok()?;
        Some(Held { bytes, _room: room, _share: share })
    }

    /// The response with the memory that it takes, or without that its size, if there is no room for it at once.
    pub(crate) async fn bound(
        &self,
        client: &Client,
        response: Response,
        held: Option<Held>,
    ) -> Result<Response, usize> {
        let bytes = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
        if bytes <= SMALL {
            return Ok(response);
        }
        let held = match held.filter(|held| held.bytes >= bytes) {
            None => self.hold(client, bytes, Duration::ZERO).await.ok_or(bytes)?,
            Some(held) => held,
        };
        let (head, body) = response.into_parts();
        // It is one piece, so nothing is copied.
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let rest = Bytes::from_owner(Owned { bytes, _held: held });
        Ok(Response::from_parts(head, Body::new(Slices { rest })))
    }

    /// Waits for memory for an answer of so many bytes.
    pub(crate) async fn wait(&self, client: &Client, bytes: usize) -> Option<Held> {
        self.hold(client, bytes, PATIENCE).await
    }
}

/// Bytes that give their memory back when the last part of them is gone, wherever that waits to be sent.
struct Owned {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
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
            held.push(memory.bound(&client(1), large(), None).await.unwrap());
        }
        assert_eq!(memory.bound(&client(1), large(), None).await.err(), Some(4 << 20));
        assert!(memory.wait(&client(1), 4 << 20).await.is_none());
        let small = Response::new(Body::from(vec![b'x'; SMALL]));
        assert!(memory.bound(&client(1), small, None).await.is_ok());
        for n in 2..5 {
            for _ in 0..2 {
                held.push(memory.bound(&client(n), large(), None).await.unwrap());
            }
        }
        assert!(memory.bound(&client(9), large(), None).await.is_err(), "there is an end to it");
        // The last byte counts, not the end of the body.
        let mut body = held.pop().unwrap().into_body();
        let mut first = None;
        while let Some(frame) = body.frame().await {
            first.get_or_insert(frame.unwrap().into_data().unwrap());
        }
        drop(body);
        assert!(memory.bound(&client(9), large(), None).await.is_err());
        drop(first);
        let waited = memory.wait(&client(9), 4 << 20).await;
        assert!(memory.bound(&client(9), large(), waited).await.is_ok());
    }
}
