//! Whether the bytes of a blob that come from the store are those of its digest, while they go out.

use std::sync::Arc;

use orlop_core::Fault;
use orlop_core::digest::Digest;
use orlop_core::http::{Piece, Pieces};
use orlop_core::meter::Meter;

use super::Objects;
use crate::storage::counters::Counters;

/// Where bytes were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage::shared) enum Place {
    Store,
    Cache,
}

/// The digest of a blob, and the hash over what has come of it.
#[derive(Clone)]
pub(in crate::storage::shared) struct Verify {
    digest: Digest,
    meter: Meter,
    size: u64,
    /// Where the objects are, for the log.
    paths: Arc<[String]>,
    counters: Arc<Counters>,
}

impl Verify {
    /// Nothing has come of the blob of that digest, which has these pieces.
    pub(in crate::storage::shared) fn new(objects: &Objects, digest: Digest, pieces: &Pieces) -> Self {
        let paths = pieces.blob.iter().filter_map(|piece| match piece {
            Piece::Bytes(_) => None,
            Piece::Slice(object, _) => Some(objects.path(object)),
        });
        Self {
            digest,
            meter: Meter::new(digest.algorithm()),
            size: pieces.blob.iter().map(Piece::length).sum(),
            paths: paths.collect(),
            counters: objects.counters.clone(),
        }
    }

    /// How many bytes have come.
    pub(in crate::storage::shared) fn count(&self) -> u64 {
        self.meter.count()
    }

    /// How many bytes the blob has.
    pub(in crate::storage::shared) fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes. With the last of them it is known whether all were right: if not, these are not to be sent.
    pub(in crate::storage::shared) fn pass(&mut self, bytes: &[u8], place: Place) -> Result<(), Fault> {
        self.meter.update(bytes);
        let found = if self.meter.count() < self.size { return Ok(()) } else { self.meter.digest() };
        if self.meter.count() == self.size && found == self.digest {
            return Ok(());
        }
        let (label, told) = match place {
            Place::Store => ("store", "the object store has other bytes than were pushed"),
            Place::Cache => ("cache", "a file of the object cache was damaged, and is dropped"),
        };
        self.counters.damaged(label);
        let told = format!("{told}: those of {} ({}) hash to {found}", self.digest, self.paths.join(", "));
        // What a cache has lost says nothing of the blob: the next pull gets it from the store.
        Err(if place == Place::Cache { Fault::Unavailable(told) } else { Fault::Failed(told) })
    }
}
