//! What somebody who means harm would try.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use orlop_core::digest::Algorithm;

use crate::started::{Started, answer, eventually};

#[test]
fn slow_heads_and_bodies_hold_up_nobody_and_are_given_up() {
    let server = Started::with(&["--head-timeout", "2s", "--body-idle-timeout", "2s", "--max-requests", "600"]);
    let session = server.session();
    let body = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
    let began = Instant::now();
    let mut slow: Vec<TcpStream> = (0..400)
        .map(|number| {
            let mut stream = server.connect();
            let sent = ["", "GET /v2/ HTTP/1.1\r\nHost:", "GET /v2/ HTTP/1.1\r\nX: y\r\n", &body][number % 4];
            stream.write_all(sent.as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(server.get("/v2/").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(1));
        // A byte of a head now and then does not help.
        for stream in slow.iter_mut().skip(1).step_by(4) {
            let _ = stream.write_all(b"x");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    for mut stream in slow {
        let mut end = Vec::new();
        let _ = stream.read_to_end(&mut end);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn one_address_does_not_get_all_connections() {
    let server = Started::with(&["--max-client-connections", "20", "--max-connections", "60"]);
    let address = server.address().to_owned();
    let held: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let open = |stream: &TcpStream| {
        let mut byte = [0];
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        !matches!((&*stream).read(&mut byte), Ok(0)) && stream.peer_addr().is_ok()
    };
    eventually(|| held.iter().filter(|stream| open(stream)).count() <= 20);
    let curl = std::process::Command::new("curl")
        .args(["-sS", "--interface", "127.0.0.77", "-o", "/dev/null", "-w", "%{http_code}"])
        .arg(format!("http://{address}/v2/"))
        .output();
    match curl {
        Ok(done) => assert_eq!(String::from_utf8_lossy(&done.stdout), "200", "another address is let in"),
        Err(_) => eprintln!("not tried with curl: it is not there"),
    }
    drop(held);
    eventually(|| {
        TcpStream::connect(&address).is_ok_and(|mut stream| {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let asked = stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let mut told = String::new();
            asked.is_ok() && stream.read_to_string(&mut told).is_ok() && told.starts_with("HTTP/1.1 200")
        })
    });
}

/// Every path by which something could go.
#[test]
fn a_delete_switch_has_no_way_around() {
    let server = Started::with(&["--no-delete"]);
    let (_, blob) = server.push(b"{}");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{}","size":2}},"layers":[]}}"#,
        Algorithm::Sha256.digest(b"{}")
    );
    assert_eq!(server.send("PUT", "/v2/a/manifests/v1", manifest.as_bytes()).status, 201);
    let digest = Algorithm::Sha256.digest(manifest.as_bytes());
    let by_digest = format!("/v2/a/manifests/{digest}");
    for path in [
        blob.as_str(),
        "/v2/a/manifests/v1",
        &by_digest,
        &by_digest.replace(':', "%3A"),
        "/v2/a/manifests/v1?x=y",
        "/v2/a/manifests/%76%31",
    ] {
        assert_eq!(server.send("DELETE", path, b"").status, 405, "{path}");
        let spoofed = server.send_as("X-HTTP-Method-Override: DELETE\r\n", "POST", path, b"");
        assert_eq!(spoofed.status, 405, "{path}");
    }
    assert_eq!(server.send("delete", "/v2/a/manifests/v1", b"").status, 405);
    assert_eq!((server.get(&blob).status, server.get("/v2/a/manifests/v1").status), (200, 200));
    // What is no content yet may be given up.
    let session = server.session();
    assert_eq!(server.send("DELETE", &session, b"").status, 204);
}

/// Smuggling between a proxy and us needs a request that both read in different ways.
#[test]
fn what_a_proxy_might_read_otherwise_is_not_read_on() {
    let server = Started::with(&[]);
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:\x0bchunked",
        "Content-Length: 4\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
    ] {
        let mut stream = server.connect();
        let hidden = "GET /v2/hidden/tags/list HTTP/1.1\r\nHost: x\r\n\r\n";
        let request = format!("POST /v2/ HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n0\r\n\r\n{hidden}");
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut told = String::new();
        let _ = stream.read_to_string(&mut told);
        let first = told.lines().next().unwrap_or_default().to_owned();
        assert!(!told.contains(" 200 "), "{fields:?}: {told}");
        // Either it is refused and the connection ends, or there was no doubt about where the body ends.
        let answers = told.matches("HTTP/1.1 ").count();
        assert!(answers == 1 || fields.contains("chunked"), "{fields:?}: {first}");
    }
    let mut stream = server.connect();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n").unwrap();
    assert!(answer(&mut stream, false).status < 500);
}

#[test]
fn many_wrong_passwords_cost_others_nothing() {
    let directory = tempfile::TempDir::new().unwrap();
    let users = directory.path().join("users");
    std::fs::write(&users, format!("alice:{}\n", bcrypt::hash("alice-secret", 8).unwrap())).unwrap();
    let server = Started::with(&["--auth-htpasswd", users.to_str().unwrap()]);
    let fields = |pair: &str| {
        use base64::Engine;
        format!("Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    let right = fields("alice:alice-secret");
    assert_eq!(server.send_as(&right, "GET", "/v2/", b"").status, 200);
    std::thread::scope(|scope| {
        let guessing: Vec<_> = (0..8)
            .map(|thread| {
                let (server, fields) = (&server, &fields);
                scope.spawn(move || {
                    let guess =
                        |number| server.send_as(&fields(&format!("alice:{thread}-{number}")), "GET", "/v2/", b"");
                    (0..40).map(|number| guess(number).status).collect::<Vec<u16>>()
                })
            })
            .collect();
        for _ in 0..50 {
            let asked = Instant::now();
            assert_eq!(server.send_as(&right, "GET", "/v2/", b"").status, 200);
            assert!(asked.elapsed() < Duration::from_secs(1));
        }
        let told: Vec<u16> = guessing.into_iter().flat_map(|guesses| guesses.join().unwrap()).collect();
        assert!(told.contains(&401) && told.contains(&429) && told.iter().all(|status| [401, 429].contains(status)));
    });
}
