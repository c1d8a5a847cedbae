//! An object while it is written: one PUT, or for a longer one a multipart upload of equal parts.

use std::mem;

use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Error, MultipartId, ObjectStoreExt, PutMode};
use orlop_core::Fault;
use orlop_core::object::ObjectId;
use tokio::task::JoinHandle;

use super::Objects;
use super::fault::fault;
use super::part::{Part, Payload};

/// How many bytes a part has, but for the last. Some stores want them equal.
const PART: usize = 8 << 20;

/// How many bytes a part has at most.
const LARGE_PART: usize = 32 << 20;

/// How many parts an upload has at most, in all stores.
const PARTS: usize = 10_000;

/// After how many parts of a body whose length is not known the others are large: those who send so much have a store
/// that takes parts that are not equal, or one object less.
const MANY_PARTS: usize = PARTS / 2;

/// An object that is being written. Dropped before it is [sealed](Self::seal), nothing of it stays.
///
/// It holds one part that comes in and one that is sent: a client that is faster than the store waits.
pub(in crate::storage) struct Sink {
    objects: Objects,
    object: ObjectId,
    path: Path,
    /// How many bytes are expected, if that is known.
    expected: Option<u64>,
    /// How many bytes have come.
    length: u64,
    coming: Part,
    upload: Option<Upload>,
}

/// A multipart upload.
struct Upload {
    id: MultipartId,
    parts: Vec<PartId>,
    sending: Option<JoinHandle<object_store::Result<PartId>>>,
}

impl Sink {
    pub(super) fn new(objects: Objects, object: &ObjectId, expected: Option<u64>) -> Self {
        let path = objects.layout.path(object);
        let coming = objects.spool.part();
        Self { objects, object: *object, path, expected, length: 0, coming, upload: None }
    }

    /// Takes a batch. It is in the store, but no object yet, once later ones have been taken.
    pub(in crate::storage) async fn append(&mut self, batch: Vec<Bytes>) -> Result<(), Fault> {
        for mut piece in batch {
            self.length += piece.len() as u64;
            while !piece.is_empty() {
                let size = part_size(self.upload.as_ref().map_or(0, Upload::begun), self.expected);
                if self.coming.length() >= size {
                    self.send().await?;
                    continue;
                }
                self.coming.append(piece.split_to(piece.len().min(size - self.coming.length()))).await?;
            }
        }
        Ok(())
    }

    /// Takes the last batch and makes all of it durable. Without bytes there is no object.
    pub(in crate::storage) async fn seal(mut self, last: Vec<Bytes>) -> Result<(), Fault> {
        self.append(last).await?;
        if self.upload.is_none() {
            return if self.coming.length() == 0 { Ok(()) } else { self.put().await };
        }
        self.send().await?;
        self.sent().await?;
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let (id, parts) = (upload.id.clone(), mem::take(&mut upload.parts));
        match self.objects.store.complete_multipart(&self.path, &id, parts).await {
            Ok(_) => {}
            // Stores say different things of an upload that has ended by a request whose answer was lost.
            Err(error) if !self.is_written().await? => return Err(fault("end the upload of", &self.path, &error)),
            Err(_) => {}
        }
        self.upload = None;
        // The record of an upload that has ended says nothing wrong: whoever follows it finds none.
        self.objects.forget_upload(&self.object).await;
        Ok(())
    }

    /// All of it in one request.
    async fn put(&mut self) -> Result<(), Fault> {
        let Payload { bytes, memory: _memory } = self.take().await?;
        match self.objects.store.put_opts(&self.path, bytes, PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. }) if self.is_written().await? => Ok(()),
            Err(Error::AlreadyExists { .. }) => {
                Err(Fault::Failed(format!("{} was there already, with other bytes", self.path)))
            }
            Err(error) => Err(fault("write", &self.path, &error)),
        }
    }

    /// Whether the object is there, whole. No other call writes under this name, so it was this one, in a request whose
    /// answer was lost.
    async fn is_written(&self) -> Result<bool, Fault> {
        match self.objects.store.head(&self.path).await {
            Ok(found) => Ok(found.size == self.length),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(fault("look at", &self.path, &error)),
        }
    }

    /// The part that has come. Another one begins.
    async fn take(&mut self) -> Result<Payload, Fault> {
        mem::replace(&mut self.coming, self.objects.spool.part()).into_payload().await
    }

    /// Begins to send the part that has come, once the one before is sent.
    async fn send(&mut self) -> Result<(), Fault> {
        if self.coming.length() == 0 {
            return Ok(());
        }
        if self.upload.is_none() {
            let id = self.objects.begin_upload(&self.object, &self.path).await?;
            self.upload = Some(Upload { id, parts: Vec::new(), sending: None });
        }
        self.sent().await?;
        let Payload { bytes, memory } = self.take().await?;
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let place = upload.parts.len();
        if place >= PARTS {
            return Err(Fault::Full(format!(
                "{} has more than {PARTS} parts, and the store takes no more: push the blob in several chunks",
                self.path
            )));
        }
        let (store, path, id) = (self.objects.store.clone(), self.path.clone(), upload.id.clone());
        upload.sending = Some(tokio::spawn(async move {
            let sent = store.put_part(&path, &id, place, bytes).await;
            drop(memory);
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

impl Upload {
    /// How many parts are sent or being sent.
    fn begun(&self) -> usize {
        self.parts.len() + usize::from(self.sending.is_some())
    }
}

/// How many bytes a part has that stands at `place`, of a body of which so many bytes are `expected`: as few as make at
/// most [`PARTS`] of them.
fn part_size(place: usize, expected: Option<u64>) -> usize {
    match expected {
        None if place < MANY_PARTS => PART,
        None => LARGE_PART,
        Some(expected) => {
            let least = usize::try_from(expected.div_ceil(PARTS as u64)).unwrap_or(usize::MAX);
            least.next_multiple_of(1 << 20).clamp(PART, LARGE_PART)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_large_as_the_number_of_them_wants() {
        const GIB: u64 = 1 << 30;
        for (expected, size) in [(1, 8), (70 * GIB, 8), (80 * GIB, 9), (200 * GIB, 21), (10_000 * GIB, 32)] {
            assert_eq!(part_size(0, Some(expected)), size << 20, "{expected}");
        }
        assert_eq!([0, 4999, 5000, 9999].map(|place| part_size(place, None) >> 20), [8, 8, 32, 32]);
    }
}
