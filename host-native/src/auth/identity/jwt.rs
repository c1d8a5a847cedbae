//! Signed tokens as text: JSON Web Tokens (RFC 7519) in the compact form of signatures (RFC 7515, section 3.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// A token that was read. Nothing that it says is true before a key is found that signed it.
pub(super) struct Jwt<'t> {
    /// The algorithm that it says it is signed with.
    pub(super) algorithm: String,
    /// The name of the key that it says it is signed with.
    pub(super) key: Option<String>,
    /// What is signed.
    pub(super) message: &'t [u8],
    pub(super) signature: Vec<u8>,
    payload: Vec<u8>,
}

/// Of the header, what is looked at. Keys that it brings (`jwk`, `jku`, `x5c`, `x5u`) are not.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// RFC 7515, section 4.1.11: what must be understood, and here nothing is.
    crit: Option<serde_json::Value>,
}

/// What a token says.
#[derive(Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: Audience,
    /// Numbers, and never text that a comparison would have to pass over.
    exp: f64,
    nbf: Option<f64>,
    sub: Option<String>,
    access: Option<Vec<Granted>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What a token allows in one place.
#[derive(Deserialize)]
pub(super) struct Granted {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) actions: Vec<String>,
}

/// When a token is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    Now,
    NotYet,
    NoMore,
}

impl<'t> Jwt<'t> {
    /// Reads a token.
    pub(super) fn parse(token: &'t str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let Header { alg, kid, crit } = serde_json::from_slice(&decoded(header)?).ok()?;
        if crit.is_some() {
            return None;
        }
        let (payload, signature) = (decoded(payload)?, decoded(signature)?);
        Some(Self { algorithm: alg, key: kid, message: message.as_bytes(), signature, payload })
    }

    /// All that it says.
    pub(super) fn all_claims(&self) -> Result<serde_json::Map<String, serde_json::Value>, serde_json::Error> {
        serde_json::from_slice(&self.payload)
    }

    /// What it says.
    pub(super) fn claims(&self) -> Result<Claims, serde_json::Error> {
        serde_json::from_slice(&self.payload)
    }
}

impl Claims {
    /// Whether `issuer` made it, for `service`.
    pub(super) fn are_of(&self, issuer: &str, service: &str) -> bool {
        let meant = match &self.aud {
            Audience::One(name) => name == service,
            Audience::Many(names) => names.iter().any(|name| name == service),
        };
        meant && self.iss == issuer
    }

    /// Whether it is valid at that time, in seconds since 1970, with a clock that may be wrong by `leeway`.
    pub(super) fn validity(&self, now: u64, leeway: u64) -> Validity {
        #[expect(clippy::cast_precision_loss, reason = "there are no such times")]
        let (now, leeway) = (now as f64, leeway as f64);
        match self.nbf {
            _ if self.exp + leeway < now => Validity::NoMore,
            Some(first) if first > now + leeway => Validity::NotYet,
            _ => Validity::Now,
        }
    }

    /// Whom it is of; empty for nobody.
    pub(super) fn subject(&self) -> &str {
        self.sub.as_deref().unwrap_or_default()
    }

    /// What it grants.
    pub(super) fn access(&self) -> &[Granted] {
        self.access.as_deref().unwrap_or_default()
    }
}
