//! Leases: jobs that one host of several does at a time.
//!
//! A lease saves work, it guards nothing: all that a job does are conditional commits, so two hosts that do it at once,
//! because a clock is wrong or one of them was held up, do no harm. Therefore a lease is not durable. It ends by the
//! time of whoever looks at it, and a holder renews it long before; a renewal expects the lease as the holder has it, so
//! whoever has lost it learns so then.

use alloc::string::String;
use core::fmt;

use uuid::Uuid;

use super::Call;
use super::batch::{Batch, Found};
use crate::ambient::Timestamp;
use crate::config::{ATTEMPTS, LEASE, LEASE_AHEAD};
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect};
use crate::error::Error;
use crate::keys;
use crate::name::Repository;
use crate::record::{self, LeaseRecord};

/// A job that one host does at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Garbage collection.
    Gc,
    /// To make blobs of several objects one.
    Gather,
    /// To count everything.
    Census,
    /// To take blobs out of mirrors that have more bytes than they may.
    Evict,
    /// To delete what the rules of retention let go.
    Retention,
    /// To read everything again, and find what is damaged.
    Scrub,
    /// To forget what happened long ago.
    Activity,
    /// To fetch a blob for a mirror: which, and into which repository.
    Fetch(Repository, Digest),
    /// To copy from or to another registry what the sync of that name says.
    Sync(String),
    /// To tell the [listener](crate::event::Listener) of that name what is in its queue.
    Queue(String),
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gc => f.write_str("garbage collection"),
            Self::Gather => f.write_str("making blobs one object"),
            Self::Census => f.write_str("the census"),
            Self::Evict => f.write_str("eviction"),
            Self::Retention => f.write_str("retention"),
            Self::Scrub => f.write_str("the scrub"),
            Self::Activity => f.write_str("forgetting what happened long ago"),
            Self::Fetch(repository, digest) => write!(f, "the fetch of {repository}@{digest}"),
            Self::Sync(name) => write!(f, "the sync {name}"),
            Self::Queue(listener) => write!(f, "the events for {listener}"),
        }
    }
}

/// When a lease is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// When no other host has it.
    Free,
    /// Now, whoever has it: when a person has asked for the job. The one that had it ends with the job at its next
    /// renewal.
    Now,
}

/// What became of the wish to have a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The host has it.
    Ours(Lease),
    /// Another host has it, until then at least, if it is not released.
    Held(Timestamp),
}

/// A lease that a host has, as far as it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    job: Job,
    record: LeaseRecord,
}

impl Lease {
    /// When it ends, unless it is renewed.
    pub fn until(&self) -> Timestamp {
        self.record.until
    }

    /// How often it was acquired, this time included, since its job is known.
    pub fn generation(&self) -> u64 {
        self.record.generation
    }

    /// Whether it is time to renew it, for half of it is over.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.record.until.since(now) < LEASE / 2
    }
}

impl LeaseRecord {
    /// Whether it is in force.
    fn holds(&self, now: Timestamp) -> bool {
        self.until > now && self.until <= now.after(LEASE_AHEAD)
    }
}

impl Call {
    /// Acquires a lease. The host that has it already, as after a restart, goes on with it, and nothing is written.
    pub(crate) async fn acquire(&self, job: &Job, holder: Uuid, claim: Claim) -> Result<Acquired, Error> {
        let (key, now) = (keys::lease(job), self.ambient.now);
        for _ in 0..ATTEMPTS {
            let [value] = self.get([key.clone()]).await?;
            // A record that does not read holds nothing up: it is replaced.
            let found: Option<LeaseRecord> = value.as_ref().and_then(|value| record::decode(&key, value).ok());
            let generation = match found {
                Some(record) if record.holds(now) && record.holder == holder => {
                    return Ok(Acquired::Ours(Lease { job: job.clone(), record }));
                }
                Some(record) if record.holds(now) && claim == Claim::Free => return Ok(Acquired::Held(record.until)),
                found => found.map_or(1, |found| found.generation.saturating_add(1)),
            };
            let record = LeaseRecord { holder, by: self.ambient.nonce, until: now.after(LEASE), generation };
            let mut batch = Batch::reclaiming();
            batch.expect(value.map_or(Expect::Absent(key.clone()), |value| Expect::Exactly(key.clone(), value)));
            batch.put(key.clone(), &record);
            if self.commit(batch, Durability::Eventual).await? == Committed::Done {
                return Ok(Acquired::Ours(Lease { job: job.clone(), record }));
            }
        }
        Err(Error::Contention)
    }

