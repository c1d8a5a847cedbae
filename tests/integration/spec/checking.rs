//! The check of everything that is stored: it finds what is damaged, and only that.

use orlop_conformance::image::{AMD64, Manifest, sha256};
use orlop_conformance::system::{Call, InMemory, System, blob, delete, manifest, patch, put};
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;
use orlop_core::{CheckReport, Config, Finding, Step};

use crate::configured;

/// Two repositories share an image; one has a blob of several objects, and another whose bytes are a record.
fn filled() -> InMemory {
    let mut registry = configured(|config| config.small_object = 8);
    for repository in ["a", "b"] {
        registry.push(repository, "v1", &image());
    }
    let session = registry.open("a");
    for chunk in ["small", "larger than that"] {
        registry.call(patch(&session).body(chunk)).expect(202);
    }
    let finish = put(format!("{session}?digest={}", sha256("smalllarger than thatand once more")));
    registry.call(finish.body("and once more")).expect(201);
    registry
}

fn image() -> Manifest {
    Manifest::image(AMD64, "a layer of the image")
}

fn check(registry: &mut InMemory) -> CheckReport {
    let step = registry.registry.check(registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default())
}

fn key(registry: &InMemory, prefix: &str) -> Key {
    registry.memory.records.keys().find(|key| key.as_str().starts_with(prefix)).expect("the record is there").clone()
}

/// Lets a record say one byte more.
fn grow(registry: &mut InMemory, prefix: &str) {
    let key = key(registry, prefix);
    let record = registry.memory.records.get_mut(&key).expect("the record is there");
    let mut value: serde_json::Value = serde_json::from_slice(record).expect("a record is JSON");
    value["size"] = (value["size"].as_u64().expect("a size") + 1).into();
    *record = value.to_string().into();
}

/// What is found after this happened to the storage.
#[track_caller]
fn found(damage: impl FnOnce(&mut InMemory)) -> Finding {
    let mut registry = filled();
    damage(&mut registry);
    let report = check(&mut registry);
    assert_eq!((report.problems, report.findings.len(), report.fault), (1, 1, None), "{:?}", report.findings);
    report.findings.into_iter().next().expect("one was found")
}

#[test]
fn a_sound_storage_has_no_problems_and_all_of_it_is_read() {
    let mut registry = filled();
    let before = registry.memory.records.clone();
    let report = check(&mut registry);
    let blobs =
        image().blobs().iter().map(bytes::Bytes::len).sum::<usize>() + "smalllarger than thatand once more".len();
    let payloads = before.iter().filter(|(key, _)| key.as_str().starts_with("payload/"));
    let payloads: usize = payloads.map(|(_, payload)| payload.len()).sum();
    assert_eq!((report.repositories, report.tags, report.blobs), (2, 2, 3));
    assert_eq!(report.manifests, 4, "in each repository the image, and the list that is maintained for its tag");
    assert_eq!(report.bytes, (blobs + payloads) as u64);
    let told = "2 repositories, 2 tags, 4 manifests and 3 blobs checked, ";
    let text = report.to_string();
    assert!(text.starts_with(told) && text.ends_with(&format!("{} bytes hashed; 0 problems", report.bytes)), "{text}");
    assert_eq!((report.problems, report.findings, report.fault), (0, Vec::new(), None));
    assert_eq!(registry.memory.records, before, "it changes nothing");
}

