//! What is counted of each repository, whether it is right, and what is reported of it.

use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest, sha256};
use orlop_conformance::system::{InMemory, System, blob, manifest, patch, put};
use orlop_core::config::{Pattern, Quota};
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;
use orlop_core::{Drift, QuotaUsage, Recount, RepositoryUsage, Step, Timestamp, Usage};

use crate::configured;

fn recount(registry: &mut InMemory) -> Recount {
    let step = registry.registry.recount(registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default())
}

fn usage(registry: &mut InMemory) -> Usage {
    let step = registry.registry.usage(registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default()).expect("no fault")
}

fn counter(registry: &InMemory, name: &str) -> u64 {
    orlop_core::record::count(registry.memory.records.get(&Key::stored(format!("usage/{name}"))))
}

/// SPEC Z8: what an upload had received is free again with the commit that ends it: given up, expired or wrong.
#[test]
fn bytes_of_uploads_that_end_are_free_again() {
    let mut registry = configured(|_| {});
    for end in ["cancel", "expire", "wrong"] {
        let session = registry.open("a");
        registry.call(patch(&session).body("12345")).expect(202);
        registry.call(patch(&session).body("678")).expect(202);
        assert_eq!(counter(&registry, "a"), 8);
        match end {
            "cancel" => drop(registry.delete(&session).expect(204)),
            "expire" => {
                registry.advance(Duration::from_secs(30 * 24 * 3600));
                registry.gc();
            }
            _ => {
                drop(registry.call(put(format!("{session}?digest={}", sha256("other")))).refused(400, "DIGEST_INVALID"))
            }
        }
        assert_eq!(counter(&registry, "a"), 0, "{end}");
    }
    assert_eq!(recount(&mut registry).repaired, 0);
}

/// SPEC Z10: a counter that is wrong is found and repaired, be it too large, too small, gone or damaged.
#[test]
fn a_recount_repairs_every_counter_that_is_wrong() {
    let mut registry = configured(|_| {});
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let right = counter(&registry, "a");
    let session = registry.open("b");
    registry.call(patch(&session).body("12345")).expect(202);
    registry.push_blob("c", "right");
    assert_eq!(recount(&mut registry), Recount { repositories: 3, ..Recount::default() });
    let usage = |name: &str| Key::stored(format!("usage/{name}"));
    for (wrong, counted) in [(Some("1000000"), 1_000_000), (Some("1"), 1), (None, 0), (Some("{"), 0)] {
        for name in ["a", "b", "gone"] {
            match wrong {
                Some(value) => drop(registry.memory.records.insert(usage(name), value.into())),
                None => drop(registry.memory.records.remove(&usage(name))),
            }
        }
        let found = recount(&mut registry);
        let drift = |name: &str, bytes| Drift { repository: name.into(), counted, bytes };
        let mut expected = vec![drift("a", right), drift("b", 5), drift("gone", 0)];
        expected.truncate(if wrong.is_some() { 3 } else { 2 });
        let mut drifts = found.drifts.clone();
        drifts.sort_by(|one, other| one.repository.cmp(&other.repository));
        assert_eq!((drifts, found.uncounted), (expected, 0), "{wrong:?}");
        assert_eq!((counter(&registry, "a"), counter(&registry, "b")), (right, 5));
        assert!(!registry.memory.records.contains_key(&usage("gone")));
        assert_eq!(recount(&mut registry).repaired, 0);
    }
    assert!(!registry.memory.records.keys().any(|key| key.as_str().starts_with("recount/")), "no mark is left");
    registry.delete(manifest("a", image.digest())).expect(202);
    assert_eq!(recount(&mut registry).repaired, 0);
}

