//! Listing what is there, page by page, in the order of [`Object`].

use std::collections::BinaryHeap;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use orlop_core::Fault;
use orlop_core::digest::{Algorithm, Digest};
use orlop_core::effect::{ContentId, Object, PartId, Stored};

use super::layout::{DIGITS, Layout, digest_named, part_named, uuid_named};
use crate::storage::directory::fault;

/// Lists the objects after `after`, `limit` at most.
///
/// The names in a directory come in no order, so each page reads a directory anew, but holds only the names it needs:
/// the one of 16 directories of parts or 256 of contents where it goes on.
pub(super) fn inventory(layout: &Layout, after: Option<Object>, limit: usize) -> Result<Vec<Stored>, Fault> {
    let mut page = Page { stored: Vec::new(), limit, now: SystemTime::now() };
    let after_content = match after {
        Some(Object::Content(content)) => Some(content),
        Some(Object::Part(part)) => {
            parts(layout, Some(part), &mut page)?;
            None
        }
        None => {
            parts(layout, None, &mut page)?;
            None
        }
    };
    for algorithm in Algorithm::ALL {
        if after_content.is_none_or(|after| after.digest.algorithm() <= algorithm) {
            contents(layout, algorithm, after_content, &mut page)?;
        }
    }
    Ok(page.stored)
}

/// What is listed so far.
struct Page {
    stored: Vec<Stored>,
    limit: usize,
    now: SystemTime,
}

impl Page {
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.stored.len())
    }

    /// Adds an object, unless it has gone meanwhile.
    fn add(&mut self, object: Object, path: &Path) -> Result<(), Fault> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                self.stored.push(Stored { object, size: metadata.len(), age: age(&metadata, self.now) });
            }
            Ok(_) => ignored(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault::at("look at", path, &error)),
        }
        Ok(())
    }
}

/// How long ago a file was written to or came to be under its name, whichever is later. A hard link to an old part
/// is a new content: linking changes the inode (ctime), not the bytes (mtime).
fn age(metadata: &fs::Metadata, now: SystemTime) -> Duration {
    let at = |seconds: i64, nanoseconds: i64| {
        let seconds = Duration::from_secs(seconds.try_into().unwrap_or_default());
        SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(nanoseconds.try_into().unwrap_or_default())
    };
    let modified = at(metadata.mtime(), metadata.mtime_nsec());
    let changed = at(metadata.ctime(), metadata.ctime_nsec());
    now.duration_since(modified.max(changed)).unwrap_or_default()
}

fn parts(layout: &Layout, after: Option<PartId>, page: &mut Page) -> Result<(), Fault> {
    let wanted = |part: &PartId| after.is_none_or(|after| *part > after);
    let first = after.map(|after| after.upload.to_string());
    for digit in DIGITS.into_iter().skip_while(|digit| first.as_ref().is_some_and(|first| **digit < first[..1])) {
        let named = |name: &str| part_named(name).filter(|_| name.starts_with(digit));
        walk(&layout.parts(digit), named, wanted, page, |part, page| {
            page.add(Object::Part(part), &layout.part(&part))
        })?;
        if page.room() == 0 {
            break;
        }
    }
    Ok(())
}

fn contents(layout: &Layout, algorithm: Algorithm, after: Option<ContentId>, page: &mut Page) -> Result<(), Fault> {
    let after = after.filter(|after| after.digest.algorithm() == algorithm);
    // Two digits each, so the order of the directories is that of the digests in them.
    let first = after.map_or(0, |after| u8::from_str_radix(&after.digest.encoded()[..2], 16).unwrap_or_default());
    let directory = layout.algorithm(algorithm);
    for digits in first..=u8::MAX {
        let digits = format!("{digits:02x}");
        let named = |name: &str| digest_named(algorithm, name).filter(|_| name.starts_with(&digits));
        // The digest where the last page ended may have more contents.
        let wanted = |digest: &Digest| after.is_none_or(|after| *digest >= after.digest);
        walk(&directory.join(&digits), named, wanted, page, |digest, page| of_digest(layout, digest, after, page))?;
        if page.room() == 0 {
            break;
        }
    }
    Ok(())
}

fn of_digest(layout: &Layout, digest: Digest, after: Option<ContentId>, page: &mut Page) -> Result<(), Fault> {
    let named = |name: &str| Some(ContentId { digest, nonce: uuid_named(name)? });
    let wanted = |content: &ContentId| after.is_none_or(|after| *content > after);
    walk(&layout.contents(&digest), named, wanted, page, |content, page| {
        page.add(Object::Content(content), &layout.content(&content))
    })
}

/// Visits the wanted names of a directory in order, until there are no more or the page is full.
fn walk<T: Ord + Copy>(
    directory: &Path,
    named: impl Fn(&str) -> Option<T>,
    wanted: impl Fn(&T) -> bool,
    page: &mut Page,
    mut visit: impl FnMut(T, &mut Page) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut last: Option<T> = None;
    // As many names as there is room for need not fill it: directories may be empty, and files go.
    while page.room() > 0 {
        let most = page.room();
        let next = |name: &T| wanted(name) && last.is_none_or(|last| *name > last);
        let names = smallest(directory, most, &named, next)?;
        let whole = names.len() < most;
        last = names.last().copied().or(last);
        for name in names {
            visit(name, page)?;
        }
        if whole {
            break;
        }
    }
    Ok(())
}

/// The `most` smallest of the wanted names in a directory, in order, read as `named` says. Names that are none of ours
/// are left alone.
fn smallest<T: Ord>(
    directory: &Path,
    most: usize,
    named: impl Fn(&str) -> Option<T>,
    wanted: impl Fn(&T) -> bool,
) -> Result<Vec<T>, Fault> {
    let failed = |error| fault::at("list", directory, &error);
    let mut found = BinaryHeap::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry: DirEntry = entry.map_err(failed)?;
        match entry.file_name().to_str().and_then(&named) {
            Some(name) if wanted(&name) => {
                found.push(name);
                if found.len() > most {
                    found.pop();
                }
            }
            Some(_) => {}
            None => ignored(&entry.path()),
        }
    }
    Ok(found.into_sorted_vec())
}

fn ignored(path: &Path) {
    tracing::debug!("{} is none of ours, and left alone", path.display());
}
