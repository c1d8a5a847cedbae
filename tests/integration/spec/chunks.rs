//! Sections F and G: chunks of an upload, and its status.

use orlop_conformance::image::sha256;
use orlop_conformance::system::{Call, InMemory, System, blob, delete, get, head, patch, put};
use orlop_core::Step;
use orlop_core::memory::RequestBody;

use crate::registry;

/// A chunk that says where it belongs.
fn chunk(session: &str, range: &str, bytes: &str) -> Call {
    patch(session).header("Content-Range", range).body(bytes.to_owned())
}

/// A registry with a session that has received `01234`.
fn five_bytes() -> (InMemory, String) {
    let mut registry = registry();
    let session = registry.open("a");
    registry.call(chunk(&session, "0-4", "01234")).expect(202);
    (registry, session)
}

/// The session stands after these bytes, and they are what was sent: SPEC F2, U18.
#[track_caller]
fn stands(registry: &mut InMemory, session: &str, bytes: &str) {
    let range = format!("0-{}", bytes.len().saturating_sub(1));
    registry.get(session).expect(204).with("Range", range).with("Location", session);
    let digest = sha256(bytes);
    registry.call(put(format!("{session}?digest={digest}"))).expect(201);
    assert_eq!(registry.get(blob("a", digest)).expect(200).body(), bytes.as_bytes());
}

/// SPEC F1, F8, G1, G3, U18: `Range` counts the bytes received and has no unit.
#[test]
fn chunks_in_order_make_the_blob() {
    let mut registry = registry();
    let mut session = registry.open("a");
    for (range, bytes, received) in [("0-4", "01234", "0-4"), ("5-5", "5", "0-5"), ("6-9", "6789", "0-9")] {
        let answer = registry.call(chunk(&session, range, bytes)).expect(202);
        let answer = answer.with("Range", received).with("Content-Length", 0);
        assert!(session.ends_with(answer.header("Docker-Upload-UUID").expect("an id")));
        session = answer.location();
        for call in [get(&session), head(&session)] {
            let answer = registry.call(call).expect(204).with("Range", received).with("Location", &session);
            assert!(answer.header("Docker-Upload-UUID").is_some());
        }
    }
    stands(&mut registry, &session, "0123456789");
}

/// SPEC F2, F3, U18: gap, overlap, repetition; the answer says where the session stands.
#[test]
fn a_chunk_out_of_place_is_refused_and_changes_nothing() {
    for (range, bytes) in [("6-6", "6"), ("4-5", "45"), ("0-4", "01234"), ("0-9", "0123456789"), ("100-101", "xx")] {
        let (mut registry, session) = five_bytes();
        let before = registry.memory.clone();
        let answer = registry.call(chunk(&session, range, bytes)).refused(416, "RANGE_INVALID");
        let answer = answer.with("Range", "0-4").with("Location", &session);
        assert!(answer.header("Docker-Upload-UUID").is_some());
        assert_eq!(registry.memory.records, before.records);
        assert_eq!(registry.memory.objects, before.objects);
        registry.call(chunk(&session, "5-5", "5")).expect(202).with("Range", "0-5");
        stands(&mut registry, &session, "012345");
    }
}

/// SPEC F1: the first chunk begins at 0.
#[test]
fn the_first_chunk_begins_at_the_beginning() {
    let mut registry = registry();
    let session = registry.open("a");
    registry.call(chunk(&session, "1-5", "12345")).refused(416, "RANGE_INVALID").with("Range", "0-0");
    stands(&mut registry, &session, "");
}

/// SPEC F4, U18.
#[test]
fn a_content_range_that_cannot_be_read_is_in_no_place() {
    for range in [
        "",
        "-",
        "5",
        "5-",
        "-5",
        "6-5",
        "bytes 5-5/6",
        "bytes=5-5",
        "5-5/6",
        "5-5 ",
        " 5-5",
        "+5-5",
        "5-+5",
        "a-b",
        "0x5-5",
        "5-5,6-6",
        "18446744073709551616-18446744073709551617",
    ] {
        let (mut registry, session) = five_bytes();
        registry.call(chunk(&session, range, "5")).refused(416, "RANGE_INVALID").with("Range", "0-4");
        stands(&mut registry, &session, "01234");
    }
}

