//! What is pulled is kept on a disk of the server, and whatever becomes of that disk or the store, no client takes wrong
//! bytes for right ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::registry::{MIB, PATIENCE, Place, Server, begin, bytes, damage, files};
use crate::small_disk::SmallDisk;

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn two_hundred_clients_of_a_cold_blob_read_the_store_once() {
    let place = Place::new();
    let server = place.serve("256MiB");
    let blob = bytes(16 * MIB, 1);
    let digest = server.push(&blob);
    place.way.pace.store(8, Ordering::SeqCst);
    let before = server.gets();
    // One that takes nothing, and one that leaves, hold up nobody.
    let target = format!("/v2/a/blobs/{digest}");
    let _idle = begin(&server.address, "GET", &target, "", &[]);
    drop(begin(&server.address, "GET", &target, "", &[]));
    let began = Instant::now();
    let firsts: Vec<Duration> = thread::scope(|scope| {
        let pull = || {
            let answer = server.pull(&digest);
            answer.is(&blob);
            answer.first
        };
        let clients: Vec<_> = (0..200).map(|_| scope.spawn(pull)).collect();
        clients.into_iter().map(|client| client.join().expect("a pull")).collect()
    });
    let took = began.elapsed();
    assert_eq!(server.gets() - before, 1);
    assert_eq!(server.reads("miss"), 1);
    let soonest = firsts.iter().min().expect("some");
    assert!(*soonest < took / 2, "the first byte took {soonest:?} of {took:?}");
    server.pull(&digest).is(&blob);
    server.pull_range(&digest, "5-9999999").is(&blob[5..10_000_000]);
    assert_eq!(server.gets() - before, 1);
    assert!(server.reads("hit") >= 2);
}

