//! An archive of `docker save`. Newer ones have an OCI image layout in them, which is copied as it is. For older ones,
//! which have no manifest, one is made of the configuration and the layers that they name: the same each time.

use std::collections::HashMap;
use std::path::Path;

use async_trait::async_trait;
use orlop_core::digest::{Algorithm, Digest};
use orlop_core::meter::Meter;
use serde::Deserialize;
use serde_json::json;

use super::layout::{Layout, without_hub};
use super::store::Store;
use super::{Blob, Found, Source};
use crate::remote::{Descriptor, Failure};

/// How large a configuration or list may be.
const LARGEST: usize = 16 << 20;

/// The media type of what is made.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An archive of `docker save`.
#[derive(Debug)]
pub enum Archive {
    /// With a layout in it.
    Layout(Layout),
    /// With files that its list names.
    Saved(Saved),
}

/// What an archive without a layout has.
#[derive(Debug)]
pub struct Saved {
    store: Store,
    images: Vec<Image>,
    /// In which file which blob is.
    files: HashMap<Digest, String>,
    /// What files are that were hashed: images have layers in common.
    hashed: HashMap<String, Descriptor>,
}

#[derive(Debug)]
struct Image {
    tags: Vec<String>,
    found: Found,
}

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

impl Archive {
    /// Opens an archive, and hashes the layers of one without a layout.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is compressed, or is no such archive.
    pub async fn open(path: &Path) -> Result<Self, Failure> {
        let store = Store::archive(path).await?;
        match Layout::of(store.clone()).await {
            Ok(layout) => return Ok(Self::Layout(layout)),
            Err(Failure::Unusable(_)) => {}
            Err(other) => return Err(other),
        }
        let wrong = |reason: &str| Failure::Unusable(format!("{} {reason}", path.display()));
        let list = store.read("manifest.json", LARGEST).await;
        let list = list.map_err(|_| wrong("is no archive of `docker save`: it has no `manifest.json`"))?;
        let list: Vec<Listed> =
            serde_json::from_slice(&list).map_err(|error| wrong(&format!("has a wrong `manifest.json`: {error}")))?;
        let mut saved = Saved { store, images: Vec::new(), files: HashMap::new(), hashed: HashMap::new() };
        for listed in list {
            saved.add(listed).await?;
        }
        Ok(Self::Saved(saved))
    }
}

impl Saved {
    async fn add(&mut self, listed: Listed) -> Result<(), Failure> {
        let config = self.described(&listed.config, |_| "application/vnd.oci.image.config.v1+json").await?;
        let mut layers = Vec::new();
        for layer in listed.layers.unwrap_or_default() {
            let kind = |magic: &[u8]| match magic {
                [0x1f, 0x8b, ..] => "application/vnd.oci.image.layer.v1.tar+gzip",
                [0x28, 0xb5, 0x2f, 0xfd, ..] => "application/vnd.oci.image.layer.v1.tar+zstd",
                _ => "application/vnd.oci.image.layer.v1.tar",
            };
            layers.push(self.described(&layer, kind).await?);
        }
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let bytes = manifest.to_string().into_bytes();
        let digest = Algorithm::Sha256.digest(&bytes);
        let found = Found { media_type: MANIFEST.into(), digest, bytes: bytes.into() };
        self.images.push(Image { tags: listed.repo_tags.unwrap_or_default(), found });
        Ok(())
    }

    /// Hashes a file of the archive; its first bytes tell what it is.
    async fn described(&mut self, name: &str, kind: impl Fn(&[u8]) -> &'static str) -> Result<Descriptor, Failure> {
        if let Some(known) = self.hashed.get(name) {
            return Ok(known.clone());
        }
        let missing = || Failure::Unusable(format!("{} lacks {name}", self.store.path().display()));
        let opened = self.store.open(name).await;
        let mut reading = opened.map_err(|error| if error == Failure::Absent { missing() } else { error })?;
        let mut meter = Meter::new(Algorithm::Sha256);
        let mut media_type = None;
        while let Some(bytes) = reading.chunk().await? {
            media_type.get_or_insert_with(|| kind(&bytes));
            meter.update(&bytes);
        }
        let (digest, size) = (meter.digest(), meter.count());
        self.files.insert(digest, name.to_owned());
        let media_type = media_type.unwrap_or_else(|| kind(&[])).to_owned();
        let described =
            Descriptor { media_type, digest, size, platform: None, artifact_type: None, annotations: None, urls: None };
        self.hashed.insert(name.to_owned(), described.clone());
        Ok(described)
    }

    /// The names of all images, with their manifests. One that has no name is there too.
    pub(super) fn names(&self) -> impl Iterator<Item = (Option<String>, Digest)> {
        self.images.iter().flat_map(|image| {
            let digest = image.found.digest;
            let unnamed = image.tags.is_empty().then_some((None, digest));
            image.tags.iter().map(move |tag| (Some(tag.clone()), digest)).chain(unnamed)
        })
    }

    pub(super) async fn blob(&self, blob: &Descriptor, from: u64) -> Result<Box<dyn Blob>, Failure> {
        let name = self.files.get(&blob.digest).ok_or(Failure::Absent)?;
        Ok(Box::new(self.store.open(name).await?.skip(from)))
    }

    /// The image of that name, or the only one for the empty reference.
    pub(super) fn image(&self, reference: &str) -> Result<&Found, Failure> {
        let is = |image: &&Image| {
            let is =
                |tag: &String| without_hub(tag) == without_hub(reference) || tag.ends_with(&format!(":{reference}"));
            let tagged = image.tags.iter().any(is);
            tagged || image.found.digest.to_string() == reference
        };
        match (&self.images[..], reference) {
            ([only], "") => Ok(&only.found),
            (all, "") => {
                let tags: Vec<&str> = all.iter().flat_map(|image| &image.tags).map(String::as_str).collect();
                let path = self.store.path().display();
                let told = format!("{path} has {} images: name one of {}", all.len(), tags.join(", "));
                Err(Failure::Unusable(told))
            }
            (all, _) => all.iter().find(is).map(|image| &image.found).ok_or(Failure::Absent),
        }
    }
}

#[async_trait]
impl Source for Archive {
    async fn manifest(&self, reference: &str) -> Result<Found, Failure> {
        match self {
            Self::Layout(layout) => layout.manifest(reference).await,
            Self::Saved(saved) => saved.image(reference).cloned(),
        }
    }

    async fn blob(&self, blob: &Descriptor, from: u64) -> Result<Box<dyn Blob>, Failure> {
        match self {
            Self::Layout(layout) => layout.blob(blob, from).await,
            Self::Saved(saved) => saved.blob(blob, from).await,
        }
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Failure> {
        match self {
            Self::Layout(layout) => layout.referrers(subject).await,
            Self::Saved(_) => Ok(Vec::new()),
        }
    }
}
