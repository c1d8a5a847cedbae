//! What a quota costs a push, in repositories with few blobs and with many.

use std::time::{Duration, Instant};

use super::{Bench, Workload, at_once, costs, settle};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::Blob;
use crate::load::percentile;
use crate::peers::Peer;
use crate::result::Line;

pub(super) const QUOTA: Workload = Workload {
    name: "quota",
    title: "Push of a small blob under a quota, into repositories of 10 and of 100,000 blobs",
    notes: "One client, one server that has them all; each repository has a quota, all together have another. Of the small \
            repositories each gets ten pushes.",
    run: quota,
};

/// The variants.
pub(crate) const FEW: &str = "10";
pub(crate) const MANY: &str = "100000";

/// How many blobs a small repository has, and how many more it gets.
const SMALL: usize = 10;

const QUOTAS: [&str; 4] = [
    "--quota",
    r#"{ name = "each", repositories = ["bench/**"], bytes = "1TiB" }"#,
    "--quota",
    r#"{ name = "all", repositories = ["bench/**"], bytes = "1TiB", together = true }"#,
];

fn quota(bench: &Bench) -> Outcome<Vec<Line>> {
    let Some(peer) = bench.among(&[Peer::Orlop]).first().copied() else { return Ok(Vec::new()) };
    let (many, pushes) = (bench.amount(100_000, 500), bench.amount(2000, 50));
    let fresh = bench.fresh_with(peer, "quota", &QUOTAS)?;
    let server = fresh.server();
    at_once(16, |client| {
        let mut connection = Connection::open(server.address)?;
        (client..many).step_by(16).try_for_each(|number| push(&mut connection, "bench/many", number))?;
        let small = (client..bench.rounds * pushes).step_by(16);
        small.into_iter().try_for_each(|number| push(&mut connection, &few(number), number))
    })?;
    settle();
    bench.rounds(
        &[FEW, MANY],
        |variant| (peer, (*variant).into()),
        |variant, round| {
            let mut connection = Connection::open(server.address)?;
            let (mut took, cost) = costs(server, || {
                (0..pushes)
                    .map(|number| {
                        let repository =
                            if *variant == FEW { few(round * pushes + number) } else { "bench/many".into() };
                        // A blob that nobody has, as large as any other.
                        let number = 10_000_000 + (round * 2 + usize::from(*variant == FEW)) * pushes + number;
                        let began = Instant::now();
                        push(&mut connection, &repository, number)?;
                        Ok(began.elapsed())
                    })
                    .collect::<Outcome<Vec<Duration>>>()
            })?;
            took.sort_unstable();
            Ok(cost
                .sample()
                .with("CPU µs/push", cost.cpu * 1e6 / pushes as f64)
                .with("p50 ms", percentile(&took, 0.5))
                .with("p99 ms", percentile(&took, 0.99)))
        },
    )
}

/// The small repository that gets the push of that number.
fn few(number: usize) -> String {
    format!("bench/few{:04}", number / SMALL)
}

fn push(connection: &mut Connection, repository: &str, number: usize) -> Outcome<()> {
    Blob::new(20_000_000 + number as u64, 100).push(connection, repository, Way::Monolithic)
}
