//! What was deleted, and how it comes back or is purged; what is protected (SPEC X).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::document::is_list;
use super::maintained::{Image, name_of};
use super::manifests::{Manifest, Tag};
use super::{Model, Repository};

/// A manifest that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deleted {
    pub(super) manifest: Manifest,
    pub(super) at: Duration,
    /// The tags whose list it was, or was in: as which image.
    pub(super) listed: Vec<(String, Option<Image>)>,
}

/// A tag that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeletedTag {
    pub(super) tag: Tag,
    pub(super) at: Duration,
    /// Whether it went with what it names.
    pub(super) along: bool,
}

/// How something ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Gone,
    Kept,
}

/// What an administrator is told: what has changed, in order, or the name of a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are called what they are")]
pub struct Told {
    pub refused: Option<&'static str>,
    pub tags: BTreeSet<String>,
    pub manifests: BTreeSet<String>,
    pub blobs: BTreeSet<String>,
    /// What stays as it is, or does not come back: with its reason for doing so.
    pub others: BTreeSet<(&'static str, String)>,
}

impl Told {
    /// A refusal.
    pub fn refusal(refused: &'static str) -> Self {
        Self { refused: Some(refused), ..Self::default() }
    }
}

type Refusal = &'static str;

fn told(result: Result<Told, Refusal>) -> Told {
    result.unwrap_or_else(Told::refusal)
}

impl Model {
    /// How something ends that is deleted now (SPEC X1).
    pub(super) fn end(&self) -> End {
        match self.config.undelete_within {
            Some(within) if !within.is_zero() => End::Kept,
            _ => End::Gone,
        }
    }

    /// Sets a protect mark on a tag, `a:v1`, or a manifest, `a@sha256:…`, or removes it: whether that changes anything.
    pub fn protect(&mut self, mark: &str, remove: bool) -> bool {
        if remove { self.marks.remove(mark) } else { self.marks.insert(mark.into()) }
    }

    /// Whether something may be protected in a repository.
    pub(super) fn protects_in(&self, name: &str) -> bool {
        let of_it = |mark: &String| mark.split(['@', ':']).next() == Some(name);
        self.marks.iter().any(of_it)
    }

    pub(super) fn protects_tag(&self, name: &str, tag: &str) -> bool {
        self.marks.contains(&format!("{name}:{tag}"))
    }

    pub(super) fn protects_digest(&self, name: &str, digest: &str) -> bool {
        self.marks.contains(&format!("{name}@{digest}"))
    }

    /// SPEC X21.
    pub(super) fn protects(&self, name: &str, digest: &str) -> bool {
        let Some(repository) = self.repositories.get(name) else { return false };
        let (mut seen, mut next) = (BTreeSet::from([digest]), vec![digest]);
        while let Some(one) = next.pop() {
            let named = |(tag, it): (&String, &Tag)| self.protects_tag(name, tag) && it.names().contains(one);
            if self.protects_digest(name, one) || repository.tags.iter().any(named) {
                return true;
            }
            let users = repository.manifests.iter().filter(|(_, manifest)| manifest.needs.contains(one));
            next.extend(users.map(|(user, _)| user.as_str()).filter(|user| seen.insert(user)));
        }
        false
    }

    /// Everything that was deleted and can be undeleted.
    pub fn deleted(&self) -> BTreeSet<String> {
        let repositories = self.repositories.iter();
        let all = repositories.flat_map(|(name, repository)| {
            let manifests = repository.deleted.keys().map(move |digest| format!("{name}@{digest}"));
            let tags = repository.deleted_tags.iter();
            manifests.chain(tags.map(move |(tag, deleted)| format!("{name}:{tag} {}", deleted.tag.digest)))
        });
        all.collect()
    }

    /// Takes a manifest out of a repository: what it needed.
    pub(super) fn remove_manifest(&mut self, name: &str, digest: &str, end: End) -> Option<BTreeSet<String>> {
        let manifest = self.repositories.get_mut(name)?.manifests.remove(digest)?;
        let needs = manifest.needs.clone();
        // SPEC L3, L7.
        let listed = self.remove_from_tags(name, digest, end);
        if end == End::Kept {
            let deleted = Deleted { manifest, at: self.now, listed };
            self.keep(name).deleted.insert(digest.into(), deleted);
        } else {
            self.leave(name, needs.clone());
            self.keep(name).forget(digest);
        }
        Some(needs)
    }

    /// SPEC X7, X8: a manifest, or a tag; `force` overwrites it, and it may get another name.
    pub fn undelete(&mut self, name: &str, reference: &str, force: bool, named: Option<&str>) -> Told {
        let before = self.clone();
        let mut done = Told::default();
        let result = match reference.contains(':') {
            true => self.undelete_manifest(name, reference, &mut done),
            false => self.undelete_tag(name, reference, force, named.unwrap_or(reference), &mut done),
        };
        if result.is_err() {
            *self = before;
        }
        told(result.map(|()| done))
    }

