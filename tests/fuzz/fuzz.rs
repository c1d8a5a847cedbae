//! libFuzzer around [`orlop_conformance::fuzz`]: `ORLOP_FUZZ` names the one of its checks that is fuzzed.
//!
//! `tests/fuzz/run` builds it with what libFuzzer wants to see, and runs it.
#![no_main]

use std::sync::LazyLock;

use orlop_conformance::fuzz::{ALL, Fuzz};

static CHOSEN: LazyLock<&Fuzz> = LazyLock::new(|| {
    let name = std::env::var("ORLOP_FUZZ").unwrap_or_default();
    ALL.iter().find(|fuzz| fuzz.name == name).unwrap_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|fuzz| fuzz.name).collect();
        eprintln!("ORLOP_FUZZ names what to fuzz: {}", names.join(", "));
        std::process::exit(2)
    })
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (CHOSEN.check)(data));
