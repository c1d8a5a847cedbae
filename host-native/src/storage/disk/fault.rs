//! What goes wrong in storage, told to the core as a [`Fault`]: full, or failed, and always where.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use orlop_core::Fault;
use rustix::io::Errno;

/// The fault of a file operation that failed with `error`, such as `("write", path, error)`.
pub(crate) fn at(operation: &str, path: &Path, error: &io::Error) -> Fault {
    let reason = format!("{operation} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => sorted(error, format!("{reason}{}", whose(path))),
        _ => sorted(error, reason),
    }
}

/// To whom a file belongs that this process may not use, and what to do.
fn whose(path: &Path) -> String {
    let me = rustix::process::geteuid().as_raw();
    match std::fs::symlink_metadata(path) {
        Ok(file) if file.uid() != me => {
            format!(
                "; it belongs to the user {}, and this is the user {me}: give it to that one with chown",
                file.uid()
            )
        }
        _ => format!("; let the user {me} read and write it"),
    }
}

/// The fault of an operation on the records.
pub(crate) fn of_records(operation: &str, error: impl Into<redb::Error>) -> Fault {
    let error = error.into();
    let reason = format!("{operation} the records: {error}");
    match &error {
        redb::Error::Io(error) => sorted(error, reason),
        _ => Fault::Failed(reason),
    }
}

/// Whether an operation has found no space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A disk that is full and a quota that is used up are one to a client: there is no space, it may come again. When too
/// many files are open, some of them are closed soon. What this process may not read, or what lies on a server that does not
/// answer, says nothing of the bytes.
fn sorted(error: &io::Error, reason: String) -> Fault {
    let passing = [Errno::MFILE, Errno::NFILE, Errno::ACCESS, Errno::PERM, Errno::STALE, Errno::TIMEDOUT, Errno::NOMEM]
        .map(|errno| Some(errno.raw_os_error()));
    if is_full(error) {
        Fault::Full(reason)
    } else if passing.contains(&error.raw_os_error()) {
        Fault::Unavailable(reason)
    } else {
        Fault::Failed(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_later_is_told_from_what_has_failed() {
        let fault = |errno: Errno| at("open", Path::new("x"), &errno.into());
        assert!(matches!(fault(Errno::MFILE), Fault::Unavailable(_)));
        assert!(matches!(fault(Errno::NFILE), Fault::Unavailable(_)));
        for errno in [Errno::ACCESS, Errno::PERM, Errno::STALE, Errno::TIMEDOUT, Errno::NOMEM] {
            assert!(matches!(fault(errno), Fault::Unavailable(_)), "{errno}");
        }
        assert!(matches!(fault(Errno::NOSPC), Fault::Full(_)));
        assert!(matches!(fault(Errno::DQUOT), Fault::Full(_)));
        assert!(matches!(fault(Errno::IO), Fault::Failed(_)));
    }
}
