//! A command on what is stored: done by the server that has the data directory open, or else by this process.

use std::error::Error;
use std::path::Path;

use crate::command::check::data_directory;
use crate::command::control::{self, Request};
use crate::command::process;
use crate::settings::Options;
use crate::storage::{self, Host};

/// Has the server that has a data directory open do what is asked, or without a server opens the directory and does it
/// `here`. Returns what is to be printed.
///
/// # Errors
///
/// When there is no such directory, it cannot be opened, or it cannot be done.
pub fn by_server_or_here(
    directory: &Path,
    options: &Options,
    request: Request,
    here: impl AsyncFnOnce(&Host) -> Result<String, String>,
) -> Result<String, Box<dyn Error>> {
    data_directory(directory)?;
    if storage::holder(directory).is_some() {
        return Ok(control::ask(directory, request)?);
    }
    if !directory.exists() {
        // A server creates its directory; without one there is nothing to do anything with.
        return Err(
            format!("there is no directory {}: name the data directory with --data", directory.display()).into()
        );
    }
    process::runtime()?.block_on(async { Ok(here(&Host::open(directory, options)?).await?) })
}
