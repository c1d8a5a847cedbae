//! Looking into what is stored.

use clap::Args;
use orlop_core::digest::Digest;

use crate::settings::{Data, File};

/// Check everything that is stored, read it again, or list what is damaged.
#[derive(Debug, Args)]
pub struct Stored {
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    file: File,

    /// The data directory.
    #[command(flatten)]
    pub data: Data,
}

/// Say where a blob is.
#[derive(Debug, Args)]
pub struct Blob {
    /// The digest of the blob, such as sha256:9f86d0…
    #[arg(value_parser = digest)]
    pub digest: Digest,

    #[command(flatten)]
    file: File,

    /// The data directory.
    #[command(flatten)]
    pub data: Data,
}

fn digest(text: &str) -> Result<Digest, String> {
    text.parse().map_err(|_| "not a digest: write the algorithm, a colon and the hash, such as sha256:9f86d0…".into())
}
