//! Objects stay for a while after the record that named them is gone: records that are restored to an earlier moment find
//! their bytes (SPEC U33).

use std::collections::BTreeMap;
use std::time::Duration;

use orlop_conformance::image::{AMD64, sha256};
use orlop_conformance::system::{InMemory, System, blob, delete, manifest, patch, put};
use orlop_core::effect::Value;
use orlop_core::keys::Key;
use orlop_core::object::ObjectId;
use orlop_core::record::ReleasedRecord;
use orlop_core::registry::Report;
use orlop_core::{Config, Timestamp};

use crate::configured;

const DAY: Duration = Duration::from_secs(24 * 3600);
const LEAST: Duration = Duration::from_millis(1);

/// Longer than everything else is kept for.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

fn keeping() -> InMemory {
    configured(|config| {
        config.keep_erased = KEPT;
        config.blob_objects = 2;
    })
}

/// The records of an earlier moment with the objects of now.
fn restored(registry: &InMemory, before: &BTreeMap<Key, Value>) -> InMemory {
    let mut memory = registry.memory.clone();
    memory.records.clone_from(before);
    InMemory { registry: registry.registry.clone(), memory }
}

fn released(registry: &InMemory) -> Vec<(String, ReleasedRecord)> {
    let records = registry.memory.records.iter();
    let records = records.filter_map(|(key, value)| Some((key.as_str().strip_prefix("released/")?, value)));
    let record = |value: &Value| serde_json::from_slice(value).expect("a record is JSON");
    records.map(|(object, value)| (object.to_owned(), record(value))).collect()
}

/// U33: however a blob came to be no more.
#[test]
fn a_blob_is_pulled_from_restored_records_while_its_objects_are_kept() {
    let mut registry = keeping();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let before = registry.memory.records.clone();
    registry.delete(manifest("a", image.digest())).expect(202);
    registry.advance(DAY + LEAST);
    registry.gc();
    let gone = registry.memory.now;
    assert!(!registry.memory.records.keys().any(|key| key.as_str().starts_with("blob/")));
    registry.advance(KEPT - LEAST);
    let report = registry.gc();
    let bytes = image.blobs().iter().map(|blob| blob.len() as u64).sum();
    assert_eq!(report, Report { objects_kept: 2, bytes_kept: bytes, ..Report::default() });
    let mut restored = restored(&registry, &before);
    assert_eq!(restored.get(manifest("a", "v1")).expect(200).body(), image.bytes());
    for bytes in image.blobs() {
        assert_eq!(restored.get(blob("a", sha256(bytes))).expect(200).body(), bytes);
    }
    registry.advance(LEAST);
    assert_eq!(registry.memory.now.since(gone), KEPT);
    let erased = Report { objects_erased: 2, bytes_freed: bytes, ..Report::default() };
    assert_eq!(registry.gc(), erased);
    assert_eq!((registry.memory.objects.len(), released(&registry)), (0, Vec::new()));
}

