//! What is damaged is out of use: it is not there for pulls, mounts and what a manifest needs, so that clients push it
//! again, and mirrors fetch it again.
//!
//! Whoever finds damage reads twice, and sees that the storage as a whole is there: a single read that fails, or a disk
//! that is gone, puts nothing in quarantine. The commit expects the record as it was read before the bytes: so what was
//! deleted, collected or replaced meanwhile is not mistaken for damage. The bytes stay where they are until they are
//! replaced, or until garbage collection takes the blob.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Call;
use super::batch::{Batch, Found};
use super::blob::Source;
use super::upload::objects;
use crate::ambient::Timestamp;
use crate::config::{ATTEMPTS, SCAN_BYTES, SCAN_PAGE};
use crate::digest::{Algorithm, Digest};
use crate::effect::{Committed, Durability, Expect, Fault, Get, Inventory, Measure, Scan, Value};
use crate::error::Error;
use crate::keys::{self, Key};
use crate::meter::Meter;
use crate::name::Repository;
use crate::object::ObjectId;
use crate::record::{self, BlobRecord, Damaged, Extent, ManifestRecord, Owner, QuarantineRecord};

/// Of how many objects one is to be read, to see that the storage can be read at all. A registry that has lost so many and no
/// more may be a small one.
const PROBED: usize = 8;

/// How much is read of an object for that, in bytes.
const PROBED_BYTES: u64 = 1 << 20;

/// What came of a look at a blob whose bytes were missing or wrong when a client was to get them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspected {
    /// Its bytes are those of its digest.
    Sound,
    /// It is not there for clients: it is in quarantine, from now on or already, or was deleted.
    OutOfUse,
}

/// Why a blob is not judged: other objects cannot be read either.
const UNREAD: &str = "no object can be read: the storage of objects is taken for out of order";

/// Why a blob is not judged: there are no objects at all.
const EMPTY: &str = "the storage of objects is empty, and the records name many: it is taken for out of order";

/// Whether a blob was not [judged](Call::examine) for that, rather than for a fault that may be over in a moment.
pub(super) fn is_unjudged(error: &Error) -> bool {
    matches!(error, Error::Storage(Fault::Failed(reason)) if reason == UNREAD || reason == EMPTY)
}

/// What was found when the bytes of a blob were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Examined {
    /// How many bytes were hashed.
    pub(super) bytes: u64,
    /// What is wrong.
    pub(super) problem: Option<String>,
    /// Whether some bytes could not be read: they are missing, or the storage failed.
    doubt: Doubt,
}

/// What speaks against the storage rather than against a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doubt {
    /// Nothing: its bytes were read.
    #[default]
    None,
    /// An object is missing.
    Missing,
    /// An object cannot be read.
    Unread,
}

/// The record of a blob that is to be had; none when there is none, it does not read, or it is in quarantine.
pub(super) fn sound_blob(digest: &Digest, value: Option<Value>) -> Option<Found<BlobRecord>> {
    let found = Found::<BlobRecord>::read(keys::blob(digest), value).ok()??;
    found.record.quarantined.is_none().then_some(found)
}

/// The record of a manifest that is to be had; none when there is none, it does not read, or it is in quarantine.
pub(super) fn sound_manifest(
    name: &Repository,
    digest: &Digest,
    value: Option<Value>,
) -> Option<Found<ManifestRecord>> {
    let found = Found::<ManifestRecord>::read(keys::manifest(name, digest), value).ok()??;
    found.record.quarantined.is_none().then_some(found)
}

/// What is wrong with the bytes of a manifest.
pub(super) fn manifest_problem(digest: &Digest, record: &ManifestRecord, payload: Option<&Value>) -> Option<String> {
    let Some(payload) = payload else { return Some("its bytes are missing".into()) };
    let (actual, size) = (digest.algorithm().digest(payload), payload.len() as u64);
    match actual {
        actual if actual != *digest => Some(format!("its bytes have the digest {actual}")),
        _ if size != record.size => Some(format!("it has {size} bytes, its record says {}", record.size)),
        _ => None,
    }
}

/// What is wrong with a record.
pub(super) fn unreadable(damaged: &Damaged) -> String {
    format!("the record does not read: {}", damaged.reason)
}

