//! How a client reaches a mirror, and how a mirror notices itself (SPEC V14, V15).

use super::*;

/// SPEC V14.
#[test]
fn a_namespace_names_a_mirror() {
    let other = Mirror {
        prefix: "other/".into(),
        upstreams: vec![Upstream { name: upstream("other"), official: String::new() }],
        namespaces: vec!["other.example.com:5000".into()],
        ..Mirror::default()
    };
    let mut registry = mirroring(vec![hub(), other]);
    let image = push_image(&mut registry, "team/app", "v1", "layer");
    let there = at(&mut registry, "other", |other| other.push_image("team/app", "v1", AMD64, "of other"));
    let pulled =
        |registry: &mut InMemory, namespace: &str| registry.get(format!("/v2/team/app/manifests/v1?ns={namespace}"));
    assert_eq!(pulled(&mut registry, "hub.example.com").expect(200).body(), image.bytes());
    assert_eq!(pulled(&mut registry, "other.example.com%3A5000").expect(200).body(), there.bytes());
    for bytes in image.blobs() {
        let target = format!("/v2/team/app/blobs/{}?ns=hub.example.com", sha256(bytes));
        assert_eq!(registry.get(target).expect(200).body(), bytes);
    }
    pulled(&mut registry, "evil.example.com").refused(404, "NAME_UNKNOWN");
    pulled(&mut registry, "").refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(registry.head("/v2/team/app/manifests/v1?ns=169.254.169.254").status(), 404);
    registry.get("/v2/?ns=hub.example.com").expect(200);
    // A malformed request stays one.
    registry.get("/v2/team/app/blobs/x?ns=evil.example.com").refused(400, "DIGEST_INVALID");
    // A registry without mirrors has never heard of it.
    let mut plain = crate::registry();
    plain.push_image("team/app", "v1", AMD64, "layer");
    plain.get("/v2/team/app/manifests/v1?ns=hub.example.com").expect(200);
}

/// SPEC V14.
#[test]
fn a_mirror_can_be_the_root_of_what_a_client_sees() {
    let mut registry = mirroring(vec![hub()]);
    let (anybody, root) = (Arc::new(Caller::anybody()), Some("hub/"));
    let image = push_image(&mut registry, "team/app", "v1", "layer");
    push_image(&mut registry, "team/app", "v2", "another");
    let answer = within(&mut registry, root, &anybody, &get(manifest("team/app", "v1"))).expect(200);
    assert_eq!(answer.body(), image.bytes());
    within(&mut registry, root, &anybody, &get(manifest("team/app", "v2"))).expect(200);
    within(&mut registry, root, &anybody, &get(blob("team/app", sha256("layer")))).expect(200);
    within(&mut registry, root, &anybody, &get(manifest("hub/team/app", "v1"))).refused(404, "MANIFEST_UNKNOWN");
    within(&mut registry, root, &anybody, &get("/v2/")).expect(200);
    within(&mut registry, root, &anybody, &get("/v2/_catalog")).refused(404, "UNSUPPORTED");
    // Links lead to where the client can go.
    let page = within(&mut registry, root, &anybody, &get("/v2/team/app/tags/list?n=1")).expect(200);
    let next = page.next_page().expect("another page");
    assert!(next.starts_with("/v2/team/app/tags/list?"), "{next}");
    let page = within(&mut registry, root, &anybody, &get(next)).expect(200);
    assert_eq!(strings(&page.json()["tags"]), ["v2"]);
}

