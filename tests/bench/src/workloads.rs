//! What is measured. Each workload measures every server in turn, round after round, so that what the machine does
//! meanwhile hits all of them alike.

pub(crate) mod commits;
mod growth;
mod image;
mod import;
pub(crate) mod instructions;
mod lists;
mod memory;
pub(crate) mod mirror;
pub(crate) mod pull;
mod pulls;
pub(crate) mod push;
pub(crate) mod quota;
pub(crate) mod scrub;
pub(crate) mod shared;
mod small;
mod stores;
mod tags;
pub(crate) mod trace;
mod zb;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::Connection;
use crate::congestion::Congestion;
use crate::data::PIECE;
use crate::floor::Kind;
use crate::load::percentile;
use crate::machine::{self, Watch};
use crate::peers::{Peer, Programs, Server};
use crate::result::{Line, Sample};

/// Something to measure.
pub(crate) struct Workload {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) title: &'static str,
    /// What to know when reading its table.
    pub(crate) notes: &'static str,
    run: fn(&Bench) -> Outcome<Vec<Line>>,
}

impl Workload {
    pub(crate) fn measure(&self, bench: &Bench) -> Outcome<Vec<Line>> {
        (self.run)(bench)
    }
}

/// All of them, in the order of the page.
pub(crate) const ALL: &[Workload] = &[
    pull::ONE,
    pull::EIGHT,
    pull::RANGES,
    pull::OBJECTS,
    push::STREAMED,
    push::MONOLITHIC,
    push::CHUNKS,
    push::SMALL_CHUNKS,
    push::PARALLEL,
    small::BASE,
    small::HEAD_BLOB,
    small::MANIFEST_BY_TAG,
    small::MANIFEST_BY_DIGEST,
    image::IMAGES,
    image::FSYNCS,
    tags::PAGES,
    lists::CATALOG,
    lists::REFERRERS,
    trace::TRACE,
    memory::IDLE,
    memory::PUSHES,
    memory::MILLION,
    growth::GROWTH,
    shared::PUSH,
    shared::LAST_PUT,
    shared::PULL,
    shared::TOGETHER,
    shared::MANIFEST,
    shared::IMAGES,
    shared::IDLE,
    shared::PUSHES,
    shared::GROWTH,
    commits::COMMITS,
    import::IMPORT,
    import::CUT_OVER,
    import::REPORTS,
    scrub::SCRUB,
    pulls::PULLS,
    quota::QUOTA,
    mirror::HIT,
    mirror::MISS,
    mirror::TOGETHER,
    zb::ZB,
    instructions::INSTRUCTIONS,
];

/// The workloads whose names begin with one of `names`; all of them if there is none.
pub(crate) fn chosen(names: &[String]) -> Outcome<Vec<&'static Workload>> {
    for name in names {
        if !ALL.iter().any(|workload| workload.name.starts_with(name.as_str())) {
            let known: Vec<_> = ALL.iter().map(|workload| workload.name).collect();
            return Err(format!("there is no workload {name}; there are: {}", known.join(" ")).into());
        }
    }
    let is_chosen =
        |workload: &&Workload| names.is_empty() || names.iter().any(|name| workload.name.starts_with(name.as_str()));
    Ok(ALL.iter().filter(is_chosen).collect())
}

/// How to measure.
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    pub(crate) congestion: Congestion,
    peers: Vec<Peer>,
    rounds: usize,
    pub(crate) quick: bool,
    work: PathBuf,
}

impl Bench {
    pub(crate) fn new(
        programs: Programs,
        congestion: Congestion,
        peers: Vec<Peer>,
        rounds: usize,
        quick: bool,
        work: PathBuf,
    ) -> Outcome<Self> {
        std::fs::create_dir_all(&work)?;
        let bench = Self { programs, congestion, peers, rounds: if quick { 1 } else { rounds }, quick, work };
        let _ = std::fs::remove_dir_all(bench.work.join("servers"));
        Ok(bench)
    }

