//! Where everything is kept, and what is told of it.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use orlop_core::Config;
use tracing_subscriber::filter::Targets;

use super::Policy;

/// Where everything is kept.
#[derive(Debug, Args)]
pub struct Storage {
    /// The data directory; made if there is none
    ///
    /// One process may have it open at a time. To back it up while the server runs, take a snapshot of the file system.
    #[arg(long, env = "ORLOP_DATA", default_value = "./orlop-data", value_name = "DIRECTORY")]
    pub data: PathBuf,

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
    pub log: Targets,
}

impl Storage {
    pub(crate) fn options(&self, policy: &Policy) -> Options {
        Options {
            cache: usize::try_from(self.record_cache.as_u64()).unwrap_or(usize::MAX),
            keep_free: self.keep_free.as_u64(),
            call_lifetime: policy.config().call_lifetime,
        }
    }
}

/// What a host is given besides a data directory.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many bytes of the records are held in memory.
    pub cache: usize,
    /// How many bytes of the disk are left free: uploads stop there, so that deleting still works.
    pub keep_free: u64,
    /// Longer than any call can live, as the core's configuration has it.
    pub call_lifetime: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache: 64 << 20, keep_free: 64 << 20, call_lifetime: Config::default().call_lifetime }
    }
}
