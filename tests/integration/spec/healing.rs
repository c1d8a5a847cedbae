//! What is damaged is found, is out of use, and is made good by the next push (SPEC W).

use std::time::Duration;

use orlop_conformance::image::{AMD64, Manifest, sha256};
use orlop_conformance::system::{InMemory, System, blob, delete, get, head, manifest, post, uploads};
use orlop_core::digest::Digest;
use orlop_core::effect::{Fault, Step};
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;
use orlop_core::record::BlobRecord;
use orlop_core::{Config, Damage, Scrubbed, Suspected};

use crate::{configured, registry};

mod listing;
mod meeting;

const DAY: Duration = Duration::from_secs(24 * 3600);

const PERIOD: Duration = Duration::from_secs(30 * 24 * 3600);

fn image() -> Manifest {
    Manifest::image(AMD64, "a layer of the image")
}

fn layer() -> String {
    sha256("a layer of the image")
}

/// The scrub reads everything, however many calls that takes.
fn scrub(registry: &mut InMemory) -> Scrubbed {
    let mut all = Scrubbed::default();
    loop {
        let done = one(registry, u64::MAX).expect("the storage does not fail");
        all.blobs += done.blobs;
        all.manifests += done.manifests;
        all.bytes += done.bytes;
        all.findings.extend(done.findings);
        all.sound_again += done.sound_again;
        if done.over.is_some() || !done.rest.is_zero() {
            return Scrubbed { over: done.over, rest: done.rest, ..all };
        }
    }
}

/// One call of it.
fn one(registry: &mut InMemory, room: u64) -> Result<Scrubbed, Fault> {
    let step = registry.registry.scrub(room, PERIOD, registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default())
}

fn damaged(registry: &mut InMemory) -> Vec<Damage> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let step = registry.registry.damaged(after, registry.memory.ambient());
        let page = registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail");
        all.extend(page.damaged);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

fn record(registry: &InMemory, digest: &str) -> BlobRecord {
    serde_json::from_slice(&registry.memory.records[&Key::stored(format!("blob/{digest}"))]).expect("a record is JSON")
}

/// A bit of a blob flips.
fn flip(registry: &mut InMemory, digest: &str) {
    let object = record(registry, digest).extents[0].object;
    registry.memory.flip(object);
}

fn lose(registry: &mut InMemory, digest: &str) {
    let object = record(registry, digest).extents[0].object;
    registry.memory.objects.remove(&object).expect("it was there");
}

fn set(registry: &mut InMemory, key: &str, value: &str) {
    registry.memory.records.insert(Key::stored(key), value.to_owned().into());
}

fn usage(registry: &InMemory, repository: &str) -> String {
    let usage = registry.memory.records.get(&Key::stored(format!("usage/{repository}")));
    usage.map(|usage| String::from_utf8_lossy(usage).into_owned()).unwrap_or_default()
}

/// An image in two repositories; what is pushed lies in objects.
fn filled() -> InMemory {
    let mut registry = registry();
    for repository in ["a", "b"] {
        registry.push(repository, "v1", &image());
    }
    registry
}

/// SPEC W1: everything is read once in a period, and then there is nothing to do until it is over.
#[test]
fn everything_is_read_once_in_a_period() {
    let mut registry = filled();
    let before = registry.memory.records.len();
    let first = scrub(&mut registry);
    assert_eq!((first.blobs, first.manifests, first.findings.len(), first.sound_again), (2, 4, 0, 0));
    assert_eq!(first.rest, PERIOD);
    let over = first.over.expect("it came to the end");
    assert_eq!((over.blobs, over.manifests, over.bytes, over.damaged), (2, 4, first.bytes, 0));
    registry.memory.advance(DAY);
    let second = scrub(&mut registry);
    assert_eq!((second.blobs, second.bytes, second.rest, second.over), (0, 0, PERIOD - DAY, None));
    registry.memory.advance(PERIOD - DAY);
    assert_eq!(scrub(&mut registry).blobs, 2);
    assert_eq!(registry.memory.records.len(), before + 1, "it writes how far it has come, and nothing else");
}

