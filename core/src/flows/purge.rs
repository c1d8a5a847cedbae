//! What is purged at once, such as a secret that was pushed by mistake (SPEC X10).
//!
//! Nothing is kept of it for an undelete, for clients that are in the middle of a push, or for records that are restored.
//! The order is that of garbage collection: manifests, the blobs that only they needed, then bytes. A crash in between
//! leaves the rest to that.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Call;
use super::batch::{Batch, Found};
use super::blob::take_blob;
use super::delete::{End, StoredManifest};
use super::pages::Pages;
use super::undelete::Refused;
use crate::config::ATTEMPTS;
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Get};
use crate::error::Error;
use crate::event::{self, Happening};
use crate::keys::{self, Key};
use crate::manifest::Need;
use crate::name::{Repository, Tag};
use crate::record::{BlobRecord, DeletedRecord, DeletedTagRecord, Extent};
use crate::target::Reference;

/// What a purge has removed, and what it had to leave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Tags, deleted or not.
    pub tags: Vec<String>,
    /// Manifests, deleted or not.
    pub manifests: Vec<Digest>,
    /// Blobs that are in the repository no more.
    pub blobs: Vec<Digest>,
    /// How many bytes were erased.
    pub bytes: u64,
    /// What stays, and why.
    pub remaining: Vec<Remaining>,
}

/// Something that a purge has left because something else needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// The blob or manifest.
    pub digest: Digest,
    /// How many bytes it has, if it is a blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What needs it.
    pub why: String,
}

impl Purged {
    fn remains(&mut self, digest: Digest, size: Option<u64>, why: String) {
        self.remaining.retain(|other| other.digest != digest);
        self.remaining.push(Remaining { digest, size, why });
    }

    fn goes(&mut self, digest: &Digest) {
        self.remaining.retain(|other| other.digest != *digest);
    }
}

/// What manifests need, taken down while they were there.
type Known = BTreeMap<Digest, BTreeMap<Digest, Need>>;

impl Call {
    /// Purges a manifest, or a tag with what it names, or all that was deleted in a repository. What is protected is
    /// only purged by `force`.
    pub(crate) async fn purge(
        &self,
        name: &Repository,
        reference: Option<&Reference>,
        force: bool,
    ) -> Result<Purged, Refused> {
        let mut done = Purged::default();
        match reference {
            None => self.purge_all_deleted(name, &mut done).await?,
            Some(Reference::Tag(tag)) => self.purge_tag(name, tag, force, &mut done).await?,
            Some(Reference::Digest(digest)) => {
                self.purge_manifests(name, digest, (true, force), &mut Known::new(), &mut done).await?;
                if done.manifests.is_empty() {
                    return Err(Refused::Unknown(format!("manifest {name}@{digest}")));
                }
            }
        }
        Ok(done)
    }

