//! One request from its head to the last byte of its answer.

use std::fmt::Display;
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use orlop_core::error::Code;
use orlop_core::step::Rest;
use orlop_core::{Asked, Caller, Registry, http};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::observe::Observer;
use crate::request::access::{AccessLine, Taken};
use crate::request::admit::{Admitted, Refused, admit, give_token};
use crate::request::crowd::Slot;
use crate::request::live::{Current, Live};
use crate::request::peer::Peer;
use crate::storage::{Host, Opened, Outbox, RequestBody, ambient};

/// How often a call is made again because an object it found was gone when it was opened. Each time, the blob was
/// deleted and garbage collection ran in between.
const ATTEMPTS: usize = 4;

/// How many calls may be finishing at once what nobody waits for. Beyond that, the next answer waits for its own.
pub(crate) const FINISHING: usize = 256;

/// What all requests share.
pub(crate) struct Service {
    pub(crate) host: Arc<Host>,
    pub(crate) current: Current,
    pub(crate) observer: Arc<Observer>,
    /// One permit for each request that may be worked on at once.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) body_idle: Duration,
    /// The calls under way. They outlive their connections: a client that goes away ends its body, not the call.
    pub(crate) calls: TaskTracker,
    /// One permit for each call that may be finishing what nobody waits for.
    pub(crate) finishing: Arc<Semaphore>,
}

impl Service {
    /// Does what a call has left for after its answer: behind it, unless too many others do that already.
    async fn finish(&self, rest: Rest) {
        match self.finishing.clone().try_acquire_owned() {
            Ok(permit) => {
                let host = self.host.clone();
                self.calls.spawn(async move {
                    host.finish(rest).await;
                    drop(permit);
                });
            }
            Err(_) => self.host.finish(rest).await,
        }
    }
}

/// Answers a request.
pub(crate) async fn answer(service: Arc<Service>, peer: Peer, request: Request) -> Response {
    let live = service.current.get();
    let mut line = AccessLine::begin(&request, &peer, &live, service.observer.clone());
    let Ok(permit) = service.room.clone().try_acquire_owned() else {
        let busy = refusal(429, Code::TooManyRequests, "the registry is busy; come again");
        return line.write(with(busy, header::RETRY_AFTER, "1"), Taken { _permit: None, _slots: Vec::new() });
    };
    let expects = request.headers().contains_key(header::EXPECT);
    let from = Origin { peer, client: line.client, id: line.id.clone() };
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let call = call(service.clone(), live, from, line.asked.clone(), request);
    let called = if is_read {
        contained(Box::pin(call)).await
    } else {
        // A task of its own, so that a call that changes something goes on when the client goes away.
        service.calls.spawn(call).await.map_err(|error| error.to_string())
    };
    let (response, slots) = match called {
        Ok(Answered { response, mut body, caller, slots }) => {
            line.of(caller);
            (finish(response, &mut body, expects).await, slots)
        }
        Err(error) => {
            tracing::error!(id = line.id, "a call panicked: {error}");
            let failed = refusal(500, Code::Unknown, "an internal error, see the log");
            // Where in the body the panic came is not known.
            (with(failed, header::CONNECTION, "close"), Vec::new())
        }
    };
    line.write(response, Taken { _permit: Some(permit), _slots: slots })
}

/// Runs a call that is not a task of its own; if it panics, nothing else ends.
async fn contained<T>(mut call: Pin<Box<impl Future<Output = T>>>) -> Result<T, String> {
    poll_fn(|context| {
        // What a panic leaves half done is dropped with the call.
        match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err("a panic".into())),
        }
    })
    .await
}

/// What became of a request.
struct Answered {
    response: Response,
    /// What is left of its body.
    body: RequestBody,
    /// The name of whoever sent it.
    caller: String,
    /// What it takes of its sender's share.
    slots: Vec<Slot>,
}

/// Where a request comes from.
struct Origin {
    peer: Peer,
    /// Who is behind our proxies.
    client: IpAddr,
    /// What the log calls the request.
    id: String,
}

/// Sees whether the request may be made, and makes the call.
async fn call(service: Arc<Service>, live: Arc<Live>, from: Origin, asked: Arc<Asked>, request: Request) -> Answered {
    let (head, body) = request.into_parts();
    let mut body = RequestBody::new(body, service.body_idle).counted(&service.observer.metrics.received);
    if let Some((answer, caller)) = give_token(&live, &head, from.client, &service.observer).await {
        return Answered { response: with_body(answer, None), body, caller, slots: Vec::new() };
    }
    match admit(&live, &head.headers, &from.peer, from.client, &asked, &service.observer).await {
        Ok(Admitted { caller, slots }) => {
            let name = caller.name.clone();
            let response = make(&service, &live.registry, caller.into(), asked, &mut body, from).await;
            Answered { response, body, caller: name, slots }
        }
        Err(Refused { response, caller }) => {
            Answered { response: with_body(response, None), body, caller, slots: Vec::new() }
        }
    }
}

