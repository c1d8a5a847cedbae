//! Garbage collection, a call like any other, online.
//!
//! It decides nothing upon what it has read: every record it removes goes by a commit that expects the reason to
//! hold at that moment. Objects are erased after the record that named them, or when no record names them and
//! they are older than any call can live. So it needs no lock, and whatever runs beside it is safe. Where objects are
//! kept for records that may be restored, both are [released](super::release) instead, and erased by a later collection:
//! so of what a restored database does not know, too, nothing is erased before `keep_erased` has passed since the first
//! collection on that database.
//!
//! A record that does not read is counted, named and passed by: it ends no collection.
//!
//! A dry run finds out the same and changes nothing: what an earlier step would have removed, it takes for gone.

mod deleted;
mod objects;
mod quotas;
#[cfg(feature = "api")]
mod signed;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::batch::{Batch, Found};
use super::blob::take_blob;
use super::delete::{End, Removal, Removed};
use super::pages::Pages;
use super::upload::Session;
use super::{Call, fault};
use crate::ambient::Timestamp;
use crate::config::{EVENT_LIFETIME, FINISHED_LIFETIME, LEASE};
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Value};
use crate::error::Error;
use crate::event::Event;
use crate::keys::{self, Key, Prefix};
use crate::name::Repository;
use crate::record::{
    self, BlobRecord, FinishedRecord, LeaseRecord, LeftRecord, LinkRecord, ManifestRecord, RepositoryRecord,
};

/// How many damaged records, and how much garbage in a dry run, a report names one by one.
const NAMED: usize = 10_000;

/// What garbage collection did, or in a dry run would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Upload sessions that had rested too long.
    pub uploads_expired: u64,
    /// Lists that the registry had made and that no tag names any more.
    pub lists_removed: u64,
    /// Manifests that neither a tag nor an index named, where a policy says that they go.
    pub manifests_removed: u64,
    /// Manifests that had been deleted for longer than they can be undeleted, and are gone now.
    pub manifests_purged: u64,
    /// Tags that had been deleted for longer than they can be undeleted.
    pub tags_purged: u64,
    /// Blobs taken out of a repository in which no manifest needs them.
    pub links_removed: u64,
    /// Blobs that no repository held.
    pub blobs_removed: u64,
    /// Repositories that had become empty.
    pub repositories_removed: u64,
    /// Events that were too old.
    pub events_removed: u64,
    /// Objects that no record named: what crashes left, and what a database that was restored does not know.
    pub orphans_removed: u64,
    /// How many bytes were freed.
    pub bytes_freed: u64,
    /// Of all this, objects that stay for a while, for a database that is restored.
    pub objects_released: u64,
    /// The bytes they have: they are freed later.
    pub bytes_released: u64,
    /// Objects that were released long enough ago, and are gone now. Their bytes are freed.
    pub objects_erased: u64,
    /// All objects that are released and stay for now.
    pub objects_kept: u64,
    /// The bytes they have.
    pub bytes_kept: u64,
    /// Records that do not read. They stay as they are.
    pub records_damaged: u64,
    /// Their keys, some ten thousand at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
    /// In a dry run, what would go, some ten thousand at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub garbage: Vec<Garbage>,
    /// Why it ended early, if the storage failed.
    pub fault: Option<String>,
}

/// Something that a dry run found to be garbage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// What it is: `upload <id>`, `manifest <repository>@<digest>`, `blob <repository>@<digest>`, `blob <digest>`,
    /// `repository <name>` or `object <id>`.
    pub what: String,
    /// Why it is garbage.
    pub why: &'static str,
    /// How many bytes are freed with it.
    pub bytes: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} uploads expired; {} lists, {} manifests, {} links, {} blobs, {} repositories, {} events and {} orphaned \
             objects removed; {} bytes freed",
            self.uploads_expired,
            self.lists_removed,
            self.manifests_removed,
            self.links_removed,
            self.blobs_removed,
            self.repositories_removed,
            self.events_removed,
            self.orphans_removed,
            self.bytes_freed
        )?;
        if self.manifests_purged + self.tags_purged > 0 {
            write!(f, "; {} deleted manifests and {} deleted tags purged", self.manifests_purged, self.tags_purged)?;
        }
        if self.objects_released + self.objects_erased + self.objects_kept > 0 {
            write!(
                f,
                "; {} objects of {} bytes released, {} erased, {} of {} bytes kept for a restore",
                self.objects_released, self.bytes_released, self.objects_erased, self.objects_kept, self.bytes_kept
            )?;
        }
        if self.records_damaged > 0 {
            write!(f, "; {} damaged records passed by, the first is {}", self.records_damaged, self.damaged[0])?;
        }
        self.fault.iter().try_for_each(|fault| write!(f, "; ended early: {fault}"))
    }
}

