//! An OCI image layout (image-spec, "Image Layout"): in a directory, or to be read in an archive.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use orlop_core::digest::Digest;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;

use super::manifest::{Parts, is_manifest};
use super::store::Store;
use super::{Blob, Destination, Found, Role, Sink, Source, Writing, unfinished};
use crate::remote::{Descriptor, Failure};

/// How large an index or manifest may be.
const MANIFEST: usize = 16 << 20;

/// The annotation that has the tag.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation by which docker keeps the whole name of an image, with its registry.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";

/// The file that says that a directory is a layout. Whoever changes `index.json` has it locked, which is itself replaced
/// by each change.
const MARKER: &str = "oci-layout";

/// What the marker has.
const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// An image layout.
#[derive(Debug)]
pub struct Layout {
    store: Store,
}

impl Layout {
    /// A layout to be read.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn open(directory: &Path) -> Result<Self, Failure> {
        Self::of(Store::Directory(directory.into())).await
    }

    /// A layout in an archive, to be read.
    ///
    /// # Errors
    ///
    /// When it is no archive, or has no layout.
    pub async fn in_archive(path: &Path) -> Result<Self, Failure> {
        Self::of(Store::archive(path).await?).await
    }

    /// A layout in an archive that was opened, if it has one.
    pub(super) async fn of(store: Store) -> Result<Self, Failure> {
        let shown = store.path().display();
        let marker = match store.read(MARKER, MANIFEST).await {
            Err(Failure::Absent) if !store.path().exists() => {
                return Err(Failure::Unusable(format!("there is no {shown}")));
            }
            Err(Failure::Absent) => {
                return Err(Failure::Unusable(format!("{shown} is no OCI image layout: it has no file `oci-layout`")));
            }
            marker => marker?,
        };
        let version = serde_json::from_slice::<Value>(&marker).unwrap_or_default();
        match version["imageLayoutVersion"].as_str() {
            Some(version) if version.starts_with("1.") => {}
            Some(other) => {
                let told = format!("{shown} is an OCI image layout of version `{}`; 1 is known", other.escape_debug());
                return Err(Failure::Unusable(told));
            }
            None => {
                let told = format!("{shown} is no OCI image layout: its file `oci-layout` says no version");
                return Err(Failure::Unusable(told));
            }
        }
        Ok(Self { store })
    }

    /// The layout of a directory, or nothing where one could be made: the directory is empty or does not exist. Nothing is
    /// written.
    ///
    /// # Errors
    ///
    /// When the directory has other files, or cannot be read.
    pub async fn find(directory: &Path) -> Result<Option<Self>, Failure> {
        // A process that is making a layout writes the marker first, and its version last.
        let marker = || fs::metadata(directory.join(MARKER));
        match marker().await {
            Ok(marker) if marker.len() > 0 => return Self::open(directory).await.map(Some),
            Ok(_) => return Ok(None),
            Err(_) => {}
        }
        let wrong = |error: io::Error| failed(directory, "read", &error);
        let mut entries = match fs::read_dir(directory).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries.map_err(wrong)?,
        };
        if entries.next_entry().await.map_err(wrong)?.is_some() && marker().await.is_err() {
            let told = format!("{} has other files: an OCI image layout needs an empty directory", directory.display());
            return Err(Failure::Unusable(told));
        }
        Ok(None)
    }

    /// A layout to be written to, which is made if there is none.
    ///
    /// # Errors
    ///
    /// When the directory has other files, or cannot be written to.
    pub async fn create(directory: &Path) -> Result<Self, Failure> {
        let found = Self::find(directory).await?;
        let (path, is_new) = (directory.to_owned(), found.is_none());
        let made = blocking(move || {
            if is_new {
                make(&path)?;
            }
            unfinished::sweep(&path);
            Ok(())
        });
        made.await.map_err(|error| failed(directory, "made a layout", &error))?;
        match found {
            Some(layout) => Ok(layout),
            None => Self::open(directory).await,
        }
    }

    /// Where it is.
    pub(super) fn directory(&self) -> &Path {
        self.store.path()
    }

    /// What `index.json` has.
    pub(super) async fn index(&self) -> Result<Value, Failure> {
        let bytes = self.store.read("index.json", MANIFEST).await;
        let wrong = |reason: &str| Failure::Unusable(format!("{}: index.json {reason}", self.directory().display()));
        let bytes = bytes.map_err(|error| if error == Failure::Absent { wrong("is missing") } else { error })?;
        let index: Value =
            serde_json::from_slice(&bytes).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        if index["manifests"].is_array() { Ok(index) } else { Err(wrong("has no `manifests`")) }
    }

    /// What a reference names among the entries of `index.json`; the empty one names the only one.
    async fn entry(&self, reference: &str) -> Result<Option<Descriptor>, Failure> {
        let index = self.index().await?;
        let listed = index["manifests"].as_array().into_iter().flatten();
        let listed: Vec<Descriptor> = listed.filter_map(|entry| serde_json::from_value(entry.clone()).ok()).collect();
        let tag = |entry: &Descriptor| entry.annotations.as_ref().and_then(|all| all.get(REF_NAME)).cloned();
        if reference.is_empty() {
            // What refers to another manifest stands there too.
            let mut roots = Vec::new();
            for entry in listed {
                let found = self.stored(&entry.digest, Some(&entry)).await?;
                if Parts::of(&found.bytes, &found.digest)?.subject.is_none() {
                    roots.push(entry);
                }
            }
            return match &roots[..] {
                [only] => Ok(Some(only.clone())),
                _ => {
                    let tags: Vec<String> = roots.iter().filter_map(tag).collect();
                    let told = format!(
                        "{} has {} images: name one by its tag, oci:DIRECTORY:TAG, of {}",
                        self.directory().display(),
                        roots.len(),
                        tags.join(", ")
                    );
                    Err(Failure::Unusable(told))
                }
            };
        }
        if let Ok(digest) = reference.parse::<Digest>() {
            return Ok(listed.into_iter().find(|entry| entry.digest == digest));
        }
        // Some programs write the whole name there, and the tag behind its colon.
        let full = format!(":{reference}");
        let is = |entry: &&Descriptor| tag(entry).is_some_and(|tag| tag == reference || tag.ends_with(&full));
        let named = |entry: &&Descriptor| {
            let name = entry.annotations.as_ref().and_then(|all| all.get(IMAGE_NAME));
            name.is_some_and(|name| without_hub(name) == without_hub(reference))
        };
        let exact = listed.iter().find(|entry| tag(entry).as_deref() == Some(reference));
        Ok(exact.or(listed.iter().find(named)).or(listed.iter().find(is)).cloned())
    }

    /// A manifest among the blobs, with the media type that its entry says or it says itself.
    pub(super) async fn stored(&self, digest: &Digest, entry: Option<&Descriptor>) -> Result<Found, Failure> {
        let bytes = self.store.read(&name(digest), MANIFEST).await?;
        let wrong = |reason: &str| Failure::Unusable(format!("{}: {digest} {reason}", self.directory().display()));
        if digest.algorithm().digest(&bytes) != *digest {
            return Err(Failure::Damaged(wrong("has another digest than its name says").to_string()));
        }
        let document: Value = serde_json::from_slice(&bytes).map_err(|_| wrong("is no manifest"))?;
        let media_type = match entry.map(|entry| entry.media_type.as_str()).or(document["mediaType"].as_str()) {
            Some(media_type) => media_type.to_owned(),
            None if document["manifests"].is_array() => "application/vnd.oci.image.index.v1+json".into(),
            None => "application/vnd.oci.image.manifest.v1+json".into(),
        };
        if !is_manifest(&media_type) {
            return Err(wrong(&format!("is of the type `{media_type}`, which cannot be copied")));
        }
        Ok(Found { media_type, digest: *digest, bytes })
    }

    /// Changes `index.json`, as a whole. Other processes wait meanwhile, so that none loses what another one lists.
    async fn list(&self, found: &Found, tag: Option<&str>) -> Result<(), Failure> {
        let _locked = self.locked().await?;
        let mut index = self.index().await?;
        let digest = found.digest.to_string();
        let Some(manifests) = index["manifests"].as_array_mut() else { return Ok(()) };
        let of = |entry: &Value| entry["annotations"][REF_NAME].as_str().map(str::to_owned);
        if manifests
            .iter()
            .any(|entry| entry["digest"] == digest.as_str() && (tag.is_none() || of(entry).as_deref() == tag))
        {
            return Ok(());
        }
        manifests.retain(|entry| tag.is_none() || of(entry).as_deref() != tag);
        let mut entry = json!({ "mediaType": found.media_type, "digest": digest, "size": found.bytes.len() });
        if let Some(tag) = tag {
            entry["annotations"] = json!({ REF_NAME: tag });
        }
        manifests.push(entry);
        self.write_index(&index).await
    }

    /// Waits until no other process changes `index.json`, and keeps others from it as long as the file is open.
    pub(super) async fn locked(&self) -> Result<std::fs::File, Failure> {
        let marker = self.directory().join(MARKER);
        let locked = blocking(move || {
            let opened = OpenOptions::new().read(true).write(true).open(&marker);
            // To read it is enough but on NFS.
            let file = opened.or_else(|_| std::fs::File::open(&marker))?;
            lock(&file).map(|()| file)
        });
        locked.await.map_err(|error| failed(self.directory(), "locked", &error))
    }

    /// Writes `index.json`, which is [locked](Self::locked).
    pub(super) async fn write_index(&self, index: &Value) -> Result<(), Failure> {
        let mut file = File::begin(self.directory()).await?;
        file.append(index.to_string().as_bytes()).await?;
        file.rename(self.directory().join("index.json")).await
    }

    /// Writes the bytes of a manifest, unless they are there.
    pub(super) async fn keep(&self, found: &Found) -> Result<(), Failure> {
        if self.has_blob(&found.digest).await? {
            return Ok(());
        }
        let mut file = File::begin(self.directory()).await?;
        file.append(&found.bytes).await?;
        file.rename(self.directory().join(name(&found.digest))).await
    }
}

