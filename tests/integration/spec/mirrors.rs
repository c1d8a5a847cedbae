//! Mirrors: repositories that stand in front of those of another registry (SPEC V).

use std::sync::Arc;
use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest, OCI_INDEX, descriptor, sha256};
use orlop_conformance::system::{
    Answer, Call, InMemory, System, blob, delete, get, head, manifest, post, put, referrers, strings, uploads,
};
use orlop_core::caller::{Right, Rule};
use orlop_core::config::{Pattern, Quota};
use orlop_core::memory::{RequestBody, Upstream as Other};
use orlop_core::mirror::{Followed, Freshness, Login, Mirror, Unmet, Upstream, UpstreamName};
use orlop_core::name::Repository;
use orlop_core::target::Reference;
use orlop_core::{Body, Caller, Config, Error, Fault, Registry, Rights};

use crate::{NOWHERE, configured};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn upstream(name: &str) -> UpstreamName {
    UpstreamName::new(name)
}

/// Names below `hub/` are those of the registry `hub`.
fn hub() -> Mirror {
    let upstreams = vec![Upstream { name: upstream("hub"), official: String::new() }];
    Mirror { prefix: "hub/".into(), upstreams, namespaces: vec!["hub.example.com".into()], ..Mirror::default() }
}

/// A registry with these mirrors, and the registries `hub` and `other` as upstreams.
fn mirroring(mirrors: Vec<Mirror>) -> InMemory {
    let mut registry = configured(|config| config.mirrors = mirrors);
    for name in ["hub", "other"] {
        let config = Config { small_object: 0, via: name.into(), ..Config::default() };
        registry.memory.upstreams.insert(upstream(name), Other::new(Registry::new(config)));
    }
    registry
}

/// Does something with an upstream, as a registry of its own.
fn at<T>(registry: &mut InMemory, name: &str, act: impl FnOnce(&mut InMemory) -> T) -> T {
    let other = registry.memory.upstreams.get_mut(&upstream(name)).expect("an upstream");
    let mut there = InMemory { registry: other.registry.clone(), memory: std::mem::take(&mut other.memory) };
    let result = act(&mut there);
    other.memory = there.memory;
    result
}

/// What the upstream was asked since this was last looked at, without what all requests begin with.
fn asked(registry: &mut InMemory) -> Vec<String> {
    let other = registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream");
    std::mem::take(&mut other.asked).into_iter().map(|asked| asked.replace("/v2/", "")).collect()
}

/// From now on the upstream answers that to everything; as it should, with nothing.
fn answers(registry: &mut InMemory, name: &str, unmet: Option<Unmet>) {
    registry.memory.upstreams.get_mut(&upstream(name)).expect("an upstream").unmet = unmet;
}

fn unreachable() -> Option<Unmet> {
    Some(Unmet::Failed("connection refused".into()))
}

fn push_image(registry: &mut InMemory, repository: &str, tag: &str, layer: &str) -> Manifest {
    at(registry, "hub", |hub| hub.push_image(repository, tag, AMD64, layer))
}

/// Pulls an image as clients do.
fn pull(registry: &mut InMemory, repository: &str, reference: &str, image: &Manifest) {
    let answer = registry.get(manifest(repository, reference)).expect(200);
    assert_eq!(answer.body(), image.bytes());
    for bytes in image.blobs() {
        assert_eq!(registry.get(blob(repository, sha256(bytes))).expect(200).body(), bytes);
    }
}

