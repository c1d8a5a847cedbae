//! Whose repositories a client sees at the root: those of the registry, or those of one mirror.

use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use orlop_core::name::Repository;

use crate::settings::{MirrorSetting, mirror};

/// The mirrors, some of which have names of hosts at which their repositories are at the root.
#[derive(Clone, Default)]
pub(crate) struct Roots(pub(crate) Vec<MirrorSetting>);

impl Roots {
    /// The prefix of the mirror at whose root the client is by the name of the host, if there is one. `encrypted` says
    /// which port the client means where it names none.
    pub(crate) fn of(&self, request: &Request, encrypted: bool) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        // In HTTP/2 the host is part of the target.
        let field = || request.headers().get(HOST)?.to_str().ok();
        let host = request.uri().authority().map(Authority::as_str).or_else(field)?;
        let port = if encrypted { 443 } else { 80 };
        self.0.iter().find(|mirror| mirror.is_at(host, port)).map(|mirror| mirror.prefix.as_str())
    }

    /// Whether the client of a request may send a login that is meant for the upstream of a repository, and is sent on.
    pub(crate) fn verify(&self, repository: Option<&Repository>) -> bool {
        repository.is_some_and(|repository| mirror::verifies(&self.0, repository))
    }
}
