//! The hosts of a mirror that a history is played on: in memory, and on disk with an upstream that it asks by HTTP.

use std::sync::{MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use orlop_core::effect::Load;
use orlop_core::memory::{Memory, Upstream};
use orlop_core::mirror::UpstreamName;
use orlop_core::step::start;
use orlop_core::{Body, Piece, Registry, Request, Response};
use tokio::runtime::Runtime;

use crate::behind::Behind;

/// What a mirror calls its upstream.
pub(super) const UPSTREAM: &str = "hub";

/// A host of a mirror, and the registry that is behind it.
pub(super) trait Front {
    /// Lets time pass for the mirror.
    fn advance(&mut self, time: Duration);

    /// Does something with the registry behind the mirror.
    fn upstream(&mut self, act: &mut dyn FnMut(&mut Upstream));

    /// Makes a call of the mirror: the response, and its body if it has one.
    fn call(&mut self, registry: &Registry, request: &Request) -> (Response, Option<Bytes>);
}

/// In memory, both of them.
pub(super) struct InMemory(Memory);

impl InMemory {
    pub(super) fn open(upstream: Upstream) -> Box<dyn Front> {
        let mut memory = Memory::new();
        memory.upstreams.insert(UpstreamName::new(UPSTREAM), upstream);
        Box::new(Self(memory))
    }
}

impl Front for InMemory {
    fn advance(&mut self, time: Duration) {
        self.0.advance(time);
    }

    fn upstream(&mut self, act: &mut dyn FnMut(&mut Upstream)) {
        act(self.0.upstreams.get_mut(&UpstreamName::new(UPSTREAM)).expect("the upstream"));
    }

    fn call(&mut self, registry: &Registry, request: &Request) -> (Response, Option<Bytes>) {
        let response = self.0.call(registry, request, "");
        let body = match &response.body {
            Body::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        };
        (response, body)
    }
}

/// The native host on a directory, which asks its upstream by HTTP.
pub(super) struct Native {
    host: orlop::Host,
    behind: Behind,
    /// Lends the calls their time.
    clock: Memory,
    runtime: Runtime,
    _directory: tempfile::TempDir,
}

impl Native {
    pub(super) fn open(upstream: Upstream) -> Box<dyn Front> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let host = orlop::Host::open(directory.path(), &orlop::Options::default()).expect("an empty directory");
        let behind = runtime.block_on(Behind::serve(vec![(UpstreamName::new(UPSTREAM), upstream)]));
        Box::new(Self { host, behind, clock: Memory::new(), runtime, _directory: directory })
    }

    fn answer(&mut self, registry: &Registry, request: &Request) -> Response {
        let step = registry.call(request.clone(), self.clock.ambient());
        let mut body = orlop::RequestBody::new(axum::body::Body::empty(), Duration::from_secs(60));
        self.runtime.block_on(self.host.run_mirroring(step, &mut body, &self.behind.upstreams))
    }

    /// The bytes of an object.
    fn load(&self, object: orlop_core::object::ObjectId) -> Bytes {
        let load = Load { objects: vec![object], limit: u64::MAX };
        let step = start(|io| async move { io.ask(load).await.expect("no fault") });
        let mut body = orlop::RequestBody::new(axum::body::Body::empty(), Duration::from_secs(60));
        let stored: Option<Bytes> = self.runtime.block_on(self.host.run(step, &mut body));
        stored.expect("what is answered is there")
    }
}

impl Front for Native {
    fn advance(&mut self, time: Duration) {
        self.clock.advance(time);
    }

    fn upstream(&mut self, act: &mut dyn FnMut(&mut Upstream)) {
        let mut registry: MutexGuard<'_, Upstream> =
            self.behind.registries[0].lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut registry);
    }

    fn call(&mut self, registry: &Registry, request: &Request) -> (Response, Option<Bytes>) {
        // What a host remembers of an upstream it remembers by a clock of its own: the model has one clock.
        self.behind.forget();
        let response = self.answer(registry, request);
        let mut body = response.body.clone();
        // What is still coming is here when it is asked for again.
        while matches!(body, Body::Coming(_)) {
            thread::sleep(Duration::from_millis(1));
            body = self.answer(registry, request).body;
        }
        let bytes = match body {
            Body::Empty => None,
            Body::Bytes(bytes) => Some(bytes),
            Body::Pieces(pieces) => {
                let bytes = pieces.iter().flat_map(|piece| match piece {
                    Piece::Bytes(bytes) => bytes.clone(),
                    Piece::Slice(object, range) => self.load(*object).slice(range.start as usize..range.end as usize),
                });
                Some(bytes.collect())
            }
            Body::Coming(_) | Body::Relayed => unreachable!("whole blobs are fetched"),
        };
        (response, bytes)
    }
}
