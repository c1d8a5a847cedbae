//! What a fleet needs for more than one machine can be asked here: the trace of [`workloads::trace`](crate::workloads::trace)
//! at any rate, against the service times that the results hold.
//!
//! Two views of the same model. [`Demand`] adds up what a second of the trace asks of every part: that says what saturates
//! first and how many machines are needed. [`replay`] plays some seconds of it, request by request, through queues before
//! every part: that says what bursts do to the times.
//!
//! What is assumed and not measured is in [`Fleet`], and is printed with the results.

mod page;
mod replay;

use std::path::Path;

use serde_json::Value;

use crate::Outcome;
use crate::data::next;
use crate::workloads::trace::{LAYER_SLOPE, SHARES, chance, size};

const GIB: f64 = (1u64 << 30) as f64;
/// Up to which share of what it can do a part is used, so that bursts find room.
const USED: f64 = 0.7;

/// What one request of each kind costs, as it was measured on one machine: processor times in seconds.
struct Times {
    /// A record is looked up, and a small answer is sent: a manifest, a HEAD, the first part of any pull.
    request: f64,
    request_database: f64,
    /// A byte from the object cache, and one that comes from the store first.
    hot_byte: f64,
    cold_byte: f64,
    /// A small blob that is pushed, all of its requests together.
    push: f64,
    push_database: f64,
    push_commits: f64,
    pushed_byte: f64,
    /// The time of the one lock under which changes are made.
    commit: f64,
}

impl Times {
    fn of(results: &Value) -> Outcome<Self> {
        let median = |workload: &str, variant: &str, figure: &str| -> Outcome<f64> {
            let missing = || format!("{workload} {variant}: {figure} is not measured");
            let lines = results["workloads"][workload]["lines"].as_array().ok_or_else(missing)?;
            let of_orlop = |line: &&Value| line["peer"] == "orlop, shared" && line["variant"] == variant;
            let line = lines.iter().find(of_orlop).ok_or_else(missing)?;
            let figures = line["figures"].as_array().ok_or_else(missing)?;
            let found = figures.iter().find(|found| found["name"] == figure).ok_or_else(missing)?;
            Ok(found["median"].as_f64().ok_or_else(missing)?)
        };
        // Five layers, a configuration and a manifest.
        let of_image = |figure| {
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(median("shared-images", "8 clients", figure)? / 7.0)
        };
        Ok(Self {
            request: median("shared-tag", "", "CPU µs/request")? / 1e6,
            request_database: median("shared-tag", "", "database µs/request")? / 1e6,
            hot_byte: median("shared-pull", crate::workloads::shared::HOT, "CPU s/GiB")? / GIB,
            cold_byte: median("shared-pull", crate::workloads::shared::COLD, "CPU s/GiB")? / GIB,
            push: of_image("CPU ms/image")? / 1e3,
            push_database: of_image("database ms/image")? / 1e3,
            push_commits: of_image("commits/image")?,
            pushed_byte: median("shared-push", "", "CPU s/GiB")? / GIB,
            commit: 1.0 / median("shared-commits", crate::workloads::commits::RECORDS, "commits/s")?,
        })
    }
}

/// What the machines are taken to be.
struct Fleet {
    /// Processors of a registry's machine, like those of the measurement.
    cores: usize,
    /// What its network carries each way, in bytes a second.
    network: f64,
    /// Its object cache, in bytes.
    cache: f64,
    /// Processors of the database's machine.
    database_cores: usize,
    /// A round trip to the database, in seconds.
    database_trip: f64,
    /// The first byte of an object, in seconds, and the end of a small one that is put.
    store_read: f64,
    store_write: f64,
    /// Different layers that are asked for.
    layers: usize,
}

const FLEET: Fleet = Fleet {
    cores: 8,
    network: 25e9 / 8.0,
    cache: 1e12,
    database_cores: 32,
    database_trip: 0.3e-3,
    store_read: 20e-3,
    store_write: 40e-3,
    layers: 1_000_000,
};

/// The layers of the registry: how large each is, how often it is asked for, and how often it is in the cache then.
struct Layers {
    sizes: Vec<f64>,
    /// The share of all pulls that goes to this layer or one before it.
    until: Vec<f64>,
    hits: Vec<f64>,
}

