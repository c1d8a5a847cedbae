//! What a request costs as the store grows a thousand times larger.

use super::memory::many;
use super::small::{measure, request};
use super::tags::{REPOSITORY, store, tag};
use super::{Bench, Workload, at_once, costs};
use crate::Outcome;
use crate::client::Connection;
use crate::floor::Kind;
use crate::peers::{Peer, Server};
use crate::result::{Line, Sample};

pub(super) const GROWTH: Workload = Workload {
    name: "growth",
    title: "GET and PUT of a manifest by tag, in 1,000 and in 1,000,000 manifests",
    notes: "Pushes: 8 clients give new tags to a manifest that is there, durable.",
    run: growth,
};

fn growth(bench: &Bench) -> Outcome<Vec<Line>> {
    let large = many(bench);
    let counts = [(large / 1000).max(10), large];
    let subjects: Vec<_> = ["get", "push"].into_iter().flat_map(|kind| counts.map(|count| (kind, count))).collect();
    for count in counts {
        store(bench, count)?;
    }
    bench.rounds(
        &subjects,
        |(kind, count)| (Peer::Orlop, format!("{kind}, {count}")),
        |(kind, count), round| {
            let server = Server::start(&bench.programs, Peer::Orlop, &store(bench, *count)?, Kind::Answer)?;
            let target = format!("/v2/{REPOSITORY}/manifests/{}", tag(count / 2));
            if *kind == "get" {
                return measure(bench, &server, &request("GET", &target));
            }
            push(bench, &server, REPOSITORY, &target, round)
        },
    )
}

/// Eight clients give new tags to the manifest that is at `target`.
pub(super) fn push(bench: &Bench, server: &Server, repository: &str, target: &str, round: usize) -> Outcome<Sample> {
    let (head, manifest) = Connection::open(server.address)?.exchange("GET", target, "", &[])?;
    head.expect(&[200])?;
    let times = bench.amount(500, 10);
    let (_, cost) = costs(server, || {
        at_once(8, |client| {
            let mut connection = Connection::open(server.address)?;
            let media_type = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
            for number in 0..times {
                let target = format!("/v2/{repository}/manifests/growth{round}-{client}-{number}");
                connection.exchange("PUT", &target, media_type, &manifest)?.0.expect(&[201])?;
            }
            Ok(())
        })
    })?;
    let pushed = (8 * times) as f64;
    let sample = cost
        .sample()
        .with("CPU µs/request", cost.cpu * 1e6 / pushed)
        .with("requests/s", pushed / cost.took.as_secs_f64());
    Ok(cost.with_engines(sample, pushed, 1e6, ["database µs/request", "store µs/request"]))
}
