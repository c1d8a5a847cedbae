//! A run from its beginning to its end: learn, check, play histories, tell.

use std::rc::Rc;
use std::str::FromStr;

use futures_util::StreamExt;
use futures_util::stream;

use super::capabilities::{Capabilities, learn};
use super::chance::Chance;
use super::check::{Check, Level};
use super::exchange::{AnyTarget, Exchange, Unreachable};
use super::history::{self, Failure, Outcome};
use super::lab::{Lab, Run, Stop};
use super::{checks, concurrent, curl};

/// How many histories are played at once.
const AT_ONCE: usize = 8;

/// How many histories that fail in different ways are shrunk and told.
const TOLD: usize = 20;

/// What counts as a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// What OCI 1.1 demands, and what Docker's API describes if the registry says that it speaks it.
    #[default]
    Auto,
    /// What OCI 1.1 demands.
    Oci,
    /// What the coming version of OCI demands.
    OciNext,
    /// What OCI 1.1 demands and what Docker's API describes.
    Docker,
    /// Everything, good practice too.
    Strict,
}

impl Profile {
    /// Every profile, with what it is called on the command line.
    pub const ALL: [(&'static str, Self); 5] = [
        ("auto", Self::Auto),
        ("oci", Self::Oci),
        ("oci-next", Self::OciNext),
        ("docker", Self::Docker),
        ("strict", Self::Strict),
    ];

    /// Whether a check that does not hold is a failure.
    pub fn counts(self, check: &Check, can: &Capabilities) -> bool {
        let docker = matches!(self, Self::Docker | Self::Strict) || (self == Self::Auto && can.docker);
        let coming = matches!(self, Self::OciNext | Self::Strict);
        match check.level {
            Level::Must | Level::Should => coming || !check.is_coming(),
            Level::Doc => docker,
            Level::Good => self == Self::Strict,
        }
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|(known, _)| *known == name);
        known.map(|(_, profile)| profile).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(|(name, _)| name).collect();
            format!("there is no profile {name}; there are {}", names.join(", "))
        })
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Only checks that this pattern means.
    pub checks: Option<String>,
    /// How many random histories.
    pub histories: usize,
    /// How many operations each has.
    pub operations: usize,
    /// How many concurrent histories.
    pub concurrent: usize,
    /// Where chance begins.
    pub seed: u64,
    /// The repositories of this run begin with this.
    pub prefix: String,
    /// What counts.
    pub profile: Profile,
    /// Whether repositories that are empty again are used again, rather than one for each check.
    pub reuse: bool,
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Found {
    /// It holds.
    Passed,
    /// It does not hold.
    Failed {
        /// What was expected.
        expected: String,
        /// What came.
        came: String,
        /// The lines that do it again.
        curl: String,
        /// Whether it counts under the profile.
        counts: bool,
    },
    /// The registry does not offer what it is about, and need not.
    NotOffered {
        /// What that is.
        what: String,
    },
}

/// A check and how it ended.
#[derive(Clone)]
pub struct Checked {
    /// The check.
    pub check: &'static Check,
    /// How it ended.
    pub found: Found,
}

/// What was found.
#[derive(Clone)]
pub struct Findings {
    /// The address of the registry.
    pub target: String,
    /// What was to be done.
    pub settings: Settings,
    /// What the registry offers, once it is known.
    pub can: Option<Capabilities>,
    /// The checks that were done.
    pub checked: Vec<Checked>,
    /// How many random histories were played, and how many operations they had.
    pub played: (usize, usize),
    /// Those that failed, one of each kind, shrunk.
    pub failures: Vec<Failure>,
    /// How many failed in all.
    pub failed: usize,
    /// How many concurrent histories were played, and those that failed.
    pub concurrent: (usize, Vec<Failure>),
    /// Why the run ended before its end.
    pub ended: Option<String>,
}

impl Findings {
    /// Nothing yet, of the registry at that address.
    pub fn none(base: &str, settings: Settings) -> Self {
        Self {
            target: base.to_owned(),
            settings,
            can: None,
            checked: Vec::new(),
            played: (0, 0),
            failures: Vec::new(),
            failed: 0,
            concurrent: (0, Vec::new()),
            ended: None,
        }
    }

    /// How many checks failed that count.
    pub fn failed_checks(&self) -> impl Iterator<Item = &Checked> {
        self.checked.iter().filter(|checked| matches!(checked.found, Found::Failed { counts: true, .. }))
    }

    /// Whether the registry does all that counts.
    pub fn all_is_well(&self) -> bool {
        self.failed_checks().next().is_none() && self.failures.is_empty() && self.concurrent.1.is_empty()
    }
}

/// Who is told how far a run is.
pub trait Progress {
    /// So many steps are to come.
    fn begins(&self, what: &str, steps: usize);
    /// One of them is done.
    fn step(&self, what: &str);
}

/// Tells nobody.
pub struct Quiet;

impl Progress for Quiet {
    fn begins(&self, _: &str, _: usize) {}
    fn step(&self, _: &str) {}
}

/// Tests a registry.
pub async fn run(target: Rc<dyn AnyTarget>, base: &str, settings: Settings, progress: &dyn Progress) -> Findings {
    let mut findings = Findings::none(base, settings);
    let mut begun = false;
    if let Err(why) = everything(target, base, &mut findings, progress, &mut begun).await {
        let died = |lost: &Unreachable| match (lost, begun) {
            (Unreachable::Refused(_) | Unreachable::Untrusted(_), _) => lost.to_string(),
            (_, true) => format!("the registry was there and is not any more: {lost}; look into its log"),
            (_, false) => format!("{lost}; is the address {base} right, and does the registry run?"),
        };
        findings.ended = Some(match &why {
            Stop::Lost(lost) => died(lost),
            Stop::Wrong { expected, came } => format!("expected {expected}, but came {came}"),
            Stop::NotOffered(why) => why.clone(),
        });
    }
    findings
}

