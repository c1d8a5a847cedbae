//! How much a repository may hold, and a caller bring.

use std::sync::Arc;

use orlop_conformance::image::{AMD64, Manifest, sha256};
use orlop_conformance::system::{System, blob, manifest, patch, post, put, uploads};
use orlop_core::config::{Pattern, Quota};
use orlop_core::{Body, Caller};

use crate::configured;

/// SPEC E6, K17: 403 DENIED, with how much is there and how much would come.
#[test]
fn a_repository_holds_no_more_than_its_quota() {
    let quota = |pattern: &str, bytes| Quota { repositories: [Pattern::new(pattern)].into(), bytes };
    let mut registry = configured(|config| config.quotas = [quota("small/*", 100), quota("**", 100_000)].into());
    registry.push_blob("small/a", "x".repeat(60));
    // What is here already brings nothing, however it comes.
    let again = post(format!("{}?digest={}", uploads("small/a"), sha256("x".repeat(60)))).body("x".repeat(60));
    registry.call(again).expect(201);
    let session = registry.open("small/a");
    registry.call(put(format!("{session}?digest={}", sha256("x".repeat(60)))).body("x".repeat(60))).expect(201);
    registry.post(format!("{}?mount={}", uploads("small/a"), sha256("x".repeat(60)))).expect(201);
    let big = "y".repeat(41);
    let pushed = registry.call(post(format!("{}?digest={}", uploads("small/a"), sha256(&big))).body(big.clone()));
    let pushed = pushed.refused(403, "DENIED");
    assert!(
        pushed.to_string().contains(
            "the quota of small/a is 100 bytes; its blobs, manifests and open uploads have 60, and this needs 41 more"
        ),
        "{pushed}"
    );
    registry.get(blob("small/a", sha256(&big))).expect(404);
    // By chunks, and by a mount.
    let session = registry.open("small/a");
    registry.call(patch(&session).body(big.clone())).refused(403, "DENIED");
    registry.call(patch(&session).body("y".repeat(40))).expect(202);
    registry.call(put(format!("{session}?digest={}", sha256(&big))).body("y")).refused(403, "DENIED");
    registry.get(&session).expect(204).with("Range", "0-39");
    // What open uploads have received counts.
    registry.post(uploads("small/a")).refused(403, "DENIED");
    registry.delete(&session).expect(204);
    // They count once, also when the upload is finished.
    let session = registry.open("small/c");
    registry.call(patch(&session).body("y".repeat(60))).expect(202);
    registry.call(put(format!("{session}?digest={}", sha256("y".repeat(100)))).body("y".repeat(40))).expect(201);
    registry.push_blob("other", big.clone());
    let mount = post(format!("{}?mount={}&from=other", uploads("small/a"), sha256(&big)));
    registry.call(mount).refused(403, "DENIED");
    registry.push_blob("small/b", big);
    registry.push_blob("small/a", "z".repeat(40));
    registry.post(uploads("small/a")).refused(403, "DENIED");
    let image = Manifest::image(AMD64, "layer");
    registry.put_manifest("small/a", "v1", &image).refused(400, "MANIFEST_BLOB_UNKNOWN");
    registry.push("large", "v1", &image);
    registry.get(manifest("large", "v1")).expect(200);
}

/// A body that does not say how long it is gets no more than one that does.
#[test]
fn a_body_of_unknown_length_ends_where_the_quota_does() {
    let quota = Quota { repositories: [Pattern::new("**")].into(), bytes: 100 };
    let mut registry = configured(|config| config.quotas = [quota].into());
    registry.push_blob("a", "x".repeat(60));
    let session = registry.open("a");
    let long = "y".repeat(41);
    let refused = registry.call(patch(&session).body(long.clone()).chunked()).refused(403, "DENIED");
    assert!(refused.to_string().contains("have 60, and this needs more than is left"), "{refused}");
    registry.get(&session).expect(204).with("Range", "0-0");
    let posted = post(format!("{}?digest={}", uploads("a"), sha256(&long))).body(long.clone()).chunked();
    registry.call(posted).refused(403, "DENIED");
    let finished = put(format!("{session}?digest={}", sha256(&long))).body(long).chunked();
    registry.call(finished).refused(403, "DENIED");
    registry.call(patch(&session).body("y".repeat(40)).chunked()).expect(202).with("Range", "0-39");
    // What the repository holds already brings nothing, however long it is.
    let again = post(format!("{}?digest={}", uploads("a"), sha256("x".repeat(60)))).body("x".repeat(60)).chunked();
    registry.call(again).expect(201);
}

/// SPEC E9: what is too large wherever it comes is 413, also where the quota ends with the limit.
#[test]
fn a_blob_over_the_limit_is_too_large_whatever_the_quota() {
    let quota = Quota { repositories: [Pattern::new("**")].into(), bytes: 10 };
    let mut registry = configured(|config| (config.quotas, config.blob_limit) = ([quota].into(), 10));
    let large = "x".repeat(11);
    let target = format!("{}?digest={}", uploads("a"), sha256(&large));
    registry.call(post(target).body(large.clone()).chunked()).refused(413, "SIZE_INVALID");
    let session = registry.open("a");
    registry.call(patch(&session).body(large).chunked()).refused(413, "SIZE_INVALID");
}

#[test]
fn a_caller_brings_no_larger_blob_than_it_may() {
    let mut registry = configured(|_| {});
    let caller = Caller { blob_limit: 10, ..Caller::anybody() };
    let target = format!("{}?digest={}", uploads("a"), sha256("x".repeat(11)));
    let posted = post(target).body("x".repeat(11)).chunked();
    let ambient = registry.memory.ambient();
    let step = registry.registry.call_of(caller.into(), Arc::new(posted.request.into()), ambient);
    let response = registry.memory.run(step, &posted.body);
    assert_eq!(response.status, 413);
    assert!(matches!(response.body, Body::Bytes(_)));
    assert!(registry.memory.objects.is_empty());
}
