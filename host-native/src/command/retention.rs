//! Retention: regularly, and when it is asked for.

mod report;

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use orlop_core::name::Repository;
use orlop_core::retention::{Plan, Rule};
use orlop_core::{Claim, Fault, Job, Registry, Retained};
use serde_json::Value as Json;
use tokio::sync::Mutex;

pub(super) use self::report::much;
use self::report::{Status, Waiting, applied, planned, status};
use crate::command::cli::RetentionCommand;
use crate::command::config::Effective;
use crate::command::control::Request;
use crate::command::start::by_the_servers_settings;
use crate::command::storage::by_server_or_here;
use crate::observe::{Observer, log};
use crate::request::administer::Refused;
use crate::request::live::{Current, Live};
use crate::settings::{LogFormat, Settings};
use crate::storage::{self, Host, Leased, RequestBody, ambient};

/// How long after its start a server runs retention, if it is due: so long has whoever changed the rules to look at a plan.
const FIRST: Duration = Duration::from_secs(3600);

/// How often it is looked whether a run is due.
const LOOK: Duration = Duration::from_secs(60);

/// How far the clock may be set forward while a run is waited for. A machine that slept is no different.
const LEAP: Duration = Duration::from_secs(3600);

/// Under which name a host keeps what the last run did.
const NOTE: &str = "retention/status";

/// How many repositories and faults a status names.
const NAMED: usize = 1000;

/// What is asked of retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What would be deleted, in these repositories or in all that a rule is about.
    Plan {
        /// Which.
        repositories: Vec<Repository>,
        /// As JSON.
        json: bool,
    },
    /// To do what was planned.
    Apply {
        /// In which repository.
        repository: Repository,
        /// The name of the plan.
        plan: String,
        /// Whether somebody agrees to much of it.
        yes: bool,
    },
    /// What the last run did.
    Status {
        /// As JSON.
        json: bool,
    },
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = |given: bool, option: &'static str| if given { option } else { "" };
        match self {
            Self::Plan { repositories, json } => {
                write!(f, "retention plan{}", option(*json, " json"))?;
                // A repository may be called json.
                repositories.iter().try_for_each(|name| write!(f, " :{name}"))
            }
            Self::Apply { repository, plan, yes } => {
                write!(f, "retention apply{} {plan} {repository}", option(*yes, " yes"))
            }
            Self::Status { json } => write!(f, "retention status{}", option(*json, " json")),
        }
    }
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split(' ').collect();
        Ok(match words.as_slice() {
            ["retention", "plan", rest @ ..] => {
                let (json, names) = match rest {
                    ["json", names @ ..] => (true, names),
                    names => (false, names),
                };
                let names = names.iter().map(|name| repository(name.strip_prefix(':').unwrap_or(name)));
                Self::Plan { repositories: names.collect::<Result<_, _>>()?, json }
            }
            ["retention", "apply", "yes", plan, name] => {
                Self::Apply { repository: repository(name)?, plan: (*plan).into(), yes: true }
            }
            ["retention", "apply", plan, name] => {
                Self::Apply { repository: repository(name)?, plan: (*plan).into(), yes: false }
            }
            ["retention", "status"] => Self::Status { json: false },
            ["retention", "status", "json"] => Self::Status { json: true },
            _ => return Err(format!("`{line}` is nothing that retention does")),
        })
    }
}

fn repository(name: &str) -> Result<Repository, String> {
    name.parse().map_err(|_| format!("`{name}` is not a repository name"))
}

impl RetentionCommand {
    fn settings(&self) -> &Settings {
        match self {
            Self::Plan(plan) => &plan.settings,
            Self::Apply(apply) => &apply.settings,
            Self::Status(status) => &status.settings,
        }
    }

    fn asked(&self) -> Result<Asked, String> {
        Ok(match self {
            Self::Plan(plan) => {
                let names = plan.repositories.iter().map(|name| repository(name));
                Asked::Plan { repositories: names.collect::<Result<_, _>>()?, json: plan.json }
            }
            Self::Apply(apply) => {
                if apply.plan.is_empty() || !apply.plan.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(format!("`{}` is not a plan: orlop retention plan prints it", apply.plan));
                }
                let repository = repository(&apply.repository)?;
                Asked::Apply { repository, plan: apply.plan.clone(), yes: apply.yes }
            }
            Self::Status(status) => Asked::Status { json: status.json },
        })
    }
}

/// `orlop retention`: by the server that has the data directory open, or else by this process.
///
/// # Errors
///
/// With what could not be done, and why.
pub fn retention(command: &RetentionCommand, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let (asked, settings) = (command.asked()?, command.settings());
    let data = &settings.storage.data;
    if data.engines.engines()?.is_none() && storage::holder(&data.directory).is_some() {
        by_the_servers_settings(effective, "deletes")?;
    }
    let request = Request::Retention(asked.clone());
    let here = async |host: &Arc<Host>| {
        log::start(settings.storage.log.clone(), LogFormat::Text);
        orlop_core::retention::check(settings.config().retention.as_slice())?;
        let (live, _) = Live::new(settings)?;
        Retaining::new(Current::new(live), host.clone(), None).perform(&asked).await
    };
    out!("{}", by_server_or_here(data, &settings.options(), request, here)?);
    Ok(())
}

