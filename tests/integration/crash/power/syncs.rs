//! Every sync is needed: a host that left out any kind of them would be found out.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use super::cut::Cut;
use super::trace::Event;
use super::{Tried, cut_everywhere, recorded};
use crate::random::{Random, switch};

/// What is made durable by a sync of this path, which begins at the data directory's parent.
fn kind(path: &Path) -> &'static str {
    let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => "the name of the data directory",
        ["data"] => "names in the data directory",
        ["data", "records.new"] => "empty records",
        ["data", "records.redb"] => "records",
        ["data", "records.log"] => "the log of the records",
        ["data", "FORMAT.new"] => "the format",
        ["data", "objects"] => "names of pairs of digits",
        ["data", "objects", _] => "names of objects",
        ["data", "objects", _, _] => "bytes of objects",
        _ => panic!("what is made durable by a sync of {}? Say it here", path.display()),
    }
}

/// The worst that may happen, and some of what is in between.
fn plan(random: &mut Random) -> impl FnMut(&Event) -> Vec<Cut> {
    |event| match event {
        Event::Answer { .. } => vec![Cut::Nothing, Cut::Names, Cut::Some(random.word())],
        // While it starts, the store has promised nothing but to open again.
        Event::Rename { .. } | Event::Link { .. } => vec![Cut::Names, Cut::Sizes],
        _ => Vec::new(),
    }
}

#[test]
fn leaving_out_any_kind_of_sync_is_found_out() {
    let Some((seed, recording)) = recorded() else { return };
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let sound = cut_everywhere(
        &recording,
        &mut |_, path| {
            *kinds.entry(kind(path)).or_default() += 1;
            false
        },
        &mut |_| Vec::new(),
    );
    assert!(sound.failure.is_none() && kinds.len() >= 9, "{kinds:?}");
    let mut unnoticed = Vec::new();
    for (name, count) in kinds {
        let lost = &mut |_, path: &Path| kind(path) == name;
        let Tried { tried, failure, .. } = cut_everywhere(&recording, lost, &mut plan(&mut Random::new(seed)));
        let found = failure.map_or_else(|| "NOT FOUND OUT".to_owned(), |failure| failure.chars().take(170).collect());
        println!("{name:32} {count:4} syncs left out, power cut {tried:4}: {found}");
        if found == "NOT FOUND OUT" {
            unnoticed.push(name);
        }
    }
    assert!(unnoticed.is_empty(), "ORLOP_SEED={seed}: these syncs could be left out: {unnoticed:?}");
}

/// After how many answers what a lost sync should have kept has been kept by a later one, as a rule.
const SOON: usize = 25;

/// `ORLOP_EACH_SYNC=5` leaves out every fifth sync of the history, each alone, and says how many of each kind
/// something would be lost without. Where another sync has done its work, one may be left out for nothing, so this is
/// a table for people.
#[test]
fn every_so_many_syncs_are_left_out_alone_by_a_switch() {
    let step = switch("ORLOP_EACH_SYNC", 0);
    if step == 0 {
        return;
    }
    let Some((seed, recording)) = recorded() else { return };
    let mut syncs: Vec<&str> = Vec::new();
    cut_everywhere(
        &recording,
        &mut |_, path| {
            syncs.push(kind(path));
            false
        },
        &mut |_| Vec::new(),
    );
    let mut table: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (number, name) in syncs.iter().enumerate().skip(seed as usize % step).step_by(step) {
        let left = Cell::new(0);
        let lost = &mut |sync, _: &Path| {
            if sync == number {
                left.set(SOON);
            }
            sync == number
        };
        let mut random = Random::new(seed);
        let mut worst = plan(&mut random);
        let failure = cut_everywhere(&recording, lost, &mut |event| {
            if left.get() == 0 {
                return Vec::new();
            }
            left.set(left.get() - usize::from(matches!(event, Event::Answer { .. })));
            worst(event)
        });
        let row = table.entry(name).or_default();
        row.0 += 1;
        row.1 += usize::from(failure.failure.is_some());
    }
    for (name, (count, found)) in table {
        println!("{name:32} {count:4} syncs left out alone, {found:4} of them found out");
    }
}
