//! The body of a request, read piece by piece, from a client that may be slow, gone or endless.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use orlop_core::effect::{BodyEnd, Collected};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// How many bytes are gathered into one piece. Chunks at least a quarter of this are passed on as they are.
pub(crate) const GATHERED: usize = 128 << 10;

/// How long bytes wait to be gathered. Also, a part that grows is written to at least this often, which keeps it
/// young: garbage collection takes old objects for abandoned.
pub(crate) const GATHERING: Duration = Duration::from_secs(5);

/// In how many bytes the memory for collected bodies is counted.
pub(crate) const UNIT: usize = 1 << 10;

/// How many bytes of a body that nobody wants are read all the same, so that the client gets to reading the answer.
const DRAINED: u64 = 1 << 20;

/// Longer than any connection lasts.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long such a body is read.
const DRAINING: Duration = Duration::from_secs(3);

/// How much memory all bodies that are collected may take together, and one call's share of it until it is over.
pub(crate) struct Held {
    room: Arc<Semaphore>,
    share: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Nothing yet, of what `room` has in units of [`UNIT`] bytes.
    pub(crate) fn of(room: &Arc<Semaphore>) -> Self {
        Self { room: room.clone(), share: None }
    }

    /// Takes this many bytes more, if there is room for them.
    fn take(&mut self, bytes: usize) -> bool {
        let Ok(units) = u32::try_from(bytes.div_ceil(UNIT)) else { return false };
        let Ok(more) = self.room.clone().try_acquire_many_owned(units) else { return false };
        match &mut self.share {
            Some(share) => share.merge(more),
            none => *none = Some(more),
        }
        true
    }
}

/// The body of a request.
pub struct RequestBody {
    body: Body,
    idle: Duration,
    /// When the last byte came.
    last: Instant,
    /// What was read too much.
    rest: Bytes,
    state: State,
    /// Whether what looks like its end is a client that went away.
    cut: bool,
    /// Where the bytes that come are counted.
    received: Option<Counter>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody has asked for it: a client that expects `100 Continue` has not been told to send it.
    Untouched,
    Open,
    Ended(BodyEnd),
}

impl RequestBody {
    /// A body that counts as cut off when no byte comes for `idle`.
    pub fn new(body: impl Into<Body>, idle: Duration) -> Self {
        let body = body.into();
        let state = if body.is_end_stream() { State::Ended(BodyEnd::Whole) } else { State::Untouched };
        Self { body, idle, last: Instant::now(), rest: Bytes::new(), state, cut: false, received: None }
    }

    /// The same, and its bytes are counted there as they come.
    pub(crate) fn counted(self, received: &Counter) -> Self {
        Self { received: Some(received.clone()), ..self }
    }