/// Deletes what the rules let go.
pub struct Retaining {
    current: Current,
    host: Arc<Host>,
    observer: Option<Arc<Observer>>,
    /// One run at a time.
    one: Mutex<()>,
}

impl Retaining {
    /// For a server, or for a command alone.
    pub fn new(current: Current, host: Arc<Host>, observer: Option<Arc<Observer>>) -> Self {
        Self { current, host, observer, one: Mutex::default() }
    }

    /// Runs when it is due, for ever: one host at a time, where several have one storage.
    pub async fn run_regularly(self: Arc<Self>, interval: Duration) {
        let mut pause = FIRST.min(interval);
        loop {
            let before = (Instant::now(), SystemTime::now());
            tokio::time::sleep(pause).await;
            pause = LOOK.min(interval);
            let waited = (before.0.elapsed(), before.1.elapsed().unwrap_or_default());
            if waited.1 > waited.0 + LEAP {
                // All that is kept for a time would be old at once.
                tracing::warn!("the clock was set forward by {:?}: retention waits", waited.1 - waited.0);
                pause = FIRST.min(interval);
                continue;
            }
            match self.is_due(interval).await {
                Ok(true) => self.run().await,
                Ok(false) => {}
                Err(fault) => tracing::warn!("it is not known when retention ran last: {fault}"),
            }
        }
    }

    async fn is_due(&self, interval: Duration) -> Result<bool, Fault> {
        let last = self.status().await?.began;
        // A clock that was wrong holds nothing up.
        let long_ago = last > seconds() || seconds() - last >= interval.as_secs();
        Ok(long_ago && !self.registry().retention().is_empty() && !self.current.get().read_only)
    }

    /// Runs once, under the lease of that job.
    async fn run(&self) {
        let _one = self.one.lock().await;
        let registry = self.registry();
        match self.host.under_lease(&registry, Job::Retention, Claim::Free, self.run_all(&registry)).await {
            Ok(Leased::Done(Ok(status))) => {
                let Status { tags_deleted, manifests_deleted, waiting, .. } = &status;
                tracing::info!(
                    tags_deleted,
                    manifests_deleted,
                    waiting = waiting.len(),
                    "retention: what the rules let go is deleted"
                );
            }
            Ok(Leased::Held | Leased::Lost) => {}
            Ok(Leased::Done(Err(fault))) | Err(fault) => tracing::error!("retention ended early: {fault}"),
        }
    }

    async fn run_all(&self, registry: &Registry) -> Result<Status, Fault> {
        let mut status = Status { began: seconds(), ..self.status().await? };
        // The beginning counts, so that a run that ends early is not begun again at once.
        self.note(&status).await?;
        status = Status { began: status.began, ..Status::default() };
        let mut after = None;
        loop {
            let names = self.ask(registry.repositories(after.take(), ambient())).await?;
            let Some(last) = names.last().cloned() else { break };
            for name in names.into_iter().filter(|name| registry.retains(name)) {
                let retained = self.ask(registry.apply_retention(name.clone(), None, false, ambient())).await;
                self.took_place(&name, retained, &mut status);
            }
            after = Some(last);
        }
        status.ended = Some(seconds());
        self.note(&status).await?;
        if let Some(observer) = &self.observer {
            observer.metrics.retention_waiting.set(i64::try_from(status.waiting.len()).unwrap_or(i64::MAX));
            observer.metrics.retention_last.set(i64::try_from(seconds()).unwrap_or(i64::MAX));
        }
        Ok(status)
    }

    /// Counts and logs what became of a repository. One that fails keeps no other from being looked at.
    fn took_place(&self, name: &Repository, retained: Result<Retained, Fault>, status: &mut Status) {
        match retained {
            Ok(Retained::Done(report)) => {
                self.count(report.tags_deleted, report.manifests_deleted);
                status.tags_deleted += report.tags_deleted;
                status.manifests_deleted += report.manifests_deleted;
                if report.tags_deleted + report.manifests_deleted > 0 {
                    let (tags, manifests) = (report.tags_deleted, report.manifests_deleted);
                    tracing::info!(repository = name.as_str(), tags, manifests, "retention");
                }
            }
            Ok(Retained::Waits(plan) | Retained::Changed(plan)) => {
                tracing::warn!(
                    repository = name.as_str(),
                    plan = plan.plan,
                    "retention would delete {}, and waits for somebody to agree: see `orlop retention plan {name}`, \
                     then run `orlop retention apply {name} --plan {} --yes`, or change the rules",
                    much(&plan),
                    plan.plan
                );
                if status.waiting.len() < NAMED {
                    status.waiting.push(Waiting::of(&plan));
                }
            }
            Err(fault) => {
                tracing::error!(repository = name.as_str(), "retention fails: {fault}");
                if status.failed.len() < NAMED {
                    status.failed.push(format!("{name}: {fault}"));
                }
            }
        }
    }

    fn count(&self, tags: u64, manifests: u64) {
        if let Some(observer) = &self.observer {
            observer.metrics.retention_tags.inc_by(tags);
            observer.metrics.retention_manifests.inc_by(manifests);
        }
    }

