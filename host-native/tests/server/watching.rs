//! What an administrator sees, limits and is told: metrics, logs, shares, webhooks.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::started::{Answer, Started, answer, eventually, orlop};

fn get(address: &str, target: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    answer(&mut stream, false)
}

/// An address that is free now: none of those that the system gives to connections and to servers that ask for any, which
/// may be taken before the server that is to have it listens.
fn free() -> String {
    let any = || 10_000 + RandomState::new().build_hasher().finish() % 22_000;
    let mut addresses = iter::repeat_with(|| format!("127.0.0.1:{}", any()));
    addresses.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

#[test]
fn metrics_tell_what_was_done_and_readiness_whether_more_can_be() {
    let admin = free();
    let server = Started::with(&["--admin-addr", &admin]);
    assert_eq!(server.push(b"some bytes").0.status, 201);
    assert_eq!(server.get("/v2/a/manifests/v1").status, 404);
    let text = || String::from_utf8(get(&admin, "/metrics").body).unwrap();
    for line in [
        "orlop_requests_total{operation=\"push-blob\",status=\"201\"} 1",
        "orlop_requests_total{operation=\"pull-manifest\",status=\"404\"} 1",
        "orlop_received_bytes_total 10",
        // What the hosts agree on, the blob, and who counts what is stored, and what that has counted.
        "orlop_commits_total 4",
        "orlop_request_seconds_count{operation=\"push-blob\"} 1",
        "# EOF",
    ] {
        eventually(|| text().lines().any(|told| told == line));
    }
    assert!(text().lines().any(|line| line.starts_with("orlop_fsyncs_total ") && !line.ends_with(" 0")));
    // A family never mixes numbers and bytes, and says which it is.
    for stored in [
        "repositories",
        "blobs",
        "blob_bytes",
        "uploads",
        "upload_bytes",
        "released_objects",
        "released_bytes",
        "damaged",
    ] {
        eventually(|| text().contains(&format!("\norlop_stored_{stored} ")));
    }
    assert!(!text().contains("orlop_stored{"));
    for path in ["/livez", "/readyz"] {
        assert_eq!((get(&admin, path).status, get(&admin, path).body), (200, b"ok\n".to_vec()));
    }
    assert_eq!(server.get("/metrics").status, 404, "clients are not told");
    assert_eq!(get(&admin, "/v2/").status, 404);
    // A disk that is as good as full.
    let full = Started::with(&["--admin-addr", &admin.replace("127.0.0.1", "127.0.0.2"), "--keep-free", "1PiB"]);
    assert_eq!(get(&admin.replace("127.0.0.1", "127.0.0.2"), "/readyz").status, 503);
    drop(full);
}

#[test]
fn each_request_has_a_line_with_its_id_and_each_change_another() {
    let server = Started::with(&["--log-format", "json", "--trusted-proxy", "127.0.0.0/8"]);
    let proxied = "X-Request-Id: from-proxy\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.9\r\nUser-Agent: a\"b\r\n";
    let answer = server.send_as(proxied, "GET", "/v2/a/tags/list?x=%22%0a", b"");
    assert_eq!(answer.header("x-request-id").as_deref(), Some("from-proxy"));
    let pushed = server.push(b"some bytes").0.header("x-request-id").unwrap();
    let lines = || -> Vec<Value> { server.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let find = |target: &str, id: &str| lines().into_iter().find(|line| line["target"] == target && line["id"] == id);
    eventually(|| find("orlop::access", "from-proxy").is_some() && find("orlop::audit", &pushed).is_some());
    let line = find("orlop::access", "from-proxy").unwrap();
    assert_eq!(
        (&line["client"], &line["operation"], &line["status"], &line["agent"], &line["whole"]),
        (&"203.0.113.9".into(), &"list-tags".into(), &404.into(), &"a\"b".into(), &true.into()),
        "{line}"
    );
    let line = find("orlop::audit", &pushed).unwrap();
    assert_eq!((&line["operation"], &line["repository"]), (&"push-blob".into(), &"a".into()), "{line}");
    assert!(line["reference"].as_str().unwrap().starts_with("sha256:"));
    // Nobody else may say where a request comes from.
    let server = Started::with(&[]);
    let answer = server.send_as(proxied, "GET", "/v2/", b"");
    assert_ne!(answer.header("x-request-id").as_deref(), Some("from-proxy"));
    eventually(|| server.log().contains("client=127.0.0.1") && !server.log().contains("203.0.113.9"));
}

/// SPEC A11.
#[test]
fn whoever_takes_more_than_its_share_is_told_when_to_come_again() {
    let server = Started::with(&["--limit={ who = ['anybody'], requests = 1 }"]);
    let session = server.session();
    let mut stream = server.half_a_chunk(&session);
    let busy = server.get("/v2/");
    assert_eq!(busy.status, 429);
    assert!(busy.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|s| s > 0)), "{busy:?}");
    stream.write_all(b"b").unwrap();
    assert_eq!(answer(&mut stream, false).status, 202);
    eventually(|| server.get("/v2/").status == 200);
    let server = Started::with(&["--limit={ who = ['anybody'], upload = '1KiB' }"]);
    assert_eq!(server.push(&[b'x'; 2000]).0.status, 413);
}

