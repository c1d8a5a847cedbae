//! What was deleted and can be undeleted no more (SPEC X6).

use alloc::format;

use super::super::Call;
use super::super::batch::{Batch, Found};
use super::super::delete::End;
use super::super::pages::Pages;
use super::{Collection, Garbage};
use crate::ambient::Timestamp;
use crate::config::ATTEMPTS;
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Value};
use crate::error::Error;
use crate::keys::{self, Key, Prefix};
use crate::name::{Repository, Tag};
use crate::record::{DeletedRecord, DeletedTagRecord};

/// Why it is garbage.
const OVER: &str = "it was deleted longer ago than it can be undeleted";

/// Who deletes what garbage collection does not remove at once.
const BY: &str = "garbage collection";

impl Collection<'_> {
    /// How a manifest ends that nothing names.
    pub(super) fn collected(&self) -> End<'static> {
        match self.call.end(BY) {
            End::Kept(by) => End::Kept(by),
            End::Gone | End::Collected => End::Collected,
        }
    }

    /// Whether no mark protects the manifest by its digest; expected by `also` from then on.
    pub(super) async fn is_unmarked(
        &self,
        also: &mut Batch,
        name: &Repository,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let marks = self.call.marks().await?;
        also.expect(marks.unchanged());
        Ok(marks.manifest(name, digest).is_ok())
    }

    /// Purges the manifests and tags of a repository that were deleted too long ago. Tags go first: they keep manifests.
    pub(super) async fn deleted(&mut self, name: &Repository) -> Result<(), Error> {
        let prefix = keys::deleted_tags(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let Ok(tag) = prefix.rest(&key).parse::<Tag>() else { continue };
                let purged = self.deleted_tag(name, &tag, key, value).await;
                self.pass_by_damage(purged)?;
            }
        }
        let prefix = keys::deleted_in(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                let purged = self.deleted_manifest(name, &digest, key, value).await;
                self.pass_by_damage(purged)?;
            }
        }
        Ok(())
    }

    async fn deleted_tag(&mut self, name: &Repository, tag: &Tag, key: Key, value: Value) -> Result<(), Error> {
        let Some(found): Option<Found<DeletedTagRecord>> = Found::read(key, Some(value))? else { return Ok(()) };
        if !self.has_lapsed(found.record.deleted) {
            return Ok(());
        }
        let mut batch = Batch::reclaiming();
        batch.merge(Call::without_deleted_tag(name, tag, &found));
        let garbage = || Garbage { what: format!("deleted tag {name}:{tag}"), why: OVER, bytes: 0 };
        if self.remove(batch, Durability::Eventual, garbage).await? {
            self.report.tags_purged += 1;
            if self.dry_run {
                self.gone.tags.insert(tag.as_str().into());
            }
        }
        Ok(())
    }

    async fn deleted_manifest(
        &mut self,
        name: &Repository,
        digest: &Digest,
        key: Key,
        value: Value,
    ) -> Result<(), Error> {
        let Some(found): Option<Found<DeletedRecord>> = Found::read(key, Some(value))? else { return Ok(()) };
        if !self.has_lapsed(found.record.deleted) {
            return Ok(());
        }
        let bytes = found.record.manifest.size;
        if self.dry_run {
            self.gone.manifests.insert(*digest);
            self.name(|| Garbage { what: format!("deleted manifest {name}@{digest}"), why: OVER, bytes });
        } else if self.call.purge_deleted(name, digest, &found).await? == Committed::Conflict {
            return Ok(());
        }
        self.report.manifests_purged += 1;
        self.report.bytes_freed += bytes;
        Ok(())
    }

    /// Whether what was deleted then can be undeleted no more.
    fn has_lapsed(&self, deleted: Timestamp) -> bool {
        match self.call.config.undelete_within {
            Some(within) if !within.is_zero() => self.older(within, deleted),
            _ => true,
        }
    }

    /// Whether no deleted tag is under a prefix of `deletedtagged/`, but such as are gone for this dry run.
    pub(super) async fn is_named_by_gone_tags(&self, named: &Prefix) -> Result<bool, Error> {
        if self.gone.tags.is_empty() {
            return self.call.is_empty(named).await;
        }
        self.call.has_only(named, |key| self.gone.tags.contains(named.rest(key))).await
    }

    /// The same of a prefix of `deletedtag/`.
    pub(super) async fn has_only_gone_tags(&self, tags: &Prefix) -> Result<bool, Error> {
        if self.gone.tags.is_empty() {
            return self.call.is_empty(tags).await;
        }
        self.call.has_only(tags, |key| self.gone.tags.contains(tags.rest(key))).await
    }
}

impl Call {
    /// The change that ends what is known of a deleted tag, which is as it was read. By itself it does not count as one that
    /// frees space: an undelete makes it too.
    pub(in crate::flows) fn without_deleted_tag(
        name: &Repository,
        tag: &Tag,
        found: &Found<DeletedTagRecord>,
    ) -> Batch {
        let mut batch = Batch::default();
        batch.expect(found.unchanged());
        batch.delete(found.key.clone());
        for digest in found.record.names() {
            batch.delete(keys::deleted_tagged(name, &digest, tag));
        }
        batch
    }

    /// Ends a deleted manifest for good, if its record is as it was read. What it needs counts as left from now on, as
    /// when a manifest is removed at once; its children as left when it was deleted.
    pub(in crate::flows) async fn purge_deleted(
        &self,
        name: &Repository,
        digest: &Digest,
        found: &Found<DeletedRecord>,
    ) -> Result<Committed, Error> {
        let DeletedRecord { manifest, deleted, .. } = &found.record;
        let payload_key = keys::deleted_payload(name, digest);
        for _ in 0..ATTEMPTS {
            let [now, payload] = self.get([found.key.clone(), payload_key.clone()]).await?;
            if now.as_ref() != Some(&found.value) {
                return Ok(Committed::Conflict);
            }
            let mut batch = Batch::reclaiming();
            batch.expect(found.unchanged());
            batch.delete(found.key.clone());
            batch.delete(payload_key.clone());
            batch.expect(Expect::Absent(keys::manifest(name, digest)));
            self.needs_left(&mut batch, name, digest, (payload, manifest), *deleted).await?;
            if let Some(committed) = self.commit_end(batch, name, digest, End::Gone).await? {
                return Ok(committed);
            }
        }
        Ok(Committed::Conflict)
    }
}
