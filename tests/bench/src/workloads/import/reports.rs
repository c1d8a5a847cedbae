//! What reports on a large registry take.

use std::path::PathBuf;
use std::process::Command;

use super::super::{Bench, MIB, costs};
use super::{directory, images, run, serves};
use crate::Outcome;
use crate::client::Connection;
use crate::floor::Kind;
use crate::peers::{Peer, Server};
use crate::process::Spent;
use crate::result::Line;

/// What is asked, and the command that asks it.
const ASKED: &[(&str, &[&str])] = &[
    ("usage", &["usage", "--format", "json"]),
    ("usage, ten", &["usage", "--top", "10"]),
    ("retention plan", &["retention", "plan", "--json"]),
];

/// The rule that makes plans: it lets most tags go.
const RULE: &str = r#"{ repositories = ["**"], tags = ["*"], keep-last = 10, untagged-after = "1d" }"#;

pub(super) fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let Some(peer) = bench.among(&[Peer::Orlop]).first().copied() else { return Ok(Vec::new()) };
    let directory = imported(bench, peer)?;
    bench.rounds(
        ASKED,
        |(name, _)| (peer, (*name).into()),
        |(_, words), _| {
            let server = Server::start_with(&bench.programs, peer, &directory, Kind::Answer, &["--retention", RULE])?;
            let mut command = Command::new(bench.programs.get(peer).ok_or("there is no orlop")?);
            command.args(*words).arg("--data").arg(directory.join("data"));
            let before = server.process().rss()?;
            let (spent, cost) = costs(&server, || Spent::by(&mut command, &directory.join("report")))?;
            Ok(cost
                .sample()
                .with("s", cost.took.as_secs_f64())
                .with("CPU s", cost.cpu)
                .with("server MiB before", before / MIB)
                .with("server peak MiB", cost.peak / MIB)
                .with("command peak MiB", spent.peak / MIB))
        },
    )
}

/// A data directory with all of it, which stays for the next run.
fn imported(bench: &Bench, peer: Peer) -> Outcome<PathBuf> {
    let images = images(bench);
    let directory = bench.kept(&format!("orlop-images-{images}"));
    let sound = || -> Outcome<()> {
        let server = Server::start(&bench.programs, peer, &directory, Kind::Answer)?;
        serves(&mut Connection::open(server.address)?, images - 1)
    };
    if !directory.join("done").exists() || sound().is_err() {
        let _ = std::fs::remove_dir_all(&directory);
        let source = directory::made(bench, images)?;
        run(bench, peer, &source, &directory, &["--read-only"])?;
        std::fs::write(directory.join("done"), "")?;
    }
    Ok(directory)
}
