//! The contract suite of the hosts, driven from JavaScript.

use orlop_conformance::contract::{Case, suite};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::bug::Bug;
use crate::call::{Call, Standing};

/// Every case of the suite.
#[wasm_bindgen]
pub struct Suite {
    cases: Vec<Case>,
}

#[wasm_bindgen]
impl Suite {
    /// The suite.
    #[wasm_bindgen(constructor)]
    #[allow(clippy::new_without_default, reason = "JavaScript has no defaults")]
    pub fn new() -> Self {
        Self { cases: suite() }
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

    /// Begins an act.
    pub fn begin(&self, case: usize, act: usize) -> Call {
        Call::new(Standing::Checking(self.cases[case].acts[act].begin()), Bug::None)
    }
}
