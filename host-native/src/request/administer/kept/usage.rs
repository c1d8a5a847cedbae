//! What repositories take: in which order, how much in all, and as JSON.

mod last;

use std::cmp::Reverse;

use clap::ValueEnum;
use orlop_core::error::{Code, Error};
use orlop_core::{Fault, QuotaUsage, RepositoryUsage, Usage};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub(crate) use self::last::Last;
use self::last::Missing;
use super::{Answered, Asking};
use crate::auth::refusal::refusal;
use crate::observe::date::rfc3339;
use crate::request::sign_in::private;
use crate::storage::{RequestBody, ambient};

/// In which order repositories are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Those with most bytes first
    Bytes,
    /// Those first whose deletion would free most
    Unshared,
    /// By name
    Name,
    /// Those with most tags first
    Tags,
    /// Those with most manifests first
    Manifests,
    /// Those with most blobs first
    Blobs,
    /// Those first that were pushed to last
    LastPush,
    /// Those first that were pulled from longest ago, or never as far as is known
    LastPull,
    /// Those first that were pulled from most often, as far as that is counted
    Pulls,
    /// Those first that are closest to their quota
    Used,
}

impl Sort {
    /// As it is written.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn read(text: Option<&str>) -> Result<Self, Error> {
        let Some(text) = text else { return Ok(Self::Bytes) };
        let names = || Self::value_variants().iter().map(|sort| sort.name()).collect::<Vec<_>>().join(", ");
        let unknown = |_| Error::Parameter { name: "sort", expected: format!("one of {}", names()) };
        Self::from_str(text, false).map_err(unknown)
    }

    /// The number by which a repository has its place, the lowest first; those of one number are in the order of their
    /// names.
    fn rank(self, row: &RepositoryUsage) -> u64 {
        let Reverse(rank) = match self {
            Self::Name => return 0,
            Self::LastPull => return row.last_pull.map_or(0, |time| time.0),
            Self::Bytes => Reverse(row.bytes),
            Self::Unshared => Reverse(row.unshared),
            Self::Tags => Reverse(row.tags),
            Self::Manifests => Reverse(row.manifests),
            Self::Blobs => Reverse(row.blobs),
            Self::LastPush => Reverse(row.last_push.map_or(0, |time| time.0)),
            Self::Pulls => Reverse(row.pulls),
            Self::Used => Reverse(row.used_percent.unwrap_or(0)),
        };
        u64::MAX - rank
    }
}

/// What is told of usage.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) repositories: Vec<RepositoryUsage>,
    pub(crate) quotas: Vec<QuotaUsage>,
    /// All repositories, also those that are not listed.
    pub(crate) total: Total,
}

/// What all repositories have together.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Total {
    pub(crate) repositories: u64,
    pub(crate) bytes: u64,
    pub(crate) unshared: u64,
    pub(crate) tags: u64,
    pub(crate) manifests: u64,
}

impl Total {
    fn of(usage: &Usage) -> Self {
        let mut total = Self { repositories: usage.repositories.len() as u64, ..Self::default() };
        for row in &usage.repositories {
            total.bytes = total.bytes.saturating_add(row.bytes);
            total.unshared = total.unshared.saturating_add(row.unshared);
            total.tags += row.tags;
            total.manifests += row.manifests;
        }
        total
    }
}

impl Report {
    /// Up to `n` repositories in that order, behind a place, and whether there are more.
    fn page(usage: &Usage, sort: Sort, after: Option<(u64, &str)>, n: usize) -> (Self, bool) {
        let behind =
            |row: &&RepositoryUsage| after.is_none_or(|after| (sort.rank(row), row.repository.as_str()) > after);
        let mut rows: Vec<&RepositoryUsage> = usage.repositories.iter().filter(behind).collect();
        // They come in the order of their names, which a stable order keeps among equals.
        rows.sort_by_key(|row| sort.rank(row));
        let more = rows.len() > n;
        let repositories = rows.into_iter().take(n).cloned().collect();
        (Self { repositories, quotas: usage.quotas.clone(), total: Total::of(usage) }, more)
    }

    /// The first repositories in that order, as many as `top`.
    pub(crate) fn of(usage: Usage, sort: Sort, top: Option<usize>) -> Self {
        let total = Total::of(&usage);
        let Usage { mut repositories, quotas } = usage;
        // They come in the order of their names, which a stable order keeps among equals.
        repositories.sort_by_key(|row| sort.rank(row));
        repositories.truncate(top.unwrap_or(usize::MAX));
        Self { repositories, quotas, total }
    }

