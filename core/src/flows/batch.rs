//! The change of records that a flow makes with one commit.

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Call;
use crate::ambient::Ambient;
use crate::effect::{Commit, Committed, Durability, Expect, Value};
use crate::error::Error;
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::record::{self, RepositoryRecord};

/// A record that was read, with the bytes that were: what a commit expects to find again.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub(super) key: Key,
    pub(super) value: Value,
    pub(super) record: T,
}

impl<T: DeserializeOwned> Found<T> {
    pub(super) fn read(key: Key, value: Option<Value>) -> Result<Option<Self>, Error> {
        match value {
            Some(value) => Ok(Some(Self { record: record::decode(&key, &value)?, key, value })),
            None => Ok(None),
        }
    }
}

impl<T: Serialize> Found<T> {
    /// The record as it will be read once it is put under the key.
    pub(super) fn written(key: Key, record: T) -> Self {
        Self { key, value: record::encode(&record), record }
    }
}

impl<T> Found<T> {
    /// The record is still this one.
    pub(super) fn unchanged(&self) -> Expect {
        Expect::Exactly(self.key.clone(), self.value.clone())
    }
}

/// A conditional change of records in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) expect: Vec<Expect>,
    pub(super) put: Vec<(Key, Value)>,
    add: Vec<(Key, i64)>,
    pub(super) delete: Vec<Key>,
    /// It frees space, and is made on a full disk too.
    reclaims: bool,
}

impl Batch {
    /// A change that frees space, or is a step towards that.
    pub(super) fn reclaiming() -> Self {
        Self { reclaims: true, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.put.is_empty() && self.add.is_empty() && self.delete.is_empty()
    }

    pub(super) fn expect(&mut self, expectation: Expect) {
        self.expect.push(expectation);
    }

    /// Expects a key to hold what was read: that record, or none.
    pub(super) fn expect_unchanged<T>(&mut self, key: Key, found: Option<&Found<T>>) {
        self.expect.push(found.map_or(Expect::Absent(key), Found::unchanged));
    }

    /// Expects a record to be under the key, or none, as was read.
    pub(super) fn expect_presence(&mut self, key: Key, present: bool) {
        self.expect.push(if present { Expect::Present(key) } else { Expect::Absent(key) });
    }

    pub(super) fn put<T: Serialize>(&mut self, key: Key, record: &T) {
        self.put.push((key, record::encode(record)));
    }

    /// Puts a record whose key says everything.
    pub(super) fn mark(&mut self, key: Key) {
        self.put.push((key, Value::new()));
    }

    pub(super) fn delete(&mut self, key: Key) {
        self.delete.push(key);
    }

    /// Adds to a counter.
    pub(super) fn add(&mut self, counter: Key, more: i64) {
        if more == 0 {
            return;
        }
        match self.add.iter_mut().find(|(key, _)| *key == counter) {
            Some((_, sum)) => *sum = sum.saturating_add(more),
            None => self.add.push((counter, more)),
        }
    }

    /// The repository has this many bytes more.
    pub(super) fn add_usage(&mut self, name: &Repository, bytes: u64) {
        self.add(keys::usage(name), i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The repository has this many bytes less. Whoever [counts](super::usage) it meanwhile notices.
    pub(super) fn take_usage(&mut self, name: &Repository, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.add(keys::usage(name), -i64::try_from(bytes).unwrap_or(i64::MAX));
        self.move_usage(name);
    }

    /// Bytes of the repository are counted by other records from now on: whoever counts them meanwhile notices.
    pub(super) fn move_usage(&mut self, name: &Repository) {
        let mark = keys::recount(name);
        if !self.delete.contains(&mark) {
            self.delete.push(mark);
        }
    }

    /// Does besides what `other` does, if what that expects holds too.
    pub(super) fn merge(&mut self, other: Self) {
        self.expect.extend(other.expect);
        self.put.extend(other.put);
        self.delete.extend(other.delete);
        other.add.into_iter().for_each(|(counter, more)| self.add(counter, more));
        self.reclaims |= other.reclaims;
    }

    /// Puts its records in the order of their keys: a large batch then changes what lies side by side in a storage one after
    /// the other.
    pub(super) fn in_order(&mut self) {
        self.put.sort_by(|(one, _), (other, _)| one.cmp(other));
    }

    /// Lets the repository exist: as it was read, or from now on (SPEC E1).
    pub(super) fn keep_repository(&mut self, name: &Repository, read: Option<&Value>, ambient: &Ambient) {
        let key = keys::repository(name);
        match read {
            Some(_) => self.expect(Expect::Present(key)),
            None => self.put(key, &RepositoryRecord { created: ambient.now }),
        }
    }
}

impl Call {
    pub(super) async fn commit(&self, batch: Batch, durability: Durability) -> Result<Committed, Error> {
        let Batch { expect, put, mut add, delete, reclaims } = batch;
        add.retain(|(_, more)| *more != 0);
        self.ask(Commit { expect, put, add, delete, durability, reclaims }).await
    }
}
