//! Listing the objects, page by page, in the order of their names.

use std::collections::BinaryHeap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use orlop_core::Fault;
use orlop_core::effect::Stored;
use orlop_core::object::ObjectId;

use super::layout::{Layout, all_digits};
use crate::storage::disk::fault;

/// Lists the objects after `after`, `limit` at most.
///
/// The names in a directory come in no order, so each page reads a directory anew, but holds only the names it needs.
pub(super) fn inventory(layout: &Layout, after: Option<ObjectId>, limit: usize) -> Result<Vec<Stored>, Fault> {
    let now = SystemTime::now();
    let mut page = Vec::new();
    let first = after.map(|after| after.to_string()[..2].to_owned());
    // Two digits each, so the order of the directories is that of the objects in them.
    for digits in all_digits().skip_while(|digits| first.as_ref().is_some_and(|first| digits < first)) {
        let mut last = after;
        // As many names as there is room for need not fill it: files go.
        while page.len() < limit {
            let most = limit - page.len();
            let names = smallest(&layout.directory(&digits), &digits, most, last)?;
            for object in &names {
                page.extend(look_at(layout, *object, now)?);
            }
            if names.len() < most {
                break;
            }
            last = names.last().copied();
        }
        if page.len() >= limit {
            break;
        }
    }
    Ok(page)
}

/// An object as the inventory has it; none if it has gone meanwhile.
fn look_at(layout: &Layout, object: ObjectId, now: SystemTime) -> Result<Option<Stored>, Fault> {
    let path = layout.object(&object);
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => {
            // Not when the inode was changed last: a backup links it.
            let modified = metadata.modified().map_err(|error| fault::at("look at", &path, &error))?;
            let age: Duration = now.duration_since(modified).unwrap_or_default();
            Ok(Some(Stored { object, size: metadata.len(), age }))
        }
        Ok(_) => {
            ignored(&path);
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault::at("look at", &path, &error)),
    }
}

/// The `most` smallest names of objects in a directory after `after`, in order. Other names are left alone.
fn smallest(directory: &Path, digits: &str, most: usize, after: Option<ObjectId>) -> Result<Vec<ObjectId>, Fault> {
    let failed = |error| fault::at("list", directory, &error);
    let mut found = BinaryHeap::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let named = name.to_str().filter(|name| name.starts_with(digits)).and_then(|name| name.parse().ok());
        match named {
            Some(object) if after.is_none_or(|after| object > after) => {
                found.push(object);
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
    tracing::debug!("{} is not an object, and left alone", path.display());
}
