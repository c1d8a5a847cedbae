//! What each verb of the command line does.

/// Prints a line of what was asked for; see `printed.rs`.
macro_rules! out {
    ($($line:tt)*) => { $crate::command::printed::out(format_args!($($line)*)) };
}

/// Prints a line on the standard error.
macro_rules! note {
    ($($line:tt)*) => { $crate::command::printed::note(format_args!($($line)*)) };
}

pub mod activity;
pub mod administer;
pub mod browse;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod copy;
pub mod delete;
pub mod deleted;
pub mod evict;
pub mod exchange;
pub mod gc;
pub mod import;
pub mod integrity;
pub mod jobs;
pub mod mirror;
mod owner;
mod printed;
pub mod process;
pub mod reload;
pub mod retention;
pub mod scrub;
pub mod start;
pub mod status;
pub mod storage;
pub mod sync;
pub mod token;
pub mod transfer;
pub mod translate;
pub mod usage;
mod work;