/// SPEC V15.
#[test]
fn a_registry_that_mirrors_itself_by_way_of_others_notices_it() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let through = |target: String, via: &str| get(target).header("Via", via);
    registry.call(through(manifest("hub/app", "v1"), "1.1 other, 1.1 orlop")).refused(404, "MANIFEST_UNKNOWN");
    registry.call(through(blob("hub/app", sha256("layer")), "HTTP/1.1 orlop (a comment)")).refused(404, "BLOB_UNKNOWN");
    assert_eq!(asked(&mut registry), [""; 0]);
    // One that has come so far, or says that it has, goes round.
    let far: Vec<String> = (0..17).map(|number| format!("1.1 registry-{number}")).collect();
    let long = format!("1.1 {}", "x".repeat(1 << 10));
    for via in [far.join(", "), long] {
        registry.call(through(manifest("hub/app", "v1"), &via)).refused(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(asked(&mut registry), [""; 0]);
    // What is here is answered all the same, and another registry's name says nothing.
    registry.call(through(manifest("hub/app", "v1"), "1.1 orlop-2")).expect(200);
    registry.advance(DAY);
    let answer = registry.call(through(manifest("hub/app", "v1"), "1.1 orlop")).expect(200);
    assert_eq!(answer.body(), image.bytes());
    assert_eq!(asked(&mut registry).len(), 1);
}

/// SPEC V15: two registries that mirror each other.
#[test]
fn what_neither_of_two_mirrors_of_each_other_has_is_unknown() {
    let mut registry = mirroring(vec![hub()]);
    let back = Upstream { name: upstream("back"), official: String::new() };
    let whole = Mirror { prefix: String::new(), upstreams: vec![back], ..Mirror::default() };
    let config = Config { via: "hub".into(), mirrors: vec![whole], ..Config::default() };
    // The one behind the hub is this registry again.
    let again = registry.clone();
    let hub = registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream");
    hub.registry = Registry::new(config);
    let other = Other { memory: again.memory, ..Other::new(again.registry) };
    hub.memory.upstreams.insert(upstream("back"), other);
    registry.get(manifest("hub/app", "v1")).refused(404, "MANIFEST_UNKNOWN");
    registry.get(blob("hub/app", NOWHERE)).refused(404, "BLOB_UNKNOWN");
}

/// SPEC V14: a client that knows nothing of the prefix is told nothing of it.
#[test]
fn a_list_of_tags_has_the_name_and_the_links_of_who_asks() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "team/app", "v1", "layer");
    push_image(&mut registry, "team/app", "v2", "another");
    for tag in ["v1", "v2"] {
        registry.get(manifest("hub/team/app", tag)).expect(200);
    }
    let anybody = Arc::new(Caller::anybody());
    for (root, target, name, next) in [
        (None, "/v2/hub/team/app/tags/list?n=1", "hub/team/app", "/v2/hub/team/app/tags/list?n=1&last=v1"),
        (
            None,
            "/v2/team/app/tags/list?n=1&ns=hub.example.com",
            "team/app",
            "/v2/team/app/tags/list?n=1&ns=hub.example.com&last=v1",
        ),
        (Some("hub/"), "/v2/team/app/tags/list?n=1", "team/app", "/v2/team/app/tags/list?n=1&last=v1"),
    ] {
        let page = within(&mut registry, root, &anybody, &get(target)).expect(200);
        assert_eq!((page.json()["name"].as_str(), page.next_page().as_deref()), (Some(name), Some(next)));
        let page = within(&mut registry, root, &anybody, &get(next)).expect(200);
        assert_eq!((page.json()["name"].as_str(), strings(&page.json()["tags"])), (Some(name), vec!["v2".into()]));
    }
    let answer = registry.get("/v2/team/none/tags/list?ns=hub.example.com").refused(404, "NAME_UNKNOWN");
    assert_eq!(answer.json()["errors"][0]["detail"]["name"], "team/none");
    // What is here for a name is the same by any way.
    let target = format!("/v2/team/app/manifests/{}?ns=hub.example.com", image.digest());
    let etag = registry.get(&target).expect(200).header("ETag").map(str::to_owned);
    assert_eq!(registry.get(manifest("hub/team/app", image.digest())).expect(200).header("ETag"), etag.as_deref());
}

/// SPEC V14: ordinary repositories for now, which clients reach as before.
#[test]
fn a_mirror_that_is_offline_is_reached_as_before() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "team/app", "v1", "layer");
    pull(&mut registry, "hub/team/app", "v1", &image);
    let mirrors =
        vec![Mirror { prefix: String::new(), namespaces: vec![], ..hub() }, Mirror { offline: true, ..hub() }];
    let mut registry = registry.restarted(Config { small_object: 0, mirrors, ..Config::default() });
    registry.advance(100 * DAY);
    asked(&mut registry);
    let ns = "?ns=hub.example.com";
    let answer = registry.get(format!("/v2/team/app/manifests/v1{ns}")).expect(200).without("X-Cache");
    assert_eq!(answer.body(), image.bytes());
    registry.get(format!("/v2/team/app/manifests/v2{ns}")).refused(404, "MANIFEST_UNKNOWN");
    registry.get(format!("/v2/team/app/blobs/{NOWHERE}{ns}")).refused(404, "BLOB_UNKNOWN");
    // Nor does the mirror with the shorter prefix take it over.
    registry.get(manifest("hub/team/app", "v2")).refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(asked(&mut registry), [""; 0]);
    assert!(!registry.registry.evicts());
    // A push goes where its client is told, by ns and at a root.
    let (anybody, layer) = (Arc::new(Caller::anybody()), "pushed");
    for (root, target) in [(None, format!("{}{ns}", uploads("team/app"))), (Some("hub/"), uploads("team/app"))] {
        let begun = within(&mut registry, root, &anybody, &post(target)).expect(202);
        let location = begun.header("Location").expect("of an upload").to_owned();
        assert!(location.starts_with("/v2/team/app/blobs/uploads/"), "{location}");
        let mark = if location.contains('?') { '&' } else { '?' };
        let finish = put(format!("{location}{mark}digest={}", sha256(layer))).body(layer);
        let done = within(&mut registry, root, &anybody, &finish).expect(201);
        let there = get(done.header("Location").expect("of a blob"));
        assert_eq!(within(&mut registry, root, &anybody, &there).expect(200).body(), layer.as_bytes());
        registry.call(delete(blob("hub/team/app", sha256(layer)))).expect(202);
    }
}
