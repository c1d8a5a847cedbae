//! A load with the shape of what public registries have seen: requests come when they come, whether the server is
//! ready or not.
//!
//! The shape is that of the traces which IBM has published of its registries (Anwar et al., FAST '18): the sizes of
//! layers, 4.6 pulls of a layer for one of a manifest, popularity by Zipf's law, arrivals in bursts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Bench, MIB, Workload, at_once, costs};
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::{Blob, Image, next};
use crate::floor::Kind;
use crate::load::percentile;
use crate::peers::Peer;
use crate::result::Line;

pub(super) const TRACE: Workload = Workload {
    name: "trace",
    title: "Requests as public registries have seen them, at a fixed rate",
    notes: "Open loop: a request that waits for a connection has waited since it was due. 400 layers, 100 manifests; of \
            100 requests 64 are GETs of layers, 14 GETs of manifests, 12 HEADs, 10 pushes of a layer. `gc`: Orlop \
            collects garbage every second meanwhile.",
    run: trace,
};

/// The sizes of layers at these shares of all layers, in bytes; between them it goes up by a constant factor.
const SIZES: [(f64, f64); 9] = [
    (0.0, 100.0),
    (0.25, 443.0),
    (0.5, 7.9e3),
    (0.65, 1.08e6),
    (0.75, 6.3e6),
    (0.8, 9.4e6),
    (0.9, 18e6),
    (0.95, 25e6),
    (1.0, 58e6),
];

/// Of so many requests, how many are of each kind.
pub(crate) struct Shares {
    pub(crate) layers: f64,
    pub(crate) manifests: f64,
    pub(crate) heads: f64,
    pub(crate) pushes: f64,
}

/// Of a hundred.
pub(crate) const SHARES: Shares = Shares { layers: 64.0, manifests: 14.0, heads: 12.0, pushes: 10.0 };

/// How much less often each layer is pulled than the one before it, by Zipf's law; the same of manifests.
pub(crate) const LAYER_SLOPE: f64 = 0.96;
const MANIFEST_SLOPE: f64 = 1.35;

/// How many connections there are at most.
const CLIENTS: usize = 32;

enum Ask {
    Layer(usize),
    Manifest(usize),
    Head(usize),
    Push(usize),
}

struct Due {
    at: Duration,
    ask: Ask,
}

/// A number from 0 to 1.
pub(crate) fn chance(state: &mut u64) -> f64 {
    (next(state) >> 11) as f64 / (1u64 << 53) as f64
}

/// How many bytes a layer has, of which this share of all is smaller.
pub(crate) fn size(share: f64) -> usize {
    let above = SIZES.iter().position(|(at, _)| *at >= share).unwrap_or(SIZES.len() - 1).max(1);
    let ((from, least), (to, most)) = (SIZES[above - 1], SIZES[above]);
    (least * (most / least).powf((share - from) / (to - from))) as usize
}

/// One of `count`, the first most often: Zipf's law with this slope.
fn popular(state: &mut u64, count: usize, slope: f64) -> usize {
    let weight = |rank: usize| 1.0 / ((rank + 1) as f64).powf(slope);
    let mut left = chance(state) * (0..count).map(weight).sum::<f64>();
    for rank in 0..count {
        left -= weight(rank);
        if left <= 0.0 {
            return rank;
        }
    }
    count - 1
}

/// What is asked, and when: `rate` a second, in bursts, the same in every round.
fn schedule(rate: f64, duration: Duration, layers: usize, manifests: usize, fresh: usize) -> Vec<Due> {
    let (mut state, mut at, mut due, mut pushed) = (42, 0.0, Vec::new(), 0);
    while at < duration.as_secs_f64() {
        // A burst of one to eight, then a gap that keeps the rate.
        let burst = 1 + (chance(&mut state) * 8.0) as usize;
        for _ in 0..burst {
            let (pulls, looks) = (SHARES.layers, SHARES.layers + SHARES.manifests);
            let ask = match chance(&mut state) * 100.0 {
                chosen if chosen < pulls => Ask::Layer(popular(&mut state, layers, LAYER_SLOPE)),
                chosen if chosen < looks => Ask::Manifest(popular(&mut state, manifests, MANIFEST_SLOPE)),
                chosen if chosen < looks + SHARES.heads => Ask::Head(popular(&mut state, layers, LAYER_SLOPE)),
                _ => {
                    pushed += 1;
                    Ask::Push(pushed % fresh)
                }
            };
            due.push(Due { at: Duration::from_secs_f64(at), ask });
        }
        at += -(1.0 - chance(&mut state)).ln() * burst as f64 / rate;
    }
    due
}

