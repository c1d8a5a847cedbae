//! Manifests: push (OCI end-7; SPEC K).

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::batch::Batch;
use super::maintained::{Pushed, TagState};
use super::mirror::{self, Voucher};
use super::quarantine::{sound_blob, sound_manifest};
use super::quota::Allowance;
use super::{Call, referrers};
use crate::conditional;
use crate::config::{ATTEMPTS, IMAGE_CONFIG_LIMIT, TAG_PARAMETERS};
use crate::digest::{Algorithm, Digest};
use crate::effect::{Collect, Collected, Committed, Durability, Expect, Get, Value};
use crate::error::Error;
use crate::event::{self, Happening};
use crate::http::{Request, Response};
use crate::keys;
use crate::manifest::{Manifest, Need, Platform};
use crate::name::{Repository, Tag};
use crate::record::{ManifestRecord, PushedRecord};
use crate::target::{Query, Reference};

/// A manifest on its way in.
struct Push<'a> {
    name: &'a Repository,
    payload: Value,
    digest: Digest,
    manifest: Manifest,
    platform: Option<Platform>,
    tags: Vec<Tag>,
}

/// What the repository has of a manifest that it is to hold.
pub(super) enum Before {
    /// It holds it already.
    Held,
    /// It does not, and this is the record of it as one that was deleted.
    NotHeld(Option<Value>),
}

/// What the repository has of that which a push is about, in one snapshot.
struct Surroundings {
    repository: Option<Value>,
    manifest: Option<Value>,
    /// The record of the same manifest as one that was deleted.
    deleted: Option<Value>,
    /// Which record says so, for each need that is there.
    present: Vec<Voucher>,
    missing: Vec<Digest>,
    tags: Vec<TagState>,
}