/// SPEC Z10: the open uploads are gone through once for many counters that are wrong.
#[test]
fn a_recount_goes_through_uploads_once_for_all_that_is_wrong() {
    let mut registry = configured(|_| {});
    for number in 0..50 {
        let session = registry.open(&format!("a/{number}"));
        registry.call(patch(&session).body("12345")).expect(202);
        registry.memory.records.insert(Key::stored(format!("usage/a/{number}")), "1".into());
    }
    let mut step = registry.registry.recount(registry.memory.ambient());
    let mut scans = 0;
    let found = loop {
        if let Step::Scan(asked) = &step {
            scans += usize::from(asked.effect.prefix.as_str() == "upload/" && asked.effect.after.is_none());
        }
        step = match step {
            Step::Respond(found) => break found,
            asks => registry.memory.perform(asks, &RequestBody::default()),
        };
    };
    assert_eq!((found.repaired, found.uncounted, scans), (50, 0, 2));
}

/// SPEC Z10: pushes and deletes go on beside a recount, and one that could not be told from a wrong counter is counted again:
/// what is taken and what comes may even have the same size.
#[test]
fn a_recount_is_right_beside_pushes_and_deletes() {
    let (image, deleted) = (Manifest::image(AMD64, "layer"), Manifest::image(ARM64, "layer"));
    let changes = |change: usize, registry: &mut InMemory| match change {
        0 => drop(registry.push_blob("a", "fresh")),
        1 => drop(registry.delete(blob("a", sha256("first"))).expect(202)),
        // The counter is as it was, and another blob is there.
        2 => {
            registry.delete(blob("a", sha256("first"))).expect(202);
            registry.push_blob("a", "other");
        }
        3 => {
            registry.push_blob("a", "aaaaa");
            registry.delete(blob("a", sha256("aaaaa"))).expect(202);
        }
        // It can be undeleted: its bytes are counted still, for another record.
        4 => drop(registry.delete(manifest("a", image.digest())).expect(202)),
        // Another manifest can be undeleted, and is there again.
        _ => drop(registry.put_manifest("a", "v2", &deleted).expect(201)),
    };
    for change in 0..6 {
        let mut most = 1;
        let mut at = 0;
        while at < most {
            let mut registry = configured(|config| config.undelete_within = Some(Duration::from_secs(3600)));
            registry.push_blob("a", "first");
            registry.push_blob("a", "second");
            registry.push("a", "v1", &image);
            registry.push("a", "v2", &deleted);
            registry.delete(manifest("a", deleted.digest())).expect(202);
            registry.memory.records.insert(Key::stored("usage/a"), "1000".into());
            let mut step = registry.registry.recount(registry.memory.ambient());
            let mut effects = 0;
            let found = loop {
                if effects == at {
                    changes(change, &mut registry);
                }
                effects += 1;
                step = match step {
                    Step::Respond(found) => break found,
                    asks => registry.memory.perform(asks, &RequestBody::default()),
                };
            };
            most = effects;
            assert_eq!((found.repaired, found.uncounted), (1, 0), "change {change} before effect {at}: {found:?}");
            assert_eq!(recount(&mut registry).drifts, [], "change {change} before effect {at}");
            at += 1;
        }
        println!("change {change}: before each of {most} effects");
    }
}

/// SPEC Z10: a repository with a record that does not read is named, and the others are counted.
#[test]
fn a_recount_passes_by_what_it_cannot_count() {
    let mut registry = configured(|_| {});
    let damaged = registry.push_blob("a", "first");
    registry.push_blob("b", "first");
    registry.push_blob("c", "other");
    registry.memory.records.insert(Key::stored(format!("blob/{damaged}")), "{".into());
    registry.memory.records.insert(Key::stored("usage/c"), "77".into());
    let found = recount(&mut registry);
    assert_eq!((found.repositories, found.repaired, found.uncounted), (3, 1, 2));
    assert!(found.reasons[0].contains("a cannot be counted") && found.reasons[0].contains("blob/"), "{found:?}");
    assert_eq!((counter(&registry, "a"), counter(&registry, "c")), (5, 5));
}

