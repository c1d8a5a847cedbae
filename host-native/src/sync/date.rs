//! When an image was made: its config says so (image-spec, "OCI Image Configuration").

use std::time::SystemTime;

use orlop_core::digest::Digest;
use serde::Deserialize;

use crate::copy::Source;
use crate::remote::{Descriptor, Failure};

/// How large a config may be that is read.
const CONFIG: usize = 4 << 20;

/// An image, or an index of images.
#[derive(Deserialize)]
struct Document {
    config: Option<Descriptor>,
    manifests: Option<Vec<Child>>,
}

#[derive(Deserialize)]
struct Child {
    digest: Digest,
}

#[derive(Deserialize)]
struct Config {
    created: Option<String>,
}

/// When an image was made; of an index, its first image. Nothing where it does not say, as many artifacts do not.
///
/// # Errors
///
/// When it cannot be read.
pub(super) async fn made(source: &dyn Source, reference: &str) -> Result<Option<SystemTime>, Failure> {
    let mut found = source.manifest(reference).await?;
    let mut document: Document = read(&found.bytes)?;
    if let Some(child) = document.manifests.as_ref().and_then(|children| children.first()) {
        found = source.manifest(&child.digest.to_string()).await?;
        document = read(&found.bytes)?;
    }
    let Some(config) = document.config.filter(|config| config.size <= CONFIG as u64) else { return Ok(None) };
    let mut blob = source.blob(&config, 0).await?;
    let mut bytes = Vec::new();
    while let Some(more) = blob.chunk().await? {
        bytes.extend_from_slice(&more);
        if bytes.len() > CONFIG {
            return Ok(None);
        }
    }
    // The config of an artifact may be anything.
    let config = serde_json::from_slice::<Config>(&bytes).ok();
    Ok(config.and_then(|config| humantime::parse_rfc3339(&config.created?).ok()))
}

fn read(bytes: &[u8]) -> Result<Document, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::Unusable(format!("a manifest cannot be read: {error}")))
}