/// SPEC F5, U18: what the header, the framing and the body say must agree.
#[test]
fn a_chunk_of_another_length_than_announced_is_refused_and_changes_nothing() {
    let check = |call: fn(&str) -> Call| {
        let (mut registry, session) = five_bytes();
        let before = registry.memory.clone();
        registry.call(call(&session)).refused(400, "SIZE_INVALID");
        assert_eq!(registry.memory.records, before.records);
        assert_eq!(registry.memory.objects, before.objects);
        stands(&mut registry, &session, "01234");
    };
    check(|session| chunk(session, "5-9", "5678"));
    check(|session| chunk(session, "5-6", "5678"));
    check(|session| chunk(session, "5-5", ""));
    check(|session| chunk(session, "5-9", "5678").chunked());
    check(|session| chunk(session, "5-6", "5678").chunked());
    check(|session| chunk(session, "5-5", "").chunked());
    check(|session| chunk(session, "5-18446744073709551614", "5678"));
}

/// SPEC F6, U18: without Content-Length the place is checked all the same.
#[test]
fn content_range_counts_whether_or_not_the_length_is_told() {
    let (mut registry, session) = five_bytes();
    registry.call(chunk(&session, "0-4", "01234").chunked()).refused(416, "RANGE_INVALID");
    registry.call(chunk(&session, "5-9", "56789").chunked()).expect(202).with("Range", "0-9");
    stands(&mut registry, &session, "0123456789");
}

/// SPEC F6, F7, F12.
#[test]
fn streamed_bodies_are_appended() {
    let mut registry = registry();
    let session = registry.open("a");
    registry.call(patch(&session).body("012")).expect(202).with("Range", "0-2");
    registry.call(patch(&session).body("345").chunked()).expect(202).with("Range", "0-5");
    let odd = patch(&session).body("67").header("Content-Type", "application/json");
    registry.call(odd).expect(202).with("Range", "0-7");
    registry.call(chunk(&session, "8-9", "89")).expect(202).with("Range", "0-9");
    stands(&mut registry, &session, "0123456789");
}

/// SPEC F13, G2: Docker's client wants the second number no smaller than the first.
#[test]
fn an_empty_chunk_changes_nothing() {
    let mut registry = registry();
    let session = registry.open("a");
    registry.get(&session).expect(204).with("Range", "0-0");
    registry.call(patch(&session)).expect(202).with("Range", "0-0");
    registry.call(patch(&session).chunked()).expect(202).with("Range", "0-0");
    registry.call(patch(&session).body("0")).expect(202).with("Range", "0-0");
    registry.call(patch(&session)).expect(202).with("Range", "0-0");
    stands(&mut registry, &session, "0");
}

/// SPEC F9, U18: there is no minimum size.
#[test]
fn many_tiny_chunks_make_a_blob() {
    let mut registry = registry();
    let session = registry.open("a");
    let bytes: String = (0..300).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    for (i, byte) in bytes.char_indices() {
        registry.call(chunk(&session, &format!("{i}-{i}"), &byte.to_string())).expect(202);
    }
    stands(&mut registry, &session, &bytes);
}

/// SPEC F8: the suite asks for the status at the very URL of the refused request.
#[test]
fn the_status_can_be_had_at_every_url_the_session_was_used_by() {
    let (mut registry, session) = five_bytes();
    registry.get(format!("{session}?digest={}&_state=x", sha256(""))).expect(204).with("Range", "0-4");
}

