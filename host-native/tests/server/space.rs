//! A disk that is full, and then is not.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::started::Started;

/// A small file system in memory, for whoever may mount one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory.path()).output();
        mounted.is_ok_and(|done| done.status.success()).then_some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// What cannot be tried says so past the capture of the test runner, and is counted by whoever reads it.
fn not_run() {
    let _ = writeln!(std::io::stderr(), "space    SKIPPED a full disk: this user may not mount a file system");
}

#[test]
fn a_full_disk_refuses_uploads_and_takes_them_again_once_there_is_space() {
    for keep_free in ["0", "4MiB"] {
        let Some(disk) = SmallDisk::mount("24m") else {
            return not_run();
        };
        let server = Started::on(&disk.path().join("data"), &["--keep-free", keep_free]);
        let (pushed, kept) = server.push(b"small");
        assert_eq!(pushed.status, 201);
        let (refused, lost) = server.push(&vec![b'x'; 40 << 20]);
        assert!(refused.status >= 500, "{refused:?}");
        assert_eq!(server.get(&lost).status, 404);
        // Somebody else takes what is left, to the last byte.
        let filler = disk.path().join("filler");
        let _ = std::fs::write(&filler, vec![0; 40 << 20]);
        // The log of the records may have room for a few; what is taken stays.
        let mut taken = Vec::new();
        for number in 0..200 {
            let (answer, path) = server.push(format!("number {number}").as_bytes());
            match answer.status {
                201 => taken.push((path, number)),
                status => assert_eq!(status, 507, "{answer:?}"),
            }
            assert_eq!(server.get(&kept).body, b"small", "what is there can be pulled from a full disk");
        }
        assert!(taken.len() < 50, "{} pushes to a full disk were taken", taken.len());
        assert!(!server.log().contains("the records are open again"), "nothing was broken: {}", server.log());
        std::fs::remove_file(filler).unwrap();
        let (pushed, path) = server.push(&vec![b'y'; 8 << 20]);
        assert_eq!(pushed.status, 201, "{pushed:?}");
        assert_eq!(server.get(&path).body.len(), 8 << 20);
        for (path, number) in taken {
            assert_eq!(server.get(&path).body, format!("number {number}").as_bytes());
        }
        assert_eq!(server.get(&kept).body, b"small");
    }
}

#[test]
fn what_takes_away_may_use_the_last_of_the_space() {
    let Some(disk) = SmallDisk::mount("32m") else { return not_run() };
    let server = Started::on(&disk.path().join("data"), &["--keep-free", "8MiB"]);
    let (_, config) = server.push(b"{}");
    let digest = config.rsplit('/').next().unwrap();
    let image = "application/vnd.oci.image.manifest.v1+json";
    let descriptor = format!(r#"{{"mediaType":"application/x","digest":"{digest}","size":2}}"#);
    let manifest = format!(r#"{{"schemaVersion":2,"mediaType":"{image}","config":{descriptor},"layers":[]}}"#);
    let put = |tag: &str| server.send("PUT", &format!("/v2/a/manifests/{tag}"), manifest.as_bytes()).status;
    assert_eq!([put("v1"), put("v2")], [201, 201]);
    // Less than half of what is kept free is left.
    let filler = disk.path().join("filler");
    let _ = std::fs::write(&filler, vec![0; 40 << 20]);
    let all = std::fs::metadata(&filler).unwrap().len();
    std::fs::File::options().write(true).open(&filler).unwrap().set_len(all - (3 << 20)).unwrap();
    assert_eq!(put("v3"), 507);
    assert_eq!(server.send("DELETE", "/v2/a/manifests/v1", b"").status, 202);
    let digest = orlop_core::digest::Algorithm::Sha256.digest(manifest.as_bytes());
    assert_eq!(server.send("DELETE", &format!("/v2/a/manifests/{digest}"), b"").status, 202);
    assert_eq!(server.send("DELETE", &config, b"").status, 202);
    assert_eq!(server.get("/v2/a/manifests/v2").status, 404);
}
