//! Tags of a mirror: when the upstream is asked where they are, and what its failures change (SPEC V3–V7).

use orlop_core::registry::LetGo;

use super::administering::let_go;
use super::*;

/// SPEC V3.
#[test]
fn a_tag_is_looked_up_when_it_is_not_fresh() {
    let mut registry = mirroring(vec![hub()]);
    let first = push_image(&mut registry, "app", "v1", "first");
    pull(&mut registry, "hub/app", "v1", &first);
    let second = push_image(&mut registry, "app", "v1", "second");
    asked(&mut registry);
    registry.advance(MINUTE - Duration::from_millis(1));
    pull(&mut registry, "hub/app", "v1", &first);
    assert_eq!(asked(&mut registry), [""; 0]);
    registry.advance(SECOND);
    registry.get(manifest("hub/app", "v1")).expect(200).with("Docker-Content-Digest", second.digest());
    let expected = ["HEAD app/manifests/v1".into(), format!("GET app/manifests/{}", second.digest())];
    assert_eq!(asked(&mut registry), expected);
    // It has not moved: one question, and no manifest.
    registry.advance(MINUTE);
    registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "HIT");
    registry.head(manifest("hub/app", "v1")).expect(200).with("X-Cache", "HIT");
    assert_eq!(asked(&mut registry), ["HEAD app/manifests/v1"]);
    // Back to what is here already.
    at(&mut registry, "hub", |hub| hub.put_manifest("app", "v1", &first).expect(201));
    registry.advance(MINUTE);
    registry.get(manifest("hub/app", "v1")).expect(200).with("Docker-Content-Digest", first.digest());
    assert_eq!(asked(&mut registry), ["HEAD app/manifests/v1"]);
}

/// SPEC V3.
#[test]
fn how_long_a_tag_is_fresh_is_for_the_settings_to_say() {
    let questions = |mirror: Mirror, tag: &str, between: Duration| {
        let mut registry = mirroring(vec![mirror]);
        let image = push_image(&mut registry, "app", tag, "layer");
        pull(&mut registry, "hub/app", tag, &image);
        asked(&mut registry);
        for _ in 0..3 {
            registry.advance(between);
            registry.get(manifest("hub/app", tag)).expect(200);
        }
        asked(&mut registry).len()
    };
    let fresh = |fresh| Mirror { fresh, ..hub() };
    assert_eq!(questions(fresh(Freshness::For(Duration::ZERO)), "v1", Duration::ZERO), 3);
    assert_eq!(questions(fresh(Freshness::For(HOUR)), "v1", MINUTE), 0);
    assert_eq!(questions(fresh(Freshness::For(5 * SECOND)), "v1", 3 * SECOND), 1);
    assert_eq!(questions(fresh(Freshness::Never), "v1", 1000 * DAY), 0);
    let fixed = Mirror { fixed: vec![Pattern::new("v*")], ..hub() };
    assert_eq!(questions(fixed.clone(), "v1", DAY), 0);
    assert_eq!(questions(fixed, "latest", DAY), 3);
}

/// SPEC V4.
#[test]
fn a_tag_outlives_every_failure_of_its_upstream() {
    for unmet in [unreachable(), Some(Unmet::Paused(MINUTE))] {
        let mut registry = mirroring(vec![hub()]);
        let image = push_image(&mut registry, "app", "v1", "layer");
        pull(&mut registry, "hub/app", "v1", &image);
        answers(&mut registry, "hub", unmet);
        registry.advance(30 * DAY - SECOND);
        registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "STALE");
        registry.head(manifest("hub/app", "v1")).expect(200).with("X-Cache", "STALE");
        registry.advance(SECOND);
        assert!(matches!(registry.get(manifest("hub/app", "v1")).status(), 429 | 502));
        // What a digest names does not age.
        pull(&mut registry, "hub/app", &image.digest(), &image);
        answers(&mut registry, "hub", None);
        registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "HIT");
        answers(&mut registry, "hub", unreachable());
        registry.advance(DAY);
        registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "STALE");
    }
}

