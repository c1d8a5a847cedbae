//! The operations of the core on the memory host: what the registry itself costs, without HTTP, disks and threads.
//!
//!     cargo bench -p orlop-bench

#![allow(missing_docs, reason = "a program")]

use divan::Bencher;
use orlop_core::digest::Algorithm;
use orlop_core::memory::Memory;
use orlop_core::{Config, Headers, Method, Registry, Request};

fn main() {
    divan::main();
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry with one repository of a thousand tags, each of an image of its own.
struct Store {
    registry: Registry,
    memory: Memory,
    config: String,
}

fn request(method: Method, target: impl Into<String>, fields: &[(&str, &str)]) -> Request {
    let headers: Headers = fields.iter().copied().collect();
    Request { method, target: target.into(), headers, length: None, base: None }
}

impl Store {
    fn new() -> Self {
        let mut store = Self {
            registry: Registry::new(Config::default()),
            memory: Memory::new(),
            config: Algorithm::Sha256.digest(b"{}").to_string(),
        };
        let opened = request(Method::Post, format!("/v2/bench/core/blobs/uploads/?digest={}", store.config), &[]);
        assert_eq!(store.memory.call(&store.registry, &opened, "{}").status, 201);
        (0..1000).for_each(|number| store.push(number));
        store
    }

    fn push(&mut self, number: usize) {
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{{\"mediaType\":\"application/json\",\
             \"digest\":\"{}\",\"size\":2}},\"layers\":[],\"annotations\":{{\"number\":\"{number}\"}}}}",
            self.config
        );
        let target = format!("/v2/bench/core/manifests/v{number:04}");
        let put = request(Method::Put, target, &[("content-type", MANIFEST)]);
        assert_eq!(self.memory.call(&self.registry, &put, manifest).status, 201);
    }
}

fn ask(bencher: Bencher<'_, '_>, method: Method, target: &str) {
    let mut store = Store::new();
    let asked = request(method, target.replace("CONFIG", &store.config), &[("accept", MANIFEST)]);
    bencher.bench_local(|| {
        let answer = store.memory.call(&store.registry, &asked, "");
        assert_eq!(answer.status, 200);
        answer
    });
}

#[divan::bench]
fn base(bencher: Bencher<'_, '_>) {
    ask(bencher, Method::Get, "/v2/");
}

#[divan::bench]
fn manifest_by_tag(bencher: Bencher<'_, '_>) {
    ask(bencher, Method::Get, "/v2/bench/core/manifests/v0500");
}

#[divan::bench]
fn head_of_a_blob(bencher: Bencher<'_, '_>) {
    ask(bencher, Method::Head, "/v2/bench/core/blobs/CONFIG");
}

#[divan::bench]
fn late_page_of_tags(bencher: Bencher<'_, '_>) {
    ask(bencher, Method::Get, "/v2/bench/core/tags/list?n=100&last=v0800");
}

#[divan::bench]
fn push_of_a_manifest(bencher: Bencher<'_, '_>) {
    let mut store = Store::new();
    let mut number = 1000;
    bencher.bench_local(|| {
        number += 1;
        store.push(number);
    });
}

#[divan::bench]
fn push_of_a_blob(bencher: Bencher<'_, '_>) {
    let mut store = Store::new();
    let mut number = 0_u64;
    bencher.bench_local(|| {
        number += 1;
        let bytes = number.to_be_bytes().to_vec();
        let target = format!("/v2/bench/core/blobs/uploads/?digest={}", Algorithm::Sha256.digest(&bytes));
        assert_eq!(store.memory.call(&store.registry, &request(Method::Post, target, &[]), bytes).status, 201);
    });
}
