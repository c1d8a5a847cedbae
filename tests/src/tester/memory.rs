//! The core on its memory host as a target: what the tester is tested with, and the oracle of histories.

use std::cell::RefCell;

use bytes::Bytes;
use orlop_core::memory::{Memory, RequestBody};
use orlop_core::{Body, Config, Headers, Method, Registry, Request};

use super::exchange::{Answer, Exchange, Payload, Target, Unreachable};

/// The core in memory.
#[derive(Debug)]
pub struct InMemory {
    registry: Registry,
    memory: RefCell<Memory>,
}

impl Default for InMemory {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl InMemory {
    /// An empty registry of that configuration.
    pub fn new(config: Config) -> Self {
        Self { registry: Registry::new(config), memory: RefCell::new(Memory::new()) }
    }

    /// The answer to a request.
    pub fn answer(&self, exchange: &Exchange) -> Answer {
        let length = match &exchange.body {
            Payload::None => Some(0),
            Payload::Whole(bytes) => Some(bytes.len() as u64),
            Payload::Chunked(_) => None,
            Payload::Cut(_, promised) => Some(*promised),
        };
        let cut = matches!(exchange.body, Payload::Cut(..));
        let headers: Headers = exchange.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let request = Request {
            method: Method::named(&exchange.method),
            target: exchange.target.clone(),
            headers,
            length,
            base: None,
        };
        let body = RequestBody { bytes: Bytes::copy_from_slice(exchange.body.bytes()), cut, slow: false };
        let response = self.memory.borrow_mut().call(&self.registry, &request, body);
        let headers = response.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        let bytes = match response.body {
            Body::Bytes(bytes) => bytes,
            _ => Bytes::new(),
        };
        Answer { status: if cut { 0 } else { response.status }, headers, body: bytes }
    }
}

impl Target for InMemory {
    async fn send(&self, exchange: Exchange) -> Result<Answer, Unreachable> {
        Ok(self.answer(&exchange))
    }
}
