//! Garbage collection: what the configuration says of how long things stay (SPEC I2, L9).

use std::collections::BTreeSet;
use std::time::Duration;

use super::deleted::{Deleted, End};
use super::document::is_list;
use super::{Model, Repository};

impl Model {
    /// Takes what has stayed longer than it may.
    pub fn gc(&mut self) {
        let (now, config) = (self.now, self.config.clone());
        self.sessions.retain(|_, session| now - session.touched <= config.upload_lifetime);
        // SPEC H7: a day.
        self.finished.retain(|_, finished| now - finished.at <= Duration::from_secs(24 * 3600));
        let (end, marks) = (self.end(), self.marks.clone());
        for (name, repository) in &mut self.repositories {
            // SPEC X6.
            let within = config.undelete_within.unwrap_or_default();
            let lapsed = |at: Duration| now - at > within || within.is_zero();
            repository.deleted_tags.retain(|_, deleted| !lapsed(deleted.at));
            let over = repository.deleted.iter().filter(|(_, deleted)| lapsed(deleted.at));
            for digest in over.map(|(digest, _)| digest.clone()).collect::<Vec<_>>() {
                repository.end_deleted(&digest, now);
            }
            // What goes may free others.
            let marked = |digest: &String| marks.contains(&format!("{name}@{digest}"));
            while let Some(digest) = repository.leaf(|digest, manifest| {
                if !manifest.maintained && marked(digest) {
                    return false;
                }
                let lifetime = if manifest.maintained { Some(config.blob_grace) } else { config.untagged_lifetime };
                lifetime.is_some_and(|lifetime| now - manifest.left > lifetime)
            }) {
                let Some(gone) = repository.manifests.remove(&digest) else { break };
                // SPEC X5.
                if end == End::Kept && !gone.maintained {
                    let deleted = Deleted { manifest: gone, at: now, listed: Vec::new() };
                    repository.deleted.insert(digest, deleted);
                    continue;
                }
                // With a list that nobody has looked for any more, nobody has looked for its children.
                let since = if is_list(gone.media_type) { gone.left } else { now };
                repository.left(&gone.needs, since);
            }
            let needed = repository.needed();
            let stays = |digest: &String, left| now - left <= config.blob_grace || needed.contains(digest);
            repository.blobs.retain(|digest, blob| stays(digest, blob.left));
        }
        self.repositories.retain(|_, repository| {
            let empty = repository.manifests.is_empty() && repository.blobs.is_empty();
            let empty = empty && repository.deleted.is_empty() && repository.deleted_tags.is_empty();
            !empty || now - repository.created <= config.blob_grace
        });
    }
}

impl Repository {
    /// Takes down that a tag or a manifest has ceased to name these (SPEC L9).
    pub(super) fn left<'a>(&mut self, digests: impl IntoIterator<Item = &'a String>, since: Duration) {
        for digest in digests {
            self.manifests.entry(digest.clone()).and_modify(|it| it.left = it.left.max(since));
            self.blobs.entry(digest.clone()).and_modify(|it| it.left = it.left.max(since));
        }
    }

    /// The digests of all that its manifests are made of, deleted or not (SPEC X2).
    pub(super) fn needed(&self) -> BTreeSet<String> {
        let deleted = self.deleted.values().map(|deleted| &deleted.manifest);
        self.manifests.values().chain(deleted).flat_map(|manifest| manifest.needs.clone()).collect()
    }

    /// A manifest that neither a tag nor an index names, that refers to nothing that is there, and that is old.
    fn leaf(&self, is_old: impl Fn(&String, &super::Manifest) -> bool) -> Option<String> {
        // SPEC X4.
        let tags = self.tags.values().chain(self.deleted_tags.values().map(|deleted| &deleted.tag));
        let (needed, tagged): (BTreeSet<_>, BTreeSet<_>) = (self.needed(), tags.flat_map(super::Tag::names).collect());
        let named = |digest: &String| needed.contains(digest) || tagged.contains(digest);
        let refers = |subject: &String| self.manifests.contains_key(subject) || self.deleted.contains_key(subject);
        let mut manifests = self.manifests.iter();
        let leaf = manifests
            .find(|(digest, m)| !named(digest) && !m.subject.as_ref().is_some_and(refers) && is_old(digest, m));
        leaf.map(|(digest, _)| digest.clone())
    }
}
