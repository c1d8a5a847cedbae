//! Registries on several machines: Orlop with PostgreSQL and an S3 server, distribution on the same kind of S3 server, and
//! Orlop by itself beside them. All of it is on this machine, so database and store take processors from the registries;
//! what is counted is the registry's process alone.

use super::{Bench, Fresh, GIB, MIB, Workload, at_once, costs, image, memory, pull, push, settle, small};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::{Blob, Image};
use crate::engines::Engines;
use crate::floor::Kind;
use crate::peers::Peer;
use crate::result::{Line, Sample};

pub(super) const PUSH: Workload = Workload {
    name: "shared-push",
    title: "Several machines: push of 1 GiB as docker does, 1 client",
    notes: "One PATCH in chunks of 256 KiB without a length, then an empty PUT.",
    run: |bench| push::one(bench, Way::Streamed, &bench.among(&Peer::SHARED)),
};

pub(super) const LAST_PUT: Workload = Workload {
    name: "shared-last-put",
    title: "Several machines: the PUT that ends a push of 6 GiB",
    notes: "Nothing of the blob is sent any more. distribution has the object store copy it.",
    run: last_put,
};

pub(super) const PULL: Workload = Workload {
    name: "shared-pull",
    title: "Several machines: pull of 1 GiB, 1 client",
    notes: "*hot*: in the object cache. *cold*: not there yet, and then it is. *streamed*: without a cache. Orlop by itself \
            sends it from its disk.",
    run: pulls,
};

pub(super) const TOGETHER: Workload = Workload {
    name: "shared-together",
    title: "Several machines: 200 clients want a blob of 64 MiB that is not in the object cache",
    notes: "*read/stored*: how many bytes the object store has sent, for each byte of the blob.",
    run: together,
};

pub(super) const MANIFEST: Workload = Workload {
    name: "shared-tag",
    title: "Several machines: GET of a manifest by tag, 16 connections",
    notes: "",
    run: |bench| small::by_tag(bench, &bench.among(&Peer::SHARED), 16),
};

pub(super) const IMAGES: Workload = Workload {
    name: "shared-images",
    title: "Several machines: push of small images",
    notes: "5 layers of 16 KiB, a configuration and a manifest.",
    run: |bench| image::images(bench, &bench.among(&Peer::SHARED), &[1, 8]),
};

pub(super) const IDLE: Workload = Workload {
    name: "shared-idle",
    title: "Several machines: memory of a server that has just been started",
    notes: "",
    run: |bench| memory::idle(bench, &bench.among(&Peer::SHARED)),
};

pub(super) const PUSHES: Workload = Workload {
    name: "shared-memory",
    title: "Several machines: memory under 64 pushes at once",
    notes: "Each streams 16 MiB at no more than the server takes.",
    run: |bench| memory::pushes(bench, &bench.among(&Peer::SHARED)),
};

pub(super) const GROWTH: Workload = Workload {
    name: "shared-growth",
    title: "Several machines: GET and PUT of a manifest by tag, with 1,000 and with 1,000,000 manifests in the database",
    notes: "The database was given copies of the records of one manifest, each with a tag and a digest of its own. Pushes: \
            8 clients give new tags to a manifest that is there, durable.",
    run: growth,
};

/// The variants of pulls.
pub(crate) const HOT: &str = "hot";
pub(crate) const COLD: &str = "cold";
const STREAMED: &str = "streamed";

fn last_put(bench: &Bench) -> Outcome<Vec<Line>> {
    let blob = Blob::new(4, bench.amount(6 << 30, 64 << 20));
    bench.rounds(
        &bench.among(&[Peer::Shared, Peer::DistributionS3]),
        |peer| (*peer, String::new()),
        |peer, _| {
            settle();
            let fresh = bench.fresh(*peer, Kind::Push)?;
            let mut connection = Connection::open(fresh.server().address)?;
            let last = blob.push_timed(&mut connection, "bench/push", Way::Streamed)?;
            Ok(Sample::default().with("s", last.as_secs_f64()))
        },
    )
}

/// A server with the blob, and where that is; with a cache for Orlop, if it is to have one.
fn with_blob(bench: &Bench, peer: Peer, name: &str, blob: &Blob) -> Outcome<(Fresh, String)> {
    let cache = bench.cache(name);
    let arguments = match (peer, name) {
        (Peer::Shared, HOT | COLD) => vec!["--object-cache", cache.as_str(), "--object-cache-size", "20GiB"],
        _ => vec![],
    };
    let fresh = bench.fresh_with(peer, name, &arguments)?;
    let mut connection = Connection::open(fresh.server().address)?;
    blob.push(&mut connection, "bench/pull", Way::Monolithic)?;
    Ok((fresh, format!("/v2/bench/pull/blobs/{}", blob.digest)))
}

