//! Clients that log in with an identity token of a provider (SPEC AC).

mod people;
mod programs;
mod provider;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};

use self::provider::{Key, Provider, now};
use crate::access::{Directory, basic, push};
use crate::started::{Answer, Started, eventually, orlop};

/// What a job pushes to, and what else is there.
const RULES: &str = r#"
    [[rule]]
    who = ["group:pushers"]
    allow = ["all"]
    repositories = ["acme/**"]

    [[rule]]
    who = ["user:ci:repo:acme/app:ref:refs/heads/x", "group:ci:acme"]
    allow = ["pull", "list"]
    repositories = ["acme/**"]

    [[rule]]
    who = ["user:root"]
    allow = ["all"]
    repositories = ["**"]
"#;

/// The settings of a provider whose main branch may push.
fn setting(provider: &Provider, more: &str) -> String {
    let issuer = &provider.issuer;
    format!(
        "[[oidc]]\nname = 'ci'\nissuer = '{issuer}'\naudience = 'registry.example'\ngroups = ['{{repository_owner}}']\n{more}\n\
         [[oidc.allow]]\nclaims = {{ repository_owner = 'acme', ref = 'refs/heads/main' }}\ngroups = ['pushers']\n\
         [[oidc.allow]]\nclaims = {{ repository_owner = 'acme' }}\n{RULES}"
    )
}

pub(crate) fn field(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
}

pub(crate) fn told(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

pub(crate) fn reload(directory: &Directory) {
    let config = directory.path("orlop.toml");
    let told = orlop("reload", &directory.path("data")).arg("--config").arg(&config).output().unwrap();
    assert!(told.status.success(), "{told:?}");
}

/// SPEC AC1 to AC3, AC5.
#[test]
fn a_job_pushes_with_its_token_what_the_rules_allow() {
    let (key, stranger) = (Key::new("one"), Key::new("one"));
    let provider = Provider::with(&[&key]);
    let directory = Directory::new(&setting(&provider, ""), &["root"]);
    let server = directory.start();
    let token = |more: Value| key.sign(&provider.claims(&more));
    let main = field("oidc", &token(json!({})));
    assert_eq!(push(&server, &main, "acme/app", "v1", "x").status, 201);
    let refused = push(&server, &main, "other/app", "v1", "x");
    assert!(refused.status == 403 && told(&refused).contains("ci:repo:acme/app:ref:refs/heads/main does not have"));
    let branch = field("oidc:ci", &token(json!({ "ref": "refs/heads/x", "sub": "repo:acme/app:ref:refs/heads/x" })));
    assert_eq!(server.send_as(&branch, "GET", "/v2/acme/app/manifests/v1", b"").status, 200);
    assert_eq!(push(&server, &branch, "acme/app", "v2", "x").status, 403);
    let refused = |user: &str, password: &str, expected: &str| {
        let answer = server.send_as(&field(user, password), "GET", "/v2/", b"");
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(told(&answer).contains(expected), "{}: {expected}", told(&answer));
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic"));
        told(&answer)
    };
    refused("oidc", &token(json!({ "exp": now() - 100 })), "has expired");
    refused("oidc", &token(json!({ "nbf": now() + 1000 })), "not valid yet");
    refused("oidc", &token(json!({ "aud": "other" })), "get one for `registry.example`");
    refused("oidc", &token(json!({ "iss": "https://other.example" })), "an issuer that is not known here");
    refused("oidc", &token(json!({ "repository_owner": "evil" })), "the claims of the identity token");
    refused("oidc", &stranger.sign(&provider.claims(&json!({}))), "not signed by a key of its issuer");
    refused("oidc", "root-secret", "is to be an identity token");
    refused("oidc:other", &token(json!({})), "no identity provider `other`");
    refused("root", &token(json!({})), "the user name, password or token is not right");
    assert_eq!(server.send_as(&basic("root"), "GET", "/v2/", b"").status, 200, "passwords go on");
    for expected in ["it ended at", "the clock of this machine says", "https://other.example", "key Some(", "evil"] {
        eventually(|| server.log().contains(expected));
    }
    assert!(!server.log().contains("eyJ"), "no token is in the log: {}", server.log());
    assert_eq!(provider.fetched(), 1, "keys are kept");
}

/// SPEC AC7, AC8.
#[test]
fn keys_are_kept_renewed_and_used_on_while_the_provider_is_down() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let provider = Provider::with(&[&old]);
    provider.is_down(true);
    let directory = Directory::new(&setting(&provider, ""), &["root"]);
    let server = directory.start();
    let ask = |key: &Key| server.send_as(&field("oidc", &key.sign(&provider.claims(&json!({})))), "GET", "/v2/", b"");
    let down = ask(&old);
    assert_eq!((down.status, down.header("retry-after").as_deref()), (503, Some("10")), "{down:?}");
    assert!(told(&down).contains("the identity provider ci cannot be reached"), "{}", told(&down));
    assert!(told(&down).contains("UNAVAILABLE"));
    assert_eq!(server.send_as(&basic("root"), "GET", "/v2/", b"").status, 200, "others log in");
    eventually(|| server.log().contains("an identity token from 127.0.0.1 is refused: 127.0.0.1"));
    provider.is_down(false);
    eventually(|| ask(&old).status == 200);
    eventually(|| server.log().contains("1 keys of http://127.0.0.1"));
    eventually(|| server.log().contains("future") && server.log().contains("is passed over"));
    // A reload keeps what is known.
    provider.is_down(true);
    reload(&directory);
    assert_eq!(ask(&old).status, 200, "{}", server.log());
    assert_eq!(ask(&new).status, 401);
    let fetched = provider.fetched();
    // Keys were fetched a moment ago: a key that is not known is looked for once a minute.
    provider.is_down(false);
    provider.has(&[&old, &new]);
    for _ in 0..5 {
        assert_eq!(ask(&new).status, 401);
    }
    assert!(provider.fetched() <= fetched + 1);
    assert_eq!(ask(&old).status, 200);
}

