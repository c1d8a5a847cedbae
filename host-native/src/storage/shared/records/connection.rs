//! Connections to the primary of a database: which of the hosts that is, and whether it may be trusted with a registry.
//!
//! A connection is made to each host that the URL names, and the one is taken that can be written to. After a failover
//! two may say so of themselves, of which the one that was promoted later, by its *timeline*, is right; an earlier one is
//! never used again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::config::Host;
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::reader::READERS;
use super::state::told;

/// How long a host may take until it is connected.
const CONNECTING: Duration = Duration::from_secs(3);

/// How long a host that does not acknowledge what it was sent is waited for.
const SILENT: Duration = Duration::from_secs(5);

/// How long others are waited for once a primary was found: another one may have been promoted later.
const OTHERS: Duration = Duration::from_millis(300);

/// After how long it is looked whether there is another primary, while one does not answer.
const LOOK: Duration = Duration::from_millis(500);

/// How often it is looked at each host whether it was promoted.
const WATCH: Duration = Duration::from_millis(500);

/// How many connections a process has at most: for commits, for reads, and to look how the primary is.
const CONNECTIONS: usize = 1 + READERS + 1;

/// The oldest version there is a test for.
const OLDEST: i32 = 150_000;

/// Why no connection can be had.
#[derive(Debug)]
pub(super) enum Refused {
    /// None of the hosts can be reached, or none is a primary: that may change.
    Unavailable(String),
    /// It is no database to trust with a registry.
    Unfit(String),
}

impl Refused {
    pub(super) fn reason(self) -> String {
        let (Self::Unavailable(reason) | Self::Unfit(reason)) = self;
        reason
    }
}

/// The database, wherever its primary is.
pub(super) struct Database {
    /// One for each host.
    hosts: Vec<Config>,
    tls: MakeRustlsConnect,
    /// The latest timeline that a primary was seen on.
    timeline: watch::Sender<u32>,
    /// Held by whoever looks for another primary: one is enough.
    looking: Mutex<()>,
    /// The cluster that it is, once that is known.
    system: std::sync::OnceLock<String>,
}

/// Why there is no answer.
pub(super) enum Lost {
    /// The server has told an error, or the connection has.
    Told(tokio_postgres::Error),
    /// It does not answer, or is the primary no more.
    Silent,
}

/// A connection to the primary.
pub(super) struct Connection {
    pub(super) client: Client,
    timeline: u32,
    /// What the server has told of itself.
    pub(super) about: About,
    /// Whether a commit was acknowledged that no standby has.
    unreplicated: Arc<AtomicBool>,
    /// What reads from it; ended with it.
    reading: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub(in crate::storage::shared) struct About {
    /// Host and port, as the URL names it.
    pub(in crate::storage::shared) place: String,
    /// 150004 is 15.4.
    pub(in crate::storage::shared) version: i32,
    /// Which standbys a commit waits for; empty if it waits for none.
    pub(in crate::storage::shared) standbys: String,
    /// How far the clock of the database is ahead of this one's, in seconds.
    pub(in crate::storage::shared) ahead: f64,
}

const ABOUT: &str = "SELECT current_setting('server_version_num')::int4, \
    pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, \
    current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'), \
    current_setting('synchronous_standby_names'), current_setting('transaction_isolation'), \
    extract(epoch FROM clock_timestamp())::float8";

/// How a primary stands.
#[derive(Clone, Debug)]
pub(in crate::storage::shared) struct Examined {
    pub(in crate::storage::shared) about: About,
    /// How many standbys stream from it, and for how many of these commits wait, as far as this user may see that.
    pub(in crate::storage::shared) streaming: i64,
    pub(in crate::storage::shared) synchronous: i64,
    /// How long a round trip takes: the median of some.
    pub(in crate::storage::shared) latency: Duration,
}

const STANDBYS: &str =
    "SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) FROM pg_stat_replication";

/// How many round trips are measured.
const ROUND_TRIPS: usize = 9;

/// Only a primary can say this: its cluster, and the timeline it writes.
const PLACE: &str = "SELECT (pg_control_system()).system_identifier::text, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int4";

impl Database {
    /// The database at a URL, by whose `sslmode` a connection is encrypted or not.
    pub(super) fn new(url: &Config, tls: ClientConfig) -> Self {
        Self {
            hosts: each_host(url),
            tls: MakeRustlsConnect::new(tls),
            timeline: watch::Sender::new(0),
            looking: Mutex::default(),
            system: std::sync::OnceLock::new(),
        }
    }

