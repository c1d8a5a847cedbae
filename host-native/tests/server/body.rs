//! Bodies of requests and answers: large, slow, cut off, unwanted.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::started::{Answer, Started, answer, eventually};

fn begin_patch(server: &Started, session: &str, length: usize, sent: &[u8]) -> std::net::TcpStream {
    let mut stream = server.connect();
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(sent).unwrap();
    stream
}

#[test]
fn what_arrived_before_a_client_vanished_is_kept() {
    let server = Started::with(&[]);
    for sent in [1, 300, 700_000] {
        let session = server.session();
        drop(begin_patch(&server, &session, 1_000_000, &vec![b'x'; sent]));
        eventually(|| server.get(&session).header("range").is_some_and(|range| range != "0-0" || sent == 1));
        eventually(|| server.received(&session) == sent as u64);
    }
}

#[test]
fn a_client_that_stalls_is_given_up_and_what_arrived_is_kept() {
    let server = Started::with(&["--body-idle-timeout", "500ms"]);
    let session = server.session();
    let began = Instant::now();
    let mut stream = begin_patch(&server, &session, 1_000_000, &[b'x'; 300]);
    let mut end = Vec::new();
    let _ = stream.read_to_end(&mut end);
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(server.received(&session), 300);
}

#[test]
fn a_slow_client_is_waited_for() {
    let server = Started::with(&["--body-idle-timeout", "10s"]);
    let session = server.session();
    let mut stream = begin_patch(&server, &session, 5, b"");
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(b"x").unwrap();
    }
    assert_eq!(answer(&mut stream, false).status, 202);
    assert_eq!(server.received(&session), 5);
}

#[test]
fn a_connection_goes_on_after_a_body_that_nobody_wanted() {
    let server = Started::with(&[]);
    let mut stream = server.connect();
    for _ in 0..3 {
        let body = vec![b'x'; 512 << 10];
        let head = format!("PUT /v2/no HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        assert_eq!(answer(&mut stream, false).status, 404);
    }
}

#[test]
fn the_answer_to_a_large_unwanted_body_can_be_read() {
    let server = Started::with(&[]);
    for framing in ["Content-Length: 6000000", "Transfer-Encoding: chunked"] {
        let mut stream = server.connect();
        let head = format!("PUT /v2/no HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = [b"F4240\r\n".as_slice(), &[b'x'; 1_000_000], b"\r\n"].concat();
        for _ in 0..5 {
            stream.write_all(&chunk).unwrap();
        }
        let refused = answer(&mut stream, false);
        assert_eq!((refused.status, refused.header("connection").as_deref()), (404, Some("close")), "{framing}");
    }
}

#[test]
fn a_body_is_not_asked_for_when_nobody_wants_it() {
    let server = Started::with(&[]);
    let mut stream = server.connect();
    let head = "PUT /v2/no HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream, false).status, 404);
    // And it is when somebody does.
    let mut stream = server.connect();
    let head =
        format!("PATCH {} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", server.session());
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream, false).status, 100);
    stream.write_all(b"123456789").unwrap();
    assert_eq!(answer(&mut stream, false).status, 202);
}

#[test]
fn a_blob_is_pulled_as_it_was_pushed() {
    let server = Started::with(&[]);
    for size in [0, 1, 1000, 128 << 10, (128 << 10) + 1, 3_000_000] {
        let bytes: Vec<u8> = (0..size).map(|index: usize| (index * index % 251) as u8).collect();
        let (pushed, path) = server.push(&bytes);
        assert_eq!(pushed.status, 201, "{size}: {pushed:?}");
        let pulled = server.get(&path);
        assert!(pulled.status == 200 && pulled.body == bytes, "{size}");
        let asked = server.send("HEAD", &path, b"");
        assert_eq!((asked.status, asked.header("content-length")), (200, Some(size.to_string())));
    }
}

#[test]
fn parallel_uploads_stay_within_memory() {
    let server = Started::with(&[]);
    let body = vec![b'x'; 8 << 20];
    std::thread::scope(|scope| {
        let pushes: Vec<_> = (0..64).map(|_| scope.spawn(|| server.push(&body).0)).collect();
        for push in pushes {
            let pushed: Answer = push.join().unwrap();
            assert_eq!(pushed.status, 201, "{pushed:?}");
        }
    });
    // Without the pages of the program itself, which are the kernel's to keep and grow with the program.
    let (most, program) = (server.memory("VmHWM"), server.memory("RssFile"));
    assert!(most - program < 48 << 10, "{most} KiB, {program} of them the program");
}
