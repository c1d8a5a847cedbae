//! Where it goes: a data directory that this process has to itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use orlop_core::digest::Digest;
use orlop_core::keys::Key;
use orlop_core::name::Repository;
use orlop_core::object::ObjectId;
use orlop_core::takeover::{Held, KeptTag, Layer, LayersTaken, Presence, Tagged, TagsTaken};
use orlop_core::{Ambient, Config, Family, Fault, Holdings, Registry, Step};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::fetch::Brought;
use super::known::Names;
use super::report::Report;
use super::walk::{Found, Page};
use crate::command::owner::Owner;
use crate::distribution::{Finding, Kind, Look, Source};
use crate::storage::{Adoption, Bucket, Host, Means, RequestBody, ambient};

/// How many records a call looks up at most, and how many blobs, manifests, bytes of manifests and tags it takes: some
/// ten thousand records a commit, each of which waits for the disk once.
const LOOKED_UP: usize = 2048;
const BLOBS: usize = 4096;
const MANIFESTS: usize = 1024;
const PAYLOADS: u64 = 2 << 20;
const TAGS: usize = 1024;

/// How often blobs are brought again that the registry had and lost meanwhile.
const ATTEMPTS: usize = 8;

/// A registry in a data directory.
pub(super) struct Target {
    pub(super) host: Arc<Host>,
    registry: Registry,
    pub(super) handle: Handle,
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

    /// The names of the blobs that are damaged.
    pub(super) fn quarantined(&self, names: &Names) -> Result<HashSet<u64>, String> {
        let (mut all, mut after) = (HashSet::new(), None);
        loop {
            let page: Holdings = self.run(|registry, ambient| registry.quarantined(after, ambient))?;
            all.extend(page.digests.iter().map(|digest| names.of(digest)));
            after = page.after;
            if after.is_none() {
                return Ok(all);
            }
        }
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

/// Takes pages over: their blobs are [brought](Self::bring), and then all of a page is [recorded](Self::record). The next
/// page may be brought while one is recorded; pages are recorded in the order in which they were brought.
pub(super) struct Taker<'t> {
    pub(super) target: &'t Target,
    pub(super) source: &'t Source,
    /// What the source is in, if that is a bucket.
    pub(super) bucket: Option<&'t Bucket>,
    pub(super) owner: Owner,
    pub(super) means: Means,
    pub(super) names: &'t Names,
    /// The registry was empty when the import began, and has nothing but what that has brought.
    pub(super) fresh: bool,
}

/// A page whose blobs are objects.
pub(super) struct Ready {
    page: Page,
    objects: HashMap<Digest, Brought>,
}

impl Ready {
    /// How many blobs, manifests and tags there are.
    pub(super) fn len(&self) -> u64 {
        self.page.len()
    }
}

impl Taker<'_> {
    /// Makes objects of the blobs of a page that the registry lacks. `here` are those that it has, or will have once the
    /// pages before are recorded.
    pub(super) fn bring(&self, mut page: Page, here: &mut HashSet<u64>, report: &mut Report) -> Result<Ready, String> {
        // What lies side by side in the source and among the records is then linked and written one after the other.
        page.blobs.sort_unstable_by_key(|blob| blob.digest);
        let objects = self.objects(&page.blobs, here, report)?;
        here.extend(
            page.blobs
                .iter()
                .map(|blob| &blob.digest)
                .filter(|digest| match objects.get(digest) {
                    None | Some(Brought::Object { .. }) => true,
                    Some(Brought::Gone | Brought::Damaged) => false,
                })
                .map(|digest| self.names.of(digest)),
        );
        Ok(Ready { page, objects })
    }

    /// Makes the records of a page. Which of its blobs turned out to have wrong bytes.
    pub(super) fn record(&self, ready: Ready, report: &mut Report) -> Result<Vec<Digest>, String> {
        let Ready { page, objects } = ready;
        let wrong = self.blobs(&page, &objects, report)?;
        let Page { manifests, tags, .. } = page;
        self.manifests(manifests, report)?;
        for tags in tags.chunks(TAGS) {
            let taken = self.target.run(|registry, ambient| registry.adopt_tags(tags.to_vec(), false, ambient))?;
            tell_tags(taken, report);
        }
        Ok(wrong)
    }

