//! Section X'': when manifests and tags were last pulled, how often and by whom.

use std::time::Duration;

use orlop_conformance::image::{AMD64, Manifest};
use orlop_conformance::system::{Call, InMemory, System, delete, get, head, manifest};
use orlop_core::caller::Right;
use orlop_core::effect::{Durability, Fault};
use orlop_core::memory::RequestBody;
use orlop_core::{Pull, PullCount, Step};
use serde_json::{Value, json};

use crate::browsing::{as_caller, caller};
use crate::{configured, registry};

const MINUTE: Duration = Duration::from_secs(60);

/// Makes a call: what it says is pulled.
fn pull(registry: &mut InMemory, call: Call) -> Vec<Pull> {
    registry.call(call).response.pulled.into_iter().collect()
}

/// What a host does behind the answers. The commits that were made.
fn note(registry: &mut InMemory, pulls: Vec<Pull>) -> usize {
    let pulls = pulls.into_iter().map(PullCount::from).collect();
    let mut step = registry.registry.note_pulls(pulls, registry.memory.ambient());
    let mut commits = 0;
    loop {
        match &step {
            Step::Commit(ask) => {
                commits += 1;
                let of_pulls = ask.effect.put.iter().all(|(key, _)| key.as_str().starts_with("pulled"));
                assert!(!of_pulls || ask.effect.durability == Durability::Eventual, "no disk is waited for");
            }
            Step::Respond(left) => {
                assert_eq!(*left, Ok(Vec::new()));
                return commits;
            }
            _ => {}
        }
        step = registry.memory.perform(step, &RequestBody::default());
    }
}

/// What is noted of a key.
fn record(registry: &InMemory, key: &str) -> Value {
    let mut records = registry.memory.records.iter();
    let (_, value) = records.find(|(known, _)| known.as_str() == key).expect("it is noted");
    serde_json::from_slice(value).expect("JSON")
}

/// The keys of what is noted.
fn noted(registry: &InMemory) -> Vec<String> {
    let keys = registry.memory.records.keys().map(|key| key.as_str().to_owned());
    keys.filter(|key| key.starts_with("pulledmanifest/") || key.starts_with("pulledtag/")).collect()
}

fn of(name: &str, image: &Manifest, tag: Option<&str>) -> Vec<String> {
    let manifest = format!("pulledmanifest/{name}@{}", image.digest());
    std::iter::once(manifest).chain(tag.map(|tag| format!("pulledtag/{name}:{tag}"))).collect()
}

/// SPEC X30, X31, X36, X37.
#[test]
fn the_answer_to_a_pull_says_what_is_pulled() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let digest: orlop_core::digest::Digest = image.digest().parse().unwrap();
    let pulled = |tag: Option<&str>, fetched: bool| {
        let (repository, tag) = ("a".parse().unwrap(), tag.map(|tag| tag.parse().unwrap()));
        vec![Pull { repository, digest, tag, fetched, by: String::new() }]
    };
    let (by_tag, by_digest) = (manifest("a", "v1"), manifest("a", image.digest()));
    assert_eq!(pull(&mut registry, get(&by_tag)), pulled(Some("v1"), true));
    assert_eq!(pull(&mut registry, get(&by_digest)), pulled(None, true));
    let known = get(&by_tag).header("If-None-Match", format!("\"{}\"", image.digest()));
    assert_eq!(pull(&mut registry, known), pulled(Some("v1"), false), "304: the client has it, and uses it");
    assert_eq!(pull(&mut registry, head(&by_tag)), pulled(Some("v1"), false), "all that a node asks that has it");
    assert_eq!(pull(&mut registry, head(&by_digest)), []);
    let other = get(&by_tag).header("If-Match", "\"sha256:0\"");
    for call in [get(manifest("a", "v2")), get(manifest("b", "v1")), other, get("/v2/a/tags/list")] {
        assert_eq!(pull(&mut registry, call), []);
    }
}

/// SPEC X32.
#[test]
fn a_pull_asks_the_records_no_more_than_it_needs_for_its_answer() {
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "layer");
    let before = registry.memory.records.clone();
    let asked = |registry: &mut InMemory, call: Call| {
        let mut step = registry.registry.call(call.request, registry.memory.ambient());
        let mut names = Vec::new();
        while !matches!(step, Step::Respond(_)) {
            names.push(step.name());
            step = registry.memory.perform(step, &RequestBody::default());
        }
        names
    };
    assert_eq!(asked(&mut registry, get(manifest("a", "v1"))), ["Get", "Get"]);
    assert_eq!(asked(&mut registry, head(manifest("a", "v1"))), ["Get", "Get"]);
    assert_eq!(registry.memory.records, before);
}

