//! API tokens (SPEC AB20 to AB34): made and revoked by the API and the command line, and used as passwords.

use std::process::Output;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::access::{Directory, RULES, basic, push};
use crate::signing_in::{body, sign_in};
use crate::started::{Answer, Started, eventually, orlop};

const TOKENS: &str = "/api/v1/tokens";
const JSON: &str = "Content-Type: application/json\r\n";

fn post(server: &Started, fields: &str, wanted: &Json) -> Answer {
    server.send_as(&format!("{JSON}{fields}"), "POST", TOKENS, wanted.to_string().as_bytes())
}

/// A token of that user: its id, and the field that brings it.
fn token(server: &Started, user: &str, repositories: &[&str], actions: &[&str]) -> (String, String) {
    let wanted = json!({ "name": "ci", "repositories": repositories, "actions": actions, "expires_in_days": 1 });
    let made = post(server, &basic(user), &wanted);
    assert_eq!(made.status, 201, "{made:?}");
    let made = body(&made);
    (made["id"].as_str().unwrap().to_owned(), shown(user, made["secret"].as_str().unwrap()))
}

pub(crate) fn shown(user: &str, secret: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{secret}")))
}

fn get(server: &Started, fields: &str, target: &str) -> u16 {
    server.send_as(fields, "GET", target, b"").status
}

fn listed(server: &Started, fields: &str, target: &str) -> Json {
    let answer = server.send_as(fields, "GET", target, b"");
    assert_eq!((answer.status, answer.header("cache-control").as_deref()), (200, Some("no-store")), "{answer:?}");
    body(&answer)
}

/// SPEC AB20, AB21, AB22.
#[test]
fn a_token_is_made_shown_once_listed_and_revoked() {
    let directory = Directory::new("", &["alice", "bob"]);
    let server = directory.start();
    let alice = sign_in(&server, "alice");
    let wanted = json!({ "name": "laptop", "repositories": ["team/*", "base"], "actions": ["push", "pull", "pull"] });
    let made = post(&server, &alice.fields(), &wanted);
    assert_eq!(made.status, 201, "{made:?}");
    let (location, made) = (made.header("location").unwrap(), body(&made));
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("orlop_") && secret.len() == 72, "{secret}");
    assert_eq!(location, format!("{TOKENS}/{}", made["id"].as_str().unwrap()));
    let mut expected = made.clone();
    expected.as_object_mut().unwrap().remove("secret");
    assert_eq!(expected["actions"], json!(["pull", "push"]));
    assert_eq!(
        (&expected["expires"], &expected["last_used"], &expected["name"]),
        (&Json::Null, &Json::Null, &json!("laptop"))
    );
    assert_eq!(listed(&server, &alice.fields(), TOKENS), json!({ "tokens": [expected] }));
    assert_eq!(listed(&server, &basic("alice"), TOKENS), json!({ "tokens": [expected] }));
    assert_eq!(listed(&server, &basic("bob"), TOKENS), json!({ "tokens": [] }));
    let fields = shown("alice", secret);
    assert_eq!(get(&server, &fields, "/v2/"), 200);
    assert_eq!(get(&server, &shown("bob", secret), "/v2/"), 401, "it is a token of alice");
    assert_eq!(server.send_as(&basic("bob"), "DELETE", &location, b"").status, 404);
    assert_eq!(get(&server, &fields, "/v2/"), 200);
    assert_eq!(server.send_as(&alice.fields(), "DELETE", &location, b"").status, 204);
    assert_eq!(get(&server, &fields, "/v2/"), 401, "at once");
    assert_eq!(server.send_as(&alice.fields(), "DELETE", &location, b"").status, 404);
    assert_eq!(listed(&server, &alice.fields(), TOKENS), json!({ "tokens": [] }));
    for wrong in ["x", "0", &"0".repeat(40), "..%2f..", "é"] {
        assert_eq!(server.send_as(&basic("alice"), "DELETE", &format!("{TOKENS}/{wrong}"), b"").status, 404, "{wrong}");
    }
    assert_eq!(get(&server, "", TOKENS), 401);
}

