//! `/api/v1/repositories`: the repositories that the caller may see, with what each takes (SPEC AA3, AA4, AD1).

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use super::ranked::{Place, Ranked, bytewise};
use super::{Deed, Wanted, answer, read};
use crate::caller::{self, Right};
use crate::config::{BROWSE_READS, SCAN_PAGE};
use crate::effect::{Get, Value};
use crate::error::Error;
use crate::flows::Call;
use crate::flows::pages::Pages;
use crate::http::Response;
use crate::keys;
use crate::name::Repository;
use crate::record::{self, PushedRecord, RepositoryRecord, TagRecord};
use crate::target::Query;

/// Where it is.
pub(super) const PATH: &str = "/api/v1/repositories";

/// A page of repositories.
#[derive(Serialize)]
struct Repositories {
    repositories: Vec<Listed>,
    /// The URL of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A repository in a list. Of one that the caller may see but not pull from, the name is all that is told.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    pub(super) name: String,
    /// When something was first pushed to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// The bytes of its blobs, manifests and open uploads: a blob that other repositories have too counts in each.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// How many tags it has; not told where counting them would take too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<u64>,
    /// When something was last pushed to it; where that is older than the record of it, told when the tags are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pushed: Option<String>,
    /// It belongs to a mirror.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    mirror: bool,
    /// What the caller may do in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    may: Vec<Deed>,
}

impl Listed {
    /// One of which no more than the name is told.
    pub(super) fn named(name: String) -> Self {
        Self { name, ..Self::default() }
    }
}

impl Call {
    /// A page of the repositories: by name, by the bytes they have, or by when something was last pushed to them.
    pub(crate) async fn browse_repositories(&self, query: &Query) -> Result<Response, Error> {
        let wanted = Wanted::read(query, &["name", "bytes", "pushed"])?;
        let beginning = wanted.beginning();
        let by_name = wanted.sort == "name" && !wanted.descending;
        let (names, next) = if by_name {
            let after = wanted.after.map_or_else(caller::Place::start, caller::Place::after);
            let (names, more) = self.visible(&beginning, after, wanted.n, |name| wanted.takes(name)).await?;
            let next = names.last().filter(|_| more).cloned();
            (names, next)
        } else {
            self.ranked(&wanted, &beginning).await?
        };
        let repositories = self.told_of(names).await?;
        Ok(answer(&Repositories { repositories, next: wanted.next(PATH, next) }))
    }

