use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RsaEncoding};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::auth::identity::token::tests::{
    RSA_PUBLIC, Sign, by_ed25519, by_p256, by_rsa, by_rsa_as, jwk, signed, with_header,
};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const ISSUER: &str = "https://id.example.com";

/// Providers with one key, and what signs with it.
struct Trusted {
    providers: Providers,
    sign: Sign,
}

/// Of settings without an issuer, audience and keys.
fn trusted(settings: &[&str]) -> Trusted {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let set = json!({ "keys": [jwk(&pair, json!({ "kid": "one" }))] }).to_string();
    Trusted { providers: with_keys(settings, &set), sign: by_ed25519(pair) }
}

fn with_keys(settings: &[&str], keys: &str) -> Providers {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keys");
    std::fs::write(&path, keys).unwrap();
    let setting = |rest: &&str| -> OidcSetting {
        let keys = path.display();
        let issuer = if rest.contains("issuer =") { String::new() } else { format!("issuer = '{ISSUER}', ") };
        let audience = if rest.contains("audience =") { "" } else { "audience = 'registry.example', " };
        format!("{{ keys = '{keys}', {issuer}{audience}{rest} }}").parse().unwrap()
    };
    Providers::of(&settings.iter().map(setting).collect::<Vec<_>>(), &Providers::default()).unwrap()
}

fn claims(more: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "registry.example", "sub": "repo:acme/app", "exp": seconds() + 300, "iat": seconds(),
    });
    let all = claims.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => all.remove(name),
            value => all.insert(name.clone(), value.clone()),
        };
    }
    claims
}

impl Trusted {
    async fn check(&self, before: &str, more: Value) -> Result<Identity, Problem> {
        let token = signed("EdDSA", &self.sign, &claims(more));
        self.providers.check(&format!("{before}{token}"), HERE, |name| name == "alice").await
    }

    #[track_caller]
    fn refused(&self, before: &str, more: Value, expected: &str) {
        let checked = futures_util::FutureExt::now_or_never(self.check(before, more.clone())).unwrap();
        match checked {
            Err(Problem::Token(told)) if told.contains(expected) => {}
            other => panic!("{before}{more}: {other:?}, {expected}"),
        }
    }
}

/// SPEC AC2, AC3.
#[tokio::test]
async fn a_token_logs_in_whom_its_claims_make() {
    let trusted = trusted(&["name = 'ci', claims = {}, user = '{sub}', groups = ['pushers', '{teams}']"]);
    let alice = trusted.check("", json!({ "teams": ["a", "b", "a"] })).await.unwrap();
    assert_eq!(alice.user_name(), Some("ci:repo:acme/app"));
    assert_eq!(alice.groups(), ["ci:a", "ci:b", "pushers"]);
    assert_eq!(alice.by.as_deref(), Some("oidc:ci"));
    assert!(alice.vouched().is_none(), "no session of the web page outlives the token");
    let named = trusted.check("ci:", json!({})).await.unwrap();
    assert_eq!((named.user_name(), named.groups()), (Some("ci:repo:acme/app"), &["pushers".to_owned()][..]));
    let many = trusted.check("", json!({ "aud": ["x", "registry.example"], "azp": "registry.example" })).await;
    assert!(many.is_ok());
    // Clocks may be apart by a minute.
    let now = seconds();
    for more in [json!({ "exp": now - 30 }), json!({ "nbf": now + 30, "iat": now + 30 }), json!({ "iat": null })] {
        trusted.check("", more).await.unwrap();
    }
}

/// SPEC AC4, AC5.
#[test]
fn a_token_that_is_not_for_now_and_for_here_is_refused_with_a_sentence() {
    let trusted = trusted(&["name = 'ci', claims = {}"]);
    let now = seconds();
    let refused = |more, expected| trusted.refused("", more, expected);
    refused(json!({ "exp": now - 61 }), "has expired: get a new one");
    refused(json!({ "exp": 0 }), "has expired");
    refused(json!({ "exp": null }), "has no end");
    refused(json!({ "exp": (now + 300).to_string() }), "has no end");
    refused(json!({ "nbf": now + 90 }), "is not valid yet: the clock");
    refused(json!({ "iat": now + 90 }), "is not valid yet: the clock");
    refused(json!({ "nbf": "soon" }), "cannot be read");
    refused(json!({ "aud": "other" }), "for another audience: get one for `registry.example`");
    refused(json!({ "aud": "registry.example/" }), "another audience");
    refused(json!({ "aud": null }), "another audience");
    refused(json!({ "aud": [] }), "another audience");
    refused(json!({ "aud": { "registry.example": 1 } }), "another audience");
    refused(json!({ "aud": ["registry.example", "other"] }), "several audiences");
    refused(json!({ "aud": ["registry.example", "other"], "azp": "other" }), "several audiences");
    refused(json!({ "iss": "https://id.example.com/" }), "an issuer that is not known here");
    refused(json!({ "iss": "https://id.example.org" }), "an issuer that is not known here");
    refused(json!({ "iss": null }), "an issuer that is not known here");
    trusted.refused("other:", json!({}), "no identity provider `other` here");
    trusted.refused("ci:", json!({ "iss": "https://id.example.org" }), "not of the provider `ci`");
    trusted.refused(":", json!({}), "no identity provider `` here");
}

