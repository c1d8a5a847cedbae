//! A part while it is written, for those who must not wait for the disk.

use bytes::Bytes;
use orlop_core::Fault;

use crate::storage::directory::blocking;
use crate::storage::directory::files::PartFile;

/// A part that is being written, on threads that may wait. Dropped before it is [sealed](Self::seal), it is removed.
pub(in crate::storage) struct Sink {
    /// Elsewhere while a batch is written, and gone once that has failed.
    part: Option<PartFile>,
}

impl Sink {
    pub(super) fn new(part: PartFile) -> Self {
        Self { part: Some(part) }
    }

    /// Writes a batch.
    pub(in crate::storage) async fn append(&mut self, batch: Vec<Bytes>) -> Result<(), Fault> {
        let mut part = self.take()?;
        let written = blocking::run(move || {
            part.append(&batch)?;
            Ok(part)
        });
        self.part = Some(written.await?);
        Ok(())
    }

    /// Writes the last batch, and makes all of it durable.
    pub(in crate::storage) async fn seal(mut self, last: Vec<Bytes>) -> Result<(), Fault> {
        let mut part = self.take()?;
        blocking::run(move || {
            part.append(&last)?;
            part.seal()
        })
        .await
    }

    fn take(&mut self) -> Result<PartFile, Fault> {
        self.part.take().ok_or_else(|| Fault::Failed("a part is written on after that has failed".into()))
    }
}
