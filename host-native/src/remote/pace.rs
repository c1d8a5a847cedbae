//! How fast other registries are asked at most, whatever they would take.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use crate::settings::Rate;

/// How many requests are sent in a time, and how many bytes move in a second. Without bounds nothing waits.
#[derive(Debug, Default)]
pub struct Pace {
    requests: Option<Requests>,
    bytes: Option<(DefaultDirectRateLimiter, NonZeroU32)>,
}

/// A bound on requests. They go out evenly, since a registry may count by the second what it says by the hour. And each
/// has one of so many places, which is free again when that time has passed since its answer: so the registry never sees
/// more in such a time, though some are longer on their way than others.
#[derive(Debug)]
struct Requests {
    per: Duration,
    apart: Duration,
    queue: Mutex<Queue>,
    freed: UnboundedSender<Instant>,
}

#[derive(Debug)]
struct Queue {
    /// When each place that no request has is free.
    places: UnboundedReceiver<Instant>,
    /// When the next request may be sent.
    next: Instant,
}

/// A request that may be sent now. It counts as under way until this is dropped.
#[must_use]
pub(super) struct Turn<'p>(Option<&'p Requests>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(requests) = self.0 {
            let _ = requests.freed.send(Instant::now() + requests.per);
        }
    }
}

impl Pace {
    /// With these bounds: requests, and bytes in a second.
    pub fn new(requests: Option<Rate>, bytes: Option<NonZeroU32>) -> Self {
        let bytes = bytes.map(|number| (RateLimiter::direct(Quota::per_second(number)), number));
        Self { requests: requests.map(Requests::new), bytes }
    }

    /// Waits until the next request may be sent.
    pub(super) async fn request(&self) -> Turn<'_> {
        let Some(requests) = &self.requests else { return Turn(None) };
        let mut queue = requests.queue.lock().await;
        let free = queue.places.recv().await.unwrap_or_else(Instant::now);
        // Whoever gives up from here on gives the place back.
        let turn = Turn(Some(requests));
        sleep_until(free.max(queue.next)).await;
        queue.next = Instant::now() + requests.apart;
        turn
    }

    /// Waits until so many more bytes may have moved.
    pub async fn bytes(&self, mut bytes: usize) {
        let Some((limiter, second)) = &self.bytes else { return };
        while let Some(some) = NonZeroU32::new(u32::try_from(bytes).unwrap_or(u32::MAX).min(second.get())) {
            // No more than a second's worth is asked for at once, so there is always room for it.
            let _ = limiter.until_n_ready(some).await;
            bytes -= some.get() as usize;
        }
    }
}

impl Requests {
    fn new(rate: Rate) -> Self {
        let (freed, places) = unbounded_channel();
        let now = Instant::now();
        for _ in 0..rate.requests.get() {
            let _ = freed.send(now);
        }
        let apart = rate.per / rate.requests.get();
        Self { per: rate.per, apart, queue: Mutex::new(Queue { places, next: now }), freed }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::sleep;

    use super::*;

    fn requests(text: &str) -> Arc<Pace> {
        Arc::new(Pace::new(Some(text.parse().unwrap()), None))
    }

    #[tokio::test(start_paused = true)]
    async fn requests_go_out_evenly() {
        let (pace, began) = (requests("50/s"), Instant::now());
        let mut sent = Vec::new();
        for _ in 0..4 {
            drop(pace.request().await);
            sent.push(began.elapsed().as_millis());
        }
        assert_eq!(sent, [0, 20, 40, 60]);
    }

    /// Each is on its way for another time, and arrives somewhere on it.
    #[tokio::test(start_paused = true)]
    async fn no_more_requests_arrive_within_the_time_than_are_allowed() {
        let (pace, began) = (requests("10/s"), Instant::now());
        let sent = (0..200_u64).map(|number| {
            let pace = pace.clone();
            tokio::spawn(async move {
                let turn = pace.request().await;
                sleep(Duration::from_millis(number * 7919 % 1500)).await;
                let arrived = began.elapsed();
                sleep(Duration::from_millis(number * 104_729 % 300)).await;
                drop(turn);
                arrived
            })
        });
        let mut arrived = Vec::new();
        for sent in sent.collect::<Vec<_>>() {
            arrived.push(sent.await.unwrap());
        }
        arrived.sort();
        let shortest = arrived.windows(11).map(|eleven| eleven[10] - eleven[0]).min().unwrap();
        assert!(shortest >= Duration::from_secs(1), "11 requests within {shortest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_given_up_keeps_no_place() {
        let pace = requests("1/s");
        drop(pace.request().await);
        for _ in 0..5 {
            let soon = tokio::time::timeout(Duration::from_millis(1), pace.request()).await;
            assert!(soon.is_err());
        }
        drop(pace.request().await);
    }

    #[tokio::test]
    async fn bytes_wait_for_their_turn() {
        let pace = Pace::new(None, NonZeroU32::new(1000));
        let began = std::time::Instant::now();
        pace.bytes(1200).await;
        let passed = began.elapsed().as_millis();
        assert!(passed >= 195, "a second's worth is free, 200 bytes are waited for: {passed}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_bounds_nothing_waits() {
        let began = Instant::now();
        let free = Pace::default();
        for _ in 0..1000 {
            drop(free.request().await);
        }
        free.bytes(1 << 30).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
