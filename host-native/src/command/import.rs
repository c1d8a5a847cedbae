//! `orlop import …`: what other registries have is taken over.

mod configuration;
mod distribution;

use std::error::Error;

pub use self::distribution::Broken;
use crate::command::cli::ImportCommand;
use crate::command::exchange;

/// Takes over what is asked for.
///
/// # Errors
///
/// With what could not be done.
pub fn import(asked: &ImportCommand) -> Result<(), Box<dyn Error>> {
    match asked {
        ImportCommand::Distribution(asked) => distribution::import(asked),
        ImportCommand::S3(asked) => distribution::import_bucket(asked),
        ImportCommand::Configuration(asked) => configuration::import(asked),
        ImportCommand::Oci(asked) => exchange::import_oci(asked),
        ImportCommand::DockerArchive(asked) => exchange::import_archive(asked),
        ImportCommand::Registry(asked) => exchange::import_registry(asked),
    }
}
