//! What is looked up of repositories and images.

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};

use crate::copy::parse_platform;
use crate::settings::Settings;

/// List.
#[derive(Debug, Args)]
pub struct List {
    /// Whose tags; without it repositories are listed. With --tree it is the folder that is shown
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

    /// Show repositories as a tree by the slashes in their names, with what is in each folder
    #[arg(long, conflicts_with_all = ["search", "sort", "reverse"])]
    pub tree: bool,

    /// Show so many levels of the tree; all if not given
    #[arg(long, value_name = "LEVELS", requires = "tree")]
    pub depth: Option<NonZeroUsize>,

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

/// Search.
#[derive(Debug, Args)]
pub struct Search {
    /// A part of a name of a repository or tag; app:v1 finds tags with v1 in repositories with app in their names
    #[arg(value_name = "TEXT")]
    pub text: String,

    /// Print so many at most; 0 prints 10,000
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub top: usize,

    /// Print them as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings, for when no server has the data directory open.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// Compare.
#[derive(Debug, Args)]
pub struct Compare {
    /// The one
    #[arg(value_name = "REPOSITORY:TAG|REPOSITORY@DIGEST")]
    pub one: String,

    /// The other
    #[arg(value_name = "REPOSITORY:TAG|REPOSITORY@DIGEST")]
    pub other: String,

    /// Of an index, compare the image for this platform; if not given, for linux/amd64, or else for the first that it lists
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub platform: Option<String>,

    /// Print it as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings, for when no server has the data directory open.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// The name of a platform as it is written.
fn platform(text: &str) -> Result<String, String> {
    parse_platform(text).map(|_| text.to_owned())
}
