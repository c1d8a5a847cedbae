//! One line in the access log for each request, once its answer is sent or broken off, and one in the audit log for each
//! that changes something.
//!
//! The lines belong to the call: a client that goes away before its answer does not keep them from being written.
//!
//! Both are events of the log, of the targets `orlop::access` and `orlop::audit`, with fields: in JSON each is a member
//! of the object, in text `name=value`.
//!
//! | field | what |
//! |---|---|
//! | `id` | the id of the request, which the client got as `X-Request-Id` |
//! | `client`, `user`, `agent` | where it came from, who sent it, with what |
//! | `operation`, `repository`, `reference` | what it was about |
//! | `method`, `uri`, `status` | as in HTTP; 499 when the client went away before its answer |
//! | `sent`, `ms` | bytes of the answer's body, and milliseconds to its end |
//! | `whole` | whether the answer was sent to its end |

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use orlop_core::{Asked, BaseUrl, Summary, http};
use tokio::sync::OwnedSemaphorePermit;

use crate::crowd::Slot;
use crate::observe::Observer;
use crate::observe::traces::{Told, Trace};
use crate::request::base::Locations;
use crate::request::live::Live;
use crate::request::peer::Peer;
use crate::request::presence::Busy;
use crate::request::proxies::REQUEST_ID;

/// What is known of a request when it begins, and who sent it.
pub(crate) struct AccessLine {
    pub(crate) id: String,
    pub(crate) client: IpAddr,
    /// What is asked.
    pub(crate) asked: Arc<Asked>,
    /// Whether the client speaks to a mirror that is at the root of what it sees.
    pub(crate) at_root: bool,
    /// Whether the client came by TLS, to us or to our proxy.
    pub(crate) secure: bool,
    /// Whether `Origin`, if it is there, is that of this server.
    pub(crate) own_origin: bool,
    began: Instant,
    method: axum::http::Method,
    agent: Option<HeaderValue>,
    caller: String,
    trace: Option<Trace>,
    observer: Arc<Observer>,
    status: u16,
    sent: u64,
    whole: bool,
}

/// The status of a request whose client went away before there was an answer, as nginx has it.
const GONE: u16 = 499;

/// What a request takes until its answer is sent.
#[derive(Default)]
pub(crate) struct Taken {
    /// Of what may be worked on at once.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    /// Of the share of its client.
    pub(crate) share: Option<Slot>,
    /// Of the limits that speak of its client, and of what it may push.
    pub(crate) slots: Vec<Slot>,
    /// Its connection is not idle.
    pub(crate) _busy: Option<Busy>,
}

impl AccessLine {
    pub(crate) fn begin(request: &Request, peer: &Peer, live: &Live, observer: Arc<Observer>) -> Self {
        let (headers, address) = (request.headers(), peer.address.ip());
        let by_proxy = live.proxies.trusts(address);
        let base = live.locations.base(request, by_proxy, peer.encrypted);
        let root = peer.root.as_deref().or_else(|| live.roots.of(request, peer.encrypted));
        observer.metrics.running.inc();
        Self {
            id: live.proxies.id(address, headers),
            client: live.proxies.client(address, headers),
            asked: Arc::new(live.registry.read(described(request, base), root)),
            at_root: root.is_some(),
            secure: Locations::is_secure(headers, by_proxy, peer.encrypted),
            own_origin: live.locations.is_own_origin(request, by_proxy, peer.encrypted),
            began: Instant::now(),
            method: request.method().clone(),
            agent: headers.get(header::USER_AGENT).cloned(),
            caller: String::new(),
            trace: Trace::begin(observer.tracer.as_ref(), headers, by_proxy),
            observer,
            status: GONE,
            sent: 0,
            whole: false,
        }
    }

    /// Who sent it.
    pub(crate) fn of(&mut self, caller: String) {
        self.caller = caller;
    }

