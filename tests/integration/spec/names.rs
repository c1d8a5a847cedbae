//! Section B: the grammar of names, tags and digests, as clients meet it.

use orlop_conformance::image::{AMD64, Manifest, sha256, sha512};
use orlop_conformance::system::{System, blob, get, head, manifest, post, put, referrers, request, uploads};

use crate::{ENDPOINTS, NO_SESSION, registry};

/// SPEC B1, B2, B11, U2, U3.
#[test]
fn every_valid_name_is_one_of_a_repository() {
    let longest = "a".repeat(255);
    let deep = ["a"; 128].join("/");
    for name in [
        "a",
        "0",
        "a/b",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a---b",
        "a/b/c/d/e",
        "tags",
        "tags/list",
        "tags/blobs",
        "blobs",
        "manifests",
        "referrers/a",
        "a/blobs/uploads",
        "uploads",
        "v2",
        "a/manifests/v1",
        "blobs/uploads",
        &longest,
        &deep,
    ] {
        let mut registry = registry();
        let image = registry.push_image(name, "v1", AMD64, "layer");
        assert_eq!(registry.get(manifest(name, "v1")).expect(200).body(), image.bytes());
        registry.head(manifest(name, image.digest())).expect(200);
        assert_eq!(registry.get(blob(name, sha256("layer"))).expect(200).body(), b"layer");
        assert_eq!(registry.tags(name), ["v1"]);
        registry.get(referrers(name, image.digest())).expect(200);
        let session = registry.open(name);
        registry.get(session).expect(204);
        assert_eq!(registry.get("/v2/_catalog").expect(200).json()["repositories"][0], name);
    }
}

/// SPEC B1–B3, B10, B12, C5, D3, E6, J5, U2, U3. `HEAD` answers 404, so that containerd goes on.
#[test]
fn every_endpoint_refuses_a_name_that_cannot_be() {
    let too_long = "a".repeat(256);
    let mut registry = registry();
    for name in [
        "",
        "A",
        "aB",
        "a..b",
        "a___b",
        "a._b",
        "a_.b",
        "a-.b",
        ".a",
        "a.",
        "_a",
        "a_",
        "-a",
        "a-",
        "a/-b",
        "a//b",
        "a/",
        "/a",
        "a%20b",
        "%C3%A4",
        "a%00",
        "..",
        "a/..",
        "a/../b",
        "%2e%2e",
        "a%2F..%2Fb",
        "a%2F%2Fb",
        "%2Fa",
        "a%2F",
        "a:b",
        "a@b",
        "_catalog",
        &too_long,
    ] {
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.path.contains("{name}")) {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                registry.call(request(method, endpoint.at(name))).refused(400, "NAME_INVALID");
            }
            registry.head(endpoint.at(name)).expect(404);
        }
    }
}

/// SPEC B4, U2.
#[test]
fn every_valid_tag_can_be_pushed_pulled_listed_and_deleted() {
    let longest = "a".repeat(128);
    for tag in ["a", "A", "0", "_", "v1.2-rc_3", "__", "a..b", "_.-", "list", "latest", &longest] {
        let mut registry = registry();
        let image = registry.push_image("a", tag, AMD64, "layer");
        assert_eq!(registry.get(manifest("a", tag)).expect(200).body(), image.bytes());
        assert_eq!(registry.tags("a"), [tag]);
        registry.delete(manifest("a", tag)).expect(202);
        registry.get(manifest("a", tag)).refused(404, "MANIFEST_UNKNOWN");
    }
}

/// SPEC B4, B5, J4, J5, L6, U2: nothing is under such a tag, and nothing can be put there.
#[test]
fn a_tag_that_cannot_be_is_not_found_and_cannot_be_pushed() {
    let too_long = "a".repeat(129);
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "layer");
    for tag in ["", ".a", "-a", "a%20b", "%C3%A4", "a+b", "a%2Fb", "a%00", "a@b", "..", &too_long] {
        registry.get(manifest("a", tag)).refused(404, "MANIFEST_UNKNOWN");
        for method in ["PUT", "DELETE"] {
            registry.call(request(method, manifest("a", tag))).refused(400, "TAG_INVALID");
        }
        registry
            .call(request("POST", manifest("a", tag)))
            .refused(405, "UNSUPPORTED")
            .with("Allow", "GET, HEAD, PUT, DELETE");
        registry.head(manifest("a", tag)).expect(404);
    }
}

