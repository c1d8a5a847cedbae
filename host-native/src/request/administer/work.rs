//! What administrators have a server do, and ask of it, that only the rooms above can perform.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use orlop_core::error::{Code, Error};
use orlop_core::name::Repository;
use orlop_core::retention::Plan;
use orlop_core::{Fault, RetentionReport, http};
use serde_json::Value as Json;

use crate::auth::refusal::refusal;
use crate::request::administer::job::{Job, Kind};

/// What a server does for administrators.
#[async_trait]
pub(crate) trait Work: Send + Sync {
    /// What the rules of retention would delete in these repositories, or in all that a rule is about, and what is odd
    /// about the rules.
    async fn retention_plan(&self, repositories: &[Repository]) -> Result<(Vec<Plan>, Vec<String>), Refused>;

    /// Does what was planned; `yes` agrees to much of it. [`Refused::Conflict`] when the plan is another by now, or it
    /// takes a `yes`.
    async fn retention_apply(&self, repository: &Repository, plan: &str, yes: bool)
    -> Result<RetentionReport, Refused>;

    /// Begins a job for that user, which goes on when nobody waits. [`Refused::Conflict`] when the same is being done.
    async fn begin(self: Arc<Self>, job: Kind, target: Option<String>, by: String) -> Result<Job, Refused>;

    /// How jobs stand, on all hosts of the storage: those that run first, and then those that began last.
    async fn jobs(&self) -> Result<Vec<Job>, Refused>;

    /// What mirrors have, as `orlop mirror list --json` prints it.
    async fn mirrors(&self) -> Result<Json, Refused>;

    /// How syncs stand.
    async fn syncs(&self) -> Result<Vec<Json>, Refused>;

    /// What the storage has, as far as that is known without long counting.
    async fn storage(&self) -> Result<Json, Refused>;

    /// What the last regular run of retention did, as `orlop retention status --json` prints it.
    async fn retention_status(&self) -> Result<Json, Refused>;
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// What it is about is not there.
    Unknown(String),
    /// It does not go with how things are.
    Conflict(String),
    /// It cannot be.
    Bad(String),
    /// The storage fails.
    Fault(Fault),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(told) | Self::Conflict(told) | Self::Bad(told) => f.write_str(told),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Refused> for String {
    fn from(refused: Refused) -> Self {
        refused.to_string()
    }
}

impl From<Refused> for http::Response {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown(told) => refusal(404, Code::Unsupported, &told),
            Refused::Conflict(told) => refusal(409, Code::Unsupported, &told),
            Refused::Bad(told) => refusal(400, Code::Unsupported, &told),
            Refused::Fault(fault) => Error::from(fault).into(),
        }
    }
}