/// SPEC W1: a call reads so much, the next one goes on behind it, and nothing is read twice or left out.
#[test]
fn it_goes_on_where_the_last_call_has_ended() {
    let mut registry = registry();
    for number in 0..20 {
        registry.push_blob("a", format!("blob number {number:02}"));
    }
    let (mut calls, mut bytes) = (0, 0);
    loop {
        let done = one(&mut registry, 30).unwrap();
        assert!(done.bytes <= 30, "{}", done.bytes);
        calls += 1;
        bytes += done.bytes;
        if let Some(over) = done.over {
            assert_eq!((over.blobs, over.bytes, bytes), (20, 280, 280));
            break;
        }
    }
    assert!((10..15).contains(&calls), "two of 14 bytes a call: {calls}");
    // One that is larger than what a call is to read is read all the same.
    registry.memory.advance(PERIOD);
    let done = one(&mut registry, 1).unwrap();
    assert_eq!((done.blobs, done.bytes), (1, 14));
}

/// SPEC W1: what was imported comes first.
#[test]
fn what_nobody_has_read_comes_first() {
    let mut registry = registry();
    let digests: Vec<String> = (0..5).map(|number| registry.push_blob("a", format!("{number}"))).collect();
    let last = digests.iter().max().unwrap().clone();
    let unverified = BlobRecord { unverified: true, ..record(&registry, &last) };
    set(&mut registry, &format!("blob/{last}"), &serde_json::to_string(&unverified).unwrap());
    one(&mut registry, 1).unwrap();
    assert!(!record(&registry, &last).unverified);
    let all = scrub(&mut registry);
    assert_eq!((all.over.unwrap().blobs, all.blobs), (5, 4), "and is not read again with all others");
    // What is damaged of it counts once too, in this round and in the next.
    flip(&mut registry, &last);
    let unverified = BlobRecord { unverified: true, ..record(&registry, &last) };
    set(&mut registry, &format!("blob/{last}"), &serde_json::to_string(&unverified).unwrap());
    for new in [1, 0] {
        let all = scrub_again(&mut registry);
        let over = all.over.unwrap();
        assert_eq!((all.findings.len(), over.damaged, over.blobs), (new, 1, 5));
    }
}

/// SPEC W1: a beginning by a clock that was wrong does not hold it up.
#[test]
fn a_beginning_in_the_future_is_none() {
    let mut registry = filled();
    registry.memory.advance(DAY);
    scrub(&mut registry);
    registry.memory.now.0 -= 1;
    assert_eq!(scrub(&mut registry).blobs, 2);
}

/// SPEC W2, W3, W4: a flipped bit and a lost file are found, are not served, and are made good by one push.
#[test]
fn what_is_damaged_is_found_is_not_served_and_is_pushed_again() {
    for damage in [flip, lose] {
        let mut registry = filled();
        let usage_before = (usage(&registry, "a"), usage(&registry, "b"));
        damage(&mut registry, &layer());
        let found = scrub(&mut registry).findings;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].what.clone(), found[0].repositories.clone()),
            (format!("blob {}", layer()), vec!["a".into(), "b".into()])
        );
        for repository in ["a", "b"] {
            let path = blob(repository, layer());
            registry.call(head(&path)).expect(404);
            registry.call(get(&path)).refused(404, "BLOB_UNKNOWN");
            registry.call(get(manifest(repository, "v1"))).expect(200);
            registry.put_manifest(repository, "v2", &image()).refused(400, "MANIFEST_BLOB_UNKNOWN");
        }
        let mount = format!("{}?mount={}&from=a", uploads("c"), layer());
        registry.call(post(mount)).expect(202);
        assert!(scrub_again(&mut registry).findings.is_empty(), "it is known");

        registry.push_blob("c", "a layer of the image");
        for repository in ["a", "b", "c"] {
            let answer = registry.call(get(blob(repository, layer()))).expect(200);
            assert_eq!(answer.body(), b"a layer of the image");
        }
        registry.put_manifest("a", "v2", &image()).expect(201);
        assert!(damaged(&mut registry).is_empty());
        assert_eq!(usage(&registry, "b"), usage_before.1);
        assert_eq!(registry.memory.objects.len(), 2, "the config and the layer: nothing is left of what was replaced");
        assert_eq!(scrub_again(&mut registry).over.unwrap().damaged, 0);
        let _ = usage_before.0;
    }
}

