//! Pulling large blobs out of the page cache.

use std::fs::File;
use std::io::Write;

use super::{Bench, Fresh, GIB, MIB, Workload, at_once, costs};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::{Blob, next};
use crate::floor::Kind;
use crate::peers::{Peer, Server};
use crate::result::{Line, Sample};

pub(super) const ONE: Workload = Workload {
    name: "pull-1",
    title: "Pull of 1 GiB, 1 client",
    notes: "From the page cache; the client throws the bytes away in the kernel. nginx with sendfile is the limit. Each \
            line names the TCP congestion control of the server's connections, as a socket has told it.",
    run: |bench| whole(bench, 1),
};

pub(super) const EIGHT: Workload = Workload {
    name: "pull-8",
    title: "Pull of 1 GiB, 8 clients at once",
    notes: "As above. nginx has one worker process.",
    run: |bench| whole(bench, 8),
};

pub(super) const RANGES: Workload = Workload {
    name: "pull-ranges",
    title: "Ranges of 1 MiB, 8 clients",
    notes: "Single: one range a request, anywhere in 1 GiB. Multi: two ranges of 512 KiB a request, answered as \
            multipart by those that can.",
    run: ranges,
};

pub(super) const OBJECTS: Workload = Workload {
    name: "pull-objects",
    title: "Pull of 1 GiB that lies in one object, or in 256",
    notes: "One client. The blob of 256 objects was pushed in as many chunks.",
    run: objects,
};

/// The variants of that.
pub(crate) const ONE_OBJECT: &str = "1 object";
pub(crate) const MANY_OBJECTS: &str = "256 objects";

/// The servers, each with the blob, and where it is there.
fn with_blob(bench: &Bench) -> Outcome<Vec<(Fresh, String)>> {
    let blob = Blob::new(1, bench.amount(1 << 30, 64 << 20));
    let peers = bench.among(&[&Peer::REGISTRIES[..], &[Peer::Nginx]].concat());
    let start = |peer: Peer| {
        let fresh = bench.fresh(peer, Kind::Answer)?;
        if peer == Peer::Nginx {
            let mut file = File::create(fresh.directory.join("data/blob"))?;
            blob.pieces().try_for_each(|piece| file.write_all(piece))?;
            return Ok((fresh, "/blob".into()));
        }
        let mut connection = Connection::open(fresh.server().address)?;
        blob.push(&mut connection, "bench/pull", Way::Monolithic)?;
        Ok((fresh, format!("/v2/bench/pull/blobs/{}", blob.digest)))
    };
    let servers = peers.into_iter().map(start).collect();
    super::settle();
    servers
}

fn whole(bench: &Bench, clients: usize) -> Outcome<Vec<Line>> {
    let servers = with_blob(bench)?;
    // Enough that a tick of the clock does not matter.
    let times = bench.amount((4 / clients).max(1), 1);
    let congestion = &bench.congestion;
    let subjects: Vec<_> =
        congestion.measured.iter().flat_map(|tcp| servers.iter().map(move |server| (tcp, server))).collect();
    let lines = bench.rounds(
        &subjects,
        |(tcp, (fresh, _))| (fresh.server().peer, (*tcp).clone()),
        |(tcp, (fresh, target)), _| {
            congestion.set(tcp)?;
            pull(fresh.server(), target, clients, times)
        },
    );
    congestion.usual()?;
    lines
}

/// So many clients at once pull so many times.
pub(super) fn pull(server: &Server, target: &str, clients: usize, times: usize) -> Outcome<Sample> {
    let (pulled, cost) = costs(server, || {
        at_once(clients, |_| {
            let mut connection = Connection::open(server.address)?;
            let mut pulled = 0;
            for _ in 0..times {
                connection.begin("GET", target, "")?;
                let head = connection.head()?;
                head.expect(&[200])?;
                pulled += connection.discard(&head)?;
            }
            Ok(pulled)
        })
    })?;
    Ok(figures(pulled.iter().sum(), &cost))
}

fn objects(bench: &Bench) -> Outcome<Vec<Line>> {
    if bench.among(&[Peer::Orlop]).is_empty() {
        return Ok(Vec::new());
    }
    let fresh = bench.fresh(Peer::Orlop, Kind::Answer)?;
    let chunk = bench.amount(4 << 20, 256 << 10);
    let mut connection = Connection::open(fresh.server().address)?;
    let ways = [(ONE_OBJECT, Way::Monolithic), (MANY_OBJECTS, Way::Chunked(chunk))];
    let push = |(number, (variant, way)): (u64, (&'static str, Way))| {
        // Not the same blob: what is there already is not taken again.
        let blob = Blob::new(3 + number, 256 * chunk);
        blob.push(&mut connection, "bench/pull", way)?;
        Ok((variant, format!("/v2/bench/pull/blobs/{}", blob.digest)))
    };
    let blobs = (0..).zip(ways).map(push).collect::<Outcome<Vec<_>>>()?;
    super::settle();
    bench.rounds(
        &blobs,
        |(variant, _)| (Peer::Orlop, (*variant).into()),
        |(_, target), _| pull(fresh.server(), target, 1, bench.amount(4, 1)),
    )
}

fn ranges(bench: &Bench) -> Outcome<Vec<Line>> {
    let servers = with_blob(bench)?;
    let subjects: Vec<_> =
        ["single", "multi"].into_iter().flat_map(|kind| servers.iter().map(move |s| (kind, s))).collect();
    let (requests, length) = (bench.amount(250, 20), bench.amount(1 << 30, 64 << 20));
    let describe = |(kind, (fresh, _)): &(&str, &(Fresh, String))| (fresh.server().peer, (*kind).into());
    bench.rounds(&subjects, describe, |(kind, (fresh, target)), _| {
        // This one reads the whole file for each range.
        let requests = if fresh.server().peer == Peer::Crane { requests.min(20) } else { requests };
        let (pulled, cost) = costs(fresh.server(), || {
            at_once(8, |client| {
                let mut connection = Connection::open(fresh.server().address)?;
                let (mut state, mut pulled) = (client as u64, 0);
                for _ in 0..requests {
                    let from = next(&mut state) % (length - (2 << 20));
                    let range = match *kind {
                        "single" => format!("{from}-{}", from + (1 << 20) - 1),
                        _ => {
                            let second = from + (1 << 20);
                            format!("{from}-{},{second}-{}", from + (512 << 10) - 1, second + (512 << 10) - 1)
                        }
                    };
                    connection.begin("GET", target, &format!("Range: bytes={range}\r\n"))?;
                    let head = connection.head()?;
                    head.expect(&[206, 200])?;
                    if head.status == 200 {
                        // It sends the whole: that would take for ever.
                        connection = Connection::open(fresh.server().address)?;
                        continue;
                    }
                    pulled += connection.discard(&head)?;
                }
                Ok(pulled)
            })
        })?;
        Ok(figures(pulled.iter().sum(), &cost))
    })
}

fn figures(bytes: usize, cost: &super::Cost) -> Sample {
    let gib = bytes as f64 / GIB;
    let sample = cost
        .sample()
        .with("CPU s/GiB", cost.cpu / gib)
        .with("GB/s", bytes as f64 / 1e9 / cost.took.as_secs_f64())
        .with("peak MiB", cost.peak / MIB);
    cost.with_engines(sample, gib, 1.0, ["database s/GiB", "store s/GiB"])
}
