//! What people look at: repositories, tags and images with all that is known of them, and a search over both (the API
//! under `/api/v1`; SPEC AA1–AA12, AD1–AD4).
//!
//! Everything is read from the records as they are, by pages; nothing is changed, and no pull is noted. Whoever may not
//! pull from a repository is answered as by the endpoints under `/v2/`. A page costs what it shows and, where it is
//! sorted or searched for, one walk through the names: its memory is that of the page.

mod folders;
mod image;
mod outline;
mod ranked;
mod repositories;
mod search;
mod tags;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Call;
use super::listing::page_size;
use crate::asked::Asked;
use crate::caller::Right;
use crate::config::BROWSED;
use crate::effect::Value;
use crate::error::Error;
use crate::http::{Method, Response};
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::record;
use crate::target::Query;

/// What the parameters of a list ask for.
struct Wanted<'q> {
    query: &'q Query,
    /// How many entries a page has.
    n: usize,
    /// Where the page begins: behind this, as the page before has said.
    after: Option<&'q str>,
    /// What names have in them, in lowercase; nothing is all of them.
    part: String,
    /// By what it is sorted.
    sort: &'static str,
    /// From the last to the first.
    descending: bool,
}

impl<'q> Wanted<'q> {
    /// Reads `n`, `after`, `q`, `sort` and `order`. What `sort` can be is given, first what it is when it is not given.
    fn read(query: &'q Query, sorts: &'static [&'static str]) -> Result<Self, Error> {
        let given = |name: &str| query.get(name).filter(|value| !value.is_empty());
        let (default, most) = BROWSED;
        if query.get("n") == Some("") {
            return Err(Error::PageNumber);
        }
        let n = page_size(query, default, most)?.max(1);
        let sort = match query.get("sort") {
            None => sorts.first().copied().unwrap_or_default(),
            Some(asked) => sorts
                .iter()
                .copied()
                .find(|sort| *sort == asked)
                .ok_or_else(|| Error::Parameter { name: "sort", expected: format!("one of {}", sorts.join(", ")) })?,
        };
        let descending = match query.get("order") {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(Error::Parameter { name: "order", expected: "asc or desc".into() }),
        };
        let part = given("q").unwrap_or_default().to_lowercase();
        Ok(Self { query, n, after: given("after"), part, sort, descending })
    }

    /// What the names of all repositories in the folder `under` begin with.
    fn beginning(&self) -> String {
        let under = self.query.get("under").unwrap_or_default().trim_end_matches('/');
        if under.is_empty() { String::new() } else { format!("{under}/") }
    }

    /// Whether a name has in it what is asked for.
    fn takes(&self, name: &str) -> bool {
        self.part.is_empty() || has_part(name, &self.part)
    }

    /// The URL of the next page, which begins behind `after`.
    fn next(&self, path: &str, after: Option<String>) -> Option<String> {
        after.map(|after| format!("{path}?{}", self.query.with("after", &after)))
    }
}

/// Whether a name has this in it, which is in lowercase.
fn has_part(name: &str, part: &str) -> bool {
    name.contains(part) || name.to_lowercase().contains(part)
}

/// A record, if it is there and reads.
fn read<T: DeserializeOwned>(key: &Key, value: Option<Value>) -> Option<T> {
    value.and_then(|value| record::decode(key, &value).ok())
}

/// A JSON answer.
fn answer(body: &impl Serialize) -> Response {
    Response::new(200).with_bytes("application/json", record::encode(body))
}

/// What somebody may do in a repository, in the words of the tokens of the distribution specification.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Deed {
    Pull,
    Push,
    Delete,
}

impl Call {
    /// Whether the caller may push to the repository: into a mirror nobody may.
    fn may_push(&self, name: &Repository) -> bool {
        self.may(Right::Upload, name) && self.config.mirror_of(name).is_none()
    }

    /// What the caller may do in the repository (SPEC AD1).
    fn deeds(&self, name: &Repository) -> Vec<Deed> {
        let push = self.may_push(name);
        let delete = self.config.allow_delete && self.may(Right::Delete, name);
        let all = [(Deed::Pull, self.may(Right::Pull, name)), (Deed::Push, push), (Deed::Delete, delete)];
        all.into_iter().filter_map(|(deed, may)| may.then_some(deed)).collect()
    }

    /// Refuses who may not pull from the repository, and whoever asks for one that is not there, alike (SPEC AA2).
    async fn browsable(&self, name: &Repository, asked: &Asked) -> Result<(), Error> {
        let unknown = || Error::RepositoryUnknown(name.clone());
        if !self.may(Right::Pull, name) {
            return Err(unknown());
        }
        self.vouch(name, &asked.request, (Method::Get, "tags/list?n=1"), unknown).await?;
        let [repository] = self.get([keys::repository(name)]).await?;
        repository.map(drop).ok_or_else(unknown)
    }

    /// Whether a list shows the repository to the caller: as the catalog does (SPEC O1).
    fn is_listed(&self, name: &Repository) -> bool {
        self.may(Right::List, name) && !self.is_vouched_for(name)
    }
}
