//! Reading an object while it is written, though the parts of it that are sent are gone from this machine.

use std::sync::Arc;

use bytes::Bytes;

use super::part::Spool;
use crate::storage::disk::{Opened, blocking, write_all};

/// A file without a name that has all that was written of an object so far, for those who read what has come. It is gone
/// with the last of them.
pub(in crate::storage) struct Window {
    spool: Spool,
    opened: Option<Arc<Opened>>,
    /// Whether the file cannot be written: then there is no more to be seen.
    broken: bool,
}

impl Window {
    pub(super) fn new(spool: Spool) -> Self {
        Self { spool, opened: None, broken: false }
    }

    /// Writes a batch. What fails here keeps nothing from being stored.
    pub(in crate::storage) async fn append(&mut self, batch: Vec<Bytes>) {
        if self.broken {
            return;
        }
        let (spool, opened) = (self.spool.clone(), self.opened.take());
        let written = blocking::run(move || {
            let write = || {
                let opened = match opened {
                    Some(opened) => opened,
                    None => Arc::new(spool.file()?),
                };
                write_all(opened.file(), &batch)?;
                Ok(opened)
            };
            write().map_err(|error| spool.failed(&error))
        });
        match written.await {
            Ok(opened) => self.opened = Some(opened),
            Err(fault) => {
                tracing::warn!("a blob that is being fetched cannot be read meanwhile: {fault}");
                self.broken = true;
            }
        }
    }

    /// The file; `None` before a byte is written, and when it could not be.
    pub(in crate::storage) fn opened(&self) -> Option<Arc<Opened>> {
        self.opened.clone()
    }
}
