//! A registry copied to another place, or changed to another format.

use clap::{Args, ValueEnum};

use crate::settings::{Data, File};

/// Copy a whole registry.
#[derive(Debug, Args)]
pub struct Move {
    /// Where to copy it: shared is --records and --objects, directory is --data
    #[arg(long, value_name = "PLACE")]
    pub to: Place,

    #[command(flatten)]
    file: File,

    /// Both places.
    #[command(flatten)]
    pub data: Data,
}

/// Where a registry can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// A database and an object store.
    Shared,
    /// A data directory.
    Directory,
}

/// Change the format of what is stored.
#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    file: File,

    /// Where it is.
    #[command(flatten)]
    pub data: Data,
}