/// Makes a layout, unless another process has just done so.
fn make(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let marker = directory.join(MARKER);
    let mut marker = OpenOptions::new().write(true).create(true).truncate(false).open(marker)?;
    lock(&marker)?;
    if marker.metadata()?.len() > 0 {
        return Ok(());
    }
    std::fs::create_dir_all(directory.join("blobs/sha256"))?;
    let index = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
    std::fs::write(directory.join("index.json"), index)?;
    marker.write_all(VERSION.as_bytes())
}

/// Waits for the lock of a file; a file system that has none is written to without.
fn lock(file: &std::fs::File) -> io::Result<()> {
    match file.lock() {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        locked => locked,
    }
}

/// Does what waits for a disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// A name of Docker Hub without what all of these have: docker leaves it out, and others write it.
pub(super) fn without_hub(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// Where in a layout a blob is.
pub(super) fn name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.encoded())
}

pub(super) fn failed(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::Unusable(format!("{} cannot be {what}: {error}", path.display()))
}

#[async_trait]
impl Source for Layout {
    async fn manifest(&self, reference: &str) -> Result<Found, Failure> {
        let entry = self.entry(reference).await?;
        match (&entry, reference.parse()) {
            (Some(entry), _) => self.stored(&entry.digest, Some(entry)).await,
            (None, Ok(digest)) => self.stored(&digest, None).await,
            (None, Err(_)) => Err(Failure::Absent),
        }
    }

