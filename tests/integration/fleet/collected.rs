//! What a process leaves that is killed in the middle of an upload is collected.

use std::io::Write;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::engines::{ObjectServer, Postgres};
use crate::serving::{Serving, ended, gc};

/// Records of uploads that are open in the store, which have the time at which they were begun in front.
const OPEN: &str = "FROM orlop.record WHERE convert_from(key, 'UTF8') LIKE '%upload/%' AND \
                    convert_from(value, 'UTF8') ~ '^[0-9]{10} '";

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn an_upload_whose_process_was_killed_is_aborted_and_leaves_nothing() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(database.database());
    let mut serving = Serving::start(&engines, &[], false);
    // It listens before it has tried the store and marked it as that of its database.
    let began = Instant::now();
    let before = loop {
        match store.files().as_slice() {
            [mark] if mark.ends_with("registry") => break vec![mark.clone()],
            _ => assert!(began.elapsed() < Duration::from_secs(60), "the store is not marked"),
        }
        sleep(Duration::from_millis(20));
    };
    // More than two parts of a longer body, so that the second is sent, and then nothing more.
    let mut client = TcpStream::connect(("127.0.0.1", serving.port())).expect("it listens");
    let head = "POST /v2/a/blobs/uploads/?digest=sha256:\
                e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 HTTP/1.1\r\n\
                Host: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: 40000000\r\n\r\n";
    client.write_all(head.as_bytes()).expect("it reads");
    client.write_all(&vec![7; 20 << 20]).expect("it reads");
    let asked = |statement: &str| database.ask("registry0", statement);
    let began = Instant::now();
    while asked(&format!("SELECT count(*) {OPEN}")) != "1" || store.files().len() <= before.len() {
        assert!(began.elapsed() < Duration::from_secs(60), "no upload is begun");
        sleep(Duration::from_millis(20));
    }
    serving.kill();
    // The store may still be writing a part that it has received.
    let mut left = store.files();
    loop {
        sleep(Duration::from_secs(1));
        let now = store.files();
        if now == left {
            break;
        }
        left = now;
    }
    assert!(left.len() > before.len(), "parts are in the store");
    // Younger than any call can be, it may be somebody's.
    assert!(ended(gc(&engines)).status.success());
    assert_eq!(asked(&format!("SELECT count(*) {OPEN}")), "1");
    assert_eq!(store.files().len(), left.len());
    // Two days pass.
    asked(&format!(
        "UPDATE orlop.record SET value = convert_to((split_part(convert_from(value, 'UTF8'), ' ', 1)::bigint - 172800) \
         || ' ' || split_part(convert_from(value, 'UTF8'), ' ', 2), 'UTF8') WHERE key IN (SELECT key {OPEN})"
    ));
    let collected = ended(gc(&engines));
    assert!(collected.status.success(), "{}", String::from_utf8_lossy(&collected.stderr));
    assert_eq!(asked(&format!("SELECT count(*) {OPEN}")), "0");
    assert_eq!(store.files(), before, "{}", String::from_utf8_lossy(&collected.stdout));
}
