//! Calls that meet: each is stopped where it is about to commit, and another runs to its end in between
//! (SPEC U27, U28). The explorer tries every order; these are the ones with a story.

use orlop_conformance::image::{AMD64, ARM64, Manifest, sha256, sha512};
use orlop_conformance::system::{
    Answer, Call, InMemory, System, blob, delete, get, manifest, patch, post, put, referrers, uploads,
};
use orlop_core::effect::{Committed, Step};
use orlop_core::memory::RequestBody;
use orlop_core::registry::Report;

use crate::registry;

fn push(reference: &str, image: &Manifest) -> Call {
    put(manifest("a", reference)).header("Content-Type", image.media_type()).body(image.bytes())
}

/// `first` is stopped before its commit until `second` is over.
#[track_caller]
fn race(registry: &mut InMemory, first: Call, second: Call) -> (Answer, Answer) {
    let first = registry.begin(first).until("Commit", registry);
    let second = registry.call(second);
    (first.end(registry), second)
}

/// SPEC F2, U18: exactly one wins the offset, and the loser has changed nothing.
#[test]
fn of_two_chunks_for_one_place_exactly_one_wins() {
    for ranged in [true, false] {
        let mut registry = registry();
        let session = registry.open("a");
        let chunk = |bytes: &'static str| match ranged {
            true => patch(&session).header("Content-Range", format!("0-{}", bytes.len() - 1)).body(bytes),
            false => patch(&session).body(bytes),
        };
        let (loser, winner) = race(&mut registry, chunk("loser"), chunk("winner!"));
        winner.expect(202).with("Range", "0-6");
        loser.refused(416, "RANGE_INVALID").with("Range", "0-6").with("Location", &session);
        assert_eq!(registry.memory.objects.len(), 1, "the bytes of the loser are gone");
        registry.call(put(format!("{session}?digest={}", sha256("winner!")))).expect(201);
    }
}

/// SPEC F2: the same bytes for the same place, as a client that lost its connection sends them.
#[test]
fn a_chunk_sent_twice_at_once_counts_once() {
    let mut registry = registry();
    let session = registry.open("a");
    let chunk = patch(&session).header("Content-Range", "0-4").body("01234");
    let (second, first) = race(&mut registry, chunk.clone(), chunk);
    first.expect(202).with("Range", "0-4");
    second.refused(416, "RANGE_INVALID").with("Range", "0-4");
    registry.call(put(format!("{session}?digest={}", sha256("01234")))).expect(201);
}

/// SPEC H7: two clients end one session in the same way; there is one blob, and both are told so.
#[test]
fn two_that_end_a_session_alike_make_one_blob() {
    for late in [false, true] {
        let mut registry = registry();
        let session = registry.open("a");
        let digest = if late { sha512("content") } else { sha256("content") };
        let finish = put(format!("{session}?digest={digest}")).body("content");
        let (loser, winner) = race(&mut registry, finish.clone(), finish);
        winner.expect(201);
        loser.expect(201);
        assert_eq!(registry.get(blob("a", &digest)).expect(200).body(), b"content");
        assert_eq!(registry.memory.objects.len(), 1, "{:?}", registry.memory.objects);
    }
}

/// SPEC F2, H5: a chunk that is won meanwhile is not lost to the end of the session.
#[test]
fn a_session_that_went_on_does_not_end_without_the_chunk() {
    let mut registry = registry();
    let session = registry.open("a");
    let finish = put(format!("{session}?digest={}", sha256("")));
    let (end, chunk) = race(&mut registry, finish, patch(&session).body("chunk"));
    chunk.expect(202);
    end.refused(416, "RANGE_INVALID").with("Range", "0-4");
    registry.call(put(format!("{session}?digest={}", sha256("chunk")))).expect(201);
}

/// SPEC H3, F2: a wrong digest ends the session, but not one that has gone on meanwhile: its bytes are others.
#[test]
fn a_wrong_digest_does_not_end_a_session_that_went_on() {
    let mut registry = registry();
    let session = registry.open("a");
    let finish = put(format!("{session}?digest={}", sha256("x"))).body("y");
    let (end, chunk) = race(&mut registry, finish, patch(&session).body("chunk"));
    chunk.expect(202);
    end.refused(416, "RANGE_INVALID").with("Range", "0-4");
    registry.get(&session).expect(204).with("Range", "0-4");
    assert_eq!(registry.memory.objects.len(), 1);
}

/// SPEC I1.
#[test]
fn a_chunk_of_a_session_that_is_cancelled_meanwhile_is_refused() {
    let mut registry = registry();
    let session = registry.open("a");
    let (chunk, cancel) = race(&mut registry, patch(&session).body("chunk"), delete(&session));
    cancel.expect(204);
    chunk.refused(404, "BLOB_UPLOAD_UNKNOWN");
    assert!(registry.memory.records.is_empty() && registry.memory.objects.is_empty());
}

