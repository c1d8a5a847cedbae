//! The engine for several machines: records in PostgreSQL, objects in an object store. Processes of it have no state of
//! their own but what they have read anyway, so there may be any number of them.

mod bucket;
mod cache;
mod objects;
mod presence;
mod records;

use std::sync::Arc;

use orlop_core::Fault;
use rustls::ClientConfig;
use tokio_postgres::Config;
use uuid::Uuid;

pub(crate) use self::bucket::Bucket;
use self::cache::Cache;
pub(crate) use self::objects::Content;
pub(super) use self::objects::{Objects, Sink, Window};
pub(crate) use self::presence::{Presence, Use};
use self::records::{Examined, Records};
use crate::remote::{self, authorities};
use crate::settings::{Engines, Options};
use crate::storage::counters::Counters;

/// Whether a database and an object store can be named so, as far as is known without asking them.
///
/// # Errors
///
/// With what is wrong.
pub(crate) fn check_engines(engines: &Engines) -> Result<(), String> {
    address(engines)?;
    engines.cache.as_ref().map_or(Ok(()), cache::check)?;
    objects::check(engines, trusting(engines)?)
}

/// How far the clock may be from that of the database before that is told, in seconds; and before nothing is served.
const CLOCK_WARNS: f64 = 1.0;
const CLOCK_FAILS: f64 = 30.0;

/// A database and an object store, used together with other processes.
pub(super) struct Shared {
    pub(super) records: Arc<Records>,
    pub(super) objects: Objects,
    counters: Counters,
    /// Which process this is, among those that hold leases.
    holder: Uuid,
    /// The URL of the object store.
    place: String,
}

impl Shared {
    /// Connects to both.
    ///
    /// # Errors
    ///
    /// With what is wrong with one of them, and what to do about it.
    pub(super) async fn open(engines: &Engines, options: &Options) -> Result<Self, String> {
        let counters = Counters::default();
        let cache = match &engines.cache {
            Some(settings) => Some(Cache::open(settings, options.keep_free, &counters).await?),
            None => None,
        };
        let tls = trusting(engines)?;
        let url = address(engines)?;
        let records = Records::open(&url, tls.clone(), &counters).await.map_err(|wrong| format!("records: {wrong}"))?;
        let about = records.about();
        if about.standbys.is_empty() {
            tracing::warn!(
                "no commit of the database {} waits for a standby: what was acknowledged last is lost when that machine \
                 is; set synchronous_standby_names if it has a standby",
                about.place
            );
        }
        clock(about.ahead).map_err(|fault| fault.to_string())?;
        let records = Arc::new(records);
        let objects = Objects::open(engines, tls, records.clone(), cache, &counters).await?;
        Ok(Self { records, objects, counters, holder: Uuid::new_v4(), place: engines.objects.clone() })
    }

    /// What it is connected to, for the log.
    pub(super) fn describe(&self) -> String {
        let about = self.records.about();
        let (major, minor) = (about.version / 10_000, about.version % 10_000);
        format!("records in PostgreSQL {major}.{minor} on {}, objects in {}", about.place, self.place)
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn holder(&self) -> Uuid {
        self.holder
    }

    /// How both stand, for an administrator: a line for each thing. What should be looked at begins with `warning: `.
    pub(super) async fn examine(&self) -> Result<Vec<String>, Fault> {
        let Examined { about, streaming, synchronous, latency } = self.records.examine().await?;
        let (major, minor) = (about.version / 10_000, about.version % 10_000);
        let mut told = vec![
            format!(
                "records: PostgreSQL {major}.{minor} on {}, a round trip takes {}",
                about.place,
                milliseconds(latency)
            ),
            format!("clock: {:+.3} s beside that of the database", -about.ahead),
            "locks: advisory locks exclude each other".into(),
        ];
        told.push(match about.standbys.as_str() {
            "" => format!(
                "warning: synchronous_standby_names is empty, so what was acknowledged last is lost with the primary \
                 ({streaming} standbys stream from it)"
            ),
            names => format!(
                "standbys: {streaming} stream from it, commits wait for {synchronous} (synchronous_standby_names = {names})"
            ),
        });
        let latency = self.objects.latency().await?;
        told.push(format!("objects: {}, a round trip takes {}", self.place, milliseconds(latency)));
        told.push(format!("object store: {}: ok", objects::TRIED));
        told.push(match self.objects.probed().versions {
            false => "versioning: off".into(),
            true => "warning: the bucket keeps versions: what garbage collection removes stays there and is billed, unless a \
                     lifecycle rule ends old versions"
                .into(),
        });
        told.extend(presence::present(&self.records).await?.into_iter().map(|who| format!("used by {who}")));
        Ok(told)
    }

    /// Says that this process uses the registry.
    pub(super) async fn enter(&self, how: Use) -> Result<Presence, String> {
        Presence::enter(&self.records, self.holder, how).await
    }

    /// Whether there is a primary to write to, and an object store.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        let about = self.records.ready().await?;
        clock(about.ahead)?;
        self.objects.ready().await
    }
}

fn milliseconds(time: std::time::Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Changes the tables of a database to the format of this version. Returns what was done.
///
/// # Errors
///
/// When the database cannot be used, or its format is unknown to this version.
pub(crate) async fn migrate(engines: &Engines) -> Result<String, String> {
    Records::migrate(&address(engines)?, trusting(engines)?).await.map_err(|wrong| format!("records: {wrong}"))
}

/// Seconds since 1970.
fn seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Leases end, grace periods pass and objects age by the clock of each process.
fn clock(ahead: f64) -> Result<(), Fault> {
    if ahead.abs() > CLOCK_FAILS {
        return Err(Fault::Failed(format!(
            "the clock of this machine and that of the database are {:.0} s apart: set both by NTP",
            ahead.abs()
        )));
    }
    if ahead.abs() > CLOCK_WARNS {
        tracing::warn!("the clock of this machine and that of the database are {:.1} s apart", ahead.abs());
    }
    Ok(())
}

/// Where the database is, and how to log in.
fn address(engines: &Engines) -> Result<Config, String> {
    let mut url: Config = engines.records.parse().map_err(|error| {
        format!("records is not a URL of a database: {error}; write it like postgres://USER@HOST/DATABASE")
    })?;
    if url.get_hosts().is_empty() {
        return Err("records names no host: write it like postgres://USER@HOST/DATABASE".into());
    }
    if let Some(path) = &engines.password_file {
        let password = std::fs::read_to_string(path);
        let password =
            password.map_err(|error| format!("records-password-file = {} cannot be read: {error}", path.display()))?;
        url.password(password.trim_end_matches(['\r', '\n']));
    }
    Ok(url)
}

/// What both are encrypted with: certificates that the system trusts, and those of the setting.
fn trusting(engines: &Engines) -> Result<ClientConfig, String> {
    let path = engines.ca.as_deref();
    let wrong = |error| format!("storage-ca = {}: {error}", path.unwrap_or("".as_ref()).display());
    authorities(path).map(remote::trusting).map_err(wrong)
}
