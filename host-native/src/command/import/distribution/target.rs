//! Where it goes: a data directory that this process has to itself.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use orlop_core::digest::Digest;
use orlop_core::keys::Key;
use orlop_core::name::Repository;
use orlop_core::object::ObjectId;
use orlop_core::takeover::{Held, KeptTag, Layer, LayersTaken, Presence, Tagged, TagsTaken};
use orlop_core::{Ambient, Config, Family, Fault, Holdings, Registry, Step};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::report::Report;
use super::walk::{Found, Page, short};
use crate::distribution::{Finding, Kind, Source};
use crate::storage::{Adoption, Host, Means, RequestBody, ambient};

/// How many records a call looks up at most, and how many blobs, manifests, bytes of manifests and tags it takes: some
/// thousand records a commit.
const LOOKED_UP: usize = 2048;
const BLOBS: usize = 512;
const MANIFESTS: usize = 128;
const PAYLOADS: u64 = 1 << 20;
const TAGS: usize = 256;

/// How often blobs are brought again that the registry had and lost meanwhile.
const ATTEMPTS: usize = 8;

/// A registry in a data directory.
pub(super) struct Target {
    pub(super) host: Arc<Host>,
    registry: Registry,
    handle: Handle,
}

impl Target {
    /// The registry of a host. Nothing that settings say makes a difference to an import.
    pub(super) fn new(host: Arc<Host>, handle: Handle) -> Self {
        Self { host, registry: Registry::new(Config::default()), handle }
    }

    /// Some of what a repository holds.
    pub(super) fn holdings(&self, name: &Repository, family: Family, after: Option<Key>) -> Result<Holdings, String> {
        self.run(|registry, ambient| registry.holdings(name.clone(), family, after, ambient))
    }

    /// What would become of tags.
    pub(super) fn foretell(&self, tags: Vec<Tagged>, report: &mut Report) -> Result<(), String> {
        for page in tags.chunks(TAGS) {
            let taken = self.run(|registry, ambient| registry.adopt_tags(page.to_vec(), true, ambient))?;
            tell_tags(taken, report);
        }
        Ok(())
    }

    /// Which of these blobs the registry has.
    pub(super) fn present(&self, digests: &[Digest]) -> Result<Vec<Presence>, String> {
        let mut all = Vec::with_capacity(digests.len());
        for page in digests.chunks(LOOKED_UP) {
            all.extend(self.run(|registry, ambient| registry.present(page.to_vec(), ambient))?);
        }
        Ok(all)
    }

    /// Has the scrub begin anew, with what nobody has hashed.
    pub(super) fn scrub_anew(&self) -> Result<(), String> {
        self.run(Registry::scrub_anew)
    }

    fn run<R: Send>(&self, begin: impl FnOnce(&Registry, Ambient) -> Step<Result<R, Fault>>) -> Result<R, String> {
        let step = begin(&self.registry, ambient());
        let done = self.handle.block_on(async { self.host.run(step, &mut RequestBody::empty()).await });
        done.map_err(|fault| fault.to_string())
    }
}

/// Takes pages over, one after the other.
pub(super) struct Taker<'t> {
    pub(super) target: &'t Target,
    pub(super) source: &'t Source,
    pub(super) means: Means,
    pub(super) verify: bool,
    /// Blobs that the registry has now, by the first bytes of their digests.
    pub(super) here: HashSet<u64>,
}

