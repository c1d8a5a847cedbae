//! The contract suite of the hosts, driven from JavaScript.

use orlop_conformance::contract::{Act, Case, stalled, suite};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::call::{Call, End};
use crate::engine::Engine;

/// Every case of the suite, and the call that is held up.
#[wasm_bindgen]
pub struct Suite {
    cases: Vec<Case>,
    stalled: Act,
}

#[wasm_bindgen]
impl Suite {
    /// The suite.
    #[wasm_bindgen(constructor)]
    #[allow(clippy::new_without_default, reason = "JavaScript has no defaults")]
    pub fn new() -> Self {
        Self { cases: suite(), stalled: stalled() }
    }

    /// The facts that the cases show.
    pub fn names(&self) -> Vec<String> {
        self.cases.iter().map(|case| case.name.to_owned()).collect()
    }

    /// How many acts a case has.
    pub fn acts(&self, case: usize) -> usize {
        self.cases[case].acts.len()
    }

    /// The body of an act.
    pub fn body(&self, case: usize, act: usize) -> Vec<u8> {
        self.cases[case].acts[act].body.bytes.to_vec()
    }

    /// Whether the connection breaks after the body.
    pub fn cut(&self, case: usize, act: usize) -> bool {
        self.cases[case].acts[act].body.cut
    }

    /// Whether the body comes in two halves, so far apart that the pause of the act is over between them.
    pub fn slow(&self, case: usize, act: usize) -> bool {
        self.cases[case].acts[act].body.slow
    }

    /// Begins an act on the storage of `engine`.
    pub fn begin(&self, engine: &Engine, case: usize, act: usize) -> Call {
        engine.begin(self.cases[case].acts[act].begin(), End::Checked)
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
