//! Manifests as documents: what the registry must read in them (SPEC K, M; image-spec, "Image Manifest", "Index").

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value as Json, json};

use super::grammar::is_digest;
use crate::image::{DOCKER_CONFIG, DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its type, without parameters.
    pub media_type: &'static str,
    /// The digest of what it is about.
    pub subject: Option<String>,
    /// What the list of referrers says of it beside its type, digest and size.
    pub described: Json,
    /// The config, if it is one of an image.
    pub image_config: Option<Json>,
    /// What it is made of.
    pub needs: Vec<Need>,
}

/// Something that a manifest is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum Need {
    Blob(String),
    /// A manifest, or a blob, as in build caches.
    Child(String),
    /// A layer that may stay elsewhere (SPEC K11).
    Foreign(String),
}

impl Need {
    /// The digest.
    pub fn digest(&self) -> &str {
        match self {
            Self::Blob(digest) | Self::Child(digest) | Self::Foreign(digest) => digest,
        }
    }
}

/// The type of manifests that a media type names, whatever its parameters (SPEC K5, K7).
pub fn named(media_type: &str) -> Option<&'static str> {
    let bare = media_type.split(';').next().unwrap_or_default().trim();
    let known = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
    known.into_iter().find(|known| known.eq_ignore_ascii_case(bare))
}

/// Whether it is a type of lists.
pub fn is_list(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

impl Document {
    /// Reads a manifest; none when it is none that the registry takes (SPEC K6–K8).
    pub fn read(bytes: &[u8], content_type: Option<&str>) -> Option<Self> {
        let document: Json = serde_json::from_slice(bytes).ok()?;
        let fields = document.as_object()?;
        let inner = match &document["mediaType"] {
            Json::Null => None,
            inner => Some(inner.as_str()?),
        };
        let media_type = named(content_type.or(inner)?)?;
        let agrees = inner.is_none_or(|inner| inner == media_type);
        let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
        // CVE-2021-41190: one document is not two things.
        let twofold = fields.contains_key("manifests") && (fields.contains_key("layers") || given("config").is_some());
        if document["schemaVersion"] != 2 || given("fsLayers").is_some() || !agrees || twofold {
            return None;
        }
        let list = |name: &str| match given(name) {
            Some(entries) => entries.as_array()?.iter().map(descriptor).collect::<Option<Vec<_>>>(),
            None => Some(Vec::new()),
        };
        let text = |name: &str| match given(name) {
            Some(text) => text.as_str().map(Some),
            None => Some(None),
        };
        let mut needs = Vec::new();
        let mut described = json!({});
        let mut image_config = None;
        if is_list(media_type) {
            fields.get("manifests")?;
            needs.extend(list("manifests")?.into_iter().map(|child| Need::Child(digest(child))));
        } else {
            let config = descriptor(given("config")?)?;
            needs.push(Need::Blob(digest(config)));
            needs.extend(list("layers")?.into_iter().map(|layer| match is_foreign(layer) {
                true => Need::Foreign(digest(layer)),
                false => Need::Blob(digest(layer)),
            }));
            // SPEC M4.
            described["artifactType"] = config["mediaType"].clone();
            let image = config["mediaType"] == OCI_CONFIG || config["mediaType"] == DOCKER_CONFIG;
            image_config = Some(config.clone()).filter(|_| image);
        }
        if let Some(artifact_type) = text("artifactType")?.filter(|artifact_type| !artifact_type.is_empty()) {
            described["artifactType"] = artifact_type.into();
        }
        // SPEC M5.
        if let Some(annotations) = given("annotations") {
            let texts = annotations.as_object()?.values().all(Json::is_string);
            described["annotations"] = Some(annotations.clone()).filter(|_| texts)?;
        }
        let subject = match given("subject") {
            Some(subject) => Some(digest(descriptor(subject)?)),
            None => None,
        };
        Some(Self { media_type, subject, described, image_config, needs })
    }

    /// The content of the image config, if it stands in the manifest itself and is what its digest says.
    pub(super) fn inline_config(&self) -> Option<Vec<u8>> {
        let config = self.image_config.as_ref()?;
        let bytes = BASE64_STANDARD.decode(config["data"].as_str()?).ok()?;
        let right = super::grammar::digest_like(config["digest"].as_str()?, &bytes) == config["digest"].as_str()?;
        right.then_some(bytes)
    }
}

/// A descriptor: what every one has, and what decides anything, of the type that it has (image-spec, "Content
/// Descriptors"). A field that the registry does not read may hold anything (SPEC K8).
fn descriptor(entry: &Json) -> Option<&Json> {
    let whole = entry["mediaType"].is_string() && entry["size"].is_u64() && is_digest(entry["digest"].as_str()?);
    let may = |value: &Json, right: fn(&Json) -> bool| value.is_null() || right(value);
    let texts = |list: &Json| list.as_array().is_some_and(|list| list.iter().all(Json::is_string));
    Some(entry).filter(|_| whole && may(&entry["data"], Json::is_string) && may(&entry["urls"], texts))
}

fn digest(descriptor: &Json) -> String {
    descriptor["digest"].as_str().unwrap_or_default().into()
}

/// SPEC K11.
fn is_foreign(layer: &Json) -> bool {
    let media_type = layer["mediaType"].as_str().unwrap_or_default();
    let foreign = ["vnd.oci.image.layer.nondistributable.", "vnd.docker.image.rootfs.foreign."];
    foreign.iter().any(|name| media_type.strip_prefix("application/").is_some_and(|rest| rest.starts_with(name)))
        || layer["urls"].as_array().is_some_and(|urls| !urls.is_empty())
}
