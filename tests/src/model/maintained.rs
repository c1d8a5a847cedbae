//! The list that the registry keeps for every tag (SPEC J6, L7).

use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::Model;
use super::deleted::{DeletedTag, End};
use super::manifests::{Manifest, Tag};
use crate::image::{AMD64, DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, sha256};

/// An image in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) platform: Json,
    pub(super) media_type: &'static str,
    pub(super) digest: String,
    pub(super) size: usize,
    pub(super) pushed: Duration,
}

/// What a client accepts.
pub(super) struct Accept {
    pub(super) lists: Vec<&'static str>,
    pub(super) manifests: Vec<&'static str>,
    /// Something else, such as `*/*`.
    pub(super) others: bool,
}

pub(super) fn name_of(platform: &Json) -> String {
    format!("{}/{}", platform["os"].as_str().unwrap_or_default(), platform["architecture"].as_str().unwrap_or_default())
}

impl Tag {
    /// The digest of what a client gets that accepts this.
    pub(super) fn answer_to(&self, accept: &Accept) -> String {
        let only_lists = !accept.others && !accept.lists.is_empty() && accept.manifests.is_empty();
        let only_manifests = !accept.others && accept.lists.is_empty() && !accept.manifests.is_empty();
        let plain = || {
            let taken = |image: &&Image| accept.manifests.contains(&image.media_type);
            let usual = self.images.get(&format!("{}/{}", AMD64.0, AMD64.1)).filter(taken);
            usual.or_else(|| self.images.values().find(taken)).map(|image| image.digest.clone())
        };
        match &self.list {
            Some(list) if only_lists => list.clone(),
            Some(list) if *list == self.digest && only_manifests => plain().unwrap_or_else(|| list.clone()),
            _ => self.digest.clone(),
        }
    }
}

impl Model {
    /// Points a tag at what was pushed to it; an image of a platform takes its place in the list.
    pub(super) fn tag(&mut self, name: &str, tag: &str, digest: &str, image: Option<Image>) {
        let before = self.keep(name).tags.remove(tag);
        let mut images = BTreeMap::new();
        if let Some(image) = image {
            images = before.iter().flat_map(|before| before.images.clone()).collect();
            images.insert(name_of(&image.platform), image);
        }
        let list = self.list(name, &images);
        let assembles =
            self.config.assemble.iter().any(|pattern| name.parse().is_ok_and(|name| pattern.matches(&name)));
        let digest = list.clone().filter(|_| assembles && images.len() > 1).unwrap_or_else(|| digest.into());
        let after = Tag { digest, images, list };
        self.change(name, tag, before, Some(after));
    }

    /// Notes what a tag was that ends, if it can be undeleted.
    pub(super) fn keep_tag(&mut self, name: &str, tag: &str, before: Tag, end: End, along: bool) {
        if end == End::Kept {
            let deleted = DeletedTag { tag: before, at: self.now, along };
            self.keep(name).deleted_tags.insert(tag.into(), deleted);
        }
    }

    /// What the end of a manifest means for the tags that name it: what their lists lose.
    pub(super) fn remove_from_tags(&mut self, name: &str, gone: &str, end: End) -> Vec<(String, Option<Image>)> {
        let mut listed = Vec::new();
        for (tag, before) in self.keep(name).tags.clone() {
            if !before.names().contains(gone) {
                continue;
            }
            let after = if before.digest == gone {
                self.keep_tag(name, &tag, before.clone(), end, true);
                None
            } else if before.list.as_deref() == Some(gone) {
                listed.push((tag.clone(), None));
                Some(Tag { list: None, ..before.clone() })
            } else {
                let lost = before.images.values().find(|image| image.digest == gone);
                listed.extend(lost.map(|image| (tag.clone(), Some(image.clone()))));
                let images: BTreeMap<_, _> =
                    before.images.clone().into_iter().filter(|(_, i)| i.digest != gone).collect();
                let list = self.list(name, &images);
                let digest = if before.list.as_ref() == Some(&before.digest) {
                    list.clone()
                } else {
                    Some(before.digest.clone())
                };
                digest.map(|digest| Tag { digest, images, list })
            };
            self.change(name, &tag, Some(before), after);
        }
        listed
    }

    pub(super) fn change(&mut self, name: &str, tag: &str, before: Option<Tag>, after: Option<Tag>) {
        let names = |tag: &Option<Tag>| tag.as_ref().map(Tag::names).unwrap_or_default();
        let left = names(&before).difference(&names(&after)).cloned().collect();
        match after {
            Some(after) => {
                let repository = self.keep(name);
                // A list that a tag names is no longer one that only stands beside it.
                repository.manifests.entry(after.digest.clone()).and_modify(|manifest| manifest.maintained = false);
                repository.tags.insert(tag.into(), after);
            }
            None => drop(self.keep(name).tags.remove(tag)),
        }
        self.leave(name, left);
    }

    /// Takes down that a tag or a manifest has ceased to name these.
    pub(super) fn leave(&mut self, name: &str, digests: BTreeSet<String>) {
        let now = self.now;
        self.keep(name).left(&digests, now);
    }

    /// Makes the list of these images a manifest of the repository. No images, no list.
    pub(super) fn list(&mut self, name: &str, images: &BTreeMap<String, Image>) -> Option<String> {
        if images.is_empty() {
            return None;
        }
        let (digest, media_type, bytes) = Self::list_of_images(images);
        let left = self.now;
        let repository = self.keep(name);
        // Someone may have pushed the very same list: then it is theirs.
        let maintained = repository.manifests.get(&digest).is_none_or(|known| known.maintained);
        let needs = images.values().map(|image| image.digest.clone()).collect();
        let (subject, described, foreign) = (None, json!({}), BTreeSet::new());
        let manifest = Manifest { media_type, bytes, subject, described, needs, foreign, left, maintained };
        repository.manifests.insert(digest.clone(), manifest);
        repository.deleted.remove(&digest);
        Some(digest)
    }

    /// The list of these images: its digest, its type and its bytes.
    pub(super) fn list_of_images(images: &BTreeMap<String, Image>) -> (String, &'static str, Bytes) {
        let docker = images.values().all(|image| image.media_type == DOCKER_MANIFEST);
        let media_type = if docker { DOCKER_LIST } else { OCI_INDEX };
        let entries = images.values().map(|Image { platform, media_type, digest, size, .. }| {
            let (architecture, os) = (&platform["architecture"], &platform["os"]);
            let platform = format!(r#"{{"architecture":{architecture},"os":{os}}}"#);
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size},"platform":{platform}}}"#)
        });
        let entries: Vec<_> = entries.collect();
        // One list has one digest, in whatever order it came to be: how it is written is part of what it is.
        let bytes = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{}]}}"#, entries.join(","));
        (sha256(&bytes), media_type, bytes.into())
    }

    /// The digest of the list that is kept for a tag.
    pub fn list_of(&self, name: &str, tag: &str) -> Option<&str> {
        self.repositories.get(name)?.tags.get(tag)?.list.as_deref()
    }
}
