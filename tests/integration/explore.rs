//! Every scenario in every order, with a crash and a failure of the storage at every effect.
//!
//! `ORLOP_EXPLORE=full` tries all triples of operations, and pairs with failures; `ORLOP_SEED` repeats a run.

use std::time::{Duration, Instant, SystemTime};

use orlop_conformance::explore::pool::Pool;
use orlop_conformance::explore::scenario::{Call, Scenario};
use orlop_conformance::explore::{Extent, Summary, explore, mutation, scenarios};
use orlop_core::effect::Committed;
use orlop_core::{Response, Step};

const WITH_FAILURES: Extent = Extent { failures: true, mutation: mutation::Mutation::None };
const WITHOUT_FAILURES: Extent = Extent { failures: false, ..WITH_FAILURES };

/// Explores all of these and prints what was tried; fails with every violation at its end.
fn all(family: &str, extent: Extent, scenarios: impl IntoIterator<Item = Scenario>) {
    let begun = Instant::now();
    let mut total = Summary::default();
    let mut violations = Vec::new();
    let mut count = 0;
    for scenario in scenarios {
        let begun = Instant::now();
        count += 1;
        match explore(&scenario, extent) {
            Ok(summary) => {
                println!("{:>6.2} s  {}: {summary}", begun.elapsed().as_secs_f64(), scenario.name);
                total += summary;
            }
            Err(violation) => violations.push(violation.to_string()),
        }
    }
    println!("{family}: {count} scenarios, {total} in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(violations.is_empty(), "{} violations\n{}", violations.len(), violations.join("\n"));
}

fn in_full() -> bool {
    std::env::var("ORLOP_EXPLORE").is_ok_and(|extent| extent == "full")
}

#[test]
fn blobs() {
    all("blobs", WITH_FAILURES, scenarios::blobs());
}

#[test]
fn uploads() {
    all("uploads", WITH_FAILURES, scenarios::uploads());
}

#[test]
fn manifests() {
    all("manifests", WITH_FAILURES, scenarios::manifests());
}

#[test]
fn lists() {
    all("lists", WITH_FAILURES, scenarios::lists());
}

#[test]
fn collections() {
    all("collections", WITH_FAILURES, scenarios::collections());
}

#[test]
fn crowds() {
    all("crowds", WITHOUT_FAILURES, scenarios::crowds());
}

#[test]
fn quotas() {
    all("quotas", WITH_FAILURES, scenarios::quotas());
}

#[test]
fn recounts() {
    all("recounts", WITH_FAILURES, scenarios::recounts());
}

#[test]
fn sign_ins() {
    all("sign-ins", WITH_FAILURES, scenarios::sign_ins());
}

#[test]
fn api_tokens() {
    all("API tokens", WITH_FAILURES, scenarios::api_tokens());
}

#[test]
fn limits() {
    all("limits", WITH_FAILURES, scenarios::limits());
}

#[test]
fn listeners() {
    all("listeners", WITH_FAILURES, scenarios::listeners());
}

#[test]
fn activities() {
    all("activities", WITH_FAILURES, scenarios::activities());
}

#[test]
fn damage() {
    all("damage", WITH_FAILURES, scenarios::damage());
}

#[test]
fn unverified() {
    all("unverified", WITH_FAILURES, scenarios::unverified());
}

#[test]
fn damaged_manifests() {
    all("damaged manifests", WITH_FAILURES, scenarios::damaged_manifests());
}

#[test]
fn damaged_mirrors() {
    all("damaged mirrors", WITH_FAILURES, scenarios::damaged_mirrors());
}

#[test]
fn gathers() {
    all("gathers", WITH_FAILURES, scenarios::gathers());
}

#[test]
fn kept() {
    all("kept", WITH_FAILURES, scenarios::kept());
}

#[test]
fn imports() {
    all("imports", WITH_FAILURES, scenarios::imports());
}

#[test]
fn mirrors() {
    all("mirrors", WITH_FAILURES, scenarios::mirrors());
}

#[test]
fn mirror_crowds() {
    let extent = if in_full() { WITH_FAILURES } else { WITHOUT_FAILURES };
    all("mirror crowds", extent, scenarios::mirror_crowds());
}

#[test]
fn pulls() {
    all("pulls", WITH_FAILURES, scenarios::pulls());
}

#[test]
fn retention() {
    all("retention", WITH_FAILURES, scenarios::retention());
}

#[test]
fn hosts() {
    all("hosts", WITH_FAILURES, scenarios::hosts());
}

#[test]
fn undeletes() {
    all("undeletes", WITH_FAILURES, scenarios::undeletes());
}

#[test]
fn pieces() {
    all("pieces", WITH_FAILURES, scenarios::pieces());
}

#[test]
fn undeleted_lists() {
    all("undeleted lists", WITH_FAILURES, scenarios::undeleted_lists());
}

#[test]
fn purges() {
    all("purges", WITH_FAILURES, scenarios::purges());
}

/// Only in full, since they take minutes; with all failures they would take an hour.
#[test]
fn long_purges() {
    if in_full() {
        all("long purges", WITHOUT_FAILURES, scenarios::long_purges());
    }
}

#[test]
fn purges_of_all() {
    all("purges of all", WITH_FAILURES, scenarios::purges_of_all());
}

#[test]
fn undelete_crowds() {
    all("undelete crowds", WITHOUT_FAILURES, scenarios::undelete_crowds());
}

fn pairs(family: &str, pool: &Pool) {
    let extent = if in_full() { WITH_FAILURES } else { WITHOUT_FAILURES };
    let pairs = pool.choices(2).into_iter().filter(|pair| in_full() || !pool.is_large(pair));
    all(family, extent, pairs.map(|pair| pool.at_once(&pair)));
}

#[test]
fn all_pairs() {
    pairs("all pairs", &Pool::usual());
}

#[test]
fn all_pairs_where_tags_become_lists() {
    pairs("all pairs where tags become lists", &Pool::assembling());
}

/// As many triples as go into some seconds, another choice each time; or all.
#[test]
fn triples() {
    let pools = [Pool::usual(), Pool::assembling()];
    if in_full() {
        // The large ones last: some minutes are enough for all others, and not for these.
        for large in [false, true] {
            for pool in &pools {
                let triples = pool.choices(3).into_iter().filter(|triple| pool.is_large(triple) == large);
                let family = if large { "all triples of several garbage collections" } else { "all triples" };
                all(family, WITHOUT_FAILURES, triples.map(|triple| pool.at_once(&triple)));
            }
        }
        return;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = std::env::var("ORLOP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now.as_millis() as u64);
    println!("ORLOP_SEED={seed}");
    let mut random = seed;
    let end = Instant::now() + Duration::from_secs(10);
    let drawn = std::iter::from_fn(|| {
        let pool = &pools[below(&mut random, pools.len())];
        let mut triple = [0; 3];
        loop {
            triple.fill_with(|| below(&mut random, pool.len()));
            if !pool.is_large(&triple) {
                break;
            }
        }
        (Instant::now() < end).then(|| pool.at_once(&triple))
    });
    all("triples", WITHOUT_FAILURES, drawn);
}

/// A number below `end` (SplitMix64).
fn below(random: &mut u64, end: usize) -> usize {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*random ^ (*random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % end as u64) as usize
}

/// A mistake that no scenario finds would not be found if a person made it.
#[test]
fn every_mutation_is_found() {
    let scenarios = scenarios::all();
    let mut unfound = Vec::new();
    for (mutation, usual) in mutation::ALL {
        let begun = Instant::now();
        // First where it was found before: a search through all takes its time.
        let (first, others): (Vec<_>, Vec<_>) = scenarios.iter().partition(|scenario| scenario.name == *usual);
        let extent = Extent { mutation: *mutation, failures: false };
        let found = first.into_iter().chain(others).find_map(|scenario| explore(scenario, extent).err());
        match found {
            Some(violation) => {
                let what = violation.what.lines().next().unwrap_or_default();
                let seconds = begun.elapsed().as_secs_f64();
                println!("{seconds:>6.2} s  {mutation:?} is found by {}: {what}", violation.scenario);
            }
            None => unfound.push(mutation),
        }
    }
    assert!(unfound.is_empty(), "nothing finds {unfound:#?}");
}

/// Whatever a call is about, a storage that answers every commit with a conflict is told to come again, after a
/// bounded number of effects. (A call that decides upon one refused commit may say what that means instead.)
#[test]
fn endless_conflicts_end_each_call() {
    for pool in [Pool::usual(), Pool::assembling()] {
        for operation in 0..pool.len() {
            let scenario = pool.at_once(&[operation]);
            let Call::Request(request, body) = &scenario.calls[0] else { continue };
            let mut memory = scenario.before.clone();
            let mut step = scenario.registry.call(request.clone(), scenario.ambient(0));
            let mut effects = 0;
            let response: Response = loop {
                effects += 1;
                assert!(effects < 10_000, "{} goes on for ever", scenario.name);
                step = match step {
                    Step::Respond(response) | Step::Answered(response, _) => break response,
                    Step::Commit(ask) => ask.answer(Ok(Committed::Conflict)),
                    asking => memory.perform(asking, body),
                };
            };
            println!("{:>5} effects, {}: {}", effects, response.status, scenario.name);
            let single = [200, 202, 204, 404, 416];
            assert!(response.status == 503 || single.contains(&response.status), "{}: {response:?}", scenario.name);
        }
    }
}
