//! Lists of tags: whole, the first page, a page far behind.

use super::{Bench, Workload, one_by_one, stores};
use crate::Outcome;
use crate::floor::Kind;
use crate::peers::{Peer, Server};
use crate::result::Line;

pub(super) const PAGES: Workload = Workload {
    name: "tags",
    title: "Tags of one repository: the whole list, the first page of 100, a late page of 100",
    notes: "One client. Distribution gets 100,000 tags at most: a million of them are five million files. \
            docker-registry 2 ignores `n`.",
    run: pages,
};

/// The repository of a million manifests.
pub(super) const REPOSITORY: &str = "bench/million";

/// The tag of that number. They sort as they count.
pub(super) fn tag(number: usize) -> String {
    format!("v{number:07}")
}

/// A store of Orlop with so many manifests, each with its tag.
pub(super) fn store(bench: &Bench, count: usize) -> Outcome<std::path::PathBuf> {
    stores::orlop(bench, &format!("orlop-{count}"), count, |number| (REPOSITORY.into(), tag(number)))
}

fn pages(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut subjects = Vec::new();
    let mut kept = Vec::new();
    for peer in bench.among(&[Peer::Orlop, Peer::Distribution]) {
        let counts: &[usize] = match (peer, bench.quick) {
            (_, true) => &[1000],
            (Peer::Orlop, _) => &[100, 10_000, 1_000_000],
            _ => &[100, 10_000, 100_000],
        };
        for &count in counts {
            for (what, query) in [
                ("whole", String::new()),
                ("first page", "?n=100".into()),
                ("late page", format!("?n=100&last={}", tag(count * 9 / 10))),
            ] {
                let directory = match peer {
                    Peer::Orlop => store(bench, count)?,
                    _ => stores::distribution(bench, &format!("distribution-{count}"), |server, data| {
                        stores::tag(server, data, REPOSITORY, (0..count).map(tag))
                    })?,
                };
                kept.push((peer, count, what, directory, format!("/v2/{REPOSITORY}/tags/list{query}")));
            }
        }
    }
    subjects.extend(kept);
    let times = bench.amount(200, 5);
    bench.rounds(
        &subjects,
        |(peer, count, what, ..)| (*peer, format!("{what} of {count}")),
        |(peer, count, what, directory, target), _| {
            let server = Server::start(&bench.programs, *peer, directory, Kind::Answer)?;
            // What takes long need not be asked often.
            let long = *what == "whole" && *count > 1000 || *count >= 100_000 && *peer != Peer::Orlop;
            one_by_one(&server, target, if long { times.min(5) } else { times })
        },
    )
}
