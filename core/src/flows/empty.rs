//! `DELETE /api/v1/repositories/<name>/contents`: all tags and manifests of a repository (SPEC AD6).

use serde::Serialize;

use super::Call;
use super::pages::Pages;
use crate::caller::Right;
use crate::config::EMPTIED;
use crate::digest::Digest;
use crate::error::Error;
use crate::http::Response;
use crate::keys;
use crate::name::{Repository, Tag};
use crate::record;

/// What was deleted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Emptied {
    repository: Repository,
    tags_deleted: usize,
    manifests_deleted: usize,
    /// There is more: ask again.
    more: bool,
}

impl Call {
    /// Deletes the tags of a repository and then its manifests, each as a `DELETE` of it does, [some](EMPTIED) with one call.
    /// Nothing is deleted where something must stay. Blobs, and the repository, are what garbage collection finds then.
    pub(crate) async fn empty(&self, name: &Repository) -> Result<Response, Error> {
        self.may_delete()?;
        // Its answers name tags.
        if !self.may(Right::Pull, name) || !self.has_repository(name).await? {
            return Err(Error::RepositoryUnknown(name.clone()));
        }
        self.may_empty(name).await?;
        let mut left = EMPTIED;
        let prefix = keys::tags(name);
        let (mut pages, mut tags_deleted) = (Pages::new(&prefix), 0);
        while left > 0
            && let Some(page) = pages.next(self).await?
        {
            for (key, _) in page.iter().take(left) {
                // What cannot be a tag is what a check finds.
                let Ok(tag) = prefix.rest(key).parse::<Tag>() else { continue };
                tags_deleted += usize::from(is_deleted(self.delete_tag(name, &tag).await)?);
            }
            left = left.saturating_sub(page.len());
        }
        let prefix = keys::manifests(name);
        let mut manifests_deleted = 0;
        // Where some tags may not be deleted, an index has to go before what it lists.
        loop {
            let (mut pages, mut deleted, mut refused) = (Pages::new(&prefix), 0, None);
            while left > 0
                && let Some(page) = pages.next(self).await?
            {
                for (key, _) in page {
                    let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                    if left == 0 {
                        break;
                    }
                    match self.delete_manifest(name, &digest).await {
                        Err(Error::Denied(reason)) => refused = Some(reason),
                        answer => {
                            deleted += usize::from(is_deleted(answer)?);
                            left -= 1;
                        }
                    }
                }
            }
            manifests_deleted += deleted;
            match refused {
                Some(reason) if deleted == 0 => return Err(Error::Denied(reason)),
                Some(_) if left > 0 => {}
                _ => break,
            }
        }
        let emptied = Emptied { repository: name.clone(), tags_deleted, manifests_deleted, more: left == 0 };
        Ok(Response::new(200).with_bytes("application/json", record::encode(&emptied)))
    }

    /// Refuses where a mark protects something, or the caller may not delete all tags.
    async fn may_empty(&self, name: &Repository) -> Result<(), Error> {
        let marks = self.marks().await?;
        let rights = &self.caller.rights;
        if !marks.speak_of(name) && !rights.protect_tags(name) {
            return Ok(());
        }
        let prefix = keys::tags(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for tag in page.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Tag>().ok()) {
                marks.tag(name, &tag)?;
                if !rights.may_tag(Right::Delete, name, &tag) {
                    return Err(Error::Denied(alloc::format!("you may not delete the tag {tag} of {name}")));
                }
            }
        }
        let prefix = keys::manifests(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for digest in page.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Digest>().ok()) {
                marks.manifest(name, &digest)?;
            }
        }
        Ok(())
    }
}

/// Whether this has deleted it, or it was gone already.
fn is_deleted(answer: Result<Response, Error>) -> Result<bool, Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(Error::ManifestUnknown(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
