//! Leases: jobs that one host of several does at a time. In a directory, which one process has at a time, they keep
//! nothing waiting; they cost a commit that waits for no disk, now and then.

use std::pin::pin;
use std::time::Duration;

use orlop_core::config::LEASE;
use orlop_core::{Acquired, Ambient, Claim, Fault, Job, Lease, Registry};

use crate::storage::ambient::ambient;
use crate::storage::body::RequestBody;
use crate::storage::run::Host;

/// How often a holder looks whether its lease is to be renewed.
const LOOK: Duration = Duration::from_secs(LEASE.as_secs() / 6);

/// What became of a job under a lease.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leased<T> {
    /// It is done.
    Done(T),
    /// Another host does it.
    Held,
    /// Another host has acquired the lease meanwhile, and the job was ended in the middle.
    Lost,
}

impl Host {
    /// Does a job while this host has its lease. When another host acquires that, the job ends where it stands, as in a
    /// crash.
    pub(crate) async fn under_lease<T>(
        &self,
        registry: &Registry,
        job: Job,
        claim: Claim,
        work: impl Future<Output = T>,
    ) -> Result<Leased<T>, Fault> {
        self.lead(registry, job, claim, work, LOOK, ambient).await
    }

    /// The same, looking so often whether the lease is to be renewed, by another clock.
    async fn lead<T>(
        &self,
        registry: &Registry,
        job: Job,
        claim: Claim,
        work: impl Future<Output = T>,
        look: Duration,
        ambient: impl Fn() -> Ambient,
    ) -> Result<Leased<T>, Fault> {
        let acquired = self.acquire(registry, job.clone(), claim, ambient()).await?;
        let Some(mut lease) = acquired else { return Ok(Leased::Held) };
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => {
                    // What was taken from another host is given back, and what is done once: others may wait for that. Else
                    // it ends by itself, so that a job that is done again and again writes nothing for it but once a minute.
                    if claim == Claim::Now || matches!(job, Job::Fetch(..)) {
                        let _ = self.run(registry.release(lease, ambient()), &mut RequestBody::empty()).await;
                    }
                    return Ok(Leased::Done(done));
                }
                () = tokio::time::sleep(look) => match self.keep(registry, &job, &mut lease, &ambient).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(Leased::Lost),
                    Err(fault) => tracing::warn!("the lease of {job} is not renewed: {fault}"),
                },
            }
        }
    }

    /// Whether this host has the lease of a job, be it that it acquires or renews it now.
    pub(crate) async fn holds(
        &self,
        registry: &Registry,
        job: impl Fn() -> Job,
        lease: &mut Option<Lease>,
    ) -> Result<bool, Fault> {
        match lease {
            Some(lease) => self.keep(registry, &job(), lease, ambient).await,
            None => {
                *lease = self.acquire(registry, job(), Claim::Free, ambient()).await?;
                Ok(lease.is_some())
            }
        }
    }

    async fn acquire(&self, registry: &Registry, job: Job, claim: Claim, now: Ambient) -> Result<Option<Lease>, Fault> {
        let step = registry.acquire(job, self.holder(), claim, now);
        Ok(match self.run(step, &mut RequestBody::empty()).await? {
            Acquired::Ours(lease) => Some(lease),
            Acquired::Held(_) => None,
        })
    }

    /// Renews a lease, if it is time to. `false` when another host has it.
    async fn keep(
        &self,
        registry: &Registry,
        job: &Job,
        lease: &mut Lease,
        ambient: impl Fn() -> Ambient,
    ) -> Result<bool, Fault> {
        let now = ambient();
        if !lease.is_due(now.now) {
            return Ok(true);
        }
        let renewed = match self.run(registry.renew(lease.clone(), now), &mut RequestBody::empty()).await {
            Ok(renewed) => renewed,
            // It may have been renewed all the same, and is not known as it is now.
            Err(_) => self.acquire(registry, job.clone(), Claim::Free, ambient()).await?,
        };
        let Some(renewed) = renewed else { return Ok(false) };
        *lease = renewed;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::future;
    use std::sync::atomic::{AtomicU64, Ordering};

    use orlop_core::Config;
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::settings::Options;

    struct Place {
        host: Host,
        registry: Registry,
        _directory: TempDir,
    }

    impl Place {
        fn new() -> Self {
            let directory = TempDir::new().unwrap();
            let host = Host::open(directory.path(), &Options::default()).unwrap();
            Self { host, registry: Registry::new(Config::default()), _directory: directory }
        }

        /// Another host acquires the lease, as one would that is on the same storage.
        async fn another_acquires(&self, claim: Claim) -> bool {
            let step = self.registry.acquire(Job::Gc, Uuid::from_u128(1), claim, ambient());
            let acquired = self.host.run(step, &mut RequestBody::empty()).await.unwrap();
            matches!(acquired, Acquired::Ours(_))
        }

        async fn lead<T>(&self, claim: Claim, work: impl Future<Output = T>) -> Leased<T> {
            self.host.under_lease(&self.registry, Job::Gc, claim, work).await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_job_is_done_where_the_lease_is() {
        let place = Place::new();
        let work = async { place.another_acquires(Claim::Free).await };
        assert_eq!(place.lead(Claim::Free, work).await, Leased::Done(false), "the lease is ours meanwhile");
        assert!(!place.another_acquires(Claim::Free).await, "it ends by itself");
        assert!(place.another_acquires(Claim::Now).await);
        assert_eq!(place.lead(Claim::Free, future::ready(())).await, Leased::Held);
        assert_eq!(place.lead(Claim::Now, future::ready(())).await, Leased::Done(()), "who asks for it gets it");
        assert!(place.another_acquires(Claim::Free).await, "it was released");
    }

    #[tokio::test]
    async fn what_a_process_held_that_was_killed_is_the_next_ones_at_once() {
        let place = Place::new();
        let killed = place.host.under_lease(&place.registry, Job::Gc, Claim::Free, future::pending::<()>());
        tokio::time::timeout(Duration::from_millis(200), killed).await.unwrap_err();
        assert!(!place.another_acquires(Claim::Free).await, "the lease is still there");
        assert_eq!(place.lead(Claim::Free, future::ready(())).await, Leased::Done(()));
    }

    /// By a clock that goes on by more than half a lease each time it is looked at.
    #[tokio::test]
    async fn a_job_goes_on_as_long_as_its_lease_is_renewed_and_ends_when_that_is_lost() {
        let place = Place::new();
        let looks = AtomicU64::new(0);
        let fast = || {
            let passed = LEASE.mul_f64(0.6) * u32::try_from(looks.fetch_add(1, Ordering::Relaxed)).unwrap();
            Ambient { now: ambient().now.after(passed), ..ambient() }
        };
        let work = async {
            while looks.load(Ordering::Relaxed) < 5 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(place.another_acquires(Claim::Now).await);
            future::pending::<()>().await;
        };
        let look = Duration::from_millis(1);
        let led = place.host.lead(&place.registry, Job::Gc, Claim::Free, work, look, fast).await.unwrap();
        assert_eq!(led, Leased::Lost);
        assert!(looks.into_inner() >= 5);
    }

    #[tokio::test]
    async fn a_lease_is_asked_for_once_until_it_is_due() {
        let place = Place::new();
        let mut lease = None;
        let job = || Job::Gc;
        assert!(place.host.holds(&place.registry, job, &mut lease).await.unwrap());
        let first = lease.clone();
        assert!(place.host.holds(&place.registry, job, &mut lease).await.unwrap());
        assert_eq!(lease, first);
        assert!(place.another_acquires(Claim::Now).await);
        let mut lapsed = None;
        assert!(!place.host.holds(&place.registry, job, &mut lapsed).await.unwrap());
    }
}