/// SPEC V1, V2, V3: a pull brings everything, and the next one asks for nothing.
#[test]
fn what_is_pulled_is_fetched_once() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "team/app", "v1", "layer");
    let (config, layer) = (sha256(&image.blobs()[0]), sha256(&image.blobs()[1]));
    let answer = registry.get(manifest("hub/team/app", "v1")).expect(200).with("X-Cache", "MISS");
    let answer = answer.with("Docker-Content-Digest", image.digest()).with("Content-Type", image.media_type());
    assert_eq!(answer.body(), image.bytes());
    registry.get(blob("hub/team/app", &config)).expect(200).with("X-Cache", "MISS");
    registry.get(blob("hub/team/app", &layer)).expect(200).with("X-Cache", "MISS").with("Content-Length", "5");
    let expected = [
        "GET team/app/manifests/v1".into(),
        format!("GET team/app/blobs/{config}"),
        format!("GET team/app/blobs/{layer}"),
    ];
    assert_eq!(asked(&mut registry), expected);
    answers(&mut registry, "hub", unreachable());
    for _ in 0..2 {
        pull(&mut registry, "hub/team/app", "v1", &image);
        pull(&mut registry, "hub/team/app", &image.digest(), &image);
        registry.get(blob("hub/team/app", &layer)).expect(200).with("X-Cache", "HIT");
        registry.head(blob("hub/team/app", &layer)).expect(200).with("X-Cache", "HIT");
    }
    assert_eq!(asked(&mut registry), [""; 0]);
    assert_eq!(registry.tags("hub/team/app"), ["v1"]);
    let catalog = registry.get("/v2/_catalog").expect(200).json();
    assert_eq!(strings(&catalog["repositories"]), ["hub/team/app"]);
}

/// SPEC V1: the longest prefix has a name, and what has none is a repository of this registry.
#[test]
fn a_repository_belongs_to_the_mirror_with_the_longest_prefix() {
    let other = Mirror {
        prefix: "hub/other/".into(),
        upstreams: vec![Upstream { name: upstream("other"), official: "library/".into() }],
        ..Mirror::default()
    };
    let mut registry = mirroring(vec![hub(), other]);
    let here = push_image(&mut registry, "other", "v1", "of hub");
    let there = at(&mut registry, "other", |other| other.push_image("library/app", "v1", AMD64, "of other"));
    let deep = at(&mut registry, "other", |other| other.push_image("a/b", "v1", AMD64, "deep"));
    pull(&mut registry, "hub/other", "v1", &here);
    pull(&mut registry, "hub/other/app", "v1", &there);
    pull(&mut registry, "hub/other/a/b", "v1", &deep);
    let own = registry.push_image("hubble", "v1", AMD64, "own");
    pull(&mut registry, "hubble", "v1", &own);
    registry.get(manifest("hubble", "v1")).expect(200).without("X-Cache");
    registry.get(manifest("hubble", "v2")).refused(404, "MANIFEST_UNKNOWN");
}

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

/// SPEC V8: of a blob, a manifest by digest and a manifest by tag.
#[test]
fn nothing_is_kept_that_is_not_what_its_digest_says() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let layer = sha256(&image.blobs()[1]);
    let whole = registry.memory.upstreams.clone();
    let corrupt = |registry: &mut InMemory, is_payload: bool| {
        let hub = registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream");
        let payloads =
            hub.memory.records.iter_mut().filter(|(key, _)| is_payload && key.as_str().starts_with("payload/"));
        payloads.for_each(|(_, value)| {
            *value = String::from_utf8_lossy(value).replace("linux", "LINUX").replace("layers", "layerz").into()
        });
        let objects = hub.memory.objects.values_mut().filter(|_| !is_payload);
        objects.for_each(|(bytes, _)| *bytes = bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into());
    };
    corrupt(&mut registry, true);
    registry.get(manifest("hub/app", "v1")).refused(502, "UNAVAILABLE");
    registry.get(manifest("hub/app", image.digest())).refused(502, "UNAVAILABLE");
    registry.memory.upstreams = whole.clone();
    corrupt(&mut registry, false);
    registry.get(blob("hub/app", &layer)).refused(502, "UNAVAILABLE");
    assert_eq!(registry.memory.records.len() + registry.memory.objects.len(), 0);
    registry.memory.upstreams = whole;
    pull(&mut registry, "hub/app", "v1", &image);
}

/// SPEC V8: what is no manifest that is taken is not kept either.
#[test]
fn a_manifest_is_judged_as_one_that_is_pushed() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let hub = registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream");
    let manifests = hub.memory.records.iter_mut().filter(|(key, _)| key.as_str().starts_with("manifest/"));
    manifests
        .for_each(|(_, value)| *value = String::from_utf8_lossy(value).replace("image.manifest", "image.index").into());
    registry.get(manifest("hub/app", "v1")).refused(502, "UNAVAILABLE");
    registry.get(manifest("hub/app", image.digest())).refused(502, "UNAVAILABLE");
    assert_eq!(registry.memory.records.len(), 0);
}

