//! What may be read, written and kept in a mirror (SPEC V12, V13, V17, V20).

use super::*;

/// SPEC V12.
#[test]
fn nothing_can_be_pushed_to_a_mirror() {
    let mut registry = mirroring(vec![hub()]);
    let own = registry.push_image("own", "v1", AMD64, "layer");
    let layer = sha256(&own.blobs()[1]);
    let pushes: Vec<Call> = vec![
        post(uploads("hub/app")),
        post(format!("{}?digest={layer}", uploads("hub/app"))).body(own.blobs()[1].clone()),
        post(format!("{}?mount={layer}&from=own", uploads("hub/app"))),
        put(manifest("hub/app", "v1")).header("Content-Type", own.media_type()).body(own.bytes()),
        put(manifest("hub/app", own.digest())).header("Content-Type", own.media_type()).body(own.bytes()),
    ];
    let before = registry.memory.records.clone();
    for push in pushes {
        let answer = registry.call(push).refused(405, "UNSUPPORTED").with("Allow", "GET, HEAD, DELETE");
        let message = answer.json()["errors"][0]["message"].to_string();
        assert!(message.contains("hub/app is a mirror"), "{message}");
    }
    assert_eq!(registry.memory.records, before);
    // From a mirror, mounts are as from anywhere.
    let image = push_image(&mut registry, "app", "v1", "of hub");
    pull(&mut registry, "hub/app", "v1", &image);
    let layer = sha256(&image.blobs()[1]);
    registry.call(post(format!("{}?mount={layer}&from=hub/app", uploads("own")))).expect(201);
}

/// SPEC V13.
#[test]
fn only_what_the_settings_allow_is_fetched() {
    let mirror =
        Mirror { only: vec![Pattern::new("team/**")], deny: vec![Pattern::new("team/secret")], blob_limit: 5, ..hub() };
    let mut registry = mirroring(vec![mirror]);
    for repository in ["team/app", "team/secret", "other"] {
        push_image(&mut registry, repository, "v1", "layer");
    }
    let large = at(&mut registry, "hub", |hub| hub.push_blob("team/app", "layers"));
    let layer = sha256("layer");
    for repository in ["hub/team/secret", "hub/other"] {
        registry.get(manifest(repository, "v1")).refused(404, "MANIFEST_UNKNOWN");
        registry.get(blob(repository, &layer)).refused(404, "BLOB_UNKNOWN");
        assert_eq!(registry.head(blob(repository, &layer)).status(), 404);
    }
    assert_eq!(asked(&mut registry), [""; 0]);
    registry.get(manifest("hub/team/app", "v1")).expect(200);
    registry.get(blob("hub/team/app", &layer)).expect(200);
    let answer = registry.get(blob("hub/team/app", &large)).refused(403, "DENIED");
    assert!(answer.json()["errors"][0]["message"].to_string().contains("5 bytes"));
    assert_eq!(registry.memory.objects.len(), 1);
    // Its size is known before a byte is: as much as is allowed, and one more.
    let whole = at(&mut registry, "hub", |hub| hub.push_blob("team/app", "whole"));
    for (digest, size, status) in [(&whole, 5, 200), (&large, 6, 403)] {
        assert_eq!(registry.head(blob("hub/team/app", digest)).status(), status);
        let call = registry.begin(get(blob("hub/team/app", digest))).until("Follow", &mut registry);
        assert_eq!(call.told(Followed::Coming(size)).end_unsent(&mut registry).status(), status);
    }
}

/// SPEC V13: quotas are for those who push.
#[test]
fn a_mirror_has_no_quota() {
    let mut registry = mirroring(vec![hub()]);
    let quotas = vec![Quota { repositories: vec![Pattern::new("**")], bytes: 1, ..Quota::default() }];
    let config = Config { small_object: 0, mirrors: vec![hub()], quotas, ..Config::default() };
    registry = registry.restarted(config);
    let image = push_image(&mut registry, "app", "v1", "layer");
    pull(&mut registry, "hub/app", "v1", &image);
}

/// SPEC V17: header for header, whether it is here or not, and nobody is asked.
#[test]
fn what_one_may_not_read_is_not_fetched() {
    let rule =
        Rule { allow: true, rights: Right::ALL.into(), repositories: [Pattern::new("open/**")].into(), tags: None };
    let rights = Rights::of([Arc::new(rule)]);
    let outsider = Arc::new(Caller { name: "somebody".into(), rights, ..Caller::anybody() });
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let requests = [
        manifest("hub/app", "v1"),
        manifest("hub/app", image.digest()),
        blob("hub/app", sha256("layer")),
        referrers("hub/app", image.digest()),
        "/v2/hub/app/tags/list".into(),
    ];
    let answers = |registry: &mut InMemory| -> Vec<_> {
        let both = requests.iter().flat_map(|target| [get(target), head(target)]);
        both.map(|call| within(registry, None, &outsider, &call).response).collect()
    };
    let before = answers(&mut registry);
    assert_eq!(asked(&mut registry), [""; 0]);
    pull(&mut registry, "hub/app", "v1", &image);
    asked(&mut registry);
    registry.advance(DAY);
    assert_eq!(answers(&mut registry), before);
    assert_eq!(asked(&mut registry), [""; 0]);
}

/// A call of somebody with this login for upstreams.
fn with_login(login: Option<&str>) -> Arc<Caller> {
    Arc::new(Caller { login: login.map(Login::new), ..Caller::anybody() })
}

