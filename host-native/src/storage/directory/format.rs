//! The format of a data directory, by which another version of Orlop, and another program's directory, are told apart
//! before anything is written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::storage::directory::OpenError;
use crate::storage::disk::LOCK_FILE;

/// The file that says what the directory is.
const FILE: &str = "FORMAT";

/// Its name until all else in a new directory is made.
const UNFINISHED: &str = "FORMAT.new";

/// What stands in it before the number.
const TITLE: &str = "Orlop data directory, format ";

/// The format that this version reads and writes. Format 1 is that of Orlop 0.1, which wrote no such file.
const FORMAT: u32 = 2;

/// What else may lie in an empty directory: what a file system has, or a start left that was killed.
const NOTHING: [&str; 3] = ["lost+found", LOCK_FILE, UNFINISHED];

/// Sees whether the directory is one of ours, or empty, or not there. Nothing is written.
pub(super) fn check(directory: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::Directory(directory.to_owned(), error);
    match fs::read_to_string(directory.join(FILE)) {
        Ok(text) => {
            let number = text.strip_prefix(TITLE).and_then(|number| number.trim().parse().ok());
            match number {
                Some(FORMAT) => Ok(()),
                Some(found) => Err(OpenError::Format { directory: directory.to_owned(), found, ours: FORMAT }),
                None => Err(OpenError::Foreign(directory.to_owned(), FILE.into())),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_dir(directory) {
            Ok(entries) => foreign(directory, entries).map_err(failed)?.map_or(Ok(()), Err),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(error)),
        },
        Err(error) => Err(failed(error)),
    }
}

/// What is in a directory that does not say that it is ours.
fn foreign(directory: &Path, entries: fs::ReadDir) -> io::Result<Option<OpenError>> {
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if NOTHING.contains(&name.as_str()) {
            continue;
        }
        let directory = directory.to_owned();
        return Ok(Some(match () {
            // A start was killed while it made the directory.
            () if fs::read_to_string(directory.join(UNFINISHED)).is_ok_and(|text| text == title()) => return Ok(None),
            () if directory.join("records.redb").exists() => OpenError::Format { directory, found: 1, ours: FORMAT },
            () if directory.join("docker/registry").is_dir() => OpenError::Distribution(directory),
            () => OpenError::Foreign(directory, name),
        }));
    }
    Ok(None)
}

/// Whether the directory is still to be made. The caller has [checked](check) it and has it locked.
pub(super) fn is_new(directory: &Path) -> Result<bool, OpenError> {
    let known = directory.join(FILE).try_exists();
    known.map(|known| !known).map_err(|error| OpenError::Directory(directory.to_owned(), error))
}

/// Says of a directory that is being made what it is to be, durably: before anything else is put there.
pub(super) fn begin(directory: &Path) -> Result<(), OpenError> {
    let write = || -> io::Result<()> {
        let path = directory.join(UNFINISHED);
        // What a start has left that was killed is not written anew: to be killed here would leave it empty, beside what
        // that start had made already.
        if !fs::read_to_string(&path).is_ok_and(|text| text == title()) {
            File::create(&path)?.write_all(title().as_bytes())?;
        }
        File::open(path)?.sync_all()?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| OpenError::Directory(directory.to_owned(), error))
}

/// Says of a directory that it is made, once all in it is durable. A power cut in a rename may leave neither name, so the
/// second is durable before the first goes.
pub(super) fn end(directory: &Path) -> Result<(), OpenError> {
    let made = || -> io::Result<()> {
        fs::hard_link(directory.join(UNFINISHED), directory.join(FILE))?;
        File::open(directory)?.sync_all()?;
        fs::remove_file(directory.join(UNFINISHED))
    };
    made().map_err(|error| OpenError::Directory(directory.to_owned(), error))
}

fn title() -> String {
    format!("{TITLE}{FORMAT}\n")
}

