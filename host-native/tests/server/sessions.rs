//! A registry that is its own token server (SPEC Q1, Q2).

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;

use crate::access::{Directory, RULES, basic, push};
use crate::started::{Answer, Started, answer, eventually};

/// A server whose token endpoint is `/token`, with these rules.
fn place(rules: &str) -> Directory {
    let token_url = "auth-token-url = 'https://registry.example/token'\n";
    Directory::new(&format!("{token_url}{rules}"), &["alice", "bob", "root"])
}

const ALL: &str = "repositories = ['**']\n";

fn ask(server: &Started, fields: &str, scope: &str) -> Answer {
    server.send_as(fields, "GET", &format!("/token?service=orlop&scope={scope}"), b"")
}

/// The field that brings a token of that user, for that scope.
fn token(server: &Started, user: &str, scope: &str) -> String {
    let answer = ask(server, &basic(user), scope);
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    format!("Authorization: Bearer {}\r\n", body["token"].as_str().unwrap())
}

fn get(server: &Started, fields: &str, target: &str) -> u16 {
    server.send_as(fields, "GET", target, b"").status
}

#[test]
fn a_token_of_our_own_says_who_somebody_is_and_for_what_it_was_asked() {
    let directory = place(RULES);
    let server = directory.start();
    let refused = server.get("/v2/team/app/tags/list");
    let challenge =
        "Bearer realm=\"https://registry.example/token\",service=\"orlop\",scope=\"repository:team/app:pull\"";
    assert_eq!((refused.status, refused.header("www-authenticate").as_deref()), (401, Some(challenge)));
    let pushes = "repository:team/app:pull,push&scope=repository:secret/app:pull,push";
    let (alice, nobody) =
        (token(&server, "alice", pushes), token(&server, "", "repository:public/app:pull+repository:team/app:pull"));
    assert_eq!(push(&server, &basic("root"), "public/app", "v1", "x").status, 201);
    assert_eq!(push(&server, &alice, "team/app", "v1", "x").status, 201);
    assert_eq!(push(&server, &alice, "team/app", "v1", "y").status, 403, "a rule denies it");
    assert_eq!(push(&server, &alice, "secret/app", "v1", "x").status, 403, "no rule allows it");
    let login = token(&server, "alice", "");
    let of_v2 = [&alice, &nobody, &login, ""].map(|fields| get(&server, fields, "/v2/"));
    assert_eq!(of_v2, [200, 200, 200, 401]);
    let of_nobody = ["/v2/public/app/tags/list", "/v2/team/app/tags/list"].map(|path| get(&server, &nobody, path));
    assert_eq!(of_nobody, [200, 401]);
    let wrong = format!("Authorization: Basic {}\r\n", STANDARD.encode("alice:wrong"));
    assert_eq!((get(&server, &wrong, "/token"), server.send("POST", "/token", b"").status), (401, 405));
    // Rights and users are those of now.
    std::fs::write(directory.path("users"), directory.line("alice") + &directory.line("root")).unwrap();
    eventually(|| get(&server, &alice, "/v2/team/app/tags/list") == 401);
    assert_eq!(get(&server, &token(&server, "alice", pushes), "/v2/team/app/tags/list"), 200);
}

