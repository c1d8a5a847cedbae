//! Section P: errors.

use orlop_conformance::image::{AMD64, sha256};
use orlop_conformance::system::{Call, System, blob, get, manifest, patch, put, referrers, uploads};
use orlop_core::Step;
use orlop_core::effect::Collected;
use orlop_core::error::Code;
use orlop_core::http::Body;
use orlop_core::memory::Memory;

use crate::{NO_SESSION, NOWHERE, registry};

/// One request for each way to be refused.
fn refusals() -> Vec<(Call, u16, &'static str)> {
    let session = format!("/v2/a/blobs/uploads/{NO_SESSION}");
    let put_manifest = |reference: &str| put(manifest("a", reference)).body("{}");
    vec![
        (get("/nowhere"), 404, "UNSUPPORTED"),
        (put("/v2/"), 405, "UNSUPPORTED"),
        (get("/v2/A/tags/list"), 400, "NAME_INVALID"),
        (get("/v2/b/tags/list"), 404, "NAME_UNKNOWN"),
        (get("/v2/a/tags/list?n=x"), 400, "PAGINATION_NUMBER_INVALID"),
        (get("/v2/_catalog?n=x"), 400, "PAGINATION_NUMBER_INVALID"),
        (get(blob("a", NOWHERE)), 404, "BLOB_UNKNOWN"),
        (get(blob("a", "x")), 400, "DIGEST_INVALID"),
        (get(blob("a", sha256("layer"))).header("Range", "bytes=99-"), 416, "RANGE_INVALID"),
        (get(blob("a", sha256("layer"))).header("If-Match", "\"x\""), 412, "DENIED"),
        (get(manifest("a", ".")), 404, "MANIFEST_UNKNOWN"),
        (put_manifest("."), 400, "TAG_INVALID"),
        (put_manifest("v1").header("Content-Encoding", "gzip"), 415, "UNSUPPORTED"),
        (get(manifest("a", "v2")), 404, "MANIFEST_UNKNOWN"),
        (get(manifest("a", "sha256:x")), 400, "DIGEST_INVALID"),
        (get(referrers("a", "x")), 400, "DIGEST_INVALID"),
        (get(&session), 404, "BLOB_UPLOAD_UNKNOWN"),
        (patch(&session).body("x"), 404, "BLOB_UPLOAD_UNKNOWN"),
        (put(&session), 400, "DIGEST_INVALID"),
        (orlop_conformance::system::post(uploads("a") + "?digest=x"), 400, "DIGEST_INVALID"),
        (put_manifest("v1"), 400, "MANIFEST_INVALID"),
        (put_manifest("v1?tag=v2"), 400, "TAG_INVALID"),
        (put_manifest(NOWHERE), 400, "DIGEST_INVALID"),
        (put_manifest("v1").chunked().cut(), 400, "SIZE_INVALID"),
        (put_manifest("v1").length(5 << 20), 413, "MANIFEST_INVALID"),
    ]
}

/// SPEC P1, P3, U9.
#[test]
fn every_error_has_its_status_its_code_and_the_form_of_the_specification() {
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "layer");
    for (call, status, code) in refusals() {
        let answer = registry.call(call).refused(status, code);
        let body = answer.json();
        assert_eq!(
            body.as_object().map(|fields| fields.keys().map(String::as_str).collect::<Vec<_>>()),
            Some(vec!["errors"])
        );
        for error in body["errors"].as_array().expect("a list") {
            let fields = error.as_object().expect("an object");
            assert!(fields.keys().all(|field| ["code", "message", "detail"].contains(&field.as_str())), "{answer}");
            assert!(fields["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
        }
    }
}

/// SPEC P2: the codes of both specifications, and the two that every implementation of Docker's has.
#[test]
fn every_code_is_one_that_clients_know() {
    const OCI: [&str; 14] = [
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
    ];
    const DOCKER: [&str; 5] = ["TAG_INVALID", "RANGE_INVALID", "PAGINATION_NUMBER_INVALID", "UNKNOWN", "UNAVAILABLE"];
    for code in Code::ALL {
        let code = code.as_str();
        assert!(OCI.contains(&code) || DOCKER.contains(&code), "{code}");
    }
    assert!(OCI.iter().all(|code| Code::ALL.iter().any(|ours| ours.as_str() == *code)));
}

/// SPEC P5, B3: no body; a name, tag or digest that cannot be is not there.
#[test]
fn an_error_to_head_has_the_status_of_get_or_404_and_no_body() {
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "layer");
    for (mut call, status, code) in refusals() {
        if call.request.method != orlop_core::Method::Get {
            continue;
        }
        call.request.method = orlop_core::Method::Head;
        let malformed = matches!(code, "NAME_INVALID" | "TAG_INVALID" | "DIGEST_INVALID");
        // HEAD has no ranges.
        let expected = if malformed { 404 } else { if status == 416 { 200 } else { status } };
        assert!(registry.call(call).expect(expected).body().is_empty());
    }
}

/// SPEC P1: what clients sent is quoted as data.
#[test]
fn what_a_client_sent_cannot_break_the_body_of_an_error() {
    let mut registry = registry();
    let odd = "\"},{\"code\":\"x\\u0000\r\n<script>";
    let call = put(manifest("a", "v1")).header("Content-Type", odd).body("{}");
    registry.call(call).refused(400, "MANIFEST_INVALID");
    let call = put(manifest("a", "v1"))
        .header("Content-Type", odd)
        .body("{\"schemaVersion\":2,\"config\":{\"mediaType\":\"\\\"\\u0000\",\"digest\":\"\\\"}\",\"size\":1}}");
    registry.call(call).refused(400, "MANIFEST_INVALID");
}

/// SPEC P3: a host that has no room for a manifest says so with 429, and when to come again.
#[test]
fn a_registry_that_has_no_room_now_says_when_to_come_again() {
    let registry = registry().registry;
    let request = orlop_core::memory::request("PUT", manifest("a", "v1"));
    let ambient = Memory::new().ambient();
    let Step::Collect(ask) = registry.call(request, ambient) else { panic!("a manifest is collected") };
    let Step::Respond(response) = ask.answer(Ok(Collected::NoRoom)) else { panic!("nothing else is asked for") };
    assert_eq!((response.status, response.header("Retry-After")), (429, Some("1")));
    let Body::Bytes(body) = &response.body else { panic!("an error has a body") };
    assert!(String::from_utf8_lossy(body).contains(Code::TooManyRequests.as_str()));
}
