//! What a registry asks for with 401: the challenges of `WWW-Authenticate` (RFC 9110, 11.6.1).

use hyper::HeaderMap;
use hyper::header::WWW_AUTHENTICATE;

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token of a token server (distribution, "Token Authentication Specification").
    Bearer {
        /// The URL of the token server.
        realm: String,
        /// Who the token is for.
        service: Option<String>,
    },
}

impl Challenge {
    /// The one of an answer that is answered: a token, where there is a choice, since it says less than a password.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let fields = headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|field| field.to_str().ok());
        // What is against the grammar ends its field, and not those before it.
        let challenges = fields.flat_map(|field| http_auth::ChallengeParser::new(field).map_while(Result::ok));
        let known: Vec<Self> = challenges.filter_map(|challenge| Self::read(&challenge)).collect();
        known.iter().find(|challenge| **challenge != Self::Basic).or(known.first()).cloned()
    }

    fn read(challenge: &http_auth::ChallengeRef<'_>) -> Option<Self> {
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Bearer { realm: parameter("realm")?, service: parameter("service") });
        }
        challenge.scheme.eq_ignore_ascii_case("basic").then_some(Self::Basic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_over_fields_lists_quotes_and_cases() {
        let check = |fields: &[&str], expected: Option<Challenge>| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(WWW_AUTHENTICATE, field.parse().unwrap());
            }
            assert_eq!(Challenge::of(&headers), expected, "{fields:?}");
        };
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) })
        };
        check(&[], None);
        check(&[r#"Basic realm="a, Bearer realm=b""#], Some(Challenge::Basic));
        check(&["basic"], Some(Challenge::Basic));
        let usual = r#"Bearer realm="https://a/token",service="b",scope="repository:a,b:pull,push""#;
        check(&[usual], bearer("https://a/token", Some("b")));
        check(&[r#"Basic realm="x", BEARER Realm = "https://a" , error="invalid_token""#], bearer("https://a", None));
        check(&[r#"Digest nonce="a""#, r#"Bearer realm="\"q\"",service=b"#], bearer("\"q\"", Some("b")));
        check(&[r#"Bearer service="b""#], None);
        check(&[r#"Negotiate, Basic realm="x""#], Some(Challenge::Basic));
        check(&[r#"Bearer realm="open"#], None);
    }
}
