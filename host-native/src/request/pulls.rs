//! What clients have pulled, counted until the core has noted it: many pulls at once, behind all answers.
//!
//! A pull costs a look into a map. What is pulled is handed on within seconds, and again the less often the longer it keeps
//! being pulled: after half a minute, a minute, two, at last every half an hour. So a tag that is pulled ten thousand times a
//! second costs a commit or two an hour, and of one that is pulled now and then it is soon known how often.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orlop_core::{Fault, Pull, PullCount};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::request::live::Current;
use crate::storage::{Host, RequestBody, ambient};

/// How often pulls are noted.
const EVERY: Duration = Duration::from_secs(10);

/// How long a pull is counted here once it was handed on, before it is again; at first, and at most.
const WAITS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(30 * 60));

/// For how many pulls it is remembered when they were handed on, of some 50 bytes each.
const MOST_REMEMBERED: usize = 1 << 18;

/// How many different pulls are counted at once, of some 300 bytes each. What is more is not counted.
const MOST_PENDING: usize = 1 << 14;

/// How long the last pulls may take to be noted when the server stops.
const LAST: Duration = Duration::from_secs(5);

/// The pulls of a server.
#[derive(Default)]
pub(crate) struct Pulls {
    seen: Mutex<Seen>,
    hasher: RandomState,
}

#[derive(Default)]
struct Seen {
    /// How often each was pulled since it was handed on last.
    pending: HashMap<Pull, u64>,
    /// When a pull is handed on again, by its hash. Two that have the same hash are one in 2^64.
    turns: HashMap<u64, Turn>,
}

/// When a pull is handed on again.
#[derive(Clone, Copy)]
struct Turn {
    handed_on: Instant,
    wait: Duration,
}

impl Pulls {
    /// A client has pulled something.
    pub(crate) fn note(&self, pull: Pull) {
        self.seen().add(pull.into());
    }

    /// Has the core note what it is time for, every few seconds until `stop`.
    pub(crate) async fn note_regularly(&self, current: Current, host: Arc<Host>, stop: CancellationToken) {
        let mut failing = false;
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            match self.hand_on(self.due(Instant::now()), &current, &host).await {
                Ok(()) => failing = false,
                Err(fault) => {
                    if !failing {
                        tracing::warn!("what is pulled cannot be noted, and is tried again: {fault}");
                    }
                    failing = true;
                }
            }
        }
    }

    /// Has the core note all that is counted when the server stops.
    pub(crate) async fn note_last(&self, current: &Current, host: &Host, noting: JoinHandle<()>) {
        let last = async {
            // It is stopped, but for the notes that it is about to make.
            let _ = noting.await;
            let all = self.all();
            if all.is_empty() { Ok(()) } else { self.hand_on(all, current, host).await }
        };
        match tokio::time::timeout(LAST, last).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::warn!("what was pulled last is not noted: {fault}"),
            Err(_) => tracing::warn!("what was pulled last is not noted: it takes too long"),
        }
    }

    /// What is to be handed on now. It is forgotten here.
    fn due(&self, now: Instant) -> Vec<PullCount> {
        let mut seen = self.seen();
        // One that is full has no room for others: it is emptied, however lately they were handed on.
        let is_full = seen.pending.len() == MOST_PENDING;
        let Seen { pending, turns } = &mut *seen;
        let mut due = Vec::new();
        pending.retain(|pull, times| {
            let hash = self.hasher.hash_one(pull);
            let turn = turns.get(&hash).copied();
            if !is_full && turn.is_some_and(|turn| now.saturating_duration_since(turn.handed_on) < turn.wait) {
                return true;
            }
            due.push(PullCount { pull: pull.clone(), times: *times });
            if turns.len() == MOST_REMEMBERED {
                turns.retain(|_, turn| turn.is_kept(now));
                if turns.len() == MOST_REMEMBERED {
                    // What is forgotten is handed on sooner than it need be, no more.
                    turns.clear();
                }
            }
            turns.insert(hash, Turn::after(turn, now));
            false
        });
        due
    }

    /// All that is counted. It is forgotten here.
    fn all(&self) -> Vec<PullCount> {
        let pending = mem::take(&mut self.seen().pending);
        pending.into_iter().map(|(pull, times)| PullCount { pull, times }).collect()
    }

    /// Has the core note pulls. What it cannot note is counted on.
    async fn hand_on(&self, pulls: Vec<PullCount>, current: &Current, host: &Host) -> Result<(), Fault> {
        let step = current.registry().note_pulls(pulls.clone(), ambient());
        let (left, noted) = match host.run(step, &mut RequestBody::empty()).await {
            Ok(left) => (left, Ok(())),
            Err(fault) => (pulls, Err(fault)),
        };
        let mut seen = self.seen();
        left.into_iter().for_each(|count| seen.add(count));
        noted
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn add(&mut self, PullCount { pull, times }: PullCount) {
        if let Some(counted) = self.pending.get_mut(&pull) {
            *counted = counted.saturating_add(times);
        } else if self.pending.len() < MOST_PENDING {
            self.pending.insert(pull, times);
        }
    }
}

