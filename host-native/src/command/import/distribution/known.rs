//! What is known of a directory once somebody has gone through it, so that not all of it is looked at again.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use orlop_core::digest::Digest;
use orlop_core::name::Repository;

use super::report::Report;
use crate::distribution::Look;

/// Short names of digests, so that much can be known of a million blobs in little memory: hashes with a key that is made
/// for each import. So nobody can put two blobs into a registry that have one name, as could be done with the first bytes
/// of digests; by chance, two of a million have one in one of 30 million imports.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(RandomState);

impl Names {
    /// The name of a digest.
    pub(super) fn of(&self, digest: &Digest) -> u64 {
        self.0.hash_one((digest.algorithm().name(), digest.hash()))
    }

    /// The name of a blob as one that a repository holds.
    pub(super) fn held(&self, repository: &Repository, digest: &Digest) -> u64 {
        self.0.hash_one((repository.as_str(), digest.algorithm().name(), digest.hash()))
    }
}

/// What is known of blobs that were looked at, whichever repository holds them. Its size is one number with what was found.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) names: Names,
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
        self.blobs.get(&self.names.of(digest)).map(|number| match number & !(VERIFIED | PRIVATE) {
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
        self.blobs.insert(self.names.of(digest), number);
    }
}

/// What two ways through the same directory need not both look at: repositories that have nothing new.
#[derive(Clone, Debug, Default)]
pub(super) struct Unchanged {
    pub(super) names: HashSet<Repository>,
    /// What was found in them.
    pub(super) report: Report,
    /// How many things they have.
    pub(super) things: u64,
}
