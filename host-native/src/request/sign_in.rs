//! `/api/v1/session`: who is signed in to the web page, signing in with a password, and signing out (SPEC AB).

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use orlop_core::caller::Right;
use orlop_core::effect::Collected;
use orlop_core::error::Code;
use orlop_core::http;
use orlop_core::operation::Operation;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::Semaphore;

use crate::auth::identity::sign_in::{Begun, CSRF, forget_cookie};
use crate::auth::identity::{Brought, Identity};
use crate::auth::problem::Problem;
use crate::auth::refusal::{refusal, unauthorized};
use crate::observe::date::rfc3339;
use crate::request::answer::Service;
use crate::request::live::Live;
use crate::request::response::with_body;
use crate::request::source::Origin;
use crate::storage::{Held, RequestBody, UNIT};

/// The largest body, in bytes.
const LONGEST: usize = 8 << 10;

/// Who has signed in with a request, for the access log.
#[derive(Clone)]
pub(crate) struct SignedInAs(pub(crate) String);

/// A name and a password.
#[derive(Deserialize)]
struct Login {
    user: String,
    password: String,
}

/// The answer to a request that may be made, if it is about a session.
pub(super) async fn answer(
    service: &Service,
    live: &Live,
    from: Origin<'_>,
    body: &mut RequestBody,
    identity: &Identity,
) -> Option<Response> {
    let answered = match from.line.asked.operation.as_ref().ok()? {
        Operation::Session => with_body(told(live, identity), None),
        Operation::SignIn => sign_in(service, live, from, body).await,
        Operation::SignOut => sign_out(live, from, identity).await,
        _ => return None,
    };
    Some(answered)
}

/// What a page is told of who uses it.
fn told(live: &Live, identity: &Identity) -> http::Response {
    let signed = identity.signed();
    let providers = live.identities.providers_of_people();
    let providers: Vec<Json> = providers.map(|(name, title)| json!({ "name": name, "title": title })).collect();
    let body = json!({
        "user": identity.user_name(),
        "administrator": live.is_administrator(identity),
        "groups": live.rules.groups_of(identity),
        "csrf": signed.map(|signed| &signed.csrf),
        "expires": signed.map(|signed| rfc3339(signed.ends)),
        "version": env!("CARGO_PKG_VERSION"),
        "sign_in": { "password": live.identities.has_passwords(), "oidc": providers },
        "playground": live.playground,
        "read_only": live.read_only,
        "anonymous_pull": live.rules.rights(&Identity::anonymous()).may_somewhere(Right::Pull),
    });
    private(200, &body)
}

/// A JSON answer that nobody but who has asked may keep.
pub(super) fn private(status: u16, body: &Json) -> http::Response {
    let response = http::Response::new(status).with_bytes("application/json", body.to_string());
    unshared(response.with("X-Content-Type-Options", "nosniff"))
}

pub(super) fn unshared(response: http::Response) -> http::Response {
    response.with("Cache-Control", "no-store").with("Vary", "Cookie, Authorization")
}

/// Challenges a page of ours, whose requests have the header, and not its browser: that would ask for a password in a window
/// of its own.
pub(super) fn challenge_a_page(live: &Live, headers: &HeaderMap, response: &mut Response) {
    if response.status() != StatusCode::UNAUTHORIZED || !headers.contains_key(CSRF) {
        return;
    }
    response.headers_mut().remove(header::WWW_AUTHENTICATE);
    if let Ok(challenge) = HeaderValue::try_from(live.identities.in_a_page()) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
}

/// Keeps an answer to somebody whom a cookie makes known out of caches that others share: they know only of logins in
/// `Authorization` that answers to them are not for everybody (RFC 9111, section 3.5).
pub(super) fn keep_private(response: &mut Response) {
    let headers = response.headers_mut();
    let control = match headers.get(header::CACHE_CONTROL).map(HeaderValue::as_bytes) {
        Some(b"no-store") => return,
        Some(control) => HeaderValue::from_bytes(&[b"private, ", control].concat()).ok(),
        None => None,
    };
    headers.insert(header::CACHE_CONTROL, control.unwrap_or(HeaderValue::from_static("private")));
    let vary = match headers.get(header::VARY).map(HeaderValue::as_bytes) {
        Some(vary) => HeaderValue::from_bytes(&[vary, b", Cookie"].concat()).ok(),
        None => None,
    };
    headers.insert(header::VARY, vary.unwrap_or(HeaderValue::from_static("Cookie")));
}

