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

/// The items that have no check of their own, and why.
pub const ELSEWHERE: [(&str, &str); 22] = [
    ("A5", "said of everything: the checks of HEAD, 405, 304 and 206 are under their own items"),
    ("A6", "a redirect is followed wherever it comes; a registry need not send any"),
    ("A11", "nobody is to be flooded until it says 429"),
    ("A15", "the sum of the others"),
    ("C12", "a redirect is followed wherever it comes; a registry need not send any"),
    ("C15", "a registry may answer either way, and clients ask both"),
    ("E6", "malformed names are under B3; the rest depends on who is asking and what an operator has switched off"),
    ("E14", "depends on who is asking"),
    ("F9", "a smaller chunk may be taken or refused; what must be taken is under E3"),
    ("I2", "takes as long as the registry keeps a session"),
    ("I3", "depends on who is asking"),
    ("K2", "what is stored is seen when it is pulled: J1, J9"),
    ("K17", "depends on what an operator has switched off"),
    ("K18", "codes of schema 1, which nobody need take"),
    ("K19", "what several clients see at once is looked at by the concurrent histories"),
    ("L10", "clients do not say so to registries of other makes, which delete all the same"),
    ("M8", "about what was there before the registry knew referrers"),
    ("N10", "HEAD of a list may be taken or refused"),
    ("O3", "depends on who is asking"),
    ("P3", "each status is checked where it belongs"),
    ("P4", "depends on who is asking"),
    ("P6", "demanded of clients"),
];

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
