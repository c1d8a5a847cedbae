//! The maintained manifest list: for every tag, a list of the newest image pushed to it per platform.
//!
//! The list is a real manifest with a digest of its own. Under the default policy a tag names what was pushed
//! last, and the list is for clients that accept nothing else; under the policy *assemble* the tag names the list
//! as soon as there are two platforms. This module is the one that says how a tag changes; push and delete put
//! the change into their commit.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use super::Call;
use super::batch::{Batch, Found};
use super::delete::RemovedManifest;
use super::push::Before;
use crate::ambient::Ambient;
use crate::caller::Right;
use crate::config::{LIST_IMAGES, LISTS_MENDED};
use crate::digest::{Algorithm, Digest};
use crate::effect::{Expect, Value};
use crate::error::Error;
use crate::keys;
use crate::manifest::{Descriptor, Index, Platform};
use crate::media::ManifestType;
use crate::name::{Repository, Tag};
use crate::record::{self, LeftRecord, Listed, ManifestRecord, PlatformImage, PlatformsRecord, TagRecord};

/// A tag as it was read, together with its list.
pub(super) struct TagState {
    pub(super) tag: Tag,
    pub(super) record: Option<Found<TagRecord>>,
    pub(super) platforms: Option<PlatformsRecord>,
    /// The record of the tag, when it does not read. Then the tag is not there, and a push writes it anew.
    damaged: Option<Value>,
}

/// What is pushed to a tag.
pub(super) struct Pushed<'a> {
    pub(super) digest: Digest,
    pub(super) media_type: ManifestType,
    pub(super) size: u64,
    /// The platform, for an image that names one.
    pub(super) platform: Option<&'a Platform>,
}

/// A list as the registry makes it, and its bytes.
struct List {
    digest: Digest,
    media_type: ManifestType,
    payload: Value,
}

impl TagState {
    /// The keys that [`TagState::read`] wants the values of.
    pub(super) fn keys(name: &Repository, tag: &Tag) -> [keys::Key; 2] {
        [keys::tag(name, tag), keys::platforms(name, tag)]
    }

    pub(super) fn read(name: &Repository, tag: &Tag, values: [Option<Value>; 2]) -> Self {
        let [tag_key, platforms_key] = Self::keys(name, tag);
        let [record, platforms] = values;
        let platforms = platforms.and_then(|value| record::decode(&platforms_key, &value).ok());
        let found = Found::read(tag_key, record.clone());
        let damaged = record.filter(|_| found.is_err());
        Self { tag: tag.clone(), record: found.ok().flatten(), platforms, damaged }
    }

    /// Whether there is a tag, be it that its record does not read.
    pub(super) fn is_there(&self) -> bool {
        self.record.is_some() || self.damaged.is_some()
    }

    /// Whether the tag is this manifest, or the list that it is has it for a platform.
    pub(super) fn is(&self, digest: &Digest) -> bool {
        let Some(tag) = &self.record else { return false };
        let list = self.platforms.as_ref().filter(|platforms| platforms.list == Some(tag.record.digest));
        tag.record.digest == *digest || list.is_some_and(|list| list.images.iter().any(|image| image.digest == *digest))
    }

    /// Every manifest that the tag names, by itself or through its list.
    pub(super) fn names(&self) -> BTreeSet<Digest> {
        let tag = self.record.iter().map(|found| found.record.digest);
        tag.chain(self.platforms.iter().flat_map(PlatformsRecord::names)).collect()
    }
}

impl PlatformsRecord {
    pub(super) fn names(&self) -> impl Iterator<Item = Digest> {
        self.list.into_iter().chain(self.images.iter().map(|image| image.digest))
    }

    /// The same without a manifest; `None` when no image is left.
    pub(super) fn without(mut self, gone: &Digest) -> Option<Self> {
        self.images.retain(|image| image.digest != *gone);
        self.list = self.list.filter(|list| list != gone);
        Some(self).filter(|platforms| !platforms.images.is_empty())
    }
}

impl Call {
    /// Puts into `batch` what a push to a tag changes.
    pub(super) async fn tag_pushed(
        &self,
        batch: &mut Batch,
        name: &Repository,
        before: &TagState,
        pushed: &Pushed<'_>,
    ) -> Result<(), Error> {
        let mut images = Vec::new();
        if let Some(platform) = pushed.platform {
            // Anything but an image of a platform starts the list anew.
            let others = before.platforms.iter().flat_map(|platforms| platforms.images.iter());
            images.extend(others.filter(|image| image.platform.name() != platform.name()).cloned());
            images.push(PlatformImage {
                platform: platform.clone(),
                media_type: pushed.media_type.as_str().into(),
                digest: pushed.digest,
                size: pushed.size,
                pushed: self.ambient.now,
            });
            if images.len() > LIST_IMAGES {
                // The newest is the last, and stays whatever the clock says.
                let oldest = (0..LIST_IMAGES).min_by_key(|&at| images[at].pushed);
                oldest.map(|at| images.remove(at));
            }
            images.sort_by_key(|image| image.platform.name());
        }
        let assemble = images.len() > 1 && self.config.assemble.iter().any(|pattern| pattern.matches(name));
        let list = self.keep_list(batch, name, &images, assemble).await?;
        let digest = list.filter(|_| assemble).unwrap_or(pushed.digest);
        self.may_become(name, before, digest, list)?;
        self.change_tag(batch, name, before, Some((digest, PlatformsRecord { list, images })), None);
        Ok(())
    }

