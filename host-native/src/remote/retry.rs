//! Asking again, where that may help.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::failure::Failure;

/// How often something is tried that fails at once.
const TRIES: u32 = 5;

/// How long to wait after the first failure; it doubles each time.
const FIRST: Duration = Duration::from_millis(500);

/// How long the pauses of a registry are waited for, all together.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How often something was tried in vain.
#[derive(Debug)]
pub(super) struct Retries {
    left: u32,
    wait: Duration,
    until: Instant,
}

impl Retries {
    pub(super) fn new() -> Self {
        Self { left: TRIES - 1, wait: FIRST, until: Instant::now() + PATIENCE }
    }

    /// Waits until it may help to try again.
    ///
    /// # Errors
    ///
    /// The failure itself, when that will not help, or it has been tried often enough.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<(), Failure> {
        match failure {
            Failure::Unreachable(_) if self.left > 0 => {
                sleep(self.wait).await;
                self.left -= 1;
                self.wait *= 2;
                Ok(())
            }
            Failure::Paused(left) if Instant::now() + left < self.until => {
                sleep(left).await;
                Ok(())
            }
            other => Err(other),
        }
    }
}

/// Tries again after [`Failure::Unreachable`], a few times and each time later, and after [`Failure::Paused`] when the
/// pause is over.
///
/// # Errors
///
/// The last failure, or the first of another kind.
pub async fn retried<T, Attempt>(mut attempt: impl FnMut() -> Attempt) -> Result<T, Failure>
where
    Attempt: Future<Output = Result<T, Failure>>,
{
    let mut retries = Retries::new();
    loop {
        match attempt().await {
            Err(failure) => retries.after(failure).await?,
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it is tried, and for how long, when it fails so.
    async fn tried(fails: impl Fn(u32) -> Result<(), Failure>) -> (u32, u64) {
        let (mut tries, began) = (0, Instant::now());
        let _ = retried(|| {
            tries += 1;
            std::future::ready(fails(tries))
        })
        .await;
        (tries, began.elapsed().as_millis().try_into().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_help_is_tried_again_and_nothing_else() {
        assert_eq!(tried(|_| Ok(())).await, (1, 0));
        assert_eq!(tried(|_| Err(Failure::Absent)).await, (1, 0));
        assert_eq!(tried(|_| Err(Failure::Unusable(String::new()))).await, (1, 0));
        assert_eq!(tried(|_| Err(Failure::Unreachable(String::new()))).await, (5, 7500));
        let heals = |tries| if tries < 3 { Err(Failure::Unreachable(String::new())) } else { Ok(()) };
        assert_eq!(tried(heals).await, (3, 1500));
        let pauses = |tries| if tries < 3 { Err(Failure::Paused(Duration::from_secs(600))) } else { Ok(()) };
        assert_eq!(tried(pauses).await, (3, 1_200_000));
        assert_eq!(tried(|_| Err(Failure::Paused(Duration::from_secs(900)))).await.0, 2);
    }
}
