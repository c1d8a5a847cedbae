//! What is deleted, comes back, is purged or is protected, beside pushes, deletes and garbage collections.

use orlop_core::Config;
use orlop_core::Undeleting;
use orlop_core::config::Pattern;
use orlop_core::digest::Digest;
use orlop_core::event::{Happening, Listener};
use orlop_core::target::Reference;

use super::super::sample::{
    artifact, config, delete, delete_blob, digest, empty, get, get_blob, image, index, mount, push, push_blob,
};
use super::super::scenario::{Call, HOUR, SKEW, Scenario};
use super::{LAYER, amd64, arm64, list_of_both, stocked};

/// The bytes that are purged where something is purged, and the end of the layer of all images here.
pub const SECRET: &[u8] = LAYER;

const WEEK: std::time::Duration = HOUR.saturating_mul(24 * 7);

fn keeping() -> Config {
    Config { undelete_within: Some(WEEK), ..Config::default() }
}

fn undelete_with(reference: impl std::fmt::Display, how: Undeleting) -> Call {
    let reference: Reference = reference.to_string().parse().expect("a reference");
    Call::Undelete("a".parse().expect("a name"), reference, how)
}

fn undelete(reference: impl std::fmt::Display) -> Call {
    undelete_with(reference, Undeleting::default())
}

fn purge(reference: impl std::fmt::Display) -> Call {
    Call::Purge("a".parse().expect("a name"), Some(reference.to_string().parse().expect("a reference")))
}

/// A purge of all that was deleted in the repository.
fn purge_deleted() -> Call {
    Call::Purge("a".parse().expect("a name"), None)
}

fn protect(mark: &str) -> Call {
    Call::Protect(mark.parse().expect("a mark"))
}

/// One image under one tag, which can be undeleted for a week.
fn kept(name: &str) -> Scenario {
    stocked(Scenario::new(name, keeping())).given(&push("a", "v1", &amd64()))
}

/// The same image was deleted, and its tag with it.
fn gone(name: &str) -> Scenario {
    kept(name).given(&delete("a", digest(&amd64())))
}

/// An artifact of one blob, which the repository has.
fn artifact_of_layer(name: &str, config: Config) -> Scenario {
    let lone = lone();
    Scenario::new(name, config).given(&push_blob("a", LAYER)).given(&push("a", digest(&lone), &lone))
}

/// What that scenario has.
fn lone() -> bytes::Bytes {
    artifact(LAYER, &amd64())
}

/// The same was deleted.
fn gone_artifact(name: &str) -> Scenario {
    artifact_of_layer(name, keeping()).given(&delete("a", digest(&lone())))
}

/// The same was deleted, and its tag with it.
fn gone_tag(name: &str) -> Scenario {
    let scenario = Scenario::new(name, keeping()).given(&push_blob("a", LAYER));
    scenario.given(&push("a", "v1", &lone())).given(&delete("a", digest(&lone())))
}

/// An index of nothing was deleted, and its tag with it.
fn gone_index(name: &str) -> Scenario {
    let empty = index(&[]);
    Scenario::new(name, keeping()).given(&push("a", "v1", &empty)).given(&delete("a", digest(&empty)))
}

fn miscounted(scenario: Scenario) -> Scenario {
    scenario.with_counter("a", 1000)
}

