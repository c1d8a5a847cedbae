//! Every interleaving, every crash, every fault: the core under exploration.
//!
//! A [`Scenario`] is a prepared store and a few calls made at once. [`explore`] lets their effects happen in every
//! order, one at a time, on the memory host; at every moment it looks what a crash would leave, and in every order
//! it lets the storage fail once, at every effect, with the effect done and with it not done. What must hold is in
//! `invariants` (what the records say) and `order` (what the calls were told).
//!
//! No order is left out, but not every order is walked to its end. A call is a function of what it has been told,
//! so two schedules that have left the same store and told each call the same have the same futures: where one
//! comes to a place that another has been at, it is cut short, and the futures seen from there count for both.
//! That subsumes every rule about effects that commute (two reads, a part received while another call commits):
//! in whichever order they come, they lead to the same place.

mod activity;
pub mod choices;
mod invariants;
mod mirrored;
pub mod mutation;
mod observation;
mod order;
pub mod pool;
mod pulled;
pub mod sample;
pub mod scenario;
pub mod scenarios;
mod store;
mod world;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use orlop_core::memory::{Memory, RequestBody, request};

use choices::Choices;
use mutation::Mutation;
use observation::Observation;
use order::{Orders, Outcome};
pub use scenario::{Call, Scenario};
use store::{Failure, Heard, Store};
use world::World;

/// What is tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// Lets the storage fail once in a schedule, at each effect.
    pub failures: bool,
    /// What is broken on purpose.
    pub mutation: Mutation,
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Orders of effects, those with a failure included. There may be more than 2^64.
    pub schedules: f64,
    /// Places that they come to.
    pub places: usize,
    /// Crashes: at every place, once for each number of commits that may be lost.
    pub crashes: usize,
    /// Stores that were examined.
    pub stores: usize,
}

/// Something is wrong: what, and the schedule that shows it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The name of the scenario.
    pub scenario: String,
    /// What does not hold.
    pub what: String,
    /// The effects in their order.
    pub schedule: Vec<String>,
}

/// Tries everything.
///
/// # Errors
///
/// The first violation.
pub fn explore(scenario: &Scenario, extent: Extent) -> Result<Summary, Violation> {
    let mut explorer = Explorer {
        scenario,
        extent,
        orders: Orders::of(scenario),
        examined: HashMap::new(),
        summary: Summary::default(),
    };
    let mut choices = Choices::new();
    // How many schedules lead on from each place.
    let mut futures: HashMap<u64, f64> = HashMap::new();
    // The places that this run has passed, and what the calls had been told there. A repeated run passes the same
    // ones, and need not take it down again.
    let mut passed: Vec<(u64, Vec<Heard>)> = Vec::new();
    while choices.next_run() {
        let mut world = World::new(scenario, extent.mutation);
        let mut at = 0;
        if choices.replaying() {
            world.heard_before(None);
        }
        let ways = loop {
            if !choices.replaying() {
                passed.truncate(at);
                let place = world.fingerprint();
                if let Some(ways) = futures.get(&place) {
                    break *ways;
                }
                futures.insert(place, 0.0);
                passed.push((place, world.heard()));
                explorer.check(&mut world).map_err(|what| explorer.violation(what, &choices.path()))?;
            }
            at += 1;
            let options = world.options(extent.failures);
            if options.is_empty() {
                break 1.0;
            }
            let replaying = choices.replaying();
            let (call, failure) = options[choices.choose(options.len())];
            if replaying && !choices.replaying() {
                world.heard_before(Some(&passed[at - 1].1));
            }
            world.step(call, failure);
            if let Some(object) = world.store.lost {
                let what = format!("{object} is erased, and a database that is restored may name it");
                return Err(explorer.violation(what, &choices.path()));
            }
        };
        passed.iter().for_each(|(place, _)| *futures.entry(*place).or_default() += ways);
        explorer.summary.schedules += ways;
    }
    explorer.summary.places = futures.len();
    explorer.summary.stores = explorer.examined.len();
    Ok(explorer.summary)
}

struct Explorer<'s> {
    scenario: &'s Scenario,
    extent: Extent,
    orders: Orders,
    /// The stores that have been looked at, by fingerprint.
    examined: HashMap<u64, Result<Examined, String>>,
    summary: Summary,
}

/// What there is to see of a store that a crash, or the end of all calls, has left.
#[derive(Clone, Debug)]
struct Examined {
    seen: Rc<Observation>,
    /// After all graces have passed and a garbage collection has been made.
    after: Rc<Observation>,
}

