//! Damage in the object store, which all machines see: found by a scrub or by a client, out of use everywhere, and healed
//! by a push through any of them.

use std::fs;
use std::path::PathBuf;
use std::thread;

use orlop_conformance::image::{AMD64, Manifest, sha256};
use serde_json::Value as Json;

use crate::pair::{ONE, OTHER, Pair, until};
use crate::registry::{MIB, Place, Server, bytes, damage};

fn layer(name: &str) -> String {
    format!("{name} ").repeat(20_000)
}

/// Scrubs at no time by itself.
const ONLY_WHEN_TOLD: &str = "scrub-rate = \"0\"\n";

fn blob(repository: &str, bytes: impl AsRef<[u8]>) -> String {
    format!("/v2/{repository}/blobs/{}", sha256(bytes))
}

/// A report of a scrub, which says by its status whether it has found anything.
fn scrub(pair: &Pair) -> (bool, Json) {
    let done = pair.run(&["scrub", "--json"]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    (done.status.success(), serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{told}")))
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn what_the_store_has_lost_is_out_of_use_everywhere_until_it_is_pushed_to_any() {
    let pair = Pair::start(ONLY_WHEN_TOLD);
    let layers = ["removed", "changed", "cut", "sound"].map(layer);
    let images = layers.clone().map(|layer| Manifest::image(AMD64, &layer));
    for (number, image) in images.iter().enumerate() {
        pair.push(number % 2, "team/app", &format!("v{number}"), image);
    }
    let objects = pair.objects().len();
    fs::remove_file(pair.object(layers[0].as_bytes())).expect("a file");
    damage(&pair.object(layers[1].as_bytes()), 1000);
    let cut = pair.object(layers[2].as_bytes());
    fs::File::options().write(true).open(cut).and_then(|file| file.set_len(500)).expect("a file");

    let (fine, report) = scrub(&pair);
    assert!(!fine && report["findings"].as_array().is_some_and(|found| found.len() == 3), "{report}");
    let damaged = pair.json(&["damaged"]);
    for (number, layer) in layers[..3].iter().enumerate() {
        let of = |one: &&Json| one["what"] == format!("blob {}", sha256(layer));
        let one = damaged.as_array().and_then(|all| all.iter().find(of)).expect("it is listed");
        assert_eq!(one["needed_by"][0]["tags"], Json::from([format!("v{number}")]), "{one}");
    }
    let lost: Vec<String> = layers[..3].iter().map(|layer| blob("team/app", layer)).collect();
    pair.both(&lost, 404);
    pair.both(&[blob("team/app", &layers[3])], 200);
    for machine in [ONE, OTHER] {
        assert_eq!(pair.machines[machine].ask("HEAD", &lost[0], "", b"").0, 404);
        let mount = format!("/v2/team/other/blobs/uploads/?mount={}&from=team/app", sha256(&layers[1]));
        assert_eq!(pair.machines[machine].ask("POST", &mount, "", b"").0, 202);
        let (status, body) = pair.push_manifest(machine, "team/app", "again", &images[2]);
        let told = String::from_utf8_lossy(&body).into_owned();
        assert!(status == 400 && told.contains("MANIFEST_BLOB_UNKNOWN"), "{status}: {told}");
    }
    let (fine, report) = scrub(&pair);
    assert!(fine && report["over"]["damaged"] == 3, "what is known is not found again: {report}");

    // As clients do it: whatever is not there by HEAD is pushed, to a machine that has found nothing itself.
    for (number, image) in images.iter().enumerate() {
        pair.push((number + 1) % 2, "team/app", &format!("v{number}"), image);
    }
    pair.both(&lost, 200);
    pair.both(&(0..4).map(|number| format!("/v2/team/app/manifests/v{number}")).collect::<Vec<_>>(), 200);
    assert_eq!(pair.json(&["damaged"]), Json::from([(); 0]));
    pair.counts_right();
    let (fine, report) = scrub(&pair);
    assert!(fine && report["over"]["damaged"] == 0, "{report}");
    // What was damaged is of nobody any more, and kept for a restored database like all else.
    pair.json(&["gc", "--keep-erased", "0"]);
    assert_eq!(pair.objects().len(), objects);
    assert!(pair.run(&["check"]).status.success());
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_client_that_meets_a_missing_object_puts_it_out_of_use_for_all() {
    let pair = Pair::start(ONLY_WHEN_TOLD);
    let layer = layer("missing");
    let image = Manifest::image(AMD64, &layer);
    pair.push(ONE, "team/app", "v1", &image);
    fs::remove_file(pair.object(layer.as_bytes())).expect("a file");
    let target = blob("team/app", &layer);
    assert_eq!(pair.machines[OTHER].ask("HEAD", &target, "", b"").0, 200, "nobody has read it yet");
    let seen = pair.get(ONE, &target);
    assert_eq!(seen.0, 404, "{}", String::from_utf8_lossy(&seen.1));
    for machine in [ONE, OTHER] {
        assert_eq!(pair.machines[machine].ask("HEAD", &target, "", b"").0, 404);
    }
    pair.push(OTHER, "team/app", "v1", &image);
    assert_eq!(pair.get(ONE, &target), (200, layer.into_bytes()));
}

/// A server scrubs by itself, and the other one knows that it does.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn of_two_machines_one_scrubs() {
    let place = Place::new();
    let flags = |rate| [&place.flags()[..8], &["--scrub-rate", rate, "--scrub-period", "1s"]].concat();
    let servers = [0, 1].map(|_| Server::start(place.command(), &flags("100MB")));
    let blobs: Vec<Vec<u8>> = (0..8).map(|seed| bytes(MIB, 90 + seed)).collect();
    let digests: Vec<_> = blobs.iter().enumerate().map(|(number, blob)| servers[number % 2].push(blob)).collect();
    // They are files of random names.
    place.objects().iter().step_by(2).for_each(|file| damage(file, 77));
    let found = || servers.iter().map(|server| server.metric("orlop_damage_found_total")).sum::<u64>();
    until("all that is damaged is found", || found() >= 4);
    let lost: Vec<usize> = (0..8).filter(|number| servers[ONE].pull(&digests[*number]).status == 404).collect();
    assert_eq!((lost.len(), found()), (4, 4), "each is found once");
    for number in lost {
        assert_eq!(servers[OTHER].pull(&digests[number]).status, 404);
        servers[OTHER].push(&blobs[number]);
        servers[ONE].pull(&digests[number]).is(&blobs[number]);
    }
}

/// SPEC W2: what the store as a whole does not give says nothing of any blob.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_store_that_is_out_of_order_puts_nothing_out_of_use() {
    let mut pair = Pair::start(ONLY_WHEN_TOLD);
    let layers: Vec<String> = (0..12).map(|number| layer(&format!("layer {number}"))).collect();
    for (number, layer) in layers.iter().enumerate() {
        pair.push(number % 2, "team/app", &format!("v{number}"), &Manifest::image(AMD64, layer));
    }
    let targets: Vec<String> = layers.iter().map(|layer| blob("team/app", layer)).collect();
    let bucket = pair.store.bucket();
    let away = bucket.with_file_name("away");

    // Another bucket, or none, has the name: a disk is not mounted.
    fs::rename(&bucket, &away).expect("a bucket");
    assert!(!pair.run(&["scrub"]).status.success());
    for machine in [ONE, OTHER] {
        let (status, body) = pair.get(machine, &targets[0]);
        assert!(matches!(status, 500 | 503), "{status}: {}", String::from_utf8_lossy(&body));
    }
    fs::rename(&away, &bucket).expect("a bucket");
    pair.both(&targets, 200);

    // The store answers nothing.
    pair.store.stop();
    let (status, _) = pair.get(ONE, &targets[0]);
    assert!(matches!(status, 500 | 503), "{status}");
    pair.store.crash(std::time::Duration::ZERO);
    pair.both(&targets, 200);
    let changed = "SELECT string_agg(convert_from(key, 'UTF8'), ' ') FROM orlop.record \
                   WHERE convert_from(key, 'UTF8') ~ '^quarantine/'";
    assert_eq!(pair.records(changed), "");

    // All objects are gone: after a few it is taken for another store.
    let objects = pair.objects();
    let kept: Vec<(PathBuf, PathBuf)> = objects.into_iter().map(|file| (file.with_extension("kept"), file)).collect();
    let directory = kept[0].1.parent().expect("a directory").to_owned();
    let aside = directory.with_file_name("aside");
    fs::rename(&directory, &aside).and_then(|()| fs::create_dir(&directory)).expect("a directory");
    let (fine, report) = scrub(&pair);
    assert!(!fine && report["fault"].as_str().is_some_and(|fault| fault.contains("out of order")), "{report}");
    fs::remove_dir_all(&directory).and_then(|()| fs::rename(&aside, &directory)).expect("a directory");
    let (fine, report) = scrub(&pair);
    assert!(fine && report["over"]["damaged"] == 0, "what was taken for lost is there again: {report}");
    pair.both(&targets, 200);
    let after = pair.records(
        "SELECT count(*) FROM orlop.record WHERE convert_from(key, 'UTF8') ~ '^quarantine/' \
         OR convert_from(value, 'UTF8') LIKE '%\"quarantined\":%'",
    );
    assert_eq!(after, "0");
}

/// SPEC W14: however many clients meet the same damage, the store is read for that once.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn damage_that_many_clients_meet_is_looked_at_once() {
    let place = Place::new();
    let server = Server::start(place.command(), &place.flags());
    let digest = server.push(&bytes(4 * MIB, 120));
    damage(&place.objects().pop().expect("an object"), 5);
    // So slow that all have begun before the first has come to the end.
    place.way.pace.store(20, std::sync::atomic::Ordering::SeqCst);
    let before = server.gets();
    thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| server.pull(&digest).is_cut());
        }
    });
    server.logs("a blob is damaged, and out of use until it is pushed again");
    // Twice, before it counts as damaged. A client that has come late may have met what was looked at.
    let reads = server.gets() - before;
    assert!(reads <= 32, "{reads} reads for 30 clients");
    assert_eq!(server.pull(&digest).status, 404);
}
