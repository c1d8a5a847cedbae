//! Flipped bits and lost files: found, out of use, and made good by the next push, while the server runs (SPEC W).
//!
//! `ORLOP_HEAL=5000` does it with so many blobs, of which 100 lose a bit and 20 their file.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use orlop_core::digest::Algorithm;
use serde_json::Value;

use crate::started::{Started, eventually, orlop};

/// The files of the objects, in the order of their names.
fn objects(data: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![data.join("objects")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Flips a bit in the middle of a file.
fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// The path of the blob whose bytes a file has.
fn blob_in(file: &Path) -> String {
    format!("/v2/a/blobs/{}", Algorithm::Sha256.digest(&fs::read(file).unwrap()))
}

fn run(command: &str, data: &Path, more: &[&str]) -> (bool, String) {
    let output = orlop(command, data).args(more).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Some bytes that no other number has: half of them lie among the records, others have several hundred KiB.
fn bytes(number: usize) -> Vec<u8> {
    let size = match number % 4 {
        0 | 1 => 10 + number % 12_000,
        2 => 20_000 + number % 30_000,
        _ => 100_000 + (number * 7919) % 300_000,
    };
    let text = format!("blob number {number}, ");
    text.bytes().cycle().take(size.max(text.len())).collect()
}

#[test]
fn all_damage_is_found_by_one_scrub_is_not_served_and_is_healed_by_pushes() {
    let count = std::env::var("ORLOP_HEAL").map_or(300, |count| count.parse().unwrap());
    let (flipped, lost) = if count >= 5000 { (100, 20) } else { (20, 6) };
    let server = Started::with(&["--scrub-rate", "0", "--log", "info,orlop::access=off,orlop::audit=off"]);
    for number in 0..count {
        assert_eq!(server.push(&bytes(number)).0.status, 201);
    }
    let files = objects(server.data());
    let step = files.len() / (flipped + lost);
    assert!(step > 1, "{} files", files.len());
    let mut damaged = BTreeSet::new();
    for (number, file) in files.iter().step_by(step).take(flipped + lost).enumerate() {
        damaged.insert(blob_in(file));
        if number < flipped { flip(file) } else { fs::remove_file(file).unwrap() }
    }
    assert_eq!(damaged.len(), flipped + lost);

    let began = Instant::now();
    let (sound, report) = run("scrub", server.data(), &["--json"]);
    println!("{count} blobs, {flipped} flipped, {lost} lost: found in {:?}", began.elapsed());
    let report = json(&report);
    assert!(!sound, "the status says that something was found");
    let found = report["findings"].as_array().unwrap().iter();
    let found: BTreeSet<String> =
        found.map(|finding| finding["what"].as_str().unwrap().replace("blob ", "/v2/a/blobs/")).collect();
    assert_eq!(found, damaged);
    assert_eq!(report["over"]["blobs"], count);
    eventually(|| server.log().matches("damaged, and out of use from now on").count() == damaged.len());

    let (_, listed) = run("damaged", server.data(), &["--json"]);
    assert_eq!(json(&listed).as_array().unwrap().len(), damaged.len());
    let since = json(&listed)[0]["since"].as_str().unwrap().to_owned();
    assert!(since.starts_with("20") && since.ends_with('Z'), "a time in UTC: {since}");
    for number in 0..count {
        let bytes = bytes(number);
        let path = format!("/v2/a/blobs/{}", Algorithm::Sha256.digest(&bytes));
        let (get, head) = (server.get(&path), server.send("HEAD", &path, b""));
        match damaged.contains(&path) {
            true => {
                assert_eq!((get.status, head.status), (404, 404), "{path}");
                assert_eq!(server.push(&bytes).0.status, 201);
                assert_eq!(server.get(&path).body, bytes);
            }
            false => assert!(get.status == 200 && get.body == bytes, "{path}"),
        }
    }
    assert_eq!(run("damaged", server.data(), &[]), (true, "nothing is known to be damaged\n".into()));
    let (sound, report) = run("scrub", server.data(), &[]);
    assert!(sound && report.contains("; 0 damaged, 0 of them found now"), "{report}");
    let (sound, report) = run("check", server.data(), &[]);
    assert!(sound, "{report}");
}

/// By a server and without one; with the images that need it.
#[test]
fn what_is_damaged_is_listed_with_the_images_that_need_it() {
    let mut server = Started::with(&["--scrub-rate", "0"]);
    let layer = bytes(3);
    let digest = Algorithm::Sha256.digest(&layer);
    server.push(&layer);
    server.push(b"{}");
    let config = Algorithm::Sha256.digest(b"{}");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/octet-stream","digest":"{digest}","size":{}}}]}}"#,
        layer.len()
    );
    assert_eq!(server.send("PUT", "/v2/a/manifests/v1", manifest.as_bytes()).status, 201);
    // The only file that there is: the storage is taken for a small one that lost it.
    let files = objects(server.data());
    assert_eq!(files.len(), 1);
    fs::remove_file(&files[0]).unwrap();
    let (sound, checked) = run("check", server.data(), &[]);
    assert!(!sound && checked.contains("is missing") && checked.contains("push an image that has it"), "{checked}");
    assert!(!run("scrub", server.data(), &[]).0);
    let data = server.data().to_owned();
    for running in [true, false] {
        if !running {
            server.signal(rustix::process::Signal::TERM);
            assert!(server.ended());
        }
        let (done, listed) = run("damaged", &data, &[]);
        assert!(done && listed.contains(&format!("blob {digest}\n")), "{listed}");
        assert!(listed.contains("needed by a@sha256:") && listed.contains(" (v1)\n"), "{listed}");
        assert!(listed.contains("1 is damaged and out of use"), "{listed}");
        let (sound, report) = run("scrub", &data, &[]);
        assert!(sound && report.contains("1 damaged, 0 of them found now"), "{report}");
    }
    let again = Started::on(&data, &["--scrub-rate", "0"]);
    assert_eq!(again.send("PUT", "/v2/a/manifests/v2", manifest.as_bytes()).status, 400);
    again.push(&layer);
    assert_eq!(again.send("PUT", "/v2/a/manifests/v2", manifest.as_bytes()).status, 201);
    assert_eq!(run("damaged", &data, &["--json"]).1, "[]\n");
}

/// SPEC W11: a client that meets a lost file is told that there is no such blob, and so pushes it.
#[test]
fn a_lost_file_that_a_client_meets_is_out_of_use_at_once() {
    let server = Started::with(&["--scrub-rate", "0"]);
    let blobs = [bytes(3), bytes(7)];
    let paths: Vec<String> = blobs.iter().map(|bytes| server.push(bytes).1).collect();
    let lost = objects(server.data()).into_iter().find(|file| blob_in(file) == paths[0]).unwrap();
    fs::remove_file(lost).unwrap();
    assert_eq!(server.get(&paths[0]).status, 404);
    assert_eq!(server.send("HEAD", &paths[0], b"").status, 404);
    server.push(&blobs[0]);
    assert!(server.get(&paths[0]).body == blobs[0] && server.get(&paths[1]).body == blobs[1]);
}

/// SPEC W12: no answer with wrong bytes ends as if they were right, where all reads are verified.
#[test]
fn wrong_bytes_are_never_sent_to_their_end() {
    let server = Started::with(&["--scrub-rate", "0", "--verify-reads", "all"]);
    let blobs = [bytes(3), bytes(7), bytes(0)];
    let paths: Vec<String> = blobs.iter().map(|bytes| server.push(bytes).1).collect();
    for (path, bytes) in paths.iter().zip(&blobs) {
        assert_eq!(server.get(path).body, *bytes, "what is right is sent");
    }
    flip(&objects(server.data()).into_iter().find(|file| blob_in(file) == paths[0]).unwrap());
    let mut stream = server.connect();
    write!(stream, "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", paths[0]).unwrap();
    let mut came = Vec::new();
    let _ = stream.read_to_end(&mut came);
    // The head may be lost with the connection.
    let head = came.windows(4).position(|end| end == b"\r\n\r\n").map_or(came.len(), |end| end + 4);
    assert!(came.len() - head < blobs[0].len(), "{} of {} bytes came", came.len() - head, blobs[0].len());
    // A GET before the blob was looked at is cut off like the first.
    eventually(|| server.send("HEAD", &paths[0], b"").status == 404);
    server.push(&blobs[0]);
    assert_eq!(server.get(&paths[0]).body, blobs[0]);
}

/// SPEC W1: a server finds damage by itself.
#[test]
fn a_server_scrubs_by_itself() {
    let server = Started::with(&["--scrub-rate", "1GB"]);
    let blobs = [bytes(3), bytes(7)];
    let paths: Vec<String> = blobs.iter().map(|bytes| server.push(bytes).1).collect();
    flip(&objects(server.data()).into_iter().find(|file| blob_in(file) == paths[0]).unwrap());
    eventually(|| server.log().contains("damaged, and out of use from now on"));
    assert_eq!((server.get(&paths[0]).status, server.get(&paths[1]).status), (404, 200));
    eventually(|| server.log().contains("everything that is stored was read again"));
}
