//! The way through the directory: what is new there, what is broken, page by page.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use orlop_core::digest::Digest;
use orlop_core::name::Repository;
use orlop_core::takeover::{Held, ImagePlatform, KnownPlatform, Needed, NeededAs, Revision, Tagged};
use orlop_core::{Family, Timestamp};

use super::known::{Known, Unchanged};
use super::report::Report;
use super::target::Target;
use crate::distribution::{Contents, Digests, Entry, Finding, Kind, Look, Reader, Source, SourceTag};

/// How many manifests, and how many blobs beside those, are looked at together.
const MANIFESTS: usize = 256;
const BLOBS: usize = 2048;

/// When a page is full: so many blobs, bytes of blobs, manifests, bytes of manifests, or tags.
const PAGE_BLOBS: usize = 24_576;
const PAGE_BYTES: u64 = 4 << 30;
const PAGE_MANIFESTS: usize = 1024;
const PAGE_PAYLOADS: u64 = 4 << 20;
const PAGE_TAGS: usize = 2048;

/// How many images a finding names.
const IMAGES: usize = 20;

/// How a blob or manifest of a repository stands.
mod state {
    /// It was not looked at.
    pub(super) const NEW: u8 = 0;
    /// The registry has it.
    pub(super) const KNOWN: u8 = 1;
    /// It is taken over.
    pub(super) const TAKEN: u8 = 2;
    /// It is broken, and left out.
    pub(super) const BROKEN: u8 = 3;
    /// It was deleted.
    pub(super) const DELETED: u8 = 4;
}

/// A blob of a repository that is to be taken over.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) repository: Repository,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) verified: bool,
    /// The server's user may not read the file.
    pub(super) private: bool,
}

/// What is taken over together: blobs before the manifests that need them, and these before the tags that name them.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) blobs: Vec<Found>,
    pub(super) blob_bytes: u64,
    pub(super) manifests: Vec<Held>,
    pub(super) payloads: u64,
    pub(super) tags: Vec<Tagged>,
}

impl Page {
    fn is_full(&self) -> bool {
        self.blobs.len() >= PAGE_BLOBS
            || self.blob_bytes >= PAGE_BYTES
            || self.manifests.len() >= PAGE_MANIFESTS
            || self.payloads >= PAGE_PAYLOADS
            || self.tags.len() >= PAGE_TAGS
    }

    /// Which of its manifests need a blob, some at most: by their tags, or else by their digests.
    pub(super) fn images(&self, repository: &Repository, blob: &Digest) -> Vec<String> {
        let needs = |held: &&Held| {
            held.repository == *repository && held.revision.needs().iter().any(|needed| needed.digest == *blob)
        };
        let mut images = Vec::new();
        for held in self.manifests.iter().filter(needs) {
            let digest = held.revision.digest();
            let named = |tagged: &&Tagged| tagged.repository == *repository && tagged.digest == digest;
            let before = images.len();
            images.extend(self.tags.iter().filter(named).map(|tagged| format!("{repository}:{}", tagged.tag)));
            if images.len() == before {
                images.push(format!("{repository}@{digest}"));
            }
        }
        images.truncate(IMAGES);
        images
    }

    /// How many blobs, manifests and tags there are.
    pub(super) fn len(&self) -> u64 {
        (self.blobs.len() + self.manifests.len() + self.tags.len()) as u64
    }
}

/// What is taken on a way through the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything.
    All,
    /// Blobs alone, which come in large pages.
    Blobs,
    /// The rest, behind a way on which the [blobs](Self::Blobs) were taken.
    Images,
}

/// Gets a page, and says which of its blobs were found to have wrong bytes.
pub(super) type Out<'w> = dyn FnMut(Page, &mut Report) -> Result<Vec<Digest>, String> + 'w;

/// A way through the directory.
pub(super) struct Walk<'w> {
    pub(super) source: &'w Source,
    /// The registry, if it is there and has something.
    pub(super) target: Option<&'w Target>,
    pub(super) part: Part,
    pub(super) reader: Reader,
    /// Whether blobs are hashed.
    pub(super) verify: bool,
    pub(super) known: &'w mut Known,
    pub(super) report: Report,
    /// Who gets the pages.
    pub(super) out: &'w mut Out<'w>,
    pub(super) page: Page,
    /// The names of blobs that are damaged in the registry: it has them, and needs them.
    pub(super) damaged: HashSet<u64>,
    /// What was found to have nothing new before, and is passed by.
    pub(super) unchanged: Unchanged,
    /// How many blobs, manifests and tags were handed over.
    pub(super) things: u64,
}

