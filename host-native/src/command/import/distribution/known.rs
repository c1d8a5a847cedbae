//! What is known of a directory once somebody has gone through it, so that not all of it is looked at again.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use orlop_core::digest::Digest;
use orlop_core::name::Repository;

use super::report::Report;
use crate::distribution::Look;

/// What is known of blobs that were looked at, whichever repository holds them. The first bytes of the digest stand for
/// it, and its size is one number with what was found.
#[derive(Debug, Default)]
pub(super) struct Known {
    blobs: HashMap<u64, u64>,
    /// Blobs whose link in a repository was found in order, each with its repository in one number.
    pub(super) links: HashSet<u64>,
}

/// What stands in the highest bits of the number.
const VERIFIED: u64 = 1 << 63;
const PRIVATE: u64 = 1 << 62;
const BAD: u64 = 1 << 61;

impl Known {
    pub(super) fn get(&self, digest: &Digest) -> Option<Look> {
        self.blobs.get(&short(digest)).map(|number| match number & !(VERIFIED | PRIVATE) {
            bad if bad == BAD => Look::Missing,
            bad if bad == BAD + 1 => Look::Damaged,
            bad if bad == BAD + 2 => Look::WrongSize,
            bad if bad == BAD + 4 => Look::Link,
            bad if bad & BAD != 0 => Look::Unreadable,
            size => Look::Fine { size, verified: number & VERIFIED != 0, private: number & PRIVATE != 0 },
        })
    }

    pub(super) fn put(&mut self, digest: &Digest, look: Look) {
        let number = match look {
            Look::Missing => BAD,
            Look::Damaged => BAD + 1,
            Look::WrongSize => BAD + 2,
            Look::Unreadable => BAD + 3,
            Look::Link => BAD + 4,
            Look::Fine { size, verified, private } => {
                size | if verified { VERIFIED } else { 0 } | if private { PRIVATE } else { 0 }
            }
        };
        self.blobs.insert(short(digest), number);
    }
}

/// What two ways through the same directory need not both look at: repositories that have nothing new.
#[derive(Debug, Default)]
pub(super) struct Unchanged {
    pub(super) names: HashSet<Repository>,
    /// What was found in them.
    pub(super) report: Report,
    /// How many things they have.
    pub(super) things: u64,
}

/// A number for a repository.
pub(super) fn number(name: &Repository) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.as_str().hash(&mut hasher);
    hasher.finish()
}

/// The first bytes of a digest.
pub(super) fn short(digest: &Digest) -> u64 {
    let first = digest.hash().first_chunk::<8>();
    first.map_or(0, |first| u64::from_be_bytes(*first))
}
