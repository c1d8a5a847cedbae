//! Files of another program that become objects: linked, so that both have the same bytes on the disk, or copied.
//!
//! A file that is linked belongs to the other program too, so nothing of it is ever changed here: not its bytes, nor its
//! owner, mode or times. Nothing that Orlop does to objects writes to them; to erase one removes its name alone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop_core::Fault;
use orlop_core::object::ObjectId;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::Files;
use super::layout::Layout;
use crate::storage::disk::{blocking, fault, space};

/// How many files are copied one after the other by one thread. All that are linked into one directory are linked by one:
/// threads would only wait for each other there.
const RUN: usize = 256;

/// How files become objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// By a hard link.
    Link,
    /// By sharing their blocks on the disk, where the file system can.
    Share,
    /// By copying their bytes.
    Copy,
}

/// A file that is to become an object.
#[derive(Clone, Debug)]
pub(crate) struct Adoption {
    /// The file.
    pub(crate) file: PathBuf,
    /// The object that it is to become. Nothing has that name yet.
    pub(crate) object: ObjectId,
    /// How.
    pub(crate) means: Means,
}

impl Files {
    /// Makes objects of files, durably; which of them: those whose files are gone are not. The objects of one nonce lie in
    /// one directory, so that this costs one wait for the disk.
    pub(crate) async fn adopt(&self, adoptions: Vec<Adoption>) -> Result<Vec<bool>, Fault> {
        let mut runs = Vec::new();
        let linked = adoptions.iter().all(|adoption| adoption.means == Means::Link);
        let adoptions: Arc<[Adoption]> = adoptions.into();
        let run = if linked { adoptions.len().max(1) } else { RUN };
        for from in (0..adoptions.len()).step_by(run) {
            let (all, layout, keep_free) = (adoptions.clone(), self.layout.clone(), self.keep_free);
            runs.push(blocking::begin(move || {
                let mut links = Links::default();
                all[from..].iter().take(run).map(|one| adopt(&layout, one, &mut links, keep_free)).collect()
            }));
        }
        let mut adopted = Vec::with_capacity(adoptions.len());
        for run in runs {
            let run: Vec<bool> = blocking::finished(run.await)?;
            adopted.extend(run);
        }
        let layout = self.layout.clone();
        blocking::run(move || {
            let mut directories: Vec<PathBuf> = Vec::new();
            for adoption in adoptions.iter() {
                let path = layout.object(&adoption.object);
                let directory = path.parent().unwrap_or(&path);
                if directories.last().is_none_or(|last| last != directory) {
                    directories.push(directory.to_owned());
                }
            }
            directories.sort();
            directories.dedup();
            directories.iter().try_for_each(|directory| layout.sync(directory))
        })
        .await?;
        Ok(adopted)
    }
}

