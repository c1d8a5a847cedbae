//! The scenarios: pairs of operations that touch the same repository, tag, digest or upload.

mod accounts;
mod activities;
mod damage;
mod imports;
mod mirrors;
mod pieces;
mod retention;
pub mod signed;
mod undeletes;

use std::time::Duration;

use bytes::Bytes;
use orlop_core::config::{Gathered, Pattern};
use orlop_core::digest::Digest;
use orlop_core::event::{Happening, Listener};
use orlop_core::keys::Key;
use orlop_core::{Claim, Config, Lease};

pub use self::accounts::{quotas, recounts};
pub use self::activities::activities;
pub use self::damage::{damage, damaged_manifests, damaged_mirrors, unverified};
pub use self::imports::imports;
pub use self::mirrors::{mirror_crowds, mirrors};
pub use self::pieces::pieces;
pub use self::retention::{pulls, retention};
pub use self::signed::{api_tokens, sign_ins};
pub use self::undeletes::{SECRET, long_purges, purges, purges_of_all, undelete_crowds, undeleted_lists, undeletes};
use super::sample::{
    artifact, ask, cancel, config, delete, delete_blob, digest, digest512, finish, get, get_blob, get_list, image,
    index, mount, mount_from_anywhere, patch, push, push_blob, slow,
};
use super::scenario::{Call, HOUR, SKEW, Scenario};

const LAYER: &[u8] = b"layer";

/// What the sessions of many chunks have.
const MANY: &[u8] = b"12345678";

fn new(name: &str) -> Scenario {
    Scenario::new(name, Config::default())
}

/// A registry whose tags become lists, and which removes what nothing names.
fn tidy() -> Config {
    Config { assemble: vec![Pattern::new("**")], untagged_lifetime: Some(HOUR), ..Config::default() }
}

fn amd64() -> Bytes {
    image("amd64", LAYER)
}

fn arm64() -> Bytes {
    image("arm64", LAYER)
}

/// The blobs of both images are there.
fn stocked(scenario: Scenario) -> Scenario {
    let scenario = scenario.given(&push_blob("a", LAYER));
    scenario.given(&push_blob("a", &config("amd64"))).given(&push_blob("a", &config("arm64")))
}

/// The list that the registry itself makes of both images, to be pushed or named by a client.
fn list_of_both() -> Bytes {
    let made = stocked(Scenario::new("a list", tidy()));
    let made = made.given(&push("a", "v1", &amd64())).given(&push("a", "v1", &arm64()));
    let (_, tag) = made.before.records.iter().find(|(key, _)| key.as_str() == "tag/a:v1").expect("the tag");
    let tag: serde_json::Value = serde_json::from_slice(tag).expect("a record is JSON");
    let list = tag["digest"].as_str().expect("a tag names a digest");
    made.before.records[&Key::stored(format!("payload/a@{list}"))].clone()
}

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    [
        blobs(),
        uploads(),
        manifests(),
        lists(),
        collections(),
        crowds(),
        quotas(),
        recounts(),
        limits(),
        listeners(),
        activities(),
        gathers(),
        kept(),
        hosts(),
        mirrors(),
        mirror_crowds(),
        damage(),
        unverified(),
        damaged_manifests(),
        damaged_mirrors(),
        imports(),
        undeletes(),
        pieces(),
        undeleted_lists(),
        purges(),
        purges_of_all(),
        undelete_crowds(),
        pulls(),
        retention(),
        sign_ins(),
        api_tokens(),
    ]
    .concat()
}

