//! What the storage counts: whoever shows it takes a handle of each.

use prometheus_client::metrics::counter::Counter;

/// The counters of one storage. A clone counts in the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    /// Changes of records that were made.
    pub(crate) commits: Counter,
    /// Changes of records that came too late.
    pub(crate) conflicts: Counter,
    /// Times that something was made durable.
    pub(crate) fsyncs: Counter,
}
