//! A data directory as distribution writes it, made by hand.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use orlop_core::digest::{Algorithm, Digest};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

pub(crate) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// A directory that another registry has written.
pub(crate) struct Directory {
    directory: TempDir,
}

pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> Digest {
    Algorithm::Sha256.digest(bytes.as_ref())
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Json {
    json!({ "mediaType": media_type, "digest": sha256(bytes).to_string(), "size": bytes.len() })
}

/// The configuration of an image for an architecture; `layer` makes it one of a kind.
pub(crate) fn config(architecture: &str, layer: &[u8]) -> Vec<u8> {
    let rootfs = json!({ "type": "layers", "diff_ids": [sha256(layer).to_string()] });
    json!({ "architecture": architecture, "os": "linux", "rootfs": rootfs }).to_string().into_bytes()
}

/// A manifest of these parts.
pub(crate) fn manifest(media_type: Option<&str>, config: &Json, layers: &[Json]) -> Json {
    let mut manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    media_type.into_iter().for_each(|media_type| manifest["mediaType"] = json!(media_type));
    manifest
}

impl Directory {
    /// One without repositories.
    pub(crate) fn new() -> Self {
        let made = Self { directory: TempDir::new().unwrap() };
        fs::create_dir_all(made.root().join("repositories")).unwrap();
        fs::create_dir_all(made.root().join("blobs/sha256")).unwrap();
        made
    }

    /// What `rootdirectory` names.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The directory of blobs and repositories.
    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("docker/registry/v2")
    }

    /// The directory of a repository.
    pub(crate) fn repository(&self, name: &str) -> PathBuf {
        self.root().join("repositories").join(name)
    }

    /// Where the bytes of a blob are.
    pub(crate) fn data(&self, digest: &Digest) -> PathBuf {
        let hex = digest.encoded();
        self.root().join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(&hex).join("data")
    }

    /// Puts bytes under a digest.
    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8]) {
        write(&self.data(digest), bytes);
    }

    /// The link of a blob in a repository.
    pub(crate) fn layer_link(&self, name: &str, digest: &Digest) -> PathBuf {
        let below = self.repository(name).join("_layers").join(digest.algorithm().name());
        below.join(digest.encoded()).join("link")
    }

    /// The link of a manifest in a repository.
    pub(crate) fn revision_link(&self, name: &str, digest: &Digest) -> PathBuf {
        let below = self.repository(name).join("_manifests/revisions").join(digest.algorithm().name());
        below.join(digest.encoded()).join("link")
    }

    /// The link of a tag in a repository.
    pub(crate) fn tag_link(&self, name: &str, tag: &str) -> PathBuf {
        self.repository(name).join("_manifests/tags").join(tag).join("current/link")
    }

    /// A blob that a repository holds.
    pub(crate) fn blob(&self, name: &str, bytes: &[u8]) -> Digest {
        self.blob_by(Algorithm::Sha256, name, bytes)
    }

    /// The same by another algorithm.
    pub(crate) fn blob_by(&self, algorithm: Algorithm, name: &str, bytes: &[u8]) -> Digest {
        let digest = algorithm.digest(bytes);
        self.put(&digest, bytes);
        write(&self.layer_link(name, &digest), digest.to_string().as_bytes());
        digest
    }

    /// A manifest that a repository holds.
    pub(crate) fn revision(&self, name: &str, document: &[u8]) -> Digest {
        self.revision_by(Algorithm::Sha256, name, document)
    }

    /// The same by another algorithm.
    pub(crate) fn revision_by(&self, algorithm: Algorithm, name: &str, document: &[u8]) -> Digest {
        let digest = algorithm.digest(document);
        self.put(&digest, document);
        write(&self.revision_link(name, &digest), digest.to_string().as_bytes());
        digest
    }

    /// A tag that names a manifest.
    pub(crate) fn tag(&self, name: &str, tag: &str, digest: &Digest) {
        let link = self.tag_link(name, tag);
        write(&link, digest.to_string().as_bytes());
        let history = self.repository(name).join("_manifests/tags").join(tag).join("index");
        let history = history.join(digest.algorithm().name()).join(digest.encoded()).join("link");
        write(&history, digest.to_string().as_bytes());
    }

    /// An image for an architecture, under a tag.
    pub(crate) fn image(&self, name: &str, tag: &str, architecture: &str, layer: &[u8]) -> Digest {
        let digest = self.untagged_image(name, architecture, layer);
        self.tag(name, tag, &digest);
        digest
    }

    /// The same without a tag.
    pub(crate) fn untagged_image(&self, name: &str, architecture: &str, layer: &[u8]) -> Digest {
        let config = config(architecture, layer);
        self.blob(name, layer);
        self.blob(name, &config);
        let document = manifest(Some(OCI), &descriptor(CONFIG, &config), &[descriptor(LAYER, layer)]);
        self.revision(name, document.to_string().as_bytes())
    }

    /// An upload that has not ended, and whose client is gone.
    pub(crate) fn upload(&self, name: &str) {
        let upload = self.repository(name).join("_uploads/6f5902ac-237c-4f0a-9fd8-5b3b1f9f5d2e");
        write(&upload.join("data"), b"half of it");
        write(&upload.join("startedat"), b"2020-01-01T00:00:00Z");
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        for file in [upload.join("data"), upload.join("startedat"), upload.clone()] {
            fs::File::open(file).unwrap().set_modified(long_ago).unwrap();
        }
    }

    /// Everything in it: paths, bytes, modes, owners and times.
    pub(crate) fn all(&self) -> BTreeMap<PathBuf, (Vec<u8>, u32, u32, i64)> {
        let mut all = BTreeMap::new();
        let mut waiting = vec![self.path().to_owned()];
        while let Some(path) = waiting.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mut bytes = Vec::new();
            if metadata.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if metadata.is_file() {
                bytes = fs::read(&path).unwrap();
            }
            all.insert(path, (bytes, metadata.mode(), metadata.uid(), metadata.mtime_nsec()));
        }
        all
    }
}

/// Writes a file, and makes the directories above it.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
