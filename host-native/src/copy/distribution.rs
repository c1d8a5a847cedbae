//! The data directory of distribution, Docker's registry, as a place that images are written to: its layout 2, in which
//! each blob and manifest is a file `blobs/ALGORITHM/AB/HASH/data`, and what a repository has are small files, the links.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use orlop_core::digest::Digest;
use orlop_core::media::ManifestType;

use super::layout::{blocking, failed};
use super::manifest::{Parts, with_referrer};
use super::{Destination, Found, Role, Sink, Source, Writing, unfinished};
use crate::remote::{Failure, referrers_tag};

/// Where in the directory everything is.
const ROOT: &str = "docker/registry/v2";

/// The file that says that a directory was written by an export, so that another export may go on there.
const MARKER: &str = "ORLOP-EXPORT";

/// What the marker has.
const TOLD: &str =
    "Written by `orlop export distribution`, which may go on here. Remove this file once a registry writes here.\n";

/// How large a list of referrers may be.
const LARGEST: u64 = 16 << 20;

/// A data directory that is written.
#[derive(Clone, Debug)]
pub struct Tree {
    directory: PathBuf,
    /// Whether blobs that are one file of this machine are linked, not copied.
    links: bool,
    linked: Arc<AtomicU64>,
    /// Locked as long as it is written.
    _locked: Option<Arc<File>>,
}

/// A repository of it.
#[derive(Clone, Debug)]
pub struct Branch {
    tree: Tree,
    path: PathBuf,
}

impl Tree {
    /// One that an export may write: the directory is empty, does not exist, or an export has begun it. Nothing is written
    /// in a dry run.
    ///
    /// # Errors
    ///
    /// When the directory has other files, another export writes it, or it cannot be written to.
    pub async fn open(directory: &Path, links: bool, dry_run: bool) -> Result<Self, Failure> {
        let path = directory.to_owned();
        let locked = blocking(move || prepare(&path, dry_run)).await;
        let locked = locked.map_err(|error| match error.kind() {
            ErrorKind::DirectoryNotEmpty => Failure::Unusable(format!(
                "{} has other files: an export needs an empty directory, or one that an export has begun",
                directory.display()
            )),
            ErrorKind::WouldBlock => Failure::Unusable(format!("another export writes {}", directory.display())),
            _ => failed(directory, "written to", &error),
        })?;
        Ok(Self { directory: directory.into(), links, linked: Arc::default(), _locked: locked.map(Arc::new) })
    }

    /// One of its repositories.
    pub fn repository(&self, name: &str) -> Branch {
        Branch { tree: self.clone(), path: self.directory.join(ROOT).join("repositories").join(name) }
    }

    /// How many blobs share their file with the place that they came from.
    pub fn linked(&self) -> u64 {
        self.linked.load(Ordering::Relaxed)
    }

    /// Sees to it that a power cut leaves what was written.
    ///
    /// # Errors
    ///
    /// When it cannot be.
    pub async fn sync(&self) -> Result<(), Failure> {
        let path = self.directory.clone();
        let synced = blocking(move || Ok(rustix::fs::syncfs(&File::open(path)?)?)).await;
        synced.map_err(|error| failed(&self.directory, "written", &error))
    }

    fn data(&self, digest: &Digest) -> PathBuf {
        let hash = digest.encoded();
        let blobs = self.directory.join(ROOT).join("blobs").join(digest.algorithm().name());
        blobs.join(&hash[..2]).join(hash).join("data")
    }
}

fn prepare(directory: &Path, dry_run: bool) -> io::Result<Option<File>> {
    let marker = directory.join(MARKER);
    let found = match fs::symlink_metadata(&marker) {
        Ok(found) if found.is_file() => true,
        Ok(_) => return Err(io::Error::other(format!("{MARKER} in it is no file"))),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    let empty = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(error),
    };
    if !empty && !found {
        return Err(ErrorKind::DirectoryNotEmpty.into());
    }
    if dry_run {
        return Ok(None);
    }
    fs::create_dir_all(directory)?;
    // Whoever has put something else there since gets it back unchanged.
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut opening = OpenOptions::new();
    opening.read(true).append(true).custom_flags(flags);
    let mut locked = match opening.clone().create_new(true).open(&marker) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => opening.open(&marker)?,
        made => made?,
    };
    match locked.try_lock() {
        Err(fs::TryLockError::WouldBlock) => return Err(ErrorKind::WouldBlock.into()),
        // A file system without locks is written to without.
        Err(fs::TryLockError::Error(_)) | Ok(()) => {}
    }
    if locked.metadata()?.len() == 0 {
        io::Write::write_all(&mut locked, TOLD.as_bytes())?;
    }
    unfinished::sweep(directory);
    for part in ["blobs", "repositories"] {
        let path = directory.join(ROOT).join(part);
        within(directory, &path)?;
        fs::create_dir_all(path)?;
    }
    Ok(Some(locked))
}