/// SPEC V4: the new place of the tag is known, and what it names is not to be had.
#[test]
fn a_tag_stays_where_it_is_until_what_it_names_is_here() {
    let mut registry = mirroring(vec![hub()]);
    let first = push_image(&mut registry, "app", "v1", "first");
    pull(&mut registry, "hub/app", "v1", &first);
    let second = push_image(&mut registry, "app", "v1", "second");
    registry.advance(HOUR);
    let ran = registry.begin(get(manifest("hub/app", "v1"))).until("Inquire", &mut registry).step(&mut registry);
    let ran = ran.until("Inquire", &mut registry);
    answers(&mut registry, "hub", unreachable());
    ran.end(&mut registry).expect(200).with("X-Cache", "STALE").with("Docker-Content-Digest", first.digest());
    for unmet in [Unmet::Absent, Unmet::Denied] {
        answers(&mut registry, "hub", None);
        // As long as the upstream has the tag, it does not go.
        for _ in 0..3 {
            registry.advance(HOUR);
            let ran =
                registry.begin(get(manifest("hub/app", "v1"))).until("Inquire", &mut registry).step(&mut registry);
            let ran = ran.until("Inquire", &mut registry);
            answers(&mut registry, "hub", Some(unmet.clone()));
            ran.end(&mut registry).expect(200).with("X-Cache", "STALE").with("Docker-Content-Digest", first.digest());
            answers(&mut registry, "hub", None);
        }
    }
    answers(&mut registry, "hub", None);
    registry.get(manifest("hub/app", "v1")).expect(200).with("Docker-Content-Digest", second.digest());
}

/// SPEC V5.
#[test]
fn a_tag_goes_when_its_upstream_has_not_had_it_for_long_enough() {
    for unmet in [Unmet::Absent, Unmet::Denied] {
        let mut registry = mirroring(vec![hub()]);
        let image = push_image(&mut registry, "app", "v1", "layer");
        pull(&mut registry, "hub/app", "v1", &image);
        answers(&mut registry, "hub", Some(unmet.clone()));
        registry.advance(10 * MINUTE);
        registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "STALE");
        // It comes back: what was noted is forgotten.
        answers(&mut registry, "hub", None);
        registry.advance(50 * MINUTE);
        registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "HIT");
        answers(&mut registry, "hub", Some(unmet));
        registry.advance(MINUTE);
        registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "STALE");
        registry.advance(HOUR - SECOND);
        registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "STALE");
        registry.advance(SECOND);
        registry.get(manifest("hub/app", "v1")).refused(404, "MANIFEST_UNKNOWN");
        assert_eq!(registry.tags("hub/app"), [""; 0]);
        assert!(!registry.memory.records.keys().any(|key| key.as_str().starts_with("mirrored/")));
        pull(&mut registry, "hub/app", &image.digest(), &image);
    }
}

