//! From settings to a server that runs, and to garbage that is collected.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use orlop_core::{Claim, Registry};
use sd_notify::NotifyState;
use tokio::sync::Mutex;

use crate::command::activity::forget_regularly;
use crate::command::check::{Checked, check};
use crate::command::cli::Gc;
use crate::command::config::{CommandLine, Effective, Origin, places_of_rules, with_places};
use crate::command::control::{Control, Request};
use crate::command::evict::evict_regularly;
use crate::command::gc::{self, Collection, Collector};
use crate::command::jobs::Jobs;
use crate::command::mirror::fetch_regularly;
use crate::command::reload::{Reloading, reload_when_told};
use crate::command::retention::Retaining;
use crate::command::scrub::Scrubber;
use crate::command::storage::{agree, by_server_or_here};
use crate::command::{control, process, token};
use crate::observe::{Observer, admin, log, quotas, traces, webhooks};
use crate::request::answer::Service;
use crate::request::live::Current;
use crate::server::page;
use crate::server::serve::{Door, serve_doors};
use crate::server::tls::Tls;
use crate::settings::{self, Settings};
use crate::storage::{self, Host, Use};
use crate::sync::Syncing;

type Done = Result<(), Box<dyn Error>>;

/// `orlop serve`
///
/// # Errors
///
/// With what keeps it from serving.
pub async fn serve(settings: &Settings, line: CommandLine, effective: Vec<Effective>, warnings: &[String]) -> Done {
    let log = log::start(settings.storage.log.clone(), settings.watch.log_format);
    let limits = process::within_file_limit(settings.limits());
    let stop = process::stop_signal()?;
    let checked = check(settings, None).map_err(|reason| with_places(&reason, &effective))?;
    let Checked { live, tls, warnings: more } = checked;
    warnings.iter().chain(&more).for_each(|warning| tracing::warn!("{warning}"));
    let doors = doors(settings, tls).await?;
    let traces = settings.watch.otlp_endpoint.as_deref().map(traces::start).transpose()?;
    let host = open(settings).await?;
    let observer = Arc::new(Observer::new(&host, traces.as_ref()));
    let admin = match &settings.watch.admin_addr {
        Some(address) => Some(process::listen("admin-addr", address).await?),
        None => None,
    };
    if let Some(listener) = &admin {
        tracing::info!("metrics on http://{}/metrics", listener.local_addr()?);
    }
    let session_key = agree(&live.registry, &host, &settings.storage.data.place()).await?;
    let presence = host.enter(Use::Serve).await?;
    let live = live.with_rules_at(places_of_rules(&effective)).keeping(host.clone(), session_key)?;
    let current = Current::new(live);
    let collector = Arc::new(Collector::new(current.clone(), host.clone(), observer.clone()));
    if !settings.gc_interval.is_zero() {
        tokio::spawn(collector.clone().collect_regularly(settings.gc_interval));
    }
    let retaining = Arc::new(Retaining::new(current.clone(), host.clone(), Some(observer.clone())));
    if !settings.retention.retention_interval.is_zero() {
        tokio::spawn(retaining.clone().run_regularly(settings.retention.retention_interval));
    }
    tokio::spawn(token::note_regularly(current.clone()));
    tokio::spawn(token::forget_regularly(current.clone()));
    tokio::spawn(forget_regularly(current.clone(), host.clone()));
    let in_force = current.clone();
    tokio::spawn(quotas::watch(move || in_force.registry(), host.clone(), observer.clone()));
    let scrubber = Scrubber::new(current.clone(), host.clone(), observer.clone(), settings.scrub);
    let scrubber = Arc::new(scrubber);
    if settings.scrub.rate() > 0 {
        tokio::spawn(scrubber.clone().scrub_regularly());
    }
    if let Some(listener) = admin {
        tokio::spawn(admin::serve(listener, host.clone(), observer.clone(), limits.head_timeout));
        let current = current.clone();
        tokio::spawn(admin::count_regularly(move || current.registry(), host.clone(), observer.clone()));
    }
    let reloading = Arc::new(Reloading::new(current.clone(), line, log, effective));
    reload_when_told(reloading.clone())?;
    let alone = settings.storage.data.engines.engines()?.is_none();
    let in_force = current.clone();
    let syncing = Arc::new(Syncing::new(move || in_force.syncs(), host.clone(), Some(observer.clone()), alone));
    tokio::spawn(syncing.clone().run_regularly());
    let control = Control {
        host: host.clone(),
        collector,
        retaining,
        scrubber,
        syncing: syncing.clone(),
        reloading,
        current: current.clone(),
        backing_up: Mutex::default(),
        jobs: Jobs::new(host.clone()),
        counting: Arc::default(),
    };
    let control = Arc::new(control);
    if alone {
        match control::listen(&settings.storage.data.directory) {
            Ok(listener) => drop(tokio::spawn(control::serve(listener, control.clone()))),
            Err(error) => tracing::warn!(
                "there is no control socket in the data directory: {error}; `orlop backup`, `orlop gc` and `orlop \
                 reload` cannot reach this server"
            ),
        }
    }
    let told = current.clone();
    tokio::spawn(webhooks::tell_for_ever(Arc::new(move || told.subscriptions()), host.clone(), observer.clone()));
    let fetching = tokio::spawn(fetch_regularly(current.clone(), host.clone()));
    tokio::spawn(evict_regularly(current.clone(), host.clone(), observer.clone()));
    for door in &doors {
        let scheme = if door.tls.is_some() { "https" } else { "http" };
        // The prefix of the mirror that is at the root there, if one is.
        let mirror = door.root.as_deref();
        tracing::info!(mirror, "listening on {scheme}://{}", door.listener.local_addr()?);
    }
    process::notify(&[NotifyState::Ready]);
    let (leaving, ending) = (host.clone(), syncing.clone());
    let stop = async move {
        stop.await;
        leaving.leave();
        // No fetch of a mirror goes on for their sake: the next start goes on with both.
        fetching.abort();
        ending.end();
        process::notify(&[NotifyState::Stopping]);
    };
    let console = (!settings.no_console).then_some(&page::CONSOLE);
    let playground = (!settings.no_playground).then_some(&page::PLAYGROUND);
    let pages: Vec<_> = console.into_iter().chain(playground).collect();
    let service = Service::new(host, current.clone(), observer, &limits).doing(control);
    serve_doors(doors, &pages, service, &limits, stop).await;
    token::note_last(&current).await;
    syncing.stop().await;
    if let Some(presence) = presence {
        presence.leave().await;
    }
    if let Some(traces) = traces {
        traces.end().await;
    }
    Ok(())
}

