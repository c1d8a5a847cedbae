//! Events: each goes into the queue of whoever wants it by the commit that makes it true, and out of it when it was told.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Batch, Call};
use crate::config::EVENTS_PAGE;
use crate::digest::Digest;
use crate::effect::{Durability, Scan};
use crate::error::Error;
use crate::event::{Event, Happening};
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::record::{self, ManifestRecord};

impl Call {
    /// Puts an event into `batch`, for each who wants it.
    pub(super) fn tell(
        &self,
        batch: &mut Batch,
        happening: Happening,
        name: &Repository,
        manifest: Option<(&Digest, Option<&ManifestRecord>)>,
        tags: Vec<String>,
    ) {
        let listeners = self.config.listeners.iter().filter(|listener| listener.wants(happening, name));
        let mut listeners = listeners.peekable();
        if listeners.peek().is_none() {
            return;
        }
        let record = manifest.and_then(|(_, record)| record);
        let event = Event {
            id: self.ambient.nonce,
            time: self.ambient.now,
            happening,
            repository: name.as_str().into(),
            digest: manifest.map(|(digest, _)| *digest),
            tags,
            media_type: record.map(|record| record.media_type.clone()),
            size: record.map(|record| record.size),
            by: self.caller.name.clone(),
            request: self.caller.request.clone(),
        };
        listeners.for_each(|listener| batch.put(keys::event(&listener.name, &self.ambient), &event));
    }

    /// Tells that a manifest was read. Whoever pulls does not wait for a disk: a crash may lose this.
    pub(super) async fn tell_pull(
        &self,
        name: &Repository,
        digest: &Digest,
        record: &ManifestRecord,
        tags: Vec<String>,
    ) -> Result<(), Error> {
        let mut batch = Batch::default();
        self.tell(&mut batch, Happening::Pull, name, Some((digest, Some(record))), tags);
        if !batch.put.is_empty() {
            self.commit(batch, Durability::Eventual).await?;
        }
        Ok(())
    }

    /// The oldest events in a queue.
    pub(crate) async fn queued(&self, listener: &str) -> Result<Vec<(Key, Event)>, Error> {
        let prefix = keys::events(listener);
        let scan = Scan { prefix, after: None, limit: EVENTS_PAGE, bytes: 1 << 20 };
        let entries = self.ask(scan).await?;
        let events = entries.into_iter().map(|(key, value)| Ok((key.clone(), record::decode(&key, &value)?)));
        events.collect()
    }

    /// Takes events out of their queues. When a crash brings them back, they are told again.
    pub(crate) async fn told(&self, events: Vec<Key>) -> Result<(), Error> {
        self.commit(Batch { delete: events, ..Batch::default() }, Durability::Eventual).await?;
        Ok(())
    }
}
