//! Memory, and how long a start takes.

use std::time::{Duration, Instant};

use super::tags::{REPOSITORY, store, tag};
use super::{Bench, MIB, Workload, at_once, settle};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::Blob;
use crate::floor::Kind;
use crate::peers::{Peer, Server};
use crate::result::{Line, Sample};

pub(super) const IDLE: Workload = Workload {
    name: "memory-idle",
    title: "Memory of a server that has just been started, and how long the start took",
    notes: "An empty store.",
    run: |bench| idle(bench, &bench.among(&Peer::REGISTRIES)),
};

pub(super) const PUSHES: Workload = Workload {
    name: "memory-pushes",
    title: "Memory under 64 pushes at once",
    notes: "Each streams 16 MiB at no more than the server takes; the most that was held, and what is held after.",
    run: |bench| pushes(bench, &bench.among(&Peer::REGISTRIES)),
};

pub(super) const MILLION: Workload = Workload {
    name: "memory-million",
    title: "Start and memory with 1,000,000 manifests, and recovery after kill -9",
    notes: "To the first answer to a GET of a manifest by tag. *killed*: after kill -9 while tags were pushed. *asked*: \
            held after 10,000 manifests all over the store were pulled.",
    run: million,
};

pub(super) fn idle(bench: &Bench, peers: &[Peer]) -> Outcome<Vec<Line>> {
    bench.rounds(
        peers,
        |peer| (*peer, String::new()),
        |peer, _| {
            let fresh = bench.fresh(*peer, Kind::Answer)?;
            std::thread::sleep(Duration::from_secs(1));
            let server = fresh.server();
            Ok(Sample::default()
                .with("RSS MiB", server.process().rss()? / MIB)
                .with("start ms", server.started_in.as_secs_f64() * 1e3))
        },
    )
}

pub(super) fn pushes(bench: &Bench, peers: &[Peer]) -> Outcome<Vec<Line>> {
    const CLIENTS: usize = 64;
    let length = bench.amount(16 << 20, 1 << 20);
    let blobs: Vec<_> = (0..CLIENTS as u64).map(|number| Blob::new(5000 + number, length)).collect();
    bench.rounds(
        peers,
        |peer| (*peer, String::new()),
        |peer, _| {
            settle();
            let fresh = bench.fresh(*peer, Kind::Answer)?;
            let process = fresh.server().process();
            process.reset_peak()?;
            at_once(CLIENTS, |client| {
                let mut connection = Connection::open(fresh.server().address)?;
                blobs[client].push(&mut connection, "bench/memory", Way::Streamed)
            })?;
            let peak = process.peak()?;
            std::thread::sleep(Duration::from_secs(1));
            Ok(Sample::default().with("peak MiB", peak / MIB).with("after MiB", process.rss()? / MIB))
        },
    )
}

/// How many manifests that is when the whole of it is measured.
pub(super) fn many(bench: &Bench) -> usize {
    bench.amount(1_000_000, 1000)
}

fn million(bench: &Bench) -> Outcome<Vec<Line>> {
    let count = many(bench);
    let directory = store(bench, count)?;
    let target = |number: usize| format!("/v2/{REPOSITORY}/manifests/{}", tag(number));
    let subjects: Vec<_> = bench.among(&[Peer::Orlop]);
    bench.rounds(
        &subjects,
        |peer| (*peer, String::new()),
        |peer, _| {
            let began = Instant::now();
            let server = Server::start(&bench.programs, *peer, &directory, Kind::Answer)?;
            let mut connection = Connection::open(server.address)?;
            let (head, manifest) = connection.exchange("GET", &target(count / 2), "", &[])?;
            head.expect(&[200])?;
            let started = began.elapsed();
            let rss = server.process().rss()?;
            for number in (0..count).step_by((count / 10_000).max(1)) {
                connection.exchange("GET", &target(number), "", &[])?.0.expect(&[200])?;
            }
            let asked = server.process().rss()?;
            // Tags are written while it is killed.
            let media_type = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
            for number in 0..200 {
                let target = format!("/v2/{REPOSITORY}/manifests/killed{number}");
                connection.exchange("PUT", &target, media_type, &manifest)?.0.expect(&[201])?;
            }
            server.crash()?;
            let began = Instant::now();
            let server = Server::start(&bench.programs, *peer, &directory, Kind::Answer)?;
            Connection::open(server.address)?.exchange("GET", &target(count / 2), "", &[])?.0.expect(&[200])?;
            let recovered = began.elapsed();
            Ok(Sample::default()
                .with("start ms", started.as_secs_f64() * 1e3)
                .with("RSS MiB", rss / MIB)
                .with("asked MiB", asked / MIB)
                .with("killed ms", recovered.as_secs_f64() * 1e3))
        },
    )
}
