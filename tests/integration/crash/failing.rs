//! A disk that fails: what cannot be read or written is told, and all else goes on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orlop_conformance::system::{blob, get};

use crate::full::{is_clear, told};
use crate::power::can_trace;
use crate::random::seed;
use crate::reachable::gc_and_look;
use crate::served::{Client, Served};
use crate::server::{Server, scratch};
use crate::skipping::skipped;
use crate::verify::verify;
use crate::worker::Worker;

/// Longer than the server takes to open its records again.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tracer that makes system calls of a process fail for as long as it is there.
struct Failing(Child);

impl Failing {
    fn begin(process: u32, only: Option<&Path>, inject: &str) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &process.to_string(), "-o", "/dev/null", "-e"]);
        let calls = inject.split(':').next().unwrap_or_default();
        strace.arg(format!("trace={calls}")).args(["-e", &format!("inject={inject}")]);
        if let Some(only) = only {
            strace.arg("-P").arg(only);
        }
        let mut child = strace.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("strace starts");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        let mut line = String::new();
        while !line.contains("attached") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap_or(0), 0, "strace could not attach");
        }
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self(child)
    }
}

impl Drop for Failing {
    /// Asks it to let go. Killed, it might take the process along.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// What fails, in which file if not in all, and the status that tells of it.
///
/// While the records are opened again after a fault, 503 says so.
const FAULTS: [(&str, Option<&str>, &str, &[u16]); 11] = [
    ("no sync works", None, "fsync,fdatasync:error=EIO", &[500, 503]),
    ("one sync in three fails", None, "fsync,fdatasync:error=EIO:when=1+3", &[500, 503]),
    ("the log cannot be written", Some("records.log"), "pwrite64:error=EIO", &[500, 503]),
    ("the log finds no space", Some("records.log"), "pwrite64:error=ENOSPC:when=2+5", &[507, 500, 503]),
    ("the log cannot be made durable", Some("records.log"), "fdatasync:error=EIO", &[500, 503]),
    ("the records cannot be written", Some("records.redb"), "pwrite64:error=EIO", &[500, 503]),
    ("the records find no space", Some("records.redb"), "pwrite64:error=ENOSPC:when=2+5", &[507, 500, 503]),
    ("the records cannot be made durable", Some("records.redb"), "fdatasync:error=EIO", &[500, 503]),
    ("names cannot be made durable", None, "fsync:error=EIO", &[500, 503]),
    ("a quota is used up", None, "fdatasync:error=EDQUOT:when=1+2", &[507, 503]),
    ("nothing can be removed", None, "unlink,rmdir:error=EIO", &[500, 503]),
];

#[test]
fn a_disk_that_fails_loses_nothing_and_serves_again_once_it_works() {
    if let Err(reason) = can_trace() {
        skipped("a failing disk, which needs strace (apt-get install strace)", &reason);
        return;
    }
    let seed = seed();
    let directory = scratch();
    let data = directory.path().join("data");
    let mut server = Server::start(&data, &["--keep-free", "0", "--gc-interval", "200ms", "--record-log", "16KiB"]);
    let mut workers = [Worker::new(0, seed, &server.address, 30_000), Worker::new(1, seed, &server.address, 30_000)];
    work(&mut workers, 40);
    assert!(workers.iter().all(|worker| worker.failures.is_empty()), "a healthy disk failed");
    for (name, only, inject, statuses) in FAULTS {
        let failing = Failing::begin(server.id(), only.map(|name| data.join(name)).as_deref(), inject);
        work(&mut workers, 40);
        drop(failing);
        assert!(server.is_running(), "{name}: the server has ended:\n{}", server.ended());
        let failures: Vec<_> = workers.iter_mut().flat_map(|worker| std::mem::take(&mut worker.failures)).collect();
        failures.iter().for_each(|(call, reply)| is_clear(call, reply, statuses, &data));
        // What is not removed stays for garbage collection, and what is in the log waits for records that work.
        let bears = inject.starts_with("unlink") || only == Some("records.redb");
        assert!(bears || !failures.is_empty(), "{name}: nobody noticed");
        works_again(&mut workers[0], name);
        work(&mut workers, 10);
        assert!(workers.iter().all(|worker| worker.failures.is_empty()), "{name}: it goes on failing");
        let (ledger, sent) = told(&workers);
        let found = verify(&mut Client::new(&server.address), &ledger, &sent, || false);
        found.unwrap_or_else(|error| panic!("{name}, ORLOP_SEED={seed}: {error}"));
        println!("{name}: {} requests were told so, {} facts hold", failures.len(), ledger.facts.len());
    }
    let log = server.kill();
    assert!(log.contains("could not be taken into the records"), "no checkpoint failed:\n{log}");
    let (ledger, sent) = told(&workers);
    let server = Server::start(&data, &["--keep-free", "0"]);
    let found = verify(&mut Client::new(&server.address), &ledger, &sent, || false);
    let found = found.unwrap_or_else(|error| panic!("after a restart, ORLOP_SEED={seed}: {error}"));
    server.kill();
    gc_and_look(&data, &found, &sent).unwrap_or_else(|error| panic!("ORLOP_SEED={seed}: {error}"));
}

fn work(workers: &mut [Worker], times: usize) {
    std::thread::scope(|scope| {
        for worker in workers.iter_mut() {
            scope.spawn(move || (0..times).for_each(|_| worker.act().expect("the server goes on")));
        }
    });
}

/// Pushes until one is taken: without a restart, and soon.
fn works_again(worker: &mut Worker, name: &str) {
    let began = Instant::now();
    loop {
        worker.push_whole().expect("the server goes on");
        if std::mem::take(&mut worker.failures).is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{name}: the disk works again, and the server does not");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn file_of(data: &Path, digest: &str) -> PathBuf {
    crate::reachable::file_of(data, digest).expect("a blob has a file")
}

#[test]
fn a_content_that_cannot_be_read_is_told_and_the_others_are_served() {
    let directory = scratch();
    let data = directory.path().join("data");
    let mut server = Server::start(&data, &["--keep-free", "0", "--gc-interval", "0", "--scrub-rate", "0"]);
    let mut worker = Worker::new(0, 1, &server.address, 1000);
    let mut push = |text: &str| {
        let bytes = text.repeat(20_000);
        worker.push_blob("a", bytes.clone().into()).unwrap();
        orlop_conformance::image::sha256(bytes)
    };
    let [good, gone, emptied, shortened, directory_now] =
        ["good", "gone", "empty", "short", "directory"].map(&mut push);
    fs::remove_file(file_of(&data, &gone)).unwrap();
    fs::write(file_of(&data, &emptied), b"").unwrap();
    fs::File::options().write(true).open(file_of(&data, &shortened)).unwrap().set_len(30_000).unwrap();
    let path = file_of(&data, &directory_now);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let pull = |digest: &str| Client::new(&server.address).send(&get(blob("a", digest)));
    // SPEC W11: what is missing when it is opened is so for the first who asks. What ends or fails while it is sent has
    // begun to be answered: that connection ends early, and from the moment it was looked at it is not there either.
    for _ in 0..3 {
        assert_eq!(pull(&gone).expect("an answer").status, 404);
    }
    for digest in [&emptied, &shortened, &directory_now] {
        let cut = pull(digest).expect_err("its bytes are not those of the blob");
        assert_eq!(cut.kind(), std::io::ErrorKind::UnexpectedEof, "{digest}");
        let began = Instant::now();
        while let Err(cut) = pull(digest) {
            assert_eq!(cut.kind(), std::io::ErrorKind::UnexpectedEof, "{digest}");
            assert!(began.elapsed() < PATIENCE, "{digest} is still in use");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    for digest in [&gone, &emptied, &shortened, &directory_now] {
        let reply = pull(digest).expect("an answer");
        assert_eq!(reply.status, 404, "{digest}");
        is_clear(digest, &reply, &[404], &data);
        let reply = pull(&good).expect("an answer");
        assert_eq!((reply.status, reply.body.len()), (200, 80_000));
    }
    assert!(server.is_running());
    let log = server.kill();
    for digest in [&gone, &emptied, &shortened, &directory_now] {
        let told =
            |line: &&str| line.contains("ERROR a blob is damaged, and out of use") && line.contains(digest.as_str());
        assert_eq!(log.lines().filter(told).count(), 1, "the log does not tell of {digest} once:\n{log}");
    }
}
