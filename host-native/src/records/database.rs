//! The redb file, opened anew when an I/O error made redb give up on it.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use orlop_core::Fault;

use super::TABLE;
use crate::fault;

/// The name of the records in a data directory.
pub(super) const RECORDS_FILE: &str = "records.redb";

/// A redb database that can be reopened under its users.
pub(super) struct Database {
    path: PathBuf,
    cache: usize,
    /// `None` while it cannot be opened. Users hold the lock for one transaction, the writer to replace it.
    open: RwLock<Option<redb::Database>>,
}

impl Database {
    pub(super) fn open(path: PathBuf, cache: usize) -> Result<Self, Fault> {
        let opened = open(&path, cache)?;
        Ok(Self { path, cache, open: RwLock::new(Some(opened)) })
    }

    /// The path of the file.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Uses the database, for one transaction.
    pub(super) fn with<T>(&self, work: impl FnOnce(&redb::Database) -> Result<T, redb::Error>) -> Result<T, Fault> {
        // A panic while the lock was held for reading left nothing half done.
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some(database) => work(database).map_err(|error| fault::of_records("use", error)),
            None => Err(Fault::Failed("the records could not be opened again after an I/O error".into())),
        }
    }

    /// Closes the database and opens it again: after an I/O error redb refuses everything else.
    pub(super) fn reopen(&self) -> Result<(), Fault> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // The old one holds the lock on the file until it is dropped.
        *open = None;
        *open = Some(self::open(&self.path, self.cache)?);
        Ok(())
    }

    /// Whether it still answers.
    pub(super) fn is_sound(&self) -> bool {
        self.with(|database| {
            use redb::{ReadableDatabase, ReadableTableMetadata};
            Ok(database.begin_read()?.open_table(TABLE)?.len()?)
        })
        .is_ok()
    }

    pub(super) fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn open(path: &std::path::Path, cache: usize) -> Result<redb::Database, Fault> {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(cache);
    let began = Instant::now();
    // After a crash redb reads the whole file once. Whoever waits for that should know why.
    builder.set_repair_callback(move |session| {
        let seconds = began.elapsed().as_secs();
        tracing::info!(seconds, "checking the records after a crash: {:.0} %", session.progress() * 100.0);
    });
    let database = builder.create(path).map_err(|error| fault::of_records("open", error))?;
    // Readers expect the table to be there.
    let prepare = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        let made = transaction.list_tables()?.next().is_some();
        if made {
            transaction.abort()?;
        } else {
            transaction.open_table(TABLE)?;
            transaction.commit()?;
        }
        Ok(())
    };
    prepare().map_err(|error| fault::of_records("prepare", error))?;
    Ok(database)
}
