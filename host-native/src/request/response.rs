//! Responses of the core as those of axum.

use std::borrow::Cow;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use orlop_core::http;

/// A response of the core as one of axum; `streamed` is the body of one that the core does not have in memory.
pub(super) fn with_body(response: http::Response, streamed: Option<Body>) -> Response {
    let body = match (response.body, streamed) {
        (_, Some(body)) => body,
        (http::Body::Bytes(bytes), None) => Body::from(bytes),
        (http::Body::Empty | http::Body::Pieces(_) | http::Body::Coming(_) | http::Body::Relayed, None) => {
            Body::empty()
        }
    };
    let mut made = Response::new(body);
    // With room for what the host adds.
    *made.headers_mut() = HeaderMap::with_capacity(response.headers.len() + 4);
    *made.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in response.headers {
        // What a client sent comes back in some fields, but never a byte that does not belong into one.
        let value = match value {
            // Of ours, which is one.
            Cow::Borrowed(value) => Ok(HeaderValue::from_static(value)),
            Cow::Owned(value) => HeaderValue::try_from(value),
        };
        if let Ok(value) = value {
            made.headers_mut().append(field(name), value);
        }
    }
    made
}

/// The name of a header field of ours. Those of most answers are there ready-made: to make one anew costs a copy.
fn field(name: &str) -> HeaderName {
    static USUAL: LazyLock<Vec<(&str, HeaderName)>> =
        LazyLock::new(|| http::HEADERS_WRITTEN.into_iter().map(|name| (name, made(name))).collect());
    match USUAL.iter().find(|(usual, _)| *usual == name) {
        Some((_, usual)) => usual.clone(),
        None => made(name),
    }
}

fn made(name: &str) -> HeaderName {
    HeaderName::from_bytes(name.as_bytes()).expect("a name of ours")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_its_name_whether_it_is_usual_or_not() {
        for name in ["Content-Type", "ETag", "Retry-After", "Some-Field"] {
            assert_eq!(field(name), name);
        }
    }
}
