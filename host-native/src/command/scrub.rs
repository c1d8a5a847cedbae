//! The scrub: everything that is stored is read again, a little at a time, and what is damaged is out of use from then on.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orlop_core::keys::Key;
use orlop_core::{Claim, Config, Damage, Fault, Finding, Job, NeededBy, Registry, ScrubTotal, Scrubbed};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::observe::Observer;
use crate::observe::date::rfc3339;
use crate::request::live::Current;
use crate::settings::Scrubbing;
use crate::storage::{Host, Leased, Pace, RequestBody, ambient};

/// How soon after the start it begins, or goes on.
const FIRST: Duration = Duration::from_secs(10);

/// How long it waits when the storage fails, or another host scrubs.
const LATER: Duration = Duration::from_secs(60);

/// For how long one call reads, at the rate that is set.
const STRETCH: u64 = 4;

/// How much a call reads at most when it is to be done at once.
const AT_ONCE: u64 = 64 << 20;

/// How many blobs in a row are passed by that the storage cannot read.
const PASSED_BY: u32 = 8;

/// What `orlop scrub` has read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {
    /// How many blobs it has read.
    pub blobs: u64,
    /// How many manifests.
    pub manifests: u64,
    /// How many bytes were hashed. What is damaged is read twice.
    pub bytes: u64,
    /// What is damaged, and was not known to be.
    pub findings: Vec<Finding>,
    /// How many blobs and manifests are in use again, because they are sound.
    pub sound_again: u64,
    /// What was read from the beginning to the end, with what was known to be damaged; none when it ended early.
    pub over: Option<ScrubTotal>,
    /// What the storage could not do: why the scrub ended early, or else why not everything was read.
    pub fault: Option<String>,
}

/// Scrubs for a server.
pub struct Scrubber {
    current: Current,
    host: Arc<Host>,
    observer: Arc<Observer>,
    settings: Scrubbing,
    /// One call at a time: in one process, all have one lease.
    one: Mutex<()>,
}

impl Scrubber {
    /// For that server.
    pub fn new(current: Current, host: Arc<Host>, observer: Arc<Observer>, settings: Scrubbing) -> Self {
        Self { current, host, observer, settings, one: Mutex::default() }
    }

    /// Scrubs for ever, not faster than is set: one host at a time, where several have one storage.
    pub async fn scrub_regularly(self: Arc<Self>) {
        let mut wait = FIRST;
        loop {
            tokio::time::sleep(wait).await;
            let registry = self.current.registry();
            wait = match self.host.under_lease(&registry, Job::Scrub, Claim::Free, self.read_on()).await {
                // The clock of the machine may be set, so it is looked more often than once.
                Ok(Leased::Done(Ok(rest))) => rest.clamp(Duration::from_secs(1), Duration::from_secs(3600)),
                Ok(Leased::Held | Leased::Lost) => LATER,
                Ok(Leased::Done(Err(fault))) | Err(fault) => {
                    tracing::warn!("the scrub waits, because the storage cannot be read: {fault}");
                    LATER
                }
            };
        }
    }

    /// Reads on until everything is read: how long there is nothing to do then.
    async fn read_on(&self) -> Result<Duration, Fault> {
        let rate = self.settings.rate().max(1);
        let pace = Pace::new(rate);
        loop {
            let began = Instant::now();
            let done = {
                let _one = self.one.lock().await;
                let registry = self.current.registry();
                read(&registry, &self.host, rate.div_ceil(STRETCH), self.settings.period(), Some(pace)).await?
            };
            self.tell(&done);
            if !done.rest.is_zero() {
                return Ok(done.rest);
            }
            tokio::time::sleep(pace.time_for(done.bytes).saturating_sub(began.elapsed())).await;
        }
    }

    /// Reads everything now, as fast as it goes. Returns the report as JSON.
    ///
    /// # Errors
    ///
    /// When another host does it.
    pub async fn scrub_now(&self) -> Result<String, String> {
        self.scrub_telling(|_| ()).await
    }

    /// The same, which says of each stretch what it has read.
    ///
    /// # Errors
    ///
    /// When another host does it.
    pub(super) async fn scrub_telling(&self, read: impl Fn(&Scrubbed)) -> Result<String, String> {
        let _one = self.one.lock().await;
        let tell = |done: &Scrubbed| {
            self.tell(done);
            read(done);
        };
        scrub_all(&self.current.registry(), &self.host, tell).await
    }

    /// Whether it reads by itself.
    pub(super) fn is_regular(&self) -> bool {
        self.settings.rate() > 0
    }

    fn tell(&self, done: &Scrubbed) {
        tell(done);
        self.observer.metrics.scrubbed.inc_by(done.bytes);
    }
}

/// Says in the log what was found.
fn tell(done: &Scrubbed) {
    for Finding { what, problem, repositories, remedy } in &done.findings {
        let repositories = repositories.join(" ");
        tracing::warn!(what, problem, repositories, "damaged, and out of use from now on: {remedy}");
    }
    if done.sound_again > 0 {
        tracing::info!(count = done.sound_again, "blobs and manifests that were damaged are sound again");
    }
    if let Some(over) = &done.over {
        let (blobs, manifests, bytes, damaged) = (over.blobs, over.manifests, over.bytes, over.damaged);
        tracing::info!(blobs, manifests, bytes, damaged, "everything that is stored was read again");
    }
}

