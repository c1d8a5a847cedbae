//! Retention: its rules, what they would delete, and doing that.

use std::time::Duration;

use orlop_core::config::Pattern;
use orlop_core::error::Error;
use orlop_core::http;
use orlop_core::name::Repository;
use orlop_core::retention::{Plan, Rule};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Answered, Asking};
use crate::request::administer::work;
use crate::request::sign_in::{private, read};
use crate::storage::{RequestBody, ambient};

/// How many repositories a page of plans has at most.
const PLANS: usize = 20;

/// Of how much that goes each of several plans has the names.
const NAMED: usize = 100;

/// Of how many tags and of how many manifests a plan by itself has the names at most.
const MOST: usize = 10_000;

/// How many pages of names are read for one page of plans.
const READ: usize = 100;

/// What is to be done.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToApply {
    repository: String,
    plan: String,
    #[serde(default)]
    yes: bool,
}

/// `GET /api/v1/retention` (SPEC AE11)
pub(super) async fn show(asking: Asking<'_>) -> Answered {
    asking.administrator()?;
    let rules = asking.live.registry.retention().iter().map(|rule| {
        let repositories: Vec<&str> = rule.repositories.iter().map(Pattern::as_str).collect();
        json!({ "name": rule.name, "repositories": repositories, "text": in_words(rule) })
    });
    let rules: Vec<Json> = rules.collect();
    let interval = Some(asking.live.retention_interval.as_secs()).filter(|seconds| *seconds > 0);
    let status = work(asking.service)?.retention_status().await?;
    Ok(private(200, &json!({ "rules": rules, "interval_seconds": interval, "status": status })))
}

/// `GET /api/v1/retention/plan` (SPEC AE12)
pub(super) async fn plan(asking: Asking<'_>) -> Answered {
    asking.administrator()?;
    let (work, page) = (work(asking.service)?, asking.page()?);
    let _room = asking.room().await?;
    if let Some(name) = asking.repository()? {
        let (plans, warnings) = work.retention_plan(&[name]).await?;
        let plans: Vec<Json> = plans.into_iter().map(whole).collect();
        return Ok(private(200, &json!({ "plans": plans, "warnings": warnings })));
    }
    let after = page.after.and_then(|after| after.parse::<Repository>().ok());
    let (names, next) = repositories(asking, after.clone(), page.n.min(PLANS)).await?;
    // Without names it is asked of all: where there are none, what is odd about the rules is all that there is to tell.
    let (plans, warnings) = match names.is_empty() && (after.is_some() || next.is_some()) {
        true => (Vec::new(), Vec::new()),
        false => work.retention_plan(&names).await?,
    };
    let plans: Vec<Json> = plans.into_iter().map(short).collect();
    let mut body = json!({ "plans": plans, "warnings": warnings });
    if let Some(next) = next {
        body["next"] = page.next(next.as_str()).into();
    }
    Ok(private(200, &body))
}

/// The next repositories that a rule is about, and behind which there may be more.
async fn repositories(
    asking: Asking<'_>,
    mut after: Option<Repository>,
    n: usize,
) -> Result<(Vec<Repository>, Option<Repository>), http::Response> {
    let (registry, mut names) = (&asking.live.registry, Vec::new());
    for _ in 0..READ {
        let read = asking.run(registry.repositories(after.clone(), ambient())).await.map_err(Error::from)?;
        let Some(last) = read.last().cloned() else { return Ok((names, None)) };
        for name in read {
            if names.len() == n {
                return Ok((names, after));
            }
            if registry.retains(&name) {
                names.push(name.clone());
            }
            after = Some(name);
        }
        after = Some(last);
    }
    Ok((names, after))
}

/// A plan by itself: all tags, or those that go first where there are very many.
fn whole(mut plan: Plan) -> Json {
    let more = plan.tags.len() > MOST || plan.manifests.len() > MOST;
    if plan.tags.len() > MOST {
        plan.tags.sort_by_key(|tag| !tag.verdict.deleted);
    }
    plan.tags.truncate(MOST);
    plan.manifests.truncate(MOST);
    let mut told = json!(plan);
    told["more"] = more.into();
    told
}

/// One of several plans: what goes alone, and not all of it where that is much.
fn short(mut plan: Plan) -> Json {
    plan.tags.retain(|tag| tag.verdict.deleted);
    let more = plan.tags.len() > NAMED || plan.manifests.len() > NAMED;
    plan.tags.truncate(NAMED);
    plan.manifests.truncate(NAMED);
    let mut told = json!(plan);
    told["more"] = more.into();
    told
}

/// `POST /api/v1/retention/apply` (SPEC AE13)
pub(super) async fn apply(asking: Asking<'_>, body: &mut RequestBody) -> Answered {
    asking.change()?;
    let ToApply { repository, plan, yes } = read(&asking.from.head.headers, body).await?;
    let name: Repository = repository.parse().map_err(Error::Repository)?;
    let done = work(asking.service)?.retention_apply(&name, &plan, yes).await?;
    tracing::info!(user = asking.identity.name(), repository = name.as_str(), "retention by the API");
    let mut body = json!(done);
    body["repository"] = name.as_str().into();
    Ok(private(200, &body))
}

/// What a rule says.
fn in_words(rule: &Rule) -> String {
    let list = |patterns: &[Pattern]| patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", ");
    let mut says = Vec::new();
    if rule.judges() {
        let mut of = match rule.tags.is_empty() {
            true => "of all tags".to_owned(),
            false => format!("of the tags {}", list(&rule.tags)),
        };
        if let Some(range) = &rule.semver {
            of.push_str(&format!(" that are versions {range}"));
        }
        let mut stay = Vec::new();
        stay.extend(rule.keep_last.map(|n| format!("the newest {n}")));
        stay.extend(rule.keep_pushed_within.map(|time| format!("those pushed within {}", lasting(time))));
        stay.extend(rule.keep_pulled_within.map(|time| format!("those pushed or pulled within {}", lasting(time))));
        says.push(format!("{of}, it keeps {}", stay.join(" and ")));
    }
    if !rule.keep.is_empty() {
        says.push(format!("the tags {} stay", list(&rule.keep)));
    }
    if let Some(time) = rule.untagged_after {
        says.push(format!("manifests that no tag needs are deleted after {}", lasting(time)));
    }
    says.join("; ")
}

/// A time in its largest unit that needs no fraction.
fn lasting(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(length, unit)| format!("{}{unit}", seconds / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_told_in_words() {
        let rule = Rule {
            tags: vec![Pattern::new("pr-*")],
            keep_last: Some(10),
            keep_pulled_within: Some(Duration::from_secs(30 * 86_400)),
            keep: vec![Pattern::new("v*"), Pattern::new("latest")],
            untagged_after: Some(Duration::from_secs(90)),
            ..Rule::default()
        };
        assert_eq!(
            in_words(&rule),
            "of the tags pr-*, it keeps the newest 10 and those pushed or pulled within 30d; the tags v*, latest stay; \
             manifests that no tag needs are deleted after 90s"
        );
    }
}
