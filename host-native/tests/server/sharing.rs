//! What the hosts of one storage share: what they agree on at the start, and jobs that one of them does at a time.
//! The other host is a test that puts its records there.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use orlop::{Host, Options, RequestBody};
use orlop_core::effect::{Commit, Durability, Get};
use orlop_core::keys::Key;
use orlop_core::step::start;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::access::{Directory, basic};
use crate::started::{Started, eventually, orlop};
use crate::watching::receiver;

/// Puts a record into a data directory that no server has open.
fn put(data: &Path, key: &str, value: &str) {
    let put = vec![(Key::stored(key), Bytes::copy_from_slice(value.as_bytes()))];
    let durability = Durability::Durable;
    let commit = Commit { expect: vec![], put, add: vec![], delete: vec![], durability, reclaims: false };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = Host::open(data, &Options::default()).unwrap();
    let step = start(|io| async move { io.ask(commit).await });
    runtime.block_on(host.run(step, &mut RequestBody::empty())).unwrap();
}

/// The record under a key of a data directory that no server has open.
fn record(data: &Path, key: &str) -> Option<String> {
    let get = Get { keys: vec![Key::stored(key)] };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = Host::open(data, &Options::default()).unwrap();
    let step = start(|io| async move { io.ask(get).await });
    let found = runtime.block_on(host.run(step, &mut RequestBody::empty())).unwrap();
    found[0].as_ref().map(|value| String::from_utf8_lossy(value).into_owned())
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Lets another host do a job for so long.
fn held_elsewhere(data: &Path, job: &str, time: Duration) {
    let (host, until) = ("00000000-0000-4000-8000-000000000001", now() + time.as_millis() as u64);
    let lease = format!(r#"{{"holder":"{host}","by":"{host}","until":{until},"generation":7}}"#);
    put(data, &format!("lease/{job}"), &lease);
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn end(mut server: Started, signal: Signal) {
    server.signal(signal);
    server.ended();
}

#[test]
fn a_token_is_good_after_a_kill_and_in_a_copy_and_its_key_is_nowhere_told() {
    let place = Directory::new("auth-token-url = 'https://registry.example/token'\nlog = 'trace'\n", &["alice"]);
    let server = place.start();
    let answer = server.send_as(&basic("alice"), "GET", "/token?service=orlop", b"");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let token = format!("Authorization: Bearer {}\r\n", body["token"].as_str().unwrap());
    let is_good = |server: &Started| server.send_as(&token, "GET", "/v2/", b"").status;
    assert_eq!(is_good(&server), 200);
    let data = server.data().to_owned();
    assert!(orlop("backup", &data).output().unwrap().status.success());
    let log = server.log();
    end(server, Signal::KILL);
    let key = record(&data, "meta/session-key").unwrap();
    let key = key.trim_matches('"');
    assert_eq!(key.len(), 64);
    assert!(!log.contains(key), "{log}");
    let server = place.start();
    assert_eq!(is_good(&server), 200, "it was killed and started again");
    assert!(!server.log().contains(key));
    end(server, Signal::TERM);
    assert_eq!(record(&data.join("backup"), "meta/session-key"), record(&data, "meta/session-key"));
    // Another registry knows nothing of it, though it has the same users.
    std::fs::remove_dir_all(&data).unwrap();
    assert_eq!(is_good(&place.start()), 401);
}

#[test]
fn records_of_another_format_or_of_other_hosts_are_refused_and_stay_as_they_are() {
    for (meta, expected) in [
        (r#"{"format":3}"#, ["format 3", "format 2", "start that one"]),
        (r#"{"format":1}"#, ["format 1", "format 2", "skopeo sync"]),
        (r#"{"format":2,"call_lifetime_ms":3600000}"#, ["3600s", "86400s", "give this host"]),
    ] {
        let directory = TempDir::new().unwrap();
        let data = directory.path();
        put(data, "meta/storage", meta);
        for command in ["serve", "gc"] {
            let flags: &[&str] = if command == "serve" { &["--addr", "127.0.0.1:0"] } else { &[] };
            let refused = orlop(command, data).args(flags).output().unwrap();
            let told = told(&refused);
            assert!(!refused.status.success() && expected.iter().all(|part| told.contains(part)), "{command}: {told}");
            assert!(!told.contains("listening"), "{told}");
        }
        assert_eq!(record(data, "meta/storage").as_deref(), Some(meta));
        assert_eq!(record(data, "meta/session-key"), None);
    }
}

#[test]
fn a_directory_without_the_records_that_hosts_agree_on_gets_them() {
    let directory = TempDir::new().unwrap();
    put(directory.path(), "repo/a", r#"{"created":0}"#);
    let server = Started::on(directory.path(), &["--gc-interval", "0"]);
    assert_eq!(server.get("/v2/a/tags/list").status, 200);
    end(server, Signal::TERM);
    let meta = record(directory.path(), "meta/storage");
    assert_eq!(meta.as_deref(), Some(r#"{"format":2,"call_lifetime_ms":86400000}"#));
}

#[test]
fn a_disk_that_is_too_full_for_uploads_lets_a_server_start() {
    let server = Started::with(&["--keep-free", "1000000TiB"]);
    assert_eq!((server.get("/v2/").status, server.push(b"x").0.status), (200, 507));
}

#[test]
fn garbage_that_another_host_collects_is_left_to_it_but_not_by_who_is_asked() {
    let directory = TempDir::new().unwrap();
    let data = directory.path();
    drop(Started::on(data, &[]));
    held_elsewhere(data, "gc", Duration::from_secs(60));
    let server = Started::on(data, &["--gc-interval", "200ms"]);
    eventually(|| server.log().contains("another host of this storage collects the garbage"));
    assert!(!server.log().contains("garbage collected in"), "{}", server.log());
    let asked = orlop("gc", data).output().unwrap();
    assert!(asked.status.success(), "{}", told(&asked));
    // It has the lease now, and with it all collections that follow.
    eventually(|| server.log().matches("garbage collected in").count() > 2);
    end(server, Signal::TERM);
    held_elsewhere(data, "gc", Duration::from_secs(60));
    let asked = orlop("gc", data).output().unwrap();
    assert!(asked.status.success(), "{}", told(&asked));
}

#[test]
fn a_collection_goes_on_once_the_lease_of_a_dead_host_has_ended() {
    let directory = TempDir::new().unwrap();
    let data = directory.path();
    drop(Started::on(data, &[]));
    held_elsewhere(data, "gc", Duration::from_secs(3));
    let server = Started::on(data, &["--gc-interval", "200ms"]);
    eventually(|| server.log().contains("garbage collected in"));
    assert!(server.log().contains("another host of this storage collects the garbage"), "{}", server.log());
}

#[test]
fn a_webhook_that_another_host_tells_is_left_to_it_until_its_lease_ends() {
    let directory = TempDir::new().unwrap();
    let data = directory.path();
    let (address, told) = receiver(&[]);
    let hook = format!("--webhook={{ name = 'ci', url = 'http://{address}/' }}");
    drop(Started::on(data, &[]));
    let rest = Duration::from_secs(6);
    held_elsewhere(data, "queue/ci", rest);
    let held = Instant::now();
    let server = Started::on(data, &[&hook]);
    assert_eq!(server.push(b"{}").0.status, 201);
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    assert_eq!(server.send("PUT", "/v2/a/manifests/v1", manifest.as_bytes()).status, 201);
    told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(held.elapsed() > rest - Duration::from_millis(500), "told after {:?}", held.elapsed());
}
