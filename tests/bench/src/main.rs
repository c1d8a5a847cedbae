//! `orlop-bench`: how fast Orlop is, beside other registries on the same machine in the same run.
//!
//! It is a program and no test: what it prints depends on the machine. `tests/bench/run` builds what it measures,
//! gets the peers and starts it.
//!
//! | module | what it does |
//! |---|---|
//! | `peers` | how each server is started |
//! | `engines` | PostgreSQL and an S3 server, for those that keep their data there |
//! | `process` | what a server process has used: `/proc/PID` |
//! | `machine` | what everybody else on the machine has used meanwhile |
//! | `congestion` | which TCP congestion control is in force |
//! | `client` | a client that blocks, and throws bodies away in the kernel |
//! | `load` | many connections that ask as fast as they are answered |
//! | `data` | bytes, images and stores to measure with |
//! | `floor` | servers that do the least that can be done |
//! | `workloads` | what is measured |
//! | `result`, `report`, `chart` | what came out: as a table, JSON, charts and a page |
//! | `scale` | what a fleet would need for more than this machine can be asked |
//! | `bars` | what is asked of Orlop, and whether it was reached |

mod bars;
mod chart;
mod client;
mod congestion;
mod data;
mod engines;
mod floor;
mod load;
mod machine;
mod peers;
mod process;
mod report;
mod result;
mod scale;
mod workloads;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::congestion::Congestion;
use crate::peers::{Peer, Programs};
use crate::report::Report;

/// What every part of the program may fail with: there is nobody to handle it but the person who looks on.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measure Orlop beside other registries.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Command>,

    /// The workloads to measure, by the beginning of their names; all if none is given
    workloads: Vec<String>,

    /// List the workloads and end
    #[arg(long)]
    list: bool,

    /// How often each server is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Only these servers (repeatable)
    #[arg(long = "peer", value_enum)]
    peers: Vec<Peer>,

    /// Measure less of everything: to see whether it works
    #[arg(long)]
    quick: bool,

    /// The network namespace is the benchmark's own: TCP may be set in it
    #[arg(long)]
    own_network: bool,

    /// Where the peers that are no Debian packages lie
    #[arg(long, env = "ORLOP_TOOLS", default_value = "target/tools")]
    tools: PathBuf,

    /// The program to measure
    #[arg(long, env = "ORLOP_BIN", default_value = "target/release/orlop")]
    orlop: PathBuf,

    /// Where the servers keep their data meanwhile; large stores stay for the next run
    #[arg(long, default_value = "target/bench")]
    work: PathBuf,

    /// Where the results go: RESULTS.md, results.json and the charts
    #[arg(long, default_value = "target/bench/results")]
    out: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the least that can be served; the benchmark starts this itself
    #[command(hide = true)]
    Floor { kind: floor::Kind, port: u16, data: PathBuf },

    /// Compute from the results what a fleet needs for more than can be measured here
    Scale {
        /// Pulls a second (repeatable)
        #[arg(long = "pulls", default_values_t = scale::PULLS)]
        pulls: Vec<f64>,

        /// Where the results are, and where SCALE.md goes
        #[arg(long, default_value = "tests/bench")]
        results: PathBuf,
    },

    /// Commit to records as fast as they are acknowledged; the benchmark starts this itself
    #[command(hide = true)]
    Commit(workloads::commits::Worker),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orlop-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Outcome<()> {
    match arguments.part {
        Some(Command::Floor { kind, port, data }) => return floor::serve(kind, port, &data),
        Some(Command::Commit(worker)) => return worker.work(),
        Some(Command::Scale { pulls, results }) => {
            println!("{}", scale::write(&results, &pulls)?);
            return Ok(());
        }
        None => {}
    }
    let chosen = workloads::chosen(&arguments.workloads)?;
    if arguments.list {
        chosen.iter().for_each(|workload| println!("{:16} {}", workload.name, workload.title));
        return Ok(());
    }
    let programs = Programs::find(&arguments.orlop, &arguments.tools)?;
    let bench = workloads::Bench::new(
        programs,
        Congestion::find(arguments.own_network)?,
        arguments.peers,
        arguments.rounds,
        arguments.quick,
        arguments.work,
    )?;
    let mut report = Report::new(&arguments.out, &bench)?;
    for workload in &chosen {
        eprintln!("{}: {}", workload.name, workload.title);
        let measured = workload.measure(&bench).map_err(|error| format!("{}: {error}", workload.name))?;
        println!("{}", report.add(workload, measured)?);
    }
    if chosen.iter().any(|workload| workload.name.starts_with("shared"))
        && let Err(error) = scale::write(&arguments.out, &scale::PULLS)
    {
        eprintln!("SCALE.md is not written: {error}");
    }
    report.finish()
}