    /// Whether the caller may make the tag, or change what it gives: to those who ask for it as such and to those who
    /// take nothing but lists. The commit expects the tag as it was read, so it is decided upon what the commit finds.
    /// A push that leaves both as they are changes nothing, and needs no right.
    pub(super) fn may_become(
        &self,
        name: &Repository,
        before: &TagState,
        digest: Digest,
        list: Option<Digest>,
    ) -> Result<(), Error> {
        let kept = before.platforms.as_ref().and_then(|platforms| platforms.list);
        let (right, what) = match &before.record {
            None => (Right::CreateTag, "create"),
            Some(tag) if tag.record.digest == digest && kept.is_none_or(|kept| list == Some(kept)) => return Ok(()),
            Some(_) => (Right::OverwriteTag, "overwrite"),
        };
        if self.caller.rights.may_tag(right, name, &before.tag) {
            return Ok(());
        }
        Err(Error::Denied(format!("you may not {what} the tag {} of {name}", before.tag)))
    }

    /// Puts into `batch` what the end of a manifest changes for a tag that names it: whether the tag ends.
    pub(super) async fn remove_from_tag(
        &self,
        batch: &mut Batch,
        name: &Repository,
        before: &TagState,
        removed: RemovedManifest<'_>,
    ) -> Result<bool, Error> {
        let RemovedManifest { gone, more, end, listed } = removed;
        batch.delete(keys::tagged(name, gone, &before.tag));
        let Some(tag) = before.record.as_ref().map(|found| found.record.digest) else { return Ok(false) };
        let platforms = before.platforms.clone().unwrap_or(PlatformsRecord { list: None, images: Vec::new() });
        let after = if tag == *gone {
            // SPEC L3: every tag that named it is gone.
            self.keep_tag(batch, name, before, end, true).await?;
            None
        } else if platforms.list == Some(*gone) {
            // The list alone was deleted; the next push makes another.
            lost(listed, before, None);
            Some((tag, PlatformsRecord { list: None, ..platforms }))
        } else {
            let (its, images): (Vec<_>, Vec<_>) = platforms.images.into_iter().partition(|image| image.digest == *gone);
            its.into_iter().for_each(|image| lost(listed, before, Some(image)));
            let assembled = platforms.list == Some(tag);
            let list = self.keep_list(batch, name, &images, assembled).await?;
            let digest = if assembled { list } else { Some(tag) };
            digest.map(|digest| (digest, PlatformsRecord { list, images }))
        };
        let ends = after.is_none();
        self.mend_tag(batch, name, before, after, Some(gone).filter(|_| !more));
        Ok(ends)
    }

    /// Puts into `batch` what becomes of a tag that nobody pushes, because its list loses or regains something; with none
    /// it ends. It stays as old as it was (SPEC X43, X44).
    pub(super) fn mend_tag(
        &self,
        batch: &mut Batch,
        name: &Repository,
        before: &TagState,
        after: Option<(Digest, PlatformsRecord)>,
        gone: Option<&Digest>,
    ) {
        let Some(old) = before.record.as_ref().map(|found| &found.record) else {
            return self.change_tag(batch, name, before, after, gone);
        };
        let by = self.ambient.nonce;
        let after = after.map(|(digest, platforms)| (TagRecord { digest, by, ..old.clone() }, platforms));
        self.put_tag(batch, name, before, after, gone);
    }

    /// Puts into `batch` the step of a tag from one state to the next, which is a push; to none, to delete it. The manifest
    /// `gone`, if any, is being removed by the same commit.
    pub(super) fn change_tag(
        &self,
        batch: &mut Batch,
        name: &Repository,
        before: &TagState,
        after: Option<(Digest, PlatformsRecord)>,
        gone: Option<&Digest>,
    ) {
        let Ambient { now, nonce } = self.ambient;
        let after = after.map(|(digest, platforms)| {
            (TagRecord { digest, pushed: now, by: nonce, undeleted: None, imported: None }, platforms)
        });
        self.put_tag(batch, name, before, after, gone);
    }

