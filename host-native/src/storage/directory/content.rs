//! The body of a response, as pieces of objects in their files.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use orlop_core::http::Piece;
use orlop_core::object::ObjectId;
use orlop_core::{Asked, Fault};
use tokio::task::JoinHandle;

use crate::storage::directory::files::Files;
use crate::storage::disk::{Buffers, ContentBody, Opened, Outbox, Part, Parts, blocking};

/// How many objects are open from the beginning: all that most blobs have. These can be read to their end even if they
/// are erased meanwhile. Of a blob of more objects the rest is opened when it comes to that, so that no client takes
/// many open files by reading slowly.
const OPEN_AT_ONCE: usize = 8;

/// A streamed body whose first objects are open.
pub(crate) struct Content {
    buffers: Buffers,
    objects: Objects,
}

/// The pieces of objects that are still to be sent.
pub(crate) struct Objects {
    files: Files,
    pieces: VecDeque<Held>,
    /// The object of the first piece, while it is opened on a thread that may wait for the disk.
    opening: Option<JoinHandle<Result<Opened, Fault>>>,
}

enum Held {
    Bytes(Bytes),
    Slice { object: ObjectId, range: Range<u64>, opened: Option<Arc<Opened>> },
}

impl Content {
    /// Opens the first objects of a body; `None` when one of them is not there.
    pub(super) async fn open(files: &Files, buffers: &Buffers, sent: Vec<Piece>) -> Result<Option<Self>, Fault> {
        let mut pieces = VecDeque::with_capacity(sent.len());
        let (mut opened, mut last): (usize, Option<(ObjectId, Arc<Opened>)>) = (0, None);
        for piece in sent {
            let (object, range) = match piece {
                Piece::Bytes(bytes) => {
                    pieces.push_back(Held::Bytes(bytes));
                    continue;
                }
                Piece::Slice(object, range) => (object, range),
            };
            // Several ranges may be of one object.
            if last.as_ref().is_none_or(|(last, _)| *last != object) {
                last = None;
                if opened < OPEN_AT_ONCE {
                    // To hand this to another thread costs several times as much as it does.
                    let found = match files.open_cached(&object) {
                        Some(found) => found,
                        None => {
                            let files = files.clone();
                            let found = blocking::run(move || files.open_now(&object)).await?;
                            let Some(found) = found else { return Ok(None) };
                            found
                        }
                    };
                    opened += 1;
                    last = Some((object, Arc::new(found)));
                }
            }
            let opened = last.as_ref().map(|(_, opened)| opened.clone());
            pieces.push_back(Held::Slice { object, range, opened });
        }
        let objects = Objects { files: files.clone(), pieces, opening: None };
        Ok(Some(Self { buffers: buffers.clone(), objects }))
    }

    /// It as a body, in answer to a request. `outbox` is that of the connection, if it can send files.
    pub(in crate::storage) fn into_body(
        self,
        outbox: Option<Outbox>,
        asked: Option<Arc<Asked>>,
    ) -> ContentBody<Objects> {
        let length = |piece: &Held| match piece {
            Held::Bytes(bytes) => bytes.len() as u64,
            Held::Slice { range, .. } => range.end.saturating_sub(range.start),
        };
        let length = self.objects.pieces.iter().map(length).sum();
        ContentBody::new(self.objects, length, &self.buffers, outbox, asked)
    }
}

impl Parts for Objects {
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Part, Fault>>> {
        let found = match &mut self.opening {
            None => None,
            Some(opening) => {
                let opened = blocking::finished(ready!(Pin::new(opening).poll(context)));
                self.opening = None;
                match opened {
                    Ok(opened) => Some(Arc::new(opened)),
                    Err(fault) => return Poll::Ready(Some(Err(fault))),
                }
            }
        };
        let (object, range, opened) = match self.pieces.pop_front() {
            None => return Poll::Ready(None),
            Some(Held::Bytes(bytes)) => return Poll::Ready(Some(Ok(Part::Bytes(bytes)))),
            Some(Held::Slice { object, range, opened }) => (object, range, opened),
        };
        let opened = found.or(opened).or_else(|| self.files.open_cached(&object).map(Arc::new));
        if let Some(opened) = opened {
            return Poll::Ready(Some(Ok(Part::Slice(opened, range))));
        }
        self.pieces.push_front(Held::Slice { object, range, opened: None });
        let files = self.files.clone();
        self.opening = Some(blocking::begin(move || {
            files.open_now(&object)?.ok_or_else(|| Fault::Failed(format!("the object {object} is gone")))
        }));
        self.poll_part(context)
    }
}
