//! Damage of the source that an import without `--verify` takes over: it is found later, and healed (SPEC Y1, Y2, W).

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use orlop_core::digest::Digest;
use serde_json::Value as Json;
use tempfile::TempDir;

use super::directory::{Directory, sha256};
use super::imported;
use crate::started::{Started, eventually, orlop};

/// So much that it is a file, and is not sent from memory.
fn layer(text: &str) -> Vec<u8> {
    text.bytes().cycle().take(200_000).collect()
}

/// A source in which a bit of the layer of two of three images is wrong.
struct Flipped {
    directory: Directory,
    layer: Vec<u8>,
    wrong: Vec<u8>,
    images: [Digest; 2],
}

impl Flipped {
    fn new() -> Self {
        let (directory, layer) = (Directory::new(), layer("the layer"));
        let images = [("v1", "amd64"), ("v2", "arm64")].map(|(tag, architecture)| {
            let image = directory.image("app", tag, architecture, &layer);
            assert_eq!(directory.data(&image).file_name().unwrap(), "data");
            image
        });
        directory.image("sound", "v1", "amd64", &self::layer("another layer"));
        let mut wrong = layer.clone();
        wrong[100_000] ^= 1;
        directory.put(&sha256(&layer), &wrong);
        Self { directory, layer, wrong, images }
    }

    /// The data directory of an import that has not looked at the bytes.
    fn imported(&self, place: &TempDir) -> PathBuf {
        let data = place.path().join("data");
        let report = imported(&self.directory, &data, &["--read-only"]);
        assert_eq!(report["broken"], 0, "{report}");
        data
    }

    fn digest(&self) -> Digest {
        sha256(&self.layer)
    }

    fn path(&self) -> String {
        format!("/v2/app/blobs/{}", self.digest())
    }

    /// `orlop damaged` names the layer and the images that need it, and nothing else.
    #[track_caller]
    fn is_named(&self, data: &Path) {
        let (_, listed) = run("damaged", data, &[]);
        assert!(listed.contains(&format!("blob {}\n", self.digest())), "{listed}");
        for (image, tag) in self.images.iter().zip(["v1", "v2"]) {
            assert!(listed.contains(&format!("needed by app@{image} ({tag})\n")), "{listed}");
        }
        assert!(listed.contains("1 is damaged and out of use") && !listed.contains("sound"), "{listed}");
    }
}

fn run(command: &str, data: &Path, more: &[&str]) -> (bool, String) {
    let output = orlop(command, data).args(more).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// By the scrub; then a push heals it, and the source stays as it is.
#[test]
fn a_scrub_finds_what_was_not_verified() {
    let source = Flipped::new();
    let place = TempDir::new().unwrap();
    let data = source.imported(&place);
    let (sound, report) = run("scrub", &data, &["--json"]);
    let report: Json = serde_json::from_str(&report).unwrap();
    assert!(!sound && report["findings"].as_array().map(Vec::len) == Some(1), "{report}");
    assert_eq!(report["findings"][0]["what"], format!("blob {}", source.digest()));
    source.is_named(&data);
    let server = Started::on(&data, &["--scrub-rate", "0"]);
    assert_eq!(server.get(&source.path()).status, 404);
    assert_eq!(server.send("HEAD", &source.path(), b"").status, 404);
    assert_eq!(server.get(&format!("/v2/sound/blobs/{}", sha256(layer("another layer")))).status, 200);
    let pushed = format!("/v2/app/blobs/uploads/?digest={}", source.digest());
    assert_eq!(server.send("POST", &pushed, &source.layer).status, 201);
    assert!(server.get(&source.path()).body == source.layer);
    assert_eq!(run("damaged", &data, &[]), (true, "nothing is known to be damaged\n".into()));
    assert!(fs::read(source.directory.data(&source.digest())).unwrap() == source.wrong, "the source has changed");
    assert!(run("scrub", &data, &[]).0);
}

/// By the first client that reads it whole: the answer is cut off before its end.
#[test]
fn the_first_whole_read_finds_what_was_not_verified() {
    let source = Flipped::new();
    let place = TempDir::new().unwrap();
    let data = source.imported(&place);
    let server = Started::on(&data, &["--scrub-rate", "0"]);
    let mut stream = server.connect();
    write!(stream, "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", source.path()).unwrap();
    let mut came = Vec::new();
    let _ = stream.read_to_end(&mut came);
    // The head may be lost with the connection.
    let head = came.windows(4).position(|end| end == b"\r\n\r\n").map_or(came.len(), |end| end + 4);
    assert!(came.len() - head < source.layer.len(), "{} of {} bytes came", came.len() - head, source.layer.len());
    eventually(|| server.send("HEAD", &source.path(), b"").status == 404);
    source.is_named(&data);
    let sound = format!("/v2/sound/blobs/{}", sha256(layer("another layer")));
    assert!(server.get(&sound).body == layer("another layer"));
}

/// By the scrub; then the source is mended, and a verifying import heals it.
#[test]
fn an_import_that_verifies_heals_what_was_not_verified() {
    let source = Flipped::new();
    let place = TempDir::new().unwrap();
    let data = source.imported(&place);
    assert!(!run("scrub", &data, &[]).0);
    source.is_named(&data);
    // With wrong bytes it heals nothing.
    let report = imported(&source.directory, &data, &["--read-only", "--verify"]);
    assert_eq!((&report["broken"], &report["blobs"]), (&1.into(), &0.into()), "{report}");
    source.is_named(&data);
    // Another file: the old one has two names.
    fs::remove_file(source.directory.data(&source.digest())).unwrap();
    source.directory.put(&source.digest(), &source.layer);
    let report = imported(&source.directory, &data, &["--read-only", "--verify"]);
    assert_eq!((&report["broken"], &report["blobs"]), (&0.into(), &1.into()), "{report}");
    assert_eq!(run("damaged", &data, &[]), (true, "nothing is known to be damaged\n".into()));
    let (sound, report) = run("check", &data, &[]);
    assert!(sound, "{report}");
    let server = Started::on(&data, &["--scrub-rate", "0"]);
    assert!(server.get(&source.path()).body == source.layer);
    assert!(run("scrub", &data, &[]).0);
}
