//! What changes while somebody works with the console: sessions and tokens end, tags move, two do the same at once. Each is told
//! in a sentence what is wrong, and nothing is half done. And lists and stored content that are more, or other, than a page
//! expects.

use std::fmt::Write as _;

use orlop_core::digest::Algorithm;
use serde_json::{Value as Json, json};

use crate::access::{Directory, RULES, basic, push};
use crate::api_tokens::shown;
use crate::signing_in::{body, sign_in};
use crate::started::{Answer, Started, eventually};

const ADMINISTRATORS: &str = "administrators = ['user:root']\n";

fn directory(more: &str) -> Directory {
    Directory::new(&format!("{ADMINISTRATORS}{more}{RULES}"), &["alice", "bob", "root"])
}

/// The code and the sentence of a refusal.
fn why(answer: &Answer) -> (String, String) {
    let told = &body(answer)["errors"][0];
    (told["code"].as_str().unwrap().into(), told["message"].as_str().unwrap().into())
}

fn get(server: &Started, target: &str) -> Json {
    let answer = server.send_as(&basic("root"), "GET", target, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    body(&answer)
}

/// SPEC AB5, AB20: an upload that a login began which ends meanwhile comes to nothing, and the client is told to log in.
#[test]
fn what_a_login_began_that_has_ended_meanwhile_is_not_done() {
    let directory = directory("");
    let server = directory.start();
    let alice = sign_in(&server, "alice");
    let wanted = json!({ "name": "ci", "repositories": ["team/*"], "actions": ["pull", "push"] }).to_string();
    let fields = format!("Content-Type: application/json\r\n{}", basic("alice"));
    let made = server.send_as(&fields, "POST", "/api/v1/tokens", wanted.as_bytes());
    let (location, made) = (made.header("location").unwrap(), body(&made));
    let token = shown("alice", made["secret"].as_str().unwrap());
    let digest = Algorithm::Sha256.digest(b"half");
    let begin = |fields: &str| {
        let begun = server.send_as(fields, "POST", "/v2/team/app/blobs/uploads/", b"");
        assert_eq!(begun.status, 202, "{begun:?}");
        let session = begun.header("location").unwrap();
        assert_eq!(server.send_as(fields, "PATCH", &session, b"half").status, 202);
        session
    };
    let sessions = [alice.fields(), token].map(|fields| (begin(&fields), fields));
    assert_eq!(server.send_as(&basic("alice"), "DELETE", &location, b"").status, 204);
    assert_eq!(server.send_as(&alice.fields(), "DELETE", "/api/v1/session", b"").status, 204);
    for (session, fields) in sessions {
        let ended = server.send_as(&fields, "PUT", &format!("{session}?digest={digest}"), b"");
        let (code, sentence) = why(&ended);
        assert_eq!((ended.status, code.as_str()), (401, "UNAUTHORIZED"), "{ended:?}");
        assert!(sentence.len() > 10 && sentence.contains(' '), "{sentence}");
        let there = server.send_as(&basic("alice"), "HEAD", &format!("/v2/team/app/blobs/{digest}"), b"");
        assert_eq!(there.status, 404, "nothing is half done");
        assert_eq!(server.send_as(&fields, "DELETE", "/v2/team/app/manifests/x", b"").status, 401);
    }
}

/// SPEC L1, L3: of two who delete the same at once one is told that it is done, and the other that it is not there.
#[test]
fn of_two_who_delete_the_same_one_does() {
    let directory = directory("");
    let server = directory.start();
    for reference in ["one", "by-digest"] {
        for round in 0..8 {
            let pushed = push(&server, &basic("root"), "team/app", "one", &format!("{reference}{round}"));
            assert_eq!(pushed.status, 201);
            let digest = pushed.header("docker-content-digest").unwrap();
            let reference = if reference == "one" { "one".to_owned() } else { digest };
            let target = format!("/v2/team/app/manifests/{reference}");
            let answers = std::thread::scope(|scope| {
                let both = ["root", "alice"].map(|user| {
                    let target = &target;
                    let server = &server;
                    scope.spawn(move || server.send_as(&basic(user), "DELETE", target, b""))
                });
                both.map(|one| one.join().unwrap())
            });
            let mut statuses = answers.each_ref().map(|answer| answer.status);
            statuses.sort_unstable();
            assert_eq!(statuses, [202, 404], "{answers:?}");
            let late = answers.iter().find(|answer| answer.status == 404).unwrap();
            let (code, sentence) = why(late);
            assert_eq!(code, "MANIFEST_UNKNOWN");
            assert!(sentence.contains(' '), "{sentence}");
            assert_eq!(server.send_as(&basic("root"), "GET", "/v2/team/app/manifests/one", b"").status, 404);
        }
    }
    let rows = get(&server, "/api/v1/activity?happening=delete&n=100");
    assert_eq!(rows["activity"].as_array().unwrap().len(), 16, "each delete is told once: {rows}");
}

/// SPEC L3: who deletes by digest what he looked at deletes no image that the tag names by now.
#[test]
fn a_tag_that_moved_while_somebody_looked_keeps_its_image() {
    let directory = directory("");
    let server = directory.start();
    let looked = push(&server, &basic("root"), "team/app", "one", "old").header("docker-content-digest").unwrap();
    let moved = push(&server, &basic("root"), "team/app", "one", "new").header("docker-content-digest").unwrap();
    assert_eq!(server.send_as(&basic("alice"), "DELETE", &format!("/v2/team/app/manifests/{looked}"), b"").status, 202);
    let now = server.send_as(&basic("alice"), "GET", "/v2/team/app/manifests/one", b"");
    assert_eq!((now.status, now.header("docker-content-digest")), (200, Some(moved)));
    let image = get(&server, "/api/v1/activity?happening=delete");
    assert_eq!(image["activity"][0]["tags"], json!([]), "the tag did not go with it: {image}");
}

/// SPEC AE14: however many users there are, a page has some, and all pages have each once.
#[test]
fn pages_of_very_many_users_are_bounded() {
    let directory = directory("");
    let line = directory.line("root");
    let password = line.split_once(':').unwrap().1.to_owned();
    let mut lines = line.clone();
    for number in 0..3000 {
        write!(lines, "user{number:04}:{password}").unwrap();
    }
    std::fs::write(directory.path("users"), lines).unwrap();
    let server = directory.start();
    let (mut target, mut names) = ("/api/v1/users?n=100000".to_owned(), Vec::new());
    loop {
        let page = get(&server, &target);
        let users = page["users"].as_array().unwrap();
        assert!(users.len() <= 100, "{}", users.len());
        names.extend(users.iter().map(|user| user["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        next.clone_into(&mut target);
    }
    let before = names.len();
    names.dedup();
    assert_eq!((names.len(), before), (3001, 3001));
}

/// SPEC AF4: of very many targets of one kind of job sixteen are remembered.
#[test]
fn the_list_of_jobs_is_bounded() {
    let directory = directory("[[mirror]]\nprefix = 'up/'\nupstream = 'http://127.0.0.1:1'\n");
    let server = directory.start();
    for number in 0..24 {
        let wanted = json!({ "job": "mirror-evict", "target": format!("up/app{number}") }).to_string();
        let fields = format!("Content-Type: application/json\r\n{}", basic("root"));
        eventually(|| {
            let status = server.send_as(&fields, "POST", "/api/v1/jobs", wanted.as_bytes()).status;
            assert!(matches!(status, 202 | 409 | 429), "{status}");
            status == 202
        });
    }
    eventually(|| {
        let jobs = get(&server, "/api/v1/jobs");
        let jobs = jobs["jobs"].as_array().unwrap();
        jobs.iter().all(|job| job["state"] != "running") && jobs.len() <= 16
    });
    assert!(!get(&server, "/api/v1/jobs")["jobs"].as_array().unwrap().is_empty());
}

/// SPEC AD8, AB13: what somebody pushes is served as data: no browser takes it for a page, whatever it says it is.
#[test]
fn what_is_stored_is_never_a_page() {
    let directory = directory("");
    let server = directory.start();
    let script = "<!doctype html><script>alert(document.cookie)</script>";
    let digest = Algorithm::Sha256.digest(script.as_bytes());
    let target = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    assert_eq!(server.send_as(&basic("alice"), "POST", &target, script.as_bytes()).status, 201);
    let described = json!({ "mediaType": "text/html", "digest": digest.to_string(), "size": script.len() });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": "text/html",
        "config": described, "layers": [described],
        "annotations": {
            "org.opencontainers.image.title": script, "org.opencontainers.image.url": "javascript:alert(1)",
            "io.artifacthub.package.readme-url": "data:text/html,x", script: script,
        },
    });
    let pushed = server.send_as(
        &format!("Content-Type: application/vnd.oci.image.manifest.v1+json\r\n{}", basic("alice")),
        "PUT",
        "/v2/team/app/manifests/one",
        manifest.to_string().as_bytes(),
    );
    assert_eq!(pushed.status, 201, "{pushed:?}");
    let alice = sign_in(&server, "alice");
    for target in [
        format!("/v2/team/app/blobs/{digest}"),
        "/v2/team/app/manifests/one".to_owned(),
        "/v2/team/app/tags/list".to_owned(),
        "/api/v1/repositories/team/app/images/one".to_owned(),
        "/api/v1/repositories/team/app/tags?q=%3Cscript%3E".to_owned(),
        "/api/v1/search?q=%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/api/v1/repositories?sort=%3Cscript%3E".to_owned(),
        "/v2/%3Cscript%3E/tags/list".to_owned(),
        "/api/v1/activity".to_owned(),
        "/api/v1/session".to_owned(),
    ] {
        let fields = format!("Accept: text/html\r\n{}", alice.fields());
        let answer = server.send_as(&fields, "GET", &target, b"");
        let kind = answer.header("content-type").unwrap();
        assert!(
            kind.starts_with("application/") && !kind.contains("html") && !kind.contains("svg"),
            "{target}: {kind}"
        );
        assert_eq!(answer.header("x-content-type-options").as_deref(), Some("nosniff"), "{target}: {answer:?}");
        // No link of it brings somebody elsewhere.
        assert!(answer.status != 302 && answer.status != 303, "{target}: {answer:?}");
        // A navigation sends the cookie without its header, and so acts as nobody.
        let navigated = server.send_as(&format!("Cookie: {}\r\n", alice.cookie), "GET", &target, b"");
        let nobody = server.send_as("", "GET", &target, b"");
        let same = (navigated.status, &navigated.body) == (nobody.status, &nobody.body);
        assert!(same || target.ends_with("/session"), "{target}: {navigated:?}");
    }
}