impl Layers {
    /// So many, by Zipf's law; what of each is in a least recently used cache of `cache` bytes.
    fn new(count: usize, cache: f64) -> Self {
        let mut state = 7;
        let sizes: Vec<f64> = (0..count).map(|_| size(chance(&mut state)) as f64).collect();
        let weights: Vec<f64> = (0..count).map(|rank| 1.0 / ((rank + 1) as f64).powf(LAYER_SLOPE)).collect();
        let total: f64 = weights.iter().sum();
        let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        let until = shares.iter().scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        });
        let until = until.collect();
        // Che's approximation: a layer is there when it was asked for in the last so many pulls, and these fill the cache.
        let held = |pulls: f64| -> f64 {
            shares.iter().zip(&sizes).map(|(share, size)| size * -(-share * pulls).exp_m1()).sum()
        };
        let (mut least, mut most) = (0.0, 1e15);
        for _ in 0..100 {
            let middle = f64::midpoint(least, most);
            if held(middle) < cache { least = middle } else { most = middle }
        }
        let hits = shares.iter().map(|share| -(-share * least).exp_m1()).collect();
        Self { sizes, until, hits }
    }

    fn choose(&self, state: &mut u64) -> usize {
        let share = chance(state);
        self.until.partition_point(|until| *until < share).min(self.sizes.len() - 1)
    }

    /// The mean over pulls of what `of` says of a layer.
    fn mean(&self, of: impl Fn(usize) -> f64) -> f64 {
        let before = |layer: usize| if layer == 0 { 0.0 } else { self.until[layer - 1] };
        (0..self.sizes.len()).map(|layer| (self.until[layer] - before(layer)) * of(layer)).sum()
    }
}

/// How many requests of each kind come with one pull of an image, which is one GET of a manifest.
struct Mix {
    layers: f64,
    heads: f64,
    pushes: f64,
}

const MIX: Mix = Mix {
    layers: SHARES.layers / SHARES.manifests,
    heads: SHARES.heads / SHARES.manifests,
    pushes: SHARES.pushes / SHARES.manifests,
};

/// A layer that is pushed is, as in the trace, of the smaller four fifths.
fn pushed_size(state: &mut u64) -> f64 {
    size(chance(state) * 0.8) as f64
}

/// What one pull, with all that comes with it, asks of every part.
struct Demand {
    registry: f64,
    /// The bytes of the layers, and all that is sent: what is pushed goes on to the store.
    pulled: f64,
    sent: f64,
    received: f64,
    database: f64,
    commits: f64,
    store_reads: f64,
    store_read: f64,
    store_writes: f64,
    store_written: f64,
    hits: f64,
}

impl Demand {
    fn of(times: &Times, layers: &Layers) -> Self {
        let bytes = layers.mean(|layer| layers.sizes[layer]);
        let missed = layers.mean(|layer| layers.sizes[layer] * (1.0 - layers.hits[layer]));
        let hits = layers.mean(|layer| layers.hits[layer]);
        let mut state = 11;
        let pushed = (0..100_000).map(|_| pushed_size(&mut state)).sum::<f64>() / 1e5;
        let requests = 1.0 + MIX.layers + MIX.heads;
        Self {
            registry: requests * times.request
                + MIX.layers * ((bytes - missed) * times.hot_byte + missed * times.cold_byte)
                + MIX.pushes * (times.push + pushed * times.pushed_byte),
            pulled: MIX.layers * bytes,
            sent: MIX.layers * bytes + MIX.pushes * pushed,
            // What the cache does not have comes from the store.
            received: MIX.layers * missed + MIX.pushes * pushed,
            database: requests * times.request_database + MIX.pushes * times.push_database,
            commits: MIX.pushes * times.push_commits,
            store_reads: MIX.layers * (1.0 - hits),
            store_read: MIX.layers * missed,
            store_writes: MIX.pushes,
            store_written: MIX.pushes * pushed,
            hits,
        }
    }

    /// How many registries carry so many pulls a second, for their processors and for their network.
    fn machines(&self, fleet: &Fleet, pulls: f64) -> (f64, f64) {
        let processors = pulls * self.registry / (fleet.cores as f64 * USED);
        let network = pulls * self.sent.max(self.received) / (fleet.network * USED);
        (processors, network)
    }

    /// At how many pulls a second the database's processors, and the lock of its changes, have no time left.
    fn most(&self, times: &Times, fleet: &Fleet) -> (f64, f64) {
        (fleet.database_cores as f64 / self.database, 1.0 / (self.commits * times.commit))
    }
}

/// The pulls a second that are looked at.
pub(crate) const PULLS: [f64; 3] = [1_000.0, 10_000.0, 100_000.0];

/// Computes what so many pulls a second need, from `results.json` in a directory, and writes it to `SCALE.md` there.
/// Returns the page.
pub(crate) fn write(directory: &Path, pulls: &[f64]) -> Outcome<String> {
    let results = directory.join("results.json");
    let text = std::fs::read_to_string(&results).map_err(|error| format!("{}: {error}", results.display()))?;
    let times = Times::of(&serde_json::from_str(&text)?)?;
    let layers = Layers::new(FLEET.layers, FLEET.cache);
    let demand = Demand::of(&times, &layers);
    let page = page::written(&times, &FLEET, &demand, &layers, pulls)?;
    std::fs::write(directory.join("SCALE.md"), &page)?;
    Ok(page)
}

/// A number between 0 and `below`.
fn one_of(state: &mut u64, below: usize) -> usize {
    (next(state) % below.max(1) as u64) as usize
}
