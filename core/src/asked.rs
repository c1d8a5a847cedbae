//! A request that was read: once, for all who want to know something of it.

use alloc::vec::Vec;

use crate::error::Error;
use crate::http::{Method, Request};
use crate::name::{Repository, Tag};
use crate::target::{Query, Reference, Target};

/// A request, and what its target says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// What its path names, or why it names nothing.
    pub(crate) target: Result<Target, Error>,
    /// Its parameters.
    pub(crate) query: Query,
}

impl From<Request> for Asked {
    fn from(request: Request) -> Self {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let (target, query) = (Target::parse(path), Query::parse(query));
        Self { request, target, query }
    }
}

impl Asked {
    /// What the caller must be allowed to do, for hosts that know who is asking (SPEC Q1, E14). Empty for `/v2/` and
    /// for paths that lead nowhere: these ask for no more than to be somebody.
    pub fn access(&self) -> Vec<Access> {
        let on = |name: &Repository, action| Vec::from([Access::Repository(name.clone(), action)]);
        let by_method = |name| match self.request.method {
            Method::Get | Method::Head => on(name, Action::Pull),
            Method::Delete => on(name, Action::Delete),
            _ => on(name, Action::Push),
        };
        match &self.target {
            Ok(Target::Base) | Err(_) => Vec::new(),
            Ok(Target::Catalog) => Vec::from([Access::Catalog]),
            Ok(Target::Tags(name) | Target::Referrers(name, _)) => on(name, Action::Pull),
            Ok(Target::Manifest(name, Reference::Tag(tag))) if self.request.method == Method::Delete => {
                Vec::from([Access::DeleteTag(name.clone(), tag.clone())])
            }
            Ok(Target::Manifest(name, _) | Target::Blob(name, _)) => by_method(name),
            // Whoever may push may look after, and give up, what it pushes (SPEC I3).
            Ok(Target::Upload(name, _)) => on(name, Action::Push),
            Ok(Target::Uploads(name)) => {
                let mut access = on(name, Action::Push);
                if self.query.get("mount").is_some() {
                    access.push(match self.query.get("from") {
                        Some(from) => match from.parse() {
                            Ok(from) => Access::Repository(from, Action::Pull),
                            // It cannot be mounted from, so nothing is asked of it.
                            Err(_) => return access,
                        },
                        None => Access::Anywhere,
                    });
                }
                access
            }
        }
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
