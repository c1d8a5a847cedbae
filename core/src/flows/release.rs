//! What becomes of an object when the record that names it goes: it is erased at once, or released.
//!
//! A database that is restored to an earlier moment names objects that were of use then. So an object whose record goes
//! gets another one, by the same commit: `released/<object>` says since when it belongs to nothing, and garbage collection
//! erases it once [`keep_erased`](crate::Config::keep_erased) has passed. An object is never taken into use again: a push
//! of the same bytes makes new ones. What no record has ever named is of no use to any database, and erased at once by
//! the call that made it.

use alloc::vec::Vec;

use super::Call;
use super::batch::{Batch, Found};
use crate::ambient::Timestamp;
use crate::digest::Digest;
use crate::effect::Expect;
use crate::keys;
use crate::object::ObjectId;
use crate::record::{BlobRecord, Extent, ReleasedRecord};

impl Call {
    /// Takes what says that these are of use out of the records, or their bytes if these are records, from this time on.
    /// Returns the objects that do not stay, which are to be erased after the commit.
    #[must_use = "what does not stay is to be erased after the commit"]
    pub(super) fn let_go<'e>(
        &self,
        batch: &mut Batch,
        extents: impl IntoIterator<Item = &'e Extent>,
        at: Timestamp,
    ) -> Vec<ObjectId> {
        let mut left = Vec::new();
        for extent in extents {
            if extent.small {
                batch.delete(keys::bytes(&extent.object));
            } else if self.keeps_erased() {
                release(batch, extent, at);
            } else {
                batch.delete(keys::object(&extent.object));
                left.push(extent.object);
            }
        }
        left
    }

    /// The change that ends a blob that no repository holds, and the objects that are to be erased after it.
    pub(super) fn unheld(&self, digest: &Digest, blob: &Found<BlobRecord>) -> (Batch, Vec<ObjectId>) {
        let mut batch = Batch::reclaiming();
        batch.expect(blob.unchanged());
        batch.expect(Expect::NoneUnder(keys::holders(digest)));
        batch.delete(blob.key.clone());
        if blob.record.quarantined.is_some() {
            batch.delete(keys::quarantined_blob(digest));
        }
        let left = self.let_go(&mut batch, &blob.record.extents, self.ambient.now);
        (batch, left)
    }

    /// Whether objects stay when the record that named them is gone.
    pub(super) fn keeps_erased(&self) -> bool {
        !self.config.keep_erased.is_zero()
    }
}

/// Takes a record of an object that is no record itself out of the records, from this time on. It stays at least until
/// garbage is collected.
pub(super) fn release(batch: &mut Batch, extent: &Extent, at: Timestamp) {
    batch.delete(keys::object(&extent.object));
    batch.put(keys::released(&extent.object), &ReleasedRecord { released: at, size: extent.size });
}