/// One repository on the way.
struct Repositories<'r> {
    name: &'r Repository,
    path: &'r Path,
    contents: Contents,
    /// What its manifests lack.
    lacking: BTreeMap<Digest, Lacking>,
    /// The tags of each manifest, once they are asked for.
    tags: Option<HashMap<Digest, Vec<String>>>,
    platforms: HashMap<Digest, Option<KnownPlatform>>,
}

/// Something that manifests need, and that is not there.
struct Lacking {
    kind: Kind,
    problem: String,
    images: Vec<String>,
    more: usize,
}

/// A manifest as it was read.
struct Read {
    place: usize,
    digest: Digest,
    pushed: Timestamp,
    revision: Revision,
    /// What became of its configuration, if that was read.
    configuration: Option<(Digest, Look)>,
}

impl Walk<'_> {
    /// Goes through all repositories. What is found is in the report.
    pub(super) fn go(self) -> Result<Report, String> {
        self.walk(false).map(|(report, _)| report)
    }

    /// The same; and which repositories have nothing that the registry lacks. Each has pages of its own.
    pub(super) fn learn(self) -> Result<(Report, Unchanged), String> {
        let known = self.target.is_some();
        self.walk(known)
    }

    fn walk(mut self, learn: bool) -> Result<(Report, Unchanged), String> {
        let source = self.source;
        let mut unchanged = Unchanged::default();
        source.repositories(|entry| match entry {
            Entry::Finding(finding) => {
                self.report.found(finding);
                Ok(())
            }
            Entry::Repository(name, _) if self.unchanged.names.contains(&name) => Ok(()),
            Entry::Repository(name, path) if !learn => {
                self.report.repositories += 1;
                self.repository(&name, &path)
            }
            Entry::Repository(name, path) => {
                let before = (std::mem::take(&mut self.report), self.things);
                self.report.repositories += 1;
                self.repository(&name, &path)?;
                self.hand_over()?;
                let own = std::mem::replace(&mut self.report, before.0);
                if !own.is_something_new() {
                    unchanged.report.add(own.clone());
                    unchanged.things += self.things - before.1;
                    unchanged.names.insert(name);
                }
                self.report.add(own);
                Ok(())
            }
        })?;
        self.hand_over()?;
        Ok((self.report, unchanged))
    }

    fn hand_over(&mut self) -> Result<(), String> {
        let page = std::mem::take(&mut self.page);
        self.things += page.len();
        if page.len() > 0 {
            for wrong in (self.out)(page, &mut self.report)? {
                self.known.put(&wrong, Look::Damaged);
            }
        }
        self.source.tree().failed().map_or(Ok(()), Err)
    }

    fn hand_over_if_full(&mut self) -> Result<(), String> {
        if self.page.is_full() { self.hand_over() } else { self.source.tree().failed().map_or(Ok(()), Err) }
    }

    fn repository(&mut self, name: &Repository, path: &Path) -> Result<(), String> {
        let mut told = Vec::new();
        let contents = Contents::read(self.source, name, path, &mut told);
        told.into_iter().for_each(|finding| self.report.found(finding));
        let mut repository =
            Repositories { name, path, contents, lacking: BTreeMap::new(), tags: None, platforms: HashMap::new() };
        if let Some(target) = self.target {
            let lacks = |digest: &Digest| self.damaged.contains(&self.known.names.of(digest));
            mark(target, name, Family::Blobs, &mut repository.contents.layers, lacks)?;
            mark(target, name, Family::Manifests, &mut repository.contents.revisions, |_| false)?;
        }
        if self.part != Part::Blobs {
            self.manifests(&mut repository)?;
        }
        self.other_blobs(&mut repository)?;
        if self.part != Part::Blobs {
            self.tags(&mut repository)?;
        }
        for (digest, Lacking { kind, problem, images, more }) in repository.lacking {
            let mut images = images;
            if more > 0 {
                images.push(format!("and {more} more"));
            }
            let what = format!("blob {name}@{digest}");
            self.report.found(Finding { images, ..Finding::new(kind, what, problem) });
        }
        Ok(())
    }

    /// The manifests that are new, each after the blobs that it needs.
    fn manifests(&mut self, repository: &mut Repositories<'_>) -> Result<(), String> {
        let new = repository.contents.revisions.places(state::NEW);
        let mut tagged: Vec<Digest> = repository.contents.tags.iter().map(|tag| tag.digest).collect();
        tagged.sort_unstable();
        tagged.dedup();
        // Which manifest lists which, by their places.
        let mut children: Vec<(usize, usize)> = Vec::new();
        let mut rest = new.as_slice();
        while !rest.is_empty() {
            let (group, others) = rest.split_at(self.readable_at_once(repository, rest));
            rest = others;
            let read = self.read(repository, group, &tagged);
            let needs: Vec<Vec<Needed>> = read.iter().map(|read| read.revision.needs()).collect();
            let layers = &repository.contents.layers;
            let mut places: Vec<usize> = needs.iter().flatten().filter_map(|need| layers.find(&need.digest)).collect();
            places.sort_unstable();
            places.dedup();
            for (read, _) in read.iter().zip(&needs) {
                if let Some((digest, look)) = read.configuration
                    && self.known.get(&digest).is_none_or(|known| known.problem().is_none())
                {
                    self.known.put(&digest, look);
                }
            }
            self.blobs(repository, &places);
            for (read, needs) in read.iter().zip(&needs) {
                self.needs(repository, read, needs, &mut children);
            }
            for Read { place, pushed, revision, digest, .. } in read {
                if tagged.binary_search(&digest).is_ok() {
                    repository.platforms.insert(digest, revision.platform());
                }
                repository.contents.revisions.set(place, state::TAKEN);
                self.page.payloads += revision.size();
                self.page.manifests.push(Held { repository: repository.name.clone(), revision, pushed });
            }
            self.hand_over_if_full()?;
        }
        for (index, child) in children {
            let revisions = &repository.contents.revisions;
            let problem = match revisions.state(child) {
                state::BROKEN => "which is broken and left out",
                state::DELETED => "which the repository does not hold",
                _ => continue,
            };
            if let (Some(index), Some(child)) = (revisions.get(index), revisions.get(child)) {
                let problem = format!("it lists {child}, {problem}; it is taken over without");
                let what = format!("manifest {}@{index}", repository.name);
                let images = repository.images(&index);
                self.report.found(Finding { images, ..Finding::new(Kind::Incomplete, what, problem) });
            }
        }
        Ok(())
    }

    /// How many of these manifests are read at once: as many as have some MiB together, but one in any case.
    fn readable_at_once(&self, repository: &Repositories<'_>, places: &[usize]) -> usize {
        let places = &places[..places.len().min(MANIFESTS)];
        let (source, reader, revisions) = (self.source, self.reader, &repository.contents.revisions);
        let sizes = source.in_parallel(places, |place| {
            let digest = revisions.get(*place)?;
            source.tree().stat(&source.data(&digest), reader).ok().map(|stat| stat.size)
        });
        let mut bytes = 0;
        let fits = sizes.into_iter().take_while(|size| {
            bytes += size.unwrap_or_default();
            bytes <= PAGE_PAYLOADS
        });
        fits.count().max(1)
    }

    /// Reads some manifests, and the configurations of those that a tag names; those that are broken are told of.
    fn read(&mut self, repository: &mut Repositories<'_>, places: &[usize], tagged: &[Digest]) -> Vec<Read> {
        let (source, known, reader) = (self.source, &*self.known, self.reader);
        let below = repository.path.join("_manifests/revisions");
        let (revisions, layers) = (&repository.contents.revisions, &repository.contents.layers);
        let read = source.in_parallel(places, |place| {
            let digest = revisions.get(*place)?;
            let read = || {
                let Some(pushed) = source.check_link(&below, &digest)? else { return Ok(None) };
                let mut revision = source.manifest(&digest)?;
                let wanted = revision.configuration().filter(|config| {
                    let fine = known.get(config).is_none_or(|look| look.problem().is_none());
                    fine && layers.find(config).is_some() && tagged.binary_search(&digest).is_ok()
                });
                let configuration = wanted.and_then(|config| {
                    let look = source.look(&config, reader, false);
                    let look = match (look, source.configuration(&config)?) {
                        (Look::Fine { size, private, .. }, Ok(bytes)) => {
                            revision.configured(&bytes);
                            Look::Fine { size, private, verified: true }
                        }
                        (Look::Fine { .. }, Err(damaged)) => damaged,
                        (look, _) => look,
                    };
                    Some((config, look))
                });
                Ok(Some(Read { place: *place, digest, pushed, revision, configuration }))
            };
            Some((*place, digest, read()))
        });
        let mut fine = Vec::new();
        for (place, digest, read) in read.into_iter().flatten() {
            match read {
                Ok(Some(read)) => fine.push(read),
                Ok(None) => repository.contents.revisions.set(place, state::DELETED),
                Err((kind, problem)) => {
                    repository.contents.revisions.set(place, state::BROKEN);
                    let what = format!("manifest {}@{digest}", repository.name);
                    let images = repository.tags_of(&digest);
                    self.report.found(Finding { images, ..Finding::new(kind, what, problem) });
                }
            }
        }
        fine
    }

    /// Looks whether what a manifest needs is there, and as large as it says.
    fn needs(
        &mut self,
        repository: &mut Repositories<'_>,
        read: &Read,
        needs: &[Needed],
        children: &mut Vec<(usize, usize)>,
    ) {
        for Needed { digest, size, what } in needs {
            let revisions = &repository.contents.revisions;
            if let Some(child) = revisions.find(digest).filter(|_| *what == NeededAs::Child) {
                children.push((read.place, child));
                continue;
            }
            let place = repository.contents.layers.find(digest);
            let stands = place.map(|place| repository.contents.layers.state(place));
            let absent = || (Kind::Incomplete, "the repository does not hold it".to_owned());
            let (kind, problem) = match (stands, self.known.get(digest)) {
                (None | Some(state::DELETED), _) if *what == NeededAs::OutsideBlob => continue,
                (None | Some(state::DELETED), _) => absent(),
                (Some(state::BROKEN), Some(look)) => {
                    look.problem().map_or_else(absent, |(kind, problem)| (kind, problem.to_owned()))
                }
                (Some(state::BROKEN), None) => absent(),
                (_, Some(Look::Fine { size: actual, private, verified })) if actual != *size => {
                    // Which of them is wrong, the hash tells.
                    let same = Look::Fine { size: actual, private, verified };
                    let look = match if verified { same } else { self.source.hash(digest, private) } {
                        Look::Damaged => Look::WrongSize,
                        look => look,
                    };
                    self.known.put(digest, look);
                    let Some((kind, problem)) = look.problem() else {
                        let manifest = format!("manifest {}@{}", repository.name, read.digest);
                        let problem =
                            format!("it says that {digest} has {size} bytes; it has {actual}, and is as its digest");
                        self.report.found(Finding::new(Kind::Descriptor, manifest, problem));
                        continue;
                    };
                    place.into_iter().for_each(|place| repository.contents.layers.set(place, state::BROKEN));
                    // Another repository may have it on the same page.
                    let (bad, fine) =
                        std::mem::take(&mut self.page.blobs).into_iter().partition(|b| b.digest == *digest);
                    self.page.blobs = fine;
                    let bad: Vec<Found> = bad;
                    for Found { repository: other, .. } in bad.iter().filter(|bad| bad.repository != *repository.name) {
                        self.report.found(Finding::new(kind, format!("blob {other}@{digest}"), problem));
                    }
                    (kind, problem.to_owned())
                }
                // It was to be taken over before, and its bytes were wrong.
                (Some(state::TAKEN), Some(look)) if look.problem().is_some() => {
                    look.problem().map_or_else(absent, |(kind, problem)| (kind, problem.to_owned()))
                }
                _ => continue,
            };
            let image = repository.images(&read.digest);
            let lacking = repository.lacking.entry(*digest);
            let lacking = lacking.or_insert(Lacking { kind, problem, images: Vec::new(), more: 0 });
            for image in image {
                if lacking.images.len() < IMAGES { lacking.images.push(image) } else { lacking.more += 1 }
            }
        }
    }

    /// The blobs that no new manifest needs.
    fn other_blobs(&mut self, repository: &mut Repositories<'_>) -> Result<(), String> {
        let new = repository.contents.layers.places(state::NEW);
        for group in new.chunks(BLOBS) {
            self.blobs(repository, group);
            self.hand_over_if_full()?;
        }
        Ok(())
    }

    /// Looks at some blobs, and takes those that are new and there.
    fn blobs(&mut self, repository: &mut Repositories<'_>, places: &[usize]) {
        let layers = &repository.contents.layers;
        let new: Vec<usize> = places.iter().copied().filter(|place| layers.state(*place) == state::NEW).collect();
        let (source, reader, verify) = (self.source, self.reader, self.verify);
        let (below, known, name) = (repository.path.join("_layers"), &*self.known, repository.name);
        let after_blobs = self.part == Part::Images;
        let looks = source.in_parallel(&new, |place| {
            let digest = layers.get(*place)?;
            // It was in order a moment ago. If its bytes are gone since, there is nothing that can be linked.
            let linked = known.links.contains(&known.names.held(name, &digest));
            let looked = match if linked { Ok(None) } else { source.check_link(&below, &digest).map(Some) } {
                Ok(Some(None)) => return Some((*place, digest, None)),
                Err(bad) => Err(bad),
                Ok(Some(Some(_)) | None) => Ok(match known.get(&digest) {
                    Some(Look::Fine { verified: false, .. }) if verify || !(source.is_remote() || linked) => {
                        source.look(&digest, reader, verify)
                    }
                    None => source.look(&digest, reader, verify),
                    Some(look) => look,
                }),
            };
            Some((*place, digest, Some((looked, linked && after_blobs))))
        });
        for (place, digest, looked) in looks.into_iter().flatten() {
            let (looked, taken) = looked.map_or((None, false), |(looked, taken)| (Some(looked), taken));
            let stands = match looked {
                None => state::DELETED,
                Some(Ok(Look::Fine { .. })) if taken => state::TAKEN,
                Some(Ok(look @ Look::Fine { size, verified, private })) => {
                    self.known.put(&digest, look);
                    self.known.links.insert(self.known.names.held(name, &digest));
                    let repository = repository.name.clone();
                    self.page.blobs.push(Found { repository, digest, size, verified, private });
                    self.page.blob_bytes += size;
                    state::TAKEN
                }
                Some(looked) => {
                    let (kind, problem) = match looked {
                        Ok(look) => {
                            self.known.put(&digest, look);
                            look.problem().map_or((Kind::BlobMissing, String::new()), |(kind, p)| (kind, p.into()))
                        }
                        Err(bad) => bad,
                    };
                    let lacking = Lacking { kind, problem, images: Vec::new(), more: 0 };
                    repository.lacking.insert(digest, lacking);
                    state::BROKEN
                }
            };
            repository.contents.layers.set(place, stands);
        }
    }

    /// Tags whose manifests are there.
    fn tags(&mut self, repository: &mut Repositories<'_>) -> Result<(), String> {
        let tags = std::mem::take(&mut repository.contents.tags);
        for SourceTag { tag, digest, pushed } in tags {
            let revisions = &repository.contents.revisions;
            let stands = revisions.find(&digest).map(|place| revisions.state(place));
            let problem = match stands {
                Some(state::KNOWN | state::TAKEN) => None,
                Some(state::BROKEN) => Some("which is broken"),
                _ => Some("which the repository does not hold"),
            };
            if let Some(problem) = problem {
                let problem = format!("it names {digest}, {problem}: it is left out");
                self.report.found(Finding::new(Kind::Tag, format!("tag {}:{tag}", repository.name), problem));
                continue;
            }
            let platform = match repository.platforms.get(&digest) {
                Some(platform) => ImagePlatform::Read(platform.clone()),
                None => ImagePlatform::Unread,
            };
            self.page.tags.push(Tagged { repository: repository.name.clone(), tag, digest, pushed, platform });
            self.hand_over_if_full()?;
        }
        self.hand_over_if_full()
    }
}

