//! Repositories under `hub/`, which stand in front of those of another registry. With each question to that, all that can
//! go wrong there is tried besides what the storage may do.

use std::time::Duration;

use bytes::Bytes;
use orlop_core::Config;
use orlop_core::mirror::{Freshness, Mirror, Unmet, Upstream, UpstreamName};

use super::super::sample::{
    artifact, ask, config, delete, delete_blob, digest, get, get_blob, index_of, push, push_blob,
};
use super::super::scenario::{Call, HOUR, Scenario};
use super::{LAYER, amd64, arm64, new, stocked};

/// A blob that comes in more than one piece when the connection breaks.
const LONG: &[u8] = b"a blob of some bytes";

const MINUTE: Duration = Duration::from_secs(60);

/// Those of a mirror whose tags are fresh for so long.
fn fresh_for(fresh: Duration) -> Config {
    let upstreams = ["main", "spare"].map(|name| Upstream { name: UpstreamName::new(name), official: String::new() });
    let mirror = Mirror {
        prefix: "hub/".into(),
        upstreams: upstreams.into(),
        fresh: Freshness::For(fresh),
        ..Mirror::default()
    };
    Config { mirrors: vec![mirror], ..Config::default() }
}

/// The registry that is mirrored, with an image under a tag and another one without.
fn main_upstream() -> Scenario {
    let stocked = stocked(new("the upstream")).given(&push_blob("a", LONG)).given(&push_blob("a", b"tiny"));
    stocked.given(&push("a", digest(&arm64()), &arm64())).given(&push("a", "v1", &amd64()))
}

/// A mirror of that registry; there is nothing in the second one.
fn mirror_with(name: &str, config: Config) -> Scenario {
    Scenario::new(name, config).with_upstream("main", main_upstream()).with_upstream("spare", new("the spare upstream"))
}

pub(super) fn mirror(name: &str) -> Scenario {
    mirror_with(name, fresh_for(MINUTE))
}

/// The connections of the first upstream break after so many bytes each, the last first.
fn broken(mut scenario: Scenario, breaks: &[usize]) -> Scenario {
    for upstream in scenario.before.upstreams.values_mut() {
        upstream.breaks = breaks.to_vec();
    }
    scenario
}

/// The first upstream breaks off in a blob for good, and the second one has the same.
fn on_to_the_spare(name: &str) -> Scenario {
    let mut scenario = mirror(name).with_upstream("spare", main_upstream());
    for (name, upstream) in &mut scenario.before.upstreams {
        let is_main = name.as_str() == "main";
        upstream.breaks = if is_main { vec![0, 0, 0, 0, 6] } else { Vec::new() };
    }
    scenario
}

/// There for one platform; the upstream has an index with an image for that and one for another.
fn for_arm64(name: &str) -> Scenario {
    let mut config = fresh_for(MINUTE);
    config.mirrors[0].platforms = vec!["linux/arm64".parse().expect("a platform")];
    mirror_with(name, config).with_upstream("main", main_upstream().given(&push("a", "both", &both())))
}

fn both() -> Bytes {
    index_of(&[(&amd64(), "amd64"), (&arm64(), "arm64")])
}

/// The first upstream does not answer, and the second one has the same.
fn on_the_spare(name: &str, unmet: Unmet) -> Scenario {
    let mut scenario = mirror(name).with_upstream("spare", main_upstream());
    for (name, upstream) in &mut scenario.before.upstreams {
        upstream.unmet = Some(unmet.clone()).filter(|_| name.as_str() == "main");
    }
    scenario
}

/// The upstream takes a push.
fn upstream(call: Call) -> Call {
    match call {
        Call::Request(request, body) => Call::Upstream(request, body),
        other => other,
    }
}

fn let_go() -> Call {
    Call::LetGo("hub/a".parse().expect("the name of a repository"))
}

fn head_blob(repository: &str, bytes: &[u8]) -> Call {
    ask("HEAD", format!("/v2/{repository}/blobs/{}", digest(bytes)))
}

/// Blobs and manifests of mirrors.
pub fn mirrors() -> Vec<Scenario> {
    [blobs(), manifests()].concat()
}

/// Another repository, which mirrors nothing, has a blob of the upstream.
fn elsewhere(name: &str) -> Scenario {
    mirror(name).given(&push_blob("b", LAYER))
}

/// A blob was fetched before.
fn here(name: &str) -> Scenario {
    mirror(name).given(&get_blob("hub/a", LAYER))
}

/// Two blobs are here, pulled long ago, and there is room for one.
fn crowded(name: &str) -> Scenario {
    let mut config = fresh_for(MINUTE);
    config.mirrors[0].max = Some(LONG.len() as u64);
    let scenario = mirror_with(name, config).given(&get_blob("hub/a", LAYER)).given(&get_blob("hub/a", LONG));
    scenario.later(HOUR * 2)
}

