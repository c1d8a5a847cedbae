//! Uploads: sessions, chunks, mounts and single posts (OCI end-4, end-5, end-6, end-11, end-13, end-14; SPEC E–I).
//!
//! A session is one record and the parts it has received. Each chunk is received into a part of its own, then won
//! or lost by one commit that expects the session as it was before: every offset goes to exactly one chunk, and a
//! chunk that lost has changed nothing. The hash over all bytes so far lies in the record, so no byte is read twice.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use uuid::Uuid;

use super::{Batch, Call, Found, blob_location};
use crate::ambient::Ambient;
use crate::caller::Right;
use crate::config::{ATTEMPTS, UPLOAD_PARTS};
use crate::digest::{Algorithm, Digest, DigestError};
use crate::effect::{
    Assemble, BodyEnd, Committed, ContentId, Durability, Expect, Measure, Object, PartId, Receive, Received,
};
use crate::error::Error;
use crate::http::{Request, Response};
use crate::keys;
use crate::meter::Meter;
use crate::name::Repository;
use crate::range;
use crate::record::{BlobRecord, LinkRecord, PartRecord, UploadRecord, decode};
use crate::target::Query;

/// An upload session as it was read.
pub(super) type Session = Found<UploadRecord>;

/// Bytes at rest that are to become a blob, and what is known of them.
struct Upload {
    parts: Vec<PartId>,
    /// The one among them that came with this request: no record names it yet.
    last: Option<PartId>,
    meter: Meter,
    /// The session that they came by, to be ended by the commit that makes them a blob.
    session: Option<(Uuid, Session)>,
}

impl Call {
    /// `POST`: a mount, a whole blob, or a new session.
    pub(crate) async fn start_upload(
        &self,
        name: &Repository,
        request: &Request,
        query: &Query,
    ) -> Result<Response, Error> {
        if let Some(digest) = query.get("digest") {
            return self.single_post(name, digest.parse()?, request).await;
        }
        let algorithm = match query.get("digest-algorithm") {
            // SPEC E4: the hint says what to hash with while the bytes come in.
            Some(hint) => Algorithm::named(hint).ok_or(DigestError::UnknownAlgorithm)?,
            None => Algorithm::Sha256,
        };
        // SPEC E11, E13: a mount that cannot be, whatever the reason, is an ordinary upload.
        if let Some(Ok(digest)) = query.get("mount").map(str::parse) {
            let from = match query.get("from").map(str::parse) {
                Some(Ok(from)) => Some(Source::Repository(from)),
                Some(Err(_)) => None,
                None => Some(Source::Anywhere).filter(|_| self.config.mount_from_anywhere),
            };
            if self.mount(name, &digest, from.as_ref()).await? {
                return Ok(self.created(name, &digest));
            }
        }
        // A client should not have to send what is refused in the end.
        self.check_quota(name, None, 1).await?;
        let id = self.ambient.nonce;
        let now = self.ambient.now;
        let session = UploadRecord {
            repository: name.clone(),
            meter: Meter::new(algorithm).save(),
            started: now,
            touched: now,
            parts: 0,
        };
        let mut batch = Batch::default();
        batch.put(keys::upload(&id), &session);
        // A crash may lose the session: nothing has been sent to it yet, and the client begins again.
        self.commit(batch, Durability::Eventual).await?;
        Ok(standing(202, id, &session))
    }

