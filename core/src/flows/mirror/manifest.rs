//! Manifests and tags of a mirror.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Route, accepted, content, refused};
use crate::ambient::Timestamp;
use crate::conditional;
use crate::config::{ATTEMPTS, CHECKED_COARSELY};
use crate::digest::{Algorithm, Digest};
use crate::effect::{Committed, Durability, Expect, Fault, Value};
use crate::error::Error;
use crate::flows::Call;
use crate::flows::batch::{Batch, Found};
use crate::flows::blob::said;
use crate::flows::maintained::TagState;
use crate::flows::push::Before;
use crate::flows::quarantine::sound_manifest;
use crate::http::{Method, Response};
use crate::keys;
use crate::manifest::Manifest;
use crate::media::ManifestType;
use crate::mirror::{Answer, Freshness, Unmet};
use crate::name::{Repository, Tag};
use crate::record::{ManifestRecord, MirroredRecord, PlatformsRecord, TagRecord};
use crate::target::Reference;

/// How an answer of a mirror came about: the value of `X-Cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flows) enum Cached {
    /// It was here.
    Hit,
    /// It was fetched.
    Miss,
    /// It was here, and the upstream could not be asked whether it still holds.
    Stale,
}

impl Cached {
    pub(in crate::flows) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Stale => "STALE",
        }
    }
}

/// A tag that is to name what its upstream has under it.
#[derive(Clone, Copy)]
struct Pointed<'k> {
    tag: &'k Tag,
    /// The tag as it was before the upstream was asked. If it is another one now, nobody can say which of two answers is
    /// the newer: then the upstream is asked again.
    before: Option<&'k Known>,
}

/// What became of a manifest that an upstream has, and of the tag that was to name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brought {
    /// It is here, and the tag names it.
    Here,
    /// Another call has changed the tag meanwhile.
    Overtaken,
}

impl Pointed<'_> {
    fn is_unchanged(&self, state: &TagState) -> bool {
        let before = self.before.map(|known| &known.tag.value);
        before == state.record.as_ref().map(|found| &found.value)
    }
}

/// A tag of a mirror as it was read.
pub(super) struct Known {
    tag: Found<TagRecord>,
    /// What its upstream said of it; nothing when it was pushed here.
    pub(super) mirrored: Option<Found<MirroredRecord>>,
    /// Whether the repository has the manifest that it names.
    whole: bool,
}

impl Known {
    /// When the upstream last said where the tag is.
    fn checked(&self) -> Timestamp {
        self.mirrored.as_ref().map_or(self.tag.record.pushed, |mirrored| mirrored.record.checked)
    }
}

impl Call {
    /// Brings a manifest into the repository, whole and as its digest says, unless it is for a platform that the mirror
    /// is not there for.
    pub(in crate::flows) async fn bring_manifest(&self, route: &Route<'_>, digest: &Digest) -> Result<(), Error> {
        if let Some(platform) = self.other_platform(route, digest).await? {
            return Err(Error::OtherPlatform(*digest, platform));
        }
        self.bring(route, digest, None)
            .await?
            .map(drop)
            .map_err(|unmet| refused(unmet, Error::ManifestUnknown(digest.to_string())))
    }

    /// Sees to it that a tag is where its upstream has it, as far as that can be known now.
    pub(in crate::flows) async fn freshen(&self, route: &Route<'_>, tag: &Tag) -> Result<Cached, Error> {
        for _ in 0..ATTEMPTS {
            if let Some(cached) = self.look_up(route, tag).await? {
                return Ok(cached);
            }
        }
        Err(Error::Contention)
    }