    fn undelete_manifest(&mut self, name: &str, digest: &str, done: &mut Told) -> Result<(), Refusal> {
        self.revive(name, digest, done);
        let along: Vec<String> = match self.repositories.get(name) {
            Some(repository) => {
                let tags = repository.deleted_tags.iter();
                tags.filter(|(_, it)| it.along && it.tag.digest == digest).map(|(tag, _)| tag.clone()).collect()
            }
            None => Vec::new(),
        };
        for tag in along {
            if self.keep(name).tags.contains_key(&tag) {
                done.others.insert(("taken", tag));
            } else {
                self.retag(name, &tag, &tag, done)?;
            }
        }
        if done.manifests.is_empty() && done.tags.is_empty() { Err("not deleted") } else { Ok(()) }
    }

    fn undelete_tag(
        &mut self,
        name: &str,
        tag: &str,
        force: bool,
        target: &str,
        done: &mut Told,
    ) -> Result<(), Refusal> {
        let repository = self.repositories.get(name).filter(|repository| repository.deleted_tags.contains_key(tag));
        let repository = repository.ok_or("not deleted")?;
        if repository.tags.contains_key(target) && !force {
            return Err("taken");
        }
        self.retag(name, tag, target, done)
    }

    /// A deleted tag is again what it was, with all of its list that can come back.
    fn retag(&mut self, name: &str, tag: &str, target: &str, done: &mut Told) -> Result<(), Refusal> {
        let was = self.keep(name).deleted_tags[tag].tag.clone();
        was.names().iter().for_each(|digest| self.revive(name, digest, done));
        let there = |model: &Self, digest: &str| model.repositories[name].manifests.contains_key(digest);
        let assembled = was.list.as_ref() == Some(&was.digest);
        let images: BTreeMap<String, Image> =
            was.images.clone().into_iter().filter(|(_, image)| there(self, &image.digest)).collect();
        let list = if was.list.is_some() { self.list(name, &images) } else { None };
        let digest = if assembled { list.clone() } else { Some(was.digest).filter(|digest| there(self, digest)) };
        let digest = digest.ok_or("purged")?;
        let before = self.keep(name).tags.get(target).cloned();
        self.change(name, target, before, Some(Tag { digest, images, list }));
        self.keep(name).deleted_tags.remove(tag);
        done.tags.insert(target.into());
        Ok(())
    }

    /// Brings a manifest back, and before it what it lists, as far as that was deleted.
    fn revive(&mut self, name: &str, digest: &str, done: &mut Told) {
        let Some(deleted) = self.repositories.get(name).and_then(|repository| repository.deleted.get(digest)) else {
            return;
        };
        let Deleted { manifest, at, listed } = deleted.clone();
        if is_list(manifest.media_type) {
            manifest.needs.iter().for_each(|child| self.revive(name, child, done));
        }
        let now = self.now;
        let repository = self.keep(name);
        repository.deleted.remove(digest);
        let held = |need: &&String| repository.blobs.contains_key(*need) || repository.manifests.contains_key(*need);
        let missing = manifest.needs.difference(&manifest.foreign).filter(|need| !held(need));
        done.others.extend(missing.map(|missing| ("missing", missing.clone())));
        repository.manifests.insert(digest.into(), Manifest { left: now, ..manifest });
        done.manifests.insert(digest.into());
        for (tag, image) in listed {
            self.mend(name, digest, &tag, image, at);
        }
    }

    /// The list of a tag has again what it lost, if it still goes on from what it was then.
    fn mend(&mut self, name: &str, digest: &str, tag: &str, image: Option<Image>, lost: Duration) {
        let Some(before) = self.keep(name).tags.get(tag).cloned() else { return };
        let Tag { digest: named, list, mut images } = before.clone();
        if images.is_empty() {
            return;
        }
        let after = match image {
            None if list.is_none() && Self::list_of_images(&images).0 == digest => {
                Tag { digest: named, list: Some(digest.into()), images }
            }
            Some(image)
                if images.values().any(|other| other.pushed <= lost)
                    && !images.contains_key(&name_of(&image.platform)) =>
            {
                images.insert(name_of(&image.platform), image);
                let assembled = list.as_ref() == Some(&named);
                let list = self.list(name, &images);
                let digest = list.clone().filter(|_| assembled).unwrap_or(named);
                Tag { digest, list, images }
            }
            _ => return,
        };
        self.change(name, tag, Some(before), Some(after));
    }

    /// SPEC X10, X18, X26: a manifest, a tag with what it names, or all that was deleted.
    pub fn purge(&mut self, name: &str, reference: Option<&str>, force: bool) -> Told {
        let mut done = Told::default();
        let result = match reference {
            None => self.purge_deleted(name, &mut done),
            Some(digest) if digest.contains(':') => {
                let purged = self.purge_manifests(name, vec![digest.into()], Some(digest), force, &mut done);
                purged.and(if done.manifests.is_empty() { Err("unknown") } else { Ok(()) })
            }
            Some(tag) => self.purge_tag(name, tag, force, &mut done),
        };
        told(result.map(|()| done))
    }

