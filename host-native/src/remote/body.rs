//! The body of an answer, which may come slowly, break off, or have no end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use super::failure::Failure;

/// How long a body may stand still while more of it is waited for.
const STALLED: Duration = Duration::from_secs(30);

/// The body of an answer. It ends with an error when the connection does before the announced length has come, or
/// when no byte comes for half a minute although it is waited for.
pub struct Body {
    host: String,
    incoming: Incoming,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Body {
    pub(super) fn new(host: String, incoming: Incoming) -> Self {
        Self { host, incoming, stalled: None }
    }

    /// The next bytes; nothing at the end.
    ///
    /// # Errors
    ///
    /// [`Failure::Unreachable`] when it breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => return Err(Failure::Unreachable(error.to_string())),
            }
        }
    }

    /// All of a body that is small.
    ///
    /// # Errors
    ///
    /// [`Failure::Unreachable`] when it breaks off, [`Failure::Unusable`] when it has more than `most` bytes.
    pub async fn collect_within(mut self, most: usize) -> Result<Bytes, Failure> {
        let mut whole = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            if whole.len() + bytes.len() > most {
                return Err(Failure::Unusable(format!("{} answers with more than {most} bytes", self.host)));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            self.stalled = None;
            let broken = |error: hyper::Error| {
                io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} breaks off an answer: {error}", self.host))
            };
            return Poll::Ready(frame.map(|frame| frame.map_err(broken)));
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        ready!(stalled.as_mut().poll(context));
        self.stalled = None;
        let late = format!("{} has stopped in the middle of an answer for {} s", self.host, STALLED.as_secs());
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, late))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