#[test]
fn a_registry_that_is_read_only_takes_no_change_and_takes_them_again_after_a_reload() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("orlop.toml");
    std::fs::write(&config, "").unwrap();
    let server = Started::on(&directory.path().join("data"), &["--config", config.to_str().unwrap()]);
    let (pushed, path) = server.push(b"kept");
    assert_eq!(pushed.status, 201);
    std::fs::write(&config, "read-only = true\n").unwrap();
    server.signal(Signal::HUP);
    eventually(|| server.push(b"more").0.status == 405);
    for (method, target) in [("DELETE", path.as_str()), ("PUT", "/v2/a/manifests/v1"), ("POST", "/v2/a/blobs/uploads/")]
    {
        let refused = server.send(method, target, b"");
        assert_eq!(refused.status, 405, "{method} {target}");
        assert!(String::from_utf8(refused.body).unwrap().contains("UNSUPPORTED"));
    }
    assert_eq!(server.get(&path).body, b"kept");
    std::fs::write(&config, "quota = [{ repositories = ['**'], bytes = 10 }]\n").unwrap();
    server.signal(Signal::HUP);
    eventually(|| server.push(b"more").0.status == 201);
    let refused = server.push(b"more than that").0;
    assert_eq!(refused.status, 403);
    assert!(String::from_utf8(refused.body).unwrap().contains("the quota of a is 10 bytes"), "it says why");
}

