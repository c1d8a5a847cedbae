//! `/api/v1/repositories/<name>/tags`: the tags of a repository, sorted, with what each names (SPEC AA6, AA7, AD1, AD3).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use super::outline::{Kind, Outline, platform_name};
use super::ranked::{Place, Ranked, natural};
use super::{Deed, Wanted, answer, read};
use crate::asked::Asked;
use crate::config::{BROWSE_BYTES, BROWSE_CHILDREN};
use crate::digest::Digest;
use crate::effect::Get;
use crate::error::Error;
use crate::flows::Call;
use crate::flows::pages::Pages;
use crate::http::Response;
use crate::keys::{self, Key};
use crate::name::{Repository, Tag};
use crate::record::{self, ManifestRecord, PlatformsRecord, PulledRecord, RepositoryRecord, TagRecord};

/// A page of tags.
#[derive(Serialize)]
struct Tags {
    repository: Repository,
    /// When something was first pushed to the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// The bytes of its blobs, manifests and open uploads.
    bytes: u64,
    /// It belongs to a mirror.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    mirror: bool,
    /// What the caller may do in it.
    may: Vec<Deed>,
    /// How many tags there are that have in them what is asked for.
    total: u64,
    tags: Vec<Listed>,
    /// The URL of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A tag in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: Tag,
    /// The manifest that it names.
    digest: Digest,
    /// When it came to name that.
    pushed: String,
    /// When it was imported from another registry, if it was not pushed here since.
    #[serde(skip_serializing_if = "Option::is_none")]
    imported: Option<String>,
    /// When it was last pulled, to the hour, as far as that is noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pulled: Option<String>,
    /// How often it was asked for, as far as that is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pulls: Option<u64>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    /// The bytes of the layers and the config; of an index those of all that it lists, as far as they are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// The platforms it has images for.
    platforms: Vec<PlatformListed>,
    /// A protect mark keeps it from being deleted.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    protected: bool,
    /// The manifest is damaged, and cannot be pulled.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    damaged: bool,
}