/// The next period.
fn scrub_again(registry: &mut InMemory) -> Scrubbed {
    registry.memory.advance(PERIOD);
    scrub(registry)
}

/// SPEC W2: a read that fails once, or gives other bytes once, is no damage.
#[test]
fn one_wrong_read_is_no_damage() {
    for failed in [true, false] {
        let mut registry = filled();
        let ambient = registry.memory.ambient();
        let mut step = registry.registry.scrub(u64::MAX, PERIOD, ambient);
        let mut wrong = 0;
        let done = loop {
            step = match step {
                Step::Respond(done) | Step::Answered(done, _) => break done.unwrap(),
                Step::Measure(ask) if wrong == 0 => {
                    wrong += 1;
                    let answer = if failed { Err(Fault::Failed("once".into())) } else { Ok(None) };
                    ask.answer(answer)
                }
                other => registry.memory.perform(other, &RequestBody::default()),
            };
        };
        assert_eq!((wrong, done.findings.len()), (1, 0));
        assert!(damaged(&mut registry).is_empty());
    }
}

/// SPEC W2: nothing is put in quarantine while the storage of objects as a whole is out of order.
#[test]
fn a_storage_that_is_down_damages_nothing() {
    for unavailable in [true, false] {
        let mut registry = filled();
        let fault = || match unavailable {
            true => Fault::Unavailable("down".into()),
            false => Fault::Failed("down".into()),
        };
        let ambient = registry.memory.ambient();
        let mut step = registry.registry.scrub(u64::MAX, PERIOD, ambient);
        let done = loop {
            step = match step {
                Step::Respond(done) | Step::Answered(done, _) => break done,
                Step::Measure(ask) => ask.answer(Err(fault())),
                other => registry.memory.perform(other, &RequestBody::default()),
            };
        };
        done.expect_err("it says so");
        assert!(damaged(&mut registry).is_empty());
        let left = if unavailable { 2 } else { 1 };
        assert_eq!(scrub(&mut registry).over.unwrap().blobs, left, "it goes on, behind what can perhaps never be read");
    }
    // A bucket that is empty although a thousand blobs are in the records is another bucket.
    let mut registry = registry();
    for number in 0..40 {
        registry.push_blob("a", format!("blob number {number}"));
    }
    let objects = std::mem::take(&mut registry.memory.objects);
    for _ in 0..50 {
        let _ = one(&mut registry, u64::MAX);
    }
    assert!(damaged(&mut registry).is_empty());
    registry.memory.objects = objects;
    assert_eq!(scrub_again(&mut registry).over.unwrap().damaged, 0);
}

/// SPEC W2: one object that cannot be read among others that can is damaged.
#[test]
fn an_object_that_cannot_be_read_is_damaged() {
    let mut registry = filled();
    let bad = record(&registry, &layer()).extents[0].object;
    let ambient = registry.memory.ambient();
    let mut step = registry.registry.scrub(u64::MAX, PERIOD, ambient);
    let done = loop {
        step = match step {
            Step::Respond(done) | Step::Answered(done, _) => break done.unwrap(),
            Step::Measure(ask) if ask.effect.objects == [bad] => ask.answer(Err(Fault::Failed("EIO".into()))),
            other => registry.memory.perform(other, &RequestBody::default()),
        };
    };
    assert!(done.findings[0].problem.contains("cannot be read: EIO"), "{:?}", done.findings);
}

