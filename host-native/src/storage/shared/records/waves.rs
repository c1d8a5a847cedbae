//! A batch of commits as the arrays that the database takes, sorted into waves.
//!
//! Each commit is to be judged after those before it. One that looks at nothing that an earlier one changes, and changes
//! nothing that it does, can be judged together with it; so most batches are one wave. Counters are added to by almost all
//! commits, and sums of them are made in order within a wave.

use std::collections::HashMap;

use orlop_core::effect::{Commit, Durability, Expect};

/// How many waves a batch has at most: what would come later waits for the next batch.
const WAVES: i32 = 8;

/// Above all keys that begin with a prefix: keys are UTF-8, which never has this byte.
const ABOVE: u8 = 0xff;

const ABSENT: i32 = 1;
const PRESENT: i32 = 2;
const EXACTLY: i32 = 3;
const NONE_UNDER: i32 = 4;
const DELETE: i32 = 5;
const PUT: i32 = 6;
const ADD: i32 = 7;

/// A batch in the making.
#[derive(Default)]
pub(super) struct Batch {
    /// In which wave a key is changed last, and whether only by additions.
    changed: HashMap<Vec<u8>, Change>,
    pub(super) durable: bool,
    pub(super) size: usize,
    pub(super) count: i32,
    pub(super) last_wave: i32,
    pub(super) commits: Vec<i32>,
    pub(super) waves: Vec<i32>,
    pub(super) kinds: Vec<i32>,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) values: Vec<Option<Vec<u8>>>,
}

#[derive(Clone, Copy)]
struct Change {
    wave: i32,
    only_added: bool,
}

impl Batch {
    /// Takes a commit in, after those that it has; `false` when that one has to wait for the next batch.
    pub(super) fn take(&mut self, commit: &Commit) -> bool {
        let wave = self.wave(commit);
        if wave >= WAVES {
            return false;
        }
        let number = self.count;
        self.count += 1;
        self.last_wave = self.last_wave.max(wave);
        self.durable |= commit.durability == Durability::Durable;
        let mut op = |kind, key: &[u8], value: Option<&[u8]>| {
            self.size += key.len() + value.map_or(0, <[u8]>::len);
            self.commits.push(number);
            self.waves.push(wave);
            self.kinds.push(kind);
            self.keys.push(key.to_vec());
            self.values.push(value.map(<[u8]>::to_vec));
        };
        for expectation in &commit.expect {
            match expectation {
                Expect::Absent(key) => op(ABSENT, key.as_str().as_bytes(), None),
                Expect::Present(key) => op(PRESENT, key.as_str().as_bytes(), None),
                Expect::Exactly(key, value) => op(EXACTLY, key.as_str().as_bytes(), Some(value)),
                Expect::NoneUnder(prefix) => {
                    let low = prefix.as_str().as_bytes();
                    op(NONE_UNDER, low, Some(&above(low)));
                }
            }
        }
        for key in &commit.delete {
            op(DELETE, key.as_str().as_bytes(), None);
        }
        for (place, (key, value)) in commit.put.iter().enumerate() {
            // A row is changed once in a statement: the last value counts.
            if !commit.put[place + 1..].iter().any(|(later, _)| later == key) {
                op(PUT, key.as_str().as_bytes(), Some(value));
            }
        }
        for (key, more) in &commit.add {
            op(ADD, key.as_str().as_bytes(), Some(more.to_string().as_bytes()));
        }
        let replaced = commit.delete.iter().chain(commit.put.iter().map(|(key, _)| key));
        let added = commit.add.iter().map(|(key, _)| key);
        for (key, only_added) in replaced.map(|key| (key, false)).chain(added.map(|key| (key, true))) {
            let before = self.changed.get(key.as_str().as_bytes()).copied();
            let only_added = only_added && before.is_none_or(|before| before.only_added || before.wave < wave);
            self.changed.insert(key.as_str().as_bytes().to_vec(), Change { wave, only_added });
        }
        true
    }