    /// What it is answered with, whether or not its client is still there to read it.
    pub(crate) fn answered(&mut self, response: &Response) {
        self.status = response.status().as_u16();
        if let Some(cached) = response.headers().get("x-cache").and_then(|value| value.to_str().ok()) {
            self.observer.metrics.mirrored(self.asked.summary().name, cached);
        }
        self.audit(&self.asked.summary());
    }

    /// The same response, which names the request, and writes the line when its body has ended.
    pub(crate) fn write(mut self, mut response: Response, taken: Taken) -> Response {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        // RFC 9110, 9.3.2: the answer to HEAD has no body, whatever its fields say of one.
        self.whole = self.method == axum::http::Method::HEAD;
        let body = if self.whole { Body::empty() } else { std::mem::take(response.body_mut()) };
        response.map(|_| Body::new(LoggedBody { body, line: self, _taken: taken }))
    }

    /// What was changed, and what was not because it is not allowed.
    fn audit(&self, operation: &Summary<'_>) {
        let status = self.status;
        // Who signs in at a provider is sent on (303), and is known by then.
        let done = matches!(status, 200..300 | 401 | 403) || status == 303 && !self.caller.is_empty();
        if !operation.changes || !done {
            return;
        }
        let Summary { name, repository, reference, .. } = operation;
        tracing::info!(
            target: "orlop::audit",
            id = self.id,
            user = self.caller,
            client = %self.client,
            operation = name,
            repository = repository.map_or("", |name| name.as_str()),
            reference = reference.map(ToString::to_string).unwrap_or_default(),
            status,
            "audit"
        );
    }
}

/// The body of a response that counts what is sent.
struct LoggedBody {
    body: Body,
    line: AccessLine,
    _taken: Taken,
}

impl http_body::Body for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => this.line.sent += frame.data_ref().map_or(0, |bytes| bytes.len() as u64),
            Some(Err(_)) => {}
            None => this.line.whole = true,
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
        self.line.whole |= self.body.is_end_stream();
    }
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        let trace = self.trace.take();
        let line = &*self;
        let operation = line.asked.summary();
        let (method, uri) = (line.method.as_str(), shown(&line.asked.request.target));
        let agent = line.agent.as_ref().map_or("".into(), |agent| String::from_utf8_lossy(agent.as_bytes()));
        let seconds = line.began.elapsed().as_secs_f64();
        let (status, sent, whole) = (line.status, line.sent, line.whole);
        line.observer.metrics.running.dec();
        line.observer.metrics.answered(operation.name, status, seconds, sent);
        // What a client sent is written as a literal: it cannot forge lines.
        tracing::info!(
            target: "orlop::access",
            id = line.id,
            client = %line.client,
            user = line.caller,
            operation = operation.name,
            method,
            uri,
            status,
            sent,
            ms = (seconds * 1e4).round() / 10.0,
            whole,
            agent = &*agent,
            "request"
        );
        if let Some(trace) = trace {
            trace.end(&Told {
                operation: operation.name,
                method,
                target: uri,
                id: &line.id,
                client: line.client,
                agent: &agent,
                repository: operation.repository.map_or("", |name| name.as_str()),
                status,
                sent,
                whole,
            });
        }
    }
}

/// What logs and traces show of a target: what a provider sends a browser back with opens a session, and is left out.
fn shown(target: &str) -> &str {
    match target.split_once('?') {
        Some((path, _)) if path.starts_with("/api/v1/session/") => path,
        _ => target,
    }
}

/// A request as the core takes it.
fn described(request: &Request, base: Option<BaseUrl>) -> http::Request {
    let read = request.headers().iter().filter_map(|(name, value)| {
        // Compared, which is faster than to hash each name in order to look it up.
        let name = http::HEADERS_READ.into_iter().find(|read| *read == name.as_str())?;
        let value =
            value.to_str().map_or_else(|_| String::from_utf8_lossy(value.as_bytes()).into_owned(), String::from);
        Some((name, value))
    });
    http::Request {
        method: http::Method::named(request.method().as_str()),
        target: request.uri().path_and_query().map_or_else(String::new, |target| target.as_str().into()),
        headers: read.collect(),
        length: request.body().size_hint().exact(),
        base,
    }
}
