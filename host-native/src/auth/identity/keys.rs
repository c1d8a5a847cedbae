//! Public keys that tokens are signed with.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};

/// A key, and the one algorithm it is for.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// The name by which a token may say that it was this one.
    name: Option<String>,
}

impl Key {
    /// Whether a token with that header can be of this key. The header may choose among our keys, by their name, and
    /// nothing else: what it says of keys of its own (`jwk`, `jku`, `x5c`) is not looked at.
    pub(super) fn may_have_signed(&self, header: &Header) -> bool {
        let named = match (&self.name, &header.kid) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        header.alg == self.algorithm && named
    }
}

/// The keys in a file: a JWKS, or any number of PEM blocks.
///
/// # Errors
///
/// When there is none, or one that is not taken: a symmetric key would let whoever checks tokens make them.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "this is neither PEM nor JSON".to_owned())?;
    let keys = if text.trim_start().starts_with('{') { of_set(text)? } else { of_pem(text)? };
    if keys.is_empty() { Err("there is no key in it".into()) } else { Ok(keys) }
}

fn of_set(text: &str) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_str(text).map_err(|error| format!("this is no set of keys (JWKS): {error}"))?;
    let signing =
        |key: &&Jwk| key.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let made = set.keys.iter().filter(signing).map(|key| {
        let name = key.common.key_id.clone();
        let called = name.clone().unwrap_or_else(|| "without a name".into());
        let algorithm = match &key.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            AlgorithmParameters::OctetKey(_) => return Err(format!("the key {called} is no public key")),
            _ => return Err(format!("the key {called} is of a kind that is not taken")),
        };
        if let Some(meant) = key.common.key_algorithm
            && meant.to_string() != format!("{algorithm:?}")
        {
            return Err(format!("the key {called} is meant for {meant}; RS256, ES256 and EdDSA are taken"));
        }
        let key = DecodingKey::from_jwk(key).map_err(|error| format!("the key {called}: {error}"))?;
        Ok(Key { algorithm, key, name })
    });
    made.collect()
}

fn of_pem(text: &str) -> Result<Vec<Key>, String> {
    let blocks = text.match_indices("-----BEGIN ").map(|(at, _)| &text[at..]);
    let made = blocks.map(|block| {
        let end = block.find("-----END ").map(|end| end + block[end..].find('\n').unwrap_or(block.len() - end));
        let block = &block[..end.ok_or("a PEM block does not end")?];
        if block.lines().next().is_some_and(|line| line.contains("PRIVATE")) {
            return Err("there is a private key in it: put the public key here, and keep the private one secret".into());
        }
        let bytes = block.as_bytes();
        let found = [
            (Algorithm::RS256, DecodingKey::from_rsa_pem(bytes)),
            (Algorithm::ES256, DecodingKey::from_ec_pem(bytes)),
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(bytes)),
        ];
        let found = found.into_iter().find_map(|(algorithm, key)| Some((algorithm, key.ok()?)));
        let (algorithm, key) = found.ok_or("a key in it is of a kind that is not taken: RSA, P-256, Ed25519 are")?;
        Ok(Key { algorithm, key, name: None })
    });
    made.collect()
}
