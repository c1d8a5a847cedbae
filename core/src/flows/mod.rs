//! Flows: every operation of the registry as one straight-line `async fn` over effects.
//!
//! The order of the effects is the design. An object is at rest before a record names it; the record is gone before
//! the object is erased, at once or, where records may be restored, [later](release). So a crash at any point leaves at
//! most objects that no record names, which garbage collection finds. Records change by conditional commits alone: read, decide, commit with what was read as the expectation, and
//! on a conflict read again.

mod activity;
#[cfg(feature = "api")]
mod api_token;
mod base;
mod batch;
mod blob;
#[cfg(feature = "api")]
mod browse;
pub(crate) mod check;
pub(crate) mod contents;
pub(crate) mod damaged;
mod delete;
#[cfg(feature = "api")]
mod empty;
mod events;
mod finish;
pub(crate) mod gather;
pub(crate) mod gc;
pub(crate) mod import;
mod join;
pub(crate) mod lease;
mod listing;
mod maintained;
pub(crate) mod meta;
pub(crate) mod mirror;
mod mount;
mod pages;
#[cfg(feature = "api")]
mod places;
mod protect;
mod pull;
mod pulled;
pub(crate) mod purge;
mod push;
pub(crate) mod quarantine;
mod quota;
mod referrers;
mod release;
pub(crate) mod retention;
pub(crate) mod scrub;
#[cfg(feature = "api")]
mod sign_in;
pub(crate) mod transfer;
#[cfg(not(feature = "api"))]
mod unbrowsed;
pub(crate) mod undelete;
mod upload;
pub(crate) mod usage;

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::de::DeserializeOwned;
use uuid::Uuid;

use self::batch::Found;
use crate::ambient::Ambient;
use crate::asked::Asked;
use crate::caller::{Caller, Right};
use crate::config::{Config, ERASE_BATCH};
use crate::digest::Digest;
use crate::effect::{Effect, Erase, Get, Value};
use crate::error::Error;
use crate::http::{Request, Response};
use crate::keys::Key;
use crate::name::Repository;
use crate::object::ObjectId;
use crate::step::Io;

/// One call under way: what its flow asks with, and what surrounds it.
pub(crate) struct Call {
    pub(crate) io: Io,
    pub(crate) config: Arc<Config>,
    pub(crate) ambient: Ambient,
    pub(crate) caller: Arc<Caller>,
}

impl Call {
    /// Answers a request.
    pub(crate) async fn answer(&self, asked: &Asked) -> Result<Response, Error> {
        uncoded(&asked.request)?;
        let operation = asked.operation.as_ref().map_err(Clone::clone)?;
        self.may_write(operation)?;
        operation.answer(self, asked).await
    }

    /// The largest blob that the caller may push, in bytes.
    fn blob_limit(&self) -> u64 {
        self.config.blob_limit.min(self.caller.blob_limit)
    }

    /// Whether the caller may do this in the repository.
    fn may(&self, right: Right, name: &Repository) -> bool {
        self.caller.rights.may(right, name) && !(right == Right::Pull && self.is_excluded(name))
    }

    async fn ask<E: Effect>(&self, effect: E) -> Result<E::Outcome, Error> {
        Ok(self.io.ask(effect).await?)
    }

    /// Reads records in one snapshot.
    async fn get<const N: usize>(&self, keys: [Key; N]) -> Result<[Option<Value>; N], Error> {
        let values = self.ask(Get { keys: keys.into() }).await?;
        // A host answers one value a key; one that does not is as broken as one that answers nothing.
        values.try_into().map_err(|_| Error::Storage(crate::Fault::Failed("a Get without its answers".into())))
    }

    /// Reads one record.
    async fn find<T: DeserializeOwned>(&self, key: Key) -> Result<Option<Found<T>>, Error> {
        let [value] = self.get([key.clone()]).await?;
        Found::read(key, value)
    }

    /// Erases objects that no record names any more. What a fault leaves, garbage collection takes.
    async fn erase(&self, objects: Vec<ObjectId>) {
        erase(&self.io, objects).await;
    }

    /// Erases objects that no record names any more, once the call is answered.
    fn erase_later(&self, objects: impl IntoIterator<Item = ObjectId>) {
        let objects: Vec<ObjectId> = objects.into_iter().collect();
        if !objects.is_empty() {
            self.io.defer(move |io| async move { erase(&io, objects).await });
        }
    }

    /// The same call for the change that it makes as the `number`th, counted in `unit`s: with a nonce of its own, so that whoever
    /// has read what the one before has written notices that it was written again, though it says the same.
    fn renewed(&self, unit: u128, number: usize) -> Self {
        let more = unit.wrapping_mul(number as u128);
        let nonce = Uuid::from_u128(self.ambient.nonce.as_u128().wrapping_add(more));
        let call = self.detached()(self.io.clone());
        Self { ambient: Ambient { nonce, ..call.ambient }, ..call }
    }

    /// The same call with other questions, for what it [defers](Io::defer).
    fn detached(&self) -> impl FnOnce(Io) -> Self + Send + use<> {
        let (config, ambient, caller) = (self.config.clone(), self.ambient, self.caller.clone());
        move |io| Self { io, config, ambient, caller }
    }
}

/// What makes the nonces differ of the commits by which something is deleted or brought back. It does not touch the version and
/// the variant of a UUID.
const PIECE: u128 = 1 << 96;

/// Refuses a body with a content coding before it is sent: its digest would be that of other bytes (SPEC A16).
fn uncoded(request: &Request) -> Result<(), Error> {
    let coding = request.headers.get("content-encoding").unwrap_or("identity");
    let identity = coding.is_empty() || coding.eq_ignore_ascii_case("identity");
    if identity || request.length == Some(0) { Ok(()) } else { Err(Error::ContentCoding(coding.into())) }
}

async fn erase(io: &Io, objects: Vec<ObjectId>) {
    for batch in objects.chunks(ERASE_BATCH) {
        let _ = io.ask(Erase { objects: batch.to_vec() }).await;
    }
}

/// What only the storage can have done.
pub(crate) fn fault(error: Error) -> crate::Fault {
    match error {
        Error::Storage(fault) => fault,
        other => crate::Fault::Failed(alloc::format!("{other:?}")),
    }
}

/// Where a blob is to be had (SPEC E10, H1).
fn blob_location(name: &Repository, digest: &Digest) -> alloc::string::String {
    alloc::format!("/v2/{name}/blobs/{digest}")
}
