//! Mirrors: Orlop and distribution in front of a registry that has what they are asked for. The upstream is an Orlop, which
//! is not counted.

use std::time::Instant;

use super::{Bench, Fresh, GIB, MIB, Workload, at_once, costs, pull, settle};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::Blob;
use crate::floor::Kind;
use crate::peers::{Peer, Server};
use crate::result::{Line, Sample};

pub(super) const HIT: Workload = Workload {
    name: "mirror-hit",
    title: "Mirror: pull of 1 GiB that is there, 1 client",
    notes: "*own blob*: the same of a repository of the registry's own.",
    run: hits,
};

pub(super) const MISS: Workload = Workload {
    name: "mirror-miss",
    title: "Mirror: pull of 1 GiB that is not there, 1 client",
    notes: "*first byte*: from the request to the head of the answer. *receive and send*: a push of the blob in one PUT and \
            a pull of it; its first byte is that of the upstream itself.",
    run: misses,
};

pub(super) const TOGETHER: Workload = Workload {
    name: "mirror-together",
    title: "Mirror: 64 clients want a blob of 64 MiB that is not there",
    notes: "*read/stored*: how many bytes the upstream has sent, for each byte of the blob.",
    run: together,
};

/// The variants.
pub(crate) const OWN: &str = "own blob";
pub(crate) const BOTH_WAYS: &str = "receive and send";

const REPOSITORY: &str = "bench/mirror";

/// The registry behind all mirrors, with a blob, and where that is in it and in each of them.
fn upstream(bench: &Bench, blob: &Blob) -> Outcome<(Fresh, String)> {
    let fresh = bench.fresh_with(Peer::Orlop, "upstream", &[])?;
    blob.push(&mut Connection::open(fresh.server().address)?, REPOSITORY, Way::Monolithic)?;
    Ok((fresh, format!("/v2/{REPOSITORY}/blobs/{}", blob.digest)))
}

/// One pull, and how long it took until the head of the answer was there, in milliseconds.
fn first(server: &Server, target: &str) -> Outcome<(usize, f64)> {
    let mut connection = Connection::open(server.address)?;
    let began = Instant::now();
    connection.begin("GET", target, "")?;
    let head = connection.head()?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    head.expect(&[200])?;
    Ok((connection.discard(&head)?, took))
}

fn hits(bench: &Bench) -> Outcome<Vec<Line>> {
    let blob = Blob::new(1, bench.amount(1 << 30, 64 << 20));
    let (upstream, target) = upstream(bench, &blob)?;
    let mirror = |peer: Peer| Ok((bench.mirror(peer, upstream.server())?, ""));
    let mut servers = bench.among(&Peer::MIRRORS).into_iter().map(mirror).collect::<Outcome<Vec<_>>>()?;
    if !bench.among(&[Peer::Orlop]).is_empty() {
        let own = bench.fresh(Peer::Orlop, Kind::Push)?;
        blob.push(&mut Connection::open(own.server().address)?, REPOSITORY, Way::Monolithic)?;
        servers.push((own, OWN));
    }
    for (fresh, _) in &servers {
        first(fresh.server(), &target)?;
    }
    settle();
    bench.rounds(
        &servers,
        |(fresh, variant)| (fresh.server().peer, (*variant).into()),
        |(fresh, _), _| pull::pull(fresh.server(), &target, 1, bench.amount(4, 1)),
    )
}

fn misses(bench: &Bench) -> Outcome<Vec<Line>> {
    let blob = Blob::new(1, bench.amount(1 << 30, 64 << 20));
    let (upstream, target) = upstream(bench, &blob)?;
    first(upstream.server(), &target)?;
    let mut subjects: Vec<_> = bench.among(&Peer::MIRRORS).into_iter().map(|peer| (peer, "")).collect();
    subjects.extend(bench.among(&[Peer::Orlop]).into_iter().map(|peer| (peer, BOTH_WAYS)));
    bench.rounds(
        &subjects,
        |(peer, variant)| (*peer, (*variant).into()),
        |(peer, variant), _| {
            settle();
            if *variant == BOTH_WAYS {
                let fresh = bench.fresh(*peer, Kind::Push)?;
                super::have_memory(&fresh.directory)?;
                let (_, first_byte) = first(upstream.server(), &target)?;
                let (bytes, cost) = costs(fresh.server(), || {
                    blob.push(&mut Connection::open(fresh.server().address)?, REPOSITORY, Way::Monolithic)?;
                    Ok(first(fresh.server(), &target)?.0)
                })?;
                return Ok(figures(bytes, first_byte, &cost));
            }
            let fresh = bench.mirror(*peer, upstream.server())?;
            super::have_memory(&fresh.directory)?;
            let ((bytes, first_byte), cost) = costs(fresh.server(), || first(fresh.server(), &target))?;
            Ok(figures(bytes, first_byte, &cost))
        },
    )
}

fn figures(bytes: usize, first_byte: f64, cost: &super::Cost) -> Sample {
    cost.sample()
        .with("CPU s/GiB", cost.cpu * GIB / bytes as f64)
        .with("GB/s", bytes as f64 / 1e9 / cost.took.as_secs_f64())
        .with("first byte ms", first_byte)
        .with("peak MiB", cost.peak / MIB)
}

fn together(bench: &Bench) -> Outcome<Vec<Line>> {
    let blob = Blob::new(5, 64 << 20);
    let (upstream, target) = upstream(bench, &blob)?;
    bench.rounds(
        &bench.among(&Peer::MIRRORS),
        |peer| (*peer, String::new()),
        |peer, _| {
            settle();
            let fresh = bench.mirror(*peer, upstream.server())?;
            let before = upstream.server().process().sent()?;
            let (pulled, cost) =
                costs(fresh.server(), || at_once(bench.amount(64, 8), |_| Ok(first(fresh.server(), &target)?.0)))?;
            let read = upstream.server().process().sent()? - before;
            let bytes = pulled.iter().sum::<usize>() as f64;
            Ok(cost
                .sample()
                .with("read/stored", read / blob.length as f64)
                .with("CPU s/GiB", cost.cpu * GIB / bytes)
                .with("GB/s", bytes / 1e9 / cost.took.as_secs_f64())
                .with("peak MiB", cost.peak / MIB))
        },
    )
}
