//! The mirror itself fails during a fetch: its disk is full, or it is killed.

use std::fs;
use std::time::Duration;

use crate::proxy::Fault;
use crate::scene::Scene;
use crate::server::eventually;
use crate::skipping::skipped;
use crate::small_disk::SmallDisk;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_nothing_and_makes_no_wrong_answer() {
    let scene = Scene::new("").await;
    let disk = match SmallDisk::mount("24m") {
        Ok(disk) => disk,
        Err(reason) => return skipped("a mirror on a full disk, which needs a mount of its own (as root)", &reason),
    };
    let mut mirror = scene.another_mirror(&disk.path().join("mirror"), &["--keep-free", "0"]);
    let (large, small) = (scene.push("app", "large", 20 * MIB).await, scene.push("app", "small", 1000).await);
    let fits = scene.push("app", "fits", 6 * MIB).await;
    let pull = async |image: &crate::scene::Image| mirror.get(&format!("/v2/hub/app/blobs/{}", image.layer())).await;
    let other = disk.path().join("other");
    fs::write(&other, vec![0; 10 * MIB]).unwrap();
    // Passed on or refused: but never less than all of it.
    let pulled = pull(&large).await;
    println!("the whole of {}: {}", 20 * MIB, pulled.status);
    if pulled.status == 200 && pulled.whole {
        pulled.is(large.content());
    } else {
        pulled.is_no_success();
    }
    pull(&fits).await.is(fits.content());
    fs::remove_file(&other).unwrap();
    pull(&small).await.is(small.content());
    // What the broken fetch left is given back: there is room for it now.
    pull(&large).await.is(large.content());
    assert!(mirror.is_running());
    mirror.kill();
    mirror.is_in_order();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_is_killed_during_a_fetch_serves_the_right_bytes_after_it() {
    let mut scene = Scene::new("").await;
    let image = scene.push("app", "v1", 8 * MIB).await;
    scene.manifest("app", "v1").await.is(&image.manifest.bytes());
    scene.proxy.fails("GET /v2/app/blobs/", Fault::Trickle(256 << 10));
    let target = format!("/v2/hub/app/blobs/{}", image.layer());
    let client = {
        let address = scene.mirror.address.clone();
        tokio::spawn(async move { crate::client::ask(&address, "GET", &target, &[]).await })
    };
    let sent = || scene.proxy.seen("GET /v2/app/blobs/").iter().map(|seen| seen.sent()).sum::<u64>();
    eventually(|| sent() > 3 * MIB as u64, || "nothing is fetched".into()).await;
    scene.mirror.kill();
    client.await.expect("a client").is_no_success();
    scene.mirror.is_in_order();
    scene.proxy.heals();
    scene.start_again();
    scene.pull("app", "v1", &image).await;
    scene.upstream.kill();
    scene.pull("app", "v1", &image).await;
    scene.mirror.kill();
    scene.mirror.is_in_order();
}

/// A client that reads nothing for a while is not what a fetch waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_holds_up_no_other() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 16 * MIB).await;
    scene.manifest("app", "v1").await.is(&image.manifest.bytes());
    let target = format!("/v2/hub/app/blobs/{}", image.layer());
    let slow = scene.mirror.begin("GET", &target, &[]).await;
    let quick = tokio::time::timeout(Duration::from_secs(20), scene.blob("app", &image.layer())).await;
    quick.expect("it does not wait").is(image.content());
    // And gets all of it, when it goes on.
    let rest = http_body_util::BodyExt::collect(slow.into_body()).await.expect("it comes to its end");
    assert!(rest.to_bytes() == image.content());
}
