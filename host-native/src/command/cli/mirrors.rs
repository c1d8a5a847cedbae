//! What is done with mirrors.

use clap::{Args, Subcommand};

use crate::command::mirror::Asked;
use crate::settings::{Images, Settings};

/// List, fetch or evict what mirrors have.
#[derive(Debug, Args)]
pub struct Mirror {
    /// The command to run.
    #[command(subcommand)]
    pub command: MirrorCommand,
}

/// List, fetch or evict what mirrors have.
#[derive(Debug, Subcommand)]
pub enum MirrorCommand {
    /// List the repositories that mirrors have, with their tags and bytes
    List(ListMirrored),
    /// Fetch images before a client asks for them
    ///
    /// All manifests and blobs of the images are fetched, also those of every platform of an index that the mirror is there
    /// for. What is here already is not fetched again.
    Fetch(Named),
    /// Remove images or a whole repository from a mirror; they are fetched again when a client asks for them
    ///
    /// What was pushed before the repository was a mirror's stays, and is counted.
    Evict(Named),
}

/// List what mirrors have.
#[derive(Debug, Args)]
pub struct ListMirrored {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    settings: Box<Settings>,
}

/// Do something with images.
#[derive(Debug, Args)]
pub struct Named {
    /// The images: REPOSITORY, REPOSITORY:TAG, REPOSITORY:PATTERN such as hub/library/nginx:1.*, or REPOSITORY@DIGEST
    pub images: Images,

    #[command(flatten)]
    settings: Box<Settings>,
}

impl Mirror {
    /// What is to be done.
    pub fn asked(&self) -> Asked {
        match &self.command {
            MirrorCommand::List(list) => Asked::List { json: list.json },
            MirrorCommand::Fetch(named) => Asked::Fetch(named.images.clone()),
            MirrorCommand::Evict(named) => Asked::Evict(named.images.clone()),
        }
    }

    /// The settings, which count when no server has the data directory open.
    pub fn settings(&self) -> &Settings {
        match &self.command {
            MirrorCommand::List(ListMirrored { settings, .. }) => settings,
            MirrorCommand::Fetch(Named { settings, .. }) | MirrorCommand::Evict(Named { settings, .. }) => settings,
        }
    }
}
