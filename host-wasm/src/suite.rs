//! The contract suite of the hosts, driven from JavaScript.

use orlop_conformance::contract::{self, Act, Case, Upstreams, served, stalled, suite, upstreams};
use orlop_core::memory::Upstream;
use orlop_core::mirror::UpstreamName;
use orlop_core::{Body, Method, Request};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::call::{Call, End};
use crate::engine::Engine;

/// Every case of the suite, those with upstreams too, and the call that is held up.
#[wasm_bindgen]
pub struct Suite {
    cases: Vec<Upstreams>,
    stalled: Act,
}

#[wasm_bindgen]
impl Suite {
    /// The suite.
    #[wasm_bindgen(constructor)]
    #[allow(clippy::new_without_default, reason = "JavaScript has no defaults")]
    pub fn new() -> Self {
        let alone = suite().into_iter().map(|case| Upstreams { case, upstreams: Vec::new() });
        Self { cases: alone.chain(upstreams()).collect(), stalled: stalled() }
    }

    /// The facts that the cases show.
    pub fn names(&self) -> Vec<String> {
        self.cases.iter().map(|Upstreams { case, .. }| case.name.to_owned()).collect()
    }

    /// How many acts a case has.
    pub fn acts(&self, case: usize) -> usize {
        self.case(case).acts.len()
    }

    /// The registries behind the upstreams of a case, as they are when it begins.
    pub fn behind(&self, case: usize) -> Behind {
        Behind(self.cases[case].upstreams.clone())
    }

    /// The body of an act.
    pub fn body(&self, case: usize, act: usize) -> Vec<u8> {
        self.case(case).acts[act].body.bytes.to_vec()
    }

    /// Whether the connection breaks after the body.
    pub fn cut(&self, case: usize, act: usize) -> bool {
        self.case(case).acts[act].body.cut
    }

    /// Whether the body comes in two halves, so far apart that the pause of the act is over between them.
    pub fn slow(&self, case: usize, act: usize) -> bool {
        self.case(case).acts[act].body.slow
    }

    /// Begins an act on the storage of `engine`.
    pub fn begin(&self, engine: &Engine, case: usize, act: usize) -> Call {
        engine.begin(self.case(case).acts[act].begin(), End::Checked)
    }

    /// The body of the call that is held up.
    pub fn stalled_body(&self) -> Vec<u8> {
        self.stalled.body.bytes.to_vec()
    }

    /// Begins the call that is held up. The calls of `engine` must live no time at all, and its clock go on.
    pub fn begin_stalled(&self, engine: &Engine) -> Call {
        engine.begin(self.stalled.begin(), End::Checked)
    }
}

impl Suite {
    fn case(&self, case: usize) -> &Case {
        &self.cases[case].case
    }
}

/// The registries behind the upstreams of a case.
#[wasm_bindgen]
pub struct Behind(Vec<(UpstreamName, Upstream)>);

#[wasm_bindgen]
impl Behind {
    /// The names by which the case knows them.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.as_str().to_owned()).collect()
    }

    /// What one of them, counted from 0, answers to a request without a body. `headers` are names and values in turns.
    pub fn answer(&mut self, upstream: usize, method: &str, target: &str, headers: Vec<String>) -> Served {
        let headers = headers.chunks_exact(2).map(|field| (field[0].as_str(), field[1].as_str())).collect();
        let method = Method::named(method);
        let request = Request { method, target: target.to_owned(), headers, length: None, base: None };
        Served(served(&mut self.0[upstream].1, &request))
    }
}

/// What an upstream of a case answers.
#[wasm_bindgen]
pub struct Served(contract::Served);

#[wasm_bindgen]
impl Served {
    /// The status code.
    #[wasm_bindgen(getter)]
    pub fn status(&self) -> u16 {
        self.0.response.status
    }

    /// Names and values in turns.
    #[wasm_bindgen(getter)]
    pub fn headers(&self) -> Vec<String> {
        let fields = self.0.response.headers.iter();
        fields.flat_map(|(name, value)| [(*name).to_owned(), value.clone().into_owned()]).collect()
    }

    /// The body.
    #[wasm_bindgen(getter)]
    pub fn body(&self) -> Vec<u8> {
        match &self.0.response.body {
            Body::Bytes(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        }
    }

    /// After how many bytes of the body the connection breaks, if it does.
    #[wasm_bindgen(getter)]
    pub fn breaks(&self) -> Option<usize> {
        self.0.breaks
    }
}
