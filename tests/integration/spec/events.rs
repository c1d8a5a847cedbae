//! What is told to whoever wants to know: it stands in the records from the commit that made it true until it was told.

use std::time::Duration;

use orlop_conformance::image::{AMD64, Manifest};
use orlop_conformance::system::{InMemory, System, get, manifest};
use orlop_core::Step;
use orlop_core::config::{EVENT_LIFETIME, Pattern};
use orlop_core::event::{Event, Happening, Listener};
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;

use crate::configured;

fn listening(happenings: &[Happening], repositories: &str) -> InMemory {
    let repositories = [Pattern::new(repositories)].into();
    let listener = Listener { name: "one".into(), happenings: happenings.into(), repositories };
    configured(|config| config.listeners = [listener].into())
}

fn queued(registry: &mut InMemory) -> Vec<(Key, Event)> {
    let ambient = registry.memory.ambient();
    let step = registry.registry.queued("one".into(), ambient);
    let queued = registry.memory.run(step, &RequestBody::default()).expect("no fault");
    queued.into_iter().map(|(key, event)| (key, event.expect("an event that reads"))).collect()
}

/// The counter of the events in the queue.
fn queue() -> Key {
    Key::stored("queue/one")
}

fn told(registry: &mut InMemory, events: Vec<Key>) {
    let ambient = registry.memory.ambient();
    let step = registry.registry.told(events, ambient);
    registry.memory.run(step, &RequestBody::default()).expect("no fault");
}

#[test]
fn what_happens_is_queued_in_its_order_until_it_was_told() {
    let mut registry = listening(&[Happening::Push, Happening::Pull, Happening::Delete], "a/**");
    let image = registry.push_image("a/b", "v1", AMD64, "layer");
    registry.push_image("other", "v1", AMD64, "layer");
    // A HEAD pulls nothing.
    registry.head(manifest("a/b", "v1")).expect(200);
    registry.head(manifest("a/b", "v1")).expect(200);
    registry.get(manifest("a/b", "v1")).expect(200);
    registry.get(manifest("a/b", "v2")).expect(404);
    registry.delete(manifest("a/b", "v1")).expect(202);
    registry.delete(manifest("a/b", image.digest())).expect(202);
    registry.delete(manifest("a/b", image.digest())).expect(404);
    let events = queued(&mut registry);
    let short = |event: &Event| (event.happening, event.digest.map(|d| d.to_string()), event.tags.join(","));
    let found: Vec<_> = events.iter().map(|(_, event)| short(event)).collect();
    let digest = Some(image.digest());
    assert_eq!(
        found,
        [
            (Happening::Push, digest.clone(), "v1".into()),
            (Happening::Pull, digest.clone(), "v1".into()),
            (Happening::Delete, None, "v1".into()),
            (Happening::Delete, digest, String::new()),
        ]
    );
    assert!(events.iter().all(|(_, event)| event.repository == "a/b"));
    assert_eq!(events[0].1.size, Some(image.bytes().len() as u64));
    told(&mut registry, events[..2].iter().map(|(key, _)| key.clone()).collect());
    let left: Vec<_> = queued(&mut registry).iter().map(|(_, event)| event.happening).collect();
    assert_eq!(left, [Happening::Delete, Happening::Delete]);
    assert_eq!(registry.memory.records[&queue()], "2", "the length of the queue");
}

/// Two deliveries of the same events: each is taken out and counted off once.
#[test]
fn events_that_are_told_twice_at_once_are_counted_off_once() {
    let mut registry = listening(&[Happening::Push], "**");
    for tag in ["v1", "v2", "v3"] {
        registry.push_image("a", tag, AMD64, tag);
    }
    let keys: Vec<Key> = queued(&mut registry).into_iter().map(|(key, _)| key).collect();
    let ambient = registry.memory.ambient();
    let mut step = registry.registry.told(keys[..2].to_vec(), ambient);
    while step.name() != "Commit" {
        step = registry.memory.perform(step, &RequestBody::default());
    }
    told(&mut registry, keys[..1].to_vec());
    registry.memory.run(step, &RequestBody::default()).expect("no fault");
    let left: Vec<Key> = queued(&mut registry).into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, keys[2..]);
    assert_eq!(registry.memory.records[&queue()], "1");
}

