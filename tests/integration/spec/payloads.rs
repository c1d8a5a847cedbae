//! Section K: which documents are manifests, and how large they may be.

use orlop_conformance::image::{
    AMD64, DOCKER_MANIFEST, EMPTY, Manifest, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, descriptor, sha256,
};
use orlop_conformance::system::{Answer, InMemory, System, manifest, put};
use serde_json::json;

use crate::{NOWHERE, registry};

/// A registry with the blobs `{}` and `layer` in `a`.
fn with_blobs() -> InMemory {
    let mut registry = registry();
    registry.push_blob("a", "{}");
    registry.push_blob("a", "layer");
    registry
}

fn push(registry: &mut InMemory, content_type: Option<&str>, document: impl ToString) -> Answer {
    let call = put(manifest("a", "v1")).body(document.to_string());
    registry.call(match content_type {
        Some(content_type) => call.header("Content-Type", content_type),
        None => call,
    })
}

fn document(more: &str) -> String {
    format!("{{\"schemaVersion\":2,\"config\":{},\"layers\":[]{more}}}", descriptor(EMPTY, "{}"))
}

/// SPEC K5, J3, U7.
#[test]
fn parameters_of_the_type_are_ignored_and_not_given_back() {
    let mut registry = with_blobs();
    for parameters in ["; charset=utf-8", ";charset=utf-8", " ; a=b; c=d", ";"] {
        push(&mut registry, Some(&format!("{OCI_MANIFEST}{parameters}")), document("")).expect(201);
        registry.get(manifest("a", "v1")).expect(200).with("Content-Type", OCI_MANIFEST);
    }
}

/// SPEC K6, U7: a document must not be one thing to the registry and another to its reader.
#[test]
fn the_header_and_the_document_must_not_disagree_on_the_type() {
    let mut registry = with_blobs();
    let typed = document(&format!(",\"mediaType\":\"{OCI_MANIFEST}\""));
    push(&mut registry, Some(OCI_MANIFEST), &typed).expect(201);
    for (content_type, document) in [
        (DOCKER_MANIFEST, typed.as_str()),
        (OCI_INDEX, &typed),
        (OCI_MANIFEST, &document(",\"mediaType\":\"x/y\"")),
        (OCI_MANIFEST, &document(",\"manifests\":[]")),
        (OCI_INDEX, &document(",\"manifests\":[]")),
        (OCI_INDEX, &document("")),
        (OCI_MANIFEST, "{\"schemaVersion\":2,\"manifests\":[]}"),
    ] {
        push(&mut registry, Some(content_type), document).refused(400, "MANIFEST_INVALID");
    }
}

/// SPEC K6, K7, U7.
#[test]
fn a_type_is_taken_from_wherever_it_is_named() {
    let mut registry = with_blobs();
    let typed = document(&format!(",\"mediaType\":\"{OCI_MANIFEST}\""));
    push(&mut registry, None, &typed).expect(201);
    registry.get(manifest("a", "v1")).expect(200).with("Content-Type", OCI_MANIFEST);
    push(&mut registry, Some(DOCKER_MANIFEST), document("")).expect(201);
    registry.get(manifest("a", "v1")).expect(200).with("Content-Type", DOCKER_MANIFEST);
    push(&mut registry, None, document("")).refused(400, "MANIFEST_INVALID");
}

/// SPEC K7, U6.
#[test]
fn documents_of_other_types_are_no_manifests() {
    let mut registry = with_blobs();
    for content_type in [
        "application/json",
        "",
        "text/plain",
        "application/octet-stream",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        EMPTY,
    ] {
        push(&mut registry, Some(content_type), document("")).refused(400, "MANIFEST_INVALID");
    }
}

/// SPEC K8, U12.
#[test]
fn what_cannot_be_read_as_a_manifest_is_refused() {
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let mut registry = with_blobs();
    for document in [
        "",
        " ",
        "{",
        "{}",
        "[]",
        "null",
        "\"x\"",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":2,\"config\":[]}",
        "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:bad\",\"mediaType\":\"a\",\"size\":1}}",
        &document("").replace("\"schemaVersion\":2", "\"schemaVersion\":1"),
        &document("").replace("\"schemaVersion\":2", "\"schemaVersion\":\"2\""),
        &document("").replace("\"schemaVersion\":2,", ""),
        &document("").replace("\"size\":2", "\"size\":-1"),
        &document("").replace("\"size\":2", "\"size\":1e999"),
        &document("").replace("\"size\":2", "\"size\":99999999999999999999999999"),
        &document(",\"layers\":[]"),
        &document(",\"subject\":7"),
        &document(",\"annotations\":{\"a\":{}}"),
        &document(&format!(",\"annotations\":{deep}")),
        &document(&format!(",\"subject\":{deep}")),
        &format!("{} x", document("")),
        &format!("\u{feff}{}", document("")),
    ] {
        push(&mut registry, Some(OCI_MANIFEST), document).refused(400, "MANIFEST_INVALID");
    }
    let mut no_text = document("").into_bytes();
    no_text.push(0xff);
    let call = put(manifest("a", "v1")).header("Content-Type", OCI_MANIFEST).body(no_text);
    registry.call(call).refused(400, "MANIFEST_INVALID");
    registry.get(manifest("a", "v1")).refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC K12, U12: a field that the registry does not read may be as deep as it likes.
#[test]
fn depth_is_no_harm_where_nobody_looks() {
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let mut registry = with_blobs();
    push(&mut registry, Some(OCI_MANIFEST), document(&format!(",\"x\":{deep}"))).expect(201);
    let digest = sha256(registry.get(manifest("a", "v1")).expect(200).body());
    registry.delete(manifest("a", digest)).expect(202);
}

/// SPEC K12.
#[test]
fn what_is_unknown_empty_or_beside_the_point_is_no_error() {
    let mut registry = with_blobs();
    for image in [
        Manifest::artifact("application/x.unheard-of", "layer"),
        Manifest::artifact("x", "layer").field("layers", json!([])),
        Manifest::artifact("x", "layer").field("layers", None::<bool>),
        Manifest::artifact("x", "layer").field("config", descriptor("un/heard-of", "{}")),
        Manifest::artifact("x", "layer").field("layers", json!([descriptor("un/heard-of", "layer")])),
        Manifest::artifact("x", "layer").field("annotations", json!({ "": "", "a": "b" })),
        Manifest::artifact("x", "layer").field("custom", json!({ "deep": [[[{}]]] })),
        Manifest::index(&[]),
        Manifest::index(&[]).field("artifactType", "x/y").field("annotations", json!({ "a": "b" })),
    ] {
        registry.push("a", "v1", &image);
        assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), image.bytes());
    }
    let mut inline = descriptor(EMPTY, "{}");
    inline["data"] = json!("e30=");
    inline["custom"] = json!(7);
    registry.push("a", "v1", &Manifest::artifact("x", "layer").field("config", inline));
    // An index may have anything for a child: a blob of a build cache, or a platform that says nothing.
    let mut child = descriptor("x/y", "layer");
    child["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
    registry.push("a", "v1", &Manifest::index(&[]).field("manifests", json!([child, descriptor("x/z", "{}")])));
}

