//! Mirrors: what is not here is fetched from the registries that a repository stands in front of (SPEC V).
//!
//! A tag is looked up at its upstream when it was not for a while; what a digest names is fetched once. Manifests are
//! taken in by the call that wants them, blobs by a call of their own that all others follow. Everything is held against
//! its digest before a record names it, and from then on is what had been pushed: with the upstream gone, or the mirror
//! taken out of the settings, it stays and is served.

mod blob;
mod bring;
mod evict;
mod manifest;
mod platforms;
mod referrers;
mod rely;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

pub use self::bring::{LetGo, Mirrored};
pub use self::evict::Eviction;
pub(super) use self::manifest::Cached;
pub(super) use self::referrers::Others;
pub(super) use self::rely::{Voucher, content};
use super::Call;
use crate::asked::{Access, Action};
use crate::digest::Digest;
use crate::effect::Inquire;
use crate::error::Error;
use crate::http::{Headers, Method, Request};
use crate::media::ManifestType;
use crate::mirror::{Answer, As, Mirror, Source, Unmet, Upstream, UpstreamName, Wanted};
use crate::name::Repository;
use crate::operation::Operation;

/// How many registries a request may have gone through, and how many bytes their names may have.
const HOPS: usize = 16;
const HOPS_BYTES: usize = 1 << 10;

/// How many bytes of a list are read that only tells whether a caller may have it.
const LISTED: u64 = 1 << 20;

/// The way of a call to the upstreams of a repository.
pub(crate) struct Route<'c> {
    mirror: &'c Mirror,
    pub(crate) name: &'c Repository,
    /// As whom upstreams are asked.
    pub(crate) login: As,
    /// The registries that the request has gone through, with this one.
    pub(crate) via: String,
}

impl Route<'_> {
    /// The upstreams that may be asked, and what the repository is called there.
    fn upstreams(&self) -> impl Iterator<Item = (&Upstream, Repository)> {
        self.mirror.upstreams_of(self.name)
    }

    /// What is to be asked of one of them.
    fn wanted(
        &self,
        upstream: &UpstreamName,
        repository: &Repository,
        method: Method,
        resource: &str,
        accept: &[&'static str],
    ) -> Wanted {
        Wanted {
            upstream: upstream.clone(),
            method,
            repository: repository.clone(),
            resource: resource.into(),
            accept: Vec::from(accept),
            login: self.login.clone(),
            via: self.via.clone(),
        }
    }

    /// A blob at one of them.
    fn source(&self, upstream: &Upstream, repository: Repository, digest: Digest) -> Source {
        let (login, via) = (self.login.clone(), self.via.clone());
        Source { upstream: upstream.name.clone(), repository, digest, login, via }
    }
}

impl Call {
    /// How what the repository lacks can be had. There is no way when it belongs to no mirror, and when the request has
    /// come through this registry before: then whoever it mirrors mirrors it.
    pub(super) fn route<'c>(&'c self, name: &'c Repository, request: &Request) -> Option<Route<'c>> {
        let mirror = self.config.mirror_of(name)?;
        let login = if mirror.verify { As::Caller(self.caller.login.clone()) } else { As::Mirror };
        Some(Route { mirror, name, login, via: passed(&self.config.via, &request.headers)? })
    }

    /// Whether the settings exclude a repository from the mirror that its name belongs to (SPEC V13).
    pub(super) fn is_excluded(&self, name: &Repository) -> bool {
        self.config.mirror_of(name).is_some_and(|mirror| mirror.upstreams_of(name).next().is_none())
    }

    /// Whether an upstream says who may see what is in the repository.
    pub(super) fn is_vouched_for(&self, name: &Repository) -> bool {
        self.config.mirror_of(name).is_some_and(|mirror| mirror.verify)
    }

    /// Sees to it that the upstream gives something to the caller, where it is to say so. What it does not give is
    /// `unknown`, whether it is here or not; a caller without a login is asked for one when that may help.
    pub(super) async fn vouch(
        &self,
        name: &Repository,
        request: &Request,
        (method, resource): (Method, &str),
        unknown: impl Fn() -> Error,
    ) -> Result<(), Error> {
        if !self.is_vouched_for(name) {
            return Ok(());
        }
        let route = self.route(name, request).ok_or_else(&unknown)?;
        match self.inquire(&route, method, resource, &accepted(), LISTED).await? {
            Ok(_) => Ok(()),
            Err(Unmet::Denied) if self.caller.login.is_none() => Err(Error::LoginNeeded),
            Err(unmet) => Err(refused(unmet, unknown())),
        }
    }

