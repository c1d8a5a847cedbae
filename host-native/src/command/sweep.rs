//! Sweeping: giving back the space of what is no longer needed, now and then or once.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use orlop_core::{Registry, Report};

use crate::observe::Observer;
use crate::request::live::Current;
use crate::storage::{Host, RequestBody, ambient};

/// The first sweep comes this soon after the start, so that a server that is started often sweeps too.
const FIRST: Duration = Duration::from_secs(600);

/// How far the clock may be put forward while a sweep is waited for. A machine that slept is no different.
const LEAP: Duration = Duration::from_secs(3600);

/// Sweeps once.
pub async fn sweep(registry: &Registry, host: &Host) -> Report {
    host.run(registry.sweep(ambient()), &mut RequestBody::empty()).await
}

/// Sweeps every `interval`, for ever.
pub async fn sweep_regularly(current: Current, host: Arc<Host>, observer: Arc<Observer>, interval: Duration) {
    let mut pause = FIRST.min(interval);
    loop {
        let before = (Instant::now(), SystemTime::now());
        tokio::time::sleep(pause).await;
        let waited = (before.0.elapsed(), before.1.elapsed().unwrap_or_default());
        if waited.1 > waited.0 + pause + LEAP {
            // All graces would be over at once. If the clock is right now, so it will be next time.
            tracing::warn!("the clock has leapt by {:?}: no sweep now", waited.1 - waited.0);
            continue;
        }
        pause = interval;
        let began = Instant::now();
        // A task of its own, so that a panic ends this sweep and not the next.
        let (registry, host) = (current.registry(), host.clone());
        match tokio::spawn(async move { sweep(&registry, &host).await }).await {
            Ok(report) => told(&observer, &report, began.elapsed()),
            Err(error) => tracing::error!("the sweep panicked: {error}"),
        }
    }
}

fn told(observer: &Observer, report: &Report, took: Duration) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    observer.metrics.swept(report, now.try_into().unwrap_or(i64::MAX));
    match &report.fault {
        Some(_) => tracing::error!("the sweep ended early: {report}"),
        None => tracing::info!("swept in {:.1} s: {report}", took.as_secs_f64()),
    }
}
