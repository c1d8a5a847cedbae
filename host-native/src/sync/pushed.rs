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

/// How often the first event of the queue was tried while the destination answered.
#[derive(Debug, Default)]
pub(super) struct Tried(Option<(String, u32)>);

/// What becomes of an event that was not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is tried again later, and what was pushed after it waits.
    Stays,
    /// It is left to the next run.
    PassedOver,
}

impl Tried {
    /// What becomes of an event that has that key and was queued so long ago.
    fn fate(&mut self, key: &str, failure: &Failure, age: Duration) -> Fate {
        let stays = match failure {
            // What does not depend on the image is waited for: the registry is down, or a password has changed.
            Failure::LoginRefused(_) | Failure::Paused(_) | Failure::Unreachable(_) => age < KEPT,
            // A permission that is missing does not come within seconds.
            Failure::Denied(_) => false,
            Failure::Absent | Failure::Unusable(_) | Failure::Damaged(_) => {
                let times = self.0.take().filter(|(tried, _)| tried == key).map_or(0, |(_, times)| times) + 1;
                self.0 = Some((key.to_owned(), times));
                times < TRIES
            }
        };
        if stays { Fate::Stays } else { Fate::PassedOver }
    }
}

impl Ready<'_> {
    /// Copies what the queue says, in order, unless another host of the same storage does.
    ///
    /// # Errors
    ///
    /// When it is to be tried again later, and why.
    pub(super) async fn copy_pushed(
        &self,
        registry: &Registry,
        host: &Host,
        progress: &Progress,
        tried: &mut Tried,
    ) -> Result<(), String> {
        let queue = self.sync.setting.queue();
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
                    Some(event) => {
                        if let Err(failure) = self.pushed(event, progress).await {
                            let told = format!("{}: {failure}", named(event));
                            match tried.fate(key.as_str(), &failure, ambient().now.since(event.time)) {
                                Fate::Stays => return Err(told),
                                Fate::PassedOver => tracing::error!("sync {name}: a push is not copied: {told}"),
                            }
                        }
                    }
                    None => tracing::error!("the record {} is damaged: the sync {name} misses a push", key.as_str()),
                }
                let told = host.run(registry.told(vec![key], ambient()), &mut RequestBody::empty()).await;
                told.map_err(|fault| fault.to_string())?;
            }
        }
    }

    /// Copies what an event says was pushed.
    async fn pushed(&self, event: &Event, progress: &Progress) -> Result<(), Failure> {
        let Some((from, to)) = self.sides(&event.repository) else { return Ok(()) };
        self.is_alone(&event.repository).await?;
        match event.tags.as_slice() {
            [] => self.pushed_referrer(&from, &to, event, progress).await,
            _ => self.pushed_tags(&from, &to, event, progress).await,
        }
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

/// What was pushed, as it is named to people.
fn named(event: &Event) -> String {
    match event.tags.as_slice() {
        [] => event.repository.to_string(),
        tags => format!("{}:{}", event.repository, tags.join(", ")),
    }
}

/// What a manifest refers to.
fn subject(manifest: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    document["subject"]["digest"].as_str().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_waits_for_a_registry_that_does_not_answer_and_is_tried_a_few_times_otherwise() {
        let mut tried = Tried::default();
        let mut stays = |key: &str, failure: Failure, age| tried.fate(key, &failure, age) == Fate::Stays;
        let (down, wrong) = (|| Failure::Unreachable("lost".into()), || Failure::Unusable("no manifest".into()));
        let recent = Duration::from_secs(60);
        assert!((0..20).all(|_| stays("1", down(), recent)));
        assert!(stays("1", Failure::LoginRefused("401".into()), KEPT - recent));
        assert!(!stays("1", down(), KEPT), "but not for ever");
        assert!(stays("1", wrong(), recent), "what waited was not tried");
        assert!(stays("1", wrong(), recent));
        assert!(!stays("1", wrong(), recent));
        assert!(stays("2", Failure::Damaged("other bytes".into()), recent), "each event is tried as often");
        assert!(!stays("3", Failure::Denied("403".into()), recent), "it blocks nothing");
    }
}
