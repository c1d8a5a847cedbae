//! What is told of plans and runs.

use std::fmt::Write as _;

use orlop_core::name::Repository;
use orlop_core::retention::{Plan, Verdict};
use orlop_core::{Retained, RetentionReport};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::observe::date::rfc3339_seconds;

/// What the last regular run did, as a host keeps it. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    /// When it began; 0 before the first.
    pub(super) began: u64,
    /// When it ended; none while it runs, or when it was interrupted.
    pub(super) ended: Option<u64>,
    pub(super) tags_deleted: u64,
    pub(super) manifests_deleted: u64,
    /// The repositories where somebody has to agree; some thousand at most.
    pub(super) waiting: Vec<Waiting>,
    /// What failed, and why.
    pub(super) failed: Vec<String>,
}

/// A repository that waits for somebody to agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) repository: String,
    plan: String,
    tags_deleted: usize,
    tags: usize,
    #[serde(default)]
    manifests_deleted: usize,
    #[serde(default)]
    manifests: usize,
}

impl Waiting {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            repository: plan.repository.clone(),
            plan: plan.plan.clone(),
            tags_deleted: plan.tags_deleted,
            tags: plan.tags.len(),
            manifests_deleted: plan.manifests_deleted,
            manifests: plan.manifests_seen,
        }
    }
}

/// Plans as they are printed.
///
/// # Errors
///
/// None that occurs.
pub(super) fn planned(plans: &[Plan], warnings: &[String], json: bool) -> Result<String, String> {
    if json {
        #[derive(Serialize)]
        struct Printed<'p> {
            plans: &'p [Plan],
            warnings: &'p [String],
        }
        return serde_json::to_string(&Printed { plans, warnings }).map_err(|error| error.to_string());
    }
    let mut text = String::new();
    for plan in plans {
        plan_as_text(plan, &mut text);
    }
    // A string takes everything.
    for warning in warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let _ = write!(text, "nothing was changed");
    Ok(text)
}

fn plan_as_text(plan: &Plan, text: &mut String) {
    let Plan { repository, plan: name, tags_deleted, manifests_deleted, needs_approval, .. } = plan;
    let all = plan.tags.len();
    let _ = writeln!(
        text,
        "{repository}: plan {name} deletes {tags_deleted} of {all} tags and {manifests_deleted} manifests that no tag needs"
    );
    let mut line = |what: &str, verdict: &Verdict| {
        let verb = if verdict.deleted { "delete" } else { "keep" };
        let rule = verdict.rule.as_ref().map(|rule| format!("rule `{rule}`: ")).unwrap_or_default();
        let _ = writeln!(text, "  {verb:6} {what}  {rule}{}", verdict.reason);
    };
    plan.tags.iter().for_each(|tag| line(&tag.tag, &tag.verdict));
    plan.manifests.iter().for_each(|manifest| line(&manifest.digest.to_string(), &manifest.verdict));
    for warning in &plan.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
    if !plan.is_empty() {
        let yes = if *needs_approval { " --yes" } else { "" };
        let _ = writeln!(text, "  to do it: orlop retention apply {repository} --plan {name}{yes}");
    }
}

/// How much a plan deletes.
pub(crate) fn much(plan: &Plan) -> String {
    let tags = format!("{} of the {} tags", plan.tags_deleted, plan.tags.len());
    match plan.manifests_deleted {
        0 => tags,
        deleted => format!("{tags} and {deleted} of the {} manifests", plan.manifests_seen),
    }
}

/// What became of a run by hand.
///
/// # Errors
///
/// When nothing was done.
pub(super) fn applied(name: &Repository, retained: &Retained) -> Result<String, String> {
    match retained {
        Retained::Changed(plan) => Err(format!(
            "{name} or the rules have changed since: plan again, nothing was deleted (the plan is {} now)",
            plan.plan
        )),
        Retained::Waits(plan) => {
            Err(format!("this would delete {} of {name}: give --yes if that is meant; nothing was deleted", much(plan)))
        }
        Retained::Done(RetentionReport { tags_deleted, manifests_deleted, changed, manifests_left }) => {
            let mut text = format!("{name}: {tags_deleted} tags and {manifests_deleted} manifests deleted");
            if *manifests_left > 0 {
                let _ = write!(text, "; {manifests_left} manifests stay as long as something deleted can come back");
            }
            if !changed.is_empty() {
                let _ = write!(text, "; changed meanwhile, and kept: {}", changed.join(", "));
            }
            Ok(text)
        }
    }
}

/// How it stands, as JSON with times in UTC.
pub(super) fn status_value(status: &Status) -> Json {
    let mut value = json!(status);
    value["began"] = (status.began > 0).then(|| rfc3339_seconds(status.began)).into();
    value["ended"] = status.ended.map(rfc3339_seconds).into();
    value
}

/// How it stands.
///
/// # Errors
///
/// None that occurs.
pub(super) fn status(status: &Status, json: bool) -> Result<String, String> {
    if json {
        return serde_json::to_string(&status_value(status)).map_err(|error| error.to_string());
    }
    let Status { began, ended, tags_deleted, manifests_deleted, waiting, failed } = status;
    if *began == 0 {
        return Ok("no regular run yet; a server begins one an hour after its start, or when it is due".into());
    }
    let mut text = match ended {
        Some(ended) => format!(
            "the last run ended at {}: {tags_deleted} tags and {manifests_deleted} manifests deleted",
            rfc3339_seconds(*ended)
        ),
        None => format!("a run began at {}, and runs or was interrupted", rfc3339_seconds(*began)),
    };
    for Waiting { repository, plan, tags_deleted, tags, manifests_deleted, manifests } in waiting {
        let _ = write!(
            text,
            "\nwaiting for approval: {repository}: {tags_deleted} of {tags} tags and \
             {manifests_deleted} of {manifests} manifests would go; orlop retention apply \
             {repository} --plan {plan} --yes"
        );
    }
    for failed in failed {
        let _ = write!(text, "\nfailed: {failed}");
    }
    Ok(text)
}