    /// As programs read it: times in the form of RFC 3339.
    ///
    /// # Errors
    ///
    /// None that occurs.
    pub(crate) fn json(&self) -> Result<Json, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        for (row, usage) in value["repositories"].as_array_mut().into_iter().flatten().zip(&self.repositories) {
            row["last_push"] = usage.last_push.map(rfc3339).into();
            row["last_pull"] = usage.last_pull.map(rfc3339).into();
        }
        for (row, quota) in value["quotas"].as_array_mut().into_iter().flatten().zip(&self.quotas) {
            row["used_percent"] = quota.used_percent().into();
        }
        Ok(value)
    }
}

/// `GET /api/v1/usage` (SPEC AE2): a page of the last report, or of one that is made now.
pub(super) async fn show(asking: Asking<'_>) -> Answered {
    asking.administrator()?;
    let page = asking.page()?;
    let sort = Sort::read(asking.query().get("sort"))?;
    let fresh = match asking.query().get("fresh") {
        None | Some("false") => false,
        // The pages behind the first are of the report that this is a page of.
        Some("true") => page.after.is_none(),
        Some(_) => return Err(Error::Parameter { name: "fresh", expected: "true or false".into() }.into()),
    };
    let after = page.after.and_then(|after| {
        let (rank, name) = after.split_once('/')?;
        Some((rank.parse::<u64>().ok()?, name))
    });
    let (ambient, host) = (ambient(), asking.service.host.clone());
    let (at, step) = (ambient.now, asking.live.registry.usage(ambient));
    let making = async move { host.run(step, &mut RequestBody::empty()).await };
    let made = asking.live.usage.get(fresh, at, making).await.map_err(|missing| match missing {
        Missing::Failed(fault) => Error::from(fault).into(),
        Missing::FailedBefore(why) => Error::Storage(Fault::Failed(why)).into(),
        Missing::Broken => Error::Storage(Fault::Failed("the report could not be made".into())).into(),
        Missing::StillMade => {
            let told = "the report is being made, which takes long here: ask again";
            refusal(429, Code::TooManyRequests, told).with("Retry-After", "10")
        }
    })?;
    let (report, more) = Report::page(&made.usage, sort, after, page.n);
    let mut body = report.json().map_err(|error| Error::Storage(Fault::Failed(error.to_string())))?;
    body["made"] = rfc3339(made.at).into();
    if let Some(last) = report.repositories.last().filter(|_| more) {
        body["next"] = page.next(&format!("{}/{}", sort.rank(last), last.repository)).into();
    }
    Ok(private(200, &body))
}

#[cfg(test)]
mod tests {
    use orlop_core::Timestamp;

    use super::*;

    #[test]
    fn reports_are_sorted_and_have_an_end() {
        let row = |repository: &str, bytes, unshared, last_push: Option<u64>, used_percent| RepositoryUsage {
            repository: repository.into(),
            bytes,
            unshared,
            last_push: last_push.map(Timestamp),
            used_percent,
            ..RepositoryUsage::default()
        };
        let rows =
            || vec![row("a", 1, 1, None, None), row("b", 1, 2048, None, None), row("c", 9, 0, Some(1), Some(75))];
        let names = |sort, top| {
            let usage = Usage { repositories: rows(), quotas: Vec::new() };
            Report::of(usage, sort, top).repositories.into_iter().map(|row| row.repository).collect::<Vec<_>>()
        };
        assert_eq!(names(Sort::Bytes, None), ["c", "a", "b"]);
        assert_eq!(names(Sort::Unshared, Some(2)), ["b", "a"]);
        assert_eq!(names(Sort::Name, Some(1)), ["a"]);
        assert_eq!(names(Sort::LastPush, Some(1)), ["c"]);
        assert_eq!(names(Sort::LastPull, None), ["a", "b", "c"]);
        assert_eq!(names(Sort::Used, Some(1)), ["c"]);
        let usage = Usage { repositories: rows(), quotas: Vec::new() };
        let page = |sort: Sort, after: Option<(u64, &str)>| {
            let (report, more) = Report::page(&usage, sort, after, 2);
            assert_eq!(report.total.repositories, 3);
            (report.repositories.iter().map(|row| row.repository.clone()).collect::<Vec<_>>().concat(), more)
        };
        assert_eq!(page(Sort::Bytes, None), ("ca".into(), true));
        assert_eq!(page(Sort::Bytes, Some((Sort::Bytes.rank(&rows()[0]), "a"))), ("b".into(), false));
        assert_eq!(page(Sort::Name, Some((0, "a"))), ("bc".into(), false));
    }
}