/// An image is here by a tag that is never fresh, all blobs of another one are, and there is room for nothing. On the second
/// host the mirror is offline, so that it takes pushes.
fn beside_offline(name: &str) -> Scenario {
    let mut online = fresh_for(Duration::ZERO);
    online.mirrors[0].max = Some(0);
    let mut offline = online.clone();
    offline.mirrors[0].offline = true;
    let scenario = mirror_with(name, online).given(&get("hub/a", "v1")).given(&get_blob("hub/a", LAYER));
    scenario.given(&get_blob("hub/a", &config("arm64"))).with_other(offline)
}

/// What makes many places, so that failures in each of them would take minutes.
pub fn mirror_crowds() -> Vec<Scenario> {
    let fetch = || get_blob("hub/a", LAYER);
    let other = Config { small_object: 0, blob_objects: 2, ..fresh_for(MINUTE) };
    let always = || fresh_for(Duration::ZERO);
    let moved = || upstream(push("a", "v1", &arm64()));
    let pull = || get("hub/a", "v1");
    vec![
        mirror("fetch blob × fetch it, on two hosts").with_other(other).at_once([fetch(), fetch()]),
        elsewhere("fetch a blob that is elsewhere × gc").later(HOUR * 25).at_once([fetch(), Call::Gc]),
        here("fetch blob again × gc").later(HOUR * 25).at_once([fetch(), Call::Gc]),
        mirror("a day × fetch blob × gc").at_once([Call::Wait(HOUR * 25), fetch(), Call::Gc]),
        on_to_the_spare("fetch a blob × fetch it, on to the second upstream")
            .at_once([get_blob("hub/a", LONG), get_blob("hub/a", LONG)]),
        mirror("fetch blob × evict it × fetch it").at_once([fetch(), delete_blob("hub/a", LAYER), fetch()]),
        broken(mirror("fetch a blob that breaks off at once × gc"), &[6, 0, 2])
            .at_once([get_blob("hub/a", LONG), Call::Gc]),
        crowded("make room × gc").later(HOUR * 25).at_once([Call::Evict, Call::Gc]),
        crowded("fetch an evicted blob × make room × push it elsewhere").given(&delete_blob("hub/a", LAYER)).at_once([
            fetch(),
            Call::Evict,
            push_blob("b", LAYER),
        ]),
        mirror_with("pull × move tag × pull", always()).at_once([pull(), moved(), pull()]),
        mirror_with("pull again × move tag × pull", always()).given(&pull()).at_once([pull(), moved(), pull()]),
        mirror_with("pull again × move tag × evict tag", always()).given(&pull()).at_once([
            pull(),
            moved(),
            delete("hub/a", "v1"),
        ]),
    ]
}

fn blobs() -> Vec<Scenario> {
    let part = || get_blob("hub/a", LONG).header("Range", "bytes=15-");
    vec![
        mirror("fetch blob").at_once([get_blob("hub/a", LONG)]),
        mirror("fetch small blob × fetch it").at_once([get_blob("hub/a", b"tiny"), get_blob("hub/a", b"tiny")]),
        mirror("fetch blob × fetch it").at_once([get_blob("hub/a", LAYER), get_blob("hub/a", LAYER)]),
        mirror("fetch blob × HEAD of it").at_once([get_blob("hub/a", LAYER), head_blob("hub/a", LAYER)]),
        mirror("fetch blob × fetch the end of it").at_once([get_blob("hub/a", LONG), part()]),
        mirror("fetch blob × push it elsewhere").at_once([get_blob("hub/a", LAYER), push_blob("b", LAYER)]),
        elsewhere("fetch a blob that is elsewhere × delete it there")
            .at_once([get_blob("hub/a", LAYER), delete_blob("b", LAYER)]),
        mirror("fetch a blob that is elsewhere, and not at the upstream")
            .given(&push_blob("b", b"secret"))
            .at_once([get_blob("hub/a", b"secret"), get_blob("b", b"secret")]),
        mirror("fetch blob × gc").at_once([get_blob("hub/a", LAYER), Call::Gc]),
        mirror("fetch blob × evict it").at_once([get_blob("hub/a", LAYER), delete_blob("hub/a", LAYER)]),
        here("fetch blob again × evict it").at_once([get_blob("hub/a", LAYER), delete_blob("hub/a", LAYER)]),
        crowded("fetch blob again × make room").at_once([get_blob("hub/a", LONG), Call::Evict]),
        crowded("make room × make room").at_once([Call::Evict, Call::Evict]),
        crowded("push a blob of a mirror elsewhere × make room").at_once([push_blob("b", LAYER), Call::Evict]),
        crowded("evict blob × make room").at_once([delete_blob("hub/a", LAYER), Call::Evict]),
        broken(mirror("fetch a blob that breaks off × fetch it"), &[3, 6])
            .at_once([get_blob("hub/a", LONG), get_blob("hub/a", LONG)]),
        on_to_the_spare("fetch a blob, on to the second upstream").at_once([get_blob("hub/a", LONG)]),
        here("fetch blob again × let go of all").at_once([get_blob("hub/a", LAYER), let_go()]),
        on_the_spare("fetch blob × fetch it, of the second upstream", Unmet::Failed("it is down".into()))
            .at_once([get_blob("hub/a", LAYER), get_blob("hub/a", LAYER)]),
    ]
}

