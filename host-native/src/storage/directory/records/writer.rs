//! The one thread that changes records: it takes all commits that wait, applies them one by one inside one
//! transaction, and makes them durable with one fsync.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use orlop_core::Fault;
use orlop_core::effect::{Commit, Committed, Durability, Value};
use orlop_core::judge::Snapshot;
use orlop_core::keys::{Key, Prefix};
use redb::{ReadableTable, Table};
use tokio::sync::oneshot;

use super::TABLE;
use super::database::Database;
use crate::storage::directory::counters::Counters;
use crate::storage::directory::space;

/// How many commits share a transaction at most: enough to spread the cost of an fsync, few enough that the
/// first of them does not wait long for the last.
const BATCH: usize = 256;

/// How long a commit that asked for [`Durability::Eventual`] may lie in memory when no durable one follows.
const EVENTUALLY: Duration = Duration::from_secs(1);

/// How often opening the records is tried again while it fails.
const RECOVERY_PAUSE: Duration = Duration::from_millis(500);

/// What the writer is asked to do.
pub(super) enum Order {
    /// Change records and answer.
    Commit { commit: Commit, answer: oneshot::Sender<Result<Committed, Fault>> },
    /// See whether the records still answer, and open them again if not.
    Recover,
    /// Make everything durable and end.
    Close,
}

type Outcome = Result<Committed, Fault>;
type Answer = oneshot::Sender<Outcome>;

pub(super) struct Writer {
    database: Arc<Database>,
    keep_free: u64,
    counters: Counters,
    /// Since when there is a commit that is not durable.
    eventual_since: Option<Instant>,
    /// When opening the records failed last.
    failed_at: Option<Instant>,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>, keep_free: u64, counters: Counters) -> Self {
        Self { database, keep_free, counters, eventual_since: None, failed_at: None }
    }

    /// Works until it is told to close.
    pub(super) fn run(mut self, queue: &Receiver<Order>) {
        let mut open = true;
        while open {
            let first = match self.next(queue) {
                Ok(order) => order,
                Err(RecvTimeoutError::Timeout) => {
                    self.flush();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => Order::Close,
            };
            let mut batch = Vec::new();
            let mut recover = false;
            for order in std::iter::once(first).chain(queue.try_iter()) {
                match order {
                    Order::Commit { commit, answer } => batch.push((commit, answer)),
                    Order::Recover => recover = true,
                    Order::Close => open = false,
                }
                if batch.len() == BATCH || !open {
                    break;
                }
            }
            if recover && !self.database.is_sound() {
                self.recover();
            }
            self.write(batch);
        }
        self.flush();
        self.database.close();
    }

    fn next(&self, queue: &Receiver<Order>) -> Result<Order, RecvTimeoutError> {
        match self.eventual_since {
            Some(since) => queue.recv_timeout(EVENTUALLY.saturating_sub(since.elapsed())),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Applies a batch and answers each of its commits, once it is as durable as the most demanding asks.
    fn write(&mut self, batch: Vec<(Commit, Answer)>) {
        if batch.is_empty() {
            return;
        }
        let (commits, answers): (Vec<Commit>, Vec<Answer>) = batch.into_iter().unzip();
        match self.apply(&commits) {
            // An answer that nobody waits for belongs to a call that was given up; its commit stands.
            Ok(outcomes) => answers.into_iter().zip(outcomes).for_each(|(answer, outcome)| {
                let _ = answer.send(outcome);
            }),
            Err(fault) => {
                tracing::error!(commits = answers.len(), "the records could not be changed: {fault}");
                self.recover();
                answers.into_iter().for_each(|answer| {
                    let _ = answer.send(Err(fault.clone()));
                });
            }
        }
    }

    fn apply(&mut self, commits: &[Commit]) -> Result<Vec<Outcome>, Fault> {
        let room = space::check(self.database.path(), self.keep_free / 2);
        // While an eventual commit waits too long for a durable one, the next batch takes it along.
        let overdue = self.eventual_since.is_some_and(|since| since.elapsed() >= EVENTUALLY);
        let durable = overdue || commits.iter().any(|commit| commit.durability == Durability::Durable);
        let (outcomes, changed) = self.transaction(durable, |table| {
            let mut changed = false;
            let mut outcomes = Vec::with_capacity(commits.len());
            for commit in commits {
                // Only what takes away may use the last of the space: it is how space comes back.
                match &room {
                    Err(fault) if !commit.reclaims => outcomes.push(Err(fault.clone())),
                    _ => {
                        let outcome = change(table, commit)?;
                        changed |= outcome == Ok(Committed::Done);
                        match outcome {
                            Ok(Committed::Done) => drop(self.counters.commits.inc()),
                            Ok(Committed::Conflict) => drop(self.counters.conflicts.inc()),
                            Err(_) => {}
                        }
                        outcomes.push(outcome);
                    }
                }
            }
            Ok((outcomes, changed))
        })?;
        // redb keeps the order: a durable commit takes every earlier one with it.
        if changed && durable {
            self.eventual_since = None;
        } else if changed {
            self.eventual_since.get_or_insert_with(Instant::now);
        }
        Ok(outcomes)
    }

    /// One write transaction, which `work` may find to have changed nothing. A panic inside redb fails it like an
    /// error does.
    fn transaction<T>(
        &self,
        durable: bool,
        work: impl FnOnce(&mut Table<'_, &'static [u8], &'static [u8]>) -> Result<(T, bool), redb::Error>,
    ) -> Result<(T, bool), Fault> {
        let transact = || {
            self.database.with(|database| {
                let mut transaction = database.begin_write()?;
                let durability = if durable { redb::Durability::Immediate } else { redb::Durability::None };
                transaction.set_durability(durability)?;
                let (done, changed) = work(&mut transaction.open_table(TABLE)?)?;
                if changed {
                    transaction.commit()?;
                    if durable {
                        self.counters.fsyncs.inc();
                    }
                } else {
                    transaction.abort()?;
                }
                Ok((done, changed))
            })
        };
        let outcome = catch_unwind(AssertUnwindSafe(transact));
        // Also after a fault: what was asked may have happened.
        self.database.changed();
        outcome.unwrap_or_else(|_| Err(Fault::Failed("the store of the records panicked".into())))
    }

    /// Makes eventual commits durable.
    fn flush(&mut self) {
        if self.eventual_since.take().is_some()
            && let Err(fault) = self.transaction(true, |_| Ok(((), true)))
        {
            tracing::error!("the records could not be made durable: {fault}");
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
        match self.database.reopen() {
            Ok(()) => {
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
fn change(table: &mut Table<'_, &'static [u8], &'static [u8]>, commit: &Commit) -> Result<Outcome, redb::Error> {
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
