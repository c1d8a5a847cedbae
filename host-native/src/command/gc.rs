//! Garbage collection: regularly, and when it is asked for.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytesize::ByteSize;
use orlop_core::{Claim, Fault, Gathering, Job, Registry, Report};
use tokio::sync::Mutex;

use crate::observe::Observer;
use crate::request::live::Current;
use crate::storage::{Host, Leased, RequestBody, ambient};

/// The first collection comes this soon after the start, so that a server that is started often collects too.
const FIRST: Duration = Duration::from_secs(600);

/// How far the clock may be set forward while a collection is waited for. A machine that slept is no different.
const LEAP: Duration = Duration::from_secs(3600);

/// How long blobs are made one object after a collection.
const GATHERING: Duration = Duration::from_secs(3600);

/// What is to be done, and how it is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// Only find out what would be removed.
    pub dry_run: bool,
    /// Report as JSON, not as text.
    pub json: bool,
}

/// Why a host collects nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Another host of the same storage collects.
    Collecting,
    /// Another host was asked to, and has taken over in the middle.
    TakenOver,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collecting => "another host of this storage collects the garbage",
            Self::TakenOver => {
                "another host of this storage was told to collect garbage and goes on with it: its command reports"
            }
        })
    }
}

/// Finds out what a collection would remove. It changes nothing, so any number of hosts may do it.
pub async fn foretell(registry: &Registry, host: &Host) -> Report {
    host.run(registry.gc_dry_run(ambient()), &mut RequestBody::empty()).await
}

/// Collects once, under the lease of that job: where several hosts have one storage, one of them collects at a time.
///
/// # Errors
///
/// When that is another host.
pub async fn collect(registry: &Registry, host: &Host, claim: Claim) -> Result<Report, Elsewhere> {
    let work = async {
        let report = host.run(registry.gc(ambient()), &mut RequestBody::empty()).await;
        end_unrecorded(host).await;
        report
    };
    match host.under_lease(registry, Job::Gc, claim, work).await {
        Ok(Leased::Done(report)) => Ok(report),
        Ok(Leased::Held) => Err(Elsewhere::Collecting),
        Ok(Leased::Lost) => Err(Elsewhere::TakenOver),
        // What keeps it from the lease would keep it from all else.
        Err(fault) => Ok(Report { fault: Some(fault.to_string()), ..Report::default() }),
    }
}

/// Ends what an object store has begun and no record knows.
async fn end_unrecorded(host: &Host) {
    match host.end_unrecorded().await {
        Ok(0) => {}
        Ok(ended) => {
            tracing::info!("{ended} uploads were open in the object store that no record knew: they are ended")
        }
        Err(fault) => tracing::warn!(
            "uploads that are open in the object store and in no record are not ended: {fault}; a lifecycle rule of the \
             bucket can do it (AbortIncompleteMultipartUpload)"
        ),
    }
}

/// Makes blobs of several objects one, where clients are sent to the object store, for so long at most: one host at a
/// time. `in_force` is asked for the registry each time.
async fn gather(in_force: impl Fn() -> Registry, host: &Host, most: Duration) {
    let work = async {
        let (began, mut after, mut gathered) = (Instant::now(), None, 0_u64);
        while began.elapsed() < most {
            match host.run(in_force().gather(after.take(), ambient()), &mut RequestBody::empty()).await {
                Ok(Gathering::At(key, Ok(done))) => {
                    if !done {
                        tracing::info!("{} is gone, or an object of it: it is not made one object", key.as_str());
                    }
                    gathered += u64::from(done);
                    after = Some(key);
                }
                Ok(Gathering::At(key, Err(fault))) => {
                    tracing::warn!("{} stays as several objects for now: {fault}", key.as_str());
                    // What is written now would be garbage, too.
                    if !matches!(fault, Fault::Failed(_)) {
                        break;
                    }
                    after = Some(key);
                }
                Ok(Gathering::Over) => break,
                Err(fault) => {
                    tracing::warn!("blobs stay as several objects for now: {fault}");
                    break;
                }
            }
        }
        gathered
    };
    let registry = in_force();
    if !registry.gathers() {
        return;
    }
    match host.under_lease(&registry, Job::Gather, Claim::Free, work).await {
        Ok(Leased::Done(0) | Leased::Held | Leased::Lost) => {}
        Ok(Leased::Done(gathered)) => tracing::info!("{gathered} blobs of several objects are one object each now"),
        Err(fault) => tracing::warn!("blobs stay as several objects for now: {fault}"),
    }
}

