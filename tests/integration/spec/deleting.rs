//! Section L: manifests and tags, delete.

use orlop_conformance::image::{AMD64, ARM64, Manifest, OCI_MANIFEST, sha256, sha512};
use orlop_conformance::system::{System, blob, delete, manifest, put, referrers};
use orlop_core::memory::RequestBody;
use serde_json::json;

use crate::{NOWHERE, configured, registry};

/// SPEC L1, U14, T3.
#[test]
fn a_deleted_tag_leaves_the_manifest_and_its_other_tags() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.push("a", "v2", &image);
    registry.delete(manifest("a", "v1")).expect(202).with("Content-Length", 0);
    registry.get(manifest("a", "v1")).refused(404, "MANIFEST_UNKNOWN");
    registry.head(manifest("a", "v1")).expect(404);
    for reference in ["v2", &image.digest()] {
        assert_eq!(registry.get(manifest("a", reference)).expect(200).body(), image.bytes());
    }
    assert_eq!(registry.tags("a"), ["v2"]);
    registry.delete(manifest("a", "v1")).refused(404, "MANIFEST_UNKNOWN");
    registry.push("a", "v1", &image);
    assert_eq!(registry.tags("a"), ["v1", "v2"]);
}

/// SPEC L3, U14.
#[test]
fn a_deleted_manifest_takes_every_tag_that_names_it() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let other = registry.push_image("a", "other", AMD64, "other");
    for tag in ["v2", "v3"] {
        registry.push("a", tag, &image);
    }
    registry.push("b", "v1", &image);
    registry.delete(manifest("a", image.digest())).expect(202).with("Content-Length", 0);
    for reference in ["v1", "v2", "v3", &image.digest()] {
        registry.get(manifest("a", reference)).refused(404, "MANIFEST_UNKNOWN");
        registry.head(manifest("a", reference)).expect(404);
    }
    assert_eq!(registry.tags("a"), ["other"]);
    assert_eq!(registry.get(manifest("a", "other")).expect(200).body(), other.bytes());
    assert_eq!(registry.tags("b"), ["v1"]);
    registry.delete(manifest("a", image.digest())).refused(404, "MANIFEST_UNKNOWN");
    registry.push("a", "v1", &image);
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), image.bytes());
}

/// SPEC L3: a tag that has moved on names the manifest no more.
#[test]
fn a_deleted_manifest_leaves_tags_that_have_moved_on() {
    let mut registry = registry();
    let old = registry.push_image("a", "v1", AMD64, "old");
    let new = registry.push_image("a", "v1", AMD64, "new");
    registry.delete(manifest("a", old.digest())).expect(202);
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), new.bytes());
    assert_eq!(registry.tags("a"), ["v1"]);
}

/// SPEC L10.
#[test]
fn what_has_moved_since_is_not_deleted() {
    let mut registry = registry();
    let old = registry.push_image("a", "v1", AMD64, "old");
    let new = registry.push_image("a", "v1", AMD64, "new");
    let named = |image: &Manifest| format!("\"{}\"", image.digest());
    for reference in ["v1", &new.digest()] {
        let given = delete(manifest("a", reference)).header("If-Match", named(&old));
        registry.call(given).refused(412, "DENIED");
        let given = delete(manifest("a", reference)).header("If-None-Match", "*");
        registry.call(given).refused(412, "DENIED");
    }
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), new.bytes());
    registry.call(delete(manifest("a", "v1")).header("If-Match", named(&new))).expect(202);
    assert_eq!(registry.tags("a"), [""; 0]);
    registry.call(delete(manifest("a", "v1")).header("If-Match", named(&new))).refused(404, "MANIFEST_UNKNOWN");
    registry.call(delete(manifest("a", old.digest())).header("If-Match", named(&old))).expect(202);
    registry.get(manifest("a", new.digest())).expect(200);
}

/// SPEC L3, J2: the same bytes under another algorithm are another manifest.
#[test]
fn a_manifest_is_deleted_under_the_digest_that_is_named() {
    let mut registry = registry();
    let image = registry.push_image("a", "short", AMD64, "layer");
    let long = sha512(image.bytes());
    let push = put(manifest("a", &long) + "?tag=long").header("Content-Type", OCI_MANIFEST).body(image.bytes());
    registry.call(push).expect(201);
    registry.delete(manifest("a", &long)).expect(202);
    registry.get(manifest("a", "long")).refused(404, "MANIFEST_UNKNOWN");
    registry.get(manifest("a", "short")).expect(200);
}

