//! How the registry stands: what it stores, and the jobs that are done or were done last.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use orlop_core::record::CensusRecord;
use orlop_core::{Fault, Registry};
use serde_json::{Value as Json, json};

use crate::command::browse::plain;
use crate::command::cli;
use crate::command::config::Effective;
use crate::command::control::Request;
use crate::command::deleted::columns;
use crate::command::jobs::{Jobs, now, with_known};
use crate::command::start::by_the_servers_settings;
use crate::command::storage::by_server_or_here;
use crate::observe::admin::{self, CENSUS};
use crate::observe::date::rfc3339;
use crate::request::administer::job::{Job, Kind, Progress, State};
use crate::request::live::{Current, Live};
use crate::storage::{self, Host, RequestBody, ambient};
use crate::sync::{Standing, Syncing};

/// What was counted so long ago still says something.
pub(super) const LONG_AGO: Duration = Duration::from_secs(365 * 24 * 3600);

/// `orlop status`: by the server that has the data directory open, or else by this process.
///
/// # Errors
///
/// When the storage cannot be read.
pub fn status(command: &cli::Status, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let settings = &command.settings;
    let data = &settings.storage.data;
    let alone = data.engines.engines()?.is_none();
    if alone && storage::holder(&data.directory).is_some() {
        by_the_servers_settings(effective, "looks it up")?;
    }
    let here = async |host: &Arc<Host>| {
        let (live, _) = Live::new(settings)?;
        let read_only = live.read_only;
        let current = Current::new(live);
        let registry = current.registry();
        let syncing = Syncing::new(move || current.syncs(), host.clone(), None, alone);
        let standings = syncing.standings().await?;
        let told = async {
            // Without a server it is counted now; servers that share a database do so every few minutes.
            admin::census(&registry, host, if alone { Duration::ZERO } else { CENSUS }).await?;
            let census = host.run(registry.counted(LONG_AGO, ambient()), &mut RequestBody::empty()).await?;
            // Without a server, nothing is under way.
            let jobs = jobs(&registry, host, &Jobs::new(host.clone()), &standings, !alone).await?;
            Ok::<_, Fault>(told(stored(&registry, host, census).await?, read_only, &jobs))
        };
        Ok(told.await.map_err(|fault| fault.to_string())?.to_string())
    };
    let answer = by_server_or_here(data, &settings.options(), Request::Status, here)?;
    match command.json {
        true => out!("{answer}"),
        false => out!("{}", shown(&serde_json::from_str(&answer)?)),
    }
    Ok(())
}

/// What the storage has and how jobs stand, as programs read it.
pub(super) fn told(mut storage: Json, read_only: bool, jobs: &[Job]) -> Json {
    storage["read_only"] = read_only.into();
    json!({ "storage": storage, "jobs": jobs.iter().map(Job::told).collect::<Vec<_>>() })
}

/// What the storage has, as far as that is known without long counting.
pub(super) async fn stored(registry: &Registry, host: &Host, counted: Option<CensusRecord>) -> Result<Json, Fault> {
    let scrub = host.run(registry.scrub_state(ambient()), &mut RequestBody::empty()).await?;
    let scrub = scrub.map(|scrub| {
        json!({
            "began": rfc3339(scrub.began),
            "ended": scrub.ended.map(rfc3339),
            "blobs": scrub.blobs,
            "manifests": scrub.manifests,
            "bytes": scrub.bytes,
            "damaged": scrub.damaged,
        })
    });
    let census = counted.as_ref().map(|counted| &counted.census);
    let disk = host.space().await.map(|(bytes, free)| json!({ "bytes": bytes, "free": free }));
    Ok(json!({
        "engine": if host.has_several_hosts() { "shared" } else { "embedded" },
        "description": host.describe()?,
        "counted": counted.as_ref().map(|counted| rfc3339(counted.counted)),
        "repositories": census.map(|census| census.repositories),
        "blobs": census.map(|census| census.blobs),
        "bytes": census.map(|census| census.bytes),
        "uploads": census.map(|census| census.uploads),
        "damaged": census.map(|census| census.damaged),
        "disk": disk,
        "scrub": scrub,
    }))
}

/// How jobs stand, on all hosts of the storage: those that administrators began, and syncs and scrubs that servers do by
/// themselves. `scrubs` says whether this server is at one.
pub(super) async fn jobs(
    registry: &Registry,
    host: &Host,
    noted: &Jobs,
    standings: &[Standing],
    scrubs: bool,
) -> Result<Vec<Job>, Fault> {
    let mut known: Vec<Job> = standings.iter().filter_map(job_of).collect();
    known.extend(regular_scrub(registry, host, scrubs).await?);
    Ok(with_known(noted.all().await?, known))
}

/// The scrub that a server does by itself, as far as its record tells.
async fn regular_scrub(registry: &Registry, host: &Host, runs: bool) -> Result<Option<Job>, Fault> {
    let step = registry.scrub_state(ambient());
    let Some(scrub) = host.run(step, &mut RequestBody::empty()).await? else { return Ok(None) };
    let state = match scrub.ended {
        Some(_) => State::Done,
        None if runs => State::Running,
        None => State::Interrupted,
    };
    let text = format!("{} bytes read, {} of what was read is damaged", scrub.bytes, scrub.damaged);
    let progress = Progress { done: scrub.blobs, total: None, unit: "blobs".into(), text };
    let ended = scrub.ended.map(|ended| ended.0 / 1000);
    let job = Job::begin(Kind::Scrub, None, String::new(), scrub.began.0 / 1000);
    Ok(Some(Job { state, ended: ended.or((state != State::Running).then(now)), progress: Some(progress), ..job }))
}

