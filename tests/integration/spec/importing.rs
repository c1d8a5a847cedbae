//! What another registry had becomes records here (SPEC Y1–Y14).

use std::time::Duration;

use bytes::Bytes;
use orlop_conformance::image::{
    AMD64, ARM64, DOCKER_LIST, DOCKER_MANIFEST, Manifest, OCI_INDEX, OCI_MANIFEST, config, sha256,
};
use orlop_conformance::system::{InMemory, System, blob, delete, get, manifest, referrers};
use orlop_core::config::{Pattern, Quota};
use orlop_core::digest::{Algorithm, Digest};
use orlop_core::event::{Happening, Listener};
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;
use orlop_core::name::Repository;
use orlop_core::object::ObjectId;
use orlop_core::record::BlobRecord;
use orlop_core::retention::Rule;
use orlop_core::takeover::{
    Held, ImagePlatform, Layer, LayersTaken, ManifestsTaken, Presence, Revision, Tagged, TagsTaken, Unreadable,
};
use orlop_core::{Config, Family, Registry, Step, Timestamp};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{configured, registry};

const LONG_AGO: Timestamp = Timestamp(1_000);

fn name(text: &str) -> Repository {
    text.parse().expect("a repository")
}

fn digest_of(bytes: impl AsRef<[u8]>) -> Digest {
    Algorithm::Sha256.digest(bytes.as_ref())
}

fn run<R>(registry: &mut InMemory, begin: impl FnOnce(&Registry, orlop_core::Ambient) -> Step<R>) -> R {
    let ambient = registry.memory.ambient();
    let step = begin(&Registry::new(Config::default()), ambient);
    registry.memory.run(step, &RequestBody::default())
}

/// An object with these bytes that nothing names.
fn brought(registry: &mut InMemory, number: u128, bytes: &[u8]) -> ObjectId {
    let object = ObjectId { nonce: Uuid::from_u128(number), index: 3 };
    registry.memory.objects.insert(object, (Bytes::copy_from_slice(bytes), registry.memory.now));
    object
}

fn layer(repository: &str, bytes: &[u8], object: Option<ObjectId>) -> Layer {
    Layer { repository: name(repository), digest: digest_of(bytes), size: bytes.len() as u64, object, verified: false }
}

fn adopt_blobs(registry: &mut InMemory, layers: Vec<Layer>) -> LayersTaken {
    run(registry, |registry, ambient| registry.adopt_blobs(layers, ambient)).expect("blobs are taken over")
}

fn adopt_manifests(registry: &mut InMemory, repository: &str, documents: &[Bytes]) -> ManifestsTaken {
    let held = documents.iter().map(|document| {
        let revision = Revision::read(digest_of(document), document.clone()).expect("a manifest");
        Held { repository: name(repository), revision, pushed: LONG_AGO }
    });
    let held = held.collect();
    run(registry, |registry, ambient| registry.adopt_manifests(held, ambient)).expect("manifests are taken over")
}

fn tagged(repository: &str, tag: &str, digest: Digest) -> Tagged {
    let tag = tag.parse().expect("a tag");
    Tagged { repository: name(repository), tag, digest, pushed: LONG_AGO, platform: ImagePlatform::Unread }
}

fn adopt_tags(registry: &mut InMemory, tags: Vec<Tagged>, dry_run: bool) -> TagsTaken {
    run(registry, |registry, ambient| registry.adopt_tags(tags, dry_run, ambient)).expect("tags are taken over")
}

/// Takes over an image with its blobs, and these tags.
fn image(registry: &mut InMemory, repository: &str, image: &Manifest, tags: &[&str]) -> TagsTaken {
    for bytes in image.blobs() {
        let number = u128::from_be_bytes(digest_of(bytes).hash()[..16].try_into().expect("16 bytes"));
        let object = brought(registry, number, bytes);
        adopt_blobs(registry, vec![layer(repository, bytes, Some(object))]);
    }
    let document = image.bytes();
    adopt_manifests(registry, repository, std::slice::from_ref(&document));
    adopt_tags(registry, tags.iter().map(|tag| tagged(repository, tag, digest_of(&document))).collect(), false)
}

