//! Syncs: repositories copied from one registry to another, again and again, without moving anything twice.
//!
//! A `Sync` is one as it is configured. A run (`run.rs`) lists the tags of the source, chooses, compares digests and has
//! the rest moved by the engine of [`crate::copy`]. This registry is read and written by calls of the core in this process
//! (`local.rs`). [`Syncing`] runs them when they are due, under a lease, and keeps a journal in the records.

mod course;
mod date;
mod journal;
mod local;
mod place;
mod pushed;
mod run;
mod schedule;
mod select;
mod status;
mod tagging;

use std::sync::Arc;
use std::time::Duration;

use orlop_core::digest::{Algorithm, Digest};
use orlop_core::{Caller, Config};

use self::journal::{Counts, Journal};
use self::local::Local;
pub(crate) use self::place::{Registry, Side};
use self::run::Progress;
pub(crate) use self::schedule::InForce;
pub use self::schedule::Syncing;
use self::select::Selection;
pub(crate) use self::status::Standing;
use crate::copy::parse_platform;
use crate::remote::{Pace, Platform, Remote};
use crate::settings::{SyncPlace, SyncSetting};
use crate::storage::Host;

/// How often it is told what a run does.
const TELL: Duration = Duration::from_secs(5);

/// A sync as it is configured.
pub(crate) struct Sync {
    setting: SyncSetting,
    selection: Selection,
    platforms: Vec<Platform>,
    /// Where repositories are read, if that is another registry.
    from: Option<Remote>,
    /// Where they are written, if that is another one.
    to: Option<Remote>,
    /// This registry, as the sync uses it.
    own: orlop_core::Registry,
    /// How fast other registries are asked, by everything that the sync does.
    pace: Arc<Pace>,
}

/// A sync with its two registries, ready to run.
struct Ready<'s> {
    sync: &'s Sync,
    from: Registry,
    to: Registry,
}

/// The registry of that host as a place, for a command that is called so in events.
pub(crate) fn this_registry(host: &Arc<Host>, registry: orlop_core::Registry, name: &str) -> Registry {
    let caller = Arc::new(Caller { name: name.into(), ..Caller::anybody() });
    Registry::Local(Local { host: host.clone(), registry, caller })
}

/// What a sync has done that ran once.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// What was counted.
    pub(crate) counts: Counts,
    /// What failed, a line each; a hundred at most.
    pub(crate) failures: Vec<String>,
}

/// Runs a sync once, without a journal among the records. `tell` is called now and then with what it is doing.
///
/// # Errors
///
/// When the settings are wrong.
pub(crate) async fn run_once(
    setting: &SyncSetting,
    host: &Arc<Host>,
    dry_run: bool,
    tell: impl Fn(String),
) -> Result<Ran, String> {
    // Whoever runs it has not called it a sync.
    let unnamed = |told: String| match told.strip_prefix(&format!("sync `{}`: ", setting.name)) {
        Some(reason) => reason.to_owned(),
        None => told,
    };
    let sync = Sync::new(setting, &Config::default()).map_err(unnamed)?;
    let ready = sync.ready(host);
    let progress = Progress::new(Journal::in_doubt());
    {
        let running = ready.run(&progress, dry_run);
        tokio::pin!(running);
        loop {
            tokio::select! {
                () = &mut running => break,
                () = tokio::time::sleep(TELL) => {
                    let journal = progress.journal();
                    tell(format!("{}; {}", journal.doing, journal.counts));
                }
            }
        }
    }
    let journal = progress.journal();
    Ok(Ran { counts: journal.counts.clone(), failures: journal.failures.iter().map(ToString::to_string).collect() })
}

impl Sync {
    /// The syncs of these settings, in a registry of that configuration.
    ///
    /// # Errors
    ///
    /// When two have one name, a platform is none, or a file cannot be read.
    pub(crate) fn all(settings: &[SyncSetting], config: &Config) -> Result<Vec<Arc<Self>>, String> {
        let twice = settings.iter().enumerate().find(|(i, one)| settings[..*i].iter().any(|o| o.name == one.name));
        if let Some((place, one)) = twice {
            return Err(format!("sync {}: there is one called `{}` already", place + 1, one.name));
        }
        settings.iter().map(|setting| Self::new(setting, config).map(Arc::new)).collect()
    }

    fn new(setting: &SyncSetting, config: &Config) -> Result<Self, String> {
        let named = |reason| format!("sync `{}`: {reason}", setting.name);
        let platforms: Result<Vec<_>, _> = setting.platforms.iter().map(|text| parse_platform(text)).collect();
        let platforms = platforms.map_err(named)?;
        let bytes = setting.bytes_per_second.and_then(|bytes| u32::try_from(bytes.as_u64()).ok()?.try_into().ok());
        let pace = Arc::new(Pace::new(setting.requests, bytes));
        let open = |place: &SyncPlace| match place {
            SyncPlace::Local => Ok(None),
            SyncPlace::Remote(setting) => Remote::open_paced(setting, pace.clone()).map(Some).map_err(named),
        };
        let (from, to) = (open(&setting.from)?, open(&setting.to)?);
        // An index is kept as it is though not all of its images are copied. Locations and links lead back into calls of
        // this process, which know no host.
        let own = orlop_core::Registry::new(Config {
            allow_sparse: config.allow_sparse || !platforms.is_empty(),
            external_url: None,
            ..config.clone()
        });
        let selection = Selection::new(setting);
        Ok(Self { setting: setting.clone(), selection, platforms, from, to, own, pace })
    }

    /// Goes on looking at the password files, which may change. Within a runtime.
    pub(crate) fn watch(&self) {
        self.from.iter().chain(&self.to).for_each(Remote::watch);
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.setting.name
    }

    /// What an image consists of by these settings. When that changes, what is at the destination with the right digest
    /// may still lack something.
    fn completeness(&self) -> String {
        format!("{} {}", self.setting.referrers, self.setting.platforms.join(" "))
    }

    /// Which settings these are: a run goes on only with those it began with.
    fn fingerprint(&self) -> Digest {
        Algorithm::Sha256.digest(format!("{:?}", self.setting).as_bytes())
    }

    /// It with its two registries, of which this one is on that host.
    fn ready(&self, host: &Arc<Host>) -> Ready<'_> {
        let place = |remote: &Option<Remote>| match remote {
            Some(remote) => Registry::Remote(remote.clone()),
            None => {
                let caller = Arc::new(Caller { name: self.setting.queue(), ..Caller::anybody() });
                Registry::Local(Local { host: host.clone(), registry: self.own.clone(), caller })
            }
        };
        Ready { sync: self, from: place(&self.from), to: place(&self.to) }
    }
}
