//! How many commits three processes make together on one database: by themselves, and as pushes of manifests.
//!
//! What commits by itself is this program, started once for each process: it uses Orlop as a library, and nothing but its
//! records. It says that it is ready, begins when it is told to, and says how many commits were acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use orlop::{Host, Options, RequestBody};
use orlop_core::effect::{Commit, Committed, Durability, Expect};
use orlop_core::keys::Key;
use orlop_core::step::start;

use super::{Bench, Workload, at_once, settle};
use crate::Outcome;
use crate::client::{Connection, Way, push_manifest};
use crate::data::Image;
use crate::load::percentile;
use crate::peers::{Peer, Server};
use crate::process::Process;
use crate::result::{Line, Sample};

pub(super) const COMMITS: Workload = Workload {
    name: "shared-commits",
    title: "Several machines: commits of three processes on one database",
    notes: "*records*: each process has 32 calls at once, whose commits change two records on the condition of what these were. \
            *tags*: three servers, and 32 clients of each that put a manifest under a tag. All of them are durable. \
            *commits/transaction*: how many go in one transaction of the database. CPU is that of the three processes.",
    run: commits,
};

/// The variants.
pub(crate) const RECORDS: &str = "records";
const TAGS: &str = "tags";

/// How many processes there are, and how much each does at once.
const PROCESSES: usize = 3;
const CALLS: usize = 32;

fn commits(bench: &Bench) -> Outcome<Vec<Line>> {
    let peers = bench.among(&[Peer::Shared]);
    let subjects: Vec<(Peer, &str)> =
        peers.into_iter().flat_map(|peer| [RECORDS, TAGS].map(|variant| (peer, variant))).collect();
    let duration = Duration::from_millis(bench.amount(5000, 500));
    bench.rounds(
        &subjects,
        |(peer, variant)| (*peer, (*variant).into()),
        |(peer, variant), _| {
            settle();
            // The first server makes the tables.
            let fresh = bench.fresh_with(*peer, variant, &[])?;
            match *variant {
                RECORDS => records(fresh.server(), duration),
                _ => tags(bench, fresh.server(), duration),
            }
        },
    )
}

/// What was acknowledged meanwhile, and what it has cost the processes.
struct Made {
    commits: f64,
    took: Duration,
    transactions: f64,
    cpu: f64,
}

impl Made {
    fn sample(&self) -> Sample {
        Sample::default()
            .with("commits/s", self.commits / self.took.as_secs_f64())
            .with("commits/transaction", self.commits / self.transactions)
            .with("CPU µs/commit", self.cpu * 1e6 / self.commits)
    }
}

/// Watches what the database and some processes do.
struct Meter<'s> {
    server: &'s Server,
    processes: Vec<Process>,
    transactions: f64,
    cpu: f64,
    began: Instant,
}

impl<'s> Meter<'s> {
    fn begin(server: &'s Server, processes: Vec<Process>) -> Outcome<Self> {
        let (transactions, cpu) = (transactions(server)?, cpu(&processes)?);
        Ok(Self { server, processes, transactions, cpu, began: Instant::now() })
    }

    fn end(self, commits: usize) -> Outcome<Made> {
        let (took, cpu) = (self.began.elapsed(), cpu(&self.processes)? - self.cpu);
        // To ask takes one.
        let transactions = transactions(self.server)? - self.transactions - 1.0;
        Ok(Made { commits: commits as f64, took, transactions, cpu })
    }
}

fn cpu(processes: &[Process]) -> Outcome<f64> {
    processes.iter().map(|process| Ok(process.cpu()?.as_secs_f64())).sum()
}

/// How many transactions have changed something in the database.
fn transactions(server: &Server) -> Outcome<f64> {
    Ok(server.engines().ok_or("it has no database")?.ask("SELECT pg_current_xact_id()")?.parse()?)
}

fn records(server: &Server, duration: Duration) -> Outcome<Sample> {
    let mut workers = (0..PROCESSES)
        .map(|number| {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["commit", "--number", &number.to_string()]);
            command.args(["--milliseconds", &duration.as_millis().to_string()]);
            server.use_engines(&mut command)?;
            Working::start(command)
        })
        .collect::<Outcome<Vec<_>>>()?;
    for worker in &mut workers {
        worker.line()?;
    }
    let meter = Meter::begin(server, workers.iter().map(|worker| Process::new(worker.child.id())).collect())?;
    for worker in &mut workers {
        worker.tell()?;
    }
    let mut commits = 0;
    for worker in &mut workers {
        commits += worker.line()?.parse::<usize>()?;
    }
    // They wait for one more line, so that what they have used can be looked at.
    Ok(meter.end(commits)?.sample())
}

/// A process that commits.
struct Working {
    child: Child,
    told: BufReader<std::process::ChildStdout>,
}