/// The image of a tag for one platform.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlatformListed {
    platform: String,
    digest: Digest,
    /// The bytes of its layers and its config, if it is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl Call {
    /// A page of the tags, by name, by when they were pushed or pulled, by how often they were pulled, or by size.
    pub(crate) async fn browse_tags(&self, name: &Repository, asked: &Asked) -> Result<Response, Error> {
        let wanted = Wanted::read(&asked.query, &["name", "pushed", "pulled", "pulls", "size"])?;
        self.browsable(name, asked).await?;
        let after = wanted.after.map(|after| Place::read(after, natural));
        let mut ranked = Ranked::new(wanted.n, after, wanted.descending);
        let prefix = keys::tags(name);
        let (mut pages, mut total) = (Pages::new(&prefix), 0);
        let mut known = Manifests::default();
        while let Some(page) = pages.next(self).await? {
            let mut taken = Vec::new();
            for (key, value) in page {
                let tag = prefix.rest(&key);
                // One whose record does not read is not there (SPEC W7).
                let record = read::<TagRecord>(&key, Some(value)).filter(|_| wanted.takes(tag));
                taken.extend(record.and_then(|record| Some((tag.parse::<Tag>().ok()?, record))));
            }
            total += taken.len() as u64;
            let mut numbers = match wanted.sort {
                "pulled" => self.pulls_of_tags(name, &taken, |noted| noted.pulled.0).await?,
                "pulls" => self.pulls_of_tags(name, &taken, |noted| noted.times).await?,
                "size" => self.sizes_of_tags(name, &mut known, &taken).await?,
                _ => Vec::new(),
            }
            .into_iter();
            for (tag, record) in taken {
                let number = match wanted.sort {
                    "pushed" => record.pushed.0,
                    _ => numbers.next().unwrap_or_default(),
                };
                ranked.offer(Place { number, name: tag.to_string(), names: natural }, || (tag, record));
            }
        }
        let (page, next) = ranked.page();
        let tags = self.listed_tags(name, page.into_iter().map(|(_, tag)| tag).collect()).await?;
        let next = wanted.next(&alloc::format!("/api/v1/repositories/{name}/tags"), next);
        let key = keys::repository(name);
        let [repository, usage] = self.get([key.clone(), keys::usage(name)]).await?;
        Ok(answer(&Tags {
            created: read::<RepositoryRecord>(&key, repository).map(|it| it.created.rfc3339()),
            bytes: record::count(usage.as_ref()),
            mirror: self.config.mirror_of(name).is_some(),
            may: self.deeds(name),
            repository: name.clone(),
            total,
            tags,
            next,
        }))
    }

    /// A number of what is noted of the pulls of these tags; 0 where nothing is.
    async fn pulls_of_tags(
        &self,
        name: &Repository,
        tags: &[(Tag, TagRecord)],
        number: impl Fn(PulledRecord) -> u64,
    ) -> Result<Vec<u64>, Error> {
        let keys: Vec<Key> = tags.iter().map(|(tag, _)| keys::pulled_tag(name, tag)).collect();
        let values = self.ask(Get { keys: keys.clone() }).await?;
        let pulled = |(key, value)| read::<PulledRecord>(key, value).map_or(0, &number);
        Ok(keys.iter().zip(values).map(pulled).collect())
    }

    /// The bytes of what these tags name; 0 where that is not known. What its record does not tell is read as long as there is
    /// room.
    async fn sizes_of_tags(
        &self,
        name: &Repository,
        known: &mut Manifests,
        tags: &[(Tag, TagRecord)],
    ) -> Result<Vec<u64>, Error> {
        let digests: Vec<Digest> = tags.iter().map(|(_, record)| record.digest).collect();
        let keys: Vec<Key> = digests.iter().map(|digest| keys::manifest(name, digest)).collect();
        let values = self.ask(Get { keys: keys.clone() }).await?;
        let content = |(key, value)| read::<ManifestRecord>(key, value).and_then(|manifest| manifest.content);
        let contents: Vec<Option<u64>> = keys.iter().zip(values).map(content).collect();
        let untold = digests.iter().zip(&contents).filter(|(_, content)| content.is_none()).map(|(digest, _)| *digest);
        if !known.is_full {
            self.know_with_children(name, known, untold.collect()).await?;
        }
        let size =
            |(digest, content): (&Digest, Option<u64>)| content.or_else(|| known.size(digest)).unwrap_or_default();
        Ok(digests.iter().zip(contents).map(size).collect())
    }

    /// What is told of these tags.
    async fn listed_tags(&self, name: &Repository, tags: Vec<(Tag, TagRecord)>) -> Result<Vec<Listed>, Error> {
        let marks = self.marks().await?;
        let keys = tags.iter().flat_map(|(tag, _)| [keys::pulled_tag(name, tag), keys::platforms(name, tag)]).collect();
        let mut beside = self.ask(Get { keys }).await?.into_iter();
        let named = tags.iter().map(|(_, record)| record.digest);
        let mut known = Manifests::default();
        self.know_with_children(name, &mut known, named.collect()).await?;
        let mut listed = Vec::new();
        for (tag, TagRecord { digest, pushed, imported, .. }) in tags {
            let (pulled, platforms) = (beside.next().flatten(), beside.next().flatten());
            let pulled = read::<PulledRecord>(&keys::pulled_tag(name, &tag), pulled);
            let platforms = read::<PlatformsRecord>(&keys::platforms(name, &tag), platforms);
            let manifest = known.known.get(&digest);
            let is_read = manifest.filter(|manifest| manifest.is_read);
            listed.push(Listed {
                platforms: known.platforms(&digest, platforms.as_ref()),
                kind: is_read.map(|manifest| manifest.outline.kind(&manifest.record.media_type)),
                media_type: manifest.map(|manifest| manifest.record.media_type.clone()),
                artifact_type: manifest.and_then(|manifest| manifest.outline.artifact_type.clone()),
                bytes: known.size(&digest).or_else(|| manifest?.record.content),
                damaged: manifest.is_none_or(|manifest| manifest.record.quarantined.is_some()),
                protected: marks.tag(name, &tag).is_err(),
                pushed: pushed.rfc3339(),
                imported: imported.map(|imported| imported.rfc3339()),
                name: tag,
                digest,
                pulls: pulled.as_ref().map(|noted| noted.times).filter(|times| *times > 0),
                pulled: pulled.map(|noted| noted.pulled.rfc3339()),
            });
        }
        Ok(listed)
    }

    /// Adds what these manifests say to what is known, and what the manifests say that they list.
    async fn know_with_children(
        &self,
        name: &Repository,
        known: &mut Manifests,
        digests: Vec<Digest>,
    ) -> Result<(), Error> {
        self.know(name, known, digests).await?;
        let children = known.known.values().flat_map(|known| known.outline.manifests.iter().map(|child| child.digest));
        let children: BTreeSet<Digest> = children.filter(|child| !known.known.contains_key(child)).collect();
        self.know(name, known, children.into_iter().take(BROWSE_CHILDREN.0).collect()).await
    }

    /// Adds what these manifests say to what is known, as long as there is room.
    pub(super) async fn know(
        &self,
        name: &Repository,
        known: &mut Manifests,
        digests: Vec<Digest>,
    ) -> Result<(), Error> {
        let keys = digests.iter().map(|digest| keys::manifest(name, digest)).collect();
        let records = self.ask(Get { keys }).await?;
        let mut readable = Vec::new();
        for (digest, value) in digests.into_iter().zip(records) {
            let Some(record) = read::<ManifestRecord>(&keys::manifest(name, &digest), value) else { continue };
            let fits = known.read + record.size <= BROWSE_BYTES;
            known.is_full |= !fits;
            if fits && !known.known.contains_key(&digest) {
                known.read += record.size;
                readable.push(digest);
            }
            known.known.entry(digest).or_insert(Known { record, outline: Outline::default(), is_read: false });
        }
        let keys = readable.iter().map(|digest| keys::payload(name, digest)).collect();
        let payloads = self.ask(Get { keys }).await?;
        for (digest, payload) in readable.into_iter().zip(payloads) {
            if let (Some(known), Some(payload)) = (known.known.get_mut(&digest), payload) {
                (known.outline, known.is_read) = (Outline::read(&payload), true);
            }
        }
        Ok(())
    }
}

