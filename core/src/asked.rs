//! A request that was read, once for all who want to know something of it, and what can be demanded of its caller.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::Error;
use crate::http::{Request, Response};
use crate::mirror::Mirror;
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
    /// The prefix of the mirror whose repositories the client sees without it.
    pub(crate) root: Option<String>,
}

impl From<Request> for Asked {
    fn from(request: Request) -> Self {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let query = Query::parse(query);
        let operation = Operation::read(request.method, path, &query);
        Self { request, operation, query, root: None }
    }
}

impl Asked {
    /// What the caller must be allowed to do: see [`Operation::access`].
    pub fn access(&self) -> Vec<Access> {
        self.operation.as_ref().map_or_else(|_| Vec::new(), Operation::access)
    }

    /// Its parameters.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// What logs and counts say of it.
    pub fn summary(&self) -> Summary<'_> {
        self.operation.as_ref().map_or(Summary::OTHER, Operation::summary)
    }
}

/// What stands in front of the name of a repository in a target.
const NAMES: &str = "/v2/";

impl Asked {
    /// Reads a request to a registry with mirrors. The repositories of one of them may be at the root of what the client
    /// sees: then the request that counts is that for the whole name.
    pub(crate) fn within(request: Request, root: Option<&str>, mirrors: &[Mirror]) -> Self {
        let asked = Self::from(request);
        let namespace = asked.query.get("ns").filter(|namespace| !namespace.is_empty() && !mirrors.is_empty());
        let prefix = match namespace {
            Some(namespace) => {
                let meant = |mirror: &&Mirror| mirror.namespaces.iter().any(|known| known == namespace);
                match mirrors.iter().find(meant) {
                    Some(mirror) => mirror.prefix.as_str(),
                    None => {
                        let unknown = Error::NamespaceUnknown(namespace.into());
                        let operation = asked.operation.and(Err(unknown));
                        return Self { operation, ..asked };
                    }
                }
            }
            None => root.unwrap_or_default(),
        };
        let rest = asked
            .request
            .target
            .strip_prefix(NAMES)
            .filter(|rest| !prefix.is_empty() && !rest.is_empty() && !rest.starts_with('?'));
        let Some(rest) = rest else {
            return Self { root: Some(prefix.into()).filter(|_| !prefix.is_empty()), ..asked };
        };
        if rest.starts_with("_catalog") {
            // The names in it would be others than those by which the client can pull.
            return Self { operation: Err(Error::NoSuchEndpoint), ..asked };
        }
        let target = format!("{NAMES}{prefix}{rest}");
        Self { root: Some(prefix.into()), ..Self::from(Request { target, ..asked.request }) }
    }

    /// The name of a repository as the client knows it.
    pub(crate) fn outward_name<'n>(&self, name: &'n Repository) -> &'n str {
        self.root.as_deref().and_then(|root| name.as_str().strip_prefix(root)).unwrap_or(name.as_str())
    }

    /// The response with URLs as the client is to use them. A `Link` has the parameters of the request, and so `ns` too; a
    /// `Location` gets it.
    pub(crate) fn outward(&self, mut response: Response) -> Response {
        let Some(root) = &self.root else { return response };
        let (link, location) = (format!("<{NAMES}{root}"), format!("{NAMES}{root}"));
        for (name, value) in &mut response.headers {
            match *name {
                "Link" => {
                    if let Some(rest) = value.strip_prefix(&link) {
                        *value = format!("<{NAMES}{rest}").into();
                    }
                }
                "Location" => {
                    if let Some(rest) = value.strip_prefix(&location) {
                        *value = self.query.kept("ns", format!("{NAMES}{rest}")).into();
                    }
                }
                _ => {}
            }
        }
        response
    }
}

/// Something that a caller must be allowed to do. Where a request needs several, it must be allowed each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// To list the repositories.
    Catalog,
    /// To do this in that repository.
    Repository(Repository, Action),
    /// To delete that tag.
    DeleteTag(Repository, Tag),
    /// To pull from that repository, or from any if it is not said which: the source of a mount. Where that is not allowed the
    /// request is made all the same, and begins an upload (SPEC E14).
    Source(Option<Repository>),
    /// Nothing at all, not even to be known.
    Open,
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
