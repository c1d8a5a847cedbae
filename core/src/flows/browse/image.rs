//! `/api/v1/repositories/<name>/images/<reference>`: an image or another artifact with all that is known of it (SPEC AA8
//! to AA10, AD1, AD4).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;
use serde_json::Value as Json;

use super::outline::{self, Kind, Layer, Outline, Part, platform_name};
use super::tags::Manifests;
use super::{Deed, answer, read};
use crate::asked::Asked;
use crate::caller::Right;
use crate::config::{BROWSE_BYTES, BROWSE_CHILDREN, BROWSE_CONFIG, BROWSED};
use crate::digest::Digest;
use crate::effect::{Get, Scan};
use crate::error::Error;
use crate::flows::Call;
use crate::flows::quarantine::{sound_blob, sound_manifest};
use crate::http::{Method, Response};
use crate::keys::{self, Prefix};
use crate::manifest::{Annotations, Descriptor};
use crate::media::ManifestType;
use crate::name::{Repository, Tag};
use crate::record::{self, PulledBy, PulledRecord, TagRecord};
use crate::target::Reference;

/// An image, or another artifact.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    repository: Repository,
    digest: Digest,
    /// What it is.
    kind: Kind,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    /// The bytes of the manifest.
    size: u64,
    /// The bytes of the layers and the config.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// When it was last pushed.
    pushed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    imported: Option<String>,
    /// When it was last pulled, to the hour, as far as that is noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pulled: Option<String>,
    /// How often a client got it, as far as that is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pulls: Option<u64>,
    /// Which users have pulled it lately, the last one first: for those who may push here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pulled_by: Vec<Puller>,
    annotations: Annotations,
    /// What it refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Digest>,
    /// The tags that name it, a hundred at most.
    tags: Vec<String>,
    /// The indexes that list it, a hundred at most.
    listed_by: Vec<Digest>,
    /// What an index lists.
    manifests: Vec<Child>,
    /// Where the config is.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_descriptor: Option<Part>,
    /// The config, if it is one of an image and can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Json>,
    /// The layers from the lowest on, each with the step that made it. Steps without a layer stand among them.
    layers: Vec<Layer>,
    /// What refers to it, a hundred at most.
    referrers: Vec<Referrer>,
    /// Something that refers to it, or a tag made of its digest, is a signature. Nobody has verified it.
    signed: bool,
    /// A protect mark keeps it, or the tag by which it was asked for, from being deleted.
    protected: bool,
    /// What the caller may do in the repository.
    may: Vec<Deed>,
}

/// Who has pulled it.
#[derive(Serialize)]
struct Puller {
    user: String,
    /// When last, to the hour.
    pulled: String,
}

impl Call {
    /// Which users have pulled it, as long as is kept what they did. Whoever may pull alone is not told of others.
    fn pullers(&self, name: &Repository, noted: &PulledRecord) -> Vec<Puller> {
        if !self.may_push(name) {
            return Vec::new();
        }
        let is_kept = |by: &&PulledBy| self.ambient.now.since(by.pulled) < self.config.activity_lifetime;
        let puller = |by: &PulledBy| Puller { user: by.user.clone(), pulled: by.pulled.rfc3339() };
        noted.by.iter().filter(is_kept).map(puller).collect()
    }
}

/// A manifest that an index lists.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Child {
    digest: Digest,
    media_type: String,
    size: u64,
    /// The bytes of its layers and its config, if it is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    annotations: Annotations,
}

/// What refers to a manifest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    digest: Digest,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
}

