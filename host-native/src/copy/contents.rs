//! All images of a layout or an archive, to be read one after the other. What its index says is read once.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use async_trait::async_trait;
use orlop_core::digest::Digest;
use serde::Deserialize;

use super::archive::{Archive, Saved};
use super::layout::{IMAGE_NAME, Layout, REF_NAME};
use super::manifest::Parts;
use super::{Blob, Found, Source};
use crate::remote::{Descriptor, Failure};

/// An image as it is called in a layout or archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, such as `team/app:v1`, `v1` or `team/app@sha256:…`; none if it has none.
    pub name: Option<String>,
    /// Its manifest.
    pub digest: Digest,
}

/// All images of a layout or archive.
#[derive(Debug)]
pub enum Contents {
    /// Those of a layout.
    Layout(Box<Indexed>),
    /// Those of an archive of `docker save` without a layout.
    Saved(Saved),
}

/// A layout and what its index says.
#[derive(Debug)]
pub struct Indexed {
    layout: Layout,
    entries: Vec<Descriptor>,
    types: HashMap<Digest, usize>,
    referrers: HashMap<Digest, Vec<usize>>,
    /// Entries that cannot be read, as they may be printed, and why.
    damaged: Vec<(String, Failure)>,
    /// The manifests that cannot be read.
    unreadable: HashSet<Digest>,
    /// The manifests that refer to another one that is there.
    going_along: HashSet<Digest>,
}

impl Contents {
    /// A layout in a directory, or in an archive if the path is a file.
    ///
    /// # Errors
    ///
    /// When there is none, or its index cannot be read.
    pub async fn layout(path: &Path) -> Result<Self, Failure> {
        let is_directory = std::fs::metadata(path).is_ok_and(|found| found.is_dir());
        let layout = if is_directory { Layout::open(path).await? } else { Layout::in_archive(path).await? };
        Indexed::of(layout).await.map(|indexed| Self::Layout(Box::new(indexed)))
    }

    /// An archive of `docker save`.
    ///
    /// # Errors
    ///
    /// When it is none, or cannot be read.
    pub async fn docker_archive(path: &Path) -> Result<Self, Failure> {
        match Archive::open(path).await? {
            Archive::Layout(layout) => Indexed::of(layout).await.map(|indexed| Self::Layout(Box::new(indexed))),
            Archive::Saved(saved) => Ok(Self::Saved(saved)),
        }
    }

    /// What is in it, in its order. What only refers to another image of it is not there: it goes along with that.
    pub fn images(&self) -> Vec<Listed> {
        match self {
            Self::Saved(saved) => saved.names().map(|(name, digest)| Listed { name, digest }).collect(),
            Self::Layout(indexed) => indexed.images(),
        }
    }

    /// The entries that cannot be read, each as it may be printed, and why.
    pub fn damaged(&self) -> &[(String, Failure)] {
        match self {
            Self::Saved(_) => &[],
            Self::Layout(indexed) => &indexed.damaged,
        }
    }
}

impl Indexed {
    async fn of(layout: Layout) -> Result<Self, Failure> {
        let index = layout.index().await?;
        let (mut types, mut referrers, mut damaged) = (HashMap::new(), HashMap::<_, Vec<_>>::new(), Vec::new());
        let (mut entries, mut unreadable) = (Vec::<Descriptor>::new(), HashSet::new());
        for (number, entry) in index["manifests"].as_array().into_iter().flatten().enumerate() {
            match Descriptor::deserialize(entry) {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    let called = entry["digest"].as_str().or(entry["annotations"][REF_NAME].as_str());
                    let called = called.map(|called| format!(", {}", called.escape_debug())).unwrap_or_default();
                    let told = format!("the index says nothing of it that can be read: {error}");
                    damaged.push((format!("entry {}{called}", number + 1), Failure::Unusable(told)));
                }
            }
        }
        for (place, entry) in entries.iter().enumerate() {
            if types.insert(entry.digest, place).is_some() {
                continue;
            }
            let read = async {
                let found = layout.stored(&entry.digest, Some(entry)).await?;
                Parts::of(&found.bytes, &found.digest)
            };
            match read.await {
                Ok(Parts { subject: Some(subject), .. }) => referrers.entry(subject).or_default().push(place),
                Ok(_) => {}
                Err(Failure::Absent) => {
                    let told = format!("{} lacks it", layout.directory().display());
                    unreadable.insert(entry.digest);
                    damaged.push((entry.digest.to_string(), Failure::Damaged(told)));
                }
                Err(failure) => {
                    unreadable.insert(entry.digest);
                    damaged.push((entry.digest.to_string(), failure));
                }
            }
        }
        let here = referrers.iter().filter(|(subject, _)| types.contains_key(*subject));
        let going_along = here.flat_map(|(_, places)| places.iter().map(|place| entries[*place].digest)).collect();
        Ok(Self { layout, entries, types, referrers, damaged, unreadable, going_along })
    }

    fn images(&self) -> Vec<Listed> {
        let read = |entry: &Descriptor| !self.unreadable.contains(&entry.digest);
        let listed = self.entries.iter().filter(|entry| read(entry)).map(|entry| {
            let annotation = |key: &str| entry.annotations.as_ref().and_then(|all| all.get(key)).cloned();
            Listed { name: annotation(IMAGE_NAME).or(annotation(REF_NAME)), digest: entry.digest }
        });
        listed.filter(|listed| listed.name.is_some() || !self.going_along.contains(&listed.digest)).collect()
    }
}

#[async_trait]
impl Source for Contents {
    async fn manifest(&self, reference: &str) -> Result<Found, Failure> {
        let digest: Digest = reference.parse().map_err(|_| Failure::Absent)?;
        match self {
            Self::Saved(saved) => saved.image(reference).cloned(),
            Self::Layout(indexed) => {
                let entry = indexed.types.get(&digest).map(|place| &indexed.entries[*place]);
                indexed.layout.stored(&digest, entry).await
            }
        }
    }

    async fn blob(&self, blob: &Descriptor, from: u64) -> Result<Box<dyn Blob>, Failure> {
        match self {
            Self::Saved(saved) => saved.blob(blob, from).await,
            Self::Layout(indexed) => indexed.layout.blob(blob, from).await,
        }
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Failure> {
        let Self::Layout(indexed) = self else { return Ok(Vec::new()) };
        let places = indexed.referrers.get(subject).map(Vec::as_slice).unwrap_or_default();
        Ok(places.iter().map(|place| indexed.entries[*place].clone()).collect())
    }
}