/// Undeletes and what stands in their way.
pub fn undeletes() -> Vec<Scenario> {
    let (amd64, arm64) = (amd64(), arm64());
    let first: Digest = digest(&amd64);
    let signature = artifact(LAYER, &amd64);
    let untagged = |name: &str| kept(name).given(&delete("a", "v1"));
    let forced = Undeleting { force: true, named: None };
    let renamed = Undeleting { force: false, named: Some("v2".parse().expect("a tag")) };
    let listener = Listener {
        name: "ci".into(),
        happenings: vec![Happening::Push, Happening::Delete],
        repositories: vec![Pattern::new("**")],
    };
    vec![
        kept("delete by digest × undelete it").at_once([delete("a", first), undelete(first)]),
        kept("delete by tag × undelete it").at_once([delete("a", "v1"), undelete("v1")]),
        gone("undelete × undelete").at_once([undelete(first), undelete(first)]),
        gone("undelete × undelete by tag").at_once([undelete(first), undelete("v1")]),
        gone("undelete × push it again").at_once([undelete(first), push("a", "v1", &amd64)]),
        gone("undelete × push another to its tag").at_once([undelete("v1"), push("a", "v1", &arm64)]),
        gone("undelete by force × push another to its tag")
            .at_once([undelete_with("v1", forced), push("a", "v1", &arm64)]),
        gone("undelete × delete its blob").at_once([undelete(first), delete_blob("a", LAYER)]),
        gone("undelete × gc").later(WEEK + HOUR).at_once([undelete(first), Call::Gc]),
        gone("undelete × gc, on two hosts")
            .with_other(keeping())
            .later(WEEK - SKEW / 2)
            .at_once([undelete(first), Call::Gc]),
        gone("undelete × gc of a host that keeps nothing")
            .with_other(Config::default())
            .at_once([undelete(first), Call::Gc]),
        gone("push what was deleted × gc").later(WEEK + HOUR).at_once([push("a", "v1", &amd64), Call::Gc]),
        kept("delete by digest, to be undeleted × recount").at_once([delete("a", first), Call::Recount]),
        gone("undelete × recount").at_once([undelete(first), Call::Recount]),
        gone("push what was deleted × recount").at_once([push("a", "v1", &amd64), Call::Recount]),
        miscounted(kept("delete by digest, to be undeleted × recount of a wrong counter"))
            .at_once([delete("a", first), Call::Recount]),
        miscounted(gone("undelete × recount of a wrong counter")).at_once([undelete(first), Call::Recount]),
        miscounted(gone("push what was deleted × recount of a wrong counter"))
            .at_once([push("a", "v1", &amd64), Call::Recount]),
        miscounted(gone_artifact("gc of what was deleted × recount of a wrong counter"))
            .later(WEEK + HOUR)
            .at_once([Call::Gc, Call::Recount]),
        gone("GET what is undeleted × undelete").at_once([get("a", "v1"), undelete("v1")]),
        untagged("undelete tag × delete by digest").at_once([undelete("v1"), delete("a", first)]),
        untagged("undelete tag × undelete it under another name")
            .at_once([undelete("v1"), undelete_with("v1", renamed)]),
        untagged("undelete tag × push to it and delete it")
            .given(&push("a", "v1", &arm64))
            .at_once([delete("a", "v1"), undelete_with("v1", Undeleting { force: true, named: None })]),
        kept("undelete referrer × delete its subject")
            .given(&push("a", digest(&signature), &signature))
            .given(&delete("a", digest(&signature)))
            .at_once([undelete(digest(&signature)), delete("a", first)]),
        // Each step of the deletion of a repository is one of these deletes; here there is one step.
        artifact_of_layer("delete all of a repository × delete it", keeping())
            .at_once([empty("a"), delete("a", digest(&lone()))]),
        artifact_of_layer("delete all of a repository × push it again", keeping())
            .at_once([empty("a"), push("a", digest(&lone()), &lone())]),
        artifact_of_layer("delete all of a repository × gc", Config::default()).at_once([empty("a"), Call::Gc]),
        gone_artifact("delete all of a repository × undelete").at_once([empty("a"), undelete(digest(&lone()))]),
        Scenario::new(
            "undelete × delete by digest, with a listener",
            Config { listeners: vec![listener], ..keeping() },
        )
        .given(&push_blob("a", LAYER))
        .given(&push_blob("a", &config("amd64")))
        .given(&push("a", "v1", &amd64))
        .given(&delete("a", "v1"))
        .at_once([undelete("v1"), delete("a", first)]),
    ]
}

