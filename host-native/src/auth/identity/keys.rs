//! Public keys that tokens are signed with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_SIG_ED25519};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::jwt::Jwt;

/// What is said of keys and algorithms that are none of them.
pub(super) const SUPPORTED: &str = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA are supported";

/// How many keys of a set are taken. Others are passed over.
const MOST: usize = 256;

/// A key.
pub(super) struct Key {
    public: Public,
    /// The only algorithm that it is for.
    meant: Option<String>,
    /// The name by which a token may say that it was this one.
    name: Option<String>,
}

enum Public {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The keys of a set.
pub(super) struct KeySet {
    pub(super) keys: Vec<Key>,
    /// Those that cannot be used, and why not (RFC 7517, section 5).
    pub(super) passed_over: Vec<String>,
}

impl Key {
    /// Whether a token was signed with it. The token may choose among our keys, by their name, and nothing else.
    pub(super) fn has_signed(&self, token: &Jwt<'_>) -> bool {
        let meant = self.meant.as_ref().is_none_or(|meant| same(meant, &token.algorithm));
        let named = self.name.is_none() || token.key.is_none() || self.is_named_by(token);
        named
            && meant
            && self.public.is_for(&token.algorithm)
            && self.public.verifies(&token.algorithm, token.message, &token.signature)
    }

    /// Whether a token names this key, and not only may mean it.
    pub(super) fn is_named_by(&self, token: &Jwt<'_>) -> bool {
        self.name.is_some() && self.name == token.key
    }
}

/// Whether two names are of one algorithm.
fn same(one: &str, other: &str) -> bool {
    let of_ed25519 = |name: &str| matches!(name, "EdDSA" | "Ed25519");
    one == other || of_ed25519(one) && of_ed25519(other)
}

/// How a signature of RSA is verified, by the name of its algorithm in RFC 7518.
fn of_rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        "PS384" => &RSA_PSS_2048_8192_SHA384,
        "PS512" => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

impl Public {
    /// Whether it is for that algorithm, by its name in RFC 7518, RFC 8037 or RFC 9864.
    fn is_for(&self, algorithm: &str) -> bool {
        match self {
            Self::Rsa(_) => of_rsa(algorithm).is_some(),
            Self::P256(_) => algorithm == "ES256",
            Self::P384(_) => algorithm == "ES384",
            Self::Ed25519(_) => matches!(algorithm, "EdDSA" | "Ed25519"),
        }
    }

    fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Rsa(key) => match of_rsa(algorithm) {
                Some(parameters) => key.verify(parameters, message, signature),
                None => return false,
            },
            Self::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature),
            Self::P384(point) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature),
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        verified.is_ok()
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, String> {
        let number = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
        let (n, e) = (number(modulus), number(exponent));
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        if !(2048..=8192).contains(&bits) || e.is_empty() {
            return Err(format!("it is an RSA key of {bits} bits; 2048 to 8192 are supported"));
        }
        Ok(Self::Rsa(RsaPublicKeyComponents { n, e }))
    }

    fn p256(point: Vec<u8>) -> Result<Self, String> {
        if point.len() == 65 && point[0] == 4 { Ok(Self::P256(point)) } else { Err("it is no point of P-256".into()) }
    }

    fn p384(point: Vec<u8>) -> Result<Self, String> {
        if point.len() == 97 && point[0] == 4 { Ok(Self::P384(point)) } else { Err("it is no point of P-384".into()) }
    }

    fn ed25519(key: Vec<u8>) -> Result<Self, String> {
        if key.len() == 32 { Ok(Self::Ed25519(key)) } else { Err("it is no Ed25519 key: that has 32 bytes".into()) }
    }
}

/// The keys in a file: a JWKS, which may have no key that can be used, or any number of PEM blocks.
///
/// # Errors
///
/// When the file is neither, there is no block in it, or one that is not taken.
pub(super) fn parse(bytes: &[u8]) -> Result<KeySet, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "this is neither PEM nor JSON".to_owned())?;
    if text.trim_start().starts_with('{') {
        return of_set(bytes);
    }
    let keys = of_pem(text)?;
    if keys.is_empty() { Err("there is no key in it".into()) } else { Ok(KeySet { keys, passed_over: Vec::new() }) }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// The members of a key that are looked at (RFC 7517, section 4; RFC 7518, section 6; RFC 8037, section 2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a JWKS.
