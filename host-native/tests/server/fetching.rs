//! What mirrors fetch before a client asks: by `orlop mirror`, and regularly.

use std::path::Path;

use tempfile::TempDir;

use crate::mirror::{MIRROR, digest, push};
use crate::started::{Started, eventually, orlop};

/// Runs `orlop mirror WHAT` on a data directory: whether it succeeded, and what it printed.
fn run(data: &Path, what: &[&str], flags: &[&str]) -> (bool, String) {
    let output = orlop(&format!("mirror {}", what[0]), data).args(&what[1..]).args(flags).output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&told).trim().to_owned())
}

#[test]
fn an_administrator_fetches_lists_and_evicts_with_a_server_and_without() {
    let upstream = Started::with(&[]);
    for tag in ["v1", "v2", "latest"] {
        push(&upstream, "library/app", tag, tag.repeat(20_000).as_bytes());
    }
    let directory = TempDir::new().unwrap();
    let flag = MIRROR.replace("ADDRESS", upstream.address());
    let server = Started::on(directory.path(), &[&flag]);
    let data = server.data().to_owned();
    let (done, told) = run(&data, &["fetch", "hub/library/app:v*"], &[]);
    assert!(done && told == "hub/library/app:v*: 2 images are here, 2 blobs were fetched", "{told}");
    let (done, told) = run(&data, &["list"], &[]);
    assert!(done && told.starts_with("hub/library/app: 2 tags"), "{told}");
    let (done, told) = run(&data, &["list", "--json"], &[]);
    let listed: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(done && listed[0]["repository"] == "hub/library/app" && listed[0]["tags"] == 2, "{told}");
    for (images, expected) in [
        ("hub/library/app:x*", "no such tag"),
        ("hub/library/none:v1", "the upstream does not have it"),
        ("other/app:v1", "is not mirrored"),
        ("hub/library/app:a b", "is not a tag name"),
    ] {
        let (done, told) = run(&data, &["fetch", images], &[]);
        assert!(!done && told.contains(expected), "{images}: {told}");
    }
    let (done, told) = run(&data, &["evict", "hub/library/app:v1"], &[]);
    assert!(done && told.contains("1 tags"), "{told}");
    drop(server);
    // Without a server, by the settings that are given here.
    let (done, told) = run(&data, &["list"], &[&flag]);
    assert!(done && told.starts_with("hub/library/app: 1 tags"), "{told}");
    let (done, told) = run(&data, &["fetch", "hub/library/app"], &[&flag]);
    assert!(done && told.contains("3 images are here, 1 blobs were fetched"), "{told}");
    drop(upstream);
    let server = Started::on(&data, &[&flag]);
    for tag in ["v1", "v2", "latest"] {
        let blob = tag.repeat(20_000).into_bytes();
        let pulled = server.get(&format!("/v2/hub/library/app/blobs/{}", digest(&blob)));
        assert_eq!((pulled.status, pulled.body == blob), (200, true), "{tag}");
        assert_eq!(server.get(&format!("/v2/hub/library/app/manifests/{tag}")).status, 200);
    }
    let (done, told) = run(&data, &["evict", "hub/library/app"], &[]);
    assert!(
        done && told.ends_with("6 tags, manifests and blobs were removed"),
        "3 manifests, with their tags, and 3 blobs: {told}"
    );
    let (_, told) = run(&data, &["list"], &[]);
    assert!(told.starts_with("hub/library/app: 0 tags, 0 B"), "{told}");
    let (done, told) = run(&data, &["fetch", "hub/library/app:v1"], &[]);
    assert!(!done && told.contains("cannot be reached"), "{told}");
}

#[test]
fn what_is_to_be_fetched_regularly_is_there_when_the_server_has_started() {
    let upstream = Started::with(&[]);
    let blob = vec![7; 100_000];
    push(&upstream, "library/app", "1.2", &blob);
    push(&upstream, "library/app", "2.0", b"not this one");
    let flag = MIRROR.replace("ADDRESS", upstream.address());
    let server = Started::with(&[&flag.replace(" }", ", fetch = 'library/app:1.*' }")]);
    eventually(|| server.log().contains("fetched regularly: hub/library/app:1.*: 1 images are here"));
    drop(upstream);
    let pulled = server.get(&format!("/v2/hub/library/app/blobs/{}", digest(&blob)));
    assert_eq!((pulled.status, pulled.body), (200, blob));
    assert_eq!(server.get("/v2/hub/library/app/manifests/1.2").status, 200);
    assert_eq!(server.get("/v2/hub/library/app/manifests/2.0").status, 502);
}
