//! Section E: uploads begin; whole blobs in one request; mounts.

use orlop_conformance::image::{sha256, sha512};
use orlop_conformance::system::{Answer, System, blob, get, patch, post, put, uploads};

use crate::{NOWHERE, configured, registry};

/// What a fresh session is announced with: SPEC E1, E2, G2.
#[track_caller]
fn is_session(answer: &Answer, repository: &str) -> String {
    let answer = answer.clone().expect(202).with("Range", "0-0").with("Content-Length", 0);
    let id = answer.header("Docker-Upload-UUID").expect("Docker's header").to_owned();
    let location = answer.location();
    // Clients that know no Docker-Upload-UUID take the last segment for the id.
    assert_eq!(location, format!("/v2/{repository}/blobs/uploads/{id}"));
    location
}

/// SPEC E1, E2, E3, G2. There is no minimum size of chunks, so none is announced.
#[test]
fn an_upload_begins_with_a_session_of_its_own() {
    let mut registry = registry();
    let first = registry.post(uploads("a"));
    let second = registry.post("/v2/a/blobs/uploads");
    assert_ne!(is_session(&first, "a"), is_session(&second, "a"));
    first.without("OCI-Chunk-Min-Length").without("Docker-Content-Digest");
}

/// SPEC E5: crane names JSON on its empty POST.
#[test]
fn the_type_of_an_empty_body_matters_to_nobody() {
    let mut registry = registry();
    let answer = registry.call(post(uploads("a")).header("Content-Type", "application/json"));
    is_session(&answer, "a");
}

/// SPEC E1, N1, O1: a repository is there as soon as it holds something.
#[test]
fn a_repository_is_made_by_the_first_push() {
    let mut registry = registry();
    registry.open("a");
    registry.get("/v2/a/tags/list").refused(404, "NAME_UNKNOWN");
    registry.push_blob("a", "content");
    assert!(registry.tags("a").is_empty());
}

/// SPEC E4, B7, U22: the hint only says what to hash with; every session can end under any algorithm.
#[test]
fn a_session_ends_under_any_algorithm_whatever_the_hint_was() {
    for hint in ["", "?digest-algorithm=sha256", "?digest-algorithm=sha512"] {
        for digest in [sha256("content"), sha512("content")] {
            let mut registry = registry();
            let session = registry.post(uploads("a") + hint).expect(202).location();
            registry.call(patch(&session).body("cont")).expect(202);
            registry.call(patch(&session).body("en")).expect(202);
            let answer = registry.call(put(format!("{session}?digest={digest}")).body("t")).expect(201);
            answer.with("Docker-Content-Digest", &digest).with("Location", blob("a", &digest));
            assert_eq!(registry.get(blob("a", &digest)).expect(200).body(), b"content", "{hint} {digest}");
            registry.get(session).refused(404, "BLOB_UPLOAD_UNKNOWN");
        }
    }
}

/// SPEC E4, H3: bytes that are read again are held against the digest, too.
#[test]
fn a_wrong_digest_of_another_algorithm_than_the_hint_is_refused() {
    let mut registry = registry();
    let session = registry.open("a");
    registry.call(patch(&session).body("content")).expect(202);
    let wrong = sha512("something else");
    registry.call(put(format!("{session}?digest={wrong}"))).refused(400, "DIGEST_INVALID");
    for digest in [wrong, sha512("content"), sha256("content")] {
        registry.get(blob("a", digest)).refused(404, "BLOB_UNKNOWN");
    }
    assert!(registry.memory.objects.is_empty(), "{:?}", registry.memory.objects);
}

/// SPEC E4, B8.
#[test]
fn a_hint_at_an_unknown_algorithm_is_refused() {
    let mut registry = registry();
    for hint in ["md5", "SHA512", "", "sha256:00"] {
        registry.post(format!("{}?digest-algorithm={hint}", uploads("a"))).refused(400, "DIGEST_INVALID");
    }
}

