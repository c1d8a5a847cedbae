//! The URLs in answers: relative, or below where clients find the registry.

use orlop_conformance::image::{AMD64, sha256};
use orlop_conformance::system::{Answer, Call, InMemory, System, blob, get, manifest, patch, post, put, uploads};
use orlop_core::BaseUrl;

use crate::{configured, registry};

fn base(text: &str) -> Option<BaseUrl> {
    Some(text.parse().expect("a base"))
}

/// Every answer that has a `Location`, to requests that come with this base.
fn locations(registry: &mut InMemory, base: Option<&BaseUrl>) -> Vec<String> {
    let mut send = |mut call: Call| -> Answer {
        call.request.base = base.cloned();
        registry.call(call)
    };
    let (digest, other) = (sha256("content"), sha256("other"));
    let posted = send(post(format!("{}?digest={digest}", uploads("a"))).body("content")).expect(201);
    let mounted = send(post(format!("{}?mount={digest}&from=a", uploads("b")))).expect(201);
    let opened = send(post(uploads("a"))).expect(202);
    let location = opened.location();
    let session = &location[location.find("/v2/").expect("a path")..];
    let sent = send(patch(session).body("other")).expect(202);
    let displaced = send(patch(session).header("Content-Range", "9-9").body("x")).refused(416, "RANGE_INVALID");
    let asked = send(get(session)).expect(204);
    let finished = send(put(format!("{session}?digest={other}"))).expect(201);
    [posted, mounted, opened, sent, displaced, asked, finished].map(|answer| answer.location()).into()
}

fn all_begin(locations: &[String], with: &str) {
    assert_eq!(locations.len(), 7);
    locations.iter().for_each(|location| assert!(location.starts_with(&format!("{with}/v2/")), "{location}"));
}

/// SPEC E1, H1, K1.
#[test]
fn a_location_is_relative_unless_the_registry_knows_where_it_is() {
    all_begin(&locations(&mut registry(), None), "");
    let image = registry().push_image("a", "v1", AMD64, "layer");
    let mut registry = registry();
    image.blobs().iter().for_each(|bytes| drop(registry.push_blob("a", bytes.clone())));
    let answer = registry.put_manifest("a", "v1", &image).expect(201);
    assert_eq!(answer.location(), manifest("a", image.digest()));
}

/// SPEC E1, E10, F1, F3, G1, H1: clients exist that cannot read a relative one.
#[test]
fn a_location_is_below_the_external_url() {
    let mut registry = configured(|config| config.external_url = base("https://registry.example.com/"));
    all_begin(&locations(&mut registry, None), "https://registry.example.com");
    let elsewhere = base("http://10.0.0.1:5000");
    all_begin(&locations(&mut registry, elsewhere.as_ref()), "https://registry.example.com");
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let answer = registry.put_manifest("a", "v1", &image).expect(201);
    assert_eq!(answer.location(), format!("https://registry.example.com{}", manifest("a", image.digest())));
}

/// SPEC E1: a host that knows how it was asked says so.
#[test]
fn a_location_is_below_the_base_that_comes_with_a_request() {
    for text in ["http://localhost:5000", "https://example.com/registry", "/registry"] {
        all_begin(&locations(&mut registry(), base(text).as_ref()), text);
    }
}

/// SPEC N3, N9: every client resolves the target of a link, so that it needs no more than the path that a proxy has put
/// in front.
#[test]
fn a_link_has_the_path_of_the_base_and_no_host() {
    let mut registry = registry();
    for tag in ["a", "b"] {
        registry.push_image("a", tag, AMD64, "layer");
        registry.push_blob(tag, "content");
    }
    let mut check = |given: &str, expected: &str| {
        for path in ["/v2/a/tags/list", "/v2/_catalog"] {
            let mut call = get(format!("{path}?n=1"));
            call.request.base = base(given);
            let link = format!("<{expected}{path}?n=1&last=a>; rel=\"next\"");
            registry.call(call).expect(200).with("Link", link);
        }
    };
    check("https://registry.example.com", "");
    check("https://example.com/registry", "/registry");
    check("/registry", "/registry");
}

/// SPEC H1: what a client is sent to is what it pushed.
#[test]
fn a_location_leads_to_what_was_pushed() {
    let mut registry = registry();
    let digest = sha256("content");
    let answer = registry.call(post(format!("{}?digest={digest}", uploads("a"))).body("content")).expect(201);
    assert_eq!(answer.location(), blob("a", &digest));
    assert_eq!(registry.get(answer.location()).expect(200).body(), b"content");
}
