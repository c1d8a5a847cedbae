//! A container registry in a browser tab: the core, for JavaScript.
//!
//! This crate answers the effects that need no more than memory (records), counts and hashes what is streamed
//! (bodies, objects), and leaves bytes at rest and everything asynchronous to the TypeScript beside it, in
//! `host-wasm/js/`. That is what people use; the classes here are its engine.
//!
//! A [`Call`] stands at one effect at a time. `effect` says which, `describe` shows it, and for each effect there is
//! one method that answers it: a [`Call`] answered with anything else panics, as a defect of the host would.

#![forbid(unsafe_code)]

mod bug;
mod call;
mod engine;
mod hasher;
mod options;
#[cfg(feature = "suite")]
mod suite;
mod view;

pub use call::{Answer, Call, Changes, Fetched};
pub use engine::Engine;
pub use hasher::Hasher;
#[cfg(feature = "suite")]
pub use suite::Suite;
