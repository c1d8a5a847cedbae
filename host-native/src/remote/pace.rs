//! How fast other registries are asked at most, whatever they would take.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// How many requests are sent in a minute, and how many bytes move in a second. Without bounds nothing waits.
#[derive(Debug, Default)]
pub struct Pace {
    requests: Option<DefaultDirectRateLimiter>,
    bytes: Option<(DefaultDirectRateLimiter, NonZeroU32)>,
}

impl Pace {
    /// With these bounds.
    pub fn new(requests_per_minute: Option<NonZeroU32>, bytes_per_second: Option<NonZeroU32>) -> Self {
        // One at a time: a minute that began with a burst would have twice as many.
        let one_by_one = |number| RateLimiter::direct(Quota::per_minute(number).allow_burst(NonZeroU32::MIN));
        let bytes = |number| (RateLimiter::direct(Quota::per_second(number)), number);
        Self { requests: requests_per_minute.map(one_by_one), bytes: bytes_per_second.map(bytes) }
    }

    /// Waits until the next request may be sent.
    pub(super) async fn request(&self) {
        if let Some(requests) = &self.requests {
            requests.until_ready().await;
        }
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn requests_and_bytes_wait_for_their_turn() {
        let pace = Pace::new(NonZeroU32::new(60 * 50), NonZeroU32::new(1000));
        let began = Instant::now();
        for _ in 0..=10 {
            pace.request().await;
        }
        let passed = began.elapsed().as_millis();
        assert!((195..2000).contains(&passed), "10 waits of 20 ms: {passed}");
        let began = Instant::now();
        pace.bytes(1200).await;
        let passed = began.elapsed().as_millis();
        assert!((195..2000).contains(&passed), "a second's worth is free, 200 bytes are waited for: {passed}");
        let began = Instant::now();
        let free = Pace::default();
        free.request().await;
        free.bytes(1 << 30).await;
        assert!(began.elapsed().as_millis() < 1000);
    }
}
