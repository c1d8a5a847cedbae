//! What the storage counts: whoever shows it takes a handle of each.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// What was asked of an object store, and its answer; status 0 is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ObjectRequest {
    pub(crate) method: String,
    pub(crate) status: u16,
}

/// How a pull was answered where there is a cache of objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CacheRead {
    pub(crate) result: &'static str,
}

/// Where bytes were that are not those of their digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Damaged {
    pub(crate) at: &'static str,
}

/// What was asked of an upstream, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Asked {
    pub(crate) upstream: String,
    pub(crate) result: &'static str,
}

/// What an upstream has answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Answered {
    pub(crate) upstream: String,
    /// Of few values, whatever an upstream sends.
    pub(crate) status: &'static str,
}

/// The counters of what mirrors ask of their upstreams. A clone counts in the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpstreamCounters {
    /// Requests, by upstream and result.
    pub(crate) requests: Family<Asked, Counter>,
    /// Answers, by upstream and status, with those on the way to the last one.
    pub(crate) answers: Family<Answered, Counter>,
    /// Bytes of blobs that came.
    pub(crate) fetched: Counter,
    /// Fetches of blobs that are under way or wait for others to end.
    pub(crate) flights: Gauge,
}

/// The counters of one storage. A clone counts in the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    /// Changes of records that were made.
    pub(crate) commits: Counter,
    /// Changes of records that came too late.
    pub(crate) conflicts: Counter,
    /// Times that something was made durable.
    pub(crate) fsyncs: Counter,
    /// Statements of commits that were sent to a database.
    pub(crate) batches: Counter,
    /// Times that something was asked of a database once more.
    pub(crate) retries: Counter,
    /// Statements of which it was not known what had become of them, until the database was asked.
    pub(crate) settled: Counter,
    /// Requests to an object store.
    pub(crate) objects: Family<ObjectRequest, Counter>,
    /// Blobs and manifests that were put out of use, because they are damaged.
    pub(crate) damage_found: Counter,
    /// Blobs whose bytes, as they were read, were not those of their digest.
    pub(crate) damaged: Family<Damaged, Counter>,
    /// Pulls, by what the cache of objects had to do with them.
    pub(crate) cache_reads: Family<CacheRead, Counter>,
    /// Bytes that were written into the cache.
    pub(crate) cache_filled: Counter,
    /// Files that were removed from the cache to make room.
    pub(crate) cache_evictions: Counter,
    /// How many bytes the cache has, with what is reserved for what is being written.
    pub(crate) cache_bytes: Gauge,
    /// What mirrors ask of their upstreams.
    pub(crate) upstreams: UpstreamCounters,
}

impl UpstreamCounters {
    /// An upstream has answered with this status, or not at all.
    pub(crate) fn answered(&self, upstream: &str, status: Option<u16>) {
        let status = match status {
            None => "none",
            Some(401) => "401",
            Some(403) => "403",
            Some(404) => "404",
            Some(429) => "429",
            Some(200..300) => "2xx",
            Some(300..400) => "3xx",
            Some(400..500) => "4xx",
            Some(500..600) => "5xx",
            Some(_) => "other",
        };
        self.answers.get_or_create(&Answered { upstream: upstream.into(), status }).inc();
    }
}

impl Counters {
    /// A pull was answered from a file (`hit`), from one that is being filled (`shared`), or from the store, into a file
    /// (`miss`) or past the cache (`bypass`).
    pub(crate) fn cache_read(&self, result: &'static str) {
        self.cache_reads.get_or_create(&CacheRead { result }).inc();
    }

    /// A blob was read, from the store or the cache, with other bytes than were pushed.
    pub(crate) fn damaged(&self, at: &'static str) {
        self.damaged.get_or_create(&Damaged { at }).inc();
    }
}
