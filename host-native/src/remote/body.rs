//! The body of an answer, which may come slowly, break off, or have no end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::failure::Failure;

/// How long a body may stand still while more of it is waited for, and how long it is waited for until it is looked how
/// much has come meanwhile.
const STALLED: Duration = Duration::from_secs(30);

/// How many bytes a second have to come on average while they are waited for. A connection that brings less does not end
/// in time for any client, and keeps what others could use.
pub const LEAST_RATE: u64 = 1 << 10;

/// The body of an answer. It ends with an error when the connection does before the announced length has come, when no
/// byte comes for half a minute although it is waited for, or hardly any.
pub struct Body {
    host: String,
    incoming: Incoming,
    pace: Pace,
    waiting: Option<Waiting>,
}

/// How fast bytes have come of late. The time that a reader takes who is slow itself does not count.
#[derive(Default)]
struct Pace {
    /// For how long they were waited for.
    waited: Duration,
    came: u64,
}

impl Pace {
    /// Whether enough bytes come, as far as that is known; from time to time it is looked anew.
    fn is_kept(&mut self) -> bool {
        if self.waited < STALLED {
            return true;
        }
        let Self { waited, came } = std::mem::take(self);
        came >= LEAST_RATE.saturating_mul(waited.as_secs())
    }
}

/// A wait for the next bytes.
struct Waiting {
    since: Instant,
    /// Up to when its time is counted.
    counted: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Body {
    pub(super) fn new(host: String, incoming: Incoming) -> Self {
        Self { host, incoming, pace: Pace::default(), waiting: None }
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
        let this = &mut *self;
        let late = |told: String| Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, told))));
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(context) {
            this.pace.waited += this.waiting.take().map_or(Duration::ZERO, |waiting| waiting.counted.elapsed());
            let broken = |error: hyper::Error| {
                io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} breaks off an answer: {error}", this.host))
            };
            let Some(Ok(frame)) = frame else { return Poll::Ready(frame.map(|frame| frame.map_err(broken))) };
            this.pace.came += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
            return if this.pace.is_kept() { Poll::Ready(Some(Ok(frame))) } else { late(slow(&this.host)) };
        }
        loop {
            let now = Instant::now();
            let left = STALLED.saturating_sub(this.pace.waited);
            let waiting =
                this.waiting.get_or_insert_with(|| Waiting { since: now, counted: now, timer: Box::pin(sleep(left)) });
            ready!(waiting.timer.as_mut().poll(context));
            let (now, counted) = (Instant::now(), std::mem::replace(&mut waiting.counted, Instant::now()));
            this.pace.waited += now.duration_since(counted);
            let still = now.duration_since(waiting.since);
            if still >= STALLED {
                let stopped = "has stopped in the middle of an answer for";
                return late(format!("{} {stopped} {} s", this.host, STALLED.as_secs()));
            }
            if !this.pace.is_kept() {
                return late(slow(&this.host));
            }
            let left = STALLED.saturating_sub(still).min(STALLED.saturating_sub(this.pace.waited));
            waiting.timer.as_mut().reset(now + left);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

fn slow(host: &str) -> String {
    format!("{host} sends an answer with less than {LEAST_RATE} bytes a second")
}