/// Blobs alone: pushed, mounted, deleted, collected.
pub fn blobs() -> Vec<Scenario> {
    let pushed = |name| new(name).given(&push_blob("a", LAYER));
    let old = |name| pushed(name).later(HOUR * 25);
    let deleted = |name| pushed(name).given(&delete_blob("a", LAYER));
    vec![
        new("push blob × push the same blob").at_once([push_blob("a", LAYER), push_blob("a", LAYER)]),
        new("push blob × push it elsewhere").at_once([push_blob("a", LAYER), push_blob("b", LAYER)]),
        pushed("push blob again × delete it").at_once([push_blob("a", LAYER), delete_blob("a", LAYER)]),
        pushed("delete blob × delete blob").at_once([delete_blob("a", LAYER), delete_blob("a", LAYER)]),
        old("push blob again × gc").at_once([push_blob("a", LAYER), Call::Gc]),
        deleted("push a deleted blob × gc").at_once([push_blob("a", LAYER), Call::Gc]),
        pushed("push blob × mount it").at_once([push_blob("b", LAYER), mount("b", LAYER, "a")]),
        new("push blob × gc").at_once([push_blob("a", LAYER), Call::Gc]),
        pushed("mount × delete").at_once([mount("b", LAYER, "a"), delete_blob("a", LAYER)]),
        pushed("mount from anywhere × delete").at_once([mount_from_anywhere("b", LAYER), delete_blob("a", LAYER)]),
        old("mount × gc").at_once([mount("b", LAYER, "a"), Call::Gc]),
        deleted("mount a deleted blob × gc").at_once([mount("b", LAYER, "a"), Call::Gc]),
        old("mount from anywhere × gc").at_once([mount_from_anywhere("b", LAYER), Call::Gc]),
        old("mount onto itself × gc").at_once([mount("a", LAYER, "a"), Call::Gc]),
        pushed("mount × mount").at_once([mount("b", LAYER, "a"), mount_from_anywhere("b", LAYER)]),
        pushed("mount × delete × GET").at_once([mount("b", LAYER, "a"), delete_blob("a", LAYER), get_blob("b", LAYER)]),
        pushed("mount from anywhere × delete × GET").at_once([
            mount_from_anywhere("b", LAYER),
            delete_blob("a", LAYER),
            get_blob("b", LAYER),
        ]),
        pushed("GET × delete").at_once([get_blob("a", LAYER), delete_blob("a", LAYER)]),
        old("GET × gc").at_once([get_blob("a", LAYER), Call::Gc]),
        old("gc × gc").at_once([Call::Gc, Call::Gc]),
    ]
}

/// What it takes more than two calls to go wrong. Without failures of the storage: there are many places already.
pub fn crowds() -> Vec<Scenario> {
    let deleted = new("gc × gc × push blob × delete it").given(&push_blob("a", LAYER)).given(&delete_blob("a", LAYER));
    let amd64 = amd64();
    let signature = artifact(LAYER, &amd64);
    let subject = stocked(Scenario::new("push a subject × GET its referrers × gc", tidy()))
        .given(&push("a", "v1", &amd64))
        .given(&push("a", digest(&signature), &signature))
        .given(&delete("a", digest(&amd64)))
        .later(HOUR * 25)
        .given(&push_blob("a", &config("amd64")))
        .given(&push_blob("a", LAYER));
    let referrers = ask("GET", format!("/v2/a/referrers/{}", digest(&amd64)));
    // Found by random triples: the blob moves from one repository to another while it is mounted.
    let moved = new("mount × push elsewhere × delete").given(&push_blob("a", LAYER));
    vec![
        moved.at_once([mount("b", LAYER, "a"), push_blob("b", LAYER), delete_blob("a", LAYER)]),
        deleted.at_once([Call::Gc, Call::Gc, push_blob("a", LAYER), delete_blob("a", LAYER)]),
        subject.at_once([push("a", "v1", &amd64), referrers, Call::Gc]),
    ]
}

