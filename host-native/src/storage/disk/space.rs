//! The space that is left on the disk.

use std::path::Path;

use orlop_core::Fault;

/// How many bytes the disk has where `path` is, and how many of them are free. None where it cannot be asked.
pub(crate) fn of(path: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some((found.f_blocks.saturating_mul(found.f_frsize), found.f_bavail.saturating_mul(found.f_frsize)))
}

/// Faults when less than `reserve` bytes are free where `path` is.
///
/// Uploads stop at the reserve, and records that are added at half of it, so that what takes away, which has to
/// write a little too, still can: a registry that fills its disk can be emptied again.
pub(crate) fn check(path: &Path, reserve: u64) -> Result<(), Fault> {
    // Who cannot be asked has no say: the write itself will tell.
    let Ok(found) = rustix::fs::statvfs(path) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free >= reserve {
        return Ok(());
    }
    Err(Fault::Full(format!("{free} bytes are free on the disk of {}, {reserve} are kept", path.display())))
}
