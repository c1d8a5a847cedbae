//! A disk that is full, and then is not.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use orlop_conformance::system::post;

use crate::journal::{Ledger, Outcome, Sent};
use crate::program::program;
use crate::random::{Random, seed};
use crate::reachable::gc_and_look;
use crate::served::{Client, Reply, Served};
use crate::server::Server;
use crate::skipping::skipped;
use crate::small_disk::SmallDisk;
use crate::verify::verify;
use crate::worker::Worker;

/// Longer than a garbage collection takes to come and give back space.
const PATIENCE: Duration = Duration::from_secs(20);

/// A failure that a client can make something of: the status that says that there is no space, and the error in the
/// form that the specification asks for, with nothing about the disk that is nobody's business.
pub(crate) fn is_clear(call: &str, reply: &Reply, statuses: &[u16], data: &Path) {
    assert!(statuses.contains(&reply.status), "{call}: {}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"), "{call}: {}", reply.text());
    let json: serde_json::Value = serde_json::from_slice(&reply.body).expect("an error is JSON");
    let error = &json["errors"][0];
    assert!(error["code"].is_string() && error["message"].is_string(), "{call}: {}", reply.text());
    assert!(!reply.text().contains(&data.display().to_string()), "{call}: {}", reply.text());
}

/// What workers were told.
pub(crate) fn told(workers: &[Worker]) -> (Ledger, Sent) {
    let (mut ledger, mut sent) = (Ledger::default(), Sent::default());
    for worker in workers {
        ledger.add(&worker.journal, |_| true);
        sent.add(&worker.journal.sent);
    }
    (ledger, sent)
}

/// Pushes until the disk is full, and a while on.
fn fill(workers: &mut [Worker]) {
    std::thread::scope(|scope| {
        for worker in workers.iter_mut() {
            scope.spawn(|| {
                let mut refused = 0;
                while refused < 40 {
                    worker.act().expect("the server lives on a full disk");
                    worker.push_whole().expect("the server lives on a full disk");
                    refused += worker.failures.len();
                }
            });
        }
    });
}

#[test]
fn a_full_disk_loses_nothing_and_serves_again_once_there_is_space() {
    let seed = seed();
    for (round, keep_free) in ["0", "2MiB"].into_iter().enumerate() {
        let disk = match SmallDisk::mount("16m") {
            Ok(disk) => disk,
            Err(reason) => {
                skipped("a full disk, which needs a mount of its own (as root)", &reason);
                return;
            }
        };
        let data = disk.path().join("data");
        let server =
            Server::start(&data, &["--keep-free", keep_free, "--gc-interval", "100ms", "--undelete-within", "0"]);
        let mut workers: Vec<_> =
            (0..3).map(|number| Worker::new(number, seed + round as u64, &server.address, 120_000)).collect();

        let others = [disk.path().join("first"), disk.path().join("last")];
        if keep_free == "0" {
            fs::write(&others[0], vec![0; 4 << 20]).unwrap();
        }
        fill(&mut workers);
        if keep_free == "0" {
            // Somebody else takes what is left, to the last byte.
            let _ = fs::write(&others[1], vec![0; 16 << 20]);
            fill(&mut workers);
        }
        let failures: Vec<_> = workers.iter_mut().flat_map(|worker| std::mem::take(&mut worker.failures)).collect();
        // While the records are opened again after a write that found no space, 503 says so.
        failures.iter().for_each(|(call, reply)| is_clear(call, reply, &[507, 503], &data));
        let (ledger, sent) = told(&workers);
        let found = verify(&mut Client::new(&server.address), &ledger, &sent, || false);
        found.unwrap_or_else(|error| panic!("on a full disk, ORLOP_SEED={seed}: {error}"));

        if keep_free == "0" {
            others.iter().for_each(|other| fs::remove_file(other).unwrap());
        } else {
            // What takes away has space of its own. Then a garbage collection gives back what was taken away.
            make_room(&mut workers);
        }
        let blob = Random::new(seed).bytes(500_000);
        takes_again(&server.address, &blob);
        for worker in &mut workers {
            assert!(worker.failures.is_empty(), "taking away failed: {:?}", worker.failures);
        }
        let (ledger, sent) = told(&workers);
        let found = verify(&mut Client::new(&server.address), &ledger, &with(&sent), || false);
        let found = found.unwrap_or_else(|error| panic!("with space again, ORLOP_SEED={seed}: {error}"));

        // Killed and collected, it is in order as if the disk had never been full.
        let acknowledged = workers.iter().flat_map(|worker| &worker.journal.entries);
        let acknowledged = acknowledged.filter(|entry| matches!(entry.outcome, Outcome::Done(_))).count();
        server.kill();
        let mut gc = Command::new(program());
        gc.args(["gc", "--blob-grace", "0", "--upload-lifetime", "0", "--keep-free", keep_free, "--data"]);
        assert!(gc.arg(&data).output().unwrap().status.success());
        gc_and_look(&data, &found, &sent).unwrap_or_else(|error| panic!("ORLOP_SEED={seed}: {error}"));
        println!(
            "--keep-free {keep_free}: {} refused with 507, {acknowledged} acknowledged, {} facts hold",
            failures.len(),
            found.facts.len()
        );
    }
}

/// The repository of the blob that shows that there is space again.
const AGAIN: &str = "again";

fn with(sent: &Sent) -> Sent {
    let mut sent = sent.clone();
    sent.repositories.push(AGAIN.into());
    sent
}

/// Takes away most of what there is, each of which must be possible.
fn make_room(workers: &mut [Worker]) {
    for worker in workers {
        for _ in 0..100 {
            worker.delete_blob().unwrap();
        }
        worker.delete_tag().unwrap();
        worker.delete_manifest().unwrap();
        worker.cancel().unwrap();
    }
}

/// A push is taken, after a while.
fn takes_again(address: &str, blob: &[u8]) {
    let digest = orlop_conformance::image::sha256(blob);
    let call = post(format!("/v2/{AGAIN}/blobs/uploads/?digest={digest}")).body(blob.to_vec());
    let began = Instant::now();
    loop {
        let reply = Client::new(address).send(&call).unwrap();
        if reply.status == 201 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "there is space again, and still {}", reply.text());
        std::thread::sleep(Duration::from_millis(50));
    }
}
