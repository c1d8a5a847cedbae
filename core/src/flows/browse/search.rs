//! `/api/v1/search`: repositories and tags by a part of their names (SPEC AA11, AA12).

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use super::{Wanted, answer, has_part};
use crate::caller::{self, Right};
use crate::config::{BROWSE_READS, SCAN_BYTES, SCAN_PAGE};
use crate::effect::Scan;
use crate::error::Error;
use crate::flows::Call;
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

    fn takes(&self, repository: &str, tag: &str) -> bool {
        repository.contains(&self.repository) && has_part(tag, &self.tag)
    }
}

impl Call {
    /// Repositories first, then tags, each in the order of names. A page reads so many records at most, and goes on in the
    /// next one.
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
        let after = wanted.after.unwrap_or_default();
        if sought.both && !after.contains(':') {
            let from = if after.is_empty() { caller::Place::start() } else { caller::Place::after(after) };
            let (names, more) = self.visible("", from, wanted.n, |name| name.contains(&sought.tag)).await?;
            let last = names.last().cloned();
            results.extend(names.into_iter().map(|repository| Found { repository, tag: None }));
            if more {
                return Ok(answer(&Results { results, next: wanted.next(PATH, last) }));
            }
        }
        let after = if after.contains(':') { after } else { "" };
        let next = self.search_tags(&sought, after, wanted.n, &mut results).await?;
        Ok(answer(&Results { results, next: wanted.next(PATH, next) }))
    }

    /// Adds tags behind a place, as long as there are fewer than `n` results; the place where the search goes on.
    async fn search_tags(
        &self,
        sought: &Sought,
        after: &str,
        n: usize,
        results: &mut Vec<Found>,
    ) -> Result<Option<String>, Error> {
        let prefix = keys::all_tags();
        let mut at = Some(prefix.at(after)).filter(|_| !after.is_empty());
        let (mut read, mut seen) = (0, None::<(String, bool)>);
        loop {
            let scan = Scan { prefix: prefix.clone(), after: at.take(), limit: SCAN_PAGE, bytes: SCAN_BYTES };
            let page = self.ask(scan).await?;
            let Some((last, _)) = page.last() else { return Ok(None) };
            read += page.len();
            let (mut end, mut passed) = (prefix.rest(last), false);
            for (key, _) in &page {
                let text = prefix.rest(key);
                let Some((repository, tag)) = text.split_once(':') else { continue };
                let is_seen = match &seen {
                    Some((name, is_seen)) if name == repository => *is_seen,
                    _ => {
                        let known = repository.parse::<Repository>();
                        let is_seen = known.is_ok_and(|known| self.is_listed(&known) && self.may(Right::Pull, &known));
                        seen = Some((repository.into(), is_seen));
                        is_seen
                    }
                };
                if !is_seen || !repository.contains(&sought.repository) {
                    // None of its tags is read one by one.
                    (end, passed) = (repository, true);
                    continue;
                }
                (end, passed) = (text, false);
                if sought.takes(repository, tag) {
                    results.push(Found { repository: repository.into(), tag: Some(tag.into()) });
                    if results.len() >= n {
                        return Ok(Some(text.into()));
                    }
                }
            }
            // No tag has a sign as great as this one: it is behind all tags of the repository.
            let end = if passed { alloc::format!("{end}:\u{7f}") } else { end.into() };
            if read >= BROWSE_READS {
                return Ok(Some(end));
            }
            at = Some(prefix.at(&end));
        }
    }
}
