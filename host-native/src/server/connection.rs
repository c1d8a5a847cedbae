//! A TCP connection that gives up on clients which take nothing, and closes so that clients can read the last answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::storage::Outbox;

/// How long a connection is still listened to after the last answer was sent. To close while the client is sending
/// would make the kernel throw away what the client has not read yet (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// How many bytes are thrown away meanwhile.
const LINGER_BYTES: usize = 8 << 20;

/// A connection with a client.
pub(crate) struct Connection {
    stream: TcpStream,
    outbox: Outbox,
    /// How long the client may take nothing of what is sent.
    patience: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    lingering: Option<Lingering>,
}

struct Lingering {
    end: Pin<Box<Sleep>>,
    left: usize,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, outbox: Outbox::default(), patience, stalled: None, lingering: None }
    }

    /// Where the bodies of answers on this very connection leave the files that it is to send.
    pub(crate) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// What a write came to, unless it has waited for too long.
    fn unless_stalled<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if let Some(stalled) = &mut self.stalled {
                // Kept, because a slow client will need it again.
                stalled.as_mut().reset(Instant::now() + self.patience);
            }
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.outbox.poll_write(&mut this.stream, context, &[io::IoSlice::new(bytes)]);
        this.unless_stalled(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.outbox.poll_write(&mut this.stream, context, slices);
        this.unless_stalled(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    /// Says that nothing more is sent, and waits a while for the client to say the same.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let lingering =
            this.lingering.get_or_insert_with(|| Lingering { end: Box::pin(sleep(LINGER)), left: LINGER_BYTES });
        let mut thrown_away = [0; 16 << 10];
        while lingering.left > 0 && lingering.end.as_mut().poll(context).is_pending() {
            let mut into = ReadBuf::new(&mut thrown_away);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut into)) {
                Ok(()) if !into.filled().is_empty() => {
                    lingering.left = lingering.left.saturating_sub(into.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
