//! What is sent to a registry and what comes back, as plain values.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use serde_json::Value as Json;

/// A registry under test.
pub trait Target {
    /// Sends a request as it is, and gives the answer as it came: no redirect followed, no header added that the
    /// connection does not need, nothing decoded.
    fn send(&self, exchange: Exchange) -> impl Future<Output = Result<Answer, Unreachable>>;

    /// Sends a request without saying who is asking. The same for targets that know no users.
    fn send_unknown(&self, exchange: Exchange) -> impl Future<Output = Result<Answer, Unreachable>> {
        self.send(exchange)
    }
}

/// A future that stays on its thread.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Any [`Target`], for those who need not know which.
pub trait AnyTarget {
    /// Sends a request.
    fn send_any(&self, exchange: Exchange) -> Local<'_, Result<Answer, Unreachable>>;

    /// Sends a request without saying who is asking.
    fn send_anybody(&self, exchange: Exchange) -> Local<'_, Result<Answer, Unreachable>>;
}

impl<T: Target> AnyTarget for T {
    fn send_any(&self, exchange: Exchange) -> Local<'_, Result<Answer, Unreachable>> {
        Box::pin(self.send(exchange))
    }

    fn send_anybody(&self, exchange: Exchange) -> Local<'_, Result<Answer, Unreachable>> {
        Box::pin(self.send_unknown(exchange))
    }
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Nobody answers at that address: with what the system says of it.
    Gone(String),
    /// The registry took the request and closed the connection without an answer.
    Dropped(String),
    /// Its certificate is none that is trusted here.
    Untrusted(String),
    /// It wants to know who is asking, and did not take what it was told.
    Refused(String),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(why) => write!(f, "nobody answers: {why}"),
            Self::Dropped(why) => write!(f, "the connection was closed without an answer ({why})"),
            Self::Untrusted(why) => {
                write!(f, "its certificate is not trusted ({why}): give the one that signed it by --ca, or --insecure")
            }
            Self::Refused(why) => write!(f, "the login was refused: {why}"),
        }
    }
}

impl std::error::Error for Unreachable {}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The method.
    pub method: String,
    /// Path and query, or a whole URL.
    pub target: String,
    /// Header fields beside those that say how long the body is.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Payload,
}

/// The body of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// None.
    #[default]
    None,
    /// These bytes, their number in `Content-Length`.
    Whole(Bytes),
    /// These bytes, with chunked transfer encoding and no `Content-Length`.
    Chunked(Bytes),
    /// These bytes, although `Content-Length` promises that many; then the connection is closed. The answer, if
    /// there is any, counts for nothing.
    Cut(Bytes, u64),
}

impl Payload {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Whole(bytes) | Self::Chunked(bytes) | Self::Cut(bytes, _) => bytes,
        }
    }
}

impl Exchange {
    /// A request without a body.
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: Payload::None }
    }

    /// The same request with one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same request with this body.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body = Payload::Whole(bytes.into());
        self
    }

    /// The same request with this body in chunks.
    #[must_use]
    pub fn chunked(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body = Payload::Chunked(bytes.into());
        self
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status; 0 when the request was cut off.
    pub status: u16,
    /// The header fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The first header field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every header field of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The codes in the body of an error.
    pub fn codes(&self) -> Vec<String> {
        let json = self.json();
        let errors = json["errors"].as_array();
        errors.into_iter().flatten().map(|error| error["code"].as_str().unwrap_or_default().into()).collect()
    }

    /// The strings in a list of the body, none if there is no list.
    pub fn strings(&self, field: &str) -> Vec<String> {
        let json = self.json();
        let list = json[field].as_array();
        list.into_iter().flatten().filter_map(|entry| entry.as_str().map(Into::into)).collect()
    }

    /// Whether it says that all went well.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// How far a session is, from `Range: 0-<last>`: `None` without the header or when it has another form. An empty
    /// session says `0-0`, as one of one byte does, or `0--1`.
    pub fn last_byte(&self) -> Option<i64> {
        self.header("Range")?.strip_prefix("0-")?.parse().ok()
    }

    /// The target of the `Link` to the next page (RFC 8288), quoted or not.
    pub fn next_page(&self) -> Option<String> {
        self.all("Link").flat_map(|field| field.split(", <")).find_map(|link| {
            let (target, parameters) = link.trim().trim_start_matches('<').split_once('>')?;
            let next = parameters.split(';').map(str::trim).any(|p| p == "rel=\"next\"" || p == "rel=next");
            next.then(|| target.to_owned())
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for name in ["Location", "Range", "Content-Range", "Docker-Content-Digest", "Content-Type", "Link"] {
            if let Some(value) = self.header(name) {
                write!(f, ", {name}: {value}")?;
            }
        }
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        if !text.trim().is_empty() {
            let more = if self.body.len() > 300 { "…" } else { "" };
            write!(f, ", body {}{more}", text.trim())?;
        }
        Ok(())
    }
}

/// What was said to a target, in order.
pub type Record = Rc<RefCell<Vec<(Exchange, Result<Answer, Unreachable>)>>>;

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3).
pub fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// A session's URL with one more parameter: what the registry put there stays (SPEC E1).
pub fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{name}={}", encode(value))
}