/// Upload sessions: chunks, ends and what ends them otherwise.
pub fn uploads() -> Vec<Scenario> {
    let whole = digest(b"12345");
    let whole512 = digest512(b"12345");
    let open = |name: &str| {
        let scenario = new(name).given_session("a", &[b"12"]);
        let session = scenario.session();
        (scenario, session)
    };
    let pair = |name: &str, calls: &dyn Fn(&str) -> [Call; 2]| {
        let (scenario, session) = open(name);
        scenario.at_once(calls(&session))
    };
    let expired = |name: &str, calls: &dyn Fn(&str) -> [Call; 2]| {
        let (scenario, session) = open(name);
        scenario.later(HOUR * 24 * 8).at_once(calls(&session))
    };
    // A first chunk among the records, and objects that are joined.
    let many = |name: &str, calls: &dyn Fn(&str, &Digest) -> [Call; 2]| {
        let scenario = new(name).given_session("a", &[b"12", b"34", b"567", b"8"]);
        let session = scenario.session();
        scenario.at_once(calls(&session, &digest(MANY)))
    };
    // A first chunk that is an object already, and no more of them than a blob may have.
    let few = |name: &str, calls: &dyn Fn(&str, &Digest) -> [Call; 2]| {
        let scenario = new(name).given_session("a", &[b"12345"]);
        let session = scenario.session();
        scenario.at_once(calls(&session, &digest(b"123456")))
    };
    vec![
        pair("PATCH × PATCH", &|s| [patch(s, Some(2), b"345"), patch(s, Some(2), b"34")]),
        pair("streamed PATCH × streamed PATCH", &|s| [patch(s, None, b"3"), patch(s, None, b"45")]),
        pair("PATCH × PUT", &|s| [patch(s, Some(2), b"3"), finish(s, &whole, b"345")]),
        pair("PATCH × PUT without a chunk", &|s| [patch(s, None, b"345"), finish(s, &whole, b"")]),
        pair("PATCH × PUT with another digest", &|s| [patch(s, None, b"3"), finish(s, &whole, b"3")]),
        pair("PATCH × cancel", &|s| [patch(s, None, b"345"), cancel(s)]),
        pair("PATCH × GET status", &|s| [patch(s, None, b"345"), ask("GET", s)]),
        pair("PUT × PUT", &|s| [finish(s, &whole, b"345"), finish(s, &whole, b"345")]),
        pair("PUT × PUT of another digest", &|s| [finish(s, &whole, b"345"), finish(s, &digest(b"12"), b"")]),
        pair("PUT × cancel", &|s| [finish(s, &whole, b"345"), cancel(s)]),
        pair("PUT × push of the same blob", &|s| [finish(s, &whole, b"345"), push_blob("b", b"12345")]),
        pair("PUT × repeated PUT", &|s| [finish(s, &whole, b"345"), finish(s, &whole, b"")]),
        pair("slow PATCH × GET status", &|s| [slow(patch(s, Some(2), b"345")), ask("GET", s)]),
        pair("slow PATCH × PATCH", &|s| [slow(patch(s, Some(2), b"345")), patch(s, Some(2), b"3")]),
        pair("slow PATCH × cancel", &|s| [slow(patch(s, None, b"345")), cancel(s)]),
        pair("slow PUT × slow PUT", &|s| [slow(finish(s, &whole, b"345")), slow(finish(s, &whole, b"345"))]),
        expired("slow PATCH × gc", &|s| [slow(patch(s, None, b"345")), Call::Gc]),
        few("PUT of two objects × cancel", &|s, whole| [finish(s, whole, b"6"), cancel(s)]),
        many("PUT of many chunks × cancel", &|s, whole| [finish(s, whole, b""), cancel(s)]),
        many("PUT of many chunks × PATCH", &|s, whole| [finish(s, whole, b""), patch(s, None, b"x")]),
        many("PUT of many chunks × PUT", &|s, whole| [finish(s, whole, b""), finish(s, whole, b"")]),
        many("PUT of many chunks × push of the same blob", &|s, _| {
            [finish(s, &digest(MANY), b""), push_blob("b", MANY)]
        }),
        many("PUT of many chunks × gc", &|s, whole| [finish(s, whole, b""), Call::Gc]),
        many("late sha512 of many chunks × cancel", &|s, _| [finish(s, &digest512(MANY), b""), cancel(s)]),
        new("push small blob × push the same").at_once([push_blob("a", b"tiny"), push_blob("a", b"tiny")]),
        new("push small blob × delete × GET").given(&push_blob("a", b"tiny")).at_once([
            push_blob("a", b"tiny"),
            delete_blob("a", b"tiny"),
            get_blob("a", b"tiny"),
        ]),
        new("GET small blob × gc")
            .given(&push_blob("a", b"tiny"))
            .later(HOUR * 25)
            .at_once([get_blob("a", b"tiny"), Call::Gc]),
        new("push nothing × push nothing").at_once([push_blob("a", b""), push_blob("a", b"")]),
        new("empty POST with a digest × gc")
            .at_once([ask("POST", format!("/v2/a/blobs/uploads/?digest={whole}")), Call::Gc]),
        pair("late sha512 × PATCH", &|s| [finish(s, &whole512, b"345"), patch(s, None, b"3")]),
        pair("late sha512 × cancel", &|s| [finish(s, &whole512, b"345"), cancel(s)]),
        pair("late sha512 × PUT", &|s| [finish(s, &whole512, b"345"), finish(s, &whole, b"345")]),
        expired("PUT × gc", &|s| [finish(s, &whole, b"345"), Call::Gc]),
        expired("PATCH × gc", &|s| [patch(s, None, b"345"), Call::Gc]),
        expired("late sha512 × gc", &|s| [finish(s, &whole512, b"345"), Call::Gc]),
        pair("cancel × cancel", &|s| [cancel(s), cancel(s)]),
        new("open × gc").at_once([ask("POST", "/v2/a/blobs/uploads/"), Call::Gc]),
        new("open × push blob").at_once([ask("POST", "/v2/a/blobs/uploads/"), push_blob("a", LAYER)]),
    ]
}

