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
use orlop_core::caller::Rule;
use orlop_core::error::{Code, refusal};
use orlop_core::http::Response;
use orlop_core::record::SessionKey;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::api_token::Shown;
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
    OfApiToken(Shown, Vec<Rule>),
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

    /// A token for that scope, which ends then: of a user, whose line in the password file is this, or of nobody. It may be
    /// had for an API token.
    fn issue(&self, identity: &Identity, line: &str, scope: &str, end: u64) -> String {
        let user = identity.user_name().unwrap_or_default();
        // None of the fields has a line end: names of users and groups have no control characters.
        let mut payload = format!("{end}\n{}\n{scope}\n{user}", self.mark(user, line));
        if let Some(shown) = identity.api_token() {
            payload += &format!("\n{shown}");
        } else if let Some(by) = identity.voucher() {
            payload += &format!("\n{by}\n{}", identity.groups().join("\t"));
        }
        self.signed(&payload)
    }

    fn signed(&self, payload: &str) -> String {
        let payload = URL_SAFE_NO_PAD.encode(payload);
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, payload.as_bytes())))
    }

    /// Whose token it is, and for what. `line` is what the password file says of a user now.
    /// For whom somebody else vouches, it is given who does.
    pub(super) fn check(
        &self,
        token: &str,
        line: impl FnOnce(&str, Option<&str>) -> Option<String>,
    ) -> Result<Bearer, Problem> {
        let (payload, signature) = token.split_once('.').ok_or(Problem::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Problem::Malformed)?;
        hmac::verify(&self.key, payload.as_bytes(), &signature).map_err(|_| Problem::Wrong)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let payload = payload.ok_or(Problem::Malformed)?;
        let (end, mark, asked, user, api_token, vouched) = match payload.split('\n').collect::<Vec<_>>()[..] {
            [end, mark, asked, user] => (end, mark, asked, user, None, None),
            [end, mark, asked, user, id] => (end, mark, asked, user, Some(id), None),
            [end, mark, asked, user, by, groups] => (end, mark, asked, user, None, Some((by, groups))),
            _ => return Err(Problem::Malformed),
        };
        if end.parse::<u64>().map_err(|_| Problem::Malformed)? < seconds() {
            return Err(Problem::Expired);
        }
        if let Some(id) = api_token {
            // Whose it is and what it is worth the API token says: a user with another password keeps it.
            return Ok(Bearer::OfApiToken(id.parse().map_err(|()| Problem::Malformed)?, scope::rules(asked)));
        }
        if user.is_empty() {
            return Ok(Bearer::Own(Identity::in_session(None, scope::rules(asked))));
        }
        let line = line(user, vouched.map(|(by, _)| by)).ok_or(Problem::Wrong)?;
        if self.mark(user, &line) != mark {
            return Err(Problem::Wrong);
        }
        let identity = Identity::in_session(Some(user.into()), scope::rules(asked));
        let Some((by, groups)) = vouched else { return Ok(Bearer::Own(identity)) };
        let groups: Vec<String> = groups.split('\t').filter(|group| !group.is_empty()).map(String::from).collect();
        Ok(Bearer::Own(identity.vouched_by(by).with_groups(groups)))
    }

    /// Stands for a line of the password file, of which it tells nothing.
    fn mark(&self, user: &str, line: &str) -> String {
        let signed = hmac::sign(&self.key, format!("{user}:{line}").as_bytes());
        URL_SAFE_NO_PAD.encode(&signed.as_ref()[..16])
    }

    /// The answer to whoever asks for a token: to a user, whose line this is, or to nobody (SPEC Q2).
    pub(super) fn answer(&self, head: &Parts, identity: &Identity, line: &str) -> Response {
        if head.method != Method::GET {
            return refusal(405, Code::Unsupported, "a token is asked for by GET").with("Allow", "GET");
        }
        let now = seconds();
        let end = now + LIFETIME.as_secs();
        // A login that somebody else vouches for ends when they say, and so does what is given for it (SPEC AC9).
        let end = identity.until.map_or(end, |until| until.min(end));
        let token = self.issue(identity, line, &scope::asked(&head.uri), end);
        let body = json!({
            "token": token,
            "access_token": token,
            "expires_in": end.saturating_sub(now),
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
        let later = seconds() + 60;
        let token = sessions.issue(&Identity::user("alice"), "hash", "repository:a:pull", later);
        let check = |token: &str, line: Option<&str>| sessions.check(token, |_, _| line.map(String::from));
        let Bearer::Own(alice) = check(&token, Some("hash")).unwrap() else { panic!("it was had for a password") };
        assert_eq!((alice.user_name(), alice.granted()), (Some("alice"), Some(&scope::rules("repository:a:pull")[..])));
        assert_eq!(check(&token, Some("other")), Err(Problem::Wrong));
        assert_eq!(check(&token, None), Err(Problem::Wrong));
        assert_eq!(
            check(&sessions.issue(&Identity::anonymous(), "", "", later), None),
            Ok(Bearer::Own(Identity::in_session(None, Vec::new())))
        );
        let shown: Shown = format!("{}:{}", "0".repeat(40), "1".repeat(64)).parse().unwrap();
        let rule = scope::rules("repository:a:pull").remove(0);
        let of_token = Identity::user("alice").with_api_token(shown.clone(), rule);
        let of_token = sessions.issue(&of_token, "", "repository:a:pull", later);
        let expected = Bearer::OfApiToken(shown, scope::rules("repository:a:pull"));
        assert_eq!(check(&of_token, None), Ok(expected), "the API token counts");
        let groups = vec!["dev".to_owned(), "corp:all staff".to_owned()];
        let bob = Identity::user("corp:bob").vouched_by("oidc:corp").with_groups(groups.clone());
        let token_of_bob = sessions.issue(&bob, "line", "", later);
        let by = |token: &str, line: &str| {
            sessions.check(token, |_, by| by.filter(|by| *by == "oidc:corp").map(|_| line.to_owned()))
        };
        let Bearer::Own(known) = by(&token_of_bob, "line").unwrap() else { panic!("a provider vouches for it") };
        assert_eq!((known.user_name(), known.groups()), (Some("corp:bob"), &groups[..]));
        assert_eq!(by(&token_of_bob, "other"), Err(Problem::Wrong));
        assert_eq!(by(&token, "hash"), Err(Problem::Wrong), "nobody vouches for alice");
        let (_, signature) = token.split_once('.').unwrap();
        let forged = format!("{}.{signature}", URL_SAFE_NO_PAD.encode("99999999999\nx\n\n"));
        assert_eq!(check(&forged, None), Err(Problem::Wrong));
        assert_eq!(check(&sessions.signed("1\nx\n\nalice"), Some("hash")), Err(Problem::Expired));
        let others = Sessions::new("https://registry.example/token", None).unwrap();
        assert_eq!(others.check(&token, |_, _| Some("hash".into())), Err(Problem::Wrong));
        let after = Sessions::new("https://registry.example/other", Some(&key)).unwrap();
        assert_eq!(after.check(&token, |_, _| Some("hash".into())), Ok(Bearer::Own(alice)), "the key alone counts");
        for malformed in ["", ".", "a.b", "a"] {
            assert!(check(malformed, None).is_err());
        }
        for wrong in ["registry.example/token", "https://registry.example", "https://registry.example/v2/token", "x"] {
            assert!(Sessions::new(wrong, None).is_err(), "{wrong}");
        }
    }
}
