//! What was deleted: listed, brought back, and removed for good.

use std::sync::Arc;

use orlop_core::caller::Right;
use orlop_core::error::{Code, Error};
use orlop_core::keys::place_of_deleted;
use orlop_core::name::{Repository, Tag};
use orlop_core::target::Reference;
use orlop_core::{Access, Caller, Deleted, Refused, Undeleting, http};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Answered, Asking};
use crate::auth::refusal::{denied, refusal};
use crate::observe::date::rfc3339;
use crate::request::administer::takes_changes;
use crate::request::sign_in::{private, read};
use crate::request::source::source;
use crate::storage::{RequestBody, ambient};

/// How many records that do not read a page names.
const DAMAGED: usize = 100;

/// How many pages of records are read for one page of the list: those of records that do not read have no entries.
const READ: usize = 100;

/// What is told of something that was deleted.
///
/// # Errors
///
/// None that occurs.
pub(crate) fn told(one: &Deleted) -> Result<Json, serde_json::Error> {
    let mut value = serde_json::to_value(one)?;
    value["deleted"] = rfc3339(one.deleted).into();
    value["until"] = rfc3339(one.until).into();
    Ok(value)
}

/// How something that was deleted is named, as the place of a list.
fn written(one: &Deleted) -> String {
    match &one.tag {
        Some(tag) => format!("{}:{tag}", one.repository),
        None => format!("{}@{}", one.repository, one.digest),
    }
}

fn read_place(text: &str) -> Option<(Repository, Reference)> {
    let (name, reference) = text.split_once('@').or_else(|| text.split_once(':'))?;
    Some((name.parse().ok()?, reference.parse().ok()?))
}

/// `GET /api/v1/deleted` (SPEC AE3)
pub(super) async fn list(asking: Asking<'_>) -> Answered {
    asking.no_token()?;
    let name = asking.repository()?;
    match &name {
        Some(name) if asking.administrator().is_err() => asking.may(name, &[Right::Pull, Right::Delete])?,
        Some(_) => {}
        None => asking.administrator()?,
    }
    let page = asking.page()?;
    // A place in another repository is none of this list.
    let within = |(of, _): &(Repository, Reference)| name.as_ref().is_none_or(|name| name == of);
    let place = page.after.and_then(read_place).filter(within);
    let mut after = place.map(|(of, reference)| place_of_deleted(&of, &reference));
    let (mut all, mut damaged, mut more) = (Vec::new(), Vec::new(), false);
    let _room = asking.room().await?;
    for _ in 0..READ {
        let step = asking.live.registry.deleted(name.clone(), after.take(), ambient());
        let read = asking.run(step).await.map_err(Error::from)?;
        all.extend(read.deleted);
        damaged.extend(read.damaged.iter().take(DAMAGED - damaged.len()).map(|key| key.as_str().to_owned()));
        after = read.after;
        more = after.is_some() || all.len() > page.n;
        if after.is_none() || all.len() > page.n {
            break;
        }
    }
    all.truncate(page.n);
    let told = all.iter().map(told).collect::<Result<Vec<_>, _>>();
    let told = told.map_err(|error| Error::Storage(orlop_core::Fault::Failed(error.to_string())))?;
    let mut body = json!({ "deleted": told, "damaged": damaged });
    let unread = after.as_ref().and_then(|key| key.as_str().split_once('/'));
    let next = match all.last() {
        Some(last) => Some(written(last)),
        // What was read are records that do not read.
        None => unread.map(|(_, place)| place.to_owned()),
    };
    if let Some(next) = next.filter(|_| more) {
        body["next"] = page.next(&next).into();
    }
    Ok(private(200, &body))
}

/// What is to come back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToUndelete {
    repository: String,
    reference: String,
    /// Under which name a tag.
    #[serde(default, rename = "as")]
    named: Option<String>,
    #[serde(default)]
    force: bool,
}

/// What is to go for good.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToPurge {
    repository: String,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    force: bool,
}

