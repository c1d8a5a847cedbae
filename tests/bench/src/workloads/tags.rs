//! Lists of tags: whole, the first page, a page far behind.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::{Bench, MIB, Workload, costs};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::{Image, manifest};
use crate::floor::Kind;
use crate::load::percentile;
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

/// A store of Orlop with so many manifests, each with its tag, made by an Orlop inside this program; it is kept.
pub(super) fn store(bench: &Bench, count: usize) -> Outcome<std::path::PathBuf> {
    let directory = bench.kept(&format!("orlop-{count}"));
    let done = directory.join("done");
    if !done.exists() {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory)?;
        let began = Instant::now();
        fill(&directory.join("data"), count)?;
        eprintln!("    {count} manifests pushed in {:.0} s", began.elapsed().as_secs_f64());
        fs::write(done, "")?;
    }
    Ok(directory)
}

/// Pushes manifests by calls of the registry, without HTTP, 512 at once: a commit of each, and few fsyncs.
fn fill(data: &Path, count: usize) -> Outcome<()> {
    use orlop_core::http::{Headers, Method, Request};
    const AT_ONCE: usize = 512;
    let host = std::sync::Arc::new(orlop::Host::open(data, &orlop::Options::default())?);
    let registry = orlop_core::Registry::new(orlop_core::Config::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let call = move |method: Method, target: String, media_type: Option<&str>, body: Vec<u8>, number: u64| {
        let headers: Headers = media_type.map(|value| ("content-type", value)).into_iter().collect();
        let request = Request { method, target, headers, length: Some(body.len() as u64) };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut state = number ^ now.as_nanos() as u64;
        let (high, low) = (crate::data::next(&mut state), crate::data::next(&mut state));
        let nonce = serde_json::from_value(nonce(high, low).into()).expect("a UUID");
        let ambient = orlop_core::Ambient { now: orlop_core::Timestamp(now.as_millis() as u64), nonce };
        let (registry, host) = (registry.clone(), host.clone());
        async move {
            let step = registry.call(request, ambient);
            let response = host.run(step, &mut orlop::RequestBody::from_bytes(body)).await;
            if response.status == 201 { Ok(()) } else { Err(format!("{response:?}")) }
        }
    };
    let config = b"{}".to_vec();
    let digest = crate::data::digest(&config);
    let described = serde_json::json!({ "mediaType": "application/octet-stream", "digest": digest, "size": 2 });
    let target = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
    runtime.block_on(call(Method::Post, target, None, config, 0))?;
    let call = &call;
    let described = &described;
    runtime.block_on(async move {
        let mut running = tokio::task::JoinSet::new();
        for number in 0..count {
            if running.len() >= AT_ONCE
                && let Some(pushed) = running.join_next().await
            {
                pushed??;
            }
            let mut config = described.clone();
            config["annotations"] = serde_json::json!({ "number": number.to_string() });
            let manifest = manifest(&config, &[]);
            let target = format!("/v2/{REPOSITORY}/manifests/{}", tag(number));
            let media_type = Some("application/vnd.oci.image.manifest.v1+json");
            running.spawn(call(Method::Put, target, media_type, manifest, number as u64 + 1));
        }
        while let Some(pushed) = running.join_next().await {
            pushed??;
        }
        Ok(())
    })
}

fn nonce(high: u64, low: u64) -> String {
    let hex = format!("{high:016x}{low:016x}");
    // Version 4, variant 1.
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// A store of distribution with so many tags of one manifest.
fn fill_distribution(server: &Server, directory: &Path, count: usize) -> Outcome<()> {
    let mut connection = Connection::open(server.address)?;
    Image::new(7, 1, 1000).push(&mut connection, REPOSITORY, &tag(0), Way::Monolithic)?;
    let tags = directory.join("data/docker/registry/v2/repositories").join(REPOSITORY).join("_manifests/tags");
    let link = tags.join(tag(0)).join("current/link");
    let text = fs::read(&link)?;
    for number in 1..count {
        let current = tags.join(tag(number)).join("current");
        fs::create_dir_all(&current)?;
        fs::write(current.join("link"), &text)?;
    }
    Ok(())
}

struct Subject {
    server: Server,
    count: usize,
    what: &'static str,
    target: String,
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
                    _ => bench.kept(&format!("distribution-{count}")),
                };
                // One store, one server: those that share one are started anew for each measurement.
                let filled = directory.join("done");
                if peer != Peer::Orlop && !filled.exists() {
                    let server = Server::start(&bench.programs, peer, &directory, Kind::Answer)?;
                    fill_distribution(&server, &directory, count)?;
                    drop(server);
                    fs::write(filled, "")?;
                }
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
            let subject = Subject { server, count: *count, what, target: target.clone() };
            // What takes long need not be asked often.
            let times = if subject.what == "whole" && subject.count > 1000
                || subject.count >= 100_000 && *peer != Peer::Orlop
            {
                times.min(5)
            } else {
                times
            };
            let mut connection = Connection::open(subject.server.address)?;
            connection.exchange("GET", &subject.target, "", &[])?.0.expect(&[200])?;
            let (mut took, cost) = costs(&subject.server, || {
                let ask = |_| {
                    let began = Instant::now();
                    connection.exchange("GET", &subject.target, "", &[])?.0.expect(&[200])?;
                    Ok(began.elapsed())
                };
                (0..times).map(ask).collect::<Outcome<Vec<_>>>()
            })?;
            took.sort_unstable();
            Ok(cost
                .sample()
                .with("p50 ms", percentile(&took, 0.5))
                .with("p99 ms", percentile(&took, 0.99))
                .with("CPU ms/request", cost.cpu * 1e3 / times as f64)
                .with("peak MiB", cost.peak / MIB))
        },
    )
}
