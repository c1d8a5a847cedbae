//! The registry: where calls begin.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::effect::{Fault, Step};
use crate::error::{Error, stamped};
use crate::event::Queued;
use crate::flows::Call;
pub use crate::flows::sweep::Report;
pub use crate::flows::usage::Census;
use crate::http::{Body, Method, Request, Response};
use crate::keys::Key;
use crate::name::{Repository, Tag};
use crate::step::{Io, start};
use crate::target::{Query, Reference, Target};
use crate::{Ambient, Caller, Config};

/// The registry. It has no state: a replica needs nothing but the shared storage.
#[derive(Clone, Debug)]
pub struct Registry {
    config: Arc<Config>,
}

impl Registry {
    /// A registry with that configuration.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config) }
    }

    /// Begins a call. Every request is answered; one that nobody understands, too.
    pub fn call(&self, request: Request, ambient: Ambient) -> Step {
        self.call_of(Caller::anybody(), request, ambient)
    }

    /// Begins a call of somebody. A host has held [`access`](Self::access) against the rights and refuses what it
    /// may tell by the request alone; the flows see to what only the records tell. What the caller may not pull or
    /// list is to it as if it were not there.
    pub fn call_of(&self, caller: Caller, request: Request, ambient: Ambient) -> Step {
        let config = self.config.clone();
        start(|io| async move {
            let call = Call { io, config, ambient, caller };
            let answer = call.answer(&request).await;
            finish(request.method, answer)
        })
    }

    /// Begins a sweep: garbage collection, a call like any other.
    pub fn sweep(&self, ambient: Ambient) -> Step<Report> {
        let call = self.own(ambient);
        start(|io| async move { call(io).sweep().await })
    }

    /// Begins to count everything.
    pub fn census(&self, ambient: Ambient) -> Step<Result<Census, Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).census().await.map_err(fault) })
    }

    /// Begins to read the oldest events that a [listener](crate::event::Listener) has not been told.
    pub fn queued(&self, listener: String, ambient: Ambient) -> Step<Queued> {
        let call = self.own(ambient);
        start(|io| async move { call(io).queued(&listener).await.map_err(fault) })
    }

    /// Begins to forget events that were told.
    pub fn told(&self, events: Vec<Key>, ambient: Ambient) -> Step<Result<(), Fault>> {
        let call = self.own(ambient);
        start(|io| async move { call(io).told(events).await.map_err(fault) })
    }

    /// A call that nobody sent.
    fn own(&self, ambient: Ambient) -> impl FnOnce(Io) -> Call + use<> {
        let config = self.config.clone();
        move |io| Call { io, config, ambient, caller: Caller::anybody() }
    }

    /// What the caller of a request must be allowed to do, for hosts that know who is asking (SPEC Q1, E14).
    /// Empty for `/v2/` and for paths that lead nowhere: these ask for no more than to be somebody.
    pub fn access(&self, request: &Request) -> Vec<Access> {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let on = |name, action| Vec::from([Access::Repository(name, action)]);
        let by_method = |name| match request.method {
            Method::Get | Method::Head => on(name, Action::Pull),
            Method::Delete => on(name, Action::Delete),
            _ => on(name, Action::Push),
        };
        match Target::parse(path) {
            Ok(Target::Base) | Err(_) => Vec::new(),
            Ok(Target::Catalog) => Vec::from([Access::Catalog]),
            Ok(Target::Tags(name) | Target::Referrers(name, _)) => on(name, Action::Pull),
            Ok(Target::Manifest(name, Reference::Tag(tag))) if request.method == Method::Delete => {
                Vec::from([Access::DeleteTag(name, tag)])
            }
            Ok(Target::Manifest(name, _) | Target::Blob(name, _)) => by_method(name),
            // Whoever may push may look after, and give up, what it pushes (SPEC I3).
            Ok(Target::Upload(name, _)) => on(name, Action::Push),
            Ok(Target::Uploads(name)) => {
                let query = Query::parse(query);
                let mut access = on(name, Action::Push);
                if query.get("mount").is_some() {
                    access.push(match query.get("from") {
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

/// What only the storage can have done.
fn fault(error: Error) -> Fault {
    match error {
        Error::Storage(fault) => fault,
        other => Fault::Failed(format!("{other:?}")),
    }
}

/// Turns the end of a flow into what is sent.
fn finish(method: Method, answer: Result<Response, Error>) -> Response {
    let head = method == Method::Head;
    let mut response = answer.unwrap_or_else(|error| {
        // A name that cannot be is not there: containerd asks HEAD first and goes on after a 404 (SPEC B3).
        let malformed = matches!(error, Error::Repository(_) | Error::Tag(_) | Error::Digest(_));
        let mut response = Response::from(error);
        if head && malformed {
            response.status = 404;
        }
        response
    });
    if head {
        // RFC 9110, 9.3.2; SPEC P5.
        response.body = Body::Empty;
    }
    if !matches!(response.status, 204 | 304) && response.header("Content-Length").is_none() {
        response = response.with("Content-Length", "0");
    }
    stamped(response)
}
