//! How many instructions a request takes in the server, outside of the kernel: nothing that others do on the machine
//! changes that, so it shows what a change has made dearer.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::small::request_fields;
use super::{Bench, Workload};
use crate::Outcome;
use crate::client::{Connection, Way, push_manifest};
use crate::data::{Blob, Image};
use crate::peers::{Peer, Server};
use crate::result::{Line, Sample};

pub(super) const INSTRUCTIONS: Workload = Workload {
    name: "instructions",
    title: "Instructions of a request",
    notes: "Of the whole server process outside of the kernel, counted by callgrind: the difference between a run with \
            the requests and one without, for each of them. valgrind offers no instructions for SHA-256, so a push costs \
            more here. *baseline*: how many times the count in `baseline.json` that is, which `UPDATE=1` writes anew.",
    run: instructions,
};

/// The name of the figure that is compared.
pub(crate) const COMPARED: &str = "× baseline";

/// From where on a request has become dearer: counts differ by a little, as threads meet.
pub(crate) const DEARER: f64 = 1.05;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json");

const REPOSITORY: &str = "bench/instructions";

/// Something to ask for, the n-th time.
type Ask = fn(&mut Connection, &Image, usize) -> Outcome<()>;

/// What is counted, and how often it is asked.
const ASKED: &[(&str, usize, Ask)] = &[
    ("GET /v2/", 500, |connection, _, _| get(connection, "/v2/")),
    ("HEAD blob", 500, |connection, image, _| ask(connection, "HEAD", &blob(image))),
    ("GET blob of 4 KiB", 500, |connection, image, _| get(connection, &blob(image))),
    ("GET manifest by tag", 500, |connection, _, _| get(connection, &manifest("v0"))),
    ("GET manifest by digest", 500, |connection, image, _| get(connection, &manifest(&image.digest()))),
    ("GET 1 page of tags", 500, |connection, _, _| get(connection, &format!("/v2/{REPOSITORY}/tags/list?n=100"))),
    ("PUT blob of 4 KiB", 50, |connection, _, number| {
        Blob::new(2_000_000 + number as u64, 4 << 10).push(connection, REPOSITORY, Way::Monolithic)
    }),
    ("PUT manifest", 50, |connection, image, number| {
        push_manifest(connection, REPOSITORY, &format!("new{number}"), &image.manifest)
    }),
];

fn manifest(reference: &str) -> String {
    format!("/v2/{REPOSITORY}/manifests/{reference}")
}

fn blob(image: &Image) -> String {
    format!("/v2/{REPOSITORY}/blobs/{}", image.blobs[0].digest)
}

fn get(connection: &mut Connection, target: &str) -> Outcome<()> {
    ask(connection, "GET", target)
}

fn ask(connection: &mut Connection, method: &str, target: &str) -> Outcome<()> {
    connection.exchange(method, target, &request_fields(), &[])?.0.expect(&[200])
}

fn instructions(bench: &Bench) -> Outcome<Vec<Line>> {
    if bench.among(&[Peer::Orlop]).is_empty() {
        return Ok(Vec::new());
    }
    let without = counted(bench, |_, _| Ok(()))?;
    let mut counts = Map::new();
    for (name, times, asked) in ASKED {
        let times = bench.amount(*times, 10);
        let with =
            counted(bench, |connection, image| (1..=times).try_for_each(|number| asked(connection, image, number)))?;
        counts.insert((*name).into(), (((with - without) / times as f64).round() as u64).into());
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(BASELINE, format!("{:#}\n", Value::Object(counts.clone())))?;
    }
    let baseline: Value =
        fs::read_to_string(BASELINE).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let line = |(name, _, _): &(&str, usize, Ask)| {
        let count = counts[*name].as_f64().unwrap_or_default();
        let sample = Sample::default().with("instructions", count);
        let sample = match baseline[*name].as_f64() {
            Some(before) => sample.with(COMPARED, count / before),
            None => sample,
        };
        Line { peer: Peer::Orlop, variant: (*name).into(), samples: vec![sample] }
    };
    Ok(ASKED.iter().map(line).collect())
}

/// How many instructions a server takes from its start to its end, when this is asked of it.
fn counted(bench: &Bench, work: impl FnOnce(&mut Connection, &Image) -> Outcome<()>) -> Outcome<f64> {
    let directory = bench.empty("instructions".into());
    let counts = directory.join("callgrind");
    let server = Server::start_counted(&bench.programs, &directory, &counts)?;
    let image = Image::new(3, 5, 4 << 10);
    let mut connection = Connection::open(server.address)?;
    (0..100).try_for_each(|number| {
        if number == 0 {
            return image.push(&mut connection, REPOSITORY, "v0", Way::Monolithic);
        }
        push_manifest(&mut connection, REPOSITORY, &format!("v{number}"), &image.manifest)
    })?;
    // What is made the first time only.
    for (_, _, asked) in ASKED {
        asked(&mut connection, &image, 0)?;
    }
    work(&mut connection, &image)?;
    drop((connection, server));
    let counted = total(&counts);
    fs::remove_dir_all(&directory)?;
    counted
}

/// The sum that callgrind has written.
fn total(counts: &Path) -> Outcome<f64> {
    let text = fs::read_to_string(counts).map_err(|error| format!("callgrind has counted nothing: {error}"))?;
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    Ok(line.ok_or("callgrind has written no sum")?.trim().parse()?)
}
