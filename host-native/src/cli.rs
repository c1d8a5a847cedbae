//! The command line. Every flag has an environment variable, for containers and service managers.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};
use orlop_core::Config;
use orlop_core::config::Pattern;
use tracing_subscriber::filter::Targets;

use crate::{Limits, Options};

/// A container registry: docker, podman, containerd, skopeo, crane, oras and helm push to it and pull from it.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 110)]
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
    /// environment variable instead; a flag wins.
    Serve(Box<Serve>),
    /// Give back the space of what is no longer needed, once, in a data directory that no server has open
    Sweep(Sweep),
}

/// Serve a registry.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen; port 0 takes any free one
    ///
    /// Orlop speaks plain HTTP and knows no users: put a proxy that does TLS and authentication before it if others than
    /// this machine are to reach it.
    #[arg(long, env = "ORLOP_ADDR", default_value = "127.0.0.1:5000", value_name = "HOST:PORT")]
    pub addr: String,

    #[command(flatten)]
    storage: Storage,

    #[command(flatten)]
    policy: Policy,

    #[command(flatten)]
    bounds: Bounds,

    /// How often to sweep; 0 is never
    ///
    /// A sweep removes uploads nobody goes on with, and blobs that no manifest uses. It runs beside the requests.
    #[arg(long, env = "ORLOP_SWEEP_INTERVAL", default_value = "6h", value_name = "TIME", value_parser = time)]
    pub sweep_interval: Duration,
}

/// Sweep once.
#[derive(Debug, Args)]
pub struct Sweep {
    #[command(flatten)]
    storage: Storage,

    #[command(flatten)]
    policy: Policy,

    /// Print the report as JSON
    #[arg(long, env = "ORLOP_JSON")]
    pub json: bool,
}

/// Where everything is kept.
#[derive(Debug, Args)]
struct Storage {
    /// The data directory; made if there is none
    ///
    /// One process may have it open at a time. To back it up while the server runs, take a snapshot of the file system.
    #[arg(long, env = "ORLOP_DATA", default_value = "./orlop-data", value_name = "DIRECTORY")]
    data: PathBuf,

    /// How much memory holds records
    #[arg(long, env = "ORLOP_RECORD_CACHE", default_value = "64MiB", value_name = "SIZE")]
    record_cache: ByteSize,

    /// How much of the disk to leave free
    ///
    /// Uploads are refused once less is left. Deleting and sweeping need a little space too, and get it from this.
    #[arg(long, env = "ORLOP_KEEP_FREE", default_value = "64MiB", value_name = "SIZE")]
    keep_free: ByteSize,

    /// What to log: error, warn, info, debug, or by part, such as info,orlop::access=off
    #[arg(long, env = "ORLOP_LOG", default_value = "info", value_name = "FILTER")]
    log: Targets,
}

/// What the registry takes and keeps.
#[derive(Debug, Args)]
#[command(next_help_heading = "What the registry takes and keeps")]
struct Policy {
    /// The largest manifest; at least 4MiB lets every client work
    #[arg(long, env = "ORLOP_MANIFEST_LIMIT", default_value = "4MiB", value_name = "SIZE")]
    manifest_limit: ByteSize,

    /// The largest blob; no limit if not given
    #[arg(long, env = "ORLOP_BLOB_LIMIT", value_name = "SIZE")]
    blob_limit: Option<ByteSize>,

    /// Accept manifests whose blobs or children are not there
    #[arg(long, env = "ORLOP_ALLOW_SPARSE")]
    allow_sparse: bool,

    /// Refuse to delete tags, manifests and blobs
    #[arg(long, env = "ORLOP_NO_DELETE")]
    no_delete: bool,

    /// Mount a blob only from the repository that the client names
    ///
    /// Without this, whoever knows a digest can get the blob from any repository: give it where repositories have
    /// different readers.
    #[arg(long, env = "ORLOP_NO_MOUNT_FROM_ANYWHERE")]
    no_mount_from_anywhere: bool,

    /// In which repositories a tag becomes the list of the images pushed to it, one a platform (repeatable)
    ///
    /// `*` stands for anything within a component of the name, `**` also across components: `team/*`, `**`.
    #[arg(long, env = "ORLOP_ASSEMBLE", value_delimiter = ',', value_name = "PATTERN")]
    assemble: Vec<String>,