    /// The first wave in which a commit may be judged.
    fn wave(&self, commit: &Commit) -> i32 {
        if self.changed.is_empty() {
            return 0;
        }
        let after = |change: &Change| change.wave + 1;
        let touched = |key: &orlop_core::keys::Key| self.changed.get(key.as_str().as_bytes()).map_or(0, after);
        let looked_at = commit.expect.iter().map(|expectation| match expectation {
            Expect::Absent(key) | Expect::Present(key) | Expect::Exactly(key, _) => touched(key),
            Expect::NoneUnder(prefix) => {
                let under = |key: &[u8]| key.starts_with(prefix.as_str().as_bytes());
                self.changed.iter().filter(|(key, _)| under(key)).map(|(_, change)| after(change)).max().unwrap_or(0)
            }
        });
        let replaced = commit.delete.iter().chain(commit.put.iter().map(|(key, _)| key)).map(touched);
        let added = commit.add.iter().map(|(key, _)| match self.changed.get(key.as_str().as_bytes()) {
            Some(change) if change.only_added => change.wave,
            Some(change) => after(change),
            None => 0,
        });
        looked_at.chain(replaced).chain(added).max().unwrap_or(0)
    }
}

/// The first text above all that begin with a prefix.
pub(super) fn above(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[ABOVE]].concat()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use orlop_core::keys::{Key, Prefix};

    use super::*;

    fn commit() -> Commit {
        Commit {
            expect: vec![],
            put: vec![],
            add: vec![],
            delete: vec![],
            durability: Durability::Eventual,
            reclaims: false,
        }
    }

    fn key(text: &str) -> Key {
        Key::stored(text)
    }

    fn put(text: &str) -> Commit {
        Commit { put: vec![(key(text), Bytes::from_static(b"1"))], ..commit() }
    }

    fn expecting(expectation: Expect, text: &str) -> Commit {
        Commit { expect: vec![expectation], ..put(text) }
    }

    /// The waves into which these are sorted.
    fn waves(commits: &[Commit]) -> Vec<i32> {
        let mut batch = Batch::default();
        assert!(commits.iter().all(|commit| batch.take(commit)));
        let wave = |number| batch.commits.iter().position(|of| *of == number).map_or(0, |place| batch.waves[place]);
        (0..batch.count).map(wave).collect()
    }

    #[test]
    fn commits_that_share_nothing_are_one_wave() {
        let add = |text: &str| Commit { add: vec![(key("count"), 1)], ..put(text) };
        assert_eq!(waves(&[put("a"), put("b"), expecting(Expect::Absent(key("c")), "c")]), [0, 0, 0]);
        assert_eq!(waves(&[add("a"), add("b"), add("c")]), [0, 0, 0]);
        // To look at what an earlier one looks at too, or to change what an earlier one has looked at, is no matter.
        let read = Expect::Present(key("r"));
        assert_eq!(waves(&[expecting(read.clone(), "a"), expecting(read, "b"), put("r")]), [0, 0, 0]);
    }

    #[test]
    fn a_commit_comes_after_those_that_change_what_it_looks_at_or_changes() {
        assert_eq!(waves(&[put("a"), put("a"), put("a"), put("b")]), [0, 1, 2, 0]);
        for expectation in [
            Expect::Absent(key("a/x")),
            Expect::Present(key("a/x")),
            Expect::Exactly(key("a/x"), Bytes::new()),
            Expect::NoneUnder(Prefix::stored("a/")),
            Expect::NoneUnder(Prefix::stored("")),
        ] {
            assert_eq!(waves(&[put("a/x"), expecting(expectation, "b")]), [0, 1]);
        }
        assert_eq!(waves(&[put("a/x"), expecting(Expect::NoneUnder(Prefix::stored("b/")), "b")]), [0, 0]);
    }

    #[test]
    fn a_counter_that_is_replaced_is_no_counter() {
        let add = Commit { add: vec![(key("a"), 1)], ..commit() };
        assert_eq!(waves(&[put("a"), add.clone(), add.clone(), put("a"), add.clone()]), [0, 1, 1, 2, 3]);
        let looks = expecting(Expect::Absent(key("a")), "b");
        assert_eq!(waves(&[add.clone(), looks, add]), [0, 1, 0]);
    }

    #[test]
    fn what_would_be_a_late_wave_waits() {
        let mut batch = Batch::default();
        assert_eq!((0..20).filter(|_| batch.take(&put("a"))).count(), WAVES as usize);
    }
}
