//! When manifests and tags were last pulled, how often and by whom (SPEC X30 to X39).
//!
//! A pull writes nothing: its answer says [what is pulled](crate::Response::pulled), and a host counts them and has many
//! noted at once, behind all answers and without waiting for a disk: a crash may lose what it has counted since. Each
//! commit expects that what it is about is there, and its note as it was read: so hosts that count the same lose nothing
//! of each other's. Whatever ends a tag or a manifest deletes what is noted of it: so nothing is noted of what is gone,
//! nor of a tag before it was pushed anew.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use super::Call;
use super::batch::Batch;
use crate::config::{ATTEMPTS, PULLED_COARSELY, PULLS_A_COMMIT};
use crate::effect::{Committed, Durability, Expect, Get, Value};
use crate::error::Error;
use crate::http::PullCount;
use crate::keys::{self, Key};
use crate::record::{self, PulledRecord, PullsSinceRecord};

/// What is to be noted in one record.
struct Note<'a> {
    /// What must be there.
    about: Key,
    /// How often it was pulled, and by whom.
    pulls: Vec<(u64, &'a [String])>,
}

impl Call {
    /// Notes what was pulled. Gives back what could not be noted.
    pub(crate) async fn note_pulls(&self, pulls: Vec<PullCount>) -> Result<Vec<PullCount>, Error> {
        self.note_pulls_since().await?;
        let (mut size, mut attempts, all) = (PULLS_A_COMMIT, 0, pulls.len());
        let mut left: VecDeque<PullCount> = pulls.into();
        while !left.is_empty() && attempts < ATTEMPTS {
            match self.note_together(left.iter().take(size)).await {
                Ok(Committed::Done) => {
                    left.drain(..size.min(left.len()));
                    (size, attempts) = ((size * 2).min(PULLS_A_COMMIT), 0);
                }
                // Something of it was deleted meanwhile, or another host notes the same. Few at once meet fewer others.
                Ok(Committed::Conflict) => (size, attempts) = ((size / 2).max(1), attempts + 1),
                Err(fault) if left.len() == all => return Err(fault),
                // What was noted before must not be noted twice.
                Err(_) => break,
            }
        }
        Ok(left.into())
    }

    /// Notes these by one commit, but for those of what is not there any more.
    async fn note_together(&self, pulls: impl Iterator<Item = &PullCount>) -> Result<Committed, Error> {
        let mut notes: BTreeMap<Key, Note> = BTreeMap::new();
        for PullCount { repository, digest, tag, asked, fetched, by } in pulls {
            // A client that asks what a tag names, and has that, has not got the manifest once more.
            let manifest = (keys::pulled_manifest(repository, digest), keys::manifest(repository, digest), *fetched);
            let tag = tag.as_ref().map(|tag| (keys::pulled_tag(repository, tag), keys::tag(repository, tag), *asked));
            for (record, about, times) in [Some(manifest), tag].into_iter().flatten() {
                notes.entry(record).or_insert(Note { about, pulls: Vec::new() }).pulls.push((times, by));
            }
        }
        let keys = notes.iter().flat_map(|(record, note)| [note.about.clone(), record.clone()]).collect();
        let mut values = self.ask(Get { keys }).await?.into_iter();
        let mut batch = Batch::default();
        for (key, note) in notes {
            let (Some(about), Some(before)) = (values.next(), values.next()) else { break };
            if about.is_none() {
                continue;
            }
            // One that does not read is written anew.
            let known = before.as_ref().and_then(|value| record::decode::<PulledRecord>(&key, value).ok());
            if note.pulls.iter().all(|(times, _)| *times == 0) && self.is_noted(known.as_ref()) {
                continue;
            }
            let mut record = known.unwrap_or_else(|| PulledRecord::at(self.ambient.now));
            note.pulls.iter().for_each(|(times, by)| record.again(self.ambient.now, *times, by));
            // Names are kept for no longer than what their users did.
            let (now, lifetime) = (self.ambient.now, self.config.activity_lifetime);
            record.by.retain(|by| now.since(by.pulled) < lifetime);
            batch.expect(Expect::Present(note.about));
            batch.expect(expected(&key, before));
            batch.put(key, &record);
        }
        if batch.is_empty() {
            return Ok(Committed::Done);
        }
        self.commit(batch, Durability::Eventual).await
    }

    /// Whether a pull was noted so lately that with the time for which hosts count it is known to the hour.
    fn is_noted(&self, known: Option<&PulledRecord>) -> bool {
        known.is_some_and(|known| self.ambient.now.since(known.pulled) < PULLED_COARSELY / 2)
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
        batch.expect(expected(&key, known));
        batch.put(key, &PullsSinceRecord { since: self.ambient.now });
        // If another host was faster, what it has written is as good.
        self.commit(batch, Durability::Durable).await?;
        Ok(())
    }
}

/// The record is as it was read.
fn expected(key: &Key, read: Option<Value>) -> Expect {
    match read {
        Some(value) => Expect::Exactly(key.clone(), value),
        None => Expect::Absent(key.clone()),
    }
}
