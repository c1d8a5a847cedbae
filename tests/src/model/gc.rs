//! Garbage collection: what the configuration says of how long things stay (SPEC I2, L9).

use std::collections::BTreeSet;
use std::time::Duration;

use super::document::is_list;
use super::{Model, Repository};

impl Model {
    /// Takes what has stayed longer than it may.
    pub fn gc(&mut self) {
        let (now, config) = (self.now, self.config.clone());
        self.sessions.retain(|_, session| now - session.touched <= config.upload_lifetime);
        // SPEC H7: a day.
        self.finished.retain(|_, finished| now - finished.at <= Duration::from_secs(24 * 3600));
        for repository in self.repositories.values_mut() {
            // What goes may free others.
            while let Some(digest) = repository.leaf(|manifest| {
                let lifetime = if manifest.maintained { Some(config.blob_grace) } else { config.untagged_lifetime };
                lifetime.is_some_and(|lifetime| now - manifest.left > lifetime)
            }) {
                let Some(gone) = repository.manifests.remove(&digest) else { break };
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

    /// The digests of all that its manifests are made of.
    fn needed(&self) -> BTreeSet<String> {
        self.manifests.values().flat_map(|manifest| manifest.needs.clone()).collect()
    }

    /// A manifest that neither a tag nor an index names, that refers to nothing that is there, and that is old.
    fn leaf(&self, is_old: impl Fn(&super::Manifest) -> bool) -> Option<String> {
        let (needed, tagged): (BTreeSet<_>, BTreeSet<_>) =
            (self.needed(), self.tags.values().flat_map(super::Tag::names).collect());
        let named = |digest: &String| needed.contains(digest) || tagged.contains(digest);
        let refers = |subject: &String| self.manifests.contains_key(subject);
        let mut manifests = self.manifests.iter();
        let leaf = manifests.find(|(digest, m)| !named(digest) && !m.subject.as_ref().is_some_and(refers) && is_old(m));
        leaf.map(|(digest, _)| digest.clone())
    }
}
