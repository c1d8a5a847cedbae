//! Garbage collection: regularly, and when it is asked for.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use orlop_core::{Registry, Report};

use crate::observe::Observer;
use crate::request::live::Current;
use crate::storage::{Host, RequestBody, ambient};

/// The first collection comes this soon after the start, so that a server that is started often collects too.
const FIRST: Duration = Duration::from_secs(600);

/// How far the clock may be set forward while a collection is waited for. A machine that slept is no different.
const LEAP: Duration = Duration::from_secs(3600);

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One object.
    Json,
}

/// Collects once.
pub async fn collect(registry: &Registry, host: &Host) -> Report {
    host.run(registry.sweep(ambient()), &mut RequestBody::empty()).await
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
        let _ = collect_now(&current, &host, &observer).await;
    }
}

/// Collects once beside what else a server does, and counts and logs it.
///
/// # Errors
///
/// When it panicked.
pub async fn collect_now(current: &Current, host: &Arc<Host>, observer: &Observer) -> Result<Report, String> {
    let began = Instant::now();
    // A task of its own, so that a panic ends this collection and not the next.
    let (registry, collected) = (current.registry(), host.clone());
    let report = tokio::spawn(async move { collect(&registry, &collected).await }).await.map_err(|error| {
        tracing::error!("garbage collection panicked: {error}");
        "garbage collection failed: see the log of the server".to_owned()
    })?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    observer.metrics.swept(&report, now.try_into().unwrap_or(i64::MAX));
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
pub fn told(report: &Report, form: Form) -> Result<String, String> {
    let told = match form {
        Form::Text => report.to_string(),
        Form::Json => serde_json::to_string(report).map_err(|error| error.to_string())?,
    };
    match report.fault {
        Some(_) => Err(format!("garbage collection ended early, run it again for the rest: {told}")),
        None => Ok(told),
    }
}
