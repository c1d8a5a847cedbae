//! Mirrors: repositories that stand in front of those of another registry (SPEC V).

mod administering;
mod asking;
mod evicting;
mod platforms;
mod reaching;
mod referrers;
mod rights;
mod tags;

use std::sync::Arc;
use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest, OCI_INDEX, descriptor, sha256};
use orlop_conformance::system::{
    Answer, Call, InMemory, System, blob, delete, get, head, manifest, post, put, referrers, strings, uploads,
};
use orlop_core::caller::{Right, Rule};
use orlop_core::config::{Pattern, Quota};
use orlop_core::effect::Fetch;
use orlop_core::memory::{RequestBody, Upstream as Other};
use orlop_core::mirror::{Followed, Freshness, Login, Mirror, Unmet, Upstream, UpstreamName};
use orlop_core::name::Repository;
use orlop_core::target::Reference;
use orlop_core::{Body, Caller, Config, Error, Fault, Registry, Rights, Step};

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

/// SPEC V8: of a blob, a manifest by digest and a manifest by tag.
#[test]
fn nothing_is_kept_that_is_not_what_its_digest_says() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let layer = sha256(&image.blobs()[1]);
    let whole = registry.memory.upstreams.clone();
    let hub = |registry: &mut InMemory, change: fn(&mut Other)| {
        change(registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream"));
    };
    hub(&mut registry, |hub| hub.garbled = true);
    registry.get(manifest("hub/app", "v1")).refused(502, "UNAVAILABLE");
    registry.get(manifest("hub/app", image.digest())).refused(502, "UNAVAILABLE");
    registry.memory.upstreams = whole.clone();
    hub(&mut registry, |hub| {
        let objects = hub.memory.objects.values_mut();
        objects.for_each(|(bytes, _)| *bytes = bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into());
    });
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
    // So is one that breaks each time after few bytes, where these are no object to go on with.
    let mut registry = mirroring(vec![self::hub()]);
    let config = Config { mirrors: vec![self::hub()], small_object: 5, ..Config::default() };
    registry.registry = Registry::new(config);
    let image = push_image(&mut registry, "app", "v1", "a layer of some bytes");
    let hub = registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream");
    hub.breaks = vec![5; 99];
    registry.get(blob("hub/app", sha256(&image.blobs()[1]))).refused(502, "UNAVAILABLE");
    assert_eq!(asked(&mut registry).len(), 4);
}

/// From which upstream, from which byte on and into which object a blob was asked for.
type AskedFrom = (String, u64, u32);

/// Fetches a blob, and says how it was asked for.
fn fetched(registry: &mut InMemory, digest: &str) -> (Vec<AskedFrom>, Result<(), Error>) {
    let (name, digest) = ("hub/app".parse().expect("a name"), digest.parse().expect("a digest"));
    let mut step = registry.registry.fetching(name, digest).begin(registry.memory.ambient());
    let mut asked = Vec::new();
    loop {
        step = match step {
            Step::Respond(result) | Step::Answered(result, _) => return (asked, result),
            asking => {
                if let Step::Fetch(ask) = &asking {
                    let Fetch { source, object, meter, .. } = &ask.effect;
                    asked.push((source.upstream.as_str().into(), meter.count(), object.index));
                }
                registry.memory.perform(asking, &RequestBody::default())
            }
        };
    }
}

/// SPEC V9.
#[test]
fn a_fetch_whose_object_is_gone_begins_anew() {
    let layer = "a layer of some bytes";
    let mut registry = mirroring(vec![hub()]);
    push_image(&mut registry, "app", "v1", layer);
    registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream").breaks = vec![7];
    let (name, digest) = ("hub/app".parse().expect("a name"), sha256(layer).parse().expect("a digest"));
    let mut step = registry.registry.fetching(name, digest).begin(registry.memory.ambient());
    let mut asked = Vec::new();
    let result = loop {
        step = match step {
            Step::Respond(result) | Step::Answered(result, _) => break result,
            Step::Fetch(ask) => {
                asked.push((ask.effect.meter.count(), ask.effect.object.index));
                // What came before the break is lost.
                registry.memory.objects.clear();
                registry.memory.perform(Step::Fetch(ask), &RequestBody::default())
            }
            asking => registry.memory.perform(asking, &RequestBody::default()),
        };
    };
    assert_eq!((asked, result), (vec![(0, 0), (7, 0), (0, 1)], Ok(())));
    assert_eq!(registry.get(blob("hub/app", sha256(layer))).expect(200).body(), layer.as_bytes());
    assert_eq!(registry.memory.objects.len(), 1);
}