/// Lists, indexes and images that nothing names, which garbage collection deletes too.
pub fn undeleted_lists() -> Vec<Scenario> {
    let (amd64, arm64) = (amd64(), arm64());
    let (first, second) = (digest(&amd64), digest(&arm64));
    let list = digest(&list_of_both());
    let two = |name: &str, assemble: bool| {
        let assemble = if assemble { vec![Pattern::new("**")] } else { Vec::new() };
        let scenario = stocked(Scenario::new(name, Config { assemble, ..keeping() }));
        scenario.given(&push("a", "v1", &amd64)).given(&push("a", "v1", &arm64))
    };
    let tidy = |name: &str| {
        let config = Config { untagged_lifetime: Some(HOUR), ..keeping() };
        stocked(Scenario::new(name, config)).given(&push("a", "v1", &amd64))
    };
    let all = index(&[&amd64, &arm64]);
    let other = image("arm64", &config("amd64"));
    vec![
        two("undelete an image of a list × push to the list", false)
            .given(&delete("a", first))
            .at_once([undelete(first), push("a", "v1", &other)]),
        two("undelete an image of a list × delete the other", false)
            .given(&delete("a", first))
            .at_once([undelete(first), delete("a", second)]),
        two("undelete an image of an assembled list × delete the tag", true)
            .given(&delete("a", first))
            .at_once([undelete(first), delete("a", "v1")]),
        two("undelete an assembled list × push to it", true)
            .given(&delete("a", list))
            .at_once([undelete(list), push("a", "v1", &other)]),
        two("undelete a tag × delete an image of its list", false)
            .given(&delete("a", "v1"))
            .at_once([undelete("v1"), delete("a", first)]),
        two("undelete an index × delete its child", false)
            .given(&push("a", "all", &all))
            .given(&delete("a", digest(&all)))
            .at_once([undelete("all"), delete("a", first)]),
        two("undelete an index and its children × push one of them", false)
            .given(&push("a", "all", &all))
            .given(&delete("a", digest(&all)))
            .given(&delete("a", first))
            .at_once([undelete("all"), push("a", "v2", &amd64)]),
        tidy("delete tag × gc, what it named is kept").later(HOUR * 25).at_once([delete("a", "v1"), Call::Gc]),
        tidy("undelete tag × gc").given(&delete("a", "v1")).later(WEEK + HOUR).at_once([undelete("v1"), Call::Gc]),
        tidy("gc deletes × undelete")
            .given(&push("a", second, &arm64))
            .later(HOUR * 25)
            .at_once([Call::Gc, undelete(second)]),
        tidy("gc deletes × gc deletes")
            .given(&push("a", second, &arm64))
            .later(HOUR * 25)
            .at_once([Call::Gc, Call::Gc]),
    ]
}

