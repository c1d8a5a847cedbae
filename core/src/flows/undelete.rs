//! What was deleted, and how it comes back (SPEC X7).
//!
//! What comes back comes by one commit, which expects what was deleted as it was read: of a push, a purge and an undelete
//! at once one wins, and the others look again. Where there is very much of it, it takes several, in an order in which a
//! crash leaves nothing incomplete: what an index lists before the index, what a tag names before the tag. Each commit tells
//! of what it brings back, so whoever listens knows of it also where the call ends there.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::batch::{Batch, Found};
use super::delete::StoredManifest;
use super::maintained::TagState;
use super::mirror::Voucher;
use super::pages::Pages;
use super::{Call, PIECE, fault, referrers};
use crate::ambient::{Ambient, Timestamp};
use crate::config::{ATTEMPTS, Config, LIST_IMAGES, MANIFEST_LIMIT, PROTECT_MARKS};
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Fault, Get, Value};
use crate::error::Error;
use crate::event::Happening;
use crate::keys::{self, Key, Prefix};
use crate::manifest::{Manifest, Need};
use crate::name::{Repository, Tag};
use crate::record::{
    self, DeletedRecord, DeletedTagRecord, LeftRecord, Listed, ManifestRecord, PlatformsRecord, TagRecord,
};
use crate::target::Reference;

/// A manifest or tag that was deleted and can be undeleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The repository.
    pub repository: String,
    /// The tag, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The manifest, or what the tag named.
    pub digest: Digest,
    /// The media type of a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// When garbage collection purges it.
    pub until: Timestamp,
    /// Who deleted it: a user, or what deletes by itself; empty for nobody in particular.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// A part of what was deleted, and where the next one begins, if there is more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletedPage {
    /// Manifests first, then tags, each in the order of their names.
    pub deleted: Vec<Deleted>,
    /// What to go on behind.
    pub after: Option<Key>,
    /// The keys of records that do not read.
    pub damaged: Vec<Key>,
}

/// What an undelete does where a tag is in its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undeleting {
    /// Overwrites the tag, if it was pushed again meanwhile.
    pub force: bool,
    /// Brings the tag back under this name.
    pub named: Option<Tag>,
}

/// What an undelete has brought back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undeleted {
    /// Manifests.
    pub manifests: Vec<Digest>,
    /// Tags.
    pub tags: Vec<String>,
    /// Tags that had gone with the manifest and were pushed again since: they stay as they are.
    pub taken: Vec<String>,
    /// Blobs and manifests that these need and that were deleted or purged by themselves: they do not come back.
    pub missing: Vec<Digest>,
}

/// Why something is not undeleted or purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nothing of that name was deleted, or it was purged.
    NotDeleted(String),
    /// There is nothing of that name.
    Unknown(String),
    /// There is no such repository.
    NoRepository(String),
    /// It was deleted, and its record or its bytes are damaged.
    Damaged(String),
    /// The tag was deleted, and the manifest that it named was purged, or is damaged.
    Purged(String, Digest),
    /// The tag was pushed again.
    Taken(String, Digest),
    /// It is protected; this says by what.
    Protected(String),
    /// There are as many protect marks as there may be.
    TooManyMarks,
    /// Too many others are changing the same thing.
    Contention,
    /// The storage failed.
    Storage(Fault),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDeleted(what) => {
                write!(f, "{what} is not among what was deleted and can be undeleted; `orlop deleted` lists that")
            }
            Self::Unknown(what) => write!(f, "there is no {what}, and none that was deleted"),
            Self::NoRepository(name) => write!(f, "there is no repository {name}"),
            Self::Damaged(what) => {
                write!(f, "{what} cannot be undeleted: its record or its bytes are damaged; `orlop check` says how")
            }
            Self::Purged(what, digest) => {
                write!(f, "{what} cannot be undeleted: it named {digest}, which was purged or is damaged")
            }
            Self::Taken(what, digest) => write!(
                f,
                "{what} was pushed again and names {digest} now; give it another name with --as TAG, or overwrite it \
                 with --force"
            ),
            Self::Protected(reason) => write!(f, "{reason}; or purge it anyway with --force"),
            Self::TooManyMarks => {
                write!(
                    f,
                    "there are {PROTECT_MARKS} protect marks, and no more can be set; a pattern can be for many tags"
                )
            }
            Self::Contention => f.write_str("too many others are changing the same thing; try again"),
            Self::Storage(fault) => fault.fmt(f),
        }
    }
}