/// SPEC H9, U27: the bytes are stored once, and both are told the truth.
#[test]
fn two_that_push_the_same_blob_both_succeed() {
    let mut registry = registry();
    let digest = sha256("content");
    let push = |repository: &str| post(format!("{}?digest={digest}", uploads(repository))).body("content");
    let (first, second) = race(&mut registry, push("a"), push("b"));
    first.expect(201);
    second.expect(201);
    for repository in ["a", "b"] {
        assert_eq!(registry.get(blob(repository, &digest)).expect(200).body(), b"content");
    }
    assert_eq!(registry.memory.objects.len(), 1, "{:?}", registry.memory.objects);
}

/// SPEC K16, U27: the later commit wins, and both manifests are there.
#[test]
fn two_that_push_to_one_tag_both_succeed_and_no_update_is_lost() {
    let mut registry = registry();
    let (amd, arm) = (Manifest::image(AMD64, "amd"), Manifest::image(ARM64, "arm"));
    for image in [&amd, &arm] {
        registry.push("a", image.digest(), image);
    }
    let (first, second) = race(&mut registry, push("v1", &amd), push("v1", &arm));
    first.expect(201);
    second.expect(201);
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), amd.bytes());
    let lists = get(manifest("a", "v1")).header("Accept", orlop_conformance::image::OCI_INDEX);
    let list = registry.call(lists).expect(200).json();
    assert_eq!(list["manifests"].as_array().map(Vec::len), Some(2), "the list has both: {list}");
}

/// SPEC J8, K16: of two who both saw the same tag, one must look again.
#[test]
fn of_two_conditional_pushes_only_one_succeeds() {
    let mut registry = registry();
    let images = ["old", "first", "second"].map(|layer| Manifest::image(AMD64, layer));
    for image in &images {
        registry.push("a", image.digest(), image);
    }
    registry.push("a", "v1", &images[0]);
    let etag = format!("\"{}\"", images[0].digest());
    let conditional = |image: &Manifest| push("v1", image).header("If-Match", &etag);
    let (first, second) = race(&mut registry, conditional(&images[1]), conditional(&images[2]));
    second.expect(201);
    first.refused(412, "DENIED");
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), images[2].bytes());
}

/// SPEC M3, U27: no referrer is lost to another.
#[test]
fn two_referrers_pushed_at_once_are_both_listed() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let [first, second] = ["1", "2"].map(|content| Manifest::artifact("x/y", content).about(&image));
    for referrer in [&first, &second] {
        referrer.blobs().iter().for_each(|bytes| drop(registry.push_blob("a", bytes.clone())));
    }
    let (one, other) = race(&mut registry, push(&first.digest(), &first), push(&second.digest(), &second));
    one.expect(201);
    other.expect(201);
    let listed = registry.get(referrers("a", image.digest())).expect(200).json();
    assert_eq!(listed["manifests"].as_array().map(Vec::len), Some(2));
}

/// SPEC K9, U27: an accepted manifest has what it needs.
#[test]
fn a_manifest_whose_blob_is_deleted_meanwhile_is_refused() {
    let mut registry = registry();
    let image = registry.push_image("a", "v0", AMD64, "layer");
    let (pushed, deleted) = race(&mut registry, push("v1", &image), delete(blob("a", sha256("layer"))));
    deleted.expect(202);
    pushed.refused(400, "MANIFEST_BLOB_UNKNOWN");
    registry.get(manifest("a", "v1")).refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC K9, U27: an accepted index has its children.
#[test]
fn an_index_whose_child_is_deleted_meanwhile_is_refused() {
    let mut registry = registry();
    let image = registry.push_image("a", "v0", AMD64, "layer");
    let index = Manifest::index(&[&image]);
    let (pushed, deleted) = race(&mut registry, push("v1", &index), delete(manifest("a", image.digest())));
    deleted.expect(202);
    pushed.refused(400, "MANIFEST_BLOB_UNKNOWN");
}

/// SPEC L3, U27: whichever comes last, a tag never names what is not there.
#[test]
fn a_manifest_that_is_tagged_while_it_is_deleted_is_deleted_with_the_tag() {
    let mut registry = registry();
    let image = registry.push_image("a", "v0", AMD64, "layer");
    let (deleted, pushed) = race(&mut registry, delete(manifest("a", image.digest())), push("v1", &image));
    pushed.expect(201);
    deleted.expect(202);
    for reference in ["v0", "v1", &image.digest()] {
        registry.get(manifest("a", reference)).refused(404, "MANIFEST_UNKNOWN");
    }
    assert!(registry.tags("a").is_empty());
    let image = registry.push_image("a", "v0", AMD64, "layer");
    let (pushed, deleted) = race(&mut registry, push("v1", &image), delete(manifest("a", image.digest())));
    deleted.expect(202);
    pushed.expect(201);
    assert_eq!(registry.tags("a"), ["v1"]);
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), image.bytes());
}

/// SPEC L1, U27.
#[test]
fn of_two_that_delete_one_tag_one_is_told_that_it_is_gone() {
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "layer");
    let (second, first) = race(&mut registry, delete(manifest("a", "v1")), delete(manifest("a", "v1")));
    first.expect(202);
    second.refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC D2, U27.
