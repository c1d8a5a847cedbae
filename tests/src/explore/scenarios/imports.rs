//! Imports from another registry beside what clients and garbage collection do.

use std::time::Duration;

use bytes::Bytes;
use orlop_core::digest::Digest;
use orlop_core::object::ObjectId;
use orlop_core::takeover::{Held, ImagePlatform, Layer, Revision, Tagged};
use orlop_core::{Config, Timestamp, Undeleting};
use uuid::Uuid;

use super::super::sample::{config, delete, delete_blob, digest, get, get_blob, mount, push, push_blob};
use super::super::scenario::{Call, Scenario};
use super::{LAYER, amd64, arm64, new, stocked, tidy};

/// Longer than the grace of blobs that nothing needs.
const LONG: Duration = Duration::from_secs(3 * 24 * 3600);

/// The object with the bytes of the layer, as an import brings it.
fn brought(number: u128) -> ObjectId {
    ObjectId { nonce: Uuid::from_u128(0x1_0000 + number), index: 1 }
}

fn layer(repository: &str, object: Option<ObjectId>) -> Layer {
    let repository = repository.parse().expect("a repository");
    Layer { repository, digest: digest(LAYER), size: LAYER.len() as u64, object, verified: false }
}

fn blob(repository: &str) -> Call {
    Call::AdoptBlobs(vec![layer(repository, Some(brought(1)))])
}

/// The blob, whose bytes were hashed.
fn hashed(repository: &str) -> Call {
    Call::AdoptBlobs(vec![Layer { verified: true, ..layer(repository, Some(brought(1))) }])
}

/// The blob, which the registry was said to have.
fn known(repository: &str) -> Call {
    Call::AdoptBlobs(vec![layer(repository, None)])
}

fn manifest(repository: &str, document: &Bytes) -> Call {
    let revision = Revision::read(digest(document), document.clone()).expect("a manifest");
    let repository = repository.parse().expect("a repository");
    Call::AdoptManifests(vec![Held { repository, revision, pushed: Timestamp(1000) }])
}

fn tagged(tag: &str, digest: Digest) -> Tagged {
    let repository = "a".parse().expect("a repository");
    let tag = tag.parse().expect("a tag");
    Tagged { repository, tag, digest, pushed: Timestamp(1000), platform: ImagePlatform::Unread }
}

fn tag(tag: &str, document: &Bytes) -> Call {
    Call::AdoptTags(vec![tagged(tag, digest(document))])
}

/// The layer has come, and no record names it.
fn with_layer(scenario: Scenario) -> Scenario {
    scenario.with_object(brought(1), LAYER)
}

/// A blob of the registry is known to be damaged, and the import has brought it.
fn in_quarantine(name: &str) -> Scenario {
    with_layer(new(name).given(&push_blob("a", LAYER)).with_damaged(LAYER).given(&Call::Scrub))
}

/// Both images are there, and the tag of one of them was imported.
fn imported(scenario: Scenario) -> Scenario {
    let scenario = stocked(scenario).given(&manifest("a", &amd64())).given(&manifest("a", &arm64()));
    scenario.given(&tag("v1", &amd64()))
}

/// A manifest may come when what it needs has gone.
fn without(mut scenario: Scenario) -> Scenario {
    scenario.deleted.extend([digest(LAYER), digest(&config("amd64"))].map(|gone| gone.to_string()));
    scenario
}

/// What is deleted can be undeleted.
fn keeping() -> Config {
    Config { undelete_within: Some(LONG), ..Config::default() }
}

fn undelete() -> Call {
    let tag = "v1".parse().expect("a tag");
    Call::Undelete("a".parse().expect("a name"), tag, Undeleting::default())
}

fn purge() -> Call {
    Call::Purge("a".parse().expect("a name"), digest(&amd64()).to_string().parse().ok())
}

