//! Uploads: sessions and their chunks (OCI end-4a, end-5, end-13, end-14; SPEC E–G, I).
//!
//! A session is one record and the objects it has received. Each chunk is received into an object of its own, then won
//! or lost by one commit that expects the session as it was before: every offset goes to exactly one chunk, and a
//! chunk that lost has changed nothing. The hash over all bytes so far lies in the record, so no byte is read twice.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use uuid::Uuid;

use super::Call;
use super::batch::{Batch, Found};
use super::pages::Pages;
use crate::config::{ATTEMPTS, UPLOAD_CHUNKS};
use crate::digest::{Algorithm, Digest, DigestError};
use crate::effect::{BodyEnd, Committed, Durability, Receive, Received, Value};
use crate::error::Error;
use crate::http::{Request, Response};
use crate::keys;
use crate::meter::Meter;
use crate::name::Repository;
use crate::object::ObjectId;
use crate::range;
use crate::record::{Extent, Owner, UploadRecord, decode};
use crate::target::Query;

/// An upload session as it was read.
pub(super) type Session = Found<UploadRecord>;

/// Bytes that came with this request: no record names them yet.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) extent: Extent,
    /// The bytes, when they are to be a record.
    bytes: Option<Value>,
}

impl Chunk {
    /// Bytes of that extent, which a host has given back when they are to be a record.
    pub(super) fn new(extent: Extent, bytes: Option<Value>) -> Self {
        Self { extent, bytes }
    }

    /// Puts the record that says what the object belongs to, or the bytes themselves.
    pub(super) fn put(&self, batch: &mut Batch, owner: &Owner) {
        match &self.bytes {
            Some(bytes) => batch.put.push((keys::bytes(&self.extent.object), bytes.clone())),
            None => batch.put(keys::object(&self.extent.object), owner),
        }
    }

    /// The bytes, when they are to be a record.
    pub(super) fn bytes(&self) -> Option<&Value> {
        self.bytes.as_ref()
    }
}

/// What came of the body of a request.
pub(super) struct Body {
    /// The meter after it.
    pub(super) meter: Meter,
    /// Whether it broke off.
    pub(super) cut: bool,
    /// Its bytes, if there were any.
    pub(super) chunk: Option<Chunk>,
    /// When it ended.
    pub(super) at: crate::Timestamp,
}

impl Call {
    /// `POST`: a new session.
    pub(crate) async fn start_upload(&self, name: &Repository, query: &Query) -> Result<Response, Error> {
        self.open_session(name, announced(query)?).await
    }

    /// Opens a session.
    pub(super) async fn open_session(&self, name: &Repository, algorithm: Algorithm) -> Result<Response, Error> {
        // A client should not have to send what is refused in the end.
        self.check_quota(name, None, 1, 0).await?;
        let (id, now) = (self.ambient.nonce, self.ambient.now);
        let meter = Meter::new(algorithm).save();
        let session = UploadRecord { repository: name.clone(), meter, started: now, touched: now, chunks: 0 };
        let mut batch = Batch::default();
        batch.put(keys::upload(&id), &session);
        // A crash may lose the session: nothing has been sent to it yet, and the client begins again.
        self.commit(batch, Durability::Eventual).await?;
        Ok(standing(202, id, &session))
    }

    /// `GET` and `HEAD` of a session: how far it is (SPEC G).
    pub(crate) async fn upload_status(&self, name: &Repository, id: Uuid) -> Result<Response, Error> {
        let session = self.session(name, id).await?;
        Ok(standing(204, id, &session.record))
    }

