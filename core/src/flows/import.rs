//! What another registry has kept becomes records here (SPEC Y1–Y14): blobs whose bytes are at rest, manifests, tags.
//!
//! Each call takes a page: first blobs, then the manifests that need them, then the tags that name these. It reads, and
//! commits with what was read as the expectation, as a push does; so a push, a delete or a collection at the same moment
//! is seen, and what a client has pushed is never overwritten. A crash leaves objects that no record names, blobs that no
//! manifest needs, or manifests without their tags. The same page again goes on from there.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Call;
use super::batch::{Batch, Found};
use super::maintained::{Pushed, TagState};
use super::mirror::{Voucher, content};
use super::push::Before;
use super::quarantine::sound_manifest;
use crate::config::ATTEMPTS;
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Get, Value};
use crate::error::Error;
use crate::keys::{self, Key};
use crate::manifest::{Manifest, Need, Platform};
use crate::media::ManifestType;
use crate::name::Repository;
use crate::object::ObjectId;
use crate::record::{self, BlobRecord, Extent, ManifestRecord, Owner, TagRecord};
use crate::takeover::{
    Held, ImagePlatform, KeptTag, Layer, LayersTaken, ManifestsTaken, Presence, Revision, Tagged, TagsTaken,
};

/// What of a repository is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Its blobs.
    Blobs,
    /// Its manifests.
    Manifests,
}

/// Some of what a repository holds, or of what is damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// It, in order.
    pub digests: Vec<Digest>,
    /// Where the rest begins, if there may be more.
    pub after: Option<Key>,
}

impl Call {
    /// What a repository holds already, behind a key.
    pub(crate) async fn holdings(
        &self,
        name: &Repository,
        family: Family,
        after: Option<Key>,
    ) -> Result<Holdings, Error> {
        let prefix = match family {
            Family::Blobs => keys::links(name),
            Family::Manifests => keys::manifests(name),
        };
        let page = self.scan(&prefix, after).await?;
        let after = page.last().map(|(key, _)| key.clone());
        let digest = |(key, value): &(Key, Value)| {
            let digest = prefix.rest(key).parse().ok()?;
            // What is damaged is to be brought again.
            let held = family == Family::Blobs || sound_manifest(name, &digest, Some(value.clone())).is_some();
            held.then_some(digest)
        };
        Ok(Holdings { digests: page.iter().filter_map(digest).collect(), after })
    }

    /// Blobs that are damaged, behind a key: those that [hashed bytes](Self::adopt_blobs) would mend.
    pub(crate) async fn quarantined(&self, after: Option<Key>) -> Result<Holdings, Error> {
        let prefix = keys::quarantine();
        let page = self.scan(&prefix, after).await?;
        let after = page.last().map(|(key, _)| key.clone());
        // Manifests stand there too, by their repositories.
        Ok(Holdings { digests: page.iter().filter_map(|(key, _)| prefix.rest(key).parse().ok()).collect(), after })
    }

    /// Which of these blobs there are.
    pub(crate) async fn present(&self, digests: &[Digest]) -> Result<Vec<Presence>, Error> {
        let values = self.ask(Get { keys: digests.iter().map(keys::blob).collect() }).await?;
        let presence = |(digest, value): (&Digest, &Option<Value>)| match value {
            None => Presence::Absent,
            Some(value) => match record::decode::<BlobRecord>(&keys::blob(digest), value) {
                Ok(BlobRecord { quarantined: Some(_), .. }) => Presence::Damaged,
                // One that does not read is not for an import to mend.
                Ok(_) | Err(_) => Presence::Here,
            },
        };
        Ok(digests.iter().zip(&values).map(presence).collect())
    }

    /// Takes blobs over (SPEC Y1–Y3): the bytes of those that are new are at rest in their objects.
    ///
    /// Each is expected to be as it was read, so that none is named that a collection takes at the same moment. An object
    /// that turns out not to be needed is erased once that is committed.
    pub(crate) async fn adopt_blobs(&self, layers: &[Layer]) -> Result<LayersTaken, Error> {
        for _ in 0..ATTEMPTS {
            let Taking { batch, taken, superfluous } = self.taking(layers).await?;
            if batch.is_empty() || self.commit(batch, Durability::Durable).await? == Committed::Done {
                self.erase_later(superfluous);
                return Ok(taken);
            }
        }
        Err(Error::Contention)
    }

