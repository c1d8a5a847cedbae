//! What is counted of a server, for Prometheus.

use std::sync::atomic::AtomicU64;

use orlop_core::{Census, QuotaUsage, Report};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::storage::Counters;

type Labels<const N: usize> = [(&'static str, String); N];

/// What an answer was to: counted for each request, so nothing is made into text for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    operation: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

/// How a pull from a mirror was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Mirrored {
    operation: &'static str,
    cache: String,
}

/// What is stored: each a family of its own, so that a sum over one never mixes numbers and bytes.
#[derive(Default)]
struct Stored {
    repositories: Gauge<u64, AtomicU64>,
    blobs: Gauge<u64, AtomicU64>,
    blob_bytes: Gauge<u64, AtomicU64>,
    uploads: Gauge<u64, AtomicU64>,
    upload_bytes: Gauge<u64, AtomicU64>,
    released_objects: Gauge<u64, AtomicU64>,
    released_bytes: Gauge<u64, AtomicU64>,
    damaged: Gauge<u64, AtomicU64>,
}

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    seconds: Family<Operation, Histogram>,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    pub(crate) running: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) logins_refused: Counter,
    stored: Stored,
    quota_used: Family<Labels<1>, Gauge<u64, AtomicU64>>,
    quota_soft: Family<Labels<1>, Gauge<u64, AtomicU64>>,
    quota_limit: Family<Labels<1>, Gauge<u64, AtomicU64>>,
    gc_runs: Family<Labels<1>, Counter>,
    gc_removed: Family<Labels<1>, Counter>,
    gc_freed: Counter,
    gc_last: Gauge,
    webhooks: Family<Labels<2>, Counter>,
    mirrored: Family<Mirrored, Counter>,
    pub(crate) evicted: Counter,
    pub(crate) scrubbed: Counter,
    pub(crate) retention_tags: Counter,
    pub(crate) retention_manifests: Counter,
    pub(crate) retention_waiting: Gauge,
    pub(crate) retention_last: Gauge,
    sync_bytes: Family<Labels<1>, Counter>,
    sync_failures: Family<Labels<1>, Counter>,
    sync_succeeded: Family<Labels<1>, Gauge>,
}

/// From a look-up in memory to a layer over a slow line, in seconds.
fn histogram() -> Histogram {
    Histogram::new([0.001, 0.004, 0.016, 0.064, 0.25, 1.0, 4.0, 16.0, 64.0, 256.0])
}

