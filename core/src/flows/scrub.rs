//! The scrub: all that is stored is read again in time, and what is damaged is put in [quarantine](super::quarantine).
//!
//! It is many calls, each of which reads so many bytes from where the last one has ended, and writes down how far it has
//! come. So a host decides how fast it goes, and a restart loses at most what one call has read. First come blobs that
//! were taken over from another registry and that nobody has read, then all blobs, then all manifests.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::Call;
use super::batch::{Batch, Found};
use super::check::Finding;
use super::quarantine::{Examined, is_unjudged, manifest_problem, unreadable};
use crate::ambient::Timestamp;
use crate::config::{SCAN_BYTES, SCAN_PAGE};
use crate::digest::Digest;
use crate::effect::{Durability, Expect, Scan, Value};
use crate::error::Error;
use crate::keys::{self, Key, Prefix};
use crate::name::Repository;
use crate::record::{self, BlobRecord, ManifestRecord, Reading, ScrubRecord};

/// How many pages of records a call goes through at most.
const PAGES: usize = 16;

/// What a call of the scrub has read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrubbed {
    /// How many blobs it has read.
    pub blobs: u64,
    /// How many manifests.
    pub manifests: u64,
    /// How many bytes were hashed. What is damaged is read twice.
    pub bytes: u64,
    /// What is damaged, and was not known to be.
    pub findings: Vec<Finding>,
    /// How many blobs and manifests are sound that were in quarantine.
    pub sound_again: u64,
    /// How long there is nothing to read: zero when the next call is to go on.
    pub rest: Duration,
    /// What was read since the beginning, when this call has come to the end.
    pub over: Option<ScrubTotal>,
}

/// What a scrub has read from its beginning to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubTotal {
    /// How many blobs it has read.
    pub blobs: u64,
    /// How many manifests.
    pub manifests: u64,
    /// How many bytes these have.
    pub bytes: u64,
    /// How many of them are damaged, those included that were known to be.
    pub damaged: u64,
}

impl Call {
    /// Reads on for `room` bytes, or one blob that has more. Everything is read once in `every`. Of a blob that cannot be read,
    /// where other objects cannot either, it is said that the storage is out of order, and the next call goes on behind it.
    ///
    /// Of two that scrub at once, both put in quarantine what they find, and one of them says how far it has come.
    pub(crate) async fn scrub(&self, room: u64, every: Duration) -> Result<Scrubbed, Error> {
        let key = keys::scrub();
        let [value] = self.get([key.clone()]).await?;
        // One that does not read begins anew.
        let known = value.as_ref().and_then(|value| record::decode::<ScrubRecord>(&key, value).ok());
        let now = self.ambient.now;
        // A beginning in the future is one by a clock that was wrong.
        let known = known.filter(|known| known.began <= now);
        let record = match known {
            Some(known) if known.ended.is_none() => known,
            Some(known) if now.since(known.began) < every => {
                return Ok(Scrubbed { rest: every.saturating_sub(now.since(known.began)), ..Scrubbed::default() });
            }
            _ => self.beginning(),
        };
        let mut scrub = Scrub { call: self, room, record, done: Scrubbed::default() };
        let read = scrub.read().await;
        let Scrub { mut record, mut done, .. } = scrub;
        if record.ended.is_some() {
            let ScrubRecord { blobs, manifests, bytes, damaged, .. } = record;
            done.over = Some(ScrubTotal { blobs, manifests, bytes, damaged });
            done.rest = every.saturating_sub(now.since(record.began));
        }
        record.by = self.ambient.nonce;
        let mut batch = Batch::reclaiming();
        batch.expect(value.map_or(Expect::Absent(key.clone()), |value| Expect::Exactly(key.clone(), value)));
        batch.put(key, &record);
        // A crash loses it: then the same is read again. Another host that scrubs has come as far by itself.
        let _ = self.commit(batch, Durability::Eventual).await?;
        // What was found is told, also when the storage has failed since.
        match read {
            Err(error) if done.findings.is_empty() => Err(error),
            _ => Ok(done),
        }
    }

    /// How far it is. One that does not read is as none.
    pub(crate) async fn scrub_state(&self) -> Result<Option<ScrubRecord>, Error> {
        let key = keys::scrub();
        let [value] = self.get([key.clone()]).await?;
        Ok(value.and_then(|value| record::decode(&key, &value).ok()))
    }

    /// Lets the next call begin at the beginning.
    pub(crate) async fn scrub_anew(&self) -> Result<(), Error> {
        let mut batch = Batch::reclaiming();
        batch.put(keys::scrub(), &self.beginning());
        self.commit(batch, Durability::Eventual).await.map(drop)
    }

    fn beginning(&self) -> ScrubRecord {
        ScrubRecord {
            by: self.ambient.nonce,
            began: self.ambient.now,
            ended: None,
            reading: Reading::Unverified,
            after: None,
            blobs: 0,
            manifests: 0,
            bytes: 0,
            damaged: 0,
        }
    }
}

impl Reading {
    /// Where what is read is found.
    fn prefix(self) -> Prefix {
        match self {
            Self::Unverified | Self::Blobs => keys::blobs(),
            Self::Manifests => keys::all_manifests(),
        }
    }

    fn next(self) -> Option<Self> {
        match self {
            Self::Unverified => Some(Self::Blobs),
            Self::Blobs => Some(Self::Manifests),
            Self::Manifests => None,
        }
    }
}

/// A call of the scrub under way.
struct Scrub<'c> {
    call: &'c Call,
    /// How many bytes it may still read.
    room: u64,
    record: ScrubRecord,
    done: Scrubbed,
}

