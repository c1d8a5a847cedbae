//! A clock that is wrong: it is told, and far from that of the database nothing is served. The clock of the server alone is
//! moved, while it runs, by libfaketime.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::registry::{Place, Server, bytes, get};

/// The library that moves the clock of a process, in Debian's package `faketime`.
fn library() -> Option<PathBuf> {
    let architectures = fs::read_dir("/usr/lib").expect("a directory").flatten();
    architectures.map(|entry| entry.path().join("faketime/libfaketime.so.1")).find(|library| library.is_file())
}

/// A server whose clock is moved by what a file says.
struct Moved {
    server: Server,
    offset: PathBuf,
}

impl Moved {
    fn start(place: &Place, flags: &[&str]) -> Option<Self> {
        let Some(library) = library() else {
            println!("faketime     SKIPPED  the package is not installed on this machine");
            return None;
        };
        let offset = place.directory().join("offset");
        fs::write(&offset, "+0").expect("a file");
        let mut command = place.command();
        moved(&mut command, &library, &offset);
        Some(Self { server: Server::start(command, &[&place.flags()[..], flags].concat()), offset })
    }

    fn move_to(&self, offset: &str) {
        // The library reads it as it is at any moment.
        let new = self.offset.with_extension("new");
        fs::write(&new, offset).and_then(|()| fs::rename(&new, &self.offset)).expect("a file");
    }
}

fn moved(command: &mut Command, library: &PathBuf, offset: &PathBuf) {
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", offset);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_clock_that_is_off_is_told_and_far_off_is_not_ready() {
    let place = Place::new();
    let Some(moved) = Moved::start(&place, &[]) else { return };
    let server = &moved.server;
    let blob = bytes(100_000, 1);
    let digest = server.push(&blob);
    assert_eq!(server.ready(), (200, "ok\n".into()));
    for offset in ["+5", "-5"] {
        moved.move_to(offset);
        assert_eq!(server.ready(), (200, "ok\n".into()));
        server.logs("the clock of this machine and that of the database are ");
    }
    for offset in ["+45", "-45"] {
        moved.move_to(offset);
        let (status, told) = server.ready();
        assert!(status == 503 && told.contains(" s apart: set both by NTP"), "{told}");
    }
    // What is there is there.
    moved.move_to("+0");
    assert_eq!(server.ready(), (200, "ok\n".into()));
    server.pull(&digest).is(&blob);
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_server_does_not_start_with_a_clock_that_is_far_off() {
    let place = Place::new();
    let Some(library) = library() else { return };
    let offset = place.directory().join("offset");
    fs::write(&offset, "-3600").expect("a file");
    let mut command = place.command();
    moved(&mut command, &library, &offset);
    let ended = command.arg("serve").args(["--addr", "127.0.0.1:0"]).args(place.flags()).output().expect("it runs");
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && told.contains("3600 s apart: set both by NTP"), "{told}");
}

/// A client that comes too late asks the registry again.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_signed_url_ends_after_twenty_minutes() {
    let place = Place::new();
    let Some(moved) = Moved::start(&place, &["--redirect", "**", "--redirect-from", "1KiB"]) else { return };
    let blob = bytes(100_000, 2);
    let digest = moved.server.push(&blob);
    for (offset, status) in [("-1260", 403), ("-1140", 200), ("+0", 200)] {
        moved.move_to(offset);
        let sent = moved.server.pull(&digest);
        assert_eq!(sent.status, 307);
        let url = sent.field("Location").and_then(|url| url.strip_prefix("http://")).expect("a URL");
        let (host, path) = url.split_once('/').expect("a path");
        assert_eq!(get(host, &format!("/{path}"), "").status, status, "signed {offset} s from now");
    }
}