#[test]
fn of_two_that_delete_one_blob_one_is_told_that_it_is_gone() {
    for needed in [false, true] {
        let mut registry = registry();
        let digest = registry.push_blob("a", "content");
        if needed {
            registry.push_image("a", "v1", AMD64, "content");
        }
        let (second, first) = race(&mut registry, delete(blob("a", &digest)), delete(blob("a", &digest)));
        first.expect(202);
        second.refused(404, "BLOB_UNKNOWN");
    }
}

/// SPEC E11, U5: what is deleted at the source meanwhile cannot be mounted any more.
#[test]
fn a_mount_from_a_source_that_deletes_meanwhile_is_an_upload() {
    for from in ["&from=source", ""] {
        let mut registry = registry();
        let digest = registry.push_blob("source", "content");
        let mount = post(format!("{}?mount={digest}{from}", uploads("a")));
        let (mounted, deleted) = race(&mut registry, mount, delete(blob("source", &digest)));
        deleted.expect(202);
        mounted.expect(202);
        registry.get(blob("a", &digest)).refused(404, "BLOB_UNKNOWN");
    }
}

/// SPEC U28, L9: a garbage collection that has decided is held to it by its commit, not by what it has seen.
#[test]
fn a_garbage_collection_takes_nothing_that_is_used_again_meanwhile() {
    const MONTH: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);
    let image = Manifest::image(AMD64, "layer");
    let mut registry = registry();
    for bytes in image.blobs() {
        registry.push_blob("a", bytes.clone());
    }
    registry.advance(MONTH);
    // The manifest comes when garbage collection is about to take its blobs.
    let report = gc_beside(&mut registry, push("v1", &image));
    assert_eq!((report.links_removed, report.blobs_removed), (0, 0));
    for bytes in image.blobs() {
        assert_eq!(registry.get(blob("a", sha256(bytes))).expect(200).body(), bytes);
    }
}

/// SPEC U28, H9: bytes go after the record that points to them, or not at all.
#[test]
fn a_blob_that_is_pushed_while_garbage_collection_takes_it_stays() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "content");
    registry.delete(blob("a", &digest)).expect(202);
    let again = post(format!("{}?digest={digest}", uploads("b"))).body("content");
    assert_eq!(gc_beside(&mut registry, again).blobs_removed, 0);
    assert_eq!(registry.get(blob("b", &digest)).expect(200).body(), b"content");
}

/// SPEC U28, N1: a repository that a garbage collection removes meanwhile is made anew by the push.
#[test]
fn a_push_to_a_repository_that_is_collected_meanwhile_makes_it_anew() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "content");
    registry.delete(blob("a", &digest)).expect(202);
    let pushing = registry.begin(push("v1", &Manifest::index(&[]))).until("Commit", &mut registry);
    registry.advance(std::time::Duration::from_secs(30 * 24 * 3600));
    assert_eq!(registry.gc().repositories_removed, 1);
    pushing.end(&mut registry).expect(201);
    assert_eq!(registry.tags("a"), ["v1"]);
}

/// A garbage collection beside which a call runs from beginning to end before its first commit.
#[track_caller]
fn gc_beside(registry: &mut InMemory, call: Call) -> Report {
    let ambient = registry.memory.ambient();
    let mut step = registry.registry.gc(ambient);
    while step.name() != "Commit" {
        assert_ne!(step.name(), "Respond", "garbage collection changes nothing");
        step = registry.memory.perform(step, &RequestBody::default());
    }
    registry.call(call).expect(201);
    registry.memory.run(step, &RequestBody::default())
}

/// SPEC P3, P6, U30: who never gets through is told to come again, and what it sent has changed nothing.
#[test]
fn a_call_that_always_meets_others_is_told_to_come_again() {
    let image = Manifest::image(AMD64, "layer");
    let mut registry = registry();
    registry.push("a", "v1", &image);
    let session = registry.open("a");
    let digest = image.digest();
    // More tags than one commit takes away.
    let popular = Manifest::index(&[]);
    for number in 0..300 {
        registry.push("a", format!("popular-{number}"), &popular);
    }
    for call in [
        push("v2", &image),
        delete(manifest("a", "v1")),
        delete(manifest("a", &digest)),
        delete(manifest("a", popular.digest())),
        post(format!("{}?digest={}", uploads("a"), sha256("x"))).body("x"),
        post(format!("{}?mount={}&from=a", uploads("b"), sha256("layer"))),
        delete(&session),
    ] {
        let before = registry.memory.records.clone();
        let ambient = registry.memory.ambient();
        let mut step = registry.registry.call(call.request.clone(), ambient);
        let response = loop {
            step = match step {
                Step::Respond(response) | Step::Answered(response, _) => break response,
                Step::Commit(ask) => ask.answer(Ok(Committed::Conflict)),
                step => registry.memory.perform(step, &call.body),
            };
        };
        assert_eq!(response.status, 503, "{call}");
        assert_eq!(response.header("Retry-After"), Some("1"), "{call}");
        assert_eq!(response.header("Content-Type"), Some("application/json"), "{call}");
        assert_eq!(registry.memory.records, before, "{call}");
        registry.call(call);
    }
}
