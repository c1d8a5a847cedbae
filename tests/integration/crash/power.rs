//! Power cuts: at every point of a recorded history, with what a disk may keep and lose then.

mod cut;
mod disk;
mod recording;
mod syncs;
mod trace;

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use self::cut::{Cut, Found};
use self::disk::Disk;
use self::recording::Recording;
pub(crate) use self::recording::can_trace;
use self::trace::Event;
use crate::journal::{Ledger, Sent};
use crate::random::{Random, seed, switch};
use crate::reachable::gc_and_look;
use crate::served::InProcess;
use crate::server::scratch;
use crate::skipping::skipped;
use crate::verify::verify;

/// How many cuts of any kind are tried after each change of a name: that one of them loses both names of a file is likely.
const RENAMED: usize = 60;

/// `ORLOP_POWER_CUTS=100000` tries about so many.
#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_point() {
    let Some((seed, recording)) = recorded() else { return };
    let wanted = switch("ORLOP_POWER_CUTS", 700);
    let mut random = Random::new(seed);
    // Before an answer goes out is where a promise is, so each of these is tried with the worst; the rest by lot.
    let lots = (recording.events.len() / wanted.max(1)).max(1);
    let each = (wanted / recording.events.len()).max(1);
    let result = cut_everywhere(&recording, &mut |_, _| false, &mut |event| {
        let mut cuts = Vec::new();
        if matches!(event, Event::Answer { .. }) {
            cuts.push(Cut::Nothing);
        }
        // Of what is named at once only some may be kept.
        if matches!(event, Event::Rename { .. } | Event::Link { .. }) {
            cuts.extend((0..RENAMED).map(|_| Cut::Some(random.word())));
        }
        if random.once_in(lots) {
            cuts.extend((0..each).map(|_| any(&mut random)));
        }
        cuts
    });
    let events = recording.events.len();
    println!("{} power cuts in a history of {events} events, {} of them answers", result.tried, result.answers);
    if let Some(failure) = result.failure {
        panic!("ORLOP_SEED={seed}: {failure}");
    }
    assert!(result.tried > wanted / 4, "only {} were tried", result.tried);
}

/// A cut of any kind.
fn any(random: &mut Random) -> Cut {
    match random.below(9) {
        0 => Cut::Nothing,
        1 => Cut::Everything,
        2 => Cut::Names,
        3 => Cut::Sizes,
        4 => Cut::Bytes,
        _ => Cut::Some(random.word()),
    }
}

/// A history, if one can be recorded here.
fn recorded() -> Option<(u64, Recording)> {
    if let Err(reason) = can_trace() {
        skipped("power cuts, which need strace (apt-get install strace)", &reason);
        return None;
    }
    let seed = seed();
    Some((seed, Recording::make(seed)))
}

struct Tried {
    /// How many different directories were opened.
    tried: usize,
    answers: usize,
    failure: Option<String>,
}

/// Goes through a history, and after each event tries the cuts that `plan` wants, until one fails. The syncs that
/// `lost` names, by their number and their path, do not happen.
fn cut_everywhere(
    recording: &Recording,
    lost: &mut dyn FnMut(usize, &Path) -> bool,
    plan: &mut dyn FnMut(&Event) -> Vec<Cut>,
) -> Tried {
    let mut disk = Disk::new(&recording.top);
    let mut answers: HashMap<u16, usize> = HashMap::new();
    let mut seen = HashSet::new();
    let mut random = Random::new(recording.events.len() as u64);
    let (mut tried, mut syncs) = (0, 0);
    for (number, event) in recording.events.iter().enumerate() {
        disk.happen(event, &mut |path| {
            syncs += 1;
            lost(syncs - 1, path)
        });
        if let Event::Answer { port } = event {
            *answers.entry(*port).or_default() += 1;
        }
        let answered: usize = answers.values().sum();
        for cut in plan(event) {
            let found = cut.of(&disk);
            if !seen.insert((found.print(), answered)) {
                continue;
            }
            tried += 1;
            let ledger = recording.ledger(&answers);
            if let Err(error) = survives(&found, &ledger, &recording.sent, random.once_in(8)) {
                let failure = format!("{cut:?} after event {number} ({}), {answered} answers: {error}", told(event));
                return Tried { tried, answers: answered, failure: Some(failure) };
            }
        }
    }
    Tried { tried, answers: answers.values().sum(), failure: None }
}

/// Opens a directory that was found after a power cut, and looks whether everything is there that must be.
fn survives(found: &Found, ledger: &Ledger, sent: &Sent, collects: bool) -> Result<(), String> {
    let directory = scratch();
    found.write(directory.path()).map_err(|error| error.to_string())?;
    let data = directory.path().join("data");
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let mut host = InProcess::open(&data)?;
        let found = verify(&mut host, ledger, sent, || true)?;
        drop(host);
        if collects {
            // What sessions were finished to be is no manifest's, and goes.
            gc_and_look(&data, &found, sent)?;
        }
        Ok(())
    }));
    looked.unwrap_or_else(|panic| Err(format!("a panic: {:?}", panic.downcast_ref::<String>())))
}

/// An event in a line.
fn told(event: &Event) -> String {
    let text = match event {
        Event::Write { fd, at, bytes } => format!("write of {} bytes to {fd} at {at:?}", bytes.len()),
        other => format!("{other:?}"),
    };
    text.chars().take(200).collect()
}
