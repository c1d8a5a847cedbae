//! From settings to a server that runs, and to one that has swept.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use orlop_core::Registry;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::command::cli::{Command, Sweep};
use crate::command::config::CommandLine;
use crate::command::sweep::{sweep as sweep_once, sweep_regularly};
use crate::command::{control, process};
use crate::observe::log::Log;
use crate::observe::{Observer, admin, log, traces, webhooks};
use crate::request::live::{Current, Live};
use crate::server::playground;
use crate::server::serve::{Door, serve_doors};
use crate::server::tls::Tls;
use crate::settings::{self, Settings};
use crate::storage::Host;

type Done = Result<(), Box<dyn Error>>;

/// `orlop serve`
///
/// # Errors
///
/// With what keeps it from serving.
pub async fn serve(settings: &Settings, line: CommandLine) -> Done {
    let log = log::start(settings.storage.log.clone(), settings.watch.log_format);
    process::raise_file_limit();
    let stop = process::stop_signal()?;
    let (live, odd) = Live::new(settings)?;
    odd.iter().for_each(|odd| tracing::warn!("{odd}"));
    let doors = doors(settings, &live).await?;
    let traces = settings.watch.otlp_endpoint.as_deref().map(traces::start).transpose()?;
    let host = open(settings)?;
    let observer = Arc::new(Observer::new(&host, traces.as_ref()));
    let admin = match &settings.watch.admin_addr {
        Some(address) => Some(process::listen(address).await?),
        None => None,
    };
    if let Some(listener) = &admin {
        tracing::info!("metrics on http://{}/metrics", listener.local_addr()?);
    }
    for door in &doors {
        let scheme = if door.tls.is_some() { "https" } else { "http" };
        tracing::info!("listening on {scheme}://{}", door.listener.local_addr()?);
    }
    let current = Current::new(live);
    if !settings.sweep_interval.is_zero() {
        tokio::spawn(sweep_regularly(current.clone(), host.clone(), observer.clone(), settings.sweep_interval));
    }
    if let Some(listener) = admin {
        tokio::spawn(admin::serve(listener, host.clone(), observer.clone(), settings.limits().head_timeout));
        let current = current.clone();
        tokio::spawn(admin::count_regularly(move || current.registry(), host.clone(), observer.clone()));
    }
    match control::listen(&settings.storage.data) {
        Ok(listener) => drop(tokio::spawn(control::serve(listener, host.clone()))),
        Err(error) => tracing::warn!("there is no socket to ask for a backup by: {error}"),
    }
    let told = current.clone();
    tokio::spawn(webhooks::tell_for_ever(Arc::new(move || told.subscriptions()), host.clone(), observer.clone()));
    reload_when_told(current.clone(), line, log)?;
    process::notify(&[NotifyState::Ready]);
    let leaving = host.clone();
    let stop = async move {
        stop.await;
        leaving.leave();
        process::notify(&[NotifyState::Stopping]);
    };
    let files = if settings.no_playground { &[] } else { playground::FILES };
    serve_doors(doors, files, host, &settings.limits(), current, observer, stop).await;
    if let Some(traces) = traces {
        traces.end().await;
    }
    Ok(())
}

fn open(settings: &Settings) -> Result<Arc<Host>, Box<dyn Error>> {
    let (began, data) = (Instant::now(), &settings.storage.data);
    let host = Arc::new(Host::open(data, &settings.options())?);
    tracing::info!(
        "orlop {}, data in {}: {} records, opened in {:.0} ms",
        env!("CARGO_PKG_VERSION"),
        data.display(),
        host.count_records()?,
        began.elapsed().as_secs_f64() * 1000.0
    );
    Ok(host)
}

/// Where clients come in: encrypted if there is a certificate, and in plain text where that was asked for.
async fn doors(settings: &Settings, live: &Live) -> Result<Vec<Door>, Box<dyn Error>> {
    let first = Door { listener: process::listen(&settings.addr).await?, tls: Tls::open(&settings.tls)? };
    let mut doors = vec![first];
    if let Some(address) = &settings.tls.plain_addr {
        doors.push(Door { listener: process::listen(address).await?, tls: None });
    }
    for door in &doors {
        check_door(door.listener.local_addr()?, door.tls.is_some(), settings, live)?;
    }
    Ok(doors)
}

/// What is served beyond this machine should be meant to be.
fn check_door(address: SocketAddr, encrypted: bool, settings: &Settings, live: &Live) -> Done {
    if address.ip().is_loopback() {
        return Ok(());
    }
    if live.lets_anybody_write() {
        if !settings.auth.open {
            return Err(format!(
                "{address} can be reached from other machines, and anybody may push and delete: set users \
                 (auth-htpasswd, token-…, tls-client-ca) or rules, or say that it is meant so with --open"
            )
            .into());
        }
        tracing::warn!("ANYBODY who can reach {address} may push and delete, as --open allows");
    }
    if live.takes_secrets() && !encrypted {
        tracing::warn!("passwords and tokens come to {address} in plain text: set tls-certificate and tls-key");
    }
    Ok(())
}

/// Reads the settings again at each SIGHUP. Those that are wrong change nothing.
fn reload_when_told(current: Current, line: CommandLine, log: Log) -> Done {
    let mut told = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while told.recv().await.is_some() {
            match reload(&current, &line, &log) {
                Ok(()) => tracing::info!("the settings were read again"),
                Err(error) => tracing::error!("the settings are wrong, the old ones stay in force: {error}"),
            }
        }
    });
    Ok(())
}

fn reload(current: &Current, line: &CommandLine, log: &Log) -> Done {
    let Command::Serve(settings) = line.load()?.cli.command else { return Ok(()) };
    let (live, odd) = Live::new(&settings)?;
    if live.lets_anybody_write() && !current.get().lets_anybody_write() && !settings.auth.open {
        return Err("anybody could push and delete from now on: say that it is meant so with open".into());
    }
    odd.iter().for_each(|odd| tracing::warn!("{odd}"));
    log.set(settings.storage.log.clone());
    current.set(live);
    Ok(())
}

/// `orlop sweep`
///
/// # Errors
///
/// When there is nothing to sweep, or it ended early.
pub async fn sweep(arguments: &Sweep) -> Done {
    let settings::Storage { data, log, .. } = &arguments.storage;
    log::start(log.clone(), settings::LogFormat::Text);
    if !data.exists() {
        // A server makes its directory; to sweep one that is not there is a slip of the pen.
        return Err(format!("there is no {}: name the data directory with --data", data.display()).into());
    }
    let host = Host::open(data, &arguments.options())?;
    let report = sweep_once(&Registry::new(arguments.config()), &host).await;
    println!("{}", if arguments.json { serde_json::to_string(&report)? } else { report.to_string() });
    report.fault.map_or(Ok(()), |_| Err("the sweep ended early: what it did is done, run it again for the rest".into()))
}
