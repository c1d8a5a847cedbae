//! One image, index or artifact moved from a source to a destination.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use orlop_core::digest::Digest;
use orlop_core::meter::Meter;
use tokio::time::sleep;

use super::manifest::{Parts, for_platform, is_list, keep_platforms, platforms_of};
use super::{Destination, Failed, Found, Reason, Role, Sink, Source, Writing};
use crate::remote::{Descriptor, Failure, Platform};

/// How many blobs move at once.
const AT_ONCE: usize = 4;

/// How often a blob that breaks off is gone on with before [`PROGRESS`] has come.
const RESUMED: u32 = 5;

/// How many bytes of a blob are progress: a source that sends a few and breaks off is not followed for ever.
const PROGRESS: u64 = 1 << 20;

/// How often a blob is gone on with at all.
const RESUMED_AT_ALL: u32 = 100;

/// How many manifests an image may have, with all that it is made of and that refers to it.
const MANIFESTS: usize = 10_000;

/// How many bytes these manifests may have: they are in memory until the last blob has moved.
const MANIFEST_BYTES: usize = 64 << 20;

/// What is copied from where to where.
pub struct Copying<'a> {
    /// Where it is.
    pub source: &'a dyn Source,
    /// Where it goes.
    pub destination: &'a dyn Destination,
    /// Of an index only the image for this platform.
    pub platform: Option<Platform>,
    /// If there are any, of an index only the images for these. The index itself is copied as it is, so its other images
    /// are missing at the destination.
    pub platforms: &'a [Platform],
    /// Whether what refers to the image (signatures, bills of material) goes along.
    pub referrers: bool,
    /// Whether the blobs of manifests that are at the destination are asked for too: a registry may have found some of them
    /// to be damaged. Else they are taken to be there.
    pub mends: bool,
    /// Whether nothing is written.
    pub dry_run: bool,
    /// Who wants to know how far it is.
    pub told: &'a dyn Told,
}

/// Is told how far a copy is.
pub trait Told: Send + Sync {
    /// How many blobs there are to move or to find, and how many bytes they have.
    fn planned(&self, blobs: usize, bytes: u64);
    /// Bytes of a blob have moved.
    fn moved(&self, bytes: u64);
    /// What became of a blob.
    fn done(&self, blob: &Descriptor, how: How);
}

/// How a blob came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was there.
    There,
    /// The registry has it from another repository.
    Mounted,
    /// Its bytes were moved.
    Copied,
    /// Its bytes would have been moved, if anything was to be written.
    Missing,
    /// It did not come.
    Failed,
}

/// What came of a copy.
#[derive(Debug)]
pub struct Copied {
    /// The manifest that was asked for.
    pub digest: Digest,
    /// How many manifests were written, or would have been.
    pub manifests: usize,
    /// How many blobs were moved, or would have been.
    pub blobs: usize,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many blobs were mounted.
    pub mounted: usize,
    /// How many blobs were there.
    pub there: usize,
    /// What did not come, and why: a line each.
    pub failures: Vec<String>,
    /// Why, without what is missing only because something else is.
    pub reasons: BTreeSet<Reason>,
    /// Of these failures the one that says most of what else may be copied: a login that is refused before a registry that
    /// does not answer, and that before what is about one content.
    pub worst: Option<Failure>,
}

impl Copied {
    /// Notes what did not come, and why.
    fn fails(&mut self, what: &str, digest: &Digest, failed: Failed) {
        self.reasons.insert(failed.reason);
        self.failures.push(format!("{what} {digest}: {failed}"));
        if self.worst.as_ref().is_none_or(|worst| worst.weight() < failed.failure.weight()) {
            self.worst = Some(failed.failure);
        }
    }
}

/// A manifest that is to be written, after what it needs.
struct Planned {
    found: Found,
    parts: Parts,
    /// Whether it is there.
    there: bool,
}

