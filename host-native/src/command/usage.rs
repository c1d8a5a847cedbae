//! `orlop usage`: what repositories take, and whether it is counted right.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use bytesize::ByteSize;
use clap::ValueEnum;
use orlop_core::{QuotaUsage, Recount, Registry, RepositoryUsage};

use crate::command::check;
use crate::command::cli;
use crate::command::config::Effective;
use crate::command::control::Request;
use crate::command::start::by_the_servers_settings;
use crate::command::storage::by_server_or_here;
use crate::observe::date::rfc3339;
pub use crate::request::administer::kept::usage::Sort;
use crate::request::administer::kept::usage::{Report, Total};
use crate::request::live::Current;
use crate::storage::{self, Host, RequestBody, ambient};

/// How they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Table,
    /// Comma-separated values, with a line of names
    Csv,
    /// JSON
    Json,
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What repositories take, in that order, and so many of them at most.
    Report(Sort, Option<usize>),
    /// To count anew.
    Recount,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Report(sort, None) => write!(f, "usage {}", sort.name()),
            Self::Report(sort, Some(top)) => write!(f, "usage {} {top}", sort.name()),
            Self::Recount => f.write_str("usage recount"),
        }
    }
}

impl Asked {
    /// What the words behind `usage` ask for.
    pub fn of(words: &[&str]) -> Option<Self> {
        match words {
            ["recount"] => Some(Self::Recount),
            [sort] => Some(Self::Report(Sort::from_str(sort, false).ok()?, None)),
            [sort, top] => Some(Self::Report(Sort::from_str(sort, false).ok()?, Some(top.parse().ok()?))),
            _ => None,
        }
    }

    /// Does it, and returns the report as JSON.
    ///
    /// # Errors
    ///
    /// When the storage fails. What goes wrong in a recount is part of its report.
    pub async fn perform(self, registry: &Registry, host: &Host) -> Result<String, String> {
        match self {
            Self::Report(sort, top) => {
                let usage = host.run(registry.usage(ambient()), &mut RequestBody::empty()).await;
                let report = Report::of(usage.map_err(|fault| fault.to_string())?, sort, top);
                serde_json::to_string(&report).map_err(|error| error.to_string())
            }
            Self::Recount => {
                let began = Instant::now();
                let recount = host.run(registry.recount(ambient()), &mut RequestBody::empty()).await;
                let seconds = began.elapsed().as_secs_f64();
                match (&recount.fault, recount.repaired) {
                    (None, 0) => tracing::info!("recounted in {seconds:.1} s: {recount}"),
                    _ => tracing::warn!("recounted in {seconds:.1} s: {recount}"),
                }
                serde_json::to_string(&recount).map_err(|error| error.to_string())
            }
        }
    }
}

/// The report for people and for spreadsheets.
trait Printed {
    fn table(&self) -> String;
    fn csv(&self) -> String;
}

impl Printed for Report {
    fn table(&self) -> String {
        let head = [
            "REPOSITORY",
            "BYTES",
            "UNSHARED",
            "TAGS",
            "MANIFESTS",
            "BLOBS",
            "LAST PUSH",
            "LAST PULL",
            "PULLS",
            "QUOTA",
            "USED",
        ];
        let size = |bytes| ByteSize(bytes).display().iec().to_string();
        let mut rows = vec![head.map(String::from)];
        rows.extend(self.repositories.iter().map(|row| {
            [
                row.repository.clone(),
                size(row.bytes),
                size(row.unshared),
                row.tags.to_string(),
                row.manifests.to_string(),
                row.blobs.to_string(),
                row.last_push.map_or_else(|| "-".into(), rfc3339),
                row.last_pull.map_or_else(|| "-".into(), rfc3339),
                row.pulls.to_string(),
                row.quota.clone().unwrap_or_else(|| "-".into()),
                row.used_percent.map_or_else(|| "-".into(), |percent| format!("{percent} %")),
            ]
        }));
        let Total { repositories, bytes, unshared, tags, manifests } = self.total;
        let mut text = aligned(&rows);
        // A string takes everything.
        let _ = write!(
            text,
            "{repositories} repositories: {}, {} of it unshared; {tags} tags, {manifests} manifests",
            size(bytes),
            size(unshared)
        );
        for quota in &self.quotas {
            let QuotaUsage { quota: name, together, repositories, bytes, fullest, soft, limit } = quota;
            let of = match (limit, soft) {
                (Some(limit), _) => format!(" of {}", size(*limit)),
                (None, Some(soft)) => format!(", soft limit {}", size(*soft)),
                (None, None) => String::new(),
            };
            let who = match (together, fullest) {
                (true, _) => format!("{repositories} repositories together"),
                (false, Some(fullest)) => format!("{fullest}, the fullest of {repositories}"),
                (false, None) => "no repository".into(),
            };
            let exceeds = |bound: &Option<u64>| bound.is_some_and(|bound| *bytes > bound);
            let over = match (exceeds(limit), exceeds(soft)) {
                (true, _) => ", over the limit: pushes are refused",
                (false, true) => ", over the soft limit",
                (false, false) => "",
            };
            // Of nothing there are no parts.
            let used = match limit {
                Some(0) => String::new(),
                _ => format!(" ({} %)", quota.used_percent()),
            };
            let _ = write!(text, "\nquota {name}: {}{of}{used}, {who}{over}", size(*bytes));
        }
        text
    }