/// SPEC V9.
#[test]
fn a_fetch_goes_on_where_its_connection_broke() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "a layer of some bytes");
    let hub = registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream");
    // The last one is the first to come.
    hub.breaks = vec![0, 7, 0, 0, 1, 0, 3];
    pull(&mut registry, "hub/app", "v1", &image);
    assert_eq!(registry.memory.objects.len(), 2);
    // One that breaks each time before a byte comes is given up, and leaves nothing.
    let mut registry = mirroring(vec![self::hub()]);
    let image = push_image(&mut registry, "app", "v1", "a layer of some bytes");
    let hub = registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream");
    hub.breaks = vec![0, 0, 0, 0, 5];
    registry.get(blob("hub/app", sha256(&image.blobs()[1]))).refused(502, "UNAVAILABLE");
    assert_eq!(registry.memory.objects.len(), 0);
}

/// SPEC V10.
#[test]
fn the_images_of_an_index_are_fetched_when_they_are_pulled() {
    let mut registry = mirroring(vec![hub()]);
    let images = [(AMD64, "one"), (ARM64, "two")].map(|(platform, layer)| Manifest::image(platform, layer));
    let index = Manifest::index(&[&images[0], &images[1]]);
    at(&mut registry, "hub", |hub| {
        images.iter().for_each(|image| drop(hub.push("app", image.digest(), image)));
        hub.put_manifest("app", "v1", &index).expect(201);
    });
    registry.get(manifest("hub/app", "v1")).expect(200).with("Content-Type", OCI_INDEX);
    pull(&mut registry, "hub/app", &images[1].digest(), &images[1]);
    // What the index names stays as long as the index does, and what was not pulled is still to be had.
    registry.advance(100 * DAY);
    registry.gc();
    pull(&mut registry, "hub/app", &images[1].digest(), &images[1]);
    registry.get(manifest("hub/app", images[0].digest())).expect(200).with("X-Cache", "MISS");
}

/// SPEC V11.
#[test]
fn referrers_of_the_upstream_and_those_that_are_here_are_one_list() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let signatures = ["one", "two", "three"].map(|content| Manifest::artifact("x/signature", content).about(&image));
    at(&mut registry, "hub", |hub| {
        signatures.iter().for_each(|signature| drop(hub.push("app", signature.digest(), signature)));
    });
    registry.get(manifest("hub/app", signatures[1].digest())).expect(200);
    let listed = |registry: &mut InMemory, query: &str| {
        let list = registry.get(format!("{}{query}", referrers("hub/app", image.digest()))).expect(200).json();
        let manifests = list["manifests"].as_array().expect("a list").clone();
        manifests.iter().map(|entry| entry["digest"].as_str().expect("a digest").into()).collect::<Vec<String>>()
    };
    let mut all: Vec<_> = signatures.iter().map(Manifest::digest).collect();
    all.sort();
    assert_eq!(listed(&mut registry, ""), all);
    assert_eq!(listed(&mut registry, &format!("?last={}", all[0])), all[1..]);
    assert_eq!(listed(&mut registry, "?artifactType=x/signature"), all);
    assert_eq!(listed(&mut registry, "?artifactType=y"), [""; 0]);
    // Without the upstream, those that are here.
    answers(&mut registry, "hub", unreachable());
    assert_eq!(listed(&mut registry, ""), [signatures[1].digest()]);
}

/// SPEC V11: as registries without the API keep them.
#[test]
fn referrers_come_from_the_tag_that_takes_the_place_of_the_api() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let signature = Manifest::artifact("x/signature", "one");
    let index = Manifest::index(&[&signature]);
    at(&mut registry, "hub", |hub| {
        hub.push("app", signature.digest(), &signature);
        hub.put_manifest("app", image.digest().replace(':', "-"), &index).expect(201);
    });
    // That registry has the API and answers with an empty list, which is an answer.
    let list = registry.get(referrers("hub/app", image.digest())).expect(200).json();
    assert_eq!(list["manifests"].as_array().map(Vec::len), Some(0));
    let step = registry.begin(get(referrers("hub/app", image.digest()))).until("Inquire", &mut registry);
    answers(&mut registry, "hub", Some(Unmet::Absent));
    let step = step.step(&mut registry).until("Inquire", &mut registry);
    answers(&mut registry, "hub", None);
    let list = step.end(&mut registry).expect(200).json();
    assert_eq!(list["manifests"][0]["digest"], signature.digest());
}

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

