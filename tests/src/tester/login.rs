//! Who is asking: `Basic`, and the tokens of the Docker token specification (SPEC Q1, Q2).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::challenge;
use super::exchange::{Answer, Exchange, Unreachable, encode};

/// A name and a password.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

/// What is known of a login.
#[derive(Debug, Default)]
pub(super) struct Login {
    credentials: Option<Credentials>,
    /// `Authorization` by what was asked.
    known: BTreeMap<String, String>,
}

/// What to do about a challenge.
pub(super) enum Next {
    /// Ask again with this authorization.
    Basic(String),
    /// Get a token by this request, with this authorization, if any.
    Token(Exchange, Option<String>),
}

impl Login {
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        Self { credentials, known: BTreeMap::new() }
    }

    /// What let a request like this in before.
    pub(super) fn known(&self, exchange: &Exchange) -> Option<String> {
        self.known.get(&kind(exchange)).cloned()
    }

    /// Keeps what let a request in.
    pub(super) fn learn(&mut self, exchange: &Exchange, authorization: String) {
        self.known.insert(kind(exchange), authorization);
    }

    /// What a challenge asks for.
    pub(super) fn challenged(&self, exchange: &Exchange, answer: &Answer) -> Result<Next, Unreachable> {
        let challenges: Vec<(String, BTreeMap<String, String>)> =
            answer.all("WWW-Authenticate").filter_map(challenge::parse).collect();
        if let Some((_, parameters)) = challenges.iter().find(|(scheme, _)| scheme == "bearer") {
            let Some(realm) = parameters.get("realm") else {
                return Err(Unreachable::Refused("its Bearer challenge names no realm".into()));
            };
            let mut url = format!("{realm}{}", if realm.contains('?') { '&' } else { '?' });
            if let Some(service) = parameters.get("service") {
                url.push_str(&format!("service={}&", encode(service)));
            }
            for scope in parameters.get("scope").into_iter().flat_map(|scopes| scopes.split(' ')) {
                url.push_str(&format!("scope={}&", encode(scope)));
            }
            if let Some(credentials) = &self.credentials {
                url.push_str(&format!("account={}", encode(&credentials.user)));
            }
            let request = Exchange::new("GET", url.trim_end_matches(['&', '?']));
            return Ok(Next::Token(request, self.credentials.as_ref().map(Credentials::basic)));
        }
        match (&self.credentials, challenges.is_empty()) {
            (_, true) => Err(Unreachable::Refused(format!(
                "it answers 401 to {exchange} without saying by WWW-Authenticate how to log in"
            ))),
            (None, _) => Err(Unreachable::Refused("it asks who you are: give --user NAME".into())),
            (Some(credentials), _) => Ok(Next::Basic(credentials.basic())),
        }
    }

    /// The authorization in the answer of a token endpoint.
    pub(super) fn token(&self, answer: &Answer) -> Result<String, Unreachable> {
        let json = answer.json();
        let token = [&json["token"], &json["access_token"]].into_iter().find_map(serde_json::Value::as_str);
        match token {
            Some(token) if answer.is_success() => Ok(format!("Bearer {token}")),
            _ => Err(Unreachable::Refused(format!("the token endpoint answers {}{}", answer.status, self.advice()))),
        }
    }

    /// Why a login was refused.
    pub(super) fn refused(&self, answer: &Answer) -> Unreachable {
        let codes = answer.codes().join(", ");
        Unreachable::Refused(format!("401 {codes}{}", self.advice()))
    }

    fn advice(&self) -> String {
        match &self.credentials {
            None => "; give --user NAME".into(),
            Some(credentials) => format!("; is the password of {} right, and may it push?", credentials.user),
        }
    }
}

/// Requests of one kind need the same rights: method, repository, and where it mounts from.
fn kind(exchange: &Exchange) -> String {
    let action = match exchange.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "push",
    };
    let path = exchange.target.split("/v2/").nth(1).unwrap_or_default();
    let ends = ["/blobs/", "/manifests/", "/tags/", "/referrers/"];
    let end = ends.iter().filter_map(|end| path.rfind(end)).max().unwrap_or(0);
    let from = exchange.target.split(['?', '&']).find(|p| p.starts_with("from=")).unwrap_or_default();
    format!("{action} {} {from}", &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_need_other_rights_are_of_another_kind() {
        let of = |method: &str, target: &str| kind(&Exchange::new(method, target));
        assert_eq!(of("GET", "/v2/a/b/manifests/v1"), of("HEAD", "http://r/v2/a/b/blobs/sha256:00"));
        assert_ne!(of("GET", "/v2/a/manifests/v1"), of("PUT", "/v2/a/manifests/v1"));
        assert_ne!(of("POST", "/v2/a/blobs/uploads/"), of("POST", "/v2/a/blobs/uploads/?mount=d&from=b"));
    }
}
