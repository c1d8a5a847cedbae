//! Flows: every operation of the registry as one straight-line `async fn` over effects.
//!
//! The order of the effects is the design. Content is at rest before a record points to it; a record is gone
//! before its content is erased. So a crash at any point leaves at most bytes that no record names, which the
//! sweep finds. Records change by conditional commits alone: read, decide, commit with what was read as the
//! expectation, and on a conflict read again.

mod base;
mod blob;
mod delete;
mod events;
mod listing;
mod maintained;
mod pull;
mod push;
mod referrers;
pub(crate) mod sweep;
mod upload;
pub(crate) mod usage;

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ambient::Ambient;
use crate::asked::Asked;
use crate::caller::{Caller, Right};
use crate::config::{Config, SCAN_BYTES, SCAN_PAGE};
use crate::digest::Digest;
use crate::effect::{Commit, Committed, Durability, Effect, Erase, Expect, Get, Object, Scan, Value};
use crate::error::Error;
use crate::http::{Request, Response};
use crate::keys::{self, Key, Prefix};
use crate::name::Repository;
use crate::record::{self, RepositoryRecord};
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
        asked.operation.as_ref().map_err(Clone::clone)?.answer(self, asked).await
    }

    /// The largest blob that the caller may push, in bytes.
    fn blob_limit(&self) -> u64 {
        self.config.blob_limit.min(self.caller.blob_limit)
    }

    /// Whether the caller may do this in the repository.
    fn may(&self, right: Right, name: &Repository) -> bool {
        self.caller.rights.may(right, name)
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

    /// The first entries under a prefix.
    async fn scan(&self, prefix: &Prefix, after: Option<Key>) -> Result<Vec<(Key, Value)>, Error> {
        self.ask(Scan { prefix: prefix.clone(), after, limit: SCAN_PAGE, bytes: SCAN_BYTES }).await
    }

    /// Every entry under a prefix. For what one session has: it is bounded.
    async fn scan_all(&self, prefix: &Prefix) -> Result<Vec<(Key, Value)>, Error> {
        let mut entries = Vec::new();
        loop {
            let page = self.scan(prefix, entries.last().map(|(key, _): &(Key, Value)| key.clone())).await?;
            if page.is_empty() {
                return Ok(entries);
            }
            entries.extend(page);
        }
    }

    /// The first key under a prefix.
    async fn first(&self, prefix: &Prefix) -> Result<Option<Key>, Error> {
        let page = self.ask(Scan { prefix: prefix.clone(), after: None, limit: 1, bytes: 0 }).await?;
        Ok(page.into_iter().next().map(|(key, _)| key))
    }

    /// Whether nothing is under a prefix. What is decided upon it must expect it again.
    async fn is_empty(&self, prefix: &Prefix) -> Result<bool, Error> {
        Ok(self.first(prefix).await?.is_none())
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Committed, Error> {
        let Batch { expect, put, delete } = batch;
        self.ask(Commit { expect, put, delete, durability }).await
    }

    /// Erases what no record names any more. What a fault leaves, the sweep takes.
    async fn erase(&self, objects: impl IntoIterator<Item = Object>) {
        for target in objects {
            let _ = self.io.ask(Erase { target }).await;
        }
    }
}

/// Refuses a body with a content coding before it is sent: its digest would be that of other bytes (SPEC A16).
fn uncoded(request: &Request) -> Result<(), Error> {
    let coding = request.headers.get("content-encoding").unwrap_or("identity");
    let identity = coding.is_empty() || coding.eq_ignore_ascii_case("identity");
    if identity || request.length == Some(0) { Ok(()) } else { Err(Error::ContentCoding(coding.into())) }
}

/// A record that was read, with the bytes that were: what a commit expects to find again.
#[derive(Clone, Debug)]
struct Found<T> {
    key: Key,
    value: Value,
    record: T,
}

impl<T: DeserializeOwned> Found<T> {
    fn read(key: Key, value: Option<Value>) -> Result<Option<Self>, Error> {
        match value {
            Some(value) => Ok(Some(Self { record: record::decode(&key, &value)?, key, value })),
            None => Ok(None),
        }
    }
}

impl<T> Found<T> {
    /// The record is still this one.
    fn unchanged(&self) -> Expect {
        Expect::Exactly(self.key.clone(), self.value.clone())
    }
}

/// A conditional change of records in the making.
#[derive(Clone, Debug, Default)]
struct Batch {
    expect: Vec<Expect>,
    put: Vec<(Key, Value)>,
    delete: Vec<Key>,
}

impl Batch {
    fn expect(&mut self, expectation: Expect) {
        self.expect.push(expectation);
    }

    /// Expects a key to hold what was read: that record, or none.
    fn expect_unchanged<T>(&mut self, key: Key, found: Option<&Found<T>>) {
        self.expect.push(found.map_or(Expect::Absent(key), Found::unchanged));
    }

    fn put<T: Serialize>(&mut self, key: Key, record: &T) {
        self.put.push((key, record::encode(record)));
    }

    /// Puts a record whose key says everything.
    fn mark(&mut self, key: Key) {
        self.put.push((key, Value::new()));
    }

    fn delete(&mut self, key: Key) {
        self.delete.push(key);
    }

    /// Lets the repository exist: as it was read, or from now on (SPEC E1).
    fn keep_repository(&mut self, name: &Repository, read: Option<&Value>, ambient: &Ambient) {
        let key = keys::repository(name);
        match read {
            Some(_) => self.expect(Expect::Present(key)),
            None => self.put(key, &RepositoryRecord { created: ambient.now }),
        }
    }
}

/// Where a blob is to be had (SPEC E10, H1).
fn blob_location(name: &Repository, digest: &Digest) -> alloc::string::String {
    alloc::format!("/v2/{name}/blobs/{digest}")
}
