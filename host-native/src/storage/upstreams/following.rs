//! The body of an answer that is sent while its blob is fetched.

use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use futures_util::future::BoxFuture;
use orlop_core::{Asked, Error, Fault};
use tokio::sync::watch;

use super::flight::{Progress, Shown};
use crate::storage::disk::{Buffers, ContentBody, Opened, Outbox, Part, Parts};

/// A flight that is followed. It reads what has come from the file that is being written, at its own pace: it holds up
/// nothing, and takes no memory but for what it is sending.
pub(crate) struct Following {
    /// As long as it is there, the flight is followed.
    progress: watch::Receiver<Progress>,
    file: Arc<Opened>,
    buffers: Buffers,
}

impl Following {
    pub(super) fn new(progress: watch::Receiver<Progress>, file: Arc<Opened>, buffers: Buffers) -> Self {
        Self { progress, file, buffers }
    }

    /// Waits until it is over, and says how it ended.
    pub(in crate::storage) async fn over(mut self) -> Result<(), Error> {
        // The flight has the other end, and always says how it ended.
        let over = self.progress.wait_for(|progress| progress.over.is_some()).await;
        over.map_or(Ok(()), |progress| progress.over.clone().unwrap_or(Ok(())))
    }

    /// These bytes of the blob as the body of an answer to that request. `outbox` is that of the connection, if it can
    /// send files.
    pub(crate) fn into_body(self, range: Range<u64>, outbox: Option<Outbox>, asked: Arc<Asked>) -> Body {
        let Self { progress, file, buffers } = self;
        let length = range.end.saturating_sub(range.start);
        let rest = Rest { progress, file, range, waiting: None };
        Body::new(ContentBody::new(rest, length, &buffers, outbox, Some(asked)))
    }
}

/// What is still to be sent.
struct Rest {
    progress: watch::Receiver<Progress>,
    file: Arc<Opened>,
    range: Range<u64>,
    /// The wait for more.
    waiting: Option<BoxFuture<'static, ()>>,
}

impl Rest {
    /// What can be sent now; nothing when it has to be waited for.
    fn next(&mut self) -> Option<Result<Part, Fault>> {
        let Progress { shown, over, .. } = &*self.progress.borrow_and_update();
        if let Some(Err(error)) = over {
            return Some(Err(Fault::Unavailable(format!("its fetch has failed: {error:?}"))));
        }
        if let Some(Shown { file, there, .. }) = shown {
            if !Arc::ptr_eq(file, &self.file) {
                return Some(Err(Fault::Unavailable("its fetch has begun anew, from another upstream".into())));
            }
            if *there > self.range.start {
                let part = self.range.start..self.range.end.min(*there);
                self.range.start = part.end;
                return Some(Ok(Part::Slice(self.file.clone(), part)));
            }
        }
        let lost = || Err(Fault::Failed("its fetch has ended without these bytes".into()));
        over.is_some().then(lost)
    }
}

impl Parts for Rest {
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Part, Fault>>> {
        if self.range.is_empty() {
            return Poll::Ready(None);
        }
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(context));
                self.waiting = None;
            }
            if let Some(next) = self.next() {
                return Poll::Ready(Some(next));
            }
            let mut progress = self.progress.clone();
            self.waiting = Some(Box::pin(async move {
                let _ = progress.changed().await;
            }));
        }
    }
}