fn record(registry: &InMemory, key: &str) -> Json {
    let value = registry.memory.records.get(&Key::stored(key)).unwrap_or_else(|| panic!("there is no {key}"));
    serde_json::from_slice(value).expect("a record is JSON")
}

fn usage(registry: &InMemory, repository: &str) -> u64 {
    record(registry, &format!("usage/{repository}")).as_u64().expect("a number")
}

/// SPEC Y1, Y7.
#[test]
fn a_new_blob_is_held_and_marked_as_unverified() {
    let mut registry = registry();
    let object = brought(&mut registry, 1, b"bytes");
    let mut long = layer("a", b"bytes", Some(brought(&mut registry, 2, b"bytes")));
    long.digest = Algorithm::Sha512.digest(b"bytes");
    long.verified = true;
    let empty = Layer { verified: true, ..layer("b", b"", None) };
    let taken = adopt_blobs(&mut registry, vec![layer("a", b"bytes", Some(object)), long.clone(), empty]);
    assert_eq!((taken.blobs, taken.bytes, taken.links), (3, 10, 3));
    assert_eq!(registry.get(blob("a", sha256("bytes"))).expect(200).body(), b"bytes");
    assert_eq!(registry.get(blob("a", long.digest)).expect(200).body(), b"bytes");
    registry.get(blob("b", sha256(""))).expect(200).with("Content-Length", "0");
    registry.get(blob("b", sha256("bytes"))).expect(404);
    let unverified = |digest: String| record(&registry, &format!("blob/{digest}"))["unverified"] == true;
    assert!(unverified(sha256("bytes")) && !unverified(long.digest.to_string()));
    assert_eq!(usage(&registry, "a"), 10);
}

/// SPEC Y2: what is here stays, and what was brought in vain goes.
#[test]
fn a_blob_that_is_here_stays_as_it_is() {
    let mut registry = registry();
    registry.push_blob("a", "bytes");
    let before = record(&registry, &format!("blob/{}", sha256("bytes")));
    let object = brought(&mut registry, 1, b"bytes");
    let taken = adopt_blobs(&mut registry, vec![layer("b", b"bytes", Some(object)), layer("a", b"bytes", None)]);
    assert_eq!((taken.blobs, taken.links), (0, 1));
    assert_eq!(record(&registry, &format!("blob/{}", sha256("bytes"))), before);
    assert!(!registry.memory.objects.contains_key(&object));
    registry.get(blob("b", sha256("bytes"))).expect(200);
    let other = Layer { size: 3, ..layer("c", b"bytes", None) };
    assert_eq!(adopt_blobs(&mut registry, vec![other]).differing, [(digest_of("bytes"), 5)]);
    assert_eq!(usage(&registry, "c"), 5, "it counts as it is here");
}

