//! `orlop delete`: a tag, a manifest, or all that is in a repository, as a client deletes them.

use std::error::Error;
use std::sync::Arc;

use orlop_core::http::{Body, Headers, Method, Request as Asking, Response};
use orlop_core::name::Repository;
use orlop_core::target::Reference;
use orlop_core::{Asked, Caller, Registry};
use serde::Deserialize;

use crate::command::cli;
use crate::command::config::Effective;
use crate::command::control::Request;
use crate::command::deleted::Image;
use crate::command::printed::refused;
use crate::command::start::by_the_servers_settings;
use crate::command::storage::by_server_or_here;
use crate::observe::log;
use crate::request::live::Live;
use crate::settings::LogFormat;
use crate::storage::{self, Host, RequestBody, ambient};

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
    let deleted = ask(registry, host, format!("/v2/{name}/manifests/{reference}")).await;
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
    more: bool,
}

async fn all(registry: &Registry, host: &Host, name: &Repository) -> Result<String, String> {
    let (mut tags, mut manifests) = (0, 0);
    loop {
        let answer = ask(registry, host, format!("/api/v1/repositories/{name}/contents")).await;
        let answer = answer.map_err(|reason| match tags + manifests {
            0 => reason,
            _ => format!("{tags} tags and {manifests} manifests are deleted, then: {reason}"),
        })?;
        let emptied: Emptied = serde_json::from_slice(bytes(&answer)).map_err(|error| error.to_string())?;
        tags += emptied.tags_deleted;
        manifests += emptied.manifests_deleted;
        if !emptied.more {
            return Ok(format!("deleted {tags} tags and {manifests} manifests of {name}"));
        }
    }
}

fn asking(target: String) -> Asking {
    Asking { method: Method::Delete, target, headers: Headers::new(), length: None, base: None }
}

/// Makes a request of somebody who may do everything.
async fn ask(registry: &Registry, host: &Host, target: String) -> Result<Response, String> {
    let asked = Arc::new(Asked::from(asking(target)));
    let step = registry.call_of(Arc::new(Caller::anybody()), asked, ambient());
    let response = host.run(step, &mut RequestBody::empty()).await;
    if response.status < 300 {
        return Ok(response);
    }
    Err(refused(&response))
}

fn bytes(response: &Response) -> &[u8] {
    if let Body::Bytes(bytes) = &response.body { bytes } else { &[] }
}
