//! What a power cut may leave of a [`Disk`].

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Change, Disk, Id, Node};
use crate::random::Random;

/// How much of what was not durable is there after the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing of it.
    Nothing,
    /// All of it, as after `kill -9`.
    Everything,
    /// Names, but no bytes: files are as long as they were when they were last durable.
    Names,
    /// Names and sizes, but zeros for bytes.
    Sizes,
    /// Bytes, but no names.
    Bytes,
    /// Any of it, in any order; writes are torn between sectors.
    Some(u64),
}

/// A directory as it may be found: paths from the top, and the bytes of what is a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Found(BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Cut {
    /// What is found when the power fails now.
    pub(crate) fn of(self, disk: &Disk) -> Found {
        let seed = if let Self::Some(seed) = self { seed } else { 0 };
        let mut cutting = Cutting { cut: self, disk, random: Random::new(seed), files: BTreeMap::new() };
        let mut found = BTreeMap::new();
        cutting.walk(Disk::TOP, Path::new(""), &mut found);
        Found(found)
    }
}

struct Cutting<'d> {
    cut: Cut,
    disk: &'d Disk,
    random: Random,
    /// A file with two names has the same bytes under both.
    files: BTreeMap<Id, Vec<u8>>,
}

impl Cutting<'_> {
    fn walk(&mut self, id: Id, path: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
        if let Node::File { .. } = self.disk.node(id) {
            let bytes = match self.files.get(&id) {
                Some(bytes) => bytes.clone(),
                None => self.bytes(id),
            };
            self.files.insert(id, bytes.clone());
            found.insert(path.to_owned(), Some(bytes));
            return;
        }
        if id != Disk::TOP {
            found.insert(path.to_owned(), None);
        }
        for (name, id) in self.names(id) {
            self.walk(id, &path.join(name), found);
        }
    }

    fn names(&mut self, id: Id) -> BTreeMap<String, Id> {
        let Node::Directory { durable, now, changes } = self.disk.node(id) else { return BTreeMap::new() };
        match self.cut {
            Cut::Nothing | Cut::Bytes => durable.clone(),
            Cut::Everything | Cut::Names | Cut::Sizes => now.clone(),
            Cut::Some(_) => {
                let mut names = durable.clone();
                // Of the changes of one name, the first so many; of two names, any.
                let mut stopped: Vec<&str> = Vec::new();
                let likely = 1 + self.random.below(4);
                for naming in &changes.list {
                    if stopped.contains(&naming.name.as_str()) {
                        continue;
                    }
                    if self.random.below(5) < likely {
                        naming.apply(&mut names);
                    } else {
                        stopped.push(&naming.name);
                    }
                }
                names
            }
        }
    }

    fn bytes(&mut self, id: Id) -> Vec<u8> {
        let Node::File { durable, now, changes } = self.disk.node(id) else { return Vec::new() };
        match self.cut {
            Cut::Nothing | Cut::Names => durable.clone(),
            Cut::Everything | Cut::Bytes => now.clone(),
            Cut::Sizes => {
                let mut bytes = durable.clone();
                bytes.resize(now.len(), 0);
                bytes
            }
            Cut::Some(_) => {
                let mut bytes = durable.clone();
                let likely = self.random.below(6);
                let sector = if self.random.once_in(2) { 512 } else { 4096 };
                for change in &changes.list {
                    self.torn(change, sector, likely, &mut bytes);
                }
                bytes
            }
        }
    }

    /// Applies a change with what of its sectors reached the disk.
    fn torn(&mut self, change: &Change, sector: usize, likely: usize, bytes: &mut Vec<u8>) {
        let Change::Write { at, bytes: written } = change else {
            if self.random.below(6) < likely {
                change.apply(bytes);
            }
            return;
        };
        // Most often a write is there or not; else each sector is.
        let whole = if self.random.once_in(3) { None } else { Some(self.random.below(6) < likely) };
        let mut from = 0;
        while from < written.len() {
            let to = (((at + from) / sector + 1) * sector - at).min(written.len());
            if whole.unwrap_or_else(|| self.random.below(6) < likely) {
                Change::Write { at: at + from, bytes: written[from..to].to_vec() }.apply(bytes);
            }
            from = to;
        }
    }
}

impl Found {
    /// Makes it so, in an empty directory.
    pub(crate) fn write(&self, top: &Path) -> io::Result<()> {
        for (path, bytes) in &self.0 {
            match bytes {
                Some(bytes) => fs::write(top.join(path), bytes)?,
                None => fs::create_dir(top.join(path))?,
            }
        }
        Ok(())
    }

    /// Reads a directory.
    pub(crate) fn read(top: &Path) -> io::Result<Self> {
        let mut found = BTreeMap::new();
        let mut open = vec![top.to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                let below = path.strip_prefix(top).map_err(io::Error::other)?.to_owned();
                if path.is_dir() {
                    found.insert(below, None);
                    open.push(path);
                } else if path.is_file() {
                    // The server's socket holds nothing.
                    found.insert(below, Some(fs::read(&path)?));
                }
            }
        }
        Ok(Self(found))
    }

    /// How it differs from another, for messages.
    pub(crate) fn difference(&self, other: &Self) -> Vec<String> {
        let paths = self.0.keys().chain(other.0.keys()).filter(|path| self.0.get(*path) != other.0.get(*path));
        paths.map(|path| path.display().to_string()).collect()
    }

    pub(crate) fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}