/// SPEC AB23, AB24.
#[test]
fn a_token_allows_what_its_scope_and_the_rules_both_allow() {
    let directory = Directory::new(RULES, &["alice", "bob", "root"]);
    let server = directory.start();
    for repository in ["team/app", "team/other", "secret/app", "public/app"] {
        assert_eq!(push(&server, &basic("root"), repository, "v1", "x").status, 201);
    }
    let (_, reader) = token(&server, "alice", &["team/app", "secret/**"], &["pull"]);
    assert_eq!(get(&server, &reader, "/v2/team/app/manifests/v1"), 200);
    for hidden in ["team/other", "secret/app", "public/app", "none"] {
        let by_token = server.send_as(&reader, "GET", &format!("/v2/{hidden}/tags/list"), b"");
        assert_eq!((by_token.status, &body(&by_token)["errors"][0]["code"]), (404, &json!("NAME_UNKNOWN")), "{hidden}");
    }
    let refused = push(&server, &reader, "team/app", "other", "y");
    assert_eq!(refused.status, 403);
    let told = body(&refused)["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(told.starts_with("the API token of alice does not have the right upload"), "{told}");
    assert_eq!(server.send_as(&reader, "DELETE", "/v2/team/app/manifests/v1", b"").status, 403);
    let catalog = server.send_as(&reader, "GET", "/v2/_catalog", b"");
    assert_eq!(String::from_utf8(catalog.body).unwrap(), r#"{"repositories":["team/app"]}"#);
    let (_, pusher) = token(&server, "alice", &["**"], &["pull", "push"]);
    assert_eq!(push(&server, &pusher, "team/app", "other", "y").status, 201);
    assert_eq!(push(&server, &pusher, "team/app", "v1", "y").status, 403, "a rule denies that tag");
    assert_eq!(push(&server, &pusher, "secret/app", "other", "y").status, 403, "no rule allows it");
    assert_eq!(server.send_as(&pusher, "DELETE", "/v2/team/app/manifests/other", b"").status, 403);
    let (_, deleter) = token(&server, "alice", &["team/*"], &["delete"]);
    assert_eq!(server.send_as(&deleter, "DELETE", "/v2/team/app/manifests/other", b"").status, 202);
    assert_eq!(get(&server, &deleter, "/v2/team/app/manifests/v1"), 404);
    // A mount needs pull on its source.
    let blob = orlop_core::digest::Algorithm::Sha256.digest(b"{}");
    let mount = |from: &str| format!("/v2/team/new/blobs/uploads/?mount={blob}&from={from}");
    let (_, narrow) = token(&server, "alice", &["team/*"], &["pull", "push"]);
    assert_eq!(server.send_as(&narrow, "POST", &mount("public/app"), b"").status, 202);
    assert_eq!(server.send_as(&narrow, "POST", &mount("team/app"), b"").status, 201);
    // What the rules take from the user they take from the token.
    directory.configure("[[rule]]\nwho=['user:bob']\nallow=['all']\nrepositories=['**']\n");
    server.signal(Signal::HUP);
    eventually(|| get(&server, &pusher, "/v2/team/app/manifests/v1") == 404);
}

/// SPEC AB25.
#[test]
fn a_token_makes_neither_tokens_nor_sessions() {
    let directory = Directory::new("administrators = ['user:alice']\n", &["alice"]);
    let server = directory.start();
    let (id, fields) = token(&server, "alice", &["**"], &["pull", "push", "delete"]);
    let wanted = json!({ "name": "more", "repositories": ["**"], "actions": ["pull"] });
    assert_eq!(post(&server, &fields, &wanted).status, 403);
    assert_eq!(get(&server, &fields, TOKENS), 403);
    assert_eq!(server.send_as(&fields, "DELETE", &format!("{TOKENS}/{id}"), b"").status, 403);
    let secret = body(&post(&server, &basic("alice"), &wanted))["secret"].as_str().unwrap().to_owned();
    let login = json!({ "user": "alice", "password": secret }).to_string();
    assert_eq!(server.send_as(JSON, "POST", "/api/v1/session", login.as_bytes()).status, 401);
    assert_eq!(body(&server.send_as(&fields, "GET", "/api/v1/session", b""))["csrf"], Json::Null);
    assert_eq!(listed(&server, &basic("alice"), TOKENS)["tokens"].as_array().unwrap().len(), 2);
}

/// SPEC AB26.
#[test]
fn tokens_are_used_at_the_token_endpoint_too() {
    let directory = Directory::new("auth-token-url = 'https://registry.example/token'\n", &["alice"]);
    let server = directory.start();
    assert_eq!(push(&server, &basic("alice"), "team/app", "v1", "x").status, 201);
    assert_eq!(push(&server, &basic("alice"), "other", "v1", "x").status, 201);
    let (id, fields) = token(&server, "alice", &["team/*"], &["pull"]);
    let bearer = |scope: &str| {
        let answer = server.send_as(&fields, "GET", &format!("/token?service=orlop&scope={scope}"), b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        format!("Authorization: Bearer {}\r\n", body(&answer)["token"].as_str().unwrap())
    };
    let all = bearer("repository:team/app:pull,push&scope=repository:other:pull&scope=registry:catalog:*");
    assert_eq!(get(&server, &all, "/v2/team/app/manifests/v1"), 200);
    assert_eq!(get(&server, &all, "/v2/other/manifests/v1"), 401);
    assert_eq!(push(&server, &all, "team/app", "v2", "y").status, 401);
    let catalog = server.send_as(&all, "GET", "/v2/_catalog", b"");
    assert_eq!(String::from_utf8(catalog.body).unwrap(), r#"{"repositories":["team/app"]}"#);
    assert_eq!(get(&server, &bearer("repository:other:pull"), "/v2/team/app/manifests/v1"), 401, "not asked for");
    assert_eq!(post(&server, &all, &json!({ "name": "x", "repositories": ["**"], "actions": ["pull"] })).status, 403);
    // With the token goes what was had for it, at once.
    assert_eq!(server.send_as(&basic("alice"), "DELETE", &format!("{TOKENS}/{id}"), b"").status, 204);
    assert_eq!(get(&server, &all, "/v2/team/app/manifests/v1"), 401);
    assert_eq!(get(&server, &fields, "/token?service=orlop"), 401);
}

/// SPEC AB27.
#[test]
fn what_a_token_may_be_is_bounded_and_said() {
    let directory = Directory::new("", &["alice"]);
    let server = directory.start();
    let refused = |wanted: Json, expected: &str| {
        let answer = post(&server, &basic("alice"), &wanted);
        assert_eq!(answer.status, 400, "{wanted} {answer:?}");
        let told = body(&answer)["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(told.contains(expected), "{told}");
    };
    let all = json!(["**"]);
    let pull = json!(["pull"]);
    refused(json!({ "name": "", "repositories": all, "actions": pull }), "`name`");
    refused(json!({ "name": "x".repeat(101), "repositories": all, "actions": pull }), "`name`");
    refused(json!({ "name": "ci", "repositories": [], "actions": pull }), "`repositories`");
    refused(json!({ "name": "ci", "repositories": ["Team"], "actions": pull }), "`repositories`");
    refused(json!({ "name": "ci", "repositories": vec!["a"; 33], "actions": pull }), "`repositories`");
    refused(json!({ "name": "ci", "repositories": all, "actions": [] }), "`actions`");
    refused(json!({ "name": "ci", "repositories": all, "actions": ["all"] }), "JSON");
    refused(json!({ "name": "ci", "repositories": all, "actions": pull, "expires_in_days": 0 }), "expires_in_days");
    refused(json!({ "name": "ci", "repositories": all, "actions": pull, "expires_in_days": 3651 }), "expires_in_days");
    refused(json!({ "name": "ci", "repositories": all, "actions": pull, "expires": 5 }), "JSON");
    for number in 0..100 {
        let wanted = json!({ "name": format!("token {number}"), "repositories": all, "actions": pull });
        assert_eq!(post(&server, &basic("alice"), &wanted).status, 201, "{number}");
    }
    let more = post(&server, &basic("alice"), &json!({ "name": "more", "repositories": all, "actions": pull }));
    assert_eq!(more.status, 403, "{more:?}");
    let (mut target, mut names) = (format!("{TOKENS}?n=30"), Vec::new());
    loop {
        let page = listed(&server, &basic("alice"), &target);
        let tokens = page["tokens"].as_array().unwrap();
        names.extend(tokens.iter().map(|token| token["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(tokens.len(), 30);
        target = next.to_owned();
    }
    assert_eq!(names, (0..100).map(|number| format!("token {number}")).collect::<Vec<_>>());
    assert_eq!(get(&server, &basic("alice"), &format!("{TOKENS}?n=x")), 400);
}

/// SPEC AB36: who reads must be able to sign in, and a token that leaks to be revoked.
#[test]
fn a_registry_that_takes_no_changes_makes_no_tokens() {
    let directory = Directory::new("", &["alice"]);
    let server = directory.start();
    let (id, fields) = token(&server, "alice", &["**"], &["pull"]);
    directory.configure("read-only = true\n");
    server.signal(Signal::HUP);
    let wanted = json!({ "name": "ci", "repositories": ["**"], "actions": ["pull"] });
    eventually(|| post(&server, &basic("alice"), &wanted).status == 405);
    let alice = sign_in(&server, "alice");
    assert_eq!(get(&server, &alice.fields(), "/v2/"), 200);
    assert_eq!(get(&server, &fields, "/v2/"), 200);
    assert_eq!(server.send_as(&alice.fields(), "DELETE", &format!("{TOKENS}/{id}"), b"").status, 204);
    assert_eq!(get(&server, &fields, "/v2/"), 401);
    assert_eq!(server.send_as(&alice.fields(), "DELETE", "/api/v1/session", b"").status, 204);
}

/// SPEC AB28.
#[test]
fn administrators_see_and_revoke_the_tokens_of_others() {
    let directory = Directory::new(
        "administrators = ['group:ops']\n[[group]]\nname='ops'\nmembers=['root']\n",
        &["alice", "bob", "root"],
    );
    let server = directory.start();
    let (id, fields) = token(&server, "alice", &["**"], &["pull"]);
    let of_alice = format!("{TOKENS}?user=alice");
    assert_eq!(listed(&server, &basic("root"), &of_alice)["tokens"][0]["id"], id.as_str());
    assert_eq!(get(&server, &basic("bob"), &of_alice), 403);
    assert_eq!(get(&server, &basic("alice"), &of_alice), 200);
    assert_eq!(listed(&server, &basic("root"), TOKENS), json!({ "tokens": [] }));
    assert_eq!(server.send_as(&basic("root"), "DELETE", &format!("{TOKENS}/{id}"), b"").status, 204);
    assert_eq!(get(&server, &fields, "/v2/"), 401);
}

/// SPEC AB29, AB30: a user with another password keeps the tokens; one who is gone has none.
#[test]
fn a_token_lives_as_long_as_its_user_and_outlives_a_restart() {
    let directory = Directory::new("", &["alice", "bob"]);
    let mut server = directory.start();
    let (_, alice) = token(&server, "alice", &["**"], &["pull"]);
    let (_, bob) = token(&server, "bob", &["**"], &["pull"]);
    std::fs::write(directory.path("users"), format!("alice:{}\n", bcrypt::hash("other", 4).unwrap())).unwrap();
    eventually(|| get(&server, &bob, "/v2/") == 401);
    assert_eq!(get(&server, &alice, "/v2/"), 200);
    server.signal(Signal::TERM);
    assert!(server.ended());
    let server = directory.start();
    assert_eq!(get(&server, &alice, "/v2/"), 200);
    let fields = shown("alice", "other");
    let used = || listed(&server, &fields, TOKENS)["tokens"][0]["last_used"].clone();
    assert!(used().as_str().is_some_and(|used| used.ends_with('Z')), "it was noted when the server stopped");
}

/// SPEC AB31: a wrong token is a wrong password.
#[test]
fn wrong_tokens_are_counted_as_wrong_passwords() {
    let directory = Directory::new("", &["alice"]);
    let server = directory.start();
    let (_, right) = token(&server, "alice", &["**"], &["pull"]);
    let wrong = |number: usize| shown("alice", &format!("orlop_00{number:064x}"));
    let statuses: Vec<u16> = (0..90).map(|number| get(&server, &wrong(number), "/v2/")).collect();
    assert_eq!((statuses[0], statuses[89]), (401, 429), "{statuses:?}");
    assert_eq!(get(&server, &right, "/v2/"), 200, "a right one is no try");
}

/// SPEC AB32.
#[test]
fn no_token_is_in_a_log() {
    let directory = Directory::new("log = 'trace'\n", &["alice"]);
    let server = directory.start();
    let made = post(&server, &basic("alice"), &json!({ "name": "ci", "repositories": ["**"], "actions": ["push"] }));
    let secret = body(&made)["secret"].as_str().unwrap().to_owned();
    let fields = shown("alice", &secret);
    assert_eq!(push(&server, &fields, "a", "v1", "x").status, 201);
    assert_eq!(get(&server, &shown("alice", &secret.replace("orlop_00", "orlop_01")), "/v2/"), 401);
    let told = run(&server, &["create", "alice", "--name", "second"]);
    let second = String::from_utf8(told.stdout).unwrap();
    eventually(|| server.log().contains("operation=\"base\""));
    let log = server.log();
    for secret in [&secret[8..], &second.trim()[8..], fields.split(' ').nth(2).unwrap().trim()] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    assert!(log.contains("operation=\"create-api-token\""), "{log}");
}

fn run(server: &Started, words: &[&str]) -> Output {
    let config = server.data().parent().unwrap().join("orlop.toml");
    let mut command = orlop(&format!("token {}", words[0]), server.data());
    command.args(&words[1..]).args(["--config", config.to_str().unwrap()]).output().unwrap()
}

/// SPEC AB33: through the server, and without one.
#[test]
fn the_command_line_makes_lists_and_revokes_tokens() {
    let directory = Directory::new("", &["alice"]);
    let mut server = directory.start();
    let text = |output: &Output| String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap();
    let made = run(
        &server,
        &["create", "alice", "--name", "my ci", "--repository", "team/**", "--action", "pull", "--action", "push"],
    );
    assert!(made.status.success(), "{}", text(&made));
    let secret = text(&made).trim().to_owned();
    let fields = shown("alice", &secret);
    assert_eq!(push(&server, &fields, "team/app", "v1", "x").status, 201);
    let list = text(&run(&server, &["list"]));
    assert!(
        list.contains("alice \"my ci\"") && list.contains("pull, push in team/**") && list.ends_with("1 token\n"),
        "{list}"
    );
    let json: Json = serde_json::from_str(&text(&run(&server, &["list", "alice", "--json"]))).unwrap();
    let id = json[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(text(&run(&server, &["revoke", &id])), format!("{id} is revoked\n"));
    assert_eq!(get(&server, &fields, "/v2/"), 401);
    let again = run(&server, &["revoke", &id]);
    assert!(!again.status.success() && text(&again).contains("there is no token"), "{}", text(&again));
    for (words, expected) in [
        (&["create", "mallory", "--name", "x"] as &[&str], "no user `mallory`"),
        (&["create", "alice", "--name", ""], "`name`"),
        (&["create", "alice", "--name", "x", "--repository", "A"], "`repositories`"),
        (&["revoke", "x"], "40 hexadecimal"),
    ] {
        let refused = run(&server, words);
        assert!(!refused.status.success() && text(&refused).contains(expected), "{words:?}: {}", text(&refused));
    }
    server.signal(Signal::TERM);
    assert!(server.ended());
    let made = run(&server, &["create", "alice", "--name", "offline", "--expires", "0", "--json"]);
    let made: Json = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((&made["expires"], &made["name"]), (&Json::Null, &json!("offline")));
    let server = directory.start();
    let fields = shown("alice", made["secret"].as_str().unwrap());
    assert_eq!(get(&server, &fields, "/v2/"), 200);
    assert_eq!(text(&run(&server, &["revoke", "--user", "alice"])), "1 token of alice is revoked\n");
    assert_eq!(get(&server, &fields, "/v2/"), 401);
}