/// SPEC Y2: damaged bytes are replaced by hashed ones, and by no others.
#[test]
fn hashed_bytes_take_the_place_of_damaged_ones() {
    let mut registry = registry();
    registry.push_blob("a", "bytes");
    let key = Key::stored(format!("blob/{}", sha256("bytes")));
    let mut damaged: BlobRecord = serde_json::from_slice(&registry.memory.records[&key]).expect("a record");
    damaged.quarantined = Some(Timestamp(5));
    registry.memory.records.insert(key.clone(), serde_json::to_vec(&damaged).expect("JSON").into());
    let note = Key::stored(format!("quarantine/{}", sha256("bytes")));
    registry.memory.records.insert(note.clone(), r#"{"since":5,"problem":"wrong"}"#.into());
    let listed = run(&mut registry, |registry, ambient| registry.quarantined(None, ambient)).expect("a list");
    assert_eq!(listed.digests, [digest_of("bytes")]);
    let present = run(&mut registry, |registry, ambient| registry.present(vec![digest_of("bytes")], ambient));
    assert_eq!(present, Ok(vec![Presence::Damaged]));
    let object = brought(&mut registry, 1, b"bytes");
    adopt_blobs(&mut registry, vec![layer("b", b"bytes", Some(object))]);
    let now: BlobRecord = serde_json::from_slice(&registry.memory.records[&key]).expect("a record");
    assert_eq!(now, damaged);
    let object = brought(&mut registry, 2, b"bytes");
    adopt_blobs(&mut registry, vec![Layer { verified: true, ..layer("b", b"bytes", Some(object)) }]);
    let now: BlobRecord = serde_json::from_slice(&registry.memory.records[&key]).expect("a record");
    assert_eq!((now.quarantined, now.unverified, now.extents[0].object), (None, false, object));
    assert!(!registry.memory.records.contains_key(&note), "it is listed as damaged no more");
    assert_eq!(registry.memory.objects.len(), 1, "the damaged bytes are gone");
    assert_eq!(registry.get(blob("b", sha256("bytes"))).expect(200).body(), b"bytes");
}

/// SPEC Y3.
#[test]
fn a_blob_that_went_meanwhile_is_asked_for_again() {
    let mut registry = registry();
    let gone = layer("a", b"bytes", None);
    let taken = adopt_blobs(&mut registry, vec![gone.clone()]);
    assert_eq!((taken.links, taken.again), (0, vec![gone]));
    assert!(registry.memory.records.is_empty());
}

/// SPEC X45, X48, L9: what was pulled before from where it came is not known, however long pulls are noted here.
#[test]
fn what_is_imported_counts_as_pulled_by_then() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let rule = Rule {
        name: "pulled".into(),
        repositories: vec![Pattern::new("**")],
        keep_pulled_within: Some(90 * DAY),
        untagged_after: Some(30 * DAY),
        ..Rule::default()
    };
    let mut registry = configured(|config| {
        config.retention = vec![rule];
        config.untagged_lifetime = Some(30 * DAY);
    });
    let step = registry.registry.note_pulls(Vec::new(), registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default()).expect("it is noted since when pulls are");
    registry.advance(365 * DAY);
    let (named, pinned) = (Manifest::image(AMD64, "named"), Manifest::image(AMD64, "pinned"));
    image(&mut registry, "a", &named, &["v1"]);
    image(&mut registry, "a", &pinned, &[]);
    let going = |registry: &mut InMemory| {
        registry.gc();
        let step = registry.registry.plan_retention(name("a"), registry.memory.ambient());
        let plan = registry.memory.run(step, &RequestBody::default()).expect("a plan");
        (plan.tags_deleted, plan.manifests_deleted)
    };
    for _ in 0..2 {
        assert_eq!(going(&mut registry), (0, 0));
        registry.get(manifest("a", pinned.digest())).expect(200);
        registry.advance(15 * DAY - Duration::from_secs(1));
    }
    registry.advance(Duration::from_secs(7200));
    let step = registry.registry.plan_retention(name("a"), registry.memory.ambient());
    let plan = registry.memory.run(step, &RequestBody::default()).expect("a plan");
    assert_eq!((plan.tags_deleted, plan.manifests[0].digest.to_string()), (0, pinned.digest()));
    assert_eq!(going(&mut registry), (0, 0));
    registry.get(manifest("a", pinned.digest())).expect(404);
    registry.advance(60 * DAY);
    assert_eq!(going(&mut registry), (1, 0));
    // A push here is another beginning.
    registry.push("a", "v1", &named);
    for key in ["tag/a:v1".to_string(), format!("manifest/a@{}", named.digest())] {
        assert_eq!(record(&registry, &key)["imported"], Json::Null, "{key}");
    }
}

/// SPEC Y4, Y8: as if it had been pushed.
#[test]
fn an_import_makes_the_records_of_a_push() {
    let (mut pushed, mut imported) = (registry(), registry());
    let one = Manifest::image(AMD64, "layer");
    pushed.push("a", "v1", &one);
    image(&mut imported, "a", &one, &["v1"]);
    let keys = |registry: &InMemory| -> Vec<String> {
        let keys = registry.memory.records.keys().map(|key| key.as_str().to_owned());
        // When something was last pushed here, an import does not say (SPEC AA4).
        keys.filter(|key| !key.starts_with("object/") && !key.starts_with("pushed/")).collect()
    };
    assert_eq!(keys(&pushed), keys(&imported));
    assert_eq!(usage(&pushed, "a"), usage(&imported, "a"));
    let tag = record(&imported, "tag/a:v1");
    assert_eq!((&tag["pushed"], tag["imported"].as_u64()), (&json!(1000), Some(imported.memory.now.0)));
    assert_eq!(record(&imported, &format!("manifest/a@{}", sha256(one.bytes())))["pushed"], 1000);
    for registry in [&mut pushed, &mut imported] {
        let list = registry.call(get(manifest("a", "v1")).header("Accept", OCI_INDEX)).expect(200);
        assert_eq!(list.json()["manifests"][0]["platform"]["architecture"], "amd64");
    }
}