    /// Links a blob that another repository holds, without a byte moved (SPEC E10). `false` when it cannot be.
    async fn mount(&self, name: &Repository, digest: &Digest, from: Option<&Source>) -> Result<bool, Error> {
        let source = match from {
            Some(Source::Repository(from)) => from,
            _ => name,
        };
        let keys = [keys::link(name, digest), keys::link(source, digest), keys::blob(digest), keys::repository(name)];
        for _ in 0..ATTEMPTS {
            // One snapshot: while the blob moves from one repository to another, it is seen in either.
            let [here, there, blob, repository] = self.get(keys.clone()).await?;
            let mut batch = Batch::default();
            match (here, from) {
                _ if blob.is_none() => return Ok(false),
                // SPEC E15: it is here already; linking it anew keeps the sweep from it.
                (Some(_), _) => batch.expect(Expect::Present(keys::link(name, digest))),
                // SPEC E14: what the caller may not pull is not there.
                (None, Some(Source::Repository(from))) if there.is_none() || !self.may(Right::Pull, from) => {
                    return Ok(false);
                }
                (None, Some(Source::Repository(from))) => batch.expect(Expect::Present(keys::link(from, digest))),
                (None, Some(Source::Anywhere)) => {
                    // A blob that nobody holds is on its way out: it was deleted everywhere.
                    let Some(holder) = self.readable_holder(digest).await? else { return Ok(false) };
                    batch.expect(Expect::Present(holder));
                }
                (None, None) => return Ok(false),
            }
            let size = blob.map(|value| decode::<BlobRecord>(&keys::blob(digest), &value)).transpose()?;
            self.check_quota(name, Some(keys::link(name, digest)), size.map_or(0, |blob| blob.size)).await?;
            batch.expect(Expect::Present(keys::blob(digest)));
            self.link(&mut batch, name, digest);
            batch.keep_repository(name, repository.as_ref(), &self.ambient);
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(true);
            }
        }
        Err(Error::Contention)
    }

    /// A repository that holds the blob and that the caller may pull from, among the first that hold it: a bound to
    /// what a mount may cost.
    async fn readable_holder(&self, digest: &Digest) -> Result<Option<keys::Key>, Error> {
        let prefix = keys::holders(digest);
        let readable = |key: &keys::Key| prefix.rest(key).parse().is_ok_and(|name| self.may(Right::Pull, &name));
        let holders = self.scan(&prefix, None).await?;
        Ok(holders.into_iter().map(|(key, _)| key).find(readable))
    }

    /// The whole blob in one request (OCI end-4b; SPEC E7–E9).
    async fn single_post(&self, name: &Repository, digest: Digest, request: &Request) -> Result<Response, Error> {
        let part = PartId { upload: self.ambient.nonce, nonce: self.ambient.nonce };
        let limit = self.blob_limit();
        if request.length.is_some_and(|length| length > limit) {
            return Err(Error::BlobTooLarge(limit));
        }
        let meter = Meter::new(digest.algorithm()).with_limit(limit);
        let Received { meter, end } = self.receive(part, meter).await?;
        let refused = match end {
            BodyEnd::TooLarge => Some(Error::BlobTooLarge(limit)),
            BodyEnd::Cut => Some(Error::Size("the body ended early")),
            BodyEnd::Whole => mismatch(&meter, &digest),
        };
        let last = Some(part).filter(|_| meter.count() > 0);
        if let Some(error) = refused {
            self.erase(last.map(Object::Part)).await;
            return Err(error);
        }
        self.publish(name, &digest, Upload { parts: Vec::from_iter(last), last, meter, session: None }).await
    }

    /// `GET` and `HEAD` of a session: how far it is (SPEC G).
    pub(crate) async fn upload_status(&self, name: &Repository, id: Uuid) -> Result<Response, Error> {
        let session = self.session(name, id).await?;
        Ok(standing(204, id, &session.record))
    }

    /// `PATCH`: the next chunk, with `Content-Range` or, streamed, without (SPEC F).
    pub(crate) async fn upload_chunk(&self, name: &Repository, id: Uuid, request: &Request) -> Result<Response, Error> {
        let session = self.session(name, id).await?;
        let offset = session.record.offset();
        let Received { meter, end } = self.receive_chunk(id, &session.record, request).await?;
        // SPEC F14: what came before the connection broke is kept, and the status tells how much it is.
        let answer = |record| match end {
            BodyEnd::Cut => Err(Error::Size("the body ended early; what came of it is kept")),
            BodyEnd::Whole | BodyEnd::TooLarge => Ok(standing(202, id, record)),
        };
        if meter.count() == offset {
            // SPEC F13: nothing came, nothing changes.
            return answer(&session.record);
        }
        let UploadRecord { repository, started, parts, .. } = session.record.clone();
        let record =
            UploadRecord { repository, meter: meter.save(), started, touched: self.ambient.now, parts: parts + 1 };
        let part = PartId { upload: id, nonce: self.ambient.nonce };
        let mut batch = Batch::default();
        batch.expect(session.unchanged());
        batch.put(keys::upload(&id), &record);
        batch.put(keys::part(&part), &PartRecord { offset });
        match self.commit(batch, Durability::Durable).await? {
            Committed::Done => answer(&record),
            Committed::Conflict => {
                // Another chunk won this offset, or the session ended: this one has changed nothing (SPEC F2).
                self.erase([Object::Part(part)]).await;
                Err(self.out_of_place(name, id).await)
            }
        }
    }

    /// `PUT`: the last chunk, if any, and the digest that the whole must have (SPEC H).
    pub(crate) async fn finish_upload(
        &self,
        name: &Repository,
        id: Uuid,
        request: &Request,
        query: &Query,
    ) -> Result<Response, Error> {
        // SPEC H4: before anything else, so that the client can try again.
        let digest: Digest = query.get("digest").ok_or(Error::DigestMissing)?.parse()?;
        let session = self.session(name, id).await?;
        let Received { meter, end } = self.receive_chunk(id, &session.record, request).await?;
        let last =
            Some(PartId { upload: id, nonce: self.ambient.nonce }).filter(|_| meter.count() > session.record.offset());
        if end == BodyEnd::Cut {
            // The client meant to end the upload and may do so again: nothing has happened.
            self.erase(last.map(Object::Part)).await;
            return Err(Error::Size("the body ended early"));
        }
        let mut parts = self.parts(id).await?;
        parts.extend(last);
        let error = mismatch(&meter, &digest);
        let upload = Upload { parts, last, meter, session: Some((id, session)) };
        match error {
            Some(error) => Err(self.abandon(name, &upload, error).await?),
            None => self.publish(name, &digest, upload).await,
        }
    }

    /// `DELETE` of a session (OCI end-14; SPEC I1).
    pub(crate) async fn cancel_upload(&self, name: &Repository, id: Uuid) -> Result<Response, Error> {
        for _ in 0..ATTEMPTS {
            let session = self.session(name, id).await?;
            let parts = self.parts(id).await?;
            if self.end_session(&session, &parts).await? {
                return Ok(Response::new(204).with("Docker-Upload-UUID", id.to_string()));
            }
        }
        Err(Error::Contention)
    }

    /// Makes the bytes a blob of the repository.
    ///
    /// The order: the content is at rest before the record that points to it, and the parts go only after the
    /// session that names them. A crash after `Assemble` leaves a content that no record names, one after the
    /// commit leaves parts that no record names; the sweep takes both.
    async fn publish(&self, name: &Repository, digest: &Digest, upload: Upload) -> Result<Response, Error> {
        let content = ContentId { digest: *digest, nonce: self.ambient.nonce };
        let mut assembled = false;
        if upload.meter.algorithm() != digest.algorithm() {
            // Nobody told that it would be this algorithm: read the bytes again (SPEC E4, B7).
            self.assemble(name, &upload, content).await?;
            assembled = true;
            let measured = self.io.ask(Measure { content, meter: Meter::new(digest.algorithm()) }).await;
            let gone = || crate::Fault::Failed(format!("{content} is gone at once"));
            let measured = match measured.and_then(|measured| measured.ok_or_else(gone)) {
                Ok(measured) => measured,
                Err(fault) => return Err(self.without(&upload, content, fault.into()).await),
            };
            if let Some(error) = mismatch(&measured, digest) {
                self.erase([Object::Content(content)]).await;
                return Err(self.abandon(name, &upload, error).await?);
            }
        }
        let blob_key = keys::blob(digest);
        if let Err(denied) = self.check_quota(name, Some(keys::link(name, digest)), upload.meter.count()).await {
            let content = Some(Object::Content(content)).filter(|_| assembled);
            self.erase(content).await;
            return Err(self.abandon(name, &upload, denied).await?);
        }
        for _ in 0..ATTEMPTS {
            let [blob, repository] = self.get([blob_key.clone(), keys::repository(name)]).await?;
            let mut batch = Batch::default();
            match &blob {
                // Somebody pushed the same bytes before: this push shares them (SPEC H9).
                Some(value) => batch.expect(Expect::Exactly(blob_key.clone(), value.clone())),
                None => {
                    if !assembled {
                        self.assemble(name, &upload, content).await?;
                        assembled = true;
                    }
                    batch.expect(Expect::Absent(blob_key.clone()));
                    batch.put(blob_key.clone(), &BlobRecord { size: upload.meter.count(), content: content.nonce });
                }
            }
            self.link(&mut batch, name, digest);
            batch.keep_repository(name, repository.as_ref(), &self.ambient);
            if let Some((_, session)) = &upload.session {
                batch.expect(session.unchanged());
                forget(&mut batch, session, &upload.parts);
            }
            let committed = self.commit(batch, Durability::Durable).await?;
            let unused = Some(Object::Content(content)).filter(|_| assembled && blob.is_some());
            if committed == Committed::Done {
                self.erase(unused.into_iter().chain(upload.parts.iter().copied().map(Object::Part))).await;
                return Ok(self.created(name, digest));
            }
            if let Some((id, session)) = &upload.session {
                let [now] = self.get([session.key.clone()]).await?;
                if now.as_ref() != Some(&session.value) {
                    // The session went on or ended without this request: what it brought goes, nothing else.
                    let content = Some(Object::Content(content)).filter(|_| assembled);
                    self.erase(content.into_iter().chain(upload.last.map(Object::Part))).await;
                    return Err(self.out_of_place(name, *id).await);
                }
            }
        }
        Err(Error::Contention)
    }

    /// Makes the content out of the parts. Whoever ends the session meanwhile erases them: then the session is
    /// gone, and nothing is wrong with the storage.
    async fn assemble(&self, name: &Repository, upload: &Upload, content: ContentId) -> Result<(), Error> {
        let Err(fault) = self.io.ask(Assemble { parts: upload.parts.clone(), content }).await else { return Ok(()) };
        let mut error = Error::from(fault);
        if let Some((id, session)) = &upload.session {
            let [now] = self.get([session.key.clone()]).await?;
            if now.as_ref() != Some(&session.value) {
                error = self.out_of_place(name, *id).await;
            }
        }
        Err(self.without(upload, content, error).await)
    }

    /// Erases what this request alone has made, before any commit could name it. The session stays as it was, and
    /// the client can finish it again.
    async fn without(&self, upload: &Upload, content: ContentId, error: Error) -> Error {
        self.erase([Object::Content(content)].into_iter().chain(upload.last.map(Object::Part))).await;
        error
    }

    /// Gives up an upload whose bytes are wrong (SPEC H3), and says what to answer: that, unless its session went
    /// on or ended meanwhile, so that its bytes are others. Then only what came with this request goes.
    async fn abandon(&self, name: &Repository, upload: &Upload, wrong: Error) -> Result<Error, Error> {
        let Some((id, session)) = &upload.session else {
            self.erase(upload.parts.iter().copied().map(Object::Part)).await;
            return Ok(wrong);
        };
        if self.end_session(session, &upload.parts).await? {
            return Ok(wrong);
        }
        self.erase(upload.last.map(Object::Part)).await;
        Ok(self.out_of_place(name, *id).await)
    }

    /// The repository holds the blob, from now on or once more.
    fn link(&self, batch: &mut Batch, name: &Repository, digest: &Digest) {
        let Ambient { now, nonce } = self.ambient;
        batch.put(keys::link(name, digest), &LinkRecord { linked: now, by: nonce });
        batch.mark(keys::holder(digest, name));
    }

    /// The session of that id in that repository (SPEC F10, F11).
    async fn session(&self, name: &Repository, id: Uuid) -> Result<Session, Error> {
        let session: Option<Session> = self.find(keys::upload(&id)).await?;
        session.filter(|session| session.record.repository == *name).ok_or(Error::UploadUnknown)
    }

    /// The parts of a session, in the order of their bytes. What a chunk adds meanwhile changes the session's
    /// record, so whoever expects that unchanged has them all.
    pub(super) async fn parts(&self, id: Uuid) -> Result<Vec<PartId>, Error> {
        let prefix = keys::parts(&id);
        let mut parts = Vec::new();
        for (key, value) in self.scan_all(&prefix).await? {
            let PartRecord { offset } = decode(&key, &value)?;
            let nonce =
                prefix.rest(&key).parse().map_err(|_| crate::Fault::Failed(format!("the key {key:?} is damaged")))?;
            parts.push((offset, PartId { upload: id, nonce }));
        }
        parts.sort();
        Ok(parts.into_iter().map(|(_, part)| part).collect())
    }

    /// Ends a session if it is still as it was read, and frees its bytes. `false` when it is not.
    pub(super) async fn end_session(&self, session: &Session, parts: &[PartId]) -> Result<bool, Error> {
        let mut batch = Batch::default();
        batch.expect(session.unchanged());
        forget(&mut batch, session, parts);
        if self.commit(batch, Durability::Durable).await? == Committed::Conflict {
            return Ok(false);
        }
        self.erase(parts.iter().copied().map(Object::Part)).await;
        Ok(true)
    }

    /// Receives the body as the next bytes of the session, held against what the request announced: a body that
    /// is refused here has left nothing behind (SPEC F2–F6, H5).
    async fn receive_chunk(&self, id: Uuid, session: &UploadRecord, request: &Request) -> Result<Received, Error> {
        let offset = session.offset();
        let announced = match request.headers.get("content-range").map(range::chunk) {
            None => None,
            Some(Some((start, length))) if start == offset => Some(length),
            // SPEC F4: what cannot be read is in no place either.
            Some(_) => return Err(Error::ChunkOutOfPlace(standing(416, id, session).into())),
        };
        if let (Some(announced), Some(length)) = (announced, request.length)
            && announced != length
        {
            return Err(Error::Size("Content-Range and Content-Length do not agree"));
        }
        if session.parts >= UPLOAD_PARTS && request.length != Some(0) {
            return Err(Error::TooManyChunks);
        }
        let room = self.blob_limit().saturating_sub(offset);
        if announced.or(request.length).is_some_and(|length| length > room) {
            return Err(Error::BlobTooLarge(self.blob_limit()));
        }
        let meter = session
            .meter
            .resume()
            .ok_or_else(|| crate::Fault::Failed(format!("the hash of upload {id} is damaged")))?;
        if request.length == Some(0) {
            return Ok(Received { meter, end: BodyEnd::Whole });
        }
        let part = PartId { upload: id, nonce: self.ambient.nonce };
        let limit = offset.saturating_add(announced.unwrap_or(room));
        let received = self.receive(part, meter.with_limit(limit)).await?;
        let length = received.meter.count() - offset;
        let refused = match (received.end, announced) {
            (BodyEnd::TooLarge, Some(_)) => Error::Size("the body is longer than Content-Range says"),
            (BodyEnd::TooLarge, None) => Error::BlobTooLarge(self.blob_limit()),
            (BodyEnd::Whole, Some(announced)) if announced != length => {
                Error::Size("the body is shorter than Content-Range says")
            }
            (BodyEnd::Whole | BodyEnd::Cut, _) => return Ok(received),
        };
        self.erase((length > 0).then_some(Object::Part(part))).await;
        Err(refused)
    }

    /// Receives the body into a part. After a fault nothing is known of the part but that no record names it.
    async fn receive(&self, part: PartId, meter: Meter) -> Result<Received, Error> {
        let received = self.io.ask(Receive { part, meter }).await;
        if received.is_err() {
            self.erase([Object::Part(part)]).await;
        }
        Ok(received?)
    }

    /// The error for a chunk that came too late: where the session stands now, if it still does.
    async fn out_of_place(&self, name: &Repository, id: Uuid) -> Error {
        match self.session(name, id).await {
            Ok(session) => Error::ChunkOutOfPlace(standing(416, id, &session.record).into()),
            Err(error) => error,
        }
    }

    /// The answer to a blob that is now here (SPEC H1, H2).
    fn created(&self, name: &Repository, digest: &Digest) -> Response {
        Response::new(201)
            .with("Location", blob_location(name, digest))
            .with("Docker-Content-Digest", digest.to_string())
            .with("Content-Length", "0")
    }
}

