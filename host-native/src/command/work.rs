//! What administrators have a server do by the API: what the control socket does for commands, in values.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orlop_core::name::Repository;
use orlop_core::record::CensusRecord;
use orlop_core::retention::Plan;
use orlop_core::{Claim, Fault, Retained, RetentionReport};
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use crate::command::control::Control;
use crate::command::jobs::{Outcome, Seen};
use crate::command::mirror::Mirrors;
use crate::command::retention::much;
use crate::command::status::LONG_AGO;
use crate::command::{integrity, status, usage};
use crate::observe::admin::{self, CENSUS};
use crate::request::administer::job::{Job, Kind, Progress};
use crate::request::administer::{Refused, Work};
use crate::settings::Images;
use crate::storage::{RequestBody, ambient};
use crate::sync::Standing;

/// How often it is looked how far a sync is.
const LOOK: Duration = Duration::from_secs(1);

/// How long an answer waits for what is counted. The counting goes on, for the next one.
const PATIENCE: Duration = Duration::from_secs(2);

#[async_trait]
impl Work for Control {
    async fn begin(self: Arc<Self>, kind: Kind, target: Option<String>, by: String) -> Result<Job, Refused> {
        self.can(kind, target.as_deref()).await?;
        let begun = self.jobs.begin(kind, target.clone(), by.clone()).await?;
        let (job, seen) = (begun.job().clone(), Arc::new(Seen::default()));
        tracing::info!(target: "orlop::audit", user = by, job = kind.name(), of = target, "a job is begun by the API");
        let work = {
            let (control, seen) = (self.clone(), seen.clone());
            async move { control.perform_job(kind, target.as_deref(), &seen).await }
        };
        tokio::spawn(begun.see_to(seen, work));
        Ok(job)
    }

    async fn jobs(&self) -> Result<Vec<Job>, Refused> {
        let (registry, standings) = (self.current.registry(), self.standings().await?);
        Ok(status::jobs(&registry, &self.host, &self.jobs, &standings, self.scrubber.is_regular()).await?)
    }

    async fn mirrors(&self) -> Result<Json, Refused> {
        Ok(json!(Mirrors::from(self.current.mirrors()).mirrored(&self.host).await?))
    }

    async fn syncs(&self) -> Result<Vec<Json>, Refused> {
        Ok(self.standings().await?.iter().map(Standing::told).collect())
    }

    async fn storage(&self) -> Result<Json, Refused> {
        Ok(status::stored(&self.current.registry(), &self.host, self.census().await?).await?)
    }

    async fn retention_plan(&self, repositories: &[Repository]) -> Result<(Vec<Plan>, Vec<String>), Refused> {
        self.retaining.plans(repositories).await
    }

    async fn retention_apply(
        &self,
        repository: &Repository,
        plan: &str,
        yes: bool,
    ) -> Result<RetentionReport, Refused> {
        match self.retaining.apply(repository, plan, yes).await? {
            Retained::Done(report) => Ok(report),
            Retained::Changed(plan) => Err(Refused::Conflict(format!(
                "{repository} or the rules have changed since that plan was made: the plan is {} now; nothing was deleted",
                plan.plan
            ))),
            Retained::Waits(plan) => Err(Refused::Conflict(format!(
                "this would delete {} of {repository}: send `\"yes\": true` if that is meant; nothing was deleted",
                much(&plan)
            ))),
        }
    }

    async fn retention_status(&self) -> Result<Json, Refused> {
        self.retaining.told_status().await
    }
}

impl Control {
    /// What the storage has and how jobs stand, as `orlop status` prints it.
    pub(super) async fn status(&self) -> Result<String, Refused> {
        let (storage, jobs) = (self.storage().await?, self.jobs().await?);
        Ok(status::told(storage, self.current.get().read_only, &jobs).to_string())
    }

    /// Refuses a job that cannot be done.
    async fn can(&self, kind: Kind, target: Option<&str>) -> Result<(), Refused> {
        match (kind, target) {
            (Kind::Sync | Kind::SyncDryRun, Some(name)) if !self.syncing.has(name) => {
                Err(Refused::Unknown(format!("there is no sync `{name}` in the configuration")))
            }
            (Kind::Sync, name) => {
                let standings = self.standings().await?;
                let runs = |sync: &&Standing| sync.is_running() && name.is_none_or(|name| sync.name() == name);
                match standings.iter().find(runs) {
                    Some(sync) => Err(Refused::Conflict(format!("the sync {} runs already", sync.name()))),
                    None if standings.is_empty() => {
                        Err(Refused::Unknown("there is no [[sync]] in the configuration".into()))
                    }
                    None => Ok(()),
                }
            }
            (Kind::MirrorFetch | Kind::MirrorEvict, None) => Err(Refused::Bad(
                "say which images, as `target`: REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST".into(),
            )),
            (Kind::MirrorFetch | Kind::MirrorEvict, Some(images)) => {
                let images: Images = images.parse().map_err(Refused::Bad)?;
                match self.current.registry().mirrors(&images.repository) {
                    true => Ok(()),
                    false => Err(Refused::Unknown(format!("{} belongs to no mirror", images.repository))),
                }
            }
            (Kind::Backup, _) if self.host.has_several_hosts() => Err(Refused::Conflict(
                "the database and the object store are backed up by their own tools: see orlop(7)".into(),
            )),
            _ => Ok(()),
        }
    }

