//! An error of an object store, for the log.

use object_store::Error;
use object_store::path::Path;
use orlop_core::Fault;

/// What a store that failed to do something means for the call.
pub(super) fn fault(what: &str, path: &Path, error: &Error) -> Fault {
    let told = format!("cannot {what} {path}: {}", told(error));
    match error {
        // Tried again for a while before: the store is down, or asks to slow down.
        Error::Generic { .. } => Fault::Unavailable(told),
        _ => Fault::Failed(told),
    }
}

/// An error with its causes.
pub(in crate::storage::shared) fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
}
