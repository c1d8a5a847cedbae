//! Images brought in from layouts and archives, and whole repositories taken out: copies between a place and a registry,
//! one image after the other, by the engine of [`crate::copy`].

mod export;
mod import;
mod name;

use std::collections::BTreeSet;

pub(crate) use self::export::{Target, chosen, export, is_archive, replaceable};
pub(crate) use self::import::import;
use crate::copy::{Copied, Failed, Reason};
use crate::remote::Failure;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Images that were copied or were there, each with all that belongs to it.
    pub(crate) images: u64,
    /// Of how many repositories.
    pub(crate) repositories: u64,
    /// How many manifests were written, or would have been.
    pub(crate) manifests: u64,
    /// How many blobs were moved, or would have been.
    pub(crate) blobs: u64,
    /// How many bytes they have.
    pub(crate) bytes: u64,
    /// How many blobs were there under another name, in a repository or as a file that is linked.
    pub(crate) mounted: u64,
    /// How many blobs were there.
    pub(crate) there: u64,
    /// What did not come, and why: a line each.
    pub(crate) failures: Vec<String>,
    /// Why.
    pub(crate) reasons: BTreeSet<Reason>,
}

impl Outcome {
    fn add(&mut self, what: &str, copied: Result<Copied, Failed>) -> Result<(), Failure> {
        let copied = match copied {
            Ok(copied) => copied,
            Err(failed) => return self.fails(what, failed),
        };
        self.manifests += copied.manifests as u64;
        self.blobs += copied.blobs as u64;
        self.bytes += copied.bytes;
        self.mounted += copied.mounted as u64;
        self.there += copied.there as u64;
        self.images += u64::from(copied.failures.is_empty());
        self.failures.extend(copied.failures.into_iter().map(|failure| format!("{what}: {failure}")));
        self.reasons.extend(copied.reasons);
        copied.worst.map_or(Ok(()), stops)
    }

    /// Notes a failure.
    fn fails(&mut self, what: &str, failed: Failed) -> Result<(), Failure> {
        self.reasons.insert(failed.reason);
        self.failures.push(format!("{what}: {failed}"));
        stops(failed.failure)
    }
}

/// A login that is refused ends everything: to try it for each image could lock it out.
fn stops(failure: Failure) -> Result<(), Failure> {
    if matches!(failure, Failure::LoginRefused(_)) { Err(failure) } else { Ok(()) }
}
