//! What clients have pulled, counted until the core has noted it: many pulls at once, behind all answers.
//!
//! A pull costs a look into a map. What is pulled is handed on within seconds, and again the less often the longer it keeps
//! being pulled: after half a minute, a minute, two, at last every half an hour. So a tag that is pulled ten thousand times a
//! second, by however many users, costs a commit or two an hour, and of one that is pulled now and then it is soon known how
//! often.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orlop_core::config::PULLERS;
use orlop_core::digest::Digest;
use orlop_core::name::{Repository, Tag};
use orlop_core::{Fault, Pull, PullCount};
use tokio::sync::Notify;
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

/// How many different pulls are counted at once, of some 300 bytes each and the names of their users. What is more is not
/// counted. From half of them on all are handed on, so that there is room for others.
const MOST_PENDING: usize = 1 << 14;

/// How long the last pulls may take to be noted when the server stops.
const LAST: Duration = Duration::from_secs(10);

/// The pulls of a server.
#[derive(Default)]
pub(crate) struct Pulls {
    seen: Mutex<Seen>,
    /// When pulls are handed on again, by their hashes. Two that have the same hash are one in 2^64. Who notes has it alone.
    turns: Mutex<HashMap<u64, Turn>>,
    hasher: RandomState,
    /// There is little room left.
    crowded: Notify,
}

/// A manifest, and how it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pulled {
    repository: Repository,
    digest: Digest,
    tag: Option<Tag>,
}

/// How often something was pulled since it was handed on last.
#[derive(Debug, Default)]
struct Counted {
    asked: u64,
    fetched: u64,
    /// The last one last.
    by: Vec<String>,
}

#[derive(Default)]
struct Seen {
    pending: HashMap<Pulled, Counted>,
    /// For how many there was no room.
    lost: u64,
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
        let pending = {
            let mut seen = self.seen();
            seen.add(pull.into());
            seen.pending.len()
        };
        if pending >= MOST_PENDING / 2 {
            self.crowded.notify_one();
        }
    }

    /// Has the core note what it is time for, every few seconds until `stop`.
    pub(crate) async fn note_regularly(&self, current: Current, host: Arc<Host>, stop: CancellationToken) {
        let mut failing = false;
        let next = async || {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.crowded.notified() => {}
            }
        };
        while stop.run_until_cancelled(next()).await.is_some() {
            match self.hand_on(self.due(Instant::now()), &current, &host).await {
                Ok(()) => failing = false,
                Err(fault) => {
                    if !failing {
                        tracing::warn!("what is pulled cannot be noted, and is tried again: {fault}");
                    }
                    failing = true;
                    // However much is pulled: the storage is left alone for a while.
                    if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
                        break;
                    }
                }
            }
        }
    }

    /// Has the core note all that is counted when the server stops.
    pub(crate) async fn note_last(&self, current: &Current, host: &Host, noting: JoinHandle<()>) {
        let last = async {
            // It is stopped, but for the notes that it is about to make.
            let _ = noting.await;
            let all: Vec<_> = mem::take(&mut self.seen().pending).into_iter().map(Counted::of).collect();
            if all.is_empty() { Ok(()) } else { self.hand_on(all, current, host).await }
        };
        match tokio::time::timeout(LAST, last).await {
            Ok(Ok(())) if self.seen().pending.is_empty() => {}
            Ok(Ok(())) => tracing::warn!("not all of what was pulled last is noted: the storage fails"),
            Ok(Err(fault)) => tracing::warn!("what was pulled last is not noted: {fault}"),
            Err(_) => tracing::warn!("what was pulled last is not noted: it takes too long"),
        }
    }

    /// What is to be handed on now. It is forgotten here.
    fn due(&self, now: Instant) -> Vec<PullCount> {
        let (pending, lost) = {
            let mut seen = self.seen();
            (mem::take(&mut seen.pending), mem::take(&mut seen.lost))
        };
        if lost > 0 {
            tracing::warn!("{lost} pulls are not noted: more than {MOST_PENDING} different things are pulled at once");
        }
        // One that is crowded is emptied, however lately they were handed on.
        let is_crowded = pending.len() >= MOST_PENDING / 2;
        let mut turns = self.turns();
        let (mut due, mut early) = (Vec::new(), Vec::new());
        for (pulled, counted) in pending {
            let hash = self.hasher.hash_one(&pulled);
            let turn = turns.get(&hash).copied();
            if !is_crowded && turn.is_some_and(|turn| now.saturating_duration_since(turn.handed_on) < turn.wait) {
                early.push(Counted::of((pulled, counted)));
                continue;
            }
            if turns.len() == MOST_REMEMBERED {
                turns.retain(|_, turn| turn.is_kept(now));
                if turns.len() == MOST_REMEMBERED {
                    // What is forgotten is handed on sooner than it need be, no more.
                    turns.clear();
                }
            }
            turns.insert(hash, Turn::after(turn, now));
            due.push(Counted::of((pulled, counted)));
        }
        drop(turns);
        self.put_back(early);
        due
    }

    /// Has the core note pulls. What it cannot note is counted on, and handed on with the next.
    async fn hand_on(&self, pulls: Vec<PullCount>, current: &Current, host: &Host) -> Result<(), Fault> {
        let step = current.registry().note_pulls(pulls.clone(), ambient());
        let (left, noted) = match host.run(step, &mut RequestBody::empty()).await {
            Ok(left) => (left, Ok(())),
            Err(fault) => (pulls, Err(fault)),
        };
        {
            let mut turns = self.turns();
            for PullCount { repository, digest, tag, .. } in &left {
                let pulled = Pulled { repository: repository.clone(), digest: *digest, tag: tag.clone() };
                turns.remove(&self.hasher.hash_one(&pulled));
            }
        }
        self.put_back(left);
        noted
    }

    fn put_back(&self, pulls: Vec<PullCount>) {
        if !pulls.is_empty() {
            let mut seen = self.seen();
            // What has come meanwhile is later.
            let later = mem::take(&mut seen.pending);
            pulls.into_iter().chain(later.into_iter().map(Counted::of)).for_each(|count| seen.add(count));
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<u64, Turn>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn add(&mut self, PullCount { repository, digest, tag, asked, fetched, by }: PullCount) {
        let has_room = self.pending.len() < MOST_PENDING;
        let counted = match self.pending.entry(Pulled { repository, digest, tag }) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if has_room => entry.insert(Counted::default()),
            Entry::Vacant(_) => {
                self.lost = self.lost.saturating_add(asked);
                return;
            }
        };
        counted.asked = counted.asked.saturating_add(asked);
        counted.fetched = counted.fetched.saturating_add(fetched);
        for user in by {
            // Mostly one pulls again and again.
            if counted.by.last() == Some(&user) {
                continue;
            }
            counted.by.retain(|known| *known != user);
            if counted.by.len() == PULLERS {
                counted.by.remove(0);
            }
            counted.by.push(user);
        }
    }
}

