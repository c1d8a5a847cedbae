//! What repositories take, where several machines push and delete at once: by one count, under one quota.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use orlop_conformance::image::{AMD64, Manifest, sha256};
use orlop_conformance::tester::chance::Chance;
use serde_json::Value as Json;

use crate::pair::{ONE, OTHER, Pair};
use crate::processes::seed;

const QUOTA: &str = "undelete-within = \"0\"\n[[quota]]\nname = \"team\"\nrepositories = [\"team/**\"]\n\
                     together = true\nbytes = \"1MiB\"\n";

/// So much each of these takes.
const LAYER: usize = 100_000;

fn layer(name: &str) -> String {
    let mut text = format!("{name} ").repeat(LAYER);
    text.truncate(LAYER);
    text
}

/// What is counted of a quota.
fn used(pair: &Pair) -> u64 {
    let report: Json = serde_json::from_str(&pair.done(&["usage", "--format", "json"])).expect("a report");
    report["quotas"][0]["bytes"].as_u64().expect("a number of bytes")
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn repositories_of_several_machines_have_one_quota_together() {
    let pair = Pair::start(QUOTA);
    // Ten are as much as there may be: pushes at once, of which none sees the other, exceed it by what they bring.
    let pushed: u64 = thread::scope(|scope| {
        let pushes: Vec<_> = (0..8)
            .map(|number| {
                let pair = &pair;
                scope.spawn(move || {
                    let name = format!("team/app{number}");
                    (0..4)
                        .map(|round| {
                            pair.push_blob(number % 2, &name, layer(&format!("{number} {round}")).as_bytes()).0
                        })
                        .map(|status| match status {
                            201 => 1,
                            403 => 0,
                            other => panic!("{other}"),
                        })
                        .sum::<u64>()
                })
            })
            .collect();
        pushes.into_iter().map(|push| push.join().expect("it ends")).sum()
    });
    println!("{pushed} of 32 were taken");
    assert!((10..=17).contains(&pushed), "{pushed}");
    assert_eq!(used(&pair), pushed * LAYER as u64);
    pair.counts_right();
    for machine in [ONE, OTHER] {
        let (status, body) = pair.push_blob(machine, "team/more", layer("more").as_bytes());
        let told = String::from_utf8_lossy(&body).into_owned();
        assert!(status == 403 && told.contains("DENIED"), "{status}: {told}");
        assert_eq!(pair.push_blob(machine, "other", layer(&format!("other {machine}")).as_bytes()).0, 201);
    }
    // What one machine deletes makes room on the other.
    let mut deleted = 0;
    for number in 0..8 {
        for round in 0..4 {
            let digest = sha256(layer(&format!("{number} {round}")));
            let status = pair.delete(ONE, &format!("/v2/team/app{number}/blobs/{digest}"));
            deleted += u64::from(status == 202);
        }
    }
    assert_eq!((deleted, used(&pair)), (pushed, 0));
    assert_eq!(pair.push_blob(OTHER, "team/more", layer("more").as_bytes()).0, 201);
    pair.counts_right();
}

/// What happens to one repository on both machines at once, with recounts beside it.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn counts_are_right_whatever_two_machines_do_at_once() {
    let seed = seed();
    println!("ORLOP_SEED={seed} repeats what is asked");
    let pair = Pair::start("");
    let images: Vec<Manifest> =
        (0..6).map(|number| Manifest::image(AMD64, &layer(&format!("image {}", number / 2)))).collect();
    let acknowledged = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in 0..6 {
            let (pair, images, acknowledged) = (&pair, &images, &acknowledged);
            scope.spawn(move || {
                let mut chance = Chance::of(seed, &format!("client {client}"));
                for _ in 0..25 {
                    let name = ["team/a", "team/b"][chance.below(2)];
                    let (image, machine) = (&images[chance.below(images.len())], chance.below(2));
                    let manifest = format!("/v2/{name}/manifests/{}", image.digest());
                    let layer = sha256(&image.blobs()[1]);
                    let status = match chance.below(6) {
                        0 | 1 => {
                            image.blobs().iter().for_each(|blob| drop(pair.push_blob(machine, name, blob)));
                            pair.push_manifest(machine, name, "v1", image).0
                        }
                        2 => pair.delete(machine, &manifest),
                        3 => pair.delete(machine, &format!("/v2/{name}/blobs/{layer}")),
                        4 => {
                            let mount = format!("/v2/{name}/blobs/uploads/?mount={layer}&from=team/a");
                            pair.machines[machine].ask("POST", &mount, "", b"").0
                        }
                        _ => pair.delete(machine, &format!("/v2/{name}/manifests/v1")),
                    };
                    assert!(status < 500, "{status}");
                    acknowledged.fetch_add(u64::from(status < 300), Ordering::Relaxed);
                }
            });
        }
        // What a recount calls wrong was wrong, so it finds nothing while all this goes on either.
        for _ in 0..3 {
            pair.counts_right();
            pair.run(&["undelete", &format!("team/a@{}", images[0].digest())]);
            assert!(pair.run(&["gc", "--blob-grace", "0", "--undelete-within", "1ms"]).status.success());
        }
    });
    println!("{} were done", acknowledged.load(Ordering::Relaxed));
    pair.counts_right();
    for name in ["team/a", "team/b"] {
        pair.run(&["purge", name]);
    }
    pair.counts_right();
    let check = pair.run(&["check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}
