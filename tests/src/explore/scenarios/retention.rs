//! What is kept: when something was last pulled, and what the rules let go.

use orlop_core::config::Pattern;
use orlop_core::retention::Rule;
use orlop_core::{Config, PullCount, Undeleting};

use super::{HOUR, LAYER, amd64, arm64, new, stocked};
use crate::explore::sample::{artifact, ask, delete, digest, get, index, push};
use crate::explore::scenario::{Call, Scenario};

/// A host notes that the first image was pulled by the tag `v1`.
fn note() -> Call {
    let digest = digest(&amd64());
    let repository = "a".parse().expect("a name");
    let tag = "v1".parse().ok();
    Call::NotePulls(vec![PullCount { repository, digest, tag, asked: 3, fetched: 2, by: vec!["alice".into()] }])
}

/// Last pulls: noted beside what ends what they are of.
pub fn pulls() -> Vec<Scenario> {
    let (amd64, arm64) = (amd64(), arm64());
    let first = digest(&amd64);
    let pushed = |name: &str| stocked(new(name)).given(&push("a", "v1", &amd64));
    let noted = |name: &str| pushed(name).given(&note()).later(HOUR * 2);
    let tidy = Config { untagged_lifetime: Some(HOUR), ..Config::default() };
    let collected = stocked(Scenario::new("note a pull of what is garbage × gc", tidy))
        .given(&push("a", "v1", &amd64))
        .given(&note())
        .given(&delete("a", "v1"))
        .later(HOUR * 25);
    vec![
        pushed("note a pull × note it").at_once([note(), note()]),
        noted("note a pull again × note it").at_once([note(), note()]),
        pushed("note a pull × pull").at_once([note(), get("a", "v1")]),
        pushed("note a pull × delete by tag").at_once([note(), delete("a", "v1")]),
        noted("note a pull again × delete by tag").at_once([note(), delete("a", "v1")]),
        pushed("note a pull × delete by digest").at_once([note(), delete("a", first)]),
        noted("note a pull again × delete by digest").at_once([note(), delete("a", first)]),
        noted("note a pull again × move tag").at_once([note(), push("a", "v1", &arm64)]),
        noted("delete by tag × push it again").at_once([delete("a", "v1"), push("a", "v1", &amd64)]),
        collected.at_once([note(), Call::Gc]),
    ]
}

fn undelete() -> Call {
    Call::Undelete("a".parse().expect("a name"), "v1".parse().expect("a tag"), Undeleting::default())
}

fn retain() -> Call {
    Call::Retain("a".parse().expect("a name"))
}

/// A registry with this rule, which has noted pulls for long.
fn ruled(name: &str, rule: Rule) -> Scenario {
    let rule = Rule { name: "rule".into(), repositories: vec![Pattern::new("**")], ..rule };
    let config = Config { retention: vec![rule], ..Config::default() };
    stocked(Scenario::new(name, config)).given(&Call::NotePulls(Vec::new()))
}