/// SPEC V12: a delete takes away what is here, and the next pull brings it again.
#[test]
fn what_is_deleted_from_a_mirror_is_fetched_again() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let layer = sha256(&image.blobs()[1]);
    pull(&mut registry, "hub/app", "v1", &image);
    registry.call(delete(manifest("hub/app", "v1"))).expect(202);
    registry.call(delete(manifest("hub/app", image.digest()))).expect(202);
    registry.call(delete(blob("hub/app", &layer))).expect(202);
    assert!(!registry.memory.records.keys().any(|key| key.as_str().starts_with("mirrored/")));
    registry.advance(10 * DAY);
    registry.gc();
    assert_eq!(registry.memory.objects.len(), 0);
    asked(&mut registry);
    pull(&mut registry, "hub/app", "v1", &image);
    assert_eq!(asked(&mut registry).len(), 3);
    // With the manifest gone the tag goes, too.
    registry.call(delete(manifest("hub/app", image.digest()))).expect(202);
    assert!(!registry.memory.records.keys().any(|key| key.as_str().starts_with("mirrored/")));
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
}

/// SPEC V13: quotas are for those who push.
#[test]
fn a_mirror_has_no_quota() {
    let mut registry = mirroring(vec![hub()]);
    let quotas = vec![Quota { repositories: vec![Pattern::new("**")], bytes: 1 }];
    let config = Config { small_object: 0, mirrors: vec![hub()], quotas, ..Config::default() };
    registry = registry.restarted(config);
    let image = push_image(&mut registry, "app", "v1", "layer");
    pull(&mut registry, "hub/app", "v1", &image);
}

/// A request as the registry reads it from a client that sees the repositories below `root` without that.
fn within(registry: &mut InMemory, root: Option<&str>, caller: &Arc<Caller>, call: &Call) -> Answer {
    let ambient = registry.memory.ambient();
    let asked = registry.registry.read(call.request.clone(), root);
    let step = registry.registry.call_of(caller.clone(), Arc::new(asked), ambient);
    let response = registry.memory.run(step, &call.body);
    Answer { to: call.to_string(), response: registry.memory.fill(response) }
}

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

/// SPEC V16.
#[test]
fn bytes_that_another_repository_has_are_not_fetched_again() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "one", "v1", "layer");
    push_image(&mut registry, "two", "v1", "layer");
    pull(&mut registry, "hub/one", "v1", &image);
    asked(&mut registry);
    let layer = sha256("layer");
    registry.get(blob("hub/two", &layer)).expect(200);
    assert_eq!(asked(&mut registry), [format!("HEAD two/blobs/{layer}")]);
    assert_eq!(registry.memory.objects.len(), 2);
    // The upstream says who has them, and not this registry.
    registry.get(blob("hub/three", &layer)).refused(404, "BLOB_UNKNOWN");
    answers(&mut registry, "hub", unreachable());
    registry.get(blob("hub/four", &layer)).refused(502, "UNAVAILABLE");
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

/// SPEC V18: the mirror is taken out of the settings.
#[test]
fn what_a_mirror_has_stays_when_it_is_no_mirror_any_more() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    pull(&mut registry, "hub/app", "v1", &image);
    let mut plain = registry.restarted(Config { small_object: 0, ..Config::default() });
    plain.advance(100 * DAY);
    plain.gc();
    pull(&mut plain, "hub/app", "v1", &image);
    plain.get(manifest("hub/app", "v1")).expect(200).without("X-Cache");
    let next = plain.push_image("hub/app", "v1", AMD64, "next");
    pull(&mut plain, "hub/app", "v1", &next);
}

/// Runs an eviction: how many blobs and bytes went.
fn evict(registry: &mut InMemory) -> (u64, u64) {
    let step = registry.registry.evict(registry.memory.ambient());
    let eviction = registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail");
    (eviction.blobs, eviction.bytes)
}

/// Layers of 100 bytes in a repository each of the upstream.
fn layers(registry: &mut InMemory, count: usize) -> Vec<(String, String)> {
    let push = |number: usize| {
        let name = format!("app{number}");
        let digest = at(registry, "hub", |hub| hub.push_blob(&name, format!("{number:0100}")));
        (format!("hub/{name}"), digest)
    };
    (0..count).map(push).collect()
}