impl core::error::Error for Refused {}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(reason) => Self::Protected(reason),
            Error::Contention => Self::Contention,
            other => Self::Storage(fault(other)),
        }
    }
}

impl Call {
    /// The next page of what was deleted, in one repository or in all.
    pub(crate) async fn deleted(&self, name: Option<&Repository>, after: Option<Key>) -> Result<DeletedPage, Error> {
        let (manifests, tags) = match name {
            Some(name) => (keys::deleted_in(name), keys::deleted_tags(name)),
            None => (keys::all_deleted(), keys::all_deleted_tags()),
        };
        let mut page = DeletedPage::default();
        let among_tags = after.as_ref().is_some_and(|after| after.as_str().starts_with(tags.as_str()));
        if !among_tags {
            for (key, value) in self.scan(&manifests, after.clone()).await? {
                page.after = Some(key.clone());
                match (record::decode::<DeletedRecord>(&key, &value), named(&key, &keys::all_deleted(), '@')) {
                    (Ok(record), Some((repository, digest))) => {
                        let Ok(digest) = digest.parse() else { continue };
                        let media_type = Some(record.manifest.media_type);
                        let (deleted, until) = (record.deleted, self.until(record.deleted));
                        let (repository, by) = (repository.into(), record.by);
                        page.deleted.push(Deleted { repository, tag: None, digest, media_type, deleted, until, by });
                    }
                    _ => page.damaged.push(key),
                }
            }
            if page.after.is_some() {
                return Ok(page);
            }
        }
        for (key, value) in self.scan(&tags, after.filter(|_| among_tags)).await? {
            page.after = Some(key.clone());
            match (record::decode::<DeletedTagRecord>(&key, &value), named(&key, &keys::all_deleted_tags(), ':')) {
                (Ok(record), Some((repository, tag))) => page.deleted.push(Deleted {
                    repository: repository.into(),
                    tag: Some(tag.into()),
                    digest: record.tag.digest,
                    media_type: None,
                    deleted: record.deleted,
                    until: self.until(record.deleted),
                    by: record.by,
                }),
                _ => page.damaged.push(key),
            }
        }
        Ok(page)
    }

    /// Until when something can be undeleted.
    fn until(&self, deleted: Timestamp) -> Timestamp {
        deleted.after(self.config.undelete_within.unwrap_or_default())
    }

    /// Brings a manifest and the tags that went with it back, or a tag and all that it named. That is one commit, unless
    /// there is very much of it.
    pub(crate) async fn undelete(
        &self,
        name: &Repository,
        reference: &Reference,
        how: &Undeleting,
    ) -> Result<Undeleted, Refused> {
        let mut revival = Revival {
            call: Arc::new(self.detached()(self.io.clone())),
            name,
            reference,
            change: Change::default(),
            done: Undeleted::default(),
            tagged: None,
            lost: false,
        };
        for _ in 0..ATTEMPTS {
            revival.change = Change::default();
            revival.lost = false;
            let come_back = match reference {
                Reference::Tag(tag) => revival.tag(tag, how).await?,
                Reference::Digest(digest) => revival.manifest(digest).await?,
            };
            if !come_back {
                continue;
            }
            if revival.flush().await? {
                let mut done = revival.done;
                if done.manifests.is_empty() && done.tags.is_empty() {
                    let what = format!("{name}@{reference}");
                    return Err(if revival.lost { Refused::Damaged(what) } else { Refused::NotDeleted(what) });
                }
                done.missing.sort_unstable();
                done.missing.dedup();
                return Ok(done);
            }
        }
        Err(Refused::Contention)
    }

