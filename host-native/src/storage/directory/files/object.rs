//! An object while it is written.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use orlop_core::Fault;
use orlop_core::object::ObjectId;

use super::layout::Layout;
use crate::storage::disk::blocking;
use crate::storage::disk::fault;
use crate::storage::disk::{space, write_all};

/// After how many bytes the disk is told to begin writing: while more come in, so that little is left to wait for at
/// the end.
const WRITE_BACK: u64 = 32 << 20;

/// After how many bytes it is looked again whether there is space.
const LOOK_AGAIN: u64 = 8 << 20;

/// An object that is being written. Dropped before it is [sealed](Self::seal), it is removed.
pub(crate) struct ObjectFile {
    layout: Arc<Layout>,
    path: PathBuf,
    keep_free: u64,
    file: Option<Arc<File>>,
    written: u64,
    looked_at: u64,
    handed_over: u64,
    /// Held while the disk is told to write; in it, what came of it.
    write_back: Arc<Mutex<Result<(), Fault>>>,
}

impl ObjectFile {
    pub(super) fn new(layout: Arc<Layout>, object: &ObjectId, keep_free: u64) -> Self {
        Self {
            path: layout.object(object),
            layout,
            keep_free,
            file: None,
            written: 0,
            looked_at: 0,
            handed_over: 0,
            write_back: Arc::new(Mutex::new(Ok(()))),
        }
    }

    /// Writes the next bytes.
    pub(crate) fn append(&mut self, pieces: &[impl AsRef<[u8]>]) -> Result<(), Fault> {
        let length: usize = pieces.iter().map(|piece| piece.as_ref().len()).sum();
        if length == 0 {
            return Ok(());
        }
        let file = self.ready()?;
        write_all(&file, pieces).map_err(|error| fault::at("write", &self.path, &error))?;
        self.written += length as u64;
        self.begin_write_back(&file);
        Ok(())
    }

    /// Writes all bytes of another file, which is at `path`, next. On Linux the kernel copies them, or shares the blocks
    /// where the file system can.
    pub(super) fn append_file(&mut self, mut from: &File, path: &Path) -> Result<(), Fault> {
        let mut file: &File = &*self.ready()?;
        let copied = io::copy(&mut from, &mut file);
        let copied = copied.map_err(|error| fault::at(&format!("copy {} to", path.display()), &self.path, &error))?;
        self.written += copied;
        Ok(())
    }

    /// The file, which is made if need be; and looks now and then whether there is space.
    fn ready(&mut self) -> Result<Arc<File>, Fault> {
        if self.file.is_none() || self.written - self.looked_at >= LOOK_AGAIN {
            self.looked_at = self.written;
            space::check(self.path.parent().unwrap_or(&self.path), self.keep_free)?;
        }
        match &self.file {
            Some(file) => Ok(file.clone()),
            None => self.create(),
        }
    }

    /// Makes the object durable, its bytes before its name. Without bytes there is none.
    pub(crate) fn seal(mut self) -> Result<(), Fault> {
        let Some(file) = &self.file else { return Ok(()) };
        // The kernel tells an error of an open file once. When the write-back was told, it would be lost here.
        let write_back = self.write_back.lock().unwrap_or_else(PoisonError::into_inner);
        write_back.clone()?;
        // Nor may a write-back begin now and be told what this should be.
        self.layout.sync_data(file).map_err(|error| fault::at("make durable", &self.path, &error))?;
        drop(write_back);
        self.layout.sync(self.path.parent().unwrap_or(&self.path))?;
        self.file = None;
        Ok(())
    }

    fn create(&mut self) -> Result<Arc<File>, Fault> {
        let made = OpenOptions::new().write(true).create_new(true).open(&self.path);
        let file = Arc::new(made.map_err(|error| fault::at("make", &self.path, &error))?);
        self.file = Some(file.clone());
        self.layout.give(&file).map_err(|error| fault::at("give away", &self.path, &error))?;
        Ok(file)
    }

    fn begin_write_back(&mut self, file: &Arc<File>) {
        // One at a time: a disk that is behind is not helped by a second request.
        if self.written - self.handed_over < WRITE_BACK || self.write_back.try_lock().is_err() {
            return;
        }
        self.handed_over = self.written;
        let (file, path, outcome) = (file.clone(), self.path.clone(), self.write_back.clone());
        let layout = self.layout.clone();
        // Its end is not awaited: the seal takes the lock.
        drop(blocking::begin(move || {
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = layout.sync_data(&file) {
                *outcome = Err(fault::at("make durable", &path, &error));
            }
            Ok(())
        }));
    }
}

impl Drop for ObjectFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // If this fails too, garbage collection finds the object.
            let _ = fs::remove_file(&self.path);
        }
    }
}
