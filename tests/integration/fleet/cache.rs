//! What is pulled is kept on a disk of the server, and whatever becomes of that disk or the store, no client takes wrong
//! bytes for right ones.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use orlop_core::digest::{Algorithm, Digest};
use tempfile::TempDir;

use crate::engines::{ObjectServer, Postgres, SECRET, USER};
use crate::server::{program, spawn};

const MIB: usize = 1 << 20;

/// How long something may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// A way to the store that can be slow, and break off.
#[derive(Default)]
struct Way {
    /// Milliseconds for each 64 KiB that the store sends.
    pace: AtomicU64,
    /// After how many bytes of the store a connection is cut; 0 is never.
    cut: AtomicU64,
    /// How many were.
    cuts: AtomicU64,
}

impl Way {
    fn to(port: u16) -> (Arc<Self>, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let own = listener.local_addr().expect("an address").port();
        let way = Arc::new(Self::default());
        let passing = way.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let (mut from, mut to) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
                let way = passing.clone();
                thread::spawn(move || way.pass(server, client));
            }
        });
        (way, own)
    }

    /// What the store sends.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let (mut buffer, mut passed) = (vec![0; 64 << 10], 0);
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            sleep(Duration::from_millis(self.pace.load(Ordering::SeqCst)));
            passed += read as u64;
            let cut = self.cut.load(Ordering::SeqCst);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
            if cut > 0 && passed >= cut {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
        let _ = from.shutdown(std::net::Shutdown::Both);
    }
}

/// A database, a store, a way to it, and where a cache may be.
struct Place {
    store: ObjectServer,
    database: Postgres,
    records: String,
    way: Arc<Way>,
    port: u16,
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let (database, store) = (Postgres::start(), ObjectServer::start());
        let (way, port) = Way::to(store.port());
        let records = database.database();
        Self { store, database, records, way, port, directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    /// Starts a server with a cache of that size.
    fn serve(&self, size: &str) -> Server {
        self.serve_with(&self.cache(), &["--object-cache-size", size, "--keep-free", "0B"])
    }

    fn serve_with(&self, cache: &Path, flags: &[&str]) -> Server {
        let cache = cache.display().to_string();
        Server::start(self.command(), &[&self.flags()[..], &["--object-cache", &cache], flags].concat())
    }

    fn flags(&self) -> Vec<&str> {
        let engines = ["--records", &self.records, "--objects", "s3://bucket/registry"];
        // All clients have one address.
        [&engines[..], &["--admin-addr", "127.0.0.1:0", "--max-client-requests", "512"]].concat()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.env("AWS_ACCESS_KEY_ID", USER).env("AWS_SECRET_ACCESS_KEY", SECRET).env("ORLOP_CONFIG", "");
        let endpoint = format!("endpoint=http://127.0.0.1:{} region=us-east-1 allow_http=true", self.port);
        command.env("ORLOP_OBJECTS_OPTION", endpoint);
        command
    }

    /// The files that the store has objects in, the one made last at the end.
    fn objects(&self) -> Vec<PathBuf> {
        let listed = fs::read_dir(self.store.files().join("registry/objects")).expect("the store keeps files");
        let mut files: Vec<_> = listed.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
        files
    }

    /// The file of the cache that has a blob.
    fn file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.encoded();
        self.cache().join("sha256").join(&hex[..2]).join(hex)
    }

    /// How many bytes the files of the cache have.
    fn cached(&self) -> u64 {
        files(&self.cache()).iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
    }
}

