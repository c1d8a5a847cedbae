//! What is looked up of repositories and images.

use clap::{Args, ValueEnum};

use crate::settings::Settings;

/// List.
#[derive(Debug, Args)]
pub struct List {
    /// Whose tags; without it repositories are listed
    #[arg(value_name = "REPOSITORY")]
    pub repository: Option<String>,

    /// Only those with that in their names
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,

    /// In which order: repositories by name, bytes or pushed; tags by name, pushed, pulled, pulls or size
    #[arg(long, value_enum, default_value_t = Order::Name)]
    pub sort: Order,

    /// From the last to the first
    #[arg(long)]
    pub reverse: bool,

    /// Print all that is known as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings, for when no server has the data directory open.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum Order {
    /// By name
    Name,
    /// By the bytes that a repository takes
    Bytes,
    /// By when something was last pushed
    Pushed,
    /// By when a tag was last pulled
    Pulled,
    /// By how often a tag was pulled
    Pulls,
    /// By the bytes of what a tag names
    Size,
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map(|value| value.get_name()).unwrap_or_default())
    }
}

/// Show.
#[derive(Debug, Args)]
pub struct Show {
    /// Which
    #[arg(value_name = "REPOSITORY:TAG|REPOSITORY@DIGEST")]
    pub image: String,

    /// Print all that is known as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings, for when no server has the data directory open.
    #[command(flatten)]
    pub settings: Box<Settings>,
}
