//! Events: each goes into the queue of whoever wants it by the commit that makes it true, and out of it when it was told.

use alloc::string::String;
use alloc::vec::Vec;

use super::Call;
use super::batch::Batch;
use crate::config::{ATTEMPTS, EVENTS_PAGE, EVENTS_QUEUED};
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Get, Scan};
use crate::error::Error;
use crate::event::{self, Event, Exceeded, Happening, Part, Source};
use crate::keys::{self, Key};
use crate::name::{Repository, Tag};
use crate::record::{self, ManifestRecord};

impl Call {
    /// Puts an event into `batch`, for each listener that wants it and whose queue has room, and among the activities.
    pub(super) async fn tell(
        &self,
        batch: &mut Batch,
        happening: Happening,
        name: &Repository,
        manifest: Option<(&Digest, Option<&ManifestRecord>)>,
        tags: Vec<String>,
    ) -> Result<(), Error> {
        let event = self.about(happening, name, manifest, tags);
        // One call may delete many.
        let tag = event.tags.first().cloned().unwrap_or_default();
        let part = match (happening, manifest) {
            (Happening::Delete, Some((digest, _))) => Part::Manifest(digest),
            (Happening::Delete, None) => Part::Tag(&tag),
            _ => Part::Whole,
        };
        self.tell_part(batch, name, &event, &part).await
    }

    /// The same where a call tells of more than one: `part` tells it from the others.
    pub(super) async fn tell_part(
        &self,
        batch: &mut Batch,
        name: &Repository,
        event: &Event,
        part: &Part<'_>,
    ) -> Result<(), Error> {
        self.keep(batch, event, part);
        self.queue(batch, name, event, part).await
    }

    /// An event of this call about a manifest, or tags.
    pub(super) fn about(
        &self,
        happening: Happening,
        name: &Repository,
        manifest: Option<(&Digest, Option<&ManifestRecord>)>,
        tags: Vec<String>,
    ) -> Event {
        let record = manifest.and_then(|(_, record)| record);
        Event {
            digest: manifest.map(|(digest, _)| *digest),
            tags,
            media_type: record.map(|record| record.media_type.clone()),
            size: record.map(|record| record.size),
            ..self.event(happening, name.as_str())
        }
    }

    /// An event of this call, of which no more is known.
    fn event(&self, happening: Happening, repository: &str) -> Event {
        Event {
            id: self.ambient.nonce,
            time: self.ambient.now,
            happening,
            repository: repository.into(),
            digest: None,
            tags: Vec::new(),
            media_type: None,
            size: None,
            quota: None,
            by: self.caller.name.clone(),
            request: self.caller.request.clone(),
        }
    }

    /// Puts an event among the activities, where they are kept. Pulls are too many.
    fn keep(&self, batch: &mut Batch, event: &Event, part: &Part<'_>) {
        if self.config.activity_lifetime.is_zero() || event.happening == Happening::Pull {
            return;
        }
        let whence = |source: &Source| Source {
            address: source.address.clone(),
            agent: source.agent.clone(),
            ..Source::default()
        };
        let event = Event { request: event.request.as_ref().map(whence), ..event.clone() };
        batch.put(keys::activity(&self.ambient, part), &event);
    }

    /// Puts an event into the queues of those who want it, as far as there is room.
    async fn queue(&self, batch: &mut Batch, name: &Repository, event: &Event, part: &Part<'_>) -> Result<(), Error> {
        let listeners = self.config.listeners.iter().filter(|listener| listener.wants(event.happening, name));
        let queues: Vec<Key> = listeners.clone().map(|listener| keys::queue(&listener.name)).collect();
        if queues.is_empty() {
            return Ok(());
        }
        let lengths = self.ask(Get { keys: queues.clone() }).await?;
        for ((listener, queue), length) in listeners.zip(queues).zip(lengths) {
            if record::count(length.as_ref()) < EVENTS_QUEUED {
                batch.put(keys::event(&listener.name, &self.ambient, part), event);
                batch.add(queue, 1);
            }
        }
        Ok(())
    }

