//! Passing bytes of a blob on from an upstream to a client, and keeping none.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use orlop_core::digest::Digest;
use orlop_core::meter::Meter;
use orlop_core::mirror::{Relayed, Source, Unmet};

use super::{Upstream, unmet};
use crate::remote::{Answer, Body, Slice};
use crate::storage::counters::UpstreamCounters;

/// Bytes of a blob as an upstream sends them, as the body of an answer.
pub(crate) struct Relaying {
    body: Body,
    /// How many bytes are still to be sent.
    remaining: u64,
    /// What has seen all that came of a whole blob, and what its digest is to be.
    verify: Option<(Meter, Digest)>,
}

impl Upstream {
    /// Asks for some bytes of a blob, or all of them.
    pub(in crate::storage) async fn relay(
        &self,
        source: &Source,
        range: Option<Range<u64>>,
        counters: &UpstreamCounters,
    ) -> Result<(Relayed, Relaying), Unmet> {
        let slice = range.as_ref().map(|range| Slice { first: range.start, last: Some(range.end.saturating_sub(1)) });
        let answer = self.ask_for_blob(source, slice, counters).await.map_err(unmet)?;
        let name = self.name.as_str();
        let wrong = || Unmet::Failed(format!("{name} does not give the bytes of a blob that it was asked for"));
        let Answer { content_range, length, body, .. } = answer;
        match range {
            None => {
                let (size, meter) = (length.ok_or_else(wrong)?, Meter::new(source.digest.algorithm()));
                if size == 0 && meter.digest() != source.digest {
                    return Err(wrong());
                }
                Ok((Relayed { size }, Relaying { body, remaining: size, verify: Some((meter, source.digest)) }))
            }
            Some(range) => {
                let Some((first, last, Some(size))) = content_range else { return Err(wrong()) };
                if first != range.start || last + 1 != range.end {
                    return Err(wrong());
                }
                Ok((Relayed { size }, Relaying { body, remaining: range.end - first, verify: None }))
            }
        }
    }
}

impl Relaying {
    /// The bytes that have come, to be sent on. The last ones of a whole blob are only once it is known to be right.
    fn pass(&mut self, bytes: Bytes) -> io::Result<Bytes> {
        let wrong = |told: &str| Err(io::Error::other(format!("the upstream has sent {told}")));
        let Some(remaining) = self.remaining.checked_sub(bytes.len() as u64) else {
            return wrong("more than it has announced");
        };
        self.remaining = remaining;
        if let Some((meter, digest)) = &mut self.verify {
            meter.update(&bytes);
            if remaining == 0 && meter.digest() != *digest {
                return wrong("something else as the blob");
            }
        }
        Ok(bytes)
    }
}

impl http_body::Body for Relaying {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        loop {
            if this.remaining == 0 {
                return Poll::Ready(None);
            }
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            let bytes = match frame.transpose()? {
                None => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Some(frame) => frame.into_data().unwrap_or_default(),
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(this.pass(bytes).map(Frame::data)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
