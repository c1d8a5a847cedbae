//! How everything that is stored is read again, to find what is damaged.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use super::number::{size, time};

/// The pace of the scrub.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Content")]
pub struct Scrubbing {
    /// How many bytes a second are read again, to find what a disk has lost or changed, or 0 for none
    ///
    /// What is damaged is out of use from then on, so that the next push, or a mirror, brings it again. `orlop damaged`
    /// lists it; `orlop scrub` reads everything at once.
    #[arg(long, env = "ORLOP_SCRUB_RATE", default_value = "20MB", value_name = "SIZE", value_parser = size)]
    scrub_rate: ByteSize,

    /// How often everything is read again
    ///
    /// A scrub that takes longer than this at --scrub-rate begins again as soon as it has ended.
    #[arg(long, env = "ORLOP_SCRUB_PERIOD", default_value = "30d", value_name = "TIME", value_parser = time)]
    scrub_period: Duration,
}

impl Scrubbing {
    /// How many bytes a second at most.
    pub(crate) fn rate(&self) -> u64 {
        self.scrub_rate.as_u64()
    }

    /// How often everything is read.
    pub(crate) fn period(&self) -> Duration {
        self.scrub_period
    }
}