impl Call {
    /// Reads the bytes of a blob, and once more when something is wrong with them. An error is that the storage as a whole
    /// cannot be read now, which says nothing of the blob.
    pub(super) async fn examine(&self, digest: &Digest, blob: &BlobRecord) -> Result<Examined, Error> {
        let first = self.examine_once(digest, blob).await?;
        if first.problem.is_none() {
            return Ok(first);
        }
        let second = self.examine_once(digest, blob).await?;
        let doubt = second.doubt;
        if doubt != Doubt::None {
            let blobs = objects(&blob.extents);
            self.probe(&blobs, doubt == Doubt::Unread).await?;
        }
        Ok(Examined { bytes: first.bytes + second.bytes, ..second })
    }

    async fn examine_once(&self, digest: &Digest, blob: &BlobRecord) -> Result<Examined, Error> {
        let wrong = |bytes, doubt, problem| Ok(Examined { bytes, problem: Some(problem), doubt });
        let Some(Source { extents, first }) = self.source(&blob.extents).await? else {
            return wrong(0, Doubt::None, "its bytes are missing among the records".into());
        };
        let mut meter = Meter::new(digest.algorithm());
        first.iter().for_each(|bytes| meter.update(bytes));
        let objects = objects(extents);
        if !objects.is_empty() {
            if let Some(object) = self.not_named(digest, &objects).await? {
                return wrong(0, Doubt::None, format!("the object {object} is not known to belong to it"));
            }
            // One by one, so that the one that is missing has a name.
            for object in objects {
                let read = meter.count();
                match self.io.ask(Measure { objects: Vec::from([object]), meter }).await {
                    Ok(Some(measured)) => meter = measured,
                    Ok(None) => return wrong(read, Doubt::Missing, format!("its object {object} is missing")),
                    // The same may well succeed in a few seconds.
                    Err(fault @ Fault::Unavailable(_)) => return Err(fault.into()),
                    Err(fault) => {
                        return wrong(read, Doubt::Unread, format!("its object {object} cannot be read: {fault}"));
                    }
                }
            }
        }
        let (bytes, actual) = (meter.count(), meter.digest());
        match actual {
            actual if actual != *digest => {
                wrong(bytes, Doubt::None, format!("its {bytes} bytes have the digest {actual}"))
            }
            _ if bytes != blob.size => {
                wrong(bytes, Doubt::None, format!("it has {bytes} bytes, its record says {}", blob.size))
            }
            _ => Ok(Examined { bytes, ..Examined::default() }),
        }
    }

    /// The first of these objects that is not said to belong to the blob.
    async fn not_named(&self, digest: &Digest, objects: &[ObjectId]) -> Result<Option<ObjectId>, Error> {
        let named = self.named(digest, objects).await?;
        Ok(objects.iter().zip(named).find(|(_, named)| !named).map(|(object, _)| *object))
    }

    /// Whether each of these objects is said to belong to the blob.
    async fn named(&self, digest: &Digest, objects: &[ObjectId]) -> Result<Vec<bool>, Error> {
        let keys: Vec<Key> = objects.iter().map(keys::object).collect();
        let owners = self.ask(Get { keys: keys.clone() }).await?;
        let names = |(key, value): (&Key, Option<Value>)| {
            let owner = value.and_then(|value| record::decode::<Owner>(key, &value).ok());
            owner == Some(Owner::Blob(*digest))
        };
        Ok(keys.iter().zip(owners).map(names).collect())
    }

    /// Sees that the storage of objects is there, and, where one could not be `read`, that others can be: an error else.
    async fn probe(&self, but: &[ObjectId], read: bool) -> Result<(), Error> {
        let limit = if read { SCAN_PAGE } else { 1 };
        let (mut after, mut failed) = (None, 0);
        while failed < PROBED {
            let page = self.ask(Inventory { after, limit }).await?;
            let Some(last) = page.last() else { break };
            if !read {
                return Ok(());
            }
            after = Some(last.object);
            for stored in page.iter().filter(|stored| !but.contains(&stored.object)) {
                let meter = Meter::new(Algorithm::Sha256).with_limit(PROBED_BYTES);
                match self.io.ask(Measure { objects: Vec::from([stored.object]), meter }).await {
                    Ok(Some(_)) => return Ok(()),
                    // It was erased meanwhile, or is not whole yet.
                    Ok(None) => {}
                    Err(_) => failed += 1,
                }
                if failed == PROBED {
                    break;
                }
            }
        }
        if failed > 0 {
            return Err(Fault::Failed(UNREAD.into()).into());
        }
        if after.is_some() {
            // There is nothing else, so nothing speaks against the storage.
            return Ok(());
        }
        // A small registry may have lost the little that it had. Where much is missing, it is another storage.
        let known = Scan { prefix: keys::objects(), after: None, limit: PROBED + 1, bytes: SCAN_BYTES };
        if self.ask(known).await?.len() <= PROBED {
            return Ok(());
        }
        Err(Fault::Failed(EMPTY.into()).into())
    }