    async fn purge_all_deleted(&self, name: &Repository, done: &mut Purged) -> Result<(), Refused> {
        let prefix = keys::deleted_tags(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for tag in page.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Tag>().ok()) {
                self.purge_deleted_tag(name, &tag, &mut Known::new(), done).await?;
            }
        }
        let prefix = keys::deleted_in(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for digest in page.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Digest>().ok()) {
                self.purge_manifests(name, &digest, (true, false), &mut Known::new(), done).await?;
            }
        }
        Ok(())
    }

    /// Purges a tag, be it there or deleted, and what it named, as far as nothing else names that.
    async fn purge_tag(&self, name: &Repository, tag: &Tag, force: bool, done: &mut Purged) -> Result<(), Refused> {
        let (mut named, mut known) = (BTreeSet::new(), Known::new());
        for _ in 0..ATTEMPTS {
            let state = self.tag_state(name, tag).await?;
            let Some(_) = &state.record else { break };
            self.note_needs(name, state.names(), &mut known).await?;
            let mut batch = Batch::reclaiming();
            if !force {
                let marks = self.marks().await?;
                marks.tag(name, tag)?;
                batch.expect(marks.unchanged());
            }
            self.end_tag(&mut batch, name, &state, End::Gone).await?;
            self.tell(&mut batch, Happening::Delete, name, None, event::names([tag])).await?;
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                named.extend(state.names());
                done.tags.push(tag.as_str().into());
                break;
            }
        }
        named.extend(self.purge_deleted_tag(name, tag, &mut known, done).await?);
        if done.tags.is_empty() {
            return Err(Refused::Unknown(format!("tag {name}:{tag}")));
        }
        for digest in named {
            self.purge_manifests(name, &digest, (false, force), &mut known, done).await?;
        }
        Ok(())
    }

    /// Purges a deleted tag: what it named.
    async fn purge_deleted_tag(
        &self,
        name: &Repository,
        tag: &Tag,
        known: &mut Known,
        done: &mut Purged,
    ) -> Result<BTreeSet<Digest>, Error> {
        for _ in 0..ATTEMPTS {
            let found: Option<Found<DeletedTagRecord>> = self.find(keys::deleted_tag(name, tag)).await?;
            let Some(found) = found else { return Ok(BTreeSet::new()) };
            // As long as it is there, so is what it names.
            self.note_needs(name, found.record.names(), known).await?;
            let batch = Self::without_deleted_tag(name, tag, &found);
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                if !done.tags.iter().any(|known| known == tag.as_str()) {
                    done.tags.push(tag.as_str().into());
                }
                return Ok(found.record.names());
            }
        }
        Err(Error::Contention)
    }

    /// What names a manifest, in words: a tag, or an index.
    async fn named_by(&self, name: &Repository, digest: &Digest) -> Result<Option<String>, Error> {
        let tagged = keys::tagged_with(name, digest);
        if let Some((key, _)) = self.scan(&tagged, None).await?.first() {
            return Ok(Some(format!("the tag {} names it", tagged.rest(key))));
        }
        let deleted = keys::deleted_tagged_with(name, digest);
        if let Some((key, _)) = self.scan(&deleted, None).await?.first() {
            return Ok(Some(format!("the tag {}, which was deleted, names it", deleted.rest(key))));
        }
        let users = keys::users(name, digest);
        let first = self.scan(&users, None).await?;
        Ok(first.first().map(|(key, _)| format!("{} needs it", users.rest(key))))
    }

    /// Purges a manifest, be it there or deleted, then what it lists and nothing else names, and their blobs. One that was
    /// not asked for by its digest only, if nothing names it.
    async fn purge_manifests(
        &self,
        name: &Repository,
        digest: &Digest,
        (asked_for, force): (bool, bool),
        known: &mut Known,
        done: &mut Purged,
    ) -> Result<(), Refused> {
        let mut next = Vec::from([*digest]);
        let mut blobs = BTreeSet::new();
        while let Some(one) = next.pop() {
            let asked_for = asked_for && one == *digest;
            for (needed, need) in self.purge_manifest(name, &one, (asked_for, force), known, done).await? {
                if need == Need::Child {
                    next.push(needed);
                }
                // A child may be a blob.
                blobs.insert(needed);
            }
        }
        for blob in blobs {
            self.purge_blob(name, &blob, done).await?;
        }
        Ok(())
    }

    /// Takes down what these need, be they there or deleted, and what they list, before anything of it goes. Garbage
    /// collection may purge it at any moment, and then nothing says what it needed.
    async fn note_needs(
        &self,
        name: &Repository,
        digests: impl IntoIterator<Item = Digest>,
        known: &mut Known,
    ) -> Result<(), Error> {
        let mut next: Vec<Digest> = digests.into_iter().collect();
        while let Some(one) = next.pop() {
            if known.contains_key(&one) {
                continue;
            }
            let [key, deleted_key] = [keys::manifest(name, &one), keys::deleted(name, &one)];
            let payloads = [keys::payload(name, &one), keys::deleted_payload(name, &one)];
            let [payload_key, deleted_payload_key] = payloads;
            let all = [key.clone(), payload_key, deleted_key.clone(), deleted_payload_key];
            let [found, payload, deleted, deleted_payload] = self.get(all).await?;
            let found: Option<StoredManifest> = Found::read(key, found)?;
            let deleted: Option<Found<DeletedRecord>> = Found::read(deleted_key, deleted)?;
            let (record, payload) = match (found, deleted) {
                (Some(found), _) => (found.record, payload),
                (None, Some(deleted)) => (deleted.record.manifest, deleted_payload),
                (None, None) => continue,
            };
            let needs: BTreeMap<Digest, Need> =
                self.needs_of(name, &one, (payload.as_ref(), &record)).await?.into_iter().collect();
            next.extend(needs.iter().filter(|(_, need)| **need == Need::Child).map(|(child, _)| *child));
            known.insert(one, needs);
        }
        Ok(())
    }

    /// Purges one manifest: what it needed.
    async fn purge_manifest(
        &self,
        name: &Repository,
        digest: &Digest,
        (asked_for, force): (bool, bool),
        known: &mut Known,
        done: &mut Purged,
    ) -> Result<BTreeMap<Digest, Need>, Refused> {
        for _ in 0..ATTEMPTS {
            self.note_needs(name, [*digest], known).await?;
            let (key, deleted_key) = (keys::manifest(name, digest), keys::deleted(name, digest));
            let [found, deleted] = self.get([key.clone(), deleted_key.clone()]).await?;
            // What is gone remains for nothing that still names it: a list of the registry's own, or another image.
            if !asked_for
                && (found.is_some() || deleted.is_some())
                && let Some(why) = self.named_by(name, digest).await?
            {
                done.remains(*digest, None, why);
                return Ok(BTreeMap::new());
            }
            let found: Option<StoredManifest> = Found::read(key, found)?;
            let deleted: Option<Found<DeletedRecord>> = Found::read(deleted_key, deleted)?;
            let Some(needs) = known.get(digest) else {
                // One that has come just now is looked at again.
                if found.is_some() || deleted.is_some() {
                    continue;
                }
                return Ok(BTreeMap::new());
            };
            let (size, committed) = match (found, deleted) {
                (Some(found), _) => {
                    let mut also = Batch::default();
                    if !asked_for {
                        for named in [keys::tagged_with(name, digest), keys::users(name, digest)] {
                            also.expect(Expect::NoneUnder(named));
                        }
                    }
                    if !force {
                        self.unmarked(&mut also, name, digest, &self.marks().await?).await?;
                    }
                    if done.tags.is_empty() && done.manifests.is_empty() {
                        // Of one call one event is told: that of what it was asked for.
                        let told = Some((digest, Some(&found.record)));
                        self.tell(&mut also, Happening::Delete, name, told, [].into()).await?;
                    }
                    let now = self.ambient.now;
                    (found.record.size, self.remove_manifest(name, digest, &found, also, now, End::Gone).await?)
                }
                (None, Some(found)) => (found.record.manifest.size, self.purge_deleted(name, digest, &found).await?),
                // When garbage collection has purged it just now, what it needed is still to go.
                (None, None) => {
                    done.goes(digest);
                    if !done.manifests.contains(digest) {
                        done.manifests.push(*digest);
                    }
                    return Ok(needs.clone());
                }
            };
            if committed == Committed::Done {
                done.goes(digest);
                done.manifests.push(*digest);
                done.bytes += size;
                return Ok(needs.clone());
            }
        }
        Err(Refused::Contention)
    }

    /// Takes a blob out of the repository if no manifest of it needs it, and erases its bytes if no other holds it.
    async fn purge_blob(&self, name: &Repository, digest: &Digest, done: &mut Purged) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let [link, blob] = self.get([keys::link(name, digest), keys::blob(digest)]).await?;
            let (Some(_), Some(blob)) = (link, Found::<BlobRecord>::read(keys::blob(digest), blob)?) else {
                return Ok(());
            };
            let size = blob.record.size;
            let users = keys::users(name, digest);
            if let Some((key, _)) = self.scan(&users, None).await?.first() {
                let why = format!("{} of this repository needs it", users.rest(key));
                done.remains(*digest, Some(size), why);
                return Ok(());
            }
            let mut batch = Batch::reclaiming();
            batch.expect(Expect::NoneUnder(users));
            take_blob(&mut batch, name, digest, size);
            if self.commit(batch, Durability::Durable).await? == Committed::Conflict {
                continue;
            }
            done.goes(digest);
            done.blobs.push(*digest);
            return self.purge_bytes(digest, &blob.record.extents, done).await;
        }
        Err(Error::Contention)
    }

    /// Erases the bytes of a blob that no repository holds, whatever is kept of others for records that are restored.
    ///
    /// It was made of `known` when it was in the repository. What garbage collection or a gathering has released of that
    /// since is erased too.
    async fn purge_bytes(&self, digest: &Digest, known: &[Extent], done: &mut Purged) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let found: Option<Found<BlobRecord>> = self.find(keys::blob(digest)).await?;
            let Some(found) = found else { return self.purge_released(known).await };
            let holders = keys::holders(digest);
            if let Some((key, _)) = self.scan(&holders, None).await?.first() {
                let why = format!("the repository {} has it, too", holders.rest(key));
                done.remains(*digest, Some(found.record.size), why);
                return Ok(());
            }
            let mut batch = Batch::reclaiming();
            batch.expect(found.unchanged());
            batch.expect(Expect::NoneUnder(holders));
            batch.delete(found.key.clone());
            if found.record.quarantined.is_some() {
                batch.delete(keys::quarantined_blob(digest));
            }
            let mut objects = Vec::new();
            for extent in &found.record.extents {
                if extent.small {
                    batch.delete(keys::bytes(&extent.object));
                } else {
                    batch.delete(keys::object(&extent.object));
                    objects.push(extent.object);
                }
            }
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                done.bytes += found.record.size;
                self.erase(objects).await;
                return self.purge_released(known).await;
            }
        }
        Err(Error::Contention)
    }

    /// Erases those of these objects that are released: no record names them, and none ever will.
    async fn purge_released(&self, known: &[Extent]) -> Result<(), Error> {
        let released: Vec<Key> = known.iter().map(|extent| keys::released(&extent.object)).collect();
        let found = self.ask(Get { keys: released.clone() }).await?;
        let mut batch = Batch::reclaiming();
        let mut objects = Vec::new();
        for ((key, found), extent) in released.into_iter().zip(found).zip(known) {
            if found.is_some() {
                batch.expect(Expect::Absent(keys::object(&extent.object)));
                batch.delete(key);
                objects.push(extent.object);
            }
        }
        if !batch.is_empty() && self.commit(batch, Durability::Eventual).await? == Committed::Done {
            self.erase(objects).await;
        }
        Ok(())
    }
}