fn cached(registry: &mut InMemory, (name, digest): &(String, String)) -> String {
    let answer = registry.get(blob(name, digest)).expect(200);
    answer.header("X-Cache").expect("of a mirror").to_owned()
}

/// SPEC V19.
#[test]
fn the_blobs_that_were_not_pulled_for_longest_are_evicted() {
    let mut registry = mirroring(vec![Mirror { max: Some(1000), ..hub() }]);
    let layers = layers(&mut registry, 12);
    for layer in &layers[..10] {
        assert_eq!(cached(&mut registry, layer), "MISS");
        registry.advance(2 * HOUR);
    }
    assert_eq!(evict(&mut registry), (0, 0), "it has as much as it may");
    // The oldest two are pulled again.
    for layer in &layers[..2] {
        assert_eq!(cached(&mut registry, layer), "HIT");
        registry.advance(2 * HOUR);
    }
    for layer in &layers[10..] {
        assert_eq!(cached(&mut registry, layer), "MISS");
    }
    // So much as is too much, and a little more.
    assert_eq!(evict(&mut registry), (3, 300));
    assert_eq!(evict(&mut registry), (0, 0));
    assert_eq!(registry.memory.objects.len(), 9, "the bytes are gone at once");
    for layer in layers[..2].iter().chain(&layers[5..]) {
        assert_eq!(cached(&mut registry, layer), "HIT");
    }
    for layer in &layers[2..5] {
        assert_eq!(cached(&mut registry, layer), "MISS");
    }
    let written = registry.memory.records.keys().filter(|key| key.as_str().starts_with("pulled/")).count();
    assert_eq!(written, 7, "none of blobs that were just fetched or are gone");
}

/// SPEC V19: however often it is pulled.
#[test]
fn that_a_blob_is_pulled_is_written_down_once_an_hour() {
    let mut registry = mirroring(vec![hub()]);
    let layer = layers(&mut registry, 1).remove(0);
    cached(&mut registry, &layer);
    let pulled = |registry: &mut InMemory| -> Vec<_> {
        registry
            .memory
            .records
            .iter()
            .filter(|(key, _)| key.as_str().starts_with("pulled/"))
            .map(|(_, value)| value.clone())
            .collect()
    };
    registry.advance(HOUR - SECOND);
    cached(&mut registry, &layer);
    assert_eq!(pulled(&mut registry), [""; 0]);
    registry.advance(SECOND);
    registry.head(blob(&layer.0, &layer.1)).expect(200);
    assert_eq!(pulled(&mut registry), [""; 0], "HEAD is no pull");
    cached(&mut registry, &layer);
    let first = pulled(&mut registry);
    assert_eq!(first.len(), 1);
    registry.advance(HOUR - SECOND);
    cached(&mut registry, &layer);
    assert_eq!(pulled(&mut registry), first);
    registry.advance(SECOND);
    cached(&mut registry, &layer);
    assert_ne!(pulled(&mut registry), first);
    registry.call(delete(blob(&layer.0, &layer.1))).expect(202);
    assert_eq!(pulled(&mut registry), [""; 0]);
}

/// SPEC V19: neither what others hold nor what belongs to another mirror.
#[test]
fn an_eviction_takes_nothing_but_what_the_mirror_alone_has() {
    let deeper = Mirror { prefix: "hub/deep/".into(), ..hub() };
    let mut registry = mirroring(vec![Mirror { max: Some(0), ..hub() }, deeper]);
    let all = layers(&mut registry, 3);
    let deep = ("hub/deep/app1".to_owned(), all[1].1.clone());
    let own = registry.push_image("own", "v1", AMD64, "own");
    for layer in [&all[0], &deep, &all[2]] {
        cached(&mut registry, layer);
    }
    registry.call(post(format!("{}?mount={}&from=hub/app2", uploads("own"), all[2].1))).expect(201);
    registry.advance(DAY);
    assert_eq!(evict(&mut registry), (2, 200));
    assert_eq!(registry.get(blob("own", &all[2].1)).expect(200).body().len(), 100);
    assert_eq!(cached(&mut registry, &deep), "HIT");
    pull(&mut registry, "own", "v1", &own);
    assert_eq!(cached(&mut registry, &all[0]), "MISS");
}