    async fn taking(&self, layers: &[Layer]) -> Result<Taking, Error> {
        let repositories: BTreeSet<&Repository> = layers.iter().map(|layer| &layer.repository).collect();
        let keys = layers.iter().flat_map(|l| [keys::blob(&l.digest), keys::link(&l.repository, &l.digest)]);
        let keys = keys.chain(repositories.iter().map(|name| keys::repository(name))).collect();
        let mut values = self.ask(Get { keys }).await?.into_iter();
        let mut taking = Taking::default();
        let (mut made, mut linked) = (BTreeMap::new(), BTreeSet::new());
        let mut used = BTreeSet::new();
        for layer in layers {
            let (blob, link) = (values.next().flatten(), values.next().flatten());
            let key = keys::blob(&layer.digest);
            let known: Option<Found<BlobRecord>> = match Found::read(key.clone(), blob) {
                Ok(known) => known,
                Err(error) => {
                    taking.taken.damaged.push(alloc::format!("{error:?}"));
                    taking.superfluous.extend(layer.object);
                    continue;
                }
            };
            let names = |object: &ObjectId| {
                known.iter().any(|found| found.record.extents.iter().any(|extent| extent.object == *object))
            };
            let heals = layer.verified && known.as_ref().is_some_and(|found| found.record.quarantined.is_some());
            let size = match (made.get(&layer.digest).copied(), &known) {
                (Some(size), _) => size,
                (None, Some(found)) if !heals => {
                    if link.is_none() {
                        taking.batch.expect(found.unchanged());
                    }
                    found.record.size
                }
                (None, known) => {
                    if layer.object.is_none() && layer.size > 0 {
                        taking.taken.again.push(layer.clone());
                        continue;
                    }
                    self.make_blob(&mut taking, layer, known.as_ref()).await?;
                    made.insert(layer.digest, layer.size);
                    used.extend(layer.object);
                    layer.size
                }
            };
            taking.superfluous.extend(layer.object.filter(|object| !used.contains(object) && !names(object)));
            if size != layer.size {
                taking.taken.differing.push((layer.digest, size));
            }
            if link.is_none() && linked.insert((&layer.repository, layer.digest)) {
                self.link(&mut taking.batch, &layer.repository, &layer.digest, size, None);
                taking.taken.links += 1;
            }
        }
        let changed: BTreeSet<&Repository> = linked.into_iter().map(|(name, _)| name).collect();
        for (name, value) in repositories.into_iter().zip(values) {
            if changed.contains(name) {
                taking.batch.keep_repository(name, value.as_ref(), &self.ambient);
            }
        }
        taking.batch.in_order();
        Ok(taking)
    }

    /// The blob has these bytes from now on. Those of one that was damaged are let go of, and it is out of quarantine.
    async fn make_blob(
        &self,
        taking: &mut Taking,
        layer: &Layer,
        damaged: Option<&Found<BlobRecord>>,
    ) -> Result<(), Error> {
        let Taking { batch, taken, superfluous } = taking;
        let key = keys::blob(&layer.digest);
        batch.expect_unchanged(key.clone(), damaged);
        if let Some(Found { value, .. }) = damaged {
            superfluous.extend(self.replace_blob(batch, &layer.digest, value, self.ambient.now).await?);
        }
        let extent = layer.object.map(|object| Extent { object, size: layer.size, small: false });
        let sound = BlobRecord::sound(layer.size, extent.into_iter().collect());
        batch.put(key, &BlobRecord { unverified: !layer.verified, ..sound });
        if let Some(object) = &layer.object {
            batch.put(keys::object(object), &Owner::Blob(layer.digest));
        }
        taken.blobs += 1;
        taken.bytes += layer.size;
        Ok(())
    }