/// Manifests and tags: pushed, moved, deleted.
pub fn manifests() -> Vec<Scenario> {
    let (amd64, arm64) = (amd64(), arm64());
    let blobs = |name: &str| stocked(new(name));
    let tagged = |name: &str| blobs(name).given(&push("a", "v1", &amd64));
    let (first, second) = (digest(&amd64), digest(&arm64));
    let both = index(&[&amd64, &arm64]);
    let signature = artifact(LAYER, &amd64);
    let own = list_of_both();
    vec![
        blobs("push manifest × push the same").at_once([push("a", "v1", &amd64), push("a", "v1", &amd64)]),
        blobs("one tag × two pushers").at_once([push("a", "v1", &amd64), push("a", "v1", &arm64)]),
        blobs("push manifest × delete its blob").at_once([push("a", "v1", &amd64), delete_blob("a", LAYER)]),
        tagged("move tag × delete by tag").at_once([push("a", "v1", &arm64), delete("a", "v1")]),
        tagged("move tag × delete by tag, if it has not moved")
            .at_once([push("a", "v1", &arm64), delete("a", "v1").header("If-Match", first.to_string())]),
        tagged("move tag × delete by digest").at_once([push("a", "v1", &arm64), delete("a", first)]),
        tagged("push again × delete by digest").at_once([push("a", "v1", &amd64), delete("a", first)]),
        tagged("push under another tag × delete by digest").at_once([push("a", "v2", &amd64), delete("a", first)]),
        tagged("push under two tags × delete by digest")
            .at_once([push("a", format!("{first}?tag=v2&tag=v3"), &amd64), delete("a", first)]),
        tagged("delete by tag × delete by digest").at_once([delete("a", "v1"), delete("a", first)]),
        tagged("delete by digest × delete by digest").at_once([delete("a", first), delete("a", first)]),
        tagged("delete by tag × delete by tag").at_once([delete("a", "v1"), delete("a", "v1")]),
        tagged("GET by tag × move tag").at_once([get("a", "v1"), push("a", "v1", &arm64)]),
        tagged("GET by tag × delete by digest").at_once([get("a", "v1"), delete("a", first)]),
        tagged("GET list × move tag").at_once([get_list("a", "v1"), push("a", "v1", &arm64)]),
        tagged("list tags × delete by digest").at_once([ask("GET", "/v2/a/tags/list"), delete("a", first)]),
        tagged("list tags × delete by tag × push under another tag").at_once([
            ask("GET", "/v2/a/tags/list"),
            delete("a", "v1"),
            push("a", "v2", &arm64),
        ]),
        tagged("push index × delete its child")
            .given(&push("a", second, &arm64))
            .at_once([push("a", "all", &both), delete("a", second)]),
        tagged("push referrer × delete its subject")
            .at_once([push("a", digest(&signature), &signature), delete("a", first)]),
        tagged("second platform × push the list as one's own")
            .given(&push("a", second, &arm64))
            .at_once([push("a", "v1", &arm64), push("a", digest(&own), &own)]),
        tagged("platform again × push the list as one's own")
            .given(&push("a", "v1", &arm64))
            .at_once([push("a", "v1", &arm64), push("a", digest(&own), &own)]),
        tagged("push referrer × list referrers")
            .at_once([push("a", digest(&signature), &signature), ask("GET", format!("/v2/a/referrers/{first}"))]),
        tagged("delete referrer × push it again")
            .given(&push("a", "sig", &signature))
            .at_once([delete("a", digest(&signature)), push("a", "sig", &signature)]),
    ]
}

