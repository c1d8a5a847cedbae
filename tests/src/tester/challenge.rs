//! What a registry asks for when it answers 401.

use std::collections::BTreeMap;

/// A challenge: its scheme in lower case and its parameters (RFC 9110, 11.6.1).
pub(crate) fn parse(challenge: &str) -> Option<(String, BTreeMap<String, String>)> {
    let (scheme, mut rest) = challenge.trim().split_once(' ').unwrap_or((challenge.trim(), ""));
    let mut parameters = BTreeMap::new();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.insert(name.trim_matches([' ', ',']).to_lowercase(), value.to_owned());
        rest = after;
    }
    Some((scheme.to_lowercase(), parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read() {
        let challenge = "Bearer realm=\"https://auth/token\",service=\"r\",scope=\"repository:a:pull,push\"";
        let (scheme, parameters) = parse(challenge).expect("a challenge");
        assert_eq!(scheme, "bearer");
        assert_eq!(parameters["scope"], "repository:a:pull,push");
        assert_eq!(parameters["realm"], "https://auth/token");
        assert_eq!(parse("Basic realm=x").expect("a challenge").1["realm"], "x");
    }
}
