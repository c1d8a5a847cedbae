//! What manifests say of what they are made of, for people: read leniently, since whatever was accepted is shown.

use alloc::string::String;
use alloc::vec::Vec;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

use crate::digest::Digest;
use crate::manifest::{Annotations, Platform};
use crate::media::ManifestType;

/// A manifest or index. What a client may have written in its place, such as null, is as if it were not there.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Outline {
    pub(super) artifact_type: Option<String>,
    pub(super) config: Option<Part>,
    #[serde(deserialize_with = "given")]
    pub(super) layers: Vec<Part>,
    #[serde(deserialize_with = "given")]
    pub(super) manifests: Vec<Part>,
    #[serde(deserialize_with = "lenient")]
    pub(super) annotations: Annotations,
}

/// A descriptor in it.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Annotations::is_empty")]
    pub(super) annotations: Annotations,
    #[serde(default, deserialize_with = "lenient", skip_serializing)]
    pub(super) platform: Option<Platform>,
}

/// A list; null is none.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Part>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A value of any form: one of another form than this is none. What decides nothing refuses no manifest.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Json::deserialize(deserializer)?).unwrap_or_default())
}

impl Outline {
    /// Reads a manifest.
    pub(super) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// The bytes that whoever pulls it fetches besides the manifest; nothing of an index, which is pulled in part.
    pub(super) fn bytes(&self) -> Option<u64> {
        let parts = self.config.iter().chain(&self.layers);
        self.manifests.is_empty().then(|| parts.fold(0, |sum: u64, part| sum.saturating_add(part.size)))
    }

    /// What it is, in a word, if it is of that media type.
    pub(super) fn kind(&self, media_type: &str) -> Kind {
        let config = self.config.as_ref().map(|config| config.media_type.as_str());
        let artifact = self.artifact_type.as_deref().filter(|artifact| !artifact.is_empty());
        let layers = self.layers.iter().map(|layer| layer.media_type.as_str());
        let types = artifact.into_iter().chain(config).chain(layers);
        let found = types.filter_map(Kind::of_type).next();
        match found {
            Some(kind) => kind,
            None if ManifestType::named(media_type).is_some_and(ManifestType::is_list) => Kind::Index,
            None => Kind::Artifact,
        }
    }
}

/// What a manifest is, as far as its types tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// An image of one platform.
    Image,
    /// Several images, mostly one for each platform.
    Index,
    /// A Helm chart.
    Chart,
    /// A WebAssembly module or component.
    Wasm,
    /// A model.
    Model,
    /// A bill of materials.
    Sbom,
    /// A signature.
    Signature,
    /// An attestation.
    Attestation,
    /// A build cache.
    Cache,
    /// Anything else.
    Artifact,
}

impl Kind {
    /// What a media type or artifact type stands for, if that is known.
    pub(super) fn of_type(media_type: &str) -> Option<Self> {
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let has = |part: &str| media_type.contains(part);
        Some(match media_type {
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => {
                Self::Image
            }
            _ if has("vnd.cncf.helm") => Self::Chart,
            _ if has("wasm") => Self::Wasm,
            _ if has("vnd.cncf.model") || has("vnd.docker.ai") || has("vnd.ollama") => Self::Model,
            _ if has("spdx") || has("cyclonedx") || has("syft") => Self::Sbom,
            _ if has("cosign") && has("sig") || has("cncf.notary.signature") || has("simplesigning") => Self::Signature,
            _ if has("sigstore.bundle") => Self::Signature,
            _ if has("in-toto") || has("dsse") => Self::Attestation,
            _ if has("buildkit.cacheconfig") => Self::Cache,
            _ => return None,
        })
    }
}

/// A step of the history of an image.
#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    created_by: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    empty_layer: bool,
}

/// A layer of an image, or a step that made none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layer {
    /// The layer; a step that only changed the config has none.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<Part>,
    /// The command that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<String>,
    /// When it was made, as the config says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<String>,
}

/// The layers, each with the step that made it. A history that does not fit them is left out.
pub(super) fn layers(parts: Vec<Part>, config: Option<&Json>) -> Vec<Layer> {
    let history = config.and_then(|config| config.get("history")).cloned();
    let steps: Vec<Step> = history.and_then(|history| serde_json::from_value(history).ok()).unwrap_or_default();
    let bare = |part| Layer { part: Some(part), command: None, created: None, comment: None };
    if steps.iter().filter(|step| !step.empty_layer).count() != parts.len() {
        return parts.into_iter().map(bare).collect();
    }
    let mut parts = parts.into_iter();
    let layer = |Step { created, created_by, comment, empty_layer }| Layer {
        part: if empty_layer { None } else { parts.next() },
        command: created_by.filter(|command| !command.is_empty()),
        created,
        comment: comment.filter(|comment| !comment.is_empty()),
    };
    steps.into_iter().map(layer).collect()
}

/// The name of a platform, such as `linux/arm/v7`; none of an entry that is for no platform.
pub(super) fn platform_name(platform: &Platform) -> Option<String> {
    let named = !platform.os.is_empty() && platform.os != "unknown";
    named.then(|| platform.name())
}
