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

#[cfg(test)]
mod tests {
    use orlop_core::effect::{Commit, Committed, Durability};
    use orlop_core::keys::Key;
    use tempfile::TempDir;

    use super::*;
    use crate::settings::Options;
    use crate::storage::RequestBody;

    #[tokio::test]
    async fn two_servers_in_one_process_count_apart() {
        let directories = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let open = |directory: &TempDir| Host::open(directory.path(), &Options::default()).unwrap();
        let hosts = directories.each_ref().map(open);
        let observers = hosts.each_ref().map(|host| Observer::new(host, None));
        let put = vec![(Key::stored("key"), bytes::Bytes::new())];
        let commit = Commit {
            expect: vec![],
            put,
            add: vec![],
            delete: vec![],
            durability: Durability::Durable,
            reclaims: false,
        };
        let call = orlop_core::step::start(|io| async move { io.ask(commit).await });
        assert_eq!(hosts[0].run(call, &mut RequestBody::empty()).await, Ok(Committed::Done));
        observers[0].metrics.running.inc();
        for (observer, expected) in observers.iter().zip([1, 0]) {
            let text = observer.metrics.text();
            for counted in ["orlop_commits_total", "orlop_requests_running"] {
                assert!(text.contains(&format!("\n{counted} {expected}\n")), "{counted} {expected}: {text}");
            }
        }
    }
}
