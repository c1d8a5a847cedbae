//! Small questions on 64 connections.

use std::time::Duration;

use super::{Bench, Fresh, MIB, Workload, costs};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::Image;
use crate::floor::Kind;
use crate::load::load;
use crate::peers::{Peer, Server};
use crate::result::{Line, Sample};

/// How many connections ask at once.
const CONNECTIONS: usize = 64;

pub(super) const BASE: Workload = Workload {
    name: "small-base",
    title: "GET /v2/, 64 connections",
    notes: "",
    run: |bench| ask(bench, &peers(bench), |_| ("GET", "/v2/".into())),
};

pub(super) const HEAD_BLOB: Workload = Workload {
    name: "small-head-blob",
    title: "HEAD of a blob, 64 connections",
    notes: "",
    run: |bench| {
        ask(bench, &peers(bench), |image| ("HEAD", format!("/v2/bench/small/blobs/{}", image.blobs[0].digest)))
    },
};

pub(super) const MANIFEST_BY_TAG: Workload = Workload {
    name: "small-tag",
    title: "GET of a manifest by tag, 64 connections",
    notes: "The floor is an axum handler that answers as many bytes from memory.",
    run: |bench| by_tag(bench, &peers(bench), CONNECTIONS),
};

pub(super) const MANIFEST_BY_DIGEST: Workload = Workload {
    name: "small-digest",
    title: "GET of a manifest by digest, 64 connections",
    notes: "",
    run: |bench| ask(bench, &peers(bench), |image| ("GET", format!("/v2/bench/small/manifests/{}", image.digest()))),
};

/// The header fields of a client that pulls.
pub(super) fn request_fields() -> String {
    let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
    format!("User-Agent: bench\r\nAccept: {accept}\r\n")
}

/// The head of a request that asks for this.
pub(super) fn request(method: &str, target: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n", request_fields()).into_bytes()
}

/// Asks a server for some seconds, and says what an answer costs.
pub(super) fn measure(bench: &Bench, server: &Server, request: &[u8]) -> Outcome<Sample> {
    measure_on(CONNECTIONS, bench, server, request)
}

fn measure_on(connections: usize, bench: &Bench, server: &Server, request: &[u8]) -> Outcome<Sample> {
    let seconds = Duration::from_millis(bench.amount(2000, 300));
    let (loaded, cost) = costs(server, || load(server.address, request, connections, seconds))?;
    let answered = loaded.answered as f64;
    let sample = cost
        .sample()
        .with("CPU µs/request", cost.cpu * 1e6 / answered)
        .with("requests/s", answered / loaded.took.as_secs_f64())
        .with("p50 ms", loaded.percentile(0.5))
        .with("p99 ms", loaded.percentile(0.99))
        .with("p99.9 ms", loaded.percentile(0.999))
        .with("peak MiB", cost.peak / MIB);
    Ok(cost.with_engines(sample, answered, 1e6, ["database µs/request", "store µs/request"]))
}

/// All that can answer.
fn peers(bench: &Bench) -> Vec<Peer> {
    bench.among(&[&Peer::REGISTRIES[..], &[Peer::Floor]].concat())
}

/// A manifest by its tag, of each of these, on so many connections.
pub(super) fn by_tag(bench: &Bench, peers: &[Peer], connections: usize) -> Outcome<Vec<Line>> {
    ask_on(connections, bench, peers, |_| ("GET", "/v2/bench/small/manifests/v1".into()))
}

fn ask(bench: &Bench, peers: &[Peer], question: impl Fn(&Image) -> (&'static str, String)) -> Outcome<Vec<Line>> {
    ask_on(CONNECTIONS, bench, peers, question)
}

fn ask_on(
    connections: usize,
    bench: &Bench,
    peers: &[Peer],
    question: impl Fn(&Image) -> (&'static str, String),
) -> Outcome<Vec<Line>> {
    let image = Image::new(3, 5, 4 << 10);
    let start = |peer: Peer| -> Outcome<Fresh> {
        let fresh = bench.fresh(peer, Kind::Answer)?;
        if peer != Peer::Floor {
            let mut connection = Connection::open(fresh.server().address)?;
            image.push(&mut connection, "bench/small", "v1", Way::Streamed)?;
        }
        Ok(fresh)
    };
    let servers = peers.iter().copied().map(start).collect::<Outcome<Vec<_>>>()?;
    let (method, target) = question(&image);
    let request = request(method, &target);
    bench.rounds(
        &servers,
        |fresh| (fresh.server().peer, String::new()),
        |fresh, _| measure_on(connections, bench, fresh.server(), &request),
    )
}
