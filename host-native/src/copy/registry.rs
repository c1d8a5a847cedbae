//! A repository of a registry, as a place that images are copied from or to.

use async_trait::async_trait;
use bytes::Bytes;
use orlop_core::digest::{Algorithm, Digest};
use orlop_core::media::ManifestType;

use super::manifest::{Parts, is_manifest};
use super::{Blob, Destination, Found, Role, Sink, Source, Writing};
use crate::remote::{Body, Descriptor, Failure, Get, Opened, Remote, Slice, Upload, referrers_tag, retried};

/// How large a manifest may be: what all known registries take.
const MANIFEST: usize = 4 << 20;

/// A repository of a registry.
#[derive(Clone, Debug)]
pub struct Repository {
    /// The registry.
    pub remote: Remote,
    /// What it calls the repository.
    pub name: String,
}

impl Repository {
    async fn read(&self, reference: &str) -> Result<Found, Failure> {
        let resource = format!("manifests/{reference}");
        let accept = ManifestType::ALL.map(ManifestType::as_str);
        let get = Get { repository: &self.name, resource: &resource, accept: &accept, ..Get::default() };
        let answer = self.remote.get(get).await?;
        let wrong = |reason: String| Failure::Unusable(format!("{}/{}: {reason}", self.remote.host(), self.name));
        let (media_type, told) = (answer.content_type.unwrap_or_default(), answer.digest);
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        if !is_manifest(&media_type) {
            return Err(wrong(format!("{reference} is of the type `{media_type}`, which cannot be copied")));
        }
        let bytes = answer.body.collect_within(MANIFEST).await?;
        // What was asked for by its digest has that digest, whatever the registry says.
        let expected = reference.parse::<Digest>().ok().or(told);
        let algorithm = expected.map_or(Algorithm::Sha256, |digest| digest.algorithm());
        let digest = algorithm.digest(&bytes);
        if expected.is_some_and(|expected| expected != digest) {
            let told = wrong(format!("the manifest {reference} has the digest {digest}, not the one that it should"));
            return Err(Failure::Damaged(told.to_string()));
        }
        Ok(Found { media_type, digest, bytes })
    }

    /// Lists a manifest among the referrers of its subject by a tag, as registries without the API want it.
    async fn list_referrer(&self, subject: &Digest, found: &Found) -> Result<(), Failure> {
        let tag = referrers_tag(subject);
        let before = match retried(|| self.read(&tag)).await {
            Ok(before) => Some(before.bytes),
            Err(Failure::Absent) => None,
            Err(other) => return Err(other),
        };
        if let Some(index) = super::manifest::with_referrer(before.as_deref(), found)? {
            let media_type = ManifestType::OciIndex.as_str();
            self.remote.put_manifest(&self.name, &tag, media_type, index.into()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Source for Repository {
    async fn manifest(&self, reference: &str) -> Result<Found, Failure> {
        retried(|| self.read(reference)).await
    }

    async fn blob(&self, blob: &Descriptor, from: u64) -> Result<Box<dyn Blob>, Failure> {
        let resource = format!("blobs/{}", blob.digest);
        let range = (from > 0).then_some(Slice { first: from, last: None });
        let get = || Get { repository: &self.name, resource: &resource, range, ..Get::default() };
        let answer = retried(|| self.remote.get(get())).await?;
        // A registry may answer with everything.
        let skipped = if answer.status == 206 { 0 } else { from };
        Ok(Box::new(Reading { body: answer.body, skipped }))
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Failure> {
        retried(|| self.remote.referrers(&self.name, subject)).await
    }

    fn repository(&self) -> Option<&Repository> {
        Some(self)
    }
}

/// A blob of a registry as it comes, without its first bytes.
struct Reading {
    body: Body,
    skipped: u64,
}

#[async_trait]
impl Blob for Reading {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(mut bytes) = self.body.chunk().await? {
            let skipped = bytes.len().min(usize::try_from(self.skipped).unwrap_or(usize::MAX));
            self.skipped -= skipped as u64;
            let rest = bytes.split_off(skipped);
            if !rest.is_empty() {
                return Ok(Some(rest));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl Destination for Repository {
    async fn has_manifest(&self, reference: &str) -> Result<Option<Digest>, Failure> {
        let accept = ManifestType::ALL.map(ManifestType::as_str);
        self.remote.has(&self.name, &format!("manifests/{reference}"), &accept).await
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, Failure> {
        Ok(self.remote.has(&self.name, &format!("blobs/{digest}"), &[]).await?.is_some())
    }

    async fn write(&self, digest: &Digest, source: &dyn Source) -> Result<Writing, Failure> {
        let beside = source.repository().filter(|source| source.remote.host() == self.remote.host());
        let mount = beside.map(|source| (digest, source.name.as_str()));
        Ok(match self.remote.open_upload(&self.name, mount).await? {
            Opened::Mounted => Writing::Mounted,
            Opened::Upload(upload) => Writing::Sink(Box::new(Pushing(upload))),
        })
    }

    async fn put_manifest(&self, found: &Found, role: Role<'_>) -> Result<(), Failure> {
        let digest = found.digest.to_string();
        let reference = if let Role::Tagged(tag) = role { tag } else { &digest };
        let put = self.remote.put_manifest(&self.name, reference, &found.media_type, found.bytes.clone());
        let listed = put.await?;
        match Parts::of(&found.bytes, &found.digest)?.subject {
            Some(subject) if !listed => self.list_referrer(&subject, found).await,
            _ => Ok(()),
        }
    }

    async fn lists_referrer(&self, subject: &Digest, referrer: &Digest) -> Result<bool, Failure> {
        let listed = retried(|| self.remote.referrers(&self.name, subject)).await?;
        Ok(listed.iter().any(|listed| listed.digest == *referrer))
    }
}

/// A blob that is pushed.
struct Pushing(Upload);

#[async_trait]
impl Sink for Pushing {
    async fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.append(bytes).await
    }

    async fn finish(self: Box<Self>, digest: &Digest) -> Result<(), Failure> {
        self.0.finish(digest).await
    }

    async fn abort(self: Box<Self>) {
        self.0.abort().await;
    }
}
