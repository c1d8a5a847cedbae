//! Tokens of a registry's token server (distribution, "Token Authentication Specification" and "OAuth2 Token
//! Authentication"): asked for by scope, and kept until shortly before they expire.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use super::exchange::Outgoing;
use super::failure::Failure;
use super::login::{Fingerprint, Login};
use super::reach::plain;
use super::{Inner, path_of};

/// How long a token is good when its server does not say (the specification's default).
const USUAL: Duration = Duration::from_secs(60);

/// How long before its end a token is not used any more: a request that it is sent with takes its time.
const MARGIN: Duration = Duration::from_secs(10);

/// The longest that a token is kept, whatever its server says.
const LONGEST: Duration = Duration::from_secs(3600);

/// How many tokens are kept. Beyond it those that have expired are dropped, and then all.
const KEPT: usize = 4096;

/// How large the answer of a token server may be.
const ANSWER: usize = 256 << 10;

/// What Docker Hub's token server is called: its host is another than that of its registry.
const DOCKER_HUB: ([&str; 3], &str) = (["registry-1.docker.io", "index.docker.io", "docker.io"], "auth.docker.io");

/// What a token is for, and by whose login.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    /// Each as `repository:NAME:pull,push`.
    pub(super) scopes: Vec<String>,
    pub(super) login: Option<Fingerprint>,
}

/// A token and when it is no longer used.
#[derive(Clone)]
pub(super) struct Token {
    text: String,
    until: Instant,
}

/// A token, or room for it. Who wants it waits for the one who asks for it.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// The tokens of a registry.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Wanted, Slot>>);

impl Tokens {
    /// The token for this, if need be a new one. The one that the registry has just refused is not used again.
    pub(super) async fn get(
        &self,
        wanted: &Wanted,
        refused: Option<&str>,
        ask: impl Future<Output = Result<Token, Failure>>,
    ) -> Result<String, Failure> {
        let slot = self.slot(wanted);
        let mut held = slot.lock().await;
        let good = |token: &&Token| token.until > Instant::now() && Some(token.text.as_str()) != refused;
        if let Some(token) = held.as_ref().filter(good) {
            return Ok(token.text.clone());
        }
        *held = None;
        Ok(held.insert(ask.await?).text.clone())
    }

    fn slot(&self, wanted: &Wanted) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= KEPT && !slots.contains_key(wanted) {
            let now = Instant::now();
            // One that is locked is being asked for.
            slots.retain(|_, slot| {
                slot.try_lock().map_or(true, |token| token.as_ref().is_some_and(|token| token.until > now))
            });
            if slots.len() >= KEPT {
                slots.clear();
            }
        }
        slots.entry(wanted.clone()).or_default().clone()
    }
}

/// The answer of a token server.
#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    /// The same by its name in OAuth 2.0.
    access_token: Option<String>,
    /// In seconds.
    expires_in: Option<u64>,
}

/// The hosts that may be asked for tokens beside the registry's own.
pub(super) fn realms(registry: &Url, configured: &[String]) -> Vec<String> {
    let mut realms = configured.to_vec();
    let (hosts, realm) = DOCKER_HUB;
    if registry.host_str().is_some_and(|host| hosts.contains(&host)) {
        realms.push(realm.into());
    }
    realms
}

/// The host of a realm as it is configured, and its port if it has one.
pub(super) fn host_of(realm: &str) -> (&str, Option<u16>) {
    let port = realm.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match port.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host, Some(port)),
        None => (realm, None),
    }
}

