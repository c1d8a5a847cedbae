//! What one repository has.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orlop_core::Timestamp;
use orlop_core::digest::{Algorithm, Digest, DigestError};
use orlop_core::name::{Repository, Tag};

use super::source::unreadable;
use super::{Digests, Finding, Kind};

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
    pub(crate) fn read(name: &Repository, path: &Path, told: &mut Vec<Finding>) -> Self {
        let mut contents = Self {
            layers: digests(name, "blob", &path.join("_layers"), told),
            revisions: digests(name, "manifest", &path.join("_manifests/revisions"), told),
            tags: tags(name, &path.join("_manifests/tags"), told),
        };
        contents.tags.sort_by(|a, b| a.tag.cmp(&b.tag));
        uploads(name, &path.join("_uploads"), told);
        contents
    }
}

/// The entries of a directory; none where there is no such directory.
fn entries(path: &Path, told: &mut Vec<Finding>) -> Vec<fs::DirEntry> {
    match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            told.push(unexpected(path));
            Vec::new()
        }
        Err(error) => {
            told.push(unreadable(path, &error));
            Vec::new()
        }
    }
}

fn unexpected(path: &Path) -> Finding {
    Finding::new(Kind::Unexpected, path.display().to_string(), "it does not belong there, and is left out")
}

/// The digests that have a directory below `path`: `path/sha256/ab…`.
fn digests(name: &Repository, what: &str, path: &Path, told: &mut Vec<Finding>) -> Digests {
    let mut found = Digests::default();
    for algorithm in entries(path, told) {
        let Some(named) = algorithm.file_name().to_str().map(str::to_owned) else {
            told.push(unexpected(&algorithm.path()));
            continue;
        };
        if !algorithm.file_type().is_ok_and(|kind| kind.is_dir()) {
            told.push(unexpected(&algorithm.path()));
            continue;
        }
        for entry in entries(&algorithm.path(), told) {
            let encoded = entry.file_name();
            let encoded = encoded.to_string_lossy();
            match format!("{named}:{encoded}").parse::<Digest>() {
                Ok(digest) if entry.file_type().is_ok_and(|kind| kind.is_dir()) => found.push(&digest),
                Ok(_) => told.push(unexpected(&entry.path())),
                Err(wrong) => {
                    let problem = match wrong {
                        DigestError::UnknownAlgorithm => format!("{wrong}: it is left out"),
                        DigestError::Malformed => format!("{wrong}; this is none, and left out"),
                    };
                    told.push(Finding::new(Kind::Digest, format!("{what} {name}@{named}:{encoded}"), problem));
                }
            }
        }
    }
    found.sort();
    found
}

fn tags(name: &Repository, path: &Path, told: &mut Vec<Finding>) -> Vec<SourceTag> {
    let mut tags = Vec::new();
    for entry in entries(path, told) {
        let file_name = entry.file_name();
        let text = file_name.to_string_lossy();
        let what = format!("tag {name}:{text}");
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            told.push(unexpected(&entry.path()));
            continue;
        }
        let Ok(tag) = text.parse::<Tag>() else {
            told.push(Finding::new(Kind::Name, what, "this can be no name of a tag: it is left out"));
            continue;
        };
        let link = entry.path().join("current/link");
        match read_link(&link) {
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
            Err(Bad::Missing) => {
                told.push(Finding::new(Kind::Tag, what, "it has no current link: it is left out"));
            }
            Err(Bad::Error(error)) => told.push(unreadable(&link, &error)),
        }
    }
    tags
}

/// What is wrong with a link.
pub(super) enum Bad {
    Empty,
    NoDigest(String),
    Algorithm(String),
    Missing,
    Error(io::Error),
}

/// How long the text of a link is at most; what is longer is none.
const LINK: u64 = 1 << 10;

/// The digest in a link, and when that was written.
pub(super) fn read_link(path: &Path) -> Result<(Digest, Timestamp), Bad> {
    use std::io::Read as _;

    let open = || -> io::Result<(String, SystemTime)> {
        let file = fs::File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok((String::from("a directory"), UNIX_EPOCH));
        }
        let mut bytes = Vec::with_capacity(160);
        file.take(LINK).read_to_end(&mut bytes)?;
        Ok((String::from_utf8_lossy(&bytes).into_owned(), metadata.modified()?))
    };
    let (text, modified) = open().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Bad::Missing,
        _ => Bad::Error(error),
    })?;
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

/// Uploads that have not ended are named and left.
fn uploads(name: &Repository, path: &Path, told: &mut Vec<Finding>) {
    for entry in entries(path, told) {
        let what = format!("upload {name}/{}", entry.file_name().to_string_lossy());
        let size = fs::metadata(entry.path().join("data")).map_or(0, |data| data.len());
        let problem =
            format!("it has not ended, with {size} bytes: it is left where it is, and its client begins anew");
        told.push(Finding::new(Kind::Upload, what, problem));
    }
}

/// The place of the link of a blob or manifest below the directory of a repository.
pub(super) fn link_path(below: &Path, digest: &Digest) -> std::path::PathBuf {
    let mut path = below.join(Algorithm::name(digest.algorithm()));
    path.extend([digest.encoded().as_str(), "link"]);
    path
}