    /// The same with the tag as it is to be recorded. It has to name this call.
    pub(super) fn put_tag(
        &self,
        batch: &mut Batch,
        name: &Repository,
        before: &TagState,
        after: Option<(TagRecord, PlatformsRecord)>,
        gone: Option<&Digest>,
    ) {
        let tag = &before.tag;
        match &before.damaged {
            Some(value) => batch.expect(Expect::Exactly(keys::tag(name, tag), value.clone())),
            None => batch.expect_unchanged(keys::tag(name, tag), before.record.as_ref()),
        }
        let old = before.names();
        let mut new = BTreeSet::new();
        match after {
            None => {
                batch.delete(keys::tag(name, tag));
                batch.delete(keys::platforms(name, tag));
                batch.delete(keys::mirrored(name, tag));
                batch.delete(keys::pulled_tag(name, tag));
            }
            Some((record, platforms)) => {
                new.insert(record.digest);
                new.extend(platforms.names());
                batch.put(keys::tag(name, tag), &record);
                if platforms.images.is_empty() {
                    batch.delete(keys::platforms(name, tag));
                } else {
                    batch.put(keys::platforms(name, tag), &platforms);
                }
            }
        }
        for digest in old.difference(&new) {
            batch.delete(keys::tagged(name, digest, tag));
            if Some(digest) != gone {
                batch.put(keys::left(name, digest), &LeftRecord { left: self.ambient.now });
            }
        }
        new.iter().for_each(|digest| batch.mark(keys::tagged(name, digest, tag)));
    }

    /// Puts the list of these images into `batch`, as a manifest of the repository. No images, no list.
    ///
    /// A list that the tag is to name is what its users pull and pin: once the tag moves on, it is kept like any
    /// manifest that was pushed. One that stands beside the tag is the registry's own, to be collected.
    pub(super) async fn keep_list(
        &self,
        batch: &mut Batch,
        name: &Repository,
        images: &[PlatformImage],
        tag_names_it: bool,
    ) -> Result<Option<Digest>, Error> {
        let Some(List { digest, media_type, payload }) = list(images) else { return Ok(None) };
        let key = keys::manifest(name, &digest);
        if batch.put.iter().any(|(put, _)| *put == key) {
            // That of another tag, which the same call changes.
            return Ok(Some(digest));
        }
        let [known, deleted] = self.get([key.clone(), keys::deleted(name, &digest)]).await?;
        // One that does not read is written anew.
        let maintained =
            known.as_ref().map(|known| record::decode(&key, known).is_ok_and(|known: ManifestRecord| known.maintained));
        batch.expect(known.clone().map_or(Expect::Absent(key.clone()), |known| Expect::Exactly(key, known)));
        let before = Before::read(known.as_ref(), deleted.as_ref());
        let record = ManifestRecord {
            media_type: media_type.as_str().into(),
            size: payload.len() as u64,
            content: None,
            subject: None,
            pushed: self.ambient.now,
            imported: None,
            by: self.ambient.nonce,
            // Someone may have pushed the very same list, or a tag have named it: then it is theirs.
            maintained: !tag_names_it && maintained.unwrap_or(true),
            fetched: false,
            quarantined: None,
        };
        self.put_manifest_record(batch, name, &digest, &record, &before);
        batch.put.push((keys::payload(name, &digest), payload));
        images.iter().for_each(|image| batch.mark(keys::used(name, &image.digest, &digest)));
        Ok(Some(digest))
    }
}

/// Notes that the list of a tag has lost an image, or itself.
fn lost(listed: &mut Vec<Listed>, of: &TagState, image: Option<PlatformImage>) {
    if listed.len() < LISTS_MENDED {
        listed.push(Listed { tag: of.tag.clone(), image });
    }
}

/// The digest of the list of these images.
pub(super) fn digest_of_list(images: &[PlatformImage]) -> Option<Digest> {
    list(images).map(|list| list.digest)
}

/// The list of these images: Docker's when all of them are Docker's, else an OCI index.
fn list(images: &[PlatformImage]) -> Option<List> {
    if images.is_empty() {
        return None;
    }
    let docker = |image: &PlatformImage| ManifestType::named(&image.media_type).is_some_and(ManifestType::is_docker);
    let media_type = if images.iter().all(docker) { ManifestType::DockerList } else { ManifestType::OciIndex };
    let manifests = images.iter().map(|image| Descriptor {
        media_type: image.media_type.clone(),
        platform: Some(image.platform.clone()),
        ..Descriptor::new(media_type, image.digest, image.size)
    });
    let payload = record::encode(&Index::new(media_type, manifests.collect()));
    Some(List { digest: Algorithm::Sha256.digest(&payload), media_type, payload })
}
