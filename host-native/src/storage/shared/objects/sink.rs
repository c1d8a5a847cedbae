//! An object while it is written: one PUT, or for a longer one a multipart upload of equal parts.

use std::mem;

use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, ObjectStoreExt, PutMode, PutPayload};
use orlop_core::Fault;
use orlop_core::object::ObjectId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::Objects;
use super::fault::fault;

/// How many bytes a part has, but for the last: some stores want them equal, and none takes more than 10,000.
pub(super) const PART: usize = 8 << 20;

/// How many parts an upload has at most, in all stores.
const PARTS: usize = 10_000;

/// An object that is being written. Dropped before it is [sealed](Self::seal), nothing of it stays.
///
/// It holds one part that comes in and one that is sent. What all of them hold together is bounded: who finds no room
/// waits, and so does its client.
pub(in crate::storage) struct Sink {
    objects: Objects,
    object: ObjectId,
    path: Path,
    /// What has come of the next part, and the room it takes.
    coming: Vec<Bytes>,
    length: usize,
    room: Option<OwnedSemaphorePermit>,
    upload: Option<Upload>,
}

/// A multipart upload.
struct Upload {
    id: MultipartId,
    parts: Vec<PartId>,
    sending: Option<JoinHandle<object_store::Result<PartId>>>,
}

impl Sink {
    pub(super) fn new(objects: Objects, object: &ObjectId) -> Self {
        let path = objects.layout.path(object);
        Self { objects, object: *object, path, coming: Vec::new(), length: 0, room: None, upload: None }
    }

    /// Takes a batch. It is in the store, but no object yet, once later ones have been taken.
    pub(in crate::storage) async fn append(&mut self, batch: Vec<Bytes>) -> Result<(), Fault> {
        for mut piece in batch {
            while !piece.is_empty() {
                if self.length == PART {
                    self.send().await?;
                }
                if self.room.is_none() {
                    self.room = self.objects.memory.clone().acquire_owned().await.ok();
                }
                let fits = piece.split_to(piece.len().min(PART - self.length));
                self.length += fits.len();
                self.coming.push(fits);
            }
        }
        Ok(())
    }

    /// Takes the last batch and makes all of it durable. Without bytes there is no object.
    pub(in crate::storage) async fn seal(mut self, last: Vec<Bytes>) -> Result<(), Fault> {
        self.append(last).await?;
        if self.upload.is_none() {
            return if self.length == 0 { Ok(()) } else { self.put().await };
        }
        self.send().await?;
        self.sent().await?;
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let (id, parts) = (upload.id.clone(), mem::take(&mut upload.parts));
        let store = &self.objects.store;
        store
            .complete_multipart(&self.path, &id, parts)
            .await
            .map_err(|error| fault("end the upload of", &self.path, &error))?;
        self.upload = None;
        // The record of an upload that has ended says nothing wrong: whoever follows it finds none.
        self.objects.forget_upload(&self.object).await;
        Ok(())
    }

    /// All of it in one request.
    async fn put(&mut self) -> Result<(), Fault> {
        let payload = PutPayload::from_iter(mem::take(&mut self.coming));
        let put = self.objects.store.put_opts(&self.path, payload, PutMode::Create.into()).await;
        match put {
            Ok(_) => Ok(()),
            // No other call writes under this name, so it was this one, in a request whose answer was lost.
            Err(object_store::Error::AlreadyExists { .. }) => {
                let found = self.objects.store.head(&self.path).await;
                let found = found.map_err(|error| fault("look at", &self.path, &error))?;
                if found.size == self.length as u64 {
                    return Ok(());
                }
                Err(Fault::Failed(format!("{} was there already, with other bytes", self.path)))
            }
            Err(error) => Err(fault("write", &self.path, &error)),
        }
    }

    /// Begins to send the part that has come, once the one before is sent.
    async fn send(&mut self) -> Result<(), Fault> {
        if self.length == 0 {
            return Ok(());
        }
        if self.upload.is_none() {
            let id = self.objects.begin_upload(&self.object, &self.path).await?;
            self.upload = Some(Upload { id, parts: Vec::new(), sending: None });
        }
        self.sent().await?;
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let place = upload.parts.len();
        if place >= PARTS {
            return Err(Fault::Failed(format!("{} has more than {PARTS} parts of {PART} bytes", self.path)));
        }
        let payload = PutPayload::from_iter(mem::take(&mut self.coming));
        self.length = 0;
        let (room, store, path, id) =
            (self.room.take(), self.objects.store.clone(), self.path.clone(), upload.id.clone());
        upload.sending = Some(tokio::spawn(async move {
            let sent = store.put_part(&path, &id, place, payload).await;
            drop(room);
            sent
        }));
        Ok(())
    }

    /// Waits for the part that is being sent.
    async fn sent(&mut self) -> Result<(), Fault> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let Some(sending) = &mut upload.sending else { return Ok(()) };
        let sent = sending.await.map_err(|error| Fault::Failed(format!("a part was not sent: {error}")))?;
        upload.sending = None;
        upload.parts.push(sent.map_err(|error| fault("write a part of", &self.path, &error))?);
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        if let Some(sending) = &upload.sending {
            sending.abort();
        }
        // If this does not come to its end, garbage collection finds the upload by its record.
        let (objects, object) = (self.objects.clone(), self.object);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { objects.abort_uploads(vec![(object, upload.id)]).await });
        }
    }
}