fn pulls(bench: &Bench) -> Outcome<Vec<Line>> {
    let blob = Blob::new(1, bench.amount(1 << 30, 64 << 20));
    let variants = |peer: Peer| if peer == Peer::Shared { vec![HOT, COLD, STREAMED] } else { vec![""] };
    let peers = bench.among(&Peer::SHARED);
    let subjects: Vec<(Peer, &str)> =
        peers.into_iter().flat_map(|peer| variants(peer).into_iter().map(move |variant| (peer, variant))).collect();
    bench.rounds(
        &subjects,
        |(peer, variant)| (*peer, (*variant).into()),
        |(peer, variant), _| {
            let (fresh, target) = with_blob(bench, *peer, variant, &blob)?;
            settle();
            // What is cold is cold once.
            if *variant == COLD {
                return pull::pull(fresh.server(), &target, 1, 1);
            }
            pull::pull(fresh.server(), &target, 1, 1)?;
            pull::pull(fresh.server(), &target, 1, bench.amount(4, 1))
        },
    )
}

fn together(bench: &Bench) -> Outcome<Vec<Line>> {
    let clients = bench.amount(200, 20);
    let blob = Blob::new(5, 64 << 20);
    bench.rounds(
        &bench.among(&[Peer::Shared, Peer::DistributionS3]),
        |peer| (*peer, String::new()),
        |peer, _| {
            let (fresh, target) = with_blob(bench, *peer, COLD, &blob)?;
            let store = fresh.server().engines().ok_or("it has no object store")?.store();
            let before = store.sent()?;
            let (pulled, cost) = costs(fresh.server(), || {
                at_once(clients, |_| {
                    let mut connection = Connection::open(fresh.server().address)?;
                    connection.begin("GET", &target, "")?;
                    let head = connection.head()?;
                    head.expect(&[200])?;
                    connection.discard(&head)
                })
            })?;
            let (read, bytes) = (store.sent()? - before, pulled.iter().sum::<usize>() as f64);
            Ok(cost
                .sample()
                .with("read/stored", read / blob.length as f64)
                .with("CPU s/GiB", cost.cpu * GIB / bytes)
                .with("GB/s", bytes / 1e9 / cost.took.as_secs_f64())
                .with("peak MiB", cost.peak / MIB))
        },
    )
}

/// Gives the database `count` times the records of a manifest and its tag.
fn multiply(engines: &Engines, repository: &str, tag: &str, count: usize) -> Outcome<()> {
    let tagged = format!("tag/{repository}:{tag}");
    engines.ask(&format!(
        "INSERT INTO orlop.record
         SELECT convert_to(regexp_replace(name, '@sha256:.{{7}}', '@sha256:' || lpad(number::text, 7, '0'))
                           || CASE WHEN name ~ '^tag' THEN '-' || lpad(number::text, 7, '0') ELSE '' END, 'UTF8'), value
         FROM (SELECT convert_from(key, 'UTF8') AS name, value FROM orlop.record
               WHERE key = convert_to('{tagged}', 'UTF8') OR convert_from(key, 'UTF8') ~ '^(tagged|manifest|payload)/') AS one,
              generate_series(1, {count}) AS number
         ON CONFLICT DO NOTHING"
    ))?;
    engines.ask("VACUUM ANALYZE orlop.record")?;
    engines.ask("CHECKPOINT").map(drop)
}

fn growth(bench: &Bench) -> Outcome<Vec<Line>> {
    const REPOSITORY: &str = "bench/growth";
    let large = memory::many(bench);
    let image = Image::new(8, 1, 4 << 10);
    let start = |count: usize| -> Outcome<(usize, Fresh)> {
        let fresh = bench.fresh_with(Peer::Shared, &count.to_string(), &[])?;
        image.push(&mut Connection::open(fresh.server().address)?, REPOSITORY, "v1", Way::Streamed)?;
        multiply(fresh.server().engines().ok_or("it has no database")?, REPOSITORY, "v1", count)?;
        Ok((count, fresh))
    };
    if bench.among(&[Peer::Shared]).is_empty() {
        return Ok(Vec::new());
    }
    let servers = [(large / 1000).max(10), large].map(start).into_iter().collect::<Outcome<Vec<_>>>()?;
    settle();
    let subjects: Vec<_> =
        ["get", "push"].into_iter().flat_map(|kind| servers.iter().map(move |one| (kind, one))).collect();
    bench.rounds(
        &subjects,
        |(kind, (count, _))| (Peer::Shared, format!("{kind}, {count}")),
        |(kind, (count, fresh)), round| {
            let target = format!("/v2/{REPOSITORY}/manifests/v1-{:07}", count / 2);
            if *kind == "get" {
                return small::measure(bench, fresh.server(), &small::request("GET", &target));
            }
            super::growth::push(bench, fresh.server(), REPOSITORY, &target, round)
        },
    )
}