impl Repositories<'_> {
    /// The names of the tags of a manifest, some at most.
    fn tags_of(&mut self, digest: &Digest) -> Vec<String> {
        let (name, tags) = (self.name, &self.contents.tags);
        let index = self.tags.get_or_insert_with(|| {
            let mut index: HashMap<Digest, Vec<String>> = HashMap::new();
            for SourceTag { tag, digest, .. } in tags {
                let names = index.entry(*digest).or_default();
                if names.len() < IMAGES {
                    names.push(format!("{name}:{tag}"));
                }
            }
            index
        });
        index.get(digest).cloned().unwrap_or_default()
    }

    /// A manifest by the names of its tags, or else by its digest.
    fn images(&mut self, digest: &Digest) -> Vec<String> {
        let tags = self.tags_of(digest);
        if tags.is_empty() { vec![format!("{}@{digest}", self.name)] } else { tags }
    }
}

/// Marks what the registry has already, but for what it lacks all the same.
fn mark(
    target: &Target,
    name: &Repository,
    family: Family,
    digests: &mut Digests,
    lacks: impl Fn(&Digest) -> bool,
) -> Result<(), String> {
    if digests.len() == 0 {
        return Ok(());
    }
    let mut after = None;
    loop {
        let holdings = target.holdings(name, family, after)?;
        for digest in holdings.digests.iter().filter(|digest| !lacks(digest)) {
            digests.find(digest).into_iter().for_each(|place| digests.set(place, state::KNOWN));
        }
        after = holdings.after;
        if after.is_none() {
            return Ok(());
        }
    }
}