impl Call {
    /// `PUT`: takes a manifest, byte for byte, under a tag, or under its digest and any number of tags.
    ///
    /// One commit makes the manifest, its tags, its place among the referrers and the maintained lists visible
    /// together (SPEC K19), and expects everything that the manifest needs to be still there.
    pub(crate) async fn put_manifest(
        &self,
        name: &Repository,
        reference: &Reference,
        request: &Request,
        query: &Query,
    ) -> Result<Response, Error> {
        let parameters = query.all("tag").map(str::parse).collect::<Result<BTreeSet<Tag>, _>>()?;
        let tags: Vec<Tag> = match reference {
            Reference::Tag(_) if !parameters.is_empty() => return Err(Error::TagTwice),
            Reference::Tag(tag) => [tag.clone()].into(),
            Reference::Digest(_) if parameters.len() > TAG_PARAMETERS => {
                return Err(Error::TooManyTags(TAG_PARAMETERS));
            }
            Reference::Digest(_) => parameters.iter().cloned().collect(),
        };
        let payload = self.collect_manifest(request).await?;
        let digest = match reference {
            Reference::Tag(_) => Algorithm::Sha256.digest(&payload),
            Reference::Digest(expected) => {
                let actual = expected.algorithm().digest(&payload);
                // SPEC K3.
                if actual != *expected {
                    return Err(Error::DigestMismatch { expected: *expected, actual });
                }
                actual
            }
        };
        let manifest = Manifest::parse(&payload, request.headers.get("content-type"))?;
        let mut push = Push { name, payload, digest, manifest, platform: None, tags };
        for _ in 0..ATTEMPTS {
            let around = self.surroundings(&push).await?;
            self.check_condition(reference, request, &around)?;
            // SPEC K9.
            if !around.missing.is_empty() && !self.config.allow_sparse {
                return Err(Error::ManifestBlobsUnknown(around.missing));
            }
            if push.platform.is_none() && !push.tags.is_empty() {
                push.platform = self.platform(name, &push.manifest).await?;
            }
            // The bytes of one that was deleted are counted still.
            let allowance = match around.manifest.as_ref().or(around.deleted.as_ref()) {
                Some(_) => Allowance::default(),
                None => self.check_quota(name, None, push.payload.len() as u64, 0).await?,
            };
            let mut batch = self.push_batch(&push, &around).await?;
            self.note_quotas(&mut batch, name, &allowance).await?;
            if let (Reference::Digest(_), true) = (reference, conditional::is_conditional(&request.headers)) {
                // A tag is expected as it was read in any case.
                batch.expect(match &around.manifest {
                    Some(value) => Expect::Exactly(keys::manifest(name, &digest), value.clone()),
                    None => Expect::Absent(keys::manifest(name, &digest)),
                });
            }
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(allowance.warned(pushed(&push, &parameters), name));
            }
        }
        Err(Error::Contention)
    }

    async fn collect_manifest(&self, request: &Request) -> Result<Value, Error> {
        let limit = self.config.manifest_limit;
        if request.length.is_some_and(|length| length > limit) {
            return Err(Error::ManifestTooLarge(limit));
        }
        match self.ask(Collect { limit }).await? {
            Collected::Whole(payload) => Ok(payload),
            Collected::TooLarge => Err(Error::ManifestTooLarge(limit)),
            Collected::Cut => Err(Error::Size("the body ended early")),
            Collected::NoRoom => Err(Error::Busy),
        }
    }

    /// Looks up everything that a push depends on.
    async fn surroundings(&self, push: &Push<'_>) -> Result<Surroundings, Error> {
        let name = push.name;
        let first = [keys::repository(name), keys::manifest(name, &push.digest), keys::deleted(name, &push.digest)];
        let mut keys = Vec::from(first);
        keys.extend(push.tags.iter().flat_map(|tag| TagState::keys(name, tag)));
        for (digest, need) in &push.manifest.needs {
            keys.extend([keys::link(name, digest), keys::blob(digest)]);
            if *need == Need::Child {
                keys.push(keys::manifest(name, digest));
            }
        }
        let values = self.ask(Get { keys: keys.clone() }).await?;
        let mut found = keys.into_iter().zip(values);
        let mut next = || found.next().unwrap_or_else(|| (keys::repository(name), None));

        let (repository, manifest, deleted) = (next().1, next().1, next().1);
        let tags = push.tags.iter().map(|tag| TagState::read(name, tag, [next().1, next().1]));
        let tags = tags.collect();
        let (mut present, mut missing) = (Vec::new(), Vec::new());
        for (digest, need) in &push.manifest.needs {
            let ((_, link), (_, blob)) = (next(), next());
            // What is damaged is missing: the client pushes it again, whatever it has been told before (SPEC W3).
            let link = link.filter(|_| sound_blob(digest, blob).is_some());
            // A child is a manifest, or else a blob, as in the index of a build cache.
            let child = if *need == Need::Child { next().1 } else { None };
            let child = child.filter(|child| sound_manifest(name, digest, Some(child.clone())).is_some());
            match (child, link) {
                (Some(value), _) => present.push(Voucher::of_manifest(name, *digest, value)),
                (None, Some(value)) => present.push(Voucher::of_blob(name, *digest, value)),
                (None, None) if *need == Need::Optional => {}
                (None, None) => missing.push(*digest),
            }
        }
        Ok(Surroundings { repository, manifest, deleted, present, missing, tags })
    }

    /// `If-Match` and `If-None-Match` against what the reference names now: tags that cannot be overwritten by
    /// mistake.
    fn check_condition(&self, reference: &Reference, request: &Request, around: &Surroundings) -> Result<(), Error> {
        let current = match reference {
            Reference::Tag(_) => around.tags.iter().find_map(|tag| Some(tag.record.as_ref()?.record.digest)),
            Reference::Digest(digest) => around.manifest.as_ref().map(|_| *digest),
        };
        conditional::permits(&request.headers, current.as_ref())
    }

    /// The platform of an image, from its configuration: inline, or the blob. What only another repository holds
    /// tells nothing here (SPEC C4): a sparse image may name it.
    pub(super) async fn platform(&self, name: &Repository, manifest: &Manifest) -> Result<Option<Platform>, Error> {
        let Some(config) = &manifest.image_config else { return Ok(None) };
        if let Some(bytes) = config.inline() {
            return Ok(Platform::of_config(&bytes));
        }
        let [link, blob] = self.get([keys::link(name, &config.digest), keys::blob(&config.digest)]).await?;
        let (Some(_), Some(blob)) = (link, sound_blob(&config.digest, blob)) else { return Ok(None) };
        let bytes = self.load(&blob.record.extents, IMAGE_CONFIG_LIMIT).await?;
        Ok(bytes.and_then(|bytes| Platform::of_config(&bytes)))
    }

    async fn push_batch(&self, push: &Push<'_>, around: &Surroundings) -> Result<Batch, Error> {
        let Push { name, digest, manifest, payload, .. } = push;
        let mut batch = Batch::default();
        batch.keep_repository(name, around.repository.as_ref(), &self.ambient);
        batch.put(keys::pushed(name), &PushedRecord { pushed: self.ambient.now });
        self.rely_on(&mut batch, name, &around.present).await?;
        let before = Before::read(around.manifest.as_ref(), around.deleted.as_ref());
        let content = mirror::content(manifest, &around.present);
        let record = self.hold_manifest(&mut batch, name, (digest, manifest, payload), &before, false, content);
        let told = Some((digest, Some(&record)));
        self.tell(&mut batch, Happening::Push, name, told, event::names(&push.tags)).await?;
        let platform = push.platform.as_ref();
        let pushed = Pushed { digest: *digest, media_type: manifest.media_type, size: record.size, platform };
        for tag in &around.tags {
            self.tag_pushed(&mut batch, name, tag, &pushed).await?;
        }
        Ok(batch)
    }

    /// The repository holds the manifest with these bytes, what it needs is used by it, and its subject has it as a
    /// referrer: from now on or once more. `fetched` says whether an upstream can give it again, `content` how many bytes it
    /// is made of, if that is known.
    pub(super) fn hold_manifest(
        &self,
        batch: &mut Batch,
        name: &Repository,
        (digest, manifest, payload): (&Digest, &Manifest, &Value),
        before: &Before,
        fetched: bool,
        content: Option<u64>,
    ) -> ManifestRecord {
        let size = payload.len() as u64;
        let record = ManifestRecord {
            media_type: manifest.media_type.as_str().into(),
            size,
            content,
            subject: manifest.subject,
            pushed: self.ambient.now,
            imported: None,
            by: self.ambient.nonce,
            maintained: false,
            fetched,
            quarantined: None,
        };
        self.put_manifest_record(batch, name, digest, &record, before);
        batch.put.push((keys::payload(name, digest), payload.clone()));
        manifest.needs.keys().for_each(|needed| batch.mark(keys::used(name, needed, digest)));
        if let Some(subject) = &manifest.subject {
            batch.put.push(referrers::entry(name, subject, &manifest.referrer(*digest, size)));
        }
        record
    }

    /// The repository holds the manifest, from now on or, when it did, once more. Expects that it still does, or still
    /// does not. One that was deleted is there again, and can be undeleted no more (SPEC X3).
    pub(super) fn put_manifest_record(
        &self,
        batch: &mut Batch,
        name: &Repository,
        digest: &Digest,
        record: &ManifestRecord,
        before: &Before,
    ) {
        let key = keys::manifest(name, digest);
        batch.expect_presence(key.clone(), matches!(before, Before::Held));
        batch.put(key, record);
        let deleted = keys::deleted(name, digest);
        match before {
            // It may have been damaged.
            Before::Held => batch.delete(keys::quarantined_manifest(name, digest)),
            Before::NotHeld(None) => {
                batch.expect(Expect::Absent(deleted));
                batch.add_usage(name, record.size);
            }
            // Its bytes are counted already.
            Before::NotHeld(Some(value)) => {
                batch.expect(Expect::Exactly(deleted.clone(), value.clone()));
                batch.delete(deleted);
                batch.delete(keys::deleted_payload(name, digest));
                batch.move_usage(name);
            }
        }
    }
}

impl Before {
    /// By the records of the manifest, and of the same as one that was deleted.
    pub(super) fn read(manifest: Option<&Value>, deleted: Option<&Value>) -> Self {
        if manifest.is_some() { Self::Held } else { Self::NotHeld(deleted.cloned()) }
    }
}

/// The answer: the pusher is told the digest of its own manifest, whatever the tag names (SPEC K1, K14, K15).
fn pushed(push: &Push<'_>, parameters: &BTreeSet<Tag>) -> Response {
    let Push { name, digest, .. } = push;
    let mut response = Response::new(201)
        .with("Location", format!("/v2/{name}/manifests/{digest}"))
        .with("Docker-Content-Digest", digest.to_string())
        .with("Content-Length", "0");
    if let Some(subject) = &push.manifest.subject {
        response = response.with("OCI-Subject", subject.to_string());
    }
    parameters.iter().fold(response, |response, tag| response.with("OCI-Tag", tag.to_string()))
}
