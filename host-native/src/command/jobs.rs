//! Jobs that administrators begin by the API: each has a note among the records, renewed while it is done, so that all
//! hosts of the storage see how it stands. A note that is not renewed is that of a job whose host is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use orlop_core::Fault;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::request::administer::Refused;
use crate::request::administer::job::{Job, Kind, Progress, State};
use crate::storage::Host;

/// How often a note is renewed.
pub(super) const RENEW: Duration = Duration::from_secs(5);

/// How often it is tried at most to note the end of a job.
const LAST: u32 = 120;

/// After how many seconds without being renewed a job counts as interrupted.
const GONE: u64 = 60;

/// The longest target, in bytes. Names of repositories have 255, and digests 135.
const TARGET: usize = 512;

/// How many targets of one kind are remembered.
const TARGETS: usize = 16;

/// How many bytes of a report are kept, and how many entries of each of its lists at first.
const REPORT: (usize, usize) = (64 << 10, 200);

/// How long the reason of a failure is at most, in characters.
const REASON: usize = 4000;

/// What the names of notes begin with.
const NOTES: &str = "job/";

/// What is noted of a job.
#[derive(Clone, Serialize, Deserialize)]
struct Note {
    #[serde(flatten)]
    job: Job,
    /// When this was written, in seconds since 1970.
    written: u64,
    /// By which process.
    process: Uuid,
}

/// The jobs of a host.
pub struct Jobs {
    host: Arc<Host>,
    process: Uuid,
}

/// How far a job is, as it says itself.
#[derive(Default)]
pub(super) struct Seen(Mutex<Option<Progress>>);

impl Seen {
    /// It is that far.
    pub(super) fn at(&self, progress: Progress) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    fn get(&self) -> Option<Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A job that this process does.
pub(super) struct Begun {
    host: Arc<Host>,
    name: String,
    note: Note,
    /// The note as it was written last; none when another host has taken the job over.
    last: Option<Bytes>,
}

/// What came of a job.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) report: Option<Json>,
    pub(super) error: Option<String>,
}

impl Outcome {
    /// A report that says itself whether it ended early.
    pub(super) fn of(report: Json) -> Self {
        let error = report["fault"].as_str().map(|fault| format!("it ended early: {fault}"));
        Self { report: Some(report), error }
    }

    /// It could not be done.
    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self { report: None, error: Some(reason.into()) }
    }
}

impl From<Result<String, String>> for Outcome {
    /// What a command gets as JSON.
    fn from(told: Result<String, String>) -> Self {
        match told.and_then(|told| serde_json::from_str(&told).map_err(|error| error.to_string())) {
            Ok(report) => Self::of(report),
            Err(reason) => Self::failed(reason),
        }
    }
}

impl Jobs {
    /// Those of that storage.
    pub fn new(host: Arc<Host>) -> Self {
        Self { host, process: Uuid::new_v4() }
    }

    /// How all jobs stand, one for each kind and target.
    pub(super) async fn all(&self) -> Result<Vec<Job>, Fault> {
        let notes = self.host.notes(NOTES).await?;
        Ok(notes.iter().filter_map(|(_, note)| self.read(note)).map(|note| note.job).collect())
    }

    /// A note with what has become of its job. One that does not read is none.
    fn read(&self, note: &Bytes) -> Option<Note> {
        let mut note: Note = serde_json::from_slice(note).ok()?;
        let is_alive = match self.host.has_several_hosts() {
            true => now().saturating_sub(note.written) < GONE,
            // No other process can have the storage.
            false => note.process == self.process,
        };
        if note.job.state == State::Running && !is_alive {
            note.job.state = State::Interrupted;
            note.job.ended = Some(note.written);
        }
        Some(note)
    }

    /// Begins a job, unless the same is being done.
    ///
    /// # Errors
    ///
    /// When it is; and when the storage fails.
    pub(super) async fn begin(&self, kind: Kind, target: Option<String>, by: String) -> Result<Begun, Refused> {
        if target.as_ref().is_some_and(|target| target.len() > TARGET) {
            return Err(Refused::Bad(format!("the target has more than {TARGET} bytes")));
        }
        let name = match &target {
            Some(target) => format!("{NOTES}{}/{target}", kind.name()),
            None => format!("{NOTES}{}", kind.name()),
        };
        let running = || {
            let of = target.as_ref().map(|target| format!(" of {target}")).unwrap_or_default();
            Refused::Conflict(format!("the job {}{of} runs already: wait for its end", kind.name()))
        };
        let before = self.host.noted(&name).await?;
        let known = before.as_ref().and_then(|note| self.read(note));
        if known.is_some_and(|note| note.job.state == State::Running) {
            return Err(running());
        }
        let began = now();
        let note = Note { job: Job::begin(kind, target.clone(), by, began), written: began, process: self.process };
        let mut begun = Begun { host: self.host.clone(), name, note, last: before };
        if !begun.write().await? {
            return Err(running());
        }
        if target.is_some() {
            self.forget_oldest(kind).await?;
        }
        Ok(begun)
    }

