//! Pulls that the kernel sends: whatever a client asks for, and however it behaves, it gets the right bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use orlop_core::digest::Algorithm;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::started::{Answer, Started, answer, eventually};

/// Numbers that look like chance: the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Bytes of which no two places look alike.
fn bytes(length: usize) -> Vec<u8> {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    (0..length).map(|_| chance.below(256) as u8).collect()
}

fn pushed(server: &Started, bytes: &[u8]) -> String {
    let (answer, path) = server.push(bytes);
    assert_eq!(answer.status, 201, "{answer:?}");
    path
}

fn ask(stream: &mut TcpStream, path: &str, fields: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes()).unwrap();
}

/// The parts of a `multipart/byteranges` body.
fn parts(answer: &Answer) -> Vec<Vec<u8>> {
    let boundary =
        answer.header("content-type").unwrap().split_once("boundary=").unwrap().1.trim_matches('"').to_owned();
    let delimiter = format!("--{boundary}").into_bytes();
    let at: Vec<_> =
        answer.body.windows(delimiter.len()).enumerate().filter(|(_, window)| *window == delimiter).collect();
    let between = at.windows(2).map(|pair| &answer.body[pair[0].0..pair[1].0]);
    between
        .map(|part| {
            let head = part.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
            part[head + 4..part.len() - 2].to_vec()
        })
        .collect()
}

#[test]
fn ranges_anywhere_come_as_they_are_on_one_connection() {
    let server = Started::with(&[]);
    let whole = bytes(5_000_000);
    let path = pushed(&server, &whole);
    let mut stream = server.connect();
    let mut chance = Chance(7);
    for turn in 0..300 {
        // Short ones too: they go another way.
        let longest = if turn % 3 == 0 { 100_000 } else { whole.len() };
        let first = chance.below(whole.len());
        let last = (first + chance.below(longest)).min(whole.len() - 1);
        ask(&mut stream, &path, &format!("Range: bytes={first}-{last}\r\n"));
        let got = answer(&mut stream, false);
        assert_eq!(got.status, 206, "{first}-{last}");
        assert!(got.body == whole[first..=last], "{first}-{last}");
        if turn % 20 == 0 {
            ask(&mut stream, &path, "");
            assert!(answer(&mut stream, false).body == whole, "the whole, in turn {turn}");
        }
    }
}