/// SPEC B5, B6, B8, B9, C5, D3, J5, K4, L6, M2, U2.
#[test]
fn a_digest_that_cannot_be_or_is_of_an_unknown_algorithm_is_refused() {
    let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let mut registry = registry();
    for digest in [
        "sha256:baddigeststring".into(),
        "sha256:".into(),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}0"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("sha512:{hex}"),
        format!("sha256:{}g", &hex[1..]),
        format!(":{hex}"),
        format!("sha256:{hex}:x"),
        "md5:d41d8cd98f00b204e9800998ecf8427e".into(),
        "blake3:af1349b9f5f9a1a6a0404dea36dcc949".into(),
    ] {
        for (path, methods) in [
            (blob("a", &digest), &["GET", "DELETE"][..]),
            (manifest("a", &digest), &["GET", "PUT", "DELETE"]),
            (referrers("a", &digest), &["GET"]),
        ] {
            for method in methods {
                registry.call(request(method, &path)).refused(400, "DIGEST_INVALID");
            }
            registry.head(&path).expect(404);
        }
        registry.post(format!("{}?digest={digest}", uploads("a"))).refused(400, "DIGEST_INVALID");
        let session = registry.open("a");
        registry.call(put(format!("{session}?digest={digest}"))).refused(400, "DIGEST_INVALID");
    }
    registry.get(blob("a", hex)).refused(400, "DIGEST_INVALID");
}

/// SPEC B7, C3, H2, U20: both algorithms, and each content under the name it was pushed by.
#[test]
fn a_blob_is_found_by_the_digest_it_was_pushed_with() {
    let mut registry = registry();
    for digest in [sha256("content"), sha512("content")] {
        registry.get(blob("a", &digest)).refused(404, "BLOB_UNKNOWN");
        let push = post(format!("{}?digest={digest}", uploads("a"))).body("content");
        registry.call(push).expect(201).with("Docker-Content-Digest", &digest).with("Location", blob("a", &digest));
        for call in [get(blob("a", &digest)), head(blob("a", &digest))] {
            registry.call(call).expect(200).with("Docker-Content-Digest", &digest);
        }
    }
}

/// SPEC B10.
#[test]
fn percent_encoding_is_undone_segment_by_segment() {
    let mut registry = registry();
    let image = registry.push_image("a/b", "v1", AMD64, "layer");
    let encoded = |digest: &str| digest.replace(':', "%3A");
    registry.get(blob("a/b", encoded(&sha256("layer")))).expect(200);
    registry.get(blob("a/b", sha256("layer").replace(':', "%3a"))).expect(200);
    registry.get(manifest("a/b", encoded(&image.digest()))).expect(200);
    registry.get("/v2/%61/b/manifests/%76%31").expect(200);
    registry.get(referrers("a/b", encoded(&image.digest()))).expect(200);
    registry.call(post(format!("{}?digest={}", uploads("a"), encoded(&sha256("x")))).body("x")).expect(201);
    // An encoded slash within a name is one of its slashes, and ends no name.
    for path in ["/v2/a%2Fb/manifests/v1", "/v2/a%2fb/manifests/v1", "/v2/%61%2Fb/tags/list"] {
        registry.get(path).expect(200);
        registry.head(path).expect(200);
    }
    registry.call(post("/v2/a%2Fc/blobs/uploads/")).expect(202);
    registry.get("/v2/a%2Fb%2Fmanifests%2Fv1").refused(404, "UNSUPPORTED");
    registry.get("/v2/a%2Fb%2Ftags/list").refused(404, "UNSUPPORTED");
}

/// SPEC B5: a reference with a colon is a digest or nothing.
#[test]
fn a_reference_is_a_tag_or_a_digest_and_nothing_else() {
    let mut registry = registry();
    let image = Manifest::image(AMD64, "layer");
    for reference in ["latest:v1", "sha256:x", "a:b:c"] {
        registry.put_manifest("a", reference, &image).refused(400, "DIGEST_INVALID");
        registry.get(manifest("a", reference)).refused(400, "DIGEST_INVALID");
    }
}

/// SPEC F10: ids that were never given out name no session, however they are written.
#[test]
fn an_upload_id_that_is_none_names_no_session() {
    let mut registry = registry();
    let upper = NO_SESSION.to_uppercase();
    let compact = NO_SESSION.replace('-', "");
    let braced = format!("%7B{NO_SESSION}%7D");
    for id in ["x", "..", "%00", NO_SESSION, &upper, &compact, &braced] {
        for method in ["GET", "PATCH", "DELETE"] {
            registry.call(request(method, format!("/v2/a/blobs/uploads/{id}"))).refused(404, "BLOB_UPLOAD_UNKNOWN");
        }
        let finish = put(format!("/v2/a/blobs/uploads/{id}?digest={}", sha256("")));
        registry.call(finish).refused(404, "BLOB_UPLOAD_UNKNOWN");
        registry.head(format!("/v2/a/blobs/uploads/{id}")).expect(404);
    }
}
