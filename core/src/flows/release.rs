//! What becomes of an object when the record that names it goes: it is erased at once, or released.
//!
//! A database that is restored to an earlier moment names objects that were of use then. So an object whose record goes
//! gets another one, by the same commit: `released/<object>` says since when it belongs to nothing, and garbage collection
//! erases it once [`keep_erased`](crate::Config::keep_erased) has passed. An object is never taken into use again: a push
//! of the same bytes makes new ones. What no record has ever named is of no use to any database, and erased at once by
//! the call that made it.

use alloc::vec::Vec;

use super::Call;
use super::batch::Batch;
use crate::ambient::Timestamp;
use crate::keys;
use crate::object::ObjectId;
use crate::record::{Extent, ReleasedRecord};

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
        forget(batch, extents, self.keeps_erased().then_some(at))
    }

    /// Whether objects stay when the record that named them is gone.
    pub(super) fn keeps_erased(&self) -> bool {
        !self.config.keep_erased.is_zero()
    }
}

/// The same of what is still pulled by clients that have found it before: it stays at least until garbage is collected.
pub(super) fn set_aside<'e>(batch: &mut Batch, extents: impl IntoIterator<Item = &'e Extent>, at: Timestamp) {
    let left = forget(batch, extents, Some(at));
    debug_assert!(left.is_empty());
}

/// Those of the objects that do not stay: all, unless they are `released` at some time.
fn forget<'e>(
    batch: &mut Batch,
    extents: impl IntoIterator<Item = &'e Extent>,
    released: Option<Timestamp>,
) -> Vec<ObjectId> {
    let mut left = Vec::new();
    for extent in extents {
        let object = &extent.object;
        if extent.small {
            batch.delete(keys::bytes(object));
            continue;
        }
        batch.delete(keys::object(object));
        match released {
            Some(released) => batch.put(keys::released(object), &ReleasedRecord { released, size: extent.size }),
            None => left.push(*object),
        }
    }
    left
}