/// SPEC F10, G3, H7, I1, U19.
#[test]
fn a_session_that_is_over_is_unknown() {
    let over = |registry: &mut InMemory, session: &str| {
        for call in [get(session), chunk(session, "5-5", "5"), patch(session).body("5"), delete(session)] {
            registry.call(call).refused(404, "BLOB_UPLOAD_UNKNOWN");
        }
        let finish = put(format!("{session}?digest={}", sha256("other")));
        registry.call(finish).refused(404, "BLOB_UPLOAD_UNKNOWN");
        registry.head(session).expect(404);
    };
    let (mut registry, session) = five_bytes();
    registry.delete(&session).expect(204);
    over(&mut registry, &session);
    let (mut registry, session) = five_bytes();
    registry.call(put(format!("{session}?digest={}", sha256("01234")))).expect(201);
    over(&mut registry, &session);
    let (mut registry, session) = five_bytes();
    registry.advance(registry_lifetime() * 2);
    registry.gc();
    over(&mut registry, &session);
}

fn registry_lifetime() -> std::time::Duration {
    orlop_core::Config::default().upload_lifetime
}

/// SPEC F11, U4, U19.
#[test]
fn a_session_belongs_to_its_repository() {
    let (mut registry, session) = five_bytes();
    let foreign = session.replace("/v2/a/", "/v2/b/");
    for call in [get(&foreign), chunk(&foreign, "5-5", "5"), patch(&foreign).body("5"), delete(&foreign)] {
        registry.call(call).refused(404, "BLOB_UPLOAD_UNKNOWN");
    }
    let finish = put(format!("{foreign}?digest={}", sha256("01234")));
    registry.call(finish).refused(404, "BLOB_UPLOAD_UNKNOWN");
    stands(&mut registry, &session, "01234");
}

/// SPEC F14, U18: what came is kept, whether or not it was announced how much would.
#[test]
fn a_chunk_that_is_cut_off_keeps_what_came() {
    let cuts: [fn(&str) -> Call; 4] = [
        |session| patch(session).body("567").length(100),
        |session| patch(session).body("567").chunked().cut(),
        |session| chunk(session, "5-9", "567").length(5),
        |session| chunk(session, "5-9", "567").chunked().cut(),
    ];
    for cut in cuts {
        let (mut registry, session) = five_bytes();
        registry.call(cut(&session)).refused(400, "SIZE_INVALID");
        registry.get(&session).expect(204).with("Range", "0-7");
        registry.call(chunk(&session, "8-9", "89")).expect(202).with("Range", "0-9");
        stands(&mut registry, &session, "0123456789");
    }
}

/// SPEC F14.
#[test]
fn a_chunk_that_is_cut_off_before_its_first_byte_changes_nothing() {
    let (mut registry, session) = five_bytes();
    registry.call(patch(&session).chunked().cut()).refused(400, "SIZE_INVALID");
    stands(&mut registry, &session, "01234");
}

/// SPEC F14, U29: nothing but the storage remembers a session.
#[test]
fn a_session_survives_a_restart() {
    let (registry, session) = five_bytes();
    let mut registry = registry.restarted(orlop_core::Config::default());
    registry.call(chunk(&session, "5-9", "56789")).expect(202).with("Range", "0-9");
    stands(&mut registry, &session, "0123456789");
}

/// An object store removes a thousand at once, and a disk is asked once for as many.
#[test]
fn the_objects_of_many_chunks_are_erased_in_batches() {
    let mut registry = crate::configured(|config| config.small_object = 0);
    let session = registry.open("team/app");
    for _ in 0..2001 {
        registry.call(patch(&session).body("x")).expect(202);
    }
    let ambient = registry.memory.ambient();
    let Call { request, .. } = delete(&session);
    let mut step = registry.registry.call(request, ambient);
    while !matches!(step, Step::Answered(..)) {
        assert_ne!(step.name(), "Erase", "the client does not wait for it");
        step = registry.memory.perform(step, &RequestBody::default());
    }
    let Step::Answered(_, rest) = step else { panic!("it stands at its answer") };
    let mut rest = rest.begin();
    let mut batches = Vec::new();
    while let Step::Erase(ask) = rest {
        batches.push(ask.effect.objects.len());
        rest = registry.memory.perform(Step::Erase(ask), &RequestBody::default());
    }
    assert_eq!(batches, [1000, 1000, 1]);
    assert!(registry.memory.objects.is_empty());
}