    /// What is there stays, also what a deleted index lists.
    fn purge_deleted(&mut self, name: &str, done: &mut Told) -> Result<(), Refusal> {
        let now = self.now;
        let repository = self.repositories.get_mut(name).ok_or("no repository")?;
        done.tags.extend(std::mem::take(&mut repository.deleted_tags).into_keys());
        let mut blobs = BTreeSet::new();
        for digest in repository.deleted.keys().cloned().collect::<Vec<_>>() {
            blobs.extend(repository.end_deleted(&digest, now).into_iter().flat_map(|it| it.needs));
            done.manifests.insert(digest);
        }
        self.purge_blobs(name, blobs, done);
        Ok(())
    }

    fn purge_tag(&mut self, name: &str, tag: &str, force: bool, done: &mut Told) -> Result<(), Refusal> {
        let protected = self.protects_tag(name, tag);
        let Some(repository) = self.repositories.get_mut(name) else { return Err("unknown") };
        let mut named = BTreeSet::new();
        if let Some(before) = repository.tags.get(tag).cloned() {
            if protected && !force {
                return Err("protected");
            }
            named.extend(before.names());
            self.change(name, tag, Some(before), None);
            done.tags.insert(tag.into());
        }
        if let Some(deleted) = self.keep(name).deleted_tags.remove(tag) {
            named.extend(deleted.tag.names());
            done.tags.insert(tag.into());
        }
        if done.tags.is_empty() {
            return Err("unknown");
        }
        self.purge_manifests(name, named.into_iter().collect(), None, force, done)
    }

    /// Manifests, then what they list, as far as nothing else names that, and their blobs.
    fn purge_manifests(
        &mut self,
        name: &str,
        mut next: Vec<String>,
        asked_for: Option<&str>,
        force: bool,
        done: &mut Told,
    ) -> Result<(), Refusal> {
        let (now, mut blobs) = (self.now, BTreeSet::new());
        while let Some(one) = next.pop() {
            let asked_for = asked_for == Some(&*one);
            let Some(repository) = self.repositories.get(name) else { return Ok(()) };
            let there = repository.manifests.contains_key(&one) || repository.deleted.contains_key(&one);
            if !asked_for && there && repository.is_named(&one) {
                done.remains(&one);
                continue;
            }
            let needs = if let Some(manifest) = repository.manifests.get(&one) {
                let children = is_list(manifest.media_type);
                if !force && self.protects(name, &one) {
                    if asked_for {
                        return Err("protected");
                    }
                    done.remains(&one);
                    continue;
                }
                self.remove_manifest(name, &one, End::Gone).map(|needs| (needs, children))
            } else {
                self.keep(name).end_deleted(&one, now).map(|it| (it.needs, is_list(it.media_type)))
            };
            let Some((needs, children)) = needs else { continue };
            done.goes(&one);
            done.manifests.insert(one);
            next.extend(needs.iter().filter(|_| children).cloned());
            blobs.extend(needs);
        }
        self.purge_blobs(name, blobs, done);
        Ok(())
    }

    /// Blobs that no manifest of the repository needs. What another repository holds is named.
    fn purge_blobs(&mut self, name: &str, blobs: BTreeSet<String>, done: &mut Told) {
        for blob in blobs {
            let Some(repository) = self.repositories.get_mut(name) else { return };
            if repository.blobs.contains_key(&blob) {
                if repository.needed().contains(&blob) {
                    done.remains(&blob);
                    continue;
                }
                repository.blobs.remove(&blob);
                done.goes(&blob);
                done.blobs.insert(blob.clone());
            }
            if self.held().any(|held| held == blob) {
                done.remains(&blob);
            }
        }
    }
}

impl Told {
    fn remains(&mut self, digest: &str) {
        self.others.insert(("remains", digest.into()));
    }

    fn goes(&mut self, digest: &str) {
        self.others.remove(&("remains", digest.into()));
    }
}

impl Repository {
    /// Ends a deleted manifest for good: what it was. Its children count as left when it was deleted (SPEC X6).
    pub(super) fn end_deleted(&mut self, digest: &str, now: Duration) -> Option<Manifest> {
        let Deleted { manifest, at, .. } = self.deleted.remove(digest)?;
        let since = if is_list(manifest.media_type) { at } else { now };
        self.left(&manifest.needs, since);
        self.forget(digest);
        Some(manifest)
    }

    /// No deleted tag names a manifest any more that is gone for good.
    fn forget(&mut self, digest: &str) {
        self.deleted_tags.retain(|_, deleted| deleted.tag.digest != digest);
        for deleted in self.deleted_tags.values_mut() {
            deleted.tag.images.retain(|_, image| image.digest != digest);
            let (list, any) = (deleted.tag.list.take(), !deleted.tag.images.is_empty());
            deleted.tag.list = list.filter(|list| list != digest && any);
        }
    }

    /// Whether a tag, deleted or not, or a manifest names this.
    fn is_named(&self, digest: &str) -> bool {
        let deleted = self.deleted_tags.values().map(|deleted| &deleted.tag);
        self.tags.values().chain(deleted).any(|tag| tag.names().contains(digest)) || self.needed().contains(digest)
    }
}