/// SPEC X30, X32, X36: also where the host is another one each time.
#[test]
fn pulls_are_counted_by_few_commits() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let (by_tag, by_digest) = (of("a", &image, Some("v1"))[1].clone(), of("a", &image, None)[0].clone());
    let pulls: Vec<Pull> = (0..100).flat_map(|_| pull(&mut registry, get(manifest("a", "v1")))).collect();
    assert_eq!(pulls.len(), 100);
    assert_eq!(note(&mut registry, pulls.clone()), 2, "one of them says since when pulls are noted");
    assert_eq!(noted(&registry), of("a", &image, Some("v1")));
    let direct = pull(&mut registry, get(manifest("a", image.digest())));
    assert_eq!(note(&mut registry, direct), 1);
    registry.advance(59 * MINUTE);
    assert_eq!(note(&mut registry, pulls), 1);
    assert_eq!(
        (&record(&registry, &by_tag)["times"], &record(&registry, &by_digest)["times"]),
        (&json!(200), &json!(201))
    );
    // Who asks what the tag names, and has that, has not got the manifest once more.
    let asked = pull(&mut registry, head(manifest("a", "v1")));
    let before = record(&registry, &by_digest);
    note(&mut registry, asked.clone());
    assert_eq!((&record(&registry, &by_tag)["times"], &record(&registry, &by_digest)), (&json!(201), &before));
    // But it was pulled, an hour coarse.
    registry.advance(60 * MINUTE);
    note(&mut registry, asked);
    let after = record(&registry, &by_digest);
    assert_eq!(after["times"], before["times"]);
    assert_ne!(after["pulled"], before["pulled"]);
}

/// SPEC X37.
#[test]
fn the_last_who_have_pulled_are_known() {
    let mut registry = configured(|config| config.activity_lifetime = 60 * MINUTE);
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let one = pull(&mut registry, get(manifest("a", "v1"))).remove(0);
    let by = |user: &str| vec![Pull { by: user.into(), ..one.clone() }];
    for number in 0..10 {
        note(&mut registry, by(&format!("user{number}")));
        registry.advance(MINUTE);
    }
    note(&mut registry, by("user5"));
    note(&mut registry, by(""));
    for key in of("a", &image, Some("v1")) {
        let noted = record(&registry, &key);
        let users = noted["by"].as_array().expect("users").iter().map(|by| by["user"].as_str().expect("a name"));
        let users: Vec<&str> = users.collect();
        assert_eq!(users, ["user5", "user9", "user8", "user7", "user6", "user4", "user3", "user2"]);
        assert_eq!(noted["times"], 12);
    }
}

/// SPEC X36: nothing counts twice that was noted before the storage failed.
#[test]
fn what_was_not_noted_is_given_back() {
    let mut registry = registry();
    let mut pulls = Vec::new();
    for number in 0..200 {
        registry.push_image("a", format!("v{number}"), AMD64, &format!("{number}"));
        pulls.extend(pull(&mut registry, get(manifest("a", format!("v{number}")))));
    }
    note(&mut registry, Vec::new());
    let counts: Vec<PullCount> = pulls.into_iter().map(PullCount::from).collect();
    let mut step = registry.registry.note_pulls(counts.clone(), registry.memory.ambient());
    let mut commits = 0;
    let left = loop {
        match step {
            Step::Commit(_) if commits == 1 => step = step.fail(Fault::Full("a test".into())),
            Step::Respond(left) => break left.expect("some were noted"),
            other => {
                commits += usize::from(matches!(other, Step::Commit(_)));
                step = registry.memory.perform(other, &RequestBody::default());
            }
        }
    };
    assert_eq!(left, counts[128..]);
    let step = registry.registry.note_pulls(left, registry.memory.ambient());
    assert_eq!(registry.memory.run(step, &RequestBody::default()), Ok(Vec::new()));
    for key in noted(&registry) {
        assert_eq!(record(&registry, &key)["times"], 1, "{key}");
    }
}

/// SPEC X32: so many that one commit does not take them.
#[test]
fn pulls_of_many_manifests_are_noted_by_hundreds() {
    let mut registry = registry();
    let mut pulls = Vec::new();
    for number in 0..300 {
        registry.push_image("a", format!("v{number}"), AMD64, &format!("{number}"));
        pulls.extend(pull(&mut registry, get(manifest("a", format!("v{number}")))));
    }
    note(&mut registry, Vec::new());
    assert_eq!(note(&mut registry, pulls), 3);
    assert_eq!(noted(&registry).len(), 600);
}

/// SPEC X34.
#[test]
fn since_when_pulls_are_noted_is_written_down_once() {
    let mut registry = registry();
    let since = |registry: &InMemory| {
        let mut records = registry.memory.records.iter();
        records.find(|(key, _)| key.as_str() == "meta/pulls-since").map(|(_, value)| value.clone())
    };
    assert_eq!(since(&registry), None);
    assert_eq!(note(&mut registry, Vec::new()), 1);
    let first = since(&registry);
    assert!(first.is_some());
    registry.advance(120 * MINUTE);
    assert_eq!(note(&mut registry, Vec::new()), 0);
    assert_eq!(since(&registry), first);
}

