//! A disk that is full, and then is not.

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

#[test]
fn a_full_disk_refuses_uploads_and_takes_them_again_once_there_is_space() {
    for keep_free in ["0", "4MiB"] {
        let Some(disk) = SmallDisk::mount("24m") else {
            eprintln!("not run: this user may not mount a file system");
            return;
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
        for number in 0..200 {
            let (refused, _) = server.push(format!("number {number}").as_bytes());
            assert!(refused.status >= 500, "{refused:?}");
        }
        assert_eq!(server.get(&kept).body, b"small", "what is there can be pulled from a full disk");
        std::fs::remove_file(filler).unwrap();
        let (taken, path) = server.push(&vec![b'y'; 8 << 20]);
        assert_eq!(taken.status, 201, "{taken:?}");
        assert_eq!(server.get(&path).body.len(), 8 << 20);
        assert_eq!(server.get(&kept).body, b"small");
    }
}