impl Taker<'_> {
    /// Takes a page over.
    pub(super) fn take(&mut self, page: Page, report: &mut Report) -> Result<(), String> {
        let Page { blobs, manifests, tags, .. } = page;
        self.blobs(blobs, report)?;
        self.manifests(manifests, report)?;
        for tags in tags.chunks(TAGS) {
            let taken = self.target.run(|registry, ambient| registry.adopt_tags(tags.to_vec(), false, ambient))?;
            tell_tags(taken, report);
        }
        Ok(())
    }

    fn blobs(&mut self, blobs: Vec<Found>, report: &mut Report) -> Result<(), String> {
        let mut objects = self.bring(&blobs, report)?;
        let mut layers = Vec::with_capacity(blobs.len());
        for Found { repository, digest, size, verified, .. } in blobs {
            let object = match objects.get_mut(&digest) {
                // Its file was there when it was looked at, and is gone.
                Some(None) => {
                    let problem = "its bytes are gone since they were looked at: it is left out";
                    report.found(Finding::new(Kind::BlobMissing, format!("blob {repository}@{digest}"), problem));
                    continue;
                }
                Some(object) => *object,
                None => None,
            };
            layers.push(Layer { repository, digest, size, object, verified });
        }
        // Of several repositories that hold a blob, the first brings its object.
        let mut brought = HashSet::new();
        for layer in &mut layers {
            layer.object = layer.object.filter(|object| brought.insert(*object));
        }
        for _ in 0..ATTEMPTS {
            let mut again = Vec::new();
            for page in layers.chunks(BLOBS) {
                let taken = self.target.run(|registry, ambient| registry.adopt_blobs(page.to_vec(), ambient))?;
                let LayersTaken { blobs, bytes, links, again: lost, differing, damaged } = taken;
                (report.blobs, report.blob_bytes) = (report.blobs + blobs, report.blob_bytes + bytes);
                report.links += links;
                tell_damaged(damaged, report);
                for (digest, size) in differing {
                    let problem = format!("it has {size} bytes here, and another size there: what is here stays");
                    report.found(Finding::new(Kind::Here, format!("blob {digest}"), problem));
                }
                again.extend(lost);
            }
            self.here.extend(layers.iter().map(|layer| short(&layer.digest)));
            if again.is_empty() {
                return Ok(());
            }
            layers = self.bring_again(again, report)?;
        }
        Err("blobs are taken away while they are imported: run it again while nothing else uses the registry".into())
    }

    /// Makes objects of the blobs that the registry lacks. Of each: its object, none if its file is gone; nothing of those
    /// that the registry has.
    fn bring(&self, blobs: &[Found], report: &mut Report) -> Result<HashMap<Digest, Option<ObjectId>>, String> {
        let mut seen = HashSet::new();
        let new = |blob: &&Found| !self.here.contains(&short(&blob.digest)) && seen.insert(blob.digest);
        let new: Vec<&Found> = blobs.iter().filter(new).collect();
        let digests: Vec<Digest> = new.iter().map(|blob| blob.digest).collect();
        let present = self.target.present(&digests)?;
        let lacks = |(blob, presence): &(&Found, Presence)| match presence {
            Presence::Absent => blob.size > 0,
            Presence::Damaged => blob.size > 0 && self.verify,
            Presence::Here => false,
        };
        let lacking: Vec<&Found> = new.into_iter().zip(present).filter(lacks).map(|(blob, _)| blob).collect();
        self.adopt(&lacking, report)
    }

    fn adopt(&self, lacking: &[&Found], report: &mut Report) -> Result<HashMap<Digest, Option<ObjectId>>, String> {
        let nonce = Uuid::new_v4();
        let mut adoptions = Vec::with_capacity(lacking.len());
        for (index, blob) in (0..).zip(lacking) {
            let means = if blob.private && self.means == Means::Link { Means::Copy } else { self.means };
            let (file, object): (PathBuf, _) = (self.source.data(&blob.digest), ObjectId { nonce, index });
            adoptions.push(Adoption { file, object, means });
        }
        let means: Vec<Means> = adoptions.iter().map(|adoption| adoption.means).collect();
        let adopted = self.target.handle.block_on(self.target.host.adopt(adoptions));
        let adopted = adopted.map_err(|fault| fault.to_string())?;
        let copied = adopted.iter().zip(means).filter(|(done, means)| **done && *means == Means::Copy);
        report.copied += copied.count() as u64;
        let objects = (0..).zip(lacking).zip(adopted);
        Ok(objects.map(|((index, blob), done)| (blob.digest, done.then_some(ObjectId { nonce, index }))).collect())
    }

    /// Brings blobs that the registry had when it was asked, and has no more.
    fn bring_again(&self, layers: Vec<Layer>, report: &mut Report) -> Result<Vec<Layer>, String> {
        let found = layers.iter().map(|layer| Found {
            repository: layer.repository.clone(),
            digest: layer.digest,
            size: layer.size,
            verified: layer.verified,
            private: false,
        });
        let found: Vec<Found> = found.collect();
        let objects = self.adopt(&found.iter().collect::<Vec<_>>(), report)?;
        let with = |layer: Layer| Layer { object: objects.get(&layer.digest).copied().flatten(), ..layer };
        Ok(layers.into_iter().map(with).filter(|layer| layer.object.is_some()).collect())
    }

    fn manifests(&self, manifests: Vec<Held>, report: &mut Report) -> Result<(), String> {
        let (mut page, mut payloads) = (Vec::new(), 0);
        for held in manifests {
            if page.len() >= MANIFESTS || payloads + held.revision.size() > PAYLOADS && !page.is_empty() {
                self.manifest_page(std::mem::take(&mut page), report)?;
                payloads = 0;
            }
            payloads += held.revision.size();
            page.push(held);
        }
        if page.is_empty() { Ok(()) } else { self.manifest_page(page, report) }
    }

    fn manifest_page(&self, page: Vec<Held>, report: &mut Report) -> Result<(), String> {
        let taken = self.target.run(|registry, ambient| registry.adopt_manifests(page, ambient))?;
        report.manifests += taken.manifests;
        tell_damaged(taken.damaged, report);
        Ok(())
    }
}

fn tell_tags(taken: TagsTaken, report: &mut Report) {
    let TagsTaken { made, moved, same, kept, bereft, damaged } = taken;
    report.tags += made;
    report.tags_moved += moved;
    report.tags_same += same;
    for KeptTag { repository, tag, here, there } in kept {
        let problem = format!("it was pushed here since: it stays at {here}, and is {there} there");
        report.found(Finding::new(Kind::Here, format!("tag {repository}:{tag}"), problem));
    }
    for (repository, tag, digest) in bereft {
        let problem = format!("it names {digest}, which the repository does not hold: it is left out");
        report.found(Finding::new(Kind::Tag, format!("tag {repository}:{tag}"), problem));
    }
    tell_damaged(damaged, report);
}

/// Records of the registry itself that do not read.
fn tell_damaged(damaged: Vec<String>, report: &mut Report) {
    for problem in damaged {
        report.found(Finding::new(Kind::Here, "a record of the registry", format!("{problem}: see `orlop check`")));
    }
}