    /// Puts a blob in quarantine whose record is `value`, or says of one whose record does not read that it is damaged.
    /// `false` when it is another one by now, or is known to be damaged.
    pub(super) async fn quarantine_blob(&self, digest: &Digest, value: &Value, problem: &str) -> Result<bool, Error> {
        let key = keys::blob(digest);
        let note = self.find_note(keys::quarantined_blob(digest)).await?;
        let note_is_new = note.is_none();
        let blob = record::decode::<BlobRecord>(&key, value).ok();
        let mut batch = self.note(keys::quarantined_blob(digest), note, problem);
        batch.expect(Expect::Exactly(key.clone(), value.clone()));
        if let Some(blob) = blob.filter(|blob| blob.quarantined.is_none()) {
            let quarantined = Some(self.ambient.now);
            batch.put(key, &BlobRecord { quarantined, ..blob });
        }
        if note_is_new {
            self.tell_damaged(&mut batch, &self.holders(digest).await?, digest, None).await?;
        }
        self.is_new(batch).await
    }

    /// The same for a manifest.
    pub(super) async fn quarantine_manifest(
        &self,
        name: &Repository,
        digest: &Digest,
        value: &Value,
        problem: &str,
    ) -> Result<bool, Error> {
        let (key, note_key) = (keys::manifest(name, digest), keys::quarantined_manifest(name, digest));
        let note = self.find_note(note_key.clone()).await?;
        let note_is_new = note.is_none();
        let manifest = record::decode::<ManifestRecord>(&key, value).ok();
        let mut batch = self.note(note_key, note, problem);
        batch.expect(Expect::Exactly(key.clone(), value.clone()));
        if let Some(manifest) = manifest.clone().filter(|manifest| manifest.quarantined.is_none()) {
            let quarantined = Some(self.ambient.now);
            batch.put(key, &ManifestRecord { quarantined, ..manifest });
        }
        if note_is_new {
            let repositories = [name.to_string()];
            self.tell_damaged(&mut batch, &repositories, digest, manifest.as_ref()).await?;
        }
        self.is_new(batch).await
    }

    /// What is known of something that is damaged: none when that does not read.
    async fn find_note(&self, key: Key) -> Result<Option<QuarantineRecord>, Error> {
        let [note] = self.get([key.clone()]).await?;
        Ok(note.and_then(|note| record::decode(&key, &note).ok()))
    }

    /// The change that says what is wrong with something, unless that is known.
    fn note(&self, key: Key, known: Option<QuarantineRecord>, problem: &str) -> Batch {
        // It is made on a full disk too: what is damaged is not to be served.
        let mut batch = Batch::reclaiming();
        if known.as_ref().is_none_or(|known| known.problem != problem) {
            let since = known.map_or(self.ambient.now, |known| known.since);
            batch.put(key, &QuarantineRecord { since, problem: problem.into() });
        }
        batch
    }

    /// Makes a change, if there is one, durably: it is not to be served after a crash either.
    async fn is_new(&self, batch: Batch) -> Result<bool, Error> {
        Ok(!batch.is_empty() && self.commit(batch, Durability::Durable).await? == Committed::Done)
    }

    /// Takes a blob out of quarantine, and says of one that was taken over that it was read: its bytes are those of its
    /// digest. `true` when it was in quarantine.
    pub(super) async fn unquarantine_blob(&self, digest: &Digest, blob: &Found<BlobRecord>) -> Result<bool, Error> {
        let (quarantined, unverified) = (blob.record.quarantined.is_some(), blob.record.unverified);
        if !quarantined && !unverified {
            return Ok(false);
        }
        let mut batch = Batch::reclaiming();
        batch.expect(blob.unchanged());
        let read = unverified.then_some(self.ambient.now);
        let sound = BlobRecord { quarantined: None, unverified: false, read, ..blob.record.clone() };
        batch.put(blob.key.clone(), &sound);
        batch.delete(keys::quarantined_blob(digest));
        // A crash takes that back: then it is read once more.
        Ok(self.commit(batch, Durability::Eventual).await? == Committed::Done && quarantined)
    }

