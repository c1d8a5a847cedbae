//! API tokens of users.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::settings::{Settings, time};

/// API tokens of users.
#[derive(Debug, Args)]
pub struct Token {
    /// The command to run.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What to do with API tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make an API token for a user, and print it: it is shown this once
    ///
    /// Programs send it in the place of the password: `docker login -u USER`. It allows the actions in the repositories, as
    /// far as the rules allow them to the user.
    Create(Created),
    /// List API tokens: of a user, or of all users
    List(ListedTokens),
    /// Revoke API tokens, at once and on all servers
    Revoke(Revoked),
}

/// An API token that is to be made.
#[derive(Debug, Args)]
pub struct Created {
    /// The user whom the token is of
    #[arg(value_name = "USER")]
    pub user: String,

    /// What the token is called, such as the program that gets it
    #[arg(long, value_name = "TEXT")]
    pub name: String,

    /// The repositories that the token is for, as a pattern (repeatable); all if not given
    #[arg(long, value_name = "PATTERN", default_value = "**")]
    pub repository: Vec<String>,

    /// What the token allows (repeatable); pull if not given
    #[arg(long, value_name = "ACTION", default_value = "pull")]
    pub action: Vec<TokenAction>,

    /// How long the token lasts; 0 is for ever
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = time)]
    pub expires: Duration,

    /// Print the token as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// What a token allows.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum TokenAction {
    Pull,
    Push,
    Delete,
}

/// API tokens that are to be listed.
#[derive(Debug, Args)]
pub struct ListedTokens {
    /// Whose; all if it is left out
    #[arg(value_name = "USER")]
    pub user: Option<String>,

    /// Print them as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// API tokens that are to be revoked.
#[derive(Debug, Args)]
pub struct Revoked {
    /// The ids of the tokens, as `orlop token list` prints them
    #[arg(value_name = "ID", required_unless_present = "user")]
    pub ids: Vec<String>,

    /// Revoke all tokens of this user
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    pub user: Option<String>,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}