impl Counted {
    fn of((Pulled { repository, digest, tag }, Self { asked, fetched, by }): (Pulled, Self)) -> PullCount {
        PullCount { repository, digest, tag, asked, fetched, by }
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

    fn asked(due: &[PullCount]) -> Vec<u64> {
        due.iter().map(|count| count.asked).collect()
    }

    #[test]
    fn what_is_pulled_is_handed_on_at_once_and_then_less_and_less_often() {
        let (pulls, start) = (Pulls::default(), Instant::now());
        (0..10_000).for_each(|_| pulls.note(pull(1)));
        assert_eq!(asked(&pulls.due(start)), [10_000]);
        assert_eq!(asked(&pulls.due(start)), [0; 0]);
        // It is pulled every ten seconds for a day, each time by another user.
        let (mut handed_on, mut counted) = (0, 0);
        for tick in 1..=8640 {
            pulls.note(Pull { by: format!("user{}", tick % 100), ..pull(1) });
            let due = pulls.due(start + EVERY * tick);
            handed_on += due.len();
            counted += asked(&due).iter().sum::<u64>();
        }
        counted += pulls.seen().pending.values().map(|counted| counted.asked).sum::<u64>();
        assert_eq!(counted, 8640, "none is lost, none counts twice");
        assert!((48..=56).contains(&handed_on), "{handed_on}");
        // After a pause it is handed on at once again.
        let later = start + EVERY * 8640 + WAITS.1 * 2;
        pulls.seen().pending.clear();
        pulls.note(pull(1));
        assert_eq!(asked(&pulls.due(later)), [1]);
        pulls.note(pull(1));
        assert_eq!(asked(&pulls.due(later + WAITS.0)), [1]);
    }

    #[test]
    fn the_last_users_are_known_and_what_they_got() {
        let pulls = Pulls::default();
        for number in 0..10 {
            pulls.note(Pull { by: format!("user{number}"), fetched: number % 2 == 0, ..pull(1) });
        }
        pulls.note(Pull { by: "user5".into(), fetched: false, ..pull(1) });
        let due = pulls.due(Instant::now());
        assert_eq!((due.len(), due[0].asked, due[0].fetched), (1, 11, 5));
        assert_eq!(due[0].by, ["user2", "user3", "user4", "user6", "user7", "user8", "user9", "user5"]);
    }

    #[tokio::test]
    async fn what_waits_and_what_is_remembered_is_bounded() {
        let (pulls, now) = (Pulls::default(), Instant::now());
        (0..MOST_PENDING + 10).for_each(|number| pulls.note(pull(number)));
        pulls.crowded.notified().await;
        assert_eq!(pulls.seen().lost, 10);
        assert_eq!(pulls.due(now).len(), MOST_PENDING);
        // They wait for their next turn, but not where they leave little room.
        (0..MOST_PENDING / 2 - 1).for_each(|number| pulls.note(pull(number)));
        assert_eq!(pulls.due(now).len(), 0);
        pulls.note(pull(MOST_PENDING));
        assert_eq!(pulls.due(now).len(), MOST_PENDING / 2);
        for round in 1..=2 * MOST_REMEMBERED / MOST_PENDING {
            (0..MOST_PENDING).for_each(|number| pulls.note(pull(round * MOST_PENDING + number)));
            assert_eq!(pulls.due(now).len(), MOST_PENDING);
        }
        assert!(pulls.turns().len() <= MOST_REMEMBERED);
    }
}
