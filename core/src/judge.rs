//! What a commit comes to, given the records as they are: judged here once, for every host.

use alloc::string::String;
use alloc::vec::Vec;

use crate::effect::{Commit, Expect, Fault, Value};
use crate::keys::{self, Key, Prefix};
use crate::record;

/// The records at one moment, which lasts until the commit that is judged has been made.
pub trait Snapshot {
    /// The record under a key.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    fn value(&self, key: &Key) -> Result<Option<Value>, Fault>;

    /// Whether a key begins with the prefix.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    fn any_under(&self, prefix: &Prefix) -> Result<bool, Fault>;

    /// Whether there is a record under a key.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    fn has(&self, key: &Key) -> Result<bool, Fault> {
        Ok(self.value(key)?.is_some())
    }
}

impl Commit {
    /// Whether every expectation holds.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub fn holds(&self, records: &impl Snapshot) -> Result<bool, Fault> {
        for expectation in &self.expect {
            let holds = match expectation {
                Expect::Absent(key) => !records.has(key)?,
                Expect::Present(key) => records.has(key)?,
                Expect::Exactly(key, value) => records.value(key)?.as_ref() == Some(value),
                Expect::NoneUnder(prefix) => !records.any_under(prefix)?,
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What it puts in quarantine, if that is what it is for: a digest, of a manifest behind its repository and an `@`.
    pub fn damaged(&self) -> Option<String> {
        let name = self.put.iter().find_map(|(key, _)| keys::quarantined(key))?;
        // A copy of a registry has such records among others.
        let about = |expect: &Expect| matches!(expect, Expect::Exactly(key, _) if keys::holds_bytes_of(key, name));
        self.expect.iter().any(about).then(|| name.into())
    }

    /// The changes, in the order in which they are to be made: each a key and its new value, or none to remove it.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub fn changes(&self, records: &impl Snapshot) -> Result<Vec<(Key, Option<Value>)>, Fault> {
        let mut changes = Vec::with_capacity(self.delete.len() + self.put.len() + self.add.len());
        changes.extend(self.delete.iter().map(|key| (key.clone(), None)));
        changes.extend(self.put.iter().map(|(key, value)| (key.clone(), Some(value.clone()))));
        for (key, more) in &self.add {
            changes.push((key.clone(), record::added(records.value(key)?.as_ref(), *more)));
        }
        Ok(changes)
    }
}
