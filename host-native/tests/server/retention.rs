//! Retention by a server and without one: what would go, what goes, and what was pulled.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::started::{Started, eventually};
use crate::tags::{self, digest, image, push, run};

/// `orlop retention`: whether it succeeded, and what it printed.
fn retention(data: &Path, words: &[&str]) -> (bool, String) {
    let (verb, more) = words.split_first().unwrap();
    run(&format!("retention {verb}"), data, more)
}

fn plan(data: &Path) -> Json {
    tags::json("retention plan", data, &[])["plans"][0].take()
}

const LAST_TWO: &str = r#"{ name = "last", repositories = ["**"], keep-last = 2, keep = ["kept"] }"#;

#[test]
fn a_plan_is_printed_and_applied_by_the_server_that_runs() {
    let server = Started::with(&["--retention", LAST_TWO]);
    let data = server.data().to_owned();
    push(&server, &["kept", "v1", "v2", "v3"]);
    let (done, told) = retention(&data, &["plan"]);
    assert!(done, "{told}");
    assert!(told.contains("delete v1  rule `last`: not one of the last 2"), "{told}");
    assert!(told.contains("keep   kept  rule `last`: keep = `kept`"), "{told}");
    assert!(told.contains("keep   v3  rule `last`: one of the last 2"), "{told}");
    assert!(told.ends_with("nothing was changed"), "{told}");
    assert!(told.contains("keep their space where no rule has untagged-after"), "{told}");
    let planned = plan(&data);
    let hash = planned["plan"].as_str().unwrap();
    assert!(planned["needs_approval"] == true && planned["tags"].as_array().unwrap().len() == 4, "{planned}");
    assert!(told.contains(&format!("orlop retention apply a --plan {hash} --yes")), "{told}");
    let (done, told) = retention(&data, &["apply", "a", "--plan", hash]);
    assert!(!done && told.contains("1 of the 4 tags of a: give --yes"), "{told}");
    let (done, told) = retention(&data, &["apply", "a", "--plan", "0123456789abcdef", "--yes"]);
    assert!(!done && told.contains("plan again, nothing was deleted"), "{told}");
    assert_eq!(server.get("/v2/a/manifests/v1").status, 200);
    let (done, told) = retention(&data, &["apply", "a", "--plan", hash, "--yes"]);
    assert!(done && told == "a: 1 tags and 0 manifests deleted", "{told}");
    assert_eq!(server.get("/v2/a/manifests/v1").status, 404);
    for kept in ["kept", "v2", "v3"] {
        assert_eq!(server.get(&format!("/v2/a/manifests/{kept}")).status, 200);
    }
    let (done, told) = retention(&data, &["apply", "b", "--plan", hash]);
    assert!(!done && told.contains("there is no repository b"), "{told}");
    let (done, told) = retention(&data, &["status"]);
    assert!(done && told.starts_with("no regular run yet"), "{told}");
}

