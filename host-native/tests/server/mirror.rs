//! Mirrors: a server in front of another one, and in front of an upstream that misbehaves as a test wants.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use orlop_core::digest::{Algorithm, Digest};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::started::{Answer, Started, answer, eventually};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A mirror of ADDRESS below `hub/`.
pub(crate) const MIRROR: &str = "--mirror={ prefix = 'hub/', upstream = 'http://ADDRESS' }";

/// A blob that does not fit into the buffers of connections.
fn large(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Algorithm::Sha256.digest(bytes)
}

/// Pushes an image of one blob, and returns its manifest.
pub(crate) fn push(server: &Started, repository: &str, tag: &str, blob: &[u8]) -> Vec<u8> {
    let pushed = server.send("POST", &format!("/v2/{repository}/blobs/uploads/?digest={}", digest(blob)), blob);
    assert_eq!(pushed.status, 201, "{}", pushed.head);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{{"mediaType":"application/x","digest":"{}","size":{}}},"layers":[]}}"#,
        digest(blob),
        blob.len()
    );
    let fields = format!("Content-Type: {MANIFEST_TYPE}\r\n");
    let pushed = server.send_as(&fields, "PUT", &format!("/v2/{repository}/manifests/{tag}"), manifest.as_bytes());
    assert_eq!(pushed.status, 201, "{}", pushed.head);
    manifest.into_bytes()
}

/// A mirror of `upstream` below `hub/`, with these keys besides.
fn mirror(upstream: &str, keys: &str) -> Started {
    Started::with(&[&format!("--mirror={{ prefix = 'hub/', upstream = 'http://{upstream}'{keys} }}")])
}

fn mirror_on(data: &Path, upstream: &str, keys: &str) -> Started {
    Started::on(data, &[&format!("--mirror={{ prefix = 'hub/', upstream = 'http://{upstream}'{keys} }}")])
}

fn cached(answer: &Answer) -> Option<String> {
    answer.header("x-cache")
}

