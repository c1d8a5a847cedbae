//! What is pushed to this registry, copied to another one at once: from a queue of events in the records, as webhooks are
//! told.

use std::time::Duration;

use orlop_core::event::Event;
use orlop_core::{Job, Lease, Registry};

use super::Ready;
use super::place::Side;
use super::run::Progress;
use crate::remote::Failure;
use crate::storage::{Host, RequestBody, ambient};

/// How long an event is kept while the destination does not answer.
const KEPT: Duration = Duration::from_secs(3 * 24 * 3600);

/// How often one event is tried while the destination answers: what then still fails is for the next run.
const TRIES: u32 = 3;

/// Why an event stays in the queue.
struct Stays(String);

impl Ready<'_> {
    /// Copies what the queue says, in order, unless another host of the same storage does. `failures` is how often in a
    /// row that has ended with an error.
    ///
    /// # Errors
    ///
    /// When it is to be tried again later, and why.
    pub(super) async fn copy_pushed(
        &self,
        registry: &Registry,
        host: &Host,
        progress: &Progress,
        failures: u32,
    ) -> Result<(), String> {
        let (queue, mut tries) = (self.sync.setting.queue(), failures);
        let mut lease: Option<Lease> = None;
        loop {
            let queued = host.run(registry.queued(queue.clone(), ambient()), &mut RequestBody::empty()).await;
            let queued = queued.map_err(|fault| fault.to_string())?;
            if queued.is_empty() {
                return Ok(());
            }
            for (key, event) in queued {
                let job = || Job::Queue(queue.clone());
                if !host.holds(registry, job, &mut lease).await.map_err(|fault| fault.to_string())? {
                    return Ok(());
                }
                let name = self.sync.name();
                match &event {
                    Some(event) => self.pushed(event, progress, tries).await.map_err(|Stays(reason)| reason)?,
                    None => tracing::error!("the record {} is damaged: the sync {name} misses a push", key.as_str()),
                }
                tries = 0;
                let told = host.run(registry.told(vec![key], ambient()), &mut RequestBody::empty()).await;
                told.map_err(|fault| fault.to_string())?;
            }
        }
    }

    /// Copies what an event says was pushed.
    async fn pushed(&self, event: &Event, progress: &Progress, tries: u32) -> Result<(), Stays> {
        let Some((from, to)) = self.sides(&event.repository) else { return Ok(()) };
        let alone = self.is_alone(&event.repository).await;
        let result = match event.tags.as_slice() {
            _ if alone.is_err() => alone,
            [] => self.pushed_referrer(&from, &to, event, progress).await,
            _ => self.pushed_tags(&from, &to, event, progress).await,
        };
        let Err(failure) = result else { return Ok(()) };
        let what = match event.tags.as_slice() {
            [] => event.repository.to_string(),
            tags => format!("{}:{}", event.repository, tags.join(", ")),
        };
        // What does not depend on the image is waited for: the registry is down, or a password has changed.
        let waits = !matches!(failure, Failure::Absent | Failure::Unusable(_));
        if (waits && ambient().now.since(event.time) < KEPT) || (!waits && tries + 1 < TRIES) {
            return Err(Stays(format!("{what}: {failure}")));
        }
        tracing::error!("sync {}: what was pushed to {what} is not copied: {failure}", self.sync.name());
        Ok(())
    }

    async fn pushed_tags(&self, from: &Side, to: &Side, event: &Event, progress: &Progress) -> Result<(), Failure> {
        let listed = match from.tags().await {
            // The repository was deleted since.
            Err(Failure::Absent) => return Ok(()),
            listed => listed?,
        };
        let chosen = self.chosen(from, to, &listed).await?;
        for tag in event.tags.iter().filter(|tag| chosen.contains(tag)) {
            // Whether the destination answers at all is known before anything is moved.
            to.destination().has_manifest(tag).await?;
            self.tag(from, to, tag, progress, None, false).await?;
        }
        Ok(())
    }

    /// Copies a manifest without a tag, if it refers to another one. Parts of an index are copied with the index.
    async fn pushed_referrer(&self, from: &Side, to: &Side, event: &Event, progress: &Progress) -> Result<(), Failure> {
        let Some(digest) = event.digest.filter(|_| self.sync.setting.referrers) else { return Ok(()) };
        let reference = digest.to_string();
        let found = match from.source().manifest(&reference).await {
            Err(Failure::Absent) => return Ok(()),
            found => found?,
        };
        let Some(subject) = subject(&found.bytes) else { return Ok(()) };
        // A signature of an image that is not copied is not, either.
        if to.destination().has_manifest(&subject).await?.is_some() {
            self.image(from, to, &reference, None, progress, false).await?;
        }
        Ok(())
    }
}

/// What a manifest refers to.
fn subject(manifest: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    document["subject"]["digest"].as_str().map(Into::into)
}
