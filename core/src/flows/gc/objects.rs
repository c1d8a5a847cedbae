//! Objects that no record names: orphans, and what was released.

use alloc::format;
use alloc::vec::Vec;

use super::super::batch::Batch;
use super::super::pages::Pages;
use super::{Collection, Garbage};
use crate::config::SCAN_PAGE;
use crate::effect::{Committed, Durability, Expect, Get, Inventory, Stored};
use crate::error::Error;
use crate::keys::{self, Key};
use crate::object::ObjectId;
use crate::record::{self, Extent, ReleasedRecord};

impl Collection<'_> {
    /// Counts the bytes of what no record names any more.
    pub(super) fn count_left(&mut self, extents: &[Extent]) {
        for extent in extents {
            if extent.small || !self.call.keeps_erased() {
                self.report.bytes_freed += extent.size;
            } else {
                self.count_released(extent.size);
            }
        }
    }

    /// Counts an object that is released.
    fn count_released(&mut self, size: u64) {
        self.report.objects_released += 1;
        self.report.bytes_released += size;
    }

    /// Takes objects that no record names and that no living call can come to name: what crashes left, and what is
    /// younger than a database that was restored.
    pub(super) async fn orphans(&mut self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let stored = self.call.ask(Inventory { after, limit: SCAN_PAGE }).await?;
            let Some(last) = stored.last() else { return Ok(()) };
            after = Some(last.object);
            let old = |stored: &&Stored| stored.age > self.call.config.call_lifetime;
            let old: Vec<Stored> = stored.iter().filter(old).copied().collect();
            let unnamed = self.without(keys::object, old).await?;
            let orphans = if unnamed.is_empty() { unnamed } else { self.without(keys::released, unnamed).await? };
            // An object without bytes is none that a record could name, but an upload to the store that has not ended.
            let keeps = self.call.keeps_erased();
            let (kept, erased): (Vec<Stored>, Vec<Stored>) =
                orphans.into_iter().partition(|orphan| keeps && orphan.size > 0);
            self.release(kept).await?;
            for Stored { object, size, .. } in &erased {
                self.count_orphan(object, *size);
                self.report.bytes_freed += size;
            }
            if !self.dry_run && !erased.is_empty() {
                self.call.erase(erased.into_iter().map(|orphan| orphan.object).collect()).await;
            }
        }
    }

    /// Those of these objects of which there is no record of that family.
    async fn without(&self, family: fn(&ObjectId) -> Key, objects: Vec<Stored>) -> Result<Vec<Stored>, Error> {
        let keys = objects.iter().map(|stored| family(&stored.object)).collect();
        let found = self.call.ask(Get { keys }).await?;
        Ok(objects.into_iter().zip(found).filter(|(_, found)| found.is_none()).map(|(stored, _)| stored).collect())
    }

    /// Releases orphans. A crash here may take that back: then they are orphans as before.
    async fn release(&mut self, orphans: Vec<Stored>) -> Result<(), Error> {
        if orphans.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::reclaiming();
        for Stored { object, size, .. } in &orphans {
            batch.expect(Expect::Absent(keys::object(object)));
            let released = ReleasedRecord { released: self.call.ambient.now, size: *size };
            batch.put(keys::released(object), &released);
        }
        if self.dry_run || self.call.commit(batch, Durability::Eventual).await? == Committed::Done {
            for Stored { object, size, .. } in orphans {
                self.count_orphan(&object, size);
                self.count_released(size);
            }
        }
        Ok(())
    }

    fn count_orphan(&mut self, object: &ObjectId, bytes: u64) {
        self.report.orphans_removed += 1;
        self.name(|| Garbage { what: format!("object {object}"), why: "no upload and no blob has it", bytes });
    }

    /// Erases objects that were released long enough ago, and counts the others. A crash here leaves orphans, or takes the
    /// commit back: then the next collection finds the records of objects that are gone.
    pub(super) async fn released(&mut self) -> Result<(), Error> {
        let prefix = keys::all_released();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            let mut batch = Batch::reclaiming();
            let mut over = Vec::new();
            for (key, value) in page {
                let Ok(object) = prefix.rest(&key).parse::<ObjectId>() else { continue };
                let record = record::decode::<ReleasedRecord>(&key, &value).map_err(Error::from);
                let Some(ReleasedRecord { released, size }) = self.pass_by_damage(record)? else { continue };
                if self.call.ambient.now.since(released) < self.call.config.keep_erased {
                    self.report.objects_kept += 1;
                    self.report.bytes_kept += size;
                    continue;
                }
                // Written by whoever released it, and removed by nothing else.
                batch.expect(Expect::Absent(keys::object(&object)));
                batch.delete(key);
                over.push((object, size));
            }
            if over.is_empty() {
                continue;
            }
            if !self.dry_run && self.call.commit(batch, Durability::Eventual).await? == Committed::Conflict {
                continue;
            }
            for (object, bytes) in &over {
                self.report.objects_erased += 1;
                self.report.bytes_freed += bytes;
                let why = "it was released longer ago than such objects are kept";
                self.name(|| Garbage { what: format!("object {object}"), why, bytes: *bytes });
            }
            if !self.dry_run {
                self.call.erase(over.into_iter().map(|(object, _)| object).collect()).await;
            }
        }
        if self.dry_run {
            self.report.objects_kept += self.report.objects_released;
            self.report.bytes_kept += self.report.bytes_released;
        }
        Ok(())
    }
}