    /// Takes manifests over (SPEC Y4–Y7), whether or not all that they need is there. What is there is expected to stay.
    pub(crate) async fn adopt_manifests(&self, manifests: &[Held]) -> Result<ManifestsTaken, Error> {
        for _ in 0..ATTEMPTS {
            let (batch, taken) = self.holding(manifests).await?;
            if batch.is_empty() || self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(taken);
            }
        }
        Err(Error::Contention)
    }

    async fn holding(&self, manifests: &[Held]) -> Result<(Batch, ManifestsTaken), Error> {
        let repositories: BTreeSet<&Repository> = manifests.iter().map(|held| &held.repository).collect();
        let keys = manifests.iter().map(|held| keys::manifest(&held.repository, &held.revision.digest));
        let deleted = manifests.iter().map(|held| keys::deleted(&held.repository, &held.revision.digest));
        let keys = keys.chain(deleted).chain(repositories.iter().map(|name| keys::repository(name)));
        let keys = keys.chain(manifests.iter().flat_map(needed)).collect();
        let mut values = self.ask(Get { keys }).await?.into_iter();
        let mut known: Vec<_> = values.by_ref().take(manifests.len()).collect();
        let deleted: Vec<_> = values.by_ref().take(manifests.len()).collect();
        let created: Vec<_> = values.by_ref().take(repositories.len()).collect();
        let (mut batch, mut taken) = (Batch::default(), ManifestsTaken::default());
        let (mut seen, mut changed) = (BTreeSet::new(), BTreeSet::new());
        for ((held, value), deleted) in manifests.iter().zip(&mut known).zip(deleted) {
            let Held { repository: name, revision, pushed } = held;
            let Revision { digest, manifest, payload, .. } = revision;
            let present = present(held, &mut values);
            if !seen.insert((name, *digest)) {
                continue;
            }
            let key = keys::manifest(name, digest);
            match Found::<ManifestRecord>::read(key.clone(), value.take()) {
                Ok(None) => {
                    self.rely_on(&mut batch, name, &present).await?;
                    let before = Before::read(None, deleted.as_ref());
                    let (bytes, content) = ((digest, manifest, payload), content(manifest, &present));
                    let record = self.hold_manifest(&mut batch, name, bytes, &before, false, content);
                    let imported = Some(self.ambient.now);
                    replace(&mut batch, &key, &ManifestRecord { pushed: *pushed, imported, ..record });
                    taken.manifests += 1;
                    taken.bytes += payload.len() as u64;
                    changed.insert(name);
                }
                // Its bytes are those of its digest: it is as if it were pushed again (SPEC W5).
                Ok(Some(found)) if found.record.quarantined.is_some() => {
                    self.rely_on(&mut batch, name, &present).await?;
                    batch.expect(found.unchanged());
                    let (bytes, content) = ((digest, manifest, payload), content(manifest, &present));
                    let ManifestRecord { pushed, imported, fetched, .. } = found.record;
                    let record = self.hold_manifest(&mut batch, name, bytes, &Before::Held, fetched, content);
                    replace(&mut batch, &key, &ManifestRecord { pushed, imported, ..record });
                    taken.manifests += 1;
                    taken.bytes += payload.len() as u64;
                }
                // The registry made the same list itself: now somebody has pushed it.
                Ok(Some(found)) if found.record.maintained => {
                    batch.expect(found.unchanged());
                    batch.put(key, &ManifestRecord { maintained: false, by: self.ambient.nonce, ..found.record });
                }
                Ok(Some(_)) => {}
                Err(error) => taken.damaged.push(alloc::format!("{error:?}")),
            }
        }
        for (name, value) in repositories.into_iter().zip(created) {
            if changed.contains(name) {
                batch.keep_repository(name, value.as_ref(), &self.ambient);
            }
        }
        batch.in_order();
        Ok((batch, taken))
    }

    /// Takes tags over (SPEC Y8–Y11). One that was pushed here to another manifest stays. With `dry_run` nothing is
    /// changed, and manifests are not looked for: they may be about to be taken over. Tags of one manifest are taken one
    /// after the other, each by a commit of its own; all others together.
    pub(crate) async fn adopt_tags(&self, tags: &[Tagged], dry_run: bool) -> Result<TagsTaken, Error> {
        let mut taken = TagsTaken::default();
        let mut waiting: Vec<&Tagged> = tags.iter().collect();
        let mut attempts = 0;
        while !waiting.is_empty() && attempts < ATTEMPTS {
            // Of tags that name one manifest, each commit takes one: they change the same records.
            let mut names = BTreeSet::new();
            let (round, rest): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|tagged| names.insert((&tagged.repository, tagged.digest)));
            let Round { batch, taken: more, later } = self.tag_round(&round, dry_run).await?;
            let done = batch.is_empty() || self.commit(batch, Durability::Durable).await? == Committed::Done;
            if done {
                taken.add(more);
                attempts = 0;
            } else {
                attempts += 1;
            }
            waiting = if done { later } else { round };
            waiting.extend(rest);
        }
        if !waiting.is_empty() {
            return Err(Error::Contention);
        }
        Ok(taken)
    }

    async fn tag_round<'t>(&self, round: &[&'t Tagged], dry_run: bool) -> Result<Round<'t>, Error> {
        let keys = round.iter().flat_map(|tagged| {
            let [tag, platforms] = TagState::keys(&tagged.repository, &tagged.tag);
            [tag, platforms, keys::manifest(&tagged.repository, &tagged.digest)]
        });
        let mut values = self.ask(Get { keys: keys.collect() }).await?.into_iter();
        let mut made = Round::default();
        let mut written: BTreeSet<Key> = BTreeSet::new();
        for tagged in round.iter().copied() {
            let mut next = || values.next().flatten();
            let (state, manifest) = ([next(), next()], next());
            let step = match self.tag_step(tagged, state, manifest, dry_run).await {
                Ok(step) => step,
                Err(Error::Storage(fault)) => return Err(Error::Storage(fault)),
                Err(error) => {
                    made.taken.damaged.push(alloc::format!("{}:{}: {error:?}", tagged.repository, tagged.tag));
                    continue;
                }
            };
            let Some((batch, moved)) = step.change(&mut made.taken, tagged) else { continue };
            let touches = |key: &Key| written.contains(key);
            let expects = batch.expect.iter().any(|expect| match expect {
                Expect::Absent(key) | Expect::Present(key) | Expect::Exactly(key, _) => touches(key),
                Expect::NoneUnder(_) => false,
            });
            if expects || batch.put.iter().any(|(key, _)| touches(key)) || batch.delete.iter().any(touches) {
                made.later.push(tagged);
                continue;
            }
            written.extend(batch.put.iter().map(|(key, _)| key.clone()).chain(batch.delete.iter().cloned()));
            made.batch.merge(batch);
            *(if moved { &mut made.taken.moved } else { &mut made.taken.made }) += 1;
        }
        Ok(made)
    }

    /// What is to become of one tag.
    async fn tag_step(
        &self,
        tagged: &Tagged,
        state: [Option<Value>; 2],
        manifest: Option<Value>,
        dry_run: bool,
    ) -> Result<TagStep, Error> {
        let Tagged { repository: name, tag, digest, pushed, platform } = tagged;
        let state = TagState::read(name, tag, state);
        match &state.record {
            Some(found) if found.record.digest == *digest => return Ok(TagStep::Same),
            Some(found) if found.record.imported.is_none() => return Ok(TagStep::Kept(found.record.digest)),
            _ => {}
        }
        let moved = state.record.is_some();
        if dry_run {
            return Ok(TagStep::Change(Batch::default(), moved));
        }
        let key = keys::manifest(name, digest);
        let Some(found): Option<Found<ManifestRecord>> = Found::read(key.clone(), manifest)? else {
            return Ok(TagStep::NoManifest);
        };
        let Some(media_type) = ManifestType::named(&found.record.media_type) else { return Ok(TagStep::NoManifest) };
        let platform = match platform {
            ImagePlatform::Read(platform) => platform.clone().map(|known| known.0),
            ImagePlatform::Unread => self.platform_of(name, digest, media_type).await?,
        };
        let mut batch = Batch::default();
        batch.expect(found.unchanged());
        // Whoever points a tag at a manifest writes its record anew: a delete that has not seen the tag notices.
        batch.put(key, &ManifestRecord { by: self.ambient.nonce, ..found.record.clone() });
        let size = found.record.size;
        let platform = platform.as_ref();
        let what = Pushed { digest: *digest, media_type, size, platform };
        self.tag_pushed(&mut batch, name, &state, &what).await?;
        let key = keys::tag(name, tag);
        let record = batch.put.iter().find(|(at, _)| *at == key).map(|(_, value)| value.clone());
        if let Some(record) = Found::<TagRecord>::read(key.clone(), record)? {
            let imported = Some(self.ambient.now);
            replace(&mut batch, &key, &TagRecord { pushed: *pushed, imported, ..record.record });
        }
        Ok(TagStep::Change(batch, moved))
    }

    /// The platform of an image that was taken over before.
    async fn platform_of(
        &self,
        name: &Repository,
        digest: &Digest,
        media_type: ManifestType,
    ) -> Result<Option<Platform>, Error> {
        let [payload] = self.get([keys::payload(name, digest)]).await?;
        let manifest = payload.and_then(|payload| Manifest::parse(&payload, Some(media_type.as_str())).ok());
        match manifest {
            Some(manifest) => self.platform(name, &manifest).await,
            None => Ok(None),
        }
    }
}

