//! Mounts: a blob of one repository linked into another (OCI end-11; SPEC E10–E15).

use super::batch::Batch;
use super::quarantine::sound_blob;
use super::quota::Allowance;
use super::{Call, finish, upload};
use crate::caller::Right;
use crate::config::ATTEMPTS;
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect};
use crate::error::Error;
use crate::http::Response;
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::target::Query;

/// Where a mount may take a blob from.
#[derive(Clone, Copy)]
enum Source<'r> {
    Repository(&'r Repository),
    /// No `from` was given (SPEC E12).
    Anywhere,
    /// None was given, and that is not allowed.
    Nowhere,
}

impl Call {
    /// `POST` with `mount`: links the blob, or opens a session when it cannot be had (SPEC E11).
    pub(crate) async fn mount_blob(
        &self,
        name: &Repository,
        digest: &Digest,
        from: Option<&Repository>,
        query: &Query,
    ) -> Result<Response, Error> {
        let algorithm = upload::announced(query)?;
        let source = match from {
            Some(from) => Source::Repository(from),
            None if self.config.mount_from_anywhere => Source::Anywhere,
            None => Source::Nowhere,
        };
        if let Some(allowance) = self.mount_from(name, digest, source).await? {
            return Ok(allowance.warned(finish::created(name, digest), name));
        }
        self.open_session(name, algorithm).await
    }

    /// Links a blob that is known, whichever repository holds it: its upstream has said that this one has it. `false`
    /// when nothing holds it any more.
    pub(super) async fn mount_known(&self, name: &Repository, digest: &Digest) -> Result<bool, Error> {
        Ok(self.mount_from(name, digest, Source::Anywhere).await?.is_some())
    }

    /// Links a blob that another repository holds, without a byte moved (SPEC E10), and says what its quotas leave then;
    /// `None` when it cannot be.
    async fn mount_from(
        &self,
        name: &Repository,
        digest: &Digest,
        from: Source<'_>,
    ) -> Result<Option<Allowance>, Error> {
        let source = match from {
            Source::Repository(from) => from,
            _ => name,
        };
        let links = [keys::link(name, digest), keys::link(source, digest)];
        for _ in 0..ATTEMPTS {
            // One snapshot: while the blob moves from one repository to another, it is seen in either.
            let [link, other] = links.clone();
            let [here, there, blob, repository] =
                self.get([link, other, keys::blob(digest), keys::repository(name)]).await?;
            // What is damaged is to be pushed, and so made good (SPEC W3).
            let Some(blob) = sound_blob(digest, blob) else { return Ok(None) };
            let mut batch = Batch::default();
            match (&here, from) {
                // SPEC E15: it is here already; linking it anew keeps garbage collection from it.
                (Some(_), _) => {}
                // SPEC E14: what the caller may not pull does not exist for it.
                (None, Source::Repository(from)) if there.is_none() || !self.may_mount(from) => {
                    return Ok(None);
                }
                (None, Source::Repository(from)) => batch.expect(Expect::Present(keys::link(from, digest))),
                (None, Source::Anywhere) => {
                    // A blob that no repository holds is on its way out: it was deleted everywhere.
                    let Some(holder) = self.readable_holder(digest).await? else { return Ok(None) };
                    batch.expect(Expect::Present(holder));
                }
                (None, Source::Nowhere) => return Ok(None),
            }
            let size = blob.record.size;
            let allowance = match here {
                Some(_) => Allowance::default(),
                None => self.check_quota(name, None, size, 0).await?,
            };
            batch.expect(Expect::Present(blob.key.clone()));
            self.link(&mut batch, name, digest, size, here.as_ref());
            batch.keep_repository(name, repository.as_ref(), &self.ambient);
            self.note_quotas(&mut batch, name, &allowance).await?;
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(Some(allowance));
            }
        }
        Err(Error::Contention)
    }

    /// A repository that holds the blob and that the caller may pull from, among the first that hold it: a bound to
    /// what a mount may cost.
    async fn readable_holder(&self, digest: &Digest) -> Result<Option<Key>, Error> {
        let prefix = keys::holders(digest);
        let readable = |key: &Key| prefix.rest(key).parse().is_ok_and(|name| self.may_mount(&name));
        let holders = self.scan(&prefix, None).await?;
        Ok(holders.into_iter().map(|(key, _)| key).find(readable))
    }

    /// Whether the caller may take blobs from there. Where an upstream says what a caller may see, nothing can be taken
    /// without asking it.
    fn may_mount(&self, from: &Repository) -> bool {
        self.may(Right::Pull, from) && !self.is_vouched_for(from)
    }
}
