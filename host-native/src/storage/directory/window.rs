//! Reading an object while it is written.

use std::sync::Arc;

use orlop_core::object::ObjectId;

use crate::storage::directory::files::Files;
use crate::storage::disk::{Opened, blocking};

/// The file of an object that is being written, for those who read what has come.
pub(in crate::storage) struct Window {
    files: Files,
    object: ObjectId,
    /// Opened once for all of them.
    opened: Option<Arc<Opened>>,
}

impl Window {
    pub(super) fn new(files: Files, object: ObjectId) -> Self {
        Self { files, object, opened: None }
    }

    /// The file; `None` before a byte is written, and when it cannot be opened.
    pub(in crate::storage) async fn opened(&mut self) -> Option<Arc<Opened>> {
        if self.opened.is_none() {
            let (files, object) = (self.files.clone(), self.object);
            match blocking::run(move || files.open_now(&object)).await {
                Ok(opened) => self.opened = opened.map(Arc::new),
                Err(fault) => tracing::warn!("a blob that is being fetched cannot be read meanwhile: {fault}"),
            }
        }
        self.opened.clone()
    }
}
