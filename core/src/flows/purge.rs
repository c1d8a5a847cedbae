//! What is purged at once, such as a secret that was pushed by mistake (SPEC X10).
//!
//! Nothing is kept of it for an undelete, for clients that are in the middle of a push, or for records that are restored.
//! The order is that of garbage collection: manifests, the blobs that only they needed, then bytes. A crash in between
//! leaves the rest to that.
//!
//! Whoever purges all that was deleted takes nothing that is there: a manifest that is pushed again or undeleted while the
//! purge runs stays, and so does what a deleted index lists and nobody has deleted (SPEC X18).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Call;
use super::batch::{Batch, Found};
use super::blob::take_blob;
use super::delete::{End, Removal, Removed, StoredManifest};
use super::pages::Pages;
use super::undelete::Refused;
use crate::config::ATTEMPTS;
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Get};
use crate::error::Error;
use crate::event::{self, Happening};
use crate::keys::{self, Key, Prefix};
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
    /// How many tags the repository has, where all that was deleted in it was purged: they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags_there: Option<u64>,
    /// Why it ended early, if it did. What was removed by then is gone; what was not looked at is among what stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Something that a purge has left because something else needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// The blob or manifest.
    pub digest: Digest,
    /// How many bytes it has, if it is a blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What needs it, or what else is in the way.
    pub why: String,
}

/// Which manifest a purge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// One that is there or was deleted, whatever names it.
    Named,
    /// The same, if nothing names it.
    Unnamed,
    /// One that was deleted and is not there.
    Deleted,
}

/// A purge under way.
struct Purging<'c> {
    call: &'c Call,
    name: &'c Repository,
    /// Even what is protected.
    force: bool,
    done: Purged,
    remaining: BTreeMap<Digest, Remaining>,
    /// What manifests need, taken down while they were there: when garbage collection purges one meanwhile, nothing else
    /// says it.
    known: BTreeMap<Digest, BTreeMap<Digest, Need>>,
    /// The manifests that were purged.
    gone: BTreeSet<Digest>,
    /// The manifests to look at.
    next: Vec<Digest>,
    /// The blobs to look at, once the manifests are gone.
    blobs: BTreeSet<Digest>,
}

impl Call {
    /// Purges a manifest, a blob, or a tag with what it names, or all that was deleted in a repository. What is protected
    /// is only purged by `force`. When it fails after something is gone, the answer says both.
    pub(crate) async fn purge(
        &self,
        name: &Repository,
        reference: Option<&Reference>,
        force: bool,
    ) -> Result<Purged, Refused> {
        let mut purging = Purging {
            call: self,
            name,
            force,
            done: Purged::default(),
            remaining: BTreeMap::new(),
            known: BTreeMap::new(),
            gone: BTreeSet::new(),
            next: Vec::new(),
            blobs: BTreeSet::new(),
        };
        let ended = match reference {
            None => purging.all_deleted().await,
            Some(Reference::Tag(tag)) => purging.tag(tag).await,
            Some(Reference::Digest(digest)) => purging.digest(digest).await,
        };
        purging.end(ended)
    }
}

