//! Is there an order that explains it? Operations on one thing, each from its call to its end, are *linearisable* when
//! some order of them is possible for a registry that has one client at a time, and nothing in it comes before what had
//! ended when it was called.
//!
//! The calls and ends are gone through in time, with all states in which the thing may be (Wing and Gong, as Lowe does
//! it): only when an operation ends must it have had its effect, so only then orders are tried.

mod thing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;

pub use thing::{Seen, Thing};

/// How one thing changes.
pub trait Model: Clone + Eq + Hash {
    /// An operation and what came of it.
    type Seen;

    /// The state after it, if it could have come to that.
    fn after(&self, seen: &Self::Seen) -> Option<Self>;

    /// Whether `first` may be why a later operation came to `second`. An operation that explains none of the others can
    /// be left out, and they are as right or wrong as before.
    fn explains(first: &Self::Seen, second: &Self::Seen) -> bool;
}

/// An operation, with when it was called and when its answer had come, by one clock.
#[derive(Clone, Debug)]
pub struct Event<S> {
    /// What was done, and by whom.
    pub name: String,
    /// When it was called.
    pub called: u64,
    /// When its answer had come. Without an answer, it may have had its effect at any time since, or may still have it,
    /// or never.
    pub ended: Option<u64>,
    /// What came of it; without an answer, the effect that it may have had.
    pub seen: S,
}

impl<S: fmt::Display> fmt::Display for Event<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ended {
            Some(ended) => write!(f, "from {} to {ended}, {}: {}", self.called, self.name, self.seen),
            None => write!(f, "from {} on, {}: may have {}", self.called, self.name, self.seen),
        }
    }
}

/// Looks for an order that explains all events.
///
/// # Errors
///
/// With the place of the first event whose answer no order explains.
pub fn explain<M: Model>(initial: &M, events: &[Event<M::Seen>]) -> Result<(), usize> {
    let calls = events.iter().enumerate().map(|(place, event)| (event.called, false, place));
    let ends = events.iter().enumerate().filter_map(|(place, event)| Some((event.ended?, true, place)));
    let mut moments: Vec<(u64, bool, usize)> = calls.chain(ends).collect();
    // What is called at the moment at which another ends may have come before it.
    moments.sort_unstable();
    let mut open: Vec<usize> = Vec::new();
    let mut possible = vec![Possible { state: initial.clone(), done: BTreeSet::new() }];
    for (_, ends, place) in moments {
        if !ends {
            open.push(place);
            continue;
        }
        possible = with_effect(possible, place, &open, events);
        if possible.is_empty() {
            return Err(place);
        }
        open.retain(|other| *other != place);
    }
    Ok(())
}

/// A state that the thing may be in, and which of the open operations have had their effect then.
struct Possible<M> {
    state: M,
    done: BTreeSet<usize>,
}

/// What is possible once an operation has had its effect, which open ones may have had before it.
fn with_effect<M: Model>(
    before: Vec<Possible<M>>,
    place: usize,
    open: &[usize],
    events: &[Event<M::Seen>],
) -> Vec<Possible<M>> {
    // By how many operations have had their effect, so that what needs the fewest comes first.
    let mut next: BTreeMap<usize, Vec<Possible<M>>> = BTreeMap::new();
    for at in before {
        next.entry(at.done.len()).or_default().push(at);
    }
    let mut tried: HashMap<M, Vec<BTreeSet<usize>>> = HashMap::new();
    let mut after = Vec::new();
    while let Some((_, layer)) = next.pop_first() {
        for mut at in layer {
            let tried = tried.entry(at.state.clone()).or_default();
            if tried.iter().any(|fewer| is_needless(fewer, &at.done, events)) {
                continue;
            }
            tried.push(at.done.clone());
            if at.done.remove(&place) {
                after.push(at);
                continue;
            }
            for &other in open.iter().filter(|other| !at.done.contains(other)) {
                if let Some(state) = at.state.after(&events[other].seen) {
                    let done: BTreeSet<usize> = at.done.iter().copied().chain([other]).collect();
                    next.entry(done.len()).or_default().push(Possible { state, done });
                }
            }
        }
    }
    after
}