    /// Connects to the primary.
    pub(super) async fn connect(&self) -> Result<Connection, Refused> {
        let each = || self.hosts.iter().map(|host| self.connect_to(host)).collect::<FuturesUnordered<_>>();
        let (mut changed, mut tried) = (self.timeline.subscribe(), each());
        let (mut latest, mut wrong): (Option<Connection>, Vec<Refused>) = (None, Vec::new());
        loop {
            // A host that hangs keeps nobody from the one that was promoted in its place.
            let wait = if latest.is_some() { OTHERS } else { 2 * CONNECTING };
            let answer = tokio::select! {
                answer = timeout(wait, tried.next()) => answer,
                // One that has said that it is a standby was promoted since.
                Ok(()) = changed.changed() => {
                    (tried, wrong) = (each(), Vec::new());
                    continue;
                }
            };
            match answer {
                Ok(Some(Ok(connection)))
                    if latest.as_ref().is_none_or(|latest| latest.timeline < connection.timeline) =>
                {
                    latest = Some(connection);
                }
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(refused))) => wrong.push(refused),
                Ok(None) | Err(_) => break,
            }
        }
        if let Some(connection) = latest {
            self.has_seen(&connection);
            if self.is_current(&connection) {
                return Ok(connection);
            }
            wrong.push(Refused::Unavailable(format!(
                "{} was the primary before, and another one was promoted since",
                connection.about.place
            )));
        }
        let unfit = wrong.iter().any(|refused| matches!(refused, Refused::Unfit(_)));
        let reasons: Vec<String> = wrong.into_iter().map(Refused::reason).collect();
        let reason = reasons.join("; ");
        Err(if unfit { Refused::Unfit(reason) } else { Refused::Unavailable(reason) })
    }

    /// Watches whether another host is promoted, for as long as this is used. A primary that hangs while that happens
    /// answers again one day, as if nothing had been: who asks nothing meanwhile would not notice, and read the past.
    pub(super) fn watch(self: &Arc<Self>) {
        let places = if self.hosts.len() > 1 { 0..self.hosts.len() } else { 0..0 };
        for place in places {
            let watched = Arc::downgrade(self);
            tokio::spawn(async move {
                while let Some(database) = watched.upgrade() {
                    if let Ok(connection) = database.connect_to(&database.hosts[place]).await {
                        database.has_seen(&connection);
                    }
                    drop(database);
                    sleep(WATCH).await;
                }
            });
        }
    }

    fn has_seen(&self, primary: &Connection) {
        self.timeline.send_if_modified(|seen| {
            let later = primary.timeline > *seen;
            *seen = primary.timeline.max(*seen);
            later
        });
    }

    /// Whether no later primary is known than the one of a connection.
    pub(super) fn is_current(&self, connection: &Connection) -> bool {
        connection.timeline >= *self.timeline.borrow()
    }

    /// Waits for an answer on a connection: for `most`, and less when another primary turns up meanwhile.
    pub(super) async fn answered<T>(
        &self,
        connection: &Connection,
        most: Duration,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Lost> {
        let mut changed = self.timeline.subscribe();
        let mut asked = pin!(asked);
        let until = Instant::now() + most;
        while self.is_current(connection) && Instant::now() < until {
            tokio::select! {
                answer = &mut asked => return answer.map_err(Lost::Told),
                _ = changed.changed() => continue,
                () = sleep(LOOK) => {}
            }
            if let Ok(_looking) = self.looking.try_lock() {
                tokio::select! {
                    answer = &mut asked => return answer.map_err(Lost::Told),
                    // To connect is to learn of a later timeline.
                    _ = self.connect() => {}
                }
            }
        }
        Err(Lost::Silent)
    }

    async fn connect_to(&self, host: &Config) -> Result<Connection, Refused> {
        let place = place(host);
        let unavailable = |reason: String| Refused::Unavailable(format!("{place}: {reason}"));
        match timeout(CONNECTING, self.look_at(host, &place)).await {
            Ok(connected) => connected,
            Err(_) => Err(unavailable(format!("no answer within {CONNECTING:?}"))),
        }
    }

    async fn look_at(&self, host: &Config, place: &str) -> Result<Connection, Refused> {
        let unavailable = |reason: String| Refused::Unavailable(format!("{place}: {reason}"));
        let unfit = |reason: String| Refused::Unfit(format!("{place}: {reason}"));
        let failed = |error: tokio_postgres::Error| match error.code().map(|state| state.code()) {
            // Wrong user or password, no such database: to try again changes nothing.
            Some(code) if code.starts_with("28") || code.starts_with("3D") => unfit(told(&error)),
            Some("53300") => unavailable(format!(
                "{}; a server of Orlop needs up to {CONNECTIONS} connections: raise max_connections, or put PgBouncer \
                 in front of the database",
                told(&error)
            )),
            _ => unavailable(told(&error)),
        };
        let (client, mut connection) = host.connect(self.tls.clone()).await.map_err(failed)?;
        let unreplicated = Arc::new(AtomicBool::new(false));
        let noticed = unreplicated.clone();
        let reading = tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    // "canceling wait for synchronous replication": the commit stands, and no standby may have it. The
                    // words are in the language of the server, the name of its routine is not.
                    Ok(AsyncMessage::Notice(notice)) if notice.routine() == Some("SyncRepWaitForLSN") => {
                        noticed.store(true, Ordering::SeqCst);
                    }
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        });
        let mut connected = Connection {
            client,
            timeline: 0,
            about: About { place: place.into(), version: 0, standbys: String::new(), ahead: 0.0 },
            unreplicated,
            reading,
        };
        let asked = std::time::SystemTime::now();
        let row = connected.client.query_typed_one(ABOUT, &[]).await.map_err(failed)?;
        let version: i32 = row.get(0);
        if version < OLDEST {
            return Err(unfit(format!("PostgreSQL {} is too old: 15 or newer is needed", version / 10_000)));
        }
        if row.get::<_, bool>(1) {
            return Err(unavailable("it is a standby, or read-only".into()));
        }
        for (setting, value) in [("fsync", 2), ("full_page_writes", 3), ("synchronous_commit", 4)] {
            let value: &str = row.get(value);
            if value == "off" {
                return Err(unfit(format!(
                    "{setting} = off: what was acknowledged would be lost in a power cut; set it to on in the database"
                )));
            }
        }
        let isolation: &str = row.get(6);
        if isolation != "read committed" {
            return Err(unfit(format!(
                "transactions are {isolation} by default: set default_transaction_isolation to `read committed` for this \
                 user or database"
            )));
        }
        let now = asked.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        connected.about.version = version;
        connected.about.standbys = row.get(5);
        connected.about.ahead = row.get::<_, f64>(7) - now;
        let row = connected.client.query_typed_one(PLACE, &[]).await.map_err(failed)?;
        let system: String = row.get(0);
        let known = self.system.get_or_init(|| system.clone());
        if *known != system {
            return Err(unfit(format!(
                "it is another database than the one at the start (cluster {system} instead of {known}): a standby must \
                 be made from the primary, by pg_basebackup"
            )));
        }
        connected.timeline = u32::from_ne_bytes(row.get::<_, i32>(1).to_ne_bytes());
        Ok(connected)
    }
}

