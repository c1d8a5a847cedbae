//! One line in the log for each request, once its answer is sent or broken off.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::http::Peer;

/// What is known of a request when it begins.
pub(crate) struct AccessLine {
    began: Instant,
    method: String,
    target: String,
    agent: String,
    peer: String,
    caller: String,
}

impl AccessLine {
    pub(crate) fn begin(request: &Request) -> Self {
        let agent = request.headers().get(header::USER_AGENT);
        Self {
            began: Instant::now(),
            method: request.method().to_string(),
            target: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
            agent: agent.map_or_else(String::new, |agent| String::from_utf8_lossy(agent.as_bytes()).into_owned()),
            peer: request.extensions().get::<Peer>().map_or_else(String::new, |peer| peer.address.to_string()),
            caller: String::new(),
        }
    }

    /// Who sent it.
    pub(crate) fn of(&mut self, caller: String) {
        self.caller = caller;
    }

    /// The same response, which writes the line when its body has ended.
    pub(crate) fn write(self, response: Response) -> Response {
        self.logged(response, None)
    }

    /// The same, holding `permit` until then.
    pub(crate) fn write_holding(self, response: Response, permit: OwnedSemaphorePermit) -> Response {
        self.logged(response, Some(permit))
    }

    fn logged(self, response: Response, permit: Option<OwnedSemaphorePermit>) -> Response {
        let status = response.status().as_u16();
        response.map(|body| Body::new(LoggedBody { body, status, sent: 0, whole: false, line: self, _permit: permit }))
    }
}

/// The body of a response that counts what is sent.
struct LoggedBody {
    body: Body,
    status: u16,
    sent: u64,
    whole: bool,
    line: AccessLine,
    _permit: Option<OwnedSemaphorePermit>,
}

impl http_body::Body for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => this.sent += frame.data_ref().map_or(0, |bytes| bytes.len() as u64),
            Some(Err(_)) => {}
            None => this.whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        let AccessLine { began, method, target, agent, peer, caller } = &self.line;
        let whole = self.whole || self.body.is_end_stream() || method == "HEAD";
        // What a client sent is written as a literal: it cannot forge lines.
        tracing::info!(
            target: "orlop::access",
            "{method} {target:?} {} {} B {:.1} ms{} {peer} {caller:?} {agent:?}",
            self.status,
            self.sent,
            began.elapsed().as_secs_f64() * 1000.0,
            if whole { "" } else { " broken off" },
        );
    }
}
