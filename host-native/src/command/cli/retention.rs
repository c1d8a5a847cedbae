//! What retention would delete, and its runs by hand.

use clap::{Args, Subcommand};

use crate::settings::Settings;

/// Show and apply the rules of retention.
#[derive(Debug, Args)]
pub struct Retention {
    /// The command to run.
    #[command(subcommand)]
    pub command: RetentionCommand,
}

/// Show and apply the rules of retention.
#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Print what the rules would delete now, and why; nothing is changed
    ///
    /// Every tag is listed with the rule by which it goes or stays, and the reason. Each repository has a plan, named by a
    /// hash of the rules and of everything that would go.
    Plan(Plan),
    /// Delete what a plan has listed in a repository
    ///
    /// Nothing is deleted when something else would go by now: then make a new plan. What is pushed, moved, pulled or
    /// protected while it runs stays.
    Apply(Apply),
    /// Print what the last regular run did, and which repositories wait for somebody to agree
    Status(Status),
}

/// Make plans.
#[derive(Debug, Args)]
pub struct Plan {
    /// The repositories; all that a rule is about if they are left out
    #[arg(value_name = "REPOSITORY")]
    pub repositories: Vec<String>,

    /// Print it as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// Apply a plan.
#[derive(Debug, Args)]
pub struct Apply {
    /// The repository
    pub repository: String,

    /// The plan, as `orlop retention plan` names it
    #[arg(long, value_name = "HASH")]
    pub plan: String,

    /// Agree to delete more than 20 % of the tags of the repository, or all of them
    #[arg(long)]
    pub yes: bool,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// Say how it stands.
#[derive(Debug, Args)]
pub struct Status {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}
