//! Who changes records: one task for each process, which sends all commits that wait as one batch, and goes on when it
//! knows what became of it.
//!
//! A batch is one statement and one round trip, and so one transaction that the server commits by itself. When its
//! connection dies, it may have been made or not. The batch carries a nonce, by which that is found out on another
//! connection, before anything else is sent. So whatever is answered with [`Committed`] is true.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orlop_core::Fault;
use orlop_core::effect::{Commit, Committed};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::connection::{Connection, Database, Lost};
use super::state::{self, Cure};
use super::waves::Batch;
use crate::storage::counters::Counters;

/// How many commits a batch has at most.
const MOST: usize = 256;

/// After how many bytes a batch is full.
const FULL: usize = 4 << 20;

/// How long a commit waits until it is made or refused: longer than a failover takes, and far less than the time in which
/// the bytes of its call are safe.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a statement may take on a connection that seems to live. The lock is waited for less.
const ANSWER: Duration = Duration::from_secs(8);

/// The pauses between tries: a random part of the longest.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(500);

const COMMIT: &str = "SELECT orlop.commit($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const SETTLE: &str = "SELECT orlop.settle($1)";
const FORGET: &str = "SELECT orlop.forget()";

/// How often outcomes are forgotten that no process asks for any more: what failovers have left, and processes that have
/// ended. That of the batch before goes with each batch.
const FORGETTING: Duration = Duration::from_secs(600);

type Outcome = Result<Committed, Fault>;

/// A commit that waits.
pub(super) struct Order {
    pub(super) commit: Commit,
    pub(super) until: Instant,
    pub(super) answer: oneshot::Sender<Outcome>,
}

/// What one attempt at a batch came to.
enum Attempt {
    /// It was made; these came too late.
    Made(Vec<i32>),
    /// It was not made, and never will be.
    NotMade(Fault, Cure),
    /// Whether it was made is not known.
    Unknown(Fault),
}

