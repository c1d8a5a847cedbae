//! The upstream, or what lies before it, sends wrong bytes: no client ends with a clean 200, and nothing wrong is kept.

use std::sync::Arc;

use orlop_conformance::image::{OCI_INDEX, sha256};
use tokio::task::JoinSet;

use crate::client::Answer;
use crate::proxy::{Fault, Proxy};
use crate::scene::{Image, Scene, scratch};
use crate::server::Server;

const MIB: usize = 1 << 20;

/// Small enough to be sent at once, and larger than any buffer on the way.
const SIZES: [usize; 2] = [1000, 3 * MIB];

/// What goes wrong with the bytes of a body of that length.
fn wrong_bytes(length: usize) -> [Fault; 12] {
    [
        Fault::Corrupt(0),
        Fault::Corrupt(length / 2),
        Fault::Corrupt(length - 1),
        Fault::Cut(0),
        Fault::Cut(length / 2),
        Fault::Cut(length - 1),
        Fault::Shorter(1),
        Fault::Shorter(length / 2),
        Fault::Longer(1),
        Fault::Longer(MIB),
        Fault::Page("text/html", "<h1>Log in to this network</h1>"),
        Fault::Page("application/octet-stream", ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_of_a_blob_end_in_no_success_and_are_not_kept() {
    let scene = Arc::new(Scene::new("").await);
    let mut pulls = JoinSet::new();
    for (number, (size, fault)) in
        SIZES.iter().flat_map(|size| wrong_bytes(*size).map(|fault| (*size, fault))).enumerate()
    {
        let scene = scene.clone();
        pulls.spawn(async move { wrong_blob(&scene, &format!("app{number}"), size, fault).await });
    }
    while let Some(ended) = pulls.join_next().await {
        ended.expect("a pull");
    }
    let mut scene = Arc::into_inner(scene).expect("all pulls have ended");
    assert!(scene.mirror.is_running());
    scene.mirror.kill();
    scene.mirror.is_in_order();
}

async fn wrong_blob(scene: &Scene, repository: &str, size: usize, fault: Fault) {
    let image = scene.push(repository, "v1", size).await;
    scene.manifest(repository, &image.digest()).await.is(&image.manifest.bytes());
    let asked = format!("GET /v2/{repository}/blobs/");
    scene.proxy.fails(&asked, fault.clone());
    let blob = scene.blob(repository, &image.layer()).await;
    println!("{fault:?} of {size}: {} with {} bytes, whole: {}", blob.status, blob.body.len(), blob.whole);
    if matches!(fault, Fault::Cut(_)) && blob.whole && blob.status == 200 {
        // The rest was asked for again, and came.
        blob.is(image.content());
    } else {
        blob.is_no_success();
    }
    scene.proxy.heals_of(&asked);
    scene.pull(repository, &image.digest(), &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_of_a_manifest_end_in_no_success_and_are_not_kept() {
    let mut scene = Scene::new("fresh = \"never\"").await;
    let length = Image::new(1000).manifest.bytes().len();
    for fault in wrong_bytes(length) {
        for by_tag in [false, true] {
            let image = scene.push("app", "v1", 1000).await;
            let reference = if by_tag { "v1".into() } else { image.digest() };
            scene.proxy.fails("GET /v2/app/manifests/", fault.clone());
            let manifest = scene.manifest("app", &reference).await;
            println!("{fault:?} by tag: {by_tag}: {} {}", manifest.status, manifest.cache());
            // Of a tag that was pulled before, there is the manifest before it.
            if manifest.cache() != "STALE" {
                manifest.is_no_success();
            }
            scene.proxy.heals();
            scene.pull("app", &reference, &image).await;
        }
    }
    assert!(scene.mirror.is_running());
    scene.mirror.kill();
    scene.mirror.is_in_order();
}

/// A client that was sent wrong bytes by the first is not sent the end of the right ones by the second.
#[tokio::test(flavor = "multi_thread")]
async fn right_bytes_of_another_upstream_do_not_follow_wrong_ones() {
    let scene = Scene::new("").await;
    let directory = scratch();
    let liar = Proxy::to(&scene.upstream.address).await;
    let both = format!("[\"http://{}\", \"http://{}\"]", liar.address, scene.proxy.address);
    let settings = format!("[[mirror]]\nprefix = \"hub/\"\nupstream = {both}\n");
    let mirror = Server::start(&directory.path().join("mirror"), &settings, &[]);
    for fault in
        [Fault::Corrupt(0), Fault::Corrupt(MIB), Fault::Corrupt(3 * MIB - 1), Fault::Cut(MIB), Fault::Shorter(1)]
    {
        let image = scene.push("app", "v1", 3 * MIB).await;
        liar.heals();
        liar.fails("GET /v2/app/blobs/", fault.clone());
        let target = format!("/v2/hub/app/blobs/{}", image.layer());
        let blob = mirror.get(&target).await;
        println!("{fault:?}: {} with {} bytes, whole: {}", blob.status, blob.body.len(), blob.whole);
        if blob.status == 200 && blob.whole {
            blob.is(image.content());
        }
        mirror.get(&target).await.is(image.content());
    }
}

/// Fields that speak of other bytes than come.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_served_as_what_it_is_or_not_at_all() {
    let scene = Scene::new("").await;
    let faults = [
        Fault::Field("docker-content-digest", sha256("other")),
        Fault::Field("docker-content-digest", "sha256:none".into()),
        Fault::Field("content-type", OCI_INDEX.into()),
        Fault::Field("content-type", "text/html".into()),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let repository = format!("app{number}");
        let image = scene.push(&repository, "v1", 1000).await;
        scene.proxy.fails("/manifests/", fault.clone());
        let manifest = scene.manifest(&repository, "v1").await;
        println!("{fault:?}: {}", manifest.text());
        if manifest.status == 200 {
            is_what_it_is(&manifest, &image);
        } else {
            manifest.is_no_success();
        }
        scene.proxy.heals();
        is_what_it_is(&scene.manifest(&repository, "v1").await, &image);
    }
}

#[track_caller]
fn is_what_it_is(manifest: &Answer, image: &Image) {
    manifest.is(&image.manifest.bytes());
    assert_eq!(manifest.field("docker-content-digest"), image.digest());
    assert_eq!(manifest.field("content-type"), image.manifest.media_type());
}

/// A HEAD that lies makes nothing of what is here.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_lies_moves_no_tag() {
    let scene = Scene::new("fresh = \"never\"").await;
    let image = scene.push("app", "v1", 1000).await;
    scene.pull("app", "v1", &image).await;
    for value in [sha256("other"), "sha256:none".into(), String::new()] {
        scene.proxy.heals();
        scene.proxy.fails("HEAD /v2/app/manifests/", Fault::Field("docker-content-digest", value));
        scene.pull("app", "v1", &image).await;
    }
}