/// Retention beside what changes what it is about. In each one thing goes, so that it is one step.
pub fn retention() -> Vec<Scenario> {
    let (amd64, arm64) = (amd64(), arm64());
    let (first, second) = (digest(&amd64), digest(&arm64));
    let day = HOUR * 24;
    // The tag `v1` goes, and the later one stays.
    let two = |name: &str, rule: Rule| {
        let scenario = ruled(name, rule).given(&push("a", "v1", &amd64)).later(HOUR * 2);
        scenario.given(&push("a", "v2", &arm64)).later(day)
    };
    let old = Rule { tags: vec![Pattern::new("v1")], keep_pushed_within: Some(HOUR), ..Rule::default() };
    let aged = |name: &str| two(name, old.clone());
    let within = Rule { keep_pulled_within: Some(day), ..Rule::default() };
    let pulled = |name: &str| two(name, within.clone());
    // The first image goes, which no tag has ever named.
    let untagged = |name: &str| {
        let rule = Rule { untagged_after: Some(HOUR), ..Rule::default() };
        ruled(name, rule).given(&push("a", first, &amd64)).given(&push("a", "v2", &arm64)).later(day)
    };
    let child = |name: &str| {
        let rule = Rule { untagged_after: Some(HOUR), ..Rule::default() };
        let scenario = ruled(name, rule).given(&push("a", first, &amd64)).given(&push("a", second, &arm64));
        scenario.given(&push("a", "both", &index(&[&amd64, &arm64]))).later(day)
    };
    let signature = artifact(LAYER, &amd64);
    // What goes can be undeleted for a week.
    let kept = |name: &str, rule: Rule| {
        let rule = Rule { name: "rule".into(), repositories: vec![Pattern::new("**")], ..rule };
        let config = Config { retention: vec![rule], undelete_within: Some(day * 7), ..Config::default() };
        let scenario = stocked(Scenario::new(name, config)).given(&Call::NotePulls(Vec::new()));
        scenario.given(&push("a", "v1", &amd64)).given(&push("a", "v2", &arm64)).later(day)
    };
    let tag = |name: &str| kept(name, old.clone());
    let untagged_tag = |name: &str| {
        let rule = Rule { untagged_after: Some(HOUR), ..Rule::default() };
        kept(name, rule).given(&delete("a", "v1")).later(day)
    };
    vec![
        aged("retention × retention").at_once([retain(), retain()]),
        aged("retention × pull").at_once([retain(), get("a", "v1")]),
        aged("retention × push to the tag that goes").at_once([retain(), push("a", "v1", &arm64)]),
        aged("retention × push of the tag that goes again").at_once([retain(), push("a", "v1", &amd64)]),
        aged("retention × move tag that stays").at_once([retain(), push("a", "v2", &amd64)]),
        aged("retention × push under another tag").at_once([retain(), push("a", "v3", &amd64)]),
        aged("retention × delete by tag").at_once([retain(), delete("a", "v1")]),
        aged("retention × delete tag that stays").at_once([retain(), delete("a", "v2")]),
        aged("retention × delete by digest").at_once([retain(), delete("a", first)]),
        aged("retention × gc").at_once([retain(), Call::Gc]),
        aged("retention × note a pull").at_once([retain(), note()]),
        pulled("retention by pulls × note a pull").at_once([retain(), note()]),
        pulled("retention by pulls × delete by tag").at_once([retain(), delete("a", "v1")]),
        untagged("retention of what no tag needs × retention").at_once([retain(), retain()]),
        untagged("retention of what no tag needs × pull by digest").at_once([retain(), get("a", first)]),
        untagged("retention of what no tag needs × tag it").at_once([retain(), push("a", "v1", &amd64)]),
        untagged("retention of what no tag needs × push an index of it")
            .at_once([retain(), push("a", "both", &index(&[&amd64, &arm64]))]),
        untagged("retention of what no tag needs × push a referrer")
            .at_once([retain(), push("a", digest(&signature), &signature)]),
        untagged("retention of what no tag needs × delete by digest").at_once([retain(), delete("a", first)]),
        untagged("retention of what no tag needs × gc").at_once([retain(), Call::Gc]),
        untagged("retention of what no tag needs × note a pull").at_once([retain(), note()]),
        untagged("retention of what no tag needs × list referrers")
            .at_once([retain(), ask("GET", format!("/v2/a/referrers/{first}"))]),
        child("retention × delete the tag of an index").at_once([retain(), delete("a", "both")]),
        child("retention × delete an index by digest")
            .at_once([retain(), delete("a", digest(&index(&[&amd64, &arm64])))]),
        tag("retention × retention, to be undeleted").at_once([retain(), retain()]),
        tag("retention × delete by tag, to be undeleted").at_once([retain(), delete("a", "v1")]),
        tag("retention × delete by digest, to be undeleted").at_once([retain(), delete("a", first)]),
        tag("retention × push to the tag that goes, to be undeleted").at_once([retain(), push("a", "v1", &arm64)]),
        tag("retention × undelete").given(&delete("a", "v1")).at_once([retain(), undelete()]),
        tag("retention × protect").at_once([retain(), Call::Protect("a:v1".parse().expect("a mark"))]),
        untagged_tag("retention of what a deleted tag names × undelete").at_once([retain(), undelete()]),
        untagged_tag("retention of what a deleted tag names × gc").at_once([retain(), Call::Gc]),
    ]
}