/// SPEC V9.
#[test]
fn another_upstream_goes_on_where_one_broke_off() {
    let layer = "a layer of some bytes";
    let names = ["hub", "other"].map(|name| Upstream { name: upstream(name), official: String::new() });
    let mut registry = mirroring(vec![Mirror { upstreams: names.into(), ..hub() }]);
    let before = registry.clone();
    for name in ["hub", "other"] {
        at(&mut registry, name, |there| there.push_image("app", "v1", AMD64, layer));
    }
    let entry = |name: &str, from, index| (name.to_owned(), from, index);
    let hub = |registry: &mut InMemory, is_right: bool| {
        let hub = registry.memory.upstreams.get_mut(&upstream("hub")).expect("an upstream");
        // The last one is the first to come.
        hub.breaks = vec![0, 0, 0, 0, 7];
        let objects = hub.memory.objects.values_mut().filter(|_| !is_right);
        objects.for_each(|(bytes, _)| *bytes = bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into());
    };
    let whole = registry.clone();
    hub(&mut registry, true);
    let begun = || [entry("hub", 0, 0), entry("hub", 7, 0), entry("hub", 7, 0), entry("hub", 7, 0), entry("hub", 7, 0)];
    let went_on = [begun().to_vec(), vec![entry("other", 7, 0)]].concat();
    assert_eq!(fetched(&mut registry, &sha256(layer)), (went_on.clone(), Ok(())));
    assert_eq!(registry.get(blob("hub/app", sha256(layer))).expect(200).body(), layer.as_bytes());
    assert_eq!(registry.memory.objects.len(), 1);
    // The first one has sent something else.
    let mut registry = whole;
    hub(&mut registry, false);
    let anew = [went_on.clone(), vec![entry("other", 0, 1)]].concat();
    assert_eq!(fetched(&mut registry, &sha256(layer)), (anew, Ok(())));
    assert_eq!(registry.get(blob("hub/app", sha256(layer))).expect(200).body(), layer.as_bytes());
    assert_eq!(registry.memory.objects.len(), 1);
    // The other one does not have it: that is no reason to begin anew, and nothing is left.
    let mut registry = before;
    at(&mut registry, "hub", |there| there.push_image("app", "v1", AMD64, layer));
    hub(&mut registry, true);
    let (asked, result) = fetched(&mut registry, &sha256(layer));
    assert_eq!(asked, went_on);
    assert!(matches!(result, Err(Error::UpstreamFailed(_))));
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

/// SPEC X12: with time to undelete, what the upstream can give again goes at once all the same, by whatever deletes it; what
/// was pushed before there was a mirror can be undeleted.
#[test]
fn what_an_upstream_has_is_not_kept_for_an_undelete() {
    let keeping = |mirrors: Vec<Mirror>| Config {
        mirrors,
        undelete_within: Some(10 * DAY),
        untagged_lifetime: Some(HOUR),
        ..Config::default()
    };
    let mut registry = mirroring(Vec::new());
    registry.registry = Registry::new(keeping(Vec::new()));
    let pushed = registry.push_image("hub/app", "pushed", AMD64, "pushed");
    registry.registry = Registry::new(keeping(vec![hub()]));
    let image = push_image(&mut registry, "app", "v1", "layer");
    let kept = |registry: &InMemory| -> Vec<String> {
        let keys = registry.memory.records.keys().map(|key| key.as_str().to_owned());
        keys.filter(|key| key.starts_with("deleted")).collect()
    };
    pull(&mut registry, "hub/app", "v1", &image);
    registry.call(delete(manifest("hub/app", "v1"))).expect(202);
    assert_eq!(kept(&registry), Vec::<String>::new(), "a tag");
    registry.call(delete(manifest("hub/app", image.digest()))).expect(202);
    assert_eq!(kept(&registry), Vec::<String>::new(), "a manifest");
    pull(&mut registry, "hub/app", "v1", &image);
    registry.call(delete(manifest("hub/app", image.digest()))).expect(202);
    assert_eq!(kept(&registry), Vec::<String>::new(), "a manifest and its tag");
    pull(&mut registry, "hub/app", &image.digest(), &image);
    registry.advance(2 * DAY);
    registry.gc();
    assert_eq!(kept(&registry), Vec::<String>::new(), "by garbage collection");
    registry.call(delete(manifest("hub/app", pushed.digest()))).expect(202);
    let name = format!("deleted/hub/app@{}", pushed.digest());
    assert!(kept(&registry).contains(&name), "{:?}", kept(&registry));
}

/// A request as the registry reads it from a client that sees the repositories below `root` without that.
fn within(registry: &mut InMemory, root: Option<&str>, caller: &Arc<Caller>, call: &Call) -> Answer {
    let ambient = registry.memory.ambient();
    let asked = registry.registry.read(call.request.clone(), root);
    let step = registry.registry.call_of(caller.clone(), Arc::new(asked), ambient);
    let response = registry.memory.run(step, &call.body);
    Answer { to: call.to_string(), response: registry.memory.fill(response) }
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
    // All of it can be held against the digest.
    let all = coming(&mut registry, get(blob("hub/app", &digest)).header("Range", "bytes=0-"));
    assert_eq!((all.status, all.header("Content-Range"), &all.body), (206, Some("bytes 0-9/10"), &Body::Coming(0..10)));
    let parts = coming(&mut registry, get(blob("hub/app", &digest)).header("Range", "bytes=0-1,4-5"));
    assert_eq!((parts.status, parts.body), (200, Body::Coming(0..10)));
    let beyond = coming(&mut registry, get(blob("hub/app", &digest)).header("Range", "bytes=10-"));
    assert_eq!((beyond.status, beyond.header("Content-Range")), (416, Some("bytes */10")));
    let known = coming(&mut registry, get(blob("hub/app", &digest)).header("If-None-Match", format!("\"{digest}\"")));
    assert_eq!((known.status, known.body), (304, Body::Empty));
    // One that does not, or that says another size, is waited for.
    let call = registry.begin(get(blob("hub/app", &digest)).header("Range", "bytes=2-4"));
    let other = call.until("Follow", &mut registry).told(Followed::Coming(11)).end_unsent(&mut registry).response;
    assert_eq!(
        (other.status, other.header("Content-Range"), &other.body),
        (206, Some("bytes 2-4/11"), &Body::Coming(2..5))
    );
    answers(&mut registry, "hub", unreachable());
    let part = coming(&mut registry, get(blob("hub/app", &digest)).header("Range", "bytes=2-4"));
    assert_eq!(
        (part.status, part.header("Content-Range"), &part.body),
        (206, Some("bytes 2-4/10"), &Body::Coming(2..5))
    );
}