async fn sign_in(service: &Service, live: &Live, from: Origin<'_>, body: &mut RequestBody) -> Response {
    match signing_in(service, live, from, body).await {
        Ok((begun, user)) => {
            let mut response = with_body(told(live, &begun.identity).with("Set-Cookie", begun.cookie), None);
            response.extensions_mut().insert(SignedInAs(user));
            response
        }
        Err(refused) => with_body(refused, None),
    }
}

async fn signing_in(
    service: &Service,
    live: &Live,
    from: Origin<'_>,
    body: &mut RequestBody,
) -> Result<(Begun, String), http::Response> {
    let (headers, identities) = (&from.head.headers, &live.identities);
    let line = from.line;
    let brought = Brought { headers, from: line.client, secure: line.secure, own_origin: line.own_origin };
    if !brought.is_of_this_origin() {
        return Err(refusal(403, Code::Denied, "only a page of this server can sign somebody in"));
    }
    let login: Login = read(headers, body).await?;
    if !identities.has_passwords() {
        let told = "this registry has no passwords: set auth-htpasswd";
        return Err(refusal(403, Code::Denied, told));
    }
    let user = login.user.clone();
    // What could be no name in an Authorization header is none here.
    let plain = |text: &str| !text.chars().any(char::is_control);
    let checked = match plain(&login.user) && plain(&login.password) && !login.user.contains(':') {
        true => identities.check_password((login.user, login.password), brought.from).await,
        false => identities.check_password((String::new(), String::new()), brought.from).await,
    };
    let identity = checked.map_err(|problem| {
        service.observer.metrics.logins_refused.inc();
        unauthorized(vec![identities.in_a_page()], Some(&problem))
    })?;
    if identity.vouched().is_none() {
        let told = "an identity token logs in programs, and nobody to the web page".to_owned();
        return Err(unauthorized(vec![identities.in_a_page()], Some(&Problem::Token(told))));
    }
    let begun = begin(live, &identity, brought.secure).await.map_err(http::Response::from)?;
    // The session before is not left open: who signs in again does so in its place.
    for before in identities.sign_ins_of(&brought) {
        if let Err(error) = identities.end_sign_in(&before).await {
            tracing::warn!("the session before cannot be ended: {error:?}");
        }
    }
    Ok((begun, user))
}

/// Begins a session for somebody who is known by something else now, and says what cookie he gets.
async fn begin(live: &Live, identity: &Identity, secure: bool) -> Result<Begun, orlop_core::Error> {
    let vouched = identity.vouched().ok_or(orlop_core::Error::NoSuchEndpoint)?;
    live.identities.begin_sign_in(vouched, secure).await
}

async fn sign_out(live: &Live, from: Origin<'_>, identity: &Identity) -> Response {
    let Some(signed) = identity.signed() else {
        return with_body(unshared(unauthorized(vec![live.identities.in_a_page()], None)), None);
    };
    let response = match live.identities.end_sign_in(&signed.handle).await {
        Ok(_) => http::Response::new(204).with("Set-Cookie", forget_cookie(from.line.secure)),
        Err(error) => error.into(),
    };
    with_body(unshared(response), None)
}

/// Reads a JSON body. A form of another page cannot be that, whatever it sends.
///
/// # Errors
///
/// With the answer to what is none.
pub(super) async fn read<T: for<'d> Deserialize<'d>>(
    headers: &HeaderMap,
    body: &mut RequestBody,
) -> Result<T, http::Response> {
    let json = |kind: &HeaderValue| {
        let kind = kind.to_str().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    };
    if !headers.get(header::CONTENT_TYPE).is_some_and(json) {
        let told = "send JSON, with `Content-Type: application/json`";
        return Err(refusal(415, Code::Unsupported, told).with("Accept", "application/json"));
    }
    let room = Arc::new(Semaphore::new(LONGEST / UNIT + 1));
    match body.collect(LONGEST as u64, &mut Held::of(&room)).await {
        // A list of its values would be taken for an object.
        Collected::Whole(bytes) if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') => {
            Err(refusal(400, Code::Unsupported, "the body is not the JSON that is expected: send an object"))
        }
        Collected::Whole(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            // What was sent may be a secret, so only its place is told.
            let told =
                format!("the body is not the JSON that is expected: line {}, column {}", error.line(), error.column());
            refusal(400, Code::Unsupported, &told)
        }),
        Collected::TooLarge | Collected::NoRoom => {
            Err(refusal(413, Code::SizeInvalid, &format!("the body has more than {LONGEST} bytes")))
        }
        Collected::Cut => Err(refusal(400, Code::SizeInvalid, "the body ended early")),
    }
}
