//! Three processes serve, clients work on all of them, and everything that can fail does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use orlop::Engines;
use orlop_conformance::tester::chance::Chance;
use orlop_conformance::tester::fleet::{Door, Played, Progress, Settings, play};
use orlop_conformance::tester::http::{Http, Options};

use crate::engines::{ObjectServer, Postgres};
use crate::faulty::Faulty;
use crate::outcomes::LONGEST;
use crate::serving::{Serving, ended, gc};

/// How many processes there are, and how many clients.
const PROCESSES: usize = 3;

/// What each is started with: one has an object cache, one sends clients to the object store and makes blobs of several
/// objects one, beside all else.
const FLAGS: [&[&str]; PROCESSES] =
    [&["--keep-free", "0B"], &["--redirect", "**", "--redirect-from", "20KiB", "--gc-interval", "2s"], &[]];
const WITH_CACHE: usize = 0;
const CLIENTS: usize = 12;

/// How long clients work: seconds in each run of the tests, half an hour when that is asked for.
const SHORT: u64 = 20;
const FULL: u64 = 1800;

/// With one request to the object store in so many something goes wrong.
const FAULT_ONCE_IN: usize = 40;

/// How often it is told how far it is, of a run that takes long.
const TELLING: Duration = Duration::from_secs(60);

/// Whether everything is to be tried, for however long that takes.
pub(crate) fn full() -> bool {
    std::env::var("ORLOP_FLEET").is_ok_and(|switch| switch == "full")
}