#[test]
fn a_token_for_one_thing_does_nothing_else() {
    let directory = place("");
    let server = directory.start();
    assert_eq!(push(&server, &basic("root"), "a/b", "latest", "x").status, 201);
    assert_eq!(push(&server, &basic("root"), "a/c", "latest", "x").status, 201);
    let reader = token(&server, "alice", "repository:a/b:pull");
    let refused = |fields: &str, method: &str, target: &str, scope: &str| {
        let answer = server.send_as(fields, method, target, b"");
        assert_eq!(answer.status, 401, "{method} {target}: {answer:?}");
        let challenge = answer.header("www-authenticate").unwrap();
        let expected = format!(",scope=\"{scope}\",error=\"insufficient_scope\"");
        assert!(challenge.ends_with(&expected), "{method} {target}: {challenge}");
    };
    assert_eq!(get(&server, &reader, "/v2/a/b/manifests/latest"), 200);
    refused(&reader, "GET", "/v2/a/c/manifests/latest", "repository:a/c:pull");
    refused(&reader, "POST", "/v2/a/b/blobs/uploads/", "repository:a/b:pull,push");
    refused(&reader, "PUT", "/v2/a/b/manifests/other", "repository:a/b:pull,push");
    refused(&reader, "DELETE", "/v2/a/b/manifests/latest", "repository:a/b:delete");
    refused(&reader, "GET", "/v2/_catalog", "registry:catalog:*");
    let login = token(&server, "alice", "");
    refused(&login, "GET", "/v2/a/b/manifests/latest", "repository:a/b:pull");
    refused(&login, "GET", "/v2/_catalog", "registry:catalog:*");
    let pusher = token(&server, "alice", "repository:a/b:pull,push");
    assert_eq!(push(&server, &pusher, "a/b", "other", "y").status, 201);
    refused(&pusher, "DELETE", "/v2/a/b/manifests/other", "repository:a/b:delete");
    let deleter = token(&server, "alice", "repository:a/b:delete");
    assert_eq!(server.send_as(&deleter, "DELETE", "/v2/a/b/manifests/other", b"").status, 202);
    let lister = token(&server, "alice", "registry:catalog:*");
    let listed = server.send_as(&lister, "GET", "/v2/_catalog", b"");
    assert_eq!(String::from_utf8(listed.body).unwrap(), r#"{"repositories":["a/b","a/c"]}"#);
    refused(&lister, "GET", "/v2/a/b/tags/list", "repository:a/b:pull");
}

/// A token that was stolen, or whose user is to be without one, ends after its five minutes.
#[test]
fn a_token_is_not_had_for_a_token() {
    let directory = place("");
    let server = directory.start();
    let bearer = token(&server, "alice", "repository:a/b:pull");
    let answer = ask(&server, &bearer, "repository:a/b:pull");
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm="), "{answer:?}");
    let nobody = token(&server, "", "");
    assert_eq!(ask(&server, &nobody, "").status, 401);
}

/// A request by that name of the server.
fn send_to(server: &Started, host: &str, fields: &str, target: &str) -> Answer {
    let mut stream = server.connect();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n").unwrap();
    answer(&mut stream, false)
}

/// A client that takes a mirror for another registry asks for tokens there too, and by less than a login it gets none of
/// somebody's.
#[test]
fn a_token_is_not_had_for_a_token_at_a_mirror_that_is_at_the_root_either() {
    let mirror = "[[mirror]]\nprefix = 'hub/'\nupstream = 'http://127.0.0.1:1'\nhost = 'hub.example'\n";
    let directory = place(mirror);
    let server = directory.start();
    assert_eq!(push(&server, &basic("alice"), "team/app", "v1", "x").status, 201);
    let made = server.send_as(
        &format!("{}Content-Type: application/json\r\n", basic("alice")),
        "POST",
        "/api/v1/tokens",
        br#"{"name":"ci","repositories":["other"],"actions":["pull"]}"#,
    );
    let made: serde_json::Value = serde_json::from_slice(&made.body).unwrap();
    let api_token = STANDARD.encode(format!("alice:{}", made["secret"].as_str().unwrap()));
    let api_token = format!("Authorization: Basic {api_token}\r\n");
    let scope = "/token?service=orlop&scope=repository:team/app:pull,push";
    let bearer = |host: &str, fields: &str| {
        let answer = send_to(&server, host, fields, scope);
        assert_eq!(answer.status, 200, "{answer:?}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        format!("Authorization: Bearer {}\r\n", body["token"].as_str().unwrap())
    };
    let narrow = bearer("x", &api_token);
    assert_eq!(get(&server, &narrow, "/v2/team/app/manifests/v1"), 401, "the API token is for another repository");
    let login = token(&server, "alice", "");
    let session = crate::signing_in::sign_in(&server, "alice").fields();
    for fields in [&narrow, &login, &session] {
        let wider = bearer("hub.example", fields);
        assert_eq!(get(&server, &wider, "/v2/team/app/manifests/v1"), 401, "{fields}");
        assert_eq!(push(&server, &wider, "team/app", "v2", "x").status, 401, "{fields}");
    }
    let own = bearer("hub.example", &basic("alice"));
    assert_eq!(get(&server, &own, "/v2/team/app/manifests/v1"), 200, "the password is a login");
    let narrow = bearer("hub.example", &api_token);
    assert_eq!(get(&server, &narrow, "/v2/team/app/manifests/v1"), 401);
}

/// Tokens, and what is counted of clients, are none of the business of a reload.
#[test]
fn a_reload_forgets_nothing_that_it_does_not_concern() {
    let limit = "[[limit]]\nwho = ['user:bob']\nrequests = 1\n";
    let directory = place(limit);
    let server = directory.start();
    let alice = token(&server, "alice", "repository:a:pull");
    let wrong = |number: usize| format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("alice:{number}")));
    let mut number = 0;
    let mut tries_are_used_up = || {
        number += 1;
        get(&server, &wrong(number), "/v2/") == 429
    };
    while !tries_are_used_up() {}
    for (reload, rules) in [limit.to_owned(), format!("{limit}[[rule]]\nwho=['user:alice']\nallow=['pull']\n{ALL}")]
        .into_iter()
        .enumerate()
    {
        let realm = format!("again{reload}");
        let settings = format!("auth-token-url = 'https://registry.example/token'\nauth-realm = '{realm}'\n{rules}");
        directory.configure(&settings);
        server.signal(Signal::HUP);
        eventually(|| server.get("/v2/").header("www-authenticate").unwrap().contains(&realm));
        assert_eq!(get(&server, &alice, "/v2/"), 200, "the token is good");
        // One try comes back in a second.
        assert!((0..10).any(|_| tries_are_used_up()), "they are counted as before");
    }
    // A token that was good is not any more once its user is gone.
    std::fs::write(directory.path("users"), directory.line("bob")).unwrap();
    server.signal(Signal::HUP);
    eventually(|| get(&server, &alice, "/v2/") == 401);
}