/// What is known of some manifests.
#[derive(Default)]
pub(super) struct Manifests {
    known: BTreeMap<Digest, Known>,
    /// How many bytes of manifests were read.
    read: u64,
    /// There was no room for one of them.
    is_full: bool,
}

struct Known {
    record: ManifestRecord,
    outline: Outline,
    /// Whether its bytes were read: those of very large ones are not.
    is_read: bool,
}

impl Manifests {
    /// The bytes of an image or of all that an index lists, if it was read.
    fn size(&self, digest: &Digest) -> Option<u64> {
        self.known.get(digest).filter(|known| known.is_read).and_then(|known| self.bytes(&known.outline))
    }

    /// The bytes of an image, or of all that an index lists.
    fn bytes(&self, outline: &Outline) -> Option<u64> {
        outline.bytes().or_else(|| {
            let children = outline.manifests.iter().filter_map(|child| self.bytes_of(&child.digest));
            Some(children.fold(0, u64::saturating_add))
        })
    }

    /// The bytes of an image, if it was read.
    pub(super) fn bytes_of(&self, digest: &Digest) -> Option<u64> {
        self.known.get(digest).filter(|known| known.is_read)?.outline.bytes()
    }

    /// The platforms of a manifest: those that an index names, or that of an image as it was read when it was pushed.
    fn platforms(&self, digest: &Digest, pushed: Option<&PlatformsRecord>) -> Vec<PlatformListed> {
        let listed = |platform, digest| PlatformListed { platform, digest, bytes: self.bytes_of(&digest) };
        let children = self.known.get(digest).map(|known| known.outline.manifests.as_slice()).unwrap_or_default();
        if !children.is_empty() {
            let named =
                children.iter().filter_map(|child| Some((platform_name(child.platform.as_ref()?)?, child.digest)));
            let named = named.take(BROWSE_CHILDREN.1);
            return named.map(|(platform, digest)| listed(platform, digest)).collect();
        }
        let images = pushed.into_iter().flat_map(|pushed| &pushed.images).filter(|image| image.digest == *digest);
        images.map(|image| listed(image.platform.name(), image.digest)).collect()
    }
}
