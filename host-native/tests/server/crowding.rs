//! One address takes all it can get, and others are served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use orlop_core::digest::Algorithm;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::passwords::basic;
use crate::started::{Started, answer, eventually};
use crate::tls::{Place, frame};

/// The address that means harm.
const GREEDY: [u8; 4] = [127, 0, 0, 66];

/// As long as a request takes on a slow machine that does many other things: a second on a quiet one. Whoever waits for
/// a share does so for five.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Each connection takes a file descriptor here and one in the server.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

fn others_are_served(server: &Started) {
    for _ in 0..40 {
        let asked = Instant::now();
        assert_eq!(server.get("/v2/").status, 200);
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    }
}

#[test]
fn bodies_that_do_not_come_and_readers_that_take_nothing_keep_nobody_out() {
    raise_file_limit();
    let server = Started::with(&["--log", "info,orlop::access=off"]);
    let large = vec![b'x'; 16 << 20];
    let (pushed, blob) = server.push(&large);
    assert_eq!(pushed.status, 201);
    let digest = Algorithm::Sha256.digest(b"never comes");
    let requests = [
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".to_owned(),
        format!("POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"),
        format!("GET {blob} HTTP/1.1\r\nHost: x\r\n\r\n"),
    ];
    let held: Vec<TcpStream> = (0..512)
        .map(|number| {
            let mut stream = server.connect_from(GREEDY);
            stream.write_all(requests[number % 3].as_bytes()).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    others_are_served(&server);
    drop(held);
}

/// Each of them has a password.
#[test]
fn a_user_that_takes_all_it_can_get_keeps_no_other_out() {
    raise_file_limit();
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("users");
    let line = |user: &str| format!("{user}:{}\n", bcrypt::hash("secret", 4).unwrap());
    std::fs::write(&path, ["alice", "bob"].map(line).concat()).unwrap();
    let server = Started::with(&["--auth-htpasswd", path.to_str().unwrap(), "--max-requests", "60"]);
    let [alice, bob] = ["alice", "bob"].map(|user| basic(user, "secret"));
    for user in [&alice, &bob] {
        assert_eq!(server.send_as(user, "GET", "/v2/", b"").status, 200);
    }
    let digest = Algorithm::Sha256.digest(b"never comes");
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    let held: Vec<TcpStream> = (0..80)
        .map(|_| {
            let mut stream = server.connect_from(GREEDY);
            let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\n{alice}Content-Length: 100\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(server.send_as(&bob, "GET", "/v2/", b"").status, 200);
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    }
    drop(held);
}

#[test]
fn streams_of_http_2_keep_nobody_out() {
    let place = Place::new();
    let server = place.start(&["--plain-addr", "127.0.0.1:0"]);
    let plain = || {
        let log = server.log();
        let line =
            log.lines().find_map(|line| line.split_once("listening on http://").map(|(_, rest)| rest.to_owned()));
        line.map(|rest| rest.trim().to_owned())
    };
    eventually(|| plain().is_some());
    let plain = plain().unwrap();
    let client = place.client(None, &[b"h2"]);
    // POST https://x/v2/a/blobs/uploads/, with a body that does not come (RFC 7541, appendix A).
    let path = b"/v2/a/blobs/uploads/";
    let head = [&[0x83, 0x87, 0x41, 1, b'x', 0x04, path.len() as u8], &path[..]].concat();
    let streams: Vec<Vec<u8>> = (0..64).map(|number| frame(1, 4, 2 * number + 1, &head)).collect();
    let mut held: Vec<_> = (0..8)
        .map(|_| {
            let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
            let session = rustls::ClientConnection::new(client.clone(), name).unwrap();
            let mut stream = rustls::StreamOwned::new(session, server.connect_from(GREEDY));
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
            stream.write_all(&frame(4, 0, 0, &[])).unwrap();
            stream.write_all(&streams.concat()).unwrap();
            stream
        })
        .collect();
    held.iter_mut().for_each(|stream| stream.read_exact(&mut [0; 9]).unwrap());
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..20 {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(&plain).unwrap();
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(answer(&mut stream, false).status, 200);
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    }
}

#[test]
fn idle_connections_make_room_and_those_that_do_something_stay() {
    let server = Started::with(&["--max-connections", "40", "--max-client-connections", "40"]);
    let session = server.session();
    let mut uploading = server.connect_from(GREEDY);
    let half = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na");
    uploading.write_all(half.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let held: Vec<TcpStream> = (0..60).map(|_| server.connect_from(GREEDY)).collect();
    std::thread::sleep(Duration::from_millis(300));
    others_are_served(&server);
    uploading.write_all(b"b").unwrap();
    assert_eq!(answer(&mut uploading, false).status, 202, "a connection with a request is not closed");
    drop(held);
}

/// Where no file can be opened, nothing can be pulled or pushed, and no connection accepted.
#[test]
fn connections_that_do_nothing_leave_files_to_those_who_pull_and_push() {
    let directory = tempfile::TempDir::new().unwrap();
    let data = directory.path().join("data");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 128; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_orlop"), "serve", "--data"]);
    command.arg(&data).args(["--addr", "127.0.0.1:0"]).env("NO_COLOR", "1");
    let server = Started::by(command.stderr(std::process::Stdio::piped()), &data);
    let large = vec![b'x'; 100_000];
    let (pushed, blob) = server.push(&large);
    assert_eq!(pushed.status, 201);
    let held: Vec<TcpStream> = (0..200).map(|number| server.connect_from([127, 0, 2, number as u8 + 1])).collect();
    std::thread::sleep(Duration::from_millis(300));
    for number in 0..20_u8 {
        assert_eq!(server.get(&blob).body.len(), large.len());
        assert_eq!(server.push(&vec![number; 50_000]).0.status, 201);
    }
    drop(held);
}
