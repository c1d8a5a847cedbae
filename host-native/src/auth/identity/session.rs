//! Tokens of our own: for clients that want one, as Docker's engine does where nobody may pull as well.
//!
//! Such a token says who somebody is, and for what it was asked. It allows what the rules allow, as far as it was asked
//! for it: that is decided for each request. It is worth nothing once the user is gone or has another password, and after
//! five minutes, and another one is only to be had for the password. All hosts of one storage sign with one key, which is
//! among the records, so a token outlives a restart.

use std::time::{Duration, SystemTime};

use axum::http::Method;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use orlop_core::api_token::ApiTokenId;
use orlop_core::caller::Rule;
use orlop_core::error::{Code, refusal};
use orlop_core::http::Response;
use orlop_core::record::SessionKey;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::{Identity, Problem, scope, seconds};

/// How long a token is good. Clients get another by themselves.
const LIFETIME: Duration = Duration::from_secs(300);

/// A session key that no other host has.
///
/// # Errors
///
/// When the system has no random numbers.
pub fn new_key() -> Result<SessionKey, String> {
    let mut random = [0; 32];
    SystemRandom::new().fill(&mut random).map_err(|_| "the system has no random numbers")?;
    Ok(SessionKey::new(random))
}

/// Whose a token is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    /// This is known by the token alone.
    Own(Identity),
    /// It was had for that API token, and is for this.
    OfApiToken(ApiTokenId, Vec<Rule>),
}

/// Makes tokens, and knows them again.
pub(super) struct Sessions {
    url: String,
    path: String,
    key: hmac::Key,
}

