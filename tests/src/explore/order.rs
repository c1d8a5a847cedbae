//! What may come of calls that are made at once: what comes of making them one after the other, in some order.
//!
//! A schedule is right when an order explains it: one in which the calls, made one at a time and undisturbed, get
//! the same answers and leave the registry serving the same. A call that had ended before another began stands
//! before it. A call that failed or was cut off by a crash may stand in the order or be left out.
//!
//! A garbage collection is not one step but many, each of them right by itself. So before each call in the order a
//! garbage collection may come as far as any of its commits, and in the end what is found may lie anywhere between what
//! there is before a garbage collection and after it.

use std::collections::HashMap;
use std::rc::Rc;

use orlop_core::Step;
use orlop_core::memory::{Memory, RequestBody};

use super::mutation::Mutation;
use super::observation::{self, Observation};
use super::scenario::{Begun, Call, Scenario, change_upstreams, filled};
use super::world::PASSED;

/// One order, and what comes of it.
#[derive(Debug)]
struct Order {
    /// The calls in it, garbage collections left out.
    sequence: Vec<usize>,
    /// The answers, as text, by number of call.
    answers: Vec<Option<String>>,
    /// What the registry serves after it.
    seen: Rc<Observation>,
    /// The same after one more garbage collection, where there are any.
    least: Rc<Observation>,
    /// The same after time has passed and a garbage collection been made.
    after: Rc<Observation>,
}

/// Every order of the calls of a scenario.
#[derive(Debug)]
pub(super) struct Orders {
    orders: Vec<Order>,
    /// What a garbage collection takes out of the store as it was before: in the middle of a garbage collection it may
    /// still be there.
    passing: Observation,
}

/// How far a schedule got.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    /// The answers that clients may rely on, as text, by number of call.
    pub(super) answers: &'a [Option<String>],
    /// Which calls may have happened without an answer.
    pub(super) possible: &'a [bool],
    /// For each call the calls that had ended when it began, one bit for each.
    pub(super) before: &'a [u32],
    pub(super) seen: &'a Observation,
    pub(super) after: &'a Observation,
}

impl Orders {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let (collections, calls): (Vec<usize>, Vec<usize>) =
            (0..scenario.calls.len()).partition(|call| matches!(scenario.calls[*call], Call::Gc));
        // Of several, that by the clock which is ahead: it takes all that the others take.
        let collection = collections.into_iter().max_by_key(|call| scenario.ambient(*call).now);
        let mut made = Made { scenario, collection, orders: Vec::new(), known: HashMap::new() };
        for sequence in sequences(&calls) {
            made.go_on(&sequence, 0, &scenario.before, &vec![None; scenario.calls.len()]);
        }
        let orders = made.orders;
        let mut passing = Observation::new();
        if let Some(collection) = collection {
            let mut memory = scenario.before.clone();
            passing = observation::observe(scenario, &memory);
            self::gc(scenario, &mut memory, collection, usize::MAX);
            let collected = observation::observe(scenario, &memory);
            passing.retain(|what, answer| collected.get(what) != Some(answer));
        }
        Self { orders, passing }
    }

    /// Whether some order explains an outcome.
    pub(super) fn explain(&self, outcome: &Outcome<'_>) -> Result<(), String> {
        let told = |order: &&Order| order.fits(outcome);
        if self.orders.iter().filter(told).any(|order| order.leaves(outcome, &self.passing)) {
            return Ok(());
        }
        let Some(nearest) = self.orders.iter().filter(told).min_by_key(|order| order.distance(outcome)) else {
            return Err(format!("no order of the calls gives these answers: {:#?}", outcome.answers));
        };
        Err(format!(
            "no order of the calls leaves the registry like this with the answers {:#?}\nnearest is {:?}\n\
             now and not then: {:#?}\nthen and not now: {:#?}\nafter a garbage collection now and not then: {:#?}\n\
             after a garbage collection then and not now: {:#?}",
            outcome.answers,
            nearest.sequence,
            observation::difference(outcome.seen, &nearest.seen),
            observation::difference(&nearest.least, outcome.seen),
            observation::difference(outcome.after, &nearest.after),
            observation::difference(&nearest.after, outcome.after),
        ))
    }
}

/// The orders in the making.
struct Made<'s> {
    scenario: &'s Scenario,
    collection: Option<usize>,
    orders: Vec<Order>,
    /// What there is to see of the stores that orders have led to, by fingerprint.
    known: HashMap<u64, [Rc<Observation>; 3]>,
}

