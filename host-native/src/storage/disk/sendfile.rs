//! Sending files without copying them, under axum and hyper and without their knowledge.
//!
//! A response body must hand hyper bytes. For a piece of a file, [`Outbox::stand_in`] gives it bytes that *stand in*
//! for it: as many as the piece has, all out of one array that is nobody's content. Hyper counts them, frames them and
//! queues them like any others, without looking at them. When it comes to write them, [`Outbox::poll_write`] sees by
//! their address what they are and has the kernel send the piece of the file instead.
//!
//! Why the right bytes go out:
//!
//! * *Which* piece is meant is a matter of order. A connection of HTTP/1.1 writes its answers one after another and
//!   each from front to back, so the pieces come up for writing in the order in which the bodies made them: a queue
//!   a connection is enough. Only a connection that is being closed leaves a piece behind.
//! * Each stand-in begins at another address than those before it, and its piece knows at which: a stand-in that is not
//!   the one expected ends the connection before a byte of it is sent. So should hyper ever leave one out, or copy it
//!   (it does not: it queues bytes as they are for a connection that [takes several slices](Connection) at once).
//! * Stand-ins are made only for connections that can send them: a body that got no outbox (TLS, HTTP/2, tests) reads
//!   its file.
//! * What is sent of a file never changes (objects are write-once). One that is shorter than it should be ends the connection.
//!
//! Where the kernel cannot send from a file system, the piece is read and written. Only pieces that are in memory come
//! here ([`ContentBody`] sees to that), so that no thread of the runtime waits for a disk.
//!
//! [`Connection`]: crate::server::connection::Connection
//! [`ContentBody`]: crate::storage::disk::stream::ContentBody

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use orlop_core::Fault;
use rustix::io::Errno;
use rustix::net::sockopt::{set_tcp_cork, tcp_congestion};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;

use crate::storage::disk::Opened;

/// How many bytes one stand-in can stand for: enough that the work around it does not count, few enough that a client
/// which takes them as fast as they come does not hold its thread for long.
pub(crate) const MOST: usize = 4 << 20;

/// How many bytes are read at once where the kernel cannot send from a file.
const READ: usize = 64 << 10;

/// At how many places a stand-in can begin: far more than a connection ever has waiting.
const PLACES: usize = 4 << 10;

/// What stand-ins are made of. It is never read or written, so it takes addresses but no memory.
static STAND_IN: LazyLock<&'static [u8]> = LazyLock::new(|| Box::leak(vec![0; MOST + PLACES].into_boxed_slice()));

/// The pieces of files that a connection is going to send.
#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    pieces: VecDeque<Piece>,
    /// How many there have been.
    made: usize,
    /// Whether the kernel holds back what does not fill a packet: from the first piece of a body to its last byte.
    /// Left to itself it sends a fifth more packets, each of which costs the same.
    corked: bool,
    /// Whether this connection is one to do that for; not known before the first piece.
    corks: Option<bool>,
}

/// The congestion controls that pace what they send. They send portions of their own size at their own time, and to hold
/// something back for them costs half as much again as to send it.
const PACING: &str = "bbr";

struct Piece {
    content: Arc<Opened>,
    /// What is still to be sent.
    range: Range<u64>,
    /// Where in the array the bytes begin that stand in for it.
    place: usize,
    /// Whether more of the same body follows.
    more: bool,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("waiting", &self.waiting().pieces.len()).finish_non_exhaustive()
    }
}

impl Outbox {
    /// Bytes that stand in for this range of a content, which has [`MOST`] bytes at most and is not empty. `more` says
    /// whether more of the same body follows.
    ///
    /// # Errors
    ///
    /// When the range is longer than that.
    pub(crate) fn stand_in(&self, content: &Arc<Opened>, range: Range<u64>, more: bool) -> Result<Bytes, Fault> {
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        if length > MOST {
            return Err(Fault::Failed("a piece that is too long to be sent".into()));
        }
        let mut waiting = self.waiting();
        let place = waiting.made % PLACES;
        waiting.made = waiting.made.wrapping_add(1);
        waiting.pieces.push_back(Piece { content: content.clone(), range, place, more });
        Ok(Bytes::from_static(&STAND_IN[place..place + length]))
    }

