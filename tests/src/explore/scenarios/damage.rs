//! What is damaged, is found, and is pushed or fetched again, beside everything that may happen to it.

use orlop_core::Config;
use orlop_core::config::Pattern;
use orlop_core::event::{Happening, Listener};
use orlop_core::object::ObjectId;
use orlop_core::takeover::Layer;
use uuid::Uuid;

use super::super::sample::{
    config, delete, delete_blob, digest, get, get_blob, image, index, mount, mount_from_anywhere, push, push_blob,
};
use super::super::scenario::{Call, HOUR, Scenario};
use super::mirrors::mirror;
use super::{LAYER, amd64, new, stocked};

/// A blob that lies among the records.
const TINY: &[u8] = b"tiny";

fn pushed(name: &str) -> Scenario {
    new(name).given(&push_blob("a", LAYER))
}

/// A layer with a flipped bit, which nobody has noticed.
fn damaged(name: &str) -> Scenario {
    pushed(name).with_damaged(LAYER)
}

/// The same after it was found.
fn found(name: &str) -> Scenario {
    damaged(name).given(&Call::Scrub)
}

/// The same, and an import has brought its bytes, which no record names yet.
fn brought(name: &str) -> Scenario {
    found(name).with_object(IMPORTED, LAYER)
}

const IMPORTED: ObjectId = ObjectId { nonce: Uuid::from_u128(0x2_0001), index: 1 };

/// An import takes the bytes over, which were hashed.
fn import(repository: &str) -> Call {
    let repository = repository.parse().expect("a repository");
    let size = LAYER.len() as u64;
    Call::AdoptBlobs(vec![Layer { repository, digest: digest(LAYER), size, object: Some(IMPORTED), verified: true }])
}

/// An image of which a bit of the manifest has flipped.
fn damaged_manifest(name: &str) -> Scenario {
    stocked(new(name)).given(&push("a", "v1", &amd64())).with_damaged_manifest("a", &amd64())
}

