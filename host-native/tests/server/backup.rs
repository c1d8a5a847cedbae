//! A backup of a server that is pushed to, deleted from and collected meanwhile.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::started::{Started, eventually, orlop};

fn back_up(data: &Path) -> Output {
    orlop("backup", data).output().unwrap()
}

#[test]
fn a_backup_beside_pushes_deletes_and_garbage_collections_has_nothing_by_half() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let server = Started::on(&data, &["--gc-interval", "100ms", "--blob-grace", "0"]);
    // What a manifest needs stays; until it is there, garbage collection may take it.
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    let mut kept = String::new();
    eventually(|| {
        kept = server.push(b"{}").1;
        server.send("PUT", "/v2/a/manifests/v1", manifest.as_bytes()).status == 201
    });
    let (stop, pushed) = (AtomicBool::new(false), Mutex::new(Vec::<(String, Vec<u8>)>::new()));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (server, stop, pushed) = (&server, &stop, &pushed);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let bytes = format!("{thread} {number} ").repeat(1000).into_bytes();
                    let (answer, path) = server.push(&bytes);
                    assert_eq!(answer.status, 201);
                    // Some go again: at once, or by garbage collection, since no manifest needs them.
                    if number % 3 == 0 {
                        server.send("DELETE", &path, b"");
                    } else {
                        pushed.lock().unwrap().push((path, bytes));
                    }
                }
            });
        }
        for round in 0..3 {
            std::thread::sleep(Duration::from_millis(700));
            let done = back_up(&data);
            assert!(done.status.success(), "{done:?}");
            // Elsewhere, while the server goes on.
            let elsewhere = directory.path().join(format!("restored-{round}"));
            let copied = Command::new("cp").arg("-a").arg(data.join("backup")).arg(&elsewhere).status().unwrap();
            assert!(copied.success());
        }
        stop.store(true, Ordering::Relaxed);
    });
    for round in 0..3 {
        let restored = Started::on(&directory.path().join(format!("restored-{round}")), &[]);
        assert_eq!(restored.get("/v2/a/manifests/v1").body, manifest.as_bytes(), "round {round}");
        assert_eq!(restored.get(&kept).body, b"{}", "round {round}");
        for (path, bytes) in pushed.lock().unwrap().iter() {
            let answer = restored.get(path);
            match answer.status {
                200 => assert_eq!(&answer.body, bytes),
                // Garbage collection has taken it, or it came later.
                404 => {}
                status => panic!("{path}: {status}"),
            }
        }
    }
}

#[test]
fn a_backup_is_as_of_one_moment_and_replaces_the_one_before() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let server = Started::on(&data, &[]);
    let (_, first) = server.push(b"first");
    let session = server.session();
    assert_eq!(server.send("PATCH", &session, b"begun").status, 202);
    assert!(back_up(&data).status.success());
    let (_, second) = server.push(b"second");
    let early = Started::on(&data.join("backup"), &[]);
    assert_eq!((early.get(&first).status, early.get(&second).status), (200, 404));
    assert_eq!(early.received(&session), 5);
    drop(early);
    let done = back_up(&data);
    assert!(String::from_utf8_lossy(&done.stdout).contains("records and"), "{done:?}");
    let late = Started::on(&data.join("backup"), &[]);
    assert_eq!((late.get(&first).status, late.get(&second).status), (200, 200));
    drop(late);
    drop(server);
    let refused = back_up(&data);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("no server has"));
}

/// The records are copied through little memory, however many there are.
#[test]
fn a_backup_takes_little_memory() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let server = Started::on(&data, &["--record-cache", "8MiB", "--log", "info,orlop::access=off"]);
    assert_eq!(server.push(b"{}").0.status, 201);
    let filler = "x".repeat(1 << 20);
    for number in 0..100 {
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{{"{number}":"{filler}"}}}}"#
        );
        let pushed = server.send("PUT", &format!("/v2/a/manifests/{number}"), manifest.as_bytes());
        assert_eq!(pushed.status, 201);
    }
    let before = server.memory("VmHWM");
    assert!(back_up(&data).status.success());
    let grown = server.memory("VmHWM").saturating_sub(before);
    assert!(grown <= 48 << 10, "{grown} KiB for records of 100 MiB");
}
