//! Mounts: a blob of one repository linked into another (OCI end-11; SPEC E10–E15).

use super::Call;
use super::batch::Batch;
use crate::caller::Right;
use crate::config::ATTEMPTS;
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect};
use crate::error::Error;
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::record::{BlobRecord, decode};
use crate::target::Query;

/// Where a mount may take a blob from.
enum Source {
    Repository(Repository),
    /// No `from` was given (SPEC E12).
    Anywhere,
}

impl Call {
    /// Mounts what a `POST` asks for, and says which blob the repository holds now. `None` when it asks for none, or
    /// for one that cannot be mounted, whatever the reason: then it is an ordinary upload (SPEC E11, E13).
    pub(super) async fn mount(&self, name: &Repository, query: &Query) -> Result<Option<Digest>, Error> {
        let Some(Ok(digest)) = query.get("mount").map(str::parse) else { return Ok(None) };
        let from = match query.get("from").map(str::parse) {
            Some(Ok(from)) => Some(Source::Repository(from)),
            Some(Err(_)) => None,
            None => Some(Source::Anywhere).filter(|_| self.config.mount_from_anywhere),
        };
        let mounted = self.mount_from(name, &digest, from.as_ref()).await?;
        Ok(mounted.then_some(digest))
    }

    /// Links a blob that another repository holds, without a byte moved (SPEC E10). `false` when it cannot be.
    async fn mount_from(&self, name: &Repository, digest: &Digest, from: Option<&Source>) -> Result<bool, Error> {
        let source = match from {
            Some(Source::Repository(from)) => from,
            _ => name,
        };
        let blob_key = keys::blob(digest);
        let keys = [keys::link(name, digest), keys::link(source, digest), blob_key.clone(), keys::repository(name)];
        for _ in 0..ATTEMPTS {
            // One snapshot: while the blob moves from one repository to another, it is seen in either.
            let [here, there, blob, repository] = self.get(keys.clone()).await?;
            let Some(blob) = blob else { return Ok(false) };
            let mut batch = Batch::default();
            match (&here, from) {
                // SPEC E15: it is here already; linking it anew keeps garbage collection from it.
                (Some(_), _) => {}
                // SPEC E14: what the caller may not pull does not exist for it.
                (None, Some(Source::Repository(from))) if there.is_none() || !self.may(Right::Pull, from) => {
                    return Ok(false);
                }
                (None, Some(Source::Repository(from))) => batch.expect(Expect::Present(keys::link(from, digest))),
                (None, Some(Source::Anywhere)) => {
                    // A blob that no repository holds is on its way out: it was deleted everywhere.
                    let Some(holder) = self.readable_holder(digest).await? else { return Ok(false) };
                    batch.expect(Expect::Present(holder));
                }
                (None, None) => return Ok(false),
            }
            let BlobRecord { size, .. } = decode(&blob_key, &blob)?;
            if here.is_none() {
                self.check_quota(name, size, 0).await?;
            }
            batch.expect(Expect::Present(blob_key.clone()));
            self.link(&mut batch, name, digest, size, here.is_some());
            batch.keep_repository(name, repository.as_ref(), &self.ambient);
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(true);
            }
        }
        Err(Error::Contention)
    }

    /// A repository that holds the blob and that the caller may pull from, among the first that hold it: a bound to
    /// what a mount may cost.
    async fn readable_holder(&self, digest: &Digest) -> Result<Option<Key>, Error> {
        let prefix = keys::holders(digest);
        let readable = |key: &Key| prefix.rest(key).parse().is_ok_and(|name| self.may(Right::Pull, &name));
        let holders = self.scan(&prefix, None).await?;
        Ok(holders.into_iter().map(|(key, _)| key).find(readable))
    }
}
