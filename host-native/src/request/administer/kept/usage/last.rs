//! The last report of usage, which pages and orders are shown of: to make one, all records are read.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use orlop_core::{Timestamp, Usage};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a report is shown at least; one that took long is shown so many times as long as it took.
const SHOWN: Duration = Duration::from_secs(60);
const TIMES: u32 = 10;

/// How many repositories a report has that is kept for longer: some 25 MB.
const ROWS: usize = 100_000;

/// How long it is told that one cannot be made, before it is tried again.
const FAILED: Duration = Duration::from_secs(20);

/// How long a client waits: less than the half minute after which proxies give up.
const PATIENCE: Duration = Duration::from_secs(25);

/// A report, and when it was made.
pub(super) struct Made {
    pub(super) usage: Usage,
    /// What was pushed and deleted from then on may not be in it.
    pub(super) at: Timestamp,
    began: Instant,
    until: Instant,
}

/// The last report, while it is still shown. Whoever has the lock makes one.
#[derive(Clone, Default)]
pub(crate) struct Last(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    made: Option<Arc<Made>>,
    /// Why the last one could not be made, until it is tried again: for whoever did not wait so long.
    failed: Option<(Instant, String)>,
}

/// What is answered to whoever does not get one.
#[derive(Debug)]
pub(super) enum Missing<E> {
    /// It is still being made; whoever comes again later gets it.
    StillMade,
    /// It cannot be made.
    Failed(E),
    /// It could not be made a while ago: with why.
    FailedBefore(String),
    /// Something is wrong with the program.
    Broken,
}

impl Last {
    /// The last report or, if that is too old or was begun before this call though a `fresh` one is wanted, one that is made
    /// now. Whoever has waited in vain for a fresh one gets that as the last one. One is made at a time, and to its end, also when nobody waits for it any more.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or takes longer than a client waits.
    pub(super) async fn get<E: Display + Send + 'static>(
        &self,
        fresh: bool,
        at: Timestamp,
        make: impl Future<Output = Result<Usage, E>> + Send + 'static,
    ) -> Result<Arc<Made>, Missing<E>> {
        let asked = Instant::now();
        let deadline = asked + PATIENCE;
        let mut last = timeout_at(deadline, self.0.clone().lock_owned()).await.map_err(|_| Missing::StillMade)?;
        let shown = |made: &&Arc<Made>| if fresh { made.began >= asked } else { made.until > asked };
        if let Some(made) = last.made.as_ref().filter(shown) {
            return Ok(made.clone());
        }
        if let Some((_, why)) = last.failed.as_ref().filter(|(until, _)| !fresh && *until > asked) {
            return Err(Missing::FailedBefore(why.clone()));
        }
        let this = self.clone();
        let making = tokio::spawn(async move {
            *last = Kept::default();
            let began = Instant::now();
            let usage = match make.await {
                Ok(usage) => usage,
                Err(why) => {
                    tracing::error!("the report of usage cannot be made: {why}");
                    last.failed = Some((Instant::now() + FAILED, why.to_string()));
                    return Err(why);
                }
            };
            let shown = match usage.repositories.len() {
                ..=ROWS => SHOWN.max(began.elapsed().saturating_mul(TIMES)),
                // Whoever waits for it comes again.
                _ => SHOWN,
            };
            let made = Arc::new(Made { usage, at, began, until: Instant::now() + shown });
            last.made = Some(made.clone());
            tokio::spawn(this.forget_after(shown));
            Ok(made)
        });
        match timeout_at(deadline, making).await {
            Ok(Ok(made)) => made.map_err(Missing::Failed),
            // It has panicked, which is logged there.
            Ok(Err(_)) => Err(Missing::Broken),
            Err(_) => Err(Missing::StillMade),
        }
    }

    /// Gives its memory back when it is too old.
    async fn forget_after(self, shown: Duration) {
        let last = Arc::downgrade(&self.0);
        drop(self);
        sleep(shown).await;
        if let Some(last) = last.upgrade() {
            last.lock().await.made.take_if(|made| made.until <= Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use orlop_core::RepositoryUsage;

    use super::*;

    /// Makes reports of so many repositories, slowly, and counts them.
    #[derive(Default, Clone)]
    struct Maker(Arc<AtomicUsize>);

    impl Maker {
        fn make(
            &self,
            rows: usize,
            takes: Duration,
        ) -> impl Future<Output = Result<Usage, &'static str>> + Send + use<> {
            let made = self.0.clone();
            async move {
                sleep(takes).await;
                made.fetch_add(1, Ordering::SeqCst);
                let repositories = vec![RepositoryUsage::default(); rows];
                if rows == 0 { Err("nothing") } else { Ok(Usage { repositories, quotas: Vec::new() }) }
            }
        }

        fn made(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_ask_at_once_get_one_report() {
        let (last, maker) = (Last::default(), Maker::default());
        let get = |fresh| last.get(fresh, Timestamp(7), maker.make(1, Duration::from_secs(5)));
        let (one, other, fresh) = tokio::join!(get(false), get(false), get(true));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(Arc::ptr_eq(&one, &other) && Arc::ptr_eq(&one, &fresh.unwrap()));
        assert_eq!((one.at, maker.made()), (Timestamp(7), 1));
        get(false).await.unwrap();
        assert_eq!(maker.made(), 1);
        sleep(SHOWN * 2).await;
        assert!(last.0.lock().await.made.is_none(), "its memory is given back");
        get(false).await.unwrap();
        assert_eq!(maker.made(), 2);
        get(true).await.unwrap();
        assert_eq!(maker.made(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_takes_long_is_made_to_its_end_for_whoever_comes_again() {
        let (last, maker) = (Last::default(), Maker::default());
        let get = || last.get(false, Timestamp(7), maker.make(1, PATIENCE + PATIENCE / 2));
        assert!(matches!(get().await, Err(Missing::StillMade)));
        assert!(get().await.is_ok());
        assert_eq!(maker.made(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_that_fails_is_kept_and_nothing_large_for_long() {
        let (last, maker) = (Last::default(), Maker::default());
        let get = |rows| last.get(false, Timestamp(7), maker.make(rows, Duration::ZERO));
        assert!(matches!(get(0).await, Err(Missing::Failed("nothing"))));
        assert!(matches!(get(1).await, Err(Missing::FailedBefore(why)) if why == "nothing"));
        sleep(FAILED).await;
        assert_eq!(get(ROWS + 1).await.unwrap().usage.repositories.len(), ROWS + 1);
        get(0).await.unwrap();
        assert_eq!(maker.made(), 2, "it is there for whoever has waited");
        sleep(SHOWN / 2).await;
        let slow = || last.get(true, Timestamp(7), maker.make(ROWS + 1, PATIENCE * 2));
        assert!(matches!(slow().await, Err(Missing::StillMade)));
        sleep(PATIENCE * 2).await;
        assert_eq!(get(1).await.unwrap().usage.repositories.len(), ROWS + 1);
        sleep(SHOWN * 2).await;
        assert!(last.0.lock().await.made.is_none(), "however long it took");
    }
}
