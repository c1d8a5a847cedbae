//! Section X''': which tags stay, and what of the rest goes when.

mod model;

use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest};
use orlop_conformance::system::{InMemory, System, delete, head, manifest};
use orlop_core::config::Pattern;
use orlop_core::memory::RequestBody;
use orlop_core::mirror::Mirror;
use orlop_core::retention::{Plan, Rule, check};
use orlop_core::{Config, Fault, Pull, PullCount, Retained, RetentionReport, Step, Undeleting};

use crate::configured;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn rule() -> Rule {
    Rule { name: "rule".into(), repositories: vec![Pattern::new("**")], ..Rule::default() }
}

fn last(count: u32) -> Rule {
    Rule { keep_last: Some(count), ..rule() }
}

/// A registry with these rules, which has noted pulls for long.
fn with(rules: Vec<Rule>) -> InMemory {
    check(&rules).expect("rules in order");
    let mut registry = configured(|config: &mut Config| config.retention = rules);
    pulled(&mut registry, Vec::new());
    registry
}

fn pulled(registry: &mut InMemory, pulls: Vec<Pull>) {
    let pulls = pulls.into_iter().map(PullCount::from).collect();
    let step = registry.registry.note_pulls(pulls, registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail");
}

/// A client pulls by a tag, and a host notes it.
fn pull(registry: &mut InMemory, name: &str, tag: &str) {
    let answer = registry.get(manifest(name, tag)).expect(200);
    pulled(registry, answer.response.pulled.into_iter().collect());
}

/// A tag a day, each of an image of its own.
fn pushed(registry: &mut InMemory, tags: &[&str]) -> Vec<Manifest> {
    tags.iter()
        .map(|tag| {
            let image = registry.push_image("a", tag, AMD64, tag);
            registry.advance(DAY);
            image
        })
        .collect()
}

fn plan(registry: &mut InMemory) -> Plan {
    let step = registry.registry.plan_retention("a".parse().expect("a name"), registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail")
}

fn begin(registry: &mut InMemory, plan: Option<&Plan>, approved: bool) -> Step<Result<Retained, Fault>> {
    let plan = plan.map(|plan| plan.plan.clone());
    registry.registry.apply_retention("a".parse().expect("a name"), plan, approved, registry.memory.ambient())
}

fn apply(registry: &mut InMemory, plan: Option<&Plan>, approved: bool) -> Retained {
    let step = begin(registry, plan, approved);
    registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail")
}

fn done(retained: Retained) -> RetentionReport {
    match retained {
        Retained::Done(report) => report,
        other => panic!("not done: {other:?}"),
    }
}

/// The tags that go by a plan.
fn going(plan: &Plan) -> Vec<&str> {
    plan.tags.iter().filter(|tag| tag.verdict.deleted).map(|tag| tag.tag.as_str()).collect()
}

fn reason<'p>(plan: &'p Plan, tag: &str) -> &'p str {
    let found = plan.tags.iter().find(|planned| planned.tag == tag);
    &found.unwrap_or_else(|| panic!("no {tag} in {plan:?}")).verdict.reason
}

/// SPEC X40, X43.
#[test]
fn the_last_tags_that_were_pushed_stay() {
    let mut registry = with(vec![Rule { tags: vec![Pattern::new("b-*")], ..last(2) }]);
    pushed(&mut registry, &["b-1", "b-2", "c-1", "b-3"]);
    let plan = plan(&mut registry);
    assert_eq!(going(&plan), ["b-1"]);
    assert_eq!(plan.tags.len(), 4, "every tag is listed");
    assert_eq!(reason(&plan, "b-1"), "not one of the last 2");
    assert_eq!(reason(&plan, "b-3"), "one of the last 2");
    assert_eq!(reason(&plan, "c-1"), "no rule is about it");
    assert_eq!(plan.tags[0].verdict.rule.as_deref(), Some("rule"));
}

/// SPEC X43.
#[test]
fn the_last_of_a_range_are_those_of_the_highest_versions() {
    let mut registry = with(vec![Rule { semver: ">=1".parse().ok(), ..last(2) }]);
    pushed(&mut registry, &["v1.10", "1.9", "1.2", "1.9.0", "latest"]);
    assert_eq!(going(&plan(&mut registry)), ["1.2"], "two names of one version are as new");
}