impl Metrics {
    /// Nothing is counted yet but what the storage has counted.
    pub(crate) fn new(storage: &Counters) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("orlop"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            received: Counter::default(),
            sent: Counter::default(),
            running: Gauge::default(),
            connections: Gauge::default(),
            logins_refused: Counter::default(),
            stored: Stored::default(),
            quota_used: Family::default(),
            quota_soft: Family::default(),
            quota_limit: Family::default(),
            gc_runs: Family::default(),
            gc_removed: Family::default(),
            gc_freed: Counter::default(),
            gc_last: Gauge::default(),
            webhooks: Family::default(),
            mirrored: Family::default(),
            evicted: Counter::default(),
            scrubbed: Counter::default(),
            retention_tags: Counter::default(),
            retention_manifests: Counter::default(),
            retention_waiting: Gauge::default(),
            retention_last: Gauge::default(),
            sync_bytes: Family::default(),
            sync_failures: Family::default(),
            sync_succeeded: Family::default(),
        };
        let registry = &mut metrics.registry;
        for (name, help, counter) in [
            ("received_bytes", "Bytes of request bodies", &metrics.received),
            ("sent_bytes", "Bytes of response bodies", &metrics.sent),
            ("logins_refused", "Requests with a wrong password or token", &metrics.logins_refused),
            ("commits", "Changes of records that were made", &storage.commits),
            ("conflicts", "Changes of records that came too late and were tried again", &storage.conflicts),
            ("fsyncs", "Times that something was made durable", &storage.fsyncs),
            ("database_batches", "Batches of commits that were sent to the database", &storage.batches),
            ("database_retries", "Times that something was asked of the database once more", &storage.retries),
            (
                "database_settled",
                "Batches whose outcome was found out after their connection had died",
                &storage.settled,
            ),
            ("cache_filled_bytes", "Bytes written into the object cache", &storage.cache_filled),
            ("cache_evictions", "Files removed from the object cache to make room", &storage.cache_evictions),
            ("upstream_fetched_bytes", "Bytes of blobs fetched for mirrors", &storage.upstreams.fetched),
            ("mirror_evicted_bytes", "Bytes of blobs that were taken out of mirrors to make room", &metrics.evicted),
            ("scrub_read_bytes", "Bytes that the scrub has read again", &metrics.scrubbed),
            ("damage_found", "Blobs and manifests that were found to be damaged", &storage.damage_found),
            ("retention_deleted_tags", "Tags that the rules of retention let go", &metrics.retention_tags),
            (
                "retention_deleted_manifests",
                "Manifests that no tag needed and that the rules of retention let go",
                &metrics.retention_manifests,
            ),
            ("gc_freed_bytes", "Bytes that garbage collection freed", &metrics.gc_freed),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in [
            ("requests_running", "Requests that are being answered", &metrics.running),
            ("connections", "Connections that are open", &metrics.connections),
            (
                "cache_bytes",
                "Bytes of the object cache, with what is reserved for files that are being filled",
                &storage.cache_bytes,
            ),
            (
                "upstream_fetches_running",
                "Blobs that are being fetched for mirrors, or wait for others to be",
                &storage.upstreams.flights,
            ),
            (
                "retention_waiting",
                "Repositories where retention waits for somebody to agree, when it last ran",
                &metrics.retention_waiting,
            ),
            ("retention_last_timestamp_seconds", "When retention last ended", &metrics.retention_last),
            ("gc_last_timestamp_seconds", "When the last garbage collection ended", &metrics.gc_last),
        ] {
            registry.register(name, help, gauge.clone());
        }
        let stored = &metrics.stored;
        for (name, help, gauge) in [
            ("stored_repositories", "Repositories, as last counted", &stored.repositories),
            ("stored_blobs", "Blobs, as last counted", &stored.blobs),
            ("stored_blob_bytes", "Bytes of blobs, as last counted", &stored.blob_bytes),
            ("stored_uploads", "Uploads that are not finished, as last counted", &stored.uploads),
            ("stored_upload_bytes", "Bytes of these uploads, as last counted", &stored.upload_bytes),
            (
                "stored_released_objects",
                "Objects that are kept for a restore, as last counted",
                &stored.released_objects,
            ),
            ("stored_released_bytes", "Bytes of these objects, as last counted", &stored.released_bytes),
            ("stored_damaged", "Blobs and manifests that are damaged and out of use, as last counted", &stored.damaged),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register("requests", "Requests that were answered, by operation and status", metrics.requests.clone());
        registry.register(
            "request_seconds",
            "From the head of a request to the end of its answer",
            metrics.seconds.clone(),
        );
        registry.register(
            "object_requests",
            "Requests to the object store, by method and status; status 0 is no answer",
            storage.objects.clone(),
        );
        registry.register(
            "damaged_reads",
            "Blobs whose bytes were not those of their digest when they were read from the store or the cache",
            storage.damaged.clone(),
        );
        registry.register(
            "cache_reads",
            "Pulls where there is an object cache: hit, shared (of a file that is being filled), miss or bypass",
            storage.cache_reads.clone(),
        );
        registry.register(
            "mirror_answers",
            "Pulls from mirrors, by operation and by X-Cache: HIT, MISS or STALE",
            metrics.mirrored.clone(),
        );
        registry.register(
            "upstream_requests",
            "Requests to upstreams of mirrors, by result: done, absent, denied, paused or failed",
            storage.upstreams.requests.clone(),
        );
        registry.register(
            "upstream_answers",
            "Answers of upstreams of mirrors, with redirects and challenges, by status: 2xx, 3xx, 401, 403, 404, 429, 4xx, 5xx, \
             other or none",
            storage.upstreams.answers.clone(),
        );
        for (name, help, family) in [
            (
                "quota_used_bytes",
                "Bytes of all repositories of a quota together, or of the one with most where each has its own",
                &metrics.quota_used,
            ),
            ("quota_soft_bytes", "From how many on there is a warning, by quota", &metrics.quota_soft),
            ("quota_limit_bytes", "How many there may be, by quota", &metrics.quota_limit),
        ] {
            registry.register(name, help, family.clone());
        }
        registry.register("gc_runs", "Garbage collections, by result", metrics.gc_runs.clone());
        registry.register("gc_removed", "What garbage collection removed, by kind", metrics.gc_removed.clone());
        registry.register("webhooks", "Events that were told, by webhook and result", metrics.webhooks.clone());
        registry.register(
            "sync_copied_bytes",
            "Bytes of blobs that syncs have moved, by sync",
            metrics.sync_bytes.clone(),
        );
        registry.register(
            "sync_failures",
            "What syncs have not copied or deleted, by sync",
            metrics.sync_failures.clone(),
        );
        registry.register(
            "sync_last_success_timestamp_seconds",
            "When a run of a sync last ended without a failure, by sync",
            metrics.sync_succeeded.clone(),
        );
        metrics
    }

    /// A request was answered.
    pub(crate) fn answered(&self, operation: &'static str, status: u16, seconds: f64, sent: u64) {
        self.requests.get_or_create(&Answer { operation, status }).inc();
        self.seconds.get_or_create(&Operation { operation }).observe(seconds);
        self.sent.inc_by(sent);
    }

    /// A pull from a mirror was answered, so as `X-Cache` says.
    pub(crate) fn mirrored(&self, operation: &'static str, cache: &str) {
        self.mirrored.get_or_create(&Mirrored { operation, cache: cache.into() }).inc();
    }

    /// Everything was counted.
    pub(crate) fn counted(&self, census: &Census) {
        let Census { repositories, blobs, bytes, uploads, upload_bytes, released, released_bytes, damaged } = *census;
        let stored = &self.stored;
        for (gauge, count) in [
            (&stored.repositories, repositories),
            (&stored.blobs, blobs),
            (&stored.blob_bytes, bytes),
            (&stored.uploads, uploads),
            (&stored.upload_bytes, upload_bytes),
            (&stored.released_objects, released),
            (&stored.released_bytes, released_bytes),
            (&stored.damaged, damaged),
        ] {
            gauge.set(count);
        }
    }

    /// Quotas were looked at: all that there are.
    pub(crate) fn quotas(&self, quotas: &[QuotaUsage]) {
        let families = [&self.quota_used, &self.quota_soft, &self.quota_limit];
        families.iter().for_each(|family| family.clear());
        for QuotaUsage { quota, bytes, soft, limit, .. } in quotas {
            for (family, bytes) in families.iter().zip([Some(*bytes), *soft, *limit]) {
                if let Some(bytes) = bytes {
                    family.get_or_create(&[("quota", quota.clone())]).set(bytes);
                }
            }
        }
    }

    /// A garbage collection ended.
    pub(crate) fn collected(&self, report: &Report, now: i64) {
        let result = if report.fault.is_some() { "failed" } else { "done" };
        self.gc_runs.get_or_create(&[("result", result.into())]).inc();
        let kinds = [
            ("uploads", report.uploads_expired),
            ("lists", report.lists_removed),
            ("manifests", report.manifests_removed),
            ("links", report.links_removed),
            ("blobs", report.blobs_removed),
            ("repositories", report.repositories_removed),
            ("orphans", report.orphans_removed),
            ("released", report.objects_erased),
        ];
        for (kind, count) in kinds {
            self.gc_removed.get_or_create(&[("kind", kind.into())]).inc_by(count);
        }
        self.gc_freed.inc_by(report.bytes_freed);
        self.gc_last.set(now);
    }

    /// An event was told, or not.
    pub(crate) fn told(&self, webhook: &str, result: &'static str, events: u64) {
        self.webhooks.get_or_create(&[("webhook", webhook.into()), ("result", result.into())]).inc_by(events);
    }

    /// A sync has run, or copied what was pushed. `succeeded` is when a run last ended without a failure, in seconds since
    /// 1970.
    pub(crate) fn synced(&self, sync: &str, bytes: u64, failures: u64, succeeded: Option<u64>) {
        let labels = [("sync", sync.to_owned())];
        self.sync_bytes.get_or_create(&labels).inc_by(bytes);
        self.sync_failures.get_or_create(&labels).inc_by(failures);
        if let Some(succeeded) = succeeded {
            self.sync_succeeded.get_or_create(&labels).set(succeeded.try_into().unwrap_or(i64::MAX));
        }
    }

    /// All of it, in the text format of OpenMetrics.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // A string takes everything.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