/// The URL of a token server, if it may be asked: any registry could otherwise have the login that is meant for
/// another one, by naming its token server (CVE-2026-33540), or have Orlop ask any address at all.
///
/// # Errors
///
/// [`Failure::Unusable`], with what to do when it is right.
pub(super) fn trusted(registry: &Url, realms: &[String], realm: &str) -> Result<Url, Failure> {
    let name = registry.host_str().unwrap_or_default();
    let url = Url::parse(realm).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some((url, host)) = url.and_then(|url| url.host_str().map(plain).map(|host| (url, host))) else {
        return Err(Failure::Unusable(format!(
            "{name} names a token server (realm) that is no URL: {}",
            super::failure::repeated(realm)
        )));
    };
    let is = |trusted: &String| {
        let (trusted, port) = host_of(trusted);
        plain(trusted) == host && (port.is_none() || port == url.port_or_known_default())
    };
    if host != plain(name) && !realms.iter().any(is) {
        return Err(Failure::Unusable(format!(
            "{name} wants a token of {host}, which is not its own host: if that is right, add {host} to its realms"
        )));
    }
    if url.scheme() != "https" && registry.scheme() == "https" {
        return Err(Failure::Unusable(format!("{name} wants a token of {host} without encryption")));
    }
    Ok(url)
}