async fn everything(
    target: Rc<dyn AnyTarget>,
    base: &str,
    findings: &mut Findings,
    progress: &dyn Progress,
    begun: &mut bool,
) -> Result<(), Stop> {
    let settings = findings.settings.clone();
    let (prefix, seed) = (settings.prefix.clone(), settings.seed);
    let mut run =
        Run { target, can: Rc::default(), prefix: prefix.clone(), seed, emptied: settings.reuse.then(Rc::default) };
    progress.begins("asking what the registry offers", 1);
    is_a_registry(&run, base).await?;
    *begun = true;
    is_unused(&run).await?;
    let lab = Lab::new(&run, "probe");
    let can = learn(&lab).await.map_err(|stop| match stop {
        Stop::Wrong { expected, came } => {
            Stop::Wrong { expected: format!("a registry that can be pushed to ({expected})"), came }
        }
        stop => stop,
    })?;
    findings.can = Some(can.clone());
    run.can = Rc::new(can);
    lab.within(&run).clean().await;

    let meant: Vec<&'static Check> = checks::all()
        .into_iter()
        .filter(|check| settings.checks.as_ref().is_none_or(|pattern| check.is_meant(pattern)))
        .collect();
    progress.begins("checks", meant.len());
    for check in meant {
        progress.step(check.fact);
        let found = one_check(&run, base, check, settings.profile).await?;
        findings.checked.push(Checked { check, found });
    }
    progress.begins("random histories", settings.histories);
    histories(&run, base, findings, progress).await.map_err(Stop::Lost)?;
    progress.begins("concurrent histories", settings.concurrent);
    for number in 0..settings.concurrent {
        progress.step(&format!("history {number} of {}", settings.concurrent));
        let failure = concurrent::history(&run, base, number).await.map_err(Stop::Lost)?;
        findings.concurrent.0 += 1;
        let known = |failure: &Failure| findings.concurrent.1.iter().any(|f| f.signature == failure.signature);
        findings.concurrent.1.extend(failure.filter(|failure| !known(failure)));
    }
    Ok(())
}

async fn is_a_registry(run: &Run, base: &str) -> Result<(), Stop> {
    let answer = run.target.send_any(Exchange::new("GET", "/v2/")).await.map_err(Stop::Lost)?;
    if answer.status == 200 {
        return Ok(());
    }
    Err(Stop::NotOffered(format!(
        "{base} answers {} to GET /v2/, so it is no container registry; give the address of one",
        answer.status
    )))
}

/// A run that is repeated would find what the first has left.
async fn is_unused(run: &Run) -> Result<(), Stop> {
    let first = if run.emptied.is_some() { "r1" } else { "probe" };
    let tags = format!("/v2/{}/{first}/tags/list", run.prefix);
    let answer = run.target.send_any(Exchange::new("GET", tags)).await.map_err(Stop::Lost)?;
    if answer.strings("tags").is_empty() {
        return Ok(());
    }
    Err(Stop::NotOffered(format!(
        "a run has left content below {}, which this one would stumble over: delete it, or give another --prefix",
        run.prefix
    )))
}

async fn one_check(run: &Run, base: &str, check: &'static Check, profile: Profile) -> Result<Found, Stop> {
    let lab = Lab::new(run, &check.id().to_lowercase());
    let verdict = (check.run)(&lab).await;
    let found = match verdict {
        Ok(()) => Found::Passed,
        Err(Stop::NotOffered(what)) => Found::NotOffered { what },
        Err(Stop::Wrong { expected, came }) => {
            let curl = curl::script(base, &lab.record.borrow());
            Found::Failed { expected, came, curl, counts: profile.counts(check, &run.can) }
        }
        Err(lost) => return Err(lost),
    };
    lab.clean().await;
    Ok(found)
}

async fn histories(run: &Run, base: &str, findings: &mut Findings, progress: &dyn Progress) -> Result<(), Unreachable> {
    let Settings { histories, operations, seed, .. } = findings.settings;
    let play = |number: usize| async move {
        let planned = history::generate(&mut Chance::of(seed, &format!("h{number}")), &run.can, operations);
        let (outcome, lab) = history::execute(run, &format!("h{number}"), &planned).await;
        lab.clean().await;
        (number, planned, outcome)
    };
    let mut played = stream::iter(0..histories).map(play).buffer_unordered(AT_ONCE);
    let mut failing = Vec::new();
    while let Some((number, planned, outcome)) = played.next().await {
        progress.step(&format!("{} operations", findings.played.1));
        findings.played.0 += 1;
        match outcome {
            Outcome::Passed(done) => findings.played.1 += done,
            Outcome::Lost(done, lost) => {
                findings.played.1 += done;
                return Err(lost);
            }
            Outcome::Failed(at, deviation) => {
                findings.played.1 += at + 1;
                findings.failed += 1;
                failing.push((number, planned, at, deviation));
            }
        }
    }
    drop(played);
    // In their order, so that the same seed tells the same.
    failing.sort_by_key(|(number, ..)| *number);
    for (number, mut planned, at, deviation) in failing {
        let told = |signature: &str| findings.failures.iter().any(|failure| failure.signature == signature);
        if findings.failures.len() == TOLD || told(&deviation.signature) {
            continue;
        }
        planned.truncate(at + 1);
        progress.step(&format!("shrinking history {number}"));
        findings.failures.push(history::explain(run, base, number, &planned, deviation).await?);
    }
    Ok(())
}
