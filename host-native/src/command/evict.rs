//! Eviction: taking blobs out of mirrors that have more bytes than they may.

use std::sync::Arc;
use std::time::Duration;

use orlop_core::{Claim, Eviction, Job};

use crate::observe::Observer;
use crate::request::live::Current;
use crate::storage::{Host, Leased, RequestBody, ambient};

/// How often it is looked whether a mirror has more than it may.
const LOOK: Duration = Duration::from_secs(60);

/// Evicts for ever, while the settings have a mirror with a bound: one host at a time, where several have one storage.
pub async fn evict_regularly(current: Current, host: Arc<Host>, observer: Arc<Observer>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let registry = current.registry();
        if !registry.evicts() {
            continue;
        }
        let work = async { host.run(registry.evict(ambient()), &mut RequestBody::empty()).await };
        match host.under_lease(&registry, Job::Evict, Claim::Free, work).await {
            Ok(Leased::Done(Ok(Eviction { blobs, bytes }))) => {
                if blobs > 0 {
                    tracing::info!(
                        blobs,
                        bytes,
                        "mirrors have more than they may: what was not pulled for longest is gone"
                    );
                }
                observer.metrics.evicted.inc_by(bytes);
            }
            Ok(Leased::Held | Leased::Lost) => {}
            Ok(Leased::Done(Err(fault))) | Err(fault) => tracing::warn!("mirrors keep more than they may: {fault}"),
        }
    }
}