#[test]
fn several_ranges_come_in_their_parts() {
    let server = Started::with(&[]);
    let whole = bytes(4_000_000);
    let path = pushed(&server, &whole);
    let mut stream = server.connect();
    let mut chance = Chance(11);
    for _ in 0..30 {
        // In order and apart, so that none are joined.
        let ranges: Vec<_> = (0..1 + chance.below(3))
            .map(|index| {
                let first = index * 1_300_000 + chance.below(100_000);
                first..first + 1 + chance.below(1_100_000)
            })
            .collect();
        let written: Vec<_> = ranges.iter().map(|range| format!("{}-{}", range.start, range.end - 1)).collect();
        ask(&mut stream, &path, &format!("Range: bytes={}\r\n", written.join(",")));
        let got = answer(&mut stream, false);
        assert_eq!(got.status, 206, "{written:?}");
        let got = if ranges.len() == 1 { vec![got.body] } else { parts(&got) };
        let expected: Vec<_> = ranges.into_iter().map(|range| whole[range].to_vec()).collect();
        assert!(got == expected, "{written:?}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Started::with(&[]);
    let blobs: Vec<_> = [40_000, 1, 1_500_000, 33_000, 300_000].map(bytes).into();
    let paths: Vec<_> = blobs.iter().map(|blob| pushed(&server, blob)).collect();
    let mut stream = server.connect();
    for turn in 0..5 {
        for path in &paths {
            ask(&mut stream, path, "");
            ask(&mut stream, "/v2/", "");
        }
        if turn % 2 == 0 {
            // Answers pile up behind one that is not read.
            std::thread::sleep(Duration::from_millis(50));
        }
        for blob in &blobs {
            assert!(answer(&mut stream, false).body == *blob);
            assert_eq!(answer(&mut stream, false).status, 200);
        }
    }
}

#[test]
fn clients_of_other_versions_and_manners_get_the_same() {
    let server = Started::with(&[]);
    let whole = bytes(2_500_000);
    let path = pushed(&server, &whole);
    let mut stream = server.connect();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut everything = Vec::new();
    stream.read_to_end(&mut everything).unwrap();
    assert!(everything.ends_with(&whole));
    let mut stream = server.connect();
    for first in [0, 1, 2_000_000] {
        write!(stream, "GET {path} HTTP/1.0\r\nConnection: keep-alive\r\nRange: bytes={first}-\r\n\r\n").unwrap();
        let got = answer(&mut stream, false);
        assert_eq!(got.status, 206);
        assert!(got.body == whole[first..], "from {first}");
    }
    let mut stream = server.connect();
    write!(stream, "HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream, true).header("content-length").unwrap(), "2500000");
    // Nothing of what a HEAD has told of is left over.
    ask(&mut stream, &path, "Connection: close\r\n");
    assert!(answer(&mut stream, false).body == whole);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_client_that_leaves_after_any_byte_harms_nobody() {
    let server = Started::with(&["--log", "info,orlop::access=off"]);
    let whole = bytes(3_000_000);
    let path = pushed(&server, &whole);
    let mut chance = Chance(13);
    for _ in 0..100 {
        let mut stream = server.connect();
        ask(&mut stream, &path, "");
        let size = chance.below(22);
        let mut some = vec![0; 1 + chance.below(1 << size)];
        stream.read_exact(&mut some).unwrap();
        // Closed with bytes unread: the kernel resets the connection.
        drop(stream);
    }
    let mut stream = server.connect();
    ask(&mut stream, &path, "");
    assert!(answer(&mut stream, false).body == whole);
}

#[test]
fn a_thousand_slow_readers_cost_no_memory_and_get_what_they_asked_for() {
    // Each takes a file descriptor here and two in the server.
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let readers = limit.maximum.map_or(1000, |most| (most / 4).min(1000));
    let many = ["--max-requests", "2000", "--max-client-requests", "2000", "--max-client-connections", "2000"];
    let server = Started::with(&[&many[..], &["--log", "info,orlop::access=off"]].concat());
    let whole = bytes(8 << 20);
    let digest = Algorithm::Sha256.digest(&whole);
    let path = pushed(&server, &whole);
    let before = server.memory("VmRSS");
    let mut streams: Vec<_> = (0..readers).map(|_| server.connect()).collect();
    streams.iter_mut().for_each(|stream| ask(stream, &path, ""));
    // Everybody else is served meanwhile.
    assert_eq!(server.get("/v2/").status, 200);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.peek(&mut [0]).unwrap(), 1));
    let used = server.memory("VmRSS") - before;
    assert!(used < 48 << 10, "{used} KiB");
    // Some of them read on to the end.
    for stream in streams.iter_mut().step_by(100) {
        assert_eq!(Algorithm::Sha256.digest(&answer(stream, false).body), digest);
    }
    drop(streams);
    eventually(|| server.get("/v2/").status == 200);
}

#[test]
fn a_content_that_is_too_short_ends_the_answer_and_not_the_server() {
    let server = Started::with(&["--log", "info,orlop::access=off"]);
    let whole = bytes(3_000_000);
    let path = pushed(&server, &whole);
    let folders = std::fs::read_dir(server.data().join("objects")).unwrap();
    let mut files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let file = files.next().expect("the only object").unwrap().path();
    std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(1_100_000).unwrap();
    let mut stream = server.connect();
    ask(&mut stream, &path, "");
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    assert!(got.len() < 1_200_000, "{}", got.len());
    assert_eq!(server.get("/v2/").status, 200);
}
