//! Who reads records: a few tasks with a connection each. Whichever is free takes all look-ups that wait, and asks for
//! them in one statement, which sees one snapshot; so under load many requests share a round trip, and a thousand clients
//! need no more connections than one. So whoever gets no connection leaves what waits to those that have one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use orlop_core::Fault;
use orlop_core::effect::{Scan, Value};
use orlop_core::keys::Key;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::{ToSql, Type};

use super::connection::{Connection, Database, Lost};
use super::state::{self, Cure};
use super::waves::above;
use crate::storage::counters::Counters;

/// How many connections read.
pub(super) const READERS: usize = 8;

/// How many keys are looked up at once at most; one look-up may have more.
const MOST: usize = 256;

/// How long a read waits until it is answered or refused.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a statement may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a connection is kept that nobody uses. The first is kept for ever.
const IDLE: Duration = Duration::from_secs(60);

/// The pause between tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause of a task that gets no connection while others have one.
const LONGEST: Duration = Duration::from_secs(5);

const GET: &str = "SELECT value FROM orlop.get($1)";
const SCAN: &str = "SELECT key, value FROM orlop.scan($1, $2, $3, $4)";

/// A read that waits.
pub(super) struct Read {
    pub(super) asked: Asked,
    pub(super) until: Instant,
}

pub(super) enum Asked {
    Get(Vec<Key>, oneshot::Sender<Result<Vec<Option<Value>>, Fault>>),
    Scan(Scan, oneshot::Sender<Result<Vec<(Key, Value)>, Fault>>),
}

impl Read {
    fn keys(&self) -> usize {
        match &self.asked {
            Asked::Get(keys, _) => keys.len(),
            Asked::Scan(..) => MOST,
        }
    }

    fn is_given_up(&self) -> bool {
        match &self.asked {
            Asked::Get(_, answer) => answer.is_closed(),
            Asked::Scan(_, answer) => answer.is_closed(),
        }
    }

    fn refuse(self, fault: Fault) {
        match self.asked {
            Asked::Get(_, answer) => drop(answer.send(Err(fault))),
            Asked::Scan(_, answer) => drop(answer.send(Err(fault))),
        }
    }
}

/// The reads that wait.
type Queue = Arc<Mutex<Waiting>>;

struct Waiting {
    queue: mpsc::UnboundedReceiver<Read>,
    /// One that did not fit into a batch.
    next: Option<Read>,
}

/// What all readers of a process share.
#[derive(Clone)]
pub(super) struct Readers {
    database: Arc<Database>,
    queue: Queue,
    /// Where reads are given back.
    back: mpsc::WeakUnboundedSender<Read>,
    /// How many of them have a connection.
    connected: Arc<AtomicUsize>,
    counters: Counters,
}

impl Readers {
    /// Starts them: where reads are sent.
    pub(super) fn start(database: Arc<Database>, counters: &Counters) -> mpsc::UnboundedSender<Read> {
        let (reads, queue) = mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(Waiting { queue, next: None }));
        let (back, connected) = (reads.downgrade(), Arc::default());
        let readers = Self { database, queue, back, connected, counters: counters.clone() };
        for number in 0..READERS {
            let reader = Reader { readers: readers.clone(), held: None, rests: number > 0, pause: PAUSE };
            tokio::spawn(reader.run());
        }
        reads
    }
}

/// A connection that a reader has, counted as long as it has it.
struct Held {
    connection: Connection,
    connected: Arc<AtomicUsize>,
}

