//! What came out, as a page in Markdown.

use std::fmt::Write as _;

use super::replay::{Size, replay};
use super::{Demand, Fleet, GIB, Layers, MIX, Times, USED};
use crate::Outcome;
use crate::report::{aligned, number};

/// How many seconds are played.
const SECONDS: f64 = 3.0;

const PREFACE: &str = "# What a fleet needs

Written by `orlop-bench scale` from the figures in RESULTS.md: a computation, no measurement. The trace of the workload
`trace` (the sizes, popularity and bursts that public registries have seen) is played at rates that no one machine
serves, against the times that one machine has been measured to take.
";

pub(super) fn written(
    times: &Times,
    fleet: &Fleet,
    demand: &Demand,
    layers: &Layers,
    rates: &[f64],
) -> Outcome<String> {
    let mut page = String::from(PREFACE);
    writeln!(
        page,
        "\nA *pull* is a GET of a manifest by tag, with {} GETs of layers, {} HEADs and {} pushes of a layer, as in the trace.\n",
        number(MIX.layers),
        number(MIX.heads),
        number(MIX.pushes)
    )?;
    page += "## Measured\n\n";
    let micro = |seconds: f64| format!("{} µs", number(seconds * 1e6));
    page += &table(
        &["what", "registry's processor", "database's processor"],
        [
            ["GET or HEAD, without the bytes of a layer".into(), micro(times.request), micro(times.request_database)],
            ["push of a small blob, all of its requests".into(), micro(times.push), micro(times.push_database)],
            ["a GiB from the object cache".into(), format!("{} s", number(times.hot_byte * GIB)), String::new()],
            ["a GiB that the store sends first".into(), format!("{} s", number(times.cold_byte * GIB)), String::new()],
            ["a GiB that is pushed".into(), format!("{} s", number(times.pushed_byte * GIB)), String::new()],
        ],
    );
    writeln!(
        page,
        "\nA small push makes {} commits; the lock under which they are made carries {} a second.\n",
        number(times.push_commits),
        number(1.0 / times.commit)
    )?;
    page += "## Assumed\n\n";
    writeln!(
        page,
        "* A registry's machine: {} processors like those of the measurement, {} Gbit/s each way, {} TB of object cache.\n\
         * The database's machine: {} processors; {} ms there and back.\n\
         * The object store: {} ms to the first byte of an object, {} ms until a small one is put, as many at once as are \
         asked for.\n\
         * {} different layers, of {} MB in the mean of all pulls. {} % of pulls of a layer find it in the object cache.\n\
         * No part is used for more than {} % of the time.\n",
        fleet.cores,
        number(fleet.network * 8.0 / 1e9),
        number(fleet.cache / 1e12),
        fleet.database_cores,
        number(fleet.database_trip * 1e3),
        number(fleet.store_read * 1e3),
        number(fleet.store_write * 1e3),
        layers.sizes.len(),
        number(demand.pulled / 1e6 / MIX.layers),
        number(demand.hits * 100.0),
        number(USED * 100.0),
    )?;
    page += "## Where each part saturates\n\n";
    let (reads, commits) = demand.most(times, fleet);
    let one = 1.0 / fleet.cores as f64 * demand.registry;
    page += &table(
        &["part", "one pull takes", "one of it is saturated at", "more of it"],
        [
            [
                "a registry's processors".into(),
                micro(demand.registry),
                format!("{} pulls/s", number(1.0 / one)),
                "more registries".into(),
            ],
            [
                "a registry's network".into(),
                format!("{} MB sent", number(demand.sent / 1e6)),
                format!("{} pulls/s", number(fleet.network / demand.sent.max(demand.received))),
                "more registries, or redirects: then the object store sends".into(),
            ],
            [
                "the database's processors".into(),
                micro(demand.database),
                format!("{} pulls/s", number(reads)),
                "more processors; then repositories spread over databases".into(),
            ],
            [
                "the lock of the commits".into(),
                format!("{} commits", number(demand.commits)),
                format!("{} pulls/s", number(commits)),
                "repositories spread over databases".into(),
            ],
        ],
    );
    page += "\n## What the fleet needs\n\n";
    let mut rows = Vec::new();
    for &pulls in rates {
        let (processors, network) = demand.machines(fleet, pulls);
        let primaries = (pulls / (reads.min(commits) * USED)).ceil().max(1.0);
        let size = Size { registries: processors.max(network).ceil().max(1.0) as usize, primaries: primaries as usize };
        let played = replay(times, fleet, layers, size, pulls, SECONDS);
        let latency = |latency: super::replay::Latency| format!("{} / {} ms", number(latency.p50), number(latency.p99));
        rows.push([
            number(pulls),
            format!("{} ({})", size.registries, if processors > network { "processors" } else { "network" }),
            format!("{}", processors.ceil()),
            size.primaries.to_string(),
            format!("{} Gbit/s", number(pulls * demand.sent * 8.0 / 1e9)),
            format!(
                "{} GETs/s, {} Gbit/s",
                number(pulls * demand.store_reads),
                number(pulls * demand.store_read * 8.0 / 1e9)
            ),
            format!(
                "{} PUTs/s, {} Gbit/s",
                number(pulls * demand.store_writes),
                number(pulls * demand.store_written * 8.0 / 1e9)
            ),
            latency(played.manifest),
            latency(played.first_byte),
            latency(played.push),
            number(played.requests as f64),
        ]);
    }
    page += &table(
        &[
            "pulls/s",
            "registries (for)",
            "for processors alone",
            "databases",
            "sent to clients",
            "read from the store",
            "written to the store",
            "manifest p50 / p99",
            "first byte of a layer p50 / p99",
            "push of a layer p50 / p99",
            "requests played",
        ],
        rows,
    );
    Ok(page)
}

fn table<const N: usize>(head: &[&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows.into_iter().map(Vec::from)).collect();
    aligned(&rows)
}