impl Made<'_> {
    /// Makes the calls from the one at `place` on, after each part of a garbage collection that there can be before it.
    fn go_on(&mut self, sequence: &[usize], place: usize, memory: &Memory, answers: &[Option<String>]) {
        let mut commits = 0;
        loop {
            let mut memory = memory.clone();
            let is_all = self.collection.is_none_or(|call| gc(self.scenario, &mut memory, call, commits));
            match sequence.get(place) {
                Some(call) => {
                    let mut answers = answers.to_vec();
                    answers[*call] = call_alone(self.scenario, *call, &mut memory);
                    self.go_on(sequence, place + 1, &memory, &answers);
                }
                None => self.end(sequence, &memory, answers),
            }
            if is_all {
                return;
            }
            commits += 1;
        }
    }

    fn end(&mut self, sequence: &[usize], memory: &Memory, answers: &[Option<String>]) {
        let (scenario, collecting) = (self.scenario, self.collection);
        let known = self.known.entry(super::store::fingerprint(memory)).or_insert_with(|| {
            // The core is not the broken one here, so that this is what the other one is held against.
            let examined = super::examine(scenario, Mutation::None, memory);
            let super::Examined { seen, after } =
                examined.unwrap_or_else(|what| panic!("{}: one call after the other: {what}", scenario.name));
            let least = collecting.map_or(seen.clone(), |call| {
                let mut memory = memory.clone();
                gc(scenario, &mut memory, call, usize::MAX);
                Rc::new(observation::observe(scenario, &memory))
            });
            [seen, least, after]
        });
        let [seen, least, after] = known.clone();
        self.orders.push(Order { sequence: sequence.to_vec(), answers: answers.to_vec(), seen, least, after });
    }
}

/// Makes a call undisturbed, and says what it is answered.
fn call_alone(scenario: &Scenario, call: usize, memory: &mut Memory) -> Option<String> {
    match scenario.begin(call) {
        Begun::Answering(step) => {
            let response = memory.run(step, &scenario.body(call));
            filled(memory, response).map(|response| observation::text(&response))
        }
        Begun::Waiting(time) => {
            memory.advance(time);
            Some(PASSED.into())
        }
        Begun::Changing(request, body) => {
            change_upstreams(memory, request, body);
            Some(PASSED.into())
        }
        Begun::Collecting(_) => None,
    }
}

impl Order {
    /// Whether it has the calls that it must, none that it may not, in an order that can be, with these answers.
    fn fits(&self, outcome: &Outcome<'_>) -> bool {
        let place = |call: usize| self.sequence.iter().position(|other| *other == call);
        let answered = outcome.answers.iter().enumerate().all(|(call, answer)| match (answer, place(call)) {
            (Some(answer), Some(_)) => self.answers[call].as_ref() == Some(answer),
            // A chunk that another one overtook is refused and changes nothing. The refusal is the answer to a
            // race: made one after the other, chunks that do not say where they belong would all be taken.
            (Some(answer), None) => answer.starts_with("416"),
            (None, Some(_)) => outcome.possible[call],
            (None, None) => true,
        });
        answered
            && self.sequence.iter().enumerate().all(|(at, call)| {
                let later = &self.sequence[at + 1..];
                later.iter().all(|later| outcome.before[*call] & (1 << later) == 0)
            })
    }

    fn leaves(&self, outcome: &Outcome<'_>, passing: &Observation) -> bool {
        self.least.iter().all(|entry| is_in(entry, outcome.seen))
            && outcome.seen.iter().all(|entry| is_in(entry, &self.seen) || is_in(entry, passing))
            && *outcome.after == *self.after
    }

    fn distance(&self, outcome: &Outcome<'_>) -> usize {
        observation::difference(&self.least, outcome.seen).len()
            + observation::difference(outcome.seen, &self.seen).len()
            + observation::difference(outcome.after, &self.after).len()
            + observation::difference(&self.after, outcome.after).len()
    }
}

fn is_in((what, answer): (&String, &String), observation: &Observation) -> bool {
    observation.get(what) == Some(answer)
}

/// Collects garbage until so many commits are done and what follows the last of them, up to the next. `true` when that
/// is the whole garbage collection.
fn gc(scenario: &Scenario, memory: &mut Memory, call: usize, mut commits: usize) -> bool {
    let Begun::Collecting(mut step) = scenario.begin(call) else { return true };
    loop {
        step = match step {
            Step::Respond(report) | Step::Answered(report, _) => {
                assert_eq!(report.fault, None, "a garbage collection of a sound store");
                return true;
            }
            Step::Commit(_) if commits == 0 => return false,
            asking => {
                commits -= usize::from(matches!(asking, Step::Commit(_)));
                memory.perform(asking, &RequestBody::default())
            }
        };
    }
}

/// Every sequence of some of these, each at most once.
fn sequences(of: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for (at, first) in of.iter().enumerate() {
        let others: Vec<usize> = [&of[..at], &of[at + 1..]].concat();
        all.extend(sequences(&others).into_iter().map(|rest| [vec![*first], rest].concat()));
    }
    all
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_are_sixteen_sequences_of_some_of_three() {
        let all = super::sequences(&[0, 1, 2]);
        assert_eq!(all.len(), 16);
        assert!(all.contains(&vec![2, 0]));
    }
}
