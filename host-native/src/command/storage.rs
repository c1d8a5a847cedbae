//! A command on what is stored: done by the server that has the data directory open, or else by this process. On a
//! database and an object store it is always done by this process, beside the servers.

use std::error::Error;
use std::sync::Arc;

use orlop_core::record::SessionKey;
use orlop_core::{Config, Registry};
use tokio::sync::Mutex;

use crate::auth::identity::new_key;
use crate::command::check::data_directory;
use crate::command::control::{self, Request};
use crate::command::copy::Stopped;
use crate::command::process;
use crate::settings::{Data, Options};
use crate::storage::{self, Host, Presence, RequestBody, Use, ambient};

/// Has the server that has a data directory open do what is asked, or without a server opens the directory and does it
/// `here`. Returns what is to be printed.
///
/// # Errors
///
/// When there is no such directory, it cannot be opened, or it cannot be done; or when a signal ends it.
pub fn by_server_or_here(
    data: &Data,
    options: &Options,
    request: Request,
    here: impl AsyncFnOnce(&Arc<Host>) -> Result<String, String>,
) -> Result<String, Box<dyn Error>> {
    if let Some(engines) = data.engines.engines()? {
        let using = Using::default();
        let work = async {
            let host = Arc::new(Host::connect(&engines.without_cache(), options).await?);
            agree(&Registry::new(Config::default()), &host, &data.place()).await?;
            using.enter(&host, Use::Serve).await?;
            let done = here(&host).await;
            using.leave().await;
            Ok(done?)
        };
        return match process::until_signal(work, using.leave())? {
            Ok(done) => done,
            Err(number) => Err(Stopped::signal(number, "interrupted; what was done stays done".into()).into()),
        };
    }
    let directory = &data.directory;
    data_directory(directory)?;
    if storage::holder(directory).is_some() {
        return Ok(control::ask(data, request)?);
    }
    if !directory.exists() {
        // A server creates its directory; without one there is nothing to do anything with.
        return Err(
            format!("there is no directory {}: name the data directory with --data", directory.display()).into()
        );
    }
    process::runtime()?.block_on(async {
        let host = Arc::new(Host::open(directory, options)?);
        agree(&Registry::new(Config::default()), &host, &data.place()).await?;
        Ok(here(&host).await?)
    })
}

/// What says in a database that a command uses the registry. A signal that ends the command must [end](Self::leave) that
/// too, since nobody can move the registry, or serve one that is moved, for as long as it stands there.
#[derive(Clone, Default)]
pub(super) struct Using(Arc<Mutex<Option<Presence>>>);

impl Using {
    /// Says that the registry is used so, if others can use it.
    ///
    /// # Errors
    ///
    /// When another process uses it in a way that does not go with that.
    pub(super) async fn enter(&self, host: &Arc<Host>, how: Use) -> Result<(), String> {
        let (mut presence, host) = (self.0.clone().lock_owned().await, host.clone());
        // A signal at this moment drops the command, and not this: whoever leaves waits until it is known.
        let entering = tokio::spawn(async move {
            *presence = host.enter(how).await?;
            Ok(())
        });
        entering.await.map_err(|error| error.to_string())?
    }

    /// Says that it is not used any more.
    pub(super) async fn leave(&self) {
        let presence = self.0.lock().await.take();
        if let Some(presence) = presence {
            presence.leave().await;
        }
    }
}

/// Agrees with all others that use the records, and gets the key by which their tokens are signed: what whoever opens a
/// data directory does first. `place` says where they are, for messages.
///
/// # Errors
///
/// When the records are not for this version, or cannot be used.
pub async fn agree(registry: &Registry, host: &Host, place: &str) -> Result<SessionKey, String> {
    let offered = new_key()?;
    let step = registry.agree(Some(offered.clone()), ambient());
    let agreement = host.run(step, &mut RequestBody::empty()).await;
    let agreement = agreement.map_err(|reason| format!("the {place} cannot be used: {reason}"))?;
    Ok(agreement.session_key.unwrap_or(offered))
}
