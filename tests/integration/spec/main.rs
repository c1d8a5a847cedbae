//! The specification as tests: one for each demand of `tests/SPEC.md`, named as the fact it proves.
//!
//! Expected values come from the specifications, never from what the registry happens to answer. Most tests know
//! nothing but requests and responses, and ask [`registry`] for whoever answers them; those of garbage collection, of
//! races and of faults also hold the reference host in their hands.

mod access;
mod activity;
mod arbitrary;
mod blobs;
mod browsing;
mod census;
mod checking;
mod chunks;
mod collecting;
mod console;
mod contents;
mod deleting;
mod drift;
mod errors;
mod events;
mod faults;
mod finishing;
mod healing;
mod importing;
mod isolation;
mod keeping;
mod lists;
mod locations;
mod maintained;
mod mirrors;
mod names;
mod nesting;
mod payloads;
mod protecting;
mod pulled;
mod pulling;
mod purging;
mod pushing;
mod quotas;
mod racing;
mod ranges;
mod referrers;
mod retention;
mod rights;
mod signing_in;
mod small;
mod starting;
mod transport;
mod undeleting;
mod usage;

use orlop_conformance::system::InMemory;
use orlop_core::Config;

/// An empty registry as most want it.
fn registry() -> InMemory {
    configured(|_| {})
}

/// An empty registry of another configuration. Bytes are objects, however few: what is kept among the records has tests
/// of its own.
fn configured(change: impl FnOnce(&mut Config)) -> InMemory {
    let mut config = Config { small_object: 0, ..Config::default() };
    change(&mut config);
    InMemory::new(config)
}

/// A digest that nothing here has.
const NOWHERE: &str = "sha256:00000000000000000000000000000000000000000000000000000000deadbeef";

/// A session that was never opened.
const NO_SESSION: &str = "6f5902ac-237c-4f0a-9fd8-5b3b1f9f5d2e";

/// An endpoint, with `{name}`, `{tag}`, `{digest}` and `{session}` for what clients fill in, and the methods it takes.
struct Endpoint {
    path: &'static str,
    takes: &'static [&'static str],
}

impl Endpoint {
    fn at(&self, name: &str) -> String {
        let filled = self.path.replace("{name}", name).replace("{tag}", "v1");
        filled.replace("{digest}", NOWHERE).replace("{session}", NO_SESSION)
    }
}

/// Every endpoint of both specifications.
const ENDPOINTS: [Endpoint; 9] = [
    Endpoint { path: "/v2/", takes: &["GET", "HEAD"] },
    Endpoint { path: "/v2/_catalog", takes: &["GET", "HEAD"] },
    Endpoint { path: "/v2/{name}/tags/list", takes: &["GET", "HEAD"] },
    Endpoint { path: "/v2/{name}/referrers/{digest}", takes: &["GET", "HEAD"] },
    Endpoint { path: "/v2/{name}/blobs/{digest}", takes: &["GET", "HEAD", "DELETE"] },
    Endpoint { path: "/v2/{name}/blobs/uploads/", takes: &["POST"] },
    Endpoint { path: "/v2/{name}/blobs/uploads/{session}", takes: &["GET", "HEAD", "PATCH", "PUT", "DELETE"] },
    Endpoint { path: "/v2/{name}/manifests/{tag}", takes: &["GET", "HEAD", "PUT", "DELETE"] },
    Endpoint { path: "/v2/{name}/manifests/{digest}", takes: &["GET", "HEAD", "PUT", "DELETE"] },
];

/// Every method, and one that nobody knows.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "BREW"];
