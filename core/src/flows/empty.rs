//! `DELETE /api/v1/repositories/<name>/contents`: all tags and manifests of a repository (SPEC AD6).

use alloc::format;
use alloc::string::String;

use serde::Serialize;

use super::Call;
use super::pages::Pages;
use crate::caller::Right;
use crate::config::EMPTIED;
use crate::digest::Digest;
use crate::error::Error;
use crate::http::{Headers, Response};
use crate::keys;
use crate::name::{Repository, Tag};
use crate::record;
use crate::target::Query;

/// What makes the nonces differ of the many things that one call deletes, as [`PIECE`](super::PIECE) those of their commits.
const DELETE: u128 = 1 << 80;

/// A place behind all tags: none begins so.
const BEHIND_TAGS: &str = "~";

/// What was deleted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Emptied {
    repository: Repository,
    tags_deleted: usize,
    manifests_deleted: usize,
    /// There is more: ask again, best by `next`.
    more: bool,
    /// The URL that goes on where this has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Call {
    /// Deletes the tags of a repository and then its manifests, each as a `DELETE` of it does, [some](EMPTIED) with one call.
    /// Nothing is deleted where something must stay. Blobs, and the repository, are what garbage collection finds then.
    ///
    /// Whether something must stay is looked up in all of the repository when a client begins. When it goes on behind `after`
    /// that is not done again, or each of very many calls would do it: then each tag and manifest is judged by itself.
    pub(crate) async fn empty(&self, name: &Repository, query: &Query) -> Result<Response, Error> {
        self.may_delete()?;
        // Its answers name tags.
        if !self.may(Right::Pull, name) || !self.has_repository(name).await? {
            return Err(Error::RepositoryUnknown(name.clone()));
        }
        let after = query.get("after").filter(|after| !after.is_empty());
        if after.is_none() {
            self.may_empty(name).await?;
        }
        // Each delete has a nonce of its own.
        let mut call = self.renewed(DELETE, 0);
        let (mut tags_deleted, mut manifests_deleted) = (0, 0);
        let prefix = keys::tags(name);
        let mut pages = Pages::after(&prefix, after.map(|after| prefix.at(after)));
        let mut next = BEHIND_TAGS.into();
        while tags_deleted < EMPTIED
            && let Some(page) = pages.next(self).await?
        {
            // What cannot be a tag is what a check finds.
            for tag in page.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Tag>().ok()) {
                let end = |error| Self::ended(error, tags_deleted, 0);
                self.may_take(name, &tag).map_err(end)?;
                call = call.renewed(DELETE, 1);
                let deleted = is_deleted(call.delete_tag(name, &tag, &Headers::new()).await).map_err(end)?;
                tags_deleted += usize::from(deleted);
                if tags_deleted == EMPTIED {
                    next = tag.as_str().into();
                    break;
                }
            }
        }
        let most = EMPTIED - tags_deleted;
        // Where some tags may not be deleted, an index has to go before what it lists.
        while manifests_deleted < most {
            let (deleted, refused) = call.delete_manifests(name, most - manifests_deleted).await?;
            manifests_deleted += deleted;
            match refused {
                None => break,
                Some(refused) if deleted == 0 => return Err(Self::ended(refused, tags_deleted, manifests_deleted)),
                Some(_) => {}
            }
        }
        // What is counted is gone, so whoever asks again comes to an end.
        let more = tags_deleted + manifests_deleted == EMPTIED;
        let url = |after: String| format!("/api/v1/repositories/{name}/contents?{}", query.with("after", &after));
        let next = Some(next).filter(|_| more).map(url);
        let emptied = Emptied { repository: name.clone(), tags_deleted, manifests_deleted, more, next };
        Ok(Response::new(200).with_bytes("application/json", record::encode(&emptied)))
    }

    /// Why it was not gone on with, and what was deleted before.
    fn ended(error: Error, tags: usize, manifests: usize) -> Error {
        match error {
            Error::Denied(why) if tags + manifests > 0 => {
                Error::Denied(format!("{why}; {tags} tags and {manifests} manifests were deleted before"))
            }
            other => other,
        }
    }

    /// Deletes manifests that may be deleted, that many at most: how many, and why another one may not.
    async fn delete_manifests(&mut self, name: &Repository, most: usize) -> Result<(usize, Option<Error>), Error> {
        let prefix = keys::manifests(name);
        let (mut pages, mut deleted, mut refused) = (Pages::new(&prefix), 0, None);
        while let Some(page) = pages.next(self).await? {
            for digest in page.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Digest>().ok()) {
                *self = self.renewed(DELETE, 1);
                match self.delete_manifest(name, &digest, &Headers::new()).await {
                    Err(error @ Error::Denied(_)) => refused = Some(error),
                    answer => deleted += usize::from(is_deleted(answer)?),
                }
                if deleted == most {
                    return Ok((deleted, refused));
                }
            }
        }
        Ok((deleted, refused))
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
                self.may_take(name, &tag)?;
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

    fn may_take(&self, name: &Repository, tag: &Tag) -> Result<(), Error> {
        match self.caller.rights.may_tag(Right::Delete, name, tag) {
            true => Ok(()),
            false => Err(Error::Denied(format!("you may not delete the tag {tag} of {name}"))),
        }
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
