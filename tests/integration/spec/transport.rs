//! Section A: transport, base, version check.

use orlop_conformance::image::{AMD64, Manifest, sha256};
use orlop_conformance::system::uploads;
use orlop_conformance::system::{
    Call, InMemory, System, blob, get, head, manifest, patch, post, put, referrers, request,
};

use crate::{ENDPOINTS, METHODS, NOWHERE, registry};

/// SPEC A1, A3, A4.
#[test]
fn the_base_says_that_there_is_a_registry() {
    let mut registry = registry();
    for path in ["/v2/", "/v2"] {
        let answer = registry.get(path).expect(200);
        let answer = answer.with("Docker-Distribution-API-Version", "registry/2.0");
        let answer = answer.with("Content-Type", "application/json").with("Content-Length", 2);
        assert_eq!(answer.body(), b"{}");
    }
    registry.head("/v2/").expect(200);
}

/// SPEC A3: old engines read it, so every answer has it.
#[test]
fn every_answer_names_the_version_of_the_api() {
    let mut registry = registry();
    for endpoint in &ENDPOINTS {
        for method in METHODS {
            let answer = registry.call(request(method, endpoint.at("a")));
            answer.with("Docker-Distribution-API-Version", "registry/2.0");
        }
    }
    registry.get("/").with("Docker-Distribution-API-Version", "registry/2.0");
}

/// SPEC A13, A5, U30 (RFC 9110, 15.5.6).
#[test]
fn an_endpoint_refuses_methods_it_does_not_take_and_says_which_it_takes() {
    let mut registry = registry();
    for endpoint in &ENDPOINTS {
        for method in METHODS {
            let call = request(method, endpoint.at("a"));
            let what = format!("{method} {}", endpoint.path);
            let answer = registry.call(call);
            if endpoint.takes.contains(&method) {
                assert_ne!(answer.status(), 405, "{what}");
                continue;
            }
            assert_eq!(answer.status(), 405, "{what}");
            let allow: Vec<_> = answer.header("Allow").expect("RFC 9110 demands Allow").split(", ").collect();
            assert_eq!(allow, endpoint.takes, "{what}");
            if method == "HEAD" {
                assert!(answer.body().is_empty(), "{what}");
            } else {
                answer.refused(405, "UNSUPPORTED");
            }
        }
    }
}

/// SPEC A13, B12: names cannot begin with `_`, so `/v2/_x/` is no repository either.
#[test]
fn a_path_that_leads_nowhere_is_not_found() {
    let mut registry = registry();
    for path in ["/", "", "/v1/", "/v2x/", "/v2/a", "/v2/_oci", "/v2/_catalog/x", "/v2/a/blobs", "/v2/tags/list", "*"] {
        for method in METHODS {
            let answer = registry.call(request(method, path)).expect(404);
            if method != "HEAD" {
                answer.refused(404, "UNSUPPORTED");
            }
        }
    }
}

/// A registry with one of everything, and a request for each.
fn one_of_everything() -> (InMemory, Vec<Call>) {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.push("a", "about", &Manifest::artifact("x/y", "signature").about(&image));
    let session = registry.open("a");
    let layer = orlop_conformance::image::sha256("layer");
    let etag = format!("\"{layer}\"");
    let calls = vec![
        get("/v2/"),
        get("/v2/_catalog"),
        get("/v2/_catalog?n=0"),
        get("/v2/_catalog?n=x"),
        get("/v2/a/tags/list?n=1"),
        get("/v2/b/tags/list"),
        get(referrers("a", image.digest())),
        get(format!("{}?artifactType=x/y", referrers("a", image.digest()))),
        get(blob("a", &layer)),
        get(blob("a", &layer)).header("If-None-Match", &etag),
        get(blob("a", &layer)).header("If-Match", "\"x\""),
        get(blob("a", NOWHERE)),
        get(manifest("a", "v1")),
        get(manifest("a", "v1")).header("If-None-Match", "*"),
        get(manifest("a", image.digest())),
        get(manifest("a", "v2")),
        get(manifest("a", NOWHERE)),
        get(session),
        get(format!("/v2/a/blobs/uploads/{}", crate::NO_SESSION)),
        get(uploads("a")),
        get("/nowhere"),
    ];
    (registry, calls)
}