impl Purging<'_> {
    fn end(mut self, ended: Result<(), Refused>) -> Result<Purged, Refused> {
        if let Err(refused) = ended {
            let Purged { tags, manifests, blobs, bytes, .. } = &self.done;
            if tags.is_empty() && manifests.is_empty() && blobs.is_empty() && *bytes == 0 {
                return Err(refused);
            }
            let left = core::mem::take(&mut self.next).into_iter().chain(core::mem::take(&mut self.blobs));
            for digest in left.filter(|digest| !self.gone.contains(digest)) {
                let why = || "the purge ended before it was looked at; purge it by its digest".into();
                let remaining = || Remaining { digest, size: None, why: why() };
                self.remaining.entry(digest).or_insert_with(remaining);
            }
            self.done.fault = Some(refused.to_string());
        }
        self.done.remaining = self.remaining.into_values().collect();
        Ok(self.done)
    }

    fn remains(&mut self, digest: Digest, size: Option<u64>, why: String) {
        self.remaining.insert(digest, Remaining { digest, size, why });
    }

    /// A record that does not read stays, and ends no purge.
    fn past_damage(&mut self, digest: Digest, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(Error::Damaged(damaged)) => {
                self.remains(digest, None, damaged.to_string());
                Ok(())
            }
            result => result,
        }
    }

    /// Purges what was deleted, and nothing that is there.
    async fn all_deleted(&mut self) -> Result<(), Refused> {
        let (call, name) = (self.call, self.name);
        let [repository] = call.get([keys::repository(name)]).await?;
        if repository.is_none() {
            return Err(Refused::NoRepository(name.to_string()));
        }
        let prefix = keys::deleted_tags(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(call).await? {
            for tag in page.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Tag>().ok()) {
                // What it named is looked at after all tags, if it was deleted.
                self.deleted_tag(&tag, false).await?;
            }
        }
        let prefix = keys::deleted_in(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(call).await? {
            for digest in page.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Digest>().ok()) {
                let purged = self.manifest(&digest, Reach::Deleted).await;
                self.past_damage(digest, purged)?;
            }
            self.unneeded_blobs().await?;
            self.known.clear();
        }
        let prefix = keys::tags(name);
        let (mut pages, mut tags) = (Pages::new(&prefix), 0);
        while let Some(page) = pages.next(call).await? {
            tags += page.len() as u64;
        }
        self.done.tags_there = Some(tags);
        Ok(())
    }

    /// Purges a manifest, or else a blob.
    async fn digest(&mut self, digest: &Digest) -> Result<(), Refused> {
        self.next.push(*digest);
        self.manifests(Some(digest)).await?;
        if self.done.manifests.is_empty() && self.remaining.is_empty() {
            self.blobs.insert(*digest);
            self.unneeded_blobs().await?;
            if self.done.blobs.is_empty() && self.done.bytes == 0 && self.remaining.is_empty() {
                return Err(Refused::Unknown(format!("manifest or blob {}@{digest}", self.name)));
            }
        }
        Ok(())
    }

    /// Purges a tag, be it there or deleted, and what it named, as far as nothing else names that.
    async fn tag(&mut self, tag: &Tag) -> Result<(), Refused> {
        let mut named = self.tag_there(tag).await?;
        named.extend(self.deleted_tag(tag, true).await?);
        if self.done.tags.is_empty() {
            return Err(Refused::Unknown(format!("tag {}:{tag}", self.name)));
        }
        self.next.extend(named);
        self.manifests(None).await
    }

    /// Purges a tag that is there: what it named. One whose record does not read has named what the marks say.
    async fn tag_there(&mut self, tag: &Tag) -> Result<BTreeSet<Digest>, Refused> {
        let (call, name) = (self.call, self.name);
        for _ in 0..ATTEMPTS {
            let state = call.tag_state(name, tag).await?;
            if !state.is_there() {
                return Ok(BTreeSet::new());
            }
            let mut named = state.names();
            let mut batch = Batch::reclaiming();
            if state.record.is_none() {
                let marked = self.marked(&keys::all_tagged(name), tag).await?;
                marked.difference(&named).for_each(|digest| batch.delete(keys::tagged(name, digest, tag)));
                named.extend(marked);
            }
            self.note_needs(named.clone()).await?;
            if !self.force {
                let marks = call.marks().await?;
                marks.tag(name, tag)?;
                batch.expect(marks.unchanged());
            }
            call.end_tag(&mut batch, name, &state, End::Gone).await?;
            call.tell(&mut batch, Happening::Delete, name, None, event::names([tag])).await?;
            if call.commit(batch, Durability::Durable).await? == Committed::Done {
                self.done.tags.push(tag.as_str().into());
                return Ok(named);
            }
        }
        Err(Refused::Contention)
    }

    /// Purges a deleted tag: what it named, which is `next`, maybe. One whose record does not read has named what the marks
    /// say.
    async fn deleted_tag(&mut self, tag: &Tag, next: bool) -> Result<BTreeSet<Digest>, Error> {
        let (call, name) = (self.call, self.name);
        let key = keys::deleted_tag(name, tag);
        for _ in 0..ATTEMPTS {
            let [value] = call.get([key.clone()]).await?;
            let Some(value) = value else { return Ok(BTreeSet::new()) };
            let mut batch = Batch::reclaiming();
            let named = match Found::<DeletedTagRecord>::read(key.clone(), Some(value.clone())) {
                Ok(Some(found)) => {
                    batch.merge(Call::without_deleted_tag(name, tag, &found));
                    found.record.names()
                }
                _ => {
                    let named = self.marked(&keys::all_deleted_tagged(name), tag).await?;
                    batch.expect(Expect::Exactly(key.clone(), value));
                    batch.delete(key.clone());
                    named.iter().for_each(|digest| batch.delete(keys::deleted_tagged(name, digest, tag)));
                    named
                }
            };
            if next {
                // As long as the tag is there, so is what it names.
                self.note_needs(named.clone()).await?;
            }
            if call.commit(batch, Durability::Durable).await? == Committed::Done {
                // A tag that was there, too, is named already.
                if self.done.tags.last().is_none_or(|last| last != tag.as_str()) {
                    self.done.tags.push(tag.as_str().into());
                }
                return Ok(named);
            }
        }
        Err(Error::Contention)
    }

    /// The manifests that a tag names by the marks under this prefix, where all tags of the repository have theirs.
    async fn marked(&self, all: &Prefix, tag: &Tag) -> Result<BTreeSet<Digest>, Error> {
        let mut named = BTreeSet::new();
        let mut pages = Pages::new(all);
        while let Some(page) = pages.next(self.call).await? {
            let marks = page.iter().filter_map(|(key, _)| all.rest(key).split_once('/'));
            let its = marks.filter(|(_, other)| *other == tag.as_str());
            named.extend(its.filter_map(|(digest, _)| digest.parse::<Digest>().ok()));
        }
        Ok(named)
    }

    /// What names a manifest, in words: a tag, or an index.
    async fn named_by(&self, digest: &Digest) -> Result<Option<String>, Error> {
        let (call, name) = (self.call, self.name);
        let tagged = keys::tagged_with(name, digest);
        if let Some(key) = call.first(&tagged).await? {
            return Ok(Some(format!("the tag {} names it", tagged.rest(&key))));
        }
        let deleted = keys::deleted_tagged_with(name, digest);
        if let Some(key) = call.first(&deleted).await? {
            return Ok(Some(format!("the tag {}, which was deleted, names it", deleted.rest(&key))));
        }
        let users = keys::users(name, digest);
        Ok(call.first(&users).await?.map(|key| format!("{} needs it", users.rest(&key))))
    }

    /// Purges the manifests that are next, be they there or deleted, as far as nothing names them but this one that was
    /// asked for; then what they list, and their blobs.
    async fn manifests(&mut self, asked_for: Option<&Digest>) -> Result<(), Refused> {
        while let Some(one) = self.next.pop() {
            let reach = if Some(&one) == asked_for { Reach::Named } else { Reach::Unnamed };
            let purged = self.manifest(&one, reach).await;
            if let Err(error) = self.past_damage(one, purged) {
                self.next.push(one);
                return Err(error.into());
            }
        }
        Ok(self.unneeded_blobs().await?)
    }

    async fn unneeded_blobs(&mut self) -> Result<(), Error> {
        while let Some(digest) = self.blobs.first().copied() {
            let purged = self.blob(&digest).await;
            self.past_damage(digest, purged)?;
            self.blobs.remove(&digest);
        }
        Ok(())
    }

    /// Takes down what these need, be they there or deleted, and what they list, before anything of it goes.
    async fn note_needs(&mut self, digests: impl IntoIterator<Item = Digest>) -> Result<(), Error> {
        let (call, name) = (self.call, self.name);
        let mut next: Vec<Digest> = digests.into_iter().collect();
        while let Some(one) = next.pop() {
            if self.known.contains_key(&one) {
                continue;
            }
            let [key, deleted_key] = [keys::manifest(name, &one), keys::deleted(name, &one)];
            let payloads = [keys::payload(name, &one), keys::deleted_payload(name, &one)];
            let [payload_key, deleted_payload_key] = payloads;
            let all = [key.clone(), payload_key, deleted_key.clone(), deleted_payload_key];
            let [found, payload, deleted, deleted_payload] = call.get(all).await?;
            // Whoever purges one whose record does not read names it.
            let found: Option<StoredManifest> = Found::read(key, found).ok().flatten();
            let deleted: Option<Found<DeletedRecord>> = Found::read(deleted_key, deleted).ok().flatten();
            let (record, payload) = match (found, deleted) {
                (Some(found), _) => (found.record, payload),
                (None, Some(deleted)) => (deleted.record.manifest, deleted_payload),
                (None, None) => continue,
            };
            let needs = call.needs_of(name, &one, (payload.as_ref(), &record)).await?;
            next.extend(needs.iter().filter(|(_, need)| *need == Need::Child).map(|(child, _)| *child));
            self.known.insert(one, needs.into_iter().collect());
        }
        Ok(())
    }

    /// Purges one manifest, and notes that what it needed is next.
    async fn manifest(&mut self, digest: &Digest, reach: Reach) -> Result<(), Error> {
        let (call, name) = (self.call, self.name);
        if self.gone.contains(digest) {
            return Ok(());
        }
        let mut removed = Removed::default();
        for _ in 0..ATTEMPTS {
            self.note_needs([*digest]).await?;
            let (key, deleted_key) = (keys::manifest(name, digest), keys::deleted(name, digest));
            let [found, deleted] = call.get([key.clone(), deleted_key.clone()]).await?;
            match reach {
                Reach::Deleted if found.is_some() => return Ok(()),
                // What is gone may be named, and does not remain.
                Reach::Unnamed if found.is_some() || deleted.is_some() => {
                    if let Some(why) = self.named_by(digest).await? {
                        self.remains(*digest, None, why);
                        return Ok(());
                    }
                }
                _ => {}
            }
            let found: Option<StoredManifest> = Found::read(key, found)?;
            let deleted: Option<Found<DeletedRecord>> = Found::read(deleted_key, deleted)?;
            let Some(needs) = self.known.get(digest).cloned() else {
                // One that has come just now is looked at again.
                if found.is_some() || deleted.is_some() {
                    continue;
                }
                return Ok(());
            };
            let (size, committed) = match (found, deleted) {
                (Some(found), _) => {
                    let mut also = Batch::default();
                    if reach == Reach::Unnamed {
                        for named in [keys::tagged_with(name, digest), keys::users(name, digest)] {
                            also.expect(Expect::NoneUnder(named));
                        }
                    }
                    if !self.force {
                        match call.unmarked(&mut also, name, digest, &call.marks().await?).await {
                            Err(Error::Denied(why)) if reach == Reach::Unnamed => {
                                self.remains(*digest, None, why);
                                return Ok(());
                            }
                            unmarked => unmarked?,
                        }
                    }
                    // Of one call one event is told: that of what it was asked for.
                    let told = self.done.tags.is_empty() && self.done.manifests.is_empty();
                    let removal = Removal { also, unnamed: call.ambient.now, end: End::Gone, told };
                    (found.record.size, call.remove_manifest(name, digest, &found, removal, &mut removed).await?)
                }
                (None, Some(found)) => (found.record.manifest.size, call.purge_deleted(name, digest, &found).await?),
                // When garbage collection has purged it just now, what it needed is still to go.
                (None, None) => (0, Committed::Done),
            };
            if committed == Committed::Conflict {
                continue;
            }
            self.remaining.remove(digest);
            self.gone.insert(*digest);
            self.done.manifests.push(*digest);
            self.done.bytes += size;
            for (needed, need) in needs {
                if need == Need::Child && reach != Reach::Deleted {
                    self.next.push(needed);
                }
                // A child may be a blob.
                self.blobs.insert(needed);
            }
            return Ok(());
        }
        Err(Error::Contention)
    }

    /// Takes a blob out of the repository if no manifest of it needs it, and erases its bytes if no repository holds it:
    /// one that was taken out before, too.
    async fn blob(&mut self, digest: &Digest) -> Result<(), Error> {
        let (call, name) = (self.call, self.name);
        for _ in 0..ATTEMPTS {
            let [link, blob] = call.get([keys::link(name, digest), keys::blob(digest)]).await?;
            let Some(blob) = Found::<BlobRecord>::read(keys::blob(digest), blob)? else { return Ok(()) };
            let BlobRecord { size, extents, .. } = &blob.record;
            if link.is_none() {
                return self.bytes(digest, extents).await;
            }
            let users = keys::users(name, digest);
            if let Some(key) = call.first(&users).await? {
                let why = format!("{} of this repository needs it", users.rest(&key));
                self.remains(*digest, Some(*size), why);
                return Ok(());
            }
            let mut batch = Batch::reclaiming();
            batch.expect(Expect::NoneUnder(users));
            take_blob(&mut batch, name, digest, *size);
            if call.commit(batch, Durability::Durable).await? == Committed::Conflict {
                continue;
            }
            self.remaining.remove(digest);
            self.done.blobs.push(*digest);
            return self.bytes(digest, extents).await;
        }
        Err(Error::Contention)
    }

    /// Erases the bytes of a blob that no repository holds, whatever is kept of others for records that are restored.
    ///
    /// It was made of `known` when it was in the repository. What garbage collection or a gathering has released of that
    /// since is erased too.
    async fn bytes(&mut self, digest: &Digest, known: &[Extent]) -> Result<(), Error> {
        let call = self.call;
        for _ in 0..ATTEMPTS {
            let found: Option<Found<BlobRecord>> = call.find(keys::blob(digest)).await?;
            let Some(found) = found else { return call.purge_released(known).await };
            let holders = keys::holders(digest);
            if let Some(key) = call.first(&holders).await? {
                let why = format!("the repository {} has it, too", holders.rest(&key));
                self.remains(*digest, Some(found.record.size), why);
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
            if call.commit(batch, Durability::Durable).await? == Committed::Done {
                self.remaining.remove(digest);
                self.done.bytes += found.record.size;
                call.erase(objects).await;
                return call.purge_released(known).await;
            }
        }
        Err(Error::Contention)
    }
}

impl Call {
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
