//! Is there an order that explains it? A search over the operations that may come next, remembering what was tried
//! (Wing and Gong, with the memory of Lowe).

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

/// How one thing changes.
pub(super) trait Model: Clone + Eq + Hash {
    /// An operation and what came of it.
    type Seen;

    /// The state after it, if it could have come to that.
    fn after(&self, seen: &Self::Seen) -> Option<Self>;
}

/// An operation that was done from one moment to another.
#[derive(Clone, Debug)]
pub(super) struct Event<S> {
    pub(super) name: String,
    pub(super) called: usize,
    pub(super) ended: usize,
    pub(super) seen: S,
}

impl<S: fmt::Display> fmt::Display for Event<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}, {}: {}", self.called, self.ended, self.name, self.seen)
    }
}

/// Whether some order of at most 64 events explains them all.
pub(super) fn linearisable<M: Model>(initial: &M, events: &[Event<M::Seen>]) -> bool {
    assert!(events.len() <= 64, "a history is short enough for a set of bits");
    let all = if events.len() == 64 { u64::MAX } else { (1 << events.len()) - 1 };
    let mut tried = HashSet::new();
    let mut open = vec![(0u64, initial.clone())];
    while let Some((done, state)) = open.pop() {
        if done == all {
            return true;
        }
        if !tried.insert((done, state.clone())) {
            continue;
        }
        let left = || events.iter().enumerate().filter(|(n, _)| done & (1 << n) == 0);
        // What had ended before another began comes before it.
        let first_end = left().map(|(_, event)| event.ended).min().unwrap_or(usize::MAX);
        for (n, event) in left().filter(|(_, event)| event.called < first_end) {
            if let Some(next) = state.after(&event.seen) {
                open.push((done | 1 << n, next));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register: `(true, v)` writes, `(false, v)` reads.
    impl Model for u8 {
        type Seen = (bool, u8);

        fn after(&self, &(write, value): &(bool, u8)) -> Option<u8> {
            (write || *self == value).then_some(value)
        }
    }

    fn check(events: &[(usize, usize, bool, u8)], expected: bool) {
        let events: Vec<_> = events
            .iter()
            .map(|&(called, ended, write, value)| Event { name: String::new(), called, ended, seen: (write, value) })
            .collect();
        assert_eq!(linearisable(&0u8, &events), expected);
    }

    #[test]
    fn a_read_sees_the_last_write_or_one_beside_it() {
        check(&[], true);
        check(&[(1, 2, true, 1), (3, 4, false, 1)], true);
        check(&[(1, 2, true, 1), (3, 4, false, 0)], false);
        check(&[(1, 4, true, 1), (2, 3, false, 0)], true);
        check(&[(1, 4, true, 1), (2, 3, false, 1)], true);
        check(&[(1, 8, true, 1), (2, 3, false, 1), (4, 5, false, 0)], false);
        check(&[(1, 8, true, 1), (2, 7, true, 2), (9, 10, false, 1), (11, 12, false, 2)], false);
    }
}
