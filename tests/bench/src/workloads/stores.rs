//! Large stores, which are made once and kept for the next run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Bench;
use crate::Outcome;
use crate::client::{Connection, Way};
use crate::data::{Image, manifest};
use crate::floor::Kind;
use crate::peers::{Peer, Server};

/// The repository and the tag of the manifest of that number.
pub(super) type Place = fn(usize) -> (String, String);

/// The stores that this run has looked at.
static SOUND: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A store of Orlop with so many manifests, made by an Orlop inside this program. One that is there is made anew if it
/// cannot be read: records may be written in another way since.
pub(super) fn orlop(bench: &Bench, name: &str, count: usize, place: Place) -> Outcome<PathBuf> {
    let directory = bench.kept(name);
    if SOUND.lock().unwrap_or_else(PoisonError::into_inner).contains(name) {
        return Ok(directory);
    }
    let done = directory.join("done");
    if !done.exists() || !is_sound(bench, &directory, place(count - 1))? {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory)?;
        let began = Instant::now();
        fill(&directory.join("data"), count, place)?;
        eprintln!("    {count} manifests pushed in {:.0} s", began.elapsed().as_secs_f64());
        fs::write(done, "")?;
    }
    SOUND.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    Ok(directory)
}

fn is_sound(bench: &Bench, directory: &Path, (repository, tag): (String, String)) -> Outcome<bool> {
    let Ok(server) = Server::start(&bench.programs, Peer::Orlop, directory, Kind::Answer) else { return Ok(false) };
    let target = format!("/v2/{repository}/manifests/{tag}");
    let (head, _) = Connection::open(server.address)?.exchange("GET", &target, "", &[])?;
    Ok(head.status == 200)
}

/// Pushes manifests by calls of the registry, without HTTP, 512 at once: a commit of each, and few fsyncs.
fn fill(data: &Path, count: usize, place: Place) -> Outcome<()> {
    use orlop_core::http::{Headers, Method, Request};
    const AT_ONCE: usize = 512;
    // In a small cache most pages would be written each time one of their records changes.
    let options = orlop::Options { cache: 4 << 30, ..orlop::Options::default() };
    let host = std::sync::Arc::new(orlop::Host::open(data, &options)?);
    let registry = orlop_core::Registry::new(orlop_core::Config::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let call = move |method: Method, target: String, media_type: Option<&str>, body: Vec<u8>, number: usize| {
        let headers: Headers = media_type.map(|value| ("content-type", value)).into_iter().collect();
        let request = Request { method, target, headers, length: Some(body.len() as u64), base: None };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut state = number as u64 ^ now.as_nanos() as u64;
        let (high, low) = (crate::data::next(&mut state), crate::data::next(&mut state));
        let nonce = serde_json::from_value(nonce(high, low).into()).expect("a UUID");
        let ambient = orlop_core::Ambient { now: orlop_core::Timestamp(now.as_millis() as u64), nonce };
        let (registry, host) = (registry.clone(), host.clone());
        async move {
            let step = registry.call(request, ambient);
            let response = host.run(step, &mut orlop::RequestBody::from_bytes(body)).await;
            if response.status == 201 { Ok(()) } else { Err(format!("{response:?}")) }
        }
    };
    let config = b"{}".to_vec();
    let digest = crate::data::digest(&config);
    let described = serde_json::json!({ "mediaType": "application/octet-stream", "digest": digest, "size": 2 });
    let (first, _) = place(0);
    let push = move |number: usize| {
        let (repository, tag) = place(number);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        // Each repository gets the configuration once.
        let blob =
            (number == 0 || repository != first).then(|| call(Method::Post, target, None, config.clone(), number));
        let mut described = described.clone();
        described["annotations"] = serde_json::json!({ "number": number.to_string() });
        let target = format!("/v2/{repository}/manifests/{tag}");
        let media_type = Some("application/vnd.oci.image.manifest.v1+json");
        let manifest = call(Method::Put, target, media_type, manifest(&described, &[]), number + count);
        async move {
            if let Some(blob) = blob {
                blob.await?;
            }
            manifest.await
        }
    };
    runtime.block_on(async move {
        push(0).await?;
        let mut running = tokio::task::JoinSet::new();
        for number in 1..count {
            if running.len() >= AT_ONCE
                && let Some(pushed) = running.join_next().await
            {
                pushed??;
            }
            running.spawn(push(number));
        }
        while let Some(pushed) = running.join_next().await {
            pushed??;
        }
        Ok(())
    })
}

fn nonce(high: u64, low: u64) -> String {
    let hex = format!("{high:016x}{low:016x}");
    // Version 4, variant 1.
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// A store of distribution, filled by `fill`, which gets a server with the store and its directory.
pub(super) fn distribution(
    bench: &Bench,
    name: &str,
    fill: impl FnOnce(&Server, &Path) -> Outcome<()>,
) -> Outcome<PathBuf> {
    let directory = bench.kept(name);
    let done = directory.join("done");
    if !done.exists() {
        let _ = fs::remove_dir_all(&directory);
        let server = Server::start(&bench.programs, Peer::Distribution, &directory, Kind::Answer)?;
        fill(&server, &directory.join("data/docker/registry/v2/repositories"))?;
        drop(server);
        fs::write(done, "")?;
    }
    Ok(directory)
}

/// Gives a manifest of distribution these tags: pushed once, the others written beside it, as they would be.
pub(super) fn tag(
    server: &Server,
    repositories: &Path,
    repository: &str,
    mut tags: impl Iterator<Item = String>,
) -> Outcome<()> {
    let first = tags.next().unwrap_or_default();
    let mut connection = Connection::open(server.address)?;
    Image::new(7, 1, 1000).push(&mut connection, repository, &first, Way::Monolithic)?;
    let folder = repositories.join(repository).join("_manifests/tags");
    let link = fs::read(folder.join(first).join("current/link"))?;
    for tag in tags {
        let current = folder.join(tag).join("current");
        fs::create_dir_all(&current)?;
        fs::write(current.join("link"), &link)?;
    }
    Ok(())
}

/// Copies a repository of distribution under these names.
pub(super) fn copy(repositories: &Path, repository: &str, names: impl Iterator<Item = String>) -> Outcome<()> {
    let mut files = Vec::new();
    let mut folders = vec![repositories.join(repository)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.strip_prefix(repositories.join(repository))?.to_owned(), fs::read(&path)?));
            }
        }
    }
    for name in names {
        for (file, content) in &files {
            let to = repositories.join(&name).join(file);
            fs::create_dir_all(to.parent().unwrap_or(repositories))?;
            fs::write(to, content)?;
        }
    }
    Ok(())
}