/// U33: however a session ended, records of a moment at which it was open still have what it had received.
#[test]
fn a_session_goes_on_with_restored_records_while_its_objects_are_kept() {
    let chunks = ["one", "two", "three"];
    let (whole, more) = (chunks.concat(), "four");
    let all = format!("{whole}{more}");
    type End = fn(&mut InMemory, &str, &str);
    let ends: [(&str, usize, End); 6] = [
        ("cancelled", 3, |registry, session, _| drop(registry.call(delete(session)).expect(204))),
        ("of a wrong digest", 3, |registry, session, _| {
            let digest = sha256("other");
            registry.call(put(format!("{session}?digest={digest}"))).refused(400, "DIGEST_INVALID");
        }),
        ("of a blob that is there", 3, |registry, session, whole| {
            registry.push_blob("b", whole.to_owned());
            registry.call(put(format!("{session}?digest={}", sha256(whole)))).expect(201);
        }),
        ("whose objects were joined", 3, |registry, session, whole| {
            registry.call(put(format!("{session}?digest={}", sha256(whole)))).expect(201);
        }),
        ("expired", 3, |registry, _, _| {
            registry.advance(Config::default().upload_lifetime + LEAST);
            assert_eq!(registry.gc().uploads_expired, 1);
        }),
        ("that became a blob", 0, |registry, session, whole| {
            registry.call(put(format!("{session}?digest={}&x=", sha256(whole)))).expect(201);
        }),
    ];
    for (end, kept, act) in ends {
        let mut registry = keeping();
        if kept == 0 {
            // So few objects are not joined: they go on to be those of the blob.
            registry = configured(|config| config.keep_erased = KEPT);
        }
        let session = registry.open("a");
        for chunk in chunks {
            registry.call(patch(&session).body(chunk)).expect(202);
        }
        let before = registry.memory.records.clone();
        act(&mut registry, &session, &whole);
        let now = registry.memory.now;
        let sizes: Vec<u64> = released(&registry).iter().map(|(_, record)| record.size).collect();
        assert_eq!(sizes.len(), kept, "{end}");
        assert_eq!(sizes.iter().sum::<u64>(), if kept == 0 { 0 } else { whole.len() as u64 }, "{end}");
        assert!(released(&registry).iter().all(|(_, record)| record.released == now), "{end}");
        registry.advance(KEPT - LEAST);
        registry.gc();
        let mut restored = restored(&registry, &before);
        let digest = sha256(&all);
        restored.call(put(format!("{session}?digest={digest}")).body(more)).expect(201);
        assert_eq!(restored.get(blob("a", digest)).expect(200).body(), all.as_bytes(), "{end}");
        for _ in 0..2 {
            registry.advance(KEPT);
            registry.gc();
        }
        assert_eq!((registry.memory.objects.len(), released(&registry)), (0, Vec::new()), "{end}");
    }
}

/// U33: what is kept never becomes of use again, so that it can be erased without asking for more than its time.
#[test]
fn a_push_of_what_is_kept_makes_new_objects() {
    let mut registry = keeping();
    let digest = registry.push_blob("a", "content");
    registry.delete(blob("a", &digest)).expect(202);
    registry.gc();
    let kept: Vec<String> = released(&registry).into_iter().map(|(object, _)| object).collect();
    assert_eq!(kept.len(), 1);
    registry.push_blob("a", "content");
    registry.push_blob("b", "content");
    assert_eq!(registry.memory.objects.len(), 2);
    assert_eq!(released(&registry).len(), 1, "the new object is another");
    registry.advance(KEPT);
    let other = configured(|config| {
        config.keep_erased = KEPT;
        config.blob_grace = 2 * KEPT;
    });
    registry.registry = other.registry;
    assert_eq!(registry.gc(), Report { objects_erased: 1, bytes_freed: 7, ..Report::default() });
    assert!(!registry.memory.objects.keys().any(|object| kept.contains(&object.to_string())));
    assert_eq!(registry.get(blob("b", digest)).expect(200).body(), b"content");
}

/// U33: what restored records do not know is found as what a crash leaves, and stays from then on for as long: for another
/// restore to a later moment. An object without bytes is none that a record could name.
#[test]
fn objects_that_no_record_names_are_kept_from_when_they_are_found() {
    let mut registry = keeping();
    let before = registry.memory.records.clone();
    let digest = registry.push_blob("a", "content");
    let after = registry.memory.records.clone();
    let upload = ObjectId::received_by(uuid::Uuid::from_u128(7));
    let now = registry.memory.now;
    registry.memory.objects.insert(upload, ("".into(), now));
    registry.memory.records = before;
    registry.advance(Config::default().call_lifetime);
    assert_eq!(registry.gc(), Report::default(), "a call may be about to name them");
    registry.advance(LEAST);
    let found = Report { orphans_removed: 2, objects_released: 1, bytes_released: 7, ..Report::default() };
    assert_eq!(registry.gc(), Report { objects_kept: 1, bytes_kept: 7, ..found });
    assert!(!registry.memory.objects.contains_key(&upload));
    registry.advance(KEPT - LEAST);
    assert_eq!(registry.gc(), Report { objects_kept: 1, bytes_kept: 7, ..Report::default() });
    let mut later = restored(&registry, &after);
    assert_eq!(later.get(blob("a", digest)).expect(200).body(), b"content");
    registry.advance(LEAST);
    assert_eq!(registry.gc(), Report { objects_erased: 1, bytes_freed: 7, ..Report::default() });
    assert!(registry.memory.objects.is_empty());
}

