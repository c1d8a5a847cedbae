//! An object while it is written, for those who must not wait for the disk.

use bytes::Bytes;
use orlop_core::Fault;

use crate::storage::directory::files::ObjectFile;
use crate::storage::disk::blocking;

/// An object that is being written, on threads that may wait. Dropped before it is [sealed](Self::seal), it is removed.
pub(in crate::storage) struct Sink {
    /// Elsewhere while a batch is written, and gone once that has failed.
    object: Option<ObjectFile>,
}

impl Sink {
    pub(super) fn new(object: ObjectFile) -> Self {
        Self { object: Some(object) }
    }

    /// Writes a batch.
    pub(in crate::storage) async fn append(&mut self, batch: Vec<Bytes>) -> Result<(), Fault> {
        let mut object = self.take()?;
        let written = blocking::run(move || {
            object.append(&batch)?;
            Ok(object)
        });
        self.object = Some(written.await?);
        Ok(())
    }

    /// Writes the last batch, and makes all of it durable.
    pub(in crate::storage) async fn seal(mut self, last: Vec<Bytes>) -> Result<(), Fault> {
        let mut object = self.take()?;
        blocking::run(move || {
            object.append(&last)?;
            object.seal()
        })
        .await
    }

    fn take(&mut self) -> Result<ObjectFile, Fault> {
        self.object.take().ok_or_else(|| Fault::Failed("an object is written on after that has failed".into()))
    }
}
