//! What goes wrong in storage, told to the core as a [`Fault`]: full, or failed, and always where.

use std::io;
use std::path::Path;

use orlop_core::Fault;

/// The fault of a file operation that failed with `error`, such as `("write", path, error)`.
pub(crate) fn at(operation: &str, path: &Path, error: &io::Error) -> Fault {
    sorted(error, format!("{operation} {}: {error}", path.display()))
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

/// A disk that is full and a quota that is used up are one to a client: there is no space, it may come again.
fn sorted(error: &io::Error, reason: String) -> Fault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full(reason),
        _ => Fault::Failed(reason),
    }
}