/// SPEC X41.
#[test]
fn keeping_wins_over_deleting_over_all_rules() {
    let keeps = Rule { name: "keeps".into(), keep: vec![Pattern::new("a-*")], ..rule() };
    let young = Rule { name: "young".into(), keep_pushed_within: Some(3 * DAY), ..rule() };
    for rules in [vec![last(1), young.clone(), keeps.clone()], vec![keeps, young, last(1)]] {
        let mut registry = with(rules);
        pushed(&mut registry, &["a-1", "b-1", "b-2", "b-3"]);
        let plan = plan(&mut registry);
        assert_eq!(going(&plan), ["b-1"]);
        assert_eq!(reason(&plan, "a-1"), "keep = `a-*`");
    }
}

/// SPEC X42: two tags of one image are judged one by one, and the one that stays keeps it.
#[test]
fn tags_that_share_an_image_are_judged_by_their_names() {
    let mut registry = with(vec![Rule { tags: vec![Pattern::new("b-*")], untagged_after: Some(DAY), ..last(1) }]);
    let image = registry.push_image("a", "b-1", AMD64, "layer");
    registry.push("a", "release", &image);
    registry.advance(DAY);
    registry.push_image("a", "b-2", AMD64, "other");
    registry.advance(30 * DAY);
    let planned = plan(&mut registry);
    assert_eq!(going(&planned), ["b-1"]);
    assert_eq!(done(apply(&mut registry, Some(&planned), true)).tags_deleted, 1);
    assert_eq!(registry.tags("a"), ["b-2", "release"]);
    registry.advance(30 * DAY);
    assert!(plan(&mut registry).is_empty());
    registry.get(manifest("a", "release")).expect(200);
}

/// SPEC X45.
#[test]
fn what_was_pulled_lately_stays() {
    let mut registry = with(vec![Rule { keep_pulled_within: Some(10 * DAY), ..rule() }]);
    let images = pushed(&mut registry, &["old", "used", "pinned", "new"]);
    registry.advance(8 * DAY);
    pull(&mut registry, "a", "used");
    pull(&mut registry, "a", &images[2].digest());
    assert_eq!(going(&plan(&mut registry)), ["old"]);
    registry.advance(2 * DAY);
    let plan = plan(&mut registry);
    assert_eq!(going(&plan), ["new", "old"]);
    assert_eq!(reason(&plan, "used"), "pulled 2 days ago");
    assert_eq!(reason(&plan, "old"), "not pulled for 14 days");
}

/// SPEC X31, X45.
#[test]
fn a_head_by_tag_keeps_the_tag() {
    let mut registry = with(vec![Rule { keep_pulled_within: Some(10 * DAY), ..rule() }]);
    pushed(&mut registry, &["v1"]);
    registry.advance(20 * DAY);
    let answer = registry.call(head(manifest("a", "v1"))).expect(200);
    pulled(&mut registry, answer.response.pulled.into_iter().collect());
    assert_eq!(going(&plan(&mut registry)), [""; 0]);
}

/// SPEC X34, X45: pulls were noted only later.
#[test]
fn what_is_not_known_to_be_pulled_counts_from_when_pulls_are_noted() {
    let rules = vec![Rule { keep_pulled_within: Some(10 * DAY), ..rule() }];
    let mut registry = configured(|config| config.retention = rules);
    pushed(&mut registry, &["v1"]);
    registry.advance(100 * DAY);
    let unknown = plan(&mut registry);
    assert_eq!(going(&unknown), [""; 0]);
    assert!(reason(&unknown, "v1").contains("not known"), "{unknown:?}");
    pulled(&mut registry, Vec::new());
    registry.advance(9 * DAY);
    assert_eq!(going(&plan(&mut registry)), [""; 0]);
    registry.advance(2 * DAY);
    assert_eq!(going(&plan(&mut registry)), ["v1"]);
}

