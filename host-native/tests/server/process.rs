//! The process: started twice, told to stop, killed.

use std::io::Write;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::started::{Started, answer, eventually, orlop};

#[test]
fn a_second_process_is_refused() {
    let server = Started::with(&[]);
    let ended = orlop("serve", server.data()).args(["--addr", "127.0.0.1:0"]).output().unwrap();
    assert!(!ended.status.success());
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.contains("in use by another orlop"), "{told}");
    assert_eq!(server.get("/v2/").status, 200);
}

/// Images may be private: whoever may read the directory is for the server to say.
#[test]
fn a_data_directory_that_is_made_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let server = Started::with(&[]);
    let mode = std::fs::metadata(server.data()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{mode:o}");
}

#[test]
fn a_data_directory_that_lost_its_records_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let server = Started::on(directory.path(), &[]);
    let (_, blob) = server.push(b"content");
    drop(server);
    let (records, elsewhere) = (directory.path().join("records.redb"), directory.path().join("elsewhere"));
    std::fs::rename(&records, &elsewhere).unwrap();
    let refused = orlop("serve", directory.path()).args(["--addr", "127.0.0.1:0"]).output().unwrap();
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("no records.redb"), "{told}");
    std::fs::rename(elsewhere, records).unwrap();
    assert_eq!(Started::on(directory.path(), &[]).get(&blob).body, b"content");
}

#[test]
fn running_requests_end_before_the_process_does() {
    let mut server = Started::with(&[]);
    let session = server.session();
    let mut stream = server.connect();
    stream
        .write_all(format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc").as_bytes())
        .unwrap();
    // The request must have begun, or its connection would count as idle.
    std::thread::sleep(std::time::Duration::from_millis(300));
    server.signal(Signal::TERM);
    std::thread::sleep(std::time::Duration::from_millis(300));
    stream.write_all(b"def").unwrap();
    assert_eq!(answer(&mut stream, false).status, 202);
    assert!(server.ended());
}

#[test]
fn a_request_that_does_not_end_is_cut_off_and_keeps_what_arrived() {
    let directory = TempDir::new().unwrap();
    let mut server = Started::on(directory.path(), &["--shutdown-grace", "300ms"]);
    let session = server.session();
    let mut stream = server.connect();
    stream
        .write_all(format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc").as_bytes())
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    server.signal(Signal::TERM);
    assert!(server.ended());
    drop(server);
    assert_eq!(Started::on(directory.path(), &[]).received(&session), 3);
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let directory = TempDir::new().unwrap();
    let mut server = Started::on(directory.path(), &[]);
    let (pushed, path) = server.push(b"precious");
    assert_eq!(pushed.status, 201);
    server.signal(Signal::KILL);
    assert!(!server.ended());
    drop(server);
    assert_eq!(Started::on(directory.path(), &[]).get(&path).body, b"precious");
}

#[test]
fn a_collection_without_a_server_reports() {
    let directory = TempDir::new().unwrap();
    let collected = orlop("gc", directory.path()).arg("--json").output().unwrap();
    assert!(collected.status.success());
    let report: serde_json::Value = serde_json::from_slice(&collected.stdout).unwrap();
    assert_eq!(report["orphans_removed"], 0);
}

#[test]
fn a_flag_that_makes_no_sense_is_refused_with_advice() {
    let ended = orlop("serve", "x".as_ref()).args(["--upload-lifetime", "long"]).output().unwrap();
    assert!(!ended.status.success());
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.contains("write it like 90s, 6h or 7d"), "{told}");
}

#[test]
fn a_busy_server_says_when_to_come_again() {
    let server = Started::with(&["--max-requests", "1"]);
    let session = server.session();
    let mut stream = server.half_a_chunk(&session);
    let busy = server.get("/v2/");
    assert_eq!(busy.header("retry-after").as_deref(), Some("1"));
    assert!(String::from_utf8(busy.body).unwrap().contains("TOOMANYREQUESTS"));
    stream.write_all(b"b").unwrap();
    assert_eq!(answer(&mut stream, false).status, 202);
    eventually(|| server.get("/v2/").status == 200);
}
