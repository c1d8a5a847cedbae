//! One request to a registry: logged in as the registry asks for it, and redirected to wherever it may lead.

use std::borrow::Cow;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::body::Body;
use super::challenge::Challenge;
use super::failure::{Failure, repeated};
use super::login::{Login, bearer};
use super::token::Wanted;
use super::transport::{self, Transport};
use super::{Inner, Seen, path_of};

/// How often a request is redirected.
const REDIRECTS: usize = 10;

/// How much of an answer that is an error is read.
const ERROR: usize = 64 << 10;

/// A request to a registry.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What it has to be allowed, each as `repository:NAME:pull`.
    pub(super) scopes: Vec<String>,
    /// The login of whoever asks, in the place of the configured one.
    pub(super) login: Option<Login>,
    /// Whoever is told what each answer is on the way.
    pub(super) seen: Option<Seen>,
}

/// What came back.
pub(super) struct Arrived {
    pub(super) response: Response<Body>,
    /// Where it came from.
    pub(super) url: Url,
}

/// The body of an answer that is an error (OCI distribution-spec, "Error Codes").
#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorOf>,
}

#[derive(Deserialize)]
struct ErrorOf {
    code: Option<String>,
    message: Option<String>,
}

impl Inner {
    /// Sends a request, logs in when that is asked for, and follows redirects. Answers of every status are returned, but
    /// those that say that something has to be done before the request can be tried again.
    ///
    /// # Errors
    ///
    /// [`Failure::Paused`] for a 429 or while its pause lasts, [`Failure::Denied`] or [`Failure::LoginRefused`] for a 401
    /// of the registry, and what keeps an answer from coming.
    pub(super) async fn exchange(&self, request: &Outgoing) -> Result<Arrived, Failure> {
        let ours = request.login.is_none();
        if let Some(left) = self.pause.left().filter(|_| ours) {
            return Err(Failure::Paused(left));
        }
        let login = request.login.clone().or_else(|| self.login.get());
        let mut challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut sent = self.authorization(challenge.as_ref(), request, login.as_ref(), None).await?;
        let mut again = true;
        loop {
            let arrived = self.follow(request, sent.clone()).await?;
            let home = arrived.url.origin() == self.url.origin();
            match arrived.response.status() {
                StatusCode::TOO_MANY_REQUESTS if home => {
                    return Err(Failure::Paused(self.pause(arrived.response.headers(), ours)));
                }
                StatusCode::UNAUTHORIZED if home => {
                    let asked = Challenge::of(arrived.response.headers());
                    // The same login is not sent twice, but for a token that may have ended.
                    let repeats = !again || (asked == challenge && asked == Some(Challenge::Basic) && sent.is_some());
                    again = false;
                    let next = match &asked {
                        Some(_) if !repeats => {
                            self.authorization(asked.as_ref(), request, login.as_ref(), sent.as_ref()).await?
                        }
                        _ => None,
                    };
                    let Some(next) = next else {
                        return Err(self.denied(arrived, asked.as_ref(), login.as_ref()).await);
                    };
                    self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&asked);
                    (challenge, sent) = (asked, Some(next));
                }
                status => {
                    if home && ours && !status.is_server_error() {
                        self.pause.end();
                    }
                    return Ok(arrived);
                }
            }
        }
    }

    /// What answers a challenge, if anything does: the password, or a token for it. `refused` did not.
    async fn authorization(
        &self,
        challenge: Option<&Challenge>,
        request: &Outgoing,
        login: Option<&Login>,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Failure> {
        match (challenge, login) {
            (_, Some(Login::Bearer(token))) => Ok(bearer(token).filter(|value| Some(value) != refused)),
            (None, _) => Ok(None),
            (Some(Challenge::Basic), _) => Ok(login.and_then(Login::basic)),
            (Some(Challenge::Bearer { realm, service }), _) => {
                let wanted = Wanted {
                    realm: realm.clone(),
                    service: service.clone(),
                    scopes: request.scopes.clone(),
                    login: login.map(|login| self.fingerprints.of(login)),
                };
                let refused = refused.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
                let ask = self.ask_for_token(&wanted, login, request.login.is_none());
                let token = self.tokens.get(&wanted, refused, ask).await?;
                let told = || Failure::Unusable(format!("{realm} gives a token that cannot be sent"));
                bearer(&token).map(Some).ok_or_else(told)
            }
        }
    }

    /// A 401 that is not answered. To a token that a token server has given for the login it says that this may not be
    /// had: so registries answer for repositories that they do not have.
    async fn denied(&self, arrived: Arrived, asked: Option<&Challenge>, login: Option<&Login>) -> Failure {
        let reason = self.told(arrived).await;
        let granted = matches!(asked, Some(Challenge::Bearer { .. }));
        match login {
            None => Failure::Denied(format!("{reason} (no login is configured)")),
            Some(Login::Basic { username, .. }) if granted => Failure::Denied(format!("{reason} (as {username})")),
            Some(Login::Identity(_)) if granted => Failure::Denied(reason),
            Some(Login::Basic { username, .. }) => Failure::LoginRefused(format!("{reason} (logged in as {username})")),
            Some(_) => Failure::LoginRefused(format!("{reason} (logged in by a token)")),
        }
    }

    /// Sends a request to wherever it is redirected. What logs in is for the registry alone: it is sent to no other
    /// host, nor to another port.
    async fn follow(&self, request: &Outgoing, mut authorization: Option<HeaderValue>) -> Result<Arrived, Failure> {
        let mut url = request.url.clone();
        if url.origin() != self.url.origin() {
            authorization = None;
        }
        for _ in 0..=REDIRECTS {
            let response = self.ask(&self.transport, request, &url, authorization.as_ref()).await?;
            let Some(next) = redirected(request, &url, &response)? else { return Ok(Arrived { response, url }) };
            if next.origin() != url.origin() {
                authorization = None;
            }
            url = next;
        }
        Err(Failure::Unusable(format!("{} redirects more than {REDIRECTS} times", self.host())))
    }

    /// Sends a request to that place, by the transport that leads there.
    pub(super) async fn ask(
        &self,
        transport: &Transport,
        request: &Outgoing,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Body>, Failure> {
        let mut sent = Request::builder().method(request.method.clone()).uri(url.as_str());
        if let Some(headers) = sent.headers_mut() {
            headers.clone_from(&request.headers);
            headers.insert(USER_AGENT, HeaderValue::from_static(transport::USER_AGENT));
            // Bytes that a server compresses on the way are not those of the digest.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            headers.extend(authorization.map(|value| (AUTHORIZATION, value.clone())));
        }
        let sent = sent.body(Full::new(request.body.clone()));
        let sent = sent.map_err(|error| Failure::Unusable(format!("{} cannot be asked: {error}", self.host())))?;
        let turn = self.pace.request().await;
        let answered = transport.send(sent).await;
        drop(turn);
        if let Some(seen) = &request.seen {
            seen(answered.as_ref().ok().map(Response::status));
        }
        answered
    }

    /// Begins the pause that a 429 asks for, and says how long it is. A login that is not the configured one has limits of
    /// its own, and begins none for others.
    pub(super) fn pause(&self, headers: &HeaderMap, ours: bool) -> Duration {
        if ours { self.pause.begin(headers) } else { super::pause::Pause::default().begin(headers) }
    }

    /// What an answer comes to that is not the one that was hoped for.
    pub(super) async fn failed(&self, arrived: Arrived) -> Failure {
        match arrived.response.status().as_u16() {
            404 => Failure::Absent,
            401 | 403 if arrived.url.origin() == self.url.origin() => Failure::Denied(self.told(arrived).await),
            // No room: that does not pass by itself.
            507 => Failure::Unusable(self.told(arrived).await),
            429 | 500.. => Failure::Unreachable(self.told(arrived).await),
            _ => Failure::Unusable(self.told(arrived).await),
        }
    }

    /// An answer in words.
    async fn told(&self, arrived: Arrived) -> String {
        // The path and the query of another host may be a secret.
        let own = arrived.url.origin() == self.url.origin();
        let what = if own { Cow::Owned(path_of(&arrived.url)) } else { Cow::Borrowed("what it was redirected to") };
        let host = arrived.url.host_str().unwrap_or_default().to_owned();
        self.explained(arrived.response, &host, &what).await
    }

    /// An answer of a host in words, with the errors that it names.
    pub(super) async fn explained(&self, response: Response<Body>, host: &str, what: &str) -> String {
        let status = response.status();
        let body = response.into_body().collect_within(ERROR).await.unwrap_or_default();
        let errors = serde_json::from_slice::<Errors>(&body).map(|body| body.errors).unwrap_or_default();
        let named = errors.iter().map(|error| {
            let parts = [error.code.as_deref(), error.message.as_deref()];
            parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
        });
        let named = repeated(&named.collect::<Vec<_>>().join("; "));
        let colon = if named.is_empty() { "" } else { ": " };
        format!("{host} answers {} to {what}{colon}{named}", status.as_u16())
    }
}

/// Where an answer sends a request, if it does.
fn redirected(request: &Outgoing, from: &Url, response: &Response<Body>) -> Result<Option<Url>, Failure> {
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    match response.status().as_u16() {
        // Only these two have a request with a body sent again as it was (RFC 9110, 15.4).
        307 | 308 => {}
        301..=303 if reads => {}
        _ => return Ok(None),
    }
    let host = from.host_str().unwrap_or_default();
    let wrong = |reason: &str| Failure::Unusable(format!("{host} redirects {reason}"));
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| wrong("to nowhere: it sends no Location"))?;
    let to = from.join(location).map_err(|_| wrong("to what is no URL"))?;
    match (from.scheme(), to.scheme()) {
        ("https", "https") | ("http", "http" | "https") => {}
        ("https", "http") => return Err(wrong("from https to http, which is not followed")),
        _ => return Err(wrong("to what is neither http nor https")),
    }
    if to.host().is_none() || !to.username().is_empty() || to.password().is_some() {
        return Err(wrong("to what is no URL of a file"));
    }
    Ok(Some(to))
}