/// SPEC X46.
#[test]
fn rules_that_cannot_be_meant_are_refused() {
    let tags = vec![Pattern::new("v*")];
    for (rule, told) in [
        (rule(), "says nothing of what is kept"),
        (Rule { tags: tags.clone(), keep: vec![Pattern::new("v1")], ..rule() }, "nothing says which stay"),
        (Rule { tags: tags.clone(), keep: tags, ..last(1) }, "keeps all of its `tags`"),
        (Rule { keep: vec![Pattern::new("*")], ..last(1) }, "keeps every tag"),
        (Rule { keep_pulled_within: Some(Duration::from_secs(60)), ..rule() }, "at least 2h"),
        (Rule { repositories: Vec::new(), ..last(1) }, "`repositories` is empty"),
        (last(0), "keeps nothing"),
    ] {
        let refused = check(&[rule]).expect_err(told);
        assert!(refused.contains(told) && refused.contains("the retention rule `rule`"), "{refused}");
    }
    assert!(check(&[last(1), last(2)]).expect_err("one name").contains("two retention rules are called `rule`"));
}

/// SPEC X47.
#[test]
fn protected_tags_and_those_of_mirrors_stay() {
    let mut registry = with(vec![last(1)]);
    pushed(&mut registry, &["v1", "v2", "v3"]);
    let mark = "a:v1".parse().expect("a mark");
    let step = registry.registry.protect(mark, registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default()).expect("a mark");
    let planned = plan(&mut registry);
    assert_eq!(going(&planned), ["v2"]);
    assert!(reason(&planned, "v1").contains("protected"), "{planned:?}");
    let mirror = Mirror { prefix: "a".into(), ..Mirror::default() };
    let config = Config { retention: vec![last(1)], mirrors: vec![mirror], ..Config::default() };
    registry.registry = orlop_core::Registry::new(config);
    assert_eq!(going(&plan(&mut registry)), [""; 0]);
}

/// SPEC X48: what no tag needs, but for children and referrers of what stays.
#[test]
fn what_no_tag_needs_goes_once_it_is_old() {
    let mut registry = with(vec![Rule { untagged_after: Some(10 * DAY), ..rule() }]);
    let child = Manifest::image(AMD64, "child");
    registry.push("a", child.digest(), &child);
    registry.push("a", "index", &Manifest::index(&[&child]));
    let signature = Manifest::artifact("application/x.signature", "child").about(&child);
    registry.push("a", signature.digest(), &signature);
    let orphan = Manifest::image(AMD64, "orphan");
    registry.push("a", orphan.digest(), &orphan);
    let of_orphan = Manifest::artifact("application/x.signature", "orphan").about(&orphan);
    registry.push("a", of_orphan.digest(), &of_orphan);
    registry.advance(9 * DAY);
    assert!(plan(&mut registry).is_empty());
    registry.advance(2 * DAY);
    let planned = plan(&mut registry);
    let mut expected = [orphan.digest(), of_orphan.digest()];
    expected.sort();
    let manifests: Vec<String> = planned.manifests.iter().map(|manifest| manifest.digest.to_string()).collect();
    assert_eq!(manifests, expected);
    assert!(planned.needs_approval, "two of five manifests go");
    let report = done(apply(&mut registry, Some(&planned), true));
    assert_eq!((report.manifests_deleted, report.changed), (2, Vec::new()));
    for gone in expected {
        registry.get(manifest("a", gone)).expect(404);
    }
    for kept in [child.digest(), signature.digest()] {
        registry.get(manifest("a", kept)).expect(200);
    }
    // The index goes, and later what it had.
    registry.call(delete(manifest("a", "index"))).expect(202);
    registry.advance(11 * DAY);
    assert_eq!(done(apply(&mut registry, None, true)).manifests_deleted, 3);
}

/// SPEC X49.
#[test]
fn a_record_that_does_not_read_keeps_what_no_tag_needs() {
    let mut registry = with(vec![Rule { untagged_after: Some(DAY), ..last(1) }]);
    pushed(&mut registry, &["v1", "v2", "v3"]);
    let orphan = Manifest::image(AMD64, "orphan");
    registry.push("a", orphan.digest(), &orphan);
    registry.advance(10 * DAY);
    assert_eq!(plan(&mut registry).manifests_deleted, 1);
    let key = registry.memory.records.keys().find(|key| key.as_str() == "tag/a:v1").cloned().expect("a tag");
    registry.memory.records.insert(key, "{".into());
    let planned = plan(&mut registry);
    assert_eq!((going(&planned), planned.manifests_deleted), (vec!["v2"], 0));
    assert!(reason(&planned, "v1").contains("does not read"), "{planned:?}");
    assert_eq!(planned.warnings.len(), 1);
}

