//! Registries that mirror each other: whoever is asked, and by however many, comes to an end.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use orlop_conformance::image::{AMD64, Manifest};
use tempfile::TempDir;

use crate::addressing::free_address;
use crate::client::{accepted, ask};
use crate::proxy::{Fault, Proxy};
use crate::scene::{Image, Scene, below_hub, content, scratch};
use crate::server::Server;

/// Far less than an upstream is waited for that does not answer.
const SOON: Duration = Duration::from_secs(8);

/// How long a request takes from one registry to the other.
const WAY: Duration = Duration::from_millis(300);

/// Two registries that mirror each other: each is asked once, and both go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_mirrors_is_noticed() {
    let directory = scratch();
    let (one, other) = (free_address(), free_address());
    let settings = |own: &str, upstream: &str| below_hub(upstream, &format!("addr = \"{own}\""));
    // Behind ways that count.
    let (to_one, to_other) = (Proxy::to(&one).await, Proxy::to(&other).await);
    let first = Server::start(&directory.path().join("one"), &settings(&one, &to_other.address), &[]);
    let second = Server::start(&directory.path().join("other"), &settings(&other, &to_one.address), &[]);
    for server in [&one, &other] {
        let began = std::time::Instant::now();
        ask(server, "GET", "/v2/app/manifests/v1", &accepted()).await.is_no_success();
        ask(server, "GET", &format!("/v2/app/blobs/{}", Image::new(10).layer()), &[]).await.is_no_success();
        assert!(began.elapsed() < std::time::Duration::from_secs(5));
    }
    let asked = to_one.lines().len() + to_other.lines().len();
    assert!(asked <= 12, "{asked} requests went round: {:?} {:?}", to_one.lines(), to_other.lines());
    let image = Manifest::image(AMD64, &content(100));
    for server in [&first, &second] {
        server.push("own", "v1", &image).await;
    }
}

/// Two registries that mirror each other, or more upstreams, with long ways between them.
struct Pair {
    _directory: TempDir,
    /// The addresses at which each is the mirror of the other.
    roots: [String; 2],
    ways: [Proxy; 2],
    _servers: [Server; 2],
}

impl Pair {
    /// Each has these upstreams behind the other one.
    async fn new(others: [&str; 2]) -> Self {
        let directory = scratch();
        let roots = [free_address(), free_address()];
        let ways = [Proxy::to(&roots[1]).await, Proxy::to(&roots[0]).await];
        for way in &ways {
            way.fails("GET /v2/", Fault::Late(WAY, None));
        }
        let start = |number: usize| {
            let others =
                if others[number].is_empty() { String::new() } else { format!(", \"http://{}\"", others[number]) };
            let upstream = format!("[\"http://{}\"{others}]", ways[number].address);
            let settings =
                format!("[[mirror]]\nprefix = \"hub/\"\nupstream = {upstream}\naddr = \"{}\"\n", roots[number]);
            Server::start(&directory.path().join(number.to_string()), &settings, &[])
        };
        let servers = [start(0), start(1)];
        Self { _directory: directory, roots, ways, _servers: servers }
    }

    /// Asks both for a blob in the same moment.
    async fn ask(&self, digest: &str) -> [crate::client::Answer; 2] {
        let target = format!("/v2/app/blobs/{digest}");
        let asked = self.roots.each_ref().map(|root| ask(root, "GET", &target, &[]));
        let [one, other] = asked;
        tokio::join!(one, other).into()
    }

    fn lines(&self) -> Vec<String> {
        self.ways.iter().flat_map(Proxy::lines).collect()
    }
}

/// Each has begun to fetch the blob when the other one's request comes, and must not wait for what waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn registries_that_mirror_each_other_do_not_wait_for_each_other() {
    let pair = Pair::new(["", ""]).await;
    let began = Instant::now();
    for answer in pair.ask(&Image::new(1000).layer()).await {
        answer.is_refused(404);
    }
    assert!(began.elapsed() < SOON, "{:?}: {:?}", began.elapsed(), pair.lines());
    // Each fetches, and finds out by a HEAD; and each may ask once more for what has gone round.
    assert!(pair.lines().len() <= 8, "{:?}", pair.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_in_a_loop_can_have_elsewhere_is_had_there() {
    for size in [1000, 300_000] {
        let elsewhere = Scene::new("").await;
        let there = elsewhere.upstream.address.as_str();
        let image = elsewhere.push("app", "v1", size).await;
        for others in [["", there], [there, ""], [there; 2]] {
            let pair = Pair::new(others).await;
            let began = Instant::now();
            for answer in pair.ask(&image.layer()).await {
                answer.is(image.content());
            }
            assert!(began.elapsed() < SOON, "{:?}: {:?}", began.elapsed(), pair.lines());
        }
    }
}

/// A mirror of a mirror: an upstream that is slow to answer is asked for the bytes once, however they are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_mirrors_without_a_loop_fetches_once() {
    let directory = scratch();
    let root = free_address();
    let scene = Scene::on(directory, &format!("addr = \"{root}\""), "").await;
    let image = scene.push("app", "v1", 300_000).await;
    let second = Server::start(&scene.path("second"), &below_hub(&root, ""), &[]);
    scene.proxy.fails("GET /v2/app/blobs/", Fault::Late(Duration::from_secs(3), None));
    let layer = image.layer();
    let (first, through) = tokio::join!(scene.blob("app", &layer), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        second.get(&format!("/v2/hub/app/blobs/{layer}")).await
    });
    first.is(image.content());
    through.is(image.content());
    assert_eq!(scene.proxy.seen("GET /v2/app/blobs/").len(), 1, "{:?}", scene.proxy.lines());
    assert!(scene.proxy.seen("HEAD /v2/app/blobs/").len() <= 1, "{:?}", scene.proxy.lines());
    let small = Bytes::from(content(100));
    let digest = scene.upstream.push_blob("app", &small).await;
    second.get(&format!("/v2/hub/app/blobs/{digest}")).await.is(&small);
}