/// The keys of the records that would say that a repository has what a manifest needs.
fn needed(held: &Held) -> impl Iterator<Item = Key> {
    let name = &held.repository;
    held.revision.manifest.needs.iter().flat_map(move |(digest, need)| {
        let child = (*need == Need::Child).then(|| keys::manifest(name, digest));
        [keys::link(name, digest)].into_iter().chain(child)
    })
}

/// What of that is there, of the values of [these keys](needed).
fn present(held: &Held, values: &mut impl Iterator<Item = Option<Value>>) -> Vec<Voucher> {
    let name = &held.repository;
    let mut present = Vec::new();
    for (digest, need) in &held.revision.manifest.needs {
        let link = values.next().flatten();
        let child = if *need == Need::Child { values.next().flatten() } else { None };
        let child = child.map(|value| Voucher::of_manifest(name, *digest, value));
        present.extend(child.or_else(|| link.map(|value| Voucher::of_blob(name, *digest, value))));
    }
    present
}

/// A page of blobs that is about to be committed.
#[derive(Default)]
struct Taking {
    batch: Batch,
    taken: LayersTaken,
    superfluous: Vec<ObjectId>,
}

/// Some tags that are about to be committed together.
#[derive(Default)]
struct Round<'t> {
    batch: Batch,
    taken: TagsTaken,
    /// Those that have to wait until it is done.
    later: Vec<&'t Tagged>,
}

