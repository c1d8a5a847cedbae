//! The body of a response: bytes in memory, and ranges of objects as the store gives them.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use orlop_core::http::{Piece, Pieces};
use orlop_core::{Asked, Fault};

use super::Objects;
use super::read::Bytestream;
use super::verify::Verify;
use crate::storage::disk::{ContentBody, Outbox, Part, Parts};

/// A streamed body whose first object is there.
pub(crate) struct Content {
    objects: Objects,
    length: u64,
    sending: Sending,
}

/// What is still to be sent.
pub(crate) struct Sending {
    from: Bytestream,
    /// Of a whole blob, what its bytes are held against.
    verify: Option<Verify>,
}

impl Content {
    /// Begins to read the first object of a body; `None` when it is not there.
    pub(super) async fn open(objects: &Objects, pieces: Pieces) -> Result<Option<Self>, Fault> {
        let length = pieces.iter().map(Piece::length).sum();
        let verify = pieces.part.is_none().then(|| Verify::new(objects, &pieces));
        let Some(from) = objects.read_all(pieces.into_sent()).await? else { return Ok(None) };
        Ok(Some(Self { objects: objects.clone(), length, sending: Sending { from, verify } }))
    }

    /// It as a body, in answer to a request. `outbox` is that of the connection, if it can send files.
    pub(in crate::storage) fn into_body(self, outbox: Option<Outbox>, asked: Arc<Asked>) -> ContentBody<Sending> {
        ContentBody::new(self.sending, self.length, &self.objects.buffers, outbox, Some(asked))
    }
}

impl Parts for Sending {
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Part, Fault>>> {
        let Some(came) = ready!(self.from.poll_next_unpin(context)) else { return Poll::Ready(None) };
        let passed = came.and_then(|bytes| match &mut self.verify {
            Some(verify) => verify.pass(&bytes).map(|()| bytes),
            None => Ok(bytes),
        });
        Poll::Ready(Some(passed.map(Part::Bytes)))
    }
}
