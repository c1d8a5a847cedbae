use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use orlop_core::Rights;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// Made for these tests by `openssl genrsa 2048`: it protects nothing.
const RSA: &str = include_str!("../../../../tests/keys/rsa.pem");
const RSA_PUBLIC: &str = include_str!("../../../../tests/keys/rsa.pub.pem");

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
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
    Ok(Tokens {
        realm: String::new(),
        service: "registry.example".into(),
        issuer: "auth.example".into(),
        keys: open(path)?,
    })
}

fn signed(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

fn ed25519() -> (EncodingKey, String) {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    (EncodingKey::from_ed_der(&pair.serialize_der()), pair.public_key_pem())
}

fn refused(tokens: &Tokens, token: &str, expected: Problem) {
    assert_eq!(tokens.check(token), Err(expected), "{token}");
}

#[test]
fn each_kind_of_key_is_taken_and_grants_what_the_token_says() {
    let (ed, ed_public) = ed25519();
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let ec = EncodingKey::from_ec_der(&pair.serialize_der());
    let rsa = EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap();
    // All of them in one file, which is tried key by key.
    let tokens = tokens(&format!("{ed_public}{}{RSA_PUBLIC}", pair.public_key_pem())).unwrap();
    for (algorithm, key) in [(Algorithm::EdDSA, ed), (Algorithm::ES256, ec), (Algorithm::RS256, rsa)] {
        let identity = tokens.check(&signed(algorithm, &key, &claims())).unwrap();
        assert_eq!(identity.user_name(), Some("alice"));
        let rights = Rights::none().granted(identity.granted().unwrap().iter().cloned().map(Arc::new));
        let may = |right, name: &str| rights.may(right, &name.parse().unwrap());
        assert!(may(Right::Pull, "team/app") && may(Right::Upload, "team/app"));
        assert!(!may(Right::Delete, "team/app") && !may(Right::Pull, "team/other"));
    }
}

#[test]
fn a_set_of_keys_is_taken_and_a_secret_in_it_is_not() {
    let (key, _) = ed25519();
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
    let set = |more: Value| {
        let mut ours = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig" });
        ours.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "keys": [ours] }).to_string()
    };
    let ours = EncodingKey::from_ed_der(&pair.serialize_der());
    let by = |kid: &str| {
        encode(&Header { kid: Some(kid.into()), ..Header::new(Algorithm::EdDSA) }, &claims(), &ours).unwrap()
    };
    let tokens = tokens(&set(json!({ "kid": "one" }))).unwrap();
    assert!(tokens.check(&by("one")).is_ok());
    refused(&tokens, &by("../../etc/passwd"), Problem::Wrong);
    refused(&tokens, &signed(Algorithm::EdDSA, &key, &claims()), Problem::Wrong);

    let told = |text: &str| super::tests::tokens(text).err().unwrap();
    assert!(told(&json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }).to_string()).contains("no public key"));
    assert!(told(&set(json!({ "alg": "HS256" }))).contains("meant for HS256"));
    assert!(told(RSA).contains("private key"));
    assert!(told("").contains("no key"));
    assert!(told("{").contains("no set of keys"));
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
        refused(&tokens, &signed(Algorithm::EdDSA, &key, &claims), expected);
    };
    check(json!({ "exp": now() - 60 }), Problem::Expired);
    check(json!({ "exp": null }), Problem::Wrong);
    check(json!({ "nbf": now() + 300 }), Problem::Wrong);
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
    let good = signed(Algorithm::EdDSA, &key, &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let encoded = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    // Another payload under the same signature; none at all.
    let mut more = claims();
    more["sub"] = json!("root");
    refused(&tokens, &format!("{}.{}.{}", parts[0], encoded(more), parts[2]), Problem::Wrong);
    refused(&tokens, &format!("{}.{}.", parts[0], parts[1]), Problem::Wrong);
    // "I am not signed", in several spellings.
    for none in ["none", "None", "NONE", ""] {
        let header = encoded(json!({ "alg": none, "typ": "JWT" }));
        refused(&tokens, &format!("{header}.{}.", parts[1]), Problem::Malformed);
    }
    // The public key as a shared secret.
    let confused = EncodingKey::from_secret(RSA_PUBLIC.as_bytes());
    refused(&tokens, &signed(Algorithm::HS256, &confused, &claims()), Problem::Wrong);
    // A key that the token brings: in the header, and behind an address.
    let theirs = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(theirs.public_key_raw()) });
    let header = Header {
        jwk: Some(serde_json::from_value(jwk).unwrap()),
        jku: Some("http://127.0.0.1/keys".into()),
        x5c: Some(vec!["AAAA".into()]),
        ..Header::new(Algorithm::EdDSA)
    };
    let brought = encode(&header, &claims(), &EncodingKey::from_ed_der(&theirs.serialize_der())).unwrap();
    refused(&tokens, &brought, Problem::Wrong);
    for malformed in ["", ".", "..", "a.b", "a.b.c", "ÿ.ÿ.ÿ", &"x".repeat(100_000)] {
        refused(&tokens, malformed, Problem::Malformed);
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
        let identity = tokens.check(&signed(Algorithm::EdDSA, &key, &claims)).unwrap();
        assert_eq!(identity.granted(), Some(&[] as &[Rule]), "{name}");
    }
}
