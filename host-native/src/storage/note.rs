//! What a host keeps for itself among the records: no flow of the core reads or changes it.

use bytes::Bytes;
use orlop_core::Fault;
use orlop_core::effect::{Commit, Committed, Durability, Expect, Get, Scan};
use orlop_core::keys::{Key, Prefix};

use crate::storage::run::Host;

/// How many notes are read at once, and how many bytes of them.
const PAGE: usize = 100;
const PAGE_BYTES: usize = 1 << 20;

impl Host {
    /// What was noted under that name, if anything was.
    ///
    /// # Errors
    ///
    /// When the records cannot be read.
    pub(crate) async fn noted(&self, name: &str) -> Result<Option<Bytes>, Fault> {
        let found = self.storage().get(Get { keys: vec![Key::of_host(name)] }).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// Notes something under that name, in the place of what was there. A power cut may take it back; the end of the
    /// process does not.
    ///
    /// # Errors
    ///
    /// When the records cannot be written.
    pub(crate) async fn note(&self, name: &str, value: Bytes) -> Result<(), Fault> {
        let (put, durability) = (vec![(Key::of_host(name), value)], Durability::Eventual);
        let commit = Commit { expect: vec![], put, add: vec![], delete: vec![], durability, reclaims: true };
        self.storage().commit(commit).await.map(drop)
    }

    /// Notes something in the place of what was there, or takes it away, if that is still as it was read: whether it was.
    ///
    /// # Errors
    ///
    /// When the records cannot be written.
    pub(crate) async fn note_over(
        &self,
        name: &str,
        before: Option<Bytes>,
        value: Option<Bytes>,
    ) -> Result<bool, Fault> {
        let key = Key::of_host(name);
        let expect = vec![match before {
            Some(before) => Expect::Exactly(key.clone(), before),
            None => Expect::Absent(key.clone()),
        }];
        let (put, delete) = match value {
            Some(value) => (vec![(key, value)], vec![]),
            None => (vec![], vec![key]),
        };
        let commit = Commit { expect, put, add: vec![], delete, durability: Durability::Eventual, reclaims: true };
        Ok(self.storage().commit(commit).await? == Committed::Done)
    }

    /// What was noted under names that begin so, in their order, with what of the name stands behind that.
    ///
    /// # Errors
    ///
    /// When the records cannot be read.
    pub(crate) async fn notes(&self, begins: &str) -> Result<Vec<(String, Bytes)>, Fault> {
        let prefix = Prefix::of_host(begins);
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let scan = Scan { prefix: prefix.clone(), after: after.take(), limit: PAGE, bytes: PAGE_BYTES };
            let page = self.storage().scan(scan).await?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(last.clone());
            all.extend(page.into_iter().map(|(key, value)| (prefix.rest(&key).to_owned(), value)));
        }
    }
}
