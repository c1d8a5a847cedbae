//! What is kept, who may use it, and by which rules (SPEC AE): usage, what was deleted, protect marks, retention, users
//! and rules.

pub(crate) mod deleted;
mod page;
pub(crate) mod protected;
mod retention;
mod rules;
pub(crate) mod usage;
mod users;

use axum::response::Response;
use orlop_core::caller::Right;
use orlop_core::error::{Code, Error};
use orlop_core::name::Repository;
use orlop_core::operation::Operation;
use orlop_core::target::Query;
use orlop_core::{Access, Action, Step, http};

use self::page::Page;
use crate::auth::identity::Identity;
use crate::auth::refusal::{denied, refusal};
use crate::crowd::Client;
use crate::request::administer::{administrator, takes_changes};
use crate::request::answer::Service;
use crate::request::live::Live;
use crate::request::response::with_body;
use crate::request::source::Origin;
use crate::storage::RequestBody;

/// An answer, or the one that refuses.
type Answered = Result<http::Response, http::Response>;

/// A request, and who has sent it.
#[derive(Clone, Copy)]
struct Asking<'r> {
    service: &'r Service,
    live: &'r Live,
    from: Origin<'r>,
    identity: &'r Identity,
}

/// The answer to a request that may be made, if it is about one of these.
pub(super) async fn answer(
    service: &Service,
    live: &Live,
    from: Origin<'_>,
    body: &mut RequestBody,
    identity: &Identity,
) -> Option<Response> {
    let asking = Asking { service, live, from, identity };
    let answered = match from.line.asked.operation.as_ref().ok()? {
        Operation::ShowUsage => usage::show(asking).await,
        Operation::ListDeleted => deleted::list(asking).await,
        Operation::Undelete => deleted::undelete(asking, body).await,
        Operation::Purge => deleted::purge(asking, body).await,
        Operation::ListProtected => protected::list(asking).await,
        Operation::Protect => protected::protect(asking, body).await,
        Operation::Unprotect => protected::unprotect(asking).await,
        Operation::ShowRetention => retention::show(asking).await,
        Operation::PlanRetention => retention::plan(asking).await,
        Operation::ApplyRetention => retention::apply(asking, body).await,
        Operation::ListUsers => users::list(asking).await,
        Operation::ListRules => rules::list(asking),
        Operation::ExplainRules => rules::explain(asking, body).await,
        _ => return None,
    };
    let response = answered.unwrap_or_else(|refused| refused);
    if let Some(fault) = &response.fault {
        let http::Request { method, target, .. } = &from.line.asked.request;
        tracing::error!(id = from.line.id, %method, target, "{fault}");
    }
    Some(with_body(response, None))
}

impl<'r> Asking<'r> {
    /// Refuses all but administrators.
    fn administrator(&self) -> Result<(), http::Response> {
        administrator(self.live, self.identity).map(drop)
    }

    /// Refuses all but administrators, and everybody where the registry takes no changes.
    fn change(&self) -> Result<(), http::Response> {
        self.administrator()?;
        takes_changes(self.live)
    }

    /// Refuses whoever has shown a token: it stands for a program, and for no person.
    fn no_token(&self) -> Result<(), http::Response> {
        match self.identity.is_shown_by_token() {
            false => Ok(()),
            true => Err(refusal(403, Code::Denied, "a token may not do this: sign in, or send the password")),
        }
    }

    /// Refuses whoever lacks one of these rights in a repository. One that may not be pulled from is not there, as it is
    /// everywhere.
    fn may(&self, name: &Repository, rights: &[Right]) -> Result<(), http::Response> {
        let own = self.live.rules.rights(self.identity);
        let lacks = |right: &&Right| !own.may(**right, name);
        match rights.iter().find(lacks) {
            None => Ok(()),
            Some(Right::Pull) => Err(Error::RepositoryUnknown(name.clone()).into()),
            Some(right) => {
                let access = Access::Repository(name.clone(), Action::Delete);
                Err(denied(self.identity, *right, Some(&access)))
            }
        }
    }

    fn query(&self) -> &'r Query {
        self.from.line.asked.query()
    }

    /// A parameter of the query, if it has a value.
    fn given(&self, name: &str) -> Option<&'r str> {
        self.query().get(name)
    }

    /// The repository that the query names, if it names one.
    fn repository(&self) -> Result<Option<Repository>, http::Response> {
        let parsed = self.query().get("repository").map(|name| name.parse().map_err(Error::Repository));
        Ok(parsed.transpose()?)
    }

    /// Which part of a list is asked for.
    fn page(&self) -> Result<Page<'r>, http::Response> {
        Page::of(&self.from.line.asked)
    }

    /// Runs a step of the registry.
    async fn run<T: Send + 'static>(&self, step: Step<T>) -> T {
        self.service.host.run(step, &mut RequestBody::empty()).await
    }

    /// Runs a step that reads many records, of which few are run at once.
    async fn run_long<T: Send + 'static>(&self, step: Step<T>) -> Result<T, http::Response> {
        let _making = self.room().await?;
        Ok(self.run(step).await)
    }

    /// Room for one of the few long answers that are made at once, of all clients and of this one.
    async fn room(&self) -> Result<impl Sized + use<'r>, http::Response> {
        let client = Client::of(&self.identity.name(), self.from.line.client);
        let making = self.service.memory.making(&client, true, false).await;
        making.ok_or_else(|| Error::Busy.into())
    }
}
