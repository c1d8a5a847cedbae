//! `/api/v1/jobs`: what administrators have a server do (SPEC AF1 to AF9).

use orlop_core::error::{Code, Error};
use orlop_core::http;
use serde::Deserialize;
use serde_json::json;

use crate::auth::identity::Identity;
use crate::auth::refusal::refusal;
use crate::request::administer::job::Kind;
use crate::request::administer::{administrator, takes_changes, work};
use crate::request::answer::Service;
use crate::request::live::Live;
use crate::request::sign_in::{private, read};
use crate::request::source::Origin;
use crate::storage::RequestBody;

/// What a client wants to be done.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    job: String,
    #[serde(default)]
    target: Option<String>,
}

/// `GET`: how jobs stand.
pub(super) async fn list(
    service: &Service,
    live: &Live,
    identity: &Identity,
) -> Result<http::Response, http::Response> {
    administrator(live, identity)?;
    let jobs: Vec<_> = work(service)?.jobs().await?.iter().map(|job| job.told()).collect();
    Ok(private(200, &json!({ "jobs": jobs })))
}

/// `POST`: one begins.
pub(super) async fn begin(
    service: &Service,
    live: &Live,
    from: Origin<'_>,
    body: &mut RequestBody,
    identity: &Identity,
) -> Result<http::Response, http::Response> {
    let by = administrator(live, identity)?.user;
    let wanted: Wanted = read(&from.head.headers, body).await?;
    let kind = Kind::of(&wanted.job).ok_or_else(|| {
        let all: Vec<_> = Kind::ALL.iter().map(|(name, _)| *name).collect();
        Error::Parameter { name: "job", expected: format!("one of {}", all.join(", ")) }
    })?;
    if kind.changes() {
        takes_changes(live)?;
    }
    let takes = matches!(kind, Kind::Sync | Kind::SyncDryRun | Kind::MirrorFetch | Kind::MirrorEvict);
    if !takes && wanted.target.is_some() {
        let told = format!("the job {} takes no target: leave it out", kind.name());
        return Err(refusal(400, Code::Unsupported, &told));
    }
    let job = work(service)?.clone().begin(kind, wanted.target, by).await?;
    Ok(private(202, &job.told()))
}
