//! A client that knows whether an answer came to its end.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use orlop_conformance::image::{OCI_INDEX, OCI_MANIFEST};
use serde_json::Value as Json;

use crate::server::PATIENCE;

/// A request without a body to that host and port, and its answer.
pub(crate) async fn ask(address: &str, method: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
    ask_from("127.0.0.1", address, method, target, fields).await
}

/// The same from that address of this machine: as another client.
pub(crate) async fn ask_from(from: &str, address: &str, method: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
    let began = Instant::now();
    let line = format!("{method} {target}");
    let Some(response) = send_from(from, address, method, target, fields, Bytes::new()).await else {
        let (fields, body) = (HeaderMap::new(), Bytes::new());
        return Answer { line, status: 0, fields, body, whole: false, first: began.elapsed() };
    };
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut first, mut whole) = (Vec::new(), None, true);
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(piece)) => bytes.extend_from_slice(&piece),
            Ok(Err(_)) => {}
            Err(_) => whole = false,
        }
        first.get_or_insert_with(|| began.elapsed());
    }
    Answer {
        line,
        status: head.status.as_u16(),
        fields: head.headers,
        body: bytes.into(),
        whole,
        first: first.unwrap_or_else(|| began.elapsed()),
    }
}

/// Sends a request on a connection of its own; nothing is sent a second time.
pub(crate) async fn send(
    address: &str,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: Bytes,
) -> Response<Incoming> {
    let answered = send_from("127.0.0.1", address, method, target, fields, body).await;
    answered.unwrap_or_else(|| panic!("{method} {target}: the connection is closed"))
}

/// The answer, unless the connection is closed before its head: where what breaks off breaks off at once.
async fn send_from(
    from: &str,
    address: &str,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: Bytes,
) -> Option<Response<Incoming>> {
    let mut connector = HttpConnector::new();
    connector.set_local_address(Some(from.parse().expect("an address")));
    let client: Client<HttpConnector, Body> =
        Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build(connector);
    let mut request = Request::builder().method(method).uri(format!("http://{address}{target}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body)).expect("a request");
    let answered = tokio::time::timeout(PATIENCE, client.request(request)).await;
    let answered = answered.unwrap_or_else(|_| panic!("{method} {target} is not answered"));
    match answered {
        Ok(response) => Some(response),
        Err(error) if is_closed(&error) => None,
        Err(error) => panic!("{method} {target}: {error:?}"),
    }
}

fn is_closed(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut reasons = std::iter::successors(Some(error), |error| error.source());
    reasons.any(|reason| reason.downcast_ref().is_some_and(hyper::Error::is_incomplete_message))
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    line: String,
    /// 0 when the connection was closed before an answer began.
    pub(crate) status: u16,
    fields: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the body came to its end; else the connection broke before.
    pub(crate) whole: bool,
    /// How long its first byte took.
    pub(crate) first: Duration,
}

impl Answer {
    /// The value of a header field; empty when there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// How the cache speaks of it.
    pub(crate) fn cache(&self) -> &str {
        self.field("x-cache")
    }

    /// What an error says.
    pub(crate) fn text(&self) -> String {
        let end = self.body.len().min(300);
        format!("{}: {} {}", self.line, self.status, String::from_utf8_lossy(&self.body[..end]))
    }

    /// That these bytes came, and came to their end.
    #[track_caller]
    pub(crate) fn is(&self, bytes: &[u8]) {
        assert!(matches!(self.status, 200 | 206), "{}", self.text());
        assert!(self.whole, "{}: {} of {} bytes came", self.line, self.body.len(), bytes.len());
        assert!(self.body == bytes, "{}: {} bytes for {}, or others", self.line, self.body.len(), bytes.len());
    }

    /// That this is refused, as the specification says errors.
    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text());
        let json: Json = serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()));
        let error = &json["errors"][0];
        assert!(error["code"].is_string() && error["message"].is_string(), "{}", self.text());
    }

    /// That no client takes it for a success.
    #[track_caller]
    pub(crate) fn is_no_success(&self) {
        assert!(self.status >= 400 || !self.whole, "{}: a clean {}", self.line, self.status);
        // Where there is an answer of its own, it says what is wrong.
        if self.status >= 400 && self.whole {
            self.is_refused(self.status);
        }
    }

    /// All of an answer but what no two answers share (the time, and the name of the request), with texts made alike that
    /// name what was asked for.
    pub(crate) fn told(&self, alike: impl Fn(&str) -> String) -> (u16, Vec<(String, String)>, String) {
        let own = ["date", "x-request-id", "content-length"];
        let fields = self.fields.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        let field = |value: &HeaderValue| alike(&String::from_utf8_lossy(value.as_bytes()));
        let fields = fields.map(|(name, value)| (name.to_string(), field(value)));
        (self.status, fields.collect(), alike(&String::from_utf8_lossy(&self.body)))
    }
}

/// What clients accept as a manifest.
pub(crate) fn accepted() -> [(&'static str, &'static str); 2] {
    [("accept", OCI_MANIFEST), ("accept", OCI_INDEX)]
}
