//! Lists: the tags of a repository and the repositories of the registry (OCI end-8; Docker catalog; SPEC N, O).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::json;

use super::Call;
use crate::asked::Asked;
use crate::caller::{Place, Right};
use crate::config::{CATALOG_PAGE, SCAN_PAGE, TAGS_PAGE};
use crate::effect::Scan;
use crate::error::Error;
use crate::http::{Method, Response};
use crate::keys::{self, Prefix};
use crate::name::Repository;
use crate::target::Query;

impl Call {
    /// The tags, in byte order (SPEC N2), after `last`, as many as `n` says; all of them without (SPEC N8).
    pub(crate) async fn tags(&self, name: &Repository, asked: &Asked) -> Result<Response, Error> {
        let Asked { request, query, .. } = asked;
        let n = page_size(query, TAGS_PAGE, TAGS_PAGE)?;
        let known_as = asked.outward_name(name);
        let unknown = || Error::RepositoryUnknown(known_as.parse().unwrap_or_else(|_| name.clone()));
        if !self.may(Right::Pull, name) {
            return Err(unknown());
        }
        // Before anything is looked up: what is here must not tell itself from what is not.
        self.vouch(name, request, (Method::Get, "tags/list?n=1"), unknown).await?;
        let [repository] = self.get([keys::repository(name)]).await?;
        repository.ok_or_else(unknown)?;
        let (tags, more) = self.page(&keys::tags(name), query.get("last"), n, Some, |_| true).await?;
        let link = link(&format!("/v2/{name}/tags/list"), query, tags.last().filter(|_| more));
        Ok(listing(&json!({ "name": known_as, "tags": tags }), link))
    }

    /// The repositories that the caller may see, in byte order, `n` at a time (SPEC O1, O2).
    pub(crate) async fn catalog(&self, query: &Query) -> Result<Response, Error> {
        let (default, most) = CATALOG_PAGE;
        let n = page_size(query, default, most)?;
        // What an upstream is to say of a repository is not known of a list of them.
        let seen =
            |name: &str| name.parse().is_ok_and(|name| self.may(Right::List, &name) && !self.is_vouched_for(&name));
        let next = |place| self.caller.rights.next_place(Right::List, place);
        let (repositories, more) = self.page(&keys::repositories(), query.get("last"), n, next, seen).await?;
        let link = link("/v2/_catalog", query, repositories.last().filter(|_| more));
        Ok(listing(&json!({ "repositories": repositories }), link))
    }

    /// Up to `n` names under `prefix` after `last` that are `wanted`, and whether there are more. `last` need not exist:
    /// it is a place in the order (SPEC N7). `next` says where, from a place on, wanted names may come.
    async fn page(
        &self,
        prefix: &Prefix,
        last: Option<&str>,
        n: usize,
        next: impl Fn(Place) -> Option<Place>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(Vec<String>, bool), Error> {
        let place = next(last.map_or_else(Place::start, Place::after));
        self.page_from(prefix, place, n, next, wanted).await
    }

    /// The same from a place on; from none on there are none.
    pub(super) async fn page_from(
        &self,
        prefix: &Prefix,
        mut place: Option<Place>,
        n: usize,
        next: impl Fn(Place) -> Option<Place>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(Vec<String>, bool), Error> {
        let mut names = Vec::new();
        let mut unwanted = false;
        while let Some(at) = place {
            // One more than the page tells whether another page follows. Where names are passed over, their number is
            // not known, and few large scans cost less than many small ones.
            let limit = if unwanted { SCAN_PAGE } else { (n + 1 - names.len()).min(SCAN_PAGE) };
            let (under, after) = match at.after {
                true => (prefix.clone(), Some(prefix.at(&at.text))),
                false => (prefix.narrowed(&at.text), None),
            };
            // Their values are small, so that their number is bound enough.
            let entries = self.ask(Scan { prefix: under, after, limit, bytes: usize::MAX }).await?;
            for (key, _) in &entries {
                let name = prefix.rest(key);
                if wanted(name) {
                    names.push(String::from(name));
                } else {
                    unwanted = true;
                }
            }
            if names.len() > n {
                break;
            }
            let end = match entries.last() {
                Some((key, _)) if entries.len() == limit => Some(Place::after(prefix.rest(key))),
                // Fewer than that are all there are: to ask once more would be to see another moment, in which
                // something that is listed already has gone.
                _ if at.after => None,
                _ => Place::past(&at.text),
            };
            place = end.and_then(&next);
        }
        let more = names.len() > n;
        names.truncate(n);
        Ok((names, more))
    }
}

/// How many names a page has: `n`, if given and not empty (SPEC N4, N5), but `most` at most. More is not refused: a
/// registry may give fewer and a `Link` (SPEC N6, O2).
pub(super) fn page_size(query: &Query, default: usize, most: usize) -> Result<usize, Error> {
    match query.get("n") {
        None | Some("") => Ok(default),
        // A number beyond every list is as good as the largest.
        Some(n) if n.bytes().all(|b| b.is_ascii_digit()) => Ok(n.parse().unwrap_or(usize::MAX).min(most)),
        Some(_) => Err(Error::PageNumber),
    }
}

/// The link to the page after `last` (RFC 8288), with every other parameter kept (SPEC N3, N9).
pub(super) fn link(path: &str, query: &Query, last: Option<&String>) -> Option<String> {
    last.map(|last| format!("<{path}?{}>; rel=\"next\"", query.with("last", last)))
}

fn listing(body: &serde_json::Value, link: Option<String>) -> Response {
    let response = Response::new(200).with_bytes("application/json", format!("{body}"));
    match link {
        Some(link) => response.with("Link", link),
        None => response,
    }
}