impl Explorer<'_> {
    /// Checks the place that a schedule has come to: what there is if it crashes here, whatever the crash takes,
    /// and if all calls are over, what they have come to.
    fn check(&mut self, world: &mut World<'_>) -> Result<(), String> {
        if let Some(answer) = world.failed_by_itself() {
            return Err(format!("a call failed although the storage did not: {answer}"));
        }
        if let Some(wrong) = world.wrong() {
            return Err(format!("a client gets other bytes than those of the digest: {wrong}"));
        }
        if world.is_endless() {
            return Err("a call goes on for ever".into());
        }
        if world.is_over() && !world.has_failed() {
            invariants::hold_undisturbed(&world.store.memory)?;
            activity::hold_pruned(&world.store.memory, self.scenario)?;
            pulled::hold_counted(&world.store.memory, self.scenario)?;
            if self.scenario.is_purged() && world.has_purged() {
                invariants::hold_purged(&world.store.memory, scenarios::SECRET)?;
            }
        }
        if self.scenario.purges_only_deleted() {
            invariants::hold_there(&world.store.memory, &self.scenario.before, &world.brought())?;
        }
        let (possible, before) = (world.possible(), world.before());
        let crashed = world.answers(true);
        for (lost, memory) in world.store.after_crash().enumerate() {
            let Examined { seen, after } = self.examine(&memory)?;
            self.summary.crashes += 1;
            if self.scenario.is_in_steps() {
                continue;
            }
            let outcome =
                |answers| Outcome { answers, possible: &possible, before: &before, seen: &seen, after: &after };
            let explained = self.orders.explain(&outcome(&crashed));
            explained.map_err(|what| format!("after a crash here that takes {lost} commits: {what}"))?;
            if lost == 0 && world.is_over() {
                self.orders.explain(&outcome(&world.answers(false)))?;
            }
        }
        Ok(())
    }

    fn examine(&mut self, memory: &Memory) -> Result<Examined, String> {
        match self.examined.entry(store::fingerprint(memory)) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(unknown) => unknown.insert(examine(self.scenario, self.extent.mutation, memory)).clone(),
        }
    }

    /// Walks the way again, to tell it.
    fn violation(&self, what: String, path: &[usize]) -> Violation {
        let mut world = World::new(self.scenario, self.extent.mutation);
        world.told = Some(Vec::new());
        for choice in path {
            let (call, failure) = world.options(self.extent.failures)[*choice];
            world.step(call, failure);
        }
        let schedule = world.told.unwrap_or_default();
        Violation { scenario: self.scenario.name.clone(), what, schedule }
    }
}

/// Looks at a store, lets the graces pass, collects garbage, and looks again; then takes all tags away and does the
/// same once more, to see what only tags have held.
fn examine(scenario: &Scenario, mutation: Mutation, memory: &Memory) -> Result<Examined, String> {
    let collected = |what: String| format!("after the last garbage collection: {what}");
    invariants::hold(memory, scenario)?;
    activity::hold_told(memory, scenario)?;
    let seen = Rc::new(observation::observe(scenario, memory));
    let mut store = Store::new(memory.clone(), mutation);
    gc_at_last(scenario, &mut store).map_err(collected)?;
    let mut after = observation::observe(scenario, &store.memory);
    untag(scenario, &mut store.memory);
    gc_at_last(scenario, &mut store).map_err(collected)?;
    let untagged = observation::observe(scenario, &store.memory);
    after.extend(untagged.into_iter().map(|(what, answer)| (format!("without tags: {what}"), answer)));
    Ok(Examined { seen, after: Rc::new(after) })
}

/// Lets all graces pass, collects garbage, and checks what is left, as often as it takes. Where objects are kept, they go
/// with the one after.
fn gc_at_last(scenario: &Scenario, store: &mut Store) -> Result<(), String> {
    let keep = scenario.config.keep_erased;
    if !keep.is_zero() {
        *store = store.clone().keeping();
    }
    for _ in 0..scenario.collections() {
        store.memory.advance(scenario.long_enough());
        gc(scenario, store)?;
    }
    if !keep.is_zero() {
        const LEAST: Duration = Duration::from_millis(1);
        store.memory.advance(keep - LEAST);
        gc(scenario, store)?;
        store.kept = None;
        store.memory.advance(LEAST);
        gc(scenario, store)?;
    }
    invariants::hold_after_gc(&store.memory)
}

fn gc(scenario: &Scenario, store: &mut Store) -> Result<(), String> {
    let mut heard = Heard::default();
    let mut step = scenario.registry.gc(store.memory.ambient());
    let report = loop {
        match step {
            orlop_core::Step::Respond(report) | orlop_core::Step::Answered(report, _) => break report,
            _ if heard.outcomes > world::ENDLESS => return Err("it goes on for ever".into()),
            asking => step = store.perform(asking, &RequestBody::default(), Failure::None, &mut heard),
        }
    };
    report.fault.map_or(Ok(()), Err)?;
    if let Some(object) = store.lost {
        return Err(format!("{object} is erased too early"));
    }
    invariants::hold(&store.memory, scenario)
}

/// Deletes every tag.
fn untag(scenario: &Scenario, memory: &mut Memory) {
    memory.records.retain(|key, _| key.as_str() != "meta/protected");
    let tags = memory.records.keys().filter_map(|key| key.as_str().strip_prefix("tag/")).map(str::to_string);
    for tag in tags.collect::<Vec<_>>() {
        let target = format!("/v2/{}", tag.replacen(':', "/manifests/", 1));
        memory.call(&scenario.registry, &request("DELETE", target), "");
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.what)?;
        self.schedule.iter().try_for_each(|effect| writeln!(f, "    {effect}"))
    }
}

impl std::error::Error for Violation {}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.places += other.places;
        self.crashes += other.crashes;
        self.stores += other.stores;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedules, places, crashes, stores } = self;
        write!(f, "{schedules:.3e} schedules over {places} places, {crashes} crashes, {stores} stores")
    }
}