impl Connection {
    /// Whether a commit was acknowledged meanwhile that no standby may have; once only.
    pub(super) fn was_unreplicated(&self) -> bool {
        self.unreplicated.swap(false, Ordering::SeqCst)
    }

    /// How the primary stands.
    pub(super) async fn examine(&self) -> Result<Examined, tokio_postgres::Error> {
        let mut times = Vec::new();
        for _ in 0..ROUND_TRIPS {
            let asked = Instant::now();
            self.client.query_typed_one("SELECT 1", &[]).await?;
            times.push(asked.elapsed());
        }
        times.sort_unstable();
        let row = self.client.query_typed_one(STANDBYS, &[]).await?;
        let latency = times[ROUND_TRIPS / 2];
        Ok(Examined { about: self.about.clone(), streaming: row.get(0), synchronous: row.get(1), latency })
    }

    /// Whether it can still be used.
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }
}

/// A configuration for each host of a URL, in their order.
fn each_host(url: &Config) -> Vec<Config> {
    let ports = url.get_ports();
    let one = |(place, host): (usize, &Host)| {
        let mut config = Config::new();
        match host {
            Host::Tcp(name) => config.host(name),
            #[cfg(unix)]
            Host::Unix(path) => config.host_path(path),
        };
        if let Some(port) = ports.get(place).or(ports.first()) {
            config.port(*port);
        }
        if let Some(user) = url.get_user() {
            config.user(user);
        }
        if let Some(password) = url.get_password() {
            config.password(password);
        }
        if let Some(name) = url.get_dbname() {
            config.dbname(name);
        }
        if let Some(options) = url.get_options() {
            config.options(options);
        }
        config.application_name(url.get_application_name().unwrap_or("orlop"));
        config.ssl_mode(url.get_ssl_mode());
        config.ssl_negotiation(url.get_ssl_negotiation());
        config.channel_binding(url.get_channel_binding());
        config.connect_timeout(CONNECTING);
        config.tcp_user_timeout(SILENT);
        config.keepalives_idle(SILENT);
        config.keepalives_interval(Duration::from_secs(1));
        config.keepalives_retries(3);
        config
    };
    url.get_hosts().iter().enumerate().map(one).collect()
}

/// Host and port of a configuration for one host.
fn place(host: &Config) -> String {
    let name = match host.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => String::new(),
    };
    format!("{name}:{}", host.get_ports().first().copied().unwrap_or(5432))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_of_a_url_is_tried_by_itself() {
        let url: Config = "postgres://user:secret@db1:5433,db2:5434/orlop?sslmode=require".parse().unwrap();
        let hosts = each_host(&url);
        assert_eq!(hosts.iter().map(place).collect::<Vec<_>>(), ["db1:5433", "db2:5434"]);
        assert!(hosts.iter().all(|host| host.get_user() == Some("user") && host.get_dbname() == Some("orlop")));
        let url: Config = "postgres://db1,db2/orlop".parse().unwrap();
        assert_eq!(each_host(&url).iter().map(place).collect::<Vec<_>>(), ["db1:5432", "db2:5432"]);
    }
}