async fn open(settings: &Settings) -> Result<Arc<Host>, Box<dyn Error>> {
    let (began, data) = (Instant::now(), &settings.storage.data);
    let (host, kept) = match data.engines.engines()? {
        Some(engines) => (Host::connect(&engines, &settings.options()).await?, String::new()),
        None => (Host::open(&data.directory, &settings.options())?, format!("data in {}: ", data.directory.display())),
    };
    let host = Arc::new(host);
    tracing::info!(
        "orlop {}, {kept}{}, opened in {:.0} ms",
        env!("CARGO_PKG_VERSION"),
        host.describe()?,
        began.elapsed().as_secs_f64() * 1000.0
    );
    Ok(host)
}

/// Where clients connect: encrypted if there is a certificate, and in plain text where that was asked for. Some see one
/// mirror there.
async fn doors(settings: &Settings, tls: Option<Tls>) -> Result<Vec<Door>, Box<dyn Error>> {
    let mut doors =
        vec![Door { listener: process::listen("addr", &settings.addr).await?, tls: tls.clone(), root: None }];
    if let Some(address) = &settings.tls.plain_addr {
        doors.push(Door { listener: process::listen("plain-addr", address).await?, tls: None, root: None });
    }
    for mirror in &settings.mirrors {
        if let Some(address) = &mirror.addr {
            let listener = process::listen("addr of a mirror", address).await?;
            doors.push(Door { listener, tls: tls.clone(), root: Some(mirror.prefix.as_str().into()) });
        }
    }
    Ok(doors)
}

/// `orlop gc`: by the server that has the data directory open, or else by this process.
///
/// # Errors
///
/// When there is nothing to collect from, or it ended early.
pub fn collect(arguments: &Gc, effective: &[Effective]) -> Done {
    let settings::Storage { data, log, .. } = &arguments.storage;
    let collection = Collection { dry_run: arguments.dry_run, json: arguments.json };
    if data.engines.engines()?.is_none() && storage::holder(&data.directory).is_some() {
        by_the_servers_settings(effective, "collects")?;
    }
    let here = async |host: &Arc<Host>| {
        log::start(log.clone(), settings::LogFormat::Text);
        let registry = Registry::new(arguments.config());
        let report = match collection.dry_run {
            true => gc::foretell(&registry, host).await,
            false => gc::collect(&registry, host, Claim::Now).await.map_err(|elsewhere| elsewhere.to_string())?,
        };
        gc::told(&report, collection)
    };
    out!("{}", by_server_or_here(data, &arguments.options(), Request::Gc(collection), here)?);
    Ok(())
}

/// Flags that a running server would not follow are refused. `does` is what it does by its own.
pub(super) fn by_the_servers_settings(effective: &[Effective], does: &str) -> Result<(), String> {
    let own = [
        "action",
        "as",
        "config",
        "data",
        "depth",
        "dry-run",
        "expires",
        "force",
        "format",
        "from",
        "happening",
        "json",
        "list",
        "log",
        "name",
        "plan",
        "platform",
        "recount",
        "repository",
        "reverse",
        "search",
        "sort",
        "top",
        "tree",
        "until",
        "user",
        "yes",
    ];
    let flags =
        effective.iter().filter(|setting| setting.origin == Origin::Flag && !own.contains(&setting.key.as_str()));
    let flags: Vec<String> = flags.map(|setting| format!("--{}", setting.key)).collect();
    if flags.is_empty() {
        return Ok(());
    }
    Err(format!(
        "a server has the data directory open and {does} by its own settings: leave out {}, or change the settings \
         of the server",
        flags.join(", ")
    ))
}