/// The files below the directories of a cache.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    let (directories, mut files): (Vec<_>, Vec<_>) = found.into_iter().partition(|path| path.is_dir());
    for below in directories {
        files.extend(fs::read_dir(below).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    files
}

/// A running server.
struct Server {
    child: Child,
    address: String,
    admin: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    fn start(command: Command, flags: &[&str]) -> Self {
        let mut child = spawn(command, Path::new("unused"), flags);
        let mut lines = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        let (mut text, mut admin) = (String::new(), String::new());
        let address = loop {
            let before = text.len();
            assert_ne!(lines.read_line(&mut text).unwrap_or(0), 0, "the server ended before it listened:\n{text}");
            if let Some((_, address)) = text[before..].split_once("metrics on http://") {
                admin = address.trim().trim_end_matches("/metrics").to_owned();
            }
            if let Some((_, address)) = text[before..].split_once("listening on http://") {
                break address.trim().to_owned();
            }
        };
        let log = Arc::new(Mutex::new(text));
        let into = log.clone();
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut log = into.lock().expect("nobody has panicked");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, address, admin, log }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until the log says so.
    fn logs(&self, words: &str) {
        let began = Instant::now();
        while !self.log.lock().expect("nobody has panicked").contains(words) {
            assert!(began.elapsed() < PATIENCE, "`{words}` is not logged:\n{}", self.log.lock().expect("a log"));
            sleep(Duration::from_millis(20));
        }
    }

    /// A number of the metrics; 0 when it is not there.
    fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(get(&self.admin, "/metrics", "").body).expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().parse().ok()).unwrap_or_default()
    }

    /// How many objects, or ranges of them, were asked of the store.
    fn gets(&self) -> u64 {
        ["200", "206"]
            .map(|status| self.metric(&format!("orlop_object_requests_total{{method=\"GET\",status=\"{status}\"}}")))
            .iter()
            .sum()
    }

    fn reads(&self, result: &str) -> u64 {
        self.metric(&format!("orlop_cache_reads_total{{result=\"{result}\"}}"))
    }

    /// Pushes a blob in one request.
    fn push(&self, bytes: &[u8]) -> Digest {
        let digest = Algorithm::Sha256.digest(bytes);
        let target = format!("/v2/a/blobs/uploads/?digest={digest}");
        let told = ask(&self.address, "POST", &target, "", bytes);
        assert_eq!(told.status, 201, "{}", String::from_utf8_lossy(&told.body));
        digest
    }

    /// Pulls a blob.
    fn pull(&self, digest: &Digest) -> Answer {
        get(&self.address, &format!("/v2/a/blobs/{digest}"), "")
    }

    fn pull_range(&self, digest: &Digest, range: &str) -> Answer {
        get(&self.address, &format!("/v2/a/blobs/{digest}"), &format!("Range: bytes={range}\r\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What came of a request.
struct Answer {
    status: u16,
    /// How many bytes were announced.
    length: usize,
    body: Vec<u8>,
    /// How long its first byte took.
    first: Duration,
}

impl Answer {
    #[track_caller]
    fn is(&self, bytes: &[u8]) {
        assert!(matches!(self.status, 200 | 206), "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        assert!(self.body == bytes, "{} of {} bytes came, or others", self.body.len(), bytes.len());
    }

    /// That no client takes it for a whole blob.
    #[track_caller]
    fn is_cut(&self) {
        assert!(self.status >= 500 || self.body.len() < self.length, "{} with {} bytes", self.status, self.body.len());
    }
}

fn get(address: &str, target: &str, fields: &str) -> Answer {
    ask(address, "GET", target, fields, &[])
}

fn ask(address: &str, method: &str, target: &str, fields: &str, body: &[u8]) -> Answer {
    let began = Instant::now();
    let mut stream = begin(address, method, target, fields, body);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read(&mut byte).expect("an answer"), 0, "no answer to {method} {target}");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut answer = Answer { status, length: length.unwrap_or(usize::MAX), body: Vec::new(), first: Duration::ZERO };
    let mut buffer = vec![0; 256 << 10];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        if answer.body.is_empty() {
            answer.first = began.elapsed();
        }
        answer.body.extend_from_slice(&buffer[..read]);
    }
    answer
}

/// Sends a request, whose answer is not read.
fn begin(address: &str, method: &str, target: &str, fields: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("the server reads");
    stream
}

/// Bytes that are like no others.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}

/// Changes a byte of a file.
fn damage(path: &Path, place: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[place] ^= 1;
    fs::write(path, bytes).expect("a file that can be written");
}

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
    let disk = tempfile::tempdir().expect("a temporary directory");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(disk.path());
    if !mount.output().is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED: this machine lets nobody mount a small disk");
        return;
    }
    let mounted = Mounted(disk);
    let server = place.serve_with(mounted.0.path(), &["--keep-free", "0B"]);
    let (large, fits) = (bytes(14 * MIB, 50), bytes(8 * MIB, 51));
    let (larger, fitting) = (server.push(&large), server.push(&fits));
    server.pull(&larger).is(&large);
    server.logs("the object cache takes nothing for now");
    // There is room at the beginning, which something else takes.
    place.way.pace.store(10, Ordering::SeqCst);
    thread::scope(|scope| {
        let pulling = scope.spawn(|| server.pull(&fitting));
        let another = scope.spawn(|| server.pull(&fitting));
        let begun = || fs::read_dir(mounted.0.path().join("partial")).is_ok_and(|files| files.count() > 0);
        while !begun() && !pulling.is_finished() {
            sleep(Duration::from_millis(2));
        }
        let _ = fs::write(mounted.0.path().join("other"), vec![0; 8 * MIB]);
        pulling.join().expect("a pull").is(&fits);
        another.join().expect("a pull").is(&fits);
    });
    assert_eq!(fs::read_dir(mounted.0.path().join("partial")).expect("a directory").count(), 0);
    fs::remove_file(mounted.0.path().join("other")).expect("a file");
    server.pull(&fitting).is(&fits);
    assert!(files(mounted.0.path()).iter().any(|file| file.ends_with(fitting.encoded())), "there is room again");
}

/// A small file system in memory.
struct Mounted(TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn wrong_bytes_of_the_store_are_cut_off_and_logged() {
    let place = Place::new();
    let server = place.serve("256MiB");
    let plain = Server::start(place.command(), &place.flags());
    let blob = bytes(3 * MIB, 60);
    let digest = server.push(&blob);
    plain.pull(&digest).is(&blob);
    let object = place.objects().pop().expect("an object");
    damage(&object, 1000);
    for server in [&server, &plain] {
        server.pull(&digest).is_cut();
        server.logs("the object store has other bytes than were pushed");
        server.logs(&object.file_name().expect("a name").to_string_lossy());
        assert_eq!(server.metric("orlop_damaged_reads_total{at=\"store\"}"), 1);
    }
    assert_eq!(files(&place.cache()), [] as [PathBuf; 0], "wrong bytes are not kept");
    damage(&object, 1000);
    for server in [&server, &plain] {
        server.pull(&digest).is(&blob);
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
    // Commands beside the server use no cache.
    let mut gc = place.command();
    gc.args(["gc", "--records", &place.records, "--objects", "s3://bucket/registry"]);
    gc.arg("--object-cache").arg(place.cache());
    let told = gc.output().expect("it runs");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(server.metric("orlop_cache_bytes"), 0);
    assert!(place.database.port() > 0);
}
