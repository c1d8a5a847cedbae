//! Syncs that are run by hand.

use clap::{Args, Subcommand};

use crate::settings::Settings;

/// Copy repositories from and to other registries, as the configuration has it.
#[derive(Debug, Args)]
pub struct Sync {
    /// The command to run.
    #[command(subcommand)]
    pub command: SyncCommand,
}

/// What to do with syncs.
#[derive(Debug, Subcommand)]
pub enum SyncCommand {
    /// Run the syncs now, and report what was copied
    ///
    /// A server that has the data directory open runs them by its own configuration. A run that was interrupted goes on
    /// where it stood. The exit status is 1 when something was not copied; everything else is copied nevertheless.
    Run(Run),
    /// Print how the syncs stand: the last run, or the one that is under way, and what it could not copy
    Status(Status),
}

/// Run syncs.
#[derive(Debug, Args)]
pub struct Run {
    /// The name of the sync; all if it is left out
    pub name: Option<String>,

    /// Copy and delete nothing; print how much there is to do
    #[arg(long)]
    pub dry_run: bool,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// Say how syncs stand.
#[derive(Debug, Args)]
pub struct Status {
    /// The name of the sync; all if it is left out
    pub name: Option<String>,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}