/// Maintained lists under the policy that tags become lists.
pub fn lists() -> Vec<Scenario> {
    let (amd64, arm64) = (amd64(), arm64());
    let blobs = |name: &str| stocked(Scenario::new(name, tidy()));
    let one = |name: &str| blobs(name).given(&push("a", "v1", &amd64));
    let two = |name: &str| one(name).given(&push("a", "v1", &arm64));
    let index_of_both = list_of_both();
    let with_list = |scenario: Scenario, calls: &dyn Fn(&str) -> [Call; 2]| {
        let list = digest(&index_of_both).to_string();
        scenario.at_once(calls(&list))
    };
    vec![
        blobs("two platforms × one tag").at_once([push("a", "v1", &amd64), push("a", "v1", &arm64)]),
        one("second platform × delete the first").at_once([push("a", "v1", &arm64), delete("a", digest(&amd64))]),
        two("delete one platform × delete the other")
            .at_once([delete("a", digest(&amd64)), delete("a", digest(&arm64))]),
        two("push a platform anew × delete the other")
            .at_once([push("a", "v1", &image("amd64", &config("arm64"))), delete("a", digest(&arm64))]),
        with_list(two("delete the list × push a platform"), &|list| {
            [delete("a", list), push("a", "v1", &image("amd64", &config("arm64")))]
        }),
        with_list(two("delete the list × delete by tag"), &|list| [delete("a", list), delete("a", "v1")]),
        with_list(two("the list under another tag × delete by tag"), &|list| {
            [push("a", "v2", &index(&[&image("amd64", LAYER), &image("arm64", LAYER)])), delete("a", list)]
        }),
        with_list(two("GET list × delete by tag"), &|list| [get("a", list), delete("a", "v1")]),
        with_list(two("platform again × push the assembled list as one's own"), &|list| {
            [push("a", "v1", &image("arm64", LAYER)), push("a", list, &index_of_both)]
        }),
        one("second platform × push the list as one's own")
            .given(&push("a", digest(&arm64), &arm64))
            .at_once([push("a", "v1", &arm64), push("a", digest(&index_of_both), &index_of_both)]),
        two("GET a platform through the tag × delete it")
            .at_once([get("a", "v1").header("Accept", super::sample::IMAGE), delete("a", digest(&amd64))]),
    ]
}

/// Manifests and garbage collections.
pub fn collections() -> Vec<Scenario> {
    let (amd64, arm64) = (amd64(), arm64());
    let signature = artifact(LAYER, &amd64);
    let day = HOUR * 25;
    let blobs = |name: &str| stocked(new(name)).later(day);
    let tidy = |name: &str| stocked(Scenario::new(name, tidy())).given(&push("a", "v1", &amd64));
    vec![
        blobs("push manifest × gc").at_once([push("a", "v1", &amd64), Call::Gc]),
        new("push an empty index × gc of its repository")
            .given(&push_blob("a", LAYER))
            .given(&delete_blob("a", LAYER))
            .later(day)
            .at_once([push("a", "v1", &index(&[])), Call::Gc]),
        tidy("move tag × gc").later(day).at_once([push("a", "v1", &arm64), Call::Gc]),
        tidy("superseded list × gc")
            .given(&push("a", "v1", &arm64))
            .later(day)
            .at_once([push("a", "v1", &arm64), Call::Gc]),
        tidy("push an untagged manifest × gc")
            .given(&delete("a", "v1"))
            .later(day)
            .at_once([push("a", "v1", &amd64), Call::Gc]),
        tidy("push an index of an untagged manifest × gc")
            .given(&delete("a", "v1"))
            .later(day)
            .at_once([push("a", "all", &index(&[&amd64])), Call::Gc]),
        tidy("push a referrer × gc of its subject")
            .given(&delete("a", "v1"))
            .later(day)
            .at_once([push("a", digest(&signature), &signature), Call::Gc]),
        tidy("delete by digest × gc")
            .given(&delete("a", "v1"))
            .later(day)
            .at_once([delete("a", digest(&amd64)), Call::Gc]),
        tidy("GET by digest × gc").given(&delete("a", "v1")).later(day).at_once([get("a", digest(&amd64)), Call::Gc]),
        tidy("delete by tag × gc").later(day).at_once([delete("a", "v1"), Call::Gc]),
    ]
}