/// Purges and protect marks.
pub fn purges() -> Vec<Scenario> {
    let amd64 = amd64();
    let first = digest(&amd64);
    let all = index(&[&amd64]);
    let (artifact, empty) = (digest(&lone()), digest(&index(&[])));
    vec![
        gone("purge × undelete").at_once([purge(first), undelete(first)]),
        gone("purge × push it again").at_once([purge(first), push("a", "v1", &amd64)]),
        kept("purge × delete by digest").at_once([purge(first), delete("a", first)]),
        kept("purge × delete by tag").at_once([purge(first), delete("a", "v1")]),
        kept("purge × mount its layer").at_once([purge("v1"), mount("b", LAYER, "a")]),
        kept("purge × GET its layer").at_once([purge("v1"), get_blob("a", LAYER)]),
        kept("purge × push an index of it").at_once([purge("v1"), push("a", "all", &all)]),
        gone("purge of all that was deleted × undelete").at_once([purge_deleted(), undelete("v1")]),
        gone("purge of all that was deleted × push it again").at_once([purge_deleted(), push("a", "v1", &amd64)]),
        miscounted(gone_index("purge of an index × recount of a wrong counter")).at_once([purge(empty), Call::Recount]),
        gone_artifact("purge of an artifact × purge").at_once([purge(artifact), purge(artifact)]),
        gone_artifact("purge of an artifact × purge of all").at_once([purge(artifact), purge_deleted()]),
        gone_index("purge of an index × purge of its tag").at_once([purge(empty), purge("v1")]),
        gone_index("purge of an index × gc").later(WEEK + HOUR).at_once([purge(empty), Call::Gc]),
        gone_index("purge of a tag × gc").later(WEEK + HOUR).at_once([purge("v1"), Call::Gc]),
        gone_artifact("purge of an artifact × gc").later(WEEK + HOUR).at_once([purge(artifact), Call::Gc]),
        kept("protect × delete by tag").at_once([protect("a:v1"), delete("a", "v1")]),
        kept("protect × delete by digest").at_once([protect("a:v1"), delete("a", first)]),
        kept("protect × delete a blob").at_once([protect("a:v1"), delete_blob("a", LAYER)]),
        kept("protect × protect").at_once([protect("a:v1"), protect("a:v2")]),
    ]
}

/// Purges of all that was deleted, beside what brings it back.
pub fn purges_of_all() -> Vec<Scenario> {
    let all = || Call::Purge("a".parse().expect("a name"), None);
    let lone = artifact(LAYER, &amd64());
    let listing = index(&[&lone]);
    let there = |name: &str| {
        let scenario = Scenario::new(name, keeping()).given(&push_blob("a", LAYER));
        scenario.given(&push("a", "v1", &lone))
    };
    let deleted = |name: &str| there(name).given(&delete("a", digest(&lone)));
    let index_deleted = |name: &str| {
        let scenario = Scenario::new(name, keeping()).given(&push_blob("a", LAYER));
        let scenario = scenario.given(&push("a", digest(&lone), &lone)).given(&push("a", "all", &listing));
        scenario.given(&delete("a", digest(&listing)))
    };
    vec![
        deleted("purge of all that was deleted × push it under another tag").at_once([all(), push("a", "v2", &lone)]),
        deleted("purge of all that was deleted × undelete its tag").at_once([all(), undelete("v1")]),
        deleted("purge of all that was deleted × undelete it").at_once([all(), undelete(digest(&lone))]),
        index_deleted("purge of a deleted index × GET its child").at_once([all(), get("a", digest(&lone))]),
        index_deleted("purge of a deleted index × push it again").at_once([all(), push("a", "all", &listing)]),
    ]
}

/// Those of which there are so many schedules that they take half a minute each, and much longer.
pub fn long_purges() -> Vec<Scenario> {
    let amd64 = amd64();
    let first = digest(&amd64);
    let restored = |name: &str| artifact_of_layer(name, Config { keep_erased: HOUR * 24 * 30, ..Config::default() });
    vec![
        gone("purge × purge").at_once([purge(first), purge("v1")]),
        restored("purge × gc, where objects are kept").later(HOUR * 25).at_once([purge(digest(&lone())), Call::Gc]),
        gone("purge × gc").later(WEEK + HOUR).at_once([purge(first), Call::Gc]),
        gone_tag("purge of the tag of an artifact × gc").later(WEEK + HOUR).at_once([purge("v1"), Call::Gc]),
    ]
}

/// What it takes more than two calls to go wrong.
pub fn undelete_crowds() -> Vec<Scenario> {
    let amd64 = amd64();
    let first = digest(&amd64);
    let untagged = || push("a", first, &amd64);
    vec![
        stocked(Scenario::new("push × push × delete by digest, to be undeleted", keeping())).at_once([
            untagged(),
            untagged(),
            delete("a", first),
        ]),
        gone("undelete × delete × gc").later(WEEK + HOUR).at_once([undelete(first), delete("a", first), Call::Gc]),
    ]
}
