//! The records: one ordered map from key to value in a redb file.
//!
//! Reads take a snapshot each and never wait for a writer. Changes go through the one [writer],
//! which makes many commits durable with one fsync of the [log].

mod database;
mod log;
mod writer;

use std::ops::Bound;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use orlop_core::Fault;
use orlop_core::effect::{Commit, Committed, Durability, Get, Scan, Value};
use orlop_core::keys::Key;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use tokio::sync::oneshot;
use tokio::time::sleep;

use self::database::{Database, RECORDS_FILE, Snapshot, make_private};
use self::writer::{Made, Order, Writer};
use crate::settings::Options;
use crate::storage::counters::Counters;
use crate::storage::disk::blocking;
use crate::storage::disk::fault;

/// Keys and values as the core makes them. Keys are texts, kept as bytes: redb would make sure that a `str` is UTF-8
/// each time it compares two.
const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");

/// How many keys are looked up, or entries listed, without another thread.
const AT_ONCE: usize = 64;

/// How many entries are listed without another thread where more are not asked for: those of an ordinary page of tags. It
/// would be known only at its last entry that such a list is long, and all of it would be listed again.
const PAGE_AT_ONCE: usize = 128;

/// How many records a backup copies in one transaction.
const COPIED: usize = 20_000;

/// How long whoever reads waits for records that are opened anew after an I/O error.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it looks whether they are open.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How much memory a copy takes for its pages, in bytes.
const COPY_CACHE: usize = 16 << 20;

/// The records of one data directory.
pub(crate) struct Records {
    database: Arc<Database>,
    orders: Sender<Order>,
    writer: Arc<Mutex<Writer>>,
    thread: Option<JoinHandle<()>>,
}

impl Records {
    /// Whether there are records in `directory`.
    pub(crate) fn exist(directory: &Path) -> Result<bool, Fault> {
        let path = directory.join(RECORDS_FILE);
        path.try_exists().map_err(|error| fault::at("look for", &path, &error))
    }

    /// Opens or makes the records in `directory`. Once less than `keep_free` bytes are free on the disk, commits that
    /// add something are refused.
    pub(crate) fn open(directory: &Path, options: &Options, counters: &Counters) -> Result<Self, Fault> {
        let (database, log) = Database::open(directory.join(RECORDS_FILE), options.cache)?;
        let database = Arc::new(database);
        let (orders, queue) = std::sync::mpsc::channel();
        let writer = Arc::new(Mutex::new(Writer::new(database.clone(), log, options, counters.clone())));
        let working = writer.clone();
        let thread = std::thread::Builder::new()
            .name("records".into())
            .spawn(move || Writer::run(&working, &queue))
            .map_err(|error| fault::at("start the writer of", directory, &error))?;
        Ok(Self { database, orders, writer, thread: Some(thread) })
    }

    /// Copies all records, as they are at this moment, into new ones in `directory`. How many there are.
    pub(crate) fn copy_to(&self, directory: &Path) -> Result<u64, Fault> {
        let path = directory.join(RECORDS_FILE);
        make_private(&path).map_err(|error| fault::at("make", &path, &error))?;
        let made = redb::Database::builder().set_cache_size(COPY_CACHE).create(path);
        let made = made.map_err(|error| fault::of_records("make a copy of", error))?;
        self.read(|table| {
            let mut entries = table.iter()?.peekable();
            let mut count = 0;
            loop {
                // A transaction holds what it writes in memory.
                let transaction = made.begin_write()?;
                {
                    let mut copy = transaction.open_table(TABLE)?;
                    for entry in entries.by_ref().take(COPIED) {
                        let (key, value) = entry?;
                        copy.insert(key.value(), value.value())?;
                        count += 1;
                    }
                }
                transaction.commit()?;
                if entries.peek().is_none() {
                    return Ok(count);
                }
            }
        })
    }

    /// How many records there are.
    pub(crate) fn count(&self) -> Result<u64, Fault> {
        self.read(|table| Ok(table.len()?))
    }

    /// Looks keys up in one snapshot.
    ///
    /// A few are looked up on the thread that serves the connection: one takes 2 to 3 µs from memory and is one short
    /// disk read otherwise, and handing it to another thread would cost more than it does.
    pub(crate) async fn get(self: &Arc<Self>, get: Get) -> Result<Vec<Option<Value>>, Fault> {
        let (mut patience, get) = (Patience::default(), Arc::new(get));
        loop {
            let found = if get.keys.len() <= AT_ONCE {
                self.look_up(&get)
            } else {
                let (records, get) = (self.clone(), get.clone());
                blocking::run(move || records.look_up(&get)).await
            };
            if !patience.has_waited(&found).await {
                return found;
            }
        }
    }