/// Blobs and manifests that may not be large.
pub fn limits() -> Vec<Scenario> {
    let config = |blob_limit, manifest_limit| Config { blob_limit, manifest_limit, ..Config::default() };
    let open = |name: &str, blob_limit: u64, calls: &dyn Fn(&str) -> [Call; 2]| {
        let scenario = Scenario::new(name, config(blob_limit, 1000)).given_session("a", &[b"12"]);
        let session = scenario.session();
        scenario.at_once(calls(&session))
    };
    let whole = digest(b"12345");
    let amd64 = amd64();
    let small = amd64.len() as u64 - 1;
    vec![
        open("PATCH over the limit × PUT", 4, &|s| [patch(s, None, b"345"), finish(s, &digest(b"12"), b"")]),
        open("PATCH over the limit × PATCH", 4, &|s| [patch(s, Some(2), b"345"), patch(s, Some(2), b"34")]),
        open("PUT at the limit × PATCH", 5, &|s| [finish(s, &whole, b"345"), patch(s, None, b"3")]),
        Scenario::new("push blob over the limit × push one under it", config(4, 1000))
            .at_once([push_blob("a", LAYER), push_blob("a", b"tiny")]),
        stocked(Scenario::new("push manifest over the limit × delete blob", config(1000, small)))
            .at_once([push("a", "v1", &amd64), delete_blob("a", LAYER)]),
    ]
}

/// Listeners that are told what happens.
pub fn listeners() -> Vec<Scenario> {
    let listener = Listener {
        name: "ci".into(),
        happenings: vec![Happening::Push, Happening::Pull, Happening::Delete],
        repositories: vec![Pattern::new("**")],
    };
    let config =
        Config { listeners: vec![listener.clone(), Listener { name: "cd".into(), ..listener }], ..Config::default() };
    let heard = |name: &str| stocked(Scenario::new(name, config.clone()));
    let (amd64, arm64) = (amd64(), arm64());
    vec![
        heard("push manifest × pull, with a listener")
            .given(&push("a", "v1", &amd64))
            .at_once([push("a", "v1", &arm64), get("a", "v1")]),
        heard("pull × delete by digest, with a listener")
            .given(&push("a", "v1", &amd64))
            .at_once([get("a", "v1"), delete("a", digest(&amd64))]),
        heard("delete by tag × gc of old events")
            .given(&push("a", "v1", &amd64))
            .later(HOUR * 24 * 4)
            .at_once([delete("a", "v1"), Call::Gc]),
    ]
}

