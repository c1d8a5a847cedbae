//! Syncs: what is copied from and to other registries, and how little they are asked for it.

mod upstream;

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::upstream::{INDEX, Lists, MANIFEST, Upstream};
use crate::started::{Started, eventually};

/// Runs `orlop sync`: whether it succeeded, and what it printed.
fn sync(words: &[&str], data: &Path) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
    let output = command.arg("sync").args(words).arg("--data").arg(data).env("NO_COLOR", "1").output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[track_caller]
fn runs(words: &[&str], server: &Started, expected: &str) {
    let (done, told) = sync(words, server.data());
    assert!(done && told.contains(expected), "{told}\n{}", server.log());
}

/// The flag for a sync of the repository `app`.
fn from(upstream: &Upstream, more: &str) -> String {
    format!(
        r#"--sync={{ name = "base", from = "http://{}", repositories = ["app"], prefix = "copied/"{more} }}"#,
        upstream.address
    )
}

fn digest_of(server: &Started, target: &str) -> Option<String> {
    server.send("HEAD", target, b"").header("docker-content-digest")
}

#[test]
fn a_second_run_moves_nothing_and_asks_once_for_a_tag() {
    let upstream = Upstream::new();
    for tag in ["1", "2", "3"] {
        upstream.tag(tag, &upstream.image("2026-01-01T00:00:00Z", tag.as_bytes()));
    }
    let server = Started::with(&[&from(&upstream, "")]);
    runs(&["status"], &server, "sync base: has not run yet");
    runs(&["run", "--dry-run"], &server, "3 tags copied, 0 unchanged, 0 deleted; 6 blobs");
    assert_eq!(server.get("/v2/copied/app/manifests/1").status, 404, "it was a dry run");
    // One config, mounted after it was moved once or moved by two at a time.
    runs(&["run", "base"], &server, "3 tags copied, 0 unchanged");
    let manifest = server.send_as(&format!("Accept: {MANIFEST}\r\n"), "GET", "/v2/copied/app/manifests/2", b"");
    let manifest: Value = serde_json::from_slice(&manifest.body).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v2/copied/app/blobs/{layer}")).body, b"2");
    upstream.asked();
    runs(&["run"], &server, "0 tags copied, 3 unchanged, 0 deleted; 0 blobs (0 B) moved, 0 mounted; 0 failures");
    let mut asked = upstream.asked();
    asked.sort();
    let heads = ["1", "2", "3"].map(|tag| format!("HEAD /v2/app/manifests/{tag}"));
    assert_eq!(asked, [&["GET /v2/app/tags/list".to_owned()], &heads[..]].concat());
    runs(&["status", "base"], &server, "sync base: done, begun 20");
    let (done, told) = sync(&["run", "other"], server.data());
    assert!(!done && told.contains("there is no sync `other`"), "{told}");
}

#[test]
fn a_source_with_a_limit_answers_no_429() {
    let upstream = Upstream::new();
    for tag in 0..300 {
        upstream.tag(&format!("t{tag:03}"), &upstream.image(&format!("2026-01-01T00:{tag}"), b"the same layer"));
    }
    upstream.limit(220);
    let server = Started::with(&[&from(&upstream, ", requests-per-minute = 12000")]);
    runs(&["run"], &server, "300 tags copied");
    assert_eq!(upstream.refused(), 0);
    assert!(upstream.count() > 600, "each has a HEAD, a manifest and a config of its own");
}

/// Without a pace of its own a sync waits as long as the source says.
#[test]
fn a_429_is_waited_for() {
    let upstream = Upstream::new();
    for tag in 0..20 {
        upstream.tag(&format!("t{tag:02}"), &upstream.image(&format!("2026-01-01T00:{tag}"), b"the same layer"));
    }
    upstream.limit(30);
    let server = Started::with(&[&from(&upstream, "")]);
    runs(&["run"], &server, "20 tags copied, 0 unchanged");
    assert!(upstream.refused() > 0);
}

