//! Which connections are open, and which of them do nothing: these are closed when there is no room for others.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::crowd::Client;

/// The connections of a server.
#[derive(Clone)]
pub(crate) struct Presences {
    began: Instant,
    open: Arc<Mutex<Vec<Arc<Present>>>>,
}

/// A connection, among those that are open until this is dropped.
pub(crate) struct Presence {
    all: Presences,
    present: Arc<Present>,
}

#[derive(Debug)]
struct Present {
    client: Client,
    began: Instant,
    /// Requests that are being answered.
    running: AtomicUsize,
    /// Since when none is, in microseconds after `began`.
    idle_since: AtomicU64,
    close: CancellationToken,
}

/// What tells of the requests of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<Present>);

/// A request that is being answered, until this is dropped.
pub(crate) struct Busy(Arc<Present>);

impl Presences {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), open: Arc::default() }
    }

    /// One more, which does nothing yet.
    pub(crate) fn enter(&self, address: IpAddr) -> Presence {
        let present = Arc::new(Present {
            client: Client::at(address),
            began: self.began,
            running: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            close: CancellationToken::new(),
        });
        present.rests();
        self.lock().push(present.clone());
        Presence { all: self.clone(), present }
    }

    /// Closes the connection that has been idle for longest, of all or of one client. Says whether there was one.
    pub(crate) fn close_idle(&self, of: Option<&Client>) -> bool {
        let open = self.lock();
        let idle = open.iter().filter(|present| {
            of.is_none_or(|client| present.client == *client)
                && present.running.load(Ordering::Acquire) == 0
                && !present.close.is_cancelled()
        });
        let oldest = idle.min_by_key(|present| present.idle_since.load(Ordering::Relaxed));
        oldest.inspect(|present| present.close.cancel()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Present>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    /// Ends when the connection is to be closed for another.
    pub(crate) fn close(&self) -> CancellationToken {
        self.present.close.clone()
    }

    /// What tells of its requests.
    pub(crate) fn activity(&self) -> Activity {
        Activity(self.present.clone())
    }
}

impl Activity {
    /// A request of the connection has come.
    pub(crate) fn begin(&self) -> Busy {
        self.0.running.fetch_add(1, Ordering::AcqRel);
        Busy(self.0.clone())
    }
}

impl Present {
    fn rests(&self) {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.idle_since.store(now, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rests();
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut open = self.all.lock();
        if let Some(place) = open.iter().position(|present| Arc::ptr_eq(present, &self.present)) {
            open.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_does_nothing_is_closed() {
        let all = Presences::new();
        let pause = || std::thread::sleep(std::time::Duration::from_millis(2));
        let open: Vec<Presence> = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.2"]
            .map(|address| {
                pause();
                all.enter(address.parse().unwrap())
            })
            .into();
        let closed = || -> Vec<bool> { open.iter().map(|presence| presence.close().is_cancelled()).collect() };
        let busy = open[0].activity().begin();
        assert!(all.close_idle(Some(&Client::at("192.0.2.3".parse().unwrap()))));
        assert_eq!(closed(), [false, false, true, false]);
        assert!(all.close_idle(None));
        assert_eq!(closed(), [false, true, true, false], "the first has a request");
        pause();
        drop(busy);
        assert!(all.close_idle(None));
        assert_eq!(closed(), [false, true, true, true], "the first has done something since");
        assert!(all.close_idle(None) && !all.close_idle(None));
        drop(open);
        assert!(all.lock().is_empty());
    }
}
