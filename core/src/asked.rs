//! A request that was read, once for all who want to know something of it, and what can be demanded of its caller.

use alloc::vec::Vec;

use crate::error::Error;
use crate::http::Request;
use crate::name::{Repository, Tag};
use crate::operation::{Operation, Summary};
use crate::target::Query;

/// A request, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// What it asks for, or why it is refused as it stands.
    pub operation: Result<Operation, Error>,
    /// Its parameters.
    pub(crate) query: Query,
}

impl From<Request> for Asked {
    fn from(request: Request) -> Self {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let query = Query::parse(query);
        let operation = Operation::read(request.method, path, &query);
        Self { request, operation, query }
    }
}

impl Asked {
    /// What the caller must be allowed to do: see [`Operation::access`].
    pub fn access(&self) -> Vec<Access> {
        self.operation.as_ref().map_or_else(|_| Vec::new(), Operation::access)
    }

    /// What logs and counts say of it.
    pub fn summary(&self) -> Summary<'_> {
        self.operation.as_ref().map_or(Summary::OTHER, Operation::summary)
    }
}

/// Something that a caller must be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// To list the repositories.
    Catalog,
    /// To do this in that repository.
    Repository(Repository, Action),
    /// To delete that tag.
    DeleteTag(Repository, Tag),
    /// To pull from any repository: a mount that does not say from where.
    Anywhere,
}

/// What can be allowed in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read.
    Pull,
    /// Write.
    Push,
    /// Delete manifests, tags and blobs.
    Delete,
}