    /// Takes a manifest out of quarantine.
    pub(super) async fn unquarantine_manifest(
        &self,
        name: &Repository,
        digest: &Digest,
        found: &Found<ManifestRecord>,
    ) -> Result<bool, Error> {
        if found.record.quarantined.is_none() {
            return Ok(false);
        }
        let mut batch = Batch::reclaiming();
        batch.expect(found.unchanged());
        batch.put(found.key.clone(), &ManifestRecord { quarantined: None, ..found.record.clone() });
        batch.delete(keys::quarantined_manifest(name, digest));
        Ok(self.commit(batch, Durability::Eventual).await? == Committed::Done)
    }

    /// Takes what a blob was made of out of the records, which `value` says, since the same commit gives it other bytes: its
    /// own were damaged, or nobody knew that they were not. Returns the objects that are to be erased after the commit.
    pub(super) async fn replace_blob(
        &self,
        batch: &mut Batch,
        digest: &Digest,
        value: &Value,
        at: Timestamp,
    ) -> Result<Vec<ObjectId>, Error> {
        batch.delete(keys::quarantined_blob(digest));
        // Of a record that does not read nobody knows what it named.
        let Ok(blob) = record::decode::<BlobRecord>(&keys::blob(digest), value) else { return Ok(Vec::new()) };
        // One that is damaged may name what belongs to others.
        let stored = objects(&blob.extents);
        let named = self.named(digest, &stored).await?;
        let own: Vec<ObjectId> =
            stored.into_iter().zip(named).filter(|(_, own)| *own).map(|(object, _)| object).collect();
        let own = blob.extents.iter().filter(|extent| extent.small || own.contains(&extent.object));
        Ok(self.let_go(batch, own, at))
    }

    /// Looks at a blob whose bytes were missing or wrong when a client was to get them.
    pub(crate) async fn suspect(&self, digest: &Digest) -> Result<Suspected, Error> {
        let key = keys::blob(digest);
        for _ in 0..ATTEMPTS {
            let [value] = self.get([key.clone()]).await?;
            let Some(value) = value else { return Ok(Suspected::OutOfUse) };
            let problem = match record::decode::<BlobRecord>(&key, &value) {
                Ok(blob) if blob.quarantined.is_some() => return Ok(Suspected::OutOfUse),
                Ok(blob) => self.examine(digest, &blob).await?.problem,
                Err(damaged) => Some(unreadable(&damaged)),
            };
            let Some(problem) = problem else { return Ok(Suspected::Sound) };
            if self.quarantine_blob(digest, &value, &problem).await? {
                return Ok(Suspected::OutOfUse);
            }
            // Nothing was to be noted, or another call was faster: it has found the same, replaced the blob or deleted it.
            let [now] = self.get([key.clone()]).await?;
            if now == Some(value) {
                return Ok(Suspected::OutOfUse);
            }
        }
        Err(Error::Contention)
    }

    /// Says of a blob that was taken over that all bytes of these objects were read, and are those of its digest. One that has
    /// others by now was not read.
    pub(crate) async fn verified(&self, digest: &Digest, read: &[ObjectId]) -> Result<(), Error> {
        self.unquarantine_if(digest, |extents| !read.is_empty() && objects(extents) == read).await
    }

    /// The same of one whose bytes lie among the records.
    pub(super) async fn verified_here(&self, digest: &Digest, read: &[Extent]) -> Result<(), Error> {
        self.unquarantine_if(digest, |extents| extents == read).await
    }

    async fn unquarantine_if(&self, digest: &Digest, was_read: impl FnOnce(&[Extent]) -> bool) -> Result<(), Error> {
        let [value] = self.get([keys::blob(digest)]).await?;
        match sound_blob(digest, value) {
            Some(blob) if was_read(&blob.record.extents) => self.unquarantine_blob(digest, &blob).await.map(drop),
            _ => Ok(()),
        }
    }
}
