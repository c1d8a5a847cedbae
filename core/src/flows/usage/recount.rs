//! The recount: whether the counter of each repository says what the other records do, and its repair.
//!
//! A page of records is not of the same moment as the counter, so a recount is right only if nothing changes meanwhile.
//! It puts a mark, which every commit deletes that takes bytes from the counter or, as a delete that can be undone, moves
//! them from one record to another; one that adds bytes changes the counter itself. So when both are as they were, nothing
//! has changed in between, and the commit that repairs expects just that.
//!
//! First each repository is counted without a mark: where that is what its counter says, it is right. The others are
//! counted again with marks, some together, because the open uploads of all repositories are under one prefix.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Get, Value};
use crate::error::Error;
use crate::flows::batch::{Batch, Found};
use crate::flows::pages::Pages;
use crate::flows::{Call, fault};
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::record::{self, BlobRecord, DeletedRecord, ManifestRecord, RecountRecord, UploadRecord};

/// How often a repository is counted in which pushes and deletes go on meanwhile.
const TRIES: usize = 8;

/// How many repositories whose counters seem wrong are counted again together: the open uploads are gone through once for
/// all of them.
const TOGETHER: usize = 100;

/// How many repositories a report names one by one.
const NAMED: usize = 10_000;

/// What a recount has found and repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recount {
    /// Repositories that were counted.
    pub repositories: u64,
    /// Of these, those whose counter was wrong. It is right now.
    pub repaired: u64,
    /// Repositories that could not be counted, since they changed all the time, or have a record that does not read.
    pub uncounted: u64,
    /// Those that were repaired one by one, some ten thousand at most.
    pub drifts: Vec<Drift>,
    /// Why some could not be counted, some ten thousand at most.
    pub reasons: Vec<String>,
    /// Why it ended early, if the storage failed.
    pub fault: Option<String>,
}

/// A counter that was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Whose it is.
    pub repository: String,
    /// What it said.
    pub counted: u64,
    /// What its blobs, manifests and open uploads have.
    pub bytes: u64,
}

impl fmt::Display for Recount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} repositories counted, {} counters repaired", self.repositories, self.repaired)?;
        if self.uncounted > 0 {
            write!(f, "; {} could not be counted", self.uncounted)?;
        }
        self.fault.iter().try_for_each(|fault| write!(f, "; ended early: {fault}"))
    }
}

impl Recount {
    fn not_counted(&mut self, reason: String) {
        self.uncounted += 1;
        if self.reasons.len() < NAMED {
            self.reasons.push(reason);
        }
    }
}

impl Call {
    /// Counts every repository once, and repairs each counter that is wrong.
    pub(crate) async fn recount(&self) -> Recount {
        let mut recount = Recount::default();
        if let Err(error) = self.recount_all(&mut recount).await {
            recount.fault = Some(fault(error).to_string());
        }
        recount
    }

    async fn recount_all(&self, recount: &mut Recount) -> Result<(), Error> {
        let mut uploads = self.bytes_of_uploads().await?;
        let mut suspects = Vec::new();
        // Repositories that have a counter; those that should have one; those that have only uploads.
        let (usages, repositories) = (keys::usages(), keys::repositories());
        let mut pages = Pages::new(&usages);
        while let Some(page) = pages.next(self).await? {
            for name in page.iter().filter_map(|(key, _)| usages.rest(key).parse::<Repository>().ok()) {
                let held = uploads.remove(&name).unwrap_or_default();
                self.recount_one(recount, name, held, &mut suspects).await?;
            }
        }
        let mut pages = Pages::new(&repositories);
        while let Some(page) = pages.next(self).await? {
            let names = page.iter().filter_map(|(key, _)| repositories.rest(key).parse::<Repository>().ok());
            let names: Vec<Repository> = names.collect();
            let counters = self.ask(Get { keys: names.iter().map(keys::usage).collect() }).await?;
            for (name, _) in names.iter().zip(counters).filter(|(_, counter)| counter.is_none()) {
                let held = uploads.remove(name).unwrap_or_default();
                self.recount_one(recount, name.clone(), held, &mut suspects).await?;
            }
        }
        for (name, held) in uploads {
            self.recount_one(recount, name, held, &mut suspects).await?;
        }
        self.recount_again(recount, suspects).await
    }

