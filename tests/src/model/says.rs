//! What the registry must say, and whether it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::Range;

use bytes::Bytes;
use orlop_core::{Body, Method, Response};
use serde_json::Value as Json;

use super::grammar::Query;

/// The header fields that matter: each is as the model says, or not there.
const FIELDS: [&str; 16] = [
    "Accept-Encoding",
    "Accept-Ranges",
    "Allow",
    "Content-Range",
    "Content-Type",
    "Docker-Content-Digest",
    "Docker-Upload-UUID",
    "ETag",
    "Link",
    "Location",
    "OCI-Filters-Applied",
    "OCI-Subject",
    "OCI-Tag",
    "Range",
    "Retry-After",
    "Vary",
];

/// An answer that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// The status code.
    pub status: u16,
    fields: BTreeMap<&'static str, String>,
    body: Content,
}

/// What stands in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Nothing,
    Bytes(Bytes),
    /// A document, in whatever way it is written.
    Json(Json),
    /// An index of these, in any order (SPEC M).
    Index(Vec<Json>),
    /// One error each, with this code and, where the specification asks for it, the digest it is about.
    Errors(&'static str, BTreeSet<String>),
    /// These ranges of these bytes (RFC 9110, 14.6).
    Parts(Vec<Range<usize>>, Bytes),
}

impl Says {
    pub(super) fn new(status: u16) -> Self {
        Self { status, fields: BTreeMap::new(), body: Content::Nothing }
    }

    pub(super) fn refusal(status: u16, code: &'static str) -> Self {
        let body = Content::Errors(code, BTreeSet::new());
        Self { body, ..Self::new(status) }.with("Content-Type", "application/json")
    }

    /// The same, of something that is not there.
    pub(super) fn absent(self) -> Self {
        Self { status: 404, ..self }
    }

    /// One error a digest (SPEC K9).
    pub(super) fn missing(digests: BTreeSet<String>) -> Self {
        Self { body: Content::Errors("MANIFEST_BLOB_UNKNOWN", digests), ..Self::refusal(400, "") }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.fields.insert(name, value.to_string());
        self
    }

    pub(super) fn bytes(self, media_type: &str, bytes: impl Into<Bytes>) -> Self {
        Self { body: Content::Bytes(bytes.into()), ..self }.with("Content-Type", media_type)
    }

    pub(super) fn json(self, document: Json) -> Self {
        Self { body: Content::Json(document), ..self }.with("Content-Type", "application/json")
    }

    pub(super) fn index(self, media_type: &str, entries: Vec<Json>) -> Self {
        Self { body: Content::Index(entries), ..self }.with("Content-Type", media_type)
    }

    pub(super) fn parts(self, ranges: Vec<Range<usize>>, bytes: Bytes) -> Self {
        Self { body: Content::Parts(ranges, bytes), ..self }
    }

    /// Holds a response against it; its body must be in memory.
    ///
    /// # Errors
    ///
    /// What is different.
    pub fn check(&self, method: Method, response: &Response) -> Result<(), String> {
        let same = |what: &str, said: &dyn Display, came: &dyn Display| {
            let (said, came) = (said.to_string(), came.to_string());
            if said == came { Ok(()) } else { Err(format!("{what}: expected `{said}`, but came `{came}`")) }
        };
        same("status", &self.status, &response.status)?;
        // SPEC A3.
        same("API version", &"registry/2.0", &response.header("Docker-Distribution-API-Version").unwrap_or_default())?;
        for name in FIELDS {
            let fields = response.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
            let came = fields.map(|(_, value)| value.as_ref()).collect::<Vec<_>>().join(", ");
            let said = self.fields.get(name).map_or("", String::as_str);
            match name {
                "Link" => same(name, &link(said), &link(&came))?,
                "Content-Type" if matches!(self.body, Content::Parts(..)) => {}
                _ => same(name, &said, &came)?,
            }
        }
        let body = match &response.body {
            Body::Empty => &[][..],
            Body::Bytes(bytes) => bytes,
            Body::Pieces(_) | Body::Coming(_) | Body::Relayed => return Err("the host has not sent the bytes".into()),
        };
        let length = response.header("Content-Length");
        match (self.status, method) {
            // RFC 9110, 8.6 (SPEC G3, I1).
            (204 | 304, _) => same("Content-Length", &"", &length.unwrap_or_default())?,
            (_, Method::Head) => {
                // SPEC C2, J1, P5.
                if let Content::Bytes(bytes) = &self.body {
                    same("Content-Length", &bytes.len(), &length.unwrap_or_default())?;
                }
                return same("body of HEAD", &0, &body.len());
            }
            _ => same("Content-Length", &body.len(), &length.unwrap_or_default())?,
        }
        self.body.check(body, response.header("Content-Type").unwrap_or_default())
    }
}

impl Content {
    fn check(&self, body: &[u8], media_type: &str) -> Result<(), String> {
        let read = || serde_json::from_slice::<Json>(body).map_err(|error| error.to_string());
        let shown = || String::from_utf8_lossy(&body[..body.len().min(2000)]).into_owned();
        let right = match self {
            Self::Nothing => body.is_empty(),
            Self::Bytes(bytes) => body == bytes,
            Self::Json(document) => read()? == *document,
            Self::Index(entries) => {
                let mut index = read()?;
                let listed = index["manifests"].take();
                let mut listed = listed.as_array().cloned().ok_or_else(|| format!("no list: {}", shown()))?;
                let mut entries = entries.clone();
                [&mut listed, &mut entries].into_iter().for_each(|list| list.sort_by_key(ToString::to_string));
                index["schemaVersion"] == 2 && index["mediaType"] == media_type && listed == entries
            }
            Self::Errors(code, digests) => {
                let document = read()?;
                let errors = document["errors"].as_array().cloned().unwrap_or_default();
                let told: Vec<_> = errors.iter().filter_map(|error| error["detail"]["digest"].as_str()).collect();
                // SPEC P1: each is an object with a code, a message and nothing that is no text.
                let formed = errors.iter().all(|error| error["code"] == *code && error["message"].is_string());
                let about = digests.is_empty() || told.iter().copied().eq(digests.iter().map(String::as_str));
                formed && about && errors.len() == digests.len().max(1)
            }
            Self::Parts(ranges, bytes) => {
                let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").unwrap_or_default();
                let mut parts = Vec::new();
                for range in ranges {
                    let Range { start, end } = range;
                    let place = format!("Content-Range: bytes {start}-{}/{}", end - 1, bytes.len());
                    let head = format!("\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n{place}\r\n\r\n");
                    parts.extend([head.as_bytes(), &bytes[range.clone()]].concat());
                }
                parts.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
                !boundary.is_empty() && body == parts
            }
        };
        if right { Ok(()) } else { Err(format!("body: expected {self:?}, but came {}", shown())) }
    }
}

/// A link to the next page, its parameters decoded and in order: how it is written is not said (SPEC N3, N9).
fn link(field: &str) -> String {
    let Some(target) = field.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")) else {
        return field.to_owned();
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    format!("{path} {:?}", Query::read(query).sorted())
}
