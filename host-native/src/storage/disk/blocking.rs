//! Work that may wait for a disk, kept off the threads that serve connections.

use orlop_core::Fault;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// Begins `work` on a thread that may block. Its end is awaited with [`finished`], so that the caller can do
/// something else meanwhile.
pub(crate) fn begin<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> JoinHandle<Result<T, Fault>> {
    spawn_blocking(work)
}

/// The end of work that was begun. Work that panicked has failed, and nothing else has.
pub(crate) fn finished<T>(joined: Result<Result<T, Fault>, JoinError>) -> Result<T, Fault> {
    joined.unwrap_or_else(|error| Err(Fault::Failed(format!("storage work did not end: {error}"))))
}

/// Does `work` on a thread that may block.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    finished(begin(work).await)
}
