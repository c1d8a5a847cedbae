//! `orlop sync`: by the server that has the data directory open, or else by this process.

use std::error::Error;
use std::sync::Arc;

use crate::command::cli::SyncCommand;
use crate::command::config::Effective;
use crate::command::control::Request;
use crate::command::start::by_the_servers_settings;
use crate::command::storage::by_server_or_here;
use crate::observe::log;
use crate::request::live::{Current, Live};
use crate::settings::{LogFormat, Settings};
use crate::storage::{self, Host};
use crate::sync::Syncing;

/// Runs syncs, or says how they stand.
///
/// # Errors
///
/// With the report, when a sync has not copied everything; and when none can be run.
pub fn sync(command: &SyncCommand, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let (settings, request) = match command {
        SyncCommand::Run(run) => (&run.settings, Request::Sync { name: run.name.clone(), dry_run: run.dry_run }),
        SyncCommand::Status(status) => (&status.settings, Request::SyncStatus(status.name.clone())),
    };
    let data = &settings.storage.data;
    let alone = data.engines.engines()?.is_none();
    if alone && storage::holder(&data.directory).is_some() {
        by_the_servers_settings(effective, "runs syncs")?;
    }
    let asked = request.clone();
    let here = async |host: &Arc<Host>| {
        log::start(settings.storage.log.clone(), LogFormat::Text);
        here(settings, host.clone(), alone, asked).await
    };
    out!("{}", by_server_or_here(data, &settings.options(), request, here)?);
    Ok(())
}

async fn here(settings: &Settings, host: Arc<Host>, alone: bool, request: Request) -> Result<String, String> {
    let (live, _) = Live::new(settings)?;
    let current = Current::new(live);
    let syncing = Arc::new(Syncing::new(move || current.syncs(), host, None, alone));
    match request {
        Request::Sync { name, dry_run } => syncing.run_now(name.as_deref(), dry_run).await,
        Request::SyncStatus(name) => syncing.status(name.as_deref()).await,
        other => Err(format!("`{other}` is nothing that a sync does")),
    }
}
