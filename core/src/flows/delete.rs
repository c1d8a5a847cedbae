//! Manifests and tags: delete (OCI end-9; SPEC L).

use alloc::string::ToString;
use alloc::vec::Vec;

use super::maintained::TagState;
use super::push::StoredManifest;
use super::{Batch, Call};
use crate::config::ATTEMPTS;
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Value};
use crate::error::Error;
use crate::http::Response;
use crate::keys;
use crate::manifest::Manifest;
use crate::name::{Repository, Tag};

impl Call {
    /// `DELETE` by tag: the tag goes, what it named stays (SPEC L1).
    pub(super) async fn delete_tag(&self, name: &Repository, tag: &Tag) -> Result<Response, Error> {
        self.may_delete()?;
        for _ in 0..ATTEMPTS {
            let state = self.tag_state(name, tag).await?;
            if state.record.is_none() {
                return Err(Error::ManifestUnknown(tag.to_string()));
            }
            let mut batch = Batch::default();
            self.change_tag(&mut batch, name, &state, None, None);
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(accepted());
            }
        }
        Err(Error::Contention)
    }

    /// `DELETE` by digest: the manifest goes, and every tag that names it (SPEC L3).
    pub(super) async fn delete_manifest(&self, name: &Repository, digest: &Digest) -> Result<Response, Error> {
        self.may_delete()?;
        let key = keys::manifest(name, digest);
        for _ in 0..ATTEMPTS {
            let Some(found) = self.find(key.clone()).await? else {
                return Err(Error::ManifestUnknown(digest.to_string()));
            };
            if self.remove_manifest(name, digest, &found, [].into()).await? == Committed::Done {
                return Ok(accepted());
            }
        }
        Err(Error::Contention)
    }

    /// Takes a manifest out of a repository, if it is still as it was read and `also` holds.
    ///
    /// Whoever points a tag at a manifest writes the manifest's record anew, so the tags that are found here are
    /// all there are as long as the record is unchanged.
    pub(super) async fn remove_manifest(
        &self,
        name: &Repository,
        digest: &Digest,
        found: &StoredManifest,
        also: Vec<Expect>,
    ) -> Result<Committed, Error> {
        let mut batch = Batch { expect: also, ..Batch::default() };
        batch.expect(found.unchanged());
        batch.delete(found.key.clone());
        batch.delete(keys::payload(name, digest));
        batch.delete(keys::left(name, digest));
        if let Some(subject) = &found.record.subject {
            batch.delete(keys::referrer(name, subject, digest));
        }
        let [payload] = self.get([keys::payload(name, digest)]).await?;
        // Without a payload the record was gone before; the commit will say so.
        let payload: Value = payload.unwrap_or_default();
        let needs = Manifest::parse(&payload, Some(&found.record.media_type)).map(|manifest| manifest.needs);
        needs.unwrap_or_default().keys().for_each(|needed| batch.delete(keys::used(name, needed, digest)));

        let tagged = keys::tagged_with(name, digest);
        for (key, _) in self.scan_all(&tagged).await? {
            batch.delete(key.clone());
            if let Ok(tag) = tagged.rest(&key).parse::<Tag>() {
                let state = self.tag_state(name, &tag).await?;
                self.tag_bereft(&mut batch, name, &state, digest).await?;
            }
        }
        self.commit(batch, Durability::Durable).await
    }

    async fn tag_state(&self, name: &Repository, tag: &Tag) -> Result<TagState, Error> {
        let values = self.get(TagState::keys(name, tag)).await?;
        TagState::read(name, tag, values)
    }

    /// SPEC L2, L5.
    fn may_delete(&self) -> Result<(), Error> {
        if self.config.allow_delete { Ok(()) } else { Err(Error::Disabled("deleting")) }
    }
}

fn accepted() -> Response {
    Response::new(202).with("Content-Length", "0")
}
