//! What a host keeps for itself among the records: no flow of the core reads or changes it.

use bytes::Bytes;
use orlop_core::Fault;
use orlop_core::effect::{Commit, Durability, Get};
use orlop_core::keys::Key;

use crate::storage::run::Host;

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
}