/// Blobs.
pub fn damage() -> Vec<Scenario> {
    let lost = |name: &str| pushed(name).given(&push_blob("a", &config("amd64"))).with_lost(LAYER);
    let old = |name: &str| damaged(name).later(HOUR * 25);
    let keeping = |name: &str| {
        let config = Config { keep_erased: HOUR, ..Config::default() };
        Scenario::new(name, config).given(&push_blob("a", LAYER)).with_damaged(LAYER)
    };
    let heard = |name: &str| {
        let (happenings, repositories) = (vec![Happening::Damaged], vec![Pattern::new("**")]);
        let listeners = vec![Listener { name: "ops".into(), happenings, repositories }];
        let scenario = Scenario::new(name, Config { listeners, ..Config::default() });
        scenario.given(&push_blob("a", LAYER)).given(&push_blob("b", LAYER)).with_damaged(LAYER)
    };
    let here = digest(LAYER);
    vec![
        damaged("scrub of a damaged blob × GET").at_once([Call::Scrub, get_blob("a", LAYER)]),
        damaged("scrub of a damaged blob × push it").at_once([Call::Scrub, push_blob("a", LAYER)]),
        damaged("scrub of a damaged blob × push it elsewhere").at_once([Call::Scrub, push_blob("b", LAYER)]),
        damaged("scrub of a damaged blob × mount it").at_once([Call::Scrub, mount("b", LAYER, "a")]),
        damaged("scrub of a damaged blob × delete it").at_once([Call::Scrub, delete_blob("a", LAYER)]),
        damaged("scrub of a damaged blob × scrub").at_once([Call::Scrub, Call::Scrub]),
        old("scrub of a damaged blob × gc").at_once([Call::Scrub, Call::Gc]),
        lost("scrub of a lost blob × push it").at_once([Call::Scrub, push_blob("a", LAYER)]),
        lost("scrub of a lost blob × scrub").at_once([Call::Scrub, Call::Scrub]),
        damaged("a client meets a damaged blob × push it").at_once([Call::Suspect(here), push_blob("a", LAYER)]),
        lost("a client meets a lost blob × scrub").at_once([Call::Suspect(here), Call::Scrub]),
        lost("a client meets a lost blob × another does").at_once([Call::Suspect(here), Call::Suspect(here)]),
        heard("scrub of a damaged blob × a client meets it, which is told").at_once([Call::Scrub, Call::Suspect(here)]),
        heard("scrub of a damaged blob × push it, which is told").at_once([Call::Scrub, push_blob("a", LAYER)]),
        pushed("scrub × push the same blob").at_once([Call::Scrub, push_blob("a", LAYER)]),
        pushed("scrub × delete the blob").at_once([Call::Scrub, delete_blob("a", LAYER)]),
        new("scrub × push blob").at_once([Call::Scrub, push_blob("a", LAYER)]),
        old("push a damaged blob again × gc").at_once([push_blob("a", LAYER), Call::Gc]),
        found("push a blob in quarantine × push it").at_once([push_blob("a", LAYER), push_blob("a", LAYER)]),
        found("push a blob in quarantine × push it elsewhere").at_once([push_blob("a", LAYER), push_blob("b", LAYER)]),
        found("push a blob in quarantine × GET").at_once([push_blob("a", LAYER), get_blob("a", LAYER)]),
        found("push a blob in quarantine × mount it").at_once([push_blob("a", LAYER), mount("b", LAYER, "a")]),
        found("push a blob in quarantine elsewhere × mount it")
            .at_once([push_blob("b", LAYER), mount_from_anywhere("c", LAYER)]),
        found("push a blob in quarantine × delete it").at_once([push_blob("a", LAYER), delete_blob("a", LAYER)]),
        found("push a blob in quarantine × scrub").at_once([push_blob("a", LAYER), Call::Scrub]),
        found("push a blob in quarantine × gc").later(HOUR * 25).at_once([push_blob("a", LAYER), Call::Gc]),
        brought("import a blob in quarantine × GET").at_once([import("a"), get_blob("a", LAYER)]),
        brought("import a blob in quarantine × push it").at_once([import("a"), push_blob("a", LAYER)]),
        brought("import a blob in quarantine elsewhere × delete it").at_once([import("b"), delete_blob("a", LAYER)]),
        brought("import a blob in quarantine × scrub").at_once([import("a"), Call::Scrub]),
        brought("import a blob in quarantine × gc").at_once([import("a"), Call::Gc]),
        found("delete a blob in quarantine × gc").at_once([delete_blob("a", LAYER), Call::Gc]),
        keeping("scrub of a damaged blob × push it, objects are kept").at_once([Call::Scrub, push_blob("a", LAYER)]),
        keeping("push a blob in quarantine × gc, objects are kept")
            .given(&Call::Scrub)
            .later(HOUR * 25)
            .at_once([push_blob("a", LAYER), Call::Gc]),
    ]
}

/// Blobs that were taken over from another registry.
pub fn unverified() -> Vec<Scenario> {
    let sound = |name: &str| pushed(name).with_unverified(LAYER);
    let damaged = |name: &str| damaged(name).with_unverified(LAYER);
    let here = digest(LAYER);
    vec![
        sound("scrub of an unverified blob × push it").at_once([Call::Scrub, push_blob("a", LAYER)]),
        sound("scrub of an unverified blob × it was read").at_once([Call::Scrub, Call::Verified(here)]),
        sound("push an unverified blob × it was read").at_once([push_blob("a", LAYER), Call::Verified(here)]),
        sound("an unverified blob was read × delete it").at_once([Call::Verified(here), delete_blob("a", LAYER)]),
        sound("push an unverified blob × GET").at_once([push_blob("a", LAYER), get_blob("a", LAYER)]),
        damaged("scrub of an unverified, damaged blob × push it").at_once([Call::Scrub, push_blob("a", LAYER)]),
        damaged("push an unverified, damaged blob × mount it").at_once([push_blob("a", LAYER), mount("b", LAYER, "a")]),
    ]
}

