//! The redb file and the log that goes on from it, opened anew when an I/O error made them unusable.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use orlop_core::Fault;
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use uuid::Uuid;

use super::TABLE;
use super::log::Log;
use crate::storage::disk::fault;

/// The name of the records in a data directory.
pub(super) const RECORDS_FILE: &str = "records.redb";

/// The number of the log that belongs to the records, under the one key there is.
const LOG: TableDefinition<'_, (), u64> = TableDefinition::new("log");

/// All records at one moment.
pub(super) type Snapshot = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A redb database that can be reopened under its users.
pub(super) struct Database {
    path: PathBuf,
    cache: usize,
    /// `None` while it cannot be opened. Users hold the lock for one transaction, the writer to replace it.
    open: RwLock<Option<redb::Database>>,
    /// The records as they are since the last change: all readers share them until the next, for to begin to read costs
    /// as much as to look a key up. Locked only by who has `open`.
    snapshot: Mutex<Option<Arc<Snapshot>>>,
    /// The I/O error after which it refuses everything, until it is open again: what everybody else is told, too.
    refusing: Mutex<Option<Fault>>,
}

impl Database {
    /// Opens the records, which are made if there are none, and their log.
    pub(super) fn open(path: PathBuf, cache: usize) -> Result<(Self, Log), Fault> {
        make_if_missing(&path)?;
        close_to_others(&path);
        let (opened, log) = open(&path, cache)?;
        let open = RwLock::new(Some(opened));
        Ok((Self { path, cache, open, snapshot: Mutex::new(None), refusing: Mutex::new(None) }, log))
    }

    /// The path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Uses the database, for one transaction.
    pub(super) fn with<T>(&self, work: impl FnOnce(&redb::Database) -> Result<T, redb::Error>) -> Result<T, Fault> {
        self.attempt(work, |refused| refused)
    }

    /// Uses the database. What is told while it refuses everything is made of the fault that was the reason.
    fn attempt<T>(
        &self,
        work: impl FnOnce(&redb::Database) -> Result<T, redb::Error>,
        told: impl FnOnce(Fault) -> Fault,
    ) -> Result<T, Fault> {
        // A panic while the lock was held for reading left nothing half done.
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let refused = || {
            let refusing = self.refusing.lock().unwrap_or_else(PoisonError::into_inner).clone();
            refusing.unwrap_or_else(|| Fault::Failed("the records could not be opened again after an I/O error".into()))
        };
        match open.as_ref().map(work) {
            Some(Ok(done)) => Ok(done),
            Some(Err(redb::Error::PreviousIo)) => Err(told(refused())),
            // It is being opened, or the last try has failed.
            None => Err(refused()),
            Some(Err(error)) => {
                let is_io = matches!(error, redb::Error::Io(_));
                let fault = fault::of_records("use", error);
                if is_io {
                    *self.refusing.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault.clone());
                }
                Err(fault)
            }
        }
    }

    /// Reads the records as they were when the last change was made, or later.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Snapshot) -> Result<T, redb::Error>) -> Result<T, Fault> {
        let work = |database: &redb::Database| {
            // Made under the lock, so that nobody finds older records than somebody else has seen before.
            let mut shared = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
            let snapshot = match &*shared {
                Some(snapshot) => snapshot.clone(),
                None => shared.insert(Arc::new(database.begin_read()?.open_table(TABLE)?)).clone(),
            };
            drop(shared);
            look(&snapshot)
        };
        // Nothing is wrong with what is asked: it is there again as soon as the records are opened anew.
        self.attempt(work, |refused| Fault::Unavailable(refused.to_string()))
    }

    /// What is read from now on is not older than now. For the writer, before it tells of a change.
    pub(super) fn changed(&self) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Closes the database and opens it again: after an I/O error redb refuses everything else. The caller has dropped
    /// the log.
    pub(super) fn reopen(&self) -> Result<Log, Fault> {
        // If it was the log that failed, redb has all that was answered and can do without it. To close redb makes it
        // durable in any case, and a log that has lost its end must not be applied to that.
        let _ = self.with(|database| checkpoint(database, following));
        self.close();
        *self.refusing.lock().unwrap_or_else(PoisonError::into_inner) = Some(opening());
        // It may take long, and meanwhile whoever comes is told so at once.
        let (opened, log) = self::open(&self.path, self.cache).inspect_err(|fault| {
            *self.refusing.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault.clone());
        })?;
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        *self.refusing.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(log)
    }

    /// Whether it still answers.
    pub(super) fn is_sound(&self) -> bool {
        self.changed();
        self.read(|table| Ok(table.len()?)).is_ok()
    }

    /// Closes it. The old one holds the lock on the file until it is dropped, and a snapshot holds the old one.
    pub(super) fn close(&self) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        self.changed();
        *open = None;
    }
}

