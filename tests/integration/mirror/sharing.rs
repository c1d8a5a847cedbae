//! Clients that share fetches: what one of them may not have, or asks for without end, is nothing to the others.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orlop_conformance::image::sha256;
use tokio::task::JoinSet;

use crate::client::{Answer, ask, ask_from};
use crate::proxy::Fault;
use crate::scene::{Scene, scratch};
use crate::server::{add_user, eventually};

/// How many fetches of one client are under way at once, and how many it may have begun with those that wait.
const AT_ONCE: usize = 32;
const BEGUN: usize = 256;

#[tokio::test(flavor = "multi_thread")]
async fn one_client_s_fetches_hold_up_no_other() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 100_000).await;
    scene.proxy.fails("GET /v2/lots/", Fault::Silence);
    let mut greedy = JoinSet::new();
    for number in 0..BEGUN + 4 {
        let (address, target) =
            (scene.mirror.address.clone(), format!("/v2/hub/lots/blobs/{}", sha256(format!("{number}"))));
        greedy.spawn(async move { ask(&address, "GET", &target, &[]).await });
    }
    let begun = || scene.proxy.seen("GET /v2/lots/").len();
    eventually(|| begun() >= AT_ONCE, || format!("{} are begun", begun())).await;
    let target = format!("/v2/hub/app/blobs/{}", image.layer());
    let other = ask_from("127.0.0.2", &scene.mirror.address, "GET", &target, &[]);
    let other = tokio::time::timeout(Duration::from_secs(10), other).await;
    other.expect("it does not wait for those of another client").is(image.content());
    assert_eq!(begun(), AT_ONCE, "one client has more than its share");
    // More than may wait are refused at once.
    let refused = tokio::time::timeout(Duration::from_secs(10), greedy.join_next()).await;
    refused.expect("there are too many").expect("some").expect("a client").is_refused(429);
    greedy.abort_all();
}

fn basic(name: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{name}-secret")))
}

/// A mirror that has its upstream say who may see what. There, alice may pull `app` and `own`, bob `app` alone.
async fn verified() -> Scene {
    let directory = scratch();
    let users = directory.path().join("upstream-users");
    for name in ["alice", "bob"] {
        add_user(&users, name, &format!("{name}-secret"));
    }
    let rule = |who: &str, allow: &str, repositories: &str| {
        format!("[[rule]]\nwho = [{who}]\nallow = [\"{allow}\"]\nrepositories = [{repositories}]\n")
    };
    let rules = [
        rule("\"anonymous\"", "push", "\"**\""),
        rule("\"user:alice\", \"user:bob\"", "pull", "\"app\""),
        rule("\"user:alice\"", "pull", "\"own\""),
    ];
    let upstream = format!("auth-htpasswd = {users:?}\n{}", rules.concat());
    Scene::on(directory, "verify = \"caller\"", &upstream).await
}

async fn pull(scene: &Scene, name: &str, repository: &str, digest: &str) -> Answer {
    let target = format!("/v2/hub/{repository}/blobs/{digest}");
    scene.mirror.ask("GET", &target, &[("authorization", &basic(name))]).await
}

/// Alice loses her right after she was asked for it, and bob has joined her fetch.
#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_fetch_that_is_refused_to_another_begins_an_own_one() {
    let scene = Arc::new(verified().await);
    let image = scene.push("app", "v1", 300_000).await;
    for status in [401, 403, 404, 429] {
        let directory = scene.path(&format!("mirror-{status}"));
        let mirror = scene.another_mirror(&directory, &[]);
        let target = format!("/v2/hub/app/blobs/{}", image.layer());
        scene.proxy.heals();
        scene.proxy.clear();
        let late = Fault::Late(Duration::from_secs(2), Some(status));
        scene.proxy.fails_for(&basic("alice"), "GET /v2/app/blobs/", late);
        let pull = async |name: &str| mirror.ask("GET", &target, &[("authorization", &basic(name))]).await;
        let (alice, bob) = tokio::join!(pull("alice"), async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert_eq!(scene.proxy.seen("GET /v2/app/blobs/").last().map(|seen| seen.status()), Some(0), "alice waits");
            pull("bob").await
        });
        alice.is_refused(if status == 429 { 429 } else { 404 });
        bob.is(image.content());
    }
}

/// A fetch of others is joined by those alone who may have the blob themselves.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_a_blob_does_not_get_it_by_the_fetch_of_another() {
    let scene = verified().await;
    let image = scene.push("own", "v1", 300_000).await;
    scene.proxy.fails("GET /v2/own/blobs/", Fault::Trickle(10_000));
    let digest = image.layer();
    let (alice, bob) = tokio::join!(pull(&scene, "alice", "own", &digest), async {
        eventually(|| !scene.proxy.seen("GET /v2/own/blobs/").is_empty(), || "nothing is fetched".into()).await;
        pull(&scene, "bob", "own", &digest).await
    });
    alice.is(image.content());
    bob.is_refused(404);
    // Nor afterwards; and like what there is not.
    pull(&scene, "bob", "own", &digest).await.is_refused(404);
    let absent = sha256("absent");
    let alike = |text: &str| text.replace(&absent, &digest);
    let (here, absent) = (pull(&scene, "bob", "own", &digest).await, pull(&scene, "bob", "own", &absent).await);
    assert_eq!(here.told(alike), absent.told(alike));
}
