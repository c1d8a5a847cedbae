//! `orlop import distribution`: the data directory of distribution or docker-registry is taken over.

use std::error::Error;

use crate::command::cli::Distribution;

/// Takes over a data directory.
///
/// # Errors
///
/// With what could not be done.
pub(super) fn import(asked: &Distribution) -> Result<(), Box<dyn Error>> {
    Err(format!("{} is not imported", asked.source.display()).into())
}
