//! Commands that talk to a running server: garbage collection, a reload, backups.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::started::{Started, eventually, orlop};

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn run(command: &str, data: &Path, more: &[&str]) -> (bool, String) {
    let output = orlop(command, data).args(more).output().unwrap();
    (output.status.success(), told(&output))
}

#[test]
fn a_running_server_collects_its_garbage_when_it_is_asked() {
    let server = Started::with(&["--blob-grace", "0", "--gc-interval", "0"]);
    let (pushed, blob) = server.push(b"no manifest will use this");
    assert_eq!((pushed.status, server.get(&blob).status), (201, 200));
    let (done, report) = run("gc", server.data(), &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    assert!(done && report["blobs_removed"] == 1, "{report}");
    assert_eq!(server.get(&blob).status, 404);
    eventually(|| server.log().contains("garbage collected in"));
    let (done, report) = run("sweep", server.data(), &[]);
    assert!(done && report.contains("0 blobs"), "sweep is another name: {report}");
}

#[test]
fn a_dry_run_says_what_would_go_and_why_and_removes_nothing() {
    let server = Started::with(&["--blob-grace", "0", "--gc-interval", "0"]);
    let bytes = vec![7; 100_000];
    let (_, blob) = server.push(&bytes);
    let digest = blob.rsplit('/').next().unwrap();
    let (done, report) = run("gc", server.data(), &["--dry-run"]);
    assert!(done && report.contains(digest) && report.contains("dry run, nothing was removed"), "{report}");
    let (done, report) = run("gc", server.data(), &["--dry-run", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    assert!(done && report["bytes_freed"] == bytes.len(), "{report}");
    let garbage = report["garbage"].as_array().unwrap();
    assert!(
        garbage.iter().any(|one| one["what"] == format!("blob {digest}") && one["bytes"] == bytes.len()),
        "{report}"
    );
    assert!(garbage.iter().all(|one| !one["why"].as_str().unwrap().is_empty()), "{report}");
    assert_eq!(server.get(&blob).body, bytes);
    let data = server.data().to_owned();
    let (done, report) = run("gc", &data, &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(done && report["bytes_freed"] == bytes.len(), "it foretold what goes: {report}");
}

/// By a server and without one: the file that `orlop blob` names is the one in which `orlop check` finds a flipped bit.
#[test]
fn a_flipped_bit_is_found_in_the_file_that_has_it() {
    let directory = TempDir::new().unwrap();
    let mut server = Started::on(directory.path(), &[]);
    let (_, blob) = server.push(&vec![7; 100_000]);
    let (_, small) = server.push(b"so few bytes are a record");
    let digest = |location: &str| location.rsplit('/').next().unwrap().to_owned();
    let (done, sound) = run("check", directory.path(), &[]);
    assert!(done && sound.contains("2 blobs checked, 100025 bytes hashed; 0 problems"), "{sound}");
    let (done, place) = run("blob", directory.path(), &[&digest(&small)]);
    assert!(done && place.contains("bytes 0-24: among the records"), "{place}");
    let (done, place) = run("blob", directory.path(), &[&digest(&blob)]);
    let file = place.lines().find_map(|line| line.strip_prefix("bytes 0-99999: ")).unwrap_or_else(|| panic!("{place}"));
    assert!(done && place.contains("repositories: "), "{place}");
    let mut bytes = std::fs::read(file).unwrap();
    bytes[54_321] ^= 1;
    std::fs::write(file, bytes).unwrap();
    for served in [true, false] {
        if !served {
            server.signal(rustix::process::Signal::TERM);
            assert!(server.ended());
        }
        let (done, damaged) = run("check", directory.path(), &[]);
        assert!(!done && damaged.contains(&format!("blob {}: its 100000 bytes have", digest(&blob))), "{damaged}");
        assert!(damaged.contains("push an image that has it"), "{damaged}");
        let output = orlop("check", directory.path()).arg("--json").output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((report["problems"].as_u64(), output.status.code()), (Some(1), Some(1)), "{report}");
        let (done, unknown) = run("blob", directory.path(), &[&format!("sha256:{:064}", 0)]);
        assert!(!done && unknown.contains("there is no blob sha256:0"), "{unknown}");
    }
    assert!(server.log().contains("the check found damage"), "{}", server.log());
}

/// Without a server, by the settings that are given.
#[test]
fn a_dry_run_without_a_server_removes_nothing_either() {
    let directory = TempDir::new().unwrap();
    let mut server = Started::on(directory.path(), &[]);
    let (_, blob) = server.push(b"no manifest will use this");
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended());
    let digest = blob.rsplit('/').next().unwrap();
    let (done, kept) = run("gc", directory.path(), &["--dry-run"]);
    assert!(done && !kept.contains(digest), "it is younger than a day: {kept}");
    let (done, told) = run("gc", directory.path(), &["--dry-run", "--blob-grace", "0"]);
    assert!(done && told.contains(digest), "{told}");
    assert_eq!(Started::on(directory.path(), &[]).get(&blob).status, 200);
}

/// A flag that is not followed must not look as if it were.
#[test]
fn settings_of_a_collection_are_those_of_the_server_that_does_it() {
    let server = Started::with(&["--gc-interval", "0"]);
    let (_, blob) = server.push(b"young");
    let (done, refused) = run("gc", server.data(), &["--blob-grace", "0"]);
    assert!(!done && refused.contains("by its own settings: leave out --blob-grace"), "{refused}");
    assert_eq!(server.get(&blob).status, 200);
}

#[test]
fn the_interval_of_the_collection_is_known_by_its_former_names_too() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("orlop.toml");
    std::fs::write(&file, "sweep-interval = '100ms'\nblob-grace = '0'\n").unwrap();
    let collects = |server: &Started| {
        let (_, blob) = server.push(b"no manifest will use this");
        eventually(|| server.get(&blob).status == 404);
    };
    collects(&Started::with(&["--config", file.to_str().unwrap()]));
    collects(&Started::with(&["--sweep-interval", "100ms", "--blob-grace", "0"]));
    let data = directory.path().join("data");
    let mut program = orlop("serve", &data);
    program.args(["--addr", "127.0.0.1:0", "--blob-grace", "0"]).env("ORLOP_SWEEP_INTERVAL", "100ms");
    collects(&Started::by(&mut program, &data));
}

#[test]
fn a_reload_names_the_changes_that_need_a_restart() {
    let directory = TempDir::new().unwrap();
    let (file, data) = (directory.path().join("orlop.toml"), directory.path().join("data"));
    std::fs::write(&file, "max-requests = 100\n").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let server = Started::on(&data, &config);
    let (done, unchanged) = run("reload", &data, &config);
    assert!(done && unchanged.contains("configuration reloaded"), "{unchanged}");
    assert!(!unchanged.contains("restart"), "{unchanged}");
    std::fs::write(&file, "max-requests = 200\nread-only = true\n").unwrap();
    let (done, changed) = run("reload", &data, &config);
    let expected = "max-requests has changed (100 before, 200 now): restart the server to put it in force";
    assert!(done && changed.contains(expected), "{changed}");
    assert_eq!(server.push(b"x").0.status, 405, "what needs no restart is in force when the command ends");
    eventually(|| server.log().contains(expected));
}

/// The server has an environment and flags of its own, so what it says counts.
#[test]
fn a_reload_that_the_server_refuses_fails() {
    let directory = TempDir::new().unwrap();
    let (file, data) = (directory.path().join("orlop.toml"), directory.path().join("data"));
    std::fs::write(&file, "").unwrap();
    let _server = Started::on(&data, &["--config", file.to_str().unwrap()]);
    std::fs::write(&file, "read-only = perhaps\n").unwrap();
    // This command reads no file, so only the server finds the mistake.
    let (done, refused) = run("reload", &data, &["--config", ""]);
    assert!(!done && refused.contains("line 1: text stands in quotes"), "{refused}");
}

#[test]
fn a_command_without_a_server_says_what_to_do() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing");
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (command, data, expected) in [
        ("backup", directory.path(), "copy the directory itself"),
        ("backup", missing.as_path(), "name the data directory with --data"),
        ("backup", file.as_path(), "is not a directory"),
        ("reload", directory.path(), "start the server"),
        ("reload", file.as_path(), "is not a directory"),
        ("gc", missing.as_path(), "name the data directory with --data"),
        ("gc", file.as_path(), "is not a directory"),
        ("check", missing.as_path(), "name the data directory with --data"),
    ] {
        let (done, refused) = run(command, data, &[]);
        assert!(!done && refused.contains(expected), "{command} {}: {refused}", data.display());
    }
}

#[test]
fn a_connection_that_asks_nothing_keeps_no_command_waiting() {
    let server = Started::with(&[]);
    let mut idle = UnixStream::connect(server.data().join("orlop.sock")).unwrap();
    let began = Instant::now();
    assert!(run("backup", server.data(), &[]).0);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    idle.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "it is closed");
}