impl Working {
    fn start(mut command: Command) -> Outcome<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let told = BufReader::new(child.stdout.take().ok_or("it says nothing")?);
        Ok(Self { child, told })
    }

    /// Waits for what it says.
    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        match self.told.read_line(&mut line)? {
            0 => Err("a process that commits has ended".into()),
            _ => Ok(line.trim().to_owned()),
        }
    }

    fn tell(&mut self) -> Outcome<()> {
        Ok(writeln!(self.child.stdin.as_mut().ok_or("it hears nothing")?, "begin")?)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Commit to records as fast as they are acknowledged.
#[derive(Debug, clap::Args)]
pub(crate) struct Worker {
    /// The database
    #[arg(long)]
    records: String,

    /// The object store, which is connected and not used
    #[arg(long)]
    objects: String,

    /// Options of the object store
    #[arg(long = "objects-option")]
    options: Vec<String>,

    /// Which of the processes it is
    #[arg(long)]
    number: usize,

    /// For how long
    #[arg(long)]
    milliseconds: u64,
}

impl Worker {
    pub(crate) fn work(self) -> Outcome<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let option =
                |given: &String| given.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            let engines = orlop::Engines {
                records: self.records,
                password_file: None,
                objects: self.objects,
                options: self.options.iter().filter_map(option).collect(),
                ca: None,
                cache: None,
            };
            let host = Arc::new(Host::connect(&engines, &Options::default()).await?);
            println!("ready");
            std::io::stdin().read_line(&mut String::new())?;
            let until = Instant::now() + Duration::from_millis(self.milliseconds);
            let calls =
                (0..CALLS).map(|call| tokio::spawn(commit(host.clone(), format!("{}/{call}", self.number), until)));
            let mut commits = 0;
            for call in calls.collect::<Vec<_>>() {
                commits += call.await??;
            }
            println!("{commits}");
            std::io::stdin().read_line(&mut String::new())?;
            Ok(())
        })
    }
}

/// Makes a record and changes another, each time on the condition that they are as before. Returns how often.
async fn commit(host: Arc<Host>, name: String, until: Instant) -> Outcome<usize> {
    let latest = Key::stored(format!("bench/latest/{name}"));
    let mut before: Option<Bytes> = None;
    let mut commits = 0;
    while Instant::now() < until {
        let made = Key::stored(format!("bench/made/{name}/{commits}"));
        let value =
            Bytes::from(format!("commit {commits} of {name}, and what else a record has: some hundred bytes, say"));
        let unchanged = match &before {
            Some(before) => Expect::Exactly(latest.clone(), before.clone()),
            None => Expect::Absent(latest.clone()),
        };
        let commit = Commit {
            expect: vec![unchanged, Expect::Absent(made.clone())],
            put: vec![(latest.clone(), value.clone()), (made, value.clone())],
            add: vec![],
            delete: vec![],
            durability: Durability::Durable,
            reclaims: false,
        };
        let asked = start(move |io| async move { io.ask(commit).await });
        match host.run(asked, &mut RequestBody::empty()).await {
            Ok(Committed::Done) => commits += 1,
            Ok(Committed::Conflict) => return Err("a commit of records that no other call has was too late".into()),
            Err(fault) => return Err(fault.to_string().into()),
        }
        before = Some(value);
    }
    Ok(commits)
}

fn tags(bench: &Bench, first: &Server, duration: Duration) -> Outcome<Sample> {
    let others = (1..PROCESSES)
        .map(|number| bench.beside(first, &format!("{TAGS}-{number}")))
        .collect::<Outcome<Vec<Server>>>()?;
    let servers: Vec<&Server> = std::iter::once(first).chain(&others).collect();
    let image = Image::new(9, 1, 1000);
    let clients = PROCESSES * CALLS;
    let repository = |client: usize| format!("bench/commits{client}");
    let connections = at_once(clients, |client| {
        let mut connection = Connection::open(servers[client % PROCESSES].address)?;
        image.push(&mut connection, &repository(client), "latest", Way::Streamed)?;
        Ok(std::sync::Mutex::new(connection))
    })?;
    let meter = Meter::begin(first, servers.iter().map(|server| server.process().clone()).collect())?;
    let times = at_once(clients, |client| {
        let mut connection = connections[client].lock().map_err(|_| "a client panicked")?;
        let (began, mut times) = (Instant::now(), Vec::new());
        while began.elapsed() < duration {
            let asked = Instant::now();
            push_manifest(&mut connection, &repository(client), "latest", &image.manifest)?;
            times.push(asked.elapsed());
        }
        Ok(times)
    })?;
    let mut times = times.concat();
    let made = meter.end(times.len())?;
    times.sort_unstable();
    Ok(made.sample().with("p50 ms", percentile(&times, 0.5)).with("p99 ms", percentile(&times, 0.99)))
}