impl Call {
    /// All that is known of a manifest that is here. Nothing is fetched for it, and no pull is noted.
    pub(crate) async fn browse_image(
        &self,
        name: &Repository,
        reference: &Reference,
        asked: &Asked,
    ) -> Result<Response, Error> {
        let unknown = || Error::ManifestUnknown(reference.to_string());
        if !self.may(Right::Pull, name) {
            return Err(unknown());
        }
        self.vouch(name, &asked.request, (Method::Head, &alloc::format!("manifests/{reference}")), unknown).await?;
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => {
                let (key, [value]) = (keys::tag(name, tag), self.get([keys::tag(name, tag)]).await?);
                read::<TagRecord>(&key, value).ok_or_else(unknown)?.digest
            }
        };
        let pulled_key = keys::pulled_manifest(name, &digest);
        let keys = [keys::manifest(name, &digest), keys::payload(name, &digest), pulled_key.clone()];
        let [manifest, payload, pulled] = self.get(keys).await?;
        let manifest = sound_manifest(name, &digest, manifest).ok_or_else(unknown)?.record;
        let payload = payload.ok_or_else(unknown)?;
        // Of one that is larger than manifests are by default, what is in it is not told.
        let outline = if payload.len() as u64 <= BROWSE_BYTES { Outline::read(&payload) } else { Outline::default() };
        let is_list = ManifestType::named(&manifest.media_type).is_some_and(ManifestType::is_list);
        let kind = outline.kind(&manifest.media_type);
        let bytes = if is_list { None } else { outline.bytes() };
        let config = self.config_of(name, &outline).await?;
        let pulled = read::<PulledRecord>(&pulled_key, pulled);
        let referrers = self.referrers_of(name, &digest).await?;
        let signature = alloc::format!("{}.sig", digest.to_string().replace(':', "-"));
        let signature = signature.parse::<Tag>().map(|tag| keys::tag(name, &tag));
        let by_tag = match signature {
            Ok(key) => self.get([key]).await?[0].is_some(),
            Err(_) => false,
        };
        let marks = self.marks().await?;
        let marked = match reference {
            Reference::Tag(tag) => marks.tag(name, tag).is_err(),
            Reference::Digest(_) => false,
        };
        let listed_by = self.lists_of(name, &digest).await?;
        let mut known = Manifests::default();
        let children = outline.manifests.iter().map(|child| child.digest).take(BROWSE_CHILDREN.0);
        self.know(name, &mut known, children.collect()).await?;
        let Outline { artifact_type, layers, manifests, annotations, config: config_descriptor } = outline;
        Ok(answer(&Image {
            repository: name.clone(),
            digest,
            kind,
            media_type: manifest.media_type,
            artifact_type,
            size: manifest.size,
            bytes,
            pushed: manifest.pushed.rfc3339(),
            imported: manifest.imported.map(|imported| imported.rfc3339()),
            pulls: pulled.as_ref().map(|noted| noted.times).filter(|times| *times > 0),
            pulled_by: pulled.as_ref().map_or_else(Vec::new, |noted| self.pullers(name, noted)),
            pulled: pulled.map(|noted| noted.pulled.rfc3339()),
            annotations,
            subject: manifest.subject,
            tags: self.names_under(&keys::tagged_with(name, &digest)).await?,
            listed_by,
            manifests: manifests.into_iter().map(|child| Child::of(child, &known)).collect(),
            layers: outline::layers(layers, config.as_ref()),
            config_descriptor,
            config,
            signed: by_tag || referrers.iter().any(|referrer| referrer.kind == Kind::Signature),
            referrers,
            protected: marked || marks.manifest(name, &digest).is_err(),
            may: self.deeds(name),
        }))
    }

    /// The config of an image, if it is here and reads.
    async fn config_of(&self, name: &Repository, outline: &Outline) -> Result<Option<Json>, Error> {
        let Some(config) = outline.config.as_ref().filter(|config| is_json(&config.media_type)) else {
            return Ok(None);
        };
        let [link, blob] = self.get([keys::link(name, &config.digest), keys::blob(&config.digest)]).await?;
        let (Some(_), Some(blob)) = (link, sound_blob(&config.digest, blob)) else { return Ok(None) };
        let bytes = self.load(&blob.record.extents, BROWSE_CONFIG).await?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// What refers to a manifest, as far as it is here.
    async fn referrers_of(&self, name: &Repository, subject: &Digest) -> Result<Vec<Referrer>, Error> {
        let prefix = keys::referrers(name, subject);
        let scan = Scan { prefix, after: None, limit: BROWSED.1, bytes: usize::MAX };
        let entries = self.ask(scan).await?;
        let read = entries.iter().filter_map(|(key, value)| record::decode::<Descriptor>(key, value).ok());
        let referrer = |Descriptor { digest, size, artifact_type, annotations, .. }: Descriptor| Referrer {
            kind: artifact_type.as_deref().and_then(Kind::of_type).unwrap_or(Kind::Artifact),
            digest,
            artifact_type,
            size,
            annotations,
        };
        Ok(read.map(referrer).collect())
    }

    /// The indexes that list a manifest, but for those that the registry has made itself.
    async fn lists_of(&self, name: &Repository, digest: &Digest) -> Result<Vec<Digest>, Error> {
        let lists = self.names_under(&keys::users(name, digest)).await?;
        let lists: Vec<Digest> = lists.iter().filter_map(|list| list.parse().ok()).collect();
        let records = self.ask(Get { keys: lists.iter().map(|list| keys::manifest(name, list)).collect() }).await?;
        let pushed = |(list, value): (Digest, _)| {
            let found = sound_manifest(name, &list, value)?;
            (!found.record.maintained).then_some(list)
        };
        Ok(lists.into_iter().zip(records).filter_map(pushed).collect())
    }

    /// What the first keys under a prefix name.
    async fn names_under(&self, prefix: &Prefix) -> Result<Vec<String>, Error> {
        let scan = Scan { prefix: prefix.clone(), after: None, limit: BROWSED.1, bytes: usize::MAX };
        Ok(self.ask(scan).await?.iter().map(|(key, _)| prefix.rest(key).into()).collect())
    }
}

impl Child {
    fn of(part: Part, known: &Manifests) -> Self {
        let bytes = known.bytes_of(&part.digest);
        let Part { media_type, digest, size, artifact_type, annotations, platform } = part;
        let platform = platform.as_ref().and_then(platform_name);
        Self { digest, media_type, size, bytes, platform, artifact_type, annotations }
    }
}

/// Whether a config is JSON by its type. That of an artifact without one is an empty object.
fn is_json(media_type: &str) -> bool {
    media_type.ends_with("+json") && media_type != "application/vnd.oci.empty.v1+json"
}