fn manifests() -> Vec<Scenario> {
    let (amd64, arm64) = (amd64(), arm64());
    let (first, second) = (digest(&amd64), digest(&arm64));
    let gone = || upstream(delete("a", "v1"));
    let pulled = |name: &str| mirror(name).given(&get("hub/a", "v1"));
    let old = |name: &str| pulled(name).later(Duration::from_secs(90));
    let tidy = Config { untagged_lifetime: Some(HOUR), ..fresh_for(MINUTE) };
    let signature = artifact(LAYER, &amd64);
    let referrers = || ask("GET", format!("/v2/hub/a/referrers/{first}"));
    let signed = || main_upstream().given(&push("a", digest(&signature), &signature));
    let forgetting = |name: &str| {
        let mut config = fresh_for(Duration::ZERO);
        config.mirrors[0].gone = Duration::ZERO;
        mirror_with(name, config).given(&get("hub/a", "v1"))
    };
    vec![
        mirror("pull × pull").at_once([get("hub/a", "v1"), get("hub/a", "v1")]),
        mirror("pull × pull by digest").at_once([get("hub/a", "v1"), get("hub/a", first)]),
        old("pull of an old tag × pull").at_once([get("hub/a", "v1"), get("hub/a", "v1")]),
        for_arm64("pull an index × pull an image for another platform")
            .at_once([get("hub/a", "both"), get("hub/a", first)]),
        for_arm64("pull an image for another platform × evict its index")
            .given(&get("hub/a", "both"))
            .at_once([get("hub/a", first), delete("hub/a", digest(&both()))]),
        beside_offline("pull of an old tag × push it where the mirror is offline")
            .at_once([get("hub/a", "v1"), push("hub/a", "v1", &arm64)]),
        beside_offline("make room × push an image where the mirror is offline")
            .at_once([Call::Evict, push("hub/a", "v2", &arm64)]),
        beside_offline("fetch blob × push it where the mirror is offline")
            .given(&delete_blob("hub/a", LAYER))
            .at_once([get_blob("hub/a", LAYER), push_blob("hub/a", LAYER)]),
        old("pull of an old tag × let go of all").at_once([get("hub/a", "v1"), let_go()]),
        pulled("pull × evict tag").at_once([get("hub/a", "v1"), delete("hub/a", "v1")]),
        old("pull of an old tag × evict tag").at_once([get("hub/a", "v1"), delete("hub/a", "v1")]),
        old("pull of an old tag × evict manifest").at_once([get("hub/a", "v1"), delete("hub/a", first)]),
        mirror("pull × evict manifest").at_once([get("hub/a", "v1"), delete("hub/a", first)]),
        mirror("pull by digest × evict manifest").at_once([get("hub/a", second), delete("hub/a", second)]),
        mirror("pull × gc").at_once([get("hub/a", "v1"), Call::Gc]),
        mirror_with("pull of an evicted tag × gc", tidy)
            .given(&get("hub/a", "v1"))
            .given(&delete("hub/a", "v1"))
            .later(HOUR * 2)
            .at_once([get("hub/a", "v1"), Call::Gc]),
        mirror("pull image × fetch its layer").at_once([get("hub/a", "v1"), get_blob("hub/a", LAYER)]),
        mirror("pull × push it elsewhere")
            .given(&push_blob("b", LAYER))
            .given(&push_blob("b", &config("amd64")))
            .at_once([get("hub/a", "v1"), push("b", "v1", &amd64)]),
        forgetting("pull × delete tag at the upstream × pull").at_once([
            get("hub/a", "v1"),
            gone(),
            get("hub/a", "v1"),
        ]),
        on_the_spare("pull × pull, of the second upstream", Unmet::Paused(Duration::from_secs(1)))
            .at_once([get("hub/a", "v1"), get("hub/a", "v1")]),
        mirror("list referrers × pull one")
            .with_upstream("main", signed())
            .at_once([referrers(), get("hub/a", digest(&signature))]),
    ]
}