    /// What the open uploads of each repository have. One that does not read has nothing: it is looked at again.
    async fn bytes_of_uploads(&self) -> Result<BTreeMap<Repository, u64>, Error> {
        let prefix = keys::uploads();
        let mut held = BTreeMap::<Repository, u64>::new();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Ok(upload) = record::decode::<UploadRecord>(&key, &value) else { continue };
                let bytes = upload.offset();
                *held.entry(upload.repository).or_default() += bytes;
            }
        }
        Ok(held)
    }

    /// Counts a repository whose uploads had so much a moment ago. When that is what its counter says, it is right: to be
    /// so by chance, it would have to be wrong by just what has changed meanwhile. Else it is one of the `suspects`, which
    /// are counted again once there are some.
    async fn recount_one(
        &self,
        recount: &mut Recount,
        name: Repository,
        uploads: u64,
        suspects: &mut Vec<Repository>,
    ) -> Result<(), Error> {
        recount.repositories += 1;
        let [before] = self.get([keys::usage(&name)]).await?;
        match self.bytes_held(&name).await {
            Ok(held) if record::added(None, sum(held, uploads)) == before => {}
            Ok(_) => suspects.push(name),
            Err(damaged @ Error::Damaged(_)) => {
                recount.not_counted(format!("{name} cannot be counted: {}", fault(damaged)))
            }
            Err(error) => return Err(error),
        }
        if suspects.len() >= TOGETHER {
            self.recount_again(recount, core::mem::take(suspects)).await?;
        }
        Ok(())
    }

    /// Counts repositories with nothing changing meanwhile, and repairs their counters.
    async fn recount_again(&self, recount: &mut Recount, mut names: Vec<Repository>) -> Result<(), Error> {
        for _ in 0..TRIES {
            if names.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            names.iter().map(|name| self.mark(name)).for_each(|mark| batch.put(mark.key.clone(), &mark.record));
            // What the marks are to notice comes after them in any case.
            self.commit(batch, Durability::Eventual).await?;
            let counters = self.ask(Get { keys: names.iter().map(keys::usage).collect() }).await?;
            let uploads = self.bytes_of_uploads().await?;
            let mut changed = Vec::new();
            for (name, before) in names.into_iter().zip(counters) {
                let held = uploads.get(&name).copied().unwrap_or_default();
                match self.recount_alone(&name, before, held).await {
                    Ok(Counted::Right) => {}
                    Ok(Counted::Repaired(drift)) => {
                        recount.repaired += 1;
                        if recount.drifts.len() < NAMED {
                            recount.drifts.push(drift);
                        }
                    }
                    Ok(Counted::Changed) => changed.push(name),
                    Err(damaged @ Error::Damaged(_)) => {
                        self.unmark(&name).await?;
                        recount.not_counted(format!("{name} cannot be counted: {}", fault(damaged)));
                    }
                    Err(error) => return Err(error),
                }
            }
            names = changed;
        }
        for name in names {
            self.unmark(&name).await?;
            recount.not_counted(format!("{name} changed each time while it was counted: run this again"));
        }
        Ok(())
    }

    /// Counts a repository that has the mark of this call, and whose counter and uploads were read after that; and repairs
    /// the counter, if nothing has changed since.
    async fn recount_alone(&self, name: &Repository, before: Option<Value>, uploads: u64) -> Result<Counted, Error> {
        let (marked, usage) = (self.mark(name), keys::usage(name));
        let bytes = self.bytes_held(name).await?.saturating_add(uploads);
        let right = record::added(None, sum(bytes, 0));
        let mut batch = Batch::reclaiming();
        batch.expect(marked.unchanged());
        batch.expect(match &before {
            Some(value) => Expect::Exactly(usage.clone(), value.clone()),
            None => Expect::Absent(usage.clone()),
        });
        batch.delete(marked.key);
        if right != before {
            match &right {
                Some(value) => batch.put.push((usage, value.clone())),
                None => batch.delete(usage),
            }
        }
        match self.commit(batch, Durability::Eventual).await? {
            Committed::Conflict => Ok(Counted::Changed),
            Committed::Done if right == before => Ok(Counted::Right),
            Committed::Done => {
                let counted = record::count(before.as_ref());
                Ok(Counted::Repaired(Drift { repository: name.as_str().into(), counted, bytes }))
            }
        }
    }

    /// The mark of this call.
    fn mark(&self, name: &Repository) -> Found<RecountRecord> {
        Found::written(keys::recount(name), RecountRecord { by: self.ambient.nonce, since: self.ambient.now })
    }

    /// Takes the mark of this call away.
    async fn unmark(&self, name: &Repository) -> Result<(), Error> {
        let marked = self.mark(name);
        let mut batch = Batch::reclaiming();
        batch.expect(marked.unchanged());
        batch.delete(marked.key);
        self.commit(batch, Durability::Eventual).await.map(drop)
    }

    /// The bytes of the blobs and manifests that a repository holds, and of manifests that can be undeleted.
    async fn bytes_held(&self, name: &Repository) -> Result<u64, Error> {
        let mut bytes = 0_u64;
        let links = keys::links(name);
        let mut pages = Pages::new(&links);
        while let Some(page) = pages.next(self).await? {
            let blobs = page.iter().filter_map(|(key, _)| links.rest(key).parse::<Digest>().ok());
            let blobs: Vec<Key> = blobs.map(|digest| keys::blob(&digest)).collect();
            let found = self.ask(Get { keys: blobs.clone() }).await?;
            for (key, value) in blobs.iter().zip(found) {
                // One that is gone since was taken out of the repository before.
                let Some(value) = value else { continue };
                bytes = bytes.saturating_add(record::decode::<BlobRecord>(key, &value)?.size);
            }
        }
        let manifests = keys::manifests(name);
        let mut pages = Pages::new(&manifests);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                bytes = bytes.saturating_add(record::decode::<ManifestRecord>(&key, &value)?.size);
            }
        }
        // They count until they are purged (SPEC X2).
        let deleted = keys::deleted_in(name);
        let mut pages = Pages::new(&deleted);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                bytes = bytes.saturating_add(record::decode::<DeletedRecord>(&key, &value)?.manifest.size);
            }
        }
        Ok(bytes)
    }
}

/// What came of counting one repository.
enum Counted {
    Right,
    Repaired(Drift),
    /// Something was pushed or deleted meanwhile.
    Changed,
}

fn sum(held: u64, more: u64) -> i64 {
    i64::try_from(held.saturating_add(more)).unwrap_or(i64::MAX)
}
