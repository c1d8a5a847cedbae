//! A mirror in front of an upstream, with a way between them on which things can go wrong.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use orlop_conformance::image::{AMD64, Manifest, sha256};
use tempfile::TempDir;

use crate::client::{Answer, accepted};
use crate::proxy::Proxy;
use crate::random::Random;
use crate::server::Server;

/// A registry, a way to it, and its mirror below `hub/`.
pub(crate) struct Scene {
    pub(crate) mirror: Server,
    pub(crate) proxy: Proxy,
    pub(crate) upstream: Server,
    settings: String,
    directory: TempDir,
}

impl Scene {
    /// With these lines in the mirror's `[[mirror]]`, below which other tables may come.
    pub(crate) async fn new(settings: &str) -> Self {
        Self::on(scratch(), settings, "").await
    }

    /// The same in a directory that may have files in it, with a configuration of the upstream.
    pub(crate) async fn on(directory: TempDir, settings: &str, upstream: &str) -> Self {
        let upstream = Server::start(&directory.path().join("upstream"), upstream, &[]);
        let proxy = Proxy::to(&upstream.address).await;
        let settings = below_hub(&proxy.address, settings);
        let mirror = Server::start(&directory.path().join("mirror"), &settings, &[]);
        Self { mirror, proxy, upstream, settings, directory }
    }

    /// A file of the directory that all of it is in.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the mirror again after its end, on the same data.
    pub(crate) fn start_again(&mut self) {
        self.mirror = Server::start(&self.path("mirror"), &self.settings, &[]);
    }

    /// The same with other lines in its `[[mirror]]`.
    pub(crate) fn start_again_with(&mut self, settings: &str) {
        self.settings = below_hub(&self.proxy.address, settings);
        self.start_again();
    }

    /// Another mirror of the same, on that data directory and with these flags.
    pub(crate) fn another_mirror(&self, data: &Path, flags: &[&str]) -> Server {
        Server::start(data, &self.settings, flags)
    }

    /// Pushes an image to a repository of the upstream. The layer has so many bytes.
    pub(crate) async fn push(&self, repository: &str, tag: &str, bytes: usize) -> Image {
        let image = Image::new(bytes);
        self.upstream.push(repository, tag, &image.manifest).await;
        image
    }

    /// Pulls a manifest through the mirror.
    pub(crate) async fn manifest(&self, repository: &str, reference: &str) -> Answer {
        self.mirror.ask("GET", &format!("/v2/hub/{repository}/manifests/{reference}"), &accepted()).await
    }

    /// Pulls a blob through the mirror.
    pub(crate) async fn blob(&self, repository: &str, digest: &str) -> Answer {
        self.mirror.get(&format!("/v2/hub/{repository}/blobs/{digest}")).await
    }

    /// Pulls an image by its tag, as clients do.
    pub(crate) async fn pull(&self, repository: &str, tag: &str, image: &Image) {
        self.manifest(repository, tag).await.is(&image.manifest.bytes());
        self.blob(repository, &image.config()).await.is(&image.manifest.blobs()[0]);
        self.blob(repository, &image.layer()).await.is(image.content());
    }
}

/// An image of one layer, whose bytes are like no others.
pub(crate) struct Image {
    pub(crate) manifest: Manifest,
}

impl Image {
    /// One whose layer has so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { manifest: Manifest::image(AMD64, &content(bytes)) }
    }

    pub(crate) fn digest(&self) -> String {
        self.manifest.digest()
    }

    /// The digest of its configuration.
    pub(crate) fn config(&self) -> String {
        sha256(&self.manifest.blobs()[0])
    }

    /// The digest of its layer.
    pub(crate) fn layer(&self) -> String {
        sha256(self.content())
    }

    /// The bytes of its layer.
    pub(crate) fn content(&self) -> &Bytes {
        &self.manifest.blobs()[1]
    }
}

/// A mirror below `hub/` of the registry at that host and port.
pub(crate) fn below_hub(upstream: &str, settings: &str) -> String {
    format!("[[mirror]]\nprefix = \"hub/\"\nupstream = \"http://{upstream}\"\n{settings}\n")
}

/// Bytes that are text, and like no others.
pub(crate) fn content(bytes: usize) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut random = Random::new(NEXT.fetch_add(1, Ordering::SeqCst) << 32);
    let letters = random.bytes(bytes).into_iter().map(|byte| char::from(b'a' + byte % 16));
    letters.collect()
}

/// A directory in memory where that can be: what is tested here is no disk.
pub(crate) fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a directory can be made")
}
