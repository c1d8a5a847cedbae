//! Protect marks: listed, set and removed.

use orlop_core::error::{Code, Error};
use orlop_core::http;
use orlop_core::protect::Mark;
use orlop_core::record::ProtectMark;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::deleted::refused;
use super::{Answered, Asking};
use crate::auth::refusal::refusal;
use crate::observe::date::rfc3339;
use crate::request::sign_in::{private, read};
use crate::storage::{RequestBody, ambient};

/// What is to be protected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToProtect {
    what: String,
}

/// What is told of a mark.
pub(crate) fn told(mark: &ProtectMark) -> Json {
    json!({ "what": mark.what, "since": rfc3339(mark.since) })
}

/// All marks.
async fn marks(asking: Asking<'_>) -> Result<Vec<ProtectMark>, http::Response> {
    let marks = asking.run(asking.live.registry.protections(ambient())).await;
    Ok(marks.map_err(Error::from)?)
}

fn mark(text: &str) -> Result<Mark, http::Response> {
    text.parse()
        .map_err(|wrong: orlop_core::protect::InvalidMark| refusal(400, Code::Unsupported, &format!("`what`: {wrong}")))
}

/// `GET /api/v1/protected` (SPEC AE8)
pub(super) async fn list(asking: Asking<'_>) -> Answered {
    asking.administrator()?;
    let all: Vec<Json> = marks(asking).await?.iter().map(told).collect();
    Ok(private(200, &json!({ "protected": all })))
}

/// `POST /api/v1/protected` (SPEC AE9)
pub(super) async fn protect(asking: Asking<'_>, body: &mut RequestBody) -> Answered {
    asking.change()?;
    let ToProtect { what } = read(&asking.from.head.headers, body).await?;
    let (mark, registry) = (mark(&what)?, &asking.live.registry);
    let new = asking.run(registry.protect(mark.clone(), ambient())).await.map_err(|why| refused(why, ""))?;
    if new {
        tracing::info!(user = asking.identity.name(), "{mark} is protected");
    }
    let matches = asking.run_long(registry.protects_any(mark.clone(), ambient())).await?.map_err(Error::from)?;
    // One that was removed at the same moment is told as it was asked for.
    let set = marks(asking).await?.into_iter().find(|set| set.what == mark);
    let mut body = told(&set.unwrap_or(ProtectMark { what: mark, since: ambient().now }));
    body["matches"] = matches.into();
    Ok(private(if new { 201 } else { 200 }, &body))
}

/// `DELETE /api/v1/protected?what=…` (SPEC AE10)
pub(super) async fn unprotect(asking: Asking<'_>) -> Answered {
    asking.change()?;
    let what =
        asking.given("what").ok_or_else(|| Error::Parameter { name: "what", expected: "a protect mark".into() })?;
    let mark = mark(what)?;
    match asking.run(asking.live.registry.unprotect(mark.clone(), ambient())).await {
        Ok(true) => {
            tracing::info!(user = asking.identity.name(), "{mark} is protected no more");
            Ok(http::Response::new(204).with("Cache-Control", "no-store"))
        }
        Ok(false) => Err(refusal(404, Code::Unsupported, &format!("there is no protect mark {mark}"))),
        Err(why) => Err(refused(why, "")),
    }
}
