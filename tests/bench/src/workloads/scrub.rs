//! Whether pulls notice that everything is read again.

use std::time::{Duration, Instant};

use super::{Bench, Fresh, Workload, at_once, costs, settle};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::{Blob, Image};
use crate::load::percentile;
use crate::peers::{Peer, Server, free_address};
use crate::result::{Line, Sample};

pub(super) const SCRUB: Workload = Workload {
    name: "scrub",
    title: "Pulls while everything is read again at the usual 20 MB/s, and while not",
    notes: "Two servers with the same images, of which one scrubs without a pause. They are asked in turns of a second, 50 \
            images a second, by 4 clients, whether they are ready or not; a figure is of all turns of a round. An image: \
            a manifest and three layers of 256 KiB.",
    run: scrub,
};

/// The variants.
pub(crate) const WITHOUT: &str = "no scrub";
pub(crate) const WITH: &str = "scrub";

const REPOSITORY: &str = "bench/scrub";
const IMAGES: usize = 100;
const CLIENTS: usize = 4;

/// How long after the start of a server its scrub begins.
const BEGINS: Duration = Duration::from_secs(12);

fn scrub(bench: &Bench) -> Outcome<Vec<Line>> {
    let Some(peer) = bench.among(&[Peer::Orlop]).first().copied() else { return Ok(Vec::new()) };
    let images: Vec<Image> = (0..IMAGES as u64).map(|number| Image::new(6_000_000 + number, 3, 256 << 10)).collect();
    // What is read meanwhile, beside what is pulled.
    let others: Vec<Blob> = (0..bench.amount(24, 2)).map(|number| Blob::new(6_500_000 + number, 16 << 20)).collect();
    let admin = free_address()?;
    let start = |name: &str, more: &[&str]| -> Outcome<Fresh> {
        let fresh = bench.fresh_with(peer, name, more)?;
        let mut connection = Connection::open(fresh.server().address)?;
        for (number, image) in images.iter().enumerate() {
            image.push(&mut connection, REPOSITORY, &format!("v{number}"), Way::Monolithic)?;
        }
        others.iter().try_for_each(|blob| blob.push(&mut connection, REPOSITORY, Way::Monolithic))?;
        Ok(fresh)
    };
    let idle = start("quiet", &["--scrub-rate", "0"])?;
    let scrubbing = start("scrubbed", &["--scrub-period", "1s", "--admin-addr", &admin.to_string()])?;
    settle();
    std::thread::sleep(BEGINS);
    let servers = [idle.server(), scrubbing.server()];
    let mut lines = [WITHOUT, WITH].map(|variant| Line { peer, variant: variant.into(), samples: Vec::new() });
    let turns = bench.amount(20, 2);
    for _ in 0..bench.rounds {
        let read = read_again(admin)?;
        let (mut times, mut cpu, began) = ([Vec::new(), Vec::new()], [0.0; 2], Instant::now());
        for turn in 0..2 * turns {
            // Neither always comes first.
            let which = (turn + turn / 2) % 2;
            let (pulled, cost) = costs(servers[which], || pull(servers[which], &images, turn))?;
            times[which].extend(pulled);
            cpu[which] += cost.cpu;
        }
        let rate = (read_again(admin)? - read) / began.elapsed().as_secs_f64() / 1e6;
        if rate <= 0.0 {
            return Err("nothing was read again meanwhile".into());
        }
        for (which, mut times) in times.into_iter().enumerate() {
            times.sort_unstable();
            let sample = Sample::default()
                .with("p99 ms", percentile(&times, 0.99))
                .with("p50 ms", percentile(&times, 0.5))
                .with("CPU ms/request", cpu[which] * 1e3 / times.len() as f64)
                .with("requests", times.len() as f64)
                .with("scrubbed MB/s", if which == 0 { 0.0 } else { rate });
            lines[which].samples.push(sample);
        }
    }
    Ok(lines.into())
}

/// Pulls images for a second, at a fixed rate: how long after each request was due its answer had come.
fn pull(server: &Server, images: &[Image], turn: usize) -> Outcome<Vec<Duration>> {
    /// How much time there is for the images of one client.
    const EVERY: Duration = Duration::from_millis(80);
    const COUNT: usize = 12;
    let fields = super::small::request_fields();
    let began = Instant::now();
    let times = at_once(CLIENTS, |client| {
        let mut connection = Connection::open(server.address)?;
        let mut times = Vec::new();
        for number in 0..COUNT {
            let mut due = EVERY * number as u32 + EVERY * client as u32 / CLIENTS as u32;
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            let index = (turn * COUNT * CLIENTS + client * COUNT + number) % images.len();
            let blobs = images[index].blobs.iter().map(|blob| format!("blobs/{}", blob.digest));
            for what in std::iter::once(format!("manifests/v{index}")).chain(blobs) {
                connection.begin("GET", &format!("/v2/{REPOSITORY}/{what}"), &fields)?;
                let head = connection.head()?;
                head.expect(&[200])?;
                connection.discard(&head)?;
                let now = began.elapsed();
                times.push(now.saturating_sub(due));
                due = now;
            }
        }
        Ok(times)
    })?;
    Ok(times.concat())
}

/// How many bytes a server has read again.
fn read_again(admin: std::net::SocketAddr) -> Outcome<f64> {
    let (head, metrics) = Connection::open(admin)?.exchange("GET", "/metrics", "", &[])?;
    head.expect(&[200])?;
    let metrics = String::from_utf8_lossy(&metrics);
    let line = metrics.lines().find_map(|line| line.strip_prefix("orlop_scrub_read_bytes_total "));
    Ok(line.ok_or("a server without metrics of its scrub")?.trim().parse()?)
}