///
/// # Errors
///
/// When it is none.
pub(super) fn of_set(bytes: &[u8]) -> Result<KeySet, String> {
    let set: Set = serde_json::from_slice(bytes).map_err(|error| format!("this is no set of keys (JWKS): {error}"))?;
    let (mut keys, mut passed_over) = (Vec::new(), Vec::new());
    for (place, value) in set.keys.iter().enumerate() {
        match of_jwk(value) {
            _ if place >= MOST => {
                passed_over.push(format!("the keys behind the first {MOST} are passed over"));
                break;
            }
            Ok(key) => keys.push(key),
            Err(reason) => {
                let name = value.get("kid").and_then(Value::as_str).unwrap_or("without a name");
                let name: String = name.chars().take(100).collect();
                passed_over.push(format!("key {} ({name:?}) is passed over: {reason}", place + 1));
            }
        }
    }
    Ok(KeySet { keys, passed_over })
}

fn of_jwk(value: &Value) -> Result<Key, String> {
    let key = Jwk::deserialize(value).map_err(|error| error.to_string())?;
    let verifies = |operations: &Vec<String>| operations.iter().any(|operation| operation == "verify");
    if key.purpose.as_ref().is_some_and(|purpose| purpose != "sig") || !key.key_ops.as_ref().is_none_or(verifies) {
        return Err("it is not for signatures".into());
    }
    let member = |value: &Option<String>, name: &str| {
        let text = value.as_deref().ok_or_else(|| format!("its `{name}` is missing"))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("its `{name}` is not base64url"))
    };
    let public = match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => Public::rsa(&member(&key.n, "n")?, &member(&key.e, "e")?)?,
        ("EC", Some("P-256")) => Public::p256([vec![4], member(&key.x, "x")?, member(&key.y, "y")?].concat())?,
        ("EC", Some("P-384")) => Public::p384([vec![4], member(&key.x, "x")?, member(&key.y, "y")?].concat())?,
        ("OKP", Some("Ed25519")) => Public::ed25519(member(&key.x, "x")?)?,
        ("oct", _) => return Err("it is a shared secret: whoever checks tokens could make them".into()),
        (kind, curve) => {
            let curve = curve.map(|curve| format!(" {curve}")).unwrap_or_default();
            return Err(format!(
                "its kind {kind}{curve} is not supported; RSA, EC P-256, EC P-384 and OKP Ed25519 are"
            ));
        }
    };
    match key.alg {
        Some(meant) if !public.is_for(&meant) => Err(format!("it is meant for {meant}; {SUPPORTED}")),
        meant => Ok(Key { public, meant, name: key.kid }),
    }
}

fn of_pem(text: &str) -> Result<Vec<Key>, String> {
    let blocks = Pem::iter_from_buffer(text.as_bytes());
    let made = blocks.map(|block| {
        let block = block.map_err(|error| format!("a PEM block cannot be read: {error}"))?;
        let damaged = || format!("the block `{}` is damaged", block.label);
        let public = match block.label.as_str() {
            label if label.contains("PRIVATE") => {
                let told = "there is a private key in it: put the public key here, and keep the private one secret";
                return Err(told.to_owned());
            }
            "PUBLIC KEY" => of_info(&SubjectPublicKeyInfo::from_der(&block.contents).map_err(|_| damaged())?.1),
            "CERTIFICATE" => of_info(X509Certificate::from_der(&block.contents).map_err(|_| damaged())?.1.public_key()),
            "RSA PUBLIC KEY" => {
                let (_, key) = RSAPublicKey::from_der(&block.contents).map_err(|_| damaged())?;
                Public::rsa(key.modulus, key.exponent)
            }
            label => Err(format!("the block `{label}` is no public key")),
        };
        Ok(Key { public: public?, meant: None, name: None })
    });
    made.collect()
}

fn of_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Public, String> {
    let (kind, bytes) = (&info.algorithm.algorithm, info.subject_public_key.data.to_vec());
    if let Ok(PublicKey::RSA(key)) = info.parsed() {
        return Public::rsa(key.modulus, key.exponent);
    }
    let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256) {
        return Public::p256(bytes);
    }
    if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_NIST_EC_P384) {
        return Public::p384(bytes);
    }
    if *kind == OID_SIG_ED25519 {
        return Public::ed25519(bytes);
    }
    Err("a key in it is of a kind that is not supported; RSA, P-256, P-384 and Ed25519 are".into())
}
