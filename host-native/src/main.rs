//! `orlop`: a container registry.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use orlop::cli::{Cli, Command, Serve, Sweep};
use orlop::sweep::{sweep, sweep_regularly};
use orlop::{Host, log, process, serve};
use orlop_core::Registry;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(arguments) => process::runtime().and_then(|runtime| runtime.block_on(run_server(&arguments))),
        Command::Sweep(arguments) => process::runtime().and_then(|runtime| runtime.block_on(run_sweep(&arguments))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orlop: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `orlop serve`
async fn run_server(arguments: &Serve) -> Result<(), Box<dyn Error>> {
    log::start(arguments.log().clone());
    process::raise_file_limit();
    let stop = process::stop_signal()?;
    let listener = process::listen(&arguments.addr).await?;
    let began = Instant::now();
    let host = Arc::new(Host::open(arguments.data(), &arguments.options())?);
    let registry = Registry::new(arguments.config());
    tracing::info!(
        "orlop {}, data in {}: {} records, opened in {:.0} ms",
        env!("CARGO_PKG_VERSION"),
        arguments.data().display(),
        host.count_records()?,
        began.elapsed().as_secs_f64() * 1000.0
    );
    if !arguments.sweep_interval.is_zero() {
        tokio::spawn(sweep_regularly(registry.clone(), host.clone(), arguments.sweep_interval));
    }
    tracing::info!("listening on http://{}", listener.local_addr()?);
    serve::serve(listener, registry, host, &arguments.limits(), stop).await;
    Ok(())
}

/// `orlop sweep`
async fn run_sweep(arguments: &Sweep) -> Result<(), Box<dyn Error>> {
    log::start(arguments.log().clone());
    if !arguments.data().exists() {
        // A server makes its directory; to sweep one that is not there is a slip of the pen.
        return Err(format!("there is no {}: name the data directory with --data", arguments.data().display()).into());
    }
    let host = Host::open(arguments.data(), &arguments.options())?;
    let report = sweep(&Registry::new(arguments.config()), &host).await;
    println!("{}", if arguments.json { serde_json::to_string(&report)? } else { report.to_string() });
    report.fault.map_or(Ok(()), |_| Err("the sweep ended early: what it did is done, run it again for the rest".into()))
}