/// SPEC Z11: the registry makes a list anew when an image of it is deleted.
#[test]
fn a_list_that_the_registry_makes_is_no_push() {
    let mut registry = configured(|_| {});
    registry.memory.now = Timestamp(5000);
    registry.push_image("a", "v1", AMD64, "amd");
    let arm = registry.push_image("a", "v1", ARM64, "arm");
    registry.push_image("a", "other", ARM64, "other");
    registry.memory.now = Timestamp(9000);
    registry.delete(manifest("a", arm.digest())).expect(202);
    assert_eq!(usage(&mut registry).repositories[0].last_push, Some(Timestamp(5000)));
}

/// SPEC Z11: what a report says of each repository, in the order of names, and of each quota.
#[test]
fn a_report_says_what_each_repository_takes() {
    let quota = |name: &str, pattern: &str, together, bytes| Quota {
        name: name.into(),
        repositories: [Pattern::new(pattern)].into(),
        together,
        bytes,
        ..Quota::default()
    };
    let mut registry = configured(|config| {
        config.quotas = [quota("each", "**", false, 1000), quota("team", "team/*", true, 2000)].into();
    });
    registry.memory.now = Timestamp(5000);
    let image = registry.push_image("team/a", "v1", AMD64, "layer");
    registry.memory.now = Timestamp(6000);
    registry.put_manifest("team/a", "v2", &image).expect(201);
    let bytes = counter(&registry, "team/a");
    registry.push_blob("team/b", "shared with c");
    registry.push_blob("c", "shared with c");
    registry.push_blob("c", "own");
    let session = registry.open("c");
    registry.call(patch(&session).body("12345")).expect(202);
    registry.memory.records.insert(Key::stored("pulledtag/team/a:v1"), r#"{"pulled":7000,"times":5}"#.into());
    // As it was written when nothing was counted, and since.
    for (digest, noted) in [("1", r#"{"pulled":6500}"#), ("2", r#"{"pulled":6600,"times":3}"#)] {
        let key = format!("pulledmanifest/team/a@sha256:{}", digest.repeat(64));
        registry.memory.records.insert(Key::stored(&key), noted.into());
    }
    let Usage { repositories, quotas } = usage(&mut registry);
    let used = (bytes + 13) * 100 / 2000;
    let expected = [
        RepositoryUsage {
            repository: "c".into(),
            bytes: 21,
            unshared: 3,
            blobs: 2,
            quota: Some("each".into()),
            used_percent: Some(2),
            ..RepositoryUsage::default()
        },
        RepositoryUsage {
            repository: "team/a".into(),
            bytes,
            unshared: bytes,
            tags: 2,
            // The image, and the list that the registry keeps for the tag.
            manifests: 2,
            blobs: image.blobs().len() as u64,
            last_push: Some(Timestamp(6000)),
            last_pull: Some(Timestamp(7000)),
            pulls: 3,
            quota: Some("each".into()),
            used_percent: Some(bytes * 100 / 1000),
        },
        RepositoryUsage {
            repository: "team/b".into(),
            bytes: 13,
            blobs: 1,
            quota: Some("team".into()),
            used_percent: Some(used),
            ..RepositoryUsage::default()
        },
    ];
    assert_eq!(repositories, expected);
    let each = QuotaUsage {
        quota: "each".into(),
        together: false,
        repositories: 3,
        bytes,
        fullest: Some("team/a".into()),
        soft: None,
        limit: Some(1000),
    };
    let team = QuotaUsage {
        quota: "team".into(),
        together: true,
        repositories: 2,
        bytes: bytes + 13,
        fullest: None,
        soft: None,
        limit: Some(2000),
    };
    assert_eq!(quotas, [each.clone(), team.clone()]);
    let step = registry.registry.quotas(registry.memory.ambient());
    let alone = registry.memory.run(step, &RequestBody::default()).expect("no fault");
    assert_eq!(alone, [each, team], "the same without the rest of the report");
}