/// Where the state is the same, an operation without an answer that has not had its effect may as well never have it: so
/// nothing is possible after its effect that is not possible without.
fn is_needless<S>(fewer: &BTreeSet<usize>, more: &BTreeSet<usize>, events: &[Event<S>]) -> bool {
    fewer.is_subset(more) && more.difference(fewer).all(|place| events[*place].ended.is_none())
}

/// Of events that no order explains, as few as show it.
pub fn shortest<M: Model>(initial: &M, events: &[Event<M::Seen>]) -> Vec<Event<M::Seen>>
where
    M::Seen: Clone,
{
    let Err(failing) = explain(initial, events) else { return events.to_vec() };
    let failed = events[failing].ended.unwrap_or(u64::MAX);
    // What ends later was open at that moment, and explains as much without an end.
    let open_then = |event: &Event<M::Seen>| Event { ended: event.ended.filter(|end| *end <= failed), ..event.clone() };
    let mut left: Vec<_> = events.iter().filter(|event| event.called <= failed).map(open_then).collect();
    let mut place = 0;
    let mut shrank = false;
    loop {
        if place == left.len() {
            if !shrank {
                break;
            }
            (place, shrank) = (0, false);
        }
        let mut without = left.clone();
        let gone = without.remove(place);
        let needed = without.iter().any(|event| M::explains(&gone.seen, &event.seen));
        if !needed && explain(initial, &without).is_err() {
            left = without;
            shrank = true;
        } else {
            place += 1;
        }
    }
    left.sort_by_key(|event| event.called);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(called: u64, ended: impl Into<Option<u64>>, seen: Seen) -> Event<Seen> {
        Event { name: String::new(), called, ended: ended.into(), seen }
    }

    /// Whether these are explained, for a thing that is not there at first.
    fn check(expected: bool, events: &[Event<Seen>]) {
        assert_eq!(explain(&Thing::NOTHING, events).is_ok(), expected, "{events:?}");
    }

    fn put(called: u64, ended: impl Into<Option<u64>>, value: usize) -> Event<Seen> {
        event(called, ended, Seen::Put(value))
    }

    fn got(called: u64, ended: u64, value: impl Into<Option<usize>>) -> Event<Seen> {
        event(called, ended, Seen::Got(value.into()))
    }

    #[test]
    fn a_read_sees_the_last_write_or_one_beside_it() {
        check(true, &[]);
        check(true, &[put(1, 2, 1), got(3, 4, 1)]);
        check(false, &[put(1, 2, 1), got(3, 4, None)]);
        check(true, &[put(1, 4, 1), got(2, 3, None)]);
        check(true, &[put(1, 4, 1), got(2, 3, 1)]);
        check(false, &[put(1, 8, 1), got(2, 3, 1), got(4, 5, None)]);
        check(false, &[put(1, 8, 1), put(2, 7, 2), got(9, 10, 1), got(11, 12, 2)]);
        // One that is called at the moment at which another ends is beside it.
        check(true, &[put(1, 3, 1), got(3, 4, None)]);
    }

    #[test]
    fn what_has_no_answer_has_its_effect_at_any_time_later_or_never() {
        check(true, &[put(1, None, 1), got(2, 3, None)]);
        check(true, &[put(1, None, 1), got(2, 3, 1)]);
        check(true, &[put(1, None, 1), got(2, 3, None), put(4, 5, 2), got(6, 7, 1)]);
        // Once, and not before its call.
        check(false, &[put(1, None, 1), got(2, 3, 1), put(4, 5, 2), got(6, 7, 1)]);
        check(false, &[got(1, 2, 1), put(3, None, 1)]);
        check(true, &[put(1, None, 1), put(1, None, 1), got(2, 3, 1), put(4, 5, 2), got(6, 7, 1)]);
    }

    #[test]
    fn wrong_histories_are_found() {
        // A stale read: another process has not seen what was acknowledged.
        check(false, &[put(1, 2, 1), put(3, 4, 2), got(5, 6, 1)]);
        // A lost write, at once or after a while.
        check(false, &[put(1, 2, 1), got(3, 4, 1), got(5, 6, None)]);
        check(false, &[put(1, 2, 1), put(3, None, 2), got(9, 10, None)]);
        // A tag that is back after its deletion.
        check(false, &[put(1, 2, 1), event(3, 4, Seen::Deleted(true)), got(5, 6, 1)]);
        check(false, &[put(1, 2, 1), event(3, 4, Seen::Deleted(true)), got(5, 6, None), got(7, 8, 1)]);
        check(true, &[put(1, 2, 1), event(3, None, Seen::Deleted(true)), got(5, 6, None), put(7, 8, 1), got(9, 10, 1)]);
        // Nothing to delete, although it is there.
        check(false, &[put(1, 2, 1), event(3, 4, Seen::Deleted(false))]);
        // A value that nobody wrote.
        check(false, &[put(1, 2, 1), got(3, 4, 7)]);
        // Two orders at once.
        check(false, &[put(1, 9, 1), put(1, 9, 2), got(2, 3, 1), got(4, 5, 2), got(6, 7, 1)]);
    }

    #[test]
    fn wrong_uploads_are_found() {
        let of = |expected: bool, events: &[Event<Seen>]| {
            assert_eq!(explain(&Thing::OPENED, events).is_ok(), expected, "{events:?}");
        };
        let chunk = |called, ended, start| event(called, ended, Seen::Appended(start, 10));
        let stands = |called, ended, at| event(called, ended, Seen::Stands(at));
        of(true, &[chunk(1, 2, 0), stands(3, 4, 10), chunk(5, 6, 10), stands(7, 8, 20)]);
        // The offset goes back.
        of(false, &[chunk(1, 2, 0), chunk(3, 4, 10), stands(5, 6, 10)]);
        of(false, &[chunk(1, 2, 0), stands(3, 4, 10), stands(5, 6, 0)]);
        // Two chunks win the same place; one is taken where the session does not stand.
        of(false, &[chunk(1, 4, 0), chunk(2, 3, 0)]);
        of(false, &[chunk(1, 2, 0), chunk(3, 4, 20)]);
        // A chunk is refused as late, although it would be the next.
        of(false, &[chunk(1, 2, 0), event(3, 4, Seen::Late(10))]);
        of(true, &[chunk(1, 2, 0), event(3, 4, Seen::Late(0))]);
        // One without an answer counts whole, in part or not at all, and then it is known.
        let sent = |called, start| event(called, None, Seen::Sent(start, 10));
        of(true, &[sent(1, 0), stands(2, 3, 0), stands(4, 5, 10)]);
        of(true, &[sent(1, 0), stands(2, 3, 4), chunk(4, 5, 4)]);
        of(false, &[sent(1, 0), stands(2, 3, 4), stands(4, 5, 10)]);
        of(false, &[sent(1, 0), stands(2, 3, 11)]);
        // A session that has bytes is not forgotten; one without may be.
        of(true, &[event(1, 2, Seen::Gone)]);
        of(false, &[event(1, 2, Seen::Gone), stands(3, 4, 0)]);
        of(false, &[chunk(1, 2, 0), event(3, 4, Seen::Gone)]);
        of(true, &[chunk(1, 2, 0), event(3, 4, Seen::Finished), event(5, 6, Seen::Gone)]);
        of(false, &[chunk(1, 2, 0), event(3, 4, Seen::Finished), stands(5, 6, 10)]);
    }

    #[test]
    fn of_a_wrong_history_what_shows_it_is_left() {
        let mut events = vec![put(1, 2, 1), put(3, 4, 2), got(5, 6, 1)];
        // Much that is right beside it, before it and after it.
        for number in 0..20 {
            events.push(got(10 * number + 7, 10 * number + 8, 2));
            events.push(put(10 * number + 9, None, 100 + number as usize));
        }
        let left = shortest(&Thing::NOTHING, &events);
        let seen: Vec<Seen> = left.iter().map(|event| event.seen).collect();
        assert_eq!(seen, [Seen::Put(1), Seen::Put(2), Seen::Got(Some(1))]);
        // What is right is left as it is.
        assert_eq!(shortest(&Thing::NOTHING, &events[..2]).len(), 2);
    }

    #[test]
    fn many_operations_without_answers_are_judged_in_time() {
        let mut events: Vec<_> = (0..16).map(|n| put(n, None, n as usize)).collect();
        for n in 0..200 {
            events.push(got(100 + 2 * n, 101 + 2 * n, (n / 20) as usize));
        }
        check(true, &events);
        events.push(got(1000, 1001, 0));
        check(false, &events);
    }
}
