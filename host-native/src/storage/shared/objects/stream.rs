//! The body of a response: bytes in memory, and ranges of a blob as the store gives them, or from a file of the cache.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use orlop_core::http::{Piece, Pieces};
use orlop_core::{Asked, Fault};

use super::Objects;
use super::read::Bytestream;
use super::verify::{Place, Verify};
use crate::storage::disk::{ContentBody, Opened, Outbox, Part, Parts};
use crate::storage::shared::cache::{End, Progress, Progressing, Source, beginnings};

/// How far a range may begin behind what a file has that is being filled. One that begins later is read from the store, so
/// that nobody waits for gigabytes to get some bytes.
const AHEAD: u64 = 4 << 20;

/// A streamed body whose first object is there.
pub(crate) struct Content {
    objects: Objects,
    length: u64,
    sending: Sending,
}

impl Content {
    /// Opens a body in the cache, or begins to read its first object; `None` when that is not there.
    pub(super) async fn open(objects: &Objects, pieces: Pieces) -> Result<Option<Self>, Fault> {
        let length = pieces.iter().map(Piece::length).sum();
        let source = match &objects.cache {
            Some(cache) => cache.find(objects, &pieces).await,
            None => None,
        };
        let Some(source) = source else {
            let whole = pieces.digest.filter(|_| pieces.part.is_none());
            let verify = whole.map(|digest| Verify::new(objects, digest, &pieces));
            let Some(stream) = objects.read_all(pieces.into_sent()).await? else { return Ok(None) };
            let sending = Sending { cached: None, from: From::Store(stream, verify) };
            return Ok(Some(Self { objects: objects.clone(), length, sending }));
        };
        let mut cached = Cached { runs: runs(&pieces), objects: objects.clone(), pieces };
        let from = match source {
            Source::File(file) => From::File(file),
            Source::Fill(mut progressing) => {
                let start = cached.start();
                let begun = |progress: &Progress| {
                    progress.file.is_some() || progress.end.is_some() || start > progress.filled + AHEAD
                };
                // Whoever reads it says why it ends before it drops this.
                let progress = progressing.wait_for(begun).await.map(|progress| progress.clone()).unwrap_or_default();
                match progress.end {
                    Some(End::Gone) => return Ok(None),
                    Some(End::Failed(fault)) if progress.filled == 0 => return Err(fault),
                    _ if progress.file.is_some() => From::Fill(progressing, None),
                    end => {
                        let verify = match end {
                            Some(End::Stopped(verify)) if cached.pieces.part.is_none() => Some(*verify),
                            _ => None,
                        };
                        let Some(stream) = objects.read_all(cached.rest()).await? else { return Ok(None) };
                        From::Store(stream, verify)
                    }
                }
            }
        };
        Ok(Some(Self { objects: objects.clone(), length, sending: Sending { cached: Some(cached), from } }))
    }

    /// It as a body, in answer to a request. `outbox` is that of the connection, if it can send files.
    pub(in crate::storage) fn into_body(self, outbox: Option<Outbox>, asked: Arc<Asked>) -> ContentBody<Sending> {
        ContentBody::new(self.sending, self.length, &self.objects.buffers, outbox, Some(asked))
    }
}

/// What is still to be sent.
pub(crate) struct Sending {
    /// What is left of a body that was begun from a file.
    cached: Option<Cached>,
    from: From,
}