/// SPEC X35.
#[test]
fn what_ends_takes_along_what_is_noted_of_it() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let pulls = pull(&mut registry, get(manifest("a", "v1")));
    note(&mut registry, pulls.clone());
    registry.call(delete(manifest("a", "v1"))).expect(202);
    assert_eq!(noted(&registry), of("a", &image, None));
    assert_eq!(note(&mut registry, pulls.clone()), 1, "the tag is gone, and the manifest is there");
    assert_eq!(noted(&registry), of("a", &image, None));
    registry.push("a", "v1", &image);
    assert_eq!(noted(&registry), of("a", &image, None), "it begins anew");
    note(&mut registry, pulls.clone());
    registry.call(delete(manifest("a", image.digest()))).expect(202);
    assert_eq!(noted(&registry), [""; 0]);
    assert_eq!(note(&mut registry, pulls), 0);
    assert_eq!(noted(&registry), [""; 0]);
}

/// SPEC X35.
#[test]
fn a_tag_that_moves_keeps_what_is_noted_of_it() {
    let mut registry = registry();
    let old = registry.push_image("a", "v1", AMD64, "old");
    let pulls = pull(&mut registry, get(manifest("a", "v1")));
    note(&mut registry, pulls);
    registry.push_image("a", "v1", AMD64, "new");
    assert_eq!(noted(&registry), of("a", &old, Some("v1")));
}

/// SPEC X32, X35: of two in one commit, one is deleted while they are noted.
#[test]
fn what_is_deleted_while_it_is_noted_is_passed_over() {
    let mut registry = registry();
    let first = registry.push_image("a", "v1", AMD64, "first");
    registry.push_image("a", "v2", AMD64, "second");
    note(&mut registry, Vec::new());
    let pulls: Vec<Pull> = ["v1", "v2"].map(|tag| pull(&mut registry, get(manifest("a", tag)))).concat();
    let pulls = pulls.into_iter().map(PullCount::from).collect();
    let mut step = registry.registry.note_pulls(pulls, registry.memory.ambient());
    while !matches!(step, Step::Commit(_)) {
        step = registry.memory.perform(step, &RequestBody::default());
    }
    registry.call(delete(manifest("a", "v2"))).expect(202);
    assert_eq!(registry.memory.run(step, &RequestBody::default()), Ok(Vec::new()));
    let noted = noted(&registry);
    assert_eq!(noted.len(), 3, "{noted:?}");
    assert!(of("a", &first, Some("v1")).iter().all(|key| noted.contains(key)), "{noted:?}");
}

/// SPEC X32: the host has it noted again.
#[test]
fn a_fault_is_told_to_the_host() {
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "layer");
    let pulls = pull(&mut registry, get(manifest("a", "v1")));
    note(&mut registry, Vec::new());
    let counts = pulls.iter().cloned().map(PullCount::from).collect();
    let mut step = registry.registry.note_pulls(counts, registry.memory.ambient());
    while !matches!(step, Step::Commit(_)) {
        step = registry.memory.perform(step, &RequestBody::default());
    }
    let Step::Respond(Err(Fault::Full(_))) = step.fail(Fault::Full("a test".into())) else {
        panic!("it ends with the fault")
    };
    assert_eq!(note(&mut registry, pulls), 1);
}

/// SPEC X37: as long as is kept what users do, to those who may push.
#[test]
fn who_has_pulled_is_told_to_those_who_may_push_for_a_time() {
    let day = 24 * 60 * MINUTE;
    let pulled = |lifetime| {
        let mut registry = configured(|config| config.activity_lifetime = lifetime);
        registry.push_image("a", "v1", AMD64, "layer");
        let pulls = pull(&mut registry, get(manifest("a", "v1")));
        note(&mut registry, pulls.into_iter().map(|pull| Pull { by: "alice".into(), ..pull }).collect());
        registry
    };
    let mut registry = pulled(day);
    let told = |registry: &mut InMemory, rights: &[Right]| {
        let image = as_caller(registry, &caller(rights, &["a"]), "/api/v1/repositories/a/images/v1").expect(200).json();
        assert_eq!(image["pulls"], 1);
        image["pulledBy"][0]["user"].clone()
    };
    assert_eq!(told(&mut registry, &Right::ALL), "alice");
    assert_eq!(told(&mut registry, &[Right::Pull, Right::List, Right::Delete]), Value::Null);
    registry.advance(day);
    assert_eq!(told(&mut registry, &Right::ALL), Value::Null);
    let mut registry = pulled(Duration::ZERO);
    assert_eq!(told(&mut registry, &Right::ALL), Value::Null);
    assert!(noted(&registry).iter().all(|key| record(&registry, key).get("by").is_none()));
}