/// SPEC W3: a client that was told that a blob is there, and pushes a manifest with it, is told now that it is not.
#[test]
fn a_manifest_is_held_against_what_is_there_now() {
    let mut registry = registry();
    for content in image().blobs() {
        registry.push_blob("a", content.clone());
    }
    registry.call(head(blob("a", layer()))).expect(200);
    flip(&mut registry, &layer());
    scrub(&mut registry);
    registry.put_manifest("a", "v1", &image()).refused(400, "MANIFEST_BLOB_UNKNOWN");
}

/// SPEC W3: what has no record, or one that does not read, is not there either, and is pushed again.
#[test]
fn a_blob_whose_record_is_lost_is_pushed_again() {
    for value in [Some("{"), None] {
        let mut registry = filled();
        let key = format!("blob/{}", layer());
        match value {
            Some(value) => set(&mut registry, &key, value),
            None => drop(registry.memory.records.remove(&Key::stored(key))),
        }
        registry.call(get(blob("a", layer()))).refused(404, "BLOB_UNKNOWN");
        registry.put_manifest("a", "v2", &image()).refused(400, "MANIFEST_BLOB_UNKNOWN");
        let found = scrub(&mut registry).findings;
        assert_eq!(found.len(), usize::from(value.is_some()), "{found:?}");
        assert_eq!(damaged(&mut registry).len(), found.len());
        let before = usage(&registry, "a");
        registry.push_blob("a", "a layer of the image");
        registry.call(get(blob("b", layer()))).expect(200);
        assert_eq!(usage(&registry, "a"), before);
        assert!(damaged(&mut registry).is_empty());
    }
}

/// SPEC W4: a blob that lies among the records is made good like any other.
#[test]
fn bytes_among_the_records_are_made_good() {
    let mut registry = configured(|config| config.small_object = 64);
    let digest = registry.push_blob("a", "small");
    let object = record(&registry, &digest).extents[0].object;
    for lost in [false, true] {
        let key = format!("bytes/{}", record(&registry, &digest).extents[0].object);
        match lost {
            true => drop(registry.memory.records.remove(&Key::stored(key))),
            false => set(&mut registry, &key, "smalL"),
        }
        assert_eq!(scrub_again(&mut registry).findings.len(), 1);
        registry.call(get(blob("a", &digest))).expect(404);
        registry.push_blob("a", "small");
        assert_eq!(registry.call(get(blob("a", &digest))).expect(200).body(), b"small");
    }
    assert_ne!(record(&registry, &digest).extents[0].object, object);
    let bytes = registry.memory.records.keys().filter(|key| key.as_str().starts_with("bytes/")).count();
    assert_eq!(bytes, 1);
}

/// SPEC W4: what is replaced may name what belongs to another blob; that stays.
#[test]
fn what_a_damaged_record_names_of_others_stays() {
    let mut registry = registry();
    let (one, other) = (registry.push_blob("a", "one blob"), registry.push_blob("a", "the other blob"));
    let stolen = BlobRecord { extents: record(&registry, &other).extents, ..record(&registry, &one) };
    set(&mut registry, &format!("blob/{one}"), &serde_json::to_string(&stolen).unwrap());
    assert_eq!(scrub(&mut registry).findings.len(), 1);
    registry.push_blob("a", "one blob");
    assert_eq!(registry.call(get(blob("a", &other))).expect(200).body(), b"the other blob");
    assert_eq!(registry.call(get(blob("a", &one))).expect(200).body(), b"one blob");
}

/// SPEC W9: what a record is about that does not read is deleted from a repository, or is not there; never a fault.
#[test]
fn what_a_damaged_record_is_about_is_deleted_or_not_there() {
    let mut registry = registry();
    let damaged = registry.push_blob("a", "bytes");
    registry.push_blob("a", "other");
    set(&mut registry, &format!("blob/{damaged}"), "{");
    registry.call(delete(blob("a", &damaged))).expect(202);
    registry.call(delete(blob("a", &damaged))).expect(404);
    assert_eq!(usage(&registry, "a"), "10", "nobody knows how much it was");
    let ambient = registry.memory.ambient();
    let step = registry.registry.recount(ambient);
    let found = registry.memory.run(step, &RequestBody::default());
    assert_eq!((found.repaired, found.uncounted, found.fault), (1, 0, None));
    assert_eq!(usage(&registry, "a"), "5");
    // Its record is gone too.
    let lost = registry.push_blob("b", "lost");
    registry.memory.records.remove(&Key::stored(format!("blob/{lost}")));
    registry.call(delete(blob("b", &lost))).expect(202);
    let digest = registry.push_image("c", "v1", AMD64, "layer").digest();
    set(&mut registry, &format!("manifest/c@{digest}"), "{");
    registry.call(delete(manifest("c", &digest))).expect(404);
}

