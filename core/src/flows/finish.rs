//! The end of an upload: its bytes become a blob of the repository (OCI end-4b, end-6; SPEC E7–E9, H).

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use uuid::Uuid;

use super::batch::{Batch, Found};
use super::join::Joined;
use super::quarantine::sound_blob;
use super::quota::Allowance;
use super::upload::{Body, Chunk, Session, forget_session, mismatch, objects};
use super::{Call, blob_location};
use crate::ambient::{Ambient, Timestamp};
use crate::config::ATTEMPTS;
use crate::digest::{Algorithm, Digest};
use crate::effect::{BodyEnd, Committed, Durability, Expect, Measure, Value};
use crate::error::Error;
use crate::http::{Request, Response};
use crate::keys;
use crate::meter::Meter;
use crate::name::Repository;
use crate::record::{self, BlobRecord, Extent, FinishedRecord, LinkRecord, Owner};

/// Bytes at rest that are to become a blob, and what is known of them.
struct Upload {
    /// What the session had received before this request.
    stored: Vec<Extent>,
    /// What came with this request.
    chunk: Option<Chunk>,
    meter: Meter,
    /// When the body of this request had ended.
    at: Timestamp,
    /// The session that they came by, to be ended by the commit that makes them a blob.
    session: Option<(Uuid, Session)>,
}

impl Upload {
    /// All the bytes, in order.
    fn extents(&self) -> Vec<Extent> {
        self.stored.iter().chain(self.chunk.as_ref().map(|chunk| &chunk.extent)).copied().collect()
    }

    /// How many of the bytes the repository's usage counts already.
    fn counted(&self) -> u64 {
        self.session.as_ref().map_or(0, |(_, session)| session.record.offset())
    }
}

impl Call {
    /// The whole blob in one request (OCI end-4b; SPEC E7–E9).
    pub(crate) async fn post_blob(
        &self,
        name: &Repository,
        digest: &Digest,
        request: &Request,
    ) -> Result<Response, Error> {
        let limit = self.blob_limit();
        if request.length.is_some_and(|length| length > limit) {
            return Err(Error::BlobTooLarge(limit));
        }
        let allowance = self.check_quota(name, Some(digest), request.length.unwrap_or(1), 0).await?;
        let meter = Meter::new(digest.algorithm()).with_limit(limit.min(allowance.bytes()));
        let (end, Body { meter, chunk, at, .. }) = self.receive(meter, None).await?;
        let wrong = mismatch(&meter, digest);
        let refused = match end {
            BodyEnd::TooLarge if allowance.bytes() < limit => Some(allowance.overrun(name)),
            BodyEnd::TooLarge => Some(Error::BlobTooLarge(limit)),
            BodyEnd::Cut => Some(Error::Size("the body ended early")),
            // A client that announces the digest of what it is about to send (SPEC E16).
            BodyEnd::Whole | BodyEnd::Later if chunk.is_none() && wrong.is_some() => {
                return self.open_session(name, digest.algorithm()).await;
            }
            BodyEnd::Whole | BodyEnd::Later => wrong,
        };
        if let Some(error) = refused {
            self.discard(chunk.as_ref());
            return Err(error);
        }
        self.publish(name, digest, Upload { stored: Vec::new(), chunk, meter, at, session: None }).await
    }

    /// `PUT`: the last chunk, if any, and the digest that the whole must have (SPEC H).
    pub(crate) async fn finish_upload(
        &self,
        name: &Repository,
        id: Uuid,
        digest: &Digest,
        request: &Request,
    ) -> Result<Response, Error> {
        match self.finish_session(name, id, digest, request).await {
            // It may have been finished before, or while this request was under way.
            Err(Error::UploadUnknown) => self.finished_before(name, id, digest).await,
            finished => finished,
        }
    }

    async fn finish_session(
        &self,
        name: &Repository,
        id: Uuid,
        digest: &Digest,
        request: &Request,
    ) -> Result<Response, Error> {
        let mut session = self.session(name, id).await?;
        let Body { meter, cut, chunk, at } = self.receive_chunk(id, &mut session, request, Some(digest)).await?;
        if cut {
            // The client meant to end the upload and may do so again: nothing has happened.
            self.discard(chunk.as_ref());
            return Err(Error::Size("the body ended early"));
        }
        let stored = self.extents(id, &session).await?;
        let error = mismatch(&meter, digest);
        let upload = Upload { stored, chunk, meter, at, session: Some((id, session)) };
        match error {
            Some(error) => Err(self.abandon(name, &upload, error).await?),
            None => self.publish(name, digest, upload).await,
        }
    }