/// SPEC Y4: what refers to something is among its referrers.
#[test]
fn referrers_are_found() {
    let mut registry = registry();
    let subject = Manifest::image(AMD64, "layer");
    let signature = Manifest::artifact("signature", "signed").about(&subject);
    image(&mut registry, "a", &subject, &["v1"]);
    image(&mut registry, "a", &signature, &[]);
    let listed = registry.get(referrers("a", sha256(subject.bytes()))).expect(200).json();
    assert_eq!(listed["manifests"][0]["digest"], sha256(signature.bytes()));
}

/// SPEC Y5: what is missing does not keep a manifest out, and mends it when it comes.
#[test]
fn a_manifest_without_its_blobs_is_taken_over_and_mended_by_a_push() {
    let mut registry = registry();
    let one = Manifest::image(AMD64, "layer");
    adopt_manifests(&mut registry, "a", &[one.bytes()]);
    let digest = digest_of(one.bytes());
    assert_eq!(adopt_tags(&mut registry, vec![tagged("a", "v1", digest)], false).made, 1);
    registry.get(manifest("a", "v1")).expect(200);
    registry.get(blob("a", sha256("layer"))).expect(404);
    registry.push_blob("a", "layer");
    registry.get(blob("a", sha256("layer"))).expect(200);
    registry.advance(Config::default().blob_grace * 2);
    registry.gc();
    registry.get(blob("a", sha256("layer"))).expect(200);
}

/// SPEC Y6.
#[test]
fn the_media_type_is_that_of_the_document_or_of_its_shape() {
    let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256("c"), "size": 1 });
    let read = |document: Json| {
        let bytes = Bytes::from(document.to_string());
        Revision::read(digest_of(&bytes), bytes)
    };
    let mut registry = registry();
    for (document, media_type) in [
        (json!({ "schemaVersion": 2, "config": config, "layers": [] }), OCI_MANIFEST),
        (json!({ "schemaVersion": 2, "mediaType": "", "config": config, "layers": [] }), OCI_MANIFEST),
        (json!({ "schemaVersion": 2, "manifests": [] }), OCI_INDEX),
        (json!({ "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": [] }), DOCKER_MANIFEST),
        (json!({ "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [] }), DOCKER_LIST),
    ] {
        let bytes = Bytes::from(document.to_string());
        adopt_manifests(&mut registry, "a", std::slice::from_ref(&bytes));
        registry.get(manifest("a", sha256(&bytes))).expect(200).with("Content-Type", media_type);
    }
    let schema_one = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    for document in [
        json!({ "schemaVersion": 1, "name": "a", "tag": "v1", "fsLayers": [], "history": [] }),
        json!({ "schemaVersion": 1, "mediaType": schema_one, "fsLayers": [] }),
    ] {
        assert_eq!(read(document), Err(Unreadable::SchemaOne));
    }
    for document in [
        json!({ "schemaVersion": 2 }),
        json!({ "schemaVersion": 2, "mediaType": "text/plain", "config": config, "layers": [] }),
        json!({ "schemaVersion": 2, "manifests": [], "layers": [] }),
        json!({ "schemaVersion": 2, "config": { "digest": "sha256:1" }, "layers": [] }),
        json!([]),
        json!("text"),
    ] {
        assert!(matches!(read(document.clone()), Err(Unreadable::Document(_))), "{document}");
    }
    let other = Revision::read(digest_of("other"), Bytes::from_static(b"{}"));
    assert_eq!(other, Err(Unreadable::Digest(digest_of("{}"))));
    let large = Bytes::from(vec![b' '; (4 << 20) + 1]);
    assert!(matches!(Revision::read(digest_of(&large), large), Err(Unreadable::TooLarge(_))));
    assert!(matches!(Revision::read(digest_of([0xff]), Bytes::from_static(&[0xff])), Err(Unreadable::Document(_))));
}

/// SPEC Y9, Y10.
#[test]
fn a_tag_moves_until_it_is_pushed_here() {
    let mut registry = registry();
    let [first, second, own] = ["first", "second", "own"].map(|layer| Manifest::image(AMD64, layer));
    let taken = image(&mut registry, "a", &first, &["v1", "v2"]);
    assert_eq!((taken.made, taken.moved, taken.same), (2, 0, 0));
    registry.push("a", "v2", &own);
    let taken = image(&mut registry, "a", &second, &["v1", "v2"]);
    assert_eq!((taken.made, taken.moved, taken.kept.len()), (0, 1, 1));
    assert_eq!((taken.kept[0].here, taken.kept[0].there), (digest_of(own.bytes()), digest_of(second.bytes())));
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), second.bytes());
    assert_eq!(registry.get(manifest("a", "v2")).expect(200).body(), own.bytes());
    // Pushed here to what it names there, it is a tag of here.
    registry.push("a", "v1", &second);
    let taken = image(&mut registry, "a", &first, &["v1"]);
    assert_eq!(taken.kept.len(), 1);
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), second.bytes());
}

