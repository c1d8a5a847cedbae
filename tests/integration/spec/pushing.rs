//! Section K: manifests, push.

use orlop_conformance::image::{AMD64, ARM64, Manifest, OCI_MANIFEST, sha256, sha512};
use orlop_conformance::system::{Call, System, blob, get, manifest, put, referrers};

use crate::{NOWHERE, configured, registry};

fn push(repository: &str, reference: &str, image: &Manifest) -> Call {
    put(manifest(repository, reference)).header("Content-Type", image.media_type()).body(image.bytes())
}

/// SPEC K1, K2, K20, U23.
#[test]
fn a_push_is_answered_with_where_the_manifest_is_and_what_it_is() {
    let mut registry = registry();
    let image = registry.push_image("a", "v0", AMD64, "layer");
    let (short, long) = (image.digest(), sha512(image.bytes()));
    for (reference, digest) in [("v1", &short), (&short, &short), (&long, &long)] {
        let answer = registry.call(push("a", reference, &image)).expect(201);
        let answer = answer.with("Docker-Content-Digest", digest).with("Content-Length", 0);
        let answer = answer.without("OCI-Subject").without("OCI-Tag");
        assert_eq!(answer.location(), manifest("a", digest));
        assert_eq!(registry.get(answer.location()).expect(200).body(), image.bytes());
        assert_eq!(registry.get(manifest("a", reference)).expect(200).body(), image.bytes());
    }
}

/// SPEC K3, U23.
#[test]
fn a_manifest_of_another_digest_than_asked_is_refused() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    for reference in [NOWHERE.to_owned(), sha512("x")] {
        registry.call(push("a", &reference, &image)).refused(400, "DIGEST_INVALID");
        registry.get(manifest("a", &reference)).refused(404, "MANIFEST_UNKNOWN");
    }
}

/// SPEC K4.
#[test]
fn a_manifest_under_a_digest_that_cannot_be_is_refused() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    for reference in ["sha256:baddigeststring", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        registry.call(push("a", reference, &image)).refused(400, "DIGEST_INVALID");
    }
}

/// SPEC K9, U10, T1: one error for each, and for each the digest.
#[test]
fn every_blob_that_is_missing_is_named() {
    let mut registry = registry();
    let image = Manifest::image(AMD64, "layer");
    let [config, layer] = [0, 1].map(|i| sha256(&image.blobs()[i]));
    let mut missing = |expected: &[&String]| {
        let answer = registry.put_manifest("a", "v1", &image).refused(400, "MANIFEST_BLOB_UNKNOWN");
        let errors = answer.json()["errors"].clone();
        let errors = errors.as_array().expect("a list").clone();
        let mut named: Vec<_> =
            errors.iter().map(|error| error["detail"]["digest"].as_str().expect("a digest").to_owned()).collect();
        let mut expected: Vec<_> = expected.iter().map(|digest| (*digest).clone()).collect();
        named.sort();
        expected.sort();
        assert_eq!(named, expected);
        registry.get(manifest("a", "v1")).refused(404, "MANIFEST_UNKNOWN");
        registry.get("/v2/a/tags/list").codes();
    };
    missing(&[&config, &layer]);
    let mut registry = crate::registry();
    registry.push_blob("a", image.blobs()[0].clone());
    let answer = registry.put_manifest("a", "v1", &image).refused(400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(answer.json()["errors"][0]["detail"]["digest"], layer);
    assert_eq!(answer.codes().len(), 1);
    registry.push_blob("a", image.blobs()[1].clone());
    registry.put_manifest("a", "v1", &image).expect(201);
    let other = Manifest::image(ARM64, "other");
    let answer = registry.put_manifest("a", "all", &Manifest::index(&[&image, &other]));
    let answer = answer.refused(400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(answer.json()["errors"][0]["detail"]["digest"], other.digest());
    assert_eq!(answer.codes().len(), 1, "the child that is there is not named");
}

/// SPEC K9: a layer that is named twice is one that is missing.
#[test]
fn a_missing_blob_is_named_once() {
    let mut registry = registry();
    let image = Manifest::artifact("x/y", "layer");
    let layer = image.descriptor();
    let image = image.field("layers", serde_json::json!([layer, layer, layer]));
    registry.push_blob("a", "{}");
    let answer = registry.put_manifest("a", "v1", &image).refused(400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(answer.codes().len(), 1);
}

/// SPEC K9: the switch.
#[test]
fn a_registry_for_sparse_images_takes_what_is_not_all_there() {
    let mut registry = configured(|config| config.allow_sparse = true);
    let image = Manifest::image(AMD64, "layer");
    registry.put_manifest("a", "v1", &image).expect(201);
    registry.put_manifest("a", "all", &Manifest::index(&[&Manifest::image(ARM64, "other")])).expect(201);
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), image.bytes());
    registry.get(blob("a", sha256("layer"))).refused(404, "BLOB_UNKNOWN");
}

/// SPEC K14, M3: before and after the subject, by tag and by digest, image and index.
#[test]
fn a_push_with_a_subject_is_answered_with_the_subject() {
    let mut registry = registry();
    let image = Manifest::image(AMD64, "layer");
    let signature = Manifest::artifact("x/y", "signature").about(&image);
    let index = Manifest::index(&[]).about(&image);
    registry.push("a", "before", &signature).with("OCI-Subject", image.digest());
    registry.push("a", "v1", &image).without("OCI-Subject");
    registry.push("a", signature.digest(), &signature).with("OCI-Subject", image.digest());
    registry.push("a", "index", &index).with("OCI-Subject", image.digest());
    let listed = registry.get(referrers("a", image.digest())).expect(200).json();
    assert_eq!(listed["manifests"].as_array().map(Vec::len), Some(2));
}

/// SPEC K15, U24: each tag once, and they are exactly those that now name the manifest.
#[test]
fn a_push_by_digest_makes_the_tags_it_is_asked_for() {
    let mut registry = registry();
    let image = registry.push_image("a", "v0", AMD64, "layer");
    let names: Vec<String> = (0..20).map(|i| format!("t{i:02}")).collect();
    for digest in [image.digest(), sha512(image.bytes())] {
        let query: Vec<_> = names.iter().map(|name| format!("tag={name}")).collect();
        let query = format!("{}&tag=t00&tag=t19&x=y", query.join("&"));
        let call = put(manifest("a", &digest) + "?" + &query).header("Content-Type", OCI_MANIFEST).body(image.bytes());
        let answer = registry.call(call).expect(201);
        let made: Vec<_> = answer.headers("OCI-Tag").iter().flat_map(|field| field.split(',')).map(str::trim).collect();
        assert_eq!(made, names);
        for name in &names {
            registry.head(manifest("a", name)).expect(200).with("Docker-Content-Digest", &digest);
        }
    }
    assert_eq!(registry.tags("a").len(), 21);
}

/// SPEC K15, U24.
#[test]
fn tags_that_cannot_be_made_are_refused_together() {
    let mut registry = registry();
    let image = registry.push_image("a", "v0", AMD64, "layer");
    let digest = image.digest();
    let many: Vec<_> = (0..65).map(|i| format!("tag=t{i}")).collect();
    registry.call(push("a", &format!("{digest}?{}", many.join("&")), &image)).refused(414, "TAG_INVALID");
    registry.call(push("a", &format!("{digest}?{}", many[..64].join("&")), &image)).expect(201);
    for query in ["tag=good&tag=.bad", "tag=", "tag", "tag=a%2Fb", "tag=good&tag=a:b"] {
        registry.call(push("a", &format!("{digest}?{query}"), &image)).refused(400, "TAG_INVALID");
    }
    registry.call(push("a", "v1?tag=v2", &image)).refused(400, "TAG_INVALID");
    for reference in ["good", "v1", "v2"] {
        registry.get(manifest("a", reference)).refused(404, "MANIFEST_UNKNOWN");
    }
}

/// SPEC K16, U13.
#[test]
fn a_tag_moves_and_what_it_named_stays() {
    let mut registry = registry();
    let old = registry.push_image("a", "v1", AMD64, "old");
    let new = registry.push_image("a", "v1", AMD64, "new");
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), new.bytes());
    assert_eq!(registry.get(manifest("a", old.digest())).expect(200).body(), old.bytes());
    registry.push("a", "v1", &old);
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), old.bytes());
    assert_eq!(registry.tags("a"), ["v1"]);
}

