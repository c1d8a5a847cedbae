//! What histories are about: few repositories, tags and things to push, so that steps meet.

use std::sync::LazyLock;

use bytes::Bytes;
use orlop_conformance::image::{AMD64, ARM64, Manifest, descriptor};
use serde_json::json;

/// Tags become lists in the last one.
pub(crate) const REPOSITORIES: [&str; 3] = ["a", "a/b", "assembled/c"];

/// Where tags become lists.
pub(crate) const ASSEMBLED: &str = "assembled/**";

pub(crate) const TAGS: [&str; 4] = ["v1", "v2", "V1", "latest"];

/// What chunks are made of. The last one is beyond the limit of a blob. None has one byte, nor has its half: a session
/// of one byte says `0-0`, as one of none does (SPEC G2), and after a failure nobody could tell which it is.
pub(crate) const CHUNKS: [&str; 4] = ["", "four", "chunk after chunk", OVER];

/// The largest blob in bytes: room for the configs.
pub(crate) const BLOB_LIMIT: u64 = 200;

/// The largest manifest in bytes: the index of two with a subject has fewer.
pub(crate) const MANIFEST_LIMIT: u64 = 1000;

/// A blob beyond the limit.
const OVER: &str = match std::str::from_utf8(&[b'x'; BLOB_LIMIT as usize + 1]) {
    Ok(text) => text,
    Err(_) => panic!(),
};

/// The types that referrers may be asked for.
pub(crate) const ARTIFACT_TYPES: [&str; 2] = ["application/x-signature", "application/vnd.oci.image.config.v1+json"];

/// The manifests of a history.
pub(crate) static MANIFESTS: LazyLock<Vec<Manifest>> = LazyLock::new(|| {
    let amd64 = Manifest::image(AMD64, "layer");
    let newer = Manifest::image(AMD64, "newer");
    let arm64 = Manifest::image(ARM64, "layer");
    let docker = Manifest::docker_image(("windows", "amd64"), "other");
    let index = Manifest::index(&[&amd64, &arm64]);
    let nested = Manifest::index(&[&index]);
    let signature = Manifest::artifact(ARTIFACT_TYPES[0], "signed").about(&amd64);
    let noted = signature.clone().field("annotations", json!({ "note": "ä" })).field("mediaType", json!(null));
    let about = Manifest::index(&[&docker]).about(&amd64);
    let countersigned = Manifest::image(("unknown", "unknown"), "signed").about(&signature);
    let mut foreign = descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar", "elsewhere");
    foreign["urls"] = json!(["https://example.com/layer"]);
    let partly = Manifest::image(ARM64, "newer").field("layers", json!([foreign]));
    let large = Manifest::artifact("x/y", "signed").field("annotations", json!({ "large": "x".repeat(1000) }));
    vec![amd64, newer, arm64, docker, index, nested, signature, noted, about, countersigned, partly, large]
});

/// The blobs of a history: what the manifests need, and some that nothing needs.
pub(crate) static BLOBS: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let mut blobs: Vec<Bytes> = MANIFESTS.iter().flat_map(|manifest| manifest.blobs().to_vec()).collect();
    blobs.sort();
    blobs.dedup();
    blobs.extend([Bytes::new(), Bytes::from(OVER), Bytes::from("unused")]);
    blobs
});