    fn blobs(
        &self,
        page: &Page,
        objects: &HashMap<Digest, Brought>,
        report: &mut Report,
    ) -> Result<Vec<Digest>, String> {
        let mut layers = Vec::with_capacity(page.blobs.len());
        for found in &page.blobs {
            let Found { repository, digest, size, verified, .. } = found.clone();
            let brought = objects.get(&digest);
            let finding = match brought {
                None => None,
                Some(Brought::Object { .. }) => None,
                // Its file was there when it was looked at, and is gone.
                Some(Brought::Gone) => {
                    Some((Kind::BlobMissing, "its bytes are gone since they were looked at: it is left out"))
                }
                Some(Brought::Damaged) => Look::Damaged.problem(),
            };
            if let Some((kind, problem)) = finding {
                let images = page.images(&repository, &digest);
                let what = format!("blob {repository}@{digest}");
                report.found(Finding { images, ..Finding::new(kind, what, problem) });
                continue;
            }
            let (object, hashed) = match brought {
                Some(Brought::Object { object, verified }) => (Some(*object), *verified),
                _ => (None, false),
            };
            layers.push(Layer { repository, digest, size, object, verified: verified || hashed });
        }
        let wrong =
            objects.iter().filter(|(_, brought)| matches!(brought, Brought::Damaged)).map(|(digest, _)| *digest);
        let wrong: Vec<Digest> = wrong.collect();
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
            if again.is_empty() {
                return Ok(wrong);
            }
            layers = self.bring_again(again, report)?;
        }
        Err("blobs are taken away while they are imported: run it again while nothing else uses the registry".into())
    }

    /// Makes objects of the blobs that the registry lacks: what came of each. Nothing of those that the registry has. One
    /// that is damaged there is hashed before: only known bytes take the place of those (SPEC Y2).
    fn objects(
        &self,
        blobs: &[Found],
        here: &HashSet<u64>,
        report: &mut Report,
    ) -> Result<HashMap<Digest, Brought>, String> {
        let mut seen = HashSet::new();
        let new = |blob: &&Found| !here.contains(&self.names.of(&blob.digest)) && seen.insert(blob.digest);
        let new: Vec<&Found> = blobs.iter().filter(new).collect();
        let digests: Vec<Digest> = new.iter().map(|blob| blob.digest).collect();
        let present = if self.fresh { vec![Presence::Absent; digests.len()] } else { self.target.present(&digests)? };
        let (mut lacking, mut damaged) = (Vec::new(), Vec::new());
        for (blob, presence) in new.into_iter().zip(present).filter(|(blob, _)| blob.size > 0) {
            match presence {
                Presence::Here => {}
                Presence::Damaged if !blob.verified && self.bucket.is_none() => damaged.push(blob),
                Presence::Absent | Presence::Damaged => lacking.push(blob),
            }
        }
        let looks = self.source.in_parallel(&damaged, |blob| self.source.hash(&blob.digest, blob.private));
        let (mut brought, mut hashed) = (HashMap::new(), HashSet::new());
        for (blob, look) in damaged.into_iter().zip(looks) {
            match look {
                Look::Fine { .. } => {
                    hashed.insert(blob.digest);
                    lacking.push(blob);
                }
                Look::Missing | Look::Link | Look::Unreadable => drop(brought.insert(blob.digest, Brought::Gone)),
                Look::Damaged | Look::WrongSize => drop(brought.insert(blob.digest, Brought::Damaged)),
            }
        }
        brought.extend(self.adopt(&lacking, report)?);
        for digest in hashed {
            if let Some(Brought::Object { verified, .. }) = brought.get_mut(&digest) {
                *verified = true;
            }
        }
        Ok(brought)
    }

    fn adopt(&self, lacking: &[&Found], report: &mut Report) -> Result<HashMap<Digest, Brought>, String> {
        if let Some(bucket) = self.bucket {
            return self.fetch(bucket, lacking, report);
        }
        let nonce = Uuid::new_v4();
        let mut adoptions = Vec::with_capacity(lacking.len());
        for (index, blob) in (0..).zip(lacking) {
            let means = if blob.private && self.means == Means::Link { Means::Copy } else { self.means };
            adoptions.push(Adoption { file: self.source.data(&blob.digest), object: ObjectId { nonce, index }, means });
        }
        let means: Vec<Means> = adoptions.iter().map(|adoption| adoption.means).collect();
        let adopted = self.target.handle.block_on(self.target.host.adopt(adoptions));
        let adopted = adopted.map_err(|fault| fault.to_string())?;
        let copied = adopted.iter().zip(means).filter(|(done, means)| **done && *means == Means::Copy);
        report.copied += copied.count() as u64;
        let objects = (0..).zip(lacking).zip(adopted);
        let brought = |done, object| if done { Brought::Object { object, verified: false } } else { Brought::Gone };
        Ok(objects.map(|((index, blob), done)| (blob.digest, brought(done, ObjectId { nonce, index }))).collect())
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
        let with = |layer: Layer| match objects.get(&layer.digest) {
            Some(Brought::Object { object, .. }) => Layer { object: Some(*object), ..layer },
            _ => Layer { object: None, ..layer },
        };
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
    let TagsTaken { made, moved, same, kept, without_manifest, damaged } = taken;
    report.tags += made;
    report.tags_moved += moved;
    report.tags_same += same;
    for KeptTag { repository, tag, here, there } in kept {
        let problem = format!("it was pushed here since: it stays at {here}, and is {there} there");
        report.found(Finding::new(Kind::Here, format!("tag {repository}:{tag}"), problem));
    }
    for (repository, tag, digest) in without_manifest {
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
