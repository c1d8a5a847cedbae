//! Users of the password file.

use clap::{Args, Subcommand};

use crate::settings::{Auth, File};

/// Users of the password file.
#[derive(Debug, Args)]
pub struct User {
    /// What to do.
    #[command(subcommand)]
    pub command: UserCommand,
}

/// What to do with a user. The password is asked for, or read from standard input.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user
    Add(Named),
    /// Give a user another password
    Passwd(Named),
    /// Remove a user
    Remove(Named),
}

/// A user.
#[derive(Debug, Args)]
pub struct Named {
    #[command(flatten)]
    file: File,

    /// Who may do what.
    #[command(flatten)]
    pub auth: Auth,

    /// The name of the user
    pub name: String,

    /// Hash the password with bcrypt, which Apache and nginx read, and not with argon2
    #[arg(long)]
    pub bcrypt: bool,
}
