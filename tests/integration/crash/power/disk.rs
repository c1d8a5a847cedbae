//! A file system that remembers what is durable and what is not.
//!
//! The rules are the least that POSIX promises, and less than any file system of Linux gives: `fsync` of a file makes
//! its bytes and its size durable, but not its name; `fsync` of a directory makes the names in it durable, but
//! neither its own name nor the bytes of its files. Everything else may reach the disk or not, in any order, a write
//! also in part. A rename is two changes of names, of which one may be lost.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use super::trace::Event;

/// A file or directory, by its place in [`Disk::nodes`].
pub(crate) type Id = usize;

/// What lies on the disk, and what only in memory.
#[derive(Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    descriptors: HashMap<i32, (Id, u64)>,
    /// Syncs that have begun: of which node, and how many of its changes they cover.
    syncs: HashMap<u32, Option<(Id, usize)>>,
}

#[derive(Clone)]
pub(crate) enum Node {
    File { durable: Vec<u8>, now: Vec<u8>, changes: Changes<Change> },
    Directory { durable: BTreeMap<String, Id>, now: BTreeMap<String, Id>, changes: Changes<Naming> },
}

/// Changes that may not be durable, the first of them with the number `from`.
#[derive(Clone)]
pub(crate) struct Changes<C> {
    from: usize,
    pub(crate) list: Vec<C>,
}

/// A change of the bytes of a file.
#[derive(Clone)]
pub(crate) enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// A change of a name in a directory.
#[derive(Clone)]
pub(crate) struct Naming {
    pub(crate) name: String,
    /// What it names now, if anything.
    pub(crate) node: Option<Id>,
}

impl<C> Changes<C> {
    fn none() -> Self {
        Self { from: 0, list: Vec::new() }
    }

    /// Takes those out that have a number below `until`.
    fn take_until(&mut self, until: usize) -> Vec<C> {
        let count = until.saturating_sub(self.from).min(self.list.len());
        self.from += count;
        self.list.drain(..count).collect()
    }
}

impl Change {
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write { at, bytes: written } => {
                bytes.resize(bytes.len().max(at + written.len()), 0);
                bytes[*at..at + written.len()].copy_from_slice(written);
            }
        }
    }
}

impl Naming {
    pub(crate) fn apply(&self, names: &mut BTreeMap<String, Id>) {
        match self.node {
            Some(node) => drop(names.insert(self.name.clone(), node)),
            None => drop(names.remove(&self.name)),
        }
    }
}

impl Disk {
    /// An empty directory, whose own name is durable.
    pub(crate) fn new(root: &Path) -> Self {
        let mut disk =
            Self { root: root.to_owned(), nodes: Vec::new(), descriptors: HashMap::new(), syncs: HashMap::new() };
        disk.add_directory();
        disk
    }

    /// The top directory.
    pub(crate) const TOP: Id = 0;

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// Does what happened. A sync that `lost` names by its path did not happen, and nobody was told.
    pub(crate) fn happen(&mut self, event: &Event, lost: &mut dyn FnMut(&Path) -> bool) {
        match event {
            Event::Open { fd, path, create, truncate } => self.open(*fd, path, *create, *truncate),
            Event::Close { fd } => drop(self.descriptors.remove(fd)),
            Event::Write { fd, at, bytes } => {
                if let Some((file, position)) = self.descriptors.get_mut(fd) {
                    let start = at.unwrap_or(*position);
                    if at.is_none() {
                        *position += bytes.len() as u64;
                    }
                    let file = *file;
                    self.change(file, Change::Write { at: start as usize, bytes: bytes.clone() });
                }
            }
            Event::Copy { from, to, length } => self.copy(*from, *to, *length as usize),
            Event::SetLength { fd, length } => {
                if let Some((file, _)) = self.descriptors.get(fd) {
                    self.change(*file, Change::Length(*length as usize));
                }
            }
            Event::SyncBegins { thread, fd } => {
                let covered = self.descriptors.get(fd).map(|(node, _)| (*node, self.changes(*node)));
                let lost = covered.is_some_and(|(node, _)| lost(&self.path_of(node)));
                self.syncs.insert(*thread, covered.filter(|_| !lost));
            }
            Event::SyncEnds { thread } => {
                if let Some((node, until)) = self.syncs.remove(thread).flatten() {
                    self.sync(node, until);
                }
            }
            Event::Rename { from, to } => {
                if let (Some(from), Some(to)) = (self.place(from), self.place(to)) {
                    let moved = self.named(&from).expect("what is renamed is there");
                    self.name(&to, Some(moved));
                    self.name(&from, None);
                }
            }
            Event::Link { from, to } => {
                if let (Some(from), Some(to)) = (self.place(from), self.place(to)) {
                    let linked = self.named(&from).expect("what is linked to is there");
                    self.name(&to, Some(linked));
                }
            }
            Event::Unlink { path } => {
                if let Some(place) = self.place(path) {
                    self.name(&place, None);
                }
            }
            Event::MakeDirectory { path } => {
                if let Some(place) = self.place(path) {
                    let made = self.add_directory();
                    self.name(&place, Some(made));
                }
            }
            Event::Answer { .. } => {}
        }
    }

