//! Tags are written at the destination only as the source has them at that time.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use orlop_core::digest::Digest;

use super::place::Side;
use crate::copy::{Destination, Found, Role, Source, Writing};
use crate::remote::Failure;

/// The destination of a copy. A tag is written last, maybe hours after its digest was read. By then it may have another
/// one at the source, which another copy may have brought here: so the source is asked again just before.
pub(super) struct Tagging<'s> {
    from: &'s Side,
    to: &'s Side,
    moved: AtomicBool,
}

impl<'s> Tagging<'s> {
    pub(super) fn new(from: &'s Side, to: &'s Side) -> Self {
        Self { from, to, moved: AtomicBool::new(false) }
    }

    /// Whether a tag was not written since it has another digest at the source now, or is gone there.
    pub(super) fn has_moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Destination for Tagging<'_> {
    async fn has_manifest(&self, reference: &str) -> Result<Option<Digest>, Failure> {
        self.to.destination().has_manifest(reference).await
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, Failure> {
        self.to.destination().has_blob(digest).await
    }

    async fn write(&self, digest: &Digest, source: &dyn Source) -> Result<Writing, Failure> {
        self.to.destination().write(digest, source).await
    }

    async fn put_manifest(&self, found: &Found, role: Role<'_>) -> Result<(), Failure> {
        if let Role::Tagged(tag) = role {
            match self.from.digest_of(tag).await {
                Ok(digest) if digest == found.digest => {}
                Ok(_) | Err(Failure::Absent) => {
                    self.moved.store(true, Ordering::Relaxed);
                    return Err(Failure::Unusable(format!("the tag {tag} has changed at the source")));
                }
                Err(failure) => return Err(failure),
            }
        }
        self.to.destination().put_manifest(found, role).await
    }

    async fn lists_referrer(&self, subject: &Digest, referrer: &Digest) -> Result<bool, Failure> {
        self.to.destination().lists_referrer(subject, referrer).await
    }

    fn takes(&self, root: &Found) -> Result<(), Failure> {
        self.to.destination().takes(root)
    }
}