/// Blobs of several objects that become one.
pub fn gathers() -> Vec<Scenario> {
    let gathered = Some(Gathered { repositories: vec![Pattern::new("a")], from: 0 });
    let config = Config { gathered, ..Config::default() };
    let whole: &[u8] = b"1234567890";
    let two = |name: &str| {
        let scenario = Scenario::new(name, config.clone()).given_session("a", &[b"12345", b"67890"]);
        let session = scenario.session();
        scenario.given(&finish(&session, &digest(whole), b""))
    };
    let unheld = |name: &str| two(name).given(&delete_blob("a", whole));
    vec![
        two("gather × GET").at_once([Call::Gather, get_blob("a", whole)]),
        two("gather × delete").at_once([Call::Gather, delete_blob("a", whole)]),
        two("gather × push the same blob").at_once([Call::Gather, push_blob("b", whole)]),
        two("gather × mount").at_once([Call::Gather, mount("b", whole, "a")]),
        two("gather × gather").at_once([Call::Gather, Call::Gather]),
        two("gather × gc").later(HOUR * 25).at_once([Call::Gather, Call::Gc]),
        unheld("gather × gc of a deleted blob").given(&push_blob("a", LAYER)).at_once([Call::Gather, Call::Gc]),
        two("gather × delete × gc").at_once([Call::Gather, delete_blob("a", whole), Call::Gc]),
        two("a day × gather × gc").at_once([Call::Wait(HOUR * 25), Call::Gather, Call::Gc]),
        two("gather × gather, on two hosts").with_other(config.clone()).at_once([Call::Gather, Call::Gather]),
    ]
}

/// Objects stay after their record is gone, for a month: longer than all that happens here.
pub fn kept() -> Vec<Scenario> {
    let month = HOUR * 24 * 30;
    let new = |name: &str| Scenario::new(name, Config { keep_erased: month, ..Config::default() });
    let pushed = |name| new(name).given(&push_blob("a", LAYER));
    let deleted = |name| pushed(name).given(&delete_blob("a", LAYER));
    let over = |name| deleted(name).given(&Call::Gc).later(month);
    let gathered = |name: &str| {
        let gathered = Some(Gathered { repositories: vec![Pattern::new("a")], from: 0 });
        let scenario = Scenario::new(name, Config { keep_erased: month, gathered, ..Config::default() });
        let scenario = scenario.given_session("a", &[b"12345", b"67890"]);
        let session = scenario.session();
        scenario.given(&finish(&session, &digest(b"1234567890"), b""))
    };
    let session = |scenario: Scenario, calls: &dyn Fn(&str) -> [Call; 2]| {
        let session = scenario.session();
        scenario.at_once(calls(&session))
    };
    let open = |name: &str| new(name).given_session("a", &[b"12345"]);
    let many = |name: &str| new(name).given_session("a", &[b"12", b"34", b"567", b"8"]);
    let whole = digest(b"123456");
    vec![
        deleted("gc × gc, objects are kept").at_once([Call::Gc, Call::Gc]),
        deleted("push a deleted blob × gc, objects are kept").at_once([push_blob("a", LAYER), Call::Gc]),
        pushed("GET × gc, objects are kept").later(HOUR * 25).at_once([get_blob("a", LAYER), Call::Gc]),
        over("gc × gc of objects that were kept").at_once([Call::Gc, Call::Gc]),
        over("push a blob whose objects were kept × gc").at_once([push_blob("a", LAYER), Call::Gc]),
        session(open("PUT × cancel, objects are kept"), &|s| [finish(s, &whole, b"6"), cancel(s)]),
        session(open("PUT × push of the same blob, objects are kept"), &|s| {
            [finish(s, &whole, b"6"), push_blob("b", b"123456")]
        }),
        session(open("PUT with another digest × PATCH, objects are kept"), &|s| {
            [finish(s, &digest(b"12"), b"6"), patch(s, None, b"789ab")]
        }),
        session(open("PATCH × gc, objects are kept").later(HOUR * 24 * 8), &|s| [patch(s, None, b"6789a"), Call::Gc]),
        gathered("gather × GET, objects are kept").at_once([Call::Gather, get_blob("a", b"1234567890")]),
        gathered("gather × gc, objects are kept").at_once([Call::Gather, Call::Gc]),
        session(many("PUT of many chunks × cancel, objects are kept"), &|s| {
            [finish(s, &digest(MANY), b""), cancel(s)]
        }),
        new("a day × push blob × gc, objects are kept").at_once([
            Call::Wait(HOUR * 25),
            push_blob("a", LAYER),
            Call::Gc,
        ]),
        deleted("gc × gc of another host that keeps nothing")
            .with_other(Config::default())
            .at_once([Call::Gc, Call::Gc]),
    ]
}

