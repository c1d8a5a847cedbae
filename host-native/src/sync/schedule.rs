//! When syncs run: regularly, after pushes, and when it is asked for. Where several hosts have one storage, one of them
//! runs a sync at a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use orlop_core::digest::Digest;
use orlop_core::{Claim, Job, Registry};
use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Sync;
use super::journal::{Journal, now};
use super::pushed::Tried;
use super::run::Progress;
use super::status::{Standing, status_of};
use crate::observe::Observer;
use crate::storage::{Host, Leased};

/// How often it is looked whether something is due, and how often the journal of a run is written.
const LOOK: Duration = Duration::from_secs(1);

/// How long a run that could not begin waits: the storage fails, or another host runs it.
const LATER: Duration = Duration::from_secs(30);

/// How long to wait at most before what was pushed is tried again; it doubles from a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What is in force: the registry whose queues are read, and the syncs.
pub(crate) struct InForce {
    pub(crate) registry: Registry,
    pub(crate) syncs: Vec<Arc<Sync>>,
}

/// Runs syncs.
pub struct Syncing {
    in_force: Box<dyn Fn() -> InForce + Send + std::marker::Sync>,
    host: Arc<Host>,
    observer: Option<Arc<Observer>>,
    /// Which process this is, in journals.
    process: Uuid,
    /// Whether no other process can use the storage.
    alone: bool,
    /// The runs under way.
    running: Mutex<HashMap<String, Arc<Progress>>>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// A sync that ran, and what came of it.
type Ran = (Arc<Sync>, Result<Journal, String>);

/// How what is pushed has fared.
#[derive(Default)]
struct Fate {
    copying: Option<JoinHandle<(Result<(), String>, Tried)>>,
    tried: Tried,
    failures: u32,
    not_before: Option<Instant>,
    /// Of which settings it is noted that something is copied with them.
    noted: Option<Digest>,
}

/// A run as long as it is under way.
struct Running<'s> {
    syncing: &'s Syncing,
    name: &'s str,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.syncing.running().remove(self.name);
    }
}