impl Held {
    fn new(connection: Connection, connected: &Arc<AtomicUsize>) -> Self {
        connected.fetch_add(1, Ordering::SeqCst);
        Self { connection, connected: connected.clone() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.connected.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Reader {
    readers: Readers,
    held: Option<Held>,
    /// Whether its connection is closed when nobody uses it.
    rests: bool,
    /// How long it pauses when it gets no connection while others have one.
    pause: Duration,
}

impl Reader {
    /// Reads until nobody can ask for any more.
    async fn run(mut self) {
        loop {
            let taken = if self.rests && self.held.is_some() {
                match timeout(IDLE, take(&self.readers.queue)).await {
                    Ok(taken) => taken,
                    Err(_) => {
                        self.held = None;
                        continue;
                    }
                }
            } else {
                take(&self.readers.queue).await
            };
            let Some(reads) = taken else { return };
            self.read(reads).await;
        }
    }

    async fn read(&mut self, mut reads: Vec<Read>) {
        loop {
            reads.retain(|read| !read.is_given_up());
            if reads.is_empty() {
                return;
            }
            let fault = match self.try_once(&mut reads).await {
                Ok(()) => return,
                Err((fault, Cure::Again | Cure::Reconnect)) => fault,
                Err((fault, _)) => return reads.into_iter().for_each(|read| read.refuse(fault.clone())),
            };
            self.readers.counters.retries.inc();
            if self.held.is_none() && self.readers.connected.load(Ordering::SeqCst) > 0 {
                // The database has no connection to spare: what waits is for those that have one.
                reads.drain(..).for_each(|read| self.give_back(read, &fault));
                sleep(self.pause).await;
                self.pause = (self.pause * 2).min(LONGEST);
                return;
            }
            sleep(PAUSE).await;
            let now = Instant::now();
            for late in reads.extract_if(.., |read| read.until <= now) {
                late.refuse(fault.clone());
            }
        }
    }

    /// Leaves a read to another one, if there is time for that.
    fn give_back(&self, read: Read, fault: &Fault) {
        match self.readers.back.upgrade() {
            Some(back) if read.until > Instant::now() => drop(back.send(read)),
            _ => read.refuse(fault.clone()),
        }
    }

    /// Answers reads, which are then taken out.
    async fn try_once(&mut self, reads: &mut Vec<Read>) -> Result<(), (Fault, Cure)> {
        let database = &self.readers.database;
        let usable = |held: &Held| held.connection.is_open() && database.is_current(&held.connection);
        if !self.held.as_ref().is_some_and(usable) {
            self.held = None;
            let unavailable = |reason| (Fault::Unavailable(reason), Cure::Reconnect);
            let connection = database.connect().await.map_err(|refused| unavailable(refused.reason()))?;
            self.held = Some(Held::new(connection, &self.readers.connected));
            self.pause = PAUSE;
        }
        let Some(Held { connection, .. }) = &self.held else { return Ok(()) };
        match database.answered(connection, ANSWER, ask(connection, reads)).await {
            // What an earlier primary says may not be true any more.
            Ok(answer) if database.is_current(connection) => {
                answer.give(reads);
                Ok(())
            }
            Ok(_) | Err(Lost::Silent) => {
                self.held = None;
                Err((Fault::Unavailable("the database does not answer".into()), Cure::Reconnect))
            }
            Err(Lost::Told(error)) => {
                let (fault, cure) = (state::fault(&error), state::cure(&error));
                if cure == Cure::Reconnect {
                    self.held = None;
                }
                Err((fault, cure))
            }
        }
    }
}

/// What the database has answered.
enum Answer {
    Values(Vec<Option<Value>>),
    Entries(Vec<(Key, Value)>),
}

async fn ask(connection: &Connection, reads: &[Read]) -> Result<Answer, tokio_postgres::Error> {
    if let [Read { asked: Asked::Scan(scan, _), .. }] = reads {
        let prefix = scan.prefix.as_str().as_bytes();
        let low = match scan.after.as_ref().map(|after| after.as_str().as_bytes()) {
            // The next key after a key is the key and a byte of zero.
            Some(after) if after >= prefix => [after, &[0]].concat(),
            _ => prefix.to_vec(),
        };
        let bounded = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let (high, most, bytes) = (above(prefix), bounded(scan.limit), bounded(scan.bytes));
        let parameters: [(&(dyn ToSql + Sync), Type); 4] =
            [(&low, Type::BYTEA), (&high, Type::BYTEA), (&most, Type::INT8), (&bytes, Type::INT8)];
        let rows = connection.client.query_typed(SCAN, &parameters).await?;
        let entry = |row: &tokio_postgres::Row| {
            let key = String::from_utf8_lossy(row.get(0)).into_owned();
            (Key::stored(key), Bytes::copy_from_slice(row.get(1)))
        };
        return Ok(Answer::Entries(rows.iter().map(entry).collect()));
    }
    let keys: Vec<&[u8]> = reads
        .iter()
        .flat_map(|read| match &read.asked {
            Asked::Get(keys, _) => keys.as_slice(),
            Asked::Scan(..) => &[],
        })
        .map(|key| key.as_str().as_bytes())
        .collect();
    let rows = connection.client.query_typed(GET, &[(&keys, Type::BYTEA_ARRAY)]).await?;
    Ok(Answer::Values(rows.iter().map(|row| row.get::<_, Option<&[u8]>>(0).map(Bytes::copy_from_slice)).collect()))
}

impl Answer {
    fn give(self, reads: &mut Vec<Read>) {
        match self {
            Self::Entries(entries) => {
                if let Some(Read { asked: Asked::Scan(_, answer), .. }) = reads.pop() {
                    let _ = answer.send(Ok(entries));
                }
            }
            Self::Values(values) => {
                let mut values = values.into_iter();
                for read in reads.drain(..) {
                    if let Asked::Get(keys, answer) = read.asked {
                        let _ = answer.send(Ok(values.by_ref().take(keys.len()).collect()));
                    }
                }
            }
        }
    }
}

/// The next reads that can be asked for at once: look-ups, or one list.
async fn take(queue: &Queue) -> Option<Vec<Read>> {
    let mut waiting = queue.lock().await;
    let first = match waiting.next.take() {
        Some(read) => read,
        None => waiting.queue.recv().await?,
    };
    let mut keys = first.keys();
    let alone = matches!(first.asked, Asked::Scan(..));
    let mut reads = vec![first];
    while !alone && keys < MOST {
        let Ok(read) = waiting.queue.try_recv() else { break };
        if matches!(read.asked, Asked::Scan(..)) {
            waiting.next = Some(read);
            break;
        }
        keys += read.keys();
        reads.push(read);
    }
    Some(reads)
}