/// SPEC AC3: no name is another's.
#[tokio::test]
async fn names_are_refused_that_are_those_of_others_or_none() {
    let of = |user: &str| trusted(&[&format!("name = 'ci', claims = {{}}, {user}")]);
    of("user = 'alice'").refused("", json!({}), "the name of another user");
    let shared = of("user = '{sub}', same-names = true");
    assert_eq!(shared.check("", json!({ "sub": "alice" })).await.unwrap().user_name(), Some("alice"));
    let own = of("user = '{sub}'");
    assert_eq!(own.check("", json!({ "sub": "alice" })).await.unwrap().user_name(), Some("ci:alice"));
    assert_eq!(own.check("", json!({ "sub": "certificate:x" })).await.unwrap().user_name(), Some("ci:certificate:x"));
    let refused = |more| own.refused("", more, "no user name can be made");
    refused(json!({ "sub": "" }));
    refused(json!({ "sub": null }));
    refused(json!({ "sub": ["a"] }));
    refused(json!({ "sub": "a\nb" }));
    refused(json!({ "sub": "x".repeat(300) }));
    for name in ["certificate:x", "other:alice", ":", "a:"] {
        shared.refused("", json!({ "sub": name }), "the name of another user");
    }
    let groups = trusted(&["name = 'ci', claims = {}, user = '{sub}', groups = ['{teams}'], same-names = true"]);
    let teams = json!({ "sub": "bob", "teams": ["dev", "other:admins", "certificate:x"] });
    assert_eq!(groups.check("", teams).await.unwrap().groups(), ["dev"]);
}

/// SPEC AC2: all conditions of one, and the first that fits says who it is.
#[tokio::test]
async fn the_first_allow_that_fits_decides() {
    let trusted = trusted(&["name = 'ci', claims = { owner = 'acme' }, groups = ['ci'], allow = [\
         { claims = { repository = 'acme/*', ref = 'refs/heads/main' }, user = 'ci-main', groups = ['pushers'] }, \
         { claims = { repository = 'acme/**' }, groups = ['{ref}'] }]"]);
    let check = async |repository: &str, reference: &str, user: &str, groups: &[&str]| {
        let more = json!({ "owner": "acme", "repository": repository, "ref": reference });
        let identity = trusted.check("", more).await.unwrap();
        assert_eq!(
            (identity.user_name(), identity.groups()),
            (Some(user), &groups.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>()[..])
        );
    };
    check("acme/app", "refs/heads/main", "ci-main", &["ci", "pushers"]).await;
    check("acme/app", "refs/heads/x", "ci:repo:acme/app", &["ci", "ci:refs/heads/x"]).await;
    check("acme/a/b", "refs/heads/main", "ci:repo:acme/app", &["ci", "ci:refs/heads/main"]).await;
    let other = json!({ "owner": "acme", "repository": "evil/app", "ref": "refs/heads/main" });
    trusted.refused("", other, "the claims of the identity token are not those");
    let other = json!({ "owner": "evil", "repository": "acme/app", "ref": "refs/heads/main" });
    trusted.refused("", other, "the claims of the identity token are not those");
}

/// SPEC AC1: several providers, and several of one issuer.
#[tokio::test]
async fn a_token_is_held_against_the_provider_that_has_made_it() {
    let trusted = trusted(&[
        "name = 'one', claims = {}, audience = 'one'",
        "name = 'two', claims = {}, audience = ['two', 'zwei']",
        "name = 'three', claims = {}, issuer = 'https://three.example.com'",
    ]);
    let of = async |before: &str, issuer: &str, audience: &str| {
        let checked = trusted.check(before, json!({ "iss": issuer, "aud": audience })).await;
        checked.ok().and_then(|identity| identity.user_name()?.split(':').next().map(String::from))
    };
    assert_eq!(of("", ISSUER, "one").await.as_deref(), Some("one"));
    assert_eq!(of("", ISSUER, "two").await.as_deref(), Some("two"));
    assert_eq!(of("two:", ISSUER, "zwei").await.as_deref(), Some("two"));
    assert_eq!(of("one:", ISSUER, "two").await, None);
    assert_eq!(of("", "https://three.example.com", "registry.example").await.as_deref(), Some("three"));
    assert_eq!(of("", "https://three.example.com", "one").await, None);
}

