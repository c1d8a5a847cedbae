//! Making a content out of parts.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use orlop_core::Fault;
use orlop_core::effect::{ContentId, PartId};

use super::layout::Layout;
use crate::storage::directory::fault;
use crate::storage::directory::space;

/// How often a directory that vanishes is made again. Each time, an eraser was in between; a hundred of them in a row
/// are a fault of something else, such as a part that is not there.
const ATTEMPTS: usize = 100;

/// Makes `content` out of `parts`. When it is there already, this call made it before.
pub(super) fn assemble(layout: &Layout, keep_free: u64, parts: &[PartId], content: &ContentId) -> Result<(), Fault> {
    let target = layout.content(content);
    if !exists(&target)? {
        match parts {
            [part] if link(layout, &layout.part(part), content)? => {}
            _ => copy(layout, keep_free, parts, content)?,
        }
    }
    // The name, and every directory on the way that might be new. Another call may have made one and not have made it
    // durable yet; a directory that has nothing to write costs next to nothing.
    target.ancestors().skip(1).take(3).try_for_each(|directory| layout.sync(directory))
}

fn exists(path: &Path) -> Result<bool, Fault> {
    path.try_exists().map_err(|error| fault::at("look for", path, &error))
}

/// Gives the file of a part another name; no byte is copied. `false` when this file system cannot do that.
fn link(layout: &Layout, part: &Path, content: &ContentId) -> Result<bool, Fault> {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    match in_directory(layout, content, |target| fs::hard_link(part, target)) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported) => {
            Ok(false)
        }
        Err(error) => Err(fault::at("link a content to", part, &error)),
    }
}

/// Copies the parts, one after the other, into a file that gets its name when it is whole and durable.
fn copy(layout: &Layout, keep_free: u64, parts: &[PartId], content: &ContentId) -> Result<(), Fault> {
    let temporary = layout.temporary(content);
    let copied = copy_all(layout, keep_free, parts, &temporary).and_then(|()| {
        in_directory(layout, content, |target| fs::rename(&temporary, target))
            .map_err(|error| fault::at("rename", &temporary, &error))
    });
    copied.inspect_err(|_| {
        // If this fails too, the next start-up removes it.
        let _ = fs::remove_file(&temporary);
    })
}

fn copy_all(layout: &Layout, keep_free: u64, parts: &[PartId], temporary: &Path) -> Result<(), Fault> {
    let failed = |error| fault::at("write", temporary, &error);
    let mut whole = OpenOptions::new().write(true).create_new(true).open(temporary).map_err(failed)?;
    for part in parts {
        let path = layout.part(part);
        let mut part = File::open(&path).map_err(|error| fault::at("open", &path, &error))?;
        let size = part.metadata().map_err(|error| fault::at("open", &path, &error))?.len();
        space::check(temporary.parent().unwrap_or(temporary), keep_free.saturating_add(size))?;
        // On Linux this is `copy_file_range`: the kernel copies, or shares the blocks where the file system can.
        io::copy(&mut part, &mut whole).map_err(failed)?;
    }
    layout.count_fsync();
    whole.sync_data().map_err(failed)
}

/// Does `put` in the directory of the content's digest, which is made first. An eraser may remove the directory while
/// it is empty, right before something is put there: then it is made again.
fn in_directory(layout: &Layout, content: &ContentId, put: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let (directory, target) = (layout.contents(&content.digest), layout.content(content));
    let mut attempt = 0;
    loop {
        attempt += 1;
        // It was made by somebody and removed by somebody while we looked: as good as not there.
        let done = match fs::create_dir_all(&directory) {
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists) => Err(io::ErrorKind::NotFound.into()),
            made => made.and_then(|()| put(&target)),
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
            // This call was here before: the name has its nonce.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            done => return done,
        }
    }
}