/// SPEC V19: one that is pulled between the two looks stays.
#[test]
fn what_is_pulled_while_others_are_evicted_stays() {
    let mut registry = mirroring(vec![Mirror { max: Some(100), ..hub() }]);
    let all = layers(&mut registry, 2);
    cached(&mut registry, &all[0]);
    registry.advance(2 * HOUR);
    cached(&mut registry, &all[1]);
    registry.advance(2 * HOUR);
    let mut step = registry.registry.evict(registry.memory.ambient());
    while step.name() != "Commit" {
        step = registry.memory.perform(step, &RequestBody::default());
    }
    assert_eq!(cached(&mut registry, &all[0]), "HIT");
    let eviction = registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail");
    assert!(eviction.blobs <= 1, "{eviction:?}");
    assert_eq!(cached(&mut registry, &all[0]), "HIT");
}

/// SPEC V19: by a trace like those of real registries, layers are hit within 3 % as often as with an exact order.
#[test]
fn hits_are_nearly_as_frequent_as_with_the_exact_order_of_pulls() {
    const LAYERS: usize = 300;
    const ROOM: u64 = 20_000;
    let mut registry = mirroring(vec![Mirror { max: Some(ROOM), ..hub() }]);
    // Popularity by rank to the power of 0.96, sizes over three decades, gaps with bursts.
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as f64 / (1u64 << 53) as f64
    };
    let sizes: Vec<usize> = (0..LAYERS).map(|_| 10f64.powf(1.0 + 2.0 * next()) as usize).collect();
    let weights: Vec<f64> = (1..=LAYERS).map(|rank| (rank as f64).powf(-0.96)).collect();
    let total: f64 = weights.iter().sum();
    let digests: Vec<String> = (0..LAYERS)
        .map(|number| {
            at(&mut registry, "hub", |hub| hub.push_blob("app", format!("{number:0width$}", width = sizes[number])))
        })
        .collect();
    let (mut order, mut held): (Vec<usize>, u64) = (Vec::new(), 0);
    let (mut exact, mut ours) = (0, 0);
    const PULLS: usize = 6000;
    for pull in 0..PULLS {
        let mut place = next() * total;
        let layer = weights.iter().position(|weight| {
            place -= weight;
            place < 0.0
        });
        let layer = layer.unwrap_or(LAYERS - 1);
        match order.iter().position(|known| *known == layer) {
            Some(at) => {
                exact += 1;
                order.remove(at);
            }
            None => held += sizes[layer] as u64,
        }
        order.push(layer);
        while held > ROOM {
            held -= sizes[order.remove(0)] as u64;
        }
        let answer = registry.get(blob("hub/app", &digests[layer])).expect(200);
        ours += usize::from(answer.header("X-Cache") == Some("HIT"));
        registry.advance(SECOND.mul_f64(if next() < 0.9 { 60.0 * next() } else { 900.0 }));
        if pull % 4 == 0 {
            evict(&mut registry);
        }
    }
    let (exact, ours) = (exact as f64 / PULLS as f64, ours as f64 / PULLS as f64);
    assert!((0.3..0.95).contains(&exact), "the trace says something: {exact}");
    assert!(ours > exact - 0.03, "{ours} and {exact}");
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
    let refused = [401, 401, 401, 401, 401, 401, 401, 401, 404, 404];
    assert_eq!(statuses(&mut registry, None), refused, "tags of a repository that is not here are not to be had");
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