    /// Puts the events into `batch` that something is damaged: one for each repository that lacks it for that.
    pub(super) async fn tell_damaged(
        &self,
        batch: &mut Batch,
        repositories: &[String],
        digest: &Digest,
        manifest: Option<&ManifestRecord>,
    ) -> Result<(), Error> {
        let happening = Happening::Damaged;
        let event = |repository: &String| Event {
            digest: Some(*digest),
            media_type: manifest.map(|manifest| manifest.media_type.clone()),
            size: manifest.map(|manifest| manifest.size),
            ..self.event(happening, repository)
        };
        for repository in repositories {
            self.keep(batch, &event(repository), &Part::Damaged(digest, repository));
        }
        for listener in self.config.listeners.iter().filter(|listener| listener.happenings.contains(&happening)) {
            let queue = keys::queue(&listener.name);
            let [length] = self.get([queue.clone()]).await?;
            let room = EVENTS_QUEUED.saturating_sub(record::count(length.as_ref()));
            let concerns = |name: &String| name.parse().is_ok_and(|name| listener.wants(happening, &name));
            let told =
                repositories.iter().filter(|name| concerns(name)).take(usize::try_from(room).unwrap_or_default());
            let mut count = 0;
            for repository in told {
                let part = Part::Damaged(digest, repository);
                batch.put(keys::event(&listener.name, &self.ambient, &part), &event(repository));
                count += 1;
            }
            if count > 0 {
                batch.add(queue, count);
            }
        }
        Ok(())
    }

    /// Puts the event into `batch` that a push exceeds the soft limit of the quota of that number.
    pub(super) async fn tell_quota(
        &self,
        batch: &mut Batch,
        name: &Repository,
        number: usize,
        exceeded: Exceeded,
    ) -> Result<(), Error> {
        let event = Event { quota: Some(exceeded), ..self.event(Happening::Quota, name.as_str()) };
        self.keep(batch, &event, &Part::Quota(number));
        self.queue(batch, name, &event, &Part::Quota(number)).await
    }

    /// Tells that a manifest was read, once the client has its answer: no pull waits for that, and none fails with it.
    pub(super) fn tell_pull(&self, name: &Repository, digest: &Digest, record: &ManifestRecord, tag: Option<&Tag>) {
        if !self.config.listeners.iter().any(|listener| listener.wants(Happening::Pull, name)) {
            return;
        }
        let (call, name, digest, record) = (self.detached(), name.clone(), *digest, record.clone());
        let tags = event::names(tag);
        self.io.defer(move |io| async move {
            let call = call(io);
            let mut batch = Batch::default();
            let told = call.tell(&mut batch, Happening::Pull, &name, Some((&digest, Some(&record))), tags).await;
            if told.is_ok() && !batch.is_empty() {
                let _ = call.commit(batch, Durability::Eventual).await;
            }
        });
    }

    /// The oldest events in a queue; none for one that does not read.
    pub(crate) async fn queued(&self, listener: &str) -> Result<Vec<(Key, Option<Event>)>, Error> {
        let prefix = keys::events(listener);
        let scan = Scan { prefix, after: None, limit: EVENTS_PAGE, bytes: 1 << 20 };
        let entries = self.ask(scan).await?;
        let event = |(key, value)| {
            let event = record::decode(&key, &value).ok();
            (key, event)
        };
        Ok(entries.into_iter().map(event).collect())
    }

    /// Takes events out of their queues. When a crash brings them back, they are told again.
    pub(crate) async fn told(&self, events: Vec<Key>) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let found = self.ask(Get { keys: events.clone() }).await?;
            let mut batch = Batch::reclaiming();
            for (event, _) in events.iter().zip(found).filter(|(_, value)| value.is_some()) {
                // Each is counted off once, whoever else has told it.
                batch.expect(Expect::Present(event.clone()));
                batch.delete(event.clone());
                batch.add(keys::queue_of(event), -1);
            }
            if batch.is_empty() || self.commit(batch, Durability::Eventual).await? == Committed::Done {
                return Ok(());
            }
        }
        Err(Error::Contention)
    }
}
