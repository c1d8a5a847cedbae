//! What quotas have left: sums that are old, soft limits that nothing exceeds any more, and marks of recounts that have
//! ended early.

use super::Collection;
use crate::config::SUM_LIFETIME;
use crate::digest::Digest;
use crate::effect::{Durability, Expect, Value};
use crate::error::Error;
use crate::flows::batch::Batch;
use crate::flows::pages::Pages;
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::record::{self, GroupRecord, RecountRecord};

impl Collection<'_> {
    /// Forgets sums that nobody relies on any more: their quota may be there no more.
    pub(super) async fn groups(&mut self) -> Result<(), Error> {
        let prefix = keys::groups();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let group = record::decode::<GroupRecord>(&key, &value).map_err(Error::from);
                let Some(group) = self.pass_by_damage(group)? else { continue };
                if self.older(SUM_LIFETIME, group.summed) {
                    self.forget(key, value).await?;
                }
            }
        }
        Ok(())
    }

    /// Removes the marks of recounts that no longer run.
    pub(super) async fn recounts(&mut self) -> Result<(), Error> {
        let prefix = keys::recounts();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let mark = record::decode::<RecountRecord>(&key, &value).map_err(Error::from);
                let Some(mark) = self.pass_by_damage(mark)? else { continue };
                if self.older(self.call.config.call_lifetime, mark.since) {
                    self.forget(key, value).await?;
                }
            }
        }
        Ok(())
    }

    /// Forgets that a soft limit was exceeded, where it is not any more: then it is told again when it is. (A quota that is
    /// unknown here may be known to another host of the storage, which has other settings already. It tells again.)
    pub(super) async fn overs(&mut self) -> Result<(), Error> {
        let prefix = keys::overs();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let Some((id, name)) = prefix.rest(&key).split_once('/') else { continue };
                if !self.is_over(id.parse().ok(), name.parse().ok()).await? {
                    self.forget(key, value).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether more than the soft limit of this quota is there: of the repository or, without one, of all together.
    async fn is_over(&self, id: Option<Digest>, name: Option<Repository>) -> Result<bool, Error> {
        let mut quotas = self.call.config.quotas.iter();
        let Some(quota) = quotas.find(|quota| Some(quota.id()) == id) else { return Ok(false) };
        let bytes = match &name {
            None => self.call.sum(quota).await?.0,
            Some(name) => {
                let [usage] = self.call.get([keys::usage(name)]).await?;
                record::count(usage.as_ref())
            }
        };
        Ok(bytes > quota.soft)
    }

    pub(super) async fn forget(&mut self, key: Key, value: Value) -> Result<(), Error> {
        if self.dry_run {
            return Ok(());
        }
        let mut batch = Batch::reclaiming();
        batch.expect(Expect::Exactly(key.clone(), value));
        batch.delete(key);
        self.call.commit(batch, Durability::Eventual).await.map(drop)
    }
}
