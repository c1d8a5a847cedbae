//! Sections H and I: uploads end, with a blob or without.

use orlop_conformance::image::{sha256, sha512};
use orlop_conformance::system::{Call, InMemory, System, blob, patch, post, put, uploads};
use orlop_core::Step;

use crate::{configured, registry};

/// A registry with a session that has received `01234`.
fn five_bytes() -> (InMemory, String) {
    let mut registry = registry();
    let session = registry.open("a");
    registry.call(patch(&session).body("01234")).expect(202);
    (registry, session)
}

fn finish(session: &str, digest: &str) -> Call {
    put(format!("{session}?digest={digest}"))
}

/// SPEC H1, H2, H8, U20: after chunks, with the last one, or with everything at once.
#[test]
fn a_put_ends_the_upload_with_a_blob_that_can_be_pulled() {
    let (five, ten) = (sha256("01234"), sha256("0123456789"));
    let (_, session) = five_bytes();
    for (call, digest, content) in [
        (finish(&session, &five), &five, "01234"),
        (finish(&session, &five).chunked(), &five, "01234"),
        (finish(&session, &ten).body("56789"), &ten, "0123456789"),
        (finish(&session, &ten).body("56789").chunked(), &ten, "0123456789"),
        (finish(&session, &ten).body("56789").header("Content-Range", "5-9"), &ten, "0123456789"),
        (finish(&session, &ten).body("56789").header("Content-Type", "x/y"), &ten, "0123456789"),
    ] {
        let (mut registry, same) = five_bytes();
        assert_eq!(same, session, "the ids of the reference host repeat");
        let answer = registry.call(call).expect(201).with("Docker-Content-Digest", digest).with("Content-Length", 0);
        assert_eq!(answer.location(), blob("a", digest));
        assert_eq!(registry.get(answer.location()).expect(200).body(), content.as_bytes());
        registry.get(&session).refused(404, "BLOB_UPLOAD_UNKNOWN");
    }
    for call in [|call: Call| call, Call::chunked] {
        let mut registry = crate::registry();
        let session = registry.open("a");
        registry.call(call(finish(&session, &ten).body("0123456789"))).expect(201);
        assert_eq!(registry.get(blob("a", &ten)).expect(200).body(), b"0123456789");
    }
}

/// SPEC H3, B8, U20: the upload has failed, and nothing is stored.
#[test]
fn a_wrong_digest_ends_the_session_without_a_blob() {
    let wrong = sha256("something else");
    for body in ["", "56789"] {
        let (mut registry, session) = five_bytes();
        registry.call(finish(&session, &wrong).body(body)).refused(400, "DIGEST_INVALID");
        registry.get(blob("a", &wrong)).refused(404, "BLOB_UNKNOWN");
        registry.get(blob("a", sha256("01234"))).refused(404, "BLOB_UNKNOWN");
        registry.get(&session).refused(404, "BLOB_UPLOAD_UNKNOWN");
        assert!(registry.memory.records.is_empty(), "{:?}", registry.memory.records);
        assert!(registry.memory.objects.is_empty(), "{:?}", registry.memory.objects);
    }
}

/// SPEC H4, U20: the session waits for a request that can be understood.
#[test]
fn a_missing_or_malformed_digest_can_be_put_right() {
    for query in
        ["", "?digest", "?digest=", "?digest=sha256:bad", "?digest=md5:d41d8cd98f00b204e9800998ecf8427e", "?x=y"]
    {
        let (mut registry, session) = five_bytes();
        registry.call(put(format!("{session}{query}")).body("56789")).refused(400, "DIGEST_INVALID");
        registry.get(&session).expect(204).with("Range", "0-4");
        registry.call(finish(&session, &sha256("01234"))).expect(201);
    }
}

