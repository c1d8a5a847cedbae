//! The grammars of the specification, as it writes them: regular expressions (SPEC B).

use std::sync::LazyLock;

use orlop_core::Method;
use regex::Regex;

use super::{Refusals, Says};

static NAME: LazyLock<Regex> = LazyLock::new(|| {
    let component = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*";
    regex(&format!("{component}(/{component})*"))
});
static TAG: LazyLock<Regex> = LazyLock::new(|| regex("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"));
static DIGEST: LazyLock<Regex> = LazyLock::new(|| regex("sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}"));
static SESSION: LazyLock<Regex> =
    LazyLock::new(|| regex("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));

fn regex(text: &str) -> Regex {
    Regex::new(&format!("^({text})$")).expect("the expressions are right")
}

/// Whether it is the name of a repository (SPEC B1, B2).
pub fn is_name(text: &str) -> bool {
    text.len() <= 255 && NAME.is_match(text)
}

/// Whether it is a tag (SPEC B4).
pub fn is_tag(text: &str) -> bool {
    TAG.is_match(text)
}

/// Whether it is a digest that the registry takes (SPEC B6, B7).
pub fn is_digest(text: &str) -> bool {
    DIGEST.is_match(text)
}

/// The digest of these bytes, by the algorithm of another digest.
pub(super) fn digest_like(digest: &str, bytes: &[u8]) -> String {
    if digest.starts_with("sha512:") { crate::image::sha512(bytes) } else { crate::image::sha256(bytes) }
}

/// What a path leads to, with names that can be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum Path {
    Base,
    Catalog,
    Tags(String),
    Manifest(String, String),
    Blob(String, String),
    Uploads(String),
    Upload(String, String),
    Referrers(String, String),
}

impl Path {
    /// The methods that it takes (SPEC A13).
    pub(super) fn methods(&self) -> &'static [Method] {
        use Method::{Delete, Get, Head, Patch, Post, Put};
        match self {
            Self::Base | Self::Catalog | Self::Tags(_) | Self::Referrers(..) => &[Get, Head],
            Self::Manifest(..) => &[Get, Head, Put, Delete],
            Self::Blob(..) => &[Get, Head, Delete],
            Self::Uploads(_) => &[Post],
            Self::Upload(..) => &[Get, Head, Patch, Put, Delete],
        }
    }
}

/// What a path leads to. It is read from the right end (SPEC B11), each segment decoded by itself (SPEC B10). A
/// manifest may be called anything that is no malformed digest: what comes of it depends on the method (SPEC B4).
///
/// # Errors
///
/// What may be said when it leads nowhere, or to a name that cannot be.
pub fn route(path: &str) -> Result<Path, Refusals> {
    let nowhere = || vec![Says::refusal(404, "UNSUPPORTED")];
    if matches!(path, "/v2" | "/v2/") {
        return Ok(Path::Base);
    }
    let segments: Vec<String> = path.strip_prefix("/v2/").ok_or_else(nowhere)?.split('/').map(decode).collect();
    let mut wrong = Vec::new();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let mut name = |segments: &[&str]| {
        let name = segments.join("/");
        wrong.extend((!is_name(&name)).then(|| Says::refusal(400, "NAME_INVALID")));
        name
    };
    let path = match segments.as_slice() {
        ["_catalog"] | ["_catalog", ""] => Path::Catalog,
        [repository @ .., "tags", "list"] | [repository @ .., "tags", "list", ""] if !repository.is_empty() => {
            Path::Tags(name(repository))
        }
        [repository @ .., "manifests", reference] if !repository.is_empty() => {
            let path = Path::Manifest(name(repository), (*reference).into());
            // SPEC B5: a colon makes it a digest.
            let malformed = reference.contains(':') && !is_digest(reference);
            wrong.extend(malformed.then(|| Says::refusal(400, "DIGEST_INVALID")));
            path
        }
        [repository @ .., "referrers", digest] if !repository.is_empty() => {
            let path = Path::Referrers(name(repository), (*digest).into());
            wrong.extend((!is_digest(digest)).then(|| Says::refusal(400, "DIGEST_INVALID")));
            path
        }
        [repository @ .., "blobs", "uploads", ""] | [repository @ .., "blobs", "uploads"] if !repository.is_empty() => {
            Path::Uploads(name(repository))
        }
        [repository @ .., "blobs", "uploads", id] if !repository.is_empty() => {
            let path = Path::Upload(name(repository), (*id).into());
            // SPEC F10: an id that none of ours looks like names no session, with any method.
            wrong.extend((!SESSION.is_match(id)).then(|| Says::refusal(404, "BLOB_UPLOAD_UNKNOWN")));
            path
        }
        [repository @ .., "blobs", digest] if !repository.is_empty() => {
            let path = Path::Blob(name(repository), (*digest).into());
            wrong.extend((!is_digest(digest)).then(|| Says::refusal(400, "DIGEST_INVALID")));
            path
        }
        _ => return Err(nowhere()),
    };
    if wrong.is_empty() { Ok(path) } else { Err(wrong) }
}

/// The parameters of a query, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the `?`.
    pub fn read(query: &str) -> Self {
        let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
        Self(parameters.map(|p| p.split_once('=').unwrap_or((p, ""))).map(|(n, v)| (decode(n), decode(v))).collect())
    }

    /// The first of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Every one of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// With this one instead of all of its name.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let others = self.0.iter().filter(|(given, _)| given != name).cloned();
        Self(others.chain([(name.to_owned(), value.to_owned())]).collect())
    }

    /// Every one, in the order of their names; those of one name stay in theirs.
    pub fn sorted(&self) -> Vec<(String, String)> {
        let mut parameters = self.0.clone();
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
        parameters
    }

    /// As it is sent.
    pub(super) fn encoded(&self) -> String {
        let encode = crate::tester::exchange::encode;
        self.0.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect::<Vec<_>>().join("&")
    }
}

/// Percent-decodes (RFC 3986, 2.1); what is no escape stands for itself.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let decoded = escape.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