/// SPEC V20: whether it is here or not.
#[test]
fn an_upstream_says_what_a_caller_may_see_where_it_is_to() {
    let mut registry = mirroring(vec![Mirror { verify: true, ..hub() }]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let hub = registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream");
    hub.logins = Some(vec![Login::new("Basic alice"), Login::new("Basic bob")]);
    let requests = [
        manifest("hub/app", "v1"),
        manifest("hub/app", image.digest()),
        blob("hub/app", sha256("layer")),
        blob("hub/app", sha256(&image.blobs()[0])),
        "/v2/hub/app/tags/list".into(),
    ];
    let statuses = |registry: &mut InMemory, login: Option<&str>| {
        let both = requests.iter().flat_map(|target| [get(target), head(target)]);
        both.map(|call| within(registry, None, &with_login(login), &call).status()).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&mut registry, None), [401; 10]);
    assert_eq!(statuses(&mut registry, Some("Basic mallory")), [404; 10]);
    assert!(registry.memory.records.is_empty());
    assert_eq!(statuses(&mut registry, Some("Basic alice")), [200; 10]);
    assert_eq!(statuses(&mut registry, Some("Basic mallory")), [404; 10]);
    assert_eq!(statuses(&mut registry, None), [401; 10]);
    assert_eq!(statuses(&mut registry, Some("Basic bob")), [200; 10]);
    let challenge = within(&mut registry, None, &with_login(None), &get(&requests[0]));
    assert!(
        challenge.refused(401, "UNAUTHORIZED").header("WWW-Authenticate").is_some_and(|it| it.starts_with("Basic "))
    );
    // What cannot be asked is not told.
    answers(&mut registry, "hub", unreachable());
    assert_eq!(statuses(&mut registry, Some("Basic alice")), [502; 10]);
    // At the root of what a client sees, it is asked for a login from the beginning.
    assert_eq!(within(&mut registry, Some("hub/"), &with_login(None), &get("/v2/")).status(), 401);
    assert_eq!(within(&mut registry, Some("hub/"), &with_login(Some("Basic x")), &get("/v2/")).status(), 200);
    assert_eq!(within(&mut registry, None, &with_login(None), &get("/v2/")).status(), 200);
}

/// SPEC V20.
#[test]
fn referrers_are_those_of_a_subject_that_the_caller_may_see() {
    let mut registry = mirroring(vec![Mirror { verify: true, ..hub() }]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let signature = Manifest::artifact("x/signature", "one").about(&image);
    at(&mut registry, "hub", |hub| drop(hub.push("app", signature.digest(), &signature)));
    let hub = registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream");
    hub.logins = Some(vec![Login::new("Basic alice")]);
    let list = get(referrers("hub/app", image.digest()));
    let listed = |registry: &mut InMemory, login: &str| {
        let list = within(registry, None, &with_login(Some(login)), &list).expect(200).json();
        list["manifests"].as_array().expect("a list").len()
    };
    assert_eq!((listed(&mut registry, "Basic alice"), listed(&mut registry, "Basic mallory")), (1, 0));
    assert_eq!(within(&mut registry, None, &with_login(None), &list).status(), 401);
}

/// SPEC V20: not by way of a mount either.
#[test]
fn nothing_is_mounted_that_an_upstream_is_to_vouch_for() {
    let mut registry = mirroring(vec![Mirror { verify: true, ..hub() }]);
    push_image(&mut registry, "app", "v1", "layer");
    let layer = sha256("layer");
    within(&mut registry, None, &with_login(Some("Basic alice")), &get(blob("hub/app", &layer))).expect(200);
    registry.call(post(format!("{}?mount={layer}&from=hub/app", uploads("own")))).expect(202);
    registry.call(post(format!("{}?mount={layer}", uploads("own")))).expect(202);
    registry.get(blob("own", &layer)).refused(404, "BLOB_UNKNOWN");
}

/// SPEC V20: of a list of tags and of the catalog, too.
#[test]
fn nothing_tells_strangers_what_an_upstream_is_to_vouch_for() {
    let answers = |cached: bool| {
        let mut registry = mirroring(vec![Mirror { verify: true, ..hub() }]);
        push_image(&mut registry, "app", "v1", "layer");
        let hub = registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream");
        hub.logins = Some(vec![Login::new("Basic alice")]);
        if cached {
            let pulled = within(&mut registry, None, &with_login(Some("Basic alice")), &get(manifest("hub/app", "v1")));
            pulled.expect(200);
        }
        let targets = ["/v2/hub/app/tags/list", "/v2/_catalog"];
        let logins = [None, Some("Basic mallory")];
        let both = targets.into_iter().flat_map(|target| logins.map(|login| (target, login)));
        both.map(|(target, login)| within(&mut registry, None, &with_login(login), &get(target)).response)
            .collect::<Vec<_>>()
    };
    let strange = answers(false);
    assert_eq!(strange.iter().map(|response| response.status).collect::<Vec<_>>(), [401, 404, 200, 200]);
    assert_eq!(answers(true), strange);
}

/// SPEC V13: what was here before it was excluded.
#[test]
fn what_the_settings_exclude_is_not_there() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    pull(&mut registry, "hub/app", "v1", &image);
    let mirrors = vec![Mirror { deny: vec![Pattern::new("app")], ..hub() }];
    let mut denying = registry.restarted(Config { small_object: 0, mirrors, ..Config::default() });
    denying.get(manifest("hub/app", "v1")).refused(404, "MANIFEST_UNKNOWN");
    denying.get(manifest("hub/app", image.digest())).refused(404, "MANIFEST_UNKNOWN");
    denying.get(blob("hub/app", sha256("layer"))).refused(404, "BLOB_UNKNOWN");
    denying.get("/v2/hub/app/tags/list").refused(404, "NAME_UNKNOWN");
}
