//! What is where: the registry, and the files beside it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Router, body::Body};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use crate::request::answer::{Service, answer, refuse};
use crate::request::peer::Peer;
use crate::server::page::{File, Page};

/// The description of the API for people, which is there for whoever reads programs.
const API: &File = &File::plain("/api/v1/openapi.yaml", include_bytes!("../../api/openapi.yaml"));

/// Whatever a server has at its address.
#[derive(Clone)]
pub(crate) struct Site {
    registry: Arc<Service>,
    /// The files; whatever none of them is at is the registry's to answer.
    router: TowerToHyperService<Router>,
}

impl Site {
    /// The registry with these pages beside it. Its root leads to the first of them.
    pub(crate) fn new(registry: Arc<Service>, pages: &[&'static Page]) -> Self {
        let others = |State(registry), Extension(peer), request| answer(registry, peer, request);
        // Files are there to be read; what else is asked at their places, the registry refuses.
        let to_read = |read: MethodRouter<Arc<Service>>| read.fallback(others);
        let mut router = Router::new();
        router = router.route(API.path(), to_read(get(|headers: HeaderMap| async move { API.answer_alone(&headers) })));
        if let Some(first) = pages.first() {
            router = router.route("/", to_read(get(|| async { found(first.at) })));
        }
        for page in pages.iter().copied() {
            let give = |file: &'static File| {
                to_read(get(move |headers: HeaderMap| async move { page.answer(file, &headers) }))
            };
            router = router.route(page.at.trim_end_matches('/'), to_read(get(|| async { found(page.at) })));
            for file in page.files {
                router = router.route(&format!("{}{}", page.at, file.path()), give(file));
            }
            let Some(index) = page.index() else { continue };
            router = router.route(page.at, give(index));
            if page.has_routes {
                let below = to_read(get(move |uri: Uri| async move { page.answer_below(uri.path()) }));
                router = router.route(&format!("{}{{*below}}", page.at), below);
                // A part that is not there is of another version of the page, and no page of its own.
                // Nor is it for the registry to answer, which would ask for a login.
                router = router.route(&format!("{}assets/{{*part}}", page.at), to_read(get(gone)));
            }
        }
        let router = router.fallback(others).with_state(registry.clone());
        Self { registry, router: TowerToHyperService::new(router) }
    }

    /// Answers a request of `peer`.
    pub(crate) async fn answer(self, request: hyper::Request<Incoming>, peer: Peer) -> Result<Response, Infallible> {
        let mut request: Request = request.map(Body::new);
        if let Some(told) = ambiguous(&request) {
            return Ok(refuse(&self.registry, &peer, &request, told));
        }
        // No file is there, and to let the router find that out would cost a small request a tenth of its time.
        if request.uri().path().starts_with("/v2") {
            return Ok(answer(self.registry, peer, request).await);
        }
        let _busy = peer.begin();
        request.extensions_mut().insert(peer);
        self.router.call(request).await
    }
}

/// There is no such part of a page.
async fn gone() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "There is no such file: load the page again.\n")
}

/// Sends a browser from the root, or from a place without its slash, to a page. The path is relative: a proxy may have put
/// all of it below another.
fn found(at: &'static str) -> Response {
    let at = at.trim_start_matches('/');
    (StatusCode::FOUND, [(header::LOCATION, at), (header::CACHE_CONTROL, "no-cache")]).into_response()
}

/// What a proxy before us may read in another way than we do.
fn ambiguous(request: &Request) -> Option<&'static str> {
    wrong_host(request).or_else(|| wrong_coding(request))
}

/// What is wrong with the `Host` of a request (RFC 9112, section 3.2; RFC 9113, section 8.3.1).
fn wrong_host(request: &Request) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(header::HOST).into_iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Some("there is more than one Host field"),
        (None, None) if request.version() == Version::HTTP_11 => Some("there is no Host field"),
        (Some(host), None) if !is_host(host.as_bytes()) => Some("the Host field names no host"),
        (Some(host), None) if request.version() == Version::HTTP_2 && !is_named(request, host.as_bytes()) => {
            Some("the Host field names another host than :authority")
        }
        _ => None,
    }
}

/// Whether all of it may stand in a host and its port (RFC 3986, section 3.2). There may be none.
fn is_host(host: &[u8]) -> bool {
    // As a pattern, which is one test: a search in a text would be as many as it has signs, for each request.
    let is_sign =
        |byte| matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$'..=b',' | b';' | b'=' | b':' | b'[' | b']');
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || is_sign(*byte))
}

/// Whether the target of a request names that host, if it names one.
fn is_named(request: &Request, host: &[u8]) -> bool {
    let bare = |host: &[u8]| host.strip_suffix(b":443").unwrap_or(host).to_ascii_lowercase();
    request.uri().authority().is_none_or(|authority| bare(authority.as_str().as_bytes()) == bare(host))
}

/// What is wrong with the coding of its body: where chunks stand in another coding, it is not known where that ends
/// (RFC 9112, sections 6.1 and 7).
fn wrong_coding(request: &Request) -> Option<&'static str> {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).into_iter();
    let first = codings.next()?;
    let only = codings.next().is_none() && first.as_bytes().eq_ignore_ascii_case(b"chunked");
    (!only).then_some("the one transfer coding that is taken is `chunked`")
}