    /// Forgets the jobs of one kind that began first and have ended, where there are many targets.
    async fn forget_oldest(&self, kind: Kind) -> Result<(), Fault> {
        let begins = format!("{NOTES}{}/", kind.name());
        let notes = self.host.notes(&begins).await?;
        let mut ended: Vec<_> = notes
            .iter()
            .map(|(rest, note)| (self.read(note).map(|read| (read.job.state, read.job.began)), rest, note))
            .filter(|(read, ..)| read.is_none_or(|(state, _)| state != State::Running))
            .collect();
        ended.sort_by_key(|(read, ..)| read.map_or(0, |(_, began)| began));
        for (_, rest, note) in ended.into_iter().take(notes.len().saturating_sub(TARGETS)) {
            self.host.note_over(&format!("{begins}{rest}"), Some(note.clone()), None).await?;
        }
        Ok(())
    }
}

impl Begun {
    /// The job as it stands.
    pub(super) fn job(&self) -> &Job {
        &self.note.job
    }

    /// Does the work as a task of its own, so that a panic ends no more than this, and notes how it stands until it is over.
    pub(super) async fn see_to(mut self, seen: Arc<Seen>, work: impl Future<Output = Outcome> + Send + 'static) {
        let mut work = tokio::spawn(work);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                () = tokio::time::sleep(RENEW) => {
                    self.note.job.progress = seen.get();
                    self.renew().await;
                }
            }
        };
        let Outcome { report, error } = done.unwrap_or_else(|error| {
            tracing::error!("a job panicked: {error}");
            Outcome::failed("an internal error, see the log of the server")
        });
        let job = &mut self.note.job;
        job.progress = seen.get();
        job.report = report.map(bounded);
        job.error = error.map(|error| error.chars().take(REASON).collect());
        job.state = if job.error.is_some() { State::Failed } else { State::Done };
        job.ended = Some(now());
        // A job whose end is not noted counts as one that runs.
        for _ in 0..LAST {
            if self.renew().await {
                break;
            }
            tokio::time::sleep(RENEW).await;
        }
    }

    /// Notes how the job stands: whether nothing is left to note.
    async fn renew(&mut self) -> bool {
        let written = match self.write().await {
            Ok(false) => self.write_again().await,
            written => written,
        };
        match written {
            Ok(true) => true,
            Ok(false) => {
                tracing::warn!("another host has begun {} since: it is not noted here", self.name);
                true
            }
            Err(fault) => {
                tracing::warn!("how {} stands is not noted: {fault}", self.name);
                false
            }
        }
    }

    /// Writes the note over one of this job that is not as it was known here: it was written, and the answer was lost.
    async fn write_again(&mut self) -> Result<bool, Fault> {
        let found = self.host.noted(&self.name).await?;
        let note: Option<Note> = found.as_ref().and_then(|found| serde_json::from_slice(found).ok());
        let is_ours =
            note.is_some_and(|note| note.process == self.note.process && note.job.began == self.note.job.began);
        if !is_ours {
            return Ok(false);
        }
        self.last = found;
        self.write().await
    }

    /// Writes the note, if nobody else has: whether it is written.
    async fn write(&mut self) -> Result<bool, Fault> {
        self.note.written = now();
        let text = serde_json::to_vec(&self.note).map_err(|error| Fault::Failed(error.to_string()))?;
        let text = Bytes::from(text);
        let written = self.host.note_over(&self.name, self.last.clone(), Some(text.clone())).await?;
        if written {
            self.last = Some(text);
        }
        Ok(written)
    }
}

/// A report that is not too large for a record: of lists only the first entries are kept, and it says so.
fn bounded(mut report: Json) -> Json {
    let (most, mut entries) = REPORT;
    while report.to_string().len() > most {
        let Some(fields) = report.as_object_mut() else { return Json::Null };
        for list in fields.values_mut().filter_map(Json::as_array_mut) {
            list.truncate(entries);
        }
        fields.insert("truncated".into(), true.into());
        if entries == 0 {
            break;
        }
        entries /= 4;
    }
    report
}