/// Two hosts on one store, the second with another configuration and a clock that is ahead. That one of them is killed
/// needs no scenario of its own: each place at which one call has gone no further, and the calls of the other host
/// have ended, is looked at as it is.
pub fn hosts() -> Vec<Scenario> {
    let other = Config { small_object: 0, blob_objects: 99, upload_lifetime: HOUR * 24 * 9, ..Config::default() };
    let two = |scenario: Scenario| scenario.with_other(other.clone());
    let pushed = |name| two(new(name)).given(&push_blob("a", LAYER));
    let open = |name: &str, calls: &dyn Fn(&str) -> [Call; 2]| {
        let scenario = two(new(name)).given_session("a", &[b"12"]);
        let session = scenario.session();
        scenario.at_once(calls(&session))
    };
    let leased = |name: &str, rest: Duration, calls: &dyn Fn(&Lease) -> [Call; 2]| {
        let mut scenario = two(new(name));
        let lease = scenario.given_lease();
        scenario.later(rest).at_once(calls(&lease))
    };
    let (amd64, arm64, whole) = (amd64(), arm64(), digest(b"12345"));
    let acquire = Call::Acquire(Claim::Free);
    vec![
        two(new("push blob × push it, on two hosts")).at_once([push_blob("a", LAYER), push_blob("a", LAYER)]),
        pushed("delete blob × mount it, on two hosts").at_once([delete_blob("a", LAYER), mount("b", LAYER, "a")]),
        stocked(two(new("one tag × two pushers, on two hosts")))
            .at_once([push("a", "v1", &amd64), push("a", "v1", &arm64)]),
        stocked(two(new("move tag × delete by digest, on two hosts")))
            .given(&push("a", "v1", &amd64))
            .at_once([push("a", "v1", &arm64), delete("a", digest(&amd64))]),
        open("PUT × PUT, on two hosts", &|s| [finish(s, &whole, b"345"), finish(s, &whole, b"345")]),
        open("PATCH × PUT, on two hosts", &|s| [patch(s, None, b"3"), finish(s, &whole, b"345")]),
        // The blobs have their grace by one clock, and not by the other.
        stocked(two(new("push manifest × gc, on two hosts")))
            .later(HOUR * 24 - SKEW / 2)
            .at_once([push("a", "v1", &amd64), Call::Gc]),
        pushed("gc × gc, on two hosts").later(HOUR * 24 - SKEW / 2).at_once([Call::Gc, Call::Gc]),
        pushed("push blob again × gc, on two hosts").later(HOUR * 25).at_once([push_blob("a", LAYER), Call::Gc]),
        two(new("a day × push blob × gc")).at_once([Call::Wait(HOUR * 25), push_blob("a", LAYER), Call::Gc]),
        open("a day × PUT × gc", &|s| [Call::Wait(HOUR * 25), finish(s, &whole, b"345")]).at_once([Call::Gc]),
        two(new("first start × first start")).at_once([Call::Agree(1), Call::Agree(2)]),
        two(new("first start × push blob × first start")).at_once([
            Call::Agree(1),
            push_blob("a", LAYER),
            Call::Agree(2),
        ]),
        new("first start × first start of one that differs")
            .with_other(Config { call_lifetime: HOUR * 48, ..other.clone() })
            .at_once([Call::Agree(1), Call::Agree(2)]),
        two(new("acquire × acquire")).at_once([acquire.clone(), acquire.clone()]),
        leased("renew × acquire", SKEW / 2, &|lease| [Call::Renew(lease.clone()), acquire.clone()]),
        leased("renew × acquire a lease that has ended", HOUR, &|lease| [Call::Renew(lease.clone()), acquire.clone()]),
        leased("renew × take over", SKEW / 2, &|lease| [Call::Renew(lease.clone()), Call::Acquire(Claim::Now)]),
        leased("release × acquire", SKEW / 2, &|lease| [Call::Release(lease.clone()), acquire.clone()]),
        leased("acquire × gc of a lease that has ended", HOUR, &|_| [acquire.clone(), Call::Gc]),
        leased("renew × gc of a lease that has ended", HOUR, &|lease| [Call::Renew(lease.clone()), Call::Gc]),
    ]
}