impl Scrub<'_> {
    /// Reads as much as there is room for, up to the first finding: each is told by a call of its own.
    async fn read(&mut self) -> Result<(), Error> {
        for _ in 0..PAGES {
            if !self.page().await? || self.record.ended.is_some() || !self.done.findings.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Reads a page of records and what they name. `false` when there was no room for all of it.
    async fn page(&mut self) -> Result<bool, Error> {
        let prefix = self.record.reading.prefix();
        let after = self.record.after.clone().map(Key::stored);
        let scan = Scan { prefix: prefix.clone(), after, limit: SCAN_PAGE, bytes: SCAN_BYTES };
        let page = self.call.ask(scan).await?;
        if page.is_empty() {
            self.record.after = None;
            match self.record.reading.next() {
                Some(next) => self.record.reading = next,
                None => self.record.ended = Some(self.call.ambient.now),
            }
            return Ok(true);
        }
        for (key, value) in page {
            if !self.entry(&prefix, &key, value).await? {
                return Ok(false);
            }
            self.record.after = Some(key.as_str().into());
            if !self.done.findings.is_empty() {
                break;
            }
        }
        Ok(true)
    }

    /// Reads what one record names. `false` when there is no room for it.
    async fn entry(&mut self, prefix: &Prefix, key: &Key, value: Value) -> Result<bool, Error> {
        let name = prefix.rest(key);
        if self.record.reading == Reading::Manifests {
            let Some((name, digest)) = name.rsplit_once('@') else { return Ok(true) };
            let (Ok(name), Ok(digest)) = (name.parse(), digest.parse()) else { return Ok(true) };
            if self.done.bytes > 0 && self.done.bytes >= self.room {
                return Ok(false);
            }
            self.manifest(&name, &digest).await?;
            return Ok(true);
        }
        let Ok(digest) = name.parse() else { return Ok(true) };
        self.blob(&digest, key, value).await
    }

    async fn blob(&mut self, digest: &Digest, key: &Key, value: Value) -> Result<bool, Error> {
        let only_unverified = self.record.reading == Reading::Unverified;
        let found = match Found::<BlobRecord>::read(key.clone(), Some(value.clone())) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(true),
            Err(_) if only_unverified => return Ok(true),
            Err(Error::Damaged(damaged)) => {
                self.count(0, true);
                self.record.blobs += 1;
                let new = self.call.quarantine_blob(digest, &value, &unreadable(&damaged)).await?;
                self.found_blob(digest, unreadable(&damaged), new).await?;
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        let BlobRecord { quarantined, unverified, read, .. } = found.record;
        let this_round = |at: Option<Timestamp>| at.is_some_and(|at| at >= self.record.began);
        // Each is read and counted once in a round: what was damaged before with all others.
        let skipped = match only_unverified {
            true => !unverified || quarantined.is_some() && !this_round(quarantined),
            false if quarantined.is_some() => unverified && this_round(quarantined),
            false => this_round(read),
        };
        if skipped {
            return Ok(true);
        }
        if self.done.bytes > 0 && self.done.bytes.saturating_add(found.record.size) > self.room {
            return Ok(false);
        }
        let examined = self.call.examine(digest, &found.record).await;
        if examined.as_ref().is_err_and(is_unjudged) {
            // It may never be read: the next call goes on behind it.
            self.record.after = Some(key.as_str().into());
        }
        let Examined { bytes, problem, .. } = examined?;
        let Some(problem) = problem else {
            self.count(bytes, false);
            self.record.blobs += 1;
            self.done.blobs += 1;
            self.done.sound_again += u64::from(self.call.unquarantine_blob(digest, &found).await?);
            return Ok(true);
        };
        // What is another one by now was deleted or replaced while it was read.
        let [now] = self.call.get([key.clone()]).await?;
        self.count(bytes, now.as_ref() == Some(&value));
        self.record.blobs += 1;
        self.done.blobs += 1;
        if now.as_ref() == Some(&value) {
            let new = self.call.quarantine_blob(digest, &value, &problem).await?;
            self.found_blob(digest, problem, new).await?;
        }
        Ok(true)
    }

    /// Says what is wrong with a blob, if that is new.
    async fn found_blob(&mut self, digest: &Digest, problem: String, new: bool) -> Result<(), Error> {
        if new {
            let repositories = self.call.holders(digest).await?;
            self.done.findings.push(Finding::of_blob(digest, problem, repositories));
        }
        Ok(())
    }

    async fn manifest(&mut self, name: &Repository, digest: &Digest) -> Result<(), Error> {
        let key = keys::manifest(name, digest);
        let [value, payload] = self.call.get([key.clone(), keys::payload(name, digest)]).await?;
        let Some(value) = value else { return Ok(()) };
        let bytes = payload.as_ref().map_or(0, |payload| payload.len() as u64);
        self.record.manifests += 1;
        self.done.manifests += 1;
        let problem = match Found::<ManifestRecord>::read(key, Some(value.clone())) {
            Ok(Some(found)) => match manifest_problem(digest, &found.record, payload.as_ref()) {
                Some(problem) => problem,
                None => {
                    self.count(bytes, false);
                    self.done.sound_again += u64::from(self.call.unquarantine_manifest(name, digest, &found).await?);
                    return Ok(());
                }
            },
            Ok(None) => return Ok(()),
            Err(Error::Damaged(damaged)) => unreadable(&damaged),
            Err(error) => return Err(error),
        };
        self.count(bytes, true);
        if self.call.quarantine_manifest(name, digest, &value, &problem).await? {
            let repositories = Vec::from([name.to_string()]);
            self.done.findings.push(Finding::of_manifest(format!("{name}@{digest}"), problem, repositories));
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64, damaged: bool) {
        self.done.bytes += bytes;
        self.record.bytes += bytes;
        self.record.damaged += u64::from(damaged);
    }
}
