//! `/api/v1/session/oidc/…`: a browser is sent to an identity provider, and comes back signed in (SPEC AC16 to AC20).

use axum::response::Response;
use orlop_core::error::{Code, Error};
use orlop_core::http;
use orlop_core::operation::Operation;

use crate::auth::identity::Brought;
use crate::auth::identity::at_provider::{Arrived, Sent, forget_cookie, is_of_console};
use crate::auth::identity::oidc::code::{Ended, Returned, Stopped};
use crate::auth::refusal::refusal;
use crate::request::answer::Service;
use crate::request::base::Found;
use crate::request::live::Live;
use crate::request::response::with_body;
use crate::request::sign_in::SignedInAs;
use crate::request::source::Origin;

/// Where a browser is told that it is not signed in.
const SIGNED_OUT: &str = "/console/signed-out?error=";

/// The answer to a request that may be made, if it is one of these.
pub(super) async fn answer(service: &Service, live: &Live, from: Origin<'_>) -> Option<Response> {
    let answered = match from.line.asked.operation.as_ref().ok()? {
        Operation::StartProviderSignIn(name) => with_body(start(service, live, from, name).await, None),
        Operation::FinishProviderSignIn(name) => finish(service, live, from, name).await,
        _ => return None,
    };
    Some(answered)
}

fn brought<'r>(from: Origin<'r>) -> Brought<'r> {
    let line = from.line;
    Brought { headers: &from.head.headers, from: line.client, secure: line.secure, own_origin: line.own_origin }
}

/// Where the browser of a request finds this server.
fn found(live: &Live, from: Origin<'_>) -> Option<Found> {
    let by_proxy = live.proxies.trusts(from.peer.address.ip());
    live.locations.found(&from.head.headers, &from.head.uri, by_proxy, from.peer.encrypted)
}

/// Where the provider sends browsers back to.
fn callback(found: &Found, name: &str) -> String {
    format!("{}/api/v1/session/oidc/{name}/callback", found.base)
}

/// An answer that sends a browser to another place, which learns nothing of this one.
fn sent_to(location: String) -> http::Response {
    let response = http::Response::new(303).with("Location", location);
    response.with("Cache-Control", "no-store").with("Referrer-Policy", "no-referrer")
}

async fn start(service: &Service, live: &Live, from: Origin<'_>, name: &str) -> http::Response {
    let Some(found) = found(live, from) else { return no_host() };
    let prefix = found.path();
    let to = Returned::to_of(&from.head.uri);
    // A page that a proxy has put below a path may say so.
    let to = to.as_deref().map(|to| to.strip_prefix(prefix).filter(|rest| is_of_console(rest)).unwrap_or(to));
    if to.is_some_and(|to| !is_of_console(to)) {
        let told = "`to` is to be a path below /console/, of 2048 characters at most";
        return refusal(400, Code::Unsupported, told);
    }
    match live.identities.begin_at_provider(name, to, &callback(&found, name), &brought(from)).await {
        Ok(Sent { location, cookie }) => sent_to(location).with("Set-Cookie", cookie),
        Err(stopped) => ended(service, from, name, prefix, stopped),
    }
}

async fn finish(service: &Service, live: &Live, from: Origin<'_>, name: &str) -> Response {
    let Some(found) = found(live, from) else { return with_body(no_host(), None) };
    let (returned, brought) = (Returned::of(&from.head.uri), brought(from));
    let forget = forget_cookie(brought.secure);
    match live.identities.finish_at_provider(name, &returned, &callback(&found, name), &brought).await {
        Ok(Arrived { begun, to }) => {
            let user = begun.identity.name();
            let response = sent_to(format!("{}{to}", found.path())).with("Set-Cookie", begun.cookie);
            let mut response = with_body(response.with("Set-Cookie", forget), None);
            response.extensions_mut().insert(SignedInAs(user));
            response
        }
        Err((stopped, is_over)) => {
            let response = ended(service, from, name, found.path(), stopped);
            with_body(if is_over { response.with("Set-Cookie", forget) } else { response }, None)
        }
    }
}

/// The answer to somebody who is not signed in: the page is told the code of why, and the log the rest.
fn ended(service: &Service, from: Origin<'_>, name: &str, prefix: &str, (ended, reason): Stopped) -> http::Response {
    if ended == Ended::Unknown {
        return Error::NoSuchEndpoint.into();
    }
    service.observer.metrics.logins_refused.inc();
    let (client, code) = (from.line.client, ended.code());
    match ended {
        Ended::Provider => tracing::warn!("oidc {name}: nobody can sign in there: {reason}"),
        _ => tracing::info!(target: "orlop::auth", "a sign-in at oidc {name} from {client} ends as {code}: {reason}"),
    }
    sent_to(format!("{prefix}{SIGNED_OUT}{code}"))
}

fn no_host() -> http::Response {
    refusal(400, Code::Unsupported, "the request does not say by which host it found this server")
}