/// What came of a GET whose answer may break off: its status, whether it said how long it is, and what came.
fn get_all(address: &str, target: &str) -> (u16, u64, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut whole = Vec::new();
    let _ = stream.read_to_end(&mut whole);
    let end = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(whole[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let answer = Answer { status, head, body: whole.split_off(end) };
    (status, answer.header("content-length").unwrap().parse().unwrap(), answer.body)
}

#[test]
fn what_was_pulled_once_is_served_without_the_upstream() {
    let upstream = Started::with(&[]);
    let directory = TempDir::new().unwrap();
    let (blob, address) = (large(1 << 20), upstream.address().to_owned());
    let manifest = push(&upstream, "library/app", "v1", &blob);
    let (tag, layer) = ("/v2/hub/library/app/manifests/v1", format!("/v2/hub/library/app/blobs/{}", digest(&blob)));
    let server = mirror_on(directory.path(), &address, ", fresh = 'never'");
    for (target, expected, bytes) in
        [(tag, "MISS", &manifest), (tag, "HIT", &manifest), (&layer, "MISS", &blob), (&layer, "HIT", &blob)]
    {
        // The answer comes with the last byte; what it is kept by, with a commit after that.
        eventually(|| {
            let pulled = server.get(target);
            assert_eq!((pulled.status, &pulled.body == bytes), (200, true), "{target}: {}", pulled.head);
            cached(&pulled).as_deref() == Some(expected)
        });
    }
    assert_eq!(upstream.log().matches("operation=\"pull-blob\"").count(), 1, "{}", upstream.log());
    drop(upstream);
    let pulled = server.get(tag);
    assert_eq!((pulled.status, cached(&pulled).as_deref(), &pulled.body), (200, Some("STALE"), &manifest));
    drop(server);
    let server = mirror_on(directory.path(), &address, ", fresh = 'never'");
    let pulled = server.get(tag);
    assert_eq!((pulled.status, cached(&pulled).as_deref(), &pulled.body), (200, Some("STALE"), &manifest));
    let pulled = server.get(&layer);
    assert_eq!((pulled.status, cached(&pulled).as_deref(), &pulled.body), (200, Some("HIT"), &blob));
    // What was never here is not known to be nowhere.
    let unknown = server.get("/v2/hub/library/app/manifests/v2");
    assert_eq!((unknown.status, unknown.header("retry-after").as_deref()), (502, Some("1")));
    server.get("/v2/hub/library/app/manifests/v3");
    assert_eq!(server.log().matches("an upstream fails").count(), 1, "{}", server.log());
}

#[test]
fn what_the_upstream_lacks_is_asked_for_once_in_half_a_minute() {
    let upstream = Started::with(&[]);
    let server = mirror(upstream.address(), "");
    for _ in 0..3 {
        assert_eq!(server.get("/v2/hub/library/app/manifests/v1").status, 404);
    }
    eventually(|| upstream.log().contains("pull-manifest"));
    assert_eq!(upstream.log().matches("operation=\"pull-manifest\"").count(), 1, "{}", upstream.log());
}

#[test]
fn a_mirror_takes_no_pushes_and_others_do() {
    let upstream = Started::with(&[]);
    let server = mirror(upstream.address(), "");
    let refused = server.send("POST", "/v2/hub/library/app/blobs/uploads/", b"");
    assert_eq!((refused.status, refused.header("allow").as_deref()), (405, Some("GET, HEAD, DELETE")));
    assert!(String::from_utf8(refused.body).unwrap().contains("push to the registry that it mirrors"));
    assert_eq!(server.push(b"ours").0.status, 201);
    let offline = mirror(upstream.address(), ", offline = true");
    assert_eq!(offline.send("POST", "/v2/hub/library/app/blobs/uploads/", b"").status, 202);
}

#[test]
fn a_mirror_is_found_by_namespace_host_and_address() {
    let upstream = Started::with(&[]);
    let manifest = push(&upstream, "library/app", "v1", b"some bytes");
    let door = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let keys = format!(", namespace = ['docker.io'], host = 'Mirror.example.com', addr = '{door}'");
    let server = mirror(upstream.address(), &keys);
    let tag = "/v2/library/app/manifests/v1";
    let pulled = server.get(&format!("{tag}?ns=docker.io"));
    assert_eq!((pulled.status, pulled.body), (200, manifest.clone()));
    let unknown = server.get(&format!("{tag}?ns=quay.io"));
    assert_eq!(unknown.status, 404);
    assert!(String::from_utf8(unknown.body).unwrap().contains("mirrors no `quay.io`"));
    assert_eq!(server.get(tag).status, 404, "without a namespace it is a repository of ours");
    let ask = |address: &str, host: &str, target: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        answer(&mut stream, false)
    };
    for (address, host) in
        [(server.address(), "mirror.example.com"), (server.address(), "mirror.example.com:5000"), (&door, "x")]
    {
        let pulled = ask(address, host, tag);
        assert_eq!((pulled.status, &pulled.body), (200, &manifest), "{address} {host}");
        assert_eq!(ask(address, host, "/v2/").status, 200);
    }
    assert_eq!(ask(server.address(), "other.example.com", tag).status, 404);
}

#[test]
fn a_password_for_another_registry_is_no_try_at_the_root_of_a_mirror() {
    let upstream = Started::with(&[]);
    push(&upstream, "library/app", "v1", b"some bytes");
    let directory = TempDir::new().unwrap();
    let users = directory.path().join("users");
    std::fs::write(&users, format!("alice:{}\n", bcrypt::hash("alice-secret", 4).unwrap())).unwrap();
    let server = Started::with(&[
        &format!(
            "--mirror={{ prefix = 'hub/', upstream = 'http://{}', host = 'mirror.example.com' }}",
            upstream.address()
        ),
        "--auth-htpasswd",
        users.to_str().unwrap(),
        "--rule={ who = ['anybody'], allow = ['pull'], repositories = ['hub/**'] }",
    ]);
    let ask = |host: &str, target: &str, login: &str| {
        use base64::Engine;
        let login = base64::engine::general_purpose::STANDARD.encode(login);
        let mut stream = server.connect();
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {login}\r\n");
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
        answer(&mut stream, false).status
    };
    for login in ["hubuser:hub-secret", "alice:hub-secret", "alice:alice-secret"] {
        assert_eq!(ask("mirror.example.com", "/v2/library/app/manifests/v1", login), 200, "{login}");
    }
    assert!(!server.log().contains("wrong password") && !server.log().contains("hub-secret"), "{}", server.log());
    assert_eq!(ask("x", "/v2/hub/library/app/manifests/v1", "alice:hub-secret"), 401, "elsewhere it is one");
}

#[test]
fn registries_that_mirror_each_other_notice_it() {
    let places = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (one, other) = (free(), free());
    let start = |place: &TempDir, own: &str, upstream: &str| {
        let table = format!("--mirror={{ upstream = 'http://{upstream}' }}");
        Started::by(crate::started::orlop("serve", place.path()).args(["--addr", own, &table]), place.path())
    };
    let (a, b) = (start(&places[0], &one, &other), start(&places[1], &other, &one));
    let began = Instant::now();
    assert_eq!(a.get("/v2/library/app/manifests/v1").status, 404);
    assert_eq!(b.get(&format!("/v2/library/app/blobs/{}", digest(b"nothing"))).status, 404);
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// What a scripted upstream does with the requests for its blob, one after the other; the last goes on.
#[derive(Clone, Copy)]
enum Act {
    /// Sends all that was asked for.
    Send,
    /// Breaks off after so many bytes.
    Cut(usize),
    /// Says that the blob has so many bytes more, and sends them.
    Longer(usize),
    /// Sends one wrong byte at that place.
    Corrupt(usize),
    /// Sends so many bytes, waits, and sends the rest.
    Pause(usize, Duration),
}

/// An upstream with one blob, and what it was asked: the method and the range of each request.
struct Scripted {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn new(blob: Vec<u8>, acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (told, blob, acts) = (asked.clone(), Arc::new(blob), Arc::new(Mutex::new(acts)));
        // Ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (told, blob, acts) = (told.clone(), blob.clone(), acts.clone());
                thread::spawn(move || serve(stream, &told, &blob, &acts));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, told: &Mutex<Vec<String>>, blob: &[u8], acts: &Mutex<Vec<Act>>) {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read(&mut byte), Ok(1)) {
                return;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let method = head.split(' ').next().unwrap();
        let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
        told.lock().unwrap().push(format!("{method} {}", range.unwrap_or("all")));
        let (first, last) = match range.and_then(|range| range.split_once('-')) {
            Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap_or(blob.len() - 1)),
            None => (0, blob.len() - 1),
        };
        let act = {
            let mut acts = acts.lock().unwrap();
            // A range that a client wants is no part of the script.
            let scripted = method != "head" && range.is_none_or(|range| range.ends_with('-'));
            match acts.len() {
                _ if !scripted => Act::Send,
                1 => acts[0],
                _ => acts.remove(0),
            }
        };
        let more = if let Act::Longer(more) = act { more } else { 0 };
        let bytes = [&blob[first..=last], &vec![0; more]].concat();
        let (last, size) = (last + more, blob.len() + more);
        let (status, field) = match range {
            Some(_) => ("206 Partial Content", format!("Content-Range: bytes {first}-{last}/{size}\r\n")),
            None => ("200 OK", String::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\n{field}Content-Length: {}\r\n\r\n", bytes.len());
        if stream.write_all(head.as_bytes()).is_err() || method == "head" {
            continue;
        }
        let mut bytes = bytes;
        let sent = match act {
            Act::Send | Act::Longer(_) => stream.write_all(&bytes),
            Act::Cut(after) => {
                let _ = stream.write_all(&bytes[..after.min(bytes.len())]);
                return;
            }
            Act::Corrupt(at) => {
                bytes[at] ^= 1;
                stream.write_all(&bytes)
            }
            Act::Pause(after, time) => {
                let _ = stream.write_all(&bytes[..after]);
                thread::sleep(time);
                stream.write_all(&bytes[after..])
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn layer(blob: &[u8]) -> String {
    format!("/v2/hub/library/app/blobs/{}", digest(blob))
}

#[test]
fn two_hundred_clients_of_a_blob_are_one_request_to_the_upstream() {
    let blob = large(4 << 20);
    let scripted = Scripted::new(blob.clone(), vec![Act::Pause(1 << 20, Duration::from_secs(3))]);
    let server = mirror(&scripted.address, "");
    let target = layer(&blob);
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let (status, length, bytes) = get_all(server.address(), &target);
                assert_eq!((status, length, bytes == blob), (200, blob.len() as u64, true));
            });
        }
    });
    assert_eq!(scripted.asked(), ["get all"]);
}

#[test]
fn bytes_go_on_to_clients_as_they_come() {
    let blob = large(2 << 20);
    let scripted = Scripted::new(blob.clone(), vec![Act::Pause(1 << 20, Duration::from_secs(20))]);
    let server = mirror(&scripted.address, "");
    let mut stream = server.connect();
    stream.write_all(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", layer(&blob)).as_bytes()).unwrap();
    let (began, mut come) = (Instant::now(), vec![0; 1 << 20]);
    stream.read_exact(&mut come).unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_fetch_goes_on_without_its_client() {
    let blob = large(4 << 20);
    let scripted = Scripted::new(blob.clone(), vec![Act::Pause(1 << 20, Duration::from_secs(1))]);
    let server = mirror(&scripted.address, "");
    let mut stream = server.connect();
    stream.write_all(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", layer(&blob)).as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    eventually(|| {
        let pulled = server.get(&layer(&blob));
        assert_eq!(pulled.body, blob);
        cached(&pulled).as_deref() == Some("HIT")
    });
    assert_eq!(scripted.asked(), ["get all"]);
}

#[test]
fn a_fetch_that_breaks_off_goes_on_where_it_was() {
    let blob = large(3 << 20);
    let (one, two) = (1 << 20, 2 << 20);
    let scripted = Scripted::new(blob.clone(), vec![Act::Cut(one), Act::Cut(0), Act::Cut(two - one), Act::Send]);
    let server = mirror(&scripted.address, "");
    let (status, _, bytes) = get_all(server.address(), &layer(&blob));
    assert_eq!((status, bytes == blob), (200, true));
    let asked = scripted.asked();
    assert_eq!(asked, ["get all", "get 1048576-", "get 1048576-", "get 2097152-"]);
}

#[test]
fn a_blob_with_a_wrong_byte_is_whole_for_no_client_and_not_kept() {
    let blob = large(2 << 20);
    let scripted = Scripted::new(blob.clone(), vec![Act::Corrupt(1000), Act::Send]);
    let server = mirror(&scripted.address, "");
    let (status, length, bytes) = get_all(server.address(), &layer(&blob));
    assert!(status != 200 || (bytes.len() as u64) < length, "{status}: {} of {length}", bytes.len());
    let (status, _, bytes) = get_all(server.address(), &layer(&blob));
    assert_eq!((status, bytes == blob), (200, true), "it is fetched anew");
    assert_eq!(scripted.asked(), ["get all", "get all"]);
}

/// Its client was told the first length, and must not have all of that before it is known to be right.
#[test]
fn a_blob_that_grows_while_it_is_fetched_is_whole_for_no_client() {
    let blob = large(2 << 20);
    let wrong = [&blob[..1 << 20], &vec![9; 1 << 20]].concat();
    // What goes on is of another blob.
    let scripted = Scripted::new(wrong, vec![Act::Cut(1 << 20), Act::Longer(1 << 20)]);
    let server = mirror(&scripted.address, "");
    let (status, length, bytes) = get_all(server.address(), &layer(&blob));
    assert!(status != 200 || (bytes.len() as u64) < length, "{status}: {} of {length}", bytes.len());
    assert!(scripted.asked().len() >= 2);
}

#[test]
fn a_range_does_not_wait_for_the_bytes_before_it() {
    let blob = large(4 << 20);
    let scripted = Scripted::new(blob.clone(), vec![Act::Pause(1 << 20, Duration::from_secs(20))]);
    let server = mirror(&scripted.address, "");
    let began = Instant::now();
    let part = server.send_as("Range: bytes=-100\r\n", "GET", &layer(&blob), b"");
    assert_eq!((part.status, &part.body[..]), (206, &blob[blob.len() - 100..]));
    let expected = format!("bytes {}-{}/{}", blob.len() - 100, blob.len() - 1, blob.len());
    assert_eq!(part.header("content-range"), Some(expected));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_blob_that_is_too_large_is_not_fetched() {
    let blob = large(1 << 20);
    let scripted = Scripted::new(blob.clone(), vec![Act::Send]);
    let server = mirror(&scripted.address, ", blob-limit = '1MB'");
    assert_eq!(server.get(&layer(&blob)).status, 403);
}

#[test]
fn what_a_full_disk_cannot_keep_is_passed_on() {
    let blob = large(1 << 20);
    let scripted = Scripted::new(blob.clone(), vec![Act::Send, Act::Send, Act::Send, Act::Corrupt(5)]);
    let table = format!("--mirror={{ prefix = 'hub/', upstream = 'http://{}' }}", scripted.address);
    let server = Started::with(&[&table, "--keep-free", "1PiB"]);
    let (status, _, bytes) = get_all(server.address(), &layer(&blob));
    assert_eq!((status, bytes == blob), (200, true));
    let (_, length, bytes) = get_all(server.address(), &layer(&blob));
    assert!((bytes.len() as u64) < length, "the last byte of a wrong blob is not passed on");
}

/// A pull whose answer has begun, of a mirror that stops within four seconds.
fn begun_pull(directory: &TempDir, upstream: &Scripted, blob: &[u8]) -> (Started, TcpStream) {
    let mirror = format!("--mirror={{ prefix = 'hub/', upstream = 'http://{}' }}", upstream.address);
    let server = Started::on(directory.path(), &[&mirror, "--shutdown-grace", "4s"]);
    let mut stream = server.connect();
    let asked = format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", layer(blob));
    stream.write_all(asked.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    (server, stream)
}

#[test]
fn a_server_that_is_told_to_stop_ends_the_fetch_of_a_client_first() {
    let blob = large(2 << 20);
    let directory = TempDir::new().unwrap();
    let scripted = Scripted::new(blob.clone(), vec![Act::Pause(1 << 20, Duration::from_secs(2))]);
    let (mut server, mut stream) = begun_pull(&directory, &scripted, &blob);
    server.signal(Signal::TERM);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(&blob[1000..]), "{} bytes came", rest.len());
    assert!(server.ended());
    let server = mirror_on(directory.path(), &scripted.address, "");
    let pulled = server.get(&layer(&blob));
    assert_eq!((cached(&pulled).as_deref(), pulled.body == blob), (Some("HIT"), true));
}

#[test]
fn a_server_that_is_told_to_stop_gives_up_a_fetch_without_clients() {
    let blob = large(2 << 20);
    let directory = TempDir::new().unwrap();
    let scripted = Scripted::new(blob.clone(), vec![Act::Pause(1 << 20, Duration::from_secs(600))]);
    let (mut server, stream) = begun_pull(&directory, &scripted, &blob);
    drop(stream);
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert!(server.ended());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn a_server_that_is_told_to_stop_gives_up_what_it_fetches_regularly() {
    let upstream = Started::with(&[]);
    push(&upstream, "library/app", "v1", b"a blob");
    // The manifest comes from there, and the blob does not.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, through) = (silent.local_addr().unwrap(), upstream.address().to_owned());
    let (fetching, begun) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in silent.incoming().map_while(Result::ok) {
            let (fetching, through) = (fetching.clone(), through.clone());
            thread::spawn(move || {
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                if head.starts_with("GET /v2/library/app/blobs/") {
                    let _ = fetching.send(());
                    return thread::sleep(Duration::from_secs(600));
                }
                let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
                let mut there = TcpStream::connect(through).unwrap();
                let mut answer = Vec::new();
                let _ = there.write_all(head.as_bytes()).and_then(|()| there.read_to_end(&mut answer).map(drop));
                let _ = stream.write_all(&answer);
            });
        }
    });
    let mut server = mirror(&address.to_string(), ", fetch = ['library/app:v1']");
    begun.recv_timeout(Duration::from_secs(20)).expect("the blob is fetched");
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert!(server.ended());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn an_upstream_that_hangs_holds_up_a_stop_for_the_grace_alone() {
    let blob = large(2 << 20);
    let directory = TempDir::new().unwrap();
    let scripted = Scripted::new(blob.clone(), vec![Act::Pause(1 << 20, Duration::from_secs(600))]);
    let (mut server, stream) = begun_pull(&directory, &scripted, &blob);
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert!(server.ended());
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(7), "{took:?}");
    drop(stream);
}
