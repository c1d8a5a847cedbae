//! `orlop delete`: a tag, a manifest, or all that is in a repository, as a client deletes them.

use std::error::Error;
use std::sync::Arc;

use orlop_core::Registry;
use orlop_core::http::Method;
use orlop_core::name::Repository;
use orlop_core::target::Reference;
use serde::Deserialize;

use crate::command::browse::ask_as_anybody;
use crate::command::cli;
use crate::command::config::Effective;
use crate::command::control::Request;
use crate::command::deleted::Image;
use crate::command::start::by_the_servers_settings;
use crate::command::storage::by_server_or_here;
use crate::observe::log;
use crate::request::live::Live;
use crate::settings::LogFormat;
use crate::storage::{self, Host};

/// `orlop delete`.
///
/// # Errors
///
/// With what was not deleted, and why.
pub fn delete(command: &cli::Delete, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let image: Image = command.image.parse()?;
    let (settings, data) = (&command.settings, &command.settings.storage.data);
    if image.reference().is_none() && !command.yes {
        Err(format!("this deletes all tags and manifests of {image}: add --yes"))?;
    }
    if data.engines.engines()?.is_none() && storage::holder(&data.directory).is_some() {
        by_the_servers_settings(effective, "deletes")?;
    }
    let here = async |host: &Arc<Host>| {
        log::start(settings.storage.log.clone(), LogFormat::Text);
        let (live, _) = Live::new(settings)?;
        perform(&live.registry, host, &image).await
    };
    out!("{}", by_server_or_here(data, &settings.options(), Request::Delete(image.clone()), here)?);
    Ok(())
}

/// Deletes it, and says what was deleted.
///
/// # Errors
///
/// With the reason why it is not.
pub async fn perform(registry: &Registry, host: &Host, image: &Image) -> Result<String, String> {
    let told = match image.reference() {
        Some(reference) => one(registry, host, image.repository(), reference).await?,
        None => all(registry, host, image.repository()).await?,
    };
    tracing::info!(repository = image.repository().as_str(), "{told}");
    Ok(told)
}

async fn one(registry: &Registry, host: &Host, name: &Repository, reference: &Reference) -> Result<String, String> {
    let what = Image::new(name.clone(), Some(reference.clone()));
    let deleted = ask_as_anybody(registry, host, Method::Delete, format!("/v2/{name}/manifests/{reference}")).await;
    deleted.map_err(|reason| format!("{what} is not deleted: {reason}"))?;
    Ok(match reference {
        Reference::Tag(_) => format!("deleted {what}"),
        Reference::Digest(_) => format!("deleted {what}, and the tags that named it"),
    })
}

/// What one call of many has deleted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Emptied {
    tags_deleted: u64,
    manifests_deleted: u64,
    next: Option<String>,
}

async fn all(registry: &Registry, host: &Host, name: &Repository) -> Result<String, String> {
    let (mut tags, mut manifests) = (0, 0);
    let mut target = format!("/api/v1/repositories/{name}/contents");
    loop {
        let answer = ask_as_anybody(registry, host, Method::Delete, target).await;
        let answer = answer.map_err(|reason| match tags + manifests {
            0 => format!("{name} is not deleted: {reason}"),
            _ => format!("{} and {} are deleted, then: {reason}", many(tags, "tag"), many(manifests, "manifest")),
        })?;
        let emptied: Emptied = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        tags += emptied.tags_deleted;
        manifests += emptied.manifests_deleted;
        let Some(next) = emptied.next else {
            return Ok(format!("deleted {} and {} of {name}", many(tags, "tag"), many(manifests, "manifest")));
        };
        target = next;
    }
}

/// So many of these.
fn many(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