#[test]
fn a_run_that_was_killed_is_gone_on_with_where_it_stood() {
    let upstream = Upstream::new();
    for tag in 0..60 {
        upstream.tag(&format!("t{tag:02}"), &upstream.image(&format!("2026-01-01T00:{tag}"), b"the same layer"));
    }
    let directory = TempDir::new().unwrap();
    let flag = from(&upstream, r#", every = "1h", requests-per-minute = 2400"#);
    let mut server = Started::on(directory.path(), &[&flag]);
    // The journal is written every second.
    eventually(|| upstream.count() > 110);
    server.signal(Signal::KILL);
    server.ended();
    let (_, told) = sync(&["status", &flag], directory.path());
    assert!(told.contains("sync base: interrupted") && told.contains("after app:t"), "{told}");
    upstream.asked();
    let server = Started::on(directory.path(), &[&flag]);
    eventually(|| sync(&["status"], server.data()).1.contains("sync base: done"));
    let (_, told) = sync(&["status"], server.data());
    assert!(told.contains("60 tags copied, 0 unchanged") || told.contains(" unchanged"), "{told}");
    let asked = upstream.asked();
    assert!(!asked.contains(&"HEAD /v2/app/manifests/t00".to_owned()), "{asked:?}");
    for tag in 0..60 {
        assert!(digest_of(&server, &format!("/v2/copied/app/manifests/t{tag:02}")).is_some(), "t{tag:02}");
    }
}

#[test]
fn a_server_that_stops_ends_its_runs_and_says_so() {
    let upstream = Upstream::new();
    for tag in 0..40 {
        upstream.tag(&format!("t{tag:02}"), &upstream.image(&format!("2026-01-01T00:{tag}"), b"the same layer"));
    }
    let directory = TempDir::new().unwrap();
    let flag = from(&upstream, r#", every = "1h", requests-per-minute = 600"#);
    let mut server = Started::on(directory.path(), &[&flag]);
    eventually(|| upstream.count() > 10);
    server.signal(Signal::TERM);
    assert!(server.ended());
    let (_, told) = sync(&["status", &flag], directory.path());
    assert!(told.contains("sync base: interrupted"), "{told}");
}

#[test]
fn tags_that_are_gone_are_deleted_unless_the_list_is_in_doubt() {
    let upstream = Upstream::new();
    let image = upstream.image("2026-01-01T00:00:00Z", b"layer");
    (0..50).for_each(|tag| upstream.tag(&format!("t{tag:02}"), &image));
    let server = Started::with(&[&from(&upstream, r#", mirror-deletes = true, tags = ["t*"]"#)]);
    runs(&["run"], &server, "50 tags copied");
    let tag = |tag: &str| digest_of(&server, &format!("/v2/copied/app/manifests/{tag}")).is_some();
    let manifest = server.send_as(&format!("Accept: {MANIFEST}\r\n"), "GET", "/v2/copied/app/manifests/t01", b"").body;
    let own = format!("Content-Type: {MANIFEST}\r\n");
    assert_eq!(server.send_as(&own, "PUT", "/v2/copied/app/manifests/own", &manifest).status, 201);
    upstream.untag("t00");
    for (lists, expected) in [
        (Lists::Fail, "its tags cannot be listed"),
        (Lists::Cut, "its tags cannot be listed"),
        (Lists::Empty, "0 deleted"),
    ] {
        upstream.lists(lists);
        let (done, told) = sync(&["run"], server.data());
        assert!(told.contains(expected) && done == (lists == Lists::Empty), "{lists:?}: {told}");
        assert!((0..50).all(|number| tag(&format!("t{number:02}"))), "{lists:?}");
    }
    assert!(server.log().contains("has no tags at the source: nothing is deleted"), "{}", server.log());
    upstream.lists(Lists::Right);
    runs(&["run"], &server, "49 unchanged, 1 deleted");
    assert!(!tag("t00") && tag("t49"));
    assert!(tag("own"), "it is none of the tags that are copied");
}

#[test]
fn the_newest_are_found_by_when_their_images_were_made() {
    let upstream = Upstream::new();
    for (tag, year) in [("stable", "2024"), ("edge", "2026"), ("old", "2020")] {
        upstream.tag(tag, &upstream.image(&format!("{year}-01-01T00:00:00Z"), tag.as_bytes()));
    }
    let server = Started::with(&[&from(&upstream, ", newest = 2")]);
    runs(&["run"], &server, "2 tags copied");
    let tags: Value = serde_json::from_slice(&server.get("/v2/copied/app/tags/list").body).unwrap();
    assert_eq!(tags["tags"], json!(["edge", "stable"]));
}

#[test]
fn of_an_index_the_images_of_some_platforms_are_copied_and_all_of_the_index() {
    let upstream = Upstream::new();
    let image = |architecture: &str| {
        let mut image = upstream.image("2026-01-01T00:00:00Z", architecture.as_bytes());
        image["platform"] = json!({ "os": "linux", "architecture": architecture });
        image
    };
    let (amd64, arm64) = (image("amd64"), image("arm64"));
    let index = upstream.index(&[amd64.clone(), arm64.clone()]);
    upstream.tag("1", &index);
    let server = Started::with(&[&from(&upstream, r#", platforms = ["linux/amd64"]"#)]);
    runs(&["run"], &server, "1 tags copied");
    let path = |of: &Value| format!("/v2/copied/app/manifests/{}", of["digest"].as_str().unwrap());
    let tagged = server.send_as(&format!("Accept: {INDEX}\r\n"), "HEAD", "/v2/copied/app/manifests/1", b"");
    assert_eq!(tagged.header("docker-content-digest").as_deref(), index["digest"].as_str());
    assert_eq!((server.get(&path(&amd64)).status, server.get(&path(&arm64)).status), (200, 404));
    upstream.asked();
    runs(&["run"], &server, "0 tags copied, 1 unchanged");
    assert_eq!(upstream.count(), 2, "a list and a HEAD: {:?}", upstream.asked());
}

#[test]
fn what_is_pushed_is_copied_at_once_with_what_refers_to_it() {
    let other = Started::with(&[]);
    let flag = format!(
        r#"--sync={{ name = "out", from = "local", to = "http://{}", repositories = ["a"], on-push = true, referrers = true }}"#,
        other.address()
    );
    let server = Started::with(&[&flag]);
    let blob = |bytes: &[u8]| {
        let (pushed, path) = server.push(bytes);
        assert_eq!(pushed.status, 201);
        json!({ "mediaType": "application/octet-stream", "digest": path.rsplit('/').next().unwrap(), "size": bytes.len() })
    };
    let put = |reference: &str, manifest: &Value| {
        let target = format!("/v2/a/manifests/{reference}");
        let fields = format!("Content-Type: {MANIFEST}\r\n");
        let put = server.send_as(&fields, "PUT", &target, manifest.to_string().as_bytes());
        assert_eq!(put.status, 201, "{put:?}");
        put.header("docker-content-digest").unwrap()
    };
    let layer = vec![7; 3 << 20];
    let mut manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": blob(b"{}"), "layers": [blob(&layer)] });
    let digest = put("v1", &manifest);
    eventually(|| digest_of(&other, "/v2/a/manifests/v1").as_deref() == Some(&digest));
    manifest["subject"] = json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 });
    manifest["layers"] = json!([blob(b"a signature")]);
    let signature = orlop_core::digest::Algorithm::Sha256.digest(manifest.to_string().as_bytes()).to_string();
    assert_eq!(put(&signature, &manifest), signature);
    eventually(|| digest_of(&other, &format!("/v2/a/manifests/{signature}")).is_some());
    let referrers = other.get(&format!("/v2/a/referrers/{digest}"));
    assert!(String::from_utf8_lossy(&referrers.body).contains(&signature), "{referrers:?}");
    runs(&["run", "out"], &server, "0 tags copied, 1 unchanged, 0 deleted; 0 blobs");
}
