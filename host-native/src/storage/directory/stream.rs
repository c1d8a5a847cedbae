//! The body of a response: bytes in memory, and pieces of objects read from their files as fast as the client takes
//! them.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use orlop_core::http::Piece;
use orlop_core::object::ObjectId;
use orlop_core::{Asked, Fault};
use tokio::task::JoinHandle;

use crate::storage::blocking;
use crate::storage::directory::files::{Files, Opened};
use crate::storage::directory::sendfile::{self, Outbox};

/// How many bytes are read from a file at once. A client holds two of these at most, one in its socket's queue and
/// one that is read.
const READ: usize = 128 << 10;

/// What is shorter than this is cheaper to read, and to send with the head of the answer, than to send by the kernel.
const SENT_BY_THE_KERNEL: u64 = 32 << 10;

/// How many buffers are kept for the next reader: what a few dozen clients at once use.
const KEPT: usize = 32;

/// How many objects are open from the beginning: all that most blobs have. These can be read to their end even if they
/// are erased meanwhile. Of a blob of more objects the rest is opened when it comes to that, so that no client takes
/// many open files by reading slowly.
const OPEN_AT_ONCE: usize = 8;

/// A streamed body whose first objects are open.
pub(crate) struct Content {
    files: Files,
    buffers: Buffers,
    parts: VecDeque<Part>,
}

/// What is still to be sent.
enum Part {
    Bytes(Bytes),
    Slice { object: ObjectId, range: Range<u64>, opened: Option<Arc<Opened>> },
}

impl Content {
    /// Opens the first objects of a body; `None` when one of them is not there.
    pub(super) async fn open(files: &Files, buffers: &Buffers, pieces: Vec<Piece>) -> Result<Option<Self>, Fault> {
        let mut parts = VecDeque::with_capacity(pieces.len());
        let (mut opened, mut last): (usize, Option<(ObjectId, Arc<Opened>)>) = (0, None);
        for piece in pieces {
            let (object, range) = match piece {
                Piece::Bytes(bytes) => {
                    parts.push_back(Part::Bytes(bytes));
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
            parts.push_back(Part::Slice { object, range, opened });
        }
        Ok(Some(Self { files: files.clone(), buffers: buffers.clone(), parts }))
    }

    /// It as a body, in answer to a request. `outbox` is that of the connection, if it can send files.
    pub(in crate::storage) fn into_body(self, outbox: Option<Outbox>, asked: Option<Arc<Asked>>) -> ContentBody {
        let Self { files, buffers, parts } = self;
        let length = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::Slice { range, .. } => range.end.saturating_sub(range.start),
        };
        let remaining = parts.iter().map(length).sum();
        ContentBody { files, buffers, outbox, parts, remaining, waiting: None, asked }
    }
}

/// Pieces of objects, as a body of hyper.
///
/// On a connection that can do so, what is in memory is sent by the kernel from where it is.
pub(crate) struct ContentBody {
    files: Files,
    buffers: Buffers,
    /// Where to leave files to be sent, if the connection can do that.
    outbox: Option<Outbox>,
    parts: VecDeque<Part>,
    /// How many bytes are still to come.
    remaining: u64,
    /// What is done on a thread that may wait for the disk.
    waiting: Option<JoinHandle<Result<Waited, Fault>>>,
    /// What the log says when it cannot be sent.
    asked: Option<Arc<Asked>>,
}

/// What came of waiting for the disk.
enum Waited {
    Read(Bytes),
    /// The object of the first part.
    Opened(Opened),
}

/// What to do next.
enum Next {
    Send(io::Result<Bytes>),
    Wait,
    End,
}

impl ContentBody {
    /// The next bytes, if they are there; otherwise there is nothing left, or the disk has to be waited for.
    fn next(&mut self) -> Next {
        while let Some(part) = self.parts.pop_front() {
            let (object, mut range, opened) = match part {
                Part::Bytes(bytes) if bytes.is_empty() => continue,
                Part::Bytes(bytes) => return Next::Send(Ok(bytes)),
                Part::Slice { range, .. } if range.is_empty() => continue,
                Part::Slice { object, range, opened } => (object, range, opened),
            };
            let opened = opened.or_else(|| self.files.open_cached(&object).map(Arc::new));
            let sent = match &opened {
                Some(opened) => self.take(opened, &mut range),
                None => {
                    let files = self.files.clone();
                    self.waiting = Some(blocking::begin(move || {
                        let gone = || Fault::Failed(format!("the object {object} is gone"));
                        files.open_now(&object)?.ok_or_else(gone).map(Waited::Opened)
                    }));
                    None
                }
            };
            self.parts.push_front(Part::Slice { object, range, opened });
            return sent.map_or(Next::Wait, Next::Send);
        }
        Next::End
    }

    /// The beginning of a slice: to be sent from where it is, or read. If it is not in memory, that is done on a thread
    /// that may wait for the disk.
    fn take(&mut self, object: &Arc<Opened>, range: &mut Range<u64>) -> Option<io::Result<Bytes>> {
        if let Some(outbox) = &self.outbox
            && range.end - range.start >= SENT_BY_THE_KERNEL
        {
            let piece = range.start..range.end.min(range.start + sendfile::MOST as u64);
            if object.is_cached(piece.clone()) {
                range.start = piece.end;
                let more = self.remaining > piece.end - piece.start;
                return Some(outbox.stand_in(object, piece, more));
            }
        }
        self.read(object, range).map(Ok)
    }

    /// Reads the beginning of a slice: at once if it is in memory, else on another thread.
    fn read(&mut self, object: &Arc<Opened>, range: &mut Range<u64>) -> Option<Bytes> {
        let wanted = (READ as u64).min(range.end - range.start) as usize;
        let mut buffer = self.buffers.take();
        if let Some(read) = object.read_cached(&mut buffer.bytes[..wanted], range.start) {
            range.start += read as u64;
            return Some(Bytes::from_owner(buffer).slice(..read));
        }
        let (object, from) = (object.clone(), range.start);
        range.start += wanted as u64;
        self.waiting = Some(blocking::begin(move || {
            object.read(&mut buffer.bytes[..wanted], from)?;
            Ok(Waited::Read(Bytes::from_owner(buffer).slice(..wanted)))
        }));
        None
    }

    /// The next bytes, once they are there; none at the end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                let waited = ready!(Pin::new(waiting).poll(context));
                self.waiting = None;
                match blocking::finished(waited) {
                    Ok(Waited::Read(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                    Ok(Waited::Opened(found)) => {
                        if let Some(Part::Slice { opened, .. }) = self.parts.front_mut() {
                            *opened = Some(Arc::new(found));
                        }
                    }
                    Err(fault) => return Poll::Ready(Some(Err(io::Error::other(fault)))),
                }
            }
            match self.next() {
                Next::Send(bytes) => return Poll::Ready(Some(bytes)),
                Next::End => return Poll::Ready(None),
                Next::Wait => {}
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
            Some(Err(error)) => {
                // The head is sent, so all that is left is to break off.
                let target = this.asked.as_ref().map_or("", |asked| &asked.request.target);
                tracing::error!(target, "a blob cannot be sent to its end: {error}");
                return Poll::Ready(Some(Err(error)));
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

/// Buffers that go back to be used again: to get one from the allocator, zeroed, each time costs a fifth of the
/// throughput and scatters the heap.
#[derive(Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

/// One of them, until it is dropped.
struct Buffer {
    bytes: Box<[u8]>,
    kept: Buffers,
}

impl Buffers {
    fn take(&self) -> Buffer {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: kept.unwrap_or_else(|| vec![0; READ].into()), kept: self.clone() }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}
