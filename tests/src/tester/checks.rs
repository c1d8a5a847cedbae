//! The checks, by subject. One for each testable item of `SPEC.md`; what each demands stands beside it in the table
//! at the head of its file.

mod base;
mod blobs;
mod chunks;
mod deleting;
mod errors;
mod finishing;
mod lists;
mod manifests;
mod mounts;
mod names;
mod payloads;
mod pulling;
mod ranges;
mod referrers;
mod uploads;

use super::check::Check;

/// Every check, in the order of the specification.
pub fn all() -> Vec<&'static Check> {
    let files = [
        base::CHECKS,
        names::CHECKS,
        blobs::CHECKS,
        ranges::CHECKS,
        uploads::CHECKS,
        mounts::CHECKS,
        chunks::CHECKS,
        finishing::CHECKS,
        pulling::CHECKS,
        manifests::CHECKS,
        payloads::CHECKS,
        deleting::CHECKS,
        referrers::CHECKS,
        lists::CHECKS,
        errors::CHECKS,
    ];
    files.into_iter().flatten().collect()
}