/// How a file can get another name, tried with one that is taken back; why not by a link, if not so.
pub(crate) fn means(file: &Path, trial: &Path) -> Result<(Means, String), Fault> {
    let removed = |means, reason| {
        fs::remove_file(trial).map_err(|error| fault::at("remove", trial, &error))?;
        Ok((means, reason))
    };
    let reason = match fs::hard_link(file, trial) {
        Ok(()) => return removed(Means::Link, String::new()),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => "they are on different file systems".into(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => format!(
            "{error}: the system lets nobody but root link files of other users (fs.protected_hardlinks); run this as root"
        ),
        Err(error) => error.to_string(),
    };
    let shared = File::open(file).and_then(|from| {
        let to = OpenOptions::new().write(true).create_new(true).open(trial)?;
        share(&from, &to)
    });
    match shared {
        Ok(()) => removed(Means::Share, reason),
        Err(_) if !trial.exists() => Ok((Means::Copy, reason)),
        Err(_) => removed(Means::Copy, reason),
    }
}

/// Directories that are held open while links are made in one and of files below the other: the way to these need not be
/// gone for each link.
#[derive(Default)]
struct Links {
    from: Option<(PathBuf, OwnedFd)>,
    to: Option<(PathBuf, OwnedFd)>,
}

/// How many directories there are between the files of another program and the one that is held open for all of them.
const ABOVE: usize = 3;

impl Links {
    fn link(&mut self, file: &Path, object: &Path) -> io::Result<()> {
        let above = file.ancestors().nth(ABOVE).unwrap_or(file);
        let (from, file) = held(&mut self.from, above, file)?;
        let (to, object) = held(&mut self.to, object.parent().unwrap_or(object), object)?;
        Ok(rustix::fs::linkat(from, file, to, object, AtFlags::empty())?)
    }
}

/// The directory, which is opened unless it is the one that is held, and the place of what is below it.
fn held<'h, 'p>(
    held: &'h mut Option<(PathBuf, OwnedFd)>,
    directory: &Path,
    path: &'p Path,
) -> io::Result<(&'h OwnedFd, &'p Path)> {
    let opened = match held.take() {
        Some((at, opened)) if at == directory => opened,
        _ => rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?,
    };
    let (_, opened) = held.insert((directory.to_owned(), opened));
    Ok((opened, path.strip_prefix(directory).unwrap_or(path)))
}

fn adopt(
    layout: &Layout,
    Adoption { file, object, means }: &Adoption,
    links: &mut Links,
    keep_free: u64,
) -> Result<bool, Fault> {
    let path = layout.object(object);
    if *means == Means::Link {
        match links.link(file, &path) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            // A file can have so many names and no more.
            Err(error) if error.kind() == io::ErrorKind::TooManyLinks => {}
            Err(error) => return Err(fault::at(&format!("link {} to", file.display()), &path, &error)),
        }
    }
    let from = match File::open(file) {
        Ok(from) => from,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(fault::at("open", file, &error)),
    };
    space::check(layout.root(), keep_free)?;
    let copied = copy(layout, &from, &path, *means);
    if copied.is_err() {
        // If this fails too, garbage collection finds the object.
        let _ = fs::remove_file(&path);
    }
    copied.map_err(|error| fault::at(&format!("copy {} to", file.display()), &path, &error))?;
    Ok(true)
}

/// Copies a file into a new one, durably, which belongs to whom the data directory belongs.
fn copy(layout: &Layout, mut from: &File, path: &Path, means: Means) -> io::Result<()> {
    let to = OpenOptions::new().write(true).create_new(true).open(path)?;
    if means != Means::Share || share(from, &to).is_err() {
        io::copy(&mut from, &mut &to)?;
    }
    layout.give(&to)?;
    layout.sync_data(&to)
}

/// Has a new file share the blocks of another.
#[cfg(target_os = "linux")]
fn share(from: &File, to: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}

/// Has a new file share the blocks of another.
#[cfg(not(target_os = "linux"))]
fn share(_from: &File, _to: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::storage::counters::Counters;

    #[tokio::test]
    async fn a_file_that_is_linked_stays_as_it_is_and_outlives_the_object() {
        let directory = TempDir::new().unwrap();
        let files = Files::open(directory.path(), 0, &Counters::default()).unwrap();
        let file = directory.path().join("data");
        fs::write(&file, b"bytes").unwrap();
        let before = fs::metadata(&file).unwrap();
        let nonce = Uuid::from_u128(7);
        let object = |index| ObjectId { nonce, index };
        let of = |file: &Path, index, means| Adoption { file: file.to_owned(), object: object(index), means };
        let gone = directory.path().join("gone");
        let adoptions = vec![
            of(&file, 1, Means::Link),
            of(&file, 2, Means::Copy),
            of(&gone, 3, Means::Link),
            of(&gone, 4, Means::Copy),
        ];
        assert_eq!(files.adopt(adoptions).await.unwrap(), [true, true, false, false]);
        let (linked, copied) = (fs::metadata(files.path(&object(1))), fs::metadata(files.path(&object(2))));
        assert_eq!(linked.unwrap().ino(), before.ino());
        assert_ne!(copied.unwrap().ino(), before.ino());
        assert_eq!(fs::read(files.path(&object(2))).unwrap(), b"bytes");
        files.erase(orlop_core::effect::Erase { objects: vec![object(1), object(2)] }).await.unwrap();
        let after = fs::metadata(&file).unwrap();
        assert_eq!(
            (after.ino(), after.mode(), after.modified().unwrap()),
            (before.ino(), before.mode(), before.modified().unwrap())
        );
        assert_eq!(fs::read(&file).unwrap(), b"bytes");
        let trial = directory.path().join("trial");
        assert_eq!(means(&file, &trial).unwrap().0, Means::Link);
        assert!(!trial.exists());
    }
}
