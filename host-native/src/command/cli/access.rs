//! What somebody may do.

use clap::{Args, Subcommand};

use crate::settings::{Action, Auth, File, Tls};

/// See what somebody may do.
#[derive(Debug, Args)]
pub struct Access {
    /// What to do.
    #[command(subcommand)]
    pub command: AccessCommand,
}

/// What to see.
#[derive(Debug, Subcommand)]
pub enum AccessCommand {
    /// Print which rule decides
    Explain(Explain),
}

/// Print which rule decides.
#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    file: File,

    /// Who may do what.
    #[command(flatten)]
    pub auth: Auth,

    /// Encryption.
    #[command(flatten)]
    pub tls: Tls,

    /// Who asks: the name of a user, anonymous, or certificate:NAME
    pub user: String,

    /// To do what: pull, push, upload, create-tag, overwrite-tag, delete, list
    pub action: Action,

    /// In which repository
    pub repository: String,

    /// With which tag
    pub tag: Option<String>,
}
