//! The data directory of another registry, made without that registry: what pushes would have left there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::super::{Bench, at_once};
use crate::Outcome;
use crate::data::{digest, manifest};
use crate::machine::processors;

/// Where the layout begins below the directory that distribution is told of.
const LAYOUT: &str = "docker/registry/v2";

/// How many images a repository has, and how many layers an image.
const IMAGES: usize = 1000;
const LAYERS: usize = 9;

/// The repository and the tag of the image of that number.
pub(super) fn place(number: usize) -> (String, String) {
    (format!("bench/r{:04}", number / IMAGES), format!("v{number:07}"))
}

/// A data directory of distribution with so many images, each with a tag, a manifest, a configuration and nine layers of
/// its own. It stays for the next run.
pub(super) fn made(bench: &Bench, images: usize) -> Outcome<PathBuf> {
    let directory = bench.kept(&format!("distribution-images-{images}"));
    let done = directory.join("done");
    if !done.exists() {
        let _ = fs::remove_dir_all(&directory);
        let began = Instant::now();
        let root = directory.join("data").join(LAYOUT);
        for two in 0..=u8::MAX {
            fs::create_dir_all(root.join(format!("blobs/sha256/{two:02x}")))?;
        }
        let repositories = images.div_ceil(IMAGES);
        let threads = processors();
        at_once(threads, |thread| {
            (thread..repositories).step_by(threads).try_for_each(|repository| {
                let from = repository * IMAGES;
                repository_of(&root, from, images.min(from + IMAGES))
            })
        })?;
        eprintln!("    {images} images written in {:.0} s", began.elapsed().as_secs_f64());
        fs::write(done, "")?;
    }
    Ok(directory)
}

/// Writes one repository.
fn repository_of(root: &Path, from: usize, to: usize) -> Outcome<()> {
    let repository = root.join("repositories").join(place(from).0);
    for below in ["_layers/sha256", "_manifests/revisions/sha256", "_manifests/tags", "_uploads"] {
        fs::create_dir_all(repository.join(below))?;
    }
    (from..to).try_for_each(|number| image(root, &repository, number))
}

fn image(root: &Path, repository: &Path, number: usize) -> Outcome<()> {
    let mut layers = Vec::with_capacity(LAYERS);
    for index in 0..LAYERS {
        layers.push(layer(root, repository, "layer.v1.tar", format!("layer {index} of image {number}").into_bytes())?);
    }
    let diffs: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Labels": { "number": number.to_string() } },
        "rootfs": { "type": "layers", "diff_ids": diffs },
    });
    let config = layer(root, repository, "config.v1+json", config.to_string().into_bytes())?;
    let manifest = manifest(&config, &layers);
    let digest = digest(&manifest);
    blob(root, &digest, &manifest)?;
    link(&repository.join("_manifests/revisions/sha256").join(encoded(&digest)), &digest)?;
    let tag = repository.join("_manifests/tags").join(place(number).1);
    for below in ["current", "index"] {
        fs::create_dir_all(tag.join(below))?;
    }
    fs::create_dir(tag.join("index/sha256"))?;
    link(&tag.join("index/sha256").join(encoded(&digest)), &digest)?;
    Ok(fs::write(tag.join("current/link"), &digest)?)
}

/// Writes a blob that the repository holds, and describes it.
fn layer(root: &Path, repository: &Path, kind: &str, bytes: Vec<u8>) -> Outcome<serde_json::Value> {
    let digest = digest(&bytes);
    blob(root, &digest, &bytes)?;
    link(&repository.join("_layers/sha256").join(encoded(&digest)), &digest)?;
    let media_type = format!("application/vnd.oci.image.{kind}");
    Ok(serde_json::json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
}

fn blob(root: &Path, digest: &str, bytes: &[u8]) -> Outcome<()> {
    let hex = encoded(digest);
    let directory = root.join("blobs/sha256").join(&hex[..2]).join(hex);
    fs::create_dir(&directory)?;
    Ok(fs::write(directory.join("data"), bytes)?)
}

fn link(directory: &Path, digest: &str) -> Outcome<()> {
    fs::create_dir(directory)?;
    Ok(fs::write(directory.join("link"), digest)?)
}

fn encoded(digest: &str) -> &str {
    digest.split_once(':').map_or(digest, |(_, encoded)| encoded)
}