/// What is refused, and what gives out tokens, costs as much as anything else.
#[test]
fn requests_for_tokens_and_those_that_are_refused_count_in_the_rate() {
    let limit = "[[limit]]\nwho = ['anybody']\neach = 'address'\nrate = 1\n";
    let directory = place(&format!("trusted-proxy = ['127.0.0.1']\n{limit}"));
    let server = directory.start();
    let malformed = "Authorization: Basic %%%\r\n";
    let alice = basic("alice");
    let asked = [
        ("192.0.2.1", "", "/v2/", 401),
        ("192.0.2.2", malformed, "/v2/", 401),
        ("192.0.2.3", "", "/token", 200),
        ("192.0.2.4", &*alice, "/token", 200),
        ("192.0.2.5", malformed, "/token", 401),
    ];
    // Some wait for their turn, and the others would have to wait for too long.
    let told = std::thread::scope(|threads| {
        let each = asked.map(|(from, fields, target, _)| {
            let fields = format!("X-Forwarded-For: {from}\r\n{fields}");
            [(); 10].map(|()| {
                let (server, fields) = (&server, fields.clone());
                threads.spawn(move || get(server, &fields, target))
            })
        });
        each.map(|asking| asking.map(|asking| asking.join().unwrap()))
    });
    for ((from, _, target, otherwise), told) in asked.into_iter().zip(told) {
        assert!(told.contains(&429) && told.contains(&otherwise), "{from} {target}: {told:?}");
        assert!(told.iter().all(|status| [429, otherwise].contains(status)), "{from} {target}: {told:?}");
    }
}
