//! The same work for many things at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many things are worth a thread, where they are on a disk of this machine; and how many a thread takes at once.
const WORTH: usize = 32;

impl super::Source {
    /// Does the same with each of some things, on as many threads as this source can serve, and gives what comes of it in
    /// their order.
    pub(crate) fn in_parallel<T: Sync, R: Send>(&self, things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        // Whoever waits for a network waits in vain meanwhile, and a thread costs little beside that.
        let worth = if self.is_remote() { 1 } else { WORTH };
        let threads = self.tree().at_once().min(things.len() / worth + 1);
        if threads <= 1 {
            return things.iter().map(work).collect();
        }
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::<(usize, Vec<R>)>::new());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let from = next.fetch_add(worth, Ordering::Relaxed);
                        if from >= things.len() {
                            return;
                        }
                        let some = &things[from..things.len().min(from + worth)];
                        let results: Vec<R> = some.iter().map(&work).collect();
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((from, results));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(from, _)| *from);
        done.into_iter().flat_map(|(_, results)| results).collect()
    }
}