/// SPEC H5, U20.
#[test]
fn a_last_chunk_out_of_place_is_refused_and_the_session_kept() {
    for range in ["4-8", "6-10", "0-4", "bytes 5-9/10", "x"] {
        let (mut registry, session) = five_bytes();
        let digest = sha256("0123456789");
        let call = finish(&session, &digest).body("56789").header("Content-Range", range);
        let answer = registry.call(call).refused(416, "RANGE_INVALID");
        answer.with("Range", "0-4").with("Location", &session);
        registry.get(&session).expect(204).with("Range", "0-4");
        registry.call(finish(&session, &digest).body("56789").header("Content-Range", "5-9")).expect(201);
    }
}

/// SPEC F5, H5: as for any other chunk.
#[test]
fn a_last_chunk_of_another_length_than_announced_is_refused_and_the_session_kept() {
    let (mut registry, session) = five_bytes();
    let digest = sha256("0123456789");
    for range in ["5-8", "5-10"] {
        let call = finish(&session, &digest).body("56789").header("Content-Range", range);
        registry.call(call.clone()).refused(400, "SIZE_INVALID");
        registry.call(call.chunked()).refused(400, "SIZE_INVALID");
    }
    registry.get(&session).expect(204).with("Range", "0-4");
    registry.call(finish(&session, &digest).body("56789")).expect(201);
}

/// SPEC F14, H1: the client meant to end the upload, and may do so again.
#[test]
fn a_put_that_is_cut_off_changes_nothing() {
    let (mut registry, session) = five_bytes();
    let digest = sha256("0123456789");
    let before = registry.memory.objects.clone();
    registry.call(finish(&session, &digest).body("567").length(5)).refused(400, "SIZE_INVALID");
    registry.call(finish(&session, &digest).body("56789").chunked().cut()).refused(400, "SIZE_INVALID");
    assert_eq!(registry.memory.objects, before);
    registry.get(&session).expect(204).with("Range", "0-4");
    registry.call(finish(&session, &digest).body("56789")).expect(201);
}

/// SPEC H6, U20: the first is the one that is verified.
#[test]
fn of_several_digests_the_first_is_verified() {
    let (right, wrong) = (sha256("01234"), sha256("x"));
    let (mut registry, session) = five_bytes();
    registry.call(put(format!("{session}?digest={right}&digest={}", sha512("01234")))).expect(201);
    let (mut registry, session) = five_bytes();
    registry.call(put(format!("{session}?digest={wrong}&digest={right}"))).refused(400, "DIGEST_INVALID");
    registry.get(blob("a", right)).refused(404, "BLOB_UNKNOWN");
}

/// SPEC H7: who did not get the answer may ask again for a day, as long as the blob is there.
#[test]
fn an_upload_that_is_finished_twice_with_one_digest_is_told_so_twice() {
    let (mut registry, session) = five_bytes();
    let digest = sha256("01234");
    let first = registry.call(finish(&session, &digest)).expect(201);
    for again in [finish(&session, &digest), finish(&session, &digest).body("34").header("Content-Range", "3-4")] {
        let again = registry.call(again).expect(201).with("Docker-Content-Digest", &digest);
        assert_eq!(again.location(), first.location());
    }
    registry.call(finish(&session, &sha256("x"))).refused(404, "BLOB_UPLOAD_UNKNOWN");
    registry.call(finish(&session, "sha256:bad")).refused(400, "DIGEST_INVALID");
    registry.call(finish(&session.replace("/a/", "/b/"), &digest)).refused(404, "BLOB_UPLOAD_UNKNOWN");
    // Nor is it told of other blobs, though they are there.
    registry.push_blob("b", "01234");
    registry.call(finish(&session.replace("/a/", "/b/"), &digest)).refused(404, "BLOB_UPLOAD_UNKNOWN");
    let other = registry.push_blob("a", "other");
    registry.call(finish(&session, &other)).refused(404, "BLOB_UPLOAD_UNKNOWN");
    registry.delete(blob("a", &digest)).expect(202);
    registry.call(finish(&session, &digest)).refused(404, "BLOB_UPLOAD_UNKNOWN");
}

