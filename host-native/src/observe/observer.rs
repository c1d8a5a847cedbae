//! Who is told of what a server does: each server has its own.

use opentelemetry_sdk::trace::SdkTracer;

use crate::observe::metrics::Metrics;
use crate::observe::traces::Traces;
use crate::storage::Host;

/// What one server counts, and where its spans go.
pub struct Observer {
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Option<SdkTracer>,
}

impl Observer {
    /// An observer of a server with this storage. Without `traces` no spans are made.
    pub fn new(host: &Host, traces: Option<&Traces>) -> Self {
        Self { metrics: Metrics::new(host.counters()), tracer: traces.map(Traces::tracer) }
    }
}
