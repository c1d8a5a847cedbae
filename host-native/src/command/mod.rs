//! What each verb of the command line does.

pub mod administer;
pub mod cli;
pub mod config;
pub mod control;
pub mod process;
pub mod start;
pub mod sweep;