/// Where chance begins.
pub(crate) fn seed() -> u64 {
    std::env::var("ORLOP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(Chance::seed)
}

fn duration() -> Duration {
    let given = std::env::var("ORLOP_FLEET_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(given.unwrap_or(if full() { FULL } else { SHORT }))
}

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// A process is killed and started again.
    KillProcess,
    /// A process stands still for a while.
    SuspendProcess,
    /// The object server is killed and started again.
    KillStore,
    /// Two collect garbage at once.
    CollectTwice,
    /// The primary loses its power, and comes back.
    CrashPrimary,
    /// The primary dies for good, and the standby is promoted.
    FailOver,
    /// The primary hangs, the standby is promoted, and the old one wakes.
    FailOverHanging,
}

/// Each of them once, and then by chance.
const FIRST: [Trouble; 5] =
    [Trouble::CollectTwice, Trouble::KillProcess, Trouble::FailOverHanging, Trouble::KillStore, Trouble::FailOver];
const ALL: [Trouble; 10] = [
    Trouble::KillProcess,
    Trouble::KillProcess,
    Trouble::KillProcess,
    Trouble::SuspendProcess,
    Trouble::KillStore,
    Trouble::CollectTwice,
    Trouble::CollectTwice,
    Trouble::CrashPrimary,
    Trouble::FailOver,
    Trouble::FailOverHanging,
];

/// Everything that runs.
struct Machines {
    primary: Postgres,
    standby: Postgres,
    store: ObjectServer,
    engines: Engines,
    processes: Vec<Serving>,
    progress: Arc<Progress>,
    /// Whether the clients are done.
    over: Arc<AtomicBool>,
    /// How long writes took to go on after each promotion.
    promotions: Vec<Duration>,
    /// Collections that came to their end, and those that did not.
    collections: (usize, usize),
}

impl Machines {
    fn meet(&mut self, trouble: Trouble, chance: &mut Chance) {
        match trouble {
            Trouble::KillProcess => {
                let process = &mut self.processes[chance.below(PROCESSES)];
                process.kill();
                sleep(Duration::from_millis(chance.below(500) as u64));
                process.restart();
            }
            Trouble::SuspendProcess => {
                let process = &self.processes[chance.below(PROCESSES)];
                process.suspend(true);
                sleep(Duration::from_millis(500 + chance.below(2000) as u64));
                process.suspend(false);
            }
            Trouble::KillStore => self.store.crash(Duration::from_millis(chance.below(800) as u64)),
            Trouble::CollectTwice => {
                let both = [gc(&self.engines), gc(&self.engines)];
                for output in both.map(ended) {
                    match output.status.success() {
                        true => self.collections.0 += 1,
                        false => self.collections.1 += 1,
                    }
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    assert!(!said.contains("panicked"), "{said}");
                }
            }
            Trouble::CrashPrimary => {
                self.primary.crash();
                // Before it has a standby again, the next failure would be the second one.
                self.primary.wait_for_standby();
            }
            Trouble::FailOver => {
                self.primary.kill();
                self.promote();
                self.replace();
            }
            Trouble::FailOverHanging => {
                self.primary.suspend(true);
                sleep(Duration::from_millis(300));
                self.promote();
                self.primary.suspend(false);
                sleep(Duration::from_secs(1));
                self.primary.kill();
                self.replace();
            }
        }
    }

    fn promote(&mut self) {
        self.standby.promote();
        let acknowledged = || self.progress.acknowledged.load(Ordering::SeqCst);
        let (promoted, before) = (Instant::now(), acknowledged());
        while acknowledged() == before {
            if self.over.load(Ordering::SeqCst) {
                // Nobody writes any more.
                return;
            }
            assert!(promoted.elapsed() < LONGEST, "writes do not go on after a promotion");
            sleep(Duration::from_millis(5));
        }
        self.promotions.push(promoted.elapsed());
    }

    /// Makes a new standby where the primary was that is gone.
    fn replace(&mut self) {
        let standby = self.standby.standby_at(self.primary.port());
        self.primary = std::mem::replace(&mut self.standby, standby);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn nothing_is_lost_whatever_fails() {
    let (seed, duration) = (seed(), duration());
    println!("ORLOP_SEED={seed} repeats what happens");
    let store = ObjectServer::start();
    let faulty = Faulty::by_chance(store.port(), seed, FAULT_ONCE_IN, true).await;
    let port = faulty.port;
    let machines = tokio::task::spawn_blocking(move || {
        let primary = Postgres::start();
        let standby = primary.standby();
        let hosts = [&primary, &standby].map(|database| format!("127.0.0.1:{}", database.port()));
        let records = primary.database().replace(&hosts[0], &hosts.join(","));
        let engines = store.engines_by(port, records);
        let start = |number: usize| Serving::start(&engines, FLAGS[number], number == WITH_CACHE);
        let processes: Vec<Serving> = (0..PROCESSES).map(start).collect();
        let progress = Arc::default();
        let (promotions, collections) = (Vec::new(), (0, 0));
        let over = Arc::new(AtomicBool::new(false));
        Machines { primary, standby, store, engines, processes, progress, over, promotions, collections }
    });
    let mut machines = machines.await.expect("they start");
    let addresses: Vec<String> = machines.processes.iter().map(Serving::address).collect();
    let settings = Settings {
        clients: CLIENTS,
        duration,
        rounds: 1,
        seed,
        prefix: "fleet".into(),
        progress: machines.progress.clone(),
    };
    let over = machines.over.clone();
    let telling = tokio::spawn(tell(machines.progress.clone()));
    let clients = std::thread::spawn({
        let over = over.clone();
        move || {
            let played = work(&addresses, &settings);
            over.store(true, Ordering::SeqCst);
            played
        }
    });
    let troubles = tokio::task::spawn_blocking(move || {
        let mut chance = Chance::of(seed, "troubles");
        let began = Instant::now();
        let mut told = Vec::new();
        while began.elapsed() < duration && !over.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(200 + chance.below(600) as u64));
            let trouble = FIRST.get(told.len()).copied().unwrap_or_else(|| ALL[chance.below(ALL.len())]);
            println!("{:.1} s: {trouble:?}", began.elapsed().as_secs_f64());
            told.push(trouble);
            machines.meet(trouble, &mut chance);
        }
        (machines, told)
    });
    let (machines, troubles) = troubles.await.expect("what happened could be mended");
    let played = clients.join().expect("the clients work");
    telling.abort();
    println!("{}", played.summary());
    println!("{} troubles", troubles.len());
    println!("writes went on after promotions: {:?}", machines.promotions);
    println!("object store: {:?}; collections: {:?}", faulty.happened(), machines.collections);
    for line in &played.unhelpful {
        println!("  {line}");
    }
    for line in machines.processes.iter().flat_map(Serving::trouble).take(20) {
        println!("  {line}");
    }
    println!("{} files in the object cache", machines.processes[WITH_CACHE].cached());
    assert!(played.redirected > 0 && machines.processes[WITH_CACHE].cached() > 0, "both were used");
    assert!(played.failures.is_empty(), "with ORLOP_SEED={seed}: {}", told(&played));
    assert!(played.acknowledged > 50, "they got on");
    assert!(played.unhelpful.is_empty(), "with ORLOP_SEED={seed}: 500s, or no word of when to come again");
}

/// Tells now and then how far clients are.
async fn tell(progress: Arc<Progress>) {
    let began = Instant::now();
    loop {
        tokio::time::sleep(TELLING).await;
        println!("after {:.0} s: {progress}", began.elapsed().as_secs_f64());
    }
}

fn work(addresses: &[String], settings: &Settings) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let options = Options { once: true, ..Options::default() };
    let door = |address: &String| {
        let http = Http::new(address, &options).expect("an address");
        Door { name: address.rsplit(':').next().unwrap_or_default().into(), target: std::rc::Rc::new(http) }
    };
    let doors: Vec<Door> = addresses.iter().map(door).collect();
    runtime.block_on(play(&doors, settings))
}

fn told(played: &Played) -> String {
    let failure = |failure: &orlop_conformance::tester::history::Failure| {
        let lines: String = failure.operations.iter().map(|line| format!("\n    {line}")).collect();
        format!("\nround {}: expected {}; came {}{lines}", failure.history, failure.expected, failure.came)
    };
    played.failures.iter().map(failure).collect()
}