    fn open(&mut self, fd: i32, path: &Path, create: bool, truncate: bool) {
        let node = if path == self.root {
            Self::TOP
        } else {
            let Some(place) = self.place(path) else { return };
            match self.named(&place) {
                Some(node) => node,
                None => {
                    assert!(create, "{} was opened and is not there", path.display());
                    self.nodes.push(Node::File { durable: Vec::new(), now: Vec::new(), changes: Changes::none() });
                    self.name(&place, Some(self.nodes.len() - 1));
                    self.nodes.len() - 1
                }
            }
        };
        if truncate {
            self.change(node, Change::Length(0));
        }
        self.descriptors.insert(fd, (node, 0));
    }

    fn copy(&mut self, from: i32, to: i32, length: usize) {
        let (Some(&(source, start)), Some(&(target, at))) = (self.descriptors.get(&from), self.descriptors.get(&to))
        else {
            return;
        };
        let Node::File { now, .. } = &self.nodes[source] else { panic!("a directory is not copied") };
        let bytes = now[start as usize..start as usize + length].to_vec();
        self.change(target, Change::Write { at: at as usize, bytes });
        for (fd, position) in [(from, start), (to, at)] {
            self.descriptors.entry(fd).and_modify(|entry| entry.1 = position + length as u64);
        }
    }

    fn change(&mut self, file: Id, change: Change) {
        let Node::File { now, changes, .. } = &mut self.nodes[file] else { panic!("a directory is not written to") };
        change.apply(now);
        changes.list.push(change);
    }

    /// How many changes a node has seen.
    fn changes(&self, node: Id) -> usize {
        match &self.nodes[node] {
            Node::File { changes, .. } => changes.from + changes.list.len(),
            Node::Directory { changes, .. } => changes.from + changes.list.len(),
        }
    }

    fn sync(&mut self, node: Id, until: usize) {
        match &mut self.nodes[node] {
            Node::File { durable, changes, .. } => {
                changes.take_until(until).iter().for_each(|change| change.apply(durable));
            }
            Node::Directory { durable, changes, .. } => {
                changes.take_until(until).iter().for_each(|change| change.apply(durable));
            }
        }
    }

    fn add_directory(&mut self) -> Id {
        let none = BTreeMap::new();
        self.nodes.push(Node::Directory { durable: none.clone(), now: none, changes: Changes::none() });
        self.nodes.len() - 1
    }

    /// The directory of a path and the name in it; nothing for a path outside.
    fn place(&self, path: &Path) -> Option<(Id, String)> {
        let below = path.strip_prefix(&self.root).ok()?;
        let names: Vec<&str> = below.components().map(component).collect();
        let (last, way) = names.split_last()?;
        let directory = way.iter().fold(Self::TOP, |directory, name| {
            self.named(&(directory, (*name).to_owned())).unwrap_or_else(|| panic!("{} has no way", path.display()))
        });
        Some((directory, (*last).to_owned()))
    }

    fn named(&self, (directory, name): &(Id, String)) -> Option<Id> {
        match &self.nodes[*directory] {
            Node::Directory { now, .. } => now.get(name).copied(),
            Node::File { .. } => None,
        }
    }

    fn name(&mut self, (directory, name): &(Id, String), node: Option<Id>) {
        let Node::Directory { now, changes, .. } = &mut self.nodes[*directory] else { panic!("a file has no names") };
        let naming = Naming { name: name.clone(), node };
        naming.apply(now);
        changes.list.push(naming);
    }

    /// Where a node is now, from the top; empty for the top, and for what has no name any more.
    fn path_of(&self, wanted: Id) -> PathBuf {
        let mut open = vec![(Self::TOP, PathBuf::new())];
        while let Some((id, path)) = open.pop() {
            if id == wanted {
                return path;
            }
            if let Node::Directory { now, .. } = &self.nodes[id] {
                open.extend(now.iter().map(|(name, id)| (*id, path.join(name))));
            }
        }
        PathBuf::new()
    }
}

fn component(component: Component<'_>) -> &str {
    match component {
        Component::Normal(name) => name.to_str().expect("names of files are text"),
        other => panic!("{other:?} in a path"),
    }
}
