//! Clients are sent to the object store for large blobs, and for nothing else.

use std::thread::sleep;
use std::time::{Duration, Instant};

use orlop_core::digest::{Algorithm, Digest};

use crate::registry::{Answer, PATIENCE, Place, Server, ask, bytes, get};

/// The smallest blob for which clients are sent to the store.
const FROM: usize = 64 << 10;

fn serve(place: &Place, flags: &[&str]) -> Server {
    let usual = ["--redirect", "a,team/*", "--redirect-from", "64KiB"];
    Server::start(place.command(), &[&place.flags()[..], &usual, flags].concat())
}

fn pull(server: &Server, repository: &str, digest: &Digest, fields: &str) -> Answer {
    get(&server.address, &format!("/v2/{repository}/blobs/{digest}"), fields)
}

/// Where an answer sends, which is all that it says.
#[track_caller]
fn elsewhere(answer: &Answer, digest: &Digest) -> (String, String) {
    assert_eq!(answer.status, 307, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!((answer.length, answer.body.len()), (0, 0));
    assert_eq!(answer.field("Docker-Content-Digest"), Some(digest.to_string().as_str()));
    let url = answer.field("Location").and_then(|url| url.strip_prefix("http://")).expect("a URL");
    let (host, path) = url.split_once('/').expect("a path");
    (host.to_owned(), format!("/{path}"))
}

/// Pushes a blob in chunks.
fn push_chunks(server: &Server, chunks: &[&[u8]]) -> Digest {
    let opened = ask(&server.address, "POST", "/v2/a/blobs/uploads/", "", b"");
    let session = opened.field("Location").expect("a session").to_owned();
    for chunk in chunks {
        assert_eq!(ask(&server.address, "PATCH", &session, "", chunk).status, 202);
    }
    let digest = Algorithm::Sha256.digest(&chunks.concat());
    assert_eq!(ask(&server.address, "PUT", &format!("{session}?digest={digest}"), "", b"").status, 201);
    digest
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn large_blobs_of_one_object_are_read_from_the_store_itself() {
    let place = Place::new();
    let server = serve(&place, &[]);
    let blob = bytes(200_000, 1);
    let digest = server.push(&blob);
    let gets = server.gets();
    for range in ["", "Range: bytes=100-199\r\n", "Range: bytes=-5\r\n", "Range: bytes=0-\r\n"] {
        let (host, path) = elsewhere(&pull(&server, "a", &digest, range), &digest);
        assert!(path.contains("X-Amz-Expires=1200"), "20 minutes: {path}");
        // Without credentials, and with a range as the client wants it.
        get(&host, &path, "").is(&blob);
        get(&host, &path, "Range: bytes=100-199\r\n").is(&blob[100..200]);
        // Nobody makes it good for longer, or for another object.
        assert_eq!(get(&host, &path.replace("X-Amz-Expires=1200", "X-Amz-Expires=9999"), "").status, 403);
        assert_eq!(get(&host, &path.replace("/objects/", "/objects/x"), "").status, 403);
    }
    assert_eq!(server.gets(), gets, "the server itself reads nothing");
    let mounted = |repository: &str| {
        let target = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from=a");
        assert_eq!(ask(&server.address, "POST", &target, "", b"").status, 201);
        pull(&server, repository, &digest, "")
    };
    let (host, path) = elsewhere(&mounted("team/app"), &digest);
    get(&host, &path, "").is(&blob);
    // Of another repository, the server sends it.
    for repository in ["b", "team/app/part", "team"] {
        mounted(repository).is(&blob);
    }
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn all_else_is_sent_by_the_server() {
    let place = Place::new();
    let server = serve(&place, &[]);
    let (large, small) = (bytes(FROM, 2), bytes(FROM - 1, 3));
    let (digest, below) = (server.push(&large), server.push(&small));
    elsewhere(&pull(&server, "a", &digest, ""), &digest);
    pull(&server, "a", &below, "").is(&small);
    let head = ask(&server.address, "HEAD", &format!("/v2/a/blobs/{digest}"), "", b"");
    assert_eq!((head.status, head.length), (200, FROM));
    let several = pull(&server, "a", &digest, "Range: bytes=0-9,100-109\r\n");
    assert_eq!(several.status, 206);
    assert!(several.field("Content-Type").is_some_and(|media| media.starts_with("multipart/byteranges")));
    assert_eq!(pull(&server, "a", &digest, "Range: bytes=99999999-\r\n").status, 416);
    let known = format!("If-None-Match: \"{digest}\"\r\n");
    assert_eq!(pull(&server, "a", &digest, &known).status, 304);
    assert_eq!(pull(&server, "b", &digest, "").status, 404);
    // The console asks no other origin.
    pull(&server, "a", &digest, "X-CSRF-Token: none\r\n").is(&large);
    // A manifest that is larger than that.
    let padding = "x".repeat(2 * FROM);
    let media = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{media}","config":{{"mediaType":"application/x","digest":"{below}","size":{}}},"layers":[],"annotations":{{"a":"{padding}"}}}}"#,
        FROM - 1
    );
    let field = format!("Content-Type: {media}\r\n");
    assert_eq!(ask(&server.address, "PUT", "/v2/a/manifests/v1", &field, manifest.as_bytes()).status, 201);
    get(&server.address, "/v2/a/manifests/v1", "").is(manifest.as_bytes());
    // A blob of several objects.
    let (first, second) = (bytes(FROM, 4), bytes(FROM, 5));
    let chunked = push_chunks(&server, &[&first, &second]);
    pull(&server, "a", &chunked, "").is(&[first, second].concat());
}

/// A blob of several objects has no one place: garbage collection makes it one object.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn garbage_collection_makes_blobs_of_several_objects_one() {
    let place = Place::new();
    let server = serve(&place, &["--gc-interval", "1s"]);
    let (first, second) = (bytes(FROM, 6), bytes((9 << 20) + 5, 7));
    let digest = push_chunks(&server, &[&first, &second]);
    let whole = [first, second].concat();
    let began = Instant::now();
    let mut pulled = pull(&server, "a", &digest, "");
    while pulled.status != 307 {
        pulled.is(&whole);
        assert!(began.elapsed() < PATIENCE, "its objects are not joined");
        sleep(Duration::from_millis(100));
        pulled = pull(&server, "a", &digest, "");
    }
    let (host, path) = elsewhere(&pulled, &digest);
    get(&host, &path, "").is(&whole);
    server.logs("1 blobs of several objects are one object each now");
    drop(server);
    // Where clients are sent nowhere, the server reads it as any other.
    Server::start(place.command(), &place.flags()).pull(&digest).is(&whole);
}
