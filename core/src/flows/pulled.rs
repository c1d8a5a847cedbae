//! When manifests and tags were last pulled (SPEC X30 to X39).
//!
//! A pull writes nothing: its answer says [what is pulled](crate::Response::pulled), and a host notes many at once, behind
//! all answers. When something was pulled is written down once an hour at most, and without waiting for a disk: a crash
//! may lose the notes of a few seconds. Each commit expects that what it is about is there, and whatever ends a tag or a
//! manifest deletes what is noted of it: so nothing is noted of what is gone, nor of a tag before it was pushed anew.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Call;
use super::batch::Batch;
use crate::config::{ATTEMPTS, PULLED_COARSELY, PULLS_A_COMMIT};
use crate::effect::{Committed, Durability, Expect, Get, Value};
use crate::error::Error;
use crate::http::Pull;
use crate::keys::{self, Key};
use crate::record::{self, PulledRecord, PullsSinceRecord};

/// What is noted of one pull: what must be there, and the record that says when it was pulled.
struct Note {
    about: Key,
    record: Key,
}

impl Call {
    /// Notes what was pulled.
    pub(crate) async fn note_pulls(&self, pulls: Vec<Pull>) -> Result<(), Error> {
        self.note_pulls_since().await?;
        let mut left: VecDeque<Note> = pulls.iter().flat_map(notes).collect();
        let (mut size, mut attempts) = (PULLS_A_COMMIT, 0);
        while !left.is_empty() {
            let batch = self.notes(left.iter().take(size)).await?;
            if batch.is_empty() || self.commit(batch, Durability::Eventual).await? == Committed::Done {
                left.drain(..size.min(left.len()));
                attempts = 0;
                continue;
            }
            // Something of it was deleted meanwhile, or another host notes the same. Few at once meet fewer others.
            (size, attempts) = ((size / 2).max(1), attempts + 1);
            if attempts == ATTEMPTS {
                return Err(Error::Contention);
            }
        }
        Ok(())
    }

    /// The change that notes these, but for those that were noted lately or are not there any more.
    async fn notes(&self, notes: impl Iterator<Item = &Note> + Clone + Send) -> Result<Batch, Error> {
        let keys: Vec<Key> = notes.clone().flat_map(|note| [note.about.clone(), note.record.clone()]).collect();
        let mut values = self.ask(Get { keys }).await?.into_iter();
        let mut batch = Batch::default();
        for note in notes {
            let (Some(about), Some(before)) = (values.next(), values.next()) else { break };
            if about.is_none() || self.is_noted(&note.record, before.as_ref()) {
                continue;
            }
            // One that is named twice here is noted once.
            if !batch.put.iter().any(|(key, _)| *key == note.record) {
                batch.expect(Expect::Present(note.about.clone()));
                batch.put(note.record.clone(), &PulledRecord { pulled: self.ambient.now });
            }
        }
        Ok(batch)
    }

    /// Whether a pull was noted less than an hour ago. What does not read is written anew.
    fn is_noted(&self, key: &Key, value: Option<&Value>) -> bool {
        let noted = value.and_then(|value| record::decode::<PulledRecord>(key, value).ok());
        noted.is_some_and(|noted| self.ambient.now.since(noted.pulled) < PULLED_COARSELY)
    }

    /// Writes down since when pulls are noted, if nobody has.
    async fn note_pulls_since(&self) -> Result<(), Error> {
        let key = keys::pulls_since();
        let [known] = self.get([key.clone()]).await?;
        if known.as_ref().is_some_and(|known| record::decode::<PullsSinceRecord>(&key, known).is_ok()) {
            return Ok(());
        }
        let mut batch = Batch::default();
        // Of one that does not read, nothing is known.
        batch.expect(known.map_or(Expect::Absent(key.clone()), |known| Expect::Exactly(key.clone(), known)));
        batch.put(key, &PullsSinceRecord { since: self.ambient.now });
        // If another host was faster, what it has written is as good.
        self.commit(batch, Durability::Durable).await?;
        Ok(())
    }
}

fn notes(pull: &Pull) -> impl Iterator<Item = Note> {
    let Pull { repository, digest, tag } = pull;
    let manifest =
        Note { about: keys::manifest(repository, digest), record: keys::pulled_manifest(repository, digest) };
    let tag = tag.as_ref();
    let tag = tag.map(|tag| Note { about: keys::tag(repository, tag), record: keys::pulled_tag(repository, tag) });
    core::iter::once(manifest).chain(tag)
}