/// SPEC W4: a push under a quota that is used up makes good what is there.
#[test]
fn a_quota_that_is_used_up_does_not_keep_damage() {
    let size = "a layer of the image".len() as u64;
    let mut registry = configured(|config: &mut Config| {
        let all = orlop_core::config::Pattern::new("**");
        config.quotas = vec![orlop_core::config::Quota { repositories: vec![all], bytes: size, ..Default::default() }];
    });
    registry.push_blob("a", "a layer of the image");
    flip(&mut registry, &layer());
    scrub(&mut registry);
    registry.push_blob("a", "a layer of the image");
    assert_eq!(usage(&registry, "a"), size.to_string());
}

/// SPEC W5, W6: a damaged manifest is not served, keeps its tags and referrers, and is pushed again.
#[test]
fn a_damaged_manifest_is_found_and_pushed_again() {
    for by_scrub in [true, false] {
        let mut registry = filled();
        let digest = image().digest();
        let payload = Key::stored(format!("payload/a@{digest}"));
        let text = String::from_utf8_lossy(&registry.memory.records[&payload]).replace('2', "3");
        registry.memory.records.insert(payload, text.into());
        let before = usage(&registry, "a");
        match by_scrub {
            true => {
                let found = scrub(&mut registry).findings;
                assert_eq!(found[0].what, format!("manifest a@{digest}"));
            }
            false => drop(registry.call(get(manifest("a", "v1"))).expect(404)),
        }
        for reference in ["v1", &digest] {
            registry.call(head(manifest("a", reference))).expect(404);
            registry.call(get(manifest("a", reference))).refused(404, "MANIFEST_UNKNOWN");
        }
        registry.call(get(manifest("b", "v1"))).expect(200);
        assert_eq!(registry.tags("a"), ["v1"]);
        let listed = damaged(&mut registry);
        assert_eq!((listed.len(), listed[0].needed_by[0].tags.clone()), (1, vec!["v1".to_owned()]));
        registry.put_manifest("a", &digest, &image()).expect(201);
        registry.call(get(manifest("a", "v1"))).expect(200);
        assert!(damaged(&mut registry).is_empty());
        assert_eq!(usage(&registry, "a"), before);
    }
}

/// SPEC W5, W7: records of manifests and tags that do not read are not there, and are pushed again or deleted.
#[test]
fn records_that_do_not_read_are_passed_by() {
    let mut registry = filled();
    let digest = image().digest();
    set(&mut registry, &format!("manifest/a@{digest}"), "?");
    registry.call(get(manifest("a", &digest))).expect(404);
    assert_eq!(scrub(&mut registry).findings.len(), 1);
    registry.push("a", "v1", &image());
    registry.call(get(manifest("a", "v1"))).expect(200);

    set(&mut registry, "tag/a:v1", "?");
    registry.call(get(manifest("a", "v1"))).refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(registry.tags("a"), ["v1"]);
    registry.push("a", "v1", &image());
    registry.call(get(manifest("a", "v1"))).expect(200);
    set(&mut registry, "tag/a:v1", "?");
    registry.call(delete(manifest("a", "v1"))).expect(202);
    registry.call(delete(manifest("a", "v1"))).expect(404);
    assert!(scrub_again(&mut registry).findings.is_empty());
}