    /// `PATCH`: the next chunk, with `Content-Range` or, streamed, without (SPEC F).
    pub(crate) async fn upload_chunk(&self, name: &Repository, id: Uuid, request: &Request) -> Result<Response, Error> {
        let mut session = self.session(name, id).await?;
        let Body { meter, cut, chunk, at } = self.receive_chunk(id, &mut session, request, None).await?;
        // SPEC F14: what came before the connection broke is kept, and the status tells how much it is.
        let answer = |record| match cut {
            true => Err(Error::Size("the body ended early; what came of it is kept")),
            false => Ok(standing(202, id, record)),
        };
        // SPEC F13: nothing came, nothing changes.
        let Some(chunk) = chunk else { return answer(&session.record) };
        let UploadRecord { repository, started, chunks, .. } = session.record.clone();
        let record = UploadRecord { repository, meter: meter.save(), started, touched: at, chunks: chunks + 1 };
        let mut batch = Batch::default();
        batch.expect(session.unchanged());
        batch.put(keys::upload(&id), &record);
        batch.put(keys::chunk(&id, session.record.offset()), &chunk.extent);
        chunk.put(&mut batch, &Owner::Upload(id));
        batch.add_usage(name, chunk.extent.size);
        match self.commit(batch, Durability::Durable).await? {
            Committed::Done => answer(&record),
            Committed::Conflict => {
                // Another chunk won this offset, or the session ended: this one has changed nothing (SPEC F2).
                self.discard(Some(&chunk));
                Err(self.out_of_place(name, id).await)
            }
        }
    }

    /// `DELETE` of a session (OCI end-14; SPEC I1).
    pub(crate) async fn cancel_upload(&self, name: &Repository, id: Uuid) -> Result<Response, Error> {
        for _ in 0..ATTEMPTS {
            let session = self.session(name, id).await?;
            let extents = self.extents(id, &session).await?;
            if let Some(left) = self.end_session(id, &session, &extents, self.ambient.now).await? {
                self.erase_later(left);
                return Ok(Response::new(204).with("Docker-Upload-UUID", id.to_string()));
            }
        }
        Err(Error::Contention)
    }

    /// The session of that id in that repository (SPEC F10, F11).
    pub(super) async fn session(&self, name: &Repository, id: Uuid) -> Result<Session, Error> {
        let session: Option<Session> = self.find(keys::upload(&id)).await?;
        session.filter(|session| session.record.repository == *name).ok_or(Error::UploadUnknown)
    }

    /// What a session has received, in order. A chunk that is added meanwhile changes the session's record, so whoever
    /// expects that unchanged has all of them.
    pub(super) async fn extents(&self, id: Uuid, session: &Session) -> Result<Vec<Extent>, Error> {
        let prefix = keys::chunks(&id);
        let mut pages = Pages::new(&prefix);
        let mut extents = Vec::new();
        while extents.len() < session.record.chunks as usize {
            let Some(page) = pages.next(self).await? else { break };
            let read = page.iter().map(|(key, value)| decode(key, value));
            extents.extend(read.collect::<Result<Vec<Extent>, _>>()?);
        }
        Ok(extents)
    }

    /// Ends a session, at this time, if it is still as it was read: then the objects that are to be erased now.
    pub(super) async fn end_session(
        &self,
        id: Uuid,
        session: &Session,
        extents: &[Extent],
        at: crate::Timestamp,
    ) -> Result<Option<Vec<ObjectId>>, Error> {
        let mut batch = Batch::reclaiming();
        forget_session(&mut batch, id, session, extents);
        let left = self.let_go(&mut batch, extents, at);
        let committed = self.commit(batch, Durability::Durable).await?;
        Ok((committed == Committed::Done).then_some(left))
    }

