//! zot's own load generator, for a second opinion: not our client, not our choice of what to measure.

use std::process::{Command, Stdio};

use super::{Bench, Workload, costs, settle};
use crate::Outcome;
use crate::floor::Kind;
use crate::peers::Peer;
use crate::result::Line;

pub(super) const ZB: Workload = Workload {
    name: "zb",
    title: "zb, the load generator of zot: requests a second",
    notes: "8 clients, an empty store. *Push Monolith* is POST and one PUT, *Push Chunk Streamed* POST, one PATCH and PUT, \
            each of a blob and a manifest; *Pull* of a manifest and a blob. What a server does not answer as zb wants it \
            is 0. Where it gives its blobs to the disk and where only to memory is told by `fsyncs`.",
    run,
};

/// How many seconds it may take. It has been seen to wait for ever.
const LONGEST: &str = "100";

/// What counts of its report, as zb calls it.
const TESTS: [&str; 9] = [
    "Push Monolith 1MB",
    "Push Monolith 10MB",
    "Push Monolith 100MB",
    "Push Chunk Streamed 1MB",
    "Push Chunk Streamed 10MB",
    "Push Chunk Streamed 100MB",
    "Pull 1MB",
    "Pull 10MB",
    "Pull 100MB",
];

fn run(bench: &Bench) -> Outcome<Vec<Line>> {
    let zb = &bench.programs.zb;
    if !zb.is_file() {
        eprintln!("zb: there is no {}: tests/peers/install zb", zb.display());
        return Ok(Vec::new());
    }
    bench.rounds(
        &bench.among(&Peer::REGISTRIES),
        |peer| (*peer, String::new()),
        |peer, _| {
            settle();
            let fresh = bench.fresh(*peer, Kind::Answer)?;
            let (report, cost) = costs(fresh.server(), || {
                let mut command = Command::new("timeout");
                command.arg(LONGEST).arg(zb);
                command.args(["-c", "8", "-n", bench.amount("32", "8"), "-o", "stdout", "-d"]).arg(&fresh.directory);
                command.arg(format!("http://{}", fresh.server().address)).stdin(Stdio::null()).stderr(Stdio::null());
                let output = command.output()?;
                if output.status.code() == Some(124) {
                    return Err("zb comes to no end".into());
                }
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            })?;
            // It runs in a process of its own, which the watch takes for others.
            let sample = super::Sample::default();
            let sample = TESTS.iter().fold(sample, |sample, test| sample.with(test, per_second(&report, test)));
            Ok(sample.with("peak MiB", cost.peak / super::MIB))
        },
    )
}

/// The requests a second of one test; 0 when one of them failed, or it is not in the report.
fn per_second(report: &str, test: &str) -> f64 {
    let told = report.split("Test name:").find(|told| told.lines().next().is_some_and(|name| name.trim() == test));
    let figure = |name: &str| told?.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    match (figure("Failed requests:"), figure("Requests per second:")) {
        (Some(0.0), Some(per_second)) => per_second,
        _ => 0.0,
    }
}
