//! Garbage collection: regularly, and when it is asked for.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytesize::ByteSize;
use orlop_core::{Registry, Report};

use crate::observe::Observer;
use crate::request::live::Current;
use crate::storage::{Host, RequestBody, ambient};

/// The first collection comes this soon after the start, so that a server that is started often collects too.
const FIRST: Duration = Duration::from_secs(600);

/// How far the clock may be set forward while a collection is waited for. A machine that slept is no different.
const LEAP: Duration = Duration::from_secs(3600);

/// What is to be done, and how it is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// Only find out what would be removed.
    pub dry_run: bool,
    /// Report as JSON, not as text.
    pub json: bool,
}

/// Collects once, or in a dry run finds out what a collection would remove.
pub async fn collect(registry: &Registry, host: &Host, dry_run: bool) -> Report {
    let step = if dry_run { registry.gc_dry_run(ambient()) } else { registry.gc(ambient()) };
    host.run(step, &mut RequestBody::empty()).await
}

/// Collects every `interval`, for ever.
pub async fn collect_regularly(current: Current, host: Arc<Host>, observer: Arc<Observer>, interval: Duration) {
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
        let _ = collect_now(&current, &host, &observer, false).await;
    }
}

/// Collects once beside what else a server does, and counts and logs it.
///
/// # Errors
///
/// When it panicked.
pub async fn collect_now(
    current: &Current,
    host: &Arc<Host>,
    observer: &Observer,
    dry_run: bool,
) -> Result<Report, String> {
    let began = Instant::now();
    // A task of its own, so that a panic ends this collection and not the next.
    let (registry, collected) = (current.registry(), host.clone());
    let report = tokio::spawn(async move { collect(&registry, &collected, dry_run).await }).await.map_err(|error| {
        tracing::error!("garbage collection panicked: {error}");
        "garbage collection failed: see the log of the server".to_owned()
    })?;
    if dry_run {
        return Ok(report);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    observer.metrics.collected(&report, now.try_into().unwrap_or(i64::MAX));
    match &report.fault {
        Some(_) => tracing::error!("garbage collection ended early: {report}"),
        None => tracing::info!("garbage collected in {:.1} s: {report}", began.elapsed().as_secs_f64()),
    }
    Ok(report)
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
