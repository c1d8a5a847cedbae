//! Manifests and tags: delete (OCI end-9; SPEC L).

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::Call;
use super::batch::{Batch, Found};
use super::maintained::TagState;
use super::pages::Pages;
use crate::ambient::Timestamp;
use crate::caller::Right;
use crate::config::{ATTEMPTS, SCAN_BYTES, TAGS_A_COMMIT};
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Fault, Scan};
use crate::error::Error;
use crate::event::{self, Happening};
use crate::http::Response;
use crate::keys;
use crate::manifest::{Manifest, Need};
use crate::name::{Repository, Tag};
use crate::record::{LeftRecord, ManifestRecord};

/// A manifest of a repository as it was read.
pub(super) type StoredManifest = Found<ManifestRecord>;

impl Call {
    /// `DELETE` by tag: the tag goes, what it named stays (SPEC L1).
    pub(crate) async fn delete_tag(&self, name: &Repository, tag: &Tag) -> Result<Response, Error> {
        self.may_delete()?;
        for _ in 0..ATTEMPTS {
            let state = self.tag_state(name, tag).await?;
            if !state.is_there() {
                return Err(Error::ManifestUnknown(tag.to_string()));
            }
            let mut batch = Batch::reclaiming();
            self.change_tag(&mut batch, name, &state, None, None);
            self.tell(&mut batch, Happening::Delete, name, None, event::names([tag])).await?;
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(accepted());
            }
        }
        Err(Error::Contention)
    }

    /// `DELETE` by digest: the manifest goes, and every tag that names it (SPEC L3).
    pub(crate) async fn delete_manifest(&self, name: &Repository, digest: &Digest) -> Result<Response, Error> {
        self.may_delete()?;
        let key = keys::manifest(name, digest);
        for _ in 0..ATTEMPTS {
            let Some(found) = self.find(key.clone()).await? else {
                return Err(Error::ManifestUnknown(digest.to_string()));
            };
            let now = self.ambient.now;
            let mut also = Batch::default();
            if self.caller.rights.protect_tags(name) {
                also.expect = self.unprotected(name, digest).await?;
            }
            let told = Some((digest, Some(&found.record)));
            self.tell(&mut also, Happening::Delete, name, told, [].into()).await?;
            if self.remove_manifest(name, digest, &found, also, now).await? == Committed::Done {
                return Ok(accepted());
            }
        }
        Err(Error::Contention)
    }

    /// Takes a manifest out of a repository, if it is still as it was read and what `also` expects holds, and puts what
    /// that puts.
    ///
    /// Whoever points a tag at a manifest writes the manifest's record anew, so the tags that are found here are
    /// all there are as long as the record is unchanged. Many tags go with commits of their own before it.
    ///
    /// What it needs counts as left from now on, so that a client that has just seen a blob may push a manifest with
    /// it; the children of an index from `unnamed`, when nothing named that any more, if they were not left later.
    pub(super) async fn remove_manifest(
        &self,
        name: &Repository,
        digest: &Digest,
        found: &StoredManifest,
        also: Batch,
        unnamed: Timestamp,
    ) -> Result<Committed, Error> {
        loop {
            let mut batch = Batch::reclaiming();
            batch.expect(found.unchanged());
            let more = self.take_tags(&mut batch, name, digest).await?;
            if more {
                batch.expect.extend(also.expect.iter().cloned());
                if self.commit(batch, Durability::Durable).await? == Committed::Conflict {
                    return Ok(Committed::Conflict);
                }
                continue;
            }
            let payload_key = keys::payload(name, digest);
            let [now, payload] = self.get([found.key.clone(), payload_key.clone()]).await?;
            if now.as_ref() != Some(&found.value) {
                return Ok(Committed::Conflict);
            }
            let manifest = payload.and_then(|bytes| Manifest::parse(&bytes, Some(&found.record.media_type)).ok());
            let needs = match manifest {
                Some(manifest) => manifest.needs.into_iter().collect(),
                None => self.recorded_needs(name, digest).await?,
            };
            for (needed, how) in &needs {
                let key = keys::left(name, needed);
                let mut left = self.ambient.now;
                if *how == Need::Child && unnamed < left {
                    // A tag may have left it since.
                    let found: Option<Found<LeftRecord>> = self.find(key.clone()).await?;
                    batch.expect_unchanged(key.clone(), found.as_ref());
                    left = found.map_or(unnamed, |found| found.record.left.max(unnamed));
                }
                batch.delete(keys::used(name, needed, digest));
                batch.put(key, &LeftRecord { left });
            }
            if let Some(subject) = &found.record.subject {
                batch.delete(keys::referrer(name, subject, digest));
            }
            batch.delete(keys::left(name, digest));
            if found.record.quarantined.is_some() {
                batch.delete(keys::quarantined_manifest(name, digest));
            }
            batch.delete(payload_key);
            batch.delete(found.key.clone());
            batch.take_usage(name, found.record.size);
            batch.merge(also);
            return self.commit(batch, Durability::Durable).await;
        }
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

    /// Takes a manifest from the tags that name it, as many as one commit does; `true` when there are more.
    async fn take_tags(&self, batch: &mut Batch, name: &Repository, digest: &Digest) -> Result<bool, Error> {
        let prefix = keys::tagged_with(name, digest);
        let scan = Scan { prefix: prefix.clone(), after: None, limit: TAGS_A_COMMIT + 1, bytes: SCAN_BYTES };
        let entries = self.ask(scan).await?;
        let more = entries.len() > TAGS_A_COMMIT;
        for (key, _) in entries.iter().take(TAGS_A_COMMIT) {
            let damaged = |_| Fault::Failed(format!("the key {key:?} is damaged"));
            let tag = prefix.rest(key).parse::<Tag>().map_err(damaged)?;
            let state = self.tag_state(name, &tag).await?;
            self.may_bereave(name, &state, digest)?;
            self.tag_bereft(batch, name, &state, digest, more).await?;
        }
        Ok(more)
    }

    /// Sees that no protected tag needs the manifest, by itself or by an index, and says what to expect so that none
    /// comes to. The lists that the registry maintains count by the tags they are of; beside one of these an index
    /// that comes at the same moment is not seen.
    async fn unprotected(&self, name: &Repository, digest: &Digest) -> Result<Vec<Expect>, Error> {
        let tagged = keys::tagged_with(name, digest);
        for (key, _) in self.scan_all(&tagged).await? {
            let Ok(tag) = tagged.rest(&key).parse() else { continue };
            self.may_bereave(name, &self.tag_state(name, &tag).await?, digest)?;
        }
        let users = keys::users(name, digest);
        let entries = self.scan_all(&users).await?;
        for (key, _) in &entries {
            let Ok(user) = users.rest(key).parse() else { continue };
            let found: Option<StoredManifest> = self.find(keys::manifest(name, &user)).await?;
            if found.is_some_and(|found| !found.record.maintained) {
                return Err(Error::Denied("an index has this manifest, and some tags here may not be deleted".into()));
            }
        }
        Ok(if entries.is_empty() { [Expect::NoneUnder(users)].into() } else { [].into() })
    }

    /// Whether the caller may do to a tag what the end of the manifest `gone` does to it: the tag ends, or the list that
    /// it is becomes another.
    fn may_bereave(&self, name: &Repository, state: &TagState, gone: &Digest) -> Result<(), Error> {
        let Some(tag) = state.record.as_ref().filter(|_| state.is(gone)) else { return Ok(()) };
        let right = if tag.record.digest == *gone { Right::Delete } else { Right::OverwriteTag };
        if self.caller.rights.may_tag(right, name, &state.tag) {
            return Ok(());
        }
        Err(Error::Denied(format!("the tag {} of {name} needs this manifest, and you may not change it", state.tag)))
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

fn accepted() -> Response {
    Response::new(202).with("Content-Length", "0")
}