impl Call {
    /// Collects all garbage once. What it finds to be in use again meanwhile stays.
    pub(crate) async fn gc(&self, dry_run: bool) -> Report {
        let mut collection = Collection { call: self, dry_run, report: Report::default(), gone: Gone::default() };
        if let Err(error) = collection.all().await {
            collection.report.fault = Some(fault(error).to_string());
        }
        collection.report
    }
}

/// A collection under way.
struct Collection<'c> {
    call: &'c Call,
    dry_run: bool,
    report: Report,
    gone: Gone,
}

/// What a dry run takes for gone.
#[derive(Default)]
struct Gone {
    /// Manifests of the repository that is looked at.
    manifests: BTreeSet<Digest>,
    /// Those that would only be deleted: what they need stays.
    deleted: BTreeSet<Digest>,
    /// Deleted tags of the repository that is looked at.
    tags: BTreeSet<String>,
    /// Blobs of the repository that is looked at.
    links: BTreeSet<Digest>,
    /// Which repositories hold a blob no more: `<digest>/<repository>`.
    holders: BTreeSet<String>,
}

impl Collection<'_> {
    /// From the root to the leaves: what one step frees, the next can take.
    async fn all(&mut self) -> Result<(), Error> {
        self.uploads().await?;
        self.finished().await?;
        self.events().await?;
        self.leases().await?;
        self.groups().await?;
        self.recounts().await?;
        #[cfg(feature = "api")]
        self.sign_ins().await?;
        #[cfg(feature = "api")]
        self.api_tokens().await?;
        let prefix = keys::repositories();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for name in page.iter().filter_map(|(key, _)| prefix.rest(key).parse().ok()) {
                self.gone.manifests.clear();
                self.gone.deleted.clear();
                self.gone.tags.clear();
                self.gone.links.clear();
                self.deleted(&name).await?;
                // An index that goes frees its children for the next round.
                while self.manifests(&name).await? {}
                self.links(&name).await?;
                self.lefts(&name).await?;
                let repository = self.repository(&name).await;
                self.pass_by_damage(repository)?;
            }
        }
        self.blobs().await?;
        self.orphans().await?;
        self.released().await?;
        self.overs().await
    }

    /// Counts a record that does not read, and goes on.
    fn pass_by_damage<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Damaged(damaged)) => {
                let name = damaged.key.as_str();
                // The manifests of a repository may be gone through more than once.
                if !self.report.damaged.iter().any(|known| known == name) {
                    self.report.records_damaged += 1;
                    if self.report.damaged.len() < NAMED {
                        self.report.damaged.push(name.into());
                    }
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// In a dry run, names what would go and does nothing; else makes the change. Whether it is gone now.
    async fn remove(
        &mut self,
        batch: Batch,
        durability: Durability,
        garbage: impl FnOnce() -> Garbage,
    ) -> Result<bool, Error> {
        if self.dry_run {
            self.name(garbage);
            return Ok(true);
        }
        Ok(self.call.commit(batch, durability).await? == Committed::Done)
    }

    fn name(&mut self, garbage: impl FnOnce() -> Garbage) {
        if self.dry_run && self.report.garbage.len() < NAMED {
            self.report.garbage.push(garbage());
        }
    }

    fn older(&self, than: Duration, since: Timestamp) -> bool {
        self.call.ambient.now.since(since) > than
    }

    async fn uploads(&mut self) -> Result<(), Error> {
        let prefix = keys::uploads();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let Ok(id) = prefix.rest(&key).parse() else { continue };
                let expired = self.upload(id, key, value).await;
                self.pass_by_damage(expired)?;
            }
        }
        Ok(())
    }

    async fn upload(&mut self, id: Uuid, key: Key, value: Value) -> Result<(), Error> {
        let Some(session): Option<Session> = Found::read(key, Some(value))? else { return Ok(()) };
        if !self.older(self.call.config.upload_lifetime, session.record.touched) {
            return Ok(());
        }
        let extents = self.call.extents(id, &session).await?;
        if self.dry_run {
            let bytes = session.record.offset();
            let why = "no request came for longer than the upload lifetime";
            self.name(|| Garbage { what: format!("upload {id} to {}", session.record.repository), why, bytes });
        } else {
            let ended = self.call.end_session(id, &session, &extents, self.call.ambient.now).await?;
            let Some(left) = ended else { return Ok(()) };
            self.call.erase(left).await;
        }
        self.report.uploads_expired += 1;
        self.count_left(&extents);
        Ok(())
    }

    /// Forgets uploads that were finished long ago.
    async fn finished(&mut self) -> Result<(), Error> {
        let prefix = keys::all_finished();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            let mut batch = Batch::reclaiming();
            for (key, value) in page {
                let finished = record::decode::<FinishedRecord>(&key, &value).map_err(Error::from);
                let Some(finished) = self.pass_by_damage(finished)? else { continue };
                if self.older(FINISHED_LIFETIME, finished.finished) {
                    batch.delete(key);
                }
            }
            // Written once, and removed by nothing else: there is nothing to expect.
            if !self.dry_run && !batch.is_empty() {
                self.call.commit(batch, Durability::Eventual).await?;
            }
        }
        Ok(())
    }

    /// Removes events that were not taken for too long, be it that their listener is there no more. (One that is unknown
    /// here may be known to another host of the storage, which has other settings already.)
    async fn events(&mut self) -> Result<(), Error> {
        let prefix = keys::all_events();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            let mut old = Vec::new();
            for (key, value) in page {
                let event = record::decode::<Event>(&key, &value).map_err(Error::from);
                let Some(event) = self.pass_by_damage(event)? else { continue };
                if self.older(EVENT_LIFETIME, event.time) {
                    old.push(key);
                }
            }
            self.report.events_removed += old.len() as u64;
            if !self.dry_run && !old.is_empty() {
                self.call.told(old).await?;
            }
        }
        Ok(())
    }

    /// Removes leases that ended long ago: what job they are of may be there no more.
    async fn leases(&mut self) -> Result<(), Error> {
        let prefix = keys::leases();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let lease = record::decode::<LeaseRecord>(&key, &value).map_err(Error::from);
                let Some(lease) = self.pass_by_damage(lease)? else { continue };
                if self.dry_run || !self.older(LEASE, lease.until) {
                    continue;
                }
                let mut batch = Batch::reclaiming();
                batch.expect(Expect::Exactly(key.clone(), value));
                batch.delete(key);
                self.call.commit(batch, Durability::Eventual).await?;
            }
        }
        Ok(())
    }

    /// Removes lists that tags have left behind and, by policy, manifests that neither a tag nor an index names. `true`
    /// when something went.
    async fn manifests(&mut self, name: &Repository) -> Result<bool, Error> {
        let prefix = keys::manifests(name);
        let mut removed = false;
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                if !self.gone.manifests.contains(&digest) && !self.gone.deleted.contains(&digest) {
                    let gone = self.manifest(name, &digest, key, value).await;
                    removed |= self.pass_by_damage(gone)?.unwrap_or(false);
                }
            }
        }
        Ok(removed)
    }

    async fn manifest(&mut self, name: &Repository, digest: &Digest, key: Key, value: Value) -> Result<bool, Error> {
        let Some(found): Option<Found<ManifestRecord>> = Found::read(key, Some(value))? else { return Ok(false) };
        let record = &found.record;
        let (lifetime, why) = match record.maintained {
            // A client that has just resolved a tag to a list comes for it in a moment.
            true => (Some(self.call.config.blob_grace), "a list made by the registry that no tag names any more"),
            false => (self.call.config.untagged_lifetime, "neither a tag nor an index names it"),
        };
        let Some(lifetime) = lifetime.filter(|lifetime| self.older(*lifetime, record.came())) else { return Ok(false) };
        let (tagged, users) = (keys::tagged_with(name, digest), keys::users(name, digest));
        let named = keys::deleted_tagged_with(name, digest);
        let used = !self.call.is_empty(&tagged).await? || !self.is_unused(&users).await?;
        if used || !self.is_named_by_gone_tags(&named).await? {
            return Ok(false);
        }
        let Some((left, unnamed)) = self.left_before(lifetime, name, digest).await? else { return Ok(false) };
        let unnamed = unnamed.unwrap_or_default().max(record.came());
        let mut also = Batch::reclaiming();
        also.expect = Vec::from([left, Expect::NoneUnder(tagged), Expect::NoneUnder(users), Expect::NoneUnder(named)]);
        if let Some(subject) = record.subject {
            // A signature or SBOM lives as long as what it is about, or was about and may be again.
            for key in [keys::manifest(name, &subject), keys::deleted(name, &subject)] {
                let [alive] = self.call.get([key.clone()]).await?;
                if alive.is_some() && !self.gone.manifests.contains(&subject) {
                    return Ok(false);
                }
                also.expect(Expect::Absent(key));
            }
        }
        // What an upstream can give again is not kept (SPEC X12).
        let end = if record.maintained || record.fetched { End::Collected } else { self.collected() };
        if !record.maintained && !self.is_unmarked(&mut also, name, digest).await? {
            return Ok(false);
        }
        let frees = end == End::Collected;
        if self.dry_run {
            if frees {
                self.gone.manifests.insert(*digest)
            } else {
                self.gone.deleted.insert(*digest)
            };
            let bytes = if frees { record.size } else { 0 };
            self.name(|| Garbage { what: format!("manifest {name}@{digest}"), why, bytes });
        } else {
            let removal = Removal { also, unnamed, end, told: false };
            let removed = self.call.remove_manifest(name, digest, &found, removal, &mut Removed::default()).await?;
            if removed == Committed::Conflict {
                return Ok(false);
            }
        }
        let counter = match record.maintained {
            true => &mut self.report.lists_removed,
            false => &mut self.report.manifests_removed,
        };
        *counter += 1;
        self.report.bytes_freed += if frees { record.size } else { 0 };
        Ok(frees)
    }

    /// Whether no manifest is under a prefix of `use/`.
    async fn is_unused(&self, users: &Prefix) -> Result<bool, Error> {
        if self.gone.manifests.is_empty() {
            return self.call.is_empty(users).await;
        }
        let gone = |key: &Key| users.rest(key).parse().is_ok_and(|user| self.gone.manifests.contains(&user));
        self.call.has_only(users, gone).await
    }

    /// That nothing has ceased to name this for longer than `lifetime`, as an expectation, and when something last
    /// did; none if that is not so long ago.
    async fn left_before(
        &self,
        lifetime: Duration,
        name: &Repository,
        digest: &Digest,
    ) -> Result<Option<(Expect, Option<Timestamp>)>, Error> {
        let key = keys::left(name, digest);
        let found: Option<Found<LeftRecord>> = self.call.find(key.clone()).await?;
        let left = found.as_ref().map(|found| found.record.left);
        let unchanged = found.map_or(Expect::Absent(key), |found| found.unchanged());
        Ok(Some((unchanged, left)).filter(|_| left.is_none_or(|left| self.older(lifetime, left))))
    }

    /// Forgets when something was left that is not there any more.
    async fn lefts(&mut self, name: &Repository) -> Result<(), Error> {
        if self.dry_run {
            return Ok(());
        }
        let prefix = keys::lefts(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                let holders = [keys::manifest(name, &digest), keys::link(name, &digest)];
                if self.call.get(holders.clone()).await? != [None, None] {
                    continue;
                }
                let mut batch = Batch::reclaiming();
                batch.expect(Expect::Exactly(key.clone(), value));
                holders.into_iter().for_each(|holder| batch.expect(Expect::Absent(holder)));
                batch.delete(key);
                self.call.commit(batch, Durability::Eventual).await?;
            }
        }
        Ok(())
    }

    /// Takes blobs out of a repository that no manifest of it needs and that have not been pushed or mounted lately.
    async fn links(&mut self, name: &Repository) -> Result<(), Error> {
        let prefix = keys::links(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                let taken = self.linked(name, &digest, key, value).await;
                self.pass_by_damage(taken)?;
            }
        }
        Ok(())
    }

    async fn linked(&mut self, name: &Repository, digest: &Digest, key: Key, value: Value) -> Result<(), Error> {
        let Some(link): Option<Found<LinkRecord>> = Found::read(key, Some(value))? else { return Ok(()) };
        let users = keys::users(name, digest);
        let grace = self.call.config.blob_grace;
        // What a dry run takes for gone would have left this blob only now.
        if !self.older(grace, link.record.linked) || !self.call.is_empty(&users).await? {
            return Ok(());
        }
        let Some((left, _)) = self.left_before(grace, name, digest).await? else { return Ok(()) };
        let Some(blob): Option<Found<BlobRecord>> = self.call.find(keys::blob(digest)).await? else { return Ok(()) };
        let mut batch = Batch::reclaiming();
        batch.expect(left);
        batch.expect(link.unchanged());
        batch.expect(Expect::NoneUnder(users));
        take_blob(&mut batch, name, digest, blob.record.size);
        let why = "no manifest of the repository needs it";
        let garbage = || Garbage { what: format!("blob {name}@{digest}"), why, bytes: 0 };
        if self.remove(batch, Durability::Eventual, garbage).await? {
            self.report.links_removed += 1;
            if self.dry_run {
                self.gone.links.insert(*digest);
                self.gone.holders.insert(format!("{digest}/{name}"));
            }
        }
        Ok(())
    }

    async fn repository(&mut self, name: &Repository) -> Result<(), Error> {
        let Some(found): Option<Found<RepositoryRecord>> = self.call.find(keys::repository(name)).await? else {
            return Ok(());
        };
        if !self.older(self.call.config.blob_grace, found.record.created) {
            return Ok(());
        }
        // No manifest, no tag: whatever is pushed to the repository expects its record, or puts it anew.
        let mut batch = Batch::reclaiming();
        batch.expect(found.unchanged());
        let (manifests, links, lefts) = (keys::manifests(name), keys::links(name), keys::lefts(name));
        let (deleted, tags) = (keys::deleted_in(name), keys::deleted_tags(name));
        let empty = self.has_only(&manifests, &self.gone.manifests).await?
            && self.has_only(&deleted, &self.gone.manifests).await?
            && self.has_only_gone_tags(&tags).await?
            && self.has_only(&links, &self.gone.links).await?
            && (self.dry_run || self.call.is_empty(&lefts).await?);
        if !empty {
            return Ok(());
        }
        for family in [manifests, links, lefts, deleted, tags] {
            batch.expect(Expect::NoneUnder(family));
        }
        batch.delete(found.key.clone());
        batch.delete(keys::pushed(name));
        let garbage = || Garbage { what: format!("repository {name}"), why: "it is empty", bytes: 0 };
        self.report.repositories_removed += u64::from(self.remove(batch, Durability::Eventual, garbage).await?);
        Ok(())
    }

    /// Whether all that is under a prefix is gone for this dry run.
    async fn has_only(&self, prefix: &Prefix, gone: &BTreeSet<Digest>) -> Result<bool, Error> {
        if gone.is_empty() {
            return self.call.is_empty(prefix).await;
        }
        self.call.has_only(prefix, |key| prefix.rest(key).parse().is_ok_and(|digest| gone.contains(&digest))).await
    }

    /// Removes blobs that no repository holds: the record first, durably, then the bytes.
    async fn blobs(&mut self) -> Result<(), Error> {
        let prefix = keys::blobs();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                let removed = self.blob(&digest, key, value).await;
                self.pass_by_damage(removed)?;
            }
        }
        Ok(())
    }

    async fn blob(&mut self, digest: &Digest, key: Key, value: Value) -> Result<(), Error> {
        let holders = keys::holders(digest);
        let gone = |key: &Key| self.gone.holders.contains(&format!("{digest}/{}", holders.rest(key)));
        let unheld = match self.gone.holders.is_empty() {
            true => self.call.is_empty(&holders).await?,
            false => self.call.has_only(&holders, gone).await?,
        };
        if !unheld {
            return Ok(());
        }
        let Some(blob): Option<Found<BlobRecord>> = Found::read(key, Some(value))? else { return Ok(()) };
        let BlobRecord { size, extents, .. } = &blob.record;
        let (batch, left) = self.call.unheld(digest, &blob);
        let garbage = || Garbage { what: format!("blob {digest}"), why: "no repository holds it", bytes: *size };
        if self.remove(batch, Durability::Durable, garbage).await? {
            self.report.blobs_removed += 1;
            self.count_left(extents);
            if !self.dry_run {
                self.call.erase(left).await;
            }
        }
        Ok(())
    }
}
