//! Manifests and tags: delete (OCI end-9; SPEC L).

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::batch::{Batch, Found};
use super::maintained::TagState;
use super::pages::Pages;
use super::protect::Marks;
use super::{Call, PIECE};
use crate::ambient::Timestamp;
use crate::caller::Right;
use crate::conditional;
use crate::config::{ATTEMPTS, SCAN_BYTES};
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Fault, Scan, Value};
use crate::error::Error;
use crate::event::{self, Happening, Part};
use crate::http::{Headers, Response};
use crate::keys;
use crate::manifest::{Manifest, Need};
use crate::name::{Repository, Tag};
use crate::record::{self, DeletedRecord, DeletedTagRecord, LeftRecord, Listed, ManifestRecord, PlatformsRecord};

/// A manifest of a repository as it was read.
pub(super) type StoredManifest = Found<ManifestRecord>;

/// How a manifest or tag ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End<'b> {
    /// At once and for good, and with it what was deleted before and names it.
    Gone,
    /// The same, as long as nothing that was deleted before names it.
    Collected,
    /// It can be undeleted for a while. This is who deleted it: a user, or what deletes by itself.
    Kept(&'b str),
}

/// How a manifest is taken out of its repository.
pub(super) struct Removal<'b> {
    /// What is expected and put besides, by the commit that takes it.
    pub(super) also: Batch,
    /// Since when nothing names it.
    pub(super) unnamed: Timestamp,
    pub(super) end: End<'b>,
    /// Whether who listens is told of it, and of the tags that go with it.
    pub(super) told: bool,
}

/// How far the removal of a manifest has come, for who tries again after a conflict.
#[derive(Default)]
pub(super) struct Removed {
    /// What maintained lists have lost with it, for an undelete.
    listed: Vec<Listed>,
    /// By how many commits tags have gone before it.
    commits: usize,
}

/// The end of a manifest, for the tags that name it.
pub(super) struct RemovedManifest<'b> {
    pub(super) gone: &'b Digest,
    /// There are more tags than one commit takes: the manifest goes later.
    pub(super) more: bool,
    pub(super) end: End<'b>,
    /// What maintained lists lose with it.
    pub(super) listed: &'b mut Vec<Listed>,
}

