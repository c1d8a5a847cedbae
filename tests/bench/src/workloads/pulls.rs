//! What it costs to know when each tag was last pulled.

use std::path::Path;
use std::time::Duration;

use super::tags::{REPOSITORY, store, tag};
use super::{Bench, Workload, at_once, costs};
use crate::Outcome;
use crate::client::Connection;
use crate::floor::Kind;
use crate::peers::{Peer, Server};
use crate::result::{Line, Sample};

pub(super) const PULLS: Workload = Workload {
    name: "last-pull",
    title: "GET of manifests by 15,000 tags: the first pull of each, which is noted, and the next within the hour",
    notes: "8 clients, and twelve seconds after the last answer, in which the server notes what was pulled. *written* is \
            what it has written to the disk meanwhile, for each pull.",
    run: pulls,
};

/// The variants.
pub(crate) const NOTED: &str = "first";
pub(crate) const PASSED_OVER: &str = "again";

const CLIENTS: usize = 8;

/// No more than what a server notes at once.
const TAGS: usize = 15_000;

/// How long after a pull it is noted for certain.
const NOTING: Duration = Duration::from_secs(12);

fn pulls(bench: &Bench) -> Outcome<Vec<Line>> {
    let Some(peer) = bench.among(&[Peer::Orlop]).first().copied() else { return Ok(Vec::new()) };
    let count = bench.amount(TAGS, 1000);
    let made = store(bench, count)?;
    let mut lines = [NOTED, PASSED_OVER].map(|variant| Line { peer, variant: variant.into(), samples: Vec::new() });
    for _ in 0..bench.rounds {
        let directory = bench.empty("last-pull".into());
        copy(&made.join("data"), &directory.join("data"))?;
        let server = Server::start(&bench.programs, peer, &directory, Kind::Answer)?;
        // What the kernel and the server keep in memory is the same for both.
        all(&server, count, |number| format!("/v2/{REPOSITORY}/tags/list?n=1&last={}", tag(number)))?;
        for line in &mut lines {
            let before = server.process().written()?;
            let (_, cost) = costs(&server, || {
                all(&server, count, |number| format!("/v2/{REPOSITORY}/manifests/{}", tag(number)))?;
                std::thread::sleep(NOTING);
                Ok(())
            })?;
            let written = server.process().written()? - before;
            let sample: Sample = cost
                .sample()
                .with("CPU µs/request", cost.cpu * 1e6 / count as f64)
                .with("written bytes/request", written / count as f64);
            line.samples.push(sample);
        }
        drop(server);
        std::fs::remove_dir_all(directory)?;
    }
    Ok(lines.into())
}

/// Asks for each, once.
fn all(server: &Server, count: usize, target: impl Fn(usize) -> String + Sync) -> Outcome<()> {
    at_once(CLIENTS, |client| {
        let mut connection = Connection::open(server.address)?;
        (client..count)
            .step_by(CLIENTS)
            .try_for_each(|number| connection.exchange("GET", &target(number), "", &[])?.0.expect(&[200]))
    })
    .map(drop)
}

/// Copies a directory with what is in it.
fn copy(from: &Path, to: &Path) -> Outcome<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
