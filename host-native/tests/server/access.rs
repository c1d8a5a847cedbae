//! Users with different rights: what they are told, and what they are not.

use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use orlop_core::digest::Algorithm as Hash;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::started::{Answer, Started, eventually, orlop};

const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// A manifest that needs one blob, `{}`, and has this annotation.
fn manifest(word: &str) -> String {
    let empty = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY, "size": 2 });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    json!({
        "schemaVersion": 2, "mediaType": media_type, "artifactType": "a/b", "config": empty, "layers": [],
        "annotations": { "word": word }
    })
    .to_string()
}

/// A directory with a configuration file.
pub(crate) struct Directory(TempDir);

impl Directory {
    pub(crate) fn new(rules: &str, users: &[&str]) -> Self {
        let directory = Self(TempDir::new().unwrap());
        let lines: String = users.iter().map(|user| directory.line(user)).collect();
        std::fs::write(directory.path("users"), lines).unwrap();
        directory.configure(rules);
        directory
    }

    /// The password is the name and `-secret`.
    pub(crate) fn line(&self, user: &str) -> String {
        format!("{user}:{}\n", bcrypt::hash(format!("{user}-secret"), 4).unwrap())
    }

    pub(crate) fn configure(&self, rules: &str) {
        let text = format!("auth-htpasswd = '{}'\n{rules}", self.path("users").display());
        std::fs::write(self.path("orlop.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn start(&self) -> Started {
        let config = self.path("orlop.toml");
        Started::on(&self.path("data"), &["--config", config.to_str().unwrap()])
    }
}

pub(crate) fn basic(user: &str) -> String {
    match user {
        "" => String::new(),
        user => format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{user}-secret"))),
    }
}

pub(crate) fn push(server: &Started, fields: &str, repository: &str, reference: &str, word: &str) -> Answer {
    let blob = server.send_as(fields, "POST", &format!("/v2/{repository}/blobs/uploads/?digest={EMPTY}"), b"{}");
    if blob.status != 201 {
        return blob;
    }
    server.send_as(fields, "PUT", &format!("/v2/{repository}/manifests/{reference}"), manifest(word).as_bytes())
}

pub(crate) const RULES: &str = r#"
    [[group]]
    name = "dev"
    members = ["alice"]

    [[rule]]
    who = ["anybody"]
    deny = ["overwrite-tag", "delete"]
    repositories = ["**"]
    tags = ["v*"]

    [[rule]]
    who = ["group:dev"]
    allow = ["all"]
    repositories = ["team/**"]

    [[rule]]
    who = ["user:root"]
    allow = ["all"]
    repositories = ["**"]

    [[rule]]
    who = ["anybody"]
    allow = ["pull", "list"]
    repositories = ["public/*"]
"#;

/// SPEC A2, Q1, P4, U31.
#[test]
fn each_is_answered_as_its_rights_are() {
    let directory = Directory::new(RULES, &["alice", "bob", "root"]);
    let server = directory.start();
    assert_eq!(push(&server, &basic("root"), "secret/app", "v1", "x").status, 201);
    assert_eq!(push(&server, &basic("root"), "public/app", "v1", "x").status, 201);
    assert_eq!(push(&server, &basic("alice"), "team/app", "v1", "x").status, 201);
    let check = |user: &str, method: &str, target: &str, expected: u16| {
        let answer = server.send_as(&basic(user), method, target, b"");
        assert_eq!(answer.status, expected, "{user} {method} {target}: {answer:?}");
        if expected == 401 {
            assert_eq!(answer.header("www-authenticate").unwrap(), "Basic realm=\"orlop\",charset=\"UTF-8\"");
            assert_eq!(answer.header("docker-distribution-api-version").unwrap(), "registry/2.0");
        }
    };
    for there in ["secret/app", "nowhere/app"] {
        let path = format!("/v2/{there}/manifests/v1");
        for method in ["GET", "HEAD"] {
            check("", method, &path, 401);
            check("bob", method, &path, 404);
        }
        for method in ["PUT", "DELETE"] {
            check("", method, &path, 401);
            check("bob", method, &path, 403);
        }
    }
    check("", "GET", "/v2/", 401);
    check("", "GET", "/v2/no/such/endpoint", 401);
    check("bob", "GET", "/v2/", 200);
    check("", "GET", "/v2/public/app/manifests/v1", 200);
    check("", "POST", "/v2/public/app/blobs/uploads/", 401);
    check("bob", "POST", "/v2/public/app/blobs/uploads/", 403);
    let told =
        |method, target: &str| String::from_utf8(server.send_as(&basic("bob"), method, target, b"").body).unwrap();
    let (pushed, deleted) =
        (told("POST", "/v2/public/app/blobs/uploads/"), told("DELETE", "/v2/public/app/manifests/v1"));
    assert!(pushed.contains("bob does not have the right upload in the repository public/app"), "{pushed}");
    assert!(
        deleted.contains("bob does not have the right delete for the tag v1 of the repository public/app"),
        "{deleted}"
    );
    check("alice", "GET", "/v2/team/app/tags/list", 200);
    check("alice", "GET", "/v2/secret/app/tags/list", 404);
    // A tag that is protected from everybody.
    assert_eq!(push(&server, &basic("alice"), "team/app", "v1", "other").status, 403);
    check("alice", "DELETE", "/v2/team/app/manifests/v1", 403);
    check("root", "DELETE", "/v2/secret/app/manifests/v1", 403);
    check(
        "root",
        "DELETE",
        &format!("/v2/secret/app/manifests/{}", Hash::Sha256.digest(manifest("x").as_bytes())),
        403,
    );
    // A mount from where one may not read is an upload (SPEC E14).
    let mount = format!("/v2/team/b/blobs/uploads/?mount={EMPTY}&from=secret/app");
    check("alice", "POST", &mount, 202);
    check("root", "POST", &mount, 201);
    let catalog =
        |user: &str| String::from_utf8(server.send_as(&basic(user), "GET", "/v2/_catalog", b"").body).unwrap();
    assert_eq!(catalog("alice"), r#"{"repositories":["public/app","team/app","team/b"]}"#);
    assert_eq!(catalog("bob"), r#"{"repositories":["public/app"]}"#);
}

/// SPEC Q3: a body that nobody wanted was not asked for, and the connection tells so.
#[test]
fn whoever_may_not_push_is_told_before_the_body() {
    use std::io::Write;
    let directory = Directory::new("", &["alice"]);
    let server = directory.start();
    let mut stream = server.connect();
    let head = "PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let refused = crate::started::answer(&mut stream, false);
    assert_eq!((refused.status, refused.header("connection").as_deref()), (401, Some("close")));
}

#[test]
fn what_is_no_login_tells_nothing() {
    let directory = Directory::new("", &["alice"]);
    let server = directory.start();
    let with = |field: &str| server.send_as(&format!("Authorization: {field}\r\n"), "GET", "/v2/", b"");
    let pair = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let wrong = with(&pair("alice:wrong"));
    let nobody = with(&pair("nobody:wrong"));
    assert_eq!((wrong.status, &wrong.body), (401, &nobody.body));
    assert_eq!(wrong.head.len(), nobody.head.len());
    for malformed in ["Basic", "Basic %%%", "Basic  ", "Digest x", "x", &pair("alice"), "Bearer x", "Basic \u{fc}"] {
        assert_eq!(with(malformed).status, 401, "{malformed}");
    }
    let twice = format!("Authorization: {}\r\nAuthorization: {0}\r\n", pair("alice:alice-secret"));
    assert_eq!(server.send_as(&twice, "GET", "/v2/", b"").status, 401);
    assert_eq!(with(&pair(":")).status, 401, "nobody");
    assert_eq!(with(&pair("alice:alice-secret")).status, 200);
    assert_eq!(server.send_as(&basic("alice"), "GET", "/v2/", b"").status, 200);
    assert!(!server.log().contains("wrong\"") && server.log().contains("wrong password for \"alice\""));
}

/// Names that a rule's pattern should not be led astray by.
#[test]
fn a_path_that_is_written_oddly_gives_no_other_rights() {
    let directory = Directory::new(RULES, &["alice", "root"]);
    let server = directory.start();
    assert_eq!(push(&server, &basic("root"), "secret/app", "v1", "x").status, 201);
    for path in [
        "/v2/team/../secret/app/manifests/v1",
        "/v2/team%2F..%2F../secret/app/manifests/v1",
        "/v2/team/%2e%2e/secret/app/manifests/v1",
        "/v2//secret/app/manifests/v1",
        "/v2/secret%2Fapp/manifests/v1",
        "/v2/%73ecret/app/manifests/v1",
        "/v2/secret/app/manifests/v1?name=team/app",
        "/v2/secret/app/manifests/v1#/v2/team/app",
        "/v2/SECRET/app/manifests/v1",
        "/v2/sec\u{0280}et/app/manifests/v1",
        "/v2/secret/app/manifests/v1%00",
        "/v2/secret/app/blobs/sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "/v2/team/app/blobs/sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    ] {
        let answer = server.send_as(&basic("alice"), "GET", path, b"");
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        assert!(!answer.body.windows(7).any(|window| window == b"\"word\":"), "{path}");
    }
}

#[test]
fn a_user_who_is_removed_is_out_and_one_who_is_added_is_in() {
    let directory = Directory::new("", &["alice", "bob"]);
    let server = directory.start();
    let status = |user: &str| server.send_as(&basic(user), "GET", "/v2/", b"").status;
    assert_eq!((status("alice"), status("carol")), (200, 401));
    std::fs::write(directory.path("users"), directory.line("carol") + &directory.line("bob")).unwrap();
    eventually(|| status("carol") == 200);
    assert_eq!((status("alice"), status("bob")), (401, 200), "nothing is remembered");
    // A broken file takes nobody's place.
    std::fs::write(directory.path("users"), "bob:plain\n").unwrap();
    eventually(|| server.log().contains("what was read before stays in force"));
    assert_eq!((status("bob"), status("alice")), (200, 401));
}

#[test]
fn a_reload_changes_rules_and_drops_no_connection() {
    use std::io::Write;
    let directory = Directory::new(RULES, &["alice", "root"]);
    let server = directory.start();
    assert_eq!(push(&server, &basic("alice"), "team/app", "latest", "x").status, 201);
    let opened = server.send_as(&basic("alice"), "POST", "/v2/team/app/blobs/uploads/", b"");
    let session = opened.header("location").unwrap();
    let mut stream = server.connect();
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\n{}Content-Length: 6\r\n\r\nabc", basic("alice"));
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    // Alice leaves the group.
    directory.configure(&RULES.replace("[\"alice\"]", "[\"root\"]"));
    let config = directory.path("orlop.toml");
    let told = orlop("reload", &directory.path("data")).arg("--config").arg(&config).output().unwrap();
    assert!(told.status.success(), "{told:?}");
    eventually(|| server.send_as(&basic("alice"), "GET", "/v2/team/app/tags/list", b"").status == 404);
    stream.write_all(b"def").unwrap();
    assert_eq!(crate::started::answer(&mut stream, false).status, 202, "what had begun goes on");
    // A file that is wrong is refused before the server hears of it, and by the server.
    directory.configure("[[rule]]\nwho = ['group:none']\nallow = ['all']\nrepositories = ['**']\n");
    let told = orlop("reload", &directory.path("data")).arg("--config").arg(&config).output().unwrap();
    assert!(!told.status.success() && String::from_utf8_lossy(&told.stderr).contains("the group `none`"));
    server.signal(Signal::HUP);
    eventually(|| server.log().contains("configuration not reloaded, the server keeps its settings"));
    assert_eq!(server.send_as(&basic("alice"), "GET", "/v2/team/app/tags/list", b"").status, 404);
    assert_eq!(server.send_as(&basic("root"), "GET", "/v2/team/app/tags/list", b"").status, 200);
}

/// SPEC Q1, Q2: the challenge says what a token must allow, and a token is held to what it says.
#[test]
fn a_token_allows_what_it_says_and_the_challenge_says_what_is_needed() {
    let directory = TempDir::new().unwrap();
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let keys = directory.path().join("keys.pem");
    std::fs::write(&keys, pair.public_key_pem()).unwrap();
    let server = Started::with(&[
        "--token-realm=https://auth.example/token",
        "--token-service=registry",
        "--token-issuer=auth",
        &format!("--token-keys={}", keys.display()),
        "--rule={ who = ['anybody'], deny = ['overwrite-tag', 'delete'], repositories = ['**'], tags = ['v*'] }",
    ]);
    let challenge = |fields: &str, method: &str, target: &str| {
        let answer = server.send_as(fields, method, target, b"");
        assert_eq!(answer.status, 401, "{answer:?}");
        let challenge = answer.header("www-authenticate").unwrap();
        let known = "Bearer realm=\"https://auth.example/token\",service=\"registry\"";
        challenge.strip_prefix(known).unwrap_or_else(|| panic!("{challenge}")).to_owned()
    };
    assert_eq!(challenge("", "GET", "/v2/"), "");
    assert_eq!(challenge("", "GET", "/v2/a/b/manifests/v1"), ",scope=\"repository:a/b:pull\"");
    assert_eq!(challenge("", "PUT", "/v2/a/b/manifests/v1"), ",scope=\"repository:a/b:pull,push\"");
    assert_eq!(challenge("", "DELETE", "/v2/a/b/manifests/v1"), ",scope=\"repository:a/b:delete\"");
    assert_eq!(challenge("", "GET", "/v2/_catalog"), ",scope=\"registry:catalog:*\"");
    let mount = format!("/v2/a/blobs/uploads/?mount={EMPTY}&from=b/c");
    assert_eq!(challenge("", "POST", &mount), ",scope=\"repository:a:pull,push repository:b/c:pull\"");

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let token = |access: serde_json::Value, expires: u64| {
        let claims = json!({ "iss": "auth", "aud": ["registry"], "sub": "ci", "exp": expires, "access": access });
        let encoded = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", encoded(json!({ "alg": "EdDSA" })), encoded(claims));
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()).unwrap());
        format!("Authorization: Bearer {message}.{signature}\r\n")
    };
    let grant = |name: &str, actions: &[&str]| json!([{ "type": "repository", "name": name, "actions": actions }]);
    let pusher = token(grant("a/b", &["pull", "push"]), now + 100);
    assert_eq!(push(&server, &pusher, "a/b", "v1", "x").status, 201);
    assert_eq!(push(&server, &pusher, "a/b", "v1", "y").status, 403, "a rule denies it");
    assert_eq!(push(&server, &pusher, "a/c", "v1", "x").status, 401);
    let scope = challenge(&pusher, "DELETE", "/v2/a/b/manifests/latest");
    assert_eq!(scope, ",scope=\"repository:a/b:delete\",error=\"insufficient_scope\"");
    let old = token(grant("a/b", &["pull"]), now - 100);
    assert!(challenge(&old, "GET", "/v2/a/b/manifests/v1").ends_with(",error=\"invalid_token\""));
    let reader = token(grant("a/b", &["pull"]), now + 100);
    assert_eq!(server.send_as(&reader, "GET", "/v2/a/b/manifests/v1", b"").status, 200);
    for there in ["/v2/a/c/manifests/v1", "/v2/nowhere/manifests/v1"] {
        assert_eq!(server.send_as(&reader, "GET", there, b"").status, 401, "{there}");
    }
    assert_eq!(server.send_as(&token(json!([]), now + 100), "GET", "/v2/", b"").status, 200);
}

#[test]
fn users_are_added_changed_and_removed() {
    use std::io::Write;
    let directory = TempDir::new().unwrap();
    let users = directory.path().join("users");
    let run = |words: &[&str], password: &str| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_orlop"));
        program.arg("user").args(words).arg("--auth-htpasswd").arg(&users).env("ORLOP_CONFIG", "");
        let piped = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let _ = writeln!(child.stdin.take().unwrap(), "{password}");
        let ended = child.wait_with_output().unwrap();
        (ended.status.success(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    assert_eq!(run(&["add", "alice"], "a long secret"), (true, String::new()));
    assert_eq!(run(&["add", "bob", "--bcrypt"], "another secret"), (true, String::new()));
    assert!(run(&["add", "alice"], "a long secret").1.contains("there is a user `alice` already"));
    assert!(run(&["add", "carol"], "short").1.contains("too short"));
    assert!(run(&["add", "a:b"], "a long secret").1.contains("neither `:`"));
    assert!(run(&["passwd", "carol"], "a long secret").1.contains("there is no user `carol`"));
    let text = std::fs::read_to_string(&users).unwrap();
    assert!(text.starts_with("alice:$argon2id$") && text.contains("\nbob:$2"), "{text}");
    assert!(run(&["passwd", "alice"], "a new secret").0);
    assert!(run(&["remove", "bob"], "").0);
    let text = std::fs::read_to_string(&users).unwrap();
    assert_eq!(text.lines().count(), 1);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&users).unwrap().permissions().mode() & 0o777, 0o640);
    let server = Started::with(&["--auth-htpasswd", users.to_str().unwrap()]);
    let with = |pair: &str| {
        server.send_as(&format!("Authorization: Basic {}\r\n", STANDARD.encode(pair)), "GET", "/v2/", b"").status
    };
    assert_eq!((with("alice:a new secret"), with("alice:a long secret"), with("bob:another secret")), (200, 401, 401));
}

#[test]
fn it_is_explained_which_rule_decides() {
    let directory = Directory::new(RULES, &["alice"]);
    let explain = |words: &[&str]| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_orlop"));
        program.args(["access", "explain", "--config"]).arg(directory.path("orlop.toml")).args(words);
        String::from_utf8(program.output().unwrap().stdout).unwrap()
    };
    let told = explain(&["alice", "pull", "team/app"]);
    let rule =
        |told: &str| told.lines().nth(1).unwrap().replace(directory.path("orlop.toml").to_str().unwrap(), "FILE");
    assert!(told.starts_with("alice: pull in team/app is allowed: rule 2 decides\n"), "{told}");
    assert!(rule(&told).starts_with("  FILE:") && rule(&told).contains("allow = ["), "{told}");
    let told = explain(&["alice", "overwrite-tag", "team/app", "v1"]);
    assert!(told.starts_with("alice: overwrite-tag in team/app with the tag v1 is denied: rule 1 decides\n"), "{told}");
    assert!(rule(&told).contains("deny = ["), "{told}");
    let told = explain(&["anonymous", "delete", "secret/app"]);
    assert_eq!(told, "anonymous: delete in secret/app is denied: no rule matches\n");
    assert!(explain(&["mallory", "pull", "public/app"]).starts_with("there is no user mallory; if there were:\n"));
}
