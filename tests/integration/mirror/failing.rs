//! The upstream fails: what was pulled is still pulled, and what was not is refused in a way that says why.

use std::time::Duration;

use crate::proxy::{Fault, Proxy};
use crate::scene::{Scene, below_hub, scratch};
use crate::server::Server;

const MIB: usize = 1 << 20;

/// Longer than it takes an upstream to be given up that does not answer.
const GIVEN_UP: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_served_stale_whatever_fails() {
    let scene = Scene::new("fresh = \"never\"").await;
    let image = scene.push("app", "v1", 1000).await;
    scene.pull("app", "v1", &image).await;
    let faults = [
        Fault::status(401),
        Fault::status(403),
        Fault::status(500),
        Fault::status(503),
        Fault::Page("text/html", "<h1>Log in to this network</h1>"),
        Fault::challenge("http://127.0.0.1:1/token"),
        // Last, as it makes a pause.
        Fault::too_many(600),
    ];
    for fault in faults {
        scene.proxy.heals();
        scene.proxy.fails("", fault.clone());
        let manifest = scene.manifest("app", "v1").await;
        assert_eq!((manifest.status, manifest.cache()), (200, "STALE"), "{fault:?}: {}", manifest.text());
        manifest.is(&image.manifest.bytes());
        scene.pull("app", "v1", &image).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_answer_is_given_up() {
    let scene = Scene::new("fresh = \"never\"").await;
    let image = scene.push("app", "v1", 1000).await;
    scene.pull("app", "v1", &image).await;
    scene.proxy.fails("", Fault::Silence);
    let both = async { tokio::join!(scene.manifest("app", "v1"), scene.manifest("app", "v2")) };
    let (known, unknown) = tokio::time::timeout(GIVEN_UP, both).await.expect("it is given up");
    known.is(&image.manifest.bytes());
    assert_eq!(known.cache(), "STALE");
    unknown.is_refused(502);
}

/// What the upstream would not let one see is not shown because it fails.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_pulled_is_refused_while_the_upstream_fails() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 1000).await;
    for fault in [Fault::status(500), Fault::status(503), Fault::Redirect("http://127.0.0.1:1".into())] {
        scene.proxy.heals();
        scene.proxy.fails("", fault.clone());
        scene.manifest("app", "v1").await.is_refused(502);
        scene.manifest("app", &image.digest()).await.is_refused(502);
        scene.blob("app", &image.layer()).await.is_refused(502);
    }
    scene.mirror.logs(&scene.proxy.address).await;
    // What it denies is as if it were not there.
    for status in [401, 403] {
        scene.proxy.heals();
        scene.proxy.fails("", Fault::status(status));
        scene.manifest("app", &image.digest()).await.is_refused(404);
    }
    scene.proxy.heals();
    scene.pull("app", "v1", &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_upstream_is_told_only_for_what_is_not_here() {
    let scene = Scene::new("fresh = \"never\"").await;
    let image = scene.push("app", "v1", 1000).await;
    scene.pull("app", "v1", &image).await;
    let other = scene.push("other", "v1", 1000).await;
    scene.proxy.fails("", Fault::too_many(2));
    scene.proxy.clear();
    let refused = scene.manifest("other", "v1").await;
    refused.is_refused(429);
    let wait: u64 = refused.field("retry-after").parse().expect("a number of seconds");
    assert!((1..=2).contains(&wait), "{wait}");
    // The upstream is left alone for that time, by all.
    for _ in 0..5 {
        scene.manifest("other", "v1").await.is_refused(429);
        scene.blob("other", &other.layer()).await.is_refused(429);
        scene.pull("app", "v1", &image).await;
    }
    assert_eq!(scene.proxy.lines().len(), 1, "{:?}", scene.proxy.lines());
    scene.proxy.heals();
    tokio::time::sleep(Duration::from_millis(2200)).await;
    scene.pull("other", "v1", &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_asked_for_again_at_once() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 1000).await;
    for _ in 0..5 {
        scene.manifest("app", "absent").await.is_refused(404);
        scene.manifest("nowhere", "v1").await.is_refused(404);
    }
    assert_eq!(scene.proxy.seen("/v2/app/manifests/absent").len(), 1, "{:?}", scene.proxy.lines());
    assert_eq!(scene.proxy.seen("/v2/nowhere/manifests/v1").len(), 1, "{:?}", scene.proxy.lines());
    scene.pull("app", "v1", &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_breaks_off_goes_on_where_it_was() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 4 * MIB).await;
    scene.manifest("app", "v1").await.is(&image.manifest.bytes());
    scene.proxy.fails_times("GET /v2/app/blobs/", Fault::Cut(MIB), 2);
    scene.blob("app", &image.layer()).await.is(image.content());
    let asked = scene.proxy.seen("GET /v2/app/blobs/");
    let ranges: Vec<_> = asked.iter().map(|seen| seen.field("range")).collect();
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    assert!(ranges[0].is_empty() && ranges[1..].iter().all(|range| range.starts_with("bytes=")), "{ranges:?}");
    let sent: u64 = asked.iter().map(|seen| seen.sent()).sum();
    assert!(sent < (4 * MIB + MIB / 2) as u64, "{sent} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_upstream_goes_on_where_one_hardly_sends_anything() {
    const CRAWL: usize = 500;
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", MIB).await;
    let directory = scratch();
    let crawling = Proxy::to(&scene.upstream.address).await;
    crawling.fails("GET /v2/app/blobs/", Fault::Crawl(CRAWL));
    // The first connection of the other one is slow too: that is not held against it for what the first one did.
    scene.proxy.fails_times("GET /v2/app/blobs/", Fault::Crawl(CRAWL), 1);
    let addresses = [&crawling.address, &scene.proxy.address].map(|address| format!("\"http://{address}\""));
    let settings = below_hub("x", "").replace("\"http://x\"", &format!("[{}]", addresses.join(", ")));
    let mut mirror = Server::start(&directory.path().join("mirror"), &settings, &[]);
    let target = format!("/v2/hub/app/blobs/{}", image.layer());
    mirror.get(&target).await.is(image.content());
    // What was kept is the whole blob, too.
    crawling.fails("", Fault::status(503));
    scene.proxy.fails("", Fault::status(503));
    mirror.get(&target).await.is(image.content());
    let end = MIB - 100;
    let range = format!("bytes={end}-");
    mirror.ask("GET", &target, &[("range", range.as_str())]).await.is(&image.content()[end..]);
    let asked = |proxy: &Proxy| {
        let seen = proxy.seen("GET /v2/app/blobs/");
        seen.iter().map(|seen| seen.field("range").to_owned()).collect::<Vec<_>>()
    };
    let from = |connections: usize| format!("bytes={}-", connections * CRAWL);
    assert_eq!(asked(&crawling), [String::new(), from(1), from(2)]);
    assert_eq!(asked(&scene.proxy), [from(3), from(4)]);
    mirror.kill();
    mirror.is_in_order();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_upstream_is_asked_when_one_fails() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 1000).await;
    let directory = scratch();
    let (refusing, failing) = (Proxy::to(&scene.upstream.address).await, Proxy::to(&scene.upstream.address).await);
    failing.fails("", Fault::status(503));
    let gone = refusing.address.clone();
    drop(refusing);
    let addresses = [&gone, &failing.address, &scene.proxy.address].map(|address| format!("\"http://{address}\""));
    let settings = below_hub("x", "").replace("\"http://x\"", &format!("[{}]", addresses.join(", ")));
    let mirror = Server::start(&directory.path().join("mirror"), &settings, &[]);
    let manifest = mirror.get("/v2/hub/app/manifests/v1").await;
    manifest.is(&image.manifest.bytes());
    mirror.get(&format!("/v2/hub/app/blobs/{}", image.layer())).await.is(image.content());
}