    /// Receives the body as the next bytes of the session, held against what the request announced: a body that
    /// is refused here has left nothing behind (SPEC F2–F6, H5). While it comes, the session is kept from expiring: then
    /// its record becomes another. `blob` is what the session is to become, where that is known.
    pub(super) async fn receive_chunk(
        &self,
        id: Uuid,
        session: &mut Session,
        request: &Request,
        blob: Option<&Digest>,
    ) -> Result<Body, Error> {
        let offset = session.record.offset();
        let announced = match request.headers.get("content-range").map(range::chunk) {
            None => None,
            Some(Some((start, length))) if start == offset => Some(length),
            // SPEC F4: what cannot be read is in no place either.
            Some(_) => return Err(Error::ChunkOutOfPlace(standing(416, id, &session.record).into())),
        };
        if let (Some(announced), Some(length)) = (announced, request.length)
            && announced != length
        {
            return Err(Error::Size("Content-Range and Content-Length do not agree"));
        }
        if session.record.chunks >= UPLOAD_CHUNKS && request.length != Some(0) {
            return Err(Error::TooManyChunks);
        }
        let limit = self.blob_limit();
        let room = limit.saturating_sub(offset);
        if announced.or(request.length).is_some_and(|length| length > room) {
            return Err(Error::BlobTooLarge(limit));
        }
        let meter = self.meter(id, session).await?;
        if request.length == Some(0) {
            return Ok(Body { meter, cut: false, chunk: None, at: self.ambient.now });
        }
        let name = session.record.repository.clone();
        let allowance = self.check_quota(&name, blob, announced.or(request.length).unwrap_or(1), 0).await?;
        // A body whose length nobody has said ends where the quota does.
        let most = announced.unwrap_or(room.min(allowance.bytes()));
        let meter = meter.with_limit(offset.saturating_add(most));
        let (received, body) = self.receive(meter, Some((id, session))).await?;
        let length = body.meter.count() - offset;
        let refused = match (received, announced) {
            (BodyEnd::TooLarge, Some(_)) => Error::Size("the body is longer than Content-Range says"),
            (BodyEnd::TooLarge, None) if most < room => allowance.overrun(&name),
            (BodyEnd::TooLarge, None) => Error::BlobTooLarge(limit),
            (BodyEnd::Whole, Some(announced)) if announced != length => {
                Error::Size("the body is shorter than Content-Range says")
            }
            (BodyEnd::Whole | BodyEnd::Cut | BodyEnd::Later, _) => return Ok(body),
        };
        self.discard(body.chunk.as_ref());
        Err(refused)
    }

    /// The count and hash over all bytes of a session.
    async fn meter(&self, id: Uuid, session: &Session) -> Result<Meter, Error> {
        let UploadRecord { meter, repository, .. } = &session.record;
        if let Some(meter) = meter.resume() {
            return Ok(meter);
        }
        // A version with another library for hashes has saved it: the bytes are read again, once for the next chunk.
        let damaged = || crate::Fault::Failed(format!("the hash of upload {id} is damaged"));
        let algorithm = meter.algorithm().ok_or_else(damaged)?;
        let extents = self.extents(id, session).await?;
        match self.measure(&extents, None, algorithm).await? {
            Some(measured) if measured.count() == session.record.offset() => Ok(measured),
            // Bytes are gone: because another call has ended the session, or the storage has lost them.
            _ => match self.get([session.key.clone()]).await? {
                [now] if now.as_ref() == Some(&session.value) => Err(damaged().into()),
                _ => Err(self.out_of_place(repository, id).await),
            },
        }
    }

    /// Receives the body, for a session if there is one, and says how it ended. After a fault nothing is known of the
    /// object but that no record names it.
    pub(super) async fn receive(
        &self,
        mut meter: Meter,
        mut session: Option<(Uuid, &mut Session)>,
    ) -> Result<(BodyEnd, Body), Error> {
        let before = meter.count();
        let object = ObjectId::received_by(self.ambient.nonce);
        let mut at = self.ambient.now;
        let pause = match session {
            Some(_) => self.config.upload_lifetime / 4,
            None => core::time::Duration::MAX,
        };
        // Only the first bytes of a blob can be a record.
        let mut keep = if before == 0 { self.config.small_object } else { 0 };
        loop {
            let Received { meter: after, end, kept, took } =
                match self.io.ask(Receive { object, meter, keep, pause }).await {
                    Ok(received) => received,
                    Err(fault) => {
                        self.erase_later([object]);
                        return Err(fault.into());
                    }
                };
            at = at.after(took);
            if end == BodyEnd::Later {
                if let Some((id, session)) = &mut session
                    && let Err(error) = self.touch(*id, session, at).await
                {
                    self.erase_later([object]);
                    return Err(error);
                }
                (meter, keep) = (after, 0);
                continue;
            }
            let size = after.count() - before;
            let extent = Extent { object, size, small: kept.is_some() };
            let chunk = (size > 0).then(|| Chunk::new(extent, kept));
            return Ok((end, Body { meter: after, cut: end == BodyEnd::Cut, chunk, at }));
        }
    }