/// A receiver of webhooks, which answers with these statuses and then with 204.
pub(crate) fn receiver(statuses: &'static [u16]) -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut statuses = statuses.iter();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap_or(0) == 0 {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head += &line;
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let status = statuses.next().copied().unwrap_or(204);
            let end = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.get_mut().write_all(end.as_bytes()).unwrap();
            if status == 204 && sender.send((head, body)).is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

#[test]
fn what_happens_is_told_signed_in_order_and_after_a_kill_too() {
    let directory = TempDir::new().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "a secret that is long enough\n").unwrap();
    let (address, told) = receiver(&[500, 503]);
    let hook = |url: &str, format: &str| {
        let secret = secret.display();
        format!("--webhook={{ name = 'ci', url = 'http://{url}/', format = '{format}', secret-file = '{secret}' }}")
    };
    // Nobody is there to be told, at first.
    let data = directory.path().join("data");
    let nowhere = hook(&free(), "cloudevents");
    let mut server = Started::on(&data, &[&nowhere]);
    assert_eq!(server.push(b"{}").0.status, 201);
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    assert_eq!(server.send("PUT", "/v2/a/manifests/v1", manifest.as_bytes()).status, 201);
    assert_eq!(server.send("DELETE", "/v2/a/manifests/v1", b"").status, 202);
    server.signal(Signal::KILL);
    server.ended();
    drop(server);
    let mut server = Started::on(&data, &[&hook(&address, "cloudevents")]);
    let next = || told.recv_timeout(Duration::from_secs(30)).unwrap();
    let (head, body) = next();
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&event["specversion"], &event["type"]), (&"1.0".into(), &"orlop.manifest.push".into()), "{event}");
    assert_eq!((&event["subject"], &event["source"]), (&"a:v1".into(), &"/v2/a".into()));
    assert_eq!(event["data"]["tags"][0], "v1");
    assert!(head.to_lowercase().contains("content-type: application/cloudevents+json"));
    let signature =
        ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a secret that is long enough"), &body);
    let signature: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(head.contains(&format!("x-orlop-signature: sha256={signature}")), "{head}");
    let second: Value = serde_json::from_slice(&next().1).unwrap();
    assert_eq!(second["type"], "orlop.manifest.delete");
    server.signal(Signal::TERM);
    assert!(server.ended());
    drop(server);
    let server = Started::on(&data, &[&hook(&address, "distribution")]);
    let pushed = server.send_as("User-Agent: pusher/1\r\n", "PUT", "/v2/a/manifests/v2", manifest.as_bytes());
    assert_eq!(pushed.status, 201);
    // The one before is told again if the server ended before it had noted that it was told.
    let envelopes = std::iter::repeat_with(|| serde_json::from_slice::<Value>(&next().1).unwrap());
    let envelope = envelopes.take(2).find(|envelope| envelope["events"][0]["action"] == "push").unwrap();
    let event = &envelope["events"][0];
    assert_eq!((&event["action"], &event["target"]["tag"]), (&"push".into(), &"v2".into()), "{envelope}");
    assert_eq!((&event["target"]["repository"], &event["target"]["size"]), (&"a".into(), &manifest.len().into()));
    let digest = orlop_core::digest::Algorithm::Sha256.digest(manifest.as_bytes());
    assert_eq!(event["target"]["url"], format!("http://x/v2/a/manifests/{digest}"));
    let request = &event["request"];
    assert_eq!(
        (&request["host"], &request["method"], &request["useragent"]),
        (&"x".into(), &"PUT".into(), &"pusher/1".into())
    );
    assert!(request["addr"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")), "{event}");
    let port = server.address().rsplit(':').next().unwrap();
    let node = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    assert_eq!(event["source"]["addr"], format!("{node}:{port}"), "where it was answered");
    assert!(event["source"]["instanceID"].as_str().is_some_and(|id| id.len() == 36), "{event}");
    assert!(told.recv_timeout(Duration::from_secs(3)).is_err(), "each is told once");
}

/// Pulls that nobody needs a password for, told to a webhook that is never there: they are answered as ever, and what they
/// put on the disk has an end.
#[test]
fn a_webhook_that_is_dead_changes_no_answer_and_takes_a_bounded_part_of_the_disk() {
    let hook =
        format!("--webhook={{ name = 'dead', url = 'http://{}/', events = ['pull', 'push', 'delete'] }}", free());
    let server = Started::with(&[&hook, "--log", "info,orlop::access=off"]);
    assert_eq!(server.push(b"{}").0.status, 201);
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    assert_eq!(server.send("PUT", "/v2/a/manifests/v1", manifest.as_bytes()).status, 201);
    let pull = |times: usize| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut stream = server.connect();
                    for _ in 0..times / 8 {
                        // As much as events keep of it.
                        let agent = "x".repeat(300);
                        let ask = format!("GET /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\n\r\n");
                        stream.write_all(ask.as_bytes()).unwrap();
                        assert_eq!(answer(&mut stream, false).status, 200);
                    }
                });
            }
        });
    };
    let on_disk = || {
        let records = std::fs::metadata(server.data().join("records.redb")).unwrap();
        std::os::unix::fs::MetadataExt::blocks(&records) * 512
    };
    // As many as the queue holds, and more.
    pull(10_000);
    let full = on_disk();
    pull(6_000);
    let grown = on_disk().saturating_sub(full);
    assert!(grown <= 4 << 20, "{grown} bytes more than {full}");
    assert_eq!(server.push(b"more").0.status, 201);
    assert_eq!(server.send("PUT", "/v2/a/manifests/v2", manifest.as_bytes()).status, 201);
    assert_eq!(server.send("DELETE", "/v2/a/manifests/v1", b"").status, 202);
}

