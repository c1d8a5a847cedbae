//! What an upstream has said that it does not have.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long that is remembered: shorter than people wait before they try again what they have just pushed.
const REMEMBERED: Duration = Duration::from_secs(30);

/// How many places are remembered at most, each some hundred bytes.
const MOST: usize = 4096;

/// The places that an upstream has nothing at, and until when that is believed.
#[derive(Default)]
pub(super) struct Absences(Mutex<HashMap<String, Instant>>);

impl Absences {
    /// Whether there was nothing at that place a moment ago.
    pub(super) fn has(&self, place: &str) -> bool {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(place).is_some_and(|until| Instant::now() < *until)
    }

    /// There is nothing at that place.
    pub(super) fn add(&self, place: String) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if places.len() >= MOST {
            places.retain(|_, until| now < *until);
        }
        // With as many as this there is somebody who guesses names; the upstream is asked for others again.
        if places.len() < MOST {
            places.insert(place, now + REMEMBERED);
        }
    }
}