/// Makes the call, and again if an object it answers with is gone.
async fn make(
    service: &Service,
    registry: &Registry,
    caller: Arc<Caller>,
    asked: Arc<Asked>,
    body: &mut RequestBody,
    from: Origin,
) -> Response {
    let failed = |fault: &dyn Display| {
        let http::Request { method, target, .. } = &asked.request;
        tracing::error!(id = from.id, %method, target, "{fault}");
    };
    for attempt in 1..=ATTEMPTS {
        let step = registry.call_of(caller.clone(), asked.clone(), ambient());
        let (mut response, rest) = service.host.answer(step, body).await;
        if let Some(fault) = &response.fault {
            failed(fault);
        }
        if let Some(rest) = rest {
            service.finish(rest).await;
        }
        let pieces = match &mut response.body {
            http::Body::Pieces(pieces) => std::mem::take(pieces),
            _ => return with_body(response, None),
        };
        match service.host.open_pieces(pieces).await {
            Ok(Some(opened)) => return with_body(response, Some((opened, from.peer.outbox))),
            Ok(None) if attempt < ATTEMPTS => tracing::debug!("an object was gone, the call is made again"),
            Ok(None) => failed(&"an object of the blob is missing"),
            Err(fault) => {
                failed(&fault);
                break;
            }
        }
    }
    refusal(500, Code::Unknown, "the blob cannot be read")
}

/// A response of the core as one of axum; `opened` are the objects it answers with, and the connection's outbox.
fn with_body(response: http::Response, opened: Option<(Opened, Option<Outbox>)>) -> Response {
    let body = match (response.body, opened) {
        (http::Body::Bytes(bytes), _) => Body::from(bytes),
        (http::Body::Pieces(_), Some((content, outbox))) => content.into_body(outbox),
        (http::Body::Empty | http::Body::Pieces(_), _) => Body::empty(),
    };
    let mut made = Response::new(body);
    // With room for what the host adds.
    *made.headers_mut() = HeaderMap::with_capacity(response.headers.len() + 4);
    *made.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in response.headers {
        // What a client sent comes back in some fields, but never a byte that does not belong into one.
        if let Ok(value) = HeaderValue::try_from(value) {
            made.headers_mut().append(field(name), value);
        }
    }
    made
}

/// The name of a header field of ours. Those of most answers are there ready-made: to make one anew costs a copy.
fn field(name: &str) -> HeaderName {
    static USUAL: LazyLock<Vec<HeaderName>> =
        LazyLock::new(|| http::HEADERS_WRITTEN.into_iter().map(HeaderName::from_static).collect());
    let usual = USUAL.iter().find(|usual| usual.as_str().eq_ignore_ascii_case(name));
    usual.cloned().unwrap_or_else(|| HeaderName::from_bytes(name.as_bytes()).expect("a name of ours"))
}

/// Reads what is left of the body, so that the connection can be used again, or says that it cannot.
async fn finish(response: Response, body: &mut RequestBody, expects: bool) -> Response {
    // A client that waits for leave to send its body gets its answer first: reading would give it leave.
    let reusable = if expects && body.is_untouched() { false } else { body.drain().await };
    if reusable { response } else { with(response, header::CONNECTION, "close") }
}

fn with(mut response: Response, name: HeaderName, value: &'static str) -> Response {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// An answer of the host itself, in the form of the registry's.
fn refusal(status: u16, code: Code, message: &str) -> Response {
    with_body(orlop_core::error::refusal(status, code, message), None)
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use http_body::Frame;
    use orlop_core::Config;
    use tempfile::TempDir;

    use super::*;
    use crate::settings::Options;

    struct Panicking;

    impl http_body::Body for Panicking {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            panic!("as a test asks")
        }
    }

    #[test]
    fn a_field_has_its_name_whether_it_is_usual_or_not() {
        for name in ["Content-Type", "ETag", "Retry-After", "Some-Field"] {
            assert_eq!(field(name), name);
        }
    }

    #[tokio::test]
    async fn a_panic_in_a_call_is_answered_and_ends_nothing_else() {
        let directory = TempDir::new().unwrap();
        let host = Arc::new(Host::open(directory.path(), &Options::default()).unwrap());
        let service = Arc::new(Service {
            observer: Arc::new(Observer::new(&host, None)),
            host,
            current: Current::new(Live::open(Registry::new(Config::default()))),
            room: Arc::new(Semaphore::new(1)),
            body_idle: Duration::from_secs(1),
            calls: TaskTracker::new(),
            finishing: Arc::new(Semaphore::new(1)),
        });
        let digest = orlop_core::digest::Algorithm::Sha256.digest(b"");
        let ask = async |method: &str, target: &str, body: Body| {
            let request = Request::builder().method(method).uri(target).body(body).unwrap();
            answer(service.clone(), Peer::nobody(), request).await.status().as_u16()
        };
        let target = format!("/v2/a/blobs/uploads/?digest={digest}");
        assert_eq!(ask("POST", &target, Body::new(Panicking)).await, 500);
        let tag = "/v2/a/manifests/v1";
        assert_eq!(ask("PUT", tag, Body::new(Panicking)).await, 500);
        assert_eq!(ask("GET", "/v2/", Body::empty()).await, 200);
    }
}