fn trace(bench: &Bench) -> Outcome<Vec<Line>> {
    const REPOSITORY: &str = "bench/trace";
    let (layers, manifests, fresh_count) = (bench.amount(400, 20), bench.amount(100, 5), 64);
    let mut state = 1;
    let blob = |number: usize, share: f64| Blob::new(900_000 + number as u64, size(share));
    let blobs: Vec<Blob> = (0..layers).map(|number| blob(number, chance(&mut state))).collect();
    let new: Vec<Blob> = (0..fresh_count).map(|number| blob(10_000 + number, chance(&mut state) * 0.8)).collect();
    let images: Vec<Image> = (0..manifests as u64).map(|number| Image::new(700_000 + number, 2, 300)).collect();
    let duration = Duration::from_secs(bench.amount(12, 2));
    let rates = bench.amount(vec![50.0, 150.0], vec![20.0]);
    let mut subjects = Vec::new();
    for rate in rates {
        for peer in bench.among(&[Peer::Orlop, Peer::Distribution]) {
            subjects.push((peer, rate, false));
        }
        subjects.push((Peer::Orlop, rate, true));
    }
    let describe = |(peer, rate, collecting): &(Peer, f64, bool)| {
        (*peer, format!("{rate}/s{}", if *collecting { ", gc" } else { "" }))
    };
    bench.rounds(&subjects, describe, |(peer, rate, collecting), _| {
        let name = if *collecting { "gc" } else { "" };
        let fresh =
            if *collecting { bench.fresh_collecting(*peer, name)? } else { bench.fresh(*peer, Kind::Answer)? };
        at_once(4, |client| {
            let mut connection = Connection::open(fresh.server().address)?;
            for blob in blobs.iter().skip(client).step_by(4) {
                blob.push(&mut connection, REPOSITORY, Way::Monolithic)?;
            }
            for (number, image) in images.iter().enumerate().skip(client).step_by(4) {
                image.push(&mut connection, REPOSITORY, &format!("v{number}"), Way::Monolithic)?;
            }
            Ok(())
        })?;
        super::settle();
        let fields = super::small::request_fields();
        let due = schedule(*rate, duration, layers, manifests, fresh_count);
        let turn = AtomicUsize::new(0);
        let began = Instant::now();
        let (times, cost) = costs(fresh.server(), || {
            at_once(CLIENTS, |_| {
                let mut connection = Connection::open(fresh.server().address)?;
                let mut times = Vec::new();
                while let Some(next) = due.get(turn.fetch_add(1, Ordering::Relaxed)) {
                    std::thread::sleep(next.at.saturating_sub(began.elapsed()));
                    let (method, target) = match next.ask {
                        Ask::Layer(number) => ("GET", format!("/v2/{REPOSITORY}/blobs/{}", blobs[number].digest)),
                        Ask::Manifest(number) => ("GET", format!("/v2/{REPOSITORY}/manifests/v{number}")),
                        Ask::Head(number) => ("HEAD", format!("/v2/{REPOSITORY}/blobs/{}", blobs[number].digest)),
                        Ask::Push(number) => {
                            new[number].push(&mut connection, REPOSITORY, Way::Monolithic)?;
                            times.push(began.elapsed().saturating_sub(next.at));
                            continue;
                        }
                    };
                    connection.begin(method, &target, &fields)?;
                    let head = connection.head()?;
                    head.expect(&[200])?;
                    if method == "GET" {
                        connection.discard(&head)?;
                    }
                    times.push(began.elapsed().saturating_sub(next.at));
                }
                Ok(times)
            })
        })?;
        let mut times = times.concat();
        times.sort_unstable();
        Ok(cost
            .sample()
            .with("p99.9 ms", percentile(&times, 0.999))
            .with("p99 ms", percentile(&times, 0.99))
            .with("p50 ms", percentile(&times, 0.5))
            .with("CPU ms/request", cost.cpu * 1e3 / times.len() as f64)
            .with("peak MiB", cost.peak / MIB))
    })
}
