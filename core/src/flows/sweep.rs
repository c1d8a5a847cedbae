//! The sweep: garbage collection as a call like any other, online.
//!
//! It decides nothing upon what it has read: every record it removes goes by a commit that expects the reason to
//! hold at that moment. Bytes are erased after the record that pointed to them, or when no record names them and
//! they are older than any call can live. So it needs no lock, and whatever runs beside it is safe.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::Serialize;

use super::blob::take_blob;
use super::upload::Session;
use super::{Batch, Call, Found};
use crate::ambient::Timestamp;
use crate::config::SCAN_PAGE;
use crate::digest::Digest;
use crate::effect::{Committed, ContentId, Durability, Expect, Inventory, Object, Stored, Value};
use crate::error::Error;
use crate::keys::{self, Key, Prefix};
use crate::name::Repository;
use crate::record::{BlobRecord, LeftRecord, LinkRecord, ManifestRecord, RepositoryRecord};

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Upload sessions that had rested too long.
    pub uploads_expired: u64,
    /// Lists that the registry had made and that no tag names any more.
    pub lists_removed: u64,
    /// Manifests that nothing named, where a policy says that they go.
    pub manifests_removed: u64,
    /// Blobs taken out of a repository in which no manifest needs them.
    pub links_removed: u64,
    /// Blobs that no repository held.
    pub blobs_removed: u64,
    /// Repositories that had become empty.
    pub repositories_removed: u64,
    /// Parts and contents that no record named: what crashes left.
    pub strays_removed: u64,
    /// How many bytes were freed, those of expired uploads not counted.
    pub bytes_freed: u64,
    /// Why the sweep ended early, if the storage failed.
    pub fault: Option<alloc::string::String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} uploads expired, {} lists, {} manifests, {} links, {} blobs, {} repositories and {} strays removed, \
             {} bytes freed",
            self.uploads_expired,
            self.lists_removed,
            self.manifests_removed,
            self.links_removed,
            self.blobs_removed,
            self.repositories_removed,
            self.strays_removed,
            self.bytes_freed
        )?;
        self.fault.iter().try_for_each(|fault| write!(f, "; ended early: {fault}"))
    }
}

impl Call {
    /// Sweeps everything once. What it finds to be in use again meanwhile stays.
    pub(crate) async fn sweep(&self) -> Report {
        let mut report = Report::default();
        if let Err(error) = self.sweep_all(&mut report).await {
            report.fault = Some(match error {
                Error::Storage(fault) => alloc::format!("{fault}"),
                other => alloc::format!("{other:?}"),
            });
        }
        report
    }

