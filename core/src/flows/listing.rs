//! Lists: the tags of a repository and the repositories of the registry (OCI end-8; Docker catalog; SPEC N, O).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::json;

use super::Call;
use crate::caller::Right;
use crate::config::{CATALOG_PAGE, SCAN_PAGE, TAGS_PAGE};
use crate::effect::Scan;
use crate::error::Error;
use crate::http::Response;
use crate::keys::{self, Prefix};
use crate::name::Repository;
use crate::target::Query;

impl Call {
    /// The tags, in byte order (SPEC N2), after `last`, as many as `n` says; all of them without (SPEC N8).
    pub(crate) async fn tags(&self, name: &Repository, query: &Query) -> Result<Response, Error> {
        // Clamped, not refused: OCI lets a registry give fewer and a Link (SPEC N6).
        let n = page_size(query)?.unwrap_or(TAGS_PAGE).min(TAGS_PAGE);
        let [repository] = self.get([keys::repository(name)]).await?;
        if repository.is_none() || !self.may(Right::Pull, name) {
            return Err(Error::RepositoryUnknown(name.clone()));
        }
        let (tags, more) = self.page(&keys::tags(name), query.get("last"), n, |_| true).await?;
        let link = next(&format!("/v2/{name}/tags/list"), query, tags.last().filter(|_| more));
        Ok(listing(&json!({ "name": name, "tags": tags }), link))
    }

    /// The repositories that the caller may see, in byte order, `n` at a time (SPEC O1, O2).
    pub(crate) async fn catalog(&self, query: &Query) -> Result<Response, Error> {
        let (default, most) = CATALOG_PAGE;
        let n = page_size(query)?.unwrap_or(default);
        if n > most {
            return Err(Error::PageNumber);
        }
        let seen = |name: &str| name.parse().is_ok_and(|name| self.may(Right::List, &name));
        let (repositories, more) = self.page(&keys::repositories(), query.get("last"), n, seen).await?;
        let link = next("/v2/_catalog", query, repositories.last().filter(|_| more));
        Ok(listing(&json!({ "repositories": repositories }), link))
    }

    /// Up to `n` names under `prefix` after `last` that are `wanted`, and whether there are more. `last` need not exist: it is a
    /// place in the order (SPEC N7).
    async fn page(
        &self,
        prefix: &Prefix,
        last: Option<&str>,
        n: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(Vec<String>, bool), Error> {
        let mut names = Vec::new();
        let mut after = last.map(|last| prefix.at(last));
        while n > 0 && names.len() <= n {
            // One more than the page tells whether another page follows.
            let limit = (n + 1 - names.len()).min(SCAN_PAGE);
            // Their values are small, so that their number is bound enough. Fewer than that are all there are: to ask
            // once more would be to see another moment, in which something that is listed already has gone.
            let entries = self.ask(Scan { prefix: prefix.clone(), after, limit, bytes: usize::MAX }).await?;
            let all = entries.len() < limit;
            after = entries.last().map(|(key, _)| key.clone());
            names.extend(entries.iter().map(|(key, _)| prefix.rest(key)).filter(|name| wanted(name)).map(String::from));
            if all {
                break;
            }
        }
        let more = names.len() > n;
        names.truncate(n);
        Ok((names, more))
    }
}

/// `n`, if given (SPEC N4, N5). A number beyond every list is as good as the largest.
fn page_size(query: &Query) -> Result<Option<usize>, Error> {
    let Some(n) = query.get("n") else { return Ok(None) };
    if n.is_empty() || !n.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::PageNumber);
    }
    Ok(Some(n.parse().unwrap_or(usize::MAX)))
}

/// The link to the page after `last` (RFC 8288), with every other parameter kept (SPEC N3, N9).
pub(super) fn next(path: &str, query: &Query, last: Option<&String>) -> Option<String> {
    last.map(|last| format!("<{path}?{}>; rel=\"next\"", query.with("last", last)))
}

fn listing(body: &serde_json::Value, link: Option<String>) -> Response {
    let response = Response::new(200).with_bytes("application/json", format!("{body}"));
    match link {
        Some(link) => response.with("Link", link),
        None => response,
    }
}
