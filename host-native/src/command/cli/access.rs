//! What a user may do.

use clap::{Args, Subcommand};

use crate::settings::{Action, Auth, File, Tls};

/// Explain what a user may do.
#[derive(Debug, Args)]
pub struct Access {
    /// The command to run.
    #[command(subcommand)]
    pub command: AccessCommand,
}

/// What to explain.
#[derive(Debug, Subcommand)]
pub enum AccessCommand {
    /// Print whether an action is allowed, and the rule that decides it
    Explain(Explain),
}

/// Print the rule that decides.
#[derive(Debug, Args)]
pub struct Explain {
    /// The name of a user, anonymous, or certificate:NAME
    pub user: String,

    /// The action: pull, push, upload, create-tag, overwrite-tag, delete, list or all
    #[arg(hide_possible_values = true)]
    pub action: Action,

    /// The repository
    pub repository: String,

    /// The tag; any tag if not given
    pub tag: Option<String>,

    /// A group that an identity provider says the user is in (repeatable)
    #[arg(long = "in-group", value_name = "GROUP")]
    pub in_group: Vec<String>,

    #[command(flatten)]
    file: File,

    /// Access control.
    #[command(flatten)]
    pub auth: Auth,

    /// Encryption.
    #[command(flatten)]
    pub tls: Tls,
}
