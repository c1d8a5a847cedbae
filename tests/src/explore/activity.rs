//! What must hold of what is kept of what happened.

use std::collections::BTreeMap;
use std::time::Duration;

use orlop_core::Config;
use orlop_core::effect::Value;
use orlop_core::keys::Key;
use orlop_core::memory::Memory;
use serde_json::Value as Json;

use super::scenario::{Call, Scenario};

/// The time of the first key that counts time backwards, in milliseconds.
const LAST: u64 = 99_999_999_999_999;

/// How many are kept at least, where they are not counted.
const MANY: usize = 1000;

/// What was pushed and is there has been told, as long as that is kept.
pub(super) fn hold(memory: &Memory, scenario: &Scenario) -> Result<(), String> {
    if !keeps_all(scenario) {
        return Ok(());
    }
    for (key, value) in &memory.records {
        let Some(name) = key.as_str().strip_prefix("manifest/") else { continue };
        let Ok(record) = serde_json::from_slice::<Json>(value) else { continue };
        let by_itself = ["maintained", "fetched", "imported"].iter().any(|mark| is_set(&record[*mark]));
        let age = memory.now.0.saturating_sub(record["pushed"].as_u64().unwrap_or_default());
        if by_itself || Duration::from_millis(age) > scenario.config.activity_lifetime {
            continue;
        }
        let by = record["by"].as_str().unwrap_or_default();
        if !names(memory).any(|(_, activity)| activity.contains(by)) {
            return Err(format!("nothing tells that {name} was pushed, by the call {by}"));
        }
    }
    Ok(())
}

/// What holds besides at every moment of the calls: each tag that has come or gone is named by an event that says so, and so
/// is each manifest that has gone. Garbage collection tells of nothing.
pub(super) fn hold_told(memory: &Memory, scenario: &Scenario) -> Result<(), String> {
    if !keeps_all(scenario) {
        return Ok(());
    }
    let before = &scenario.before.records;
    let told =
        memory.records.iter().filter(|(key, _)| key.as_str().starts_with("activity/") && !before.contains_key(key));
    let told: Vec<Json> = told.filter_map(|(_, value)| serde_json::from_slice(value).ok()).collect();
    let says = |happening: &str, name: &str, at: char| {
        let (repository, what) = name.split_once(at).unwrap_or((name, ""));
        told.iter().any(|event| {
            let named =
                event["digest"] == what || event["tags"].as_array().is_some_and(|tags| tags.contains(&what.into()));
            event["happening"] == happening && event["repository"] == repository && named
        })
    };
    let names = |records: &BTreeMap<Key, Value>, family: &str, others: &BTreeMap<Key, Value>| {
        let changed = records.keys().filter(|key| !others.contains_key(key));
        changed.filter_map(|key| key.as_str().strip_prefix(family).map(String::from)).collect::<Vec<_>>()
    };
    let collects = scenario.calls.iter().any(|call| matches!(call, Call::Gc));
    for name in names(before, "tag/", &memory.records) {
        ensure(says("delete", &name, ':'), || format!("nothing tells that the tag {name} was deleted"))?;
    }
    for name in names(&memory.records, "tag/", before) {
        ensure(says("push", &name, ':'), || format!("nothing tells that the tag {name} was pushed or undeleted"))?;
    }
    for name in names(before, "manifest/", &memory.records) {
        ensure(collects || says("delete", &name, '@'), || format!("nothing tells that {name} was deleted"))?;
    }
    Ok(())
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn keeps_all(scenario: &Scenario) -> bool {
    let keeps = |config: &Config| !config.activity_lifetime.is_zero() && config.activities >= MANY;
    keeps(&scenario.config) && scenario.other.as_ref().is_none_or(|other| keeps(&other.config))
}

fn is_set(mark: &Json) -> bool {
    !matches!(mark, Json::Null | Json::Bool(false))
}

/// What holds besides when all calls are over and undisturbed, and one of them forgets what is old: nothing old is left, and
/// no more than is to be kept and came since.
pub(super) fn hold_pruned(memory: &Memory, scenario: &Scenario) -> Result<(), String> {
    if !scenario.calls.iter().any(|call| matches!(call, Call::Prune)) {
        return Ok(());
    }
    let began = scenario.before.now.0;
    if let Some((time, name)) = names(memory)
        .find(|(time, _)| Duration::from_millis(began.saturating_sub(*time)) > scenario.config.activity_lifetime)
    {
        return Err(format!("{name} happened at {time}, and is not forgotten"));
    }
    let most = scenario.config.activities + scenario.calls.len();
    match names(memory).count() {
        count if count > most => Err(format!("{count} are kept of what happened, and not {most} at most")),
        _ => Ok(()),
    }
}

/// When what happened, and the name of each.
fn names(memory: &Memory) -> impl Iterator<Item = (u64, &str)> {
    let names = memory.records.keys().filter_map(|key| key.as_str().strip_prefix("activity/"));
    names.filter_map(|name| {
        let backwards: u64 = name.get(..14)?.parse().ok()?;
        Some((LAST - backwards, name))
    })
}
