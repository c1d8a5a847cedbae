//! Tags of small images, and the commands that are tried on them.

use std::path::Path;
use std::time::Duration;

use serde_json::Value as Json;

use crate::started::{Started, orlop};

/// An image of nothing but its annotation.
pub(crate) fn image(name: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}},"layers":[],"annotations":{{"name":"{name}"}}}}"#
    )
}

/// Pushes tags one after the other, each with an image of its own; the repository of [`Started::push`] is `a`.
pub(crate) fn push(server: &Started, tags: &[&str]) {
    assert_eq!(server.push(b"{}").0.status, 201);
    for tag in tags {
        // Those of one moment are as new.
        std::thread::sleep(Duration::from_millis(5));
        let answer = server.send("PUT", &format!("/v2/a/manifests/{tag}"), image(tag).as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.head);
    }
}

/// The digest of what a tag names.
pub(crate) fn digest(server: &Started, tag: &str) -> String {
    server.get(&format!("/v2/a/manifests/{tag}")).header("docker-content-digest").unwrap()
}

/// A command: whether it succeeded, and what it printed.
pub(crate) fn run(command: &str, data: &Path, more: &[&str]) -> (bool, String) {
    let output = orlop(command, data).args(more).output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&told).trim().to_owned())
}

/// What a command prints as JSON that succeeds.
pub(crate) fn json(command: &str, data: &Path, more: &[&str]) -> Json {
    let (done, told) = run(command, data, &[more, &["--json"]].concat());
    assert!(done, "{told}");
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}
