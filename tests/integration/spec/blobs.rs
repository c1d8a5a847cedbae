//! Sections C and D: blobs, download and delete. Ranges have a module of their own.

use orlop_conformance::image::{AMD64, sha256};
use orlop_conformance::system::{System, blob, get, head, manifest};

use crate::{NOWHERE, configured, registry};

/// SPEC C1–C3, C6, C13, A7, U26.
#[test]
fn a_blob_is_downloaded_as_it_was_pushed() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "content");
    for call in [get(blob("a", &digest)), head(blob("a", &digest))] {
        let answer = registry.call(call).expect(200).with("Content-Length", 7);
        let answer = answer.with("Docker-Content-Digest", &digest).with("ETag", format!("\"{digest}\""));
        let answer = answer.with("Content-Type", "application/octet-stream").with("Accept-Ranges", "bytes");
        assert!(answer.header("Cache-Control").is_some_and(|control| control.contains("max-age=31536000")));
    }
    assert_eq!(registry.get(blob("a", &digest)).body(), b"content");
}

/// SPEC C4, D2.
#[test]
fn an_unknown_blob_is_not_found() {
    let mut registry = registry();
    for repository in ["nowhere", "a"] {
        registry.get(blob(repository, NOWHERE)).refused(404, "BLOB_UNKNOWN");
        registry.head(blob(repository, NOWHERE)).expect(404);
        registry.delete(blob(repository, NOWHERE)).refused(404, "BLOB_UNKNOWN");
        registry.push_blob("a", "content");
    }
}

/// SPEC C11, A7 (RFC 9110, 13.1).
#[test]
fn a_blob_is_not_sent_to_whoever_has_it() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "content");
    let etag = format!("\"{digest}\"");
    let path = blob("a", &digest);
    for validator in [etag.as_str(), "*", &format!("\"x\", W/{etag}"), &format!("{etag},\"x\"")] {
        for call in [get(&path), head(&path)] {
            let answer = registry.call(call.header("If-None-Match", validator)).expect(304);
            assert!(answer.body().is_empty());
            answer.with("ETag", &etag).with("Docker-Content-Digest", &digest).without("Content-Length");
        }
    }
    registry.call(get(&path).header("If-None-Match", "\"x\"")).expect(200);
    registry.call(get(&path).header("If-Match", "\"x\"")).expect(412);
    registry.call(get(&path).header("If-Match", &etag)).expect(200);
    registry.call(get(blob("a", NOWHERE)).header("If-None-Match", "*")).refused(404, "BLOB_UNKNOWN");
}

/// SPEC C14, H1.
#[test]
fn a_blob_of_no_bytes_is_a_blob() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "");
    assert!(registry.get(blob("a", &digest)).expect(200).with("Content-Length", 0).body().is_empty());
    registry.head(blob("a", &digest)).expect(200).with("Content-Length", 0);
    registry.delete(blob("a", &digest)).expect(202);
    registry.get(blob("a", &digest)).refused(404, "BLOB_UNKNOWN");
}

/// SPEC C15: a blob is a blob, a manifest a manifest.
#[test]
fn a_manifest_is_no_blob_of_the_repository() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.get(blob("a", image.digest())).refused(404, "BLOB_UNKNOWN");
    registry.delete(blob("a", image.digest())).refused(404, "BLOB_UNKNOWN");
    registry.head(manifest("a", image.digest())).expect(200);
}

/// SPEC D1, D2, U14.
#[test]
fn a_deleted_blob_is_gone_and_cannot_be_deleted_twice() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "content");
    let answer = registry.delete(blob("a", &digest)).expect(202);
    answer.with("Docker-Content-Digest", &digest).with("Content-Length", 0);
    registry.get(blob("a", &digest)).refused(404, "BLOB_UNKNOWN");
    registry.head(blob("a", &digest)).expect(404);
    registry.delete(blob("a", &digest)).refused(404, "BLOB_UNKNOWN");
    registry.push_blob("a", "content");
    assert_eq!(registry.get(blob("a", &digest)).expect(200).body(), b"content");
}

/// SPEC D4.
#[test]
fn a_registry_that_deletes_nothing_refuses_to_delete_a_blob() {
    let mut registry = configured(|config| config.allow_delete = false);
    let digest = registry.push_blob("a", "content");
    registry.delete(blob("a", &digest)).refused(405, "UNSUPPORTED");
    registry.delete(blob("a", NOWHERE)).refused(405, "UNSUPPORTED");
    registry.get(blob("a", &digest)).expect(200);
}

/// SPEC D5.
#[test]
fn a_blob_that_a_manifest_needs_can_be_deleted() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.delete(blob("a", sha256("layer"))).expect(202);
    registry.get(blob("a", sha256("layer"))).refused(404, "BLOB_UNKNOWN");
    registry.get(manifest("a", "v1")).expect(200);
    // The image is broken; pushing it again heals it.
    registry.put_manifest("a", "v1", &image).refused(400, "MANIFEST_BLOB_UNKNOWN");
    registry.push("a", "v1", &image);
    registry.get(blob("a", sha256("layer"))).expect(200);
}
