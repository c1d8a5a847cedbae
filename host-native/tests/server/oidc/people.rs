//! People who sign in to the web page at a provider (SPEC AC16 to AC20).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use url::Url;

use super::provider::{Key, Provider, now};
use super::{reload, told};
use crate::access::{Directory, basic};
use crate::started::{Answer, Started, eventually};

const START: &str = "/api/v1/session/oidc/corp";
const CODE: &str = "code-of-alice";

fn settings(provider: &Provider, more: &str) -> String {
    let issuer = &provider.issuer;
    format!(
        "[[oidc]]\nname = 'corp'\nissuer = '{issuer}'\nclient-id = 'the console'\ntitle = 'Corp SSO'\nscopes = ['groups']\n\
         groups = ['{{groups}}']\nclaims = {{ groups = ['dev', 'ops'] }}\n{more}\n\
         [[oidc]]\nname = 'jobs'\nissuer = '{issuer}'\naudience = 'registry.example'\nclaims = {{}}\n\
         [[rule]]\nwho = ['group:corp:dev']\nallow = ['all']\nrepositories = ['team/**']\n"
    )
}

/// The values of a field.
fn fields(answer: &Answer, name: &str) -> Vec<String> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

/// A browser that was sent to the provider.
struct Begun {
    cookie: String,
    location: Url,
}

impl Begun {
    fn get(&self, name: &str) -> String {
        let mut pairs = self.location.query_pairs();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    /// A token for this sign-in, of which some claims are others.
    fn token(&self, key: &Key, provider: &Provider, more: &Value) -> String {
        let mut claims = json!({ "aud": "the console", "sub": "alice", "groups": ["dev"], "nonce": self.get("nonce") });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "id_token": key.sign(&provider.claims(&claims)), "access_token": "x", "token_type": "Bearer" })
            .to_string()
    }

    /// The provider sends it back.
    fn back(&self, server: &Started) -> Answer {
        back(server, &self.cookie, &format!("code={CODE}&state={}", self.get("state")))
    }
}

fn begin(server: &Started, fields: &str, to: &str) -> Begun {
    let answer = server.send_as(fields, "GET", &format!("{START}{to}"), b"");
    assert_eq!(answer.status, 303, "{answer:?}");
    let location = Url::parse(&answer.header("location").unwrap()).unwrap();
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax"), "{cookie}");
    Begun { cookie: cookie.split(';').next().unwrap().to_owned(), location }
}

fn back(server: &Started, cookie: &str, query: &str) -> Answer {
    server.send_as(&format!("Cookie: {cookie}\r\n"), "GET", &format!("{START}/callback?{query}"), b"")
}

/// The cookie of the session that has begun.
fn session(answer: &Answer) -> String {
    let set = fields(answer, "set-cookie");
    let set = set.iter().find(|set| set.contains("orlop-session=")).unwrap_or_else(|| panic!("{answer:?}"));
    assert!(set.contains("HttpOnly; SameSite=Strict"), "{set}");
    set.split(';').next().unwrap().to_owned()
}

fn whoever(server: &Started, cookie: &str) -> Value {
    let answer = server.send_as(&format!("Cookie: {cookie}\r\n"), "GET", "/api/v1/session", b"");
    serde_json::from_slice(&answer.body).unwrap()
}

fn ends(answer: &Answer, expected: &str, what: &str) {
    let location = answer.header("location").unwrap_or_default();
    assert_eq!((answer.status, location.as_str()), (303, &*format!("/console/signed-out?error={expected}")), "{what}");
    assert!(!answer.head.contains("orlop-session="), "{what}: {answer:?}");
    assert_eq!(answer.header("referrer-policy").as_deref(), Some("no-referrer"));
}

