//! Streaming a body into an object.
//!
//! What comes in is hashed at once, on the thread that has read it and whose caches have it. Only what may wait for the
//! disk is done on another thread: it is given a batch, and while that is written the next one comes in. To hand
//! something to another thread costs as much as to hash some KiB, so few bodies at once get large batches.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use orlop_core::Fault;
use orlop_core::effect::{BodyEnd, Receive, Received};
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;
use tokio::time::Instant;

use crate::storage::body::{GATHERING, RequestBody};
use crate::storage::engine::{Sink, Storage};

/// How many bytes a batch has at most.
const BATCH: usize = 1 << 20;

/// How many bytes the batches have together that come in, and as many that are written; with very many bodies, what
/// their single pieces have.
const TOGETHER: usize = 4 << 20;

/// A pause that is longer than any connection lasts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How many bodies one host is receiving.
#[derive(Default)]
pub(super) struct Receiving(AtomicUsize);

/// An object whose body has paused: the next part of it goes into the same sink.
pub(super) struct Open {
    pub(super) object: ObjectId,
    sink: Sink,
}

/// Streams `body` past the meter into the object. What was written is durable when this returns, unless the body has
/// paused: then it stays in `open`.
///
/// A body holds two batches in memory at most, the one that comes in and the one that is written, and no thread while
/// nothing comes.
pub(super) async fn receive(
    storage: &Storage,
    receiving: &Receiving,
    effect: Receive,
    body: &mut RequestBody,
    open: &mut Option<Open>,
) -> Result<Received, Fault> {
    let _counted = Counted::new(receiving);
    let Receive { object, mut meter, keep, pause } = effect;
    let began = Instant::now();
    let pause = began + pause.min(LONGEST_PAUSE);
    let going_on = open.take().filter(|open| open.object == object);
    let keep = if going_on.is_some() { 0 } else { keep };
    let mut sink = going_on.map_or_else(|| storage.sink(&object, body.expected()), |open| open.sink);
    let received = |meter, end, kept| Ok(Received { meter, end, kept, took: began.elapsed() });
    let (mut batch, mut end) = receiving.gather(body, &mut meter, pause).await;
    let length: usize = batch.iter().map(Bytes::len).sum();
    if let Some(end) = end.filter(|end| *end != BodyEnd::Later && length <= keep) {
        return received(meter, end, Some(joined(batch)).filter(|bytes| !bytes.is_empty()));
    }
    loop {
        match end {
            Some(BodyEnd::Later) => {
                sink.append(batch).await?;
                *open = Some(Open { object, sink });
                return received(meter, BodyEnd::Later, None);
            }
            Some(end) => {
                sink.seal(batch).await?;
                return received(meter, end, None);
            }
            None => {
                let (written, next) = tokio::join!(sink.append(batch), receiving.gather(body, &mut meter, pause));
                written?;
                (batch, end) = next;
            }
        }
    }
}

/// The pieces as one, without a copy when they are one already.
pub(super) fn joined(mut batch: Vec<Bytes>) -> Bytes {
    batch.retain(|piece| !piece.is_empty());
    match batch.as_slice() {
        [single] => single.clone(),
        pieces => pieces.concat().into(),
    }
}

impl Receiving {
    /// The next batch, past the meter, and how the body ended if it did: [`BodyEnd::Later`] when it is time for a
    /// `pause`.
    async fn gather(&self, body: &mut RequestBody, meter: &mut Meter, pause: Instant) -> (Vec<Bytes>, Option<BodyEnd>) {
        let due = Instant::now() + GATHERING;
        let (mut batch, mut length) = (Vec::new(), 0);
        loop {
            let (piece, end) = body.gather(meter.room(), Some(due).filter(|_| length > 0), pause).await;
            meter.update(&piece);
            length += piece.len();
            batch.push(piece);
            if end.is_some() {
                return (batch, end);
            }
            let now = Instant::now();
            if now >= pause {
                return (batch, Some(BodyEnd::Later));
            }
            if length >= self.share() || now >= due {
                return (batch, None);
            }
            // Others have something to do too.
            tokio::task::yield_now().await;
        }
    }

    /// How many bytes a batch has while there are as many bodies as now.
    pub(super) fn share(&self) -> usize {
        (TOGETHER / self.0.load(Ordering::Relaxed).max(1)).min(BATCH)
    }
}