    /// How long an upload may rest before it is given up
    #[arg(long, env = "ORLOP_UPLOAD_LIFETIME", default_value = "7d", value_name = "TIME", value_parser = time)]
    upload_lifetime: Duration,

    /// How long a blob stays that no manifest uses: the time a client has to push the manifest after it
    #[arg(long, env = "ORLOP_BLOB_GRACE", default_value = "1d", value_name = "TIME", value_parser = time)]
    blob_grace: Duration,

    /// How long a manifest stays that no tag and no index names; for ever if not given
    #[arg(long, env = "ORLOP_UNTAGGED_LIFETIME", value_name = "TIME", value_parser = time)]
    untagged_lifetime: Option<Duration>,
}

/// What clients may take of this machine.
#[derive(Debug, Args)]
#[command(next_help_heading = "What clients may take of this machine")]
struct Bounds {
    /// The longest head of a request
    #[arg(long, env = "ORLOP_HEAD_LIMIT", default_value = "32KiB", value_name = "SIZE")]
    head_limit: ByteSize,

    /// How long a client may take for the head of a request, and rest between requests
    #[arg(long, env = "ORLOP_HEAD_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = time)]
    head_timeout: Duration,

    /// How long no byte of a body may come, or go, before the client counts as gone; at most 1h
    #[arg(long, env = "ORLOP_BODY_IDLE_TIMEOUT", default_value = "60s", value_name = "TIME", value_parser = idle_time)]
    body_idle_timeout: Duration,

    /// How many requests to work on at once; one more gets 429 and comes again
    #[arg(long, env = "ORLOP_MAX_REQUESTS", default_value_t = 512, value_name = "NUMBER")]
    max_requests: u32,

    /// How many connections to have open at once; one more waits
    #[arg(long, env = "ORLOP_MAX_CONNECTIONS", default_value_t = 4096, value_name = "NUMBER")]
    max_connections: u32,

    /// How long running requests may take when the server is told to stop (SIGTERM, SIGINT)
    #[arg(long, env = "ORLOP_SHUTDOWN_GRACE", default_value = "30s", value_name = "TIME", value_parser = time)]
    shutdown_grace: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 90s, 6h or 7d"))
}

/// The sweep takes what has not been written to for a day for abandoned; a body may not rest nearly as long.
fn idle_time(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_secs(3600);
    time(text).and_then(|time| if time <= longest { Ok(time) } else { Err("at most 1h".into()) })
}

impl Serve {
    /// The limits of the server.
    pub fn limits(&self) -> Limits {
        let bounds = &self.bounds;
        Limits {
            head: bounds.head_limit.as_u64().clamp(1 << 10, 1 << 20) as usize,
            head_timeout: bounds.head_timeout,
            body_idle: bounds.body_idle_timeout,
            requests: bounds.max_requests.max(1) as usize,
            connections: bounds.max_connections.max(1) as usize,
            shutdown_grace: bounds.shutdown_grace,
        }
    }

    /// How the registry is to behave.
    pub fn config(&self) -> Config {
        self.policy.config()
    }

    /// How the storage is to be opened.
    pub fn options(&self) -> Options {
        self.storage.options(&self.policy)
    }

    /// The data directory.
    pub fn data(&self) -> &PathBuf {
        &self.storage.data
    }

    /// What to log.
    pub fn log(&self) -> &Targets {
        &self.storage.log
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

    /// The data directory.
    pub fn data(&self) -> &PathBuf {
        &self.storage.data
    }

    /// What to log.
    pub fn log(&self) -> &Targets {
        &self.storage.log
    }
}

impl Storage {
    fn options(&self, policy: &Policy) -> Options {
        Options {
            cache: usize::try_from(self.record_cache.as_u64()).unwrap_or(usize::MAX),
            keep_free: self.keep_free.as_u64(),
            call_lifetime: policy.config().call_lifetime,
        }
    }
}

impl Policy {
    fn config(&self) -> Config {
        Config {
            manifest_limit: self.manifest_limit.as_u64(),
            blob_limit: self.blob_limit.map_or(u64::MAX, |limit| limit.as_u64()),
            allow_sparse: self.allow_sparse,
            allow_delete: !self.no_delete,
            mount_from_anywhere: !self.no_mount_from_anywhere,
            assemble: self.assemble.iter().map(Pattern::new).collect(),
            upload_lifetime: self.upload_lifetime,
            blob_grace: self.blob_grace,
            untagged_lifetime: self.untagged_lifetime,
            ..Config::default()
        }
    }
}
