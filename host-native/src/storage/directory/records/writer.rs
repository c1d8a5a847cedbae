//! Who changes records: the one thread that takes all commits that wait, applies them one by one inside one transaction,
//! and makes them durable in the [log](super::log) with one fsync; or, while that thread has nothing to do, whoever has a
//! commit that need not be durable at once, for to hand it over and wait costs more than to make it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orlop_core::Fault;
use orlop_core::effect::{Commit, Committed, Durability, Value};
use orlop_core::judge::Snapshot;
use orlop_core::keys::{Key, Prefix};
use redb::{ReadableTable, Table};
use tokio::sync::oneshot;

use super::TABLE;
use super::database::{Database, checkpoint, following};
use super::log::{Entry, Log};
use crate::settings::Options;
use crate::storage::counters::Counters;
use crate::storage::disk::fault;
use crate::storage::disk::space;

/// How many commits share a transaction at most: enough to spread the cost of an fsync, few enough that the
/// first of them does not wait long for the last.
const BATCH: usize = 256;

/// How long a commit that asked for [`Durability::Eventual`] may lie in memory when no durable one follows.
const EVENTUALLY: Duration = Duration::from_secs(1);

/// How long it is known whether there is space: less than a disk takes to write what is kept free.
const KNOWN: Duration = Duration::from_millis(10);

/// How many times as much space as the log has must be free for a checkpoint, which writes whole pages. One that finds
/// no space would have the records opened again.
const CHECKPOINT_SPACE: u64 = 4;

/// How often opening the records is tried again while it fails.
const RECOVERY_PAUSE: Duration = Duration::from_millis(500);

/// What the writer is asked to do.
pub(super) enum Order {
    /// Change records and answer.
    Commit { commit: Commit, answer: oneshot::Sender<Result<Committed, Fault>> },
    /// See whether the records still answer, and open them again if not.
    Recover,
    /// Look when there is something to make durable.
    Look,
    /// Make everything durable and end.
    Close,
}

type Outcome = Result<Committed, Fault>;
type Answer = oneshot::Sender<Outcome>;

pub(super) struct Writer {
    database: Arc<Database>,
    /// Gone once it has failed, until the records are open again.
    log: Option<Log>,
    /// How many bytes the log has at a checkpoint: few enough that they are applied in a fraction of a second, many enough
    /// that a checkpoint, which writes each changed page once and waits for the disk twice, does not count.
    full: u64,
    /// How many it has at the next.
    due: u64,
    keep_free: u64,
    counters: Counters,
    /// Since when there is a commit that is not durable.
    eventual_since: Option<Instant>,
    /// Whether the thread sleeps until it gets an order, whatever time it is.
    asleep: bool,
    /// Whether something has come since it began to wait last.
    worked: bool,
    /// Whether there is space, and since when that is known.
    room: Option<(Instant, Result<(), Fault>)>,
    /// When opening the records failed last.
    failed_at: Option<Instant>,
}