    /// A body of these bytes.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self::new(Body::from(bytes.into()), Duration::MAX)
    }

    /// A body that breaks off after these bytes.
    pub fn cut_after(bytes: impl Into<Bytes>) -> Self {
        // An empty body ends before it is asked for, and here that end is not one.
        Self { cut: true, state: State::Untouched, ..Self::from_bytes(bytes) }
    }

    /// No body.
    pub fn empty() -> Self {
        Self::new(Body::empty(), Duration::MAX)
    }

    /// Reads the whole body into memory, if it has `limit` bytes at most and `held` gets the memory for it.
    pub(crate) async fn collect(&mut self, limit: u64, held: &mut Held) -> Collected {
        let mut whole = BytesMut::new();
        loop {
            let room = limit.saturating_sub(whole.len() as u64);
            let (bytes, end) = self.gather(room, None, Instant::now() + CENTURY).await;
            if !held.take(bytes.len()) {
                return Collected::NoRoom;
            }
            match end {
                // Most manifests come in one piece, which need not be copied.
                Some(BodyEnd::Whole) if whole.is_empty() => return Collected::Whole(bytes),
                Some(BodyEnd::Whole) => {
                    whole.extend_from_slice(&bytes);
                    return Collected::Whole(whole.freeze());
                }
                Some(BodyEnd::TooLarge) => return Collected::TooLarge,
                Some(BodyEnd::Cut) => return Collected::Cut,
                Some(BodyEnd::Later) | None => whole.extend_from_slice(&bytes),
            }
        }
    }

    /// The next bytes, `room` at most, and how the body ended if it did. A body that has more than `room` bytes is too
    /// large; to know that, one byte more is waited for.
    ///
    /// Nothing is waited for when it is `due`. Without that, the first byte is waited for until the `pause`, and then
    /// others for [a while](GATHERING).
    pub(crate) async fn gather(&mut self, room: u64, due: Option<Instant>, pause: Instant) -> (Bytes, Option<BodyEnd>) {
        let mut gathered = BytesMut::new();
        let began = Instant::now();
        loop {
            let left = room - gathered.len() as u64;
            // Before the first byte nothing waits; after it, the bytes that came do.
            let patience = due.or_else(|| Some(began + GATHERING).filter(|_| !gathered.is_empty()));
            let patience = Some(patience.map_or(pause, |patience| patience.min(pause)));
            let mut chunk = match self.next(patience).await {
                Some(Ok(chunk)) => chunk,
                Some(Err(end)) => return (gathered.freeze(), Some(end)),
                None => return (gathered.freeze(), None),
            };
            if chunk.len() as u64 > left {
                // It fits in memory, so its length fits in a `usize`.
                self.rest = chunk.split_off(left as usize);
                self.state = State::Ended(BodyEnd::TooLarge);
            }
            if gathered.is_empty() && chunk.len() >= GATHERED / 4 {
                return (chunk, self.end());
            }
            gathered.extend_from_slice(&chunk);
            if gathered.len() >= GATHERED || self.end().is_some() {
                return (gathered.freeze(), self.end());
            }
        }
    }

    /// Reads on past what nobody wanted, for a while. Says whether the body has come to its end, so that the
    /// connection can be used again.
    pub(crate) async fn drain(&mut self) -> bool {
        if self.state == State::Ended(BodyEnd::TooLarge) {
            self.state = State::Open;
        }
        // To read a body that the client has been told nothing of would be to ask for it.
        if self.state == State::Untouched && self.body.size_hint().lower() > DRAINED {
            return false;
        }
        let deadline = Instant::now() + DRAINING;
        let mut drained = std::mem::take(&mut self.rest).len() as u64;
        while drained <= DRAINED {
            match self.next(Some(deadline)).await {
                Some(Ok(chunk)) => drained += chunk.len() as u64,
                Some(Err(end)) => return end == BodyEnd::Whole,
                None => return false,
            }
        }
        false
    }

    /// How many bytes are still to come, if the client has said so.
    pub(crate) fn expected(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Whether anybody has read from it.
    pub(crate) fn is_untouched(&self) -> bool {
        self.state == State::Untouched
    }

    /// Whether it has come to its end, so that nothing of it is still on its way.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended(BodyEnd::Whole | BodyEnd::Cut))
    }

    fn end(&self) -> Option<BodyEnd> {
        match self.state {
            State::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// The next chunk, or how the body ended; nothing when neither came until `patience` is over.
    async fn next(&mut self, patience: Option<Instant>) -> Option<Result<Bytes, BodyEnd>> {
        if let State::Ended(end) = self.state {
            return Some(Err(end));
        }
        if self.state == State::Untouched {
            self.state = State::Open;
            self.last = Instant::now();
        }
        // A body in memory is never idle, and a century is longer than any connection.
        let idle = self.last + self.idle.min(CENTURY);
        loop {
            let until = patience.map_or(idle, |patience| patience.min(idle));
            let frame = timeout_at(until, poll_fn(|context| Pin::new(&mut self.body).poll_frame(context))).await;
            let end = match frame {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) if !chunk.is_empty() => {
                        self.last = Instant::now();
                        if let Some(received) = &self.received {
                            received.inc_by(chunk.len() as u64);
                        }
                        // Known here, it costs whoever writes the bytes no second turn.
                        if self.body.is_end_stream() {
                            self.state = State::Ended(if self.cut { BodyEnd::Cut } else { BodyEnd::Whole });
                        }
                        return Some(Ok(chunk));
                    }
                    // Trailers say nothing to us.
                    _ => continue,
                },
                Ok(None) if self.cut => BodyEnd::Cut,
                Ok(None) => BodyEnd::Whole,
                Ok(Some(Err(_))) => BodyEnd::Cut,
                Err(_) if until < idle => return None,
                Err(_) => BodyEnd::Cut,
            };
            self.state = State::Ended(end);
            return Some(Err(end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_finds_no_room_is_not_collected_and_the_room_comes_back() {
        let room = Arc::new(Semaphore::new(4));
        let collect = async |bytes: usize, held: &mut Held| {
            RequestBody::from_bytes(vec![b'x'; bytes]).collect(1 << 20, held).await
        };
        let mut first = Held::of(&room);
        assert!(matches!(collect(3 * UNIT, &mut first).await, Collected::Whole(_)));
        assert_eq!(collect(UNIT + 1, &mut Held::of(&room)).await, Collected::NoRoom);
        assert!(matches!(collect(UNIT, &mut Held::of(&room)).await, Collected::Whole(_)));
        drop(first);
        assert!(matches!(collect(4 * UNIT, &mut Held::of(&room)).await, Collected::Whole(_)));
    }
}