impl Sessions {
    /// Sessions that are begun at that address of ours. Without a key that others know too, they end with this process.
    pub(super) fn new(url: &str, key: Option<&SessionKey>) -> Result<Self, String> {
        let wrong = || format!("auth-token-url: `{url}` is not where clients reach this registry: https://NAME/token");
        let parsed: hyper::Uri = url.parse().map_err(|_| wrong())?;
        let path = parsed.path().to_owned();
        let reachable = matches!(parsed.scheme_str(), Some("http" | "https")) && parsed.query().is_none();
        if !reachable || path == "/" || path.starts_with("/v2") {
            return Err(wrong());
        }
        let key = key.map_or_else(new_key, |key| Ok(key.clone()))?;
        Ok(Self { url: url.into(), path, key: hmac::Key::new(hmac::HMAC_SHA256, key.bytes()) })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether a request is for a token.
    pub(super) fn is_asked(&self, head: &Parts) -> bool {
        head.uri.path() == self.path
    }

    /// A token of a user, whose line in the password file is this, for that scope; of nobody, for an empty name. It may be
    /// had for an API token.
    fn issue(&self, user: &str, line: &str, scope: &str, by: Option<&ApiTokenId>) -> String {
        // None of the fields has a line end: names of users have no control characters.
        let mut payload = format!("{}\n{}\n{scope}\n{user}", seconds() + LIFETIME.as_secs(), self.mark(user, line));
        if let Some(id) = by {
            payload += &format!("\n{id}");
        }
        self.signed(&payload)
    }

    fn signed(&self, payload: &str) -> String {
        let payload = URL_SAFE_NO_PAD.encode(payload);
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, payload.as_bytes())))
    }

    /// Whose token it is, and for what. `line` is what the password file says of a user now.
    pub(super) fn check(&self, token: &str, line: impl FnOnce(&str) -> Option<String>) -> Result<Bearer, Problem> {
        let (payload, signature) = token.split_once('.').ok_or(Problem::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Problem::Malformed)?;
        hmac::verify(&self.key, payload.as_bytes(), &signature).map_err(|_| Problem::Wrong)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let payload = payload.ok_or(Problem::Malformed)?;
        let (end, mark, asked, user, by) = match payload.split('\n').collect::<Vec<_>>()[..] {
            [end, mark, asked, user] => (end, mark, asked, user, None),
            [end, mark, asked, user, by] => (end, mark, asked, user, Some(by)),
            _ => return Err(Problem::Malformed),
        };
        if end.parse::<u64>().map_err(|_| Problem::Malformed)? < seconds() {
            return Err(Problem::Expired);
        }
        if let Some(by) = by {
            // Whose it is and what it is worth the API token says: a user with another password keeps it.
            return Ok(Bearer::OfApiToken(by.parse().map_err(|_| Problem::Malformed)?, scope::rules(asked)));
        }
        if user.is_empty() {
            return Ok(Bearer::Own(Identity::in_session(None, scope::rules(asked))));
        }
        let line = line(user).ok_or(Problem::Wrong)?;
        if self.mark(user, &line) != mark {
            return Err(Problem::Wrong);
        }
        Ok(Bearer::Own(Identity::in_session(Some(user.into()), scope::rules(asked))))
    }

    /// Stands for a line of the password file, of which it tells nothing.
    fn mark(&self, user: &str, line: &str) -> String {
        let signed = hmac::sign(&self.key, format!("{user}:{line}").as_bytes());
        URL_SAFE_NO_PAD.encode(&signed.as_ref()[..16])
    }

    /// The answer to whoever asks for a token: to a user, whose line this is, or to nobody (SPEC Q2).
    pub(super) fn answer(&self, head: &Parts, user: &str, line: &str, by: Option<&ApiTokenId>) -> Response {
        if head.method != Method::GET {
            return refusal(405, Code::Unsupported, "a token is asked for by GET").with("Allow", "GET");
        }
        let token = self.issue(user, line, &scope::asked(&head.uri), by);
        let body = json!({
            "token": token,
            "access_token": token,
            "expires_in": LIFETIME.as_secs(),
            "issued_at": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        });
        Response::new(200).with_bytes("application/json", body.to_string()).with("Cache-Control", "no-store")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_as_long_as_its_line_is() {
        let key = new_key().unwrap();
        let sessions = Sessions::new("https://registry.example/token", Some(&key)).unwrap();
        let token = sessions.issue("alice", "hash", "repository:a:pull", None);
        let check = |token: &str, line: Option<&str>| sessions.check(token, |_| line.map(String::from));
        let Bearer::Own(alice) = check(&token, Some("hash")).unwrap() else { panic!("it was had for a password") };
        assert_eq!((alice.user_name(), alice.granted()), (Some("alice"), Some(&scope::rules("repository:a:pull")[..])));
        assert_eq!(check(&token, Some("other")), Err(Problem::Wrong));
        assert_eq!(check(&token, None), Err(Problem::Wrong));
        assert_eq!(
            check(&sessions.issue("", "", "", None), None),
            Ok(Bearer::Own(Identity::in_session(None, Vec::new())))
        );
        let id: ApiTokenId = "0".repeat(40).parse().unwrap();
        let of_token = sessions.issue("alice", "", "repository:a:pull", Some(&id));
        let expected = Bearer::OfApiToken(id, scope::rules("repository:a:pull"));
        assert_eq!(check(&of_token, None), Ok(expected), "the API token counts");
        let (_, signature) = token.split_once('.').unwrap();
        let forged = format!("{}.{signature}", URL_SAFE_NO_PAD.encode("99999999999\nx\n\n"));
        assert_eq!(check(&forged, None), Err(Problem::Wrong));
        assert_eq!(check(&sessions.signed("1\nx\n\nalice"), Some("hash")), Err(Problem::Expired));
        let others = Sessions::new("https://registry.example/token", None).unwrap();
        assert_eq!(others.check(&token, |_| Some("hash".into())), Err(Problem::Wrong));
        let after = Sessions::new("https://registry.example/other", Some(&key)).unwrap();
        assert_eq!(after.check(&token, |_| Some("hash".into())), Ok(Bearer::Own(alice)), "the key alone counts");
        for malformed in ["", ".", "a.b", "a"] {
            assert!(check(malformed, None).is_err());
        }
        for wrong in ["registry.example/token", "https://registry.example", "https://registry.example/v2/token", "x"] {
            assert!(Sessions::new(wrong, None).is_err(), "{wrong}");
        }
    }
}