/// Whoever wants a few bytes from the end of a blob gets them before all before them have come.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_range_far_behind_what_has_come_is_read_from_the_store() {
    let place = Place::new();
    let server = place.serve("256MiB");
    let blob = bytes(24 * MIB, 2);
    let digest = server.push(&blob);
    server.pull_range(&digest, "-10").is(&blob[blob.len() - 10..]);
    assert_eq!((server.reads("bypass"), files(&place.cache()).len()), (1, 0), "a few bytes fetch no blob");
    place.way.pace.store(20, Ordering::SeqCst);
    let _whole = begin(&server.address, "GET", &format!("/v2/a/blobs/{digest}"), "", &[]);
    while server.reads("miss") == 0 {
        sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    server.pull_range(&digest, "-10").is(&blob[blob.len() - 10..]);
    assert!(!place.file(&digest).exists(), "the whole blob has not come yet, after {:?}", began.elapsed());
    server.pull_range(&digest, "100-2000000").is(&blob[100..2_000_001]);
    assert!(!place.file(&digest).exists());
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn the_cache_keeps_its_bound_and_what_was_used_last() {
    let place = Place::new();
    let server = place.serve("8MiB");
    let blobs: Vec<_> = (0..6).map(|seed| bytes(2 * MIB, seed + 10)).collect();
    let digests: Vec<_> = blobs.iter().map(|blob| server.push(blob)).collect();
    let large = bytes(5 * MIB, 20);
    let larger = server.push(&large);
    for (blob, digest) in blobs.iter().zip(&digests) {
        server.pull(digest).is(blob);
        // Used again and again, it stays.
        server.pull(&digests[0]).is(&blobs[0]);
        assert!(place.cached() <= 8 * MIB as u64, "{}", place.cached());
    }
    server.pull(&larger).is(&large);
    let kept: Vec<bool> = digests.iter().map(|digest| place.file(digest).exists()).collect();
    assert_eq!(kept, [true, false, false, true, true, true]);
    assert_eq!(server.metric("orlop_cache_evictions_total"), 2);
    assert_eq!(server.metric("orlop_cache_bytes"), 8 * MIB as u64);
    assert_eq!(server.reads("bypass"), 1, "a blob of more than half of the cache");
    // A smaller one, after a start: what was used last is known from the files.
    drop(server);
    let server = place.serve("4MiB");
    let kept: Vec<bool> = digests.iter().map(|digest| place.file(digest).exists()).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 2, "{kept:?}");
    server.pull(&digests[5]).is(&blobs[5]);
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_kill_while_a_file_is_filled_leaves_nothing_wrong() {
    let place = Place::new();
    let mut server = place.serve("256MiB");
    let (blob, other) = (bytes(16 * MIB, 30), bytes(MIB, 31));
    let (digest, small) = (server.push(&blob), server.push(&other));
    server.pull(&small).is(&other);
    place.way.pace.store(20, Ordering::SeqCst);
    let _reader = begin(&server.address, "GET", &format!("/v2/a/blobs/{digest}"), "", &[]);
    let partial = place.cache().join("partial");
    let began = Instant::now();
    let grows = || {
        let sizes = fs::read_dir(&partial).into_iter().flatten().flatten().filter_map(|file| file.metadata().ok());
        sizes.map(|metadata| metadata.len()).sum::<u64>() >= MIB as u64
    };
    while !grows() {
        assert!(began.elapsed() < PATIENCE, "nothing is filled");
        sleep(Duration::from_millis(5));
    }
    server.kill();
    place.way.pace.store(0, Ordering::SeqCst);
    let server = place.serve("256MiB");
    assert_eq!(fs::read_dir(&partial).expect("a directory").count(), 0);
    let before = server.gets();
    server.pull(&small).is(&other);
    assert_eq!(server.gets(), before, "what was kept before is used");
    server.pull(&digest).is(&blob);
    server.pull(&digest).is(&blob);
    assert_eq!(server.gets(), before + 1);
}

/// SPEC W14: the store is not asked for what a cache has lost but by the next pull.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_damaged_file_is_served_to_nobody_as_whole_and_read_anew() {
    let place = Place::new();
    let mut server = place.serve("256MiB");
    // The last is so small that nothing of it is sent before all of it is hashed.
    let blobs: Vec<_> = (0..4).map(|seed| bytes(if seed < 3 { 3 * MIB + 5 } else { MIB / 2 }, seed + 40)).collect();
    let digests: Vec<_> = blobs.iter().map(|blob| server.push(blob)).collect();
    let pull = |server: &Server, place: usize| {
        server.pull(&digests[place]).is(&blobs[place]);
    };
    (0..4).for_each(|blob| pull(&server, blob));
    // While it is in use: one is written into, one is cut short, one is gone.
    let (written, short, gone) = (place.file(&digests[0]), place.file(&digests[1]), place.file(&digests[2]));
    damage(&written, 2 * MIB);
    fs::File::options().write(true).open(&short).and_then(|file| file.set_len(100)).expect("a file");
    fs::remove_file(&gone).expect("a file");
    server.pull(&digests[0]).is_cut();
    assert_eq!(server.metric("orlop_damaged_reads_total{at=\"cache\"}"), 1);
    let before = server.gets();
    (0..4).for_each(|blob| pull(&server, blob));
    assert_eq!(server.gets(), before + 3);
    (0..4).for_each(|blob| pull(&server, blob));
    assert_eq!(server.gets(), before + 3);
    // While no server runs, with the time of the file as it was.
    server.kill();
    let modified = fs::metadata(&written).and_then(|metadata| metadata.modified()).expect("a file");
    damage(&written, 2 * MIB);
    fs::File::options().write(true).open(&written).and_then(|file| file.set_modified(modified)).expect("a file");
    damage(&place.file(&digests[3]), 0);
    let server = place.serve("256MiB");
    server.pull(&digests[0]).is_cut();
    pull(&server, 3);
    (0..4).for_each(|blob| pull(&server, blob));
    server.logs("a file of the object cache was damaged");
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_full_disk_of_the_cache_fails_no_pull() {
    let place = Place::new();
    let disk = match SmallDisk::mount("12m") {
        Ok(disk) => disk,
        Err(reason) => return eprintln!("SKIPPED: this machine lets nobody mount a small disk: {reason}"),
    };
    let server = place.serve_with(disk.path(), &["--keep-free", "0B"]);
    let (large, fits) = (bytes(14 * MIB, 50), bytes(8 * MIB, 51));
    let (larger, fitting) = (server.push(&large), server.push(&fits));
    server.pull(&larger).is(&large);
    server.logs("the object cache takes nothing for now");
    // There is room at the beginning, which something else takes.
    place.way.pace.store(10, Ordering::SeqCst);
    thread::scope(|scope| {
        let pulling = scope.spawn(|| server.pull(&fitting));
        let another = scope.spawn(|| server.pull(&fitting));
        let begun = || fs::read_dir(disk.path().join("partial")).is_ok_and(|files| files.count() > 0);
        while !begun() && !pulling.is_finished() {
            sleep(Duration::from_millis(2));
        }
        let _ = fs::write(disk.path().join("other"), vec![0; 8 * MIB]);
        pulling.join().expect("a pull").is(&fits);
        another.join().expect("a pull").is(&fits);
    });
    assert_eq!(fs::read_dir(disk.path().join("partial")).expect("a directory").count(), 0);
    fs::remove_file(disk.path().join("other")).expect("a file");
    server.pull(&fitting).is(&fits);
    assert!(files(disk.path()).iter().any(|file| file.ends_with(fitting.encoded())), "there is room again");
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn wrong_bytes_of_the_store_are_cut_off_and_logged() {
    let place = Place::new();
    let server = place.serve("256MiB");
    let plain = Server::start(place.command(), &place.flags());
    for (number, reading) in [&server, &plain].into_iter().enumerate() {
        let blob = bytes(3 * MIB, 60 + number as u64);
        let digest = server.push(&blob);
        let object = place.objects().pop().expect("an object");
        damage(&object, 1000);
        reading.pull(&digest).is_cut();
        reading.logs("the object store has other bytes than were pushed");
        reading.logs(&object.file_name().expect("a name").to_string_lossy());
        assert_eq!(reading.metric("orlop_damaged_reads_total{at=\"store\"}"), 1);
        assert_eq!(files(&place.cache()), [] as [PathBuf; 0], "wrong bytes are not kept");
        // It is out of use on all machines, until it is pushed again by whichever.
        reading.logs("a blob is damaged, and out of use until it is pushed again");
        for server in [&server, &plain] {
            assert_eq!(server.pull(&digest).status, 404);
        }
        plain.push(&blob);
        for server in [&server, &plain] {
            server.pull(&digest).is(&blob);
        }
        fs::remove_file(place.file(&digest)).expect("a file");
    }
}

/// More often than the library that speaks to the store tries anything again.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_store_that_breaks_off_again_and_again_is_asked_for_the_rest() {
    let place = Place::new();
    let server = place.serve("256MiB");
    let plain = Server::start(place.command(), &place.flags());
    let blob = bytes(20 * MIB, 70);
    let digest = server.push(&blob);
    place.way.cut.store(MIB as u64, Ordering::SeqCst);
    for server in [&server, &plain] {
        place.way.cuts.store(0, Ordering::SeqCst);
        server.pull(&digest).is(&blob);
        assert!(place.way.cuts.load(Ordering::SeqCst) >= 18);
    }
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_cache_belongs_to_one_server_and_is_never_made_of_other_files() {
    let place = Place::new();
    let refused = |cache: &Path, words: &str| {
        let cache = cache.display().to_string();
        let mut command = place.command();
        command.args(["serve", "--addr", "127.0.0.1:0", "--object-cache", &cache]).args(place.flags());
        let ended = command.output().expect("it runs");
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && told.contains(words), "{told}");
    };
    let server = place.serve("256MiB");
    refused(&place.cache(), "is in use by another orlop: give each server a directory of its own");
    let other = tempfile::tempdir().expect("a temporary directory");
    fs::write(other.path().join("letter"), "dear").expect("a file");
    refused(other.path(), "is not a cache of Orlop, it has `letter` in it");
    assert_eq!(fs::read_dir(other.path()).expect("a directory").count(), 1, "nothing was written");
    let mut check = place.command();
    check.args(["config", "check", "--object-cache"]).arg(other.path()).args(place.shared());
    let told = check.output().expect("it runs");
    assert!(!told.status.success() && String::from_utf8_lossy(&told.stderr).contains("is not a cache of Orlop"));
    // Commands beside the server use no cache.
    let mut gc = place.command();
    gc.arg("gc").args(place.shared()).arg("--object-cache").arg(place.cache());
    let told = gc.output().expect("it runs");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(server.metric("orlop_cache_bytes"), 0);
}
