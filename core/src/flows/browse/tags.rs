//! `/api/v1/repositories/<name>/tags`: the tags of a repository, sorted, with what each names (SPEC AA6, AA7).

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use super::outline::{Kind, Outline, platform_name};
use super::ranked::{Place, Ranked, natural};
use super::{Wanted, answer};
use crate::asked::Asked;
use crate::config::BROWSE_BYTES;
use crate::digest::Digest;
use crate::effect::{Get, Value};
use crate::error::Error;
use crate::flows::Call;
use crate::flows::pages::Pages;
use crate::http::Response;
use crate::keys::{self, Key};
use crate::media::ManifestType;
use crate::name::{Repository, Tag};
use crate::record::{self, ManifestRecord, PlatformsRecord, PulledRecord, TagRecord};

/// A page of tags.
#[derive(Serialize)]
struct Tags {
    repository: Repository,
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
    /// A page of the tags, by name, or by when they were pushed or pulled.
    pub(crate) async fn browse_tags(&self, name: &Repository, asked: &Asked) -> Result<Response, Error> {
        let wanted = Wanted::read(&asked.query, &["name", "pushed", "pulled"])?;
        self.browsable(name, asked).await?;
        let after = wanted.after.map(|after| Place::read(after, natural));
        let mut ranked = Ranked::new(wanted.n, after, wanted.descending);
        let pulls = if wanted.sort == "pulled" { self.pulls_of_tags(name).await? } else { BTreeMap::new() };
        let prefix = keys::tags(name);
        let (mut pages, mut total) = (Pages::new(&prefix), 0);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let tag = prefix.rest(&key);
                // One whose record does not read is not there (SPEC W7).
                let Some(record) = record::decode::<TagRecord>(&key, &value).ok().filter(|_| wanted.takes(tag)) else {
                    continue;
                };
                total += 1;
                let number = match wanted.sort {
                    "pushed" => record.pushed.0,
                    "pulled" => pulls.get(tag).copied().unwrap_or_default(),
                    _ => 0,
                };
                ranked.offer(Place { number, name: tag.into(), names: natural }, || record);
            }
        }
        let (page, next) = ranked.page();
        let tags = page.into_iter().filter_map(|(place, record)| Some((place.name.parse().ok()?, record))).collect();
        let tags = self.listed_tags(name, tags).await?;
        let next = wanted.next(&alloc::format!("/api/v1/repositories/{name}/tags"), next);
        Ok(answer(&Tags { repository: name.clone(), total, tags, next }))
    }

    /// When the tags were last pulled, as far as that is noted.
    async fn pulls_of_tags(&self, name: &Repository) -> Result<BTreeMap<String, u64>, Error> {
        let prefix = keys::pulled_tags(name);
        let (mut pages, mut pulls) = (Pages::new(&prefix), BTreeMap::new());
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                if let Ok(PulledRecord { pulled }) = record::decode(&key, &value) {
                    pulls.insert(prefix.rest(&key).into(), pulled.0);
                }
            }
        }
        Ok(pulls)
    }

    /// What is told of these tags.
    async fn listed_tags(&self, name: &Repository, tags: Vec<(Tag, TagRecord)>) -> Result<Vec<Listed>, Error> {
        let marks = self.marks().await?;
        let keys = tags.iter().flat_map(|(tag, _)| [keys::pulled_tag(name, tag), keys::platforms(name, tag)]).collect();
        let mut beside = self.ask(Get { keys }).await?.into_iter();
        let named = tags.iter().map(|(_, record)| record.digest);
        let mut known = Manifests::default();
        self.know(name, &mut known, named.collect()).await?;
        let children = known.0.values().flat_map(|known| known.outline.manifests.iter().map(|child| child.digest));
        let children: Vec<Digest> = children.filter(|child| !known.0.contains_key(child)).collect();
        self.know(name, &mut known, children).await?;
        let mut listed = Vec::new();
        for (tag, TagRecord { digest, pushed, imported, .. }) in tags {
            let (pulled, platforms) = (beside.next().flatten(), beside.next().flatten());
            let pulled = read::<PulledRecord>(&keys::pulled_tag(name, &tag), pulled).map(|it| it.pulled.rfc3339());
            let platforms = read::<PlatformsRecord>(&keys::platforms(name, &tag), platforms);
            let manifest = known.0.get(&digest);
            let is_read = manifest.filter(|manifest| manifest.is_read);
            listed.push(Listed {
                platforms: known.platforms(&digest, platforms.as_ref()),
                kind: is_read.map(|manifest| manifest.kind()),
                media_type: manifest.map(|manifest| manifest.record.media_type.clone()),
                artifact_type: manifest.and_then(|manifest| manifest.outline.artifact_type.clone()),
                bytes: is_read.and_then(|manifest| known.bytes(&manifest.outline)),
                damaged: manifest.is_none_or(|manifest| manifest.record.quarantined.is_some()),
                protected: marks.tag(name, &tag).is_err(),
                pushed: pushed.rfc3339(),
                imported: imported.map(|imported| imported.rfc3339()),
                name: tag,
                digest,
                pulled,
            });
        }
        Ok(listed)
    }

    /// Adds what these manifests say to what is known, as long as there is room.
    async fn know(&self, name: &Repository, known: &mut Manifests, digests: Vec<Digest>) -> Result<(), Error> {
        let keys = digests.iter().map(|digest| keys::manifest(name, digest)).collect();
        let records = self.ask(Get { keys }).await?;
        let mut room = BROWSE_BYTES;
        let mut readable = Vec::new();
        for (digest, value) in digests.into_iter().zip(records) {
            let Some(record) = read::<ManifestRecord>(&keys::manifest(name, &digest), value) else { continue };
            if record.size <= room && !known.0.contains_key(&digest) {
                room -= record.size;
                readable.push(digest);
            }
            known.0.entry(digest).or_insert(Known { record, outline: Outline::default(), is_read: false });
        }
        let keys = readable.iter().map(|digest| keys::payload(name, digest)).collect();
        let payloads = self.ask(Get { keys }).await?;
        for (digest, payload) in readable.into_iter().zip(payloads) {
            if let (Some(known), Some(payload)) = (known.0.get_mut(&digest), payload) {
                (known.outline, known.is_read) = (Outline::read(&payload), true);
            }
        }
        Ok(())
    }
}

