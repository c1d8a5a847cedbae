//! Archives that are written: an OCI image layout in a file, and with a list of its image beside it what `docker load`
//! takes, as `docker save` writes it.
//!
//! Several contents come at once, and an archive is written in one go. So they are kept in a layout beside the archive
//! until all are there. The archive has another name, too, until it is whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use orlop_core::digest::Digest;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::layout::{IMAGE_NAME, Layout, REF_NAME, blocking, failed, name};
use super::manifest::loadable;
use super::unfinished::{self, Staging};
use super::{Destination, Found, Role, Source, Writing};
use crate::remote::Failure;

/// What an archive is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A layout, with any images.
    Layout,
    /// One image for `docker load`, under this name with its tag, such as `registry.example.com/team/app:v1`.
    Docker(Option<String>),
}

impl Format {
    fn takes(&self, root: &Found) -> Result<(), Failure> {
        match self {
            Self::Layout => Ok(()),
            Self::Docker(_) => loadable(root).map(|_| ()),
        }
    }
}

/// An archive that is being written. Dropped before it was [finished](Packed::finish), it leaves nothing behind.
#[derive(Debug)]
pub struct Packed {
    path: PathBuf,
    format: Format,
    layout: Layout,
    staging: Staging,
}

impl Packed {
    /// An archive that takes the place of any that has its name, when it is finished.
    ///
    /// # Errors
    ///
    /// When its directory cannot be written to, or something else than a file has its name.
    pub async fn create(path: &Path, format: Format) -> Result<Self, Failure> {
        let file = path.to_owned();
        let staged = blocking(move || {
            unused(&file)?;
            unfinished::sweep_beside(&file);
            Staging::beside(&file)
        });
        let staging = staged.await.map_err(|error| failed(path, "written", &error))?;
        let layout = Layout::create(staging.path()).await?;
        Ok(Self { path: path.into(), format, layout, staging })
    }

    /// The layout that becomes the archive.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Writes the archive, with the image that was written last under this digest. Dropped before it is done, it writes no
    /// more and makes no archive.
    ///
    /// # Errors
    ///
    /// When it cannot be written. What had its name before still has it.
    pub async fn finish(self, root: &Digest) -> Result<(), Failure> {
        let mut files = vec![("index.json", self.layout.index().await?)];
        if let Format::Docker(image) = &self.format {
            let found = self.layout.manifest(&root.to_string()).await?;
            let (config, layers) = loadable(&found)?;
            let layers: Vec<_> = layers.iter().map(|layer| name(&layer.digest)).collect();
            let tags: Vec<_> = image.iter().collect();
            files.push((
                "manifest.json",
                json!([{ "Config": name(&config.digest), "RepoTags": tags, "Layers": layers }]),
            ));
            if let Some(image) = image {
                name_image(&mut files[0].1, image);
            }
        }
        let (path, staging, stop) = (self.path.clone(), self.staging, CancellationToken::new());
        // Work that blocks goes on when whoever waits for it is gone, unless it is told to stop.
        let _stops = stop.clone().drop_guard();
        let written = blocking(move || {
            let mut file = unfinished::file(staging.path())?;
            pack(staging.path(), &files, BufWriter::new(Stoppable { to: file.as_file_mut(), stop: &stop }))?;
            // This may take long, so what follows it takes no time.
            file.as_file().sync_all()?;
            go_on(&stop)?;
            unfinished::place(file, &path)
        });
        written.await.map_err(|error| failed(&self.path, "written", &error))
    }
}

/// A writer that fails once it is to stop.
struct Stoppable<'s, W> {
    to: W,
    stop: &'s CancellationToken,
}

impl<W: Write> Write for Stoppable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        go_on(self.stop)?;
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn go_on(stop: &CancellationToken) -> io::Result<()> {
    if stop.is_cancelled() { Err(io::Error::other("it was interrupted")) } else { Ok(()) }
}

