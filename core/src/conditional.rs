//! Conditional requests: `If-Match`, `If-None-Match`, `If-Range` against the digest as a strong validator
//! (RFC 9110, section 13; SPEC A7, C11, J8).

use alloc::format;
use alloc::string::{String, ToString};

use crate::digest::Digest;
use crate::error::Error;
use crate::http::{Headers, Response};

/// What the conditions of a request come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The request is to be done.
    Holds,
    /// The client has what it asks for.
    NotModified,
    /// The request is not to be done, with the reason.
    Fails(String),
}

/// The entity tag of what has this digest.
pub(crate) fn etag(digest: &Digest) -> String {
    quoted(&digest.to_string())
}

fn quoted(digest: &str) -> String {
    ["\"", digest, "\""].concat()
}

/// A response about what has this digest. It is written once for both fields.
pub(crate) fn identified(status: u16, digest: &Digest) -> Response {
    let digest = digest.to_string();
    let etag = quoted(&digest);
    Response::new(status).with("Docker-Content-Digest", digest).with("ETag", etag)
}

/// Refuses a change of what is there now where a condition on it does not hold, so that nothing is overwritten or deleted
/// by mistake (SPEC J8, L10).
pub(crate) fn permits(headers: &Headers, current: Option<&Digest>) -> Result<(), Error> {
    match evaluate(headers, current) {
        Condition::Holds => Ok(()),
        Condition::NotModified => Err(Error::Precondition("there is already what If-None-Match names".into())),
        Condition::Fails(reason) => Err(Error::Precondition(reason)),
    }
}

/// Evaluates the conditions of a `GET` or `HEAD` on what is there now.
pub(crate) fn evaluate(headers: &Headers, current: Option<&Digest>) -> Condition {
    let matches = |name| headers.get(name).map(|_| headers.all(name).any(|field| names(field, current)));
    if matches("if-match") == Some(false) {
        return Condition::Fails("what is there is not what If-Match names".into());
    }
    if matches("if-none-match") == Some(true) {
        return Condition::NotModified;
    }
    Condition::Holds
}

/// Whether there are conditions on what is there now.
pub(crate) fn is_conditional(headers: &Headers) -> bool {
    headers.get("if-match").is_some() || headers.get("if-none-match").is_some()
}

/// Whether `Range` counts: there is no `If-Range`, or it names this content.
pub(crate) fn range_applies(headers: &Headers, digest: &Digest) -> bool {
    headers.get("if-range").is_none_or(|validator| validator == etag(digest))
}

/// Whether a list of entity tags names what is there. Tags compare weakly; a bare digest counts too, as clients
/// send it.
fn names(field: &str, current: Option<&Digest>) -> bool {
    let Some(current) = current else { return false };
    let current = format!("{current}");
    field
        .split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"') == current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn conditions_compare_with_what_is_there() {
        let here = Algorithm::Sha256.digest(b"here");
        let tag = etag(&here);
        let other = etag(&Algorithm::Sha256.digest(b"other"));
        let check = |fields: &[(&str, &str)], current: Option<&Digest>, expected: &str| {
            let condition = match evaluate(&fields.iter().copied().collect(), current) {
                Condition::Holds => "holds",
                Condition::NotModified => "not modified",
                Condition::Fails(_) => "fails",
            };
            assert_eq!(condition, expected, "{fields:?}");
        };
        check(&[], Some(&here), "holds");
        check(&[("If-None-Match", &tag)], Some(&here), "not modified");
        check(&[("If-None-Match", &format!("{other}, W/{tag}"))], Some(&here), "not modified");
        check(&[("If-None-Match", &other), ("If-None-Match", &tag)], Some(&here), "not modified");
        check(&[("If-None-Match", &here.encoded())], Some(&here), "holds");
        check(&[("If-None-Match", &format!("{here}"))], Some(&here), "not modified");
        check(&[("If-None-Match", "*")], Some(&here), "not modified");
        check(&[("If-None-Match", "*")], None, "holds");
        check(&[("If-Match", "*")], None, "fails");
        check(&[("If-Match", "*")], Some(&here), "holds");
        check(&[("If-Match", &other)], Some(&here), "fails");
        check(&[("If-Match", &tag)], Some(&here), "holds");
    }
}
