//! The body of a response: bytes in memory, or pieces of a content read from its file as fast as the client takes them.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use orlop_core::Fault;
use orlop_core::http::Piece;
use tokio::task::JoinHandle;

use crate::storage::directory::blocking;
use crate::storage::directory::files::Opened;
use crate::storage::directory::sendfile::{self, Outbox};

/// How many bytes are read from a file at once. A client holds two of these at most, one in its socket's queue and
/// one that is read.
const READ: usize = 128 << 10;

/// What is shorter than this is cheaper to read, and to send with the head of the answer, than to send by the kernel.
const SENT_BY_THE_KERNEL: u64 = 32 << 10;

/// How many buffers are kept for the next reader: what a few dozen clients at once use.
const KEPT: usize = 32;

/// A content that is open, and what it takes to send it.
pub(crate) struct Content {
    opened: Opened,
    buffers: Buffers,
}

impl Content {
    pub(super) fn new(opened: Opened, buffers: Buffers) -> Self {
        Self { opened, buffers }
    }

    /// Pieces of it as a body. `outbox` is that of the connection, if it can send files.
    pub(in crate::storage) fn into_body(self, pieces: Vec<Piece>, outbox: Option<Outbox>) -> ContentBody {
        ContentBody::new(self, pieces, outbox)
    }
}

/// Pieces of a content, as a body of hyper.
///
/// On a connection that can do so, what is in memory is sent by the kernel from where it is.
pub(crate) struct ContentBody {
    content: Arc<Opened>,
    buffers: Buffers,
    /// Where to leave files to be sent, if the connection can do that.
    outbox: Option<Outbox>,
    pieces: VecDeque<Piece>,
    /// How many bytes are still to come.
    remaining: u64,
    reading: Option<JoinHandle<Result<Bytes, Fault>>>,
}

impl ContentBody {
    fn new(Content { opened, buffers }: Content, pieces: Vec<Piece>, outbox: Option<Outbox>) -> Self {
        let length = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Slice(range) => range.end.saturating_sub(range.start),
        };
        let remaining = pieces.iter().map(length).sum();
        Self { content: Arc::new(opened), buffers, outbox, pieces: pieces.into(), remaining, reading: None }
    }

    /// The beginning of a slice: to be sent from where it is, or read. If it is not in memory, that is done on a thread
    /// that may wait for the disk.
    fn take(&mut self, range: &mut Range<u64>) -> Option<io::Result<Bytes>> {
        if let Some(outbox) = &self.outbox
            && range.end - range.start >= SENT_BY_THE_KERNEL
        {
            let piece = range.start..range.end.min(range.start + sendfile::MOST as u64);
            if self.content.is_cached(piece.clone()) {
                range.start = piece.end;
                let more = self.remaining > piece.end - piece.start;
                return Some(outbox.stand_in(&self.content, piece, more));
            }
        }
        self.read(range).map(Ok)
    }

    /// Reads the beginning of a slice: at once if it is in memory, else on another thread.
    fn read(&mut self, range: &mut Range<u64>) -> Option<Bytes> {
        let wanted = (READ as u64).min(range.end - range.start) as usize;
        let mut buffer = self.buffers.take();
        if let Some(read) = self.content.read_cached(&mut buffer.bytes[..wanted], range.start) {
            range.start += read as u64;
            return Some(Bytes::from_owner(buffer).slice(..read));
        }
        let (content, from) = (self.content.clone(), range.start);
        range.start += wanted as u64;
        self.reading = Some(blocking::begin(move || {
            content.read(&mut buffer.bytes[..wanted], from)?;
            Ok(Bytes::from_owner(buffer).slice(..wanted))
        }));
        None
    }

    /// The next bytes, if they are there; otherwise there is nothing left, or they are being read.
    fn next(&mut self) -> Option<io::Result<Bytes>> {
        while let Some(piece) = self.pieces.pop_front() {
            match piece {
                Piece::Bytes(bytes) if bytes.is_empty() => {}
                Piece::Bytes(bytes) => return Some(Ok(bytes)),
                Piece::Slice(range) if range.is_empty() => {}
                Piece::Slice(mut range) => {
                    let bytes = self.take(&mut range);
                    self.pieces.push_front(Piece::Slice(range));
                    return bytes;
                }
            }
        }
        None
    }
}

impl Body for ContentBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let next = if this.reading.is_none() { this.next() } else { None };
        let bytes = match (next, &mut this.reading) {
            (Some(Ok(bytes)), _) => bytes,
            (Some(Err(error)), _) => {
                tracing::error!("a content cannot be sent: {error}");
                return Poll::Ready(Some(Err(error)));
            }
            (None, None) => return Poll::Ready(None),
            (None, Some(reading)) => {
                let read = ready!(Pin::new(reading).poll(context));
                this.reading = None;
                match blocking::finished(read) {
                    Ok(bytes) => bytes,
                    Err(fault) => {
                        // The head is sent, so all that is left is to break off.
                        tracing::error!("a content cannot be read to its end: {fault}");
                        return Poll::Ready(Some(Err(io::Error::other(fault))));
                    }
                }
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
