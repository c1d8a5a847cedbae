//! Which pages of other origins may use the registry in a browser (Fetch standard, section 3.2). None unless it is set.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use orlop_core::target::Target;

use crate::settings::Origin;

/// What a page may send beside what browsers let every page send.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const FIELDS: &str = "Accept, Authorization, Content-Range, Content-Type, If-Match, If-None-Match, If-Range, Range";

/// What a page may read beside what browsers let every page read.
const EXPOSED: &str = "Accept-Ranges, Content-Length, Content-Range, Docker-Content-Digest, \
                       Docker-Distribution-API-Version, Docker-Upload-UUID, ETag, Link, Location, OCI-Chunk-Min-Length, \
                       OCI-Filters-Applied, OCI-Subject, OCI-Tag, Range, Retry-After, Warning, WWW-Authenticate, \
                       X-Request-Id";

/// For how many seconds a browser need not ask again: the longest that Chromium takes.
const AGE: &str = "7200";

/// The pages that may use the registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cors(pub(crate) Vec<Origin>);

/// What is said to the page that a request comes from.
pub(crate) enum Said {
    /// Nothing, for no page may use the registry.
    Nothing,
    /// That others may, but not this one.
    Others,
    /// That this page may, also with the login that the browser keeps.
    This(HeaderValue),
    /// That every page may, without a login.
    All,
}

/// Whether only pages of this server may use what is at a path: sessions, which a browser keeps by itself. A path may be
/// written in several ways.
fn is_for_own_pages(path: &str) -> bool {
    path.starts_with("/api/v1/session") || matches!(Target::parse(path), Ok(Target::Session))
}

impl Cors {
    /// What is said to the page that sends a request with these fields to that path.
    pub(crate) fn says(&self, path: &str, headers: &HeaderMap) -> Said {
        if self.0.is_empty() {
            return Said::Nothing;
        }
        if is_for_own_pages(path) {
            return Said::Others;
        }
        let origin = headers.get(header::ORIGIN);
        let is = |allowed: &Origin, origin: &HeaderValue| match allowed {
            Origin::One(one) => one.as_bytes() == origin.as_bytes(),
            Origin::Any => false,
        };
        match origin {
            Some(origin) if self.0.iter().any(|allowed| is(allowed, origin)) => Said::This(origin.clone()),
            _ if self.0.contains(&Origin::Any) => Said::All,
            _ => Said::Others,
        }
    }

    /// The answer to a browser that asks before a request whether the page may make it. It sends no login with that.
    pub(crate) fn preflight(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
        if *method != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let said = self.says(path, headers);
        if matches!(said, Said::Nothing | Said::Others) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        said.to(&mut response);
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, FIELDS),
            (header::ACCESS_CONTROL_MAX_AGE, AGE),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Some(response)
    }
}

impl Said {
    /// Says it in a response.
    pub(crate) fn to(self, response: &mut Response) {
        let headers = response.headers_mut();
        let mut put = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
        match self {
            Self::Nothing => return,
            Self::Others => {}
            Self::All => {
                put(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
                put(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            }
            Self::This(origin) => {
                put(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
                put(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            }
        }
        // A cache must not give one page what was said to another.
        let vary = match headers.get(header::VARY).and_then(|vary| vary.to_str().ok()) {
            Some(vary) => format!("{vary}, Origin"),
            None => "Origin".into(),
        };
        if let Ok(vary) = HeaderValue::try_from(vary) {
            headers.insert(header::VARY, vary);
        }
    }
}
