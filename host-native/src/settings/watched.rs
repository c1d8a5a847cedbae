//! Files that are read again when they change, while the server runs.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

/// How often files are looked at: a user who was removed is out after this long at most.
const LOOK: Duration = Duration::from_secs(1);

/// What is made of the bytes of files, in their order.
type Make<T> = dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync;

/// Something that is made of files, and made anew when they change.
pub(crate) struct Watched<T> {
    paths: Vec<PathBuf>,
    make: Box<Make<T>>,
    made: RwLock<Arc<T>>,
    seen: Mutex<Vec<Stamp>>,
    /// Whether a task looks at the files.
    watching: AtomicBool,
}

/// What tells that a file has changed: size, inode, and when its bytes and its name changed last.
type Stamp = Option<(u64, u64, i64, i64, i64, i64)>;

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the files, and goes on looking at them as long as this is in use.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or nothing can be made of them: with which, and why.
    pub(crate) fn open(
        paths: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, String> {
        let seen = paths.iter().map(|path| stamp(path)).collect();
        let made = Arc::new(make(&read(&paths)?)?);
        let (made, seen) = (RwLock::new(made), Mutex::new(seen));
        Ok(Arc::new(Self { paths, make: Box::new(make), made, seen, watching: AtomicBool::new(false) }))
    }

    /// Whether it is made of these files.
    pub(crate) fn is_of(&self, paths: &[&Path]) -> bool {
        self.paths == paths
    }

    /// Reads the files now, whether they look changed or not.
    ///
    /// # Errors
    ///
    /// As when it was opened. What was read before stays in force.
    pub(crate) fn read_again(&self) -> Result<(), String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.stamps();
        let made = (self.make)(&read(&self.paths)?)?;
        *seen = now;
        *self.made.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
        Ok(())
    }

    fn stamps(&self) -> Vec<Stamp> {
        self.paths.iter().map(|path| stamp(path)).collect()
    }

    /// The same, looked at every second by a task; by one, however often this is said.
    pub(crate) fn watch(self: &Arc<Self>) {
        if self.watching.swap(true, Ordering::Relaxed) {
            return;
        }
        let watched: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(watched) = watched.upgrade() else { return };
                watched.look();
            }
        });
    }

    /// What the files say now. What cannot be read does not take away what was there before.
    pub(crate) fn get(&self) -> Arc<T> {
        self.made.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.stamps();
        if *seen == now {
            return;
        }
        *seen = now;
        let names: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        match read(&self.paths).and_then(|bytes| (self.make)(&bytes)) {
            Ok(made) => {
                *self.made.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
                tracing::info!("read again: {}", names.join(", "));
            }
            Err(reason) => tracing::error!("{reason}; what was read before stays in force"),
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((found.size(), found.ino(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()))
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    paths.iter().map(|path| read_text(path)).collect()
}

/// The bytes of a file that people write, without the mark that some editors put before the first.
///
/// # Errors
///
/// When it cannot be read, or is text in UTF-16: with its path, and what to do.
pub(crate) fn read_text(path: &Path) -> Result<Vec<u8>, String> {
    read_text_within(path, u64::MAX)
}

/// The same of the first bytes of a file, so many at most.
///
/// # Errors
///
/// As those of [`read_text`].
pub(crate) fn read_text_within(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error: std::io::Error| format!("{} cannot be read: {error}", path.display()))?;
    match &bytes[..] {
        [0xef, 0xbb, 0xbf, text @ ..] => Ok(text.to_vec()),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(format!("{} is text in UTF-16: save it in UTF-8", path.display())),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Notepad writes such marks, and so does PowerShell.
    #[test]
    fn a_byte_order_mark_is_passed_over_or_refused() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("file");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_text(&path)
        };
        assert_eq!(read(b"text"), Ok(b"text".to_vec()));
        assert_eq!(read(b"\xef\xbb\xbftext"), Ok(b"text".to_vec()));
        assert_eq!(read(b""), Ok(Vec::new()));
        for other in [b"\xff\xfet\0", b"\xfe\xff\0t"] {
            assert!(read(other).unwrap_err().contains("is text in UTF-16: save it in UTF-8"));
        }
    }

    #[test]
    fn a_change_is_taken_and_a_broken_one_is_not() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "1").unwrap();
        let make = |bytes: &[Vec<u8>]| String::from_utf8_lossy(&bytes[0]).parse::<u32>().map_err(|e| e.to_string());
        let watched = Watched::open(vec![path.clone()], make).unwrap();
        assert_eq!(*watched.get(), 1);
        for (text, expected) in [("22", 22), ("no", 22), ("333", 333)] {
            std::fs::write(&path, text).unwrap();
            watched.look();
            assert_eq!(*watched.get(), expected, "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        watched.look();
        assert_eq!(*watched.get(), 333);
        assert!(Watched::open(vec![path], make).is_err());
    }
}
