//! What a repository has that no tag leads to: for whoever takes whole repositories elsewhere.

use alloc::vec::Vec;

use super::Call;
use super::pages::Pages;
use crate::digest::Digest;
use crate::error::Error;
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::record::{self, ManifestRecord};

/// Some manifests of a repository that no tag leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loose {
    /// Their digests, in order. There may be none although there are more behind them.
    pub digests: Vec<Digest>,
    /// Where to go on; nothing at the end.
    pub next: Option<Key>,
}

impl Call {
    /// The next manifests that neither a tag names, nor an index, and that refer to no manifest of the repository (SPEC
    /// Y40). A list that the registry made itself is none of them; a record that does not read is passed by.
    pub(crate) async fn loose(&self, name: &Repository, after: Option<Key>) -> Result<Loose, Error> {
        let prefix = keys::manifests(name);
        let page = self.scan(&prefix, after).await?;
        let next = page.last().map(|(key, _)| key.clone());
        let mut digests = Vec::new();
        for (key, value) in page {
            let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
            let Ok(manifest) = record::decode::<ManifestRecord>(&key, &value) else { continue };
            if !manifest.maintained && !self.is_led_to(name, &digest, &manifest).await? {
                digests.push(digest);
            }
        }
        Ok(Loose { digests, next })
    }

    /// Whether a tag, an index or a subject leads to a manifest.
    async fn is_led_to(&self, name: &Repository, digest: &Digest, manifest: &ManifestRecord) -> Result<bool, Error> {
        if let Some(subject) = manifest.subject {
            let [there] = self.get([keys::manifest(name, &subject)]).await?;
            if there.is_some() {
                return Ok(true);
            }
        }
        if !self.is_empty(&keys::tagged_with(name, digest)).await? {
            return Ok(true);
        }
        // An index does; a list that the registry made only as long as its tag is there.
        let users = keys::users(name, digest);
        let mut pages = Pages::new(&users);
        while let Some(page) = pages.next(self).await? {
            for index in page.iter().filter_map(|(key, _)| users.rest(key).parse::<Digest>().ok()) {
                let key = keys::manifest(name, &index);
                let [value] = self.get([key.clone()]).await?;
                let Some(value) = value else { continue };
                let made = record::decode::<ManifestRecord>(&key, &value).is_ok_and(|index| index.maintained);
                if !made || !self.is_empty(&keys::tagged_with(name, &index)).await? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