pub(super) fn progress_of(sync: &Standing) -> Progress {
    let (done, text) = sync.progress();
    Progress { done, total: None, unit: "tags".into(), text }
}

/// The last run of a sync as a job; none before the first.
fn job_of(sync: &Standing) -> Option<Job> {
    let (began, ended) = sync.times();
    let (report, failed) = sync.report();
    let state = match sync.state() {
        "never" => return None,
        "running" => State::Running,
        "interrupted" => State::Interrupted,
        _ if failed > 0 => State::Failed,
        _ => State::Done,
    };
    let over = state != State::Running;
    Some(Job {
        state,
        ended: if over { ended.or(Some(began)) } else { None },
        progress: (!over).then(|| progress_of(sync)),
        report: over.then_some(report),
        error: (over && failed > 0).then(|| format!("sync {}: {failed} failures", sync.name())),
        ..Job::begin(Kind::Sync, Some(sync.name().to_owned()), String::new(), began)
    })
}

fn shown(told: &Json) -> String {
    let storage = &told["storage"];
    let size = |value: &Json| value.as_u64().map(|bytes| ByteSize(bytes).display().iec().to_string());
    let text = |value: &Json| plain(value.as_str().unwrap_or("-"));
    let mut lines = vec![format!("storage: {}", text(&storage["description"]))];
    if storage["read_only"] == true {
        lines.push("read-only: no changes are taken".into());
    }
    let counted = |field: &str| storage[field].as_u64();
    match (counted("repositories"), counted("blobs"), size(&storage["bytes"])) {
        (Some(repositories), Some(blobs), Some(bytes)) => {
            lines.push(format!("counted: {}", text(&storage["counted"])));
            lines.push(format!("repositories: {repositories}"));
            lines.push(format!("blobs: {blobs}, {bytes}"));
        }
        _ => lines.push("repositories and blobs: not counted yet".into()),
    }
    for (name, field) in [("open uploads", "uploads"), ("damaged", "damaged")] {
        lines.extend(counted(field).map(|count| format!("{name}: {count}")));
    }
    let disk = &storage["disk"];
    if let (Some(free), Some(bytes)) = (size(&disk["free"]), size(&disk["bytes"])) {
        lines.push(format!("disk: {free} of {bytes} free"));
    }
    let row = |job: &Json| {
        let of = job["target"].as_str().map(|target| format!(" {}", plain(target))).unwrap_or_default();
        let by = job["by"].as_str().filter(|by| !by.is_empty()).unwrap_or("-");
        let said = job["error"].as_str().or(job["progress"]["text"].as_str()).unwrap_or("-");
        let said = plain(&said.split_whitespace().collect::<Vec<_>>().join(" "));
        let [name, state, began, ended] = ["job", "state", "began", "ended"].map(|field| text(&job[field]));
        [format!("{name}{of}"), state, began, ended, plain(by), said]
    };
    let mut jobs = told["jobs"].as_array().into_iter().flatten().map(row).peekable();
    if jobs.peek().is_some() {
        lines.push(String::new());
        lines.push(columns(["JOB", "STATE", "BEGAN", "ENDED", "BY", "SAID"], jobs));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_and_is_done_is_shown_in_lines() {
        let storage = json!({
            "engine": "embedded", "description": "data in /srv", "counted": "1970-01-01T00:00:00Z",
            "repositories": 2, "blobs": 3, "bytes": 2048, "uploads": 0, "damaged": 1, "disk": { "bytes": 4096, "free": 1024 }, "scrub": null,
        });
        let done = Job { state: State::Done, ended: Some(60), ..Job::begin(Kind::Gc, None, "alice".into(), 0) };
        let error = Some("sync base: 2\nfailures".to_owned());
        let failed =
            Job { state: State::Failed, error, ..Job::begin(Kind::Sync, Some("base".into()), String::new(), 0) };
        let text = shown(&told(storage, true, &[done, failed]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["storage: data in /srv", "read-only: no changes are taken"]);
        assert_eq!(lines[2..4], ["counted: 1970-01-01T00:00:00Z", "repositories: 2"]);
        assert_eq!(lines[4..7], ["blobs: 3, 2.0 KiB", "open uploads: 0", "damaged: 1"]);
        assert_eq!(lines[7..9], ["disk: 1.0 KiB of 4.0 KiB free", ""]);
        let words: Vec<&str> = lines[10].split_whitespace().collect();
        assert_eq!(words, ["gc", "done", "1970-01-01T00:00:00Z", "1970-01-01T00:01:00Z", "alice", "-"]);
        assert!(lines[11].starts_with("sync base  failed") && lines[11].ends_with("sync base: 2 failures"), "{text}");
        let unknown = shown(&told(json!({ "description": "data in /srv" }), false, &[]));
        assert_eq!(unknown, "storage: data in /srv\nrepositories and blobs: not counted yet");
    }
}