/// Says of a copy of the directory what the directory is.
pub(super) fn copy(directory: &Path, to: &Path) -> io::Result<()> {
    fs::copy(directory.join(FILE), to.join(FILE)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tempfile::TempDir;

    use super::*;
    use crate::settings::Options;
    use crate::storage::directory::Directory;

    #[test]
    fn what_a_killed_start_has_said_of_a_directory_is_not_written_anew() {
        let directory = TempDir::new().unwrap();
        begin(directory.path()).unwrap();
        let path = directory.path().join(UNFINISHED);
        let before = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        File::options().append(true).open(&path).unwrap().set_modified(before).unwrap();
        begin(directory.path()).unwrap();
        assert_eq!(path.metadata().unwrap().modified().unwrap(), before);
        // One that is none is.
        fs::write(&path, "").unwrap();
        begin(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), title());
    }

    fn names(directory: &TempDir) -> BTreeSet<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// Opens a directory that has these files, and says why not; nothing is written into it.
    fn refused(files: &[(&str, &str)]) -> String {
        let directory = TempDir::new().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let before = names(&directory);
        let Err(error) = Directory::open(directory.path(), &Options::default()) else { panic!("{files:?} was opened") };
        assert_eq!(names(&directory), before);
        error.to_string()
    }

    #[test]
    fn what_is_not_ours_is_refused_and_not_written_into() {
        assert!(refused(&[("docker/registry/v2/x", "")]).contains("docker-registry"));
        assert!(refused(&[("notes.txt", "")]).contains("notes.txt"));
        assert!(refused(&[("records.redb", ""), ("blobs/x", "")]).contains("format 1"));
        assert!(refused(&[("FORMAT", "Orlop data directory, format 3\n")]).contains("format 3"));
        assert!(refused(&[("FORMAT", "something else")]).contains("FORMAT"));
    }

    #[test]
    fn an_empty_directory_becomes_ours_and_stays_it() {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("lost+found")).unwrap();
        fs::write(directory.path().join(UNFINISHED), "half of it").unwrap();
        for _ in 0..2 {
            Directory::open(directory.path(), &Options::default()).unwrap();
            assert_eq!(fs::read_to_string(directory.path().join(FILE)).unwrap(), "Orlop data directory, format 2\n");
        }
    }

    #[test]
    fn a_directory_that_was_being_made_when_a_start_was_killed_is_made_anew() {
        let directory = TempDir::new().unwrap();
        drop(Directory::open(directory.path(), &Options::default()).unwrap());
        for left in [&["records.redb", "objects"][..], &["objects"], &[]] {
            fs::rename(directory.path().join(FILE), directory.path().join(UNFINISHED)).unwrap();
            if !left.contains(&"records.redb") {
                fs::remove_file(directory.path().join("records.redb")).unwrap();
            }
            if !left.contains(&"objects") {
                fs::remove_dir_all(directory.path().join("objects")).unwrap();
            }
            drop(Directory::open(directory.path(), &Options::default()).unwrap());
        }
    }

    #[test]
    fn records_that_are_gone_are_told_of_at_the_start() {
        let directory = TempDir::new().unwrap();
        drop(Directory::open(directory.path(), &Options::default()).unwrap());
        fs::remove_file(directory.path().join("records.redb")).unwrap();
        let Err(error) = Directory::open(directory.path(), &Options::default()) else { panic!("it was opened") };
        assert!(error.to_string().contains("no records.redb"), "{error}");
    }

    #[test]
    fn objects_that_are_gone_are_told_of_at_the_start() {
        let directory = TempDir::new().unwrap();
        Directory::open(directory.path(), &Options::default()).unwrap();
        fs::remove_dir_all(directory.path().join("objects")).unwrap();
        let Err(error) = Directory::open(directory.path(), &Options::default()) else { panic!("it was opened") };
        assert!(error.to_string().contains("objects"), "{error}");
    }
}