/// SPEC K10.
#[test]
fn a_subject_need_not_be_there() {
    let mut registry = with_blobs();
    let subject = json!({ "mediaType": OCI_MANIFEST, "digest": NOWHERE, "size": 7 });
    registry.push("a", "v1", &Manifest::artifact("x/y", "layer").field("subject", subject.clone()));
    registry.push("a", "v2", &Manifest::index(&[]).field("subject", subject));
}

/// SPEC K11, U6.
#[test]
fn layers_that_live_elsewhere_need_not_be_there() {
    let mut registry = with_blobs();
    let elsewhere = |media_type: &str| json!({ "mediaType": media_type, "digest": NOWHERE, "size": 7 });
    for layer in [
        elsewhere("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        elsewhere("application/vnd.oci.image.layer.nondistributable.v1.tar"),
        elsewhere("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        elsewhere("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"),
        json!({ "mediaType": OCI_LAYER, "digest": NOWHERE, "size": 7, "urls": ["https://example.com/layer"] }),
    ] {
        registry.push("a", "v1", &Manifest::artifact("x/y", "layer").field("layers", json!([layer])));
    }
    let ordinary = json!({ "mediaType": OCI_LAYER, "digest": NOWHERE, "size": 7, "urls": [] });
    let image = Manifest::artifact("x/y", "layer").field("layers", json!([ordinary]));
    registry.put_manifest("a", "v1", &image).refused(400, "MANIFEST_BLOB_UNKNOWN");
}

/// A manifest of exactly that many bytes.
fn of_size(size: usize) -> String {
    let bare = document(",\"padding\":\"\"").len();
    document(&format!(",\"padding\":\"{}\"", "x".repeat(size - bare)))
}

/// SPEC K13, U11: 4 MiB, whether or not the length is told.
#[test]
fn a_manifest_may_have_4_mib_and_not_a_byte_more() {
    const LIMIT: usize = 4 << 20;
    let mut registry = with_blobs();
    for (size, fits) in [(4_000_000, true), (LIMIT - 1, true), (LIMIT, true), (LIMIT + 1, false), (9 << 20, false)] {
        let document = of_size(size);
        assert_eq!(document.len(), size);
        let digest = sha256(&document);
        let call = put(manifest("a", &digest)).header("Content-Type", OCI_MANIFEST).body(document);
        for call in [call.clone(), call.chunked()] {
            let answer = registry.call(call);
            if fits {
                answer.expect(201);
                registry.head(manifest("a", &digest)).expect(200).with("Content-Length", size);
            } else {
                answer.refused(413, "MANIFEST_INVALID");
                registry.head(manifest("a", &digest)).expect(404);
            }
        }
    }
}

/// SPEC K13: the limit is the operator's.
#[test]
fn an_operator_decides_how_large_a_manifest_may_be() {
    let mut registry = crate::configured(|config| config.manifest_limit = 1000);
    registry.push_blob("a", "{}");
    push(&mut registry, Some(OCI_MANIFEST), of_size(1000)).expect(201);
    push(&mut registry, Some(OCI_MANIFEST), of_size(1001)).refused(413, "MANIFEST_INVALID");
}

/// SPEC K8: what was cut off is refused, even if what came reads as a manifest.
#[test]
fn a_manifest_that_is_cut_off_is_refused() {
    let mut registry = with_blobs();
    let call = put(manifest("a", "v1")).header("Content-Type", OCI_MANIFEST).body(document(""));
    registry.call(call.clone().chunked().cut()).refused(400, "SIZE_INVALID");
    let length = call.body.bytes.len();
    registry.call(call.length(length + 1)).refused(400, "SIZE_INVALID");
    registry.get(manifest("a", "v1")).refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC K12, U6: an image of either kind, and a list of either kind over either.
#[test]
fn lists_may_mix_the_two_worlds() {
    let mut registry = registry();
    let oci = registry.push_image("a", "oci", AMD64, "oci");
    let docker = Manifest::docker_image(AMD64, "docker");
    registry.push("a", "docker", &docker);
    registry.push("a", "v1", &Manifest::index(&[&oci, &docker]));
    registry.push("a", "v1", &Manifest::docker_list(&[&oci, &docker]));
}
