//! The way to an upstream does what the other tests take it to do: each fault is what a client without a mirror meets.

use std::time::{Duration, Instant};

use crate::client::{Answer, ask};
use crate::proxy::{Fault, Proxy};
use crate::scene::{Image, scratch};
use crate::server::Server;

const LAYER: usize = 300_000;

/// A registry with an image, and a way to it.
async fn place() -> (tempfile::TempDir, Server, Proxy, Image) {
    let directory = scratch();
    let server = Server::start(&directory.path().join("data"), "", &[]);
    let image = Image::new(LAYER);
    server.push("app", "v1", &image.manifest).await;
    let proxy = Proxy::to(&server.address).await;
    (directory, server, proxy, image)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fault_nothing_is_changed_and_all_is_logged() {
    let (_directory, server, proxy, image) = place().await;
    let target = format!("/v2/app/blobs/{}", image.layer());
    let pulled = ask(&proxy.address, "GET", &target, &[("authorization", "Basic eDp5")]).await;
    pulled.is(image.content());
    assert_eq!(pulled.told(str::to_owned), server.get(&target).await.told(str::to_owned));
    let head = ask(&proxy.address, "HEAD", &target, &[]).await;
    assert_eq!((head.status, head.field("content-length")), (200, LAYER.to_string().as_str()));
    let seen = proxy.seen("GET ");
    assert_eq!((seen.len(), seen[0].status(), seen[0].sent()), (1, 200, LAYER as u64));
    assert_eq!((seen[0].field("authorization"), seen[0].field("host")), ("Basic eDp5", proxy.address.as_str()));
    assert_eq!(proxy.lines(), [format!("GET {target}"), format!("HEAD {target}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_meets_each_fault() {
    let (_directory, _server, proxy, image) = place().await;
    let target = format!("/v2/app/blobs/{}", image.layer());
    let meet = async |fault: Fault| -> Answer {
        proxy.heals();
        proxy.fails("/blobs/", fault);
        ask(&proxy.address, "GET", &target, &[]).await
    };
    let changed = |answer: &Answer| -> Vec<usize> {
        let places = answer.body.iter().zip(image.content()).enumerate();
        places.filter(|(_, (got, sent))| got != sent).map(|(place, _)| place).collect()
    };
    let limited = meet(Fault::too_many(7)).await;
    assert_eq!((limited.status, limited.field("retry-after")), (429, "7"));
    let challenged = meet(Fault::challenge("http://auth.example.com/token")).await;
    let challenge = challenged.field("www-authenticate");
    assert!(challenged.status == 401 && challenge.contains("realm=\"http://auth.example.com/token\""), "{challenge}");
    let sent = meet(Fault::Redirect("http://store.example.com".into())).await;
    assert_eq!((sent.status, sent.field("location")), (307, format!("http://store.example.com{target}").as_str()));
    for after in [0, 1000, LAYER - 1] {
        let cut = meet(Fault::Cut(after)).await;
        assert!(!cut.whole && cut.body == image.content()[..after], "{} bytes of {after}", cut.body.len());
    }
    for place in [0, LAYER / 2, LAYER - 1] {
        let corrupt = meet(Fault::Corrupt(place)).await;
        assert!(corrupt.whole && corrupt.body.len() == LAYER);
        assert_eq!(changed(&corrupt), [place]);
    }
    for (fault, length) in [(Fault::Shorter(10), LAYER - 10), (Fault::Longer(10), LAYER + 10)] {
        let other = meet(fault).await;
        assert!(other.whole && other.field("content-length") == length.to_string(), "{}", other.body.len());
        assert_eq!((other.body.len(), changed(&other).len()), (length, 0));
    }
    let other = meet(Fault::Field("content-type", "text/html".into())).await;
    assert_eq!((other.field("content-type"), other.whole), ("text/html", true));
    assert_eq!(meet(Fault::Page("text/html", "hello")).await.body, "hello");
    let began = Instant::now();
    meet(Fault::Trickle(LAYER / 10)).await.is(image.content());
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    let silent = tokio::time::timeout(Duration::from_millis(200), meet(Fault::Silence)).await;
    assert!(silent.is_err());
    proxy.heals();
    proxy.fails_times("/blobs/", Fault::status(500), 2);
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(ask(&proxy.address, "GET", &target, &[]).await.status);
    }
    assert_eq!(told, [500, 500, 200]);
}
