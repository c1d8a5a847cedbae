use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use orlop_core::Rights;
use orlop_core::caller::Rule;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SigningKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaEncoding, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// Made for these tests by `openssl genrsa 2048`: it protects nothing.
const RSA: &str = include_str!("../../../../tests/keys/rsa.pem");
pub(in crate::auth::identity) const RSA_PUBLIC: &str = include_str!("../../../../tests/keys/rsa.pub.pem");

fn now() -> u64 {
    seconds()
}

fn claims() -> Value {
    json!({
        "iss": "auth.example", "aud": "registry.example", "sub": "alice", "exp": now() + 300, "nbf": now() - 10,
        "access": [{ "type": "repository", "name": "team/app", "actions": ["pull", "push"] }],
    })
}

fn tokens(keys: &str) -> Result<Tokens, String> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keys");
    std::fs::write(&path, keys).unwrap();
    of_file(path)
}

fn of_file(path: PathBuf) -> Result<Tokens, String> {
    Ok(Tokens {
        realm: String::new(),
        service: "registry.example".into(),
        issuer: "auth.example".into(),
        keys: open(path)?,
    })
}

/// Signs a message.
pub(in crate::auth::identity) type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn encoded(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

pub(in crate::auth::identity) fn with_header(header: &Value, key: &Sign, claims: &Value) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(key(message.as_bytes()));
    format!("{message}.{signature}")
}

pub(in crate::auth::identity) fn signed(algorithm: &str, key: &Sign, claims: &Value) -> String {
    with_header(&json!({ "alg": algorithm, "typ": "JWT" }), key, claims)
}

pub(in crate::auth::identity) fn by_ed25519(pair: KeyPair) -> Sign {
    Box::new(move |message| pair.sign(message).unwrap())
}

fn ed25519() -> (Sign, String) {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let public = pair.public_key_pem();
    (by_ed25519(pair), public)
}

pub(in crate::auth::identity) fn by_rsa() -> Sign {
    by_rsa_as(&RSA_PKCS1_SHA256)
}

/// By one of the ways in which a key of RSA signs.
pub(in crate::auth::identity) fn by_rsa_as(how: &'static dyn RsaEncoding) -> Sign {
    let der = PrivateKeyDer::from_pem_slice(RSA.as_bytes()).unwrap();
    let pair = RsaKeyPair::from_pkcs8(der.secret_der()).unwrap();
    Box::new(move |message| {
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(how, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    })
}

pub(in crate::auth::identity) fn by_p256(pair: &KeyPair) -> Sign {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der(), &random).unwrap();
    Box::new(move |message| pair.sign(&random, message).unwrap().as_ref().to_vec())
}

fn refused(tokens: &Tokens, token: &str, expected: Problem) {
    assert_eq!(tokens.check(token), Err(expected), "{token}");
}

#[test]
fn each_kind_of_key_is_taken_and_grants_what_the_token_says() {
    let (ed, ed_public) = ed25519();
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    // All of them in one file, which is tried key by key.
    let tokens = tokens(&format!("{ed_public}{}{RSA_PUBLIC}", pair.public_key_pem())).unwrap();
    for (algorithm, key) in [("EdDSA", ed), ("ES256", by_p256(&pair)), ("RS256", by_rsa())] {
        let identity = tokens.check(&signed(algorithm, &key, &claims())).unwrap();
        for other in ["EdDSA", "ES256", "RS256", "PS256", "HS256", "none", ""] {
            if other != algorithm {
                refused(&tokens, &signed(other, &key, &claims()), Problem::Wrong);
            }
        }
        assert_eq!(identity.user_name(), Some("alice"));
        let rights = Rights::none().granted(identity.granted().unwrap().iter().cloned().map(Arc::new));
        let may = |right, name: &str| rights.may(right, &name.parse().unwrap());
        assert!(may(Right::Pull, "team/app") && may(Right::Upload, "team/app"));
        assert!(!may(Right::Delete, "team/app") && !may(Right::Pull, "team/other"));
    }
}