/// SPEC AC16 to AC18, AC20.
#[test]
fn somebody_signs_in_at_a_provider() {
    let key = Key::new("one");
    let provider = Provider::with(&[&key]);
    let directory = Directory::new("", &["root"]);
    std::fs::write(directory.path("secret"), "se:cret+\n").unwrap();
    let secret = format!("client-secret-file = '{}'", directory.path("secret").display());
    directory.configure(&settings(&provider, &secret));
    let server = directory.start();
    let providers = whoever(&server, "x=y")["sign_in"]["oidc"].clone();
    assert_eq!(providers, json!([{ "name": "corp", "title": "Corp SSO" }]));

    let begun = begin(&server, "", "?to=/console/r/team/app%3Fq=1");
    for (name, expected) in [
        ("realm", "x"),
        ("response_type", "code"),
        ("client_id", "the console"),
        ("scope", "openid groups"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(begun.get(name), expected);
    }
    assert!(begun.get("redirect_uri").ends_with("/api/v1/session/oidc/corp/callback"), "{}", begun.location);
    let other = begin(&server, "", "");
    for name in ["state", "nonce", "code_challenge"] {
        assert!(begun.get(name).len() == 43 && begun.get(name) != other.get(name), "{name}");
    }
    // Nothing of it is kept here, so another host takes it.
    drop(server);
    let server = directory.start();
    provider.gives(200, begun.token(&key, &provider, &json!({})));
    let query = format!("code={CODE}&state={}&iss={}&session_state=x", begun.get("state"), provider.issuer);
    let answer = back(&server, &format!("other=1; {}", begun.cookie), &query);
    assert_eq!(answer.status, 303, "{answer:?} {}", server.log());
    assert_eq!(answer.header("location").as_deref(), Some("/console/r/team/app?q=1"));
    assert_eq!(answer.header("referrer-policy").as_deref(), Some("no-referrer"));
    assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
    assert!(
        fields(&answer, "set-cookie").contains(&"orlop-sign-in=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax".into())
    );
    let form = provider.form();
    let form: std::collections::HashMap<_, _> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    assert_eq!((form["grant_type"].as_str(), form["code"].as_str()), ("authorization_code", CODE));
    let bytes = ring::digest::digest(&ring::digest::SHA256, form["code_verifier"].as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(bytes), begun.get("code_challenge"));
    let basic = format!("Basic {}", STANDARD.encode("the+console:se%3Acret%2B"));
    assert!(provider.sent_along().contains(&Some(basic)), "{:?}", provider.sent_along());
    assert!(!form.contains_key("client_secret") && !form.contains_key("client_id"));

    let cookie = session(&answer);
    let known = whoever(&server, &cookie);
    assert_eq!((&known["user"], &known["groups"]), (&json!("corp:alice"), &json!(["corp:dev"])));
    let with_csrf = format!("Cookie: {cookie}\r\nX-CSRF-Token: {}\r\n", known["csrf"].as_str().unwrap());
    let created = server.send_as(&with_csrf, "POST", "/v2/team/app/blobs/uploads/", b"");
    assert_eq!(created.status, 202, "its groups are in it: {created:?}");

    // The session before ends, though a browser does not send its cookie along when it is sent back by another site.
    let again = begin(&server, &format!("Cookie: {cookie}\r\n"), "");
    provider.gives(200, again.token(&key, &provider, &json!({})));
    let answer = again.back(&server);
    assert_eq!(answer.header("location").as_deref(), Some("/console/"));
    let second = session(&answer);
    assert!(second != cookie && whoever(&server, &cookie)["user"].is_null());
    assert_eq!(whoever(&server, &second)["user"], "corp:alice");
    // A code that was used is used.
    provider
        .gives(400, json!({ "error": "invalid_grant", "error_description": format!("{CODE} was used") }).to_string());
    ends(&again.back(&server), "failed", "replayed");
    eventually(|| {
        server.log().contains("invalid_grant") && server.log().contains("\"corp:alice\" has signed in by oidc:corp")
    });
    for secret in [CODE, "eyJ", "se:cret", "cret%2B", begun.get("state").as_str(), form["code_verifier"].as_str()] {
        assert!(!server.log().contains(secret), "{secret}: {}", server.log());
    }
    // It is worth nothing without its provider.
    directory.configure("[[rule]]\nwho = ['anybody']\nallow = ['pull']\nrepositories = ['**']\n");
    reload(&directory);
    eventually(|| whoever(&server, &second)["user"].is_null());
}

/// SPEC AC17, AC19.
#[test]
fn what_is_not_right_signs_nobody_in() {
    let (key, stranger) = (Key::new("one"), Key::new("one"));
    let provider = Provider::with(&[&key]);
    let directory = Directory::new(&settings(&provider, ""), &["root"]);
    let server = directory.start();
    let begun = begin(&server, "", "");
    let foreign = begin(&server, "", "");
    provider.gives(200, begun.token(&key, &provider, &json!({})));
    let (state, cookie) = (begun.get("state"), begun.cookie.as_str());
    let (first, rest) = cookie.split_at(cookie.len() - 1);
    let tampered = format!("{first}{}", if rest == "0" { "1" } else { "0" });
    let longer = cookie.replace("orlop-sign-in=corp.", "orlop-sign-in=corp.9");
    let right = format!("code={CODE}&state={state}");
    for (cookie, query, expected) in [
        (cookie, format!("code={CODE}"), "expired"),
        (cookie, format!("code={CODE}&state="), "expired"),
        (cookie, format!("code={CODE}&state={}", foreign.get("state")), "expired"),
        (cookie, format!("code={CODE}&state={state}&state={state}"), "expired"),
        (cookie, format!("code={CODE}&state={state}x"), "expired"),
        ("a=b", right.clone(), "expired"),
        ("orlop-sign-in=", right.clone(), "expired"),
        (foreign.cookie.as_str(), right.clone(), "expired"),
        (tampered.as_str(), right.clone(), "expired"),
        (longer.as_str(), right.clone(), "expired"),
        (cookie, format!("error=access_denied&state={state}"), "denied"),
        (cookie, "error=access_denied".to_owned(), "expired"),
        (cookie, format!("error=server_error&state={state}"), "provider"),
        (cookie, format!("error=%3Cscript%3E%0A&state={state}&{right}"), "expired"),
        (cookie, format!("error=login_required&state={state}"), "failed"),
        (cookie, format!("state={state}"), "failed"),
        (cookie, format!("code=&state={state}"), "failed"),
        (cookie, format!("{right}&iss=https://evil.example"), "failed"),
    ] {
        ends(&back(&server, cookie, &query), expected, &format!("{cookie} {query}"));
    }
    assert_eq!(provider.form(), "", "no code was shown to the provider");
    let audience = |audience: Value| json!({ "aud": audience });
    for (claims, expected) in [
        (json!({ "nonce": foreign.get("nonce") }), "failed"),
        (json!({ "nonce": null }), "failed"),
        (audience(json!("registry.example")), "failed"),
        (audience(json!(["the console", "other"])), "failed"),
        (json!({ "azp": "other" }), "failed"),
        (json!({ "iss": "https://evil.example" }), "failed"),
        (json!({ "exp": now() - 100 }), "failed"),
        (json!({ "iat": now() + 1000 }), "failed"),
        (json!({ "nbf": now() + 1000 }), "failed"),
        (json!({ "groups": ["others"] }), "not-allowed"),
        (json!({ "sub": "x".repeat(300) }), "not-allowed"),
        (json!({ "sub": "" }), "not-allowed"),
    ] {
        provider.gives(200, begun.token(&key, &provider, &claims));
        ends(&begun.back(&server), expected, &claims.to_string());
    }
    let forged = begun.token(&stranger, &provider, &json!({}));
    for (status, body, expected) in [
        (200, forged, "failed"),
        (200, json!({ "access_token": "x" }).to_string(), "provider"),
        (200, json!({ "id_token": "x" }).to_string(), "failed"),
        (200, json!({ "id_token": 1 }).to_string(), "provider"),
        (200, "<html>sign in</html>".into(), "provider"),
        (200, String::new(), "provider"),
        (200, " ".repeat(200 << 10), "failed"),
        (302, String::new(), "failed"),
        (401, json!({ "error": "invalid_client" }).to_string(), "failed"),
        (500, "<html>".into(), "provider"),
        (503, String::new(), "provider"),
    ] {
        provider.gives(status, body.clone());
        ends(&begun.back(&server), expected, &format!("{status} {body:.60}"));
    }
    // A public client shows its name, and no secret.
    assert!(provider.form().contains("client_id=the+console") && provider.sent_along().iter().all(Option::is_none));
    // All that was wrong before has changed nothing.
    provider.gives(200, begun.token(&key, &provider, &json!({ "azp": "the console", "aud": ["the console", "b"] })));
    assert_eq!(whoever(&server, &session(&begun.back(&server)))["user"], "corp:alice");
    assert!(!server.log().contains(CODE) && !server.log().contains("eyJ"), "{}", server.log());
}

/// SPEC AC16.
#[test]
fn nobody_is_sent_to_another_place_than_the_console() {
    let key = Key::new("one");
    let provider = Provider::with(&[&key]);
    let directory = Directory::new(&settings(&provider, ""), &["root"]);
    let server = directory.start();
    let status = |method: &str, target: &str| server.send_as(&basic("root"), method, target, b"").status;
    for to in [
        "",
        "/",
        "//evil.example",
        "///evil.example",
        "////evil.example/console/",
        "/%5Cevil.example",
        "%5C%5Cevil.example",
        "https://evil.example",
        "https:evil.example",
        "https:/evil.example/console/",
        "javascript:alert(1)",
        "data:text/html,x",
        "console/",
        "/console",
        "/consoleevil/",
        "/console//evil.example",
        "/console/%5Cevil",
        "/console/%0D%0ASet-Cookie:%20a=b",
        "/console/%09",
        "/%09/evil.example",
        "/%2F/evil.example",
        "/v2/",
        "%00/console/",
        "/api/v1/session/oidc/corp",
        "@evil.example/console/",
        "/console/%C3%A9",
    ] {
        let answer = server.send_as("", "GET", &format!("{START}?to={to}"), b"");
        assert_eq!(answer.status, 400, "{to}: {answer:?}");
        assert!(told(&answer).contains("a path below /console/"), "{answer:?}");
    }
    assert_eq!(status("GET", &format!("{START}?to=/console/{}", "x".repeat(10_000))), 400);
    assert_eq!(status("GET", &format!("{START}?to=/console/{}", "x".repeat(2_000))), 303);
    for name in ["other", "jobs", "CORP", "corp%2F", "..", "%00", &"x".repeat(5000)] {
        assert_eq!(status("GET", &format!("/api/v1/session/oidc/{name}")), 404, "{name:.20}");
        assert_eq!(status("GET", &format!("/api/v1/session/oidc/{name}/callback?code=x&state=y")), 404, "{name:.20}");
    }
    assert_eq!(status("POST", START), 405);
    assert_eq!(status("POST", &format!("{START}/callback?code={CODE}")), 405);
    assert_eq!(status("HEAD", &format!("{START}/callback?code={CODE}")), 405);
    assert!(!server.log().contains(CODE));
}

/// SPEC AC16, AC17: behind a proxy it is what the browser sees that counts.
#[test]
fn a_browser_behind_a_proxy_comes_back_to_it() {
    let key = Key::new("one");
    let provider = Provider::with(&[&key]);
    let directory = Directory::new("", &["root"]);
    let proxied = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: hub.example\r\nX-Forwarded-Prefix: /r\r\n";
    directory.configure(&format!("trusted-proxy = ['127.0.0.1/32']\n{}", settings(&provider, "")));
    let server = directory.start();
    let begun = begin(&server, proxied, "?to=/r/console/search");
    assert_eq!(begun.get("redirect_uri"), "https://hub.example/r/api/v1/session/oidc/corp/callback");
    assert!(begun.cookie.starts_with("__Host-orlop-sign-in="), "{}", begun.cookie);
    provider.gives(200, begun.token(&key, &provider, &json!({})));
    let target = format!("{START}/callback?code={CODE}&state={}", begun.get("state"));
    let plain = begun.cookie.replace("__Host-", "");
    let tossed = server.send_as(&format!("{proxied}Cookie: {plain}\r\n"), "GET", &target, b"");
    assert_eq!(tossed.header("location").as_deref(), Some("/r/console/signed-out?error=expired"));
    let answer = server.send_as(&format!("{proxied}Cookie: {}\r\n", begun.cookie), "GET", &target, b"");
    assert_eq!(answer.header("location").as_deref(), Some("/r/console/search"), "{answer:?}");
    assert!(session(&answer).starts_with("__Host-orlop-session="), "{answer:?}");
    directory.configure(&format!("external-url = 'https://a.example/b'\n{}", settings(&provider, "")));
    reload(&directory);
    let redirect = || begin(&server, "", "").get("redirect_uri");
    eventually(|| redirect() == "https://a.example/b/api/v1/session/oidc/corp/callback");
}

/// SPEC AC19: a provider that does not answer holds up nobody else, and nobody tries codes as he likes.
#[test]
fn a_provider_that_does_not_answer_is_told_of() {
    let key = Key::new("one");
    let provider = Provider::with(&[&key]);
    let directory = Directory::new(&settings(&provider, ""), &["root"]);
    provider.is_down(true);
    let server = directory.start();
    ends(&server.send_as("", "GET", START, b""), "provider", "down");
    provider.is_down(false);
    eventually(|| server.send_as("", "GET", START, b"").header("location").unwrap().starts_with(&provider.issuer));
    let begun = begin(&server, "", "");
    provider.hangs();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..20).map(|_| scope.spawn(|| begun.back(&server))).collect();
        eventually(|| !provider.form().is_empty());
        assert_eq!(server.send_as(&basic("root"), "GET", "/v2/", b"").status, 200);
        let ended = waiting.into_iter().map(|waiting| waiting.join().unwrap().header("location").unwrap());
        let codes: Vec<String> = ended.map(|location| location.split('=').next_back().unwrap().to_owned()).collect();
        assert!(codes.iter().all(|code| code == "provider" || code == "busy"), "{codes:?}");
        assert!(codes.iter().any(|code| code == "provider"), "{codes:?}");
    });
    provider.gives(400, json!({ "error": "invalid_grant" }).to_string());
    let tried = (0..80).any(|_| begun.back(&server).header("location").unwrap().ends_with("error=busy"));
    assert!(tried, "{}", server.log());
}
