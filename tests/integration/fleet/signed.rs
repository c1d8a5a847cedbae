//! Sessions, API tokens, jobs and activity are of the storage, and not of one host (SPEC AB8, AB22, AF4, AF20).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use orlop_conformance::tester::content::{Image, OCI_INDEX};
use orlop_conformance::tester::exchange::{Answer, Exchange, Target};
use orlop_conformance::tester::http::{Http, Options};
use orlop_conformance::tester::lab::put_manifest;
use serde_json::{Value as Json, json};

use crate::engines::{ObjectServer, Postgres};
use crate::outcomes::LONGEST;
use crate::program::program;
use crate::serving::Serving;

/// A password file with one user.
fn users(directory: &Path) -> PathBuf {
    let file = directory.join("users");
    let mut add = Command::new(program());
    add.args(["user", "add", "alice", "--bcrypt", "--auth-htpasswd"]).arg(&file);
    let mut child = add.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it is built");
    child.stdin.take().expect("its input").write_all(b"alice-secret\n").expect("a password");
    assert!(child.wait().is_ok_and(|status| status.success()), "orlop user add");
    file
}

fn basic(password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("alice:{password}")))
}

fn send(http: &Rc<Http>, request: Exchange) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(http.send_unknown(request)).unwrap_or_else(|lost| panic!("{lost}"))
}

fn get(target: &str, headers: &[(&str, &str)]) -> Exchange {
    headers.iter().fold(Exchange::new("GET", target), |request, (name, value)| request.header(name, *value))
}

fn post(target: &str, body: &Json) -> Exchange {
    Exchange::new("POST", target).header("Content-Type", "application/json").body(body.to_string())
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn what_one_host_begins_or_ends_holds_on_the_other() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(database.database());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let users = users(directory.path()).display().to_string();
    let flags = ["--auth-htpasswd", users.as_str(), "--administrators", "user:alice"];
    let hosts = [(); 2].map(|()| Serving::start(&engines, &flags, false));
    let [one, other] = hosts.each_ref().map(|host| {
        let options = Options { once: true, ..Options::default() };
        Rc::new(Http::new(&host.address(), &options).expect("an address"))
    });

    let signed = send(&one, post("/api/v1/session", &json!({ "user": "alice", "password": "alice-secret" })));
    assert_eq!(signed.status, 200, "{signed}");
    let cookie = signed.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    let csrf = signed.json()["csrf"].as_str().expect("a token of the session").to_owned();
    let session = [("Cookie", cookie.as_str()), ("X-CSRF-Token", csrf.as_str())];
    for host in [&one, &other] {
        assert_eq!(send(host, get("/v2/", &session)).status, 200);
    }

    let password = basic("alice-secret");
    let wanted = json!({ "name": "ci", "repositories": ["**"], "actions": ["pull"] });
    let made = send(&other, post("/api/v1/tokens", &wanted).header("Authorization", password.as_str()));
    assert_eq!(made.status, 201, "{made}");
    let token = basic(made.json()["secret"].as_str().expect("a secret"));
    let by_token = [("Authorization", token.as_str())];
    for host in [&one, &other] {
        assert_eq!(send(host, get("/v2/", &by_token)).status, 200);
    }

    // A push is told of by both, and so is a job, which runs once.
    let push = put_manifest("team/app", "v1", &Image::list(OCI_INDEX, &[]));
    assert_eq!(send(&one, push.header("Authorization", password.as_str())).status, 201);
    let by_password = [("Authorization", password.as_str())];
    let happened = send(&other, get("/api/v1/activity", &by_password)).json();
    assert_eq!(
        (&happened["activity"][0]["repository"], &happened["activity"][0]["by"]),
        (&json!("team/app"), &json!("alice")),
        "{happened}"
    );
    let begun = send(&one, post("/api/v1/jobs", &json!({ "job": "check" })).header("Authorization", password.as_str()));
    assert_eq!(begun.status, 202, "{begun}");
    let began = Instant::now();
    loop {
        let jobs = send(&other, get("/api/v1/jobs", &by_password)).json();
        assert_eq!(jobs["jobs"][0]["job"], "check", "{jobs}");
        if jobs["jobs"][0]["state"] == "done" {
            break;
        }
        assert!(began.elapsed() < LONGEST, "{jobs}");
        std::thread::sleep(Duration::from_millis(100));
    }

    let revoke = format!("/api/v1/tokens/{}", made.json()["id"].as_str().expect("an id"));
    let revoked = send(&one, Exchange::new("DELETE", revoke).header("Authorization", password.as_str()));
    assert_eq!(revoked.status, 204, "{revoked}");
    let out =
        session.iter().fold(Exchange::new("DELETE", "/api/v1/session"), |out, (name, value)| out.header(name, *value));
    assert_eq!(send(&other, out).status, 204);
    for host in [&one, &other] {
        assert_eq!(send(host, get("/v2/", &by_token)).status, 401);
        assert_eq!(send(host, get("/v2/", &session)).status, 401);
    }
}
