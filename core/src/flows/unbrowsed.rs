//! What stands in the place of the API for people where it is left out: there is no such endpoint.

use super::Call;
use crate::asked::Asked;
use crate::error::Error;
use crate::http::Response;
use crate::name::Repository;
use crate::target::{Query, Reference};

impl Call {
    pub(crate) async fn browse_repositories(&self, _: &Query) -> Result<Response, Error> {
        Err(Error::NoSuchEndpoint)
    }

    pub(crate) async fn browse_folder(&self, _: &Query) -> Result<Response, Error> {
        Err(Error::NoSuchEndpoint)
    }

    pub(crate) async fn search(&self, _: &Query) -> Result<Response, Error> {
        Err(Error::NoSuchEndpoint)
    }

    pub(crate) async fn browse_tags(&self, _: &Repository, _: &Asked) -> Result<Response, Error> {
        Err(Error::NoSuchEndpoint)
    }

    pub(crate) async fn empty(&self, _: &Repository, _: &Query) -> Result<Response, Error> {
        Err(Error::NoSuchEndpoint)
    }

    pub(crate) async fn browse_image(&self, _: &Repository, _: &Reference, _: &Asked) -> Result<Response, Error> {
        Err(Error::NoSuchEndpoint)
    }
}
