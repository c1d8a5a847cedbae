//! By which names clients reach a mirror, and what is mirrored of an upstream.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::client::{accepted, ask, send};
use crate::scene::{Image, Scene, below_hub, scratch};
use crate::server::Server;

/// containerd sends the registry that it means to every mirror of its `hosts.toml`.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_names_the_upstream_by_a_parameter() {
    let scene = Scene::new("namespace = [\"upstream.example.com\"]").await;
    let image = scene.push("app", "v1", 1000).await;
    let manifest = "/v2/app/manifests/v1?ns";
    let known = scene.mirror.ask("GET", &format!("{manifest}=upstream.example.com"), &accepted()).await;
    known.is(&image.manifest.bytes());
    let blob = format!("app/blobs/{}", image.layer());
    let known = scene.mirror.get(&format!("/v2/{blob}?ns=upstream.example.com")).await;
    known.is(image.content());
    scene.proxy.clear();
    // What is unknown is never asked, whatever stands at that address; and it is here under no other name.
    for unknown in [scene.proxy.address.as_str(), "other.example.com", "", "..", "a/b"] {
        scene.mirror.ask("GET", &format!("{manifest}={unknown}"), &accepted()).await.is_refused(404);
        scene.mirror.get(&format!("/v2/{blob}?ns={unknown}")).await.is_refused(404);
    }
    assert_eq!(scene.proxy.lines(), [""; 0]);
    scene.mirror.get(&format!("/v2/{blob}")).await.is_refused(404);
}

/// dockerd knows its `registry-mirrors` by an address whose root is the upstream.
#[tokio::test(flavor = "multi_thread")]
async fn dockerd_finds_the_upstream_at_the_root_of_a_host_or_an_address() {
    let directory = scratch();
    let address = free_address();
    let settings = format!("host = [\"mirror.example.com\", \"other.example.com:5000\"]\naddr = \"{address}\"");
    let scene = Scene::on(directory, &settings, "").await;
    let image = scene.push("team/app", "v1", 1000).await;
    let target = "/v2/team/app/manifests/v1";
    for host in ["mirror.example.com", "mirror.example.com:5000", "other.example.com:5000", "Mirror.Example.com"] {
        let manifest = scene.mirror.ask("GET", target, &[&accepted()[..], &[("host", host)]].concat()).await;
        manifest.is(&image.manifest.bytes());
    }
    for host in ["other.example.com", "other.example.com:5001", "xmirror.example.com"] {
        scene.mirror.ask("GET", target, &[("host", host)]).await.is_refused(404);
    }
    assert_eq!(ask(&address, "GET", "/v2/", &[]).await.status, 200);
    ask(&address, "GET", target, &accepted()).await.is(&image.manifest.bytes());
    let blob = format!("/v2/team/app/blobs/{}", image.layer());
    ask(&address, "GET", &blob, &[("host", "whatever.example.com")]).await.is(image.content());
    // It is one mirror: what came by one way is here by the other.
    scene.proxy.clear();
    scene.mirror.get(&format!("/v2/hub/team/app/blobs/{}", image.layer())).await.is(image.content());
    assert_eq!(scene.proxy.lines(), [""; 0]);
    let pushed = send(&address, "POST", "/v2/team/app/blobs/uploads/", &[], Default::default()).await;
    assert_eq!(pushed.status(), 405);
}

/// An address of this machine on which nothing listens. No test of this or another process takes it meanwhile: it is one of
/// the loopback network that nothing else here has.
pub(crate) fn free_address() -> String {
    static TAKEN: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, high.max(1), low, TAKEN.fetch_add(1, Ordering::Relaxed));
    let listener = TcpListener::bind((host, 0)).expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_takes_no_push_and_other_repositories_do() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 1000).await;
    scene.pull("app", "v1", &image).await;
    for (method, part) in [
        ("POST", "blobs/uploads/".to_owned()),
        ("POST", format!("blobs/uploads/?mount={}&from=hub/app", image.layer())),
        ("PUT", "manifests/v1".into()),
        ("PATCH", "blobs/uploads/00000000-0000-4000-8000-000000000000".into()),
    ] {
        for repository in ["hub/app", "hub/new"] {
            let refused = scene.mirror.ask(method, &format!("/v2/{repository}/{part}"), &[]).await;
            refused.is_refused(405);
            assert!(refused.text().contains("mirror") && !refused.field("allow").is_empty(), "{}", refused.text());
        }
    }
    let own = Image::new(1000);
    for repository in ["own/app", "hubris/app", "hub"] {
        scene.mirror.push(repository, "v1", &own.manifest).await;
        let target = format!("/v2/{repository}/manifests/v1");
        scene.mirror.ask("GET", &target, &accepted()).await.is(&own.manifest.bytes());
    }
    scene.proxy.clear();
    scene.mirror.get("/v2/own/app/manifests/absent").await.is_refused(404);
    assert_eq!(scene.proxy.lines(), [""; 0], "repositories of its own are asked of no upstream");
    // A delete takes away what is here, and the next pull brings it again.
    let target = format!("/v2/hub/app/manifests/{}", image.digest());
    assert_eq!(scene.mirror.ask("DELETE", &target, &[]).await.status, 202);
    scene.pull("app", "v1", &image).await;
    assert!(!scene.proxy.seen("GET /v2/app/manifests/").is_empty());
    assert!(scene.proxy.seen("DELETE").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_settings_name_is_mirrored() {
    let settings = "only = [\"library/**\"]\ndeny = [\"library/secret\"]\nblob-limit = \"50kB\"";
    let scene = Scene::new(settings).await;
    let image = scene.push("library/app", "v1", 40_000).await;
    scene.upstream.push("library/secret", "v1", &image.manifest).await;
    scene.upstream.push("team/app", "v1", &image.manifest).await;
    scene.pull("library/app", "v1", &image).await;
    scene.proxy.clear();
    for repository in ["library/secret", "team/app"] {
        scene.manifest(repository, "v1").await.is_refused(404);
        scene.blob(repository, &image.layer()).await.is_refused(404);
    }
    assert_eq!(scene.proxy.lines(), [""; 0]);
    let large = scene.push("library/app", "v2", 60_000).await;
    scene.manifest("library/app", "v2").await.is(&large.manifest.bytes());
    let refused = scene.blob("library/app", &large.layer()).await;
    refused.is_refused(403);
    assert!(refused.text().contains("50000"), "{}", refused.text());
}

/// With the longest prefix, and several upstreams of their own.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_mirrors_the_longest_prefix_has_the_repository() {
    let (one, other) = (Scene::new("").await, Scene::new("").await);
    let (first, second) = (one.push("app", "v1", 1000).await, other.push("app", "v1", 1000).await);
    let longer = below_hub(&other.proxy.address, "").replace("hub/", "hub/deep/");
    let settings = format!("{}{longer}", below_hub(&one.proxy.address, ""));
    let directory = scratch();
    let mirror = Server::start(&directory.path().join("mirror"), &settings, &[]);
    mirror.ask("GET", "/v2/hub/app/manifests/v1", &accepted()).await.is(&first.manifest.bytes());
    mirror.ask("GET", "/v2/hub/deep/app/manifests/v1", &accepted()).await.is(&second.manifest.bytes());
    assert_eq!((one.proxy.seen("/v2/deep/").len(), other.proxy.seen("/v2/app/").len()), (0, 1));
}
