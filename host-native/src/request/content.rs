//! The bytes of a blob as they are sent. What cannot be read is looked at, and so is what is not as its digest says: if the
//! blob is damaged, it is out of use from then on (SPEC W11, W12).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use orlop_core::digest::Digest;
use orlop_core::meter::Meter;
use orlop_core::{Fault, Registry};

use crate::storage::{Host, RequestBody, ambient};

/// A blob, and who looks at it when something is wrong.
#[derive(Clone)]
pub(super) struct Looking {
    pub(super) host: Arc<Host>,
    pub(super) registry: Registry,
    pub(super) digest: Digest,
}

impl Looking {
    /// Reads the blob, and puts it out of use if it is damaged. Whether it is.
    pub(super) async fn look(&self) -> Result<bool, Fault> {
        let Self { host, registry, digest } = self;
        let damaged = host.run(registry.suspect(*digest, ambient()), &mut RequestBody::empty()).await;
        match &damaged {
            Ok(true) => tracing::error!(%digest, "a blob is damaged, and out of use until it is pushed again"),
            Ok(false) => {}
            Err(fault) => tracing::warn!(%digest, "whether a blob is damaged cannot be seen now: {fault}"),
        }
        damaged
    }

    /// The same, while the connection ends.
    fn look_later(self) {
        tokio::spawn(async move { self.look().await });
    }

    /// Notes that its bytes are those of its digest.
    fn note_sound(self) {
        tokio::spawn(async move {
            let Self { host, registry, digest } = self;
            let noted = host.run(registry.verified(digest, ambient()), &mut RequestBody::empty()).await;
            if let Err(fault) = noted {
                tracing::warn!(%digest, "that a blob was read, and is sound, is not noted: {fault}");
            }
        });
    }

    /// The body of an answer with the blob or a part of it. With `verify` it is all of the blob, and is held against its
    /// digest: the last bytes are sent only if that is right.
    pub(super) fn watch(self, body: Body, verify: bool) -> Body {
        let meter = verify.then(|| Meter::new(self.digest.algorithm()));
        let left = http_body::Body::size_hint(&body).exact().unwrap_or(u64::MAX);
        Body::new(Watched { body, meter, left, looking: Some(self) })
    }
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
            looking.look_later();
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