    /// Those of `peers` that are there and were asked for.
    pub(crate) fn among(&self, peers: &[Peer]) -> Vec<Peer> {
        let asked = |peer: &Peer| self.peers.is_empty() || self.peers.contains(peer);
        peers.iter().copied().filter(|peer| asked(peer) && self.programs.get(*peer).is_some()).collect()
    }

    /// The usual amount, or a small one when things are only tried.
    pub(crate) fn amount<T>(&self, usual: T, quick: T) -> T {
        if self.quick { quick } else { usual }
    }

    /// A server with an empty store, which is gone with it.
    pub(crate) fn fresh(&self, peer: Peer, floor: Kind) -> Outcome<Fresh> {
        let directory = self.empty(format!("{peer:?}-{floor:?}"));
        Ok(Fresh { server: Some(Server::start(&self.programs, peer, &directory, floor)?), directory })
    }

    /// A server with an empty store and more arguments.
    pub(crate) fn fresh_with(&self, peer: Peer, name: &str, arguments: &[&str]) -> Outcome<Fresh> {
        let directory = self.empty(format!("{peer:?}-{name}"));
        let server = Server::start_with(&self.programs, peer, &directory, Kind::Answer, arguments)?;
        Ok(Fresh { server: Some(server), directory })
    }

    /// A server with an empty store that mirrors all that another one has.
    pub(crate) fn mirror(&self, peer: Peer, upstream: &Server) -> Outcome<Fresh> {
        let directory = self.empty(format!("{peer:?}-mirror"));
        let server = Server::start_mirror(&self.programs, peer, &directory, upstream.address)?;
        Ok(Fresh { server: Some(server), directory })
    }

    /// Another process beside a server, on the same engines.
    pub(crate) fn beside(&self, server: &Server, name: &str) -> Outcome<Server> {
        server.beside(&self.programs, &self.empty(name.to_owned()))
    }

    /// An Orlop that collects garbage every second.
    pub(crate) fn fresh_collecting(&self, peer: Peer, name: &str) -> Outcome<Fresh> {
        self.fresh_with(peer, name, &["--gc-interval", "1s"])
    }

    /// An empty directory for the object cache of a server of that name.
    pub(crate) fn cache(&self, name: &str) -> String {
        self.empty(format!("cache-{name}")).to_string_lossy().into_owned()
    }

    fn empty(&self, name: String) -> PathBuf {
        let directory = self.work.join("servers").join(name.to_lowercase());
        let _ = std::fs::remove_dir_all(&directory);
        directory
    }

    /// A directory that stays for the next run.
    pub(crate) fn kept(&self, name: &str) -> PathBuf {
        self.work.join("kept").join(name)
    }

    /// Measures each of these, in turns. Of another server that fails, no figure is worth anything: its line is left
    /// out.
    pub(crate) fn rounds<T>(
        &self,
        subjects: &[T],
        describe: impl Fn(&T) -> (Peer, String),
        mut measure: impl FnMut(&T, usize) -> Outcome<Sample>,
    ) -> Outcome<Vec<Line>> {
        let line = |subject: &T| {
            let (peer, variant) = describe(subject);
            Line { peer, variant, samples: Vec::new() }
        };
        let mut lines: Vec<Line> = subjects.iter().map(line).collect();
        for round in 0..self.rounds {
            // Nobody always comes first.
            for index in (0..subjects.len()).map(|turn| (turn + round) % subjects.len()) {
                let (subject, line) = (&subjects[index], &mut lines[index]);
                if line.samples.len() < round {
                    continue;
                }
                match measure(subject, round) {
                    Ok(sample) => line.samples.push(sample),
                    Err(error) if line.peer == Peer::Orlop => return Err(format!("orlop: {error}").into()),
                    Err(error) => eprintln!("left out: {} {}: {error}", line.peer.name(), line.variant),
                }
            }
        }
        lines.retain(|line| line.samples.len() == self.rounds);
        Ok(lines)
    }
}

/// A server with a store of its own, both gone when this is dropped.
pub(crate) struct Fresh {
    server: Option<Server>,
    pub(crate) directory: PathBuf,
}

