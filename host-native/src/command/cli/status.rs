//! How it stands.

use clap::Args;

use crate::settings::Settings;

/// Print how the registry stands.
#[derive(Debug, Args)]
pub struct Status {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,

    /// The settings, for when no server has the data directory open.
    #[command(flatten)]
    pub settings: Box<Settings>,
}
