//! What was deleted, and what is protected from that.

use clap::Args;

use crate::settings::Settings;

/// List what was deleted.
#[derive(Debug, Args)]
pub struct Deleted {
    /// The repository; all if it is left out
    pub repository: Option<String>,

    /// Print it as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// Undelete.
#[derive(Debug, Args)]
pub struct Undelete {
    /// A tag with all that it named, or a manifest with the tags that went with it
    #[arg(value_name = "REPOSITORY[:TAG|@DIGEST]")]
    pub image: String,

    /// Overwrite a tag that was pushed again meanwhile
    #[arg(long)]
    pub force: bool,

    /// Bring the tag back under this name
    #[arg(long = "as", value_name = "TAG")]
    pub named: Option<String>,

    /// Print what came back as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// Delete.
#[derive(Debug, Args)]
pub struct Delete {
    /// A tag, a manifest with its tags, or all tags and manifests of a repository
    #[arg(value_name = "REPOSITORY[:TAG|@DIGEST]")]
    pub image: String,

    /// Delete all of a repository
    #[arg(long)]
    pub yes: bool,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// Purge.
#[derive(Debug, Args)]
pub struct Purge {
    /// A tag with what only it names, or a manifest; of a repository all that was deleted in it
    #[arg(value_name = "REPOSITORY[:TAG|@DIGEST]")]
    pub image: String,

    /// Purge what is protected, too
    #[arg(long)]
    pub force: bool,

    /// Print what was removed as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// Protect from deletes.
#[derive(Debug, Args)]
pub struct Protect {
    /// What is not to be deleted: REPOSITORY:TAG, where both may be patterns, REPOSITORY@DIGEST, or REPOSITORY for all of
    /// its tags
    #[arg(value_name = "MARK", required_unless_present = "list")]
    pub marks: Vec<String>,

    /// List all marks
    #[arg(long, conflicts_with = "marks")]
    pub list: bool,

    /// Print the marks as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

/// Protect no more.
#[derive(Debug, Args)]
pub struct Unprotect {
    /// The marks, as `orlop protect --list` prints them
    #[arg(value_name = "MARK", required = true)]
    pub marks: Vec<String>,

    /// The settings of the server.
    #[command(flatten)]
    pub settings: Box<Settings>,
}
