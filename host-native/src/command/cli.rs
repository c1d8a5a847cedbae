//! The command line. Every flag has an environment variable and a key in the [configuration file](super::config).

mod access;
mod users;

use clap::{Args, Parser, Subcommand};
use orlop_core::Config;

pub use self::access::{Access, AccessCommand, Explain};
pub use self::users::{Named, User, UserCommand};
use crate::settings::{File, Options, Policy, Settings, Storage};

/// A container registry: docker, podman, containerd, skopeo, crane, oras and helm push to it and pull from it.
#[derive(Debug, Parser)]
#[command(name = "orlop", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a registry
    ///
    /// Sizes are bytes, or have a unit: 64MiB, 10GB. Times have a unit: 90s, 6h, 7d. Each flag can be given as an
    /// environment variable or in a TOML file instead: a flag wins over the environment, and that over the file.
    Serve(Box<Settings>),
    /// Give back the space of what is no longer needed, once, in a data directory that no server has open
    Sweep(Sweep),
    /// Make a backup of the registry that a server serves, in its data directory: copy it elsewhere from there
    ///
    /// It is a data directory of its own, as of one moment, and takes the place of the backup before. To restore,
    /// put it where a data directory is to be. It shares its blobs with the registry: those that are deleted keep
    /// their space until the next backup, or until it is removed.
    Backup(Backup),
    /// Look at the settings that a server would have
    Config(Configure),
    /// Add, change and remove users of the password file
    User(User),
    /// See what somebody may do, and why
    Access(Access),
    /// Tell the running server to read its settings again: users, rules, certificates, limits, what to log
    ///
    /// No connection is dropped. Settings that are wrong are refused here, and the server goes on with those it has.
    Reload(Box<Settings>),
}

/// Look at the settings.
#[derive(Debug, Args)]
pub struct Configure {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the settings, and the files they name
    Check(Box<Settings>),
    /// Print every setting as it is, and where it comes from
    Show(Box<Settings>),
}

/// Sweep once.
#[derive(Debug, Args)]
pub struct Sweep {
    #[command(flatten)]
    file: File,

    /// What the storage is, and what is told of it.
    #[command(flatten)]
    pub storage: Storage,

    #[command(flatten)]
    policy: Policy,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Back up.
#[derive(Debug, Args)]
pub struct Backup {
    #[command(flatten)]
    file: File,

    /// What the storage is, and what is told of it.
    #[command(flatten)]
    pub storage: Storage,
}

impl Sweep {
    /// How the registry is to behave.
    pub fn config(&self) -> Config {
        self.policy.config()
    }

    /// How the storage is to be opened.
    pub fn options(&self) -> Options {
        self.storage.options(&self.policy)
    }
}