    /// The same once; nothing when another call has changed the tag meanwhile.
    async fn look_up(&self, route: &Route<'_>, tag: &Tag) -> Result<Option<Cached>, Error> {
        let name = route.name;
        let Some(known) = self.known(name, tag).await? else {
            // With nothing to compare, one request is enough.
            let unknown = |unmet| refused(unmet, Error::ManifestUnknown(tag.to_string()));
            let pointed = Pointed { tag, before: None };
            let brought = self.bring_tag(route, pointed).await?.map_err(unknown)?;
            return Ok((brought == Brought::Here).then_some(Cached::Miss));
        };
        let Some(mirrored) = &known.mirrored else {
            // It was pushed here, while this was no mirror: no upstream can give it back.
            return Ok(Some(Cached::Hit));
        };
        let since = self.ambient.now.since(known.checked());
        let gone = mirrored.record.gone;
        if known.whole && gone.is_none() && route.mirror.is_fresh(tag, since) {
            return Ok(Some(Cached::Hit));
        }
        let pointed = Pointed { tag, before: Some(&known) };
        let unmet = match self.inquire(route, Method::Head, &resource(tag), &accepted(), 0).await? {
            Ok(Answer { digest: Some(there), .. }) if known.whole && there == known.tag.record.digest => {
                self.note_checked(route, tag, &known, None).await;
                return Ok(Some(Cached::Hit));
            }
            // It has the tag. That what the tag names cannot be had is a failure, whatever it says.
            Ok(Answer { digest: Some(there), .. }) => self.bring(route, &there, Some(pointed)).await.map(has_tag),
            Ok(Answer { digest: None, .. }) => self.bring_tag(route, pointed).await.map(has_tag),
            Err(unmet) => Ok(Err(unmet)),
        };
        let unmet = match unmet {
            Ok(Ok(brought)) => return Ok((brought == Brought::Here).then_some(Cached::Miss)),
            Ok(Err(unmet)) => unmet,
            // There is no room for where it is now.
            Err(Error::Storage(Fault::Full(_))) if known.whole => return Ok(Some(Cached::Stale)),
            Err(error) => return Err(error),
        };
        let unknown = || Error::ManifestUnknown(tag.to_string());
        if !known.whole {
            return Err(refused(unmet, unknown()));
        }
        if !unmet.is_absence() {
            return if since < route.mirror.stale { Ok(Some(Cached::Stale)) } else { Err(refused(unmet, unknown())) };
        }
        // A registry that is being restored may not have for a moment what it had and will have.
        let first = gone.unwrap_or(self.ambient.now);
        if self.ambient.now.since(first) < route.mirror.gone {
            self.note_checked(route, tag, &known, Some(first)).await;
            return Ok(Some(Cached::Stale));
        }
        if self.forget_tag(name, pointed).await? { Err(unknown()) } else { Ok(None) }
    }

    pub(super) async fn known(&self, name: &Repository, tag: &Tag) -> Result<Option<Known>, Error> {
        let (tag_key, mirrored_key) = (keys::tag(name, tag), keys::mirrored(name, tag));
        let [tag, mirrored] = self.get([tag_key.clone(), mirrored_key.clone()]).await?;
        // What does not read is looked up as if it had never been here.
        let Ok(Some(tag)) = Found::<TagRecord>::read(tag_key, tag) else { return Ok(None) };
        let mirrored = Found::<MirroredRecord>::read(mirrored_key, mirrored).unwrap_or_default();
        let mirrored = mirrored.filter(|mirrored| mirrored.record.by == tag.record.by);
        let [manifest] = self.get([keys::manifest(name, &tag.record.digest)]).await?;
        let whole = sound_manifest(name, &tag.record.digest, manifest).is_some();
        Ok(Some(Known { tag, mirrored, whole }))
    }

    /// Brings what the upstream has under a tag, and the tag.
    async fn bring_tag(&self, route: &Route<'_>, pointed: Pointed<'_>) -> Result<Result<Brought, Unmet>, Error> {
        let limit = self.config.manifest_limit;
        let answer = match self.inquire(route, Method::Get, &resource(pointed.tag), &accepted(), limit).await? {
            Ok(answer) => answer,
            Err(unmet) => return Ok(Err(unmet)),
        };
        let digest = answer.digest.unwrap_or_else(|| Algorithm::Sha256.digest(&answer.body));
        self.keep_manifest(route, answer, &digest, Some(pointed)).await
    }

