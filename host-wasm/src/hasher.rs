//! Digests of bytes that are streamed: the browser's own hashes only what is in memory as a whole.

use orlop_core::digest::Algorithm;
use orlop_core::meter::Meter;
use wasm_bindgen::prelude::wasm_bindgen;

/// A digest in the making.
#[wasm_bindgen]
pub struct Hasher {
    meter: Meter,
}

#[wasm_bindgen]
impl Hasher {
    /// A digest of nothing yet, SHA-512 if asked, else SHA-256.
    #[wasm_bindgen(constructor)]
    pub fn new(sha512: bool) -> Self {
        Self { meter: Meter::new(if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 }) }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.meter.update(bytes);
    }

    /// The digest of all bytes so far, such as `sha256:…`.
    pub fn digest(&self) -> String {
        self.meter.digest().to_string()
    }
}
