//! `/api/v1/search`: repositories and tags by a part of their names (SPEC AA11, AA12).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use super::{Wanted, answer, has_part};
use crate::caller::{self, Right};
use crate::config::{BROWSE_READS, SCAN_PAGE};
use crate::error::Error;
use crate::flows::Call;
use crate::flows::pages::Pages;
use crate::http::Response;
use crate::keys;
use crate::name::Repository;
use crate::target::Query;

/// Where it is.
const PATH: &str = "/api/v1/search";

/// What was found so far.
#[derive(Serialize)]
struct Results {
    results: Vec<Found>,
    /// The URL at which the search goes on. There may be more behind it, also when this page is not full.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A repository, or a tag in one.
#[derive(Serialize)]
struct Found {
    repository: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

/// What is looked for. `app:v1` is a tag with `v1` in it, in a repository with `app` in its name; without a colon either
/// may have it.
struct Sought {
    repository: String,
    tag: String,
    /// Whether repositories are found as well as tags.
    both: bool,
}

impl Sought {
    fn read(part: &str) -> Self {
        match part.split_once(':') {
            Some((repository, tag)) => Self { repository: repository.into(), tag: tag.into(), both: false },
            None => Self { repository: String::new(), tag: part.into(), both: true },
        }
    }
}

impl Call {
    /// Repositories first, then tags, each in the order of the names of repositories. A page looks at so much at most, and
    /// goes on in the next one.
    pub(crate) async fn search(&self, query: &Query) -> Result<Response, Error> {
        let wanted = Wanted::read(query, &["name"])?;
        if wanted.part.is_empty() {
            return Err(Error::Parameter {
                name: "q",
                expected: "what is looked for, such as `app` or `app:v1`".into(),
            });
        }
        let sought = Sought::read(&wanted.part);
        let mut results = Vec::new();
        let mut next = None;
        // Where a page begins among the tags, it has a colon.
        let among_tags = wanted.after.is_some_and(|after| after.contains(':'));
        if sought.both && !among_tags {
            let from = wanted.after.map_or_else(caller::Place::start, caller::Place::after);
            let (names, more) = self.visible("", from, wanted.n, |name| name.contains(&sought.tag)).await?;
            next = match names.last() {
                Some(last) if more => Some(last.clone()),
                _ if names.len() == wanted.n => Some(":".into()),
                _ => None,
            };
            results.extend(names.into_iter().map(|repository| Found { repository, tag: None }));
        }
        if next.is_none() {
            let after = wanted.after.filter(|_| among_tags).and_then(|after| after.split_once(':'));
            next = self.search_tags(&sought, after.unwrap_or_default(), wanted.n, &mut results).await?;
        }
        Ok(answer(&Results { results, next: wanted.next(PATH, next) }))
    }

    /// Adds tags behind a place, of which a repository and a tag in it are given, until there are `n` results; the place
    /// where the search goes on. It goes by the repositories that the caller may see, so that no other is named.
    async fn search_tags(
        &self,
        sought: &Sought,
        (repository, mut tag): (&str, &str),
        n: usize,
        results: &mut Vec<Found>,
    ) -> Result<Option<String>, Error> {
        let mut left = BROWSE_READS;
        // The repository in which the search goes on is looked into once more.
        let from = caller::Place { text: repository.into(), after: false };
        let wanted = |name: &str| name.contains(&sought.repository);
        let (names, more) = self.visible("", from, SCAN_PAGE, wanted).await?;
        for name in &names {
            let Ok(known) = name.parse::<Repository>() else { continue };
            let after = if name == repository { core::mem::take(&mut tag) } else { "" };
            if !self.may(Right::Pull, &known) {
                continue;
            }
            let prefix = keys::tags(&known);
            let mut pages = Pages::after(&prefix, Some(prefix.at(after)).filter(|_| !after.is_empty()));
            while let Some(page) = pages.next(self).await? {
                let full = page.len() == SCAN_PAGE;
                left = left.saturating_sub(page.len());
                for (key, _) in &page {
                    let found = prefix.rest(key);
                    if has_part(found, &sought.tag) {
                        results.push(Found { repository: name.clone(), tag: Some(found.into()) });
                        if results.len() >= n {
                            return Ok(Some(format!("{name}:{found}")));
                        }
                    }
                }
                if left == 0 {
                    return Ok(page.last().map(|(last, _)| format!("{name}:{}", prefix.rest(last))));
                }
                if !full {
                    break;
                }
            }
        }
        // No tag has a sign as great as this one: the search goes on behind all tags of the last repository.
        Ok(names.last().filter(|_| more).map(|last| format!("{last}:\u{7f}")))
    }
}
