//! Every setting as a plain value, declared once: its name as a flag, in the environment and in the file, its default,
//! what it may be, and what the manual says of it.
//!
//! The command line, the environment and the file are read into these values by [`crate::command::config`]. Nothing
//! here knows a command, nor what the values are for.

mod access;
mod bounds;
pub(crate) mod claims;
mod engines;
mod images;
pub(crate) mod ldap;
mod limits;
mod log;
pub(crate) mod mirror;
mod number;
pub(crate) mod oidc;
mod policy;
mod reach;
pub(crate) mod redacted;
mod remote;
mod restart;
mod retention;
mod rule;
mod scrubbing;
mod shares;
mod signing_in;
mod storage;
mod sync;
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
pub use self::engines::{CacheSettings, EngineSettings, Engines, ObjectsOption};
pub use self::images::Images;
pub(crate) use self::images::Which;
pub use self::ldap::Ldap;
pub use self::limits::Limits;
pub use self::mirror::MirrorSetting;
pub(crate) use self::number::time;
pub use self::oidc::OidcSetting;
pub use self::policy::Policy;
pub use self::reach::Reach;
pub(crate) use self::reach::{Location, Origin, Redirects};
pub use self::remote::{LoginSetting, RemoteSetting};
pub use self::restart::NEED_RESTART;
pub use self::retention::{Retention, RetentionSetting};
pub(crate) use self::rule::table;
pub use self::rule::{Action, GroupSetting, RuleSetting};
pub use self::scrubbing::Scrubbing;
pub(crate) use self::shares::Each;
pub use self::shares::{LimitSetting, QuotaSetting, Shares};
pub use self::signing_in::SigningIn;
pub use self::storage::{Data, Options, Storage};
pub(crate) use self::sync::SyncPlace;
pub use self::sync::{Rate, SyncSetting, Syncs};
pub use self::tls::Tls;
pub use self::watch::{LogFormat, Watch};
pub(crate) use self::webhook::Format;
pub use self::webhook::WebhookSetting;
pub(crate) use self::who::Who;

/// All that can be set for a server.
#[derive(Debug, Args)]
pub struct Settings {
    /// The address to listen on; port 0 takes any free port
    ///
    /// Where clients cannot log in and there are no rules, the server refuses an address that other machines can
    /// reach, unless --open is given.
    #[arg(
        long,
        env = "ORLOP_ADDR",
        default_value = "127.0.0.1:5000",
        value_name = "HOST:PORT",
        help_heading = "Service"
    )]
    pub addr: String,

    /// Do not serve the console at `/console/`, a page to browse and manage the registry
    ///
    /// Whoever opens it may see and do what the rules allow. The API under `/api/v1` that it uses is served in any case.
    #[arg(
        long,
        env = "ORLOP_NO_CONSOLE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = false,
        action = clap::ArgAction::Set,
        help_heading = "Service"
    )]
    pub no_console: bool,

    /// Do not serve the playground at `/playground/`
    #[arg(
        long,
        env = "ORLOP_NO_PLAYGROUND",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = false,
        action = clap::ArgAction::Set,
        help_heading = "Service"
    )]
    pub no_playground: bool,

    /// How often to collect garbage; 0 is never
    ///
    /// Garbage collection removes abandoned uploads, blobs that no manifest uses, and untagged manifests that are older
    /// than --untagged-lifetime. It runs while clients push and pull. `orlop gc` starts it at once.
    #[arg(
        long,
        alias = "sweep-interval",
        env = "ORLOP_GC_INTERVAL",
        default_value = "6h",
        value_name = "TIME",
        value_parser = number::time,
        help_heading = "Content"
    )]
    pub gc_interval: Duration,

    #[command(flatten)]
    file: File,

    /// How everything that is stored is read again, to find what is damaged.
    #[command(flatten)]
    pub scrub: Scrubbing,

    /// Where everything is kept, and what is logged.
    #[command(flatten)]
    pub storage: Storage,

    #[command(flatten)]
    policy: Policy,

    /// Which tags stay.
    #[command(flatten)]
    pub retention: Retention,

    #[command(flatten)]
    bounds: Bounds,

    /// Access control.
    #[command(flatten)]
    pub auth: Auth,

    /// Sessions of the web page.
    #[command(flatten)]
    pub signing_in: SigningIn,

    /// Encryption.
    #[command(flatten)]
    pub tls: Tls,

    /// Limits for each client.
    #[command(flatten)]
    pub shares: Shares,

    /// How clients reach it.
    #[command(flatten)]
    pub reach: Reach,

    /// Metrics, traces, logs and webhooks.
    #[command(flatten)]
    pub watch: Watch,

    /// A mirror of another registry, as a table of TOML (repeatable)
    ///
    /// `{ prefix = "hub/", upstream = "https://registry-1.docker.io" }`: what a client pulls from a repository below the
    /// prefix and is not there is fetched from the upstream, and kept. The manual has all keys: orlop.toml(5).
    #[arg(
        id = "mirror",
        long = "mirror",
        env = "ORLOP_MIRROR",
        value_name = "TABLE",
        value_delimiter = '\n',
        help_heading = "Mirrors"
    )]
    pub mirrors: Vec<MirrorSetting>,
    /// What is copied from and to other registries.
    #[command(flatten)]
    pub syncs: Syncs,
}

/// The configuration file.
#[derive(Debug, Args)]
pub struct File {
    /// The configuration file; the default is /etc/orlop/orlop.toml if it exists, "" reads none
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
            retention: self.retention.rules(),
            quotas: self.shares.quota.iter().map(QuotaSetting::quota).collect(),
            external_url: self.reach.base(),
            mirrors: self.mirrors.iter().map(MirrorSetting::mirror).collect(),
            activity_lifetime: self.watch.activity_lifetime,
            sign_in_idle: self.signing_in.session_idle,
            sign_in_lifetime: self.signing_in.session_lifetime,
            listeners: self
                .watch
                .webhook
                .iter()
                .map(WebhookSetting::listener)
                .chain(self.syncs.sync.iter().filter_map(SyncSetting::listener))
                .collect(),
            gathered: self.reach.gathered().filter(|_| self.storage.data.engines.objects.is_some()),
            ..self.policy.config()
        }
    }

    /// How the storage is to be opened.
    pub fn options(&self) -> Options {
        self.storage.options(&self.policy)
    }
}
