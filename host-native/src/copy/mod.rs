//! Images copied from one place to another: registries, OCI image layouts, archives of these and of `docker save`.
//!
//! A place that is read is a [`Source`], one that is written a [`Destination`]. [`Copying`] moves an image between any
//! two, byte by byte as it is: manifests are never written anew, and each content is held against its digest while it
//! moves. It prints nothing; whoever wants to know how far it is gives it a [`Told`].

mod archive;
mod collected;
mod contents;
mod distribution;
mod image;
mod layout;
mod manifest;
mod packed;
mod place;
mod reason;
mod registry;
mod store;
mod tarred;
#[cfg(test)]
mod tests;
mod unfinished;

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use orlop_core::digest::Digest;

pub use self::archive::Archive;
pub use self::collected::Collected;
pub use self::contents::{Contents, Listed};
pub use self::distribution::{Branch, Tree};
pub use self::image::{Copied, Copying, How, Told};
pub use self::layout::Layout;
pub use self::manifest::parse_platform;
pub use self::packed::{Format, Packed, Unwritten};
pub use self::place::{Place, image_name};
pub use self::reason::{Failed, Reason};
pub use self::registry::Repository;
use crate::remote::{Descriptor, Failure};

/// A manifest or index as it is kept somewhere.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its media type.
    pub media_type: String,
    /// Its digest, which its bytes have been held against.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The bytes of a blob as they come.
#[async_trait]
pub trait Blob: Send {
    /// The next bytes; nothing at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure>;
}

/// A place that images are read from.
#[async_trait]
pub trait Source: Send + Sync {
    /// A manifest by its tag or digest.
    async fn manifest(&self, reference: &str) -> Result<Found, Failure>;

    /// A blob, from that offset on.
    async fn blob(&self, blob: &Descriptor, from: u64) -> Result<Box<dyn Blob>, Failure>;

    /// What refers to a manifest.
    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Failure>;

    /// The file of this machine that is this blob and nothing else, if there is one. Its bytes never change.
    async fn file(&self, _blob: &Digest) -> Result<Option<PathBuf>, Failure> {
        Ok(None)
    }

    /// The registry and the repository, if it is one: blobs may be mounted from there.
    fn repository(&self) -> Option<&Repository> {
        None
    }
}

/// A blob that is being written.
#[async_trait]
pub trait Sink: Send {
    /// The next bytes.
    async fn append(&mut self, bytes: &[u8]) -> Result<(), Failure>;

    /// All bytes are there, and are those of the digest.
    async fn finish(self: Box<Self>, digest: &Digest) -> Result<(), Failure>;

    /// They are not.
    async fn abort(self: Box<Self>);
}

/// What opening a blob for writing comes to.
pub enum Writing {
    /// It is there now, without any bytes moved.
    Mounted,
    /// Its bytes go there.
    Sink(Box<dyn Sink>),
}

/// A place that images are written to.
#[async_trait]
pub trait Destination: Send + Sync {
    /// The digest of the manifest under a tag or digest, if it is there.
    async fn has_manifest(&self, reference: &str) -> Result<Option<Digest>, Failure>;

    /// Whether a blob is there.
    async fn has_blob(&self, digest: &Digest) -> Result<bool, Failure>;

    /// Begins a blob. `source` may be in the same registry.
    async fn write(&self, digest: &Digest, source: &dyn Source) -> Result<Writing, Failure>;

    /// Writes a manifest. All that it names is there.
    async fn put_manifest(&self, found: &Found, role: Role<'_>) -> Result<(), Failure>;

    /// Whether a manifest that is there is listed among the referrers of its subject.
    async fn lists_referrer(&self, _subject: &Digest, _referrer: &Digest) -> Result<bool, Failure> {
        Ok(true)
    }

    /// Says before anything moves whether the place can have this image at all.
    fn takes(&self, _root: &Found) -> Result<(), Failure> {
        Ok(())
    }
}

/// What a manifest is to the place that it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// Part of an index, or a referrer.
    Part,
    /// What was to be copied, without a tag.
    Whole,
    /// The same, under this tag.
    Tagged(&'a str),
}
