//! Repositories see nothing of each other but what is pushed or mounted into them (SPEC C4, U4).

use orlop_conformance::image::{AMD64, Manifest, OCI_INDEX, sha256};
use orlop_conformance::system::{InMemory, System, blob, get, manifest, referrers};
use serde_json::json;

use crate::{configured, registry};

/// A registry with an image, an index, a referrer and a session in `secret`.
fn with_secrets() -> (InMemory, Manifest) {
    let mut registry = registry();
    let image = registry.push_image("secret", "v1", AMD64, "layer");
    registry.push("secret", "all", &Manifest::index(&[&image]));
    registry.push("secret", "signature", &Manifest::artifact("x/y", "signature").about(&image));
    registry.push_image("other", "v0", AMD64, "something else");
    (registry, image)
}

/// SPEC C4, J4, J11, L4, U4.
#[test]
fn what_one_repository_holds_another_does_not_show() {
    let (mut registry, image) = with_secrets();
    for repository in ["other", "nowhere", "secret/deeper", "secre"] {
        registry.get(blob(repository, sha256("layer"))).refused(404, "BLOB_UNKNOWN");
        registry.delete(blob(repository, sha256("layer"))).refused(404, "BLOB_UNKNOWN");
        for reference in ["v1", &image.digest()] {
            registry.get(manifest(repository, reference)).refused(404, "MANIFEST_UNKNOWN");
            registry.delete(manifest(repository, reference)).refused(404, "MANIFEST_UNKNOWN");
        }
        let listed = registry.get(referrers(repository, image.digest())).expect(200).json();
        assert_eq!(listed["manifests"], json!([]), "{repository}");
    }
    assert_eq!(registry.tags("other"), ["v0"]);
    registry.get(manifest("secret", "v1")).expect(200);
}

/// SPEC K9, U10.
#[test]
fn what_only_another_repository_holds_counts_as_missing() {
    let (mut registry, image) = with_secrets();
    let answer = registry.put_manifest("other", "v1", &image).refused(400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(answer.codes().len(), 2, "config and layer");
    let index = Manifest::index(&[&image]);
    registry.put_manifest("other", "v1", &index).refused(400, "MANIFEST_BLOB_UNKNOWN");
    registry.get(manifest("other", "v1")).refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC C4, U4: a maintained list is made of what the repository holds. A sparse manifest that names the config
/// of an image next door must not tell what that config says.
#[test]
fn a_sparse_manifest_does_not_tell_the_platform_of_an_image_next_door() {
    let mut registry = configured(|config| config.allow_sparse = true);
    let image = registry.push_image("secret", "v1", AMD64, "layer");
    registry.put_manifest("other", "v1", &image).expect(201);
    let answer = registry.call(get(manifest("other", "v1")).header("Accept", OCI_INDEX)).expect(200);
    assert_eq!(answer.body(), image.bytes(), "the manifest as pushed, no list with a platform in it");
}

/// SPEC D6, L3, U4.
#[test]
fn a_delete_in_one_repository_leaves_the_others_alone() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.push_image("b", "v1", AMD64, "layer");
    registry.delete(blob("a", sha256("layer"))).expect(202);
    registry.delete(manifest("a", image.digest())).expect(202);
    registry.advance(std::time::Duration::from_secs(30 * 24 * 3600));
    registry.gc();
    assert_eq!(registry.get(blob("b", sha256("layer"))).expect(200).body(), b"layer");
    assert_eq!(registry.get(manifest("b", "v1")).expect(200).body(), image.bytes());
    registry.get(manifest("a", "v1")).refused(404, "MANIFEST_UNKNOWN");
}