/// What is known of some manifests.
#[derive(Default)]
struct Manifests(BTreeMap<Digest, Known>);

struct Known {
    record: ManifestRecord,
    outline: Outline,
    /// Whether its bytes were read: those of very large ones are not.
    is_read: bool,
}

impl Known {
    fn kind(&self) -> Kind {
        match self.outline.kind() {
            Kind::Artifact if ManifestType::named(&self.record.media_type).is_some_and(ManifestType::is_list) => {
                Kind::Index
            }
            kind => kind,
        }
    }
}

impl Manifests {
    /// The bytes of an image, or of all that an index lists.
    fn bytes(&self, outline: &Outline) -> Option<u64> {
        outline.bytes().or_else(|| {
            let children = outline.manifests.iter().filter_map(|child| self.bytes_of(&child.digest));
            Some(children.fold(0, u64::saturating_add))
        })
    }

    fn bytes_of(&self, digest: &Digest) -> Option<u64> {
        self.0.get(digest).filter(|known| known.is_read)?.outline.bytes()
    }

    /// The platforms of a manifest: those that an index names, or that of an image as it was read when it was pushed.
    fn platforms(&self, digest: &Digest, pushed: Option<&PlatformsRecord>) -> Vec<PlatformListed> {
        let listed = |platform, digest| PlatformListed { platform, digest, bytes: self.bytes_of(&digest) };
        let children = self.0.get(digest).map(|known| known.outline.manifests.as_slice()).unwrap_or_default();
        if !children.is_empty() {
            let named =
                children.iter().filter_map(|child| Some((platform_name(child.platform.as_ref()?)?, child.digest)));
            return named.map(|(platform, digest)| listed(platform, digest)).collect();
        }
        let images = pushed.into_iter().flat_map(|pushed| &pushed.images).filter(|image| image.digest == *digest);
        images.map(|image| listed(image.platform.name().to_string(), image.digest)).collect()
    }
}

/// A record, if it is there and reads.
fn read<T: serde::de::DeserializeOwned>(key: &Key, value: Option<Value>) -> Option<T> {
    value.and_then(|value| record::decode(key, &value).ok())
}