impl Syncing {
    /// Of a storage. `in_force` is asked for the syncs each time; `alone` says that no other process can use the storage.
    pub(crate) fn new(
        in_force: impl Fn() -> InForce + Send + std::marker::Sync + 'static,
        host: Arc<Host>,
        observer: Option<Arc<Observer>>,
        alone: bool,
    ) -> Self {
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (in_force, running, process) = (Box::new(in_force), Mutex::default(), Uuid::new_v4());
        Self { in_force, host, observer, process, alone, running, stopping, tasks }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Progress>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what is due, until it is told to stop.
    pub async fn run_regularly(self: Arc<Self>) {
        let mut due: HashMap<String, Instant> = HashMap::new();
        let mut fates: HashMap<String, Fate> = HashMap::new();
        let look = async {
            loop {
                sleep(LOOK).await;
                let InForce { registry, syncs } = (self.in_force)();
                for sync in syncs {
                    let name = sync.name().to_owned();
                    if sync.setting.on_push {
                        self.copy_pushed(fates.entry(name.clone()).or_default(), &sync, &registry).await;
                    }
                    let Some(every) = sync.setting.every else { continue };
                    let next = due.entry(name.clone()).or_insert_with(Instant::now);
                    if *next <= Instant::now() && !self.running().contains_key(&name) {
                        *next = Instant::now() + self.begin_if_due(sync, every).await;
                    }
                }
            }
        };
        tokio::select! {
            () = look => {}
            () = self.stopping.cancelled() => {}
        }
    }

    /// Ends what is under way where it stands.
    pub fn end(&self) {
        self.stopping.cancel();
    }

    /// The same, and waits until journals are written.
    pub async fn stop(&self) {
        self.end();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Begins a run if it is due by its journal, and says after which time to look again.
    async fn begin_if_due(self: &Arc<Self>, sync: Arc<Sync>, every: Duration) -> Duration {
        let journal = match self.journal(sync.name()).await {
            Ok(journal) => journal,
            Err(reason) => {
                tracing::warn!("sync {}: {reason}", sync.name());
                return LATER;
            }
        };
        if let Some(left) = journal.due_in(every, now()) {
            return left;
        }
        let syncing = self.clone();
        self.tasks.spawn(async move {
            // What comes of it is in the log.
            let _ = syncing.run(&sync, Claim::Free).await;
        });
        LATER.min(every)
    }

    /// The journal of a sync: of the run that is under way here, or what the records have.
    async fn journal(&self, name: &str) -> Result<Journal, String> {
        if let Some(progress) = self.running().get(name) {
            return Ok(progress.journal().clone());
        }
        self.kept(name).await
    }

    /// The journal of a sync as the records have it.
    async fn kept(&self, name: &str) -> Result<Journal, String> {
        let kept = self.host.noted(&key(name)).await.map_err(|fault| format!("its journal cannot be read: {fault}"))?;
        // One that does not read is as good as none: all is looked at again.
        Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default())
    }

    async fn keep(&self, name: &str, progress: &Progress) {
        let text = {
            let mut journal = progress.journal();
            journal.written = now();
            serde_json::to_vec(&*journal)
        };
        let kept = match text {
            Ok(text) => self.host.note(&key(name), text.into()).await.map_err(|fault| fault.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = kept {
            tracing::warn!("sync {name}: its journal is not written: {reason}");
        }
    }

    /// Runs a sync once, and counts and logs it.
    ///
    /// # Errors
    ///
    /// When it does not run here, or was interrupted.
    async fn run(&self, sync: &Arc<Sync>, claim: Claim) -> Result<Journal, String> {
        let (name, began, registry) = (sync.name(), Instant::now(), (self.in_force)().registry);
        let progress = Arc::new(Progress::new(Journal::default()));
        // Before the lease: a second run would give that back, under the first one's feet.
        let under_way = self.enter(name, &progress)?;
        let job = Job::Sync(name.to_owned());
        let ran = match self.host.under_lease(&registry, job, claim, self.work(sync, &progress)).await {
            Ok(Leased::Held) => return Err("another server of this storage runs it".into()),
            Ok(Leased::Done(done)) => done,
            Ok(Leased::Lost) => Err("another server of this storage was told to run it and goes on with it".into()),
            Err(fault) => Err(format!("it cannot run: {fault}")),
        };
        drop(under_way);
        match &ran {
            Ok(journal) => {
                let (seconds, told) = (began.elapsed().as_secs_f64(), journal.told());
                match journal.counts.failed {
                    0 => tracing::info!("sync {name} ended after {seconds:.1} s: {told}"),
                    _ => tracing::error!("sync {name} ended after {seconds:.1} s: {told}"),
                }
                if let Some(observer) = &self.observer {
                    observer.metrics.synced(name, journal.counts.bytes, journal.counts.failed, journal.succeeded);
                }
            }
            Err(reason) => tracing::warn!("sync {name}: {reason}"),
        }
        ran
    }

    /// Says that a sync runs here.
    fn enter<'s>(&'s self, name: &'s str, progress: &Arc<Progress>) -> Result<Running<'s>, String> {
        match self.running().entry(name.to_owned()) {
            Entry::Occupied(_) => Err("it runs already".into()),
            Entry::Vacant(entry) => {
                entry.insert(progress.clone());
                Ok(Running { syncing: self, name })
            }
        }
    }

    async fn work(&self, sync: &Arc<Sync>, progress: &Progress) -> Result<Journal, String> {
        let (name, ready) = (sync.name(), sync.ready(&self.host));
        let mut journal = self.kept(name).await?.next(self.process, sync.fingerprint(), now());
        journal.begin(&sync.completeness(), !sync.platforms.is_empty());
        *progress.journal() = journal;
        tracing::info!("sync {name} begins: {} to {}", sync.setting.from, sync.setting.to);
        self.keep(name, progress).await;
        let keep = async {
            loop {
                sleep(LOOK).await;
                self.keep(name, progress).await;
            }
        };
        let stopped = tokio::select! {
            () = ready.run(progress, false) => false,
            () = self.stopping.cancelled() => true,
            () = keep => true,
        };
        if !stopped {
            let mut journal = progress.journal();
            journal.ended = Some(now());
            if journal.counts.failed == 0 {
                journal.succeeded = journal.ended;
                journal.complete = sync.completeness();
            }
        }
        self.keep(name, progress).await;
        if stopped {
            return Err("it was interrupted, and goes on where it stands when it runs next".into());
        }
        let journal = progress.journal().clone();
        Ok(journal)
    }

    /// Notes in the journal of a sync that it copies what is pushed, beside its runs.
    async fn note(&self, sync: &Sync) -> Result<(), String> {
        let name = sync.name();
        let running = self.running().get(name).cloned();
        let progress = match running {
            Some(progress) => progress,
            None => Arc::new(Progress::new(self.kept(name).await?)),
        };
        let changes = progress.journal().begin(&sync.completeness(), !sync.platforms.is_empty());
        if changes {
            self.keep(name, &progress).await;
        }
        Ok(())
    }

    /// Copies what was pushed since, beside all else.
    async fn copy_pushed(&self, fate: &mut Fate, sync: &Arc<Sync>, registry: &Registry) {
        if !fate.is_ready(sync.name()).await {
            return;
        }
        let settings = sync.fingerprint();
        if fate.noted != Some(settings) {
            if let Err(reason) = self.note(sync).await {
                fate.not_before = Some(Instant::now() + LATER);
                return tracing::warn!("sync {}: {reason}", sync.name());
            }
            fate.noted = Some(settings);
        }
        let (sync, registry, host) = (sync.clone(), registry.clone(), self.host.clone());
        let (stopping, observer) = (self.stopping.clone(), self.observer.clone());
        let mut tried = std::mem::take(&mut fate.tried);
        fate.copying = Some(self.tasks.spawn(async move {
            let progress = Progress::new(Journal::in_doubt());
            let ready = sync.ready(&host);
            let copied = tokio::select! {
                copied = ready.copy_pushed(&registry, &host, &progress, &mut tried) => copied,
                () = stopping.cancelled() => Ok(()),
            };
            let bytes = progress.journal().counts.bytes;
            if let Some(observer) = observer.filter(|_| bytes > 0 || copied.is_err()) {
                observer.metrics.synced(sync.name(), bytes, u64::from(copied.is_err()), None);
            }
            (copied, tried)
        }));
    }

    /// Runs the syncs of that name, or all: what is to be printed.
    ///
    /// # Errors
    ///
    /// The same, when something failed.
    pub(crate) async fn run_now(self: &Arc<Self>, name: Option<&str>, dry_run: bool) -> Result<String, String> {
        let (mut lines, mut failed) = (Vec::new(), false);
        for (sync, ran) in self.run_named(name, dry_run).await? {
            let told = match &ran {
                Ok(journal) => journal.told(),
                Err(reason) => reason.clone(),
            };
            failed |= ran.map_or(true, |journal| journal.counts.failed > 0);
            lines.push(format!("sync {}: {told}", sync.name()));
        }
        if dry_run {
            lines.push("dry run, nothing was copied or deleted".into());
        }
        if failed { Err(lines.join("\n")) } else { Ok(lines.join("\n")) }
    }

    /// The same as values: what each has done, and what failed in all.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub(crate) async fn run_reported(
        self: &Arc<Self>,
        name: Option<&str>,
        dry_run: bool,
    ) -> Result<(Json, Option<String>), String> {
        let (mut reports, mut failed) = (Vec::new(), Vec::new());
        for (sync, ran) in self.run_named(name, dry_run).await? {
            let name = sync.name();
            let journal = match ran {
                Ok(journal) => journal,
                Err(reason) => {
                    failed.push(format!("sync {name}: {reason}"));
                    continue;
                }
            };
            if journal.counts.failed > 0 {
                failed.push(format!("sync {name}: {} failures", journal.counts.failed));
            }
            reports.push(json!({ "name": name, "counts": journal.counts, "failures": journal.failures }));
        }
        Ok((json!({ "syncs": reports }), Some(failed.join("; ")).filter(|failed| !failed.is_empty())))
    }

    async fn run_named(self: &Arc<Self>, name: Option<&str>, dry_run: bool) -> Result<Vec<Ran>, String> {
        let mut all = Vec::new();
        for sync in self.named(name)? {
            let ran = if dry_run {
                self.foretell(&sync).await
            } else {
                // A task of its own: whoever asked for it may leave.
                let (syncing, sync) = (self.clone(), sync.clone());
                let task = self.tasks.spawn(async move { syncing.run(&sync, Claim::Now).await });
                task.await.unwrap_or_else(|error| Err(error.to_string()))
            };
            all.push((sync, ran));
        }
        Ok(all)
    }

    /// What a run would do now, from the beginning.
    async fn foretell(&self, sync: &Sync) -> Result<Journal, String> {
        let complete = self.journal(sync.name()).await?.complete;
        let progress = Progress::new(Journal { complete, ..Journal::default() });
        sync.ready(&self.host).run(&progress, true).await;
        let journal = progress.journal().clone();
        Ok(journal)
    }

    /// How the syncs of that name stand, or all: what is to be printed.
    ///
    /// # Errors
    ///
    /// When there is none of that name, or a journal cannot be read.
    pub(crate) async fn status(&self, name: Option<&str>) -> Result<String, String> {
        let mut lines = Vec::new();
        for sync in self.named(name)? {
            let running = self.running().contains_key(sync.name());
            let journal = self.journal(sync.name()).await?;
            lines.push(status_of(sync.name(), &journal, journal.state((self.process, running), self.alone, now())));
        }
        Ok(lines.join("\n"))
    }

    /// How all syncs stand, as values.
    ///
    /// # Errors
    ///
    /// When a journal cannot be read.
    pub(crate) async fn standings(&self) -> Result<Vec<Standing>, String> {
        let mut standings = Vec::new();
        for sync in (self.in_force)().syncs {
            let running = self.running().contains_key(sync.name());
            let journal = self.journal(sync.name()).await?;
            let state = journal.state((self.process, running), self.alone, now());
            standings.push(Standing { sync, journal, state });
        }
        Ok(standings)
    }

    /// Whether there is a sync of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        (self.in_force)().syncs.iter().any(|sync| sync.name() == name)
    }

    fn named(&self, name: Option<&str>) -> Result<Vec<Arc<Sync>>, String> {
        let mut syncs = (self.in_force)().syncs;
        syncs.retain(|sync| name.is_none_or(|name| sync.name() == name));
        match (syncs.is_empty(), name) {
            (true, Some(name)) => Err(format!("there is no sync `{name}` in the configuration")),
            (true, None) => Err("there is no [[sync]] in the configuration".into()),
            _ => Ok(syncs),
        }
    }
}

impl Fate {
    /// Whether it is time to look again. What came of the last time is seen to first.
    async fn is_ready(&mut self, name: &str) -> bool {
        if let Some(copying) = &mut self.copying {
            if !copying.is_finished() {
                return false;
            }
            let (copied, tried) = copying.await.unwrap_or_else(|error| (Err(error.to_string()), Tried::default()));
            self.tried = tried;
            match copied {
                Ok(()) => self.failures = 0,
                Err(reason) => {
                    let pause = Duration::from_secs(1 << self.failures.min(12)).min(LONGEST_PAUSE);
                    self.failures += 1;
                    self.not_before = Some(Instant::now() + pause);
                    tracing::warn!("sync {name}: what was pushed is tried again in {pause:?}: {reason}");
                }
            }
            self.copying = None;
        }
        self.not_before.is_none_or(|then| Instant::now() >= then)
    }
}

/// The name of the journal of a sync, among what the host keeps.
fn key(name: &str) -> String {
    format!("sync/{name}/run")
}
