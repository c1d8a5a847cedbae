//! Requests and responses as plain values: what a host turns its HTTP into, and what it turns back.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;
use core::ops::Range;

use bytes::Bytes;

use crate::base_url::BaseUrl;
use crate::digest::Digest;
use crate::name::{Repository, Tag};
use crate::object::ObjectId;

/// A request as it came in, without its body: that is asked for by effects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query as sent, still percent-encoded, such as `/v2/a/tags/list?n=5`.
    pub target: String,
    /// The header fields.
    pub headers: Headers,
    /// The length of the body in bytes where the framing tells it; `None` for a chunked body.
    pub length: Option<u64>,
    /// Where the client finds the registry, where the host knows and `Location` is to say so.
    pub base: Option<BaseUrl>,
}

/// A request method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    /// Any other: no endpoint takes it.
    Other,
}

impl Method {
    /// The method of that name; names are case-sensitive (RFC 9110, section 9.1).
    pub fn named(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Other => "OTHER",
        })
    }
}

/// The header fields the core reads. A host may leave out all others.
pub const HEADERS_READ: [&str; 9] = [
    "accept",
    "content-encoding",
    "content-range",
    "content-type",
    "if-match",
    "if-none-match",
    "if-range",
    "range",
    "via",
];

/// The header fields of most answers, as they are written here. A host may have them ready; others come too.
pub const HEADERS_WRITTEN: [&str; 10] = [
    "Docker-Distribution-API-Version",
    "X-Content-Type-Options",
    "Content-Type",
    "Content-Length",
    "Docker-Content-Digest",
    "ETag",
    "Vary",
    "Accept-Ranges",
    "Cache-Control",
    "Location",
];

/// How many header fields most responses have at most.
const USUAL_HEADERS: usize = 8;

/// Header fields in the order they were sent. Names compare without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field. Bytes of a value that are no UTF-8 are the host's to replace.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// The first field of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every field of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every field.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The end of a call: what the client is to be answered.
///
/// `Content-Length` is among the headers whenever the body has a length that the client should know, also for
/// `HEAD`, where the body is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    pub body: Body,
    /// What went wrong in the host's storage, if that is why: for the log, the client is not told.
    pub fault: Option<crate::effect::Fault>,
    /// What the client pulls with it, for the host to [note](crate::Registry::note_pulls). It is not sent.
    pub pulled: Option<Pull>,
}

/// A manifest that a client pulls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pull {
    /// Out of this repository.
    pub repository: Repository,
    /// The manifest that the client is answered with.
    pub digest: Digest,
    /// The tag that the client asked by; `None` when it asked by the digest.
    pub tag: Option<Tag>,
    /// The client got the manifest. It did not if it only asked which one the tag names, or has it already.
    pub fetched: bool,
    /// The name of the caller; empty for nobody in particular.
    pub by: String,
}

/// How often a manifest was pulled by its digest, or by a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullCount {
    /// Out of this repository.
    pub repository: Repository,
    /// The manifest.
    pub digest: Digest,
    /// The tag; `None` where it was pulled by the digest.
    pub tag: Option<Tag>,
    /// How often it was asked for so.
    pub asked: u64,
    /// How often a client got it by that.
    pub fetched: u64,
    /// The names of callers, the last one last.
    pub by: Vec<String>,
}

impl From<Pull> for PullCount {
    /// It was pulled once.
    fn from(pull: Pull) -> Self {
        let Pull { repository, digest, tag, fetched, by } = pull;
        let by = Some(by).filter(|by| !by.is_empty()).into_iter().collect();
        Self { repository, digest, tag, asked: 1, fetched: u64::from(fetched), by }
    }
}

/// The body of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// Pieces of objects, which the host streams by itself. When an object is gone (the blob was deleted and garbage
    /// collection ran since the core looked) and nothing has been sent yet, the host makes the same call again.
    Pieces(Pieces),
    /// Bytes of a blob that is being fetched, which the host streams as they come: those of the fetch that the call
    /// [follows](crate::effect::Follow).
    Coming(Range<u64>),
    /// Bytes of a blob that the host streams from an upstream as they come: those that the call has
    /// [asked for](crate::effect::Relay).
    Relayed,
}

/// A streamed body: a blob, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// The digest of the blob, which a host may hold against the bytes that it sends; `None` when they are no blob.
    pub digest: Option<Digest>,
    /// All bytes of the blob, in order.
    pub blob: Vec<Piece>,
    /// What is to be sent; `None` is the whole blob.
    pub part: Option<Vec<Piece>>,
    /// Whether a host is to hold the blob, which is sent whole, against its digest while it sends it, and to withhold the
    /// last bytes when they are wrong. It tells by [`Registry::verified`](crate::Registry::verified) or
    /// [`Registry::suspect`](crate::Registry::suspect) what it has found.
    pub verify: bool,
}

impl Pieces {
    /// All bytes of an object, whatever blob it belongs to.
    pub fn of_object(object: ObjectId, size: u64) -> Self {
        Self { digest: None, blob: alloc::vec![Piece::Slice(object, 0..size)], part: None, verify: false }
    }

    /// The objects of which the blob is made, in order.
    pub fn objects(&self) -> Vec<ObjectId> {
        let objects = self.blob.iter().filter_map(|piece| match piece {
            Piece::Slice(object, _) => Some(*object),
            Piece::Bytes(_) => None,
        });
        objects.collect()
    }

    /// What is to be sent, in order.
    pub fn iter(&self) -> core::slice::Iter<'_, Piece> {
        self.part.as_ref().unwrap_or(&self.blob).iter()
    }

    /// Takes all out, and leaves nothing to be sent.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let left = Self { digest: self.digest, blob: Vec::new(), part: None, verify: self.verify };
        core::mem::replace(self, left)
    }

    /// What is to be sent, taken out.
    pub fn into_sent(self) -> Vec<Piece> {
        self.part.unwrap_or(self.blob)
    }
}

impl<'p> IntoIterator for &'p Pieces {
    type Item = &'p Piece;
    type IntoIter = core::slice::Iter<'p, Piece>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A piece of a streamed body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes: a small object, or what stands between the parts of a multipart answer.
    Bytes(Bytes),
    /// These bytes of an object, within its size.
    Slice(ObjectId, Range<u64>),
}

impl Piece {
    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Slice(_, range) => range.end.saturating_sub(range.start),
        }
    }
}

impl Response {
    /// A response with no body and no headers.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::with_capacity(USUAL_HEADERS), body: Body::Empty, fault: None, pulled: None }
    }

    /// The same response with one more header field.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same response with a body in memory, its type and its length.
    pub fn with_bytes(mut self, content_type: impl Into<Cow<'static, str>>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        self = self.with("Content-Type", content_type).with("Content-Length", alloc::format!("{}", bytes.len()));
        self.body = Body::Bytes(bytes);
        self
    }

    /// The first header field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }
}