#[test]
fn each_damage_is_found_and_named() {
    let spread = sha256("smalllarger than thatand once more");
    let flipped = found(|registry| {
        let object = registry.memory.objects.values_mut().find(|(bytes, _)| bytes == "and once more").unwrap();
        object.0 = "And once more".into();
    });
    assert_eq!(flipped.what, format!("blob {spread}"));
    assert!(flipped.problem.contains("34 bytes have the digest sha256:"), "{flipped:?}");
    assert_eq!(flipped.repositories, ["a"]);

    let missing = found(|registry| registry.memory.objects.retain(|_, (bytes, _)| bytes != "and once more"));
    assert_eq!(missing.what, format!("blob {spread}"));
    assert!(missing.problem.contains("is missing"), "{missing:?}");

    let unknown = found(|registry| {
        let object = *registry.memory.objects.iter().find(|(_, (bytes, _))| bytes == "and once more").unwrap().0;
        registry.memory.records.remove(&key(registry, &format!("object/{object}")));
    });
    assert!(unknown.problem.contains("is not known to belong to it"), "{unknown:?}");

    let gone = found(|registry| drop(registry.memory.records.remove(&key(registry, "bytes/"))));
    assert!(gone.what.starts_with("blob ") && gone.problem.contains("missing among the records"), "{gone:?}");

    let payload = format!("payload/b@{}", image().digest());
    let payload = found(|registry| drop(registry.memory.records.insert(key(registry, &payload), "{}".into())));
    assert_eq!(payload.what, format!("manifest b@{}", image().digest()));
    assert!(payload.problem.contains("have the digest"), "{payload:?}");

    // As many bytes as the record says, to the byte.
    let size = found(|registry| grow(registry, &format!("manifest/b@{}", image().digest())));
    assert!(size.what.starts_with("manifest b@") && size.problem.contains("its record says"), "{size:?}");
    let size = found(|registry| grow(registry, &format!("blob/{spread}")));
    assert!(size.what.starts_with("blob ") && size.problem.contains("34 bytes, its record says 35"), "{size:?}");

    let nowhere = found(|registry| drop(registry.memory.records.remove(&key(registry, &format!("blob/{spread}")))));
    assert_eq!(nowhere.what, format!("blob a@{spread}"));
    assert!(nowhere.problem.contains("nothing says where its bytes are"), "{nowhere:?}");

    let record = found(|registry| drop(registry.memory.records.insert(key(registry, "manifest/b@"), "{".into())));
    assert!(record.what.starts_with("record manifest/b@") && record.problem.contains("does not read"), "{record:?}");

    let tag = found(|registry| drop(registry.memory.records.insert(key(registry, "tag/b:"), "?".into())));
    assert!(tag.what.starts_with("record tag/b:v1"), "{tag:?}");

    let link = found(|registry| drop(registry.memory.records.remove(&key(registry, "holder/"))));
    assert!(link.what.starts_with("blob a@") && link.problem.contains("garbage collection"), "{link:?}");
}

/// A report counts everything, and names ten thousand.
#[test]
fn a_report_has_an_end() {
    let mut registry = configured(|_| {});
    for number in 0..10_001 {
        registry.memory.records.insert(Key::stored(format!("blob/sha256:{number:064x}")), "{".into());
    }
    let report = check(&mut registry);
    assert_eq!((report.blobs, report.problems, report.findings.len()), (10_001, 10_001, 10_000));
}

#[test]
fn a_tag_without_its_manifest_is_found() {
    let tag = found(|registry| {
        let digest = image().digest();
        for family in ["manifest", "payload"] {
            registry.memory.records.remove(&key(registry, &format!("{family}/b@{digest}"))).unwrap();
        }
    });
    assert_eq!((tag.what.as_str(), tag.repositories), ("tag b:v1", vec!["b".to_owned()]));
}

/// What is deleted and collected while the check runs, at whatever moment, is no damage; nor what is pushed.
#[test]
fn what_changes_meanwhile_is_no_damage() {
    let image = image();
    for moment in 0.. {
        let mut registry = filled().restarted(Config { blob_grace: std::time::Duration::ZERO, ..Config::default() });
        let ambient = registry.memory.ambient();
        let mut step = registry.registry.check(ambient);
        for _ in 0..moment {
            step = match step {
                Step::Respond(_) => return assert!(moment > 20, "it has so few moments: {moment}"),
                asking => registry.memory.perform(asking, &RequestBody::default()),
            };
        }
        let changes: [Call; 4] = [
            delete(manifest("a", "v1")),
            delete(manifest("a", image.digest())),
            delete(blob("a", sha256("smalllarger than thatand once more"))),
            delete(manifest("b", "v1")),
        ];
        for change in changes {
            registry.call(change).expect(202);
        }
        registry.advance(std::time::Duration::from_secs(1));
        registry.gc();
        registry.push("c", "v1", &image);
        let report = registry.memory.run(step, &RequestBody::default());
        assert_eq!((report.findings, report.fault), (Vec::new(), None), "at moment {moment}");
    }
}

/// Where the bytes of a blob are: among the records and in objects, in order.
#[test]
fn a_blob_is_located() {
    let mut registry = filled();
    let mut locate = |digest: String| {
        let step = registry.registry.locate(digest.parse().unwrap(), registry.memory.ambient());
        registry.memory.run(step, &RequestBody::default()).unwrap()
    };
    let located = locate(sha256("smalllarger than thatand once more")).unwrap();
    assert_eq!((located.size, located.repositories), (34, vec!["a".to_owned()]));
    let parts: Vec<(u64, bool)> = located.parts.iter().map(|part| (part.size, part.among_records)).collect();
    assert_eq!(parts, [(5, true), (16, false), (13, false)]);
    let shared = image().blobs().first().map(sha256).unwrap();
    assert_eq!(locate(shared).unwrap().repositories, ["a", "b"]);
    assert_eq!(locate(sha256("nothing")), None);
}
