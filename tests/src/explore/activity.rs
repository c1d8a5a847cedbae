//! What must hold of what is kept of what happened.

use std::time::Duration;

use orlop_core::Config;
use orlop_core::memory::Memory;
use serde_json::Value as Json;

use super::scenario::{Call, Scenario};

/// The time of the first key that counts time backwards, in milliseconds.
const LAST: u64 = 99_999_999_999_999;

/// How many are kept at least, where they are not counted.
const MANY: usize = 1000;

/// What was pushed and is there has been told, as long as that is kept.
pub(super) fn hold(memory: &Memory, scenario: &Scenario) -> Result<(), String> {
    let keeps = |config: &Config| !config.activity_lifetime.is_zero() && config.activities >= MANY;
    if !keeps(&scenario.config) || scenario.other.as_ref().is_some_and(|other| !keeps(&other.config)) {
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
