//! Fields of HTTP that say where a request is meant to go and where it comes from, and those of the host's own answers.

use std::io::{Read, Write};

use crate::started::{Answer, Started, answer, eventually};
use crate::tls::{Place, frame};

/// RFC 9112, section 3.2.
#[test]
fn a_request_names_one_host() {
    let server = Started::with(&[]);
    let check = |request: &str, expected: u16| {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let answer = answer(&mut stream, false);
        assert_eq!(answer.status, expected, "{request:?}: {answer:?}");
        answer
    };
    for target in ["/v2/", "/v2/a/tags/list", "/"] {
        let wrong = ["Host: a@b\r\n", "Host: a/b\r\n", "Host: a b\r\n", "Host: \u{e9}\r\n", "Host: a\\b\r\n"];
        for hosts in ["", "Host: x\r\nHost: x\r\n", "Host: x\r\nhost: y\r\n"].into_iter().chain(wrong) {
            let refused = check(&format!("GET {target} HTTP/1.1\r\n{hosts}\r\n"), 400);
            assert_eq!(refused.header("connection").as_deref(), Some("close"), "nothing after it is believed");
        }
    }
    for host in ["", "registry.example.com:5000", "[::1]:5000", "a_b"] {
        check(&format!("GET /v2/ HTTP/1.1\r\nHost: {host}\r\n\r\n"), 200);
    }
    check("GET /v2/ HTTP/1.0\r\n\r\n", 200);
    check("GET /v2/ HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", 400);
    eventually(|| server.log().matches("status=400").count() == 25);
}

/// RFC 9113, section 8.3.1.
#[test]
fn a_request_of_http_2_names_one_host() {
    let place = Place::new();
    let server = place.start(&[]);
    let client = place.client(None, &[b"h2"]);
    for (host, expected) in [("x", 200), ("X", 200), ("x:443", 200), ("y", 400), ("x:444", 400), ("", 400)] {
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let session = rustls::ClientConnection::new(client.clone(), name).unwrap();
        let mut stream = rustls::StreamOwned::new(session, server.connect());
        // GET https://x/v2/ and a field `host` (RFC 7541, appendix A).
        let head =
            [&[0x82, 0x87, 0x41, 1, b'x', 0x04, 4], &b"/v2/"[..], &[0x0f, 23, host.len() as u8], host.as_bytes()];
        let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[]), frame(1, 5, 1, &head.concat())];
        stream.write_all(&begin.concat()).unwrap();
        let fields = loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).unwrap();
            if head[3] == 1 {
                break payload;
            }
        };
        // The statuses 200 and 400 are in the static table.
        assert_eq!(fields[0], if expected == 200 { 0x88 } else { 0x8c }, "{host:?}: {fields:x?}");
    }
}

/// SPEC A3: a browser that sees the version twice takes it for another version.
#[test]
fn answers_of_the_host_say_each_field_once() {
    let once = |answer: &Answer, status: u16| {
        assert_eq!(answer.status, status, "{}", answer.head);
        assert_eq!(answer.headers("docker-distribution-api-version"), ["registry/2.0"], "{}", answer.head);
        let names: Vec<String> =
            answer.head.lines().filter_map(|line| Some(line.split_once(':')?.0.to_lowercase())).collect();
        for name in names.iter().filter(|name| *name != "www-authenticate") {
            assert_eq!(answer.headers(name).len(), 1, "{name}: {}", answer.head);
        }
    };
    let directory = tempfile::TempDir::new().unwrap();
    let users = directory.path().join("users");
    std::fs::write(&users, format!("alice:{}\n", bcrypt::hash("alice-secret", 4).unwrap())).unwrap();
    let server = Started::with(&[
        "--auth-htpasswd",
        users.to_str().unwrap(),
        "--rule={ who = ['user:alice'], allow = ['pull'], repositories = ['**'] }",
        "--limit={ who = ['anybody'], upload = '1KiB' }",
    ]);
    use base64::Engine;
    let alice = base64::engine::general_purpose::STANDARD.encode("alice:alice-secret");
    let alice = format!("Authorization: Basic {alice}\r\n");
    once(&server.get("/v2/"), 401);
    once(&server.send_as(&alice, "GET", "/v2/", b""), 200);
    once(&server.send_as(&alice, "POST", "/v2/a/blobs/uploads/", b""), 403);
    let server = Started::with(&["--read-only"]);
    once(&server.send("POST", "/v2/a/blobs/uploads/", b""), 405);
    once(&server.get("/v2/a/tags/list"), 404);
    let server = Started::with(&["--limit={ who = ['anybody'], requests = 1 }"]);
    let session = server.session();
    let _held = server.half_a_chunk(&session);
    once(&server.get("/v2/"), 429);
}

#[test]
fn what_a_client_writes_before_its_proxy_does_not_hide_it() {
    let server = Started::with(&["--trusted-proxy", "127.0.0.1"]);
    let ask = |forwarded: &[u8]| {
        let mut stream = server.connect();
        let head = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: ";
        stream.write_all(&[head, forwarded, b"\r\n\r\n"].concat()).unwrap();
        assert_eq!(answer(&mut stream, false).status, 200);
    };
    // nginx adds the address to what the client sent, in one field.
    ask(b"\xff, 203.0.113.1");
    ask(b"\xc3\x28,, 203.0.113.2");
    ask(b"nonsense, 203.0.113.3:4711");
    for client in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        eventually(|| server.log().contains(&format!("client={client} ")));
    }
}