    /// Keeps a session that receives from expiring.
    async fn touch(&self, id: Uuid, session: &mut Session, at: crate::Timestamp) -> Result<(), Error> {
        let record = UploadRecord { touched: at, ..session.record.clone() };
        let mut batch = Batch::default();
        batch.expect(session.unchanged());
        batch.put(session.key.clone(), &record);
        // A crash ends the request as well.
        match self.commit(batch, Durability::Eventual).await? {
            Committed::Done => {
                *session = Found::written(session.key.clone(), record);
                Ok(())
            }
            // Another chunk won this offset meanwhile, or the session ended.
            Committed::Conflict => Err(self.out_of_place(&session.record.repository, id).await),
        }
    }

    /// Erases what came with this request.
    pub(super) fn discard(&self, chunk: Option<&Chunk>) {
        self.erase_later(chunk.into_iter().flat_map(|chunk| objects([&chunk.extent])));
    }

    /// The error for a chunk that came too late: where the session stands now, if it still does.
    pub(super) async fn out_of_place(&self, name: &Repository, id: Uuid) -> Error {
        match self.session(name, id).await {
            Ok(session) => Error::ChunkOutOfPlace(standing(416, id, &session.record).into()),
            Err(error) => error,
        }
    }
}

/// What the client says that it will hash with (SPEC E4).
pub(super) fn announced(query: &Query) -> Result<Algorithm, DigestError> {
    query
        .get("digest-algorithm")
        .map_or(Ok(Algorithm::Sha256), |hint| Algorithm::named(hint).ok_or(DigestError::UnknownAlgorithm))
}

/// The objects among these pieces that are not records.
pub(super) fn objects<'e>(extents: impl IntoIterator<Item = &'e Extent>) -> Vec<ObjectId> {
    extents.into_iter().filter(|extent| !extent.small).map(|extent| extent.object).collect()
}

/// Takes a session out of the records, if it is still as it was read: not its objects.
pub(super) fn forget_session(batch: &mut Batch, id: Uuid, session: &Session, extents: &[Extent]) {
    batch.expect(session.unchanged());
    batch.delete(session.key.clone());
    batch.take_usage(&session.record.repository, session.record.offset());
    let mut offset = 0;
    for extent in extents {
        batch.delete(keys::chunk(&id, offset));
        offset += extent.size;
    }
}

/// Where a session stands (SPEC E1, E2, F1, G1). `Range` has no unit, and is `0-0` for an empty session as
/// well: Docker's client reads both numbers and wants the second no smaller than the first (SPEC F13, G2).
pub(super) fn standing(status: u16, id: Uuid, session: &UploadRecord) -> Response {
    Response::new(status)
        .with("Location", format!("/v2/{}/blobs/uploads/{id}", session.repository))
        .with("Range", format!("0-{}", session.offset().saturating_sub(1)))
        .with("Docker-Upload-UUID", id.to_string())
}

/// The error when the bytes have another digest than the client said; none when only reading them again can tell.
pub(super) fn mismatch(meter: &Meter, expected: &Digest) -> Option<Error> {
    let comparable = meter.algorithm() == expected.algorithm();
    let actual = meter.digest();
    (comparable && actual != *expected).then_some(Error::DigestMismatch { expected: *expected, actual })
}