/// SPEC A5, C2, J1, N10, P5 (RFC 9110, 9.3.2).
#[test]
fn head_answers_as_get_does_but_for_the_body() {
    let (mut registry, calls) = one_of_everything();
    for call in calls {
        let mut head = call.clone();
        head.request.method = orlop_core::Method::Head;
        let (get, head) = (registry.call(call), registry.call(head));
        assert_eq!(head.status(), get.status(), "{head}");
        assert_eq!(head.response.headers, get.response.headers, "{head}");
        assert!(head.body().is_empty(), "{head}");
    }
}

/// SPEC A5: whoever reads a response by its length gets all of it.
#[test]
fn the_length_of_an_answer_is_that_of_its_body() {
    let (mut registry, calls) = one_of_everything();
    for call in calls {
        let answer = registry.call(call);
        if matches!(answer.status(), 204 | 304) {
            // RFC 9110, 8.6: a 204 has no Content-Length, and that of a 304 would be another's.
            answer.without("Content-Length");
        } else {
            let length = answer.body().len();
            answer.with("Content-Length", length);
        }
    }
}

/// SPEC A8, U26: lengths, ranges and digests refer to the bytes as they are.
#[test]
fn no_body_is_ever_content_encoded() {
    let (mut registry, calls) = one_of_everything();
    for call in calls {
        let plain = registry.call(call.clone());
        let offered = registry.call(call.header("Accept-Encoding", "zstd,gzip,deflate"));
        assert_eq!(offered.response, plain.response, "{offered}");
        offered.without("Content-Encoding").without("Transfer-Encoding");
    }
}

/// SPEC A9, A12.
#[test]
fn parameters_that_nobody_knows_are_ignored() {
    let (mut registry, calls) = one_of_everything();
    for call in calls {
        let plain = registry.call(call.clone());
        let mut other = call;
        other.request.target.push(if other.request.target.contains('?') { '&' } else { '?' });
        other.request.target.push_str("ns=docker.io&origin=x&_state=abc&%zz&=&");
        let answer = registry.call(other);
        assert_eq!(answer.status(), plain.status(), "{answer}");
        assert_eq!(answer.body(), plain.body(), "{answer}");
    }
    let image = Manifest::image(AMD64, "layer");
    let push = put(manifest("a", "v3") + "?ns=x").header("Content-Type", image.media_type()).body(image.bytes());
    registry.call(push).expect(201);
    registry.call(head(manifest("a", "v3") + "?ns=x")).expect(200);
}

/// SPEC A14.
#[test]
fn a_body_of_unknown_length_is_as_good_as_any() {
    let mut registry = registry();
    let image = Manifest::image(AMD64, "layer");
    for bytes in image.blobs() {
        let session = registry.open("a");
        let digest = orlop_conformance::image::sha256(bytes);
        registry.call(put(format!("{session}?digest={digest}")).body(bytes.clone()).chunked()).expect(201);
        assert_eq!(registry.get(blob("a", digest)).expect(200).body(), bytes);
    }
    let push = put(manifest("a", "v1")).header("Content-Type", image.media_type()).body(image.bytes()).chunked();
    registry.call(push).expect(201);
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), image.bytes());
}

/// SPEC A16, RFC 9110, 8.4, 15.5.16: before the body is sent, whatever it would become.
#[test]
fn a_body_with_a_content_coding_is_refused() {
    let mut registry = registry();
    let session = registry.open("a");
    let image = Manifest::image(AMD64, "layer");
    let whole = format!("{}?digest={}", uploads("a"), sha256("x"));
    let finish = format!("{session}?digest={}", sha256("x"));
    let pushes = [post(&whole), patch(&session), put(&finish), put(manifest("a", "v1"))];
    for (push, coding) in pushes.iter().flat_map(|push| ["gzip", "zstd", "GZIP, identity"].map(|coding| (push, coding)))
    {
        for push in [push.clone().body("x"), push.clone().body("x").chunked()] {
            let answer = registry.call(push.header("Content-Encoding", coding)).refused(415, "UNSUPPORTED");
            answer.with("Accept-Encoding", "identity");
        }
    }
    registry.get(&session).expect(204).with("Range", "0-0");
    // Nothing is coded in these.
    registry.call(post(uploads("a")).header("Content-Encoding", "gzip")).expect(202);
    registry.call(patch(&session).header("Content-Encoding", "identity").body("x")).expect(202);
    registry.call(put(&finish).header("Content-Encoding", "gzip")).expect(201);
    image.blobs().iter().for_each(|bytes| drop(registry.push_blob("a", bytes.clone())));
    registry.put_manifest("a", "v1", &image).expect(201);
}