/// The jobs as they are shown: in the place of what was noted of a job, what else is known of it if that is newer; those that
/// run first, and then those that began last.
pub(super) fn with_known(noted: Vec<Job>, known: Vec<Job>) -> Vec<Job> {
    let mut all: HashMap<(&'static str, Option<String>), Job> = HashMap::new();
    for job in noted {
        all.insert((job.job.name(), job.target.clone()), job);
    }
    for job in known {
        // A run that somebody began is noted by then.
        let covers = |noted: &Job| {
            (noted.job, &noted.target) == (job.job, &job.target) || (noted.job == job.job && noted.target.is_none())
        };
        let covers = |noted: &Job| covers(noted) && noted.ended.is_none_or(|ended| ended >= job.began);
        if !all.values().any(covers) {
            all.insert((job.job.name(), job.target.clone()), job);
        }
    }
    let mut all: Vec<Job> = all.into_values().collect();
    all.sort_by_key(|job| {
        let rests = job.state != State::Running;
        (rests, std::cmp::Reverse(job.began), job.job.name(), job.target.clone())
    });
    all
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::settings::Options;

    fn jobs(directory: &TempDir) -> Jobs {
        Jobs::new(Arc::new(Host::open(directory.path(), &Options::default()).unwrap()))
    }

    #[tokio::test]
    async fn a_job_runs_once_at_a_time_and_is_noted_with_its_end() {
        let directory = TempDir::new().unwrap();
        let jobs = jobs(&directory);
        let begin = async || jobs.begin(Kind::Gc, None, "alice".into()).await;
        let begun = begin().await.unwrap();
        assert!(matches!(begin().await, Err(Refused::Conflict(_))));
        assert_eq!(jobs.all().await.unwrap()[0].state, State::Running);
        begun.see_to(Arc::default(), async { Outcome::of(json!({ "fault": null, "blobs_removed": 1 })) }).await;
        let done = &jobs.all().await.unwrap()[0];
        assert_eq!((done.state, &done.by), (State::Done, &"alice".to_owned()));
        assert_eq!(done.report, Some(json!({ "fault": null, "blobs_removed": 1 })));
        begin().await.unwrap().see_to(Arc::default(), async { panic!("as a test asks") }).await;
        assert_eq!(jobs.all().await.unwrap()[0].state, State::Failed);
        begin().await.unwrap();
        // Another process has the storage.
        let again = Jobs { process: Uuid::new_v4(), host: jobs.host.clone() };
        assert_eq!(again.all().await.unwrap()[0].state, State::Interrupted);
        assert!(again.begin(Kind::Gc, None, "bob".into()).await.is_ok());
    }

    /// A note was written, and the answer to that was lost.
    #[tokio::test]
    async fn a_job_goes_on_to_be_noted_where_its_note_is_its_own() {
        let directory = TempDir::new().unwrap();
        let jobs = jobs(&directory);
        let mut begun = jobs.begin(Kind::Gc, None, "alice".into()).await.unwrap();
        let before = begun.last.clone();
        begun.note.job.progress = Some(Progress { done: 1, total: None, unit: "blobs".into(), text: String::new() });
        assert!(begun.renew().await);
        begun.last = before;
        begun.see_to(Arc::default(), async { Outcome::of(json!({ "fault": null })) }).await;
        assert_eq!(jobs.all().await.unwrap()[0].state, State::Done);
    }

    #[tokio::test]
    async fn few_targets_are_remembered_and_those_that_run_always() {
        let directory = TempDir::new().unwrap();
        let jobs = jobs(&directory);
        let running = jobs.begin(Kind::MirrorFetch, Some("hub/a:0".into()), "alice".into()).await.unwrap();
        for number in 0..40 {
            let begun = jobs.begin(Kind::MirrorFetch, Some(format!("hub/b:{number}")), "alice".into()).await.unwrap();
            begun.see_to(Arc::default(), async { Outcome::failed("it is not there") }).await;
        }
        let all = jobs.all().await.unwrap();
        assert_eq!(all.len(), TARGETS);
        assert!(all.contains(running.job()));
        let long = Some("x".repeat(TARGET + 1));
        assert!(matches!(jobs.begin(Kind::Sync, long, "alice".into()).await, Err(Refused::Bad(_))));
    }

    #[test]
    fn a_report_stays_small() {
        let names: Vec<String> = (0..10_000).map(|number| format!("blob {number} of many")).collect();
        let small = bounded(json!({ "garbage": names, "bytes_freed": 7 }));
        assert!(small.to_string().len() < REPORT.0);
        assert_eq!((&small["truncated"], &small["bytes_freed"]), (&json!(true), &json!(7)));
        assert_eq!(small["garbage"].as_array().unwrap().len(), REPORT.1);
        assert_eq!(bounded(json!({ "a": [1] })), json!({ "a": [1] }));
    }

    #[test]
    fn what_a_server_does_by_itself_is_shown_unless_somebody_began_it() {
        let job = |kind, target: Option<&str>, by: &str, began, ended| Job {
            state: if Option::is_some(&ended) { State::Done } else { State::Running },
            ended,
            ..Job::begin(kind, target.map(Into::into), by.into(), began)
        };
        let by_hand = job(Kind::Sync, Some("base"), "alice", 100, Some(200));
        let its_run = job(Kind::Sync, Some("base"), "", 101, Some(200));
        let later = job(Kind::Sync, Some("base"), "", 300, None);
        let other = job(Kind::Sync, Some("other"), "", 150, Some(160));
        let gc = job(Kind::Gc, None, "bob", 400, Some(401));
        let shown = with_known(vec![by_hand.clone(), gc.clone()], vec![its_run, other.clone()]);
        assert_eq!(shown, [gc.clone(), other, by_hand.clone()]);
        assert_eq!(with_known(vec![by_hand, gc.clone()], vec![later.clone()]), [later, gc]);
    }
}