    /// Renews a lease; nothing when it is another's now.
    pub(crate) async fn renew(&self, lease: Lease) -> Result<Option<Lease>, Error> {
        // It may have ended: as long as nobody else has acquired it, that is as good.
        let record = LeaseRecord { until: self.ambient.now.after(LEASE), ..lease.record.clone() };
        let renewed = Lease { job: lease.job.clone(), record };
        Ok(self.replace(lease, &renewed.record).await?.then_some(renewed))
    }

    /// Ends a lease, if it is still there. How often it was acquired stays known.
    pub(crate) async fn release(&self, lease: Lease) -> Result<(), Error> {
        let ended = LeaseRecord { until: self.ambient.now.min(lease.record.until), ..lease.record.clone() };
        self.replace(lease, &ended).await?;
        Ok(())
    }

    async fn replace(&self, lease: Lease, record: &LeaseRecord) -> Result<bool, Error> {
        let held = Found::written(keys::lease(&lease.job), lease.record);
        let mut batch = Batch::reclaiming();
        batch.expect(held.unchanged());
        batch.put(held.key, record);
        Ok(self.commit(batch, Durability::Eventual).await? == Committed::Done)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use core::time::Duration;

    use super::*;
    use crate::memory::{Memory, RequestBody};
    use crate::{Config, Registry, Step};

    const ONE: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    struct Hosts {
        memory: Memory,
        registry: Registry,
    }

    impl Hosts {
        fn new() -> Self {
            let mut memory = Memory::new();
            memory.now = Timestamp(1_000_000_000);
            Self { memory, registry: Registry::new(Config::default()) }
        }

        fn acquire(&mut self, holder: Uuid, claim: Claim) -> Acquired {
            let step = self.registry.acquire(Job::Gc, holder, claim, self.memory.ambient());
            self.memory.run(step, &RequestBody::default()).unwrap()
        }

        fn get(&mut self, holder: Uuid, claim: Claim) -> Lease {
            match self.acquire(holder, claim) {
                Acquired::Ours(lease) => lease,
                Acquired::Held(until) => panic!("held until {until:?}"),
            }
        }

        fn renew(&mut self, lease: &Lease) -> Option<Lease> {
            let step = self.registry.renew(lease.clone(), self.memory.ambient());
            self.memory.run(step, &RequestBody::default()).unwrap()
        }

        fn release(&mut self, lease: &Lease) {
            let step = self.registry.release(lease.clone(), self.memory.ambient());
            self.memory.run(step, &RequestBody::default()).unwrap();
        }

        fn collect(&mut self) {
            let step = self.registry.gc(self.memory.ambient());
            assert_eq!(self.memory.run(step, &RequestBody::default()).fault, None);
        }
    }

    #[test]
    fn a_lease_is_one_hosts_until_it_ends() {
        let mut hosts = Hosts::new();
        let lease = hosts.get(ONE, Claim::Free);
        assert_eq!(hosts.acquire(OTHER, Claim::Free), Acquired::Held(lease.until()));
        hosts.memory.advance(LEASE - Duration::from_millis(1));
        assert_eq!(hosts.acquire(OTHER, Claim::Free), Acquired::Held(lease.until()));
        hosts.memory.advance(Duration::from_millis(1));
        assert_eq!(hosts.get(OTHER, Claim::Free).generation(), 2);
        assert_eq!(hosts.renew(&lease), None, "it is lost");
        hosts.release(&lease);
        assert!(matches!(hosts.acquire(ONE, Claim::Free), Acquired::Held(_)), "a lost lease releases nothing");
    }

    #[test]
    fn a_lease_that_is_renewed_or_lapsed_unnoticed_is_kept() {
        let mut hosts = Hosts::new();
        let mut lease = hosts.get(ONE, Claim::Free);
        for _ in 0..10 {
            assert!(!lease.is_due(hosts.memory.now));
            hosts.memory.advance(LEASE / 2 + Duration::from_millis(1));
            assert!(lease.is_due(hosts.memory.now));
            lease = hosts.renew(&lease).unwrap();
            assert!(matches!(hosts.acquire(OTHER, Claim::Free), Acquired::Held(_)));
        }
        hosts.memory.advance(LEASE * 3);
        assert_eq!(hosts.renew(&lease).map(|lease| lease.generation()), Some(1));
    }

    #[test]
    fn of_two_that_see_a_free_lease_one_gets_it() {
        let mut hosts = Hosts::new();
        let mut step = hosts.registry.acquire(Job::Gc, ONE, Claim::Free, hosts.memory.ambient());
        while !matches!(step, Step::Commit(_)) {
            step = hosts.memory.perform(step, &RequestBody::default());
        }
        let others = hosts.get(OTHER, Claim::Free);
        let late = hosts.memory.run(step, &RequestBody::default());
        assert_eq!(late, Ok(Acquired::Held(others.until())));
    }

    #[test]
    fn it_is_time_to_renew_once_less_than_half_is_left() {
        let mut hosts = Hosts::new();
        let lease = hosts.get(ONE, Claim::Free);
        let half = hosts.memory.now.after(LEASE / 2);
        assert!(!lease.is_due(half) && lease.is_due(Timestamp(half.0 + 1)));
    }

    #[test]
    fn a_job_says_what_it_is() {
        let jobs = [Job::Gc, Job::Queue("a".into()), Job::Sync("b".into())].map(|job| job.to_string());
        assert_eq!(jobs, ["garbage collection", "the events for a", "the sync b"]);
    }

    #[test]
    fn whoever_asks_for_the_job_by_hand_gets_it_and_the_other_notices() {
        let mut hosts = Hosts::new();
        let lease = hosts.get(ONE, Claim::Free);
        let taken = hosts.get(OTHER, Claim::Now);
        assert_eq!(hosts.renew(&lease), None);
        assert!(hosts.renew(&taken).is_some());
    }

    #[test]
    fn a_host_that_was_restarted_goes_on_with_its_own_at_once() {
        let mut hosts = Hosts::new();
        let before = hosts.get(ONE, Claim::Free);
        hosts.memory.advance(LEASE / 4);
        for claim in [Claim::Free, Claim::Now] {
            assert_eq!(hosts.get(ONE, claim), before);
        }
        hosts.memory.advance(LEASE);
        assert_eq!(hosts.get(ONE, Claim::Free).generation(), 2);
        assert_eq!(hosts.renew(&before), None);
    }

    #[test]
    fn a_lease_that_is_released_is_free_and_counted_on() {
        let mut hosts = Hosts::new();
        let lease = hosts.get(ONE, Claim::Free);
        hosts.release(&lease);
        assert_eq!(hosts.get(OTHER, Claim::Free).generation(), 2);
    }

    #[test]
    fn neither_a_wrong_clock_nor_a_damaged_record_holds_a_job_up() {
        let mut hosts = Hosts::new();
        let now = hosts.memory.now;
        hosts.memory.now = now.after(Duration::from_secs(1 << 30));
        hosts.get(ONE, Claim::Free);
        hosts.memory.now = now;
        let lease = hosts.get(OTHER, Claim::Free);
        assert_eq!(lease.until(), now.after(LEASE));
        hosts.memory.records.insert(keys::lease(&Job::Gc), "x".into());
        assert_eq!(hosts.get(ONE, Claim::Free).generation(), 1);
    }

    #[test]
    fn leases_that_ended_long_ago_are_collected() {
        let mut hosts = Hosts::new();
        hosts.get(ONE, Claim::Free);
        hosts.memory.advance(LEASE * 2);
        hosts.collect();
        assert_eq!(hosts.memory.records.len(), 1, "its holder may still renew it");
        hosts.memory.advance(Duration::from_millis(1));
        hosts.collect();
        assert_eq!(hosts.memory.records.len(), 0);
    }
}
