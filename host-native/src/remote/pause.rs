//! The pause that a registry asks for with 429 (RFC 6585, 4): one for all requests with the same login.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;
use tokio::time::Instant;

/// How long the first pause is when the registry does not say; it doubles each time.
const FIRST: Duration = Duration::from_secs(5);

/// The longest pause, whatever the registry says: it may have been set up wrong, or mean harm.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// How long a registry is not asked.
#[derive(Debug, Default)]
pub(super) struct Pause(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    until: Option<Instant>,
    /// How many 429 without a time there were since the last answer of another kind.
    untold: u32,
}

impl Pause {
    /// How much is left of the pause, if there is one.
    pub(super) fn left(&self) -> Option<Duration> {
        let until = self.0.lock().unwrap_or_else(PoisonError::into_inner).until?;
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// Begins after a 429, and says for how long. A pause that ends later stays.
    pub(super) fn begin(&self, headers: &HeaderMap) -> Duration {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Requests that were under way when the pause began make it no longer.
        let in_force = state.until.is_some_and(|until| until > now);
        let pause = match retry_after(headers) {
            Some(told) => told.clamp(Duration::from_secs(1), LONGEST),
            None if in_force => Duration::ZERO,
            None => {
                state.untold += 1;
                FIRST.saturating_mul(1 << (state.untold - 1).min(16)).min(LONGEST)
            }
        };
        let until = state.until.map_or(now + pause, |until| until.max(now + pause));
        state.until = Some(until);
        until - now
    }

    /// The registry answers.
    pub(super) fn end(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold = 0;
    }
}

/// The time of `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_as_long_as_the_registry_says_within_bounds() {
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(61));
        let past = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
        for (value, seconds) in [("7", 7), ("0", 1), (past.as_str(), 1), ("86400", 900), ("99999999999999999999", 5)] {
            assert_eq!(Pause::default().begin(&after(value)), Duration::from_secs(seconds), "{value}");
        }
        let told = Pause::default().begin(&after(&soon)).as_secs();
        assert!((55..=61).contains(&told), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_without_a_time_doubles_until_the_registry_answers() {
        let (pause, none) = (Pause::default(), HeaderMap::new());
        assert_eq!(pause.left(), None);
        for seconds in [5, 10, 20, 40, 80, 160, 320, 640, 900, 900] {
            assert_eq!(pause.begin(&none), Duration::from_secs(seconds));
            // What was under way already.
            assert_eq!(pause.begin(&none), Duration::from_secs(seconds));
            tokio::time::advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
            assert_eq!(pause.left(), Some(Duration::from_millis(1)));
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(pause.left(), None);
        }
        pause.end();
        assert_eq!(pause.begin(&none), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_pause_does_not_end_a_longer_one() {
        let pause = Pause::default();
        pause.begin(&after("60"));
        assert_eq!(pause.begin(&after("1")), Duration::from_secs(60));
    }
}
