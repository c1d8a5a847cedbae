//! Section J: manifests, download.

use orlop_conformance::image::{AMD64, DOCKER_LIST, DOCKER_MANIFEST, Manifest, OCI_INDEX, OCI_MANIFEST, sha512};
use orlop_conformance::system::{System, get, head, manifest, put};

use crate::{NOWHERE, registry};

/// SPEC J1, J2, J3, U6: the four types, by tag and by digest.
#[test]
fn a_manifest_is_downloaded_as_it_was_pushed() {
    let image = Manifest::image(AMD64, "oci");
    let docker = Manifest::docker_image(AMD64, "docker");
    let pushed = [
        (OCI_MANIFEST, image.clone()),
        (DOCKER_MANIFEST, docker.clone()),
        (OCI_INDEX, Manifest::index(&[&image])),
        (DOCKER_LIST, Manifest::docker_list(&[&docker])),
    ];
    let mut registry = registry();
    for (media_type, pushed) in &pushed {
        registry.push("a", "v1", pushed);
        for reference in ["v1", &pushed.digest()] {
            for call in [get(manifest("a", reference)), head(manifest("a", reference))] {
                let answer = registry.call(call).expect(200).with("Content-Type", media_type);
                let answer = answer.with("Content-Length", pushed.bytes().len());
                let answer = answer.with("Docker-Content-Digest", pushed.digest());
                answer.with("ETag", format!("\"{}\"", pushed.digest()));
            }
            assert_eq!(registry.get(manifest("a", reference)).body(), pushed.bytes());
        }
    }
}

/// SPEC J2, K20: a tag made on a sha512 digest is that digest, for every client.
#[test]
fn a_tag_answers_with_the_digest_it_was_pushed_with() {
    let mut registry = registry();
    let image = registry.push_image("a", "plain", AMD64, "layer");
    let long = sha512(image.bytes());
    let push = put(manifest("a", &long) + "?tag=long").header("Content-Type", OCI_MANIFEST).body(image.bytes());
    let answer = registry.call(push).expect(201).with("Docker-Content-Digest", &long);
    assert_eq!(answer.location(), manifest("a", &long));
    for (reference, digest) in [("plain", &image.digest()), ("long", &long), (&long, &long)] {
        for call in [get(manifest("a", reference)), head(manifest("a", reference))] {
            registry.call(call).expect(200).with("Docker-Content-Digest", digest);
        }
    }
}

/// SPEC J4, J11.
#[test]
fn an_unknown_manifest_is_not_found() {
    let mut registry = registry();
    for repository in ["nowhere", "a"] {
        for reference in ["v2", NOWHERE, &sha512("x")] {
            registry.get(manifest(repository, reference)).refused(404, "MANIFEST_UNKNOWN");
            registry.head(manifest(repository, reference)).expect(404);
        }
        registry.push_image("a", "v1", AMD64, "layer");
    }
}

/// SPEC J10.
#[test]
fn a_blob_is_no_manifest() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "content");
    registry.get(manifest("a", &digest)).refused(404, "MANIFEST_UNKNOWN");
    registry.delete(manifest("a", &digest)).refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC J6, J7, U8: a digest names one document; what the client accepts changes nothing.
#[test]
fn accept_does_not_change_what_a_digest_names() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let index = Manifest::index(&[&image]);
    registry.push("a", "all", &index);
    for pushed in [image, index] {
        for accept in [
            "*/*",
            "application/json",
            "application/*",
            "",
            OCI_MANIFEST,
            OCI_INDEX,
            DOCKER_MANIFEST,
            DOCKER_LIST,
            "text/html;q=0.5, */*;q=0",
            "application/vnd.oci.image.index.v1+json;q=0",
            ",,;=,",
        ] {
            let call = get(manifest("a", pushed.digest())).header("Accept", accept).header("Accept", "x/y;q=0.1");
            let answer = registry.call(call).expect(200).with("Content-Type", pushed.media_type());
            assert_eq!(answer.body(), pushed.bytes(), "{accept}");
        }
        assert_eq!(registry.get(manifest("a", pushed.digest())).expect(200).body(), pushed.bytes());
    }
}

/// SPEC J6, J7, U8: by tag, unless nothing but lists is accepted.
#[test]
fn a_tag_answers_what_was_pushed_to_whoever_accepts_it_or_leaves_it_open() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let both = format!("{OCI_INDEX};q=0.9, {OCI_MANIFEST}");
    for accept in ["*/*", "application/json", "", OCI_MANIFEST, DOCKER_MANIFEST, &both, "text/html, */*;q=0.1"] {
        let answer = registry.call(get(manifest("a", "v1")).header("Accept", accept)).expect(200);
        assert_eq!(answer.body(), image.bytes(), "{accept}");
    }
    let separate = get(manifest("a", "v1")).header("Accept", OCI_INDEX).header("Accept", OCI_MANIFEST);
    assert_eq!(registry.call(separate).expect(200).body(), image.bytes());
}

/// SPEC J8 (RFC 9110, 13.1), A7, U26.
#[test]
fn a_manifest_is_not_sent_to_whoever_has_it() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let etag = format!("\"{}\"", image.digest());
    for reference in ["v1", &image.digest()] {
        for validator in [&etag, "*", &image.digest()] {
            for call in [get(manifest("a", reference)), head(manifest("a", reference))] {
                let answer = registry.call(call.header("If-None-Match", validator)).expect(304);
                assert!(answer.body().is_empty());
                answer.with("ETag", &etag).with("Docker-Content-Digest", image.digest());
            }
        }
        let changed = get(manifest("a", reference));
        registry.call(changed.clone().header("If-None-Match", "\"x\"")).expect(200);
        registry.call(changed.clone().header("If-Match", "\"x\"")).expect(412);
        registry.call(changed.header("If-Match", &etag)).expect(200);
    }
    // After the tag has moved, the client has the old one.
    let newer = registry.push_image("a", "v1", AMD64, "newer");
    let answer = registry.call(get(manifest("a", "v1")).header("If-None-Match", &etag)).expect(200);
    assert_eq!(answer.body(), newer.bytes());
}

/// SPEC J9, K2, K12: not a byte changes, whatever the document holds beside what the registry reads.
#[test]
fn a_manifest_is_never_rewritten() {
    let mut registry = registry();
    registry.push_blob("a", "{}");
    let config = orlop_conformance::image::descriptor("x/y", "{}");
    for document in [
        format!("{{\"config\":{config},\"schemaVersion\":2,\"custom\":1,\"custom\":[1,2.50,1e3,null]}}"),
        format!(" \n{{\t\"schemaVersion\" : 2 ,\r\n \"config\":{config} , \"layers\":[ ] }}\n\n"),
        format!("{{\"schemaVersion\":2,\"config\":{config},\"z\":\"\\u00e4 ä \\/\",\"a\":{{\"b\":{{}}}}}}"),
        format!("{{\"schemaVersion\":2,\"config\":{config},\"huge\":123456789012345678901234567890.10e-1}}"),
    ] {
        let push = put(manifest("a", "v1")).header("Content-Type", OCI_MANIFEST).body(document.clone());
        registry.call(push).expect(201);
        let digest = orlop_conformance::image::sha256(&document);
        for reference in ["v1", &digest] {
            let answer = registry.get(manifest("a", reference)).expect(200).with("Docker-Content-Digest", &digest);
            assert_eq!(answer.body(), document.as_bytes());
        }
    }
}
