//! Where everything is kept, and what is logged of it.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use orlop_core::Config;
use tracing_subscriber::filter::Targets;

use super::log::filter;
use super::number::size;
use super::{EngineSettings, Policy};

/// The data directory.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub struct Data {
    /// The data directory
    ///
    /// `orlop serve` creates it. It holds everything: records and blobs. One server has it open at a time; other
    /// commands find that server by it.
    #[arg(id = "data", long = "data", env = "ORLOP_DATA", default_value = "./orlop-data", value_name = "DIRECTORY")]
    pub directory: PathBuf,

    /// What is used in its place.
    #[command(flatten)]
    pub engines: EngineSettings,
}

impl Data {
    /// Where everything is kept, for messages.
    pub fn place(&self) -> String {
        match &self.engines.objects {
            Some(objects) => format!("database and {objects}"),
            None => format!("data directory {}", self.directory.display()),
        }
    }
}

/// Where everything is kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub struct Storage {
    /// The data directory.
    #[command(flatten)]
    pub data: Data,

    /// Memory for the cache of records
    #[arg(long, env = "ORLOP_RECORD_CACHE", default_value = "64MiB", value_name = "SIZE", value_parser = size)]
    record_cache: ByteSize,

    /// Size of the log of records at which its changes are moved into their file
    ///
    /// Larger, and changes of a very busy registry cost less; smaller, and a start after a crash, which applies the log
    /// again, is quicker.
    #[arg(long, env = "ORLOP_RECORD_LOG", default_value = "8MiB", value_name = "SIZE", value_parser = size)]
    record_log: ByteSize,

    /// Disk space to leave free
    ///
    /// Uploads are refused (507) when less is left. Deletes and garbage collection need a little space too, and may use
    /// it.
    #[arg(long, env = "ORLOP_KEEP_FREE", default_value = "64MiB", value_name = "SIZE", value_parser = size)]
    keep_free: ByteSize,

    /// What to log: error, warn, info, debug or off, and a level for a part, such as info,orlop::access=off
    ///
    /// Parts without a level of their own have the level that stands alone, which is info if none does.
    /// orlop::access is the line of each request, orlop::audit that of each change.
    #[arg(long, env = "ORLOP_LOG", default_value = "info", value_name = "FILTER", value_parser = filter)]
    pub log: Targets,
}

impl Storage {
    pub(crate) fn options(&self, policy: &Policy) -> Options {
        Options {
            cache: usize::try_from(self.record_cache.as_u64()).unwrap_or(usize::MAX),
            log: self.record_log.as_u64(),
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
    /// How many bytes the log of the records has before its changes are moved into their file.
    pub log: u64,
    /// How many bytes of the disk are left free: uploads stop there, so that deleting still works.
    pub keep_free: u64,
    /// Longer than any call can live, as the core's configuration has it.
    pub call_lifetime: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache: 64 << 20, log: 8 << 20, keep_free: 64 << 20, call_lifetime: Config::default().call_lifetime }
    }
}