#[test]
fn each_request_is_a_span_at_the_collector_and_none_is_lost_at_the_end() {
    let (address, told) = receiver(&[]);
    let collector = format!("http://{address}/v1/traces");
    let mut server = Started::with(&["--otlp-endpoint", &collector, "--trusted-proxy", "127.0.0.0/8"]);
    let parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    assert_eq!(server.send_as(parent, "GET", "/v2/team/app/tags/list?n=7", b"").status, 404);
    assert_eq!(server.push(b"traced").0.status, 201);
    server.signal(Signal::TERM);
    assert!(server.ended());
    // In the protocol's binary form texts stand as they are, and ids as bytes.
    let spans: Vec<(String, Vec<u8>)> = told.try_iter().collect();
    assert!(!spans.is_empty(), "{}", server.log());
    let all = spans.iter().flat_map(|(_, body)| body.clone()).collect::<Vec<u8>>();
    let has = |bytes: &[u8]| all.windows(bytes.len()).any(|window| window == bytes);
    assert!(spans[0].0.starts_with("POST /v1/traces HTTP/1.1"), "{}", spans[0].0);
    assert!(spans[0].0.to_lowercase().contains("content-type: application/x-protobuf"), "{}", spans[0].0);
    for text in ["orlop.operation", "team/app", "/v2/team/app/tags/list", "n=7", "service.name", "POST "] {
        assert!(has(text.as_bytes()), "{text}");
    }
    let (trace, parent) = (0x0af7651916cd43dd8448eb211c80319c_u128, 0xb7ad6b7169203331_u64);
    assert!(has(&trace.to_be_bytes()) && has(&parent.to_be_bytes()));
}

#[test]
fn an_address_of_a_collector_that_is_none_is_refused() {
    let ended = orlop("serve", "x".as_ref()).args(["--otlp-endpoint", "nowhere at all"]).output().unwrap();
    assert!(!ended.status.success());
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.contains("write it like http://127.0.0.1:4318/v1/traces"), "{told}");
}

/// A load balancer asks now and then whether a server is ready, and sends requests until it knows that it is not.
#[test]
fn a_server_that_is_told_to_stop_serves_on_while_it_is_not_ready() {
    let admin = free();
    let mut server = Started::with(&["--admin-addr", &admin, "--shutdown-delay", "5s"]);
    let mut kept = server.connect();
    let mut ask = || {
        kept.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        answer(&mut kept, false)
    };
    assert_eq!(ask().header("connection"), None);
    let told = Instant::now();
    server.signal(Signal::TERM);
    eventually(|| get(&admin, "/readyz").status == 503);
    let (old, new) = (ask(), server.get("/v2/"));
    assert_eq!((old.status, new.status), (200, 200));
    assert_eq!(old.header("connection").as_deref(), Some("close"), "the connection is not to be used again");
    assert!(server.ended());
    assert!(told.elapsed() >= Duration::from_secs(5));
}

#[test]
fn a_server_that_stops_is_not_ready_and_lives() {
    let admin = free();
    let mut server = Started::with(&["--admin-addr", &admin]);
    let session = server.session();
    let mut stream = server.connect();
    stream.write_all(format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na").as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(get(&admin, "/readyz").status, 200);
    server.signal(Signal::TERM);
    eventually(|| get(&admin, "/readyz").status == 503);
    assert_eq!(get(&admin, "/livez").status, 200);
    stream.write_all(b"b").unwrap();
    assert_eq!(answer(&mut stream, false).status, 202);
    assert!(server.ended());
}

#[test]
fn answers_of_upstreams_are_counted_by_their_status() {
    let upstream = Started::with(&[]);
    crate::mirror::push(&upstream, "app", "v1", b"layer");
    let mirror = format!("--mirror={{ prefix = 'hub/', upstream = 'http://{}' }}", upstream.address());
    let admin = free();
    let server = Started::with(&[&mirror, "--admin-addr", &admin]);
    assert_eq!(server.get("/v2/hub/app/manifests/v1").status, 200);
    assert_eq!(server.get("/v2/hub/app/manifests/v2").status, 404);
    drop(upstream);
    assert_eq!(server.get("/v2/hub/app/manifests/v3").status, 502);
    let metrics = String::from_utf8(get(&admin, "/metrics").body).unwrap();
    for status in ["2xx", "404", "none"] {
        let counted = metrics.lines().find(|line| {
            line.starts_with("orlop_upstream_answers_total{") && line.contains(&format!("status=\"{status}\""))
        });
        assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{status}: {metrics}");
    }
}
