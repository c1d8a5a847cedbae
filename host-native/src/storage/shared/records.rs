//! The records: one ordered map from key to value in a PostgreSQL database, which any number of processes share.
//!
//! All that reads and writes it are the functions of `functions.sql`. What makes processes safe beside each other are the
//! conditions of commits, which the database judges while one lock is held; nothing else is locked.

mod connection;
mod locks;
mod reader;
mod schema;
mod state;
mod waves;
mod writer;

use std::sync::Arc;

use orlop_core::Fault;
use orlop_core::effect::{Commit, Committed, Get, Scan, Value};
use orlop_core::keys::Key;
use rustls::ClientConfig;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_postgres::Config;
use tokio_postgres::types::Type;

use self::connection::Database;
pub(super) use self::connection::{About, Examined};
use self::reader::{Asked, Read, Readers};
use self::writer::{Order, Writer};
use crate::storage::counters::Counters;

/// The records of a registry in a database.
pub(in crate::storage) struct Records {
    database: Arc<Database>,
    orders: mpsc::UnboundedSender<Order>,
    reads: mpsc::UnboundedSender<Read>,
    /// What the primary said of itself at the start.
    about: About,
    /// The format of its tables then.
    format: i32,
}

impl Records {
    /// Connects, and makes the tables if the database is empty.
    ///
    /// # Errors
    ///
    /// With what is to be done about it, when the database cannot be reached or is not fit.
    pub(in crate::storage::shared) async fn open(
        url: &Config,
        tls: ClientConfig,
        counters: &Counters,
    ) -> Result<Self, String> {
        let database = Arc::new(Database::new(url, tls));
        let connection = database.connect().await.map_err(connection::Refused::reason)?;
        let other = database.connect().await.map_err(connection::Refused::reason)?;
        locks::check(&connection, &other).await?;
        drop(other);
        let format = schema::agree(&connection).await?;
        database.watch();
        let about = connection.about.clone();
        // What waits has no bound of its own: a call waits for one thing at a time, so there is never more than calls.
        let (orders, queue) = mpsc::unbounded_channel();
        tokio::spawn(Writer::new(database.clone(), connection, counters.clone()).run(queue));
        let reads = Readers::start(database.clone(), counters);
        Ok(Self { database, orders, reads, about, format })
    }

    /// Changes the tables to the format of this version. Returns what was done.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, or its format is unknown to this version.
    pub(in crate::storage::shared) async fn migrate(url: &Config, tls: ClientConfig) -> Result<String, String> {
        let connection = Database::new(url, tls).connect().await.map_err(connection::Refused::reason)?;
        schema::migrate(&connection).await
    }

    /// Whether the database has a place for the id of the object store: one of the format before has none.
    pub(in crate::storage::shared) fn keeps_store_id(&self) -> bool {
        self.format >= schema::WITH_STORE
    }

    /// The id by which the object store is known that belongs to the database.
    pub(in crate::storage::shared) async fn store_id(&self) -> Result<Option<String>, Fault> {
        let unavailable = |refused: connection::Refused| Fault::Unavailable(refused.reason());
        let connection = self.database.connect().await.map_err(unavailable)?;
        let row = connection.client.query_typed_one("SELECT store FROM orlop.meta", &[]).await;
        row.map(|row| row.get(0)).map_err(|error| state::fault(&error))
    }

    /// Replaces that id, if it is still the one that was read.
    pub(in crate::storage::shared) async fn replace_store_id(
        &self,
        before: Option<&str>,
        id: &str,
    ) -> Result<(), Fault> {
        const REPLACE: &str = "UPDATE orlop.meta SET store = $1 WHERE store IS NOT DISTINCT FROM $2";
        let unavailable = |refused: connection::Refused| Fault::Unavailable(refused.reason());
        let connection = self.database.connect().await.map_err(unavailable)?;
        let asked = connection.client.query_typed(REPLACE, &[(&id, Type::TEXT), (&before, Type::TEXT)]).await;
        asked.map(drop).map_err(|error| state::fault(&error))
    }

    /// Asks the primary how it stands, for an administrator.
    pub(in crate::storage::shared) async fn examine(&self) -> Result<Examined, Fault> {
        let unavailable = |refused: connection::Refused| Fault::Unavailable(refused.reason());
        let connection = self.database.connect().await.map_err(unavailable)?;
        connection.examine().await.map_err(|error| state::fault(&error))
    }

    /// What the primary said of itself at the start.
    pub(in crate::storage::shared) fn about(&self) -> &About {
        &self.about
    }

    /// Looks keys up in one snapshot.
    pub(in crate::storage) async fn get(&self, get: Get) -> Result<Vec<Option<Value>>, Fault> {
        if get.keys.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, values) = oneshot::channel();
        self.read(Asked::Get(get.keys, answer), values).await
    }

    /// Lists a page of entries.
    pub(in crate::storage) async fn scan(&self, scan: Scan) -> Result<Vec<(Key, Value)>, Fault> {
        let (answer, entries) = oneshot::channel();
        self.read(Asked::Scan(scan, answer), entries).await
    }

    async fn read<T>(&self, asked: Asked, answer: oneshot::Receiver<Result<T, Fault>>) -> Result<T, Fault> {
        let until = Instant::now() + reader::PATIENCE;
        let _ = self.reads.send(Read { asked, until });
        in_time(answer, until).await
    }

    /// Changes records, all or nothing, and answers when the change is as durable as it asks to be.
    pub(in crate::storage) async fn commit(&self, commit: Commit) -> Result<Committed, Fault> {
        let (answer, outcome) = oneshot::channel();
        let until = Instant::now() + writer::PATIENCE;
        let _ = self.orders.send(Order { commit, until, answer });
        // What is being tried then is waited for: it knows that it is late.
        in_time(outcome, until + writer::PATIENCE / 2).await
    }

    /// Whether there is a primary to write to.
    pub(in crate::storage::shared) async fn ready(&self) -> Result<About, Fault> {
        let connected = self.database.connect().await;
        connected.map(|connection| connection.about.clone()).map_err(|refused| Fault::Unavailable(refused.reason()))
    }
}

async fn in_time<T>(answer: oneshot::Receiver<Result<T, Fault>>, until: Instant) -> Result<T, Fault> {
    match timeout(until.saturating_duration_since(Instant::now()), answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(Fault::Failed("the task that talks to the database is gone".into())),
        Err(_) => Err(Fault::Unavailable("the database has not answered in time".into())),
    }
}
