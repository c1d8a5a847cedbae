//! Some seconds of the trace, request by request: each part of the fleet is so many servers with one queue before them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Fleet, Layers, MIX, Times, one_of, pushed_size};
use crate::workloads::trace::chance;

/// How large the fleet is.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) registries: usize,
    /// Databases, among which the repositories are spread.
    pub(super) primaries: usize,
}

/// Nanoseconds since the beginning.
type Time = u64;

fn nanoseconds(seconds: f64) -> Time {
    (seconds * 1e9) as Time
}

/// Servers with one queue before them. Whoever comes first is served first.
struct Queue {
    free: BinaryHeap<Reverse<Time>>,
}

impl Queue {
    fn new(servers: usize) -> Self {
        Self { free: (0..servers).map(|_| Reverse(0)).collect() }
    }

    /// When somebody who comes `at` this time has been served for so long.
    fn served(&mut self, at: Time, service: Time) -> Time {
        let free = self.free.pop().map_or(0, |Reverse(free)| free);
        let done = at.max(free) + service;
        self.free.push(Reverse(done));
        done
    }
}

/// A part of a request: waiting for a part of the fleet and being served, or only the time that passes.
#[derive(Clone, Copy)]
enum Step {
    Registry(f64),
    Sent(f64),
    Received(f64),
    Database(f64),
    Commits(f64),
    Passes(f64),
    /// From here on the client has its first byte.
    FirstByte,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Manifest,
    Layer,
    Head,
    Push,
}

struct Request {
    kind: Kind,
    registry: usize,
    primary: usize,
    came: Time,
    /// What is still to do, the last first.
    steps: Vec<Step>,
}

/// Times in milliseconds: the middle, and the one of a hundred that is the longest.
#[derive(Clone, Copy, Default)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Latency {
    fn of(mut times: Vec<Time>) -> Self {
        times.sort_unstable();
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).map_or(0.0, |time| *time as f64 / 1e6);
        Self { p50: at(0.5), p99: at(0.99) }
    }
}

/// How long clients waited.
pub(super) struct Replayed {
    pub(super) requests: usize,
    pub(super) manifest: Latency,
    pub(super) first_byte: Latency,
    pub(super) push: Latency,
}

/// The queues of a fleet.
struct Parts {
    registries: Vec<Queue>,
    sending: Vec<Queue>,
    receiving: Vec<Queue>,
    databases: Vec<Queue>,
    locks: Vec<Queue>,
}

/// Plays `seconds` of the trace, at so many pulls a second.
pub(super) fn replay(times: &Times, fleet: &Fleet, layers: &Layers, size: Size, pulls: f64, seconds: f64) -> Replayed {
    let queues = |count: usize, servers: usize| (0..count).map(|_| Queue::new(servers)).collect();
    let mut parts = Parts {
        registries: queues(size.registries, fleet.cores),
        sending: queues(size.registries, 1),
        receiving: queues(size.registries, 1),
        databases: queues(size.primaries, fleet.database_cores),
        locks: queues(size.primaries, 1),
    };
    let mut state = 42;
    let (mut waiting, mut requests) = (BinaryHeap::new(), Vec::new());
    let (mut manifests, mut first_bytes, mut pushes, mut count) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let rate = pulls * (1.0 + MIX.layers + MIX.heads + MIX.pushes);
    let (mut next_burst, mut free) = (0.0, Vec::new());
    loop {
        // Whatever comes before the next step of any request.
        while next_burst < seconds && waiting.peek().is_none_or(|Reverse((at, _))| nanoseconds(next_burst) <= *at) {
            let burst = 1 + one_of(&mut state, 8);
            for _ in 0..burst {
                let request = request(times, fleet, layers, size, nanoseconds(next_burst), &mut state);
                count += 1;
                let index = free.pop().unwrap_or(requests.len());
                waiting.push(Reverse((request.came, index)));
                if index == requests.len() { requests.push(request) } else { requests[index] = request }
            }
            next_burst += -(1.0 - chance(&mut state)).ln() * burst as f64 / rate;
        }
        let Some(Reverse((at, index))) = waiting.pop() else { break };
        let request: &mut Request = &mut requests[index];
        let Some(step) = request.steps.pop() else {
            match request.kind {
                Kind::Manifest => manifests.push(at - request.came),
                Kind::Push => pushes.push(at - request.came),
                Kind::Layer | Kind::Head => {}
            }
            free.push(index);
            continue;
        };
        let (registry, primary) = (request.registry, request.primary);
        let after = match step {
            Step::Registry(service) => parts.registries[registry].served(at, nanoseconds(service)),
            Step::Sent(bytes) => parts.sending[registry].served(at, nanoseconds(bytes / fleet.network)),
            Step::Received(bytes) => parts.receiving[registry].served(at, nanoseconds(bytes / fleet.network)),
            Step::Database(service) => parts.databases[primary].served(at, nanoseconds(service)),
            Step::Commits(service) => parts.locks[primary].served(at, nanoseconds(service)),
            Step::Passes(seconds) => at + nanoseconds(seconds),
            Step::FirstByte => {
                first_bytes.push(at - request.came);
                at
            }
        };
        waiting.push(Reverse((after, index)));
    }
    Replayed {
        requests: count,
        manifest: Latency::of(manifests),
        first_byte: Latency::of(first_bytes),
        push: Latency::of(pushes),
    }
}

/// A request of the mix, which comes to one of the registries.
fn request(times: &Times, fleet: &Fleet, layers: &Layers, size: Size, came: Time, state: &mut u64) -> Request {
    let chosen = chance(state) * (1.0 + MIX.layers + MIX.heads + MIX.pushes);
    let look =
        [Step::Registry(times.request), Step::Passes(fleet.database_trip), Step::Database(times.request_database)];
    let (kind, mut steps) = if chosen < 1.0 {
        (Kind::Manifest, look.to_vec())
    } else if chosen < 1.0 + MIX.layers {
        let layer = layers.choose(state);
        let bytes = layers.sizes[layer];
        let mut steps = look.to_vec();
        let byte = if chance(state) < layers.hits[layer] {
            times.hot_byte
        } else {
            steps.push(Step::Passes(fleet.store_read));
            steps.push(Step::Received(bytes));
            times.cold_byte
        };
        steps.push(Step::FirstByte);
        // Many are sent at once: what one takes of the processors and of the network comes in pieces between the others'.
        const PIECE: f64 = (1 << 20) as f64;
        let mut left = bytes;
        while left > 0.0 {
            let piece = left.min(PIECE);
            steps.extend([Step::Registry(piece * byte), Step::Sent(piece)]);
            left -= piece;
        }
        (Kind::Layer, steps)
    } else if chosen < 1.0 + MIX.layers + MIX.heads {
        (Kind::Head, look.to_vec())
    } else {
        let bytes = pushed_size(state);
        let steps = vec![
            Step::Received(bytes),
            Step::Registry(times.push + bytes * times.pushed_byte),
            Step::Sent(bytes),
            Step::Passes(fleet.store_write),
            Step::Passes(times.push_commits * fleet.database_trip),
            Step::Commits(times.push_commits * times.commit),
            Step::Database(times.push_database),
        ];
        (Kind::Push, steps)
    };
    steps.reverse();
    let (registry, primary) = (one_of(state, size.registries), one_of(state, size.primaries));
    Request { kind, registry, primary, came, steps }
}