/// Where a mount may take a blob from.
enum Source {
    Repository(Repository),
    /// No `from` was given (SPEC E12).
    Anywhere,
}

/// Takes a session and its parts out of the records.
fn forget(batch: &mut Batch, session: &Session, parts: &[PartId]) {
    batch.delete(session.key.clone());
    parts.iter().for_each(|part| batch.delete(keys::part(part)));
}

/// The error when the bytes have another digest than the client said; none when only reading them again can tell.
fn mismatch(meter: &Meter, expected: &Digest) -> Option<Error> {
    let comparable = meter.algorithm() == expected.algorithm();
    let actual = meter.digest();
    (comparable && actual != *expected).then_some(Error::DigestMismatch { expected: *expected, actual })
}

/// Where a session stands (SPEC E1, E2, F1, G1). `Range` has no unit, and is `0-0` for an empty session as
/// well: Docker's client reads both numbers and wants the second no smaller than the first (SPEC F13, G2).
fn standing(status: u16, id: Uuid, session: &UploadRecord) -> Response {
    Response::new(status)
        .with("Location", format!("/v2/{}/blobs/uploads/{id}", session.repository))
        .with("Range", format!("0-{}", session.offset().saturating_sub(1)))
        .with("Docker-Upload-UUID", id.to_string())
}