    /// Does a job to its end.
    async fn perform_job(&self, kind: Kind, target: Option<&str>, seen: &Seen) -> Outcome {
        match kind {
            Kind::Gc => told(self.collector.collect(Claim::Now).await.map(|report| json!(report))),
            Kind::GcDryRun => told(self.collector.foretell().await.map(|report| json!(report))),
            Kind::Scrub => self.scrub(seen).await,
            Kind::Check => integrity::check_all(&self.host).await.into(),
            Kind::Recount => usage::Asked::Recount.perform(&self.current.registry(), &self.host).await.into(),
            Kind::Sync => {
                let running = self.syncing.run_reported(target, false);
                tokio::pin!(running);
                loop {
                    tokio::select! {
                        ran = &mut running => break reported(ran),
                        () = tokio::time::sleep(LOOK) => self.see_sync(target, seen).await,
                    }
                }
            }
            Kind::SyncDryRun => reported(self.syncing.run_reported(target, true).await),
            Kind::MirrorFetch | Kind::MirrorEvict => match target.unwrap_or_default().parse() {
                Ok(images) => self.mirror(kind, &images, seen).await,
                Err(reason) => Outcome::failed(reason),
            },
            Kind::Backup => {
                let _one = self.backing_up.lock().await;
                match self.host.back_up().await {
                    Ok(backup) => {
                        let (records, files, path) = (backup.records, backup.files, backup.path.display().to_string());
                        tracing::info!("backed up: {records} records, {files} files");
                        Outcome::of(json!({ "records": records, "files": files, "path": path }))
                    }
                    Err(fault) => Outcome::failed(fault.to_string()),
                }
            }
        }
    }

    async fn scrub(&self, seen: &Seen) -> Outcome {
        let known =
            self.host.run(self.current.registry().counted(LONG_AGO, ambient()), &mut RequestBody::empty()).await;
        let total = known.ok().flatten().map(|known| known.census.blobs);
        let read = std::sync::Mutex::new((0, 0, 0));
        let scrubbed = self.scrubber.scrub_telling(|done| {
            let Ok(mut read) = read.lock() else { return };
            let (blobs, bytes, damaged) = *read;
            *read = (blobs + done.blobs, bytes + done.bytes, damaged + done.findings.len());
            let text = format!("{} bytes read, {} damaged blobs and manifests found", read.1, read.2);
            // What was pushed since it was counted is read too.
            let total = total.map(|total| total.max(read.0));
            seen.at(Progress { done: read.0, total, unit: "blobs".into(), text });
        });
        scrubbed.await.into()
    }

    async fn see_sync(&self, target: Option<&str>, seen: &Seen) {
        let Ok(standings) = self.standings().await else { return };
        let running = standings.iter().find(|sync| sync.is_running() && target.is_none_or(|name| sync.name() == name));
        if let Some(sync) = running {
            seen.at(status::progress_of(sync));
        }
    }

    async fn mirror(&self, kind: Kind, images: &Images, seen: &Seen) -> Outcome {
        let mirrors = Mirrors::from(self.current.mirrors());
        if kind == Kind::MirrorEvict {
            return told(mirrors.let_go(&self.host, images).await.map(|gone| json!(gone)));
        }
        let tell = |done: usize, total: usize| {
            let text = format!("fetching image {} of {total}", done + 1);
            seen.at(Progress { done: done as u64, total: Some(total as u64), unit: "images".into(), text });
        };
        match mirrors.bring(&self.host, images, tell).await {
            Ok(fetched) => Outcome { report: Some(json!(fetched)), error: fetched.failed() },
            Err(reason) => Outcome::failed(reason),
        }
    }

    async fn standings(&self) -> Result<Vec<Standing>, Refused> {
        self.syncing.standings().await.map_err(|reason| Refused::Fault(Fault::Failed(reason)))
    }

    /// How much there is, counted by one host of the storage some minutes ago at most, or else when it was counted last.
    async fn census(&self) -> Result<Option<CensusRecord>, Refused> {
        let (registry, host) = (self.current.registry(), self.host.clone());
        if let Ok(one) = self.counting.clone().try_lock_owned() {
            let counting = tokio::spawn(async move {
                let _one = one;
                admin::census(&registry, &host, CENSUS).await
            });
            // What comes later is there for the next one.
            let _ = timeout(PATIENCE, counting).await;
        }
        let step = self.current.registry().counted(LONG_AGO, ambient());
        Ok(self.host.run(step, &mut RequestBody::empty()).await?)
    }
}

fn told(report: Result<Json, String>) -> Outcome {
    report.map_or_else(Outcome::failed, Outcome::of)
}

fn reported(ran: Result<(Json, Option<String>), String>) -> Outcome {
    match ran {
        Ok((report, error)) => Outcome { report: Some(report), error },
        Err(reason) => Outcome::failed(reason),
    }
}
