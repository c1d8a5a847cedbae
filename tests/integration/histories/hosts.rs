//! The hosts that a history is played on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use orlop_conformance::system::{Performs, perform};
use orlop_core::effect::{Fault, Get, Inventory, Load, Object, Scan, Step};
use orlop_core::keys::{Key, Prefix};
use orlop_core::memory::{Memory, RequestBody};
use orlop_core::step::start;
use orlop_core::{Body, Piece, Response};
use tokio::runtime::Runtime;

use super::operation::Failure;

/// Whatever performs the effects of the core.
pub(crate) enum Host {
    Memory(Box<Memory>),
    Disk { host: orlop::Host, runtime: Runtime, _directory: tempfile::TempDir },
}

/// All records, and the objects with their sizes.
pub(crate) type Everything = (BTreeMap<Key, Bytes>, Vec<(Object, u64)>);

impl Host {
    pub(crate) fn memory() -> Self {
        Self::Memory(Box::default())
    }

    pub(crate) fn disk() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let host = orlop::Host::open(directory.path(), &orlop::Options::default()).expect("an empty directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self::Disk { host, runtime: runtime.expect("a runtime"), _directory: directory }
    }

    /// Lets time pass on the clock by which the host counts ages.
    pub(crate) fn advance(&mut self, time: Duration) {
        match self {
            Self::Memory(memory) => memory.advance(time),
            // Files of the last call must be older than nothing.
            Self::Disk { .. } => std::thread::sleep(time.min(Duration::from_millis(2))),
        }
    }

    /// Runs a call to its end, with this failure on its way.
    pub(crate) fn run_failing<R: Send>(&mut self, mut step: Step<R>, body: &RequestBody, failure: Failure) -> R {
        let what = "on purpose".into();
        let fault = if failure.full { Fault::Full(what) } else { Fault::Failed(what) };
        for _ in 0..failure.effect {
            step = perform(self, step, body, |_, _| None);
        }
        step = match failure.done {
            true => perform(self, step, body, |_, _| Some(fault)),
            false => step.fail(fault),
        };
        self.run(step, body)
    }

    /// The response with its body in memory.
    pub(crate) fn fill(&mut self, response: Response) -> Response {
        let Body::Content { content, pieces } = &response.body else { return response };
        let load = Load { content: *content, limit: u64::MAX };
        let load = start(|io| async move { io.ask(load).await.expect("no fault") });
        let stored: Bytes = self.run(load, &RequestBody::default()).unwrap_or_else(|| panic!("{content} is gone"));
        let sent = pieces.iter().flat_map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.clone(),
            Piece::Slice(range) => stored.slice(range.start as usize..range.end as usize),
        });
        Response { body: Body::Bytes(sent.collect()), ..response }
    }

    /// Reads everything that it holds.
    pub(crate) fn everything(&mut self) -> Everything {
        let step = start(|io| async move {
            let mut records = BTreeMap::new();
            let mut after = None;
            loop {
                let scan = Scan { prefix: Prefix::stored(""), after, limit: 100, bytes: 1 << 20 };
                let page = io.ask(scan).await.expect("no fault");
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                // Look-ups and lists agree.
                let keys = page.iter().map(|(key, _)| key.clone()).collect();
                let got = io.ask(Get { keys }).await.expect("no fault");
                assert!(page.iter().map(|(_, value)| Some(value)).eq(got.iter().map(Option::as_ref)));
                records.extend(page);
            }
            let stored = io.ask(Inventory { after: None, limit: usize::MAX }).await.expect("no fault");
            (records, stored.into_iter().map(|stored| (stored.object, stored.size)).collect())
        });
        self.run(step, &RequestBody::default())
    }
}

impl Performs for Host {
    fn run<R: Send>(&mut self, step: Step<R>, body: &RequestBody) -> R {
        match self {
            Self::Memory(memory) => memory.run(step, body),
            Self::Disk { host, runtime, .. } => {
                // In small pieces, as on a connection.
                let frames = body.bytes.chunks(7).map(|piece| Ok(piece.to_vec()));
                let broken = body.cut.then(|| Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
                let frames: Vec<std::io::Result<Vec<u8>>> = frames.chain(broken).collect();
                let body = axum::body::Body::from_stream(futures_util::stream::iter(frames));
                let mut body = orlop::RequestBody::new(body, Duration::from_secs(60));
                runtime.block_on(host.run(step, &mut body))
            }
        }
    }
}
