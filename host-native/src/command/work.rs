//! What administrators have a server do by the API: what the control socket does for commands, in values.

use async_trait::async_trait;
use orlop_core::name::Repository;
use orlop_core::retention::Plan;
use orlop_core::{Retained, RetentionReport};
use serde_json::Value as Json;

use crate::command::control::Control;
use crate::command::retention::much;
use crate::request::administer::{Refused, Work};

#[async_trait]
impl Work for Control {
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