impl Inner {
    /// Asks a token server for a token. `ours` says whether the login is the configured one.
    pub(super) async fn ask_for_token(
        &self,
        wanted: &Wanted,
        login: Option<&Login>,
        ours: bool,
    ) -> Result<Token, Failure> {
        let mut url = trusted(&self.url, &self.realms, &wanted.realm)?;
        let mut headers = HeaderMap::new();
        let (mut method, mut body) = (Method::GET, String::new());
        if let Some(Login::Identity(refresh_token)) = login {
            let mut form = Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", refresh_token);
            form.append_pair("client_id", "orlop").append_pair("scope", &wanted.scopes.join(" "));
            form.extend_pairs(wanted.service.iter().map(|service| ("service", service)));
            (method, body) = (Method::POST, form.finish());
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        } else {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(wanted.service.iter().map(|service| ("service", service)));
            query.extend_pairs(wanted.scopes.iter().map(|scope| ("scope", scope)));
            if let Some(Login::Basic { username, .. }) = login {
                query.append_pair("account", username);
            }
            drop(query);
            if let Some(basic) = login.and_then(Login::basic) {
                headers.insert(AUTHORIZATION, basic);
            }
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let what = path_of(&url);
        let request = Outgoing { method, url, headers, body: body.into(), scopes: Vec::new(), login: None, seen: None };
        let response = self.ask(&self.to_realms, &request, &request.url, None).await?;
        let status = response.status().as_u16();
        match status {
            200 => {}
            400 | 401 | 403 if login.is_some() => {
                let reason = self.explained(response, &host, &what).await;
                return Err(Failure::LoginRefused(format!("the token server does not take the login: {reason}")));
            }
            401 | 403 => return Err(Failure::Denied(self.explained(response, &host, &what).await)),
            429 => return Err(Failure::Paused(self.pause(response.headers(), ours))),
            500.. => return Err(Failure::Unreachable(self.explained(response, &host, &what).await)),
            _ => return Err(Failure::Unusable(self.explained(response, &host, &what).await)),
        }
        let wrong = |reason: &str| Failure::Unusable(format!("{host} answers {what} with no token: {reason}"));
        let bytes = response.into_body().collect_within(ANSWER).await?;
        // The error of the reader would repeat what may be a token.
        let granted: Granted = serde_json::from_slice(&bytes).map_err(|_| wrong("it is no JSON of the form"))?;
        let text = granted.token.filter(|token| !token.is_empty()).or(granted.access_token);
        let text = text.filter(|token| !token.is_empty()).ok_or_else(|| wrong("`token` is missing"))?;
        let lifetime = granted.expires_in.map_or(USUAL, Duration::from_secs).min(LONGEST);
        // Of a very short life a part is used.
        let used = lifetime.saturating_sub(MARGIN).max(lifetime / 2);
        Ok(Token { text, until: Instant::now() + used })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_token_servers_that_are_trusted_are_asked() {
        let check = |registry: &str, configured: &[&str], realm: &str, expected: Result<(), &str>| {
            let registry = Url::parse(registry).unwrap();
            let configured: Vec<String> = configured.iter().map(ToString::to_string).collect();
            match (trusted(&registry, &realms(&registry, &configured), realm), expected) {
                (Ok(_), Ok(())) => {}
                (Err(Failure::Unusable(told)), Err(expected)) if told.contains(expected) => {}
                (other, _) => panic!("{registry} {configured:?} {realm}: {other:?}"),
            }
        };
        let own = "https://registry.example.com";
        check(own, &[], "https://registry.example.com/token", Ok(()));
        check(own, &[], "https://registry.example.com:8443/token?a=b", Ok(()));
        check(own, &[], "https://REGISTRY.example.com./token", Ok(()));
        check(own, &[], "https://auth.example.com/token", Err("add auth.example.com to its realms"));
        check(own, &["auth.example.com"], "https://auth.example.com/token", Ok(()));
        check(own, &["auth.example.com"], "https://auth.example.com:8443/token", Ok(()));
        check(own, &["auth.example.com:8443"], "https://auth.example.com:8443/token", Ok(()));
        check(own, &["auth.example.com:8443"], "https://auth.example.com/token", Err("not its own host"));
        check(own, &["auth.example.com"], "https://x.auth.example.com/token", Err("not its own host"));
        check(own, &["auth.example.com"], "https://auth.example.com@attacker.test/", Err("not its own host"));
        check(own, &["auth.example.com"], "http://auth.example.com/token", Err("without encryption"));
        check(own, &[], "http://registry.example.com/token", Err("without encryption"));
        check(own, &[], "ftp://registry.example.com/token", Err("no URL"));
        check(own, &[], "/token", Err("no URL"));
        check("http://127.0.0.1:5000", &[], "http://127.0.0.1:5001/token", Ok(()));
        check("http://127.0.0.1:5000", &["[::1]:5001"], "http://[::1]:5001/token", Ok(()));
        check("https://registry-1.docker.io", &[], "https://auth.docker.io/token", Ok(()));
        check(own, &[], "https://auth.docker.io/token", Err("not its own host"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_asked_for_once_and_again_when_it_ends_or_is_refused() {
        let tokens = Tokens::default();
        let wanted = |scope: &str| Wanted {
            realm: "https://registry.example.com/token".into(),
            service: None,
            scopes: vec![scope.into()],
            login: None,
        };
        let lasting =
            |text: &str, seconds| Token { text: text.into(), until: Instant::now() + Duration::from_secs(seconds) };
        let one = lasting("one", 50);
        assert_eq!(tokens.get(&wanted("a"), None, async { Ok(one) }).await, Ok("one".into()));
        let never = async || -> Result<Token, Failure> { panic!("it is there") };
        assert_eq!(tokens.get(&wanted("a"), None, never()).await, Ok("one".into()));
        assert_eq!(tokens.get(&wanted("a"), Some("older"), never()).await, Ok("one".into()));
        let two = lasting("two", 50);
        assert_eq!(tokens.get(&wanted("b"), None, async { Ok(two) }).await, Ok("two".into()));
        let three = lasting("three", 50);
        assert_eq!(tokens.get(&wanted("a"), Some("one"), async { Ok(three) }).await, Ok("three".into()));
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(tokens.get(&wanted("a"), None, async { Err(Failure::Absent) }).await, Err(Failure::Absent));
        let four = lasting("four", 50);
        assert_eq!(tokens.get(&wanted("a"), None, async { Ok(four) }).await, Ok("four".into()));
    }

    #[tokio::test]
    async fn tokens_are_kept_within_bounds() {
        let tokens = Tokens::default();
        for n in 0..KEPT * 2 + 1 {
            let until = Instant::now() + if n < KEPT { Duration::ZERO } else { LONGEST };
            let wanted = Wanted { realm: String::new(), service: None, scopes: vec![n.to_string()], login: None };
            tokens.get(&wanted, None, async { Ok(Token { text: String::new(), until }) }).await.unwrap();
            assert!(tokens.0.lock().unwrap().len() <= KEPT, "{n}");
        }
    }
}