    /// From the root to the leaves: what one step frees, the next can take.
    async fn sweep_all(&self, report: &mut Report) -> Result<(), Error> {
        self.sweep_uploads(report).await?;
        let prefix = keys::repositories();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for name in page.iter().filter_map(|(key, _)| prefix.rest(key).parse().ok()) {
                // An index that goes frees its children for the next round.
                while self.sweep_manifests(&name, report).await? {}
                self.sweep_links(&name, report).await?;
                self.sweep_lefts(&name).await?;
                self.sweep_repository(&name, report).await?;
            }
        }
        self.sweep_blobs(report).await?;
        self.sweep_strays(report).await
    }

    fn older(&self, than: Duration, since: Timestamp) -> bool {
        self.ambient.now.since(since) > than
    }

    async fn sweep_uploads(&self, report: &mut Report) -> Result<(), Error> {
        let prefix = keys::uploads();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Ok(id) = prefix.rest(&key).parse() else { continue };
                let Some(session): Option<Session> = Found::read(key, Some(value))? else { continue };
                if self.older(self.config.upload_lifetime, session.record.touched) {
                    let parts = self.parts(id).await?;
                    report.uploads_expired += u64::from(self.end_session(&session, &parts).await?);
                }
            }
        }
        Ok(())
    }

    /// Removes lists that tags have left behind and, by policy, manifests that nothing names. `true` when
    /// something went.
    async fn sweep_manifests(&self, name: &Repository, report: &mut Report) -> Result<bool, Error> {
        let prefix = keys::manifests(name);
        let mut removed = false;
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                let Some(found): Option<Found<ManifestRecord>> = Found::read(key, Some(value))? else { continue };
                let record = &found.record;
                // A client that has just resolved a tag to a list comes for it in a moment.
                let lifetime =
                    if record.maintained { Some(self.config.blob_grace) } else { self.config.untagged_lifetime };
                let Some(lifetime) = lifetime.filter(|lifetime| self.older(*lifetime, record.pushed)) else { continue };
                let (tagged, users) = (keys::tagged_with(name, &digest), keys::users(name, &digest));
                if !self.is_empty(&tagged).await? || !self.is_empty(&users).await? {
                    continue;
                }
                let Some((left, unnamed)) = self.left_before(lifetime, name, &digest).await? else { continue };
                let unnamed = unnamed.unwrap_or_default().max(record.pushed);
                let mut reasons = Vec::from([left, Expect::NoneUnder(tagged), Expect::NoneUnder(users)]);
                if let Some(subject) = &record.subject {
                    // A signature or SBOM lives as long as what it is about.
                    let subject = keys::manifest(name, subject);
                    let [alive] = self.get([subject.clone()]).await?;
                    if alive.is_some() {
                        continue;
                    }
                    reasons.push(Expect::Absent(subject));
                }
                let also = Batch { expect: reasons, ..Batch::default() };
                if self.remove_manifest(name, &digest, &found, also, unnamed).await? == Committed::Done {
                    removed = true;
                    let counter =
                        if record.maintained { &mut report.lists_removed } else { &mut report.manifests_removed };
                    *counter += 1;
                    report.bytes_freed += record.size;
                }
            }
        }
        Ok(removed)
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
        let found: Option<Found<LeftRecord>> = self.find(key.clone()).await?;
        let left = found.as_ref().map(|found| found.record.left);
        let unchanged = found.map_or(Expect::Absent(key), |found| found.unchanged());
        Ok(Some((unchanged, left)).filter(|_| left.is_none_or(|left| self.older(lifetime, left))))
    }

    /// Forgets when something was left that is not there any more.
    async fn sweep_lefts(&self, name: &Repository) -> Result<(), Error> {
        let prefix = keys::lefts(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                let holders = [keys::manifest(name, &digest), keys::link(name, &digest)];
                if self.get(holders.clone()).await? != [None, None] {
                    continue;
                }
                let mut batch = Batch::default();
                batch.expect(Expect::Exactly(key.clone(), value));
                holders.into_iter().for_each(|holder| batch.expect(Expect::Absent(holder)));
                batch.delete(key);
                self.commit(batch, Durability::Eventual).await?;
            }
        }
        Ok(())
    }

    /// Takes blobs out of a repository that no manifest of it needs and that nobody has pushed or mounted lately.
    async fn sweep_links(&self, name: &Repository, report: &mut Report) -> Result<(), Error> {
        let prefix = keys::links(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                let Some(link): Option<Found<LinkRecord>> = Found::read(key, Some(value))? else { continue };
                let users = keys::users(name, &digest);
                let grace = self.config.blob_grace;
                if !self.older(grace, link.record.linked) || !self.is_empty(&users).await? {
                    continue;
                }
                let Some((left, _)) = self.left_before(grace, name, &digest).await? else { continue };
                let mut batch = Batch::default();
                batch.expect(left);
                batch.expect(link.unchanged());
                batch.expect(Expect::NoneUnder(users));
                take_blob(&mut batch, name, &digest);
                let committed = self.commit(batch, Durability::Eventual).await?;
                report.links_removed += u64::from(committed == Committed::Done);
            }
        }
        Ok(())
    }

    async fn sweep_repository(&self, name: &Repository, report: &mut Report) -> Result<(), Error> {
        let Some(found): Option<Found<RepositoryRecord>> = self.find(keys::repository(name)).await? else {
            return Ok(());
        };
        if !self.older(self.config.blob_grace, found.record.created) {
            return Ok(());
        }
        // No manifest, no tag: whatever is pushed to the repository expects its record, or puts it anew.
        let mut batch = Batch::default();
        batch.expect(found.unchanged());
        for family in [keys::manifests(name), keys::links(name), keys::lefts(name)] {
            if !self.is_empty(&family).await? {
                return Ok(());
            }
            batch.expect(Expect::NoneUnder(family));
        }
        batch.delete(found.key.clone());
        let committed = self.commit(batch, Durability::Eventual).await?;
        report.repositories_removed += u64::from(committed == Committed::Done);
        Ok(())
    }

    /// Removes blobs that no repository holds: the record first, durably, then the bytes.
    async fn sweep_blobs(&self, report: &mut Report) -> Result<(), Error> {
        let prefix = keys::blobs();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                let holders = keys::holders(&digest);
                if !self.is_empty(&holders).await? {
                    continue;
                }
                let Some(blob): Option<Found<BlobRecord>> = Found::read(key, Some(value))? else { continue };
                let mut batch = Batch::default();
                batch.expect(blob.unchanged());
                batch.expect(Expect::NoneUnder(holders));
                batch.delete(blob.key.clone());
                if self.commit(batch, Durability::Durable).await? == Committed::Done {
                    report.blobs_removed += 1;
                    report.bytes_freed += blob.record.size;
                    self.erase([Object::Content(ContentId { digest, nonce: blob.record.content })]).await;
                }
            }
        }
        Ok(())
    }

    /// Erases what crashes left: bytes that no record names and that no living call can come to name.
    async fn sweep_strays(&self, report: &mut Report) -> Result<(), Error> {
        let mut after = None;
        loop {
            let stored = self.ask(Inventory { after, limit: SCAN_PAGE }).await?;
            let Some(last) = stored.last() else { return Ok(()) };
            after = Some(last.object);
            for Stored { object, size, age } in stored {
                if age > self.config.call_lifetime && !self.is_named(&object).await? {
                    self.erase([object]).await;
                    report.strays_removed += 1;
                    report.bytes_freed += size;
                }
            }
        }
    }

    /// Whether a record names these bytes.
    async fn is_named(&self, object: &Object) -> Result<bool, Error> {
        match object {
            Object::Part(part) => Ok(self.get([keys::part(part)]).await? != [None]),
            Object::Content(content) => {
                let blob: Option<Found<BlobRecord>> = self.find(keys::blob(&content.digest)).await?;
                Ok(blob.is_some_and(|blob| blob.record.content == content.nonce))
            }
        }
    }
}

/// The entries under a prefix, a page at a time.
struct Pages<'a> {
    prefix: &'a Prefix,
    after: Option<Key>,
}

impl<'a> Pages<'a> {
    fn new(prefix: &'a Prefix) -> Self {
        Self { prefix, after: None }
    }

    async fn next(&mut self, call: &Call) -> Result<Option<Vec<(Key, Value)>>, Error> {
        let page = call.scan(self.prefix, self.after.take()).await?;
        self.after = page.last().map(|(key, _)| key.clone());
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}
