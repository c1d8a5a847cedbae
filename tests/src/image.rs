//! Things to push: manifests, indexes and the blobs they are made of.

use bytes::Bytes;
use orlop_core::digest::Algorithm;
use serde_json::{Value as Json, json};

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of a Docker manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of an OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Media type of a layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of nothing, as in artifacts without a configuration.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The SHA-256 digest of these bytes.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    Algorithm::Sha256.digest(bytes.as_ref()).to_string()
}

/// The SHA-512 digest of these bytes.
pub fn sha512(bytes: impl AsRef<[u8]>) -> String {
    Algorithm::Sha512.digest(bytes.as_ref()).to_string()
}

/// A descriptor of these bytes.
pub fn descriptor(media_type: &str, bytes: impl AsRef<[u8]>) -> Json {
    let bytes = bytes.as_ref();
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

/// What an image runs on: operating system and architecture.
pub type Platform = (&'static str, &'static str);

/// The usual one.
pub const AMD64: Platform = ("linux", "amd64");
/// The other usual one.
pub const ARM64: Platform = ("linux", "arm64");

/// The configuration of an image of that platform; `layer` makes it one of a kind.
pub fn config((os, architecture): Platform, layer: &str) -> String {
    json!({ "os": os, "architecture": architecture, "rootfs": { "type": "layers", "diff_ids": [sha256(layer)] } })
        .to_string()
}

/// A manifest or index, and the blobs that have to be pushed before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    media_type: String,
    document: Json,
    blobs: Vec<Bytes>,
}

impl Manifest {
    /// An OCI image of one layer.
    pub fn image(platform: Platform, layer: &str) -> Self {
        Self::of(OCI_MANIFEST, OCI_CONFIG, config(platform, layer), OCI_LAYER, layer)
    }

    /// A Docker image of one layer.
    pub fn docker_image(platform: Platform, layer: &str) -> Self {
        let layer_type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        Self::of(DOCKER_MANIFEST, DOCKER_CONFIG, config(platform, layer), layer_type, layer)
    }

    /// An artifact with one blob and no configuration.
    pub fn artifact(artifact_type: &str, content: &str) -> Self {
        Self::of(OCI_MANIFEST, EMPTY, "{}".into(), "text/plain", content).field("artifactType", artifact_type)
    }

    fn of(media_type: &str, config_type: &str, config: String, layer_type: &str, layer: &str) -> Self {
        let document = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": descriptor(config_type, &config),
            "layers": [descriptor(layer_type, layer)],
        });
        Self { media_type: media_type.into(), document, blobs: vec![config.into(), layer.to_owned().into()] }
    }

    /// An OCI index of these.
    pub fn index(children: &[&Self]) -> Self {
        Self::list(OCI_INDEX, children)
    }

    /// A Docker manifest list of these.
    pub fn docker_list(children: &[&Self]) -> Self {
        Self::list(DOCKER_LIST, children)
    }

    fn list(media_type: &str, children: &[&Self]) -> Self {
        let children: Vec<Json> = children.iter().map(|child| child.descriptor()).collect();
        let document = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": children });
        Self { media_type: media_type.into(), document, blobs: Vec::new() }
    }

    /// The same manifest with this field; `null` takes it away.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Json>) -> Self {
        match value.into() {
            Json::Null => drop(self.document.as_object_mut().map(|fields| fields.remove(name))),
            value => self.document[name] = value,
        }
        self
    }

    /// The same manifest, about that one.
    #[must_use]
    pub fn about(self, subject: &Self) -> Self {
        self.field("subject", subject.descriptor())
    }

    /// Its media type.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The blobs that have to be pushed before it.
    pub fn blobs(&self) -> &[Bytes] {
        &self.blobs
    }

    /// Its bytes.
    pub fn bytes(&self) -> Bytes {
        self.document.to_string().into()
    }

    /// Its SHA-256 digest.
    pub fn digest(&self) -> String {
        sha256(self.bytes())
    }

    /// A descriptor of it.
    pub fn descriptor(&self) -> Json {
        descriptor(&self.media_type, self.bytes())
    }
}