/// SPEC AC8: what a provider says of itself has to be right.
#[test]
fn a_provider_that_is_another_is_not_believed() {
    let key = Key::new("one");
    let provider = Provider::with(&[&key]);
    let jwks = format!("{}/keys", provider.issuer);
    for (says, expected) in [
        (json!({ "issuer": "https://other.example", "jwks_uri": jwks }).to_string(), "it is of the issuer"),
        (json!({ "issuer": provider.issuer }).to_string(), "missing field `jwks_uri`"),
        (json!({ "issuer": provider.issuer, "jwks_uri": "x" }).to_string(), "jwks_uri"),
        (
            json!({ "issuer": provider.issuer, "jwks_uri": "http://10.0.0.1/keys" }).to_string(),
            "add 10.0.0.1 to its hosts",
        ),
        (
            json!({ "issuer": provider.issuer, "jwks_uri": format!("{}/none", provider.issuer) }).to_string(),
            "answers 404",
        ),
        ("no json".into(), "cannot be used"),
        (" ".repeat(200 << 10), "more than 131072 bytes"),
    ] {
        provider.says(&says);
        let directory = Directory::new(&setting(&provider, ""), &["root"]);
        let server = directory.start();
        let answer = server.send_as(&field("oidc", &key.sign(&provider.claims(&json!({})))), "GET", "/v2/", b"");
        assert_eq!(answer.status, 503, "{says:.100}: {answer:?}");
        eventually(|| server.log().contains(expected));
    }
}

