//! Random histories: the model says what each answer must be, and the core on each of its hosts, in memory, on disk and
//! in WebAssembly, gives it; also when the storage fails now and then. At the end all serve the same, and nothing else
//! is left.
//!
//! A history that fails is shrunk and printed as a value, which becomes a test at the end of this file.
//! `PROPTEST_RNG_SEED` repeats a run; `PROPTEST_CASES` makes it longer.

#[path = "../behind.rs"]
mod behind;
#[expect(dead_code, reason = "the tests of the fleet use more of it")]
#[path = "../fleet/engines.rs"]
mod engines;
mod hosts;
mod mirrors;
mod operation;
mod trial;
mod wasm;
mod world;

use orlop_core::Config;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

use engines::{ObjectServer, Postgres};
use hosts::{Host, Native};
use operation::{Event, Setting, administered, administered_failing, failing, setting, undeleting, untroubled};
use trial::Trial;
use wasm::{Node, Wasm};

/// Empty registries of a configuration, each on a host.
type Hosts = Vec<Box<dyn Host>>;

/// Plays histories in which nothing is administered.
fn play(cases: u32, events: impl Strategy<Value = Vec<Event>>, hosts: impl Fn(&Config) -> Hosts) {
    play_in(setting(), cases, events, hosts);
}

/// Plays histories like these, `cases` of them unless the environment says otherwise, and prints what was played.
fn play_in(
    settings: impl Strategy<Value = Setting>,
    cases: u32,
    events: impl Strategy<Value = Vec<Event>>,
    hosts: impl Fn(&Config) -> Hosts,
) {
    let begun = std::time::Instant::now();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut config = ProptestConfig {
        failure_persistence: None,
        // A minute of it, in milliseconds: as many tries as there are cases are too few.
        max_shrink_iters: u32::MAX - 1,
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    // Known, so that it can be printed.
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => now.as_nanos() as u64,
    };
    config.rng_seed = RngSeed::Fixed(seed);
    println!("PROPTEST_RNG_SEED={seed}");
    let cases = config.cases;
    let steps = std::cell::Cell::new(0);
    let outcome = TestRunner::new(config).run(&(settings, events), |(setting, events)| {
        steps.set(steps.get() + events.len());
        history(setting, &events, &hosts).map_err(TestCaseError::fail)
    });
    println!("{cases} histories, {} steps in {:.1} s", steps.get(), begun.elapsed().as_secs_f64());
    if let Err(failure) = outcome {
        panic!("PROPTEST_RNG_SEED={seed}\n{failure}");
    }
}

/// Plays one history.
fn history(setting: Setting, events: &[Event], hosts: impl Fn(&Config) -> Hosts) -> Result<(), String> {
    let mut trial = Trial::new(setting, hosts);
    for (number, event) in events.iter().enumerate() {
        trial.play(event).map_err(|why| format!("step {number}, {event:?}: {why}"))?;
    }
    trial.end().map_err(|why| format!("at the end: {why}"))
}

fn memory_and_disk(config: &Config) -> Hosts {
    vec![Native::memory(config), Native::disk(config)]
}

fn memory_and_shared() -> impl Fn(&Config) -> Hosts {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    move |config| vec![Native::memory(config), Native::shared(config, &store.engines(database.database()))]
}

/// In WebAssembly the registry is once in memory, and once in IndexedDB.
fn memory_and_wasm() -> impl Fn(&Config) -> Hosts {
    let nodes = ["memory", "IndexedDB"].map(Node::start);
    move |config| {
        let wasm = nodes.iter().map(|node| Wasm::open(node, config));
        std::iter::once(Native::memory(config)).chain(wasm).collect()
    }
}

#[test]
fn the_core_answers_as_the_model_says() {
    play(500, untroubled(1..60), |config| vec![Native::memory(config)]);
}

#[test]
fn a_failure_of_the_storage_leaves_the_state_before_or_after() {
    play(300, failing(1..40), |config| vec![Native::memory(config)]);
}

#[test]
fn memory_and_disk_answer_and_store_the_same() {
    play(24, untroubled(1..60), memory_and_disk);
}

#[test]
fn a_failure_leaves_the_same_on_disk() {
    play(24, failing(1..30), memory_and_disk);
}

/// SPEC X1–X10, X20–X22, X26.
#[test]
fn what_is_deleted_comes_back_or_is_purged_as_the_model_says() {
    play_in(undeleting(), 500, administered(1..60), |config| vec![Native::memory(config)]);
}

#[test]
fn a_failure_of_the_storage_leaves_what_was_deleted_before_or_after() {
    play_in(undeleting(), 200, administered_failing(1..40), |config| vec![Native::memory(config)]);
}

#[test]
fn what_is_deleted_comes_back_the_same_on_disk() {
    play_in(undeleting(), 24, administered(1..60), memory_and_disk);
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn what_is_deleted_comes_back_the_same_in_shared_engines() {
    play_in(undeleting(), 16, administered(1..60), memory_and_shared());
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn memory_and_shared_engines_answer_and_store_the_same() {
    play(16, untroubled(1..60), memory_and_shared());
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_failure_leaves_the_same_in_shared_engines() {
    play(16, failing(1..30), memory_and_shared());
}

#[test]
#[ignore = "needs Node, and host-wasm built: `tests/run page` runs it"]
fn memory_and_wasm_answer_and_store_the_same() {
    play(20, untroubled(1..60), memory_and_wasm());
}

#[test]
#[ignore = "needs Node, and host-wasm built: `tests/run page` runs it"]
fn a_failure_leaves_the_same_in_wasm() {
    play(20, failing(1..30), memory_and_wasm());
}

/// A manifest whose time began anew when a tag left it does not lose that to an index that had been left before.
#[test]
fn an_index_that_goes_does_not_take_along_what_was_tagged_since() {
    use operation::{Operation::*, Reference};
    let put = |manifest, reference| PutManifest {
        repository: 0,
        manifest,
        reference,
        tags: Vec::new(),
        flaw: None,
        condition: None,
    };
    let untag = |tag| DeleteManifest { repository: 0, reference: Reference::Tag(tag) };
    let (index, nested) = (4, 5);
    let history = [
        Stock { repository: 0 },
        put(0, Reference::Digest(0, false)),
        put(2, Reference::Digest(2, false)),
        put(index, Reference::Tag(0)),
        put(nested, Reference::Tag(1)),
        untag(1),
        Pass { seconds: 40 * 60, collects: false },
        untag(0),
        Pass { seconds: 40 * 60, collects: true },
    ];
    let setting = Setting {
        sparse: false,
        delete: true,
        mount_from_anywhere: true,
        untagged_go: true,
        keeps: false,
        undeletes: false,
    };
    holds(setting, &history);
}

/// Plays a history that once failed.
#[track_caller]
fn holds(setting: Setting, operations: &[operation::Operation]) {
    let events: Vec<_> = operations.iter().map(|operation| Event(operation.clone(), None)).collect();
    history(setting, &events, memory_and_disk).unwrap_or_else(|why| panic!("{why}"));
}
