//! Files that are read again when they change, while the server runs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
        Ok(Arc::new(Self { paths, make: Box::new(make), made: RwLock::new(made), seen: Mutex::new(seen) }))
    }

    /// The same, looked at every second by a task.
    pub(crate) fn watch(self: &Arc<Self>) {
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
        let now: Vec<Stamp> = self.paths.iter().map(|path| stamp(path)).collect();
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
    let one =
        |path: &PathBuf| std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()));
    paths.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

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
