//! Sessions of the web page (SPEC AB1 to AB13): what a browser gets, what counts, and what ends them.

use std::io::Write;

use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::access::{Directory, RULES, basic, push};
use crate::started::{Answer, Started, answer, eventually};
use crate::tls;

const SESSION: &str = "/api/v1/session";
const JSON: &str = "Content-Type: application/json\r\n";

/// A browser that has signed in.
pub(crate) struct Browser {
    /// The cookie as it is sent.
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl Browser {
    /// What a page of the server sends with each request.
    pub(crate) fn fields(&self) -> String {
        format!("Cookie: {}\r\nX-CSRF-Token: {}\r\n", self.cookie, self.csrf)
    }

    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let set = answer.header("set-cookie").expect("a cookie");
        let body = body(answer);
        Self { cookie: set.split(';').next().unwrap().to_owned(), csrf: body["csrf"].as_str().unwrap().to_owned() }
    }
}

pub(crate) fn body(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

fn post(server: &Started, fields: &str, user: &str, password: &str) -> Answer {
    let login = json!({ "user": user, "password": password }).to_string();
    server.send_as(&format!("{JSON}{fields}"), "POST", SESSION, login.as_bytes())
}

pub(crate) fn sign_in(server: &Started, user: &str) -> Browser {
    Browser::of(&post(server, "", user, &format!("{user}-secret")))
}

fn get(server: &Started, fields: &str, target: &str) -> u16 {
    server.send_as(fields, "GET", target, b"").status
}

fn whoever(server: &Started, fields: &str) -> Json {
    let answer = server.send_as(fields, "GET", SESSION, b"");
    assert_eq!((answer.status, answer.header("cache-control").as_deref()), (200, Some("no-store")), "{answer:?}");
    body(&answer)
}

/// SPEC AB1, AB2, AB4, AB8.
#[test]
fn somebody_signs_in_acts_by_his_rules_and_signs_out() {
    let directory = Directory::new(&format!("administrators = ['group:dev']\n{RULES}"), &["alice", "bob", "root"]);
    let server = directory.start();
    let nobody = whoever(&server, "");
    assert_eq!((&nobody["user"], &nobody["csrf"], &nobody["expires"]), (&Json::Null, &Json::Null, &Json::Null));
    assert_eq!(nobody["sign_in"], json!({ "password": true, "oidc": [] }));
    assert_eq!(nobody["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&nobody["playground"], &nobody["anonymous_pull"]), (&json!(true), &json!(true)));
    let alice = sign_in(&server, "alice");
    let told = whoever(&server, &format!("Cookie: {}\r\n", alice.cookie));
    assert_eq!(
        (&told["user"], &told["groups"], &told["administrator"]),
        (&json!("alice"), &json!(["dev"]), &json!(true))
    );
    assert_eq!(told["csrf"], alice.csrf);
    assert!(told["expires"].as_str().unwrap().ends_with('Z'), "{told}");
    // The same answers as for the same user with a password, on both APIs.
    assert_eq!(push(&server, &basic("root"), "public/app", "v1", "x").status, 201);
    assert_eq!(push(&server, &basic("root"), "secret/app", "v1", "x").status, 201);
    assert_eq!(push(&server, &alice.fields(), "team/app", "v1", "x").status, 201);
    for (method, target) in [
        ("GET", "/v2/"),
        ("GET", "/v2/_catalog"),
        ("GET", "/v2/secret/app/tags/list"),
        ("GET", "/v2/team/app/manifests/v1"),
        ("GET", "/api/v1/repositories"),
        ("GET", "/api/v1/repositories/secret/app/tags"),
        ("DELETE", "/v2/team/app/manifests/v1"),
        ("DELETE", "/v2/secret/app/manifests/v1"),
        ("POST", "/v2/public/app/blobs/uploads/"),
    ] {
        let [by_session, by_password] =
            [alice.fields(), basic("alice")].map(|fields| server.send_as(&fields, method, target, b""));
        assert_eq!((by_session.status, by_session.body), (by_password.status, by_password.body), "{method} {target}");
    }
    assert_eq!(whoever(&server, &sign_in(&server, "bob").fields())["administrator"], false);
    // Who has signed out has, with this cookie as with any copy of it.
    let out = server.send_as(&alice.fields(), "DELETE", SESSION, b"");
    let cleared = "orlop-session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict";
    assert_eq!((out.status, out.header("set-cookie").as_deref()), (204, Some(cleared)), "{out:?}");
    let refused = server.send_as(&alice.fields(), "GET", "/v2/public/app/tags/list", b"");
    assert_eq!((refused.status, &body(&refused)["errors"][0]["code"]), (401, &json!("UNAUTHORIZED")));
    assert_eq!(whoever(&server, &alice.fields())["user"], Json::Null);
    assert_eq!(server.send_as(&alice.fields(), "DELETE", SESSION, b"").status, 401);
    eventually(|| {
        let log = server.log();
        log.contains("operation=\"sign-in\"")
            && log.contains("user=\"alice\"")
            && log.contains("operation=\"sign-out\"")
    });
}

/// SPEC AB3: no page of another origin can send the header.
#[test]
fn a_cookie_without_its_header_is_no_cookie() {
    let directory = Directory::new("", &["alice"]);
    let server = directory.start();
    let (alice, other) = (sign_in(&server, "alice"), sign_in(&server, "alice"));
    let cookie = format!("Cookie: {}\r\n", alice.cookie);
    let crossed = format!("{cookie}X-CSRF-Token: {}\r\n", other.csrf);
    let empty = format!("{cookie}X-CSRF-Token: \r\n");
    let alone = format!("X-CSRF-Token: {}\r\n", alice.csrf);
    for fields in [&cookie, &crossed, &empty, &alone] {
        for (method, target) in [
            ("GET", "/v2/"),
            ("GET", "/v2/a/tags/list"),
            ("GET", "/api/v1/repositories"),
            ("POST", "/v2/a/blobs/uploads/"),
            ("PUT", "/v2/a/manifests/v1"),
            ("DELETE", "/v2/a/manifests/v1"),
            ("DELETE", SESSION),
        ] {
            assert_eq!(server.send_as(fields, method, target, b"").status, 401, "{method} {target} {fields}");
        }
    }
    assert_eq!(get(&server, &alice.fields(), "/v2/"), 200, "nothing of that has signed her out");
    // A login in the request counts alone, be it a wrong one.
    let wrong = "Authorization: Basic YWxpY2U6eA==\r\n";
    assert_eq!(get(&server, &format!("{}{wrong}", alice.fields()), "/v2/"), 401);
    // Only pages of the server read whose session it is.
    let from = |site: &str| whoever(&server, &format!("{cookie}Sec-Fetch-Site: {site}\r\n"))["user"].clone();
    assert_eq!(
        ["same-origin", "same-site", "cross-site", "none"].map(from),
        [json!("alice"), Json::Null, Json::Null, Json::Null]
    );
}

/// SPEC AB5: a browser would ask for the password in a window of its own.
#[test]
fn a_page_is_never_answered_with_a_challenge_for_a_password() {
    let directory = Directory::new("", &["alice"]);
    let server = directory.start();
    let ended = sign_in(&server, "alice");
    assert_eq!(server.send_as(&ended.fields(), "DELETE", SESSION, b"").status, 204);
    let page = "X-CSRF-Token: none\r\n".to_owned();
    for fields in [&ended.fields(), &page] {
        for target in ["/v2/", "/v2/a/tags/list", "/api/v1/repositories"] {
            let refused = server.send_as(fields, "GET", target, b"");
            assert_eq!(refused.status, 401, "{refused:?}");
            assert_eq!(refused.headers("www-authenticate"), ["Session realm=\"orlop\""], "{refused:?}");
        }
    }
    let wrong = post(&server, "", "alice", "wrong");
    assert_eq!((wrong.status, wrong.headers("www-authenticate")), (401, vec!["Session realm=\"orlop\""]), "{wrong:?}");
    assert!(server.get("/v2/").header("www-authenticate").unwrap().starts_with("Basic "));
}

/// SPEC AB6.
#[test]
fn wrong_passwords_are_counted_as_those_of_other_clients_are() {
    let directory = Directory::new("", &["alice"]);
    let server = directory.start();
    let mut number = 0;
    let mut refused = 0;
    let limited = loop {
        number += 1;
        let answer = match number % 2 {
            0 => post(&server, "", "alice", &format!("wrong{number}")),
            _ => server.send_as(&basic("nobody"), "GET", "/v2/", b""),
        };
        match answer.status {
            401 => refused += 1,
            429 => break answer,
            status => panic!("{status}"),
        }
        assert!(number < 200);
    };
    assert!((60..=80).contains(&refused), "{refused}");
    assert_eq!(limited.header("retry-after").as_deref(), Some("60"), "{limited:?}");
    let there = post(&server, "", "alice", "wrong");
    assert_eq!((there.status, there.header("set-cookie")), (429, None), "{there:?}");
    let mut elsewhere = server.connect_from([127, 0, 0, 2]);
    let login = r#"{"user":"alice","password":"alice-secret"}"#;
    let head = format!("POST {SESSION} HTTP/1.1\r\nHost: x\r\n{JSON}Content-Length: {}\r\n\r\n", login.len());
    elsewhere.write_all(format!("{head}{login}").as_bytes()).unwrap();
    assert_eq!(answer(&mut elsewhere, false).status, 200, "from another address");
}

/// SPEC AB7: no form of another page can sign somebody in.
#[test]
fn what_signs_in_is_json_of_a_page_of_the_server() {
    let directory = Directory::new("", &["alice"]);
    let server = directory.start();
    let right = br#"{"user":"alice","password":"alice-secret"}"#;
    let check = |fields: &str, body: &[u8], expected: u16| {
        let answer = server.send_as(fields, "POST", SESSION, body);
        assert_eq!(answer.status, expected, "{fields} {answer:?}");
        assert!(answer.header("set-cookie").is_some() == (expected == 200), "{answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("secret"), "{answer:?}");
    };
    check("", right, 415);
    check("Content-Type: text/plain\r\n", right, 415);
    check("Content-Type: application/x-www-form-urlencoded\r\n", right, 415);
    check("Content-Type: multipart/form-data\r\n", right, 415);
    check("Content-Type: text/plain; application/json\r\n", right, 415);
    check("Content-Type: Application/JSON; charset=utf-8\r\n", right, 200);
    for site in ["cross-site", "same-site"] {
        check(&format!("{JSON}Sec-Fetch-Site: {site}\r\n"), right, 403);
    }
    // Browsers that do not say of which site a page is say of which origin it is.
    check(&format!("{JSON}Origin: https://evil.example\r\n"), right, 403);
    check(&format!("{JSON}Origin: null\r\n"), right, 403);
    check(&format!("{JSON}Origin: http://x\r\n"), right, 200);
    for wrong in ["", "{", "null", "[]", r#"{"user":"alice"}"#, r#"{"user":1,"password":"alice-secret"}"#, "\u{fffd}"] {
        check(JSON, wrong.as_bytes(), 400);
    }
    check(JSON, b"\xff\xfe", 400);
    check(JSON, "x".repeat(9000).as_bytes(), 413);
    for (user, password) in
        [("", ""), ("alice", ""), ("", "alice-secret"), ("al\nice", "x"), ("a:b", "x"), ("alice\u{0}", "alice-secret")]
    {
        check(JSON, json!({ "user": user, "password": password }).to_string().as_bytes(), 401);
    }
    check(JSON, json!({ "user": "alice", "password": "x".repeat(7000) }).to_string().as_bytes(), 401);
    for method in ["PUT", "PATCH", "OPTIONS"] {
        assert_eq!(server.send_as(&basic("alice"), method, SESSION, b"").status, 405, "{method}");
    }
}

/// SPEC AB9: nobody can give somebody else a session that he knows.
#[test]
fn who_signs_in_gets_a_session_that_is_new_whatever_the_browser_had() {
    let directory = Directory::new("", &["alice", "bob"]);
    let server = directory.start();
    let planted = sign_in(&server, "bob");
    let alice = Browser::of(&post(&server, &planted.fields(), "alice", "alice-secret"));
    assert_ne!((&alice.cookie, &alice.csrf), (&planted.cookie, &planted.csrf));
    assert_eq!(whoever(&server, &alice.fields())["user"], "alice");
    assert_eq!(get(&server, &planted.fields(), "/v2/"), 401, "the one before has ended");
    let invented = format!("orlop-session={}", "0".repeat(114));
    let again = Browser::of(&post(&server, &format!("Cookie: {invented}\r\n"), "alice", "alice-secret"));
    assert_ne!(again.cookie, invented);
    assert_eq!(get(&server, &again.fields(), "/v2/"), 200);
    assert_eq!(get(&server, &alice.fields(), "/v2/"), 200, "another browser stays signed in");
}

/// SPEC AB10.
#[test]
fn a_user_who_is_gone_or_has_another_password_is_signed_out() {
    let directory = Directory::new("", &["alice", "bob", "carol"]);
    let server = directory.start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| sign_in(&server, user));
    let other = format!("alice:{}\n", bcrypt::hash("other", 4).unwrap());
    let lines = std::fs::read_to_string(directory.path("users")).unwrap();
    let carols = lines.lines().find(|line| line.starts_with("carol:")).unwrap();
    std::fs::write(directory.path("users"), format!("{other}{carols}\n")).unwrap();
    eventually(|| [&alice, &bob].iter().all(|browser| get(&server, &browser.fields(), "/v2/") == 401));
    assert_eq!(get(&server, &carol.fields(), "/v2/"), 200);
    assert_eq!(whoever(&server, &alice.fields())["user"], Json::Null);
    let again = Browser::of(&post(&server, &alice.fields(), "alice", "other"));
    assert_eq!(get(&server, &again.fields(), "/v2/"), 200);
}

/// SPEC AB4: by TLS a cookie that nobody but this host can have set.
#[test]
fn the_cookie_is_secure_where_the_client_came_by_tls() {
    let directory = Directory::new("trusted-proxy = ['127.0.0.1']\n", &["alice"]);
    let behind = directory.start();
    let cookie = |answer: &Answer| {
        let set = answer.header("set-cookie").unwrap();
        let (name, rest) = set.split_once('=').unwrap();
        let (value, flags) = rest.split_once(';').unwrap();
        assert_eq!(value.len(), 114);
        (name.to_owned(), flags.to_owned())
    };
    let flags = " Path=/; Max-Age=604800; HttpOnly; SameSite=Strict";
    let secure = ("__Host-orlop-session".to_owned(), format!("{flags}; Secure"));
    let plain = ("orlop-session".to_owned(), flags.to_owned());
    let https = "X-Forwarded-Proto: https\r\n";
    let by_proxy = post(&behind, https, "alice", "alice-secret");
    assert_eq!(cookie(&by_proxy), secure);
    assert_eq!(cookie(&post(&behind, "", "alice", "alice-secret")), plain);
    assert_eq!(cookie(&post(&behind, "X-Forwarded-Proto: http\r\n", "alice", "alice-secret")), plain);
    let browser = Browser::of(&by_proxy);
    assert_eq!(get(&behind, &format!("{}{https}", browser.fields()), "/v2/"), 200);
    assert_eq!(get(&behind, &browser.fields(), "/v2/"), 401, "it is none where the client did not come by TLS");
    // Where it came by TLS a cookie of the other name, which another host of the domain may have set, is none either.
    let bare = sign_in(&behind, "alice");
    assert_eq!(get(&behind, &format!("{}{https}", bare.fields()), "/v2/"), 401);
    let out = behind.send_as(&format!("{}{https}", browser.fields()), "DELETE", SESSION, b"");
    let cleared = "__Host-orlop-session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure";
    assert_eq!((out.status, out.header("set-cookie").as_deref()), (204, Some(cleared)));
    let untrusting = Directory::new("", &["alice"]).start();
    assert_eq!(cookie(&post(&untrusting, https, "alice", "alice-secret")), plain, "anybody can say that");
    let place = tls::Place::new();
    let users = directory.path("users");
    let server = place.start(&["--auth-htpasswd", users.to_str().unwrap()]);
    let mut stream = tls::connect(&server, &place.client(None, &[]));
    let login = r#"{"user":"alice","password":"alice-secret"}"#;
    let head = format!("POST {SESSION} HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: {}\r\n\r\n", login.len());
    stream.write_all(format!("{head}{login}").as_bytes()).unwrap();
    assert_eq!(cookie(&answer(&mut stream, false)), secure);
}

/// SPEC AB11: what a page of another origin may do, it may not do by a session.
#[test]
fn no_page_of_another_origin_uses_a_session() {
    let page = "https://ui.example.com";
    let directory = Directory::new(&format!("cors = ['{page}', '*']\n"), &["alice"]);
    let server = directory.start();
    let origin = format!("Origin: {page}\r\n");
    let asks = |path: &str, method: &str, fields: &str| {
        let asked =
            format!("{origin}Access-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: {fields}\r\n");
        server.send_as(&asked, "OPTIONS", path, b"")
    };
    let granted = asks("/v2/a/tags/list", "GET", "authorization");
    assert_eq!(granted.status, 204, "{granted:?}");
    let allowed = granted.header("access-control-allow-headers").unwrap().to_lowercase();
    assert!(!allowed.contains("csrf") && !allowed.contains("cookie") && !allowed.contains('*'), "{allowed}");
    for (method, path) in [
        ("GET", SESSION),
        ("POST", SESSION),
        ("DELETE", SESSION),
        ("POST", "/api/v1/%73ession"),
        ("POST", "/api/v1/sessio%6E"),
    ] {
        let refused = asks(path, method, "content-type");
        assert_eq!(refused.status, 401, "{refused:?}");
        assert!(!refused.head.to_lowercase().contains("access-control"), "{refused:?}");
    }
    let alice = sign_in(&server, "alice");
    for answer in [
        server.send_as(&format!("{}{origin}", alice.fields()), "GET", SESSION, b""),
        server.send_as(&format!("{origin}Cookie: {}\r\n", alice.cookie), "GET", SESSION, b""),
        post(&server, &origin, "alice", "alice-secret"),
        server.send_as(&format!("{}{origin}", alice.fields()), "GET", "/api/v1/%73ession", b""),
        server.send_as(&format!("{}{origin}", alice.fields()), "DELETE", SESSION, b""),
    ] {
        assert!(!answer.head.to_lowercase().contains("access-control"), "{answer:?}");
    }
}

/// SPEC AB12.
#[test]
fn nothing_that_opens_a_session_is_in_a_log() {
    let directory = Directory::new("log = 'trace'\n", &["alice"]);
    let server = directory.start();
    let alice = sign_in(&server, "alice");
    let wrong = post(&server, "", "alice", "wrong-secret");
    assert_eq!(wrong.status, 401);
    assert_eq!(push(&server, &alice.fields(), "a", "v1", "x").status, 201);
    assert_eq!(server.send_as(&alice.fields(), "DELETE", SESSION, b"").status, 204);
    assert_eq!(get(&server, &alice.fields(), "/v2/"), 401);
    eventually(|| server.log().matches("operation=\"base\"").count() == 1);
    let (log, (_, value)) = (server.log(), alice.cookie.split_once('=').unwrap());
    for secret in [&value[34..], &alice.csrf, "alice-secret", "wrong-secret"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    assert!(log.contains("operation=\"sign-in\""), "{log}");
}

/// SPEC AB13.
#[test]
fn answers_to_a_session_are_kept_by_no_cache_that_others_share() {
    let directory = Directory::new("cors = ['https://ui.example.com']\n", &["alice"]);
    let server = directory.start();
    let alice = sign_in(&server, "alice");
    assert_eq!(push(&server, &alice.fields(), "a", "v1", "x").status, 201);
    let blob = format!("/v2/a/blobs/{}", orlop_core::digest::Algorithm::Sha256.digest(b"{}"));
    for target in [blob.as_str(), "/v2/a/manifests/v1", "/api/v1/repositories", "/v2/a/tags/list"] {
        let answer = server.send_as(&alice.fields(), "GET", target, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("cache-control").unwrap().starts_with("private"), "{answer:?}");
        assert!(answer.headers("vary").join(",").contains("Cookie"), "{answer:?}");
    }
    let by_password = server.send_as(&basic("alice"), "GET", &blob, b"");
    assert!(!by_password.header("cache-control").unwrap().contains("private"), "{by_password:?}");
}

/// SPEC AB8.
#[test]
fn a_session_outlives_a_restart_and_a_reload() {
    let directory = Directory::new("", &["alice"]);
    let mut server = directory.start();
    let alice = sign_in(&server, "alice");
    server.signal(Signal::HUP);
    eventually(|| server.log().contains("configuration reloaded"));
    assert_eq!(get(&server, &alice.fields(), "/v2/"), 200);
    server.signal(Signal::TERM);
    assert!(server.ended());
    let server = directory.start();
    assert_eq!(get(&server, &alice.fields(), "/v2/"), 200);
    assert_eq!(server.send_as(&alice.fields(), "DELETE", SESSION, b"").status, 204);
    drop(server);
    let server = directory.start();
    assert_eq!(get(&server, &alice.fields(), "/v2/"), 401);
}

/// Where there are no users, nobody signs in.
#[test]
fn without_passwords_nobody_signs_in() {
    let server = Started::with(&["--no-playground"]);
    let told = whoever(&server, "");
    assert_eq!((&told["sign_in"]["password"], &told["playground"]), (&json!(false), &json!(false)));
    assert_eq!(post(&server, "", "alice", "x").status, 403);
    let cookie = format!("Cookie: orlop-session={}\r\n", "0".repeat(114));
    assert_eq!(whoever(&server, &cookie)["user"], Json::Null);
}