/// A regular run, a minute after the start: one repository is done, another waits for somebody to agree.
#[test]
fn a_server_runs_retention_when_it_is_due_and_waits_for_approval() {
    let rules =
        [r#"{ repositories = ["a"], keep-last = 5 }"#, r#"{ repositories = ["b"], name = "b", keep-last = 1 }"#];
    let server = Started::with(&["--retention", rules[0], "--retention", rules[1], "--retention-interval", "1m"]);
    let data = server.data().to_owned();
    let tags: Vec<String> = (0..6).map(|number| format!("v{number}")).collect();
    push(&server, &tags.iter().map(String::as_str).collect::<Vec<_>>());
    let mount =
        "/v2/b/blobs/uploads/?from=a&mount=sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(server.send("POST", mount, b"").status, 201);
    for tag in ["v1", "v2"] {
        assert_eq!(server.send("PUT", &format!("/v2/b/manifests/{tag}"), image(tag).as_bytes()).status, 201);
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = || tags::json("retention status", &data, &[]);
    assert_eq!(status()["began"], Json::Null);
    std::thread::sleep(Duration::from_secs(55));
    eventually(|| status()["ended"].is_string());
    assert_eq!(server.get("/v2/a/manifests/v0").status, 404);
    assert_eq!(server.get("/v2/a/manifests/v1").status, 200);
    assert!(server.log().contains("would delete 1 of the 2 tags, and waits for somebody to agree"), "{}", server.log());
    let status = status();
    for at in ["began", "ended"] {
        let text = status[at].as_str().unwrap();
        assert!(text.len() == 20 && text.starts_with("20") && text.ends_with('Z'), "{status}");
    }
    let waiting = &status["waiting"][0];
    assert!(waiting["tags_deleted"] == 1 && waiting["tags"] == 2 && waiting["repository"] == "b", "{status}");
    let hash = waiting["plan"].as_str().unwrap();
    let (done, told) = retention(&data, &["apply", "b", "--plan", hash, "--yes"]);
    assert!(done, "{told}");
    let tags: Json = serde_json::from_slice(&server.get("/v2/b/tags/list").body).unwrap();
    assert_eq!(tags["tags"], serde_json::json!(["v2"]));
}

/// SPEC X54, X47.
#[test]
fn what_retention_deletes_can_be_undeleted() {
    let rule = r#"{ name = "last", repositories = ["**"], keep-last = 1 }"#;
    let server = Started::with(&["--retention", rule, "--gc-interval", "0"]);
    let data = server.data().to_owned();
    push(&server, &["v1", "v2", "v3"]);
    let pulled = |reference: &str| server.get(&format!("/v2/a/manifests/{reference}"));
    let digests = ["v1", "v2"].map(|tag| digest(&server, tag));
    let planned = plan(&data);
    let hash = planned["plan"].as_str().unwrap();
    let (done, told) = retention(&data, &["apply", "a", "--plan", hash, "--yes"]);
    assert!(done && told == "a: 2 tags and 0 manifests deleted", "{told}");
    assert_eq!([pulled("v1").status, pulled("v2").status], [404, 404]);
    let deleted = tags::json("deleted", &data, &["a"])["deleted"].clone();
    let deleted = deleted.as_array().unwrap();
    assert!(deleted.len() == 2 && deleted.iter().all(|deleted| deleted["by"] == "retention"), "{deleted:?}");
    // One of them is deleted as a manifest, too.
    assert_eq!(server.send("DELETE", &format!("/v2/a/manifests/{}", digests[1]), b"").status, 202);
    assert!(run("gc", &data, &[]).0);
    for (tag, digest) in ["v1", "v2"].into_iter().zip(&digests) {
        let (done, told) = run("undelete", &data, &[&format!("a:{tag}")]);
        assert!(done && told.contains(&format!("undeleted a:{tag}")), "{told}");
        let answer = pulled(tag);
        assert!(answer.body == image(tag).as_bytes() && answer.headers("docker-content-digest") == [digest.as_str()]);
        assert_eq!(pulled(digest).body, image(tag).as_bytes());
    }
    let listed: Json = serde_json::from_slice(&server.get("/v2/a/tags/list").body).unwrap();
    assert_eq!(listed["tags"], serde_json::json!(["v1", "v2", "v3"]));
    assert_eq!(tags::json("deleted", &data, &["a"])["deleted"].as_array().map(Vec::len), Some(0));
    // What was brought back stays.
    let planned = plan(&data);
    assert!(planned["tags"].as_array().unwrap().iter().all(|tag| tag["deleted"] == false), "{planned}");
}

/// What was pulled is noted when the server stops, at the latest; then the command goes by it without a server.
#[test]
fn what_clients_pull_is_kept_by_a_rule_that_asks_for_it() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let mut server = Started::on(&data, &[]);
    push(&server, &["v1", "v2"]);
    for _ in 0..1000 {
        assert_eq!(server.get("/v2/a/manifests/v1").status, 200);
    }
    server.signal(Signal::TERM);
    eventually(|| server.ended());
    let rule = r#"{ repositories = ["**"], keep-pulled-within = "10d" }"#;
    let (done, told) = retention(&data, &["plan", "--retention", rule]);
    assert!(done && told.contains("keep   v1"), "{told}");
    // It is known since when pulls are noted, which was written down with the first of them.
    assert!(!told.contains("not known"), "{told}");
    let (done, told) = retention(&data, &["plan"]);
    assert!(done && told.contains("warning: there are no rules"), "{told}");
}

#[test]
fn rules_that_cannot_be_meant_are_refused_when_they_are_read() {
    for (rules, told) in [
        (&[r#"{ repositories = ["a"], keep-last = 0 }"#] as &[&str], "keep-last = 0 keeps nothing"),
        (&[r#"{ repositories = ["a"] }"#], "says nothing of what is kept"),
        (&[LAST_TWO, LAST_TWO], "two retention rules are called `last`"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_orlop"));
        command.args(["config", "check", "--config", ""]);
        for rule in rules {
            command.args(["--retention", rule]);
        }
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(told), "{error}");
    }
}
