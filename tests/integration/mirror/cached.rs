//! What is here is not asked of the upstream, and what is not here is asked once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use http_body_util::BodyExt;
use orlop_conformance::image::{AMD64, ARM64, Manifest};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::proxy::Fault;
use crate::scene::{Scene, content};
use crate::server::eventually;

const MIB: usize = 1 << 20;

/// What many clients want at once: large enough that all of them come while it is fetched.
const WANTED: usize = 16 * MIB;

/// How many they are.
const CLIENTS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_is_here_is_never_asked_for_again() {
    let scene = Scene::new("fresh = \"always\"").await;
    let image = scene.push("app", "v1", 300_000).await;
    let first = scene.manifest("app", "v1").await;
    first.is(&image.manifest.bytes());
    assert_eq!(first.cache(), "MISS");
    scene.pull("app", "v1", &image).await;
    scene.proxy.clear();
    for _ in 0..3 {
        let manifest = scene.manifest("app", &image.digest()).await;
        manifest.is(&image.manifest.bytes());
        assert_eq!(manifest.cache(), "HIT");
        let blob = scene.blob("app", &image.layer()).await;
        blob.is(image.content());
        assert_eq!(blob.cache(), "HIT");
        let target = format!("/v2/hub/app/blobs/{}", image.layer());
        assert_eq!(scene.mirror.head(&target).await.status, 200);
        scene.mirror.ask("GET", &target, &[("range", "bytes=7-1999")]).await.is(&image.content()[7..2000]);
    }
    assert_eq!(scene.proxy.lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_costs_one_head_once_it_is_no_longer_fresh() {
    let scene = Scene::new("fresh = \"1s\"").await;
    let image = scene.push("app", "v1", 1000).await;
    scene.pull("app", "v1", &image).await;
    scene.proxy.clear();
    scene.pull("app", "v1", &image).await;
    assert_eq!(scene.proxy.lines(), [""; 0], "it is fresh");
    sleep(Duration::from_millis(1200)).await;
    for _ in 0..3 {
        scene.pull("app", "v1", &image).await;
    }
    assert_eq!(scene.proxy.lines(), ["HEAD /v2/app/manifests/v1"]);
    // The tag moves: clients see it when it is asked for the next time.
    let moved = scene.push("app", "v1", 1000).await;
    scene.manifest("app", "v1").await.is(&image.manifest.bytes());
    sleep(Duration::from_millis(1200)).await;
    scene.pull("app", "v1", &moved).await;
    scene.manifest("app", &image.digest()).await.is(&image.manifest.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_may_never_be_fresh_or_always() {
    let scene = Scene::new("fresh = \"never\"\nfixed = [\"v*\"]").await;
    let image = scene.push("app", "latest", 1000).await;
    scene.upstream.push("app", "v1", &image.manifest).await;
    for tag in ["latest", "v1"] {
        scene.pull("app", tag, &image).await;
    }
    scene.proxy.clear();
    for _ in 0..3 {
        scene.manifest("app", "v1").await.is(&image.manifest.bytes());
    }
    assert_eq!(scene.proxy.lines(), [""; 0], "a tag that never changes");
    for _ in 0..3 {
        scene.manifest("app", "latest").await.is(&image.manifest.bytes());
    }
    assert_eq!(scene.proxy.lines(), ["HEAD /v2/app/manifests/latest"; 3]);

    let scene = Scene::new("fresh = \"always\"").await;
    let image = scene.push("app", "latest", 1000).await;
    scene.pull("app", "latest", &image).await;
    scene.push("app", "latest", 1000).await;
    scene.proxy.clear();
    scene.pull("app", "latest", &image).await;
    assert_eq!(scene.proxy.lines(), [""; 0]);
}

/// The upstream sends the blob once, whoever comes, stands still, or leaves.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_of_one_blob_are_one_get() {
    let scene = Scene::new("").await;
    let blob = Bytes::from(content(WANTED));
    let digest = scene.upstream.push_blob("app", &blob).await;
    scene.push("app", "v1", 1000).await;
    // More than a second for the upstream.
    scene.proxy.fails(&format!("GET /v2/app/blobs/{digest}"), Fault::Trickle(256 << 10));
    let target = format!("/v2/hub/app/blobs/{digest}");
    let idle = scene.mirror.begin("GET", &target, &[]).await;
    drop(scene.mirror.begin("GET", &target, &[]).await);
    let mirror = Arc::new(scene.mirror);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (mirror, target, blob) = (mirror.clone(), target.clone(), blob.clone());
        clients.spawn(async move {
            let response = mirror.begin("GET", &target, &[]).await;
            assert_eq!(response.status(), 200);
            let (mut body, mut place) = (response.into_body(), 0);
            while let Some(frame) = body.frame().await {
                let piece = frame.expect("the body comes to its end").into_data().expect("no trailers");
                assert!(blob[place..].starts_with(&piece), "other bytes after {place}");
                place += piece.len();
            }
            assert_eq!(place, blob.len());
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client");
    }
    drop(idle);
    let asked = scene.proxy.seen(&digest);
    let gets: Vec<_> = asked.iter().filter(|seen| seen.line.starts_with("GET ")).collect();
    assert_eq!(gets.len(), 1, "{:?}", scene.proxy.lines());
    assert_eq!(gets[0].sent(), blob.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_of_one_new_tag_are_one_get() {
    let scene = Arc::new(Scene::new("").await);
    let image = scene.push("app", "v1", 1000).await;
    // So slowly that all of them come meanwhile.
    scene.proxy.fails("GET /v2/app/manifests/", Fault::Trickle(20));
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let (scene, manifest) = (scene.clone(), image.manifest.bytes());
        clients.spawn(async move { scene.manifest("app", "v1").await.is(&manifest) });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client");
    }
    assert_eq!(scene.proxy.lines(), ["GET /v2/app/manifests/v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_to_the_client_as_they_come() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 4 * MIB).await;
    scene.proxy.fails("GET /v2/app/blobs/", Fault::Trickle(64 << 10));
    let began = Instant::now();
    let blob = scene.blob("app", &image.layer()).await;
    blob.is(image.content());
    assert_eq!(blob.cache(), "MISS");
    assert!(blob.first < began.elapsed() / 2, "the first came after {:?} of {:?}", blob.first, began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_no_fetch() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 2 * MIB).await;
    scene.manifest("app", "v1").await.is(&image.manifest.bytes());
    scene.proxy.fails("GET /v2/app/blobs/", Fault::Trickle(64 << 10));
    drop(scene.mirror.begin("GET", &format!("/v2/hub/app/blobs/{}", image.layer()), &[]).await);
    let sent = || scene.proxy.seen("GET /v2/app/blobs/").iter().map(|seen| seen.sent()).sum::<u64>();
    eventually(|| sent() == 2 * MIB as u64, || format!("{} bytes were fetched", sent())).await;
    scene.blob("app", &image.layer()).await.is(image.content());
    assert_eq!(scene.proxy.seen("GET /v2/app/blobs/").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pulled_is_pulled_without_the_upstream() {
    let mut scene = Scene::new("fresh = \"never\"").await;
    let (one, other) = (scene.push("app", "amd64", 5000).await, Manifest::image(ARM64, &content(5000)));
    scene.upstream.push("app", "arm64", &other).await;
    let index = Manifest::index(&[&one.manifest, &other]);
    scene.upstream.push("app", "v1", &index).await;
    scene.manifest("app", "v1").await.is(&index.bytes());
    // Children that nothing of was pulled are here or asked for: never 404.
    scene.manifest("app", &other.digest()).await.is(&other.bytes());
    scene.pull("app", "amd64", &one).await;
    scene.upstream.kill();
    for _ in 0..2 {
        let manifest = scene.manifest("app", "v1").await;
        manifest.is(&index.bytes());
        assert_eq!(manifest.cache(), "STALE");
        scene.manifest("app", &other.digest()).await.is(&other.bytes());
        scene.pull("app", "amd64", &one).await;
    }
    scene.mirror.kill();
    scene.start_again();
    scene.manifest("app", "v1").await.is(&index.bytes());
    scene.pull("app", "amd64", &one).await;
}

/// As on a journey, or to see what would be missing.
#[tokio::test(flavor = "multi_thread")]
async fn an_offline_mirror_has_what_is_here() {
    let mut scene = Scene::new("fresh = \"never\"").await;
    let (image, other) = (scene.push("app", "v1", 1000).await, scene.push("other", "v1", 1000).await);
    scene.pull("app", "v1", &image).await;
    scene.mirror.kill();
    scene.start_again_with("offline = true");
    scene.proxy.clear();
    scene.pull("app", "v1", &image).await;
    scene.manifest("other", "v1").await.is_refused(404);
    scene.blob("other", &other.layer()).await.is_refused(404);
    assert_eq!(scene.proxy.lines(), [""; 0]);
}

/// A client that wants a part of a blob (zstd:chunked, SOCI) does not wait for all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_a_cold_blob_is_a_range_for_the_upstream() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 8 * MIB).await;
    scene.manifest("app", "v1").await.is(&image.manifest.bytes());
    scene.proxy.clear();
    scene.proxy.fails("GET /v2/app/blobs/", Fault::Trickle(64 << 10));
    let target = format!("/v2/hub/app/blobs/{}", image.layer());
    let last = scene.mirror.ask("GET", &target, &[("range", "bytes=-1000")]).await;
    last.is(&image.content()[8 * MIB - 1000..]);
    assert_eq!(last.status, 206);
    let asked = scene.proxy.seen("GET /v2/app/blobs/");
    let (parts, whole): (Vec<_>, Vec<_>) = asked.iter().partition(|seen| !seen.field("range").is_empty());
    assert_eq!(parts.iter().map(|seen| seen.sent()).sum::<u64>(), 1000, "{asked:?}");
    assert!(whole.iter().all(|seen| seen.sent() < 4 * MIB as u64), "the end of it came after all of it");
    let several = scene.mirror.ask("GET", &target, &[("range", "bytes=0-9,100000-100009")]).await;
    assert!(several.whole && matches!(several.status, 200 | 206), "{}", several.text());
    scene.proxy.heals();
    scene.blob("app", &image.layer()).await.is(image.content());
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_of_the_upstream_are_listed() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 1000).await;
    scene.manifest("app", "v1").await.is(&image.manifest.bytes());
    let signature = Manifest::artifact("application/vnd.example.signature", &content(100)).about(&image.manifest);
    scene.upstream.push("app", &signature.digest(), &signature).await;
    let listed = scene.mirror.get(&format!("/v2/hub/app/referrers/{}", image.digest())).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    assert!(listed.text().contains(&signature.digest()), "{}", listed.text());
    scene.manifest("app", &signature.digest()).await.is(&signature.bytes());
}

/// The upstream may keep from a client of one repository what it shows of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_came_by_one_repository_is_in_no_other() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 1000).await;
    scene.pull("app", "v1", &image).await;
    let other = Manifest::image(AMD64, &content(10));
    scene.upstream.push("other", "v1", &other).await;
    scene.manifest("other", "v1").await.is(&other.bytes());
    scene.blob("other", &image.layer()).await.is_refused(404);
}