/// SPEC E7, H8, U21.
#[test]
fn a_whole_blob_is_pushed_in_one_request() {
    let mut registry = registry();
    for digest in [sha256("content"), sha512("content")] {
        for call in [post(format!("{}?digest={digest}", uploads("a"))).body("content")] {
            for call in [call.clone(), call.clone().chunked(), call.header("Content-Type", "text/plain")] {
                let answer = registry.call(call).expect(201).with("Content-Length", 0);
                let answer = answer.with("Docker-Content-Digest", &digest);
                assert_eq!(answer.location(), blob("a", &digest));
                assert_eq!(registry.get(answer.location()).expect(200).body(), b"content");
            }
        }
    }
}

/// SPEC E8, B8, U21.
#[test]
fn a_single_post_of_other_bytes_than_its_digest_stores_nothing() {
    let mut registry = registry();
    for wrong in [sha256("something else"), sha512("something else")] {
        let push = post(format!("{}?digest={wrong}", uploads("a"))).body("content");
        registry.call(push).refused(400, "DIGEST_INVALID");
        registry.get(blob("a", &wrong)).refused(404, "BLOB_UNKNOWN");
    }
    assert!(registry.memory.records.is_empty() && registry.memory.objects.is_empty());
}

/// SPEC E9, U21.
#[test]
fn a_single_post_that_ends_early_stores_nothing() {
    let mut registry = registry();
    let push = post(format!("{}?digest={}", uploads("a"), sha256("content"))).body("content");
    registry.call(push.clone().length(10)).refused(400, "SIZE_INVALID");
    registry.call(push.clone().chunked().cut()).refused(400, "SIZE_INVALID");
    registry.call(push.length(4)).refused(400, "DIGEST_INVALID");
    assert!(registry.memory.records.is_empty() && registry.memory.objects.is_empty());
}

/// SPEC E10, C3.
#[test]
fn a_mount_makes_the_blob_one_of_the_target_too() {
    let mut registry = registry();
    for (digest, source) in [(sha256("content"), "from/here"), (sha512("content"), "from/there")] {
        registry.call(post(format!("{}?digest={digest}", uploads(source))).body("content")).expect(201);
        let answer = registry.post(format!("{}?mount={digest}&from={source}", uploads("to"))).expect(201);
        let answer = answer.with("Docker-Content-Digest", &digest).with("Content-Length", 0);
        assert_eq!(answer.location(), blob("to", &digest));
        assert!(answer.body().is_empty());
        assert_eq!(registry.get(blob("to", &digest)).expect(200).body(), b"content");
    }
}

/// SPEC E11, E13, E15, U5: no error, but an ordinary upload.
#[test]
fn a_mount_that_cannot_be_is_an_upload() {
    let mut registry = registry();
    let digest = registry.push_blob("source", "content");
    let gone = registry.push_blob("source", "gone");
    registry.delete(blob("source", &gone)).expect(202);
    let image = registry.push_image("source", "v1", orlop_conformance::image::AMD64, "layer");
    let image = image.digest();
    for query in [
        format!("mount={NOWHERE}&from=source"),
        format!("mount={digest}&from=nowhere"),
        format!("mount={gone}&from=source"),
        format!("mount={gone}"),
        format!("mount={NOWHERE}"),
        // Malformed: the prose of the Docker document says so.
        format!("mount={digest}&from=NOT-A-NAME"),
        format!("mount={digest}&from="),
        "mount=sha256:bad&from=source".into(),
        "mount=&from=source".into(),
        "mount=md5:d41d8cd98f00b204e9800998ecf8427e&from=source".into(),
        // A manifest is no blob.
        format!("mount={image}&from=source"),
        // `from` without `mount`.
        "from=source".into(),
    ] {
        let answer = registry.post(format!("{}?{query}", uploads("to")));
        let session = is_session(&answer, "to");
        registry.get(blob("to", &digest)).refused(404, "BLOB_UNKNOWN");
        // The client goes on and pushes what could not be mounted.
        registry.call(put(format!("{session}?digest={}", sha256(&query))).body(query)).expect(201);
    }
}