async fn read(
    registry: &Registry,
    host: &Host,
    room: u64,
    every: Duration,
    pace: Option<Pace>,
) -> Result<Scrubbed, Fault> {
    host.run_paced(registry.scrub(room, every, ambient()), pace).await
}

/// Reads everything from the beginning, as fast as it goes, and says of each call what it has found. Returns the report as
/// JSON.
///
/// # Errors
///
/// When another host does it.
async fn scrub_all(registry: &Registry, host: &Host, tell: impl Fn(&Scrubbed)) -> Result<String, String> {
    let mut all = Scrub::default();
    let work = async {
        host.run(registry.scrub_anew(ambient()), &mut RequestBody::empty()).await?;
        let mut failures = 0;
        loop {
            let done = match read(registry, host, AT_ONCE, Duration::ZERO, None).await {
                // The next call goes on behind what cannot be read.
                Err(Fault::Failed(reason)) if failures < PASSED_BY => {
                    failures += 1;
                    all.fault = Some(reason);
                    continue;
                }
                done => done?,
            };
            failures = 0;
            tell(&done);
            let over = done.over;
            all.add(done);
            if over.is_some() {
                return Ok::<_, Fault>(());
            }
        }
    };
    match host.under_lease(registry, Job::Scrub, Claim::Now, work).await {
        Ok(Leased::Done(Ok(()))) => {}
        Ok(Leased::Done(Err(fault))) | Err(fault) => all.fault = Some(fault.to_string()),
        Ok(Leased::Held | Leased::Lost) => {
            return Err("another host of this storage was told to scrub it, and goes on with it".into());
        }
    }
    serde_json::to_string(&all).map_err(|error| error.to_string())
}

/// The same by this process, where no server has the storage open.
///
/// # Errors
///
/// When another host does it.
pub async fn scrub_here(host: &Host) -> Result<String, String> {
    scrub_all(&Registry::new(Config::default()), host, |_| ()).await
}

/// What is damaged, as JSON.
///
/// # Errors
///
/// When the records cannot be read.
pub async fn list_damaged(host: &Host) -> Result<String, String> {
    let registry = Registry::new(Config::default());
    let (mut all, mut after): (Vec<Damage>, Option<Key>) = (Vec::new(), None);
    loop {
        let step = registry.damaged(after, ambient());
        let page = host.run(step, &mut RequestBody::empty()).await.map_err(|fault| fault.to_string())?;
        all.extend(page.damaged);
        after = page.next;
        if after.is_none() {
            return serde_json::to_string(&all).map_err(|error| error.to_string());
        }
    }
}

impl Scrub {
    fn add(&mut self, done: Scrubbed) {
        self.blobs += done.blobs;
        self.manifests += done.manifests;
        self.bytes += done.bytes;
        self.sound_again += done.sound_again;
        self.findings.extend(done.findings);
        self.over = done.over;
    }

    /// It as text: what was found, a line each, and the sum.
    pub fn text(&self) -> String {
        let mut text = findings(&self.findings);
        let over = self.over.unwrap_or_default();
        // A string takes everything.
        let _ = write!(
            text,
            "{} blobs and {} manifests read, {} bytes; {} damaged, {} of them found now",
            over.blobs,
            over.manifests,
            over.bytes,
            over.damaged,
            self.findings.len()
        );
        if self.sound_again > 0 {
            let _ = write!(text, "; {} are sound again", self.sound_again);
        }
        text
    }
}

/// What is wrong, a line each.
pub fn findings(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { what, problem, repositories, remedy } in findings {
        let _ = write!(text, "{what}: {problem}");
        if !repositories.is_empty() {
            let _ = write!(text, " (repositories: {})", repositories.join(", "));
        }
        let _ = writeln!(text, "\n    {remedy}");
    }
    text
}

/// What is damaged, as JSON, with times in UTC.
///
/// # Errors
///
/// None that occurs.
pub fn json(damaged: &[Damage]) -> Result<String, serde_json::Error> {
    let mut value = serde_json::to_value(damaged)?;
    for (row, one) in value.as_array_mut().into_iter().flatten().zip(damaged) {
        row["since"] = rfc3339(one.since).into();
    }
    serde_json::to_string(&value)
}

/// What brings again what is damaged. Some clients ask for the manifest alone before they push.
const CURE: &str = ": push the images again with docker, podman, skopeo or orlop copy, or pull them through their mirrors; \
                    crane and oras push nothing while a manifest is there, so delete that first";

/// What is damaged, as text: each with the images that need it.
pub fn table(damaged: &[Damage]) -> String {
    let mut text = String::new();
    for Damage { what, since, problem, needed_by, repositories } in damaged {
        let since = rfc3339(*since);
        let _ = writeln!(text, "{what}\n    since {since}: {problem}");
        for NeededBy { repository, digest, tags } in needed_by {
            let tags = if tags.is_empty() { String::new() } else { format!(" ({})", tags.join(", ")) };
            let _ = writeln!(text, "    needed by {repository}@{digest}{tags}");
        }
        if needed_by.is_empty() && !repositories.is_empty() {
            let _ = writeln!(text, "    in {}, needed by no manifest", repositories.join(", "));
        }
    }
    let known = match damaged.len() {
        0 => return "nothing is known to be damaged".into(),
        1 => "1 is damaged and out of use".into(),
        many => format!("{many} are damaged and out of use"),
    };
    text + &known + CURE
}
