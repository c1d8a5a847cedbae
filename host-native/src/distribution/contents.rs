//! What one repository has.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orlop_core::Timestamp;
use orlop_core::digest::{Algorithm, Digest, DigestError};
use orlop_core::name::{Repository, Tag};

use super::source::unreadable;
use super::tree::{Item, Tree, What, is_link};
use super::{Digests, Finding, Kind, Reader, Source};

/// What a repository has, as its links say.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The blobs that it holds.
    pub(crate) layers: Digests,
    /// The manifests that it holds.
    pub(crate) revisions: Digests,
    /// Its tags, in order.
    pub(crate) tags: Vec<SourceTag>,
}

/// A tag as it is there.
#[derive(Clone, Debug)]
pub(crate) struct SourceTag {
    /// The tag.
    pub(crate) tag: Tag,
    /// The manifest that it names.
    pub(crate) digest: Digest,
    /// When it came to name it.
    pub(crate) pushed: Timestamp,
}

impl Contents {
    /// Reads what a repository has. Links of blobs and manifests are listed and not read.
    pub(crate) fn read(source: &Source, name: &Repository, path: &Path, told: &mut Vec<Finding>) -> Self {
        let tree = source.tree();
        let mut contents = Self {
            layers: digests(tree, name, "blob", &path.join("_layers"), told),
            revisions: digests(tree, name, "manifest", &path.join("_manifests/revisions"), told),
            tags: tags(source, name, &path.join("_manifests/tags"), told),
        };
        contents.tags.sort_by(|a, b| a.tag.cmp(&b.tag));
        uploads(tree, name, &path.join("_uploads"), told);
        contents
    }
}

/// Calls `each` for the entries of a directory; there are none where there is no such directory.
fn entries(tree: &dyn Tree, path: &Path, told: &mut Vec<Finding>, each: &mut dyn FnMut(Item, &mut Vec<Finding>)) {
    match tree.list(path, &mut |item| each(item, told)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => told.push(unexpected(path)),
        Err(error) => told.push(unreadable(path, &error)),
    }
}

fn unexpected(path: &Path) -> Finding {
    Finding::new(Kind::Unexpected, path.display().to_string(), "it does not belong there, and is left out")
}

/// The digests that have a directory below `path`: `path/sha256/ab…`.
fn digests(tree: &dyn Tree, name: &Repository, what: &str, path: &Path, told: &mut Vec<Finding>) -> Digests {
    let mut found = Digests::default();
    let mut algorithms = Vec::new();
    entries(tree, path, told, &mut |item, told| match item {
        Item { name: Ok(algorithm), what: What::Directory } => algorithms.push(algorithm),
        Item { name: Ok(other) | Err(other), .. } => told.push(unexpected(&path.join(other))),
    });
    for named in algorithms {
        let below = path.join(&named);
        entries(tree, &below, told, &mut |Item { name: encoded, what: is }, told| {
            let (Ok(encoded) | Err(encoded)) = encoded;
            match format!("{named}:{encoded}").parse::<Digest>() {
                Ok(digest) if is == What::Directory => found.push(&digest),
                Ok(_) => told.push(unexpected(&below.join(encoded))),
                Err(wrong) => {
                    let problem = match wrong {
                        DigestError::UnknownAlgorithm => format!("{wrong}: it is left out"),
                        DigestError::Malformed => format!("{wrong}; this is none, and left out"),
                    };
                    told.push(Finding::new(Kind::Digest, format!("{what} {name}@{named}:{encoded}"), problem));
                }
            }
        });
    }
    found.sort();
    found
}