/// Where nothing is kept, no record says so; and what was kept goes with the first collection for which nothing is.
#[test]
fn nothing_is_kept_unless_that_is_wanted() {
    let mut registry = configured(|_| {});
    let digest = registry.push_blob("a", "content");
    registry.delete(blob("a", digest)).expect(202);
    assert_eq!(registry.gc(), Report { blobs_removed: 1, bytes_freed: 7, ..Report::default() });
    assert_eq!((registry.memory.objects.len(), released(&registry)), (0, Vec::new()));
    let mut registry = keeping();
    registry.advance(DAY);
    let digest = registry.push_blob("a", "content");
    registry.delete(blob("a", digest)).expect(202);
    let report = registry.gc();
    let left = Report { blobs_removed: 1, objects_released: 1, bytes_released: 7, ..Report::default() };
    assert_eq!(report, Report { objects_kept: 1, bytes_kept: 7, ..left });
    let told = "1 objects of 7 bytes released, 0 erased, 1 of 7 bytes kept for a restore";
    assert!(report.to_string().ends_with(told), "{report}");
    registry.registry = configured(|_| {}).registry;
    // However the clock of the host that released it went.
    registry.memory.now = Timestamp(0);
    let report = registry.gc();
    assert_eq!(report, Report { objects_erased: 1, bytes_freed: 7, ..Report::default() });
    let told = "7 bytes freed; 0 objects of 0 bytes released, 1 erased, 0 of 0 bytes kept for a restore";
    assert!(report.to_string().ends_with(told), "{report}");
    assert!(registry.memory.objects.is_empty());
}

/// Bytes that are records are restored with them.
#[test]
fn bytes_among_the_records_are_not_kept() {
    let mut registry = configured(|config| {
        config.keep_erased = KEPT;
        config.small_object = 4;
    });
    let session = registry.open("a");
    for chunk in ["tiny", "and more"] {
        registry.call(patch(&session).body(chunk)).expect(202);
    }
    let digest = sha256("tinyand more");
    registry.call(put(format!("{session}?digest={digest}"))).expect(201);
    registry.delete(blob("a", digest)).expect(202);
    let left = Report { blobs_removed: 1, bytes_freed: 4, objects_released: 1, bytes_released: 8, ..Report::default() };
    assert_eq!(registry.gc(), Report { objects_kept: 1, bytes_kept: 8, ..left });
    assert!(!registry.memory.records.keys().any(|key| key.as_str().starts_with("bytes/")));
}

/// A dry run counts what a collection counts, and names what is erased and what is released.
#[test]
fn a_dry_run_foretells_what_is_kept() {
    let mut registry = keeping();
    let digest = registry.push_blob("a", "erased");
    registry.delete(blob("a", digest)).expect(202);
    registry.gc();
    registry.advance(KEPT);
    let session = registry.open("a");
    registry.call(patch(&session).body("expired")).expect(202);
    registry.begin(patch(&session).body("lost")).until("Commit", &mut registry).crash();
    let late = registry.push_blob("a", "released");
    registry.delete(blob("a", &late)).expect(202);
    registry.advance(Config::default().upload_lifetime + LEAST);
    let planned = registry.gc_dry_run();
    let why: Vec<&str> = planned.garbage.iter().map(|garbage| garbage.why).collect();
    assert!(why.contains(&"it was released longer ago than such objects are kept"), "{why:?}");
    let done = registry.gc();
    assert_eq!((done.objects_released, done.objects_erased, done.objects_kept), (3, 1, 3), "{done}");
    assert_eq!(Report { garbage: Vec::new(), ..planned }, done);
}

/// A collection of many pages of objects that were kept erases all, and passes by what does not read.
#[test]
fn every_page_of_what_was_kept_is_erased() {
    let mut registry = keeping();
    for number in 0..1100 {
        let session = registry.open("a");
        registry.call(patch(&session).body(format!("content {number}"))).expect(202);
        registry.call(delete(&session)).expect(204);
    }
    let damaged = registry.memory.records.keys().find(|key| key.as_str().starts_with("released/")).cloned();
    let damaged = damaged.expect("one of them");
    registry.memory.records.insert(damaged.clone(), "{".into());
    registry.advance(KEPT);
    let report = registry.gc();
    assert_eq!((report.objects_erased, report.records_damaged, report.fault), (1099, 1, None));
    assert_eq!((registry.memory.objects.len(), report.damaged), (1, vec![damaged.as_str().to_owned()]));
}