impl Turn {
    /// The turn of what is handed on now.
    fn after(before: Option<Self>, now: Instant) -> Self {
        let (first, most) = WAITS;
        let wait = match before.filter(|turn| turn.is_kept(now)) {
            Some(turn) => (turn.wait * 2).min(most),
            None => first,
        };
        Self { handed_on: now, wait }
    }

    /// Whether what is pulled now keeps being pulled. After a pause it is as if it were pulled for the first time.
    fn is_kept(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.handed_on) < self.wait * 2
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::digest::Algorithm;

    use super::*;

    fn pull(number: usize) -> Pull {
        let digest = Algorithm::Sha256.digest(&number.to_le_bytes());
        let (repository, tag) = ("team/app".parse().unwrap(), "v1".parse().ok());
        Pull { repository, digest, tag, fetched: true, by: String::new() }
    }

    fn times(due: &[PullCount]) -> Vec<u64> {
        due.iter().map(|count| count.times).collect()
    }

    #[test]
    fn what_is_pulled_is_handed_on_at_once_and_then_less_and_less_often() {
        let (pulls, start) = (Pulls::default(), Instant::now());
        (0..10_000).for_each(|_| pulls.note(pull(1)));
        assert_eq!(times(&pulls.due(start)), [10_000]);
        assert_eq!(times(&pulls.due(start)), [0; 0]);
        // It is pulled every ten seconds for a day.
        let (mut handed_on, mut counted) = (0, 0);
        for tick in 1..=8640 {
            pulls.note(pull(1));
            let due = pulls.due(start + EVERY * tick);
            handed_on += due.len();
            counted += times(&due).iter().sum::<u64>();
        }
        counted += times(&pulls.all()).iter().sum::<u64>();
        assert_eq!(counted, 8640, "none is lost, none counts twice");
        assert!((48..=56).contains(&handed_on), "{handed_on}");
        // After a pause it is handed on at once again.
        let later = start + EVERY * 8640 + WAITS.1 * 2;
        pulls.note(pull(1));
        assert_eq!(times(&pulls.due(later)), [1]);
        pulls.note(pull(1));
        assert_eq!(times(&pulls.due(later + WAITS.0)), [1]);
    }

    #[test]
    fn who_pulls_and_how_is_counted_apart() {
        let pulls = Pulls::default();
        for by in ["alice", "bob", "alice"] {
            pulls.note(Pull { by: by.into(), ..pull(1) });
        }
        pulls.note(Pull { fetched: false, ..pull(1) });
        let mut due = times(&pulls.due(Instant::now()));
        due.sort_unstable();
        assert_eq!(due, [1, 1, 2]);
    }

    #[test]
    fn what_waits_and_what_is_remembered_is_bounded() {
        let (pulls, now) = (Pulls::default(), Instant::now());
        (0..MOST_PENDING + 10).for_each(|number| pulls.note(pull(number)));
        assert_eq!(pulls.due(now).len(), MOST_PENDING);
        // They wait for their next turn, but not where they leave no room.
        (0..MOST_PENDING - 1).for_each(|number| pulls.note(pull(number)));
        assert_eq!(pulls.due(now).len(), 0);
        pulls.note(pull(MOST_PENDING));
        assert_eq!(pulls.due(now).len(), MOST_PENDING);
        for round in 1..=2 * MOST_REMEMBERED / MOST_PENDING {
            (0..MOST_PENDING).for_each(|number| pulls.note(pull(round * MOST_PENDING + number)));
            assert_eq!(pulls.due(now).len(), MOST_PENDING);
        }
        assert!(pulls.seen().turns.len() <= MOST_REMEMBERED);
    }
}