    /// The answer for a session that is not open: the same as before, if it has become this very blob (SPEC H7).
    async fn finished_before(&self, name: &Repository, id: Uuid, digest: &Digest) -> Result<Response, Error> {
        let key = keys::finished(&id);
        let [finished, link] = self.get([key.clone(), keys::link(name, digest)]).await?;
        let finished: Option<Found<FinishedRecord>> = Found::read(key, finished)?;
        let same = finished.is_some_and(|found| found.record.repository == *name && found.record.digest == *digest);
        if same && link.is_some() { Ok(created(name, digest)) } else { Err(Error::UploadUnknown) }
    }

    /// Makes the bytes a blob of the repository.
    ///
    /// The bytes are at rest before the one commit that moves them from the session into the blob. A crash before it
    /// leaves the session as it was, and at most objects that no record names: what came with this request, and what
    /// was joined. One after it leaves objects that were joined, or that another blob made superfluous.
    async fn publish(&self, name: &Repository, digest: &Digest, upload: Upload) -> Result<Response, Error> {
        if upload.meter.algorithm() != digest.algorithm() {
            // The client did not say that it would be this algorithm: read the bytes again (SPEC E4, B7).
            let bytes = upload.chunk.as_ref().and_then(Chunk::bytes);
            let Some(measured) = self.measure(&upload.extents(), bytes, digest.algorithm()).await? else {
                return Err(self.lost(name, &upload).await);
            };
            if let Some(error) = mismatch(&measured, digest) {
                return Err(self.abandon(name, &upload, error).await?);
            }
        }
        let size = upload.meter.count();
        let (blob_key, link_key) = (keys::blob(digest), keys::link(name, digest));
        let mut joined: Option<Joined> = None;
        for _ in 0..ATTEMPTS {
            let mut allowance = Allowance::default();
            let keys = [blob_key.clone(), link_key.clone(), keys::repository(name)];
            let [blob, link, repository] = self.get(keys).await?;
            if link.is_none() {
                match self.check_quota(name, None, size, upload.counted()).await {
                    Err(denied @ Error::Denied(_)) => {
                        self.erase_later(joined.into_iter().flat_map(|joined| joined.made));
                        return Err(self.abandon(name, &upload, denied).await?);
                    }
                    checked => allowance = checked?,
                }
            }
            let mut batch = Batch::default();
            batch.expect(match &blob {
                Some(value) => Expect::Exactly(blob_key.clone(), value.clone()),
                None => Expect::Absent(blob_key.clone()),
            });
            // Which objects the blob is made of from now on: none of these when it exists, and its bytes are shared
            // (SPEC H9).
            let known = sound_blob(digest, blob.clone()).is_some_and(|known| !known.record.unverified);
            let mut taken = BTreeSet::new();
            let mut replaced = Vec::new();
            if !known {
                if joined.is_none() {
                    joined = self.join(&upload.extents()).await?;
                }
                let Some(Joined { extents, .. }) = &joined else { return Err(self.lost(name, &upload).await) };
                batch.put(blob_key.clone(), &BlobRecord::sound(size, extents.clone()));
                taken = extents.iter().map(|extent| extent.object).collect();
                let owner = Owner::Blob(*digest);
                let chunk = upload.chunk.as_ref().filter(|chunk| taken.contains(&chunk.extent.object));
                chunk.iter().for_each(|chunk| chunk.put(&mut batch, &owner));
                let at_rest = |extent: &&Extent| chunk.is_none_or(|chunk| chunk.extent.object != extent.object);
                for object in objects(extents.iter().filter(at_rest)) {
                    batch.put(keys::object(&object), &owner);
                }
                if let Some(value) = &blob {
                    replaced = self.replace_blob(&mut batch, digest, value, upload.at).await?;
                }
            }
            let superfluous = |extent: &&Extent| !taken.contains(&extent.object);
            let mut left = self.let_go(&mut batch, upload.stored.iter().filter(superfluous), upload.at);
            // No record has ever named what came with this request.
            left.extend(objects(upload.chunk.iter().map(|chunk| &chunk.extent).filter(superfluous)));
            if let Some((id, session)) = &upload.session {
                forget_session(&mut batch, *id, session, &upload.stored);
                let finished = FinishedRecord { repository: name.clone(), digest: *digest, finished: self.ambient.now };
                batch.put(keys::finished(id), &finished);
            }
            self.link(&mut batch, name, digest, size, link.as_ref());
            batch.keep_repository(name, repository.as_ref(), &self.ambient);
            self.note_quotas(&mut batch, name, &allowance).await?;
            let committed = self.commit(batch, Durability::Durable).await?;
            if committed == Committed::Done {
                left.extend(replaced);
                self.erase_later(left);
                if known {
                    self.erase_later(joined.into_iter().flat_map(|joined| joined.made));
                }
                return Ok(allowance.warned(created(name, digest), name));
            }
            if let Some((id, session)) = &upload.session {
                let [now] = self.get([session.key.clone()]).await?;
                if now.as_ref() != Some(&session.value) {
                    // The session went on or ended without this request: what it brought goes, nothing else.
                    self.erase_later(joined.into_iter().flat_map(|joined| joined.made));
                    self.discard(upload.chunk.as_ref());
                    return Err(self.out_of_place(name, *id).await);
                }
            }
        }
        Err(Error::Contention)
    }

