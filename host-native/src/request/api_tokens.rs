//! `/api/v1/tokens`: the API tokens of a user, listed, made and revoked (SPEC AB20 to AB27).

use std::time::Duration;

use axum::response::Response;
use orlop_core::api_token::{ApiAction, ApiToken, ApiTokenId};
use orlop_core::error::{Code, Error};
use orlop_core::http;
use orlop_core::operation::Operation;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::auth::identity::Identity;
use crate::auth::identity::api_token::Wanted;
use crate::auth::refusal::refusal;
use crate::observe::date::rfc3339;
use crate::request::administer::page_size;
use crate::request::live::Live;
use crate::request::response::with_body;
use crate::request::sign_in::{private, read};
use crate::request::source::Origin;
use crate::storage::{RequestBody, ambient};

/// How many days a token lasts at most, if it ends by itself.
const LONGEST: u32 = 3650;

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How many tokens a page has, if it is not said, and at most.
const PAGE: (usize, usize) = (50, 100);

/// What a client wants a token to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: String,
    repositories: Vec<String>,
    actions: Vec<ApiAction>,
    #[serde(default)]
    expires_in_days: Option<u32>,
}

/// The answer to a request that may be made, if it is about tokens.
pub(super) async fn answer(
    live: &Live,
    from: Origin<'_>,
    body: &mut RequestBody,
    identity: &Identity,
) -> Option<Response> {
    let operation = from.line.asked.operation.as_ref().ok()?;
    let answered = match operation {
        Operation::ListApiTokens => list(live, from, identity).await,
        Operation::CreateApiToken => create(live, from, body, identity).await,
        Operation::RevokeApiToken(id) => revoke(live, id, identity).await,
        _ => return None,
    };
    Some(with_body(answered.unwrap_or_else(|refused| refused), None))
}

/// The answer to whoever has shown a token: that is no proof of being the user.
fn no_user() -> http::Response {
    let told =
        "only a user who has signed in, or sends the password, has API tokens: a token or a certificate will not do";
    refusal(403, Code::Denied, told)
}

/// What is told of a token.
pub(crate) fn told(token: &ApiToken) -> Json {
    let record = &token.record;
    json!({
        "id": token.id.to_string(),
        "user": record.user,
        "name": record.name,
        "repositories": record.repositories,
        "actions": record.actions,
        "created": rfc3339(record.created),
        "expires": record.expires.map(rfc3339),
        "last_used": record.used.map(rfc3339),
    })
}

async fn list(live: &Live, from: Origin<'_>, identity: &Identity) -> Result<http::Response, http::Response> {
    let own = identity.vouched().ok_or_else(no_user)?.user;
    let (asked, query) = (&from.line.asked, from.line.asked.query());
    let of = query.get("user").filter(|of| !of.is_empty()).unwrap_or(&own).to_owned();
    if of != own && !live.is_administrator(identity) {
        return Err(refusal(403, Code::Denied, "only administrators see the API tokens of other users"));
    }
    let n = page_size(query, PAGE)?;
    let all = live.identities.api_tokens(&of).await?;
    let after = query.get("after").filter(|after| !after.is_empty());
    // The place of one that is gone meanwhile is not known: then the list begins anew.
    let first = after.and_then(|after| all.iter().position(|token| token.id.to_string() == after));
    let first = first.map_or(0, |place| place + 1);
    let page = &all[first..all.len().min(first + n)];
    let mut body = json!({ "tokens": page.iter().map(told).collect::<Vec<_>>() });
    if let Some(last) = page.last().filter(|_| first + n < all.len()) {
        let path = asked.request.target.split('?').next().unwrap_or_default();
        body["next"] = format!("{path}?{}", query.with("after", &last.id.to_string())).into();
    }
    Ok(private(200, &body))
}

async fn create(
    live: &Live,
    from: Origin<'_>,
    body: &mut RequestBody,
    identity: &Identity,
) -> Result<http::Response, http::Response> {
    let of = identity.vouched().ok_or_else(no_user)?;
    if live.read_only {
        let told = "the registry takes no changes for now";
        return Err(refusal(405, Code::Unsupported, told).with("Allow", "GET, HEAD"));
    }
    let asked: Asked = read(&from.head.headers, body).await?;
    let expires = match asked.expires_in_days {
        None => None,
        Some(days @ 1..=LONGEST) => Some(ambient().now.after(DAY * days)),
        Some(_) => {
            let expected = format!("1 to {LONGEST} days, or null for ever");
            return Err(Error::Parameter { name: "expires_in_days", expected }.into());
        }
    };
    let Asked { name, repositories, actions, .. } = asked;
    let wanted = Wanted { name, repositories, actions, expires };
    let (token, secret) = live.identities.create_api_token(of, wanted).await?;
    let mut body = told(&token);
    body["secret"] = secret.into();
    Ok(private(201, &body).with("Location", format!("/api/v1/tokens/{}", token.id)))
}

async fn revoke(live: &Live, id: &str, identity: &Identity) -> Result<http::Response, http::Response> {
    let own = identity.vouched().ok_or_else(no_user)?.user;
    let unknown = || refusal(404, Code::Unsupported, "there is no API token of that id");
    let id = id.parse::<ApiTokenId>().map_err(|_| unknown())?;
    // Whose token it is the id says: of another user it is as if there were none.
    if !id.is_of(&own) && !live.is_administrator(identity) {
        return Err(unknown());
    }
    match live.identities.revoke_api_token(&id).await? {
        true => Ok(http::Response::new(204).with("Cache-Control", "no-store")),
        false => Err(unknown()),
    }
}
