//! The threads that hash passwords.
//!
//! What hashes has the bound, not what waits: a few threads, and a queue with an end. A client that leaves takes its
//! place in the queue with it, and never leaves work behind that it did not wait for.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::htpasswd::Memory;

/// How many passwords wait to be hashed. One more is told to come again: at some 50 ms each, whoever is last waits for
/// seconds already.
const LONGEST_QUEUE: usize = 128;

/// At most so many threads, each with the memory of one hash, some 20 MiB.
const MOST_THREADS: usize = 4;

/// A thread that has nothing to do for so long ends, and gives its memory back.
const IDLE: Duration = Duration::from_secs(10);

/// Threads that hash passwords, started when they are needed.
pub(super) struct Hashers(Arc<Shared>);

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    threads: usize,
    longest: usize,
    idle: Duration,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

struct Job {
    work: Box<dyn FnOnce(&mut Memory) -> bool + Send>,
    answer: oneshot::Sender<bool>,
}

impl Hashers {
    /// On half of the processors, so that wrong passwords leave the other half to those who push and pull.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with(processors.div_ceil(2).min(MOST_THREADS), LONGEST_QUEUE, IDLE)
    }

    fn with(threads: usize, longest: usize, idle: Duration) -> Self {
        Self(Arc::new(Shared { queue: Mutex::default(), more: Condvar::new(), threads, longest, idle }))
    }

    /// What `work` says, once it is its turn. If this is dropped before, the work is not done.
    ///
    /// # Errors
    ///
    /// At once, when too many wait already.
    pub(super) async fn run(&self, work: impl FnOnce(&mut Memory) -> bool + Send + 'static) -> Result<bool, Full> {
        let (answer, answered) = oneshot::channel();
        self.0.push(Job { work: Box::new(work), answer })?;
        // Without an answer the work has panicked: that makes no password right.
        Ok(answered.await.unwrap_or(false))
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(self: &Arc<Self>, job: Job) -> Result<(), Full> {
        let mut queue = self.queue();
        if queue.jobs.len() >= self.longest {
            queue.jobs.retain(|job| !job.answer.is_closed());
        }
        if queue.jobs.len() >= self.longest {
            return Err(Full);
        }
        queue.jobs.push_back(job);
        if queue.idle < queue.jobs.len() && queue.threads < self.threads {
            let shared = self.clone();
            match std::thread::Builder::new().name("password".into()).spawn(move || shared.work()) {
                Ok(_) => queue.threads += 1,
                // One that runs does it; when there is none, the client is told to come again.
                Err(error) => {
                    tracing::error!("no thread can be started to check a password: {error}");
                    if queue.threads == 0 {
                        queue.jobs.clear();
                        return Err(Full);
                    }
                }
            }
        }
        drop(queue);
        self.more.notify_one();
        Ok(())
    }

    fn work(&self) {
        let mut memory = Memory::default();
        while let Some(Job { work, answer }) = self.next() {
            if answer.is_closed() {
                continue;
            }
            if let Ok(told) = catch_unwind(AssertUnwindSafe(|| work(&mut memory))) {
                let _ = answer.send(told);
            }
        }
    }

    /// The next job; none after a while without any.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            queue.idle += 1;
            let (woken, waited) = self.more.wait_timeout(queue, self.idle).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if waited.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// Work that ends when it is told to, on the only thread there is.
    fn occupied(hashers: &Arc<Hashers>) -> mpsc::Sender<()> {
        let (end, ended) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let hashers = hashers.clone();
        tokio::spawn(async move {
            let work = move |_: &mut Memory| {
                let _ = begin.send(());
                ended.recv().is_ok()
            };
            hashers.run(work).await
        });
        tokio::task::block_in_place(|| begun.recv().unwrap());
        end
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_client_that_leaves_takes_its_work_with_it() {
        let hashers = Arc::new(Hashers::with(1, 4, IDLE));
        let end = occupied(&hashers);
        let done = Arc::new(AtomicUsize::new(0));
        let count = |done: &Arc<AtomicUsize>| {
            let done = done.clone();
            move |_: &mut Memory| done.fetch_add(1, Ordering::SeqCst) < usize::MAX
        };
        for _ in 0..100 {
            // Each waits in the queue, until it leaves.
            let left = tokio::time::timeout(Duration::from_millis(1), hashers.run(count(&done))).await;
            assert!(left.is_err(), "{left:?}");
        }
        let waiting = tokio::spawn({
            let (hashers, work) = (hashers.clone(), count(&done));
            async move { hashers.run(work).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        end.send(()).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(true));
        assert_eq!(done.load(Ordering::SeqCst), 1, "only what was waited for");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_more_than_the_queue_holds_is_told_so_at_once() {
        let hashers = Arc::new(Hashers::with(1, 4, IDLE));
        let end = occupied(&hashers);
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let hashers = hashers.clone();
                tokio::spawn(async move { hashers.run(|_| true).await })
            })
            .collect();
        while hashers.0.queue().jobs.len() < 4 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hashers.run(|_| true).await, Err(Full));
        assert_eq!(hashers.0.queue().threads, 1);
        end.send(()).unwrap();
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Ok(true));
        }
    }

    #[tokio::test]
    async fn a_thread_that_has_nothing_to_do_gives_its_memory_back_and_comes_again() {
        let hashers = Hashers::with(2, 4, Duration::from_millis(20));
        for _ in 0..3 {
            assert_eq!(hashers.run(|_| true).await, Ok(true));
            assert!(hashers.0.queue().threads <= 1, "one is enough for one");
            let deadline = std::time::Instant::now() + Duration::from_secs(60);
            while hashers.0.queue().threads > 0 {
                assert!(std::time::Instant::now() < deadline, "it does not end");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    #[tokio::test]
    async fn work_that_panics_is_no_right_password_and_ends_nothing_else() {
        let hashers = Hashers::with(1, 4, IDLE);
        assert_eq!(hashers.run(|_| panic!("as a test asks")).await, Ok(false));
        assert_eq!(hashers.run(|_| true).await, Ok(true));
    }
}