/// SPEC AC6: signatures, and keys that a token brings along.
#[tokio::test]
async fn only_what_a_key_of_the_issuer_has_signed_is_believed() {
    let trusted = trusted(&["name = 'ci', claims = {}"]);
    let check = async |token: &str| trusted.providers.check(token, HERE, |_| false).await;
    let right = signed("EdDSA", &trusted.sign, &claims(json!({})));
    assert!(check(&right).await.is_ok());
    let (message, signature) = right.rsplit_once('.').unwrap();
    let (_, other) = signed("EdDSA", &trusted.sign, &claims(json!({ "sub": "x" })))
        .rsplit_once('.')
        .map(|(m, s)| (m.to_owned(), s.to_owned()))
        .unwrap();
    let stranger = by_ed25519(KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" });
    for wrong in [
        format!("{message}.{other}"),
        format!("{message}."),
        signed("none", &(Box::new(|_: &[u8]| Vec::new()) as Sign), &claims(json!({}))),
        signed("HS256", &trusted.sign, &claims(json!({}))),
        signed("EdDSA", &stranger, &claims(json!({}))),
        with_header(
            &json!({ "alg": "EdDSA", "jwk": jwk, "jku": "https://evil.example" }),
            &stranger,
            &claims(json!({})),
        ),
        with_header(&json!({ "alg": "EdDSA", "kid": "two" }), &trusted.sign, &claims(json!({}))),
    ] {
        match check(&wrong).await {
            Err(Problem::Token(told)) => assert!(told.contains("not signed by a key of its issuer"), "{told}"),
            other => panic!("{wrong}: {other:?}"),
        }
    }
    assert!(
        check(&with_header(&json!({ "alg": "EdDSA", "kid": "one" }), &trusted.sign, &claims(json!({})))).await.is_ok()
    );
    let long = format!("{message}.{}", "A".repeat(LONGEST));
    for no_token in ["", "x", "a.b.c", "..", signature, &long, "secret", &format!("{message}.{signature}.x")] {
        match check(no_token).await {
            Err(Problem::Token(told)) => assert!(told.contains("is to be an identity token"), "{told}"),
            other => panic!("{no_token}: {other:?}"),
        }
    }
}

/// SPEC AC6: RS256 to PS512, ES256, ES384, EdDSA; each with a key of its kind.
#[tokio::test]
async fn each_algorithm_needs_a_key_of_its_kind() {
    use ring::signature::{RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512};
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let pem = [p256.public_key_pem(), p384.public_key_pem(), ed.public_key_pem(), RSA_PUBLIC.to_owned()].concat();
    let providers = with_keys(&["name = 'ci', claims = {}"], &pem);
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &p384.serialize_der(), &random).unwrap();
    let by_p384: Sign = Box::new(move |message| pair.sign(&random, message).unwrap().as_ref().to_vec());
    let rsa = |how: &'static dyn RsaEncoding| by_rsa_as(how);
    let keys = [
        ("ES256", by_p256(&p256)),
        ("ES384", by_p384),
        ("EdDSA", by_ed25519(ed)),
        ("RS256", by_rsa()),
        ("RS384", rsa(&RSA_PKCS1_SHA384)),
        ("RS512", rsa(&RSA_PKCS1_SHA512)),
        ("PS256", rsa(&RSA_PSS_SHA256)),
        ("PS384", rsa(&RSA_PSS_SHA384)),
        ("PS512", rsa(&RSA_PSS_SHA512)),
    ];
    for (algorithm, key) in &keys {
        for (other, _) in &keys {
            let token = signed(other, key, &claims(json!({})));
            let checked = providers.check(&token, HERE, |_| false).await;
            assert_eq!(checked.is_ok(), algorithm == other, "{algorithm} as {other}: {checked:?}");
        }
    }
}

/// SPEC AC6: what a key says that it is for.
#[tokio::test]
async fn a_key_that_is_meant_for_one_algorithm_is_for_no_other() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    let pem = include_str!("../../../../tests/keys/rsa.pem");
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let pair = RsaKeyPair::from_pkcs8(der.secret_der()).unwrap();
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let RsaPublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
    let key = json!({ "kty": "RSA", "alg": "RS256", "n": number(&n), "e": number(&e) });
    let unknown = json!({ "kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA" });
    let providers = with_keys(&["name = 'ci', claims = {}"], &json!({ "keys": [unknown, key] }).to_string());
    let check = async |algorithm: &str, key: &Sign| {
        providers.check(&signed(algorithm, key, &claims(json!({}))), HERE, |_| false).await.is_ok()
    };
    assert!(check("RS256", &by_rsa()).await);
    assert!(!check("PS256", &by_rsa_as(&RSA_PSS_SHA256)).await);
}

#[test]
fn times_are_told_as_dates() {
    assert_eq!(date(0.0), "1970-01-01T00:00:00Z");
    assert_eq!(date(1.5e9), "2017-07-14T02:40:00Z");
    for odd in [-1.0, 1e300, 253_402_300_800.0, f64::INFINITY] {
        assert!(date(odd).ends_with("s after 1970"), "{odd}");
    }
}
