//! Pushing small images, and how often each server tells the disk to keep something.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Bench, MIB, Workload, at_once, costs, settle};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::Image;
use crate::floor::Kind;
use crate::load::percentile;
use crate::peers::{Peer, Server};
use crate::result::{Line, Sample};

pub(super) const IMAGES: Workload = Workload {
    name: "images",
    title: "Push of small images: 5 layers of 16 KiB, a configuration and a manifest",
    notes: "Layers streamed, each image on the connection of its client, each client to a repository of its own. \
            Who is durable to what degree: see `fsyncs`.",
    run: |bench| images(bench, &bench.among(&Peer::REGISTRIES), &[1, 8, 32]),
};

pub(super) const FSYNCS: Workload = Workload {
    name: "fsyncs",
    title: "fsyncs of one push of a small image",
    notes: "fsync, fdatasync, sync_file_range and msync as strace counts them: 5 layers, a configuration and a manifest by one client. \
            Orlop makes the bytes, the names of their files and the records durable before it acknowledges any of them. \
            distribution makes files durable and, from version 3 on, the folders of its links; crane nothing.",
    run: fsyncs,
};

/// Numbers of images that no run has used before: their layers are new to every store.
static NUMBER: AtomicU64 = AtomicU64::new(1000);

fn image() -> Image {
    Image::of_a_platform(NUMBER.fetch_add(1, Ordering::Relaxed), 5, 16 << 10)
}

pub(super) fn images(bench: &Bench, peers: &[Peer], clients: &[usize]) -> Outcome<Vec<Line>> {
    let subjects: Vec<_> =
        clients.iter().copied().flat_map(|clients| peers.iter().map(move |peer| (clients, *peer))).collect();
    let duration = Duration::from_millis(bench.amount(3000, 300));
    bench.rounds(
        &subjects,
        |(clients, peer)| (*peer, format!("{clients} clients")),
        |(clients, peer), _| {
            settle();
            let fresh = bench.fresh(*peer, Kind::Answer)?;
            let before = commits(fresh.server())?;
            let (times, cost) = costs(fresh.server(), || {
                at_once(*clients, |client| {
                    let mut connection = Connection::open(fresh.server().address)?;
                    let (began, mut times) = (Instant::now(), Vec::new());
                    while began.elapsed() < duration {
                        let image = image();
                        let push = Instant::now();
                        let repository = format!("bench/image{client}");
                        image.push(&mut connection, &repository, &format!("v{}", times.len()), Way::Streamed)?;
                        times.push(push.elapsed());
                    }
                    Ok(times)
                })
            })?;
            let mut times = times.concat();
            times.sort_unstable();
            let pushed = times.len() as f64;
            let sample = cost
                .sample()
                .with("CPU ms/image", cost.cpu * 1e3 / pushed)
                .with("images/s", pushed / cost.took.as_secs_f64())
                .with("p50 ms", percentile(&times, 0.5))
                .with("p99 ms", percentile(&times, 0.99))
                .with("peak MiB", cost.peak / MIB);
            let sample = cost.with_engines(sample, pushed, 1e3, ["database ms/image", "store ms/image"]);
            let commits = commits(fresh.server())?.zip(before).map(|(after, before)| after - before);
            Ok(commits.into_iter().fold(sample, |sample, commits| sample.with("commits/image", commits / pushed)))
        },
    )
}

/// How many commits an Orlop with a database has made since it was started.
fn commits(server: &Server) -> Outcome<Option<f64>> {
    let Some(engines) = server.engines().filter(|_| server.peer == Peer::Shared) else { return Ok(None) };
    let (head, metrics) = Connection::open(engines.metrics())?.exchange("GET", "/metrics", "", &[])?;
    head.expect(&[200])?;
    let metrics = String::from_utf8_lossy(&metrics);
    let count = metrics.lines().find_map(|line| line.strip_prefix("orlop_commits_total "));
    Ok(Some(count.ok_or("it does not tell its commits")?.trim().parse()?))
}

fn fsyncs(bench: &Bench) -> Outcome<Vec<Line>> {
    bench.rounds(
        &bench.among(&Peer::REGISTRIES),
        |peer| (*peer, String::new()),
        |peer, _| {
            let fresh = bench.fresh(*peer, Kind::Answer)?;
            let mut connection = Connection::open(fresh.server().address)?;
            // The first image makes what is made once.
            image().push(&mut connection, "bench/fsyncs", "v0", Way::Streamed)?;
            std::thread::sleep(Duration::from_millis(1500));
            let image = image();
            let count = counted(fresh.server(), &fresh.directory.join("strace"), || {
                image.push(&mut connection, "bench/fsyncs", "v1", Way::Streamed)
            })?;
            Ok(Sample::default().with("fsyncs/image", count as f64))
        },
    )
}

/// How many calls that make something durable the server makes during `work`.
fn counted(server: &Server, log: &std::path::Path, work: impl FnOnce() -> Outcome<()>) -> Outcome<usize> {
    let calls = "trace=fsync,fdatasync,sync_file_range,msync,syncfs,sync";
    let mut strace = Command::new("strace")
        .args(["-f", "-q", "-e", calls, "-o"])
        .arg(log)
        .args(["-p", &server.pid().to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("strace: {error}"))?;
    // It says nowhere when it has attached to every thread.
    std::thread::sleep(Duration::from_millis(700));
    let done = work();
    std::thread::sleep(Duration::from_millis(200));
    if let Some(pid) = i32::try_from(strace.id()).ok().and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    }
    strace.wait()?;
    done?;
    let log = fs::read_to_string(log)?;
    Ok(log.lines().filter(|line| !line.contains("resumed>") && line.contains("sync") && line.contains('(')).count())
}
