//! Users of the password file.

use clap::{Args, Subcommand};

use crate::settings::{Auth, File};

/// Users of the password file.
#[derive(Debug, Args)]
pub struct User {
    /// The command to run.
    #[command(subcommand)]
    pub command: UserCommand,
}

/// What to do. A new password is asked for at a terminal, and otherwise read from standard input.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user
    Add(Named),
    /// Change the password of a user
    Passwd(Named),
    /// Remove a user
    Remove(Removed),
    /// Print the names of all users
    List(Listed),
}

/// A user who gets a password.
#[derive(Debug, Args)]
pub struct Named {
    /// The name of the user
    pub name: String,

    /// Hash the password with bcrypt, which Apache and nginx can read, instead of argon2
    #[arg(long)]
    pub bcrypt: bool,

    #[command(flatten)]
    file: File,

    /// Access control.
    #[command(flatten)]
    pub auth: Auth,
}

/// A user who goes.
#[derive(Debug, Args)]
pub struct Removed {
    /// The name of the user
    pub name: String,

    #[command(flatten)]
    file: File,

    /// Access control.
    #[command(flatten)]
    pub auth: Auth,
}

/// All users.
#[derive(Debug, Args)]
pub struct Listed {
    #[command(flatten)]
    file: File,

    /// Access control.
    #[command(flatten)]
    pub auth: Auth,
}