/// Imports beside pushes, deletes, mounts, collections and each other.
pub fn imports() -> Vec<Scenario> {
    let two = [("v1", amd64()), ("v2", arm64())];
    let two = Call::AdoptTags(two.iter().map(|(tag, document)| tagged(tag, digest(document))).collect());
    let old = |scenario: Scenario| scenario.given(&push_blob("a", LAYER)).later(LONG);
    vec![
        with_layer(new("import blob × push it")).at_once([blob("a"), push_blob("a", LAYER)]),
        with_layer(new("import blob × import it elsewhere"))
            .with_object(brought(2), LAYER)
            .at_once([blob("a"), Call::AdoptBlobs(vec![layer("b", Some(brought(2)))])]),
        with_layer(new("import blob × import the same object")).at_once([blob("a"), blob("a")]),
        with_layer(new("import blob × recount of a wrong counter"))
            .given(&push_blob("a", b"other"))
            .with_counter("a", 1000)
            .at_once([blob("a"), Call::Recount]),
        with_layer(new("import blob × scrub")).at_once([blob("a"), Call::Scrub]),
        in_quarantine("import a hashed blob in quarantine × push it").at_once([hashed("a"), push_blob("a", LAYER)]),
        in_quarantine("import a hashed blob in quarantine × pull it").at_once([hashed("b"), get_blob("a", LAYER)]),
        in_quarantine("import a hashed blob in quarantine × delete it").at_once([hashed("a"), delete_blob("a", LAYER)]),
        in_quarantine("import a hashed blob in quarantine × scrub").at_once([hashed("a"), Call::Scrub]),
        in_quarantine("import a hashed blob in quarantine × import it unhashed")
            .with_object(brought(2), LAYER)
            .at_once([hashed("a"), Call::AdoptBlobs(vec![layer("b", Some(brought(2)))])]),
        in_quarantine("import a hashed blob in quarantine × gc").later(LONG).at_once([hashed("a"), Call::Gc]),
        with_layer(new("import blob × pull it")).at_once([blob("a"), get_blob("a", LAYER)]),
        with_layer(new("import blob × gc")).at_once([blob("a"), Call::Gc]),
        with_layer(old(new("import a blob that is there × gc"))).at_once([blob("b"), Call::Gc]),
        old(new("import a known blob × gc")).at_once([known("b"), Call::Gc]),
        new("import a known blob × delete it")
            .given(&push_blob("a", LAYER))
            .at_once([known("a"), delete_blob("a", LAYER)]),
        with_layer(new("import blob × mount it")).at_once([blob("a"), mount("b", LAYER, "a")]),
        stocked(new("import manifest × push the same")).at_once([manifest("a", &amd64()), push("a", "v1", &amd64())]),
        stocked(new("import manifest × import the same")).at_once([manifest("a", &amd64()), manifest("a", &amd64())]),
        without(stocked(new("import manifest × gc")).later(LONG).at_once([manifest("a", &amd64()), Call::Gc])),
        stocked(Scenario::new("import a deleted manifest × undelete it", keeping()))
            .given(&push("a", "v1", &amd64()))
            .given(&delete("a", digest(&amd64())))
            .at_once([manifest("a", &amd64()), undelete()]),
        without(
            stocked(Scenario::new("import a deleted manifest × purge it", keeping()))
                .given(&push("a", "v1", &amd64()))
                .given(&delete("a", digest(&amd64())))
                .at_once([manifest("a", &amd64()), purge()]),
        ),
        stocked(Scenario::new("import tag × delete it, to be undeleted", keeping()))
            .given(&manifest("a", &amd64()))
            .given(&manifest("a", &arm64()))
            .given(&tag("v1", &amd64()))
            .at_once([tag("v1", &arm64()), delete("a", "v1")]),
        stocked(Scenario::new("import tag × undelete it", keeping()))
            .given(&manifest("a", &amd64()))
            .given(&tag("v1", &amd64()))
            .given(&delete("a", "v1"))
            .at_once([tag("v1", &amd64()), undelete()]),
        stocked(new("import manifest × delete its layer")).at_once([manifest("a", &amd64()), delete_blob("a", LAYER)]),
        stocked(Scenario::new("import an old manifest × gc", tidy()))
            .given(&manifest("a", &amd64()))
            .later(LONG)
            .at_once([tag("v1", &amd64()), Call::Gc]),
        imported(new("import tag that moved × push it")).at_once([tag("v1", &arm64()), push("a", "v1", &amd64())]),
        imported(new("import tag that moved × delete it")).at_once([tag("v1", &arm64()), delete("a", "v1")]),
        imported(new("import tag that moved × pull it")).at_once([tag("v1", &arm64()), get("a", "v1")]),
        imported(new("import tag × delete its manifest")).at_once([tag("v2", &arm64()), delete("a", digest(&arm64()))]),
        imported(new("import tag × import it elsewhere")).at_once([tag("v2", &arm64()), tag("v2", &amd64())]),
        imported(new("import tag that moved × gc")).later(LONG).at_once([tag("v1", &arm64()), Call::Gc]),
        imported(Scenario::new("import tag × push another platform", Config::default()))
            .at_once([tag("v2", &amd64()), push("a", "v2", &arm64())]),
        stocked(new("import two tags × delete one"))
            .given(&manifest("a", &amd64()))
            .given(&manifest("a", &arm64()))
            .at_once([two, delete("a", "v1")]),
    ]
}
