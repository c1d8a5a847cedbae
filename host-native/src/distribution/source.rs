//! The directory as a whole: whether it is one, and which repositories are in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop_core::digest::Digest;
use orlop_core::name::{REPOSITORY_LIMIT, Repository};

use super::tree::{Disk, Item, Tree, What};
use super::{Finding, Kind};

/// Where the layout begins below the root directory of that registry.
const LAYOUT: &str = "docker/registry/v2";

/// The data directory of another registry.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The directory that has `blobs` and `repositories` in it, without symbolic links on the way.
    root: PathBuf,
    /// The directory that was named, which is that one or above it; without symbolic links too.
    whole: PathBuf,
    /// What it is in.
    tree: Arc<dyn Tree>,
    /// It is not on this machine.
    remote: bool,
}

/// What is met on the way through the repositories.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A repository.
    Repository(Repository, PathBuf),
    /// Something that is none.
    Finding(Finding),
}

impl Source {
    /// Looks whether a directory is the data directory of distribution or docker-registry.
    ///
    /// # Errors
    ///
    /// With what it is instead, and what to name.
    pub(crate) fn open(directory: &Path) -> Result<Self, String> {
        let shown = directory.display();
        let named = "name the directory that `rootdirectory` names in the configuration of that registry";
        let found = match directory.canonicalize() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("there is no directory {shown}: {named}"));
            }
            Err(error) => return Err(format!("{shown} cannot be read: {error}; run this as root or as its owner")),
        };
        if !found.is_dir() {
            return Err(format!("{shown} is not a directory: {named}"));
        }
        let entries = fs::read_dir(&found);
        let mut entries =
            entries.map_err(|error| format!("{shown} cannot be read: {error}; run this as root or as its owner"))?;
        if entries.next().is_none() {
            return Err(format!("{shown} is empty: {named}"));
        }
        if found.join("FORMAT").exists() && found.join("objects").is_dir() {
            return Err(format!("{shown} is a data directory of Orlop: serve it as it is, with --data"));
        }
        let below = [LAYOUT, "registry/v2", "v2", ""];
        let is_layout = |root: &PathBuf| root.join("repositories").is_dir() || root.join("blobs").is_dir();
        let Some(root) = below.iter().map(|below| found.join(below)).find(is_layout) else {
            return Err(format!(
                "{shown} is not the data directory of distribution or docker-registry: there is no {LAYOUT} in it; {named}"
            ));
        };
        for part in ["repositories", "blobs"] {
            let path = root.join(part);
            if !path.is_dir() {
                return Err(format!("{shown} has no {}: copy the directory as a whole", path.display()));
            }
            fs::read_dir(&path).map_err(|error| {
                format!("{} cannot be read: {error}; run this as root or as its owner", path.display())
            })?;
        }
        let disk = Disk::below(&root);
        let disk = disk.map_err(|error| format!("{} cannot be read: {error}", root.display()))?;
        Ok(Self { root, whole: found, tree: Arc::new(disk), remote: false })
    }

    /// The data of a registry that keeps them elsewhere, under a root: `ROOTDIRECTORY` as its configuration says.
    ///
    /// # Errors
    ///
    /// With what is there instead, and what to name.
    pub(crate) fn remote(root: &Path, tree: Arc<dyn Tree>) -> Result<Self, String> {
        let shown = root.display();
        let root = root.join(LAYOUT);
        let mut found = Vec::new();
        tree.list(&root, &mut |item| found.extend(item.name)).map_err(|error| error.to_string())?;
        let missing = ["repositories", "blobs"].into_iter().find(|part| !found.iter().any(|name| name == part));
        match missing {
            Some(_) if found.is_empty() => Err(format!(
                "{shown} is not where distribution or docker-registry keeps its data: there is nothing under {}; name the \
                 bucket and, behind a slash, what `rootdirectory` names in the configuration of that registry",
                root.display()
            )),
            Some(part) => Err(format!("{} has no {part}: copy the bucket as a whole", root.display())),
            None => Ok(Self { whole: root.clone(), root, tree, remote: true }),
        }
    }

    /// What it is in.
    pub(crate) fn tree(&self) -> &dyn Tree {
        &*self.tree
    }

    /// Whether it is not on this machine: nothing of it can be linked.
    pub(crate) fn is_remote(&self) -> bool {
        self.remote
    }

    /// The whole of it, as it was named.
    pub(crate) fn whole(&self) -> &Path {
        &self.whole
    }

    /// The directory that has `blobs` and `repositories` in it.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the bytes of a blob or manifest are.
    pub(crate) fn data(&self, digest: &Digest) -> PathBuf {
        let hex = digest.encoded();
        let mut path = self.root.join("blobs");
        path.extend([digest.algorithm().name(), &hex[..2], &hex, "data"]);
        path
    }

    /// Some blob that is there, to try things with.
    pub(crate) fn any_blob(&self) -> Option<PathBuf> {
        let first = |path: &Path| fs::read_dir(path).ok()?.next()?.ok().map(|entry| entry.path());
        let algorithms = fs::read_dir(self.root.join("blobs")).ok()?.flatten();
        let found = algorithms.flat_map(|algorithm| fs::read_dir(algorithm.path()).into_iter().flatten().flatten());
        found.take(64).filter_map(|two| Some(first(&two.path())?.join("data"))).find(|data| data.is_file())
    }

    /// Calls `each` for each repository, in the order of their names.
    ///
    /// # Errors
    ///
    /// When `each` does not want to go on.
    pub(crate) fn repositories<E>(&self, mut each: impl FnMut(Entry) -> Result<(), E>) -> Result<(), E> {
        let mut waiting = vec![(String::new(), self.root.join("repositories"))];
        while let Some((name, path)) = waiting.pop() {
            let mut below = Vec::new();
            let (mut is_repository, mut others) = (false, Vec::new());
            let listed = self.tree.list(&path, &mut |Item { name: part, what }| {
                let is_directory = what == What::Directory;
                match part {
                    Err(part) => {
                        let problem = "its name is not UTF-8: it is left out, with all below it";
                        others.push(Finding::new(Kind::Name, path.join(part).display().to_string(), problem));
                    }
                    Ok(part) if ["_manifests", "_layers", "_uploads"].contains(&part.as_str()) && is_directory => {
                        is_repository = true;
                    }
                    Ok(part) if what == What::Link => {
                        let problem = "a symbolic link, which is not followed: put what it names in its place";
                        others.push(Finding::new(Kind::Unexpected, path.join(part).display().to_string(), problem));
                    }
                    Ok(part) if !is_directory || part.starts_with('_') => {
                        let problem = "it does not belong there, and is left out";
                        others.push(Finding::new(Kind::Unexpected, path.join(part).display().to_string(), problem));
                    }
                    Ok(part) => {
                        let name = if name.is_empty() { part.clone() } else { format!("{name}/{part}") };
                        below.push((name, path.join(part)));
                    }
                }
            });
            if let Err(error) = listed {
                each(Entry::Finding(unreadable(&path, &error)))?;
                continue;
            }
            others.into_iter().try_for_each(|other| each(Entry::Finding(other)))?;
            if is_repository {
                each(repository(&name, path))?;
            }
            below.sort();
            waiting.extend(below.into_iter().rev());
        }
        Ok(())
    }
}

fn repository(name: &str, path: PathBuf) -> Entry {
    match name.parse() {
        Ok(repository) => Entry::Repository(repository, path),
        Err(_) if name.len() > REPOSITORY_LIMIT => {
            let problem = format!("the name has {} characters, {REPOSITORY_LIMIT} at most: it is left out", name.len());
            Entry::Finding(Finding::new(Kind::Name, format!("repository {name}"), problem))
        }
        Err(invalid) => {
            Entry::Finding(Finding::new(Kind::Name, format!("repository {name}"), format!("{invalid}: it is left out")))
        }
    }
}

/// A file or directory that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Finding {
    Finding::new(Kind::Unreadable, path.display().to_string(), format!("it cannot be read: {error}"))
}
