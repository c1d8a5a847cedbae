//! What clients have pulled, until the core has noted it: many pulls at once, behind all answers.
//!
//! A pull costs a look into a map. One that was seen within the last minutes is passed over, so a tag that is pulled ten
//! thousand times a second is noted as one that is pulled once. The core writes each down once an hour at most, also when
//! several servers see it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orlop_core::{Fault, Pull};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::request::live::Current;
use crate::storage::{Host, RequestBody, ambient};

/// How often pulls are noted.
const EVERY: Duration = Duration::from_secs(10);

/// How long a pull is not handed on again once it was. Beyond that, the core is asked whether it was noted within the hour.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);

/// How many pulls are remembered, of 24 bytes each.
const MOST_REMEMBERED: usize = 1 << 18;

/// How many pulls wait to be noted, of some 300 bytes each. What is more is not noted now, but when it is pulled again.
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
    /// What was handed on, by its hash, and when. Two that have the same hash are one in 2^64.
    remembered: HashMap<u64, Instant>,
    pending: Vec<Pull>,
}

impl Pulls {
    /// A client has pulled something.
    pub(crate) fn note(&self, pull: Pull) {
        self.note_at(pull, Instant::now());
    }

    fn note_at(&self, pull: Pull, now: Instant) {
        let hash = self.hasher.hash_one(&pull);
        let mut seen = self.seen();
        let lately = |at: &Instant| now.saturating_duration_since(*at) < REMEMBERED;
        if seen.pending.len() == MOST_PENDING || seen.remembered.get(&hash).is_some_and(lately) {
            return;
        }
        if seen.remembered.len() == MOST_REMEMBERED {
            seen.remembered.retain(|_, at| lately(at));
            if seen.remembered.len() == MOST_REMEMBERED {
                // What is forgotten costs a question to the records, and writes nothing.
                seen.remembered.clear();
            }
        }
        seen.remembered.insert(hash, now);
        seen.pending.push(pull);
    }

    /// Has the core note what waits for it, every few seconds until `stop`.
    pub(crate) async fn note_regularly(&self, current: Current, host: Arc<Host>, stop: CancellationToken) {
        let mut failing = false;
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            match self.hand_on(&current, &host).await {
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

    /// Has the core note what waits for it when the server stops.
    pub(crate) async fn note_last(&self, current: &Current, host: &Host, noting: JoinHandle<()>) {
        let last = async {
            // It is stopped, but for the notes that it is about to make.
            let _ = noting.await;
            if self.seen().pending.is_empty() { Ok(()) } else { self.hand_on(current, host).await }
        };
        match tokio::time::timeout(LAST, last).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::warn!("what was pulled last is not noted: {fault}"),
            Err(_) => tracing::warn!("what was pulled last is not noted: it takes too long"),
        }
    }

    async fn hand_on(&self, current: &Current, host: &Host) -> Result<(), Fault> {
        let pulls = mem::take(&mut self.seen().pending);
        let step = current.registry().note_pulls(pulls.clone(), ambient());
        let noted = host.run(step, &mut RequestBody::empty()).await;
        if noted.is_err() {
            let mut seen = self.seen();
            let room = MOST_PENDING - seen.pending.len();
            seen.pending.extend(pulls.into_iter().take(room));
        }
        noted
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::digest::Algorithm;

    use super::*;

    fn pull(number: usize) -> Pull {
        let digest = Algorithm::Sha256.digest(&number.to_le_bytes());
        Pull { repository: "team/app".parse().unwrap(), digest, tag: "v1".parse().ok() }
    }

    #[test]
    fn what_was_pulled_lately_is_handed_on_once() {
        let (pulls, now) = (Pulls::default(), Instant::now());
        for _ in 0..10_000 {
            pulls.note_at(pull(1), now);
        }
        pulls.note_at(Pull { tag: None, ..pull(1) }, now);
        assert_eq!(pulls.seen().pending.len(), 2);
        pulls.note_at(pull(1), now + REMEMBERED);
        assert_eq!(pulls.seen().pending.len(), 3);
    }

    #[test]
    fn what_waits_and_what_is_remembered_is_bounded() {
        let (pulls, now) = (Pulls::default(), Instant::now());
        (0..MOST_PENDING + 10).for_each(|number| pulls.note_at(pull(number), now));
        assert_eq!(pulls.seen().pending.len(), MOST_PENDING);
        pulls.seen().pending.clear();
        pulls.note_at(pull(MOST_PENDING), now);
        assert_eq!(pulls.seen().pending.len(), 1, "one for which there was no room is not remembered");
        for number in 0..2 * MOST_REMEMBERED as u64 {
            pulls.seen().pending.clear();
            pulls.note_at(Pull { tag: format!("v{number}").parse().ok(), ..pull(0) }, now);
        }
        assert!(pulls.seen().remembered.len() <= MOST_REMEMBERED);
    }
}