    async fn blob(&self, blob: &Descriptor, from: u64) -> Result<Box<dyn Blob>, Failure> {
        Ok(Box::new(self.store.open(&name(&blob.digest)).await?.skip(from)))
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Failure> {
        let index = self.index().await?;
        let mut referrers = Vec::new();
        for entry in index["manifests"].as_array().into_iter().flatten() {
            let Ok(entry) = serde_json::from_value::<Descriptor>(entry.clone()) else { continue };
            let found = self.stored(&entry.digest, Some(&entry)).await?;
            if Parts::of(&found.bytes, &found.digest)?.subject == Some(*subject) {
                referrers.push(entry);
            }
        }
        Ok(referrers)
    }
}

#[async_trait]
impl Destination for Layout {
    async fn has_manifest(&self, reference: &str) -> Result<Option<Digest>, Failure> {
        let digest = match reference.parse() {
            Ok(digest) => Some(digest),
            Err(_) => self.entry(reference).await?.map(|entry| entry.digest),
        };
        Ok(match digest {
            Some(digest) if self.has_blob(&digest).await? => Some(digest),
            _ => None,
        })
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, Failure> {
        match self.store.open(&name(digest)).await {
            Ok(_) => Ok(true),
            Err(Failure::Absent) => Ok(false),
            Err(other) => Err(other),
        }
    }

    async fn write(&self, digest: &Digest, _: &dyn Source) -> Result<Writing, Failure> {
        let path = self.directory().join(name(digest));
        Ok(Writing::Sink(Box::new(Into { file: File::begin(self.directory()).await?, path })))
    }

    async fn put_manifest(&self, found: &Found, role: Role<'_>) -> Result<(), Failure> {
        self.keep(found).await?;
        match role {
            Role::Tagged(tag) => self.list(found, Some(tag)).await,
            Role::Whole => self.list(found, None).await,
            // What refers to another manifest is found nowhere but there.
            Role::Part if Parts::of(&found.bytes, &found.digest)?.subject.is_some() => self.list(found, None).await,
            Role::Part => Ok(()),
        }
    }

    async fn lists_referrer(&self, _: &Digest, referrer: &Digest) -> Result<bool, Failure> {
        let (index, referrer) = (self.index().await?, referrer.to_string());
        Ok(index["manifests"].as_array().into_iter().flatten().any(|entry| entry["digest"] == referrer.as_str()))
    }
}

/// A file that is written beside its place and then renamed: what has its name is whole. Dropped before, it is removed.
struct File {
    named: NamedTempFile,
    file: fs::File,
}

impl File {
    async fn begin(directory: &Path) -> Result<Self, Failure> {
        let begun = || {
            let named = unfinished::file(directory)?;
            let file = fs::File::from_std(named.reopen()?);
            Ok(Self { named, file })
        };
        begun().map_err(|error| failed(directory, "written to", &error))
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).await.map_err(|error| failed(self.named.path(), "written to", &error))
    }

    async fn rename(mut self, to: PathBuf) -> Result<(), Failure> {
        let flushed = self.file.flush().await;
        let placed = match flushed {
            Ok(()) => {
                blocking({
                    let (named, to) = (self.named, to.clone());
                    move || unfinished::place(named, &to)
                })
                .await
            }
            Err(error) => Err(error),
        };
        placed.map_err(|error| failed(&to, "written", &error))
    }
}

/// A blob that is written into a layout.
struct Into {
    file: File,
    path: PathBuf,
}

#[async_trait]
impl Sink for Into {
    async fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.append(bytes).await
    }

    async fn finish(self: Box<Self>, _: &Digest) -> Result<(), Failure> {
        self.file.rename(self.path).await
    }

    async fn abort(self: Box<Self>) {}
}