/// SPEC K16, U13.
#[test]
fn the_same_push_again_is_the_same() {
    let mut registry = registry();
    let image = Manifest::image(AMD64, "layer");
    let first = registry.push("a", "v1", &image);
    let second = registry.push("a", "v1", &image);
    assert_eq!(first.response, second.response);
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), image.bytes());
}

/// SPEC J8, K16 (RFC 9110, 13.1): tags that cannot be overwritten by mistake.
#[test]
fn a_push_can_be_made_to_depend_on_what_is_there() {
    let mut registry = registry();
    let old = Manifest::image(AMD64, "old");
    let new = Manifest::image(AMD64, "new");
    registry.push("a", "scratch", &old);
    registry.push("a", "scratch", &new);
    let etag = |image: &Manifest| format!("\"{}\"", image.digest());
    let mut check = |image: &Manifest, name: &str, value: &str, status: u16| {
        registry.call(push("a", "v1", image).header(name, value)).expect(status);
    };
    check(&old, "If-Match", "*", 412);
    check(&old, "If-Match", &etag(&old), 412);
    check(&old, "If-None-Match", "*", 201);
    check(&new, "If-None-Match", "*", 412);
    check(&new, "If-Match", &etag(&new), 412);
    check(&new, "If-None-Match", &etag(&old), 412);
    check(&new, "If-Match", &etag(&old), 201);
    check(&old, "If-Match", "*", 201);
    check(&new, "If-None-Match", &etag(&new), 201);
    let there = push("a", &old.digest(), &old);
    registry.call(there.clone().header("If-None-Match", "*")).refused(412, "DENIED");
    registry.call(there.header("If-Match", etag(&old))).expect(201);
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), new.bytes());
}

/// SPEC K19: what is refused leaves nothing behind.
#[test]
fn a_refused_push_changes_nothing() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let before = registry.memory.records.clone();
    let missing = Manifest::image(ARM64, "missing").about(&image);
    registry.put_manifest("a", "v1", &missing).refused(400, "MANIFEST_BLOB_UNKNOWN");
    registry.call(push("a", NOWHERE, &image)).refused(400, "DIGEST_INVALID");
    registry.call(push("a", "v1", &image).header("If-None-Match", "*")).refused(412, "DENIED");
    registry.call(put(manifest("a", "v1")).body("{}").header("Content-Type", "x/y")).refused(400, "MANIFEST_INVALID");
    assert_eq!(registry.memory.records, before);
    registry.call(get(referrers("a", image.digest()))).expect(200);
}