/// A pull whose event finds its queue full changes no record.
#[test]
fn a_full_queue_costs_a_pull_no_commit() {
    let mut registry = listening(&[Happening::Pull], "**");
    registry.push_image("a", "v1", AMD64, "layer");
    registry.memory.records.insert(queue(), "10000".into());
    let ambient = registry.memory.ambient();
    let mut step = registry.registry.call(get(manifest("a", "v1")).request, ambient);
    let mut rest = loop {
        step = match step {
            Step::Answered(response, rest) => {
                assert_eq!(response.status, 200);
                break rest.begin();
            }
            Step::Respond(_) => panic!("whoever pulls waits for no listener"),
            asks => registry.memory.perform(asks, &RequestBody::default()),
        };
    };
    while rest.name() != "Respond" {
        assert_ne!(rest.name(), "Commit");
        rest = registry.memory.perform(rest, &RequestBody::default());
    }
    assert_eq!(queued(&mut registry), []);
}

/// What is damaged keeps nothing behind it from being told, and no push from being made.
#[test]
fn an_event_that_does_not_read_is_taken_out_of_its_queue() {
    let mut registry = listening(&[Happening::Push], "**");
    for tag in ["v1", "v2"] {
        registry.push("a", tag, &Manifest::image(AMD64, tag));
    }
    let first = queued(&mut registry)[0].0.clone();
    registry.memory.records.insert(first.clone(), b"not JSON"[..].into());
    let ambient = registry.memory.ambient();
    let step = registry.registry.queued("one".into(), ambient);
    let found = registry.memory.run(step, &RequestBody::default()).expect("no fault");
    assert_eq!(found.iter().map(|(_, event)| event.is_some()).collect::<Vec<_>>(), [false, true]);
    told(&mut registry, [first].into());
    assert_eq!(queued(&mut registry)[0].1.tags, ["v2"]);
    let length =
        registry.memory.records.keys().find(|key| key.as_str().starts_with("queue/")).expect("a counter").clone();
    registry.memory.records.insert(length, b"not a number"[..].into());
    registry.push("a", "v3", &Manifest::image(AMD64, "v3"));
    assert_eq!(queued(&mut registry).len(), 2, "it begins anew");
}

/// Of what does not read the bytes are not known; everything else is counted.
#[test]
fn a_damaged_record_ends_no_census() {
    let mut registry = configured(|_| {});
    registry.push_blob("a", "x");
    registry.push_blob("a", "yz");
    let blob = registry.memory.records.keys().find(|key| key.as_str().starts_with("blob/")).expect("a blob").clone();
    registry.memory.records.insert(blob, b"not JSON"[..].into());
    let ambient = registry.memory.ambient();
    let step = registry.registry.census(ambient);
    let census = registry.memory.run(step, &RequestBody::default()).expect("no fault");
    assert_eq!((census.repositories, census.blobs), (1, 2));
    assert!([1, 2].contains(&census.bytes), "{census:?}");
}

#[test]
fn what_nobody_wants_to_know_is_not_written_down() {
    let mut registry = listening(&[Happening::Delete], "**");
    registry.push("a", "v1", &Manifest::image(AMD64, "layer"));
    registry.get(manifest("a", "v1")).expect(200);
    assert_eq!(queued(&mut registry), []);
}

/// Two hosts of one storage may have other settings for a while: what one keeps for a listener, the other does not throw
/// away.
#[test]
fn events_stay_for_a_listener_that_the_host_which_collects_does_not_know_until_they_are_old() {
    let mut registry = listening(&[Happening::Push], "**");
    registry.push("a", "v1", &Manifest::image(AMD64, "layer"));
    let other = orlop_core::Registry::new(orlop_core::Config::default());
    let collect = |registry: &mut InMemory| {
        let ambient = registry.memory.ambient();
        registry.memory.run(other.gc(ambient), &RequestBody::default()).events_removed
    };
    assert_eq!(collect(&mut registry), 0);
    assert_eq!(queued(&mut registry).len(), 1);
    registry.memory.advance(orlop_core::config::EVENT_LIFETIME);
    registry.memory.advance(std::time::Duration::from_millis(1));
    assert_eq!(collect(&mut registry), 1);
    assert_eq!(queued(&mut registry), []);
}

/// What is not taken goes after its time, and is counted off.
#[test]
fn old_events_are_collected() {
    let mut registry = listening(&[Happening::Push], "**");
    registry.push_image("a", "v1", AMD64, "old");
    registry.advance(EVENT_LIFETIME);
    registry.push_image("a", "v2", AMD64, "new");
    assert_eq!(registry.gc().events_removed, 0);
    registry.advance(Duration::from_millis(1));
    assert_eq!(registry.gc().events_removed, 1);
    let left: Vec<_> = queued(&mut registry).iter().map(|(_, event)| event.tags.join(",")).collect();
    assert_eq!((left, &registry.memory.records[&queue()]), (vec!["v2".into()], &"1".into()));
}