/// Manifests, and what they need.
pub fn damaged_manifests() -> Vec<Scenario> {
    let found = |name: &str| damaged_manifest(name).given(&Call::Scrub);
    let amd64 = amd64();
    let here = digest(&amd64);
    let index = index(&[&amd64]);
    let needed = |name: &str| stocked(new(name)).with_damaged(LAYER);
    let tiny = image("amd64", TINY);
    vec![
        damaged_manifest("scrub of a damaged manifest × GET").at_once([Call::Scrub, get("a", "v1")]),
        damaged_manifest("scrub of a damaged manifest × push it").at_once([Call::Scrub, push("a", "v1", &amd64)]),
        damaged_manifest("scrub of a damaged manifest × delete it").at_once([Call::Scrub, delete("a", here)]),
        damaged_manifest("scrub of a damaged manifest × scrub").at_once([Call::Scrub, Call::Scrub]),
        damaged_manifest("GET of a damaged manifest × GET").at_once([get("a", "v1"), get("a", here)]),
        damaged_manifest("GET of a damaged manifest × push it").at_once([get("a", here), push("a", "v1", &amd64)]),
        damaged_manifest("GET of a damaged manifest × delete it").at_once([get("a", "v1"), delete("a", here)]),
        found("push a manifest in quarantine × push it").at_once([push("a", "v1", &amd64), push("a", here, &amd64)]),
        found("push a manifest in quarantine × delete it").at_once([push("a", "v1", &amd64), delete("a", here)]),
        found("push a manifest in quarantine × push its index")
            .at_once([push("a", here, &amd64), push("a", "i", &index)]),
        found("push a manifest in quarantine × scrub").at_once([push("a", "v1", &amd64), Call::Scrub]),
        found("push a manifest in quarantine × gc").later(HOUR * 25).at_once([push("a", "v1", &amd64), Call::Gc]),
        found("delete the tag of a manifest in quarantine × gc")
            .later(HOUR * 25)
            .at_once([delete("a", "v1"), Call::Gc]),
        needed("push manifest × scrub of its damaged layer").at_once([push("a", "v1", &amd64), Call::Scrub]),
        needed("push manifest × push its layer in quarantine")
            .given(&Call::Scrub)
            .at_once([push("a", "v1", &amd64), push_blob("a", LAYER)]),
        stocked(new("push manifest × scrub"))
            .given(&push_blob("a", TINY))
            .at_once([push("a", "v1", &tiny), Call::Scrub]),
    ]
}

/// What mirrors have.
pub fn damaged_mirrors() -> Vec<Scenario> {
    let fetched =
        |name: &str| mirror(name).given(&get("hub/a", "v1")).given(&get_blob("hub/a", LAYER)).with_damaged(LAYER);
    let found = |name: &str| fetched(name).given(&Call::Scrub);
    let amd64 = amd64();
    let manifest = |name: &str| mirror(name).given(&get("hub/a", "v1")).with_damaged_manifest("hub/a", &amd64);
    vec![
        fetched("fetched blob is damaged: scrub × GET").at_once([Call::Scrub, get_blob("hub/a", LAYER)]),
        found("fetch a blob in quarantine × fetch it").at_once([get_blob("hub/a", LAYER), get_blob("hub/a", LAYER)]),
        found("fetch a blob in quarantine × evict").at_once([get_blob("hub/a", LAYER), delete_blob("hub/a", LAYER)]),
        manifest("fetched manifest is damaged: scrub × pull").at_once([Call::Scrub, get("hub/a", "v1")]),
        manifest("pull a damaged manifest × pull it").at_once([get("hub/a", "v1"), get("hub/a", digest(&amd64))]),
    ]
}