    fn csv(&self) -> String {
        let mut text =
            String::from("repository,bytes,unshared,tags,manifests,blobs,last_push,last_pull,pulls,quota,used_percent");
        for row in &self.repositories {
            let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
            let quota = row.quota.as_deref().map(quoted).unwrap_or_default();
            let [push, pull] = [row.last_push, row.last_pull].map(|at| at.map(rfc3339).unwrap_or_default());
            let RepositoryUsage { repository, bytes, unshared, tags, manifests, blobs, pulls, .. } = row;
            let used = number(row.used_percent);
            // A string takes everything.
            let _ = write!(
                text,
                "\n{repository},{bytes},{unshared},{tags},{manifests},{blobs},{push},{pull},{pulls},{quota},{used}"
            );
        }
        text
    }
}

/// RFC 4180.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.into(),
    }
}

/// Rows in columns, numbers to the right.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: Vec<usize> =
        (0..N).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // A string takes everything.
            let _ = match column {
                0 | 6 | 7 | 8 => write!(line, "{cell:<width$}  "),
                _ => write!(line, "{cell:>width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `orlop usage`: by the server that has the data directory open, or else by this process.
///
/// # Errors
///
/// When the storage cannot be read, not every repository could be counted anew, or a server goes by other settings.
pub fn usage(usage: &cli::Usage, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let settings = &usage.settings;
    let data = &settings.storage.data;
    if data.engines.engines()?.is_none() && storage::holder(&data.directory).is_some() {
        by_the_servers_settings(effective, "counts")?;
    }
    let asked = if usage.recount { Asked::Recount } else { Asked::Report(usage.sort, usage.top) };
    let here = async |host: &Arc<Host>| {
        let live = check::check(settings, None)?.live;
        asked.perform(&Current::new(live).registry(), host).await
    };
    let told = by_server_or_here(data, &settings.options(), Request::Usage(asked), here)?;
    if usage.recount {
        return recounted(&serde_json::from_str(&told)?);
    }
    let report: Report = serde_json::from_str(&told)?;
    match usage.format {
        Form::Table => out!("{}", report.table()),
        Form::Csv => out!("{}", report.csv()),
        Form::Json => out!("{}", report.json()?),
    }
    Ok(())
}

fn recounted(recount: &Recount) -> Result<(), Box<dyn Error>> {
    for drift in &recount.drifts {
        out!("{}: {} bytes were counted, {} are there", drift.repository, drift.counted, drift.bytes);
    }
    recount.reasons.iter().for_each(|reason| out!("{reason}"));
    out!("{recount}");
    match (&recount.fault, recount.uncounted) {
        (Some(fault), _) => Err(format!("the recount ended early, run it again: {fault}").into()),
        (None, 0) => Ok(()),
        (None, uncounted) => Err(format!("{uncounted} repositories could not be counted").into()),
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::{Timestamp, Usage};

    use super::*;

    fn usage() -> Usage {
        let row = |repository: &str, bytes, unshared, last_push: Option<u64>| RepositoryUsage {
            repository: repository.into(),
            bytes,
            unshared,
            last_push: last_push.map(Timestamp),
            ..RepositoryUsage::default()
        };
        let mut full = row("c", 3 << 20, 0, Some(86_400_000));
        (full.quota, full.used_percent) = (Some("a, \"b\"".into()), Some(75));
        let quota = QuotaUsage {
            quota: "team".into(),
            together: true,
            repositories: 2,
            bytes: 3 << 20,
            fullest: None,
            soft: Some(1 << 20),
            limit: Some(4 << 20),
        };
        Usage { repositories: vec![row("a", 1, 1, None), row("b", 1, 2048, None), full], quotas: vec![quota] }
    }

    #[test]
    fn reports_are_read_by_people_and_programs() {
        let report = Report::of(usage(), Sort::Bytes, Some(2));
        let table = report.table();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("REPOSITORY") && lines[0].ends_with("USED"), "{table}");
        assert!(lines[1].starts_with("c ") && lines[1].contains("3.0 MiB") && lines[1].ends_with("75 %"), "{table}");
        assert_eq!(lines[3], "3 repositories: 3.0 MiB, 2.0 KiB of it unshared; 0 tags, 0 manifests");
        assert_eq!(lines[4], "quota team: 3.0 MiB of 4.0 MiB (75 %), 2 repositories together, over the soft limit");
        let mut full = usage();
        full.quotas[0].limit = Some(1 << 20);
        let table = Report::of(full, Sort::Bytes, None).table();
        assert!(table.ends_with("over the limit: pushes are refused"), "{table}");
        let csv = report.csv();
        assert_eq!(csv.lines().nth(1), Some("c,3145728,0,0,0,0,1970-01-02T00:00:00Z,,0,\"a, \"\"b\"\"\",75"));
        assert_eq!(csv.lines().nth(2), Some("a,1,1,0,0,0,,,0,,"));
        let json = report.json().unwrap();
        assert_eq!(json["repositories"][0]["last_push"], "1970-01-02T00:00:00Z");
        assert_eq!(json["total"]["repositories"], 3);
    }

    #[test]
    fn what_is_asked_is_read_as_it_is_written() {
        let sorts =
            Sort::value_variants().iter().flat_map(|sort| [Asked::Report(*sort, None), Asked::Report(*sort, Some(7))]);
        for asked in sorts.chain([Asked::Recount]) {
            let line = asked.to_string();
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(Asked::of(&words[1..]), Some(asked), "{line}");
        }
        assert_eq!(Asked::of(&["dance"]), None);
    }
}
