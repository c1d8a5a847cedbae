//! Pushing large blobs.

use super::{Bench, GIB, MIB, Workload, at_once, costs, have_memory, settle};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::{Blob, PIECE};
use crate::floor::Kind;
use crate::peers::Peer;
use crate::result::Line;

pub(super) const STREAMED: Workload = Workload {
    name: "push-streamed",
    title: "Push of 1 GiB as docker does, 1 client",
    notes: "One PATCH in chunks of 256 KiB without a length, then an empty PUT, to an empty store. The floor \
            receives, hashes with SHA-256, writes and calls fdatasync once; plain HTTP, monolithic, on one thread. Who \
            is durable to what degree: see `fsyncs`.",
    run: |bench| one(bench, Way::Streamed, &peers(bench)),
};

pub(super) const MONOLITHIC: Workload = Workload {
    name: "push-whole",
    title: "Push of 1 GiB in one PUT, 1 client",
    notes: "As above.",
    run: |bench| one(bench, Way::Monolithic, &peers(bench)),
};

pub(super) const CHUNKS: Workload = Workload {
    name: "push-chunks",
    title: "Push of 1 GiB in PATCHes of 4 MiB, 1 client",
    notes: "As above; Orlop makes each chunk durable before it acknowledges it. So does the floor in its second line: \
            each chunk is a file of its own, whose bytes and name are made durable, and a record of it in a log.",
    run: |bench| one(bench, Way::Chunked(4 << 20), &peers(bench)),
};

pub(super) const SMALL_CHUNKS: Workload = Workload {
    name: "push-chunks-1m",
    title: "Push of 1 GiB in PATCHes of 1 MiB, 1 client",
    notes: "As above; at the end Orlop joins runs of chunks, so that the blob has a few hundred objects.",
    run: |bench| one(bench, Way::Chunked(1 << 20), &peers(bench)),
};

pub(super) const PARALLEL: Workload = Workload {
    name: "push-parallel",
    title: "64 pushes of 10 MB at once",
    notes: "Each streamed, on a connection of its own, to one repository.",
    run: parallel,
};

fn peers(bench: &Bench) -> Vec<Peer> {
    bench.among(&[&Peer::REGISTRIES[..], &[Peer::Floor]].concat())
}

/// The floor of pushes in chunks: each of them durable, as Orlop acknowledges them.
pub(crate) const DURABLE_CHUNKS: &str = "each chunk durable";

pub(super) fn one(bench: &Bench, way: Way, peers: &[Peer]) -> Outcome<Vec<Line>> {
    let length = bench.amount(1 << 30, 64 << 20);
    let blob = Blob::new(2, length);
    let mut subjects: Vec<(Peer, Kind)> = peers.iter().map(|peer| (*peer, Kind::Push)).collect();
    if matches!(way, Way::Chunked(_)) && peers.contains(&Peer::Floor) {
        subjects.extend(bench.among(&[Peer::Floor]).into_iter().map(|peer| (peer, Kind::Chunks)));
    }
    let variant = |kind| if kind == Kind::Chunks { DURABLE_CHUNKS } else { "" };
    bench.rounds(
        &subjects,
        |(peer, kind)| (*peer, variant(*kind).into()),
        |(peer, kind), _| {
            settle();
            let fresh = bench.fresh(*peer, *kind)?;
            have_memory(&bench.work)?;
            let mut connection = Connection::open(fresh.server().address)?;
            let written = fresh.server().process().written()?;
            let ((), cost) = costs(fresh.server(), || match (peer, kind, way) {
                (Peer::Floor, Kind::Chunks, Way::Chunked(chunk)) => chunks_to_floor(&blob, &mut connection, chunk),
                (Peer::Floor, ..) => to_floor(&blob, &mut connection),
                _ => blob.push(&mut connection, "bench/push", way),
            })?;
            let written = fresh.server().process().written()? - written;
            let gib = length as f64 / GIB;
            let sample = cost
                .sample()
                .with("CPU s/GiB", cost.cpu / gib)
                .with("GB/s", length as f64 / 1e9 / cost.took.as_secs_f64())
                .with("peak MiB", cost.peak / MIB)
                .with("written/pushed", written / length as f64);
            Ok(cost.with_engines(sample, gib, 1.0, ["database s/GiB", "store s/GiB"]))
        },
    )
}

fn parallel(bench: &Bench) -> Outcome<Vec<Line>> {
    const CLIENTS: usize = 64;
    let length = bench.amount(10_000_000, 1_000_000);
    let blobs: Vec<_> = (0..CLIENTS as u64).map(|number| Blob::new(100 + number, length)).collect();
    bench.rounds(
        &peers(bench),
        |peer| (*peer, String::new()),
        |peer, _| {
            settle();
            let fresh = bench.fresh(*peer, Kind::Push)?;
            have_memory(&bench.work)?;
            let (_, cost) = costs(fresh.server(), || {
                at_once(CLIENTS, |client| {
                    let mut connection = Connection::open(fresh.server().address)?;
                    let blob = &blobs[client];
                    if *peer == Peer::Floor {
                        to_floor(blob, &mut connection)
                    } else {
                        blob.push(&mut connection, "bench/push", Way::Streamed)
                    }
                })
            })?;
            let bytes = (length * CLIENTS) as f64;
            Ok(cost
                .sample()
                .with("CPU s/GiB", cost.cpu * GIB / bytes)
                .with("GB/s", bytes / 1e9 / cost.took.as_secs_f64())
                .with("peak MiB", cost.peak / MIB))
        },
    )
}

/// The floor knows no uploads: it takes one PUT.
fn to_floor(blob: &Blob, connection: &mut Connection) -> Outcome<()> {
    connection.begin("PUT", "/", &format!("Content-Length: {}\r\n", blob.length))?;
    blob.pieces().try_for_each(|piece| connection.send(piece))?;
    connection.head()?.expect(&[201])
}

/// The same in PUTs of `chunk` bytes.
fn chunks_to_floor(blob: &Blob, connection: &mut Connection, chunk: usize) -> Outcome<()> {
    let pieces: Vec<&[u8]> = blob.pieces().collect();
    pieces.chunks(chunk / PIECE).try_for_each(|chunk| {
        let length: usize = chunk.iter().map(|piece| piece.len()).sum();
        connection.begin("PUT", "/", &format!("Content-Length: {length}\r\n"))?;
        chunk.iter().try_for_each(|piece| connection.send(piece))?;
        connection.head()?.expect(&[201])
    })
}