fn tags(source: &Source, name: &Repository, path: &Path, told: &mut Vec<Finding>) -> Vec<SourceTag> {
    let mut names = Vec::new();
    entries(source.tree(), path, told, &mut |Item { name: text, what }, told| {
        let (Ok(text) | Err(text)) = text;
        match text.parse::<Tag>() {
            _ if what != What::Directory => told.push(unexpected(&path.join(text))),
            Ok(tag) => names.push(tag),
            Err(_) => {
                let problem = "this can be no name of a tag: it is left out";
                told.push(Finding::new(Kind::Name, format!("tag {name}:{text}"), problem));
            }
        }
    });
    let link = |tag: &Tag| path.join(tag.as_str()).join("current/link");
    let read = source.in_parallel(&names, |tag| read_link(source.tree(), &link(tag)));
    let mut tags = Vec::new();
    for (tag, read) in names.into_iter().zip(read) {
        let what = format!("tag {name}:{tag}");
        match read {
            Ok((digest, pushed)) => tags.push(SourceTag { tag, digest, pushed }),
            Err(Bad::Empty) => told.push(Finding::new(Kind::EmptyLink, what, "its link is empty: it is left out")),
            Err(Bad::NoDigest(text)) => {
                let problem = format!("its link has no digest in it but `{text}`: it is left out");
                told.push(Finding::new(Kind::WrongLink, what, problem));
            }
            Err(Bad::Algorithm(text)) => {
                let problem = format!("it names {text}, whose algorithm is not known here: it is left out");
                told.push(Finding::new(Kind::Digest, what, problem));
            }
            Err(Bad::Link) => {
                let problem = format!("its link is {NOT_FOLLOWED}: it is left out");
                told.push(Finding::new(Kind::WrongLink, what, problem));
            }
            Err(Bad::Missing) => {
                told.push(Finding::new(Kind::Tag, what, "it has no current link: it is left out"));
            }
            Err(Bad::Error(error)) => told.push(unreadable(&link(&tag), &error)),
        }
    }
    tags
}

/// What is told of files that are symbolic links.
pub(super) const NOT_FOLLOWED: &str = "a symbolic link, which is not followed";

/// What is wrong with a link.
pub(super) enum Bad {
    Empty,
    NoDigest(String),
    Algorithm(String),
    Missing,
    /// It is a symbolic link.
    Link,
    Error(io::Error),
}

/// How long the text of a link is at most; what is longer is none.
const LINK: u64 = 1 << 10;

/// The digest in a link, and when that was written.
pub(super) fn read_link(tree: &dyn Tree, path: &Path) -> Result<(Digest, Timestamp), Bad> {
    let (bytes, modified) = tree.small(path, LINK).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Bad::Missing,
        io::ErrorKind::IsADirectory => Bad::NoDigest("a directory, or no file".into()),
        _ if is_link(&error) => Bad::Link,
        _ => Bad::Error(error),
    })?;
    let text = String::from_utf8_lossy(&bytes);
    // A file that was lost in a power cut has its length and zeros.
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
    if text.is_empty() {
        return Err(Bad::Empty);
    }
    match text.parse() {
        Ok(digest) => Ok((digest, timestamp(modified))),
        Err(DigestError::UnknownAlgorithm) => Err(Bad::Algorithm(shortened(text))),
        Err(DigestError::Malformed) => Err(Bad::NoDigest(shortened(text))),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(100).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A time of a file; one in the future is now.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    let time = time.min(SystemTime::now());
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Whose rights do not matter.
const ANYBODY: Reader = Reader { user: 0, group: 0 };

/// Uploads that have not ended are named and left.
fn uploads(tree: &dyn Tree, name: &Repository, path: &Path, told: &mut Vec<Finding>) {
    entries(tree, path, told, &mut |Item { name: upload, .. }, told| {
        let (Ok(upload) | Err(upload)) = upload;
        let size = tree.stat(&path.join(&upload).join("data"), ANYBODY).map_or(0, |stat| stat.size);
        let problem =
            format!("it has not ended, with {size} bytes: it is left where it is, and its client begins anew");
        told.push(Finding::new(Kind::Upload, format!("upload {name}/{upload}"), problem));
    });
}

/// The place of the link of a blob or manifest below the directory of a repository.
pub(super) fn link_path(below: &Path, digest: &Digest) -> std::path::PathBuf {
    let mut path = below.join(Algorithm::name(digest.algorithm()));
    path.extend([digest.encoded().as_str(), "link"]);
    path
}
