//! Moving from a registry that is in use: import while clients push, then make it read-only, import what has come since,
//! and switch.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::Bench;
use super::{directory, images, run};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::Image;
use crate::floor::Kind;
use crate::peers::{Peer, Server};
use crate::result::{Line, Sample};

/// Where is pushed to meanwhile.
const REPOSITORY: &str = "bench/cutover";

/// How long the pusher rests after each image.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let source = directory::made(bench, images(bench))?;
    if bench.among(&[Peer::Distribution]).is_empty() {
        return Ok(Vec::new());
    }
    bench.rounds(
        &bench.among(&[Peer::Orlop]),
        |peer| (*peer, String::new()),
        |peer, round| {
            let target = bench.empty("cutover".into());
            let moved = switch(bench, *peer, &source, &target, round);
            // The directory is used again.
            let repositories = source.join("data/docker/registry/v2/repositories");
            let _ = fs::remove_dir_all(repositories.join(REPOSITORY));
            let _ = fs::remove_dir_all(&target);
            moved
        },
    )
}

fn switch(bench: &Bench, peer: Peer, source: &Path, target: &Path, round: usize) -> Outcome<Sample> {
    let writable = Server::start(&bench.programs, Peer::Distribution, source, Kind::Answer)?;
    let (stop, pushed) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let live = std::thread::scope(|scope| {
        let pusher = scope.spawn(|| push_on(&writable, round, &stop, &pushed));
        let live = run(bench, peer, source, target, &["--live"]);
        stop.store(true, Ordering::Relaxed);
        pusher.join().map_err(|_| "the pusher panicked")??;
        live
    })?;
    let began = Instant::now();
    drop(writable);
    let read_only = Server::start_read_only(&bench.programs, source)?;
    let again = run(bench, peer, source, target, &["--read-only"])?;
    let server = Server::start(&bench.programs, peer, target, Kind::Answer)?;
    let mut connection = Connection::open(server.address)?;
    let pushed = pushed.into_inner().map_err(|_| "the pusher panicked")?;
    let (tag, digest) = pushed.last().ok_or("nothing was pushed meanwhile")?;
    serves(&mut connection, tag, digest)?;
    let took = began.elapsed();
    drop(read_only);
    for (tag, digest) in &pushed {
        serves(&mut connection, tag, digest)?;
    }
    super::serves(&mut connection, 0)?;
    Ok(Sample::default()
        .with("read-only s", took.as_secs_f64())
        .with("import s", again.took.as_secs_f64())
        .with("import CPU s", again.cpu)
        .with("import before s", live.took.as_secs_f64())
        .with("pushed meanwhile", pushed.len() as f64))
}

/// Pushes one image after the other, and keeps the digest of each tag.
fn push_on(server: &Server, round: usize, stop: &AtomicBool, pushed: &Mutex<Vec<(String, String)>>) -> Outcome<()> {
    let mut connection = Connection::open(server.address)?;
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let tag = format!("v{number}");
        let image = Image::of_a_platform((4000 + round as u64) * 100_000 + number, 2, 1000);
        image.push(&mut connection, REPOSITORY, &tag, Way::Monolithic)?;
        pushed.lock().map_err(|_| "a client panicked")?.push((tag, image.digest()));
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn serves(connection: &mut Connection, tag: &str, digest: &str) -> Outcome<()> {
    let target = format!("/v2/{REPOSITORY}/manifests/{tag}");
    let (head, _) = connection.exchange("GET", &target, "", &[])?;
    head.expect(&[200])?;
    match head.field("docker-content-digest") {
        Some(found) if found == digest => Ok(()),
        other => Err(format!("{tag} is {other:?}, and was pushed as {digest}").into()),
    }
}