/// SPEC V21: what cannot be kept is passed on, and a tag that is here stays usable.
#[test]
fn a_full_disk_does_not_end_pulls() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let full = || Fault::Full("no space".into());
    for reference in ["v1".to_owned(), image.digest()] {
        let call = registry.begin(get(manifest("hub/app", &reference))).until("Commit", &mut registry);
        let answer = call.fail(full(), false, &mut registry).end(&mut registry).expect(200).with("X-Cache", "MISS");
        let answer = answer.with("Content-Type", image.media_type()).with("Docker-Content-Digest", image.digest());
        assert_eq!(answer.body(), image.bytes());
    }
    let layer = sha256("layer");
    let call = registry.begin(get(blob("hub/app", &layer))).until("Follow", &mut registry);
    let answer = call.told(Followed::Over(Err(Error::Storage(full()))));
    let answer = answer.end(&mut registry).expect(200).with("X-Cache", "MISS").with("Content-Length", "5");
    assert_eq!(answer.body(), b"layer");
    assert!(registry.memory.records.is_empty());
    pull(&mut registry, "hub/app", "v1", &image);
    push_image(&mut registry, "app", "v1", "next");
    registry.advance(HOUR);
    let call = registry.begin(get(manifest("hub/app", "v1"))).until("Commit", &mut registry);
    let answer = call.fail(full(), false, &mut registry).end(&mut registry).expect(200).with("X-Cache", "STALE");
    assert_eq!(answer.body(), image.bytes());
    // That it was looked at is not worth a failure either.
    at(&mut registry, "hub", |hub| hub.put_manifest("app", "v1", &image).expect(201));
    let call = registry.begin(get(manifest("hub/app", "v1"))).until("Commit", &mut registry);
    call.fail(full(), false, &mut registry).end(&mut registry).expect(200).with("X-Cache", "HIT");
}

/// SPEC V9, V10: what a client is answered while the bytes come.
#[test]
fn a_blob_is_answered_while_it_comes() {
    let mut registry = mirroring(vec![hub()]);
    let digest = at(&mut registry, "hub", |hub| hub.push_blob("app", "0123456789"));
    let coming = |registry: &mut InMemory, call: Call| {
        let call = registry.begin(call).until("Follow", registry).told(Followed::Coming(10));
        call.end_unsent(registry).response
    };
    let whole = coming(&mut registry, get(blob("hub/app", &digest)));
    assert_eq!((whole.status, whole.header("Content-Length"), &whole.body), (200, Some("10"), &Body::Coming(0..10)));
    // The upstream gives a range alone.
    let part = coming(&mut registry, get(blob("hub/app", &digest)).header("Range", "bytes=-3"));
    assert_eq!((part.status, part.header("Content-Range"), &part.body), (206, Some("bytes 7-9/10"), &Body::Relayed));
    let parts = coming(&mut registry, get(blob("hub/app", &digest)).header("Range", "bytes=0-1,4-5"));
    assert_eq!((parts.status, parts.body), (200, Body::Coming(0..10)));
    let beyond = coming(&mut registry, get(blob("hub/app", &digest)).header("Range", "bytes=10-"));
    assert_eq!((beyond.status, beyond.header("Content-Range")), (416, Some("bytes */10")));
    let known = coming(&mut registry, get(blob("hub/app", &digest)).header("If-None-Match", format!("\"{digest}\"")));
    assert_eq!((known.status, known.body), (304, Body::Empty));
    // One that does not, or that says another size, is waited for.
    answers(&mut registry, "hub", unreachable());
    let part = coming(&mut registry, get(blob("hub/app", &digest)).header("Range", "bytes=2-4"));
    assert_eq!(
        (part.status, part.header("Content-Range"), &part.body),
        (206, Some("bytes 2-4/10"), &Body::Coming(2..5))
    );
}

/// Brings an image as an administrator does: which blobs are fetched for it.
fn bring(registry: &mut InMemory, repository: &str, reference: &str) -> Result<Vec<String>, Error> {
    let (name, reference): (Repository, Reference) = (repository.parse().expect("a name"), reference.parse()?);
    let step = registry.registry.bring(name.clone(), reference, registry.memory.ambient());
    let missing = registry.memory.run(step, &RequestBody::default())?;
    for blob in &missing {
        let step = registry.registry.fetching(name.clone(), *blob).begin(registry.memory.ambient());
        registry.memory.run(step, &RequestBody::default())?;
    }
    Ok(missing.iter().map(ToString::to_string).collect())
}

