//! What is asked of what happened.

use clap::Args;

use crate::command::usage::Form;
use crate::settings::Settings;

/// Print what happened.
#[derive(Debug, Args)]
pub struct Activity {
    /// Only in repositories that match: `*` stands for any text within a component, `**` also across components
    #[arg(long, value_name = "PATTERN")]
    pub repository: Option<String>,

    /// Only what that user did
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Only this: push, delete, damaged or quota
    #[arg(long, value_name = "WHAT")]
    pub happening: Option<String>,

    /// Not before that time or day, in UTC, such as 2027-01-15T08:00:00Z or 2027-01-15
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,

    /// Not after that time or day
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// Print so many at most, the last that happened; 0 prints all that are kept
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub top: usize,

    /// How they are printed: csv and json also have digests, media types, sizes, addresses and clients
    #[arg(long, value_enum, default_value_t = Form::Table)]
    pub format: Form,

    /// Print them as JSON, as --format json does
    #[arg(long, conflicts_with = "format")]
    pub json: bool,

    /// The settings, for when no server has the data directory open.
    #[command(flatten)]
    pub settings: Box<Settings>,
}
