//! The body of a response: bytes in memory, and pieces of files that are read as fast as the client takes them.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use orlop_core::{Asked, Fault};
use tokio::task::JoinHandle;

use crate::storage::disk::Opened;
use crate::storage::disk::blocking;
use crate::storage::disk::sendfile::{self, Outbox};

/// How many bytes are read from a file at once. A client holds two of these at most, one in its socket's queue and
/// one that is read.
const READ: usize = 128 << 10;

/// What is shorter than this is cheaper to read, and to send with the head of the answer, than to send by the kernel.
const SENT_BY_THE_KERNEL: u64 = 32 << 10;

/// How many buffers are kept for the next reader: what a few dozen clients at once use.
const KEPT: usize = 32;

/// What a body is made of, one part after the other.
pub(in crate::storage) trait Parts: Send + Unpin + 'static {
    /// The next part; none at the end.
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Part, Fault>>>;

    /// The bytes of a part that cannot be read from its file. Whether they come from elsewhere, as the next part.
    fn unreadable(&mut self, _rest: Range<u64>, _fault: &Fault) -> bool {
        false
    }
}

/// A part of a body.
pub(in crate::storage) enum Part {
    Bytes(Bytes),
    /// These bytes of a file, which has them.
    Slice(Arc<Opened>, Range<u64>),
}

/// Parts, as a body of hyper.
///
/// On a connection that can do so, what is in memory is sent by the kernel from where it is.
pub(crate) struct ContentBody<P> {
    parts: P,
    /// What is left of the part that is being sent, if that is of a file.
    slice: Option<(Arc<Opened>, Range<u64>)>,
    buffers: Buffers,
    /// Where to leave files to be sent, if the connection can do that.
    outbox: Option<Outbox>,
    /// How many bytes are still to come.
    remaining: u64,
    /// The beginning of the slice, read on a thread that may wait for the disk.
    waiting: Option<JoinHandle<Result<Bytes, Fault>>>,
    /// What the log says when it cannot be sent.
    asked: Option<Arc<Asked>>,
}

impl<P: Parts> ContentBody<P> {
    /// A body of `length` bytes, in answer to a request. `outbox` is that of the connection, if it can send files.
    pub(in crate::storage) fn new(
        parts: P,
        length: u64,
        buffers: &Buffers,
        outbox: Option<Outbox>,
        asked: Option<Arc<Asked>>,
    ) -> Self {
        Self { parts, slice: None, buffers: buffers.clone(), outbox, remaining: length, waiting: None, asked }
    }

    /// The beginning of a slice: to be sent from where it is, or read. If it is not in memory, that is done on a thread
    /// that may wait for the disk.
    fn take(&mut self, file: &Arc<Opened>, range: &mut Range<u64>) -> Option<Result<Bytes, Fault>> {
        if let Some(outbox) = &self.outbox
            && range.end - range.start >= SENT_BY_THE_KERNEL
        {
            let piece = range.start..range.end.min(range.start + sendfile::MOST as u64);
            if file.is_cached(piece.clone()) {
                range.start = piece.end;
                let more = self.remaining > piece.end - piece.start;
                return Some(outbox.stand_in(file, piece, more));
            }
        }
        self.read(file, range).map(Ok)
    }

    /// Reads the beginning of a slice: at once if it is in memory, else on another thread.
    fn read(&mut self, file: &Arc<Opened>, range: &mut Range<u64>) -> Option<Bytes> {
        let wanted = (READ as u64).min(range.end - range.start) as usize;
        let mut buffer = self.buffers.take();
        if let Some(read) = file.read_cached(&mut buffer.bytes[..wanted], range.start) {
            range.start += read as u64;
            return Some(Bytes::from_owner(buffer).slice(..read));
        }
        let (file, from) = (file.clone(), range.start);
        self.waiting = Some(blocking::begin(move || {
            file.read(&mut buffer.bytes[..wanted], from)?;
            Ok(Bytes::from_owner(buffer).slice(..wanted))
        }));
        None
    }

    /// The next bytes, once they are there; none at the end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                let read = blocking::finished(ready!(Pin::new(waiting).poll(context)));
                self.waiting = None;
                match (read, &mut self.slice) {
                    (Ok(bytes), Some((_, range))) => {
                        range.start += bytes.len() as u64;
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    (Err(fault), slice) => {
                        let rest = slice.take().map(|(_, range)| range);
                        if !rest.is_some_and(|rest| self.parts.unreadable(rest, &fault)) {
                            return Poll::Ready(Some(Err(fault)));
                        }
                    }
                    // Only slices are waited for.
                    (Ok(_), None) => {}
                }
            }
            if let Some((file, mut range)) = self.slice.take() {
                if range.is_empty() {
                    continue;
                }
                let taken = self.take(&file, &mut range);
                self.slice = Some((file, range));
                match taken {
                    Some(taken) => return Poll::Ready(Some(taken)),
                    None => continue,
                }
            }
            match ready!(self.parts.poll_part(context)) {
                None => return Poll::Ready(None),
                Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                Some(Ok(Part::Bytes(bytes))) if bytes.is_empty() => {}
                Some(Ok(Part::Bytes(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                Some(Ok(Part::Slice(file, range))) => self.slice = Some((file, range)),
            }
        }
    }
}

impl<P: Parts> Body for ContentBody<P> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let bytes = match ready!(this.poll_next(context)) {
            None => return Poll::Ready(None),
            Some(Ok(bytes)) => bytes,
            Some(Err(fault)) => {
                // The head is sent, so all that is left is to break off.
                let target = this.asked.as_ref().map_or("", |asked| &asked.request.target);
                tracing::error!(target, "a blob cannot be sent to its end: {fault}");
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

/// Buffers that go back to be used again: to get one from the allocator, zeroed, each time costs a fifth of the
/// throughput and scatters the heap.
#[derive(Clone, Default)]
pub(in crate::storage) struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

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
