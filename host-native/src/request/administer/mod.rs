//! `/api/v1` as far as the host answers it: what is about users, which the core knows nothing of, and what administrators
//! see and do. One file a subject.
#![allow(clippy::result_large_err, reason = "what refuses a request is its answer")]

pub(crate) mod activity;
mod csv;
pub(crate) mod job;
mod jobs;
pub(crate) mod kept;
mod state;
mod work;

use std::sync::Arc;

use axum::response::Response;
use orlop_core::error::{Code, Error};
use orlop_core::http;
use orlop_core::operation::Operation;
use orlop_core::target::Query;

pub(crate) use self::work::{Refused, Work};
use crate::auth::identity::Identity;
use crate::auth::identity::sign_in::Vouched;
use crate::auth::refusal::{refusal, unauthorized};
use crate::request::answer::Service;
use crate::request::live::Live;
use crate::request::response::with_body;
use crate::request::source::Origin;
use crate::request::{api_tokens, at_provider, sign_in};
use crate::storage::RequestBody;

/// The answer to a request that may be made, if the host gives it and not the core.
pub(super) async fn answer(
    service: &Service,
    live: &Live,
    from: Origin<'_>,
    body: &mut RequestBody,
    identity: &Identity,
) -> Option<Response> {
    if let Some(answered) = at_provider::answer(service, live, from).await {
        return Some(answered);
    }
    if let Some(answered) = sign_in::answer(service, live, from, body, identity).await {
        return Some(answered);
    }
    if let Some(answered) = api_tokens::answer(live, from, body, identity).await {
        return Some(answered);
    }
    let answered = match from.line.asked.operation.as_ref().ok()? {
        Operation::ListActivity => activity::list(service, live, from, identity).await,
        Operation::ListJobs => jobs::list(service, live, identity).await,
        Operation::BeginJob => jobs::begin(service, live, from, body, identity).await,
        Operation::ListMirrors => state::mirrors(service, live, identity).await,
        Operation::ListSyncs => state::syncs(service, live, identity).await,
        Operation::ListDamaged => state::damaged(service, live, from, identity).await,
        Operation::StorageState => state::storage(service, live, identity).await,
        _ => return kept::answer(service, live, from, body, identity).await,
    };
    Some(with_body(answered.unwrap_or_else(|refused| refused), None))
}

/// How many entries a page has: as many as `n` says, one at least and `most` at most, or `usual`.
///
/// # Errors
///
/// When `n` is no number. One beyond every list is as good as the largest.
pub(super) fn page_size(query: &Query, (usual, most): (usize, usize)) -> Result<usize, Error> {
    match query.get("n") {
        None => Ok(usual),
        Some(n) if !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(n.parse().unwrap_or(most).clamp(1, most))
        }
        Some(_) => Err(Error::PageNumber),
    }
}

/// The administrator who asks.
///
/// # Errors
///
/// With the answer to everybody else: 401 to somebody of whom nothing is known, where users can be; 403 to others, also to
/// whoever has shown a token.
pub(super) fn administrator(live: &Live, identity: &Identity) -> Result<Vouched, http::Response> {
    if identity.is_anonymous() && live.identities.can_ask() {
        return Err(unauthorized(live.identities.challenges(&[], None), None));
    }
    let vouched = identity.vouched().filter(|_| live.is_administrator(identity));
    vouched.ok_or_else(|| {
        let told = "only administrators who have signed in, or send the password, may do this: see `administrators` in \
                    the settings";
        refusal(403, Code::Denied, told)
    })
}

/// Refuses what changes something, on a server that takes no changes.
///
/// # Errors
///
/// With the answer.
pub(super) fn takes_changes(live: &Live) -> Result<(), http::Response> {
    match live.read_only {
        false => Ok(()),
        true => {
            let told = "the registry takes no changes for now";
            Err(refusal(405, Code::Unsupported, told).with("Allow", "GET, HEAD"))
        }
    }
}

/// What performs the work of administrators.
///
/// # Errors
///
/// With the answer of a server that cannot.
pub(super) fn work(service: &Service) -> Result<&Arc<dyn Work>, http::Response> {
    let told = "this server does no work for administrators";
    service.work.as_ref().ok_or_else(|| refusal(404, Code::Unsupported, told))
}
