//! Section AF: what is kept of what happened, who may see it, and when it is forgotten.

use std::sync::Arc;
use std::time::Duration;

use orlop_conformance::image::AMD64;
use orlop_conformance::system::{InMemory, System, manifest};
use orlop_core::caller::{Right, Rule};
use orlop_core::config::{Pattern, Quota};
use orlop_core::event::{Activity, Event, Happening, Listener, Looked, Source};
use orlop_core::memory::RequestBody;
use orlop_core::{Ambient, Caller, Config, Request, Retained, Rights, retention};
use uuid::Uuid;

use crate::configured;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn keeping(configure: impl FnOnce(&mut Config)) -> InMemory {
    configured(|config| {
        config.activity_lifetime = 30 * DAY;
        configure(config);
    })
}

/// Who may pull from repositories that match.
fn reader(repositories: &str) -> Arc<Caller> {
    let repositories = [Pattern::new(repositories)].into();
    let rule = Rule { allow: true, rights: [Right::Pull].into(), repositories, tags: None };
    Arc::new(Caller { rights: Rights::of([Arc::new(rule)]), ..Caller::anybody() })
}

fn look_as(registry: &mut InMemory, caller: Arc<Caller>, looked: Looked) -> Activity {
    let step = registry.registry.activity(caller, looked, registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail")
}

fn look(registry: &mut InMemory, looked: Looked) -> Vec<Event> {
    let found = look_as(registry, Arc::new(Caller::anybody()), looked);
    found.events.into_iter().map(|(_, event)| event).collect()
}

fn all() -> Looked {
    Looked { n: 1000, ..Looked::default() }
}

/// Each as `push a:v1`.
fn short(events: &[Event]) -> Vec<String> {
    let short = |event: &Event| format!("{:?} {}:{}", event.happening, event.repository, event.tags.join(","));
    events.iter().map(short).collect()
}

fn forget(registry: &mut InMemory) -> u64 {
    let step = registry.registry.prune_activity(registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail")
}

/// SPEC AF20.
#[test]
fn what_happens_is_kept_and_the_last_comes_first() {
    let mut registry = keeping(|_| {});
    let image = registry.push_image("a", "v1", AMD64, "one");
    registry.advance(Duration::from_secs(1));
    registry.push_image("b/c", "v1", AMD64, "two");
    registry.get(manifest("a", "v1")).expect(200);
    registry.advance(Duration::from_secs(1));
    registry.delete(manifest("a", "v1")).expect(202);
    registry.advance(Duration::from_secs(1));
    registry.delete(manifest("a", image.digest())).expect(202);
    registry.delete(manifest("a", image.digest())).expect(404);
    let events = look(&mut registry, all());
    assert_eq!(short(&events), ["Delete a:", "Delete a:v1", "Push b/c:v1", "Push a:v1"]);
    assert_eq!(events[3].digest.map(|digest| digest.to_string()), Some(image.digest()));
    assert_eq!(events[3].size, Some(image.bytes().len() as u64));
    assert_eq!(events[3].media_type.as_deref(), Some(image.media_type()));
}

/// SPEC AF20: not by the default of the core, which knows no operator.
#[test]
fn nothing_is_kept_where_the_lifetime_is_zero_and_what_was_kept_goes() {
    let mut off = configured(|_| {});
    off.push_image("a", "v1", AMD64, "one");
    assert_eq!(look(&mut off, all()), []);
    let mut registry = keeping(|_| {});
    registry.push_image("a", "v1", AMD64, "one");
    let mut off = registry.restarted(Config::default());
    assert_eq!(forget(&mut off), 1);
    assert_eq!(look(&mut off, all()), []);
}

/// SPEC AF21.
#[test]
fn it_is_looked_up_by_repository_user_happening_and_time() {
    let mut registry = keeping(|config| {
        let quota = Quota { name: "all".into(), repositories: vec![Pattern::new("**")], soft: 1, ..Quota::default() };
        config.quotas = vec![quota];
    });
    registry.push_image("a", "v1", AMD64, "one");
    let first = registry.memory.now;
    registry.advance(DAY);
    registry.push_image("b/c", "v1", AMD64, "two");
    let second = registry.memory.now;
    registry.advance(DAY);
    registry.delete(manifest("a", "v1")).expect(202);
    let mut found = |looked: Looked| short(&look(&mut registry, Looked { n: 1000, ..looked }));
    let repository = |pattern: &str| Looked { repository: Some(Pattern::new(pattern)), ..Looked::default() };
    assert_eq!(found(repository("b/**")).last().unwrap(), "Push b/c:v1");
    assert!(found(repository("b")).is_empty());
    let happening = |happening| Looked { happening: Some(happening), ..Looked::default() };
    assert_eq!(found(happening(Happening::Delete)), ["Delete a:v1"]);
    assert_eq!(found(happening(Happening::Quota)), ["Quota b/c:", "Quota a:"]);
    assert_eq!(found(Looked { user: Some("alice".into()), ..Looked::default() }), [""; 0]);
    let pushes = |from, until| Looked { from, until, ..happening(Happening::Push) };
    assert_eq!(found(pushes(Some(second), None)), ["Push b/c:v1"]);
    assert_eq!(found(pushes(None, Some(first))), ["Push a:v1"]);
    assert_eq!(found(pushes(Some(first), Some(second))), ["Push b/c:v1", "Push a:v1"]);
    assert_eq!(found(pushes(None, Some(orlop_core::Timestamp(u64::MAX)))).len(), 2);
}

/// SPEC AF22.
#[test]
fn pages_follow_each_other_without_a_gap() {
    let mut registry = keeping(|_| {});
    // All at one moment.
    for tag in 0..7 {
        registry.push_image("a", format!("v{tag}"), AMD64, "one");
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let looked = Looked { n: 3, after, ..Looked::default() };
        let page = look_as(&mut registry, Arc::new(Caller::anybody()), looked);
        assert!(page.events.len() <= 3);
        seen.extend(page.events.into_iter().flat_map(|(_, event)| event.tags));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, (0..7).map(|tag| format!("v{tag}")).collect::<Vec<_>>());
}

/// SPEC AF23.
#[test]
fn whoever_may_not_pull_from_a_repository_sees_nothing_of_it() {
    let mut registry = keeping(|_| {});
    registry.push_image("open/a", "v1", AMD64, "one");
    registry.push_image("secret/a", "v1", AMD64, "two");
    let found = |registry: &mut InMemory, repositories: &str| {
        let found = look_as(registry, reader(repositories), all());
        let events: Vec<_> = found.events.into_iter().map(|(_, event)| event).collect();
        (short(&events), found.next)
    };
    assert_eq!(found(&mut registry, "open/**"), (vec!["Push open/a:v1".to_owned()], None));
    assert_eq!(found(&mut registry, "nothing"), (vec![], None));
    assert_eq!(found(&mut registry, "**").0.len(), 2);
}

/// SPEC AF23: a page costs no more than it may, and does not name what it passes over.
#[test]
fn a_page_is_empty_where_too_much_would_be_passed_over_and_the_next_one_goes_on() {
    let mut registry = keeping(|_| {});
    let image = registry.push_image("open", "v1", AMD64, "one");
    let target = manifest("secret", image.digest());
    registry.push_image("secret", "v1", AMD64, "one");
    let secret: Vec<_> = registry.memory.records.keys().filter(|key| key.as_str().starts_with("activity/")).collect();
    let value = registry.memory.records[secret[0]].clone();
    let mut event: Event = serde_json::from_slice(&value).expect("an event");
    event.repository = "secret".into();
    for number in 0..4500_u64 {
        event.time = orlop_core::Timestamp(registry.memory.now.0 + 1 + number);
        event.id = Uuid::from_u128(u128::from(number));
        let name = format!("activity/{:014}-{}", 99_999_999_999_999 - event.time.0, event.id);
        let value = serde_json::to_vec(&event).expect("JSON");
        registry.memory.records.insert(orlop_core::keys::Key::stored(name), value.into());
    }
    let (mut pages, mut after, mut seen) = (0, None, 0);
    loop {
        let page = look_as(&mut registry, reader("open"), Looked { n: 50, after, ..Looked::default() });
        (pages, seen) = (pages + 1, seen + page.events.len());
        after = page.next;
        let Some(next) = &after else { break };
        assert!(next.len() == 14 && next.bytes().all(|digit| digit.is_ascii_digit()), "{next} tells of another call");
    }
    assert_eq!((pages, seen), (3, 1), "of {target}");
}

/// SPEC AF24.
#[test]
fn what_is_old_is_forgotten_and_of_too_many_the_oldest() {
    let mut registry = keeping(|config| config.activities = 3);
    for tag in ["v1", "v2"] {
        registry.push_image("a", tag, AMD64, "one");
        registry.advance(20 * DAY);
    }
    assert_eq!(look(&mut registry, all()).len(), 2, "until it is pruned");
    assert_eq!(forget(&mut registry), 1);
    assert_eq!(short(&look(&mut registry, all())), ["Push a:v2"]);
    for tag in ["v3", "v4", "v5"] {
        registry.push_image("a", tag, AMD64, "one");
        registry.advance(Duration::from_secs(1));
    }
    assert_eq!(forget(&mut registry), 1);
    assert_eq!(short(&look(&mut registry, all())), ["Push a:v5", "Push a:v4", "Push a:v3"]);
    assert_eq!(forget(&mut registry), 0);
    registry.advance(31 * DAY);
    assert_eq!(forget(&mut registry), 3);
}

/// SPEC AF20: who did it, from where; nothing more of the request.
#[test]
fn it_is_kept_who_did_it_and_from_where() {
    let mut registry = keeping(|_| {});
    registry.push_image("a", "v1", AMD64, "one");
    let request = Source {
        address: "192.0.2.1:7".into(),
        agent: "docker".into(),
        method: "DELETE".into(),
        host: "registry".into(),
        ..Source::default()
    };
    let caller = Arc::new(Caller { name: "alice".into(), request: Some(request), ..Caller::anybody() });
    let asked = Request {
        method: orlop_core::Method::Delete,
        target: manifest("a", "v1"),
        headers: orlop_core::Headers::default(),
        length: None,
        base: None,
    };
    let ambient: Ambient = registry.memory.ambient();
    let step = registry.registry.call_of(caller, Arc::new(asked.into()), ambient);
    assert_eq!(registry.memory.run(step, &RequestBody::default()).status, 202);
    let events = look(&mut registry, Looked { user: Some("alice".into()), ..all() });
    let source = events[0].request.as_ref().expect("a source");
    assert_eq!((source.address.as_str(), source.agent.as_str()), ("192.0.2.1:7", "docker"));
    assert_eq!((source.method.as_str(), source.host.as_str()), ("", ""));
}

/// SPEC AF20, Z6: of many that one call deletes, each is told, to those who listen too.
#[test]
fn each_of_many_that_one_call_deletes_is_told() {
    let mut registry = keeping(|config| {
        config.listeners = vec![Listener {
            name: "one".into(),
            happenings: vec![Happening::Delete],
            repositories: vec![Pattern::new("**")],
        }];
        let rule = retention::Rule { name: "two".into(), repositories: vec![Pattern::new("**")], ..Default::default() };
        config.retention = vec![retention::Rule { keep_last: Some(1), ..rule }];
    });
    for tag in ["v1", "v2", "v3", "v4"] {
        registry.push_image("a", tag, AMD64, tag);
        registry.advance(DAY);
    }
    let name = || "a".parse().expect("a name");
    let step = registry.registry.apply_retention(name(), None, true, registry.memory.ambient());
    let retained = registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail");
    assert!(matches!(retained, Retained::Done(report) if report.tags_deleted == 3));
    let deleted = look(&mut registry, Looked { happening: Some(Happening::Delete), ..all() });
    let mut tags: Vec<_> = deleted.into_iter().flat_map(|event| event.tags).collect();
    tags.sort();
    assert_eq!(tags, ["v1", "v2", "v3"]);
    let step = registry.registry.queued("one".into(), registry.memory.ambient());
    let queued = registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail");
    assert_eq!(queued.len(), 3);
}
