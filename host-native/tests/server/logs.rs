//! What is written of requests: also of those whose clients do not wait, and never what misleads whoever reads it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::started::{Started, answer, eventually, orlop};

const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn lines(server: &Started, target: &str, operation: &str) -> Vec<Value> {
    let lines = server.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    lines.into_iter().filter(|line| line["target"] == target && line["operation"] == operation).collect()
}

#[test]
fn whoever_closes_before_the_answer_is_in_both_logs_and_no_longer_counted() {
    let admin = free();
    let server = Started::with(&["--admin-addr", &admin, "--log-format", "json"]);
    assert_eq!(server.push(b"{}").0.status, 201);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{EMPTY}","size":2}},"layers":[]}}"#
    );
    let tags: Vec<String> = (0..20).map(|number| format!("/v2/a/manifests/v{number}")).collect();
    for tag in &tags {
        assert_eq!(server.send("PUT", tag, manifest.as_bytes()).status, 201);
    }
    for tag in &tags {
        let mut stream = server.connect();
        stream.write_all(format!("DELETE {tag} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    }
    std::thread::sleep(Duration::from_secs(1));
    let metrics = || {
        let mut stream = TcpStream::connect(&admin).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8(answer(&mut stream, false).body).unwrap()
    };
    eventually(|| metrics().contains("\norlop_requests_running 0\n"));
    // On a busy machine some connections are closed before their request is read.
    let gone = tags.iter().filter(|tag| server.get(tag).status == 404).count();
    assert!(gone > 0);
    eventually(|| lines(&server, "orlop::audit", "delete-tag").len() == gone);
    eventually(|| lines(&server, "orlop::access", "delete-tag").len() == gone);
}

#[test]
fn whoever_leaves_while_it_waits_is_in_the_access_log() {
    let server = Started::with(&["--log-format", "json", "--limit={ who = ['anybody'], requests = 1 }"]);
    let session = server.session();
    let mut holding = server.half_a_chunk(&session);
    let mut stream = server.connect();
    stream.write_all(b"GET /v2/left/tags/list HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(stream);
    let left = || lines(&server, "orlop::access", "list-tags");
    eventually(|| left().len() == 1);
    assert_eq!((&left()[0]["status"], &left()[0]["whole"]), (&499.into(), &false.into()), "{:?}", left());
    holding.write_all(b"b").unwrap();
    assert_eq!(answer(&mut holding, false).status, 202);
}

/// The keys of an object, as they are written.
struct Keys(Vec<String>);

impl<'de> serde::Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Keys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, _)) = map.next_entry::<String, Value>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[test]
fn no_line_has_a_key_twice_or_characters_that_mislead() {
    let agent = "good\u{202e}live\u{2066}\u{9b}31m\u{85}";
    for format in ["json", "text"] {
        let server = Started::with(&["--log-format", format]);
        let fields = format!("User-Agent: {agent}\r\n");
        assert_eq!(server.send_as(&fields, "GET", "/v2/a/tags/list", b"").status, 404);
        assert_eq!(server.push(b"audited").0.status, 201);
        eventually(|| server.log().contains("list-tags") && server.log().contains("audit"));
        let log = server.log();
        for c in agent.chars().filter(|c| !c.is_ascii()) {
            assert!(!log.contains(c), "{c:?} is in {log:?}");
        }
        if format == "text" {
            continue;
        }
        for line in log.lines() {
            let Keys(mut keys) = serde_json::from_str(line).unwrap();
            keys.sort_unstable();
            assert!(keys.windows(2).all(|two| two[0] != two[1]), "{line}");
        }
        let line = &lines(&server, "orlop::access", "list-tags")[0];
        assert_eq!((&line["agent"], &line["uri"]), (&agent.into(), &"/v2/a/tags/list".into()), "nothing is lost");
    }
}

#[test]
fn an_idle_connection_to_the_admin_address_is_closed() {
    let admin = free();
    let _server = Started::with(&["--admin-addr", &admin, "--head-timeout", "1s"]);
    let mut silent = TcpStream::connect(&admin).unwrap();
    let mut asked = TcpStream::connect(&admin).unwrap();
    asked.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(answer(&mut asked, false).body, b"ok\n");
    for stream in [&mut silent, &mut asked] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let read = stream.read(&mut [0]);
        assert!(!read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it is still open");
    }
}

#[test]
fn connections_that_ask_nothing_keep_nobody_from_the_admin_address() {
    let admin = free();
    let _server = Started::with(&["--admin-addr", &admin, "--head-timeout", "10m"]);
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(&admin).unwrap()).collect();
    let mut asked = TcpStream::connect(&admin).unwrap();
    asked.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    asked.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(answer(&mut asked, false).body, b"ok\n");
    drop(silent);
}

#[test]
fn whoever_says_nothing_to_the_control_socket_keeps_no_backup_waiting() {
    let server = Started::with(&[]);
    let mut silent = None;
    eventually(|| {
        silent = UnixStream::connect(server.data().join("orlop.sock")).ok();
        silent.is_some()
    });
    std::thread::sleep(Duration::from_millis(200));
    let mut backup = orlop("backup", server.data()).spawn().unwrap();
    let began = Instant::now();
    let done = loop {
        if let Some(status) = backup.try_wait().unwrap() {
            break status.success();
        }
        if began.elapsed() > Duration::from_secs(30) {
            let _ = backup.kill();
            break false;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(done, "the backup waits");
}