/// SPEC L2, L5, D4.
#[test]
fn a_registry_that_deletes_nothing_refuses_to_delete_tags_and_manifests() {
    let mut registry = configured(|config| config.allow_delete = false);
    let image = registry.push_image("a", "v1", AMD64, "layer");
    for reference in ["v1", &image.digest(), "v2", NOWHERE] {
        registry.delete(manifest("a", reference)).refused(405, "UNSUPPORTED");
    }
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), image.bytes());
}

/// SPEC L4, U14.
#[test]
fn what_is_unknown_cannot_be_deleted_however_often() {
    let mut registry = registry();
    for repository in ["nowhere", "a"] {
        for reference in ["v2", NOWHERE] {
            for _ in 0..2 {
                registry.delete(manifest(repository, reference)).refused(404, "MANIFEST_UNKNOWN");
            }
        }
        registry.push_image("a", "v1", AMD64, "layer");
    }
}

/// SPEC L7.
#[test]
fn a_child_can_be_deleted_and_the_index_stays() {
    let mut registry = registry();
    let (amd, arm) = (Manifest::image(AMD64, "amd"), Manifest::image(ARM64, "arm"));
    registry.push("a", amd.digest(), &amd);
    registry.push("a", arm.digest(), &arm);
    let index = Manifest::index(&[&amd, &arm]);
    registry.push("a", "v1", &index);
    registry.delete(manifest("a", amd.digest())).expect(202);
    registry.get(manifest("a", amd.digest())).refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), index.bytes());
    registry.get(manifest("a", arm.digest())).expect(200);
}

/// SPEC L8, M9, U17.
#[test]
fn a_deleted_referrer_is_listed_no_more() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let [kept, gone] = ["kept", "gone"].map(|content| Manifest::artifact("x/y", content).about(&image));
    for referrer in [&kept, &gone] {
        registry.push("a", referrer.digest(), referrer);
    }
    registry.delete(manifest("a", gone.digest())).expect(202);
    let listed = registry.get(referrers("a", image.digest())).expect(200).json();
    assert_eq!(listed["manifests"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["manifests"][0]["digest"], kept.digest());
    registry.push("a", gone.digest(), &gone);
    let listed = registry.get(referrers("a", image.digest())).expect(200).json();
    assert_eq!(listed["manifests"].as_array().map(Vec::len), Some(2));
}

/// SPEC L8, U17.
#[test]
fn the_referrers_of_a_deleted_subject_stay() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let signature = Manifest::artifact("x/y", "signature").about(&image);
    registry.push("a", "signature", &signature);
    registry.delete(manifest("a", image.digest())).expect(202);
    let listed = registry.get(referrers("a", image.digest())).expect(200).json();
    assert_eq!(listed["manifests"][0]["digest"], signature.digest());
    registry.get(manifest("a", "signature")).expect(200);
    registry.delete(manifest("a", signature.digest())).expect(202);
    let listed = registry.get(referrers("a", image.digest())).expect(200).json();
    assert_eq!(listed["manifests"], json!([]));
}

/// SPEC L9: a delete frees nothing at once, and what a manifest was made of can be used again.
#[test]
fn blobs_outlive_the_manifest_that_was_deleted() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.delete(manifest("a", image.digest())).expect(202);
    assert_eq!(registry.get(blob("a", sha256("layer"))).expect(200).body(), b"layer");
    registry.put_manifest("a", "v1", &image).expect(201);
}

/// SPEC L3: however many tags there are.
#[test]
fn a_manifest_with_very_many_tags_is_deleted_with_all_of_them() {
    let mut registry = registry();
    let image = Manifest::image(AMD64, "layer");
    let other = registry.push_image("a", "other", AMD64, "other");
    for n in 0..600 {
        registry.push("a", format!("tag-{n}"), &image);
    }
    registry.delete(manifest("a", image.digest())).expect(202);
    registry.get(manifest("a", image.digest())).refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(registry.tags("a"), ["other"]);
    assert_eq!(registry.get(manifest("a", "other")).expect(200).body(), other.bytes());
}

/// SPEC L3: as many tags as one commit takes go with the manifest, all at once.
#[test]
fn a_manifest_with_many_tags_goes_with_them_in_one_commit() {
    for (tags, expected) in [(256, 1), (257, 2)] {
        let mut registry = registry();
        let image = Manifest::image(AMD64, "layer");
        for n in 0..tags {
            registry.push("a", format!("tag-{n}"), &image);
        }
        let ambient = registry.memory.ambient();
        let mut step = registry.registry.call(delete(manifest("a", image.digest())).request, ambient);
        let mut commits = 0;
        while step.name() != "Respond" {
            commits += usize::from(step.name() == "Commit");
            step = registry.memory.perform(step, &RequestBody::default());
        }
        assert_eq!(commits, expected, "{tags} tags");
        assert!(registry.tags("a").is_empty());
    }
}