/// SPEC AC8: a token that a provider is asked with goes to it alone.
#[test]
fn a_provider_is_asked_with_a_token_where_it_wants_one() {
    let key = Key::new("one");
    let provider = Provider::with(&[&key]);
    let directory = Directory::new("", &["root"]);
    std::fs::write(directory.path("token"), "of-a-pod\n").unwrap();
    let token_file = format!("token-file = '{}'", directory.path("token").display());
    directory.configure(&setting(&provider, &token_file));
    let server = directory.start();
    let answer = server.send_as(&field("oidc", &key.sign(&provider.claims(&json!({})))), "GET", "/v2/", b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let sent = provider.sent_along();
    assert!(sent.len() >= 2 && sent.iter().all(|sent| sent.as_deref() == Some("Bearer of-a-pod")), "{sent:?}");
    // Keys that are elsewhere are fetched without it.
    let elsewhere = Provider::with(&[&key]);
    let keys = format!("{}/keys", elsewhere.issuer);
    provider.says(&json!({ "issuer": provider.issuer, "jwks_uri": keys }).to_string());
    let other = Directory::new("", &["root"]);
    std::fs::write(other.path("token"), "of-a-pod").unwrap();
    other.configure(&setting(&provider, &format!("token-file = '{}'", other.path("token").display())));
    let server = other.start();
    let answer = server.send_as(&field("oidc", &key.sign(&provider.claims(&json!({})))), "GET", "/v2/", b"");
    assert_eq!(answer.status, 503, "another port of this machine is another host: {answer:?}");
    assert_eq!(elsewhere.sent_along(), []);
}

/// SPEC AC9: what is given for an identity token ends with it.
#[test]
fn a_token_of_the_registry_ends_with_the_identity_token() {
    let key = Key::new("one");
    let provider = Provider::with(&[&key]);
    let text = format!("auth-token-url = 'http://127.0.0.1:1/token'\n{}", setting(&provider, "leeway = '0'"));
    let directory = Directory::new(&text, &["root"]);
    let server = directory.start();
    let get = |end: u64| {
        let token = key.sign(&provider.claims(&json!({ "exp": end })));
        let target = "/token?scope=repository:acme/app:pull,push&service=orlop";
        let answer = server.send_as(&field("oidc", &token), "GET", target, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let token = answer["token"].as_str().unwrap().to_owned();
        (format!("Authorization: Bearer {token}\r\n"), answer["expires_in"].as_u64().unwrap())
    };
    let (long, lasts) = get(now() + 3000);
    assert_eq!(lasts, 300);
    assert_eq!(push(&server, &long, "acme/app", "v1", "x").status, 201, "its groups are in it");
    let (short, lasts) = get(now() + 4);
    assert!(lasts <= 4, "{lasts}");
    let status = |fields: &str| server.send_as(fields, "GET", "/v2/acme/app/tags/list", b"").status;
    assert_eq!(status(&short), 200);
    eventually(|| status(&short) == 401);
    assert_eq!(status(&long), 200);
    // Whoever trusts the provider with something else does not go on with what was given before.
    let other = text.replace("ref = 'refs/heads/main'", "ref = 'refs/heads/release'");
    directory.configure(&other);
    reload(&directory);
    eventually(|| status(&long) == 401);
    let ended = server.send_as(&field("oidc", "x.y.z"), "GET", "/token", b"");
    assert!(ended.status == 401 && told(&ended).contains("is to be an identity token"), "{ended:?}");
}

/// SPEC AC1: no session of the web page outlives the token.
#[test]
fn nobody_signs_in_to_the_page_with_an_identity_token() {
    let key = Key::new("one");
    let provider = Provider::with(&[&key]);
    let directory = Directory::new(&setting(&provider, ""), &["root"]);
    let server = directory.start();
    let body = json!({ "user": "oidc", "password": key.sign(&provider.claims(&json!({}))) }).to_string();
    let answer = server.send_as("Content-Type: application/json\r\n", "POST", "/api/v1/session", body.as_bytes());
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.header("set-cookie").is_none());
}

/// SPEC AC1: what `config check` and the start find.
#[test]
fn settings_that_do_not_go_together_are_refused_with_what_to_do() {
    let directory = Directory::new("", &["root"]);
    let check = |text: &str| {
        directory.configure(text);
        let config = directory.path("orlop.toml");
        let mut command = orlop("config check", &directory.path("data"));
        let output = command.arg("--config").arg(&config).output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let base = "[[oidc]]\nname = 'ci'\nissuer = 'https://id.example.com'\naudience = 'a'\n";
    let refused = |text: &str, expected: &str| {
        let (right, told) = check(text);
        assert!(!right && told.contains(expected), "{expected}: {told}");
    };
    refused(base, "write claims = {} to let in everybody");
    refused(
        &format!("{base}claims = {{}}\nuser = 'root'\n"),
        "oidc ci gives the name `root`, which a user of the password",
    );
    refused(&format!("{base}claims = {{}}\n{base}claims = {{}}\n"), "oidc 2 has the name `ci`, which oidc 1 has");
    refused(&format!("{base}claims = {{}}\nkeys = '/nowhere'\n"), "/nowhere cannot be read");
    refused(&format!("{base}claims = {{}}\nca = '/nowhere'\n"), "the certificates in /nowhere cannot be used");
    refused(&format!("{base}clams = {{}}\n"), "clams");
    let rule = |who: &str| format!("[[rule]]\nwho = ['{who}']\nallow = ['pull']\nrepositories = ['**']\n");
    refused(
        &format!("{base}claims = {{}}\n{}", rule("group:ci:dev")),
        "names the group `ci:dev`, which does not exist",
    );
    let (right, told) = check(&format!("{base}claims = {{}}\ngroups = ['{{groups}}']\n{}", rule("group:ci:dev")));
    assert!(right && !told.contains("warning"), "{told}");
    let (right, told) = check(&format!("{base}claims = {{}}\n{}", rule("user:ci:x")));
    assert!(right && !told.contains("warning"), "{told}");
    let (right, told) = check(&format!("{base}claims = {{}}\n"));
    assert!(
        right && told.contains("every token of the provider `ci` that its settings let in may push and delete"),
        "{told}"
    );
    std::fs::write(directory.path("users"), directory.line("oidc")).unwrap();
    let (right, told) = check(&format!("{base}claims = {{}}\n{}", rule("anybody")));
    assert!(right && told.contains("the user `oidc` of the password file cannot log in"), "{told}");
}

/// SPEC AC6: a file of keys in the place of a provider, which is read again when it changes.
#[test]
fn keys_in_a_file_need_no_provider() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let provider = Provider::with(&[]);
    let directory = Directory::new("", &["root"]);
    let write =
        |key: &Key| std::fs::write(directory.path("keys"), json!({ "keys": [key.public()] }).to_string()).unwrap();
    write(&old);
    directory.configure(&setting(&provider, &format!("keys = '{}'", directory.path("keys").display())));
    let server: Started = directory.start();
    let ask =
        |key: &Key| server.send_as(&field("oidc", &key.sign(&provider.claims(&json!({})))), "GET", "/v2/", b"").status;
    assert_eq!((ask(&old), ask(&new)), (200, 401));
    write(&new);
    eventually(|| ask(&new) == 200);
    assert_eq!(ask(&old), 401);
    server.signal(Signal::HUP);
    eventually(|| server.log().contains("configuration reloaded"));
    assert_eq!(ask(&new), 200);
    assert_eq!(provider.fetched(), 0);
}

/// SPEC AC15: an upstream that is asked with the logins of callers sees no token that is for here.
#[test]
fn a_token_that_is_refused_goes_to_no_upstream() {
    let key = Key::new("one");
    let provider = Provider::with(&[&key]);
    let (upstream, seen) = upstream();
    let mirror = format!("[[mirror]]\nprefix = 'up/'\nupstream = '{upstream}'\nverify = 'caller'\n");
    let rule = "[[rule]]\nwho = ['anybody']\nallow = ['pull']\nrepositories = ['up/**']\n";
    let directory = Directory::new(&format!("{}{mirror}{rule}", setting(&provider, "")), &["root"]);
    let server = directory.start();
    let get = |fields: &str| server.send_as(fields, "GET", "/v2/up/app/manifests/v1", b"");
    let ended = get(&field("oidc", &key.sign(&provider.claims(&json!({ "exp": 1 })))));
    assert!(ended.status == 401 && told(&ended).contains("has expired"), "{ended:?}");
    let wanted = json!({ "name": "ci", "repositories": ["**"], "actions": ["pull"], "expires_in_days": 1 }).to_string();
    let fields = format!("{}Content-Type: application/json\r\n", basic("root"));
    let made = server.send_as(&fields, "POST", "/api/v1/tokens", wanted.as_bytes());
    assert_eq!(made.status, 201, "{made:?}");
    let secret = serde_json::from_slice::<Value>(&made.body).unwrap()["secret"].as_str().unwrap().to_owned();
    assert_eq!(get(&field("alice", &secret)).status, 401, "it is root's");
    let sent = || seen.lock().unwrap().clone();
    assert!(sent().iter().all(|head| !head.to_lowercase().contains("\r\nauthorization:")), "{:?}", sent());
    get(&field("bob", "of-the-upstream"));
    let login = STANDARD.encode("bob:of-the-upstream");
    assert!(sent().iter().any(|head| head.contains(&login)), "a login of the upstream is sent on: {:?}", sent());
}

/// A registry that wants a login, and the heads of the requests that it got.
pub(crate) fn upstream() -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    let heads = seen.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            heads.lock().unwrap().push(head.join("\r\n"));
            let _ = stream.write_all(
                b"HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    (address, seen)
}