    /// Makes bytes that were fetched a blob of the repository. They are those of the digest.
    pub(super) async fn keep_fetched(
        &self,
        name: &Repository,
        digest: &Digest,
        meter: Meter,
        chunk: Option<Chunk>,
    ) -> Result<(), Error> {
        let upload = Upload { stored: Vec::new(), chunk, meter, at: self.ambient.now, session: None };
        self.publish(name, digest, upload).await.map(drop)
    }

    /// Reads all bytes of these extents past a meter. `bytes` are those of the first, if that is no record yet. `None`
    /// when some are gone.
    pub(super) async fn measure(
        &self,
        extents: &[Extent],
        bytes: Option<&Value>,
        algorithm: Algorithm,
    ) -> Result<Option<Meter>, Error> {
        let mut meter = Meter::new(algorithm);
        if let Some(first) = extents.first().filter(|extent| extent.small) {
            let bytes = match bytes {
                Some(bytes) => Some(bytes.clone()),
                None => {
                    let [bytes] = self.get([keys::bytes(&first.object)]).await?;
                    bytes
                }
            };
            let Some(bytes) = bytes else { return Ok(None) };
            meter.update(&bytes);
        }
        let objects = objects(extents);
        if objects.is_empty() {
            return Ok(Some(meter));
        }
        self.ask(Measure { objects, meter }).await
    }

    /// Why bytes that were received are gone: the session ended meanwhile, and whoever ended it erased them. If it did
    /// not, the storage has lost them.
    async fn lost(&self, name: &Repository, upload: &Upload) -> Error {
        self.discard(upload.chunk.as_ref());
        let fault = || crate::Fault::Failed(format!("bytes of an upload to {name} are gone"));
        let Some((id, session)) = &upload.session else { return fault().into() };
        match self.get([session.key.clone()]).await {
            Ok([now]) if now.as_ref() == Some(&session.value) => fault().into(),
            Ok(_) => self.out_of_place(name, *id).await,
            Err(error) => error,
        }
    }

    /// Gives up an upload whose bytes are wrong (SPEC H3), and says what to answer: that, unless its session went
    /// on or ended meanwhile, so that its bytes are others. Then only what came with this request goes.
    async fn abandon(&self, name: &Repository, upload: &Upload, wrong: Error) -> Result<Error, Error> {
        self.discard(upload.chunk.as_ref());
        let Some((id, session)) = &upload.session else { return Ok(wrong) };
        if let Some(left) = self.end_session(*id, session, &upload.stored, upload.at).await? {
            self.erase_later(left);
            return Ok(wrong);
        }
        Ok(self.out_of_place(name, *id).await)
    }

    /// The repository holds the blob, from now on or, when `before` is its link, once more. Expects that it still is, or is
    /// still not.
    pub(super) fn link(
        &self,
        batch: &mut Batch,
        name: &Repository,
        digest: &Digest,
        size: u64,
        before: Option<&Value>,
    ) {
        let Ambient { now, nonce } = self.ambient;
        let key = keys::link(name, digest);
        // Nothing can be pushed to a mirror, but what was pushed while it was none stays so.
        let is_mirror = self.config.mirror_of(name).is_some();
        let pushed = |link: &Value| record::decode::<LinkRecord>(&key, link).is_ok_and(|link| !link.fetched);
        let fetched = is_mirror && !before.is_some_and(pushed);
        match before.filter(|_| is_mirror) {
            Some(link) => batch.expect(Expect::Exactly(key.clone(), link.clone())),
            None => batch.expect_presence(key.clone(), before.is_some()),
        }
        batch.put(key, &LinkRecord { linked: now, by: nonce, fetched });
        batch.mark(keys::holder(digest, name));
        if before.is_none() {
            batch.add_usage(name, size);
        }
    }
}

/// The answer to a blob that is now here (SPEC H1, H2).
pub(super) fn created(name: &Repository, digest: &Digest) -> Response {
    Response::new(201)
        .with("Location", blob_location(name, digest))
        .with("Docker-Content-Digest", digest.to_string())
        .with("Content-Length", "0")
}