/// A version of Orlop with another library for hashes has left the session: its bytes are read again.
#[test]
fn a_session_whose_hash_has_another_form_goes_on_and_loses_nothing() {
    for (first, rest) in [("he", "llo"), ("a first chunk that is an object", " and more")] {
        let mut registry = crate::configured(|config| config.small_object = 4);
        let session = registry.open("team/app");
        registry.call(patch(&session).body(first)).expect(202);
        of_another_form(&mut registry);
        let range = format!("0-{}", first.len() - 1);
        assert_eq!(registry.get(&session).expect(204).header("Range"), Some(range.as_str()));
        registry.call(patch(&session).body(rest)).expect(202);
        of_another_form(&mut registry);
        let whole = format!("{first}{rest}");
        registry.call(put(format!("{session}?digest={}", sha256(whole.as_bytes())))).expect(201);
        assert_eq!(registry.get(blob("team/app", sha256(whole.as_bytes()))).expect(200).body(), whole.as_bytes());
    }
}

/// One whose bytes are gone as well is told of, and not made into something else.
#[test]
fn a_session_whose_hash_has_another_form_and_whose_bytes_are_gone_is_a_fault() {
    let mut registry = crate::configured(|config| config.small_object = 0);
    let session = registry.open("team/app");
    registry.call(patch(&session).body("hello")).expect(202);
    of_another_form(&mut registry);
    let mut shorter = registry.clone();
    registry.memory.objects.clear();
    registry.call(patch(&session).body("more")).expect(500);
    assert_eq!(registry.get(&session).expect(204).header("Range"), Some("0-4"));
    shorter.memory.objects.values_mut().for_each(|(bytes, _)| *bytes = "hell".into());
    shorter.call(patch(&session).body("more")).expect(500);
}

/// Nor is it a fault when another call has ended the session meanwhile.
#[test]
fn a_session_that_ends_while_its_bytes_are_read_again_is_unknown() {
    let mut registry = crate::configured(|config| config.small_object = 0);
    let session = registry.open("team/app");
    registry.call(patch(&session).body("hello")).expect(202);
    of_another_form(&mut registry);
    let reading = registry.begin(patch(&session).body("more")).until("Measure", &mut registry);
    registry.delete(&session).expect(204);
    reading.end(&mut registry).refused(404, "BLOB_UPLOAD_UNKNOWN");
}

/// Gives the hash of the only session a form that this version does not know.
fn of_another_form(registry: &mut InMemory) {
    let is_session = |key: &orlop_core::keys::Key| key.as_str().starts_with("upload/");
    let (_, record) = registry.memory.records.iter_mut().find(|(key, _)| is_session(key)).expect("a session");
    let text = String::from_utf8_lossy(record).replace("sha256:1:", "sha256:2:0000");
    assert!(text.contains("sha256:2:"), "{text}");
    *record = text.into();
}

/// SPEC F9: an upload has a bounded number of chunks, and what it has can still be finished.
#[test]
fn an_upload_has_a_bounded_number_of_chunks() {
    let mut registry = registry();
    let session = registry.open("a");
    registry.call(patch(&session).body("content")).expect(202);
    let (key, record) = registry.memory.records.iter().find(|(key, _)| key.as_str().starts_with("upload/")).unwrap();
    let full = String::from_utf8_lossy(record).replace(r#""chunks":1"#, r#""chunks":65536"#);
    registry.memory.records.insert(key.clone(), full.into());
    registry.call(patch(&session).body("more")).refused(413, "SIZE_INVALID");
    registry.get(&session).expect(204).with("Range", "0-6");
    registry.call(put(format!("{session}?digest={}", sha256("content")))).expect(201);
}