/// SPEC V6.
#[test]
fn what_was_never_here_is_answered_as_its_upstream_answers() {
    let check = |unmet: Option<Unmet>, status: u16, manifest_code: &str, blob_code: &str| {
        let mut registry = mirroring(vec![hub()]);
        answers(&mut registry, "hub", unmet);
        registry.get(manifest("hub/app", "v1")).refused(status, manifest_code);
        registry.get(manifest("hub/app", NOWHERE)).refused(status, manifest_code);
        registry.get(blob("hub/app", NOWHERE)).refused(status, blob_code);
        assert_eq!(registry.head(manifest("hub/app", "v1")).status(), status);
        assert_eq!(registry.head(blob("hub/app", NOWHERE)).status(), status);
        assert_eq!(registry.memory.records.len() + registry.memory.objects.len(), 0);
    };
    check(None, 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN");
    check(Some(Unmet::Absent), 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN");
    check(Some(Unmet::Denied), 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN");
    check(Some(Unmet::Paused(MINUTE)), 429, "TOOMANYREQUESTS", "TOOMANYREQUESTS");
    check(unreachable(), 502, "UNAVAILABLE", "UNAVAILABLE");
    let mut registry = mirroring(vec![hub()]);
    answers(&mut registry, "hub", Some(Unmet::Paused(MINUTE)));
    registry.get(manifest("hub/app", "v1")).expect(429).with("Retry-After", "60");
    answers(&mut registry, "hub", unreachable());
    let answer = registry.get(blob("hub/app", NOWHERE)).expect(502);
    assert!(answer.response.fault.is_some(), "whoever runs it can read why");
    assert!(!String::from_utf8_lossy(answer.body()).contains("refused"), "and clients cannot");
}

/// SPEC V7: the first that has it answers; a failure counts for more than an absence.
#[test]
fn several_upstreams_are_asked_in_order() {
    let both = |name: &str| Upstream { name: upstream(name), official: String::new() };
    let mut registry = mirroring(vec![Mirror { upstreams: vec![both("hub"), both("other")], ..hub() }]);
    let first = push_image(&mut registry, "first", "v1", "first");
    let second = at(&mut registry, "other", |other| other.push_image("second", "v1", AMD64, "second"));
    pull(&mut registry, "hub/first", "v1", &first);
    pull(&mut registry, "hub/second", "v1", &second);
    answers(&mut registry, "hub", unreachable());
    registry.get(manifest("hub/third", "v1")).refused(502, "UNAVAILABLE");
    let third = at(&mut registry, "other", |other| other.push_image("third", "v1", AMD64, "third"));
    pull(&mut registry, "hub/third", "v1", &third);
    answers(&mut registry, "hub", None);
    registry.get(manifest("hub/fourth", "v1")).refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC V5: another call is told meanwhile that the upstream has it again.
#[test]
fn a_tag_that_is_back_does_not_go() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    pull(&mut registry, "hub/app", "v1", &image);
    registry.advance(HOUR);
    answers(&mut registry, "hub", Some(Unmet::Absent));
    registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "STALE");
    registry.advance(HOUR);
    let late = registry.begin(get(manifest("hub/app", "v1"))).until("Inquire", &mut registry).step(&mut registry);
    answers(&mut registry, "hub", None);
    registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "HIT");
    late.end(&mut registry).expect(200).with("X-Cache", "HIT");
    assert_eq!(registry.tags("hub/app"), ["v1"]);
}

/// SPEC V18: what was pushed before the repository became one of a mirror.
#[test]
fn what_was_pushed_here_stays_when_a_mirror_is_laid_over_it() {
    let mut plain = mirroring(Vec::new());
    let own = plain.push_image("hub/app", "v1", AMD64, "own");
    push_image(&mut plain, "app", "v1", "of the hub");
    push_image(&mut plain, "app", "v2", "of the hub");
    let mirrors = vec![Mirror { max: Some(0), ..hub() }];
    let mut registry = plain.restarted(Config { small_object: 0, mirrors, ..Config::default() });
    registry.advance(100 * DAY);
    pull(&mut registry, "hub/app", "v1", &own);
    registry.get(manifest("hub/app", "v2")).expect(200).with("X-Cache", "MISS");
    registry.get(blob("hub/app", sha256("of the hub"))).expect(200).with("X-Cache", "MISS");
    registry.advance(DAY);
    let step = registry.registry.evict(registry.memory.ambient());
    let eviction = registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail");
    assert_eq!(eviction.blobs, 1, "the one that was fetched");
    answers(&mut registry, "hub", unreachable());
    pull(&mut registry, "hub/app", "v1", &own);
}

/// The same registry, where the mirror is offline or not.
fn offline(registry: &InMemory, offline: bool) -> InMemory {
    registry.restarted(Config { small_object: 0, mirrors: vec![Mirror { offline, ..hub() }], ..Config::default() })
}

/// SPEC V18: a tag that is pushed while the mirror is offline, over one that was fetched, is as it was pushed from then on.
#[test]
fn a_tag_that_is_pushed_offline_is_not_the_upstreams_any_more() {
    let mut registry = mirroring(vec![hub()]);
    let fetched = push_image(&mut registry, "app", "v1", "of the hub");
    pull(&mut registry, "hub/app", "v1", &fetched);
    let mut plain = offline(&registry, true);
    let own = plain.push_image("hub/app", "v1", AMD64, "own");
    let mut registry = offline(&plain, false);
    registry.advance(2 * MINUTE);
    asked(&mut registry);
    pull(&mut registry, "hub/app", "v1", &own);
    registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "HIT");
    // Nor does it go because the upstream has no such tag, or because an administrator makes room.
    at(&mut registry, "hub", |hub| hub.call(delete(manifest("app", "v1"))).expect(202));
    for _ in 0..2 {
        registry.advance(2 * HOUR);
        pull(&mut registry, "hub/app", "v1", &own);
    }
    assert_eq!(let_go(&mut registry, "hub/app", Some("v1")), Ok(LetGo { gone: 0, pushed: 1 }));
    assert_eq!(asked(&mut registry), [""; 0]);
    // One that is taken away is the upstream's to say again.
    registry.call(delete(manifest("hub/app", "v1"))).expect(202);
    let moved = push_image(&mut registry, "app", "v1", "moved");
    pull(&mut registry, "hub/app", "v1", &moved);
    registry.advance(2 * MINUTE);
    asked(&mut registry);
    pull(&mut registry, "hub/app", "v1", &moved);
    assert_eq!(asked(&mut registry), ["HEAD app/manifests/v1"]);
    // The same manifest, pushed under the tag that names it.
    let mut plain = offline(&registry, true);
    plain.put_manifest("hub/app", "v1", &moved).expect(201);
    let mut registry = offline(&plain, false);
    registry.advance(2 * MINUTE);
    pull(&mut registry, "hub/app", "v1", &moved);
    assert_eq!(asked(&mut registry), [""; 0]);
}
