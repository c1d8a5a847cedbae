//! What is pushed: image manifests and indexes of our own making.

use bytes::Bytes;
use serde_json::{Value as Json, json};

pub use crate::image::{
    DOCKER_CONFIG, DOCKER_LIST, DOCKER_MANIFEST, EMPTY, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, descriptor,
    sha256, sha512,
};

/// Every media type of a manifest: what clients accept.
pub const ANY_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A digest that nothing has.
pub const NOWHERE: &str = "sha256:00000000000000000000000000000000000000000000000000000000deadbeef";

/// A manifest to push, with what has to be there before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its media type.
    pub media_type: &'static str,
    /// The document.
    pub document: Json,
    /// The blobs it names.
    pub blobs: Vec<Bytes>,
}

impl Image {
    /// An OCI image of one layer. `word` makes it one of a kind.
    pub fn oci(word: &str) -> Self {
        Self::of(OCI_MANIFEST, OCI_CONFIG, OCI_LAYER, word)
    }

    /// A Docker image of one layer.
    pub fn docker(word: &str) -> Self {
        Self::of(DOCKER_MANIFEST, DOCKER_CONFIG, "application/vnd.docker.image.rootfs.diff.tar.gzip", word)
    }

    /// An index, or a Docker list, of these.
    pub fn list(media_type: &'static str, children: &[&Self]) -> Self {
        let architecture = |n: usize| ["amd64", "arm64", "s390x"][n % 3];
        let children = children.iter().enumerate().map(|(n, child)| {
            let mut entry = child.descriptor();
            entry["platform"] = json!({ "os": "linux", "architecture": architecture(n) });
            entry
        });
        let children: Vec<Json> = children.collect();
        let document = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": children });
        Self { media_type, document, blobs: Vec::new() }
    }

    fn of(media_type: &'static str, config_type: &str, layer_type: &str, word: &str) -> Self {
        let layer = format!("layer of {word}");
        let config = json!({
            "os": "linux", "architecture": "amd64", "created": "2026-01-01T00:00:00Z", "author": word,
            "config": {}, "rootfs": { "type": "layers", "diff_ids": [sha256(&layer)] },
        });
        let config = config.to_string();
        let document = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": descriptor(config_type, &config),
            "layers": [descriptor(layer_type, &layer)],
        });
        Self { media_type, document, blobs: vec![config.into(), layer.into()] }
    }

    /// The same image with this field; `null` takes it away.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Json>) -> Self {
        match value.into() {
            Json::Null => drop(self.document.as_object_mut().map(|fields| fields.remove(name))),
            value => self.document[name] = value,
        }
        self
    }

    /// The same image, about that one.
    #[must_use]
    pub fn about(self, subject: &Self) -> Self {
        self.field("subject", subject.descriptor())
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
        descriptor(self.media_type, self.bytes())
    }
}