#[test]
fn a_token_names_one_of_our_keys_and_nothing_else() {
    let (key, _) = ed25519();
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let tokens = tokens(&json!({ "keys": [jwk(&pair, json!({ "kid": "one", "use": "sig" }))] }).to_string()).unwrap();
    let ours = by_ed25519(pair);
    let by = |kid: &str| with_header(&json!({ "alg": "EdDSA", "kid": kid }), &ours, &claims());
    assert!(tokens.check(&by("one")).is_ok());
    assert!(tokens.check(&signed("EdDSA", &ours, &claims())).is_ok());
    refused(&tokens, &by("../../etc/passwd"), Problem::Wrong);
    refused(&tokens, &signed("EdDSA", &key, &claims()), Problem::Wrong);
}

pub(in crate::auth::identity) fn jwk(pair: &KeyPair, more: Value) -> Value {
    let mut key = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key_raw()) });
    key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    key
}

/// RFC 7517, section 5. Each of these stands beside a good key, and then alone.
#[test]
fn keys_of_a_set_that_cannot_be_used_are_passed_over() {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let point = json!({ "kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA" });
    let useless = [
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" }),
        json!({ "kty": "OKP", "crv": "Ed448", "x": "AAAA" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "!" }),
        json!({ "kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA" }),
        json!({ "kty": "RSA", "e": "AQAB" }),
        json!({ "kty": "RSA", "e": "AQAB", "n": "AAAA" }),
        point,
        jwk(&pair, json!({ "alg": "HS256" })),
        jwk(&pair, json!({ "use": "enc" })),
        jwk(&pair, json!({ "key_ops": ["sign"] })),
        jwk(&pair, json!({ "kid": 7 })),
        json!({ "crv": "Ed25519" }),
        json!("key"),
        json!(null),
    ];
    let good = jwk(&pair, json!({ "kid": "good" }));
    let key = by_ed25519(pair);
    for useless in &useless {
        let beside = tokens(&json!({ "keys": [useless, good] }).to_string()).unwrap();
        assert!(beside.check(&signed("EdDSA", &key, &claims())).is_ok(), "{useless}");
        let told = tokens(&json!({ "keys": [useless] }).to_string()).err().unwrap();
        assert!(told.contains("no key in it can be used"), "{useless}: {told}");
    }
    let told = |text: &str| tokens(text).err().unwrap();
    assert!(told(r#"{ "keys": [] }"#).contains("no key in it can be used"));
    assert!(told(RSA).contains("private key"));
    assert!(told("").contains("no key"));
    assert!(told("{").contains("no set of keys"));
    assert!(told(r#"{ "keys": 1 }"#).contains("no set of keys"));
}

/// A key that was taken out is out of force, whatever else is in the set, and also when nothing is.
#[tokio::test]
async fn a_key_that_was_removed_is_out_of_force() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keys");
    let pairs = [(); 2].map(|()| KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let unknown = json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" });
    let write = |keys: &[&Value]| std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    let [old, new] = [&pairs[0], &pairs[1]].map(|pair| jwk(pair, json!({})));
    let [by_old, by_new] = pairs.map(by_ed25519).map(|key| signed("EdDSA", &key, &claims()));
    write(&[&old]);
    let tokens = of_file(path.clone()).unwrap();
    tokens.watch();
    let taken = |token: &str| tokens.check(token).is_ok();
    assert_eq!((taken(&by_old), taken(&by_new)), (true, false));
    write(&[&unknown, &new]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!((taken(&by_old), taken(&by_new)), (false, true));
    write(&[&unknown]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!((taken(&by_old), taken(&by_new)), (false, false));
}

#[test]
fn what_is_expired_too_early_or_meant_for_others_is_refused() {
    let (key, public) = ed25519();
    let tokens = tokens(&public).unwrap();
    let check = |changed: Value, expected| {
        let mut claims = claims();
        for (name, value) in changed.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        refused(&tokens, &signed("EdDSA", &key, &claims), expected);
    };
    check(json!({ "exp": now() - 60 }), Problem::Expired);
    check(json!({ "exp": null }), Problem::Wrong);
    check(json!({ "exp": (now() + 300).to_string() }), Problem::Wrong);
    check(json!({ "exp": now() as f64 - 60.5 }), Problem::Expired);
    check(json!({ "nbf": now() + 300 }), Problem::Wrong);
    check(json!({ "nbf": now() as f64 + 300.5 }), Problem::Wrong);
    // Text is no time: it is not passed over as if there were no such claim.
    check(json!({ "nbf": (now() + 300).to_string() }), Problem::Wrong);
    check(json!({ "nbf": "tomorrow" }), Problem::Wrong);
    check(json!({ "nbf": [now() + 300] }), Problem::Wrong);
    check(json!({ "aud": "other.example" }), Problem::Wrong);
    check(json!({ "aud": null }), Problem::Wrong);
    check(json!({ "iss": "evil.example" }), Problem::Wrong);
    check(json!({ "iss": null }), Problem::Wrong);
    check(json!({ "access": "all" }), Problem::Wrong);
}

#[test]
fn what_is_forged_is_refused() {
    let (key, public) = ed25519();
    let tokens = tokens(&format!("{public}{RSA_PUBLIC}")).unwrap();
    let good = signed("EdDSA", &key, &claims());
    let parts: Vec<&str> = good.split('.').collect();
    // Another payload under the same signature; none at all.
    let mut more = claims();
    more["sub"] = json!("root");
    refused(&tokens, &format!("{}.{}.{}", parts[0], encoded(&more), parts[2]), Problem::Wrong);
    refused(&tokens, &format!("{}.{}.", parts[0], parts[1]), Problem::Wrong);
    // "I am not signed", in several spellings.
    for none in ["none", "None", "NONE", ""] {
        let header = encoded(&json!({ "alg": none, "typ": "JWT" }));
        refused(&tokens, &format!("{header}.{}.", parts[1]), Problem::Wrong);
    }
    // The public key as a shared secret.
    let confused: Sign = Box::new(|message| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, RSA_PUBLIC.as_bytes());
        ring::hmac::sign(&key, message).as_ref().to_vec()
    });
    refused(&tokens, &signed("HS256", &confused, &claims()), Problem::Wrong);
    // A key that the token brings: in the header, and behind an address.
    let theirs = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let header = json!({
        "alg": "EdDSA", "jwk": jwk(&theirs, json!({})), "jku": "http://127.0.0.1/keys", "x5c": ["AAAA"],
    });
    refused(&tokens, &with_header(&header, &by_ed25519(theirs), &claims()), Problem::Wrong);
    // What must be understood, and is not (RFC 7515, section 4.1.11).
    let header = json!({ "alg": "EdDSA", "crit": ["exp"] });
    refused(&tokens, &with_header(&header, &key, &claims()), Problem::Malformed);
    for malformed in ["", ".", "..", "a.b", "a.b.c", "ÿ.ÿ.ÿ", &"x".repeat(100_000)] {
        refused(&tokens, malformed, Problem::Malformed);
    }
}

/// A token that says nothing of access, in whatever way, is one of somebody who may do nothing.
#[test]
fn a_token_without_access_says_who_it_is() {
    let (key, public) = ed25519();
    let tokens = tokens(&public).unwrap();
    for access in [None, Some(json!(null)), Some(json!([]))] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove("access");
        access.iter().for_each(|access| claims["access"] = access.clone());
        let identity = tokens.check(&signed("EdDSA", &key, &claims)).unwrap();
        assert_eq!((identity.user_name(), identity.granted()), (Some("alice"), Some(&[] as &[Rule])), "{access:?}");
    }
}

/// The patterns of rules have no place in a token.
#[test]
fn a_name_in_a_token_is_never_a_pattern() {
    let (key, public) = ed25519();
    let tokens = tokens(&public).unwrap();
    for name in ["**", "team/*", "", "TEAM", "../x"] {
        let mut claims = claims();
        claims["access"][0]["name"] = json!(name);
        let identity = tokens.check(&signed("EdDSA", &key, &claims)).unwrap();
        assert_eq!(identity.granted(), Some(&[] as &[Rule]), "{name}");
    }
}