/// What becomes of a tag.
enum TagStep {
    Same,
    Kept(Digest),
    NoManifest,
    /// This makes it, or moves it.
    Change(Batch, bool),
}

impl TagStep {
    /// The change, if there is one; all else is counted.
    fn change(self, taken: &mut TagsTaken, tagged: &Tagged) -> Option<(Batch, bool)> {
        let Tagged { repository, tag, digest, .. } = tagged;
        let (repository, tag) = (repository.clone(), tag.clone());
        match self {
            Self::Change(batch, moved) => return Some((batch, moved)),
            Self::Same => taken.same += 1,
            Self::Kept(here) => taken.kept.push(KeptTag { repository, tag, here, there: *digest }),
            Self::NoManifest => taken.without_manifest.push((repository, tag, *digest)),
        }
        None
    }
}

impl TagsTaken {
    fn add(&mut self, more: Self) {
        let Self { made, moved, same, kept, without_manifest, damaged } = more;
        self.made += made;
        self.moved += moved;
        self.same += same;
        self.kept.extend(kept);
        self.without_manifest.extend(without_manifest);
        self.damaged.extend(damaged);
    }
}

/// Puts another record under a key that the batch puts one under.
fn replace<T: serde::Serialize>(batch: &mut Batch, key: &Key, record: &T) {
    let place = batch.put.iter_mut().find(|(at, _)| at == key);
    place.into_iter().for_each(|(_, value)| *value = record::encode(record));
}