    /// Refuses what would push to a repository that stands in front of another registry's (SPEC V).
    pub(super) fn may_write(&self, operation: &Operation) -> Result<(), Error> {
        if self.config.mirrors.is_empty() {
            return Ok(());
        }
        let pushed = operation.access().into_iter().find_map(|access| match access {
            Access::Repository(name, Action::Push) if self.config.mirror_of(&name).is_some() => Some(name),
            _ => None,
        });
        pushed.map_or(Ok(()), |name| Err(Error::Mirrored(name)))
    }

    /// Asks the upstreams of a repository in order, until one of them has an answer. A failure of one counts for more
    /// than that another one does not have it.
    async fn inquire(
        &self,
        route: &Route<'_>,
        method: Method,
        resource: &str,
        accept: &[&'static str],
        limit: u64,
    ) -> Result<Result<Answer, Unmet>, Error> {
        Ok(self.inquire_any(route, method, resource, accept, limit).await?.map(|(_, answer)| answer))
    }

    /// The same, with the upstream that has answered, and what the repository is called there.
    async fn inquire_any<'r>(
        &self,
        route: &Route<'r>,
        method: Method,
        resource: &str,
        accept: &[&'static str],
        limit: u64,
    ) -> Result<Result<(Teller<'r>, Answer), Unmet>, Error> {
        let mut unmet = Unmet::Absent;
        for (upstream, repository) in route.mirror.upstreams_of(route.name) {
            let wanted = route.wanted(&upstream.name, &repository, method, resource, accept);
            match self.ask(Inquire { wanted, limit }).await? {
                Ok(answer) => return Ok(Ok((Teller { upstream, repository }, answer))),
                Err(why) => unmet = worse(unmet, why),
            }
        }
        Ok(Err(unmet))
    }

    /// The page of a list that follows others, of the upstream that gave them: where a page ends is for each upstream to
    /// say. That it is not to be had is a failure, since a part of a list would be taken for all.
    async fn next_page(
        &self,
        route: &Route<'_>,
        teller: &Teller<'_>,
        resource: &str,
        accept: &[&'static str],
        limit: u64,
    ) -> Result<Answer, Error> {
        let wanted = route.wanted(&teller.upstream.name, &teller.repository, Method::Get, resource, accept);
        let lacks = || Error::UpstreamFailed(format!("the upstream of {} lacks a page of a list", route.name));
        self.ask(Inquire { wanted, limit }).await?.map_err(|unmet| refused(unmet, lacks()))
    }
}

/// An upstream that has answered, and what the repository is called there.
struct Teller<'r> {
    upstream: &'r Upstream,
    repository: Repository,
}

/// The media types of all manifests that the registry takes.
fn accepted() -> [&'static str; ManifestType::ALL.len()] {
    ManifestType::ALL.map(ManifestType::as_str)
}

/// The value of `Via` with which a request goes on, or nothing when it has been here, or has come so far that it must be
/// going round (RFC 9110, section 7.6.3).
fn passed(own: &str, headers: &Headers) -> Option<String> {
    let received = headers.all("via").flat_map(|field| field.split(',')).map(str::trim).filter(|hop| !hop.is_empty());
    let mut hops = String::new();
    for (number, hop) in received.enumerate() {
        // The protocol, who received it, and perhaps a comment.
        if hop.split_whitespace().nth(1) == Some(own) || number == HOPS || hops.len() + hop.len() > HOPS_BYTES {
            return None;
        }
        hops.push_str(hop);
        hops.push_str(", ");
    }
    Some(format!("{hops}1.1 {own}"))
}

/// Of two reasons why nothing was found, the one that says more: a client that hears of a failure may try again.
fn worse(one: Unmet, other: Unmet) -> Unmet {
    let weight = |unmet: &Unmet| match unmet {
        Unmet::Absent => 0,
        Unmet::Denied => 1,
        Unmet::Failed(_) => 2,
        Unmet::Paused(_) => 3,
    };
    if weight(&other) > weight(&one) { other } else { one }
}

/// The answer when the upstreams have not given what was asked for: `unknown` when they do not have it. What they deny
/// is not told from that, as in a registry of our own.
fn refused(unmet: Unmet, unknown: Error) -> Error {
    match unmet {
        Unmet::Absent | Unmet::Denied => unknown,
        Unmet::Paused(time) => Error::UpstreamPaused(time),
        Unmet::Failed(reason) => Error::UpstreamFailed(reason),
    }
}