/// What is told of the records while they are opened again.
fn opening() -> Fault {
    Fault::Unavailable("the records are opened again after an I/O error".into())
}

fn open(path: &Path, cache: usize) -> Result<(redb::Database, Log), Fault> {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(cache);
    let began = Instant::now();
    // What an earlier version has left, or a crash while the records were made, redb reads as a whole. Whoever waits for
    // that should know why.
    let repaired = Arc::new(AtomicBool::new(false));
    let told = repaired.clone();
    builder.set_repair_callback(move |session| {
        told.store(true, Ordering::Relaxed);
        let seconds = began.elapsed().as_secs();
        tracing::info!(seconds, "checking the records after a crash: {:.0} %", session.progress() * 100.0);
    });
    let opened = builder.open(path).map_err(|error| fault::of_records("open", error))?;
    let number = match number(&opened).map_err(|error| fault::of_records("read", error))? {
        Some(number) if !repaired.load(Ordering::Relaxed) => number,
        // So that the next crash has nothing to repair.
        Some(number) => checkpoint(&opened, |_| number).map_err(|error| fault::of_records("write", error))?,
        None => checkpoint(&opened, following).map_err(|error| fault::of_records("write", error))?,
    };
    let log = replay(&opened, path, number).map_err(|error| fault::of_records("apply the log to", error))?;
    Ok((opened, log))
}

/// Applies the log of that number to the records.
fn replay(database: &redb::Database, path: &Path, number: u64) -> Result<Log, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(redb::Durability::None)?;
    let log = {
        let mut table = transaction.open_table(TABLE)?;
        Log::open(path.parent().unwrap_or(path), number, |(key, value)| {
            match value {
                Some(value) => drop(table.insert(key, value)?),
                None => drop(table.remove(key)?),
            }
            Ok(())
        })?
    };
    transaction.commit()?;
    Ok(log)
}

/// The number of the log that belongs to the records, if they have ever had one.
fn number(database: &redb::Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(LOG) {
        Ok(table) => Ok(table.get(())?.map(|number| number.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A number that no other log has.
fn any_number() -> u64 {
    // Half of the range is left to count in.
    Uuid::new_v4().as_u64_pair().0 >> 1
}

/// The number of the log after that one.
pub(super) fn following(number: Option<u64>) -> u64 {
    number.map_or_else(any_number, |number| number.wrapping_add(1))
}

/// Makes all records durable in the form that opens at once after a crash, and gives them another log, whose number is
/// returned.
pub(super) fn checkpoint(database: &redb::Database, next: impl FnOnce(Option<u64>) -> u64) -> Result<u64, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let number = {
        let mut table = transaction.open_table(LOG)?;
        let before = table.get(())?.map(|number| number.value());
        let number = next(before);
        table.insert((), number)?;
        number
    };
    transaction.commit()?;
    Ok(number)
}

/// Makes an empty file for records, which its owner alone may read: the key that signs tokens is among them.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// Takes from other users the right to read records that a version made which kept no key among them.
fn close_to_others(path: &Path) {
    const OTHERS: u32 = 0o007;
    let Ok(mode) = fs::metadata(path).map(|found| found.permissions().mode()) else { return };
    if mode & OTHERS != 0
        && let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS))
    {
        let path = path.display();
        tracing::warn!("{path} can be read by every user of this machine, and that cannot be changed: {error}");
    }
}

/// Makes empty records, whole or not at all: redb does not open what a crash has left half made. The name is for the
/// caller to make durable.
fn make_if_missing(path: &Path) -> Result<(), Fault> {
    let failed = |error| fault::at("make", path, &error);
    if path.try_exists().map_err(failed)? {
        return Ok(());
    }
    let unfinished = path.with_extension("new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let make = || -> Result<(), redb::Error> {
        make_private(&unfinished)?;
        let database = redb::Database::create(&unfinished)?;
        let transaction = database.begin_write()?;
        // Readers expect the table to be there.
        transaction.open_table(TABLE)?;
        Ok(transaction.commit()?)
    };
    make().map_err(|error| fault::of_records("make", error))?;
    fs::rename(unfinished, path).map_err(failed)
}
