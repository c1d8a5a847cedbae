//! The two sides of a sync: this registry, or another one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use orlop_core::digest::Digest;

use super::local::{Local, Own};
use crate::copy::{Blob, Destination, Found, Repository, Source};
use crate::remote::{Descriptor, Failure, Pace, Remote, retried};

/// A registry that a sync reads or writes.
#[derive(Clone)]
pub(crate) enum Registry {
    /// This one.
    Local(Local),
    /// Another one.
    Remote(Remote),
}

/// A repository of it.
pub(crate) enum Side {
    /// Of this registry.
    Local(Own),
    /// Of another one.
    Remote(Repository),
}

impl Registry {
    /// The names of all repositories.
    pub(crate) async fn repositories(&self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Local(local) => local.repositories().await,
            Self::Remote(remote) => remote.repositories().await,
        }
    }

    pub(crate) fn repository(&self, name: &str) -> Side {
        match self {
            Self::Local(local) => Side::Local(local.repository(name)),
            Self::Remote(remote) => Side::Remote(Repository { remote: remote.clone(), name: name.into() }),
        }
    }
}

impl Side {
    /// All tags. A list that breaks off is a failure.
    pub(crate) async fn tags(&self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Local(own) => own.tags().await,
            Self::Remote(Repository { remote, name }) => retried(|| remote.tags(name)).await,
        }
    }

    /// The manifests that no tag leads to. Another registry does not say which these are.
    pub(crate) async fn loose(&self) -> Result<Vec<Digest>, Failure> {
        match self {
            Self::Local(own) => own.loose().await,
            Self::Remote(_) => Ok(Vec::new()),
        }
    }

    /// The digest of the manifest under a tag. Some registries do not tell it in an answer to HEAD, or do not know HEAD:
    /// then the manifest is read.
    ///
    /// # Errors
    ///
    /// [`Failure::Absent`] when there is no such tag.
    pub(super) async fn digest_of(&self, tag: &str) -> Result<Digest, Failure> {
        match self.destination().has_manifest(tag).await? {
            Some(digest) => Ok(digest),
            None => Ok(self.source().manifest(tag).await?.digest),
        }
    }

    /// Deletes a tag, if it is there.
    pub(super) async fn delete_tag(&self, tag: &str) -> Result<(), Failure> {
        match self {
            Self::Local(own) => own.delete_tag(tag).await,
            Self::Remote(Repository { remote, name }) => remote.delete_tag(name, tag).await,
        }
    }

    /// It as what is read.
    pub(crate) fn source(&self) -> &dyn Source {
        match self {
            Self::Local(own) => own,
            Self::Remote(repository) => repository,
        }
    }

    /// It as what is written.
    pub(crate) fn destination(&self) -> &dyn Destination {
        match self {
            Self::Local(own) => own,
            Self::Remote(repository) => repository,
        }
    }
}

/// The source as a copy reads it: no faster than its pace, and without what this registry has already.
pub(super) struct Reading<'s> {
    pub(super) from: &'s Side,
    pub(super) to: &'s Side,
    pub(super) pace: &'s Arc<Pace>,
}

#[async_trait]
impl Source for Reading<'_> {
    async fn manifest(&self, reference: &str) -> Result<Found, Failure> {
        // What is here need not be asked of another registry.
        if let (Side::Local(own), Ok(_)) = (self.to, reference.parse::<Digest>()) {
            match own.manifest(reference).await {
                Err(Failure::Absent) => {}
                found => return found,
            }
        }
        self.from.source().manifest(reference).await
    }

    async fn blob(&self, blob: &Descriptor, from: u64) -> Result<Box<dyn Blob>, Failure> {
        if let Side::Local(own) = self.to {
            match own.blob(blob, from).await {
                Err(Failure::Absent) => {}
                found => return found,
            }
        }
        let inner = self.from.source().blob(blob, from).await?;
        Ok(Box::new(Paced { inner, pace: self.pace.clone() }))
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Failure> {
        self.from.source().referrers(subject).await
    }

    fn repository(&self) -> Option<&Repository> {
        self.from.source().repository()
    }
}

/// A blob that comes no faster than its pace.
struct Paced {
    inner: Box<dyn Blob>,
    pace: Arc<Pace>,
}

#[async_trait]
impl Blob for Paced {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let chunk = self.inner.chunk().await?;
        if let Some(bytes) = &chunk {
            self.pace.bytes(bytes.len()).await;
        }
        Ok(chunk)
    }
}
