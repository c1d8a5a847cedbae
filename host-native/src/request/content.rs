//! The bytes of a blob as they are sent. What cannot be read is looked at, and so is what is not as its digest says: if the
//! blob is damaged, it is out of use from then on (SPEC W11, W12, W14).

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http_body::{Frame, SizeHint};
use orlop_core::digest::Digest;
use orlop_core::http::Pieces;
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;
use orlop_core::{Fault, Registry, Suspected};
use tokio::sync::Semaphore;

use crate::storage::{Host, RequestBody, ambient};

/// How many blobs are looked at at once: to look at one reads all of it.
const AT_ONCE: usize = 2;

/// What comes of a look at a blob, for all who ask at the same time; none when that cannot be seen now.
type Look = Shared<BoxFuture<'static, Option<Suspected>>>;

/// The blobs that are being looked at. However many clients meet the same damage, its bytes are read once.
pub(crate) struct Looks {
    under_way: Mutex<HashMap<Digest, Look>>,
    room: Semaphore,
}

impl Default for Looks {
    fn default() -> Self {
        Self { under_way: Mutex::default(), room: Semaphore::new(AT_ONCE) }
    }
}

impl Looks {
    fn under_way(&self) -> MutexGuard<'_, HashMap<Digest, Look>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blob, and who looks at it when something is wrong.
#[derive(Clone)]
pub(super) struct Looking {
    pub(super) host: Arc<Host>,
    pub(super) registry: Registry,
    pub(super) looks: Arc<Looks>,
    pub(super) digest: Digest,
    /// The objects of which all bytes are to be hashed as they are sent, if so.
    pub(super) objects: Vec<ObjectId>,
}

impl Looking {
    /// Whoever looks at the blob of which these are bytes, if they are of one.
    pub(super) fn at(pieces: &Pieces, host: &Arc<Host>, registry: &Registry, looks: &Arc<Looks>) -> Option<Self> {
        let objects = if pieces.verify { pieces.objects() } else { Vec::new() };
        let (host, registry, looks) = (host.clone(), registry.clone(), looks.clone());
        pieces.digest.map(|digest| Self { host, registry, looks, digest, objects })
    }

    /// Reads the blob, and puts it out of use if it is damaged. It goes on without whoever waits for it.
    pub(super) fn look(self) -> Look {
        let (looks, digest) = (self.looks.clone(), self.digest);
        let mut under_way = looks.under_way();
        let begin = || {
            let looking = tokio::spawn(async move {
                let suspected = self.read().await;
                self.looks.under_way().remove(&self.digest);
                suspected
            });
            async move { looking.await.unwrap_or_default() }.boxed().shared()
        };
        under_way.entry(digest).or_insert_with(begin).clone()
    }

    async fn read(&self) -> Option<Suspected> {
        let Self { host, registry, looks, digest, .. } = self;
        // Nobody closes it.
        let _room = looks.room.acquire().await;
        match host.run(registry.suspect(*digest, ambient()), &mut RequestBody::empty()).await {
            Ok(suspected) => Some(suspected),
            Err(fault) => {
                tracing::warn!(%digest, "whether a blob is damaged cannot be seen now: {fault}");
                None
            }
        }
    }

    /// Notes that its bytes are those of its digest.
    fn note_sound(self) {
        tokio::spawn(async move {
            let Self { host, registry, digest, objects, .. } = self;
            let noted = host.run(registry.verified(digest, objects, ambient()), &mut RequestBody::empty()).await;
            if let Err(fault) = noted {
                tracing::warn!(%digest, "that a blob was read, and is sound, is not noted: {fault}");
            }
        });
    }
}

/// Reads a blob that cannot be opened, and puts it out of use if it is damaged. Whether that is known now: either it is out of
/// use, or it was brought anew meanwhile.
pub(super) async fn is_judged(looking: Option<Looking>) -> bool {
    match looking {
        Some(looking) => looking.look().await.is_some(),
        None => false,
    }
}

/// The body of an answer with a blob or a part of it. With `verify` it is all of the blob, and is held against its digest:
/// the last bytes are sent only if that is right.
pub(super) fn watched(looking: Option<Looking>, body: Body, verify: bool) -> Body {
    let Some(looking) = looking else { return body };
    let meter = verify.then(|| Meter::new(looking.digest.algorithm()));
    let left = http_body::Body::size_hint(&body).exact().unwrap_or(u64::MAX);
    Body::new(Watched { body, meter, left, looking: Some(looking) })
}

struct Watched {
    body: Body,
    meter: Option<Meter>,
    /// How many bytes are still to be sent.
    left: u64,
    /// Nothing once it was told.
    looking: Option<Looking>,
}

impl Watched {
    /// Shows the next bytes to the meter. Whether they may be sent.
    fn passes(&mut self, bytes: &Bytes) -> bool {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        let (Some(meter), Some(looking)) = (&mut self.meter, &self.looking) else { return true };
        meter.update(bytes);
        if self.left > 0 {
            return true;
        }
        let sound = meter.digest() == looking.digest;
        if let (true, Some(looking)) = (sound, self.looking.take_if(|_| sound)) {
            looking.note_sound();
        }
        sound
    }

    fn fail(&mut self, error: io::Error) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(looking) = self.looking.take() {
            // It is looked at while the connection ends.
            drop(looking.look());
        }
        Poll::Ready(Some(Err(error)))
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        match ready!(Pin::new(&mut this.body).poll_frame(context)) {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(bytes) if !this.passes(&bytes.clone()) => {
                    this.fail(io::Error::other("the bytes of the blob are not those of its digest"))
                }
                _ => Poll::Ready(Some(Ok(frame))),
            },
            // What may well be read in a moment says nothing of the blob.
            Some(Err(error)) if is_passing(&error) => Poll::Ready(Some(Err(io::Error::other(error)))),
            Some(Err(error)) => this.fail(io::Error::other(error)),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether bytes cannot be read for now only.
fn is_passing(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(fault) = error.downcast_ref::<Fault>() {
            return matches!(fault, Fault::Unavailable(_));
        }
        // An error of I/O names what is below its own cause.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_that_is_away_for_now_is_told_from_bytes_that_are_wrong() {
        let told =
            |fault: Fault| is_passing(&axum::Error::new(io::Error::other(axum::Error::new(io::Error::other(fault)))));
        assert!(told(Fault::Unavailable("it does not answer".into())));
        assert!(!told(Fault::Failed("other bytes".into())));
        assert!(!is_passing(&io::Error::other("the bytes are wrong")));
    }
}