/// SPEC E12.
#[test]
fn a_mount_that_names_no_source_finds_the_blob_where_that_is_allowed() {
    for (allowed, status) in [(true, 201), (false, 202)] {
        let mut registry = configured(|config| config.mount_from_anywhere = allowed);
        let digest = registry.push_blob("source", "content");
        registry.post(format!("{}?mount={digest}", uploads("to"))).expect(status);
        registry.head(blob("to", &digest)).expect(if allowed { 200 } else { 404 });
    }
}

/// SPEC E16: as clients do that ask first whether the registry takes a whole blob.
#[test]
fn a_digest_without_a_body_opens_a_session() {
    let mut registry = registry();
    let post = post(format!("{}?digest={}", uploads("a"), sha256("content")));
    for call in [post.clone(), post.chunked()] {
        let session = registry.call(call).expect(202).with("Range", "0-0").location().to_owned();
        registry.call(patch(&session).body("content")).expect(202);
        registry.call(put(format!("{session}?digest={}", sha256("content")))).expect(201);
    }
    registry.post(format!("{}?digest={}", uploads("a"), sha256(""))).expect(201);
}

/// SPEC E15.
#[test]
fn a_blob_that_is_there_already_can_be_mounted() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "content");
    for from in ["&from=a", "&from=b", ""] {
        let answer = registry.post(format!("{}?mount={digest}{from}", uploads("a"))).expect(201);
        assert_eq!(answer.location(), blob("a", &digest));
    }
}

/// SPEC D6, U5: source and target hold the blob independently of each other.
#[test]
fn a_mounted_blob_stays_when_the_source_deletes_its_own() {
    let mut registry = registry();
    let digest = registry.push_blob("source", "content");
    registry.post(format!("{}?mount={digest}&from=source", uploads("to"))).expect(201);
    registry.delete(blob("source", &digest)).expect(202);
    registry.advance(std::time::Duration::from_secs(3600));
    registry.gc();
    assert_eq!(registry.get(blob("to", &digest)).expect(200).body(), b"content");
    registry.call(get(blob("source", &digest))).refused(404, "BLOB_UNKNOWN");
}

/// SPEC E7, E9: an operator's limit on blobs holds for every way to push one.
#[test]
fn a_blob_over_the_limit_is_too_large_and_one_at_the_limit_is_not() {
    let mut registry = configured(|config| config.blob_limit = 7);
    let large = post(format!("{}?digest={}", uploads("a"), sha256("content!"))).body("content!");
    registry.call(large.clone()).refused(413, "SIZE_INVALID");
    registry.call(large.chunked()).refused(413, "SIZE_INVALID");
    let session = registry.open("a");
    registry.call(patch(&session).body("content!")).refused(413, "SIZE_INVALID");
    registry.call(patch(&session).body("content!").chunked()).refused(413, "SIZE_INVALID");
    registry.call(patch(&session).body("content!").header("Content-Range", "0-7")).refused(413, "SIZE_INVALID");
    registry.get(&session).expect(204).with("Range", "0-0");
    registry.call(patch(&session).body("conten")).expect(202);
    registry.call(patch(&session).body("t!").chunked()).refused(413, "SIZE_INVALID");
    let finish = put(format!("{session}?digest={}", sha256("content!"))).body("t!");
    registry.call(finish.clone()).refused(413, "SIZE_INVALID");
    registry.call(finish.chunked()).refused(413, "SIZE_INVALID");
    registry.call(put(format!("{session}?digest={}", sha256("content"))).body("t").chunked()).expect(201);
    assert_eq!(registry.memory.objects.len(), 2, "those of the blob: {:?}", registry.memory.objects);
    let mut other = configured(|config| config.blob_limit = 7);
    other.push_blob("a", "content");
    let session = other.open("a");
    other.call(patch(&session).body("content")).expect(202).with("Range", "0-6");
}
