//! The command line. Every flag has an environment variable and a key in the [configuration file](crate::command::config).

mod users;

use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use orlop_core::Config;

pub use self::users::{Named, User, UserCommand};
use crate::request::shares::QuotaSetting;
use crate::settings::{Access, Auth, Bounds, Policy, Shares, Storage, Tls, Watch, WebhookSetting, time};
use crate::{Limits, Options};

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

/// The configuration file.
#[derive(Debug, Args)]
pub struct File {
    /// The configuration file; /etc/orlop/orlop.toml if there is one, none if empty
    ///
    /// It is TOML. A key is a flag without the dashes; what its name begins with may be a table: `key` in `[tls]` is
    /// `tls-key`.
    #[arg(long, env = "ORLOP_CONFIG", value_name = "FILE", value_parser = clap::builder::StringValueParser::new())]
    pub config: Option<String>,
}

/// All that can be set for a server.
#[derive(Debug, Args)]
pub struct Settings {
    #[command(flatten)]
    file: File,

    /// Where to listen; port 0 takes any free one
    ///
    /// Beyond this machine, where nobody is asked who they are, it listens only with --open.
    #[arg(long, env = "ORLOP_ADDR", default_value = "127.0.0.1:5000", value_name = "HOST:PORT")]
    pub addr: String,

    /// What the storage is, and what is told of it.
    #[command(flatten)]
    pub storage: Storage,

    #[command(flatten)]
    policy: Policy,

    #[command(flatten)]
    bounds: Bounds,

    /// Who may do what.
    #[command(flatten)]
    pub auth: Auth,

    /// Encryption.
    #[command(flatten)]
    pub tls: Tls,

    /// What each client may take.
    #[command(flatten)]
    pub shares: Shares,

    /// What is told of the server.
    #[command(flatten)]
    pub watch: Watch,

    /// How often to sweep; 0 is never
    ///
    /// A sweep removes uploads nobody goes on with, and blobs that no manifest uses. It runs beside the requests.
    #[arg(long, env = "ORLOP_SWEEP_INTERVAL", default_value = "6h", value_name = "TIME", value_parser = time)]
    pub sweep_interval: Duration,

    /// Serve no playground at `/`, only the registry
    #[arg(
        long,
        env = "ORLOP_NO_PLAYGROUND",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub no_playground: bool,
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

/// The settings as a command of their own, which knows every flag.
impl CommandFactory for Settings {
    fn command() -> clap::Command {
        Self::augment_args(clap::Command::new("orlop"))
    }

    fn command_for_update() -> clap::Command {
        Self::augment_args_for_update(clap::Command::new("orlop"))
    }
}

impl Settings {
    /// The limits of the server.
    pub fn limits(&self) -> Limits {
        self.bounds.limits()
    }

    /// How the registry is to behave.
    pub fn config(&self) -> Config {
        Config {
            quotas: self.shares.quota.iter().map(QuotaSetting::quota).collect(),
            listeners: self.watch.webhook.iter().map(WebhookSetting::listener).collect(),
            ..self.policy.config()
        }
    }

    /// How the storage is to be opened.
    pub fn options(&self) -> Options {
        self.storage.options(&self.policy)
    }
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