/// SPEC V22.
#[test]
fn what_an_administrator_fetches_is_there_before_a_client_asks() {
    let mut registry = mirroring(vec![hub()]);
    let images = [(AMD64, "one"), (ARM64, "two")].map(|(platform, layer)| Manifest::image(platform, layer));
    let index = Manifest::index(&[&images[0], &images[1]]);
    let cache = sha256("of a build cache");
    let strange = index.clone().field("manifests", serde_json::json!([descriptor("x/layer", "of a build cache")]));
    at(&mut registry, "hub", |hub| {
        images.iter().for_each(|image| drop(hub.push("app", image.digest(), image)));
        hub.put_manifest("app", "v1", &index).expect(201);
        hub.push_blob("app", "of a build cache");
        hub.put_manifest("app", "cache", &strange).expect(201);
    });
    let mut expected: Vec<_> = images.iter().flat_map(|image| image.blobs().iter().map(sha256)).collect();
    expected.sort();
    assert_eq!(bring(&mut registry, "hub/app", "v1"), Ok(expected));
    assert_eq!(bring(&mut registry, "hub/app", "cache"), Ok(vec![cache.clone()]));
    assert_eq!(bring(&mut registry, "hub/app", "v1"), Ok(vec![]), "all of it is here");
    assert!(matches!(bring(&mut registry, "hub/app", "v2"), Err(Error::ManifestUnknown(_))));
    assert!(matches!(bring(&mut registry, "other", "v1"), Err(Error::RepositoryUnknown(_))));
    answers(&mut registry, "hub", unreachable());
    assert!(matches!(bring(&mut registry, "hub/none", "v1"), Err(Error::UpstreamFailed(_))));
    registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "HIT");
    images.iter().for_each(|image| pull(&mut registry, "hub/app", &image.digest(), image));
    registry.get(blob("hub/app", cache)).expect(200);
}

/// SPEC V22: page by page.
#[test]
fn the_tags_of_the_upstream_can_be_listed() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v0", "layer");
    at(&mut registry, "hub", |hub| {
        (1..2500).for_each(|number| drop(hub.put_manifest("app", format!("v{number}"), &image).expect(201)));
    });
    asked(&mut registry);
    let listed = |registry: &mut InMemory, name: &str| {
        let step = registry.registry.upstream_tags(name.parse().expect("a name"), registry.memory.ambient());
        registry.memory.run(step, &RequestBody::default())
    };
    assert_eq!(listed(&mut registry, "hub/app").expect("a list").len(), 2500);
    assert_eq!(asked(&mut registry).len(), 3);
    assert!(matches!(listed(&mut registry, "hub/none"), Err(Error::RepositoryUnknown(_))));
    assert!(matches!(listed(&mut registry, "own"), Err(Error::RepositoryUnknown(_))));
}

/// SPEC V22.
#[test]
fn an_administrator_sees_what_mirrors_have_and_lets_go_of_it() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    at(&mut registry, "hub", |hub| hub.put_manifest("app", "v2", &image).expect(201));
    pull(&mut registry, "hub/app", "v1", &image);
    pull(&mut registry, "hub/app", "v2", &image);
    let own = registry.push_image("own", "v1", AMD64, "layer");
    let listed = |registry: &mut InMemory| {
        let step = registry.registry.mirrored(registry.memory.ambient());
        let listed = registry.memory.run(step, &RequestBody::default()).expect("no fault");
        listed.into_iter().map(|it| (it.repository, it.tags, it.bytes)).collect::<Vec<_>>()
    };
    let let_go = |registry: &mut InMemory, name: &str, reference: Option<&str>| {
        let reference = reference.map(|reference| reference.parse().expect("a reference"));
        let step = registry.registry.let_go_of(name.parse().expect("a name"), reference, registry.memory.ambient());
        registry.memory.run(step, &RequestBody::default())
    };
    let bytes = image.bytes().len() + image.blobs().iter().map(|blob| blob.len()).sum::<usize>();
    assert_eq!(listed(&mut registry), [("hub/app".into(), 2, bytes as u64)]);
    assert_eq!(let_go(&mut registry, "hub/app", Some("v1")), Ok(1));
    assert_eq!(let_go(&mut registry, "hub/app", Some("v1")), Ok(0));
    let layer = sha256("layer");
    assert_eq!(let_go(&mut registry, "hub/app", Some(&layer)), Ok(1));
    assert_eq!(listed(&mut registry), [("hub/app".into(), 1, (bytes - 5) as u64)]);
    assert!(matches!(let_go(&mut registry, "own", None), Err(Error::RepositoryUnknown(_))), "it is no mirror's");
    assert_eq!(let_go(&mut registry, "hub/app", None), Ok(2));
    assert_eq!(listed(&mut registry), [("hub/app".into(), 0, 0)]);
    assert_eq!(registry.memory.objects.len(), 2, "those of the other repository");
    pull(&mut registry, "own", "v1", &own);
    pull(&mut registry, "hub/app", "v2", &image);
}
