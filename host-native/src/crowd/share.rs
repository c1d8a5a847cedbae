//! How much each client takes of what it may: requests, connections, memory for answers.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::client::Client;

/// What each client may take, and takes.
#[derive(Clone)]
pub(crate) struct Crowd {
    /// How many units each may take.
    most: usize,
    /// How many requests of each may wait for that.
    queue: usize,
    there: Arc<Mutex<HashMap<Client, Member>>>,
}

struct Member {
    room: Arc<Semaphore>,
    /// How many take something or wait for it.
    entries: usize,
    waiting: usize,
}

/// What one takes, until this is dropped.
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
    _entry: Entry,
}

/// One that takes something or waits for it.
struct Entry {
    crowd: Crowd,
    client: Client,
    room: Arc<Semaphore>,
}

/// One that waits.
struct Waiting<'e>(&'e Entry);

impl Crowd {
    /// Each client may take `most` units, and wait for them `queue` times at once.
    pub(crate) fn new(most: usize, queue: usize) -> Self {
        Self { most: most.min(Semaphore::MAX_PERMITS), queue, there: Arc::default() }
    }

    /// One unit, if the client has it left.
    pub(crate) fn enter(&self, client: &Client) -> Option<Slot> {
        self.take(client, 1).ok()
    }

    /// So many units, if the client has them left or gets them within `patience`. Who asks for more than there are gets
    /// all of them.
    pub(crate) async fn enter_within(&self, client: &Client, units: usize, patience: Duration) -> Option<Slot> {
        let entry = match self.take(client, units) {
            Ok(slot) => return Some(slot),
            Err(entry) => entry,
        };
        let waiting = entry.wait(self.queue)?;
        let permit = timeout(patience, entry.room.clone().acquire_many_owned(self.units(units))).await.ok()?.ok()?;
        drop(waiting);
        Some(Slot { _permit: permit, _entry: entry })
    }

    /// How many units the client has taken or waits for, when each takes one.
    pub(crate) fn count(&self, client: &Client) -> usize {
        self.lock().get(client).map_or(0, |member| member.entries)
    }

    fn take(&self, client: &Client, units: usize) -> Result<Slot, Entry> {
        let entry = self.entry(client);
        match entry.room.clone().try_acquire_many_owned(self.units(units)) {
            Ok(permit) => Ok(Slot { _permit: permit, _entry: entry }),
            Err(_) => Err(entry),
        }
    }

    fn units(&self, units: usize) -> u32 {
        u32::try_from(units.min(self.most)).unwrap_or(u32::MAX)
    }

    fn entry(&self, client: &Client) -> Entry {
        let mut there = self.lock();
        let new = || Member { room: Arc::new(Semaphore::new(self.most)), entries: 0, waiting: 0 };
        let member = there.entry(client.clone()).or_insert_with(new);
        member.entries += 1;
        Entry { crowd: self.clone(), client: client.clone(), room: member.room.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Client, Member>> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn wait(&self, queue: usize) -> Option<Waiting<'_>> {
        let mut there = self.crowd.lock();
        let member = there.get_mut(&self.client).filter(|member| member.waiting < queue)?;
        member.waiting += 1;
        Some(Waiting(self))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(member) = self.0.crowd.lock().get_mut(&self.0.client) {
            member.waiting -= 1;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut there = self.crowd.lock();
        if let hash_map::Entry::Occupied(mut member) = there.entry(self.client.clone()) {
            member.get_mut().entries -= 1;
            if member.get().entries == 0 {
                member.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Client {
        Client::at(address.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_what_is_given_back_and_few_wait() {
        let (crowd, alice, bob) = (Crowd::new(2, 1), client("192.0.2.1"), client("192.0.2.2"));
        let within = Duration::from_secs(5);
        let first = crowd.enter(&alice).unwrap();
        let second = crowd.enter(&alice).unwrap();
        assert!(crowd.enter(&alice).is_none());
        assert!(crowd.enter(&bob).is_some(), "each has a share of its own");
        assert!(crowd.enter_within(&alice, 1, within).await.is_none(), "nothing was given back");
        let (waited, refused, ()) = tokio::join!(
            crowd.enter_within(&alice, 1, within),
            async {
                tokio::task::yield_now().await;
                crowd.enter_within(&alice, 1, within).await
            },
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(first);
            }
        );
        assert!(waited.is_some() && refused.is_none());
        drop((waited, second));
        assert!(crowd.lock().is_empty(), "nothing is kept of clients that are gone");
        assert!(crowd.enter_within(&alice, 100, within).await.is_some(), "more than all is all");
    }
}
