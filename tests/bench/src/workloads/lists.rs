//! Lists of repositories and of referrers.

use std::path::PathBuf;

use super::{Bench, Fresh, Workload, at_once, one_by_one, stores};
use crate::Outcome;
use crate::client::{Connection, Way, push_manifest};
use crate::data::Image;
use crate::floor::Kind;
use crate::peers::{Peer, Server};
use crate::result::Line;

pub(super) const CATALOG: Workload = Workload {
    name: "catalog",
    title: "Catalog: a late page of 100 repositories, of 10,000 and of 100,000",
    notes: "Each repository holds one tag of one image. Distribution gets 10,000 at most: it walks through all of them.",
    run: catalog,
};

pub(super) const REFERRERS: Workload = Workload {
    name: "referrers",
    title: "Referrers of a manifest that has 10,000 of them",
    notes: "The first page that the server gives. Those that do not know the endpoint are left out: both versions of \
            distribution, crane.",
    run: referrers,
};

const CONFIG: &[u8] = b"{}";

fn config() -> serde_json::Value {
    let digest = crate::data::digest(CONFIG);
    serde_json::json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": CONFIG.len() })
}

fn push_config(connection: &mut Connection, repository: &str) -> Outcome<()> {
    let digest = crate::data::digest(CONFIG);
    let pieces = std::iter::once(CONFIG);
    crate::client::push_blob(connection, repository, &digest, CONFIG.len(), pieces, Way::Monolithic).map(drop)
}

fn name(number: usize) -> String {
    format!("bench/c{number:06}")
}

fn catalog(bench: &Bench) -> Outcome<Vec<Line>> {
    let counts: &[usize] = bench.amount(&[10_000, 100_000], &[50]);
    let mut subjects = Vec::new();
    for peer in bench.among(&[Peer::Orlop, Peer::Distribution, Peer::DockerRegistry]) {
        for &count in counts {
            let directory = if peer == Peer::Orlop {
                stores::orlop(bench, &format!("orlop-catalog-{count}"), count, |number| (name(number), "v1".into()))?
            } else if count > 10_000 {
                continue;
            } else {
                // Both versions keep their repositories in the same way.
                stores::distribution(bench, &format!("distribution-catalog-{count}"), |server, repositories| {
                    let mut connection = Connection::open(server.address)?;
                    Image::new(8, 1, 1000).push(&mut connection, &name(0), "v1", Way::Monolithic)?;
                    stores::copy(repositories, &name(0), (1..count).map(name))
                })?
            };
            subjects.push((peer, count, directory));
        }
    }
    let describe = |(peer, count, _): &(Peer, usize, PathBuf)| (*peer, format!("of {count}"));
    bench.rounds(&subjects, describe, |(peer, count, directory), _| {
        let server = Server::start(&bench.programs, *peer, directory, Kind::Answer)?;
        one_by_one(&server, &format!("/v2/_catalog?n=100&last={}", name(count * 9 / 10)), bench.amount(50, 5))
    })
}

fn referrers(bench: &Bench) -> Outcome<Vec<Line>> {
    let count = bench.amount(10_000, 20);
    let image = Image::new(9, 1, 1000);
    let start = |peer: Peer| -> Outcome<Fresh> {
        let fresh = bench.fresh(peer, Kind::Answer)?;
        let mut connection = Connection::open(fresh.server().address)?;
        image.push(&mut connection, "bench/referrers", "v1", Way::Monolithic)?;
        push_config(&mut connection, "bench/referrers")?;
        at_once(8, |client| {
            let mut connection = Connection::open(fresh.server().address)?;
            (client..count).step_by(8).try_for_each(|number| refer(&mut connection, &image, number))
        })?;
        Ok(fresh)
    };
    let peers = bench.among(&[Peer::Orlop, Peer::Olareg, Peer::Zot]);
    let servers = peers.into_iter().map(start).collect::<Outcome<Vec<_>>>()?;
    let target = format!("/v2/bench/referrers/referrers/{}", image.digest());
    bench.rounds(
        &servers,
        |fresh| (fresh.server().peer, String::new()),
        |fresh, _| one_by_one(fresh.server(), &target, bench.amount(50, 5)),
    )
}

/// Pushes a manifest that refers to the image, one of many.
fn refer(connection: &mut Connection, image: &Image, number: usize) -> Outcome<()> {
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.bench",
        "config": config(),
        "layers": [config()],
        "subject": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": image.digest(),
            "size": image.manifest.len(),
        },
        "annotations": { "number": number.to_string() },
    });
    let manifest = manifest.to_string().into_bytes();
    push_manifest(connection, "bench/referrers", &crate::data::digest(&manifest), &manifest)
}
