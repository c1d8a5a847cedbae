//! Moving in: the data directory of distribution, taken over.

mod cutover;
mod directory;
mod reports;

use std::path::Path;
use std::process::Command;

use super::{Bench, MIB, Workload, settle};
use crate::Outcome;
use crate::client::Connection;
use crate::floor::Kind;
use crate::peers::{Peer, Server};
use crate::process::Spent;
use crate::result::{Line, Sample};

pub(super) const IMPORT: Workload = Workload {
    name: "import",
    title: "Import of a data directory of distribution: 100,000 tags, 1,000,000 blobs, by hard links",
    notes: "100 repositories of 1,000 images, each of a configuration and nine layers of its own, all of them small. The \
            directory was just read once, and lies in an ext4 that keeps small files and directories in their inodes, so \
            that all of it is in the memory of the kernel. *again*: the same import once more, with nothing new to take \
            over.",
    run: import,
};

pub(super) const CUT_OVER: Workload = Workload {
    name: "cut-over",
    title: "Switch from distribution, in use, with 100,000 tags",
    notes: "The directory of `import`, served by distribution, with a client that pushes images to it. It is imported while \
            that goes on (*before*); *read-only* is from the stop of distribution, which is started again read-only, over \
            another import, to the first pull of what was pushed last from Orlop.",
    run: cutover::measure,
};

pub(super) const REPORTS: Workload = Workload {
    name: "reports",
    title: "Reports on 100,000 tags and 1,000,000 blobs",
    notes: "Of what `import` has imported, asked of a server by commands. The plan of retention lists every tag, most of \
            them to be deleted.",
    run: reports::measure,
};

/// How many images there are: each has a tag and ten blobs.
fn images(bench: &Bench) -> usize {
    bench.amount(100_000, 2000)
}

fn import(bench: &Bench) -> Outcome<Vec<Line>> {
    let images = images(bench);
    let source = directory::made(bench, images)?;
    bench.rounds(
        &bench.among(&[Peer::Orlop]),
        |peer| (*peer, String::new()),
        |peer, _| {
            let target = bench.empty("imported".into());
            settle();
            run(bench, *peer, &source, &target, &["--read-only", "--dry-run"])?;
            let first = run(bench, *peer, &source, &target, &["--read-only"])?;
            settle();
            let again = run(bench, *peer, &source, &target, &["--read-only"])?;
            let server = Server::start(&bench.programs, *peer, &target, Kind::Answer)?;
            serves(&mut Connection::open(server.address)?, images - 1)?;
            drop(server);
            std::fs::remove_dir_all(&target)?;
            Ok(Sample::default()
                .with("import s", first.took.as_secs_f64())
                .with("CPU s", first.cpu)
                .with("peak MiB", first.peak / MIB)
                .with("again s", again.took.as_secs_f64())
                .with("again CPU s", again.cpu)
                .with("again peak MiB", again.peak / MIB))
        },
    )
}

/// Imports what is there.
fn run(bench: &Bench, peer: Peer, source: &Path, target: &Path, more: &[&str]) -> Outcome<Spent> {
    let mut command = Command::new(bench.programs.get(peer).ok_or("there is no orlop")?);
    command
        .args(["import", "distribution"])
        .arg(source.join("data"))
        .args(["--json", "--data"])
        .arg(target.join("data"));
    std::fs::create_dir_all(target)?;
    Spent::by(command.args(more), &target.join("log"))
}

/// Fails unless the registry serves the image of that number.
fn serves(connection: &mut Connection, number: usize) -> Outcome<()> {
    let (repository, tag) = directory::place(number);
    connection.exchange("GET", &format!("/v2/{repository}/manifests/{tag}"), "", &[])?.0.expect(&[200])
}