    /// Brings the manifest of a digest, if it is not here, and points a tag at it.
    async fn bring(
        &self,
        route: &Route<'_>,
        digest: &Digest,
        pointed: Option<Pointed<'_>>,
    ) -> Result<Result<Brought, Unmet>, Error> {
        if pointed.is_some() {
            let keys = [keys::manifest(route.name, digest), keys::payload(route.name, digest)];
            let [manifest, payload] = self.get(keys).await?;
            if let (Some(manifest), Some(body)) = (sound_manifest(route.name, digest, manifest), payload) {
                let answer = Answer {
                    media_type: Some(manifest.record.media_type),
                    digest: Some(*digest),
                    length: None,
                    next: None,
                    body,
                };
                return self.keep_manifest(route, answer, digest, pointed).await;
            }
        }
        let limit = self.config.manifest_limit;
        match self.inquire(route, Method::Get, &format!("manifests/{digest}"), &accepted(), limit).await? {
            Ok(answer) => self.keep_manifest(route, answer, digest, pointed).await,
            Err(unmet) => Ok(Err(unmet)),
        }
    }

    /// A manifest that there is no room to keep, as the upstream sends it.
    pub(in crate::flows) async fn pass_on(&self, route: &Route<'_>, reference: &Reference) -> Result<Response, Error> {
        let (resource, limit) = (format!("manifests/{reference}"), self.config.manifest_limit);
        let answer = self.inquire(route, Method::Get, &resource, &accepted(), limit).await?;
        let answer = answer.map_err(|unmet| refused(unmet, Error::ManifestUnknown(reference.to_string())))?;
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(_) => answer.digest.unwrap_or_else(|| Algorithm::Sha256.digest(&answer.body)),
        };
        let manifest = judged(route.name, &answer, &digest)?;
        let response = conditional::identified(200, &digest).with_bytes(manifest.media_type.as_str(), answer.body);
        Ok(said(response, Some(Cached::Miss)))
    }

    /// Keeps a manifest that an upstream has sent, if it is what its digest says, and lets the tag name it. What it needs
    /// comes when a client wants it.
    async fn keep_manifest(
        &self,
        route: &Route<'_>,
        answer: Answer,
        digest: &Digest,
        pointed: Option<Pointed<'_>>,
    ) -> Result<Result<Brought, Unmet>, Error> {
        let name = route.name;
        let manifest = match judged(name, &answer, digest) {
            Ok(manifest) => manifest,
            Err(Error::UpstreamFailed(reason)) => return Ok(Err(Unmet::Failed(reason))),
            Err(error) => return Err(error),
        };
        let body = answer.body;
        for _ in 0..ATTEMPTS {
            let mut batch = self.batch_of(name, &manifest, &body, digest).await?;
            if let Some(pointed) = pointed {
                let state = self.tag_state(name, pointed.tag).await?;
                if !pointed.is_unchanged(&state) {
                    let same = state.record.is_some_and(|found| found.record.digest == *digest);
                    return Ok(Ok(if same { Brought::Here } else { Brought::Overtaken }));
                }
                let alone = PlatformsRecord { list: None, images: Vec::new() };
                self.change_tag(&mut batch, name, &state, Some((*digest, alone)), None);
                let now = MirroredRecord { by: self.ambient.nonce, checked: self.ambient.now, gone: None };
                batch.put(keys::mirrored(name, pointed.tag), &now);
            }
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(Ok(Brought::Here));
            }
        }
        Err(Error::Contention)
    }

    /// The change that makes the manifest one of the repository. Unlike a push, it expects nothing of what the manifest
    /// needs, tells nobody, and starts no list of platforms.
    async fn batch_of(
        &self,
        name: &Repository,
        manifest: &Manifest,
        body: &Value,
        digest: &Digest,
    ) -> Result<Batch, Error> {
        let key = keys::manifest(name, digest);
        let [repository, known, deleted] =
            self.get([keys::repository(name), key.clone(), keys::deleted(name, digest)]).await?;
        let mut batch = Batch::default();
        batch.keep_repository(name, repository.as_ref(), &self.ambient);
        // What was pushed while this was no mirror stays what was pushed, also when that is just now. A record that does
        // not read is written anew.
        known.iter().for_each(|known| batch.expect(Expect::Exactly(key.clone(), known.clone())));
        let pushed =
            |known: &Value| crate::record::decode::<ManifestRecord>(&key, known).is_ok_and(|known| !known.fetched);
        let fetched = !known.as_ref().is_some_and(pushed);
        let before = Before::read(known.as_ref(), deleted.as_ref());
        self.hold_manifest(&mut batch, name, (digest, manifest, body), &before, fetched, content(manifest, &[]));
        Ok(batch)
    }

    /// Writes down that the upstream was asked where the tag is. A crash may lose that, and a full disk not take it: then
    /// it is asked again.
    async fn note_checked(&self, route: &Route<'_>, tag: &Tag, known: &Known, gone: Option<Timestamp>) {
        let now = self.ambient.now;
        let before = known.mirrored.as_ref().map(|found| found.record);
        let always = route.mirror.fresh == Freshness::For(Duration::ZERO);
        // What says that the upstream has it no more does not make the rest any fresher.
        let checked = if gone.is_some() { known.checked() } else { now };
        let recently = |before: MirroredRecord| now.since(before.checked) < CHECKED_COARSELY;
        if before.is_some_and(|before| before.gone == gone && (gone.is_some() || always && recently(before))) {
            return;
        }
        let mut batch = Batch::default();
        batch.expect_unchanged(keys::mirrored(route.name, tag), known.mirrored.as_ref());
        let by = known.tag.record.by;
        batch.put(keys::mirrored(route.name, tag), &MirroredRecord { by, checked, gone });
        // Another call has moved the tag or taken it away meanwhile, or was told something else: each changes this record.
        let _ = self.commit(batch, Durability::Eventual).await;
    }

    /// Takes a tag away that the upstream has not had for long enough. `false` when it is another one now.
    async fn forget_tag(&self, name: &Repository, pointed: Pointed<'_>) -> Result<bool, Error> {
        let state = self.tag_state(name, pointed.tag).await?;
        if !pointed.is_unchanged(&state) {
            return Ok(false);
        }
        let mut batch = Batch::reclaiming();
        // Another call may have been told that the upstream has it again.
        let mirrored = pointed.before.and_then(|known| known.mirrored.as_ref());
        batch.expect_unchanged(keys::mirrored(name, pointed.tag), mirrored);
        self.change_tag(&mut batch, name, &state, None, None);
        Ok(self.commit(batch, Durability::Eventual).await? == Committed::Done)
    }
}

/// What came of a tag that the upstream has: it is no answer that what the tag names is absent.
fn has_tag(brought: Result<Brought, Unmet>) -> Result<Brought, Unmet> {
    brought.map_err(|unmet| match unmet {
        Unmet::Absent | Unmet::Denied => Unmet::Failed("the upstream has the tag, and not what the tag names".into()),
        other => other,
    })
}

/// What an upstream has sent as a manifest, if it is that of the digest and such as could be pushed.
fn judged(name: &Repository, answer: &Answer, digest: &Digest) -> Result<Manifest, Error> {
    let failed = |reason: String| Error::UpstreamFailed(reason);
    if digest.algorithm().digest(&answer.body) != *digest {
        return Err(failed(format!("the upstream of {name} has sent something else as the manifest {digest}")));
    }
    // Registries out of plain files call everything by a type of no meaning.
    let told = answer.media_type.as_deref().filter(|told| ManifestType::named(told).is_some());
    Manifest::parse(&answer.body, told).map_err(|error| match error {
        Error::Manifest(reason) => {
            failed(format!("the upstream of {name} has sent {digest}, which is refused: {reason}"))
        }
        other => other,
    })
}

fn resource(tag: &Tag) -> String {
    format!("manifests/{tag}")
}