impl Copying<'_> {
    /// Copies what `reference` names, under `tag` if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be found out what is to be copied. What then fails is told in [`Copied::failures`], and all that
    /// does not need it is copied nevertheless.
    pub async fn copy(&self, reference: &str, tag: Option<&str>) -> Result<Copied, Failed> {
        let root = self.root(reference).await?;
        self.destination.takes(&root).map_err(Failed::writing)?;
        let digest = root.digest;
        let planned = self.plan(root).await?;
        let (there, new): (Vec<_>, Vec<_>) = planned.iter().partition(|manifest| manifest.there);
        let blobs_of = |manifests: Vec<&Planned>| -> BTreeMap<Digest, Descriptor> {
            manifests.iter().flat_map(|one| one.parts.blobs.iter().map(|blob| (blob.digest, blob.clone()))).collect()
        };
        let mut blobs = blobs_of(new);
        if self.mends {
            blobs.extend(self.lost(blobs_of(there)).await.map_err(Failed::writing)?);
        }
        self.told.planned(blobs.len(), blobs.values().map(|blob| blob.size).sum());
        let refused = OnceLock::new();
        let moved: Vec<_> = stream::iter(blobs.values().cloned())
            .map(|blob| async {
                let moved = unless_refused(&refused, self.blob(&blob)).await;
                self.told.done(&blob, *moved.as_ref().unwrap_or(&How::Failed));
                (blob, moved)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut copied = Copied {
            digest,
            manifests: 0,
            blobs: 0,
            bytes: 0,
            mounted: 0,
            there: 0,
            failures: Vec::new(),
            reasons: BTreeSet::new(),
            worst: None,
        };
        let mut failed = HashSet::new();
        for (blob, moved) in moved {
            match moved {
                Ok(How::There) => copied.there += 1,
                Ok(How::Mounted) => copied.mounted += 1,
                Ok(_) => {
                    copied.blobs += 1;
                    copied.bytes += blob.size;
                }
                Err(failure) => {
                    failed.insert(blob.digest);
                    copied.fails("blob", &blob.digest, failure);
                }
            }
        }
        for manifest in &planned {
            let role = match tag {
                _ if manifest.found.digest != digest => Role::Part,
                None => Role::Whole,
                Some(tag) => Role::Tagged(tag),
            };
            let named = manifest.parts.blobs.iter().chain(&manifest.parts.manifests);
            let missing = named.map(|part| part.digest).find(|digest| failed.contains(digest));
            let digest = manifest.found.digest;
            match missing {
                Some(missing) => {
                    copied.failures.push(format!("manifest {digest}: not written, since {missing} is missing"));
                }
                None => match unless_refused(&refused, self.put(manifest, role)).await {
                    Ok(written) => {
                        copied.manifests += usize::from(written);
                        continue;
                    }
                    Err(failure) => copied.fails("manifest", &digest, failure),
                },
            }
            failed.insert(digest);
        }
        Ok(copied)
    }

    /// The manifest that is copied.
    async fn root(&self, reference: &str) -> Result<Found, Failed> {
        let found = self.source.manifest(reference).await.map_err(Failed::reading)?;
        let Some(platform) = self.platform.as_ref().filter(|_| is_list(&found.media_type)) else { return Ok(found) };
        let manifests = Parts::of(&found.bytes, &found.digest).map_err(Failed::reading)?.manifests;
        match for_platform(&manifests, platform) {
            Some(image) => self.part(&image.digest).await,
            None => {
                let known = platforms_of(&manifests);
                let told = format!("the index {} has no such platform; it has {known}", found.digest);
                Err(Failed::missing(told))
            }
        }
    }

    /// A manifest that another one names.
    async fn part(&self, digest: &Digest) -> Result<Found, Failed> {
        let absent = |failure| match failure {
            Failure::Absent => Failure::Damaged(format!("the source lacks the manifest {digest}")),
            other => other,
        };
        self.source.manifest(&digest.to_string()).await.map_err(absent).map_err(Failed::reading)
    }

    /// The manifests in the order in which they are written: what one needs comes before it, what refers to it after.
    async fn plan(&self, root: Found) -> Result<Vec<Planned>, Failed> {
        enum Step {
            Read(Digest),
            Write(Digest),
        }
        let (whole, mut bytes) = (root.digest, 0);
        let mut known = HashMap::from([(root.digest, root)]);
        let mut seen = HashSet::new();
        let mut planned: Vec<Planned> = Vec::new();
        let mut open = HashMap::new();
        let mut steps = vec![Step::Read(whole)];
        while let Some(step) = steps.pop() {
            match step {
                Step::Read(digest) if !seen.insert(digest) => {}
                Step::Read(_) if seen.len() > MANIFESTS => {
                    let told = format!("it is made of more than {MANIFESTS} manifests");
                    return Err(Failed::reading(Failure::Unusable(told)));
                }
                Step::Read(digest) => {
                    let mut found = match known.remove(&digest) {
                        Some(found) => found,
                        None => self.part(&digest).await?,
                    };
                    bytes += found.bytes.len();
                    if bytes > MANIFEST_BYTES {
                        let told = format!("its manifests have more than {} MiB", MANIFEST_BYTES >> 20);
                        return Err(Failed::reading(Failure::Unusable(told)));
                    }
                    let mut parts = Parts::of(&found.bytes, &digest).map_err(Failed::reading)?;
                    if !self.platforms.is_empty() {
                        keep_platforms(&mut parts.manifests, self.platforms);
                    }
                    let there = self.is_there(&found, &parts).await.map_err(Failed::writing)?;
                    // What is there is not written again, but that may get another tag.
                    if there && digest != whole {
                        found.bytes = Bytes::new();
                    }
                    if there && !self.mends {
                        parts.blobs = Vec::new();
                    }
                    // The last step that is put here is taken first.
                    if self.referrers {
                        let referrers = self.source.referrers(&digest).await.map_err(Failed::reading)?;
                        steps.extend(referrers.iter().rev().map(|referrer| Step::Read(referrer.digest)));
                    }
                    steps.push(Step::Write(digest));
                    steps.extend(parts.manifests.iter().rev().map(|child| Step::Read(child.digest)));
                    open.insert(digest, Planned { found, parts, there });
                }
                Step::Write(digest) => planned.extend(open.remove(&digest)),
            }
        }
        Ok(planned)
    }

    /// Whether a manifest is at the destination, and a referrer listed there too: a copy may have ended between the two.
    async fn is_there(&self, found: &Found, parts: &Parts) -> Result<bool, Failure> {
        let there = self.destination.has_manifest(&found.digest.to_string()).await?.is_some();
        match &parts.subject {
            Some(subject) if there => self.destination.lists_referrer(subject, &found.digest).await,
            _ => Ok(there),
        }
    }

    /// Those of the blobs that the destination lacks.
    async fn lost(&self, blobs: BTreeMap<Digest, Descriptor>) -> Result<Vec<(Digest, Descriptor)>, Failure> {
        stream::iter(blobs)
            .map(|(digest, blob)| async move { Ok((!self.destination.has_blob(&digest).await?).then_some((digest, blob))) })
            .buffer_unordered(AT_ONCE)
            .try_filter_map(|lost| async move { Ok(lost) })
            .try_collect()
            .await
    }

    /// Writes a manifest, unless it is there; whether it was written.
    async fn put(&self, manifest: &Planned, role: Role<'_>) -> Result<bool, Failed> {
        let there = match role {
            Role::Part => manifest.there,
            // It is listed, if it is not.
            Role::Whole => false,
            Role::Tagged(tag) => {
                let tagged = self.destination.has_manifest(tag).await.map_err(Failed::writing)?;
                manifest.there && tagged == Some(manifest.found.digest)
            }
        };
        if !there && !self.dry_run {
            self.destination.put_manifest(&manifest.found, role).await.map_err(Failed::writing)?;
        }
        Ok(!(there || role == Role::Whole && manifest.there))
    }

    /// Brings a blob to its place.
    async fn blob(&self, blob: &Descriptor) -> Result<How, Failed> {
        if self.destination.has_blob(&blob.digest).await.map_err(Failed::writing)? {
            return Ok(How::There);
        }
        if self.dry_run {
            return Ok(How::Missing);
        }
        match self.destination.write(&blob.digest, self.source).await.map_err(Failed::writing)? {
            Writing::Mounted => Ok(How::Mounted),
            Writing::Sink(mut sink) => match self.bytes(blob, sink.as_mut()).await {
                Ok(()) => sink.finish(&blob.digest).await.map(|()| How::Copied).map_err(Failed::writing),
                Err(failure) => {
                    sink.abort().await;
                    Err(failure)
                }
            },
        }
    }

    /// Moves the bytes of a blob, and holds them against its digest. Where the source breaks off, it is gone on with.
    async fn bytes(&self, blob: &Descriptor, sink: &mut dyn Sink) -> Result<(), Failed> {
        let wrong = |reason: String| Failed::reading(Failure::Damaged(format!("the source {reason}")));
        let failed = |failure| match failure {
            Failure::Absent => wrong("does not have it".into()),
            other => Failed::reading(other),
        };
        let mut meter = Meter::new(blob.digest.algorithm());
        let mut reading = self.source.blob(blob, 0).await.map_err(failed)?;
        let (mut resumed, mut resumed_at_all, mut counted) = (0, 0, 0);
        loop {
            match reading.chunk().await {
                Ok(None) => break,
                Ok(Some(bytes)) => {
                    meter.update(&bytes);
                    if meter.count() - counted >= PROGRESS {
                        (resumed, counted) = (0, meter.count());
                    }
                    if meter.count() > blob.size {
                        return Err(wrong(format!("has more than the {} bytes of its manifest", blob.size)));
                    }
                    sink.append(&bytes).await.map_err(Failed::writing)?;
                    self.told.moved(bytes.len() as u64);
                }
                // All of it has come; from there on nothing could be asked for.
                Err(_) if meter.count() == blob.size => break,
                Err(Failure::Unreachable(_)) if resumed < RESUMED && resumed_at_all < RESUMED_AT_ALL => {
                    sleep(Duration::from_secs(1 << resumed)).await;
                    resumed += 1;
                    resumed_at_all += 1;
                    reading = self.source.blob(blob, meter.count()).await.map_err(failed)?;
                }
                Err(failure) => return Err(failed(failure)),
            }
        }
        if meter.count() != blob.size {
            return Err(wrong(format!("has {} bytes instead of {}", meter.count(), blob.size)));
        }
        if meter.digest() != blob.digest {
            return Err(wrong(format!("has other bytes, with the digest {}", meter.digest())));
        }
        Ok(())
    }
}

/// Does what is to be done, unless a login was refused before: a registry may lock out a login that is tried too often.
async fn unless_refused<T>(
    refused: &OnceLock<Failed>,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    if let Some(failed) = refused.get() {
        return Err(failed.clone());
    }
    let done = work.await;
    if let Err(failed @ Failed { failure: Failure::LoginRefused(_), .. }) = &done {
        // Another one may have been first.
        let _ = refused.set(failed.clone());
    }
    done
}