/// Whether a file may have this name: a device, for one, is not replaced by a file.
fn unused(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => Err(io::Error::other("it is no file")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Has each entry of an index that has a tag say the whole name of its image.
fn name_image(index: &mut Value, image: &str) {
    let (registry, rest) = image.split_once('/').unwrap_or(("", image));
    let full = match registry {
        "" => format!("docker.io/library/{rest}"),
        host if host.contains(['.', ':']) || host == "localhost" => image.to_owned(),
        _ => format!("docker.io/{image}"),
    };
    for entry in index["manifests"].as_array_mut().into_iter().flatten() {
        if entry["annotations"][REF_NAME].is_string() {
            entry["annotations"][IMAGE_NAME] = full.as_str().into();
        }
    }
}

/// Writes the files of a layout into an archive, with these in the place of its own: the same bytes each time.
fn pack(layout: &Path, files: &[(&str, Value)], to: impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    let header = |size: u64, kind: tar::EntryType, mode: u32| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(0);
        header
    };
    let mut add = |name: &str, size: u64, bytes: &mut dyn io::Read| {
        archive.append_data(&mut header(size, tar::EntryType::Regular, 0o644), name, bytes)
    };
    let marker = std::fs::read(layout.join("oci-layout"))?;
    add("oci-layout", marker.len() as u64, &mut marker.as_slice())?;
    for (name, value) in files {
        let text = value.to_string();
        add(name, text.len() as u64, &mut text.as_bytes())?;
    }
    for algorithm in sorted(&layout.join("blobs"))? {
        for blob in sorted(&layout.join("blobs").join(&algorithm))? {
            let name = format!("blobs/{algorithm}/{blob}");
            let mut file = File::open(layout.join(&name))?;
            add(&name, file.metadata()?.len(), &mut file)?;
        }
    }
    archive.into_inner()?.flush()
}

/// The names in a directory, in order.
fn sorted(directory: &Path) -> io::Result<Vec<String>> {
    let names = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[async_trait]
impl Destination for Packed {
    async fn has_manifest(&self, reference: &str) -> Result<Option<Digest>, Failure> {
        self.layout.has_manifest(reference).await
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, Failure> {
        self.layout.has_blob(digest).await
    }

    async fn write(&self, digest: &Digest, source: &dyn Source) -> Result<Writing, Failure> {
        self.layout.write(digest, source).await
    }

    async fn put_manifest(&self, found: &Found, role: Role<'_>) -> Result<(), Failure> {
        self.layout.put_manifest(found, role).await
    }

    fn takes(&self, root: &Found) -> Result<(), Failure> {
        self.format.takes(root)
    }
}

/// A layout or archive that would be made, if anything was to be written. It has nothing.
#[derive(Debug)]
pub struct Unwritten(pub Format);

#[async_trait]
impl Destination for Unwritten {
    async fn has_manifest(&self, _: &str) -> Result<Option<Digest>, Failure> {
        Ok(None)
    }

    async fn has_blob(&self, _: &Digest) -> Result<bool, Failure> {
        Ok(false)
    }

    async fn write(&self, _: &Digest, _: &dyn Source) -> Result<Writing, Failure> {
        Err(Failure::Unusable("nothing is to be written".into()))
    }

    async fn put_manifest(&self, _: &Found, _: Role<'_>) -> Result<(), Failure> {
        Err(Failure::Unusable("nothing is to be written".into()))
    }

    fn takes(&self, root: &Found) -> Result<(), Failure> {
        self.0.takes(root)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orlop_core::digest::Algorithm;
    use tempfile::TempDir;
    use tokio::time::sleep;

    use super::*;

    #[test]
    fn an_archive_is_not_written_when_who_waits_for_it_is_gone() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("a.tar");
        std::fs::write(&path, "older").unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let packed = Packed::create(&path, Format::Layout).await.unwrap();
            let staging = packed.staging.path().to_owned();
            let blobs = staging.join("blobs/sha256");
            std::fs::create_dir_all(&blobs).unwrap();
            // It takes no room, but some time to be packed.
            File::create(blobs.join("large")).unwrap().set_len(512 << 20).unwrap();
            let unfinished = || {
                let mut names = std::fs::read_dir(&staging).unwrap().map(|entry| entry.unwrap().file_name());
                names.any(|name| name.to_string_lossy().starts_with(".copying-"))
            };
            let root = Algorithm::Sha256.digest(b"");
            let begun = async {
                while !unfinished() {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                done = packed.finish(&root) => panic!("it is done already: {done:?}"),
                () = begun => {}
            }
        });
        // It waits for work that blocks.
        drop(runtime);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 5, "the older one has its name");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    }
}
