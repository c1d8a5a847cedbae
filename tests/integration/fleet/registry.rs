//! Servers with a database and a store of their own, asked over connections of which every byte is seen; and a way to the
//! store that can be slow, and break off.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use orlop_core::digest::{Algorithm, Digest};
use tempfile::TempDir;

use crate::engines::{ObjectServer, Postgres, SECRET, USER};
use crate::program::program;
use crate::server::spawn;

pub(crate) const MIB: usize = 1 << 20;

/// How long something may take that takes a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A way to the store that can be slow, and break off.
#[derive(Default)]
pub(crate) struct Way {
    /// Milliseconds for each 64 KiB that the store sends.
    pub(crate) pace: AtomicU64,
    /// After how many bytes of the store a connection is cut; 0 is never.
    pub(crate) cut: AtomicU64,
    /// How many were.
    pub(crate) cuts: AtomicU64,
}

impl Way {
    pub(crate) fn to(port: u16) -> (Arc<Self>, u16) {
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
    pub(crate) fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
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

/// A database and a store, the same for all tests that run at the same time.
fn running() -> Arc<(Postgres, ObjectServer)> {
    static RUNNING: Mutex<Weak<(Postgres, ObjectServer)>> = Mutex::new(Weak::new());
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.upgrade().unwrap_or_else(|| {
        let started = Arc::new((Postgres::start(), ObjectServer::start()));
        *running = Arc::downgrade(&started);
        started
    })
}

/// A database, a store, a way to it, and where a cache may be.
pub(crate) struct Place {
    engines: Arc<(Postgres, ObjectServer)>,
    records: String,
    objects: String,
    pub(crate) way: Arc<Way>,
    port: u16,
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let engines = running();
        let (way, port) = Way::to(engines.1.port());
        let records = engines.0.database();
        let objects = format!("s3://bucket/{}", records.rsplit_once('/').expect("a URL").1.replace('?', "-"));
        Self { engines, records, objects, way, port, directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    /// A directory that ends with this.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a server with a cache of that size.
    pub(crate) fn serve(&self, size: &str) -> Server {
        self.serve_with(&self.cache(), &["--object-cache-size", size, "--keep-free", "0B"])
    }

    pub(crate) fn serve_with(&self, cache: &Path, flags: &[&str]) -> Server {
        let cache = cache.display().to_string();
        Server::start(self.command(), &[&self.flags()[..], &["--object-cache", &cache], flags].concat())
    }

    /// Which database and store are used.
    pub(crate) fn shared(&self) -> [&str; 4] {
        ["--records", &self.records, "--objects", &self.objects]
    }

    pub(crate) fn flags(&self) -> Vec<&str> {
        // All clients have one address. What is counted is what they ask for, and not what a scrub reads beside them.
        let flags = ["--admin-addr", "127.0.0.1:0", "--max-client-requests", "512", "--scrub-rate", "0"];
        [&self.shared()[..], &flags].concat()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.env("AWS_ACCESS_KEY_ID", USER).env("AWS_SECRET_ACCESS_KEY", SECRET).env("ORLOP_CONFIG", "");
        let endpoint = format!("endpoint=http://127.0.0.1:{}\nregion=us-east-1\nallow_http=true", self.port);
        command.env("ORLOP_OBJECTS_OPTION", endpoint);
        command
    }

    /// The files that the store has objects in, the one made last at the end.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        let listed = fs::read_dir(self.engines.1.bucket().join(&self.objects["s3://bucket/".len()..]).join("objects"))
            .expect("the store keeps files");
        let mut files: Vec<_> = listed.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
        files
    }

    /// The file of the cache that has a blob.
    pub(crate) fn file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.encoded();
        self.cache().join("sha256").join(&hex[..2]).join(hex)
    }

    /// How many bytes the files of the cache have.
    pub(crate) fn cached(&self) -> u64 {
        files(&self.cache()).iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
    }
}

/// The files below the directories of a cache.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
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
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    admin: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    pub(crate) fn start(command: Command, flags: &[&str]) -> Self {
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

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until the log says so.
    pub(crate) fn logs(&self, words: &str) {
        let began = Instant::now();
        while !self.log.lock().expect("nobody has panicked").contains(words) {
            assert!(began.elapsed() < PATIENCE, "`{words}` is not logged:\n{}", self.log.lock().expect("a log"));
            sleep(Duration::from_millis(20));
        }
    }

    /// A number of the metrics; 0 when it is not there.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(get(&self.admin, "/metrics", "").body).expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().parse().ok()).unwrap_or_default()
    }

    /// Whether it says that it is ready, and why it is not.
    pub(crate) fn ready(&self) -> (u16, String) {
        let told = get(&self.admin, "/readyz", "");
        (told.status, String::from_utf8(told.body).expect("text"))
    }

    /// How many objects, or ranges of them, were asked of the store.
    pub(crate) fn gets(&self) -> u64 {
        ["200", "206"]
            .map(|status| self.metric(&format!("orlop_object_requests_total{{method=\"GET\",status=\"{status}\"}}")))
            .iter()
            .sum()
    }

    pub(crate) fn reads(&self, result: &str) -> u64 {
        self.metric(&format!("orlop_cache_reads_total{{result=\"{result}\"}}"))
    }

    /// Pushes a blob in one request.
    pub(crate) fn push(&self, bytes: &[u8]) -> Digest {
        self.push_to("a", bytes)
    }

    /// Pushes a blob to a repository.
    pub(crate) fn push_to(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Algorithm::Sha256.digest(bytes);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let told = ask(&self.address, "POST", &target, "", bytes);
        assert_eq!(told.status, 201, "{}", String::from_utf8_lossy(&told.body));
        digest
    }

    /// Pulls a blob.
    pub(crate) fn pull(&self, digest: &Digest) -> Answer {
        get(&self.address, &format!("/v2/a/blobs/{digest}"), "")
    }

    pub(crate) fn pull_range(&self, digest: &Digest, range: &str) -> Answer {
        get(&self.address, &format!("/v2/a/blobs/{digest}"), &format!("Range: bytes={range}\r\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What came of a request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    /// How many bytes were announced.
    pub(crate) length: usize,
    pub(crate) body: Vec<u8>,
    /// How long its first byte took.
    pub(crate) first: Duration,
}

impl Answer {
    /// The value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    #[track_caller]
    pub(crate) fn is(&self, bytes: &[u8]) {
        assert!(matches!(self.status, 200 | 206), "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        assert!(self.body == bytes, "{} of {} bytes came, or others", self.body.len(), bytes.len());
    }

    /// That no client takes it for a whole blob.
    #[track_caller]
    pub(crate) fn is_cut(&self) {
        assert!(self.status >= 500 || self.body.len() < self.length, "{} with {} bytes", self.status, self.body.len());
    }
}

pub(crate) fn get(address: &str, target: &str, fields: &str) -> Answer {
    ask(address, "GET", target, fields, &[])
}

pub(crate) fn ask(address: &str, method: &str, target: &str, fields: &str, body: &[u8]) -> Answer {
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
    let length = length.unwrap_or(usize::MAX);
    let mut answer = Answer { status, head, length, body: Vec::new(), first: Duration::ZERO };
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
pub(crate) fn begin(address: &str, method: &str, target: &str, fields: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("the server reads");
    stream
}

/// Bytes that are like no others.
pub(crate) fn bytes(length: usize, seed: u64) -> Vec<u8> {
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
pub(crate) fn damage(path: &Path, place: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[place] ^= 1;
    fs::write(path, bytes).expect("a file that can be written");
}
