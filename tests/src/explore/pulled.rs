//! What must hold of what is counted of pulls.

use std::collections::BTreeMap;

use orlop_core::PullCount;
use orlop_core::memory::Memory;
use serde_json::Value as Json;

use super::scenario::{Call, Scenario};

/// What holds besides when all calls are over and undisturbed, and all of them note pulls: each counts once.
pub(super) fn hold_counted(memory: &Memory, scenario: &Scenario) -> Result<(), String> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for call in &scenario.calls {
        let Call::NotePulls(pulls) = call else { return Ok(()) };
        for PullCount { repository, digest, tag, asked, fetched, .. } in pulls {
            *counts.entry(format!("pulledmanifest/{repository}@{digest}")).or_default() += fetched;
            if let Some(tag) = tag {
                *counts.entry(format!("pulledtag/{repository}:{tag}")).or_default() += asked;
            }
        }
    }
    for (key, more) in counts {
        let (before, after) = (times(&scenario.before, &key), times(memory, &key));
        if after != before + more {
            return Err(format!("{key} was counted {before} times, pulled {more} times more, and now it is {after}"));
        }
    }
    Ok(())
}

fn times(memory: &Memory, key: &str) -> u64 {
    let record = memory.records.iter().find(|(known, _)| known.as_str() == key);
    let record = record.and_then(|(_, value)| serde_json::from_slice::<Json>(value).ok());
    record.and_then(|record| record["times"].as_u64()).unwrap_or_default()
}