    /// Puts into `batch` that the list of a tag has again what it lost, if it still goes on from what it was then: it has
    /// an image of that time, and none for the same platform.
    async fn mend(
        &self,
        batch: &mut Batch,
        name: &Repository,
        digest: &Digest,
        Listed { tag, image }: &Listed,
        lost: Timestamp,
    ) -> Result<(), Error> {
        let state = self.tag_state(name, tag).await?;
        let (Some(found), Some(platforms)) = (&state.record, &state.platforms) else { return Ok(()) };
        let named = found.record.digest;
        let PlatformsRecord { list, mut images } = platforms.clone();
        let after = match image {
            None if list.is_none() && super::maintained::digest_of_list(&images) == Some(*digest) => {
                Some((named, Some(*digest)))
            }
            Some(image)
                if images.len() < LIST_IMAGES
                    && images.iter().any(|other| other.pushed <= lost)
                    && images.iter().all(|other| other.platform.name() != image.platform.name()) =>
            {
                images.push(image.clone());
                images.sort_by_key(|image| image.platform.name());
                let assembled = list == Some(named);
                let list = self.keep_list(batch, name, &images, assembled).await?;
                Some((list.filter(|_| assembled).unwrap_or(named), list))
            }
            _ => None,
        };
        if let Some((digest, list)) = after {
            self.may_become(name, &state, digest, list)?;
            self.mend_tag(batch, name, &state, Some((digest, PlatformsRecord { list, images })), None);
        }
        Ok(())
    }
}

/// An undelete under way.
struct Revival<'c> {
    /// The call, with a nonce of its own for each commit: whoever reads a record between two of them, and expects it as it
    /// was, has to notice that the second writes it anew.
    call: Arc<Call>,
    name: &'c Repository,
    /// What was asked for.
    reference: &'c Reference,
    change: Change,
    /// What was committed.
    done: Undeleted,
    /// What the tag names that comes back.
    tagged: Option<Digest>,
    /// Something that was deleted is damaged, and does not come back.
    lost: bool,
}

/// What the next commit of an undelete changes.
#[derive(Default)]
struct Change {
    batch: Batch,
    /// What it brings back.
    brings: Undeleted,
    /// How many bytes the manifests among it have.
    bytes: u64,
    /// The tags that it changes.
    tags: BTreeSet<Tag>,
    /// The manifests whose records it writes.
    written: BTreeSet<Digest>,
}

impl Change {
    fn is_large(&self, config: &Config) -> bool {
        let most = config.tags_a_commit;
        self.bytes > MANIFEST_LIMIT || self.tags.len() >= most || self.written.len() >= most
    }
}