/// `POST /api/v1/deleted/undelete` (SPEC AE5, AE6)
pub(super) async fn undelete(asking: Asking<'_>, body: &mut RequestBody) -> Answered {
    asking.no_token()?;
    takes_changes(asking.live)?;
    let ToUndelete { repository, reference, named, force } = read(&asking.from.head.headers, body).await?;
    let name: Repository = repository.parse().map_err(Error::Repository)?;
    let reference: Reference = reference.parse()?;
    let named = named.map(|tag| tag.parse::<Tag>().map_err(Error::Tag)).transpose()?;
    if named.is_some() && matches!(reference, Reference::Digest(_)) {
        return Err(Error::Parameter { name: "as", expected: "left out where `reference` is a digest".into() }.into());
    }
    let caller = caller(asking, &name, &reference)?;
    if asking.live.registry.mirrors(&name) {
        return Err(Error::Mirrored(name).into());
    }
    let step = asking.live.registry.undelete_by(
        caller,
        name.clone(),
        reference.clone(),
        Undeleting { force, named },
        ambient(),
    );
    let done = asking.run(step).await.map_err(|why| refused(why, "send `\"force\": true`"))?;
    tracing::info!(
        user = asking.identity.name(),
        repository = name.as_str(),
        manifests = done.manifests.len(),
        tags = done.tags.len(),
        "undeleted {reference}"
    );
    let mut body = json!(done);
    body["repository"] = name.as_str().into();
    Ok(private(200, &body))
}

/// Who undeletes: somebody who may pull, push and delete there. Whether a tag may be made or changed is seen with the
/// records.
fn caller(asking: Asking<'_>, name: &Repository, reference: &Reference) -> Result<Arc<Caller>, http::Response> {
    asking.may(name, &[Right::Pull, Right::Upload])?;
    let rights = asking.live.rules.rights(asking.identity);
    match reference {
        Reference::Tag(tag) if !rights.may_tag(Right::Delete, name, tag) => {
            let access = Access::DeleteTag(name.clone(), tag.clone());
            return Err(denied(asking.identity, Right::Delete, Some(&access)));
        }
        Reference::Tag(_) => {}
        Reference::Digest(_) => asking.may(name, &[Right::Delete])?,
    }
    Ok(Arc::new(Caller { rights, ..by(asking) }))
}

/// Who asks, for events.
fn by(asking: Asking<'_>) -> Caller {
    let told = !asking.live.webhooks.is_empty() || asking.live.registry.keeps_activity();
    let request = told.then(|| source(asking.service, asking.live, asking.from));
    Caller { name: asking.identity.name(), request, ..Caller::anybody() }
}

/// `POST /api/v1/deleted/purge` (SPEC AE7)
pub(super) async fn purge(asking: Asking<'_>, body: &mut RequestBody) -> Answered {
    asking.change()?;
    let ToPurge { repository, reference, force } = read(&asking.from.head.headers, body).await?;
    let name: Repository = repository.parse().map_err(Error::Repository)?;
    let reference = reference.map(|reference| reference.parse::<Reference>()).transpose()?;
    let step = asking.live.registry.purge_by(by(asking), name.clone(), reference, force, ambient());
    let done = asking.run(step).await.map_err(|why| refused(why, "or send `\"force\": true` to purge it anyway"))?;
    tracing::info!(
        user = asking.identity.name(),
        repository = name.as_str(),
        manifests = done.manifests.len(),
        blobs = done.blobs.len(),
        bytes = done.bytes,
        fault = done.fault,
        "purged"
    );
    Ok(private(200, &json!(done)))
}

/// The answer to what is not done. `cure` says what helps against what is protected or taken.
pub(super) fn refused(why: Refused, cure: &str) -> http::Response {
    match why {
        Refused::NotDeleted(what) => {
            let told = format!("{what} is not among what was deleted and can be undeleted");
            refusal(404, Code::ManifestUnknown, &told)
        }
        Refused::Unknown(_) => refusal(404, Code::ManifestUnknown, &why.to_string()),
        Refused::NoRepository(_) => refusal(404, Code::NameUnknown, &why.to_string()),
        Refused::Taken(what, digest) => {
            let told = format!(
                "{what} was pushed again and names {digest} now: {cure} to overwrite it, or another name in `as`"
            );
            refusal(409, Code::Unsupported, &told)
        }
        Refused::Damaged(_) | Refused::Purged(..) | Refused::TooManyMarks => {
            refusal(409, Code::Unsupported, &why.to_string())
        }
        Refused::Protected(reason) => refusal(403, Code::Denied, &reason),
        Refused::Contention => Error::Contention.into(),
        Refused::Storage(fault) => Error::Storage(fault).into(),
    }
}