    /// Writes what comes first of `slices`: bytes, or the file they stand in for.
    pub(crate) fn poll_write(
        &self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let found = slices.iter().enumerate().find_map(|(index, slice)| Some((index, place(slice)?)));
        match found {
            None => {
                let written = ready!(Pin::new(&mut *stream).poll_write_vectored(context, slices))?;
                self.waiting().cork(stream, false)?;
                Poll::Ready(Ok(written))
            }
            Some((0, place)) => poll_io(stream, context, |stream| self.send_file(stream, place, slices[0].len())),
            // The head of the answer waits for the file, to leave with it.
            Some((count, _)) => poll_io(stream, context, |stream| {
                let nothing_more = &mut SendAncillaryBuffer::default();
                let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
                Ok(sendmsg(stream, &slices[..count], nothing_more, flags)?)
            }),
        }
    }

    /// Sends `most` bytes of the first piece, or as many as the socket takes. What stands in for it begins at `place`.
    fn send_file(&self, stream: &TcpStream, place: usize, most: usize) -> io::Result<usize> {
        let mut waiting = self.waiting();
        waiting.cork(stream, true)?;
        let piece = waiting.pieces.front_mut().filter(|piece| piece.place == place);
        let piece = piece.ok_or_else(|| io::Error::other("a stand-in for another piece than the next"))?;
        let left = usize::try_from(piece.range.end - piece.range.start).unwrap_or(usize::MAX);
        let sent = send(stream, &piece.content, piece.range.start, most.min(left))?;
        if sent == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a content is shorter than it should be"));
        }
        piece.range.start += sent as u64;
        piece.place += sent;
        if piece.range.is_empty() {
            let more = piece.more;
            waiting.pieces.pop_front();
            waiting.cork(stream, more)?;
        }
        Ok(sent)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Has the kernel hold back what does not fill a packet, or send it.
    fn cork(&mut self, stream: &TcpStream, corked: bool) -> io::Result<()> {
        if self.corked == corked {
            return Ok(());
        }
        let corks = match self.corks {
            Some(corks) => corks,
            None => *self.corks.insert(!tcp_congestion(stream)?.starts_with(PACING)),
        };
        if corks {
            set_tcp_cork(stream, corked)?;
            self.corked = corked;
        }
        Ok(())
    }
}

/// Where these bytes begin in the array that stands in for files, if they are of it. Only their address counts.
fn place(bytes: &[u8]) -> Option<usize> {
    let place = bytes.as_ptr().addr().checked_sub(STAND_IN.as_ptr().addr())?;
    (!bytes.is_empty() && place < STAND_IN.len()).then_some(place)
}

fn send(stream: &TcpStream, content: &Opened, from: u64, count: usize) -> io::Result<usize> {
    let mut offset = from;
    match rustix::fs::sendfile(stream, content.file(), Some(&mut offset), count) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            let mut bytes = vec![0; count.min(READ)];
            let read = rustix::io::pread(content.file(), &mut bytes[..], from)?;
            Ok(rustix::net::send(stream, &bytes[..read], SendFlags::NOSIGNAL)?)
        }
        sent => Ok(sent?),
    }
}