/// Whether a path below a directory is in it: no symbolic link on the way leads elsewhere.
fn within(directory: &Path, path: &Path) -> io::Result<()> {
    for part in path.ancestors().take_while(|part| *part != directory) {
        if fs::symlink_metadata(part).is_ok_and(|found| found.is_symlink()) {
            let told = format!("{} is a symbolic link, which an export does not follow", part.display());
            return Err(io::Error::other(told));
        }
    }
    Ok(())
}

impl Branch {
    fn link(&self, of: &str, digest: &Digest) -> PathBuf {
        let below = self.path.join(of).join(digest.algorithm().name());
        below.join(digest.encoded()).join("link")
    }

    fn revision(&self, digest: &Digest) -> PathBuf {
        self.link("_manifests/revisions", digest)
    }

    fn layer(&self, digest: &Digest) -> PathBuf {
        self.link("_layers", digest)
    }

    fn tag(&self, tag: &str) -> PathBuf {
        self.path.join("_manifests/tags").join(tag)
    }

    /// Writes a small file, if it does not have these bytes.
    async fn put(&self, path: PathBuf, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<(), Failure> {
        let (root, to) = (self.tree.directory.clone(), path.clone());
        let written = blocking(move || {
            if fs::read(&to).is_ok_and(|there| there == bytes.as_ref()) {
                return Ok(());
            }
            within(&root, &to)?;
            let named = unfinished::file(&root)?;
            io::Write::write_all(&mut named.as_file(), bytes.as_ref())?;
            unfinished::name(named, &to)
        });
        written.await.map_err(|error| failed(&path, "written", &error))
    }

    async fn put_link(&self, path: PathBuf, digest: &Digest) -> Result<(), Failure> {
        self.put(path, digest.to_string()).await
    }

    /// The digest in a link; none where there is no link, or a broken one.
    async fn read_link(&self, path: PathBuf) -> Result<Option<Digest>, Failure> {
        let at = path.clone();
        match blocking(move || fs::read_to_string(at)).await {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(failed(&path, "read", &error)),
        }
    }

    async fn exists(&self, path: PathBuf) -> Result<bool, Failure> {
        let at = path.clone();
        blocking(move || at.try_exists()).await.map_err(|error| failed(&path, "read", &error))
    }

    /// The manifest under a tag, if it is small and there.
    async fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, Failure> {
        let Some(digest) = self.read_link(self.tag(tag).join("current/link")).await? else { return Ok(None) };
        let path = self.tree.data(&digest);
        let at = path.clone();
        let read = blocking(move || {
            if fs::metadata(&at)?.len() > LARGEST {
                return Err(io::Error::other("it is too large for a list of referrers"));
            }
            fs::read(at)
        });
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, "read", &error)),
        }
    }

    async fn keep(&self, found: &Found, tag: Option<&str>) -> Result<(), Failure> {
        self.put(self.tree.data(&found.digest), found.bytes.clone()).await?;
        self.put_link(self.revision(&found.digest), &found.digest).await?;
        // By the directory of the layers distribution knows a repository.
        let layers = self.path.join("_layers");
        let (root, made) = (self.tree.directory.clone(), layers.clone());
        blocking(move || within(&root, &made).and_then(|()| fs::create_dir_all(made)))
            .await
            .map_err(|error| failed(&layers, "made", &error))?;
        if let Some(tag) = tag {
            let at = self.tag(tag);
            let index = at.join("index").join(found.digest.algorithm().name());
            self.put_link(index.join(found.digest.encoded()).join("link"), &found.digest).await?;
            self.put_link(at.join("current/link"), &found.digest).await?;
        }
        Ok(())
    }

    /// Lists a manifest among the referrers of its subject by a tag: distribution has no other list of them.
    async fn list_referrer(&self, subject: &Digest, found: &Found) -> Result<(), Failure> {
        let tag = referrers_tag(subject);
        let before = self.tagged(&tag).await?;
        if let Some(index) = with_referrer(before.as_deref(), found)? {
            let media_type = ManifestType::OciIndex.as_str().to_owned();
            let digest = orlop_core::digest::Algorithm::Sha256.digest(&index);
            self.keep(&Found { media_type, digest, bytes: index.into() }, Some(&tag)).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Destination for Branch {
    async fn has_manifest(&self, reference: &str) -> Result<Option<Digest>, Failure> {
        let digest = match reference.parse::<Digest>() {
            Ok(digest) if self.read_link(self.revision(&digest)).await? == Some(digest) => digest,
            Ok(_) => return Ok(None),
            Err(_) => match self.read_link(self.tag(reference).join("current/link")).await? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        // After a power cut its bytes may be others.
        let path = self.tree.data(&digest);
        let read = blocking(move || Ok(fs::read(path).is_ok_and(|bytes| digest.algorithm().digest(&bytes) == digest)));
        let whole = read.await.map_err(|error| failed(&self.path, "read", &error))?;
        Ok(whole.then_some(digest))
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, Failure> {
        Ok(self.read_link(self.layer(digest)).await? == Some(*digest) && self.exists(self.tree.data(digest)).await?)
    }

    async fn write(&self, digest: &Digest, source: &dyn Source) -> Result<Writing, Failure> {
        let data = self.tree.data(digest);
        if !self.exists(data.clone()).await? {
            let file = if self.tree.links { source.file(digest).await? } else { None };
            let linked = match file {
                Some(file) => {
                    let to = data.clone();
                    // Where it cannot be linked (another file system, another owner) it is copied.
                    let root = self.tree.directory.clone();
                    let linked = blocking(move || within(&root, &to).map(|()| link(&file, &to).is_ok())).await;
                    linked.map_err(|error| failed(&data, "written", &error))?
                }
                None => false,
            };
            if !linked {
                let root = self.tree.directory.clone();
                let begun = blocking(move || unfinished::file(&root)).await;
                let named = begun.map_err(|error| failed(&self.tree.directory, "written to", &error))?;
                let file = named.reopen().map_err(|error| failed(&data, "written", &error))?;
                let file = tokio::fs::File::from_std(file);
                return Ok(Writing::Sink(Box::new(Into { branch: self.clone(), named, file, data })));
            }
            self.tree.linked.fetch_add(1, Ordering::Relaxed);
        }
        self.put_link(self.layer(digest), digest).await?;
        Ok(Writing::Mounted)
    }

    async fn put_manifest(&self, found: &Found, role: Role<'_>) -> Result<(), Failure> {
        let tag = if let Role::Tagged(tag) = role { Some(tag) } else { None };
        self.keep(found, tag).await?;
        match Parts::of(&found.bytes, &found.digest)?.subject {
            Some(subject) => self.list_referrer(&subject, found).await,
            None => Ok(()),
        }
    }

    async fn lists_referrer(&self, subject: &Digest, referrer: &Digest) -> Result<bool, Failure> {
        let Some(index) = self.tagged(&referrers_tag(subject)).await? else { return Ok(false) };
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap_or_default();
        let referrer = referrer.to_string();
        Ok(index["manifests"].as_array().into_iter().flatten().any(|entry| entry["digest"] == referrer.as_str()))
    }
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::hard_link(from, to)
}

/// A blob that is written.
struct Into {
    branch: Branch,
    named: tempfile::NamedTempFile,
    file: tokio::fs::File,
    data: PathBuf,
}

#[async_trait]
impl Sink for Into {
    async fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = tokio::io::AsyncWriteExt::write_all(&mut self.file, bytes).await;
        written.map_err(|error| failed(&self.data, "written", &error))
    }

    async fn finish(mut self: Box<Self>, digest: &Digest) -> Result<(), Failure> {
        let Self { branch, named, mut file, data } = *self;
        let flushed = tokio::io::AsyncWriteExt::flush(&mut file).await;
        flushed.map_err(|error| failed(&data, "written", &error))?;
        let (root, to) = (branch.tree.directory.clone(), data.clone());
        let placed = blocking(move || within(&root, &to).and_then(|()| unfinished::place(named, &to))).await;
        placed.map_err(|error| failed(&data, "written", &error))?;
        branch.put_link(branch.layer(digest), digest).await
    }

    async fn abort(self: Box<Self>) {}
}
