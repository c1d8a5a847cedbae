//! What is damaged as it is met by several at once, and who is told of it (SPEC W11, W12, W14, W15).

use orlop_conformance::system::{InMemory, System, blob, get};
use orlop_core::digest::Digest;
use orlop_core::effect::Step;
use orlop_core::event::{Happening, Listener};
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;
use orlop_core::record::BlobRecord;
use orlop_core::{Config, Suspected};

use super::{filled, flip, image, layer, lose, record, scrub, scrub_again, set};
use crate::configured;

/// Goes on with a call until it asks for a commit.
fn to_its_commit<R: Send + 'static>(registry: &mut InMemory, mut step: Step<R>) -> Step<R> {
    while !matches!(step, Step::Commit(_)) {
        step = registry.memory.perform(step, &RequestBody::default());
    }
    step
}

/// SPEC W11: of several clients that meet the same damage, each is told that there is no such blob, whoever is first.
#[test]
fn whoever_is_second_to_find_damage_is_told_of_it_too() {
    let mut registry = filled();
    let digest: Digest = layer().parse().unwrap();
    lose(&mut registry, &layer());
    let begin = |registry: &mut InMemory| {
        let step = registry.registry.suspect(digest, registry.memory.ambient());
        to_its_commit(registry, step)
    };
    let (first, second) = (begin(&mut registry), begin(&mut registry));
    for step in [first, second] {
        assert_eq!(registry.memory.run(step, &RequestBody::default()), Ok(Suspected::OutOfUse));
    }
}

/// SPEC W12: small blobs are held against their digests before they are sent, and not sent if they are wrong, also when somebody
/// else has just found that.
#[test]
fn wrong_small_bytes_are_not_sent_while_another_finds_them() {
    let mut registry = configured(|config| (config.small_object, config.verify_reads) = (64, true));
    let digest = registry.push_blob("a", "small");
    let object = record(&registry, &digest).extents[0].object;
    set(&mut registry, &format!("bytes/{object}"), "smalL");
    let call = registry.registry.call(get(blob("a", &digest)).request, registry.memory.ambient());
    let call = to_its_commit(&mut registry, call);
    registry.call(get(blob("a", &digest))).refused(404, "BLOB_UNKNOWN");
    assert_eq!(registry.memory.run(call, &RequestBody::default()).status, 404);
}

/// SPEC W12: a read says something of the bytes that were read, and nothing of those that have taken their place.
#[test]
fn a_read_speaks_of_what_was_read() {
    let mut registry = filled();
    let digest: Digest = layer().parse().unwrap();
    let imported = BlobRecord { unverified: true, ..record(&registry, &layer()) };
    set(&mut registry, &format!("blob/{}", layer()), &serde_json::to_string(&imported).unwrap());
    let other = registry.push_blob("a", "another blob");
    let other = record(&registry, &other).extents[0].object;
    for read in [vec![], vec![other]] {
        let step = registry.registry.verified(digest, read, registry.memory.ambient());
        registry.memory.run(step, &RequestBody::default()).unwrap();
        assert!(record(&registry, &layer()).unverified);
    }
}

/// SPEC W15: who listens is told of damage, once for each repository, and once.
#[test]
fn damage_is_told_to_who_listens() {
    let mut registry = configured(|config: &mut Config| {
        let repositories = vec![orlop_core::config::Pattern::new("team/**")];
        config.listeners = vec![Listener { name: "ops".into(), happenings: vec![Happening::Damaged], repositories }];
    });
    for repository in ["team/a", "team/b", "other"] {
        registry.push(repository, "v1", &image());
    }
    flip(&mut registry, &layer());
    // Several are found damaged with one call.
    for repository in ["team/a", "team/b"] {
        let payload = Key::stored(format!("payload/{repository}@{}", image().digest()));
        registry.memory.records.insert(payload, "{}".into());
    }
    scrub(&mut registry);
    scrub_again(&mut registry);
    let step = registry.registry.queued("ops".into(), registry.memory.ambient());
    let queued = registry.memory.run(step, &RequestBody::default()).unwrap();
    let told: Vec<_> = queued
        .into_iter()
        .map(|(_, event)| event.expect("an event that reads"))
        .map(|event| (event.repository, event.digest.map(|digest| digest.to_string()), event.media_type.is_some()))
        .collect();
    let manifest = Some(image().digest());
    let layer = Some(layer());
    assert_eq!(
        told,
        [
            ("team/a".to_owned(), layer.clone(), false),
            ("team/b".to_owned(), layer, false),
            ("team/a".to_owned(), manifest.clone(), true),
            ("team/b".to_owned(), manifest, true)
        ]
    );
}
