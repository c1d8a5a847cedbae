//! What is counted of repositories, after very many calls that are made at once, break off anywhere, and meet failures.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use orlop_conformance::image::{AMD64, Manifest, sha256};
use orlop_conformance::system::{Call, InMemory, Running, blob, delete, manifest, patch, post, put, uploads};
use orlop_core::effect::{Fault, Step};
use orlop_core::memory::RequestBody;
use orlop_core::{Recount, Report};
use serde_json::Value as Json;

use crate::configured;

/// How many calls are made.
const CALLS: usize = 10_000;

const REPOSITORIES: [&str; 3] = ["a", "b", "team/c"];

/// Something under way.
enum Flight {
    Call(Running),
    Gc(Step<Report>),
    Recount(Step<Recount>),
}

impl Flight {
    /// Performs one effect, or fails it; `None` when that was the last.
    fn go_on(self, registry: &mut InMemory, fails: bool) -> Option<Self> {
        let fault = Fault::Failed("a random failure".into());
        let nothing = RequestBody::default();
        match self {
            Self::Call(call) if call.is_over() => {
                call.end(registry);
                None
            }
            Self::Call(call) if fails => Some(Self::Call(call.fail(fault, false, registry))),
            Self::Call(call) => Some(Self::Call(call.step(registry))),
            Self::Gc(Step::Respond(_)) | Self::Recount(Step::Respond(_)) => None,
            Self::Gc(step) if fails => Some(Self::Gc(step.fail(fault))),
            Self::Gc(step) => Some(Self::Gc(registry.memory.perform(step, &nothing))),
            Self::Recount(step) if fails => Some(Self::Recount(step.fail(fault))),
            Self::Recount(step) => Some(Self::Recount(registry.memory.perform(step, &nothing))),
        }
    }
}

/// Numbers that look random (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

/// Some call. Few names and few bytes, so that they meet.
fn call(random: &mut Random, registry: &InMemory) -> Call {
    let repository = REPOSITORIES[random.below(REPOSITORIES.len())];
    let images = ["one", "two"].map(|layer| Manifest::image(AMD64, layer));
    let image = &images[random.below(2)];
    let mut contents: Vec<Vec<u8>> = (1..6).map(|length| vec![b'x'; length]).collect();
    contents.extend(image.blobs().iter().map(|blob| blob.to_vec()));
    let content = contents.swap_remove(random.below(contents.len()));
    let digest = sha256(&content);
    let sessions: Vec<(String, Json)> = registry
        .memory
        .records
        .iter()
        .filter_map(|(key, value)| {
            Some((key.as_str().strip_prefix("upload/")?.to_owned(), serde_json::from_slice(value).ok()?))
        })
        .collect();
    let session = (!sessions.is_empty()).then(|| {
        let (id, record) = &sessions[random.below(sessions.len())];
        format!("{}{id}", uploads(record["repository"].as_str().unwrap_or_default()))
    });
    let push = post(format!("{}?digest={digest}", uploads(repository))).body(content.clone());
    match (random.below(20), session) {
        (0..=2, _) => post(uploads(repository)),
        (3..=5, Some(session)) => patch(session).body(content),
        (6, Some(session)) => patch(session).body(content).cut(),
        (7, Some(session)) => delete(session),
        // Nearly always wrong, but for what one chunk has brought.
        (8, Some(session)) => put(format!("{session}?digest={digest}")),
        (9, Some(session)) => put(format!("{session}?digest={digest}")).body(content),
        (10, _) => post(format!("{}?mount={digest}", uploads(repository))),
        (11, _) => delete(blob(repository, digest)),
        (12..=13, _) => {
            let tag = ["v1", "v2"][random.below(2)];
            put(manifest(repository, tag)).header("Content-Type", image.media_type()).body(image.bytes())
        }
        (14, _) => delete(manifest(repository, image.digest())),
        (15, _) => delete(manifest(repository, "v1")),
        _ => push,
    }
}

/// What each repository has, read off the records as text.
fn held(registry: &InMemory) -> BTreeMap<String, u64> {
    let records = &registry.memory.records;
    let json = |value: &[u8]| -> Json { serde_json::from_slice(value).unwrap_or_default() };
    let sizes: BTreeMap<&str, u64> = records
        .iter()
        .filter_map(|(key, value)| Some((key.as_str().strip_prefix("blob/")?, json(value)["size"].as_u64()?)))
        .collect();
    let mut held = BTreeMap::new();
    for (key, value) in records {
        let Some((family, rest)) = key.as_str().split_once('/') else { continue };
        let (repository, bytes) = match (family, rest.split_once('@')) {
            ("link", Some((repository, digest))) => (repository.to_owned(), sizes[digest]),
            ("manifest", Some((repository, _))) => (repository.to_owned(), json(value)["size"].as_u64().unwrap_or(0)),
            ("chunk", _) => {
                let id = rest.split_once('/').map_or(rest, |(id, _)| id);
                let session = records.iter().find(|(key, _)| key.as_str() == format!("upload/{id}"));
                let session = session.map(|(_, value)| json(value)).unwrap_or_default();
                let repository = session["repository"].as_str().unwrap_or_default();
                (repository.to_owned(), json(value)["size"].as_u64().unwrap_or(0))
            }
            _ => continue,
        };
        *held.entry(repository).or_insert(0) += bytes;
    }
    held.retain(|_, bytes| *bytes > 0);
    held
}

/// SPEC Z8, Z10: ten thousand pushes, uploads, mounts, deletes, collections and recounts, four at a time, each of which may
/// break off or fail anywhere: what is counted is what is there, and a recount has nothing to repair.
#[test]
fn what_is_counted_is_what_is_there() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = std::env::var("ORLOP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now.as_nanos() as u64);
    println!("ORLOP_SEED={seed}");
    let mut random = Random(seed);
    let mut registry = configured(|config| config.small_object = 2);
    let mut flights: Vec<Flight> = Vec::new();
    let (mut made, mut broken) = (0, 0);
    while made < CALLS || !flights.is_empty() {
        if made < CALLS && flights.len() < 4 {
            made += 1;
            registry.advance(Duration::from_secs(60 * random.below(40) as u64));
            let ambient = registry.memory.ambient();
            flights.push(match random.below(50) {
                0 => {
                    registry.advance(Duration::from_secs(3600 * random.below(200) as u64));
                    Flight::Gc(registry.registry.gc(registry.memory.ambient()))
                }
                1 => Flight::Recount(registry.registry.recount(ambient)),
                _ => {
                    let call = call(&mut random, &registry);
                    Flight::Call(registry.begin(call))
                }
            });
        }
        let number = random.below(flights.len());
        let flight = flights.swap_remove(number);
        match random.below(40) {
            // It breaks off where it stands.
            0 => broken += 1,
            chance => flights.extend(flight.go_on(&mut registry, chance == 1)),
        }
        if flights.is_empty() || random.below(200) == 0 {
            let counted: BTreeMap<String, u64> = registry
                .memory
                .records
                .iter()
                .filter_map(|(key, value)| {
                    let name = key.as_str().strip_prefix("usage/")?;
                    Some((name.to_owned(), orlop_core::record::count(Some(value))))
                })
                .collect();
            assert_eq!(counted, held(&registry), "ORLOP_SEED={seed}, after {made} calls");
        }
    }
    let step = registry.registry.recount(registry.memory.ambient());
    let recount = registry.memory.run(step, &RequestBody::default());
    assert_eq!((recount.repaired, recount.uncounted, &recount.fault), (0, 0, &None), "ORLOP_SEED={seed}: {recount:?}");
    println!("{made} calls, of which {broken} broke off; {recount}");
}
