//! `/api/v1/mirrors`, `/api/v1/syncs`, `/api/v1/damaged` and `/api/v1/storage`: how a server stands, for administrators
//! (SPEC AF10 to AF14).

use orlop_core::error::Error;
use orlop_core::http;
use orlop_core::keys::Key;
use serde_json::{Value as Json, json};

use crate::auth::identity::Identity;
use crate::observe::date::rfc3339;
use crate::request::administer::{Refused, administrator, work};
use crate::request::answer::Service;
use crate::request::live::Live;
use crate::request::sign_in::private;
use crate::request::source::Origin;
use crate::storage::{RequestBody, ambient};

/// What brings again what is damaged.
const REMEDY: &str = "push the images again, or pull them through their mirror; tools that push nothing while a manifest is \
                      there need it deleted first";

/// What of the keys of what is damaged stands before a place in the list.
const QUARANTINE: &str = "quarantine/";

type Answer = Result<http::Response, http::Response>;

/// What mirrors have.
pub(super) async fn mirrors(service: &Service, live: &Live, identity: &Identity) -> Answer {
    administrator(live, identity)?;
    Ok(private(200, &json!({ "mirrors": work(service)?.mirrors().await? })))
}

/// How syncs stand.
pub(super) async fn syncs(service: &Service, live: &Live, identity: &Identity) -> Answer {
    administrator(live, identity)?;
    Ok(private(200, &json!({ "syncs": work(service)?.syncs().await? })))
}

/// What the storage has.
pub(super) async fn storage(service: &Service, live: &Live, identity: &Identity) -> Answer {
    administrator(live, identity)?;
    let mut state = work(service)?.storage().await?;
    state["read_only"] = live.read_only.into();
    Ok(private(200, &state))
}

/// What is damaged: as many as the core gives at once.
pub(super) async fn damaged(service: &Service, live: &Live, from: Origin<'_>, identity: &Identity) -> Answer {
    administrator(live, identity)?;
    let (asked, query) = (&from.line.asked, from.line.asked.query());
    let after = match query.get("after").filter(|after| !after.is_empty()) {
        Some(after) if after.len() > 500 || !after.bytes().all(|byte| byte.is_ascii_graphic()) => {
            return Err(
                Error::Parameter { name: "after", expected: "what `next` of the page before says".into() }.into()
            );
        }
        after => after.map(|after| Key::stored(format!("{QUARANTINE}{after}"))),
    };
    let step = live.registry.damaged(after, ambient());
    let page = service.host.run(step, &mut RequestBody::empty()).await.map_err(Refused::from)?;
    let damaged = page.damaged.iter().map(|one| {
        let mut told = json!(one);
        told["since"] = rfc3339(one.since).into();
        told["remedy"] = REMEDY.into();
        told
    });
    let mut body = json!({ "damaged": damaged.collect::<Vec<Json>>() });
    if let Some(last) = page.next.as_ref().and_then(|key| key.as_str().strip_prefix(QUARANTINE)) {
        let path = asked.request.target.split('?').next().unwrap_or_default();
        body["next"] = format!("{path}?{}", query.with("after", last)).into();
    }
    Ok(private(200, &body))
}