/// What one must do for a commit that was [made at once](Writer::make_at_once).
pub(super) struct Made {
    pub(super) outcome: Outcome,
    /// What the thread is to be told, if anything.
    pub(super) order: Option<Order>,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>, log: Log, options: &Options, counters: Counters) -> Self {
        Self {
            database,
            log: Some(log),
            full: options.log,
            due: options.log,
            keep_free: options.keep_free,
            counters,
            eventual_since: None,
            asleep: false,
            worked: false,
            room: None,
            failed_at: None,
        }
    }

    /// Works until it is told to close.
    pub(super) fn run(writer: &Mutex<Self>, queue: &Receiver<Order>) {
        let lock = || writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = true;
        while open {
            let wait = lock().wait();
            let next = match wait {
                Some(wait) => queue.recv_timeout(wait),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            open = lock().work(next, queue);
        }
        let mut writer = lock();
        writer.flush();
        if writer.log.as_ref().is_some_and(|log| log.length() > 0) {
            writer.checkpoint();
        }
        writer.database.close();
    }

    /// The writer, if it has nothing to do.
    pub(super) fn at_rest(writer: &Mutex<Self>) -> Option<MutexGuard<'_, Self>> {
        writer.try_lock().ok()
    }

    /// Makes a commit that need not be durable at once.
    pub(super) fn make_at_once(&mut self, commit: Commit) -> Made {
        match self.apply(&[commit]) {
            Ok(mut outcomes) => {
                let outcome = outcomes.pop().unwrap_or(Ok(Committed::Conflict));
                let asleep = std::mem::take(&mut self.asleep);
                self.worked = true;
                Made { outcome, order: asleep.then_some(Order::Look) }
            }
            Err(fault) => {
                tracing::error!(commits = 1, "the records could not be changed: {fault}");
                Made { outcome: Err(fault), order: Some(Order::Recover) }
            }
        }
    }

    /// How long to wait for an order: until an eventual commit is due, or may be that is made meanwhile. Without an end
    /// once nothing has come for as long.
    fn wait(&mut self) -> Option<Duration> {
        let worked = std::mem::take(&mut self.worked);
        self.asleep = self.eventual_since.is_none() && !worked;
        let passed = self.eventual_since.map_or(Duration::ZERO, |since| since.elapsed());
        (!self.asleep).then(|| EVENTUALLY.saturating_sub(passed))
    }

    /// Does what has come. Whether it goes on.
    fn work(&mut self, next: Result<Order, RecvTimeoutError>, queue: &Receiver<Order>) -> bool {
        let mut open = true;
        let first = match next {
            Ok(order) => order,
            Err(RecvTimeoutError::Timeout) => {
                if self.eventual_since.is_some_and(|since| since.elapsed() >= EVENTUALLY) {
                    self.flush();
                }
                Order::Look
            }
            Err(RecvTimeoutError::Disconnected) => Order::Close,
        };
        let mut batch = Vec::new();
        let mut recover = false;
        for order in std::iter::once(first).chain(queue.try_iter()) {
            match order {
                Order::Commit { commit, answer } => batch.push((commit, answer)),
                Order::Recover => recover = true,
                Order::Look => {}
                Order::Close => open = false,
            }
            if batch.len() == BATCH || !open {
                break;
            }
        }
        if recover {
            self.recover_if_broken();
        }
        self.write(batch);
        if self.log.as_ref().is_some_and(|log| log.length() >= self.due) {
            self.checkpoint();
        }
        open
    }

    /// Whether there is space for more.
    fn room(&mut self) -> Result<(), Fault> {
        let known = self.room.take().filter(|(since, _)| since.elapsed() < KNOWN);
        let path = self.database.path();
        self.room.insert(known.unwrap_or_else(|| (Instant::now(), space::check(path, self.keep_free / 2)))).1.clone()
    }

    /// Applies a batch and answers each of its commits, once it is as durable as the most demanding asks.
    fn write(&mut self, batch: Vec<(Commit, Answer)>) {
        if batch.is_empty() {
            return;
        }
        self.worked = true;
        let (commits, answers): (Vec<Commit>, Vec<Answer>) = batch.into_iter().unzip();
        match self.apply(&commits) {
            // An answer that nobody waits for belongs to a call that was given up; its commit stands.
            Ok(outcomes) => answers.into_iter().zip(outcomes).for_each(|(answer, outcome)| {
                let _ = answer.send(outcome);
            }),
            Err(fault) => {
                tracing::error!(commits = answers.len(), "the records could not be changed: {fault}");
                self.recover_if_broken();
                answers.into_iter().for_each(|answer| {
                    let _ = answer.send(Err(fault.clone()));
                });
            }
        }
    }

    fn apply(&mut self, commits: &[Commit]) -> Result<Vec<Outcome>, Fault> {
        let room = self.room();
        // While an eventual commit waits too long for a durable one, the next batch takes it along.
        let overdue = self.eventual_since.is_some_and(|since| since.elapsed() >= EVENTUALLY);
        let durable = overdue || commits.iter().any(|commit| commit.durability == Durability::Durable);
        let counters = self.counters.clone();
        let (outcomes, changed) = self.transaction(durable, |table| {
            let mut entry = Entry::default();
            let mut outcomes = Vec::with_capacity(commits.len());
            for commit in commits {
                // Only what takes away may use the last of the space: it is how space comes back.
                match &room {
                    Err(fault) if !commit.reclaims => outcomes.push(Err(fault.clone())),
                    _ => {
                        let outcome = change(table, commit, &mut entry)?;
                        match outcome {
                            Ok(Committed::Done) => drop(counters.commits.inc()),
                            Ok(Committed::Conflict) => drop(counters.conflicts.inc()),
                            Err(_) => {}
                        }
                        outcomes.push(outcome);
                    }
                }
            }
            Ok((outcomes, entry))
        })?;
        // The log keeps the order: a durable commit takes every earlier one with it.
        if changed && durable {
            self.eventual_since = None;
        } else if changed {
            self.eventual_since.get_or_insert_with(Instant::now);
        }
        Ok(outcomes)
    }

    /// One write transaction, whose changes go into the log before anybody sees them. `work` gives them, and may find
    /// that there are none; whether there were is returned.
    fn transaction<T>(
        &mut self,
        durable: bool,
        work: impl FnOnce(&mut Table<'_, &'static [u8], &'static [u8]>) -> Result<(T, Entry), redb::Error>,
    ) -> Result<(T, bool), Fault> {
        let fsyncs = self.counters.fsyncs.clone();
        self.with_log(|database, log| {
            let mut transaction = database.begin_write()?;
            // The log makes it durable.
            transaction.set_durability(redb::Durability::None)?;
            let (done, entry) = work(&mut transaction.open_table(TABLE)?)?;
            if entry.is_empty() {
                transaction.abort()?;
                return Ok(Ok((done, false)));
            }
            match log.append(entry) {
                // Nothing has changed, and the log goes on from where it was: on a full disk all can still be read.
                Err(error) if fault::is_full(&error) => {
                    transaction.abort()?;
                    return Ok(Err(fault::of_records("append to the log of", error)));
                }
                appended => appended?,
            }
            if durable && log.sync()? {
                fsyncs.inc();
            }
            transaction.commit()?;
            Ok(Ok((done, true)))
        })?
    }

    /// Uses the records and their log. After an error or a panic the log is not used any more: what it has on the disk is
    /// not known.
    fn with_log<T>(
        &mut self,
        work: impl FnOnce(&redb::Database, &mut Log) -> Result<T, redb::Error>,
    ) -> Result<T, Fault> {
        let gone = || Fault::Unavailable("the records are not open after an error".into());
        let mut log = self.log.take().ok_or_else(gone)?;
        let outcome = catch_unwind(AssertUnwindSafe(|| self.database.with(|database| work(database, &mut log))));
        // Also after a fault: what was asked may have happened.
        self.database.changed();
        let outcome = outcome.unwrap_or_else(|_| Err(Fault::Failed("the store of the records panicked".into())));
        self.log = Some(log).filter(|_| outcome.is_ok());
        outcome
    }

    /// Makes eventual commits durable.
    fn flush(&mut self) {
        if self.eventual_since.take().is_none() {
            return;
        }
        let fsyncs = self.counters.fsyncs.clone();
        let flushed = self.with_log(|_, log| {
            if log.sync()? {
                fsyncs.inc();
            }
            Ok(())
        });
        if let Err(fault) = flushed {
            tracing::error!("the records could not be made durable: {fault}");
            self.recover();
        }
    }

    /// Makes redb durable with all that is in the log, which begins anew. While the disk is too full for that, the log
    /// grows.
    fn checkpoint(&mut self) {
        let (before, full) = (self.log.as_ref().map_or(0, Log::length), self.full);
        if space::check(self.database.path(), before.saturating_mul(CHECKPOINT_SPACE)).is_err() {
            self.due = before.saturating_add(full);
            return;
        }
        let made = self.with_log(|database, log| {
            let number = checkpoint(database, following)?;
            Ok(log.restart(number, full.saturating_mul(2))?)
        });
        match made {
            Ok(()) => {
                self.counters.fsyncs.inc_by(2);
                self.due = full;
                self.eventual_since = None;
            }
            Err(fault) => {
                // All of it is in the log still. A disk that is full takes less for a small change than for this.
                self.due = before.saturating_add(full);
                tracing::error!("the log could not be taken into the records, and grows: {fault}");
                self.recover();
            }
        }
    }

    /// Opens the records again if they cannot be used as they are.
    fn recover_if_broken(&mut self) {
        if self.log.is_none() || !self.database.is_sound() {
            self.recover();
        }
    }

    /// Opens the records again after an error, as they were at the last durable commit: what a crash keeps. Not more
    /// often than now and then, so that a broken disk is not kept busy by retries.
    fn recover(&mut self) {
        if self.failed_at.is_some_and(|at| at.elapsed() < RECOVERY_PAUSE) {
            return;
        }
        self.eventual_since = None;
        self.log = None;
        match self.database.reopen() {
            Ok(log) => {
                self.log = Some(log);
                tracing::warn!("the records are open again");
                self.failed_at = None;
            }
            Err(fault) => {
                tracing::error!("the records cannot be opened: {fault}");
                self.failed_at = Some(Instant::now());
            }
        }
    }
}

