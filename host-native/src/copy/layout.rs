//! An OCI image layout (image-spec, "Image Layout"): in a directory, or to be read in an archive.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use orlop_core::digest::Digest;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

use super::manifest::{Parts, is_manifest};
use super::store::Store;
use super::{Blob, Destination, Found, Role, Sink, Source, Writing};
use crate::remote::{Descriptor, Failure};

/// How large an index or manifest may be.
const MANIFEST: usize = 16 << 20;

/// The annotation that has the tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image layout.
#[derive(Debug)]
pub struct Layout {
    store: Store,
    /// Whoever changes `index.json` holds this.
    changing: Mutex<()>,
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
        Self::of(Store::archive(path)?).await
    }

    /// A layout in an archive that was opened, if it has one.
    pub(super) async fn of(store: Store) -> Result<Self, Failure> {
        let shown = store.path().display();
        let marker = match store.read("oci-layout", MANIFEST).await {
            Err(Failure::Absent) => {
                return Err(Failure::Unusable(format!("{shown} is no OCI image layout: it has no file `oci-layout`")));
            }
            marker => marker?,
        };
        let version = serde_json::from_slice::<Value>(&marker).unwrap_or_default();
        match version["imageLayoutVersion"].as_str() {
            Some(version) if version.starts_with("1.") => {}
            other => {
                let told = format!("{shown} is an OCI image layout of version {other:?}; 1 is known");
                return Err(Failure::Unusable(told));
            }
        }
        Ok(Self { store, changing: Mutex::default() })
    }

    /// A layout to be written to, which is made if there is none.
    ///
    /// # Errors
    ///
    /// When the directory has something else, or cannot be written to.
    pub async fn create(directory: &Path) -> Result<Self, Failure> {
        if fs::try_exists(directory.join("oci-layout")).await.unwrap_or(false) {
            return Self::open(directory).await;
        }
        let wrong = |error: io::Error| failed(directory, "made a layout", &error);
        fs::create_dir_all(directory).await.map_err(wrong)?;
        if fs::read_dir(directory).await.map_err(wrong)?.next_entry().await.map_err(wrong)?.is_some() {
            let told = format!("{} has other files: an OCI image layout needs an empty directory", directory.display());
            return Err(Failure::Unusable(told));
        }
        fs::create_dir_all(directory.join("blobs/sha256")).await.map_err(wrong)?;
        let index = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
        fs::write(directory.join("index.json"), index).await.map_err(wrong)?;
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).await.map_err(wrong)?;
        Self::open(directory).await
    }

    fn directory(&self) -> &Path {
        self.store.path()
    }

    async fn index(&self) -> Result<Value, Failure> {
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
        Ok(listed.iter().find(|entry| tag(entry).as_deref() == Some(reference)).or(listed.iter().find(is)).cloned())
    }

    /// A manifest among the blobs, with the media type that its entry says or it says itself.
    async fn stored(&self, digest: &Digest, entry: Option<&Descriptor>) -> Result<Found, Failure> {
        let bytes = self.store.read(&name(digest), MANIFEST).await?;
        let wrong = |reason: &str| Failure::Unusable(format!("{}: {digest} {reason}", self.directory().display()));
        if digest.algorithm().digest(&bytes) != *digest {
            return Err(wrong("has another digest than its name says"));
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

    /// Changes `index.json`, as a whole.
    async fn list(&self, found: &Found, tag: Option<&str>) -> Result<(), Failure> {
        let _changing = self.changing.lock().await;
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
        let mut file = File::begin(self.directory()).await?;
        file.append(index.to_string().as_bytes()).await?;
        file.rename(self.directory().join("index.json")).await
    }
}

/// Where in a layout a blob is.
fn name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.encoded())
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Failure {
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
        if !self.has_blob(&found.digest).await? {
            let mut file = File::begin(self.directory()).await?;
            file.append(&found.bytes).await?;
            file.rename(self.directory().join(name(&found.digest))).await?;
        }
        match role {
            Role::Tagged(tag) => self.list(found, Some(tag)).await,
            Role::Whole => self.list(found, None).await,
            // What refers to another manifest is found nowhere but there.
            Role::Part if Parts::of(&found.bytes, &found.digest)?.subject.is_some() => self.list(found, None).await,
            Role::Part => Ok(()),
        }
    }
}

/// A file that is written beside its place and then renamed: what has its name is whole. Dropped before, it is gone.
struct File {
    named: NamedTempFile,
    file: fs::File,
}

impl File {
    async fn begin(directory: &Path) -> Result<Self, Failure> {
        let begun = || {
            let named = tempfile::Builder::new().prefix(".copying-").tempfile_in(directory)?;
            let file = fs::File::from_std(named.reopen()?);
            Ok(Self { named, file })
        };
        begun().map_err(|error| failed(directory, "written to", &error))
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).await.map_err(|error| failed(self.named.path(), "written to", &error))
    }

    async fn rename(mut self, to: PathBuf) -> Result<(), Failure> {
        let wrong = |error: io::Error| failed(&to, "written", &error);
        self.file.flush().await.map_err(wrong)?;
        self.file.sync_all().await.map_err(wrong)?;
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).await.map_err(wrong)?;
        }
        use std::os::unix::fs::PermissionsExt;
        let readable = std::fs::Permissions::from_mode(0o644);
        fs::set_permissions(self.named.path(), readable).await.map_err(wrong)?;
        self.named.persist(&to).map_err(|error| wrong(error.error))?;
        Ok(())
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