impl Call {
    /// How something ends that is deleted now: where there is time to undelete it, `by` is noted (SPEC X1).
    pub(super) fn end<'b>(&self, by: &'b str) -> End<'b> {
        match self.config.undelete_within {
            Some(within) if !within.is_zero() => End::Kept(by),
            _ => End::Gone,
        }
    }

    /// `DELETE` by tag: the tag goes, what it named stays (SPEC L1). It goes as it was when the conditions in `headers` were
    /// held against it (SPEC L10).
    pub(crate) async fn delete_tag(&self, name: &Repository, tag: &Tag, headers: &Headers) -> Result<Response, Error> {
        self.may_delete()?;
        for _ in 0..ATTEMPTS {
            let [tag_key, platforms_key] = TagState::keys(name, tag);
            let [record, platforms, marks] = self.get([tag_key, platforms_key, Marks::key()]).await?;
            let state = TagState::read(name, tag, [record, platforms]);
            if !state.is_there() {
                return Err(Error::ManifestUnknown(tag.to_string()));
            }
            let marks = Marks::read(marks)?;
            marks.tag(name, tag)?;
            conditional::permits(headers, state.record.as_ref().map(|found| &found.record.digest))?;
            let mut batch = Batch::reclaiming();
            batch.expect(marks.unchanged());
            self.end_tag(&mut batch, name, &state, self.end(&self.caller.name)).await?;
            self.tell(&mut batch, Happening::Delete, name, None, event::names([tag])).await?;
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(accepted());
            }
        }
        Err(Error::Contention)
    }

    /// `DELETE` by digest: the manifest goes, and every tag that names it (SPEC L3), as long as the conditions in `headers`
    /// hold (SPEC L10).
    pub(crate) async fn delete_manifest(
        &self,
        name: &Repository,
        digest: &Digest,
        headers: &Headers,
    ) -> Result<Response, Error> {
        self.may_delete()?;
        let key = keys::manifest(name, digest);
        let mut removed = Removed::default();
        for _ in 0..ATTEMPTS {
            let [manifest, marks] = self.get([key.clone(), Marks::key()]).await?;
            // One that does not read is as if it were not there (SPEC W5).
            let Ok(Some(found)) = StoredManifest::read(key.clone(), manifest) else {
                return Err(Error::ManifestUnknown(digest.to_string()));
            };
            conditional::permits(headers, Some(digest))?;
            let mut also = Batch::default();
            self.unmarked(&mut also, name, digest, &Marks::read(marks)?).await?;
            if self.caller.rights.protect_tags(name) {
                also.expect.extend(self.unprotected(name, digest).await?);
            }
            let end = self.end(&self.caller.name);
            let removal = Removal { also, unnamed: self.ambient.now, end, told: true };
            if self.remove_manifest(name, digest, &found, removal, &mut removed).await? == Committed::Done {
                return Ok(accepted());
            }
        }
        Err(Error::Contention)
    }

    /// Takes a manifest out of a repository, if it is still as it was read and what `also` expects holds, and puts what
    /// that puts.
    ///
    /// Whoever points a tag at a manifest writes the manifest's record anew, so the tags that are found here are
    /// all there are as long as the record is unchanged. Many tags go with commits of their own before it, each of which
    /// tells of those that it takes.
    ///
    /// One that can be undeleted keeps what it needs, and its place in the usage of the repository. What an upstream can
    /// give again is not kept.
    ///
    /// Otherwise what it needs counts as left from now on, so that a client that has just seen a blob may push a manifest
    /// with it; the children of an index from `unnamed`, when nothing named that any more, if they were not left later.
    pub(super) async fn remove_manifest(
        &self,
        name: &Repository,
        digest: &Digest,
        found: &StoredManifest,
        removal: Removal<'_>,
        Removed { listed, commits }: &mut Removed,
    ) -> Result<Committed, Error> {
        let Removal { also, unnamed, end, told } = removal;
        let end = match end {
            End::Kept(_) if found.record.fetched => End::Gone,
            end => end,
        };
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            // Each commit has a nonce of its own.
            let call = self.renewed(PIECE, *commits);
            let mut batch = Batch::reclaiming();
            batch.expect(found.unchanged());
            let lost = listed.len();
            let (tags, more) = call.take_tags(&mut batch, name, digest, end, listed).await?;
            if more {
                batch.expect.extend(also.expect.iter().cloned());
                if told && !tags.is_empty() {
                    let (event, part) =
                        (call.about(Happening::Delete, name, None, tags), Part::TagsOf(digest, *commits));
                    call.tell_part(&mut batch, name, &event, &part).await?;
                }
                if call.commit(batch, Durability::Durable).await? == Committed::Conflict {
                    listed.truncate(lost);
                    return Ok(Committed::Conflict);
                }
                *commits += 1;
                continue;
            }
            let payload_key = keys::payload(name, digest);
            let [now, payload] = call.get([found.key.clone(), payload_key.clone()]).await?;
            if now.as_ref() != Some(&found.value) {
                listed.truncate(lost);
                return Ok(Committed::Conflict);
            }
            let subject = found.record.subject.iter();
            subject.for_each(|subject| batch.delete(keys::referrer(name, subject, digest)));
            batch.delete(keys::left(name, digest));
            batch.delete(keys::pulled_manifest(name, digest));
            if found.record.quarantined.is_some() {
                batch.delete(keys::quarantined_manifest(name, digest));
            }
            batch.delete(payload_key);
            batch.delete(found.key.clone());
            batch.merge(also.clone());
            if told {
                call.tell(&mut batch, Happening::Delete, name, Some((digest, Some(&found.record))), tags).await?;
            }
            match (end, payload) {
                (End::Kept(by), Some(payload)) => {
                    // One that is damaged is found to be so again when it is undeleted.
                    let manifest = ManifestRecord { quarantined: None, ..found.record.clone() };
                    let deleted = call.ambient.now;
                    let record = DeletedRecord { manifest, deleted, by: by.into(), listed: listed.clone() };
                    batch.put(keys::deleted(name, digest), &record);
                    batch.put.push((keys::deleted_payload(name, digest), payload));
                    batch.move_usage(name);
                    let committed = call.commit(batch, Durability::Durable).await?;
                    if committed == Committed::Conflict {
                        listed.truncate(lost);
                    }
                    return Ok(committed);
                }
                (_, payload) => {
                    call.needs_left(&mut batch, name, digest, (payload, &found.record), unnamed).await?;
                    if let Some(committed) = call.commit_end(batch, name, digest, end).await? {
                        return Ok(committed);
                    }
                    attempts += 1;
                }
            }
        }
        Ok(Committed::Conflict)
    }

    /// Puts into `batch` what the end of a manifest for good changes for what it needs.
    pub(super) async fn needs_left(
        &self,
        batch: &mut Batch,
        name: &Repository,
        digest: &Digest,
        (payload, record): (Option<Value>, &ManifestRecord),
        unnamed: Timestamp,
    ) -> Result<(), Error> {
        for (needed, how) in self.needs_of(name, digest, (payload.as_ref(), record)).await? {
            let key = keys::left(name, &needed);
            let mut left = self.ambient.now;
            if how == Need::Child && unnamed < left {
                // A tag may have left it since.
                let found: Option<Found<LeftRecord>> = self.find(key.clone()).await?;
                batch.expect_unchanged(key.clone(), found.as_ref());
                left = found.map_or(unnamed, |found| found.record.left.max(unnamed));
            }
            batch.delete(keys::used(name, &needed, digest));
            batch.put(key, &LeftRecord { left });
        }
        batch.take_usage(name, record.size);
        Ok(())
    }

    /// What a manifest needs, by its payload or else by the records.
    pub(super) async fn needs_of(
        &self,
        name: &Repository,
        digest: &Digest,
        (payload, record): (Option<&Value>, &ManifestRecord),
    ) -> Result<Vec<(Digest, Need)>, Error> {
        match payload.and_then(|bytes| Manifest::parse(bytes, Some(&record.media_type)).ok()) {
            Some(manifest) => Ok(manifest.needs.into_iter().collect()),
            None => self.recorded_needs(name, digest).await,
        }
    }

    /// Commits the end of a manifest for good, if no deleted tag names it. `None` when one did: it names the manifest no
    /// more, and the end is to be tried again.
    pub(super) async fn commit_end(
        &self,
        mut batch: Batch,
        name: &Repository,
        digest: &Digest,
        end: End<'_>,
    ) -> Result<Option<Committed>, Error> {
        let named = keys::deleted_tagged_with(name, digest);
        batch.expect(Expect::NoneUnder(named.clone()));
        let committed = self.commit(batch, Durability::Durable).await?;
        if committed == Committed::Done || end == End::Collected || self.is_empty(&named).await? {
            return Ok(Some(committed));
        }
        self.forget_deleted_tags(name, digest).await?;
        Ok(None)
    }

    /// What a manifest needs by what the records say, for one whose payload is damaged or not to today's rules. It reads
    /// what all manifests of the repository need.
    async fn recorded_needs(&self, name: &Repository, digest: &Digest) -> Result<Vec<(Digest, Need)>, Error> {
        let prefix = keys::uses(name);
        let mut needs = Vec::new();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            let used = page.iter().filter_map(|(key, _)| prefix.rest(key).split_once('/'));
            let used = used.filter(|(_, manifest)| manifest.parse() == Ok(*digest));
            needs.extend(used.filter_map(|(needed, _)| Some((needed.parse().ok()?, Need::Blob))));
        }
        Ok(needs)
    }

    /// Takes a manifest from the tags that name it, as many as one commit does: those that end with it, and whether there are
    /// more.
    async fn take_tags(
        &self,
        batch: &mut Batch,
        name: &Repository,
        digest: &Digest,
        end: End<'_>,
        listed: &mut Vec<Listed>,
    ) -> Result<(Vec<String>, bool), Error> {
        let (prefix, most) = (keys::tagged_with(name, digest), self.config.tags_a_commit);
        let scan = Scan { prefix: prefix.clone(), after: None, limit: most + 1, bytes: SCAN_BYTES };
        let entries = self.ask(scan).await?;
        let (more, mut ended) = (entries.len() > most, Vec::new());
        for (key, _) in entries.iter().take(most) {
            let damaged = |_| Fault::Failed(format!("the key {key:?} is damaged"));
            let tag = prefix.rest(key).parse::<Tag>().map_err(damaged)?;
            let state = self.tag_state(name, &tag).await?;
            self.may_remove_from_tag(name, &state, digest)?;
            let removed = RemovedManifest { gone: digest, more, end, listed: &mut *listed };
            if self.remove_from_tag(batch, name, &state, removed).await? {
                ended.push(tag.as_str().into());
            }
        }
        Ok((ended, more))
    }

    /// Sees that no protected tag needs the manifest, by itself or by an index, and says what to expect so that none
    /// comes to. The lists that the registry maintains count by the tags they are of; beside one of these an index
    /// that comes at the same moment is not seen.
    async fn unprotected(&self, name: &Repository, digest: &Digest) -> Result<Vec<Expect>, Error> {
        let tagged = keys::tagged_with(name, digest);
        let mut pages = Pages::new(&tagged);
        while let Some(page) = pages.next(self).await? {
            for tag in page.iter().filter_map(|(key, _)| tagged.rest(key).parse().ok()) {
                self.may_remove_from_tag(name, &self.tag_state(name, &tag).await?, digest)?;
            }
        }
        let users = keys::users(name, digest);
        let (mut pages, mut any) = (Pages::new(&users), false);
        while let Some(page) = pages.next(self).await? {
            any = true;
            for user in page.iter().filter_map(|(key, _)| users.rest(key).parse().ok()) {
                let found: Option<StoredManifest> = self.find(keys::manifest(name, &user)).await?;
                if found.is_some_and(|found| !found.record.maintained) {
                    let why = "an index has this manifest, and some tags here may not be deleted";
                    return Err(Error::Denied(why.into()));
                }
            }
        }
        Ok(if any { [].into() } else { [Expect::NoneUnder(users)].into() })
    }

    /// Whether the caller may do to a tag what the end of the manifest `gone` does to it: the tag ends, or the list that
    /// it is becomes another.
    fn may_remove_from_tag(&self, name: &Repository, state: &TagState, gone: &Digest) -> Result<(), Error> {
        let Some(tag) = state.record.as_ref().filter(|_| state.is(gone)) else { return Ok(()) };
        let right = if tag.record.digest == *gone { Right::Delete } else { Right::OverwriteTag };
        if self.caller.rights.may_tag(right, name, &state.tag) {
            return Ok(());
        }
        Err(Error::Denied(format!("the tag {} of {name} needs this manifest, and you may not change it", state.tag)))
    }

    /// Puts the end of a tag into `batch`, which expects it as it was read (SPEC X4).
    pub(super) async fn end_tag(
        &self,
        batch: &mut Batch,
        name: &Repository,
        before: &TagState,
        end: End<'_>,
    ) -> Result<(), Error> {
        self.change_tag(batch, name, before, None, None);
        self.keep_tag(batch, name, before, end, false).await
    }

    /// Notes in `batch` what a tag that ends was, if it can be undeleted; `along` with the manifest that it names, maybe.
    /// The tags of a mirror are not kept: the upstream has them.
    pub(super) async fn keep_tag(
        &self,
        batch: &mut Batch,
        name: &Repository,
        before: &TagState,
        end: End<'_>,
        along: bool,
    ) -> Result<(), Error> {
        let (End::Kept(by), Some(found)) = (end, &before.record) else { return Ok(()) };
        if self.config.mirror_of(name).is_some() {
            return Ok(());
        }
        let record = DeletedTagRecord {
            tag: found.record.clone(),
            platforms: before.platforms.clone(),
            deleted: self.ambient.now,
            by: by.into(),
            along,
        };
        let key = keys::deleted_tag(name, &before.tag);
        let [older] = self.get([key.clone()]).await?;
        if let Some(older) = older {
            // One that does not read keeps nothing any more.
            let names = record::decode::<DeletedTagRecord>(&key, &older).map(|older| older.names()).unwrap_or_default();
            names.iter().for_each(|digest| batch.delete(keys::deleted_tagged(name, digest, &before.tag)));
            batch.expect(Expect::Exactly(key.clone(), older));
        } else {
            batch.expect(Expect::Absent(key.clone()));
        }
        record.names().iter().for_each(|digest| batch.mark(keys::deleted_tagged(name, digest, &before.tag)));
        batch.put(key, &record);
        Ok(())
    }

    /// Sees that no deleted tag names a manifest any more that goes for good: a tag that was it is forgotten, a list that
    /// had it has it no more.
    async fn forget_deleted_tags(&self, name: &Repository, digest: &Digest) -> Result<(), Error> {
        let named = keys::deleted_tagged_with(name, digest);
        let mut pages = Pages::new(&named);
        while let Some(page) = pages.next(self).await? {
            for (mark, _) in page {
                let damaged = |_| Fault::Failed(format!("the key {mark:?} is damaged"));
                let tag = named.rest(&mark).parse::<Tag>().map_err(damaged)?;
                let key = keys::deleted_tag(name, &tag);
                let [value] = self.get([key.clone()]).await?;
                let mut batch = Batch::reclaiming();
                batch.delete(mark);
                batch.expect(match &value {
                    Some(value) => Expect::Exactly(key.clone(), value.clone()),
                    None => Expect::Absent(key.clone()),
                });
                let record = value.and_then(|value| record::decode::<DeletedTagRecord>(&key, &value).ok());
                match record {
                    Some(record) if record.tag.digest == *digest => {
                        let others = record.names().into_iter().filter(|other| other != digest);
                        others.for_each(|other| batch.delete(keys::deleted_tagged(name, &other, &tag)));
                        batch.delete(key);
                    }
                    Some(mut record) if record.names().contains(digest) => {
                        record.platforms = record.platforms.and_then(|platforms| platforms.without(digest));
                        batch.put(key, &record);
                    }
                    _ => {}
                }
                // One that was deleted once more in between is seen by whoever ends the manifest.
                self.commit(batch, Durability::Eventual).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn tag_state(&self, name: &Repository, tag: &Tag) -> Result<TagState, Error> {
        let values = self.get(TagState::keys(name, tag)).await?;
        Ok(TagState::read(name, tag, values))
    }

    /// SPEC D4, L2, L5.
    pub(super) fn may_delete(&self) -> Result<(), Error> {
        if self.config.allow_delete { Ok(()) } else { Err(Error::Disabled("deleting")) }
    }
}

impl DeletedTagRecord {
    /// Every manifest that the tag named, by itself or through its list.
    pub(super) fn names(&self) -> BTreeSet<Digest> {
        let listed = self.platforms.iter().flat_map(PlatformsRecord::names);
        core::iter::once(self.tag.digest).chain(listed).collect()
    }
}

fn accepted() -> Response {
    Response::new(202).with("Content-Length", "0")
}