/// Applies one commit: first all its expectations, then all its changes, so it is made whole or not at all.
/// What it changes goes into `entry` as well.
fn change(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    commit: &Commit,
    entry: &mut Entry,
) -> Result<Outcome, redb::Error> {
    // Whether a record is damaged or the storage fails is not the same to the commits of the others.
    let judged = {
        let records = Current { table, failed: RefCell::new(None) };
        let judged = commit.holds(&records).and_then(|holds| holds.then(|| commit.changes(&records)).transpose());
        if let Some(error) = records.failed.into_inner() {
            return Err(error);
        }
        judged
    };
    let changes = match judged {
        Ok(Some(changes)) => changes,
        Ok(None) => return Ok(Ok(Committed::Conflict)),
        Err(fault) => return Ok(Err(fault)),
    };
    for (key, value) in changes {
        entry.push(&key, value.as_ref());
        match value {
            Some(value) => drop(table.insert(key.as_str().as_bytes(), value.as_ref())?),
            None => drop(table.remove(key.as_str().as_bytes())?),
        }
    }
    Ok(Ok(Committed::Done))
}

/// The records as the transaction has them.
struct Current<'t, 'a> {
    table: &'t Table<'a, &'static [u8], &'static [u8]>,
    /// The error for which a fault stands.
    failed: RefCell<Option<redb::Error>>,
}

impl Current<'_, '_> {
    fn ask<T>(&self, answer: Result<T, impl Into<redb::Error>>) -> Result<T, Fault> {
        answer.map_err(|error| {
            *self.failed.borrow_mut() = Some(error.into());
            Fault::Failed("the records cannot be read".into())
        })
    }
}

impl Snapshot for Current<'_, '_> {
    fn value(&self, key: &Key) -> Result<Option<Value>, Fault> {
        let found = self.ask(self.table.get(key.as_str().as_bytes()))?;
        Ok(found.map(|value| Value::copy_from_slice(value.value())))
    }

    fn has(&self, key: &Key) -> Result<bool, Fault> {
        Ok(self.ask(self.table.get(key.as_str().as_bytes()))?.is_some())
    }

    fn any_under(&self, prefix: &Prefix) -> Result<bool, Fault> {
        let prefix = prefix.as_str().as_bytes();
        match self.ask(self.table.range::<&[u8]>(prefix..))?.next() {
            Some(entry) => Ok(self.ask(entry)?.0.value().starts_with(prefix)),
            None => Ok(false),
        }
    }
}