/// SPEC X50.
#[test]
fn a_plan_commits_nothing() {
    let mut registry = with(vec![Rule { untagged_after: Some(DAY), ..last(1) }]);
    pushed(&mut registry, &["v1", "v2", "v3"]);
    registry.push_image("a", "v3", AMD64, "moved");
    registry.advance(10 * DAY);
    let before = registry.memory.records.clone();
    let mut step = registry.registry.plan_retention("a".parse().expect("a name"), registry.memory.ambient());
    let planned = loop {
        assert!(matches!(step.name(), "Get" | "Scan" | "Respond"), "{}", step.describe());
        match step {
            Step::Respond(planned) => break planned.expect("a plan"),
            other => step = registry.memory.perform(other, &RequestBody::default()),
        }
    };
    // The image that v3 has left, and the list that the registry had made of it.
    assert_eq!((planned.tags_deleted, planned.manifests_deleted), (2, 2));
    assert_eq!(registry.memory.records, before);
}

/// SPEC X51.
#[test]
fn a_run_does_what_was_planned_or_nothing() {
    let mut registry = with(vec![last(5)]);
    pushed(&mut registry, &["v1", "v2", "v3", "v4", "v5", "v6"]);
    let planned = plan(&mut registry);
    assert_eq!(going(&planned), ["v1"]);
    registry.advance(100 * DAY);
    assert_eq!(plan(&mut registry).plan, planned.plan, "time alone changes nothing here");
    registry.push_image("a", "v7", AMD64, "v7");
    let Retained::Changed(now) = apply(&mut registry, Some(&planned), true) else { panic!("v2 would go as well") };
    assert_eq!(going(&now), ["v1", "v2"]);
    assert_eq!(registry.tags("a").len(), 7);
    registry.push_image("a", "v1", AMD64, "again");
    assert!(matches!(apply(&mut registry, Some(&now), true), Retained::Changed(_)), "v1 is another one");
    let now = plan(&mut registry);
    assert_eq!(going(&now), ["v2", "v3"]);
    assert_eq!(done(apply(&mut registry, Some(&now), true)).tags_deleted, 2);
    assert_eq!(registry.tags("a"), ["v1", "v4", "v5", "v6", "v7"]);
    assert!(plan(&mut registry).is_empty());
}