/// Where the bytes come from.
enum From {
    /// The store; of a whole blob they are held against its digest.
    Store(Bytestream, Option<Verify>),
    /// The store, which is asked for them.
    Beginning(BoxFuture<'static, Result<Option<Bytestream>, Fault>>, Option<Verify>),
    /// A file that has all.
    File(Arc<Opened>),
    /// A file that is being filled; and the wait for more of it.
    Fill(Progressing, Option<BoxFuture<'static, ()>>),
}

/// What is left of a body that was begun from a file of the cache.
struct Cached {
    objects: Objects,
    pieces: Pieces,
    runs: VecDeque<Run>,
}

/// Bytes to be sent, in the terms of a file that has the whole blob.
enum Run {
    Bytes(Bytes),
    Blob(Range<u64>),
}

/// What is to be sent. A whole blob is one run.
fn runs(pieces: &Pieces) -> VecDeque<Run> {
    let Some(part) = &pieces.part else {
        return [Run::Blob(0..pieces.blob.iter().map(Piece::length).sum())].into();
    };
    let beginnings = beginnings(pieces);
    let run = |piece: &Piece| match piece {
        Piece::Bytes(bytes) => Run::Bytes(bytes.clone()),
        Piece::Slice(object, range) => {
            // A part is of the objects of its blob.
            let begin = beginnings.get(object).copied().unwrap_or_default();
            Run::Blob(begin + range.start..begin + range.end)
        }
    };
    part.iter().map(run).collect()
}

impl Cached {
    /// Where the first run of the file begins.
    fn start(&self) -> u64 {
        let start = |run: &Run| match run {
            Run::Bytes(_) => None,
            Run::Blob(range) => Some(range.start),
        };
        self.runs.iter().find_map(start).unwrap_or_default()
    }

    /// What is left, as pieces of objects.
    fn rest(&mut self) -> Vec<Piece> {
        let mut rest = Vec::new();
        for run in self.runs.drain(..) {
            let range = match run {
                Run::Bytes(bytes) => {
                    rest.push(Piece::Bytes(bytes));
                    continue;
                }
                Run::Blob(range) => range,
            };
            let mut begin = 0;
            for piece in &self.pieces.blob {
                let here = begin..begin + piece.length();
                begin = here.end;
                let within = range.start.max(here.start)..range.end.min(here.end);
                if within.is_empty() {
                    continue;
                }
                let within = within.start - here.start..within.end - here.start;
                rest.push(match piece {
                    Piece::Bytes(bytes) => Piece::Bytes(bytes.slice(within.start as usize..within.end as usize)),
                    Piece::Slice(object, of) => Piece::Slice(*object, of.start + within.start..of.start + within.end),
                });
            }
        }
        rest
    }

    /// The rest of it from the store.
    fn beginning(&mut self, verify: Option<Verify>) -> From {
        let (objects, rest) = (self.objects.clone(), self.rest());
        From::Beginning(Box::pin(async move { objects.read_all(rest).await }), verify)
    }
}

impl Sending {
    /// The next part from a file; `None` when it is to come from the store.
    fn poll_file(&mut self, context: &mut Context<'_>) -> Poll<Option<Option<Result<Part, Fault>>>> {
        let Some(cached) = &mut self.cached else { return Poll::Ready(None) };
        let range = match cached.runs.front_mut() {
            None => return Poll::Ready(Some(None)),
            Some(Run::Blob(range)) if !range.is_empty() => range,
            Some(_) => {
                let bytes = match cached.runs.pop_front() {
                    Some(Run::Bytes(bytes)) => bytes,
                    _ => Bytes::new(),
                };
                return Poll::Ready(Some(Some(Ok(Part::Bytes(bytes)))));
            }
        };
        let (file, until) = match &mut self.from {
            From::Store(..) | From::Beginning(..) => return Poll::Ready(None),
            From::File(file) => (file.clone(), range.end),
            From::Fill(progressing, waiting) => loop {
                if let Some(wait) = waiting {
                    ready!(wait.as_mut().poll(context));
                    *waiting = None;
                }
                let Progress { file, filled, end } = progressing.borrow_and_update().clone();
                match (file, end) {
                    (Some(file), _) if filled > range.start => break (file, filled.min(range.end)),
                    (_, Some(End::Failed(fault))) => return Poll::Ready(Some(Some(Err(fault)))),
                    (_, Some(end)) => {
                        let verify = match end {
                            End::Stopped(verify) if cached.pieces.part.is_none() => Some(*verify),
                            _ => None,
                        };
                        self.from = cached.beginning(verify);
                        return Poll::Ready(None);
                    }
                    (_, None) if range.start > filled + AHEAD => {
                        self.from = cached.beginning(None);
                        return Poll::Ready(None);
                    }
                    (_, None) => {
                        let mut progressing = progressing.clone();
                        *waiting = Some(Box::pin(async move {
                            let _ = progressing.changed().await;
                        }));
                    }
                }
            },
        };
        let part = range.start..until;
        range.start = until;
        Poll::Ready(Some(Some(Ok(Part::Slice(file, part)))))
    }

    /// The next bytes from the store.
    fn poll_store(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        if let From::Beginning(begun, verify) = &mut self.from {
            let found = ready!(begun.as_mut().poll(context));
            self.from = match found {
                Ok(Some(stream)) => From::Store(stream, verify.take()),
                Ok(None) => return Poll::Ready(Some(Err(Fault::Failed("an object of the blob is gone".into())))),
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            };
        }
        let From::Store(stream, verify) = &mut self.from else { return Poll::Ready(None) };
        let Some(came) = ready!(stream.poll_next_unpin(context)) else { return Poll::Ready(None) };
        Poll::Ready(Some(came.and_then(|bytes| match verify {
            Some(verify) => verify.pass(&bytes, Place::Store).map(|()| bytes),
            None => Ok(bytes),
        })))
    }
}

impl Parts for Sending {
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Part, Fault>>> {
        if matches!(self.from, From::File(_) | From::Fill(..))
            && let Some(part) = ready!(self.poll_file(context))
        {
            return Poll::Ready(part);
        }
        self.poll_store(context).map(|came| came.map(|bytes| bytes.map(Part::Bytes)))
    }

    fn unreadable(&mut self, rest: Range<u64>, fault: &Fault) -> bool {
        let Some(cached) = &mut self.cached else { return false };
        if let (Some(cache), Some(digest)) = (&cached.objects.cache, &cached.pieces.digest) {
            cache.unreadable(digest, fault);
        }
        cached.runs.push_front(Run::Blob(rest));
        self.from = cached.beginning(None);
        true
    }
}
