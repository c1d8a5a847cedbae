//! The body of a response: bytes in memory, and ranges of objects as the store gives them.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http_body::{Body, Frame, SizeHint};
use object_store::GetOptions;
use orlop_core::http::Piece;
use orlop_core::object::ObjectId;
use orlop_core::{Asked, Fault};

use super::Objects;
use super::fault::fault;

type Bytestream = BoxStream<'static, object_store::Result<Bytes>>;

/// A streamed body whose first object is there.
pub(crate) struct Content {
    objects: Objects,
    pieces: VecDeque<Piece>,
    first: Option<Bytestream>,
}

impl Content {
    /// Begins to read the first object of a body; `None` when it is not there.
    pub(super) async fn open(objects: &Objects, pieces: Vec<Piece>) -> Result<Option<Self>, Fault> {
        let first = pieces.iter().find_map(|piece| match piece {
            Piece::Slice(object, range) if !range.is_empty() => Some((*object, range.clone())),
            _ => None,
        });
        let first = match first {
            None => None,
            Some((object, range)) => match begin(objects.clone(), object, range).await? {
                None => return Ok(None),
                some => some,
            },
        };
        Ok(Some(Self { objects: objects.clone(), pieces: pieces.into(), first }))
    }

    /// It as a body, in answer to a request.
    pub(in crate::storage) fn into_body(self, asked: Arc<Asked>) -> ContentBody {
        let length = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Slice(_, range) => range.end.saturating_sub(range.start),
        };
        let remaining = self.pieces.iter().map(length).sum();
        let Self { objects, pieces, first } = self;
        ContentBody { objects, pieces, remaining, first, reading: Reading::Nothing, asked }
    }
}

/// Begins to read a range of an object; `None` when the object is not there.
async fn begin(objects: Objects, object: ObjectId, range: Range<u64>) -> Result<Option<Bytestream>, Fault> {
    let path = objects.layout.path(&object);
    match objects.store.get_opts(&path, GetOptions::new().with_range(Some(range))).await {
        // The store breaks off now and then: the rest is asked for again by itself.
        Ok(found) => Ok(Some(found.into_stream())),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(fault("read", &path, &error)),
    }
}

/// Ranges of objects, as a body of hyper.
pub(crate) struct ContentBody {
    objects: Objects,
    pieces: VecDeque<Piece>,
    /// How many bytes are still to come.
    remaining: u64,
    /// What was begun when the body was opened.
    first: Option<Bytestream>,
    reading: Reading,
    /// What the log says when it cannot be sent.
    asked: Arc<Asked>,
}

/// Where the body is in its first piece.
enum Reading {
    Nothing,
    Beginning(BoxFuture<'static, Result<Option<Bytestream>, Fault>>, ObjectId, u64),
    Stream(Bytestream, ObjectId, u64),
}

impl ContentBody {
    /// The next bytes; none at the end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            match &mut self.reading {
                Reading::Nothing => match self.pieces.pop_front() {
                    None => return Poll::Ready(None),
                    Some(Piece::Bytes(bytes)) if bytes.is_empty() => {}
                    Some(Piece::Bytes(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                    Some(Piece::Slice(_, range)) if range.is_empty() => {}
                    Some(Piece::Slice(object, range)) => {
                        let left = range.end - range.start;
                        self.reading = match self.first.take() {
                            Some(stream) => Reading::Stream(stream, object, left),
                            None => {
                                let begun = begin(self.objects.clone(), object, range);
                                Reading::Beginning(Box::pin(begun), object, left)
                            }
                        };
                    }
                },
                Reading::Beginning(begun, object, left) => {
                    let (object, left) = (*object, *left);
                    let found = ready!(begun.as_mut().poll(context));
                    self.reading = Reading::Nothing;
                    match found {
                        Ok(Some(stream)) => self.reading = Reading::Stream(stream, object, left),
                        Ok(None) => {
                            return Poll::Ready(Some(Err(Fault::Failed(format!("the object {object} is gone")))));
                        }
                        Err(fault) => return Poll::Ready(Some(Err(fault))),
                    }
                }
                Reading::Stream(_, _, 0) => self.reading = Reading::Nothing,
                Reading::Stream(stream, object, left) => {
                    let path = self.objects.layout.path(object);
                    let short = || Fault::Failed(format!("the store has sent too little of {path}"));
                    return Poll::Ready(Some(match ready!(stream.poll_next_unpin(context)) {
                        None => Err(short()),
                        Some(Err(error)) => Err(fault("read", &path, &error)),
                        Some(Ok(mut bytes)) => {
                            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                            *left -= bytes.len() as u64;
                            if bytes.is_empty() {
                                continue;
                            }
                            Ok(bytes)
                        }
                    }));
                }
            }
        }
    }
}

impl Body for ContentBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let bytes = match ready!(this.poll_next(context)) {
            None => return Poll::Ready(None),
            Some(Ok(bytes)) => bytes,
            Some(Err(fault)) => {
                // The head is sent, so all that is left is to break off.
                tracing::error!(target = this.asked.request.target, "a blob cannot be sent to its end: {fault}");
                return Poll::Ready(Some(Err(io::Error::other(fault))));
            }
        };
        this.remaining -= bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