/// SPEC X52.
#[test]
fn more_than_a_fifth_of_the_tags_waits_for_approval() {
    for (keep, all, needed) in [(8, 10, false), (7, 10, true), (4, 5, false), (3, 4, true)] {
        let mut registry = with(vec![last(keep)]);
        let names: Vec<String> = (0..all).map(|number| format!("v{number}")).collect();
        pushed(&mut registry, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let planned = plan(&mut registry);
        assert_eq!(planned.needs_approval, needed, "{keep} of {all}");
        let retained = apply(&mut registry, Some(&planned), false);
        assert_eq!(matches!(retained, Retained::Waits(_)), needed);
        assert_eq!(registry.tags("a").len(), if needed { all } else { keep as usize });
        if needed {
            done(apply(&mut registry, Some(&planned), true));
            assert_eq!(registry.tags("a").len(), keep as usize);
        }
    }
    let mut registry = with(vec![Rule { keep_pushed_within: Some(DAY), ..rule() }]);
    pushed(&mut registry, &["v1"]);
    registry.advance(DAY);
    let planned = plan(&mut registry);
    assert!(planned.needs_approval && planned.warnings == ["every tag of a would be deleted"], "{planned:?}");
}

/// SPEC X52: a repository that is used by digests.
#[test]
fn more_than_a_fifth_of_the_manifests_waits_for_approval() {
    for (old, young, needed) in [(1, 4, false), (2, 7, true), (3, 0, true)] {
        let mut registry = with(vec![Rule { untagged_after: Some(10 * DAY), ..rule() }]);
        let push = |registry: &mut InMemory, number: u32| {
            let image = Manifest::image(AMD64, &number.to_string());
            registry.push("a", image.digest(), &image);
        };
        (0..old).for_each(|number| push(&mut registry, number));
        registry.advance(20 * DAY);
        (old..old + young).for_each(|number| push(&mut registry, number));
        let planned = plan(&mut registry);
        assert_eq!((planned.manifests_deleted, planned.manifests_seen), (old as usize, (old + young) as usize));
        assert_eq!(planned.needs_approval, needed, "{old} of {}", old + young);
        assert_eq!(matches!(apply(&mut registry, None, false), Retained::Waits(_)), needed);
        if needed {
            assert_eq!(done(apply(&mut registry, Some(&planned), true)).manifests_deleted, u64::from(old));
        }
    }
}

/// SPEC X43, X44: nobody has pushed the tag, so it is as old as it was.
#[test]
fn a_tag_whose_list_loses_an_image_or_regains_it_becomes_no_newer() {
    for assemble in [Vec::new(), vec![Pattern::new("**")]] {
        let mut registry = configured(|config| {
            config.retention = vec![last(2), Rule { name: "young".into(), keep_pushed_within: Some(DAY), ..rule() }];
            config.undelete_within = Some(7 * DAY);
            config.assemble = assemble;
        });
        let arm = registry.push_image("a", "v1", ARM64, "v1");
        pushed(&mut registry, &["v1", "v2", "v3"]);
        assert_eq!(going(&plan(&mut registry)), ["v1"]);
        registry.call(delete(manifest("a", arm.digest()))).expect(202);
        assert_eq!(going(&plan(&mut registry)), ["v1"], "its list has lost an image");
        let reference = orlop_core::target::Reference::Digest(arm.digest().parse().expect("a digest"));
        let ambient = registry.memory.ambient();
        let step = registry.registry.undelete("a".parse().expect("a name"), reference, Undeleting::default(), ambient);
        registry.memory.run(step, &RequestBody::default()).expect("it comes back");
        assert_eq!(going(&plan(&mut registry)), ["v1"], "its list has the image again");
    }
}

/// SPEC X48, X50: where deletes can be undone, what a deleted manifest holds stays until that is purged, and no plan says
/// anything else.
#[test]
fn what_can_be_brought_back_keeps_what_it_needs_and_its_referrers() {
    let mut registry = configured(|config: &mut Config| {
        config.retention = vec![Rule { untagged_after: Some(2 * DAY), ..rule() }];
        config.undelete_within = Some(7 * DAY);
    });
    pulled(&mut registry, Vec::new());
    let push = |registry: &mut InMemory, pushed: Manifest| {
        registry.push("a", pushed.digest(), &pushed);
        pushed
    };
    let subject = push(&mut registry, Manifest::image(AMD64, "subject"));
    push(&mut registry, Manifest::artifact("application/x.signature", "one").about(&subject));
    let child = push(&mut registry, Manifest::image(AMD64, "child"));
    let index = push(&mut registry, Manifest::index(&[&child]));
    push(&mut registry, Manifest::artifact("application/x.signature", "two").about(&child));
    registry.call(delete(manifest("a", subject.digest()))).expect(202);
    registry.advance(3 * DAY);
    let planned = plan(&mut registry);
    let going: Vec<String> = planned.manifests.iter().map(|manifest| manifest.digest.to_string()).collect();
    assert_eq!(going, [index.digest()], "neither a child of it, nor a referrer of what was deleted");
    let report = done(apply(&mut registry, Some(&planned), true));
    assert_eq!((report.manifests_deleted, report.manifests_left), (1, 2));
    let mut deleted = 1;
    for _ in 0..20 {
        registry.advance(2 * DAY);
        registry.gc();
        let planned = plan(&mut registry);
        let report = done(apply(&mut registry, Some(&planned), true));
        assert_eq!(report.manifests_deleted, planned.manifests_deleted as u64, "{planned:?}");
        deleted += report.manifests_deleted;
    }
    assert_eq!(deleted, 4);
}

/// SPEC X50: who agrees to what can be undone has not agreed to what cannot.
#[test]
fn a_plan_is_another_one_when_deletes_cannot_be_undone() {
    let config = |within| Config { retention: vec![last(1)], undelete_within: within, ..Config::default() };
    let mut registry = configured(|to| *to = config(Some(7 * DAY)));
    pushed(&mut registry, &["v1", "v2"]);
    let planned = plan(&mut registry);
    for within in [None, Some(Duration::ZERO), Some(DAY)] {
        registry.registry = orlop_core::Registry::new(config(within));
        assert!(matches!(apply(&mut registry, Some(&planned), true), Retained::Changed(_)), "{within:?}");
    }
    assert_eq!(registry.tags("a"), ["v1", "v2"]);
}

/// Begins a run, and does something before it commits for the first time.
fn meanwhile(rules: Vec<Rule>, change: impl FnOnce(&mut InMemory)) -> (InMemory, RetentionReport) {
    let mut registry = with(rules);
    pushed(&mut registry, &["v1", "v2", "v3"]);
    registry.advance(30 * DAY);
    registry.push_image("a", "new", AMD64, "new");
    let mut step = begin(&mut registry, None, true);
    while !matches!(step, Step::Commit(_)) {
        step = registry.memory.perform(step, &RequestBody::default());
    }
    change(&mut registry);
    let report = registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail");
    (registry, done(report))
}

/// SPEC X53.
#[test]
fn what_changes_meanwhile_stays() {
    let (mut registry, report) = meanwhile(vec![last(1)], |registry| {
        registry.push_image("a", "v1", AMD64, "again");
        registry.call(delete(manifest("a", "v2"))).expect(202);
    });
    assert_eq!((report.tags_deleted, report.changed), (1, vec!["v1".to_owned(), "v2".to_owned()]));
    assert_eq!(registry.tags("a"), ["new", "v1"]);
    // Without the newest another tag would be the last.
    let (mut registry, report) =
        meanwhile(vec![last(1)], |registry| drop(registry.call(delete(manifest("a", "new"))).expect(202)));
    assert_eq!((report.tags_deleted, report.changed.len()), (0, 3));
    assert_eq!(registry.tags("a"), ["v1", "v2", "v3"]);
    // It is still there, and is newer still.
    let (mut registry, report) =
        meanwhile(vec![last(1)], |registry| drop(registry.push_image("a", "new", AMD64, "newer")));
    assert_eq!(report.tags_deleted, 3);
    assert_eq!(registry.tags("a"), ["new"]);
    let within = || vec![Rule { keep_pulled_within: Some(10 * DAY), ..rule() }];
    let (mut registry, report) = meanwhile(within(), |registry| pull(registry, "a", "v1"));
    assert_eq!((report.tags_deleted, report.changed), (2, vec!["v1".to_owned()]));
    assert_eq!(registry.tags("a"), ["new", "v1"]);
    let (mut registry, report) = meanwhile(vec![last(1)], |registry| {
        let step = registry.registry.protect("a:v1".parse().expect("a mark"), registry.memory.ambient());
        registry.memory.run(step, &RequestBody::default()).expect("a mark");
    });
    assert_eq!((report.tags_deleted, report.changed), (2, vec!["v1".to_owned()]));
    assert_eq!(registry.tags("a"), ["new", "v1"]);
}

/// SPEC X54.
#[test]
fn what_went_can_be_undeleted_and_is_left_alone_then() {
    let mut registry = configured(|config| {
        config.retention = vec![last(1)];
        config.undelete_within = Some(7 * DAY);
    });
    pushed(&mut registry, &["v1", "v2"]);
    assert_eq!(done(apply(&mut registry, None, true)).tags_deleted, 1);
    assert_eq!(registry.tags("a"), ["v2"]);
    let reference = "v1".parse().map(orlop_core::target::Reference::Tag).expect("a tag");
    let step = registry.registry.undelete(
        "a".parse().expect("a name"),
        reference,
        Undeleting { force: false, named: None },
        registry.memory.ambient(),
    );
    registry.memory.run(step, &RequestBody::default()).expect("it comes back");
    registry.get(manifest("a", "v1")).expect(200);
    let planned = plan(&mut registry);
    assert_eq!(going(&planned), [""; 0]);
    assert_eq!(reason(&planned, "v1"), "it was brought back lately");
    registry.advance(8 * DAY);
    assert_eq!(going(&plan(&mut registry)), ["v1"]);
}