/// SPEC H7.
#[test]
fn a_finished_upload_is_forgotten_after_a_day() {
    let (mut registry, session) = five_bytes();
    let digest = sha256("01234");
    registry.call(finish(&session, &digest)).expect(201);
    let day = std::time::Duration::from_secs(24 * 3600);
    registry.advance(day);
    registry.gc();
    registry.call(finish(&session, &digest)).expect(201);
    registry.post(format!("{}?mount={digest}", uploads("a"))).expect(201);
    registry.advance(std::time::Duration::from_millis(1));
    registry.gc();
    registry.call(finish(&session, &digest)).refused(404, "BLOB_UPLOAD_UNKNOWN");
}

/// SPEC H9, U27: the bytes are shared, and stored once.
#[test]
fn a_blob_can_be_pushed_again() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "content");
    for repository in ["a", "b"] {
        registry.push_blob(repository, "content");
        let session = registry.open(repository);
        registry.call(patch(&session).body("content")).expect(202);
        registry.call(finish(&session, &digest)).expect(201);
        assert_eq!(registry.get(blob(repository, &digest)).expect(200).body(), b"content");
    }
    assert_eq!(registry.memory.objects.len(), 1);
    let late = registry.open("a");
    registry.call(finish(&late, &sha512("content")).body("content")).expect(201);
    let late = registry.open("b");
    registry.call(finish(&late, &sha512("content")).body("content")).expect(201);
    assert_eq!(registry.memory.objects.len(), 2, "one content for each name");
}

/// SPEC H9: two sessions on the same digest both succeed, one after the other.
#[test]
fn two_sessions_with_the_same_bytes_both_end_well() {
    let mut registry = registry();
    let sessions = [registry.open("a"), registry.open("a")];
    for session in &sessions {
        registry.call(patch(session).body("content")).expect(202);
    }
    for session in &sessions {
        registry.call(finish(session, &sha256("content"))).expect(201);
    }
}

/// SPEC H1: many small chunks are joined, to objects that were not there: bytes at rest never change.
#[test]
fn small_chunks_are_joined_to_new_objects() {
    let mut registry = configured(|config| config.blob_objects = 2);
    let session = registry.open("a");
    for chunk in ["0", "1", "2"] {
        registry.call(patch(&session).body(chunk)).expect(202);
    }
    let digest = sha256("0123");
    let last = finish(&session, &digest).body("3");
    let ambient = registry.memory.ambient();
    let mut step = registry.registry.call(last.request.clone(), ambient);
    let mut joins = 0;
    while !matches!(step, Step::Answered(..) | Step::Respond(_)) {
        if let Step::Join(ask) = &step {
            assert!(!registry.memory.objects.contains_key(&ask.effect.into));
            joins += 1;
        }
        step = registry.memory.perform(step, &last.body);
    }
    registry.memory.run(step, &last.body);
    assert_eq!((joins, registry.memory.objects.len()), (1, 1));
    assert_eq!(registry.get(blob("a", &digest)).expect(200).body(), b"0123");
}

/// SPEC I1, U19: the bytes go at once. A 204 has no Content-Length (RFC 9110, 8.6).
#[test]
fn a_cancelled_upload_is_gone_with_its_bytes() {
    let (mut registry, session) = five_bytes();
    registry.delete(&session).expect(204);
    assert!(registry.memory.records.is_empty() && registry.memory.objects.is_empty());
    registry.delete(&session).refused(404, "BLOB_UPLOAD_UNKNOWN");
    registry.call(patch(&session).body("5")).refused(404, "BLOB_UPLOAD_UNKNOWN");
}

/// SPEC I1: skopeo cancels what a failed mount opened.
#[test]
fn a_session_that_a_mount_opened_can_be_cancelled() {
    let mut registry = registry();
    let session = registry.call(post(format!("{}?mount={}&from=b", uploads("a"), sha256("x")))).expect(202).location();
    registry.delete(session).expect(204);
}

/// SPEC D4, I1: giving up an upload deletes nothing that was pushed.
#[test]
fn an_upload_can_be_cancelled_where_nothing_can_be_deleted() {
    let mut registry = crate::configured(|config| config.allow_delete = false);
    let session = registry.open("a");
    registry.delete(session).expect(204);
}