/// SPEC W9: what is in quarantine is deleted and collected like anything else, and then nothing is listed.
#[test]
fn what_is_in_quarantine_goes_as_anything_else() {
    let mut registry = filled();
    flip(&mut registry, &layer());
    let payload = Key::stored(format!("payload/b@{}", image().digest()));
    registry.memory.records.insert(payload, "{}".into());
    assert_eq!(scrub(&mut registry).findings.len(), 2);
    assert_eq!(damaged(&mut registry).len(), 2);
    for repository in ["a", "b"] {
        registry.call(delete(manifest(repository, image().digest()))).expect(202);
    }
    registry.memory.advance(DAY * 2);
    let report = registry.gc();
    assert_eq!(report.records_damaged, 0);
    assert!(damaged(&mut registry).is_empty());
    assert!(registry.memory.objects.is_empty());
    assert_eq!((usage(&registry, "a"), usage(&registry, "b")), (String::new(), String::new()));
}

/// SPEC W10: what is damaged is listed with the images and tags that need it, by themselves or by an index.
#[test]
fn what_is_damaged_is_listed_with_who_needs_it() {
    let mut registry = filled();
    let index = Manifest::index(&[&image()]);
    registry.put_manifest("a", "multi", &index).expect(201);
    flip(&mut registry, &layer());
    scrub(&mut registry);
    let listed = damaged(&mut registry);
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].what.clone(), listed[0].repositories.clone()),
        (format!("blob {}", layer()), vec!["a".into(), "b".into()])
    );
    assert!(listed[0].problem.contains("have the digest"), "{}", listed[0].problem);
    let needed: Vec<_> =
        listed[0].needed_by.iter().map(|image| (image.repository.as_str(), image.tags.join(" "))).collect();
    assert_eq!(needed, [("a", "multi v1".to_owned()), ("b", "v1".to_owned())]);
    // Many are listed by pages.
    for number in 0..250 {
        let digest = registry.push_blob("c", format!("blob {number}"));
        flip(&mut registry, &digest);
    }
    assert_eq!(scrub_again(&mut registry).findings.len(), 250);
    assert_eq!(damaged(&mut registry).len(), 251);
}

/// SPEC W11: what a client meets is looked at, and is out of use if it is damaged, and only then.
#[test]
fn what_a_client_meets_is_looked_at() {
    let mut registry = filled();
    let digest: Digest = layer().parse().unwrap();
    let suspect = |registry: &mut InMemory| {
        let step = registry.registry.suspect(digest, registry.memory.ambient());
        registry.memory.run(step, &RequestBody::default()).unwrap()
    };
    assert_eq!(suspect(&mut registry), Suspected::Sound);
    registry.call(get(blob("a", layer()))).expect(200);
    lose(&mut registry, &layer());
    assert_eq!([suspect(&mut registry), suspect(&mut registry)], [Suspected::OutOfUse; 2]);
    registry.call(get(blob("a", layer()))).expect(404);
    registry.push_blob("a", "a layer of the image");
    assert_eq!(suspect(&mut registry), Suspected::Sound);
}

/// SPEC W4, W12: a blob that was imported is replaced by a push, and known to be sound when it was read.
#[test]
fn what_was_imported_is_verified_by_a_read_a_scrub_or_a_push() {
    let digest: Digest = layer().parse().unwrap();
    for how in ["read", "scrub", "push"] {
        let mut registry = filled();
        let imported = BlobRecord { unverified: true, ..record(&registry, &layer()) };
        set(&mut registry, &format!("blob/{}", layer()), &serde_json::to_string(&imported).unwrap());
        match how {
            "read" => {
                let read = vec![record(&registry, &layer()).extents[0].object];
                let step = registry.registry.verified(digest, read, registry.memory.ambient());
                registry.memory.run(step, &RequestBody::default()).unwrap();
            }
            "scrub" => drop(scrub(&mut registry)),
            _ => {
                flip(&mut registry, &layer());
                drop(registry.push_blob("a", "a layer of the image"));
            }
        }
        assert!(!record(&registry, &layer()).unverified);
        let answer = registry.call(get(blob("b", layer()))).expect(200);
        assert_eq!(answer.body(), b"a layer of the image");
    }
}