impl Revival<'_> {
    /// Tells of what comes back with the next commit: of its tags, and of what they name, or else of the manifest that was
    /// asked for, or of the last that comes, before which comes all that it lists (SPEC X16).
    async fn tell(&self, batch: &mut Batch, brings: &Undeleted) -> Result<(), Error> {
        let tags = brings.tags.clone();
        let asked = match self.reference {
            Reference::Digest(digest) => {
                Some(*digest).filter(|_| !tags.is_empty() || brings.manifests.contains(digest))
            }
            Reference::Tag(_) => self.tagged.filter(|_| !tags.is_empty()),
        };
        if let Some(digest) = asked.or(brings.manifests.last().copied()) {
            self.call.tell(batch, Happening::Push, self.name, Some((&digest, None)), tags).await?;
        }
        Ok(())
    }

    /// Makes the change so far; what comes then has a nonce of its own. `false` when it is to be found out anew.
    async fn flush(&mut self) -> Result<bool, Error> {
        let Change { mut batch, brings, .. } = core::mem::take(&mut self.change);
        if batch.is_empty() {
            return Ok(true);
        }
        self.tell(&mut batch, &brings).await?;
        if self.call.commit(batch, Durability::Durable).await? == Committed::Conflict {
            return Ok(false);
        }
        self.call = Arc::new(self.call.renewed(PIECE, 1));
        self.done.manifests.extend(brings.manifests);
        self.done.tags.extend(brings.tags);
        self.done.missing.extend(brings.missing);
        Ok(true)
    }

    /// Brings a manifest back, and the tags that went with it, if nothing was pushed to them since.
    async fn manifest(&mut self, digest: &Digest) -> Result<bool, Refused> {
        if !self.revive(digest).await? {
            return Ok(false);
        }
        self.done.taken.clear();
        let prefix = keys::deleted_tagged_with(self.name, digest);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(&self.call).await? {
            for tag in page.iter().filter_map(|(mark, _)| prefix.rest(mark).parse::<Tag>().ok()) {
                let (found, state) = self.deleted_tag(&tag, &tag).await?;
                let along = |found: &Found<DeletedTagRecord>| found.record.along && found.record.tag.digest == *digest;
                let Some(found) = found.filter(along) else { continue };
                if state.record.is_some() {
                    self.done.taken.push(tag.as_str().into());
                } else if !self.retag(&tag, &found, &state).await? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Brings a tag back, and all that it named.
    async fn tag(&mut self, tag: &Tag, how: &Undeleting) -> Result<bool, Refused> {
        let name = self.name;
        let target = how.named.as_ref().unwrap_or(tag);
        let (found, state) = self.deleted_tag(tag, target).await?;
        let Some(found) = found else { return Err(Refused::NotDeleted(format!("{name}:{tag}"))) };
        if let Some(now) = state.record.as_ref().filter(|_| !how.force) {
            return Err(Refused::Taken(format!("{name}:{target}"), now.record.digest));
        }
        self.retag(tag, &found, &state).await
    }

    /// A deleted tag, and the tag that it is to be, in one snapshot.
    async fn deleted_tag(&self, tag: &Tag, target: &Tag) -> Result<(Option<Found<DeletedTagRecord>>, TagState), Error> {
        let key = keys::deleted_tag(self.name, tag);
        let [tag_key, platforms_key] = TagState::keys(self.name, target);
        let [deleted, record, platforms] = self.call.get([key.clone(), tag_key, platforms_key]).await?;
        Ok((Found::read(key, deleted)?, TagState::read(self.name, target, [record, platforms])))
    }

    /// Whether nothing has changed since a deleted tag was read, and what it named is neither there nor deleted so that it
    /// can come back.
    async fn is_purged(&self, found: &Found<DeletedTagRecord>) -> Result<bool, Error> {
        let (name, digest) = (self.name, &found.record.tag.digest);
        let deleted = [keys::deleted(name, digest), keys::deleted_payload(name, digest)];
        let [record, payload] = deleted.clone();
        let all = [found.key.clone(), keys::manifest(name, digest), record, payload];
        let [tag, manifest, record, payload] = self.call.get(all).await?;
        let comes_back = comes_back(&deleted[0], record.as_ref(), payload.as_ref());
        Ok(tag.as_ref() == Some(&found.value) && manifest.is_none() && !comes_back)
    }

    /// A tag is again what it was, with all of its list that can come back. `false` when it is to be found out anew.
    async fn retag(&mut self, tag: &Tag, found: &Found<DeletedTagRecord>, state: &TagState) -> Result<bool, Refused> {
        let (name, was) = (self.name, &found.record);
        for digest in was.names() {
            if !self.revive(&digest).await? {
                return Ok(false);
            }
        }
        if (self.change.is_large(&self.call.config) || self.change.tags.contains(&state.tag)) && !self.flush().await? {
            return Ok(false);
        }
        let call = self.call.clone();
        let PlatformsRecord { list, mut images } =
            was.platforms.clone().unwrap_or(PlatformsRecord { list: None, images: Vec::new() });
        let assembled = list == Some(was.tag.digest);
        let mut there = BTreeSet::new();
        for digest in was.names().into_iter().filter(|digest| Some(*digest) != list) {
            if self.is_there(&digest).await? {
                there.insert(digest);
            }
        }
        images.retain(|image| there.contains(&image.digest));
        let list = match list {
            Some(_) => call.keep_list(&mut self.change.batch, name, &images, assembled).await?,
            None => None,
        };
        let digest = if assembled { list } else { Some(was.tag.digest).filter(|digest| there.contains(digest)) };
        let Some(digest) = digest else {
            return match self.is_purged(found).await? {
                true => Err(Refused::Purged(format!("{name}:{tag}"), was.tag.digest)),
                false => Ok(false),
            };
        };
        let Ambient { now, nonce } = call.ambient;
        let record = TagRecord { digest, by: nonce, undeleted: Some(now), ..was.tag.clone() };
        call.may_become(name, state, digest, list)?;
        let batch = &mut self.change.batch;
        call.put_tag(batch, name, state, Some((record, PlatformsRecord { list, images })), None);
        batch.merge(Call::without_deleted_tag(name, tag, found));
        self.change.tags.insert(state.tag.clone());
        self.change.brings.tags.push(state.tag.as_str().into());
        self.tagged = Some(digest);
        Ok(true)
    }

    /// Whether a manifest is there, or will be by this change. Its record is written anew, so that a delete that did not
    /// see the tag which is to name it notices that.
    async fn is_there(&mut self, digest: &Digest) -> Result<bool, Error> {
        if self.change.written.contains(digest) {
            return Ok(true);
        }
        let found: Option<StoredManifest> = self.call.find(keys::manifest(self.name, digest)).await?;
        let Some(found) = found else { return Ok(false) };
        self.change.batch.expect(found.unchanged());
        self.change.batch.put(found.key.clone(), &ManifestRecord { by: self.call.ambient.nonce, ..found.record });
        self.change.written.insert(*digest);
        Ok(true)
    }

    /// Brings a manifest back, and before it what it lists, as far as that was deleted and not purged. `false` when it is
    /// to be found out anew.
    async fn revive(&mut self, digest: &Digest) -> Result<bool, Error> {
        let (call, name) = (self.call.clone(), self.name);
        let mut seen = BTreeSet::new();
        let mut stack = Vec::from([(*digest, false)]);
        while let Some((digest, ready)) = stack.pop() {
            if ready {
                if !self.revive_one(&digest).await? {
                    return Ok(false);
                }
            } else if seen.insert(digest) && !self.change.written.contains(&digest) {
                let (key, payload_key) = (keys::deleted(name, &digest), keys::deleted_payload(name, &digest));
                let [deleted, payload] = call.get([key.clone(), payload_key]).await?;
                if deleted.is_some() && !comes_back(&key, deleted.as_ref(), payload.as_ref()) {
                    self.lost = true;
                    continue;
                }
                let Some(found) = Found::<DeletedRecord>::read(key, deleted)? else { continue };
                stack.push((digest, true));
                let needs = call.needs_of(name, &digest, (payload.as_ref(), &found.record.manifest)).await?;
                // A blob is none of these, and is found not to have been deleted.
                let children = needs.into_iter().filter(|(_, need)| *need == Need::Child);
                stack.extend(children.map(|(child, _)| (child, false)));
            }
        }
        Ok(true)
    }

    /// Brings one manifest back, to the lists too that it was taken out of.
    async fn revive_one(&mut self, digest: &Digest) -> Result<bool, Error> {
        let (call, name) = (self.call.clone(), self.name);
        let (key, payload_key) = (keys::deleted(name, digest), keys::deleted_payload(name, digest));
        let keys = [keys::repository(name), keys::manifest(name, digest), key.clone(), payload_key.clone()];
        let [repository, manifest, deleted, payload] = call.get(keys).await?;
        let found: Option<Found<DeletedRecord>> = Found::read(key.clone(), deleted)?;
        // Pushed or purged meanwhile.
        let (None, Some(found), Some(payload)) = (manifest, found, payload) else { return Ok(true) };
        let listed = &found.record.listed;
        let twice = listed.iter().any(|listed| self.change.tags.contains(&listed.tag));
        if (twice || self.change.is_large(&call.config)) && !self.flush().await? {
            return Ok(false);
        }
        let call = self.call.clone();
        let record = ManifestRecord { by: call.ambient.nonce, ..found.record.manifest.clone() };
        let Some((vouchers, missing)) = self.still_there(digest, (&payload, &record)).await? else { return Ok(false) };
        let batch = &mut self.change.batch;
        missing.iter().for_each(|missing| batch.expect(Expect::Absent(keys::link(name, missing))));
        batch.keep_repository(name, repository.as_ref(), &call.ambient);
        batch.expect(Expect::Absent(keys::manifest(name, digest)));
        batch.expect(found.unchanged());
        batch.delete(key);
        batch.delete(payload_key);
        batch.move_usage(name);
        call.rely_on(batch, name, &vouchers).await?;
        if let (Some(subject), Ok(read)) = (&record.subject, Manifest::parse(&payload, Some(&record.media_type))) {
            batch.put.push(referrers::entry(name, subject, &read.referrer(*digest, record.size)));
        }
        batch.put(keys::manifest(name, digest), &record);
        batch.put.push((keys::payload(name, digest), payload));
        // What nothing names is not collected for as long as if a tag had just left it.
        batch.put(keys::left(name, digest), &LeftRecord { left: call.ambient.now });
        for listed in listed {
            call.mend(batch, name, digest, listed, found.record.deleted).await?;
        }
        self.change.bytes += record.size;
        self.change.tags.extend(found.record.listed.iter().map(|listed| listed.tag.clone()));
        self.change.written.insert(*digest);
        self.change.brings.manifests.push(*digest);
        self.change.brings.missing.extend(missing);
        Ok(true)
    }

    /// What a manifest needs: the records of what the repository has of it, and what it lacks. `None` when something of it
    /// was deleted just now, and can come back with it.
    async fn still_there(
        &self,
        digest: &Digest,
        (payload, record): (&Value, &ManifestRecord),
    ) -> Result<Option<(Vec<Voucher>, Vec<Digest>)>, Error> {
        let (call, name) = (self.call.clone(), self.name);
        let needs = call.needs_of(name, digest, (Some(payload), record)).await?;
        let keys = needs.iter().flat_map(|(needed, _)| {
            [keys::manifest(name, needed), keys::link(name, needed), keys::deleted(name, needed)]
        });
        let mut values = call.ask(Get { keys: keys.collect() }).await?.into_iter();
        let mut next = || values.next().flatten();
        let (mut present, mut missing) = (Vec::new(), Vec::new());
        for (needed, need) in needs {
            let coming = self.change.written.contains(&needed);
            match (next(), next(), next()) {
                (Some(value), ..) if need == Need::Child => present.push(Voucher::of_manifest(name, needed, value)),
                (_, Some(value), _) => present.push(Voucher::of_blob(name, needed, value)),
                // By the records alone it is not known how it is needed.
                (Some(_), None, _) => {}
                (None, None, Some(_)) if !coming => {
                    // One that is damaged does not come.
                    let (key, payload_key) = (keys::deleted(name, &needed), keys::deleted_payload(name, &needed));
                    let [deleted, payload] = call.get([key.clone(), payload_key]).await?;
                    if deleted.is_none() || comes_back(&key, deleted.as_ref(), payload.as_ref()) {
                        return Ok(None);
                    }
                    missing.push(needed);
                }
                (None, None, _) if coming || need == Need::Optional => {}
                (None, None, _) => missing.push(needed),
            }
        }
        Ok(Some((present, missing)))
    }
}

/// Whether a deleted manifest can come back: its record reads, and its payload is there.
fn comes_back(key: &Key, deleted: Option<&Value>, payload: Option<&Value>) -> bool {
    deleted.is_some_and(|deleted| record::decode::<DeletedRecord>(key, deleted).is_ok()) && payload.is_some()
}

/// The repository and the rest of a key of a family.
fn named<'k>(key: &'k Key, family: &Prefix, between: char) -> Option<(&'k str, &'k str)> {
    family.rest(key).split_once(between)
}