/// SPEC Y11.
#[test]
fn several_tags_of_one_manifest_are_made_and_one_of_none_is_not() {
    let mut registry = registry();
    let one = Manifest::image(AMD64, "layer");
    let tags: Vec<String> = (0..10).map(|n| format!("v{n}")).collect();
    let taken = image(&mut registry, "a", &one, &tags.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(taken.made, 10);
    let listed = registry.get("/v2/a/tags/list").expect(200).json();
    assert_eq!(listed["tags"].as_array().map(Vec::len), Some(10));
    let manifests = registry.memory.records.keys().filter(|key| key.as_str().starts_with("manifest/"));
    assert_eq!(manifests.count(), 2, "the image and its list");
    let mut pushed = crate::registry();
    pushed.push("a", "v0", &one);
    assert_eq!(usage(&registry, "a"), usage(&pushed, "a"));
    let nothing = digest_of("nothing");
    let taken = adopt_tags(&mut registry, vec![tagged("a", "lost", nothing)], false);
    assert_eq!((taken.made, taken.without_manifest.len()), (0, 1));
    registry.get(manifest("a", "lost")).expect(404);
}

/// SPEC Y12.
#[test]
fn the_same_again_changes_nothing() {
    let mut registry = registry();
    let images = [Manifest::image(AMD64, "one"), Manifest::image(ARM64, "two")];
    images.iter().for_each(|one| drop(image(&mut registry, "a", one, &["v1", "v2"])));
    let (records, objects) = (registry.memory.records.clone(), registry.memory.objects.len());
    let again = images.each_ref().map(|one| {
        for bytes in one.blobs() {
            let object = brought(&mut registry, u128::from(bytes[0]), bytes);
            let taken = adopt_blobs(&mut registry, vec![layer("a", bytes, Some(object))]);
            assert_eq!((taken.blobs, taken.links), (0, 0));
        }
        adopt_manifests(&mut registry, "a", &[one.bytes()]).manifests
    });
    assert_eq!(again, [0, 0]);
    let last = digest_of(images[1].bytes());
    assert_eq!(adopt_tags(&mut registry, vec![tagged("a", "v1", last), tagged("a", "v2", last)], false).same, 2);
    assert_eq!(registry.memory.records, records);
    assert_eq!(registry.memory.objects.len(), objects);
}

/// SPEC Y4: a list that the registry made itself is somebody's from then on.
#[test]
fn a_list_that_the_registry_made_counts_as_pushed() {
    let mut registry = registry();
    registry.push("a", "v1", &Manifest::image(AMD64, "layer"));
    let list = registry.call(get(manifest("a", "v1")).header("Accept", OCI_INDEX)).expect(200);
    let bytes = Bytes::copy_from_slice(list.body());
    assert_eq!(adopt_manifests(&mut registry, "a", std::slice::from_ref(&bytes)).manifests, 0);
    registry.call(delete(manifest("a", "v1"))).expect(202);
    registry.gc();
    registry.get(manifest("a", sha256(&bytes))).expect(200);
}

/// SPEC Y13.
#[test]
fn imports_are_told_to_nobody_and_refused_by_no_quota() {
    let everywhere = || vec![Pattern::new("**")];
    let mut registry = configured(|config| {
        config.quotas = vec![Quota { repositories: everywhere(), bytes: 1, ..Quota::default() }];
        let happenings = vec![Happening::Push];
        config.listeners = vec![Listener { name: "ci".into(), repositories: everywhere(), happenings }];
    });
    let ambient = registry.memory.ambient();
    let object = brought(&mut registry, 1, b"many bytes");
    let step = registry.registry.adopt_blobs(vec![layer("a", b"many bytes", Some(object))], ambient);
    assert_eq!(registry.memory.run(step, &RequestBody::default()).map(|taken| taken.blobs), Ok(1));
    image(&mut registry, "a", &Manifest::image(AMD64, "layer"), &["v1"]);
    assert!(!registry.memory.records.keys().any(|key| key.as_str().starts_with("event/")));
    assert!(usage(&registry, "a") > 10);
}

/// SPEC Y14.
#[test]
fn a_dry_run_of_tags_says_what_would_become_of_them() {
    let mut registry = registry();
    let [first, second, own] = ["first", "second", "own"].map(|layer| Manifest::image(AMD64, layer));
    image(&mut registry, "a", &first, &["moves", "pushed", "stays"]);
    image(&mut registry, "a", &second, &[]);
    registry.push("a", "pushed", &own);
    let [first, second] = [&first, &second].map(|image| digest_of(image.bytes()));
    let tags = || {
        let tags = [("moves", second), ("new", second), ("pushed", second), ("stays", first)];
        tags.map(|(tag, digest)| tagged("a", tag, digest)).to_vec()
    };
    let before = registry.memory.records.clone();
    let foretold = adopt_tags(&mut registry, tags(), true);
    assert_eq!(registry.memory.records, before);
    assert_eq!(adopt_tags(&mut registry, tags(), false), foretold);
    assert_eq!((foretold.made, foretold.moved, foretold.same, foretold.kept.len()), (1, 1, 1, 1));
}

/// SPEC Y12: what there is already is listed for whoever imports.
#[test]
fn holdings_are_listed_in_pages() {
    let mut registry = registry();
    let mut pushed: Vec<Digest> = (0..1500_u32).map(|n| digest_of(n.to_be_bytes())).collect();
    for n in 0..1500_u32 {
        registry.push_blob("a", n.to_be_bytes().to_vec());
    }
    registry.push_blob("a-b", "another's");
    pushed.sort_unstable();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = run(&mut registry, |registry, ambient| registry.holdings(name("a"), Family::Blobs, after, ambient));
        let page = page.expect("a page");
        found.extend(page.digests);
        after = page.after;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, pushed);
    let manifests =
        run(&mut registry, |registry, ambient| registry.holdings(name("a"), Family::Manifests, None, ambient));
    assert_eq!(manifests.expect("a page").digests, []);
}

/// SPEC Y5: a blob that is deleted between the reading and the commit is seen.
#[test]
fn what_a_manifest_needs_is_expected_to_stay() {
    let mut registry = registry();
    let one = Manifest::image(AMD64, "layer");
    for bytes in [config(AMD64, "layer"), "layer".into()] {
        registry.push_blob("a", bytes);
    }
    let document = one.bytes();
    let revision = Revision::read(digest_of(&document), document).expect("a manifest");
    let held = vec![Held { repository: name("a"), revision, pushed: LONG_AGO }];
    let ambient = registry.memory.ambient();
    let mut step = Registry::new(Config::default()).adopt_manifests(held, ambient);
    let mut commits = 0;
    while !matches!(step, Step::Respond(_)) {
        if step.name() == "Commit" {
            commits += 1;
            if commits == 1 {
                registry.call(delete(blob("a", sha256("layer")))).expect(202);
            }
        }
        step = registry.memory.perform(step, &RequestBody::default());
    }
    assert_eq!(commits, 2, "the first meets a conflict");
}