/// A body, among those that are being received.
pub(super) struct Counted<'r>(&'r Receiving);

impl<'r> Counted<'r> {
    pub(super) fn new(receiving: &'r Receiving) -> Self {
        receiving.0.fetch_add(1, Ordering::Relaxed);
        Self(receiving)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use axum::body::Body;
    use orlop_core::digest::Algorithm;
    use tempfile::TempDir;
    use tokio::time::{Sleep, sleep};
    use uuid::Uuid;

    use super::*;
    use crate::settings::Options;
    use crate::storage::body::GATHERED;

    const PIECE: &[u8] = &[b'x'; GATHERED / 2];

    fn open(directory: &TempDir) -> Storage {
        Storage::open(directory.path(), &Options { keep_free: 0, ..Options::default() }).unwrap()
    }

    /// Gives a piece, nothing for a while, and another one.
    struct Slow {
        pieces: usize,
        pause: Pin<Box<Sleep>>,
    }

    impl http_body::Body for Slow {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
            if self.pieces == 1 {
                ready!(self.pause.as_mut().poll(context));
            }
            self.pieces += 1;
            Poll::Ready((self.pieces < 3).then(|| Ok(http_body::Frame::data(Bytes::from_static(PIECE)))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_is_written_even_if_nothing_follows() {
        let directory = TempDir::new().unwrap();
        let storage = open(&directory);
        let object = ObjectId::received_by(Uuid::nil());
        let path = directory.path().join(format!("objects/00/{object}"));
        let body = Slow { pieces: 0, pause: Box::pin(sleep(3 * GATHERING)) };
        let mut body = RequestBody::new(Body::new(body), 4 * GATHERING);
        let receiving = tokio::spawn(async move {
            let effect = Receive { object, meter: Meter::new(Algorithm::Sha256), keep: 0, pause: Duration::MAX };
            receive(&storage, &Receiving::default(), effect, &mut body, &mut None).await
        });
        sleep(2 * GATHERING).await;
        assert_eq!(std::fs::read(&path).unwrap().len(), PIECE.len());
        let received = receiving.await.unwrap().unwrap();
        assert_eq!((received.meter.count(), received.end), (2 * PIECE.len() as u64, BodyEnd::Whole));
        assert_eq!(std::fs::read(&path).unwrap(), [PIECE, PIECE].concat());
    }

    #[tokio::test]
    async fn no_byte_is_kept_past_the_room_of_the_meter() {
        let directory = TempDir::new().unwrap();
        let storage = open(&directory);
        let bytes: Vec<u8> = (0..300_000_u32).map(|index| (index % 251) as u8).collect();
        let check = async |number, limit, mut body: RequestBody, kept: usize, end| {
            let object = ObjectId::received_by(Uuid::from_u128(number));
            let meter = Meter::new(Algorithm::Sha256).with_limit(limit);
            let effect = Receive { object, meter, keep: 0, pause: Duration::MAX };
            let received = receive(&storage, &Receiving::default(), effect, &mut body, &mut None).await.unwrap();
            assert_eq!((received.meter.count(), received.end), (kept as u64, end), "check {number}");
            assert_eq!(received.meter.digest(), Algorithm::Sha256.digest(&bytes[..kept]));
            let path = directory.path().join(format!("objects/00/{object}"));
            assert_eq!(std::fs::read(path).unwrap_or_default(), bytes[..kept], "check {number}");
        };
        let whole = || RequestBody::from_bytes(bytes.clone());
        check(1, u64::MAX, whole(), 300_000, BodyEnd::Whole).await;
        check(2, 300_000, whole(), 300_000, BodyEnd::Whole).await;
        check(3, 299_999, whole(), 299_999, BodyEnd::TooLarge).await;
        check(4, 1, whole(), 1, BodyEnd::TooLarge).await;
        check(5, 0, whole(), 0, BodyEnd::TooLarge).await;
        check(6, 0, RequestBody::empty(), 0, BodyEnd::Whole).await;
        check(7, 10, RequestBody::cut_after(bytes[..5].to_vec()), 5, BodyEnd::Cut).await;
        check(8, 10, RequestBody::cut_after(bytes[..0].to_vec()), 0, BodyEnd::Cut).await;
        check(9, 4, RequestBody::cut_after(bytes[..5].to_vec()), 4, BodyEnd::TooLarge).await;
    }
}