    fn look_up(&self, get: &Get) -> Result<Vec<Option<Value>>, Fault> {
        self.read(|table| {
            let look_up =
                |key: &Key| Ok(table.get(key.as_str().as_bytes())?.map(|value| Bytes::copy_from_slice(value.value())));
            get.keys.iter().map(look_up).collect()
        })
    }

    /// Lists a page of entries.
    pub(crate) async fn scan(self: &Arc<Self>, scan: Scan) -> Result<Vec<(Key, Value)>, Fault> {
        let (mut patience, scan) = (Patience::default(), Arc::new(scan));
        loop {
            // Most lists are short, such as the chunks of an upload; that one is not is seen at once.
            let most = if scan.limit <= PAGE_AT_ONCE { scan.limit } else { AT_ONCE };
            let page = match self.page(&scan, most).transpose() {
                Some(page) => page,
                None => {
                    let (records, asked) = (self.clone(), scan.clone());
                    let whole = blocking::run(move || records.page(&asked, usize::MAX)).await;
                    whole.map(Option::unwrap_or_default)
                }
            };
            if !patience.has_waited(&page).await {
                return page;
            }
        }
    }

    /// A page; nothing if more than `most` entries have to be read for it.
    fn page(&self, scan: &Scan, most: usize) -> Result<Option<Vec<(Key, Value)>>, Fault> {
        let prefix = scan.prefix.as_str().as_bytes();
        // A key before the prefix is no reason to walk through all that stands between the two.
        let start = match scan.after.as_ref().map(|after| after.as_str().as_bytes()) {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.read(|table| {
            let mut entries = Vec::new();
            let mut bytes = 0;
            for entry in table.range::<&[u8]>((start, Bound::Unbounded))? {
                let (key, value) = entry?;
                if entries.len() >= scan.limit || !key.value().starts_with(prefix) {
                    break;
                }
                if entries.len() >= most {
                    return Ok(None);
                }
                bytes += value.value().len();
                if bytes > scan.bytes && !entries.is_empty() {
                    break;
                }
                entries
                    .push((Key::stored(String::from_utf8_lossy(key.value())), Bytes::copy_from_slice(value.value())));
            }
            Ok(Some(entries))
        })
    }

    /// Changes records, all or nothing, and answers when the change is as durable as it asks to be.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Committed, Fault> {
        if commit.durability == Durability::Eventual
            && let Some(mut writer) = Writer::at_rest(&self.writer)
        {
            let Made { outcome, order } = writer.make_at_once(commit);
            drop(writer);
            if let Some(order) = order {
                let _ = self.orders.send(order);
            }
            return outcome;
        }
        let (answer, outcome) = oneshot::channel();
        // The queue needs no bound of its own: a call waits for its commit, so there are never more than calls.
        let sent = self.orders.send(Order::Commit { commit, answer });
        let gone = || Fault::Failed("the writer of the records is gone".into());
        sent.map_err(|_| gone())?;
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    fn read<T>(&self, look: impl FnOnce(&Snapshot) -> Result<T, redb::Error>) -> Result<T, Fault> {
        let outcome = self.database.read(look);
        outcome.inspect_err(|_| {
            // Once an I/O error was seen, redb answers nothing until it is opened anew. With nobody to write,
            // nobody else would notice.
            let _ = self.orders.send(Order::Recover);
        })
    }
}

/// Waiting while the records are opened anew: that takes a moment, as a rule. No thread waits meanwhile.
#[derive(Default)]
struct Patience(Option<Instant>);

impl Patience {
    /// Waits a little if the records are not open now and may soon be. Whether it is to be tried again.
    async fn has_waited<T>(&mut self, outcome: &Result<T, Fault>) -> bool {
        if !matches!(outcome, Err(Fault::Unavailable(_))) {
            return false;
        }
        if self.0.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
            return false;
        }
        sleep(LOOK_AGAIN).await;
        true
    }
}

impl Drop for Records {
    /// Makes everything durable and closes the file, so that the next opening has nothing to repair.
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