impl Fresh {
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs until it is dropped")
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.server = None;
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What a piece of work has cost a server.
pub(crate) struct Cost {
    pub(crate) took: Duration,
    pub(crate) cpu: f64,
    pub(crate) peak: f64,
    /// The processor time of the database and of the object store, in seconds, where it has them.
    engines: Option<(f64, f64)>,
    others: f64,
}

impl Cost {
    /// Adds to a sample what the database and the object store have used for each of `count`.
    pub(crate) fn with_engines(&self, sample: Sample, count: f64, unit: f64, names: [&'static str; 2]) -> Sample {
        let Some((database, store)) = self.engines else { return sample };
        sample.with(names[0], database * unit / count).with(names[1], store * unit / count)
    }

    /// A sample that knows how busy the machine was.
    pub(crate) fn sample(&self) -> Sample {
        Sample { others: self.others, ..Sample::default() }
    }
}

/// Does `work` and says what it has cost the server.
pub(crate) fn costs<T>(server: &Server, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Cost)> {
    let process = server.process();
    process.reset_peak()?;
    let of_engines = || match server.engines() {
        Some(engines) => Ok(Some((engines.database().cpu_of_family()?, engines.store().cpu()?))),
        None => Outcome::Ok(None),
    };
    let before_of_engines = of_engines()?;
    let (watch, before, began) = (Watch::begin(process)?, process.cpu()?, Instant::now());
    let done = work()?;
    let took = began.elapsed();
    let cpu = process.cpu()?.saturating_sub(before).as_secs_f64();
    let others = watch.others()?;
    let since = |after: Duration, before: Duration| after.saturating_sub(before).as_secs_f64();
    let engines = of_engines()?.zip(before_of_engines);
    let engines = engines.map(|(after, before)| (since(after.0, before.0), since(after.1, before.1)));
    // What it keeps its data in works for it.
    let own = engines.map_or(0.0, |(database, store)| database + store);
    let others = (others - own / took.as_secs_f64() / machine::processors() as f64).max(0.0);
    Ok((done, Cost { took, cpu, peak: process.peak()?, engines, others }))
}

/// Asks for a target so many times, one client, after once that does not count.
pub(crate) fn one_by_one(server: &Server, target: &str, times: usize) -> Outcome<Sample> {
    let mut connection = Connection::open(server.address)?;
    let mut ask = || {
        let began = Instant::now();
        connection.exchange("GET", target, "", &[])?.0.expect(&[200])?;
        Ok(began.elapsed())
    };
    ask()?;
    let (mut took, cost) = costs(server, || (0..times).map(|_| ask()).collect::<Outcome<Vec<_>>>())?;
    took.sort_unstable();
    Ok(cost
        .sample()
        .with("p50 ms", percentile(&took, 0.5))
        .with("p99 ms", percentile(&took, 0.99))
        .with("CPU ms/request", cost.cpu * 1e3 / times as f64)
        .with("peak MiB", cost.peak / MIB))
}

/// Does the same on so many threads at once, and fails when one of them does.
pub(crate) fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> Outcome<T> + Sync) -> Outcome<Vec<T>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|index| {
                let work = &work;
                scope.spawn(move || work(index))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked")?).collect()
    })
}

/// Waits until the disk has what was written, so that one server's writing is not another's waiting.
pub(crate) fn settle() {
    rustix::fs::sync();
}

/// How many bytes of memory files are given before something is pushed: more than is pushed.
const MEMORY_FOR_FILES: usize = 2 << 30;

/// Has files use memory for a moment, so that a virtual machine has it of its host when they want it again. Whoever
/// comes first would pay for that: up to twice what it costs to receive, hash and write.
pub(crate) fn have_memory(directory: &Path) -> Outcome<()> {
    let path = directory.join("memory");
    let mut file = std::fs::File::create(&path)?;
    let piece = vec![1; PIECE];
    (0..MEMORY_FOR_FILES / piece.len()).try_for_each(|_| file.write_all(&piece))?;
    Ok(std::fs::remove_file(path)?)
}

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;