/// By a server and without one: a report by the settings of whoever makes it, and a recount.
#[test]
fn usage_is_reported_and_counted_anew() {
    let directory = TempDir::new().unwrap();
    let quota = "--quota={ name = 'team', repositories = ['**'], together = true, soft = 1000, bytes = 1000000 }";
    let mut server = Started::on(directory.path(), &[quota]);
    let (pushed, _) = server.push(&vec![7; 100_000]);
    assert_eq!(pushed.status, 201);
    eventually(|| server.log().contains("the quota team is over its soft limit"));
    let (done, refused) = run("usage", directory.path(), &[quota, "--top", "1"]);
    assert!(!done && refused.contains("leave out --quota, or change"), "{refused}");
    for served in [true, false] {
        let quota: &[&str] = match served {
            true => &[],
            false => {
                server.signal(rustix::process::Signal::TERM);
                assert!(server.ended());
                &[quota]
            }
        };
        let report = |more: &[&str]| {
            let (done, report) = run("usage", directory.path(), &[quota, more].concat());
            assert!(done, "{report}");
            report
        };
        let table = report(&["--top", "1"]);
        assert!(table.contains("REPOSITORY") && table.contains("97.7 KiB") && table.contains("10 %"), "{table}");
        let told = "quota team: 97.7 KiB of 976.6 KiB (10 %), 1 repositories together, over the soft limit";
        assert!(table.contains(told), "{table}");
        let csv = report(&["--format", "csv", "--sort", "name"]);
        assert_eq!(csv.lines().nth(1), Some("a,100000,100000,0,0,1,,,0,team,10"), "{csv}");
        let json: serde_json::Value = serde_json::from_str(&report(&["--format", "json"])).unwrap();
        assert_eq!((&json["repositories"][0]["repository"], &json["total"]["bytes"]), (&"a".into(), &100_000.into()));
        let recount = report(&["--recount"]);
        assert_eq!(recount.trim_end(), "1 repositories counted, 0 counters repaired");
    }
    let (done, refused) = run("usage", directory.path(), &["--sort", "dance"]);
    assert!(!done && refused.contains("last-push"), "{refused}");
}