    /// Repositories that lists show to the caller, from a place on, of those whose names begin so and are `wanted`: `n` at
    /// most, and whether there are more.
    pub(super) async fn visible(
        &self,
        beginning: &str,
        from: caller::Place,
        n: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(Vec<String>, bool), Error> {
        let start = caller::Place { text: beginning.into(), after: false };
        let end = caller::Place::past(beginning);
        let next = |place: caller::Place| {
            let place = self.caller.rights.next_place(Right::List, place.max(start.clone()))?;
            Some(place).filter(|place| end.as_ref().is_none_or(|end| place < end))
        };
        let seen = |name: &str| {
            let within = name.starts_with(beginning) && wanted(name);
            within && name.parse().is_ok_and(|name| self.is_listed(&name))
        };
        self.page_from(&keys::repositories(), next(from), n, next, seen).await
    }

    /// The names on a page that is sorted by a number, or backwards, and the place of the next one.
    async fn ranked(&self, wanted: &Wanted<'_>, beginning: &str) -> Result<(Vec<String>, Option<String>), Error> {
        let after = wanted.after.map(|after| Place::read(after, bytewise));
        let mut ranked = Ranked::new(wanted.n, after, wanted.descending);
        let (mut from, mut left) = (caller::Place::start(), BROWSE_READS);
        loop {
            let (names, more) = self.visible(beginning, from, SCAN_PAGE, |name| wanted.takes(name)).await?;
            let numbers = match wanted.sort {
                "pushed" => self.last_pushes(&names, &mut left).await?,
                sort => self.counted_bytes(&names, sort == "bytes").await?,
            };
            for (name, number) in names.iter().zip(numbers) {
                ranked.offer(Place { number, name: name.clone(), names: bytewise }, || ());
            }
            match names.last() {
                Some(last) if more => from = caller::Place::after(last),
                _ => break,
            }
        }
        let (page, next) = ranked.page();
        Ok((page.into_iter().map(|(place, ())| place.name).collect(), next))
    }

    /// When something was last pushed to each repository, in milliseconds; 0 of one from which the caller may not pull, and
    /// where only the tags tell it and reading them takes more than what is `left`.
    async fn last_pushes(&self, names: &[String], left: &mut usize) -> Result<Vec<u64>, Error> {
        let names = names.iter().map(|name| name.parse::<Repository>().ok());
        let names: Vec<_> = names.map(|name| name.filter(|name| self.may(Right::Pull, name))).collect();
        let keys = names.iter().flatten().map(keys::pushed).collect();
        let mut noted = self.ask(Get { keys }).await?.into_iter();
        let mut pushes = Vec::new();
        for name in &names {
            pushes.push(match name {
                Some(name) => match read::<PushedRecord>(&keys::pushed(name), noted.next().flatten()) {
                    Some(noted) => noted.pushed.0,
                    None => self.count_tags_of(name, left).await?.and_then(|(_, pushed)| pushed).map_or(0, |it| it.0),
                },
                None => 0,
            });
        }
        Ok(pushes)
    }

    /// The bytes of each repository, where they matter; 0 of one from which the caller may not pull, so that an order does
    /// not tell it.
    pub(super) async fn counted_bytes(&self, names: &[String], matter: bool) -> Result<Vec<u64>, Error> {
        let names = names.iter().map(|name| name.parse::<Repository>().ok());
        let names: Vec<_> = names.map(|name| name.filter(|name| matter && self.may(Right::Pull, name))).collect();
        let keys = names.iter().flatten().map(keys::usage).collect();
        let mut counted = if matter { self.ask(Get { keys }).await?.into_iter() } else { Vec::new().into_iter() };
        let bytes = |name: &Option<Repository>| match name {
            Some(_) => record::count(counted.next().flatten().as_ref()),
            None => 0,
        };
        Ok(names.iter().map(bytes).collect())
    }

    /// What is told of these repositories.
    pub(super) async fn told_of(&self, names: Vec<String>) -> Result<Vec<Listed>, Error> {
        let (mut listed, mut left) = (Vec::new(), BROWSE_READS);
        for name in names {
            let known = match name.parse::<Repository>() {
                Ok(known) if self.may(Right::Pull, &known) => known,
                _ => {
                    listed.push(Listed::named(name));
                    continue;
                }
            };
            let key = keys::repository(&known);
            let noted = keys::pushed(&known);
            let [repository, usage, pushed] = self.get([key.clone(), keys::usage(&known), noted.clone()]).await?;
            // Deleted since the list was read.
            let Some(repository) = repository else { continue };
            let created = record::decode::<RepositoryRecord>(&key, &repository).ok().map(|it| it.created.rfc3339());
            let bytes = Some(record::count(usage.as_ref()));
            let mirror = self.config.mirror_of(&known).is_some();
            let counted = self.count_tags_of(&known, &mut left).await?;
            let tags = counted.as_ref().map(|(tags, _)| *tags);
            let pushed = read::<PushedRecord>(&noted, pushed).map(|noted| noted.pushed);
            let pushed = pushed.or(counted.and_then(|(_, pushed)| pushed)).map(|pushed| pushed.rfc3339());
            listed.push(Listed { may: self.deeds(&known), name, created, bytes, tags, pushed, mirror });
        }
        Ok(listed)
    }

    /// How many tags a repository has, and when one was last pushed; nothing when that takes more than what is `left`.
    async fn count_tags_of(
        &self,
        name: &Repository,
        left: &mut usize,
    ) -> Result<Option<(u64, Option<crate::Timestamp>)>, Error> {
        let prefix = keys::tags(name);
        let mut pages = Pages::new(&prefix);
        let (mut tags, mut pushed) = (0, None);
        while *left > 0 {
            let Some(page) = pages.next(self).await? else { return Ok(Some((tags, pushed))) };
            *left = left.saturating_sub(page.len());
            tags += page.len() as u64;
            let read = |(key, value): &(keys::Key, Value)| record::decode::<TagRecord>(key, value).ok();
            pushed = page.iter().filter_map(read).map(|tag| tag.pushed).chain(pushed).max();
            if page.len() < SCAN_PAGE {
                return Ok(Some((tags, pushed)));
            }
        }
        Ok(None)
    }
}
