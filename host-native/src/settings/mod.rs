//! Every setting as a plain value, declared once: its name as a flag, in the environment and in the file, its default,
//! what it may be, and what the manual says of it.
//!
//! The command line, the environment and the file are read into these values by [`crate::command::config`]. Nothing
//! here knows a command, nor what the values are for.

mod access;
mod bounds;
mod limits;
mod policy;
mod reach;
mod rule;
mod shares;
mod storage;
mod tls;
mod watch;
pub(crate) mod watched;
mod webhook;
mod who;

use std::time::Duration;

use clap::{Args, CommandFactory};
use orlop_core::Config;

pub use self::access::Auth;
pub use self::bounds::Bounds;
pub use self::limits::Limits;
pub use self::policy::Policy;
pub use self::reach::Reach;
pub(crate) use self::reach::{Location, Origin};
pub(crate) use self::rule::table;
pub use self::rule::{Action, GroupSetting, RuleSetting};
pub(crate) use self::shares::Each;
pub use self::shares::{LimitSetting, QuotaSetting, Shares};
pub use self::storage::{Options, Storage};
pub use self::tls::Tls;
pub use self::watch::{LogFormat, Watch};
pub(crate) use self::webhook::Format;
pub use self::webhook::WebhookSetting;
pub(crate) use self::who::Who;

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

    /// How clients reach it.
    #[command(flatten)]
    pub reach: Reach,

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
            external_url: self.reach.base(),
            listeners: self.watch.webhook.iter().map(WebhookSetting::listener).collect(),
            ..self.policy.config()
        }
    }

    /// How the storage is to be opened.
    pub fn options(&self) -> Options {
        self.storage.options(&self.policy)
    }
}

/// A time with a unit; 0 needs none.
fn time(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 90s, 6h or 7d"))
}
