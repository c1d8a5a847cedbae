//! When an image was made: its config says so (image-spec, "OCI Image Configuration").

use std::time::SystemTime;

use orlop_core::digest::Digest;
use orlop_core::media::ManifestType;
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
#[serde(rename_all = "camelCase")]
struct Child {
    media_type: String,
    digest: Digest,
}

impl Child {
    fn is_image(&self) -> bool {
        ManifestType::named(&self.media_type).is_some_and(|kind| !kind.is_list())
    }
}

#[derive(Deserialize)]
struct Config {
    created: Option<String>,
}

/// When an image was made; of an index, its first image. Nothing where it does not say, as many artifacts do not, and
/// where the tag is gone or damaged: that is for its copy to tell, and keeps no other tag from being copied.
///
/// # Errors
///
/// When the source does not answer, or does not let it be read.
pub(super) async fn made(source: &dyn Source, reference: &str) -> Result<Option<SystemTime>, Failure> {
    match said(source, reference).await {
        Err(Failure::Absent | Failure::Unusable(_) | Failure::Damaged(_)) => Ok(None),
        said => said,
    }
}

async fn said(source: &dyn Source, reference: &str) -> Result<Option<SystemTime>, Failure> {
    let mut found = source.manifest(reference).await?;
    let mut document: Document = read(&found.bytes)?;
    // Its other children may be indexes, or the layers of a cache.
    if let Some(child) = document.manifests.iter().flatten().find(|child| child.is_image()) {
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