/// Does some output on the socket, as soon as it takes any.
fn poll_io(
    stream: &TcpStream,
    context: &mut Context<'_>,
    mut output: impl FnMut(&TcpStream) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(context))?;
        match stream.try_io(Interest::WRITABLE, || output(stream)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use std::collections::VecDeque;
    use std::path::Path;

    use http_body::Body as _;
    use rustix::net::sockopt::{set_tcp_congestion, tcp_cork};
    use tempfile::TempDir;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::storage::disk::{Buffers, ContentBody, Part, Parts};

    const CONTENT: &[u8] = b"what a content has";

    fn content(directory: &TempDir, bytes: &[u8]) -> Opened {
        let path = directory.path().join("content");
        std::fs::write(&path, bytes).unwrap();
        Opened::open(Path::new(&path)).unwrap().unwrap()
    }

    struct Ready(VecDeque<Part>);

    impl Parts for Ready {
        fn poll_part(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Part, Fault>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    #[tokio::test]
    async fn a_packet_is_held_back_no_longer_than_more_of_the_body_follows() {
        let directory = TempDir::new().unwrap();
        let content = Arc::new(content(&directory, CONTENT));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        set_tcp_congestion(&stream, "reno").unwrap();
        let outbox = Outbox::default();
        let mut write = async |bytes: &[u8]| {
            let written = poll_fn(|context| outbox.poll_write(&mut stream, context, &[IoSlice::new(bytes)])).await;
            assert_eq!(written.unwrap(), bytes.len());
            tcp_cork(&stream).unwrap()
        };
        let piece = |range, more| outbox.stand_in(&content, range, more).unwrap();

        assert!(write(&piece(0..4, true)).await);
        assert!(write(&piece(4..8, true)).await);
        assert!(!write(&piece(8..18, false)).await, "the body is over");
        assert!(write(&piece(0..4, true)).await);
        assert!(!write(b" bytes ").await, "what is not of a file is not held back");
        assert!(!write(&piece(14..18, false)).await);
        let expected = [CONTENT, b"what bytes  has"].concat();
        let mut received = vec![0; expected.len()];
        client.read_exact(&mut received).await.unwrap();
        assert_eq!(received, expected);
    }

    #[tokio::test]
    async fn nothing_is_held_back_where_packets_are_paced() {
        let directory = TempDir::new().unwrap();
        let content = Arc::new(content(&directory, CONTENT));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        if let Err(error) = set_tcp_congestion(&stream, "bbr") {
            eprintln!("SKIPPED: this machine lets nobody choose BBR: {error}");
            return;
        }
        let outbox = Outbox::default();
        for range in [0..4, 4..8] {
            let piece = outbox.stand_in(&content, range, true).unwrap();
            let slices = &[IoSlice::new(&piece)];
            let written = poll_fn(|context| outbox.poll_write(&mut stream, context, slices)).await;
            assert_eq!(written.unwrap(), 4);
            assert!(!tcp_cork(&stream).unwrap());
        }
    }

    #[tokio::test]
    async fn what_comes_last_of_a_body_is_never_held_back() {
        let directory = TempDir::new().unwrap();
        let bytes = vec![b'x'; 80_000];
        let content = Arc::new(content(&directory, &bytes));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        set_tcp_congestion(&stream, "reno").unwrap();
        let outbox = Outbox::default();
        let one = || Part::Slice(content.clone(), 0..40_000);
        let other = || Part::Slice(content.clone(), 40_000..80_000);
        let between = || Part::Bytes(Bytes::from_static(b"between"));
        for (parts, length, corked) in [
            (vec![one()], 40_000, vec![false]),
            (vec![one(), other()], 80_000, vec![true, false]),
            (vec![between(), one(), between(), other(), between()], 80_021, vec![false, true, false, true, false]),
        ] {
            let parts = Ready(parts.into());
            let mut body = ContentBody::new(parts, length, &Buffers::default(), Some(outbox.clone()), None);
            let mut found = Vec::new();
            while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                let bytes = frame.unwrap().into_data().unwrap();
                let slices = &[IoSlice::new(&bytes)];
                let written = poll_fn(|context| outbox.poll_write(&mut stream, context, slices)).await;
                assert_eq!(written.unwrap(), bytes.len());
                found.push(tcp_cork(&stream).unwrap());
            }
            assert_eq!(found, corked);
        }
    }

    #[tokio::test]
    async fn a_stand_in_for_another_piece_than_the_next_is_refused() {
        let directory = TempDir::new().unwrap();
        let content = Arc::new(content(&directory, CONTENT));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let outbox = Outbox::default();
        let _left_out = outbox.stand_in(&content, 0..4, true).unwrap();
        let piece = outbox.stand_in(&content, 4..8, false).unwrap();
        let written = poll_fn(|context| outbox.poll_write(&mut stream, context, &[IoSlice::new(&piece)])).await;
        assert!(written.is_err());
    }
}