/// Collects garbage for a server.
pub struct Collector {
    current: Current,
    host: Arc<Host>,
    observer: Arc<Observer>,
    /// One collection at a time: in one process, all have one lease.
    one: Mutex<()>,
    /// The same of making blobs one object.
    gathering: Arc<Mutex<()>>,
}

impl Collector {
    /// For that server.
    pub fn new(current: Current, host: Arc<Host>, observer: Arc<Observer>) -> Self {
        Self { current, host, observer, one: Mutex::default(), gathering: Arc::default() }
    }

    /// Collects every `interval`, for ever.
    pub async fn collect_regularly(self: Arc<Self>, interval: Duration) {
        let mut pause = FIRST.min(interval);
        loop {
            let before = (Instant::now(), SystemTime::now());
            tokio::time::sleep(pause).await;
            let waited = (before.0.elapsed(), before.1.elapsed().unwrap_or_default());
            if waited.1 > waited.0 + pause + LEAP {
                // All grace periods would be over at once. If the clock is right now, so it will be next time.
                tracing::warn!("the clock was set forward by {:?}: no garbage is collected now", waited.1 - waited.0);
                continue;
            }
            pause = interval;
            // What comes of it is in the log.
            let _ = self.collect(Claim::Free).await;
        }
    }

    /// Collects once beside what else a server does, and counts and logs it.
    ///
    /// # Errors
    ///
    /// When it panicked, or another host collects.
    pub async fn collect(&self, claim: Claim) -> Result<Report, String> {
        let _one = self.one.lock().await;
        let began = Instant::now();
        let (registry, host) = (self.current.registry(), self.host.clone());
        let collected = guarded(async move { collect(&registry, &host, claim).await }).await?;
        let report = collected.map_err(|elsewhere| {
            tracing::info!("garbage is not collected here: {elsewhere}");
            elsewhere.to_string()
        })?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.observer.metrics.collected(&report, now.try_into().unwrap_or(i64::MAX));
        match &report.fault {
            Some(_) => tracing::error!("garbage collection ended early: {report}"),
            None => {
                tracing::info!("garbage collected in {:.1} s: {report}", began.elapsed().as_secs_f64());
                self.gather();
            }
        }
        Ok(report)
    }

    /// Makes blobs of several objects one, beside all else, as it may take long. What is left comes after the next
    /// collection.
    fn gather(&self) {
        let (current, host, gathering) = (self.current.clone(), self.host.clone(), self.gathering.clone());
        tokio::spawn(async move {
            if let Ok(_one) = gathering.try_lock() {
                gather(|| current.registry(), &host, GATHERING).await;
            }
        });
    }

    /// Finds out what a collection would remove.
    ///
    /// # Errors
    ///
    /// When it panicked.
    pub async fn foretell(&self) -> Result<Report, String> {
        let (registry, host) = (self.current.registry(), self.host.clone());
        guarded(async move { foretell(&registry, &host).await }).await
    }
}

/// Does it as a task of its own, so that a panic ends this collection and not the next.
async fn guarded<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, String> {
    tokio::spawn(work).await.map_err(|error| {
        tracing::error!("garbage collection panicked: {error}");
        "garbage collection failed: see the log of the server".to_owned()
    })
}

/// A report as it is printed.
///
/// # Errors
///
/// When the collection ended early.
pub fn told(report: &Report, collection: Collection) -> Result<String, String> {
    let told = match collection {
        Collection { json: true, .. } => serde_json::to_string(report).map_err(|error| error.to_string())?,
        Collection { dry_run: true, .. } => foretold(report),
        Collection { .. } => report.to_string(),
    };
    match report.fault {
        Some(_) => Err(format!("garbage collection ended early, run it again for the rest: {told}")),
        None => Ok(told),
    }
}

/// What a dry run found: a line for each, and the sum.
fn foretold(report: &Report) -> String {
    let lines = report.garbage.iter();
    let lines = lines.map(|garbage| format!("{}: {}, {}\n", garbage.what, garbage.why, ByteSize::b(garbage.bytes)));
    let freed = ByteSize::b(report.bytes_freed);
    format!("{}dry run, nothing was removed; a collection would free {freed}: {report}", lines.collect::<String>())
}