    /// Does what is asked.
    ///
    /// # Errors
    ///
    /// With what is wrong.
    pub async fn perform(&self, asked: &Asked) -> Result<String, String> {
        match asked {
            Asked::Plan { repositories, json } => {
                let (plans, warnings) = self.plans(repositories).await?;
                planned(&plans, &warnings, *json)
            }
            Asked::Apply { repository, plan, yes } => applied(repository, &self.apply(repository, plan, *yes).await?),
            Asked::Status { json } => {
                let found = self.status().await.map_err(|fault| fault.to_string())?;
                status(&found, *json)
            }
        }
    }

    /// Does what was planned, if the plan is still the same.
    ///
    /// # Errors
    ///
    /// When there is no such repository, or the storage fails.
    pub(super) async fn apply(&self, repository: &Repository, plan: &str, yes: bool) -> Result<Retained, Refused> {
        let _one = self.one.lock().await;
        let registry = self.registry();
        self.exists(repository).await?;
        let step = registry.apply_retention(repository.clone(), Some(plan.to_owned()), yes, ambient());
        let retained = self.ask(step).await?;
        if let Retained::Done(report) = &retained {
            self.count(report.tags_deleted, report.manifests_deleted);
            tracing::info!(
                repository = repository.as_str(),
                tags = report.tags_deleted,
                manifests = report.manifests_deleted,
                plan,
                "retention, by hand"
            );
            self.agreed(repository).await?;
        }
        Ok(retained)
    }

    /// The plans of these repositories, or of all that a rule is about, and what is odd about the rules.
    ///
    /// # Errors
    ///
    /// When there is no such repository, or the storage fails.
    pub(super) async fn plans(&self, repositories: &[Repository]) -> Result<(Vec<Plan>, Vec<String>), Refused> {
        let registry = self.registry();
        let (mut names, mut warnings) = (Vec::new(), Vec::new());
        if registry.retention().is_empty() {
            warnings.push(match &self.observer {
                // Only a server has one.
                Some(_) => "the server has no rules: write [[retention]] in its configuration file, and put it in \
                            force by `orlop reload`"
                    .to_owned(),
                None => "there are no rules: write [[retention]] in the configuration file".to_owned(),
            });
        }
        for name in repositories {
            self.exists(name).await?;
            names.push(name.clone());
        }
        if repositories.is_empty() {
            let mut after = None;
            loop {
                let page = self.ask(registry.repositories(after.take(), ambient())).await?;
                let Some(last) = page.last().cloned() else { break };
                names.extend(page.into_iter().filter(|name| registry.retains(name)));
                after = Some(last);
            }
            let idle = registry.retention().iter().filter(|rule| !names.iter().any(|name| rule.is_about(name)));
            warnings.extend(idle.map(|rule| format!("the rule `{}` matches no repository", rule.name)));
        }
        let (mut plans, mut stay) = (Vec::new(), false);
        for name in names {
            let plan = self.ask(registry.plan_retention(name.clone(), ambient())).await?;
            let frees = |rule: &Rule| rule.untagged_after.is_some() && rule.is_about(&name);
            stay |= plan.tags_deleted > 0 && !registry.retention().iter().any(frees);
            plans.push(plan);
        }
        if stay && !registry.removes_untagged() {
            warnings.push(
                "images whose tags are deleted keep their space where no rule has untagged-after: set it, or \
                 untagged-lifetime"
                    .to_owned(),
            );
        }
        Ok((plans, warnings))
    }

    async fn exists(&self, name: &Repository) -> Result<(), Refused> {
        let step = self.registry().has_repository(name.clone(), ambient());
        match self.ask(step).await? {
            true => Ok(()),
            false => Err(Refused::Unknown(format!("there is no repository {name}"))),
        }
    }

    /// How it stands, as `orlop retention status --json` prints it.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub(super) async fn told_status(&self) -> Result<Json, Refused> {
        Ok(report::status_value(&self.status().await?))
    }

    /// A repository waits for nobody any more.
    async fn agreed(&self, name: &Repository) -> Result<(), Fault> {
        let mut status = self.status().await?;
        let before = status.waiting.len();
        status.waiting.retain(|waiting| waiting.repository != name.as_str());
        if status.waiting.len() == before { Ok(()) } else { self.note(&status).await }
    }

    /// What the last run did. One that does not read is as none.
    async fn status(&self) -> Result<Status, Fault> {
        let found = self.host.noted(NOTE).await?;
        Ok(found.and_then(|found| serde_json::from_slice(&found).ok()).unwrap_or_default())
    }

    async fn note(&self, status: &Status) -> Result<(), Fault> {
        let text = serde_json::to_vec(status).map_err(|error| Fault::Failed(error.to_string()))?;
        self.host.note(NOTE, text.into()).await
    }

    async fn ask<T: Send + 'static>(&self, step: orlop_core::Step<T>) -> T {
        self.host.run(step, &mut RequestBody::empty()).await
    }

    fn registry(&self) -> Registry {
        self.current.registry()
    }
}

/// Seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
