//! What is asked of the space that repositories take.

use clap::Args;

use crate::command::usage::{Form, Sort};
use crate::settings::Settings;

/// Print what each repository takes.
#[derive(Debug, Args)]
pub struct Usage {
    /// Print the repositories in this order: the largest first, and so on
    #[arg(long, value_enum, default_value_t = Sort::Bytes)]
    pub sort: Sort,

    /// Print so many repositories at most
    #[arg(long, value_name = "NUMBER")]
    pub top: Option<usize>,

    /// How it is printed: csv and json have exact bytes, and times as RFC 3339
    #[arg(long, value_enum, default_value_t = Form::Table)]
    pub format: Form,

    /// Count every repository anew instead, and repair what is counted wrongly
    ///
    /// Pushes and deletes go on meanwhile. A repository that changes all the time may not be counted; it is named.
    #[arg(long, conflicts_with_all = ["sort", "top", "format"])]
    pub recount: bool,

    /// The settings, for when no server has the data directory open.
    #[command(flatten)]
    pub settings: Box<Settings>,
}