pub(super) struct Writer {
    database: Arc<Database>,
    connection: Option<Connection>,
    counters: Counters,
    /// The batch before, whose outcome is known.
    before: Uuid,
    /// When old outcomes were forgotten last.
    forgot: Option<Instant>,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>, connection: Connection, counters: Counters) -> Self {
        Self { database, connection: Some(connection), counters, before: Uuid::nil(), forgot: None }
    }

    /// Makes commits until nobody can ask for any more.
    pub(super) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Order>) {
        let mut waiting: VecDeque<Order> = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match queue.recv().await {
                    Some(order) => waiting.push_back(order),
                    None => return,
                }
            }
            // Calls that were answered just now go on first, so that what they commit next goes with this batch.
            tokio::task::yield_now().await;
            while let Ok(order) = queue.try_recv() {
                waiting.push_back(order);
            }
            let (batch, orders) = gather(&mut waiting);
            if !orders.is_empty() {
                self.make(batch, orders).await;
            }
            if self.forgot.is_none_or(|forgot| forgot.elapsed() > FORGETTING) {
                self.forgot = Some(Instant::now());
                self.forget().await;
            }
        }
    }

    /// Makes a batch, and answers each of its commits.
    async fn make(&mut self, batch: Batch, orders: Vec<Order>) {
        self.counters.batches.inc();
        let until = orders.iter().map(|order| order.until).min().unwrap_or_else(Instant::now);
        match self.try_until(&batch, until).await {
            Ok(late) => answer(orders, &late, &self.counters),
            // One of them may be what the database does not take: the others need not fail for it.
            Err((Fault::Failed(_), true)) if orders.len() > 1 => {
                for order in orders {
                    let mut alone = Batch::default();
                    alone.take(&order.commit);
                    match self.try_until(&alone, order.until).await {
                        Ok(late) => answer(vec![order], &late, &self.counters),
                        Err((fault, _)) => refuse(vec![order], &fault),
                    }
                }
            }
            Err((fault, _)) => refuse(orders, &fault),
        }
    }

    /// Tries to make a batch. Otherwise why not, and whether it is certain that it was not made.
    async fn try_until(&mut self, batch: &Batch, until: Instant) -> Result<Vec<i32>, (Fault, bool)> {
        let mut pause = SHORTEST;
        loop {
            let nonce = nonce();
            let mut attempt = self.send(nonce, batch).await;
            let mut settling = SHORTEST;
            while let Attempt::Unknown(fault) = attempt {
                if Instant::now() >= until {
                    return Err((fault, false));
                }
                wait(&mut settling).await;
                attempt = self.settle(nonce, fault).await;
            }
            match attempt {
                Attempt::Made(late) => {
                    self.before = nonce;
                    return Ok(late);
                }
                Attempt::NotMade(fault, Cure::Again | Cure::Reconnect) if Instant::now() < until => {
                    tracing::debug!("a batch of {} commits is tried again: {fault}", batch.count);
                    self.counters.retries.inc();
                    wait(&mut pause).await;
                }
                Attempt::NotMade(fault, _) => return Err((fault, true)),
                Attempt::Unknown(fault) => return Err((fault, false)),
            }
        }
    }

    /// Sends a batch, once.
    async fn send(&mut self, nonce: Uuid, batch: &Batch) -> Attempt {
        let connection = match self.connected().await {
            Ok(connection) => connection,
            Err(fault) => return Attempt::NotMade(fault, Cure::Reconnect),
        };
        let parameters: [(&(dyn ToSql + Sync), Type); 9] = [
            (&nonce, Type::UUID),
            (&self.before, Type::UUID),
            (&batch.durable, Type::BOOL),
            (&batch.last_wave, Type::INT4),
            (&batch.commits, Type::INT4_ARRAY),
            (&batch.waves, Type::INT4_ARRAY),
            (&batch.kinds, Type::INT4_ARRAY),
            (&batch.keys, Type::BYTEA_ARRAY),
            (&batch.values, Type::BYTEA_ARRAY),
        ];
        let asked = connection.client.query_typed_one(COMMIT, &parameters);
        match self.database.answered(&connection, ANSWER, asked).await {
            // It stands here, but may be lost with this host: not acknowledged before a standby has what comes after it.
            Ok(_) if connection.was_unreplicated() => {
                Attempt::Unknown(Fault::Unavailable("the wait for a standby of the database was cancelled".into()))
            }
            Ok(row) => {
                self.connection = Some(connection);
                Attempt::Made(row.get(0))
            }
            // An error ends the transaction, but for one that tells that the server goes down: that may come when all is
            // committed.
            Err(Lost::Told(error)) if state::cure(&error) != Cure::Reconnect => {
                self.connection = Some(connection);
                Attempt::NotMade(state::fault(&error), state::cure(&error))
            }
            Err(Lost::Told(error)) => Attempt::Unknown(state::fault(&error)),
            Err(Lost::Silent) => Attempt::Unknown(Fault::Unavailable("the database does not answer".into())),
        }
    }

    /// Finds out what became of a batch.
    async fn settle(&mut self, nonce: Uuid, fault: Fault) -> Attempt {
        let Ok(connection) = self.connected().await else { return Attempt::Unknown(fault) };
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&nonce, Type::UUID)];
        let asked = connection.client.query_typed_one(SETTLE, &parameters);
        match self.database.answered(&connection, ANSWER, asked).await {
            Ok(_) if connection.was_unreplicated() => Attempt::Unknown(fault),
            Ok(row) => {
                self.counters.settled.inc();
                self.connection = Some(connection);
                match row.get::<_, Option<Vec<i32>>>(0) {
                    Some(late) => Attempt::Made(late),
                    None => Attempt::NotMade(fault, Cure::Reconnect),
                }
            }
            Err(Lost::Told(error)) if state::cure(&error) != Cure::Reconnect => {
                self.connection = Some(connection);
                Attempt::Unknown(fault)
            }
            Err(_) => Attempt::Unknown(fault),
        }
    }

    /// Forgets old outcomes. What stays because something is in the way goes the next time.
    async fn forget(&mut self) {
        let Ok(connection) = self.connected().await else { return };
        let asked = connection.client.query_typed_one(FORGET, &[]);
        match self.database.answered(&connection, ANSWER, asked).await {
            Ok(_) => self.connection = Some(connection),
            Err(Lost::Told(error)) if state::cure(&error) != Cure::Reconnect => self.connection = Some(connection),
            Err(_) => {}
        }
    }

    /// A connection to the primary, taken out: whoever finds it sound puts it back.
    async fn connected(&mut self) -> Result<Connection, Fault> {
        let usable = |connection: &Connection| connection.is_open() && self.database.is_current(connection);
        if let Some(connection) = self.connection.take().filter(usable) {
            return Ok(connection);
        }
        let connected = self.database.connect().await.map_err(|refused| Fault::Unavailable(refused.reason()))?;
        tracing::info!("connected to the primary of the database, {}", connected.about.place);
        Ok(connected)
    }
}

/// A nonce that says when it was made.
fn nonce() -> Uuid {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = [0; 10];
    random.copy_from_slice(&Uuid::new_v4().as_bytes()[6..]);
    uuid::Builder::from_unix_timestamp_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), &random).into_uuid()
}

/// The next batch, and what waits for it. Whoever has waited for too long is refused.
fn gather(waiting: &mut VecDeque<Order>) -> (Batch, Vec<Order>) {
    let (mut batch, mut orders) = (Batch::default(), Vec::new());
    let now = Instant::now();
    while orders.len() < MOST && batch.size < FULL {
        let Some(order) = waiting.pop_front() else { break };
        if order.answer.is_closed() {
            continue;
        }
        if order.until <= now {
            refuse(vec![order], &Fault::Unavailable("the database was not to be had in time".into()));
            continue;
        }
        if !batch.take(&order.commit) {
            waiting.push_front(order);
            break;
        }
        orders.push(order);
    }
    (batch, orders)
}

fn answer(orders: Vec<Order>, late: &[i32], counters: &Counters) {
    for (number, order) in (0..).zip(orders) {
        let committed = if late.contains(&number) { Committed::Conflict } else { Committed::Done };
        match committed {
            Committed::Done => counters.commits.inc(),
            Committed::Conflict => counters.conflicts.inc(),
        };
        let _ = order.answer.send(Ok(committed));
    }
}

fn refuse(orders: Vec<Order>, fault: &Fault) {
    for order in orders {
        let _ = order.answer.send(Err(fault.clone()));
    }
}

/// Waits for a random part of a pause that becomes longer.
async fn wait(pause: &mut Duration) {
    let part = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    sleep(pause.mul_f64(0.5 + part / 2.0)).await;
    *pause = (*pause * 2).min(LONGEST);
}
