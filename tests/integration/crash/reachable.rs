//! What is left on a disk after a garbage collection: what can be reached, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use orlop_core::digest::Digest;
use orlop_core::effect::{Get, Scan};
use orlop_core::keys::{Key, Prefix};
use orlop_core::record::{BlobRecord, Extent};

use crate::journal::{Ledger, Sent};
use crate::served::InProcess;
use crate::verify::needed;

/// Collects the garbage of a data directory that no server has open, as if all graces were over, and looks at what is
/// left: blobs of manifests, byte for byte, each object a file of one of them, and the records that belong to them.
pub(crate) fn gc_and_look(data: &Path, ledger: &Ledger, sent: &Sent) -> Result<(), String> {
    let mut host = InProcess::open(data)?;
    let report = host.gc_everything();
    let needed: BTreeSet<String> = needed(ledger, sent).into_keys().collect();
    let (mut kept, mut objects) = (BTreeSet::new(), BTreeSet::new());
    for (name, digest, extents) in blobs(&mut host)? {
        let mut bytes = Vec::new();
        for extent in extents {
            let read = if extent.small { record(&mut host, &extent)? } else { file(data, &extent)? };
            if !objects.insert(extent.object.to_string()) {
                return Err(format!("the object {} is part of two blobs", extent.object));
            }
            bytes.extend(read);
        }
        if digest.algorithm().digest(&bytes) != digest {
            return Err(format!("the blob {name} has other bytes than its name says"));
        }
        kept.insert(name);
    }
    if kept != needed {
        let (more, less): (Vec<_>, Vec<_>) = (kept.difference(&needed).collect(), needed.difference(&kept).collect());
        let told: Vec<_> = ledger
            .facts
            .iter()
            .filter(|(fact, _)| less.iter().any(|digest| fact.to_string().contains(digest.as_str())))
            .collect();
        return Err(format!("after {report:?}, {more:?} are left over and {less:?} are missing: {told:#?}"));
    }
    let files = files(&data.join("objects"))?.into_iter().map(|file| file_name(&file));
    let records = ["object/", "bytes/"].map(|family| keys(&mut host, family));
    let [owners, small] = records;
    let named = owners?.into_iter().chain(small?).map(|key| key.rsplit('/').next().unwrap_or_default().to_owned());
    for name in files.chain(named) {
        if !objects.contains(&name) {
            return Err(format!("the object {name} is left over after {report:?}"));
        }
    }
    for family in ["upload/", "chunk/", "holder/", "link/"] {
        for key in keys(&mut host, family)? {
            let known = needed.iter().any(|digest| key.contains(digest.as_str()));
            if !known {
                return Err(format!("the record {key} is left over after {report:?}"));
            }
        }
    }
    Ok(())
}

/// Every blob: its name, its digest, and what it is made of.
fn blobs(host: &mut InProcess) -> Result<Vec<(String, Digest, Vec<Extent>)>, String> {
    let entries = scan(host, "blob/")?.into_iter().map(|(key, value)| {
        let name = key.as_str().trim_start_matches("blob/").to_owned();
        let digest = name.parse().map_err(|_| format!("{name} is no digest"))?;
        let record: BlobRecord = serde_json::from_slice(&value).map_err(|error| format!("blob/{name}: {error}"))?;
        Ok((name, digest, record.extents))
    });
    entries.collect()
}

fn record(host: &mut InProcess, extent: &Extent) -> Result<Vec<u8>, String> {
    let key = Key::stored(format!("bytes/{}", extent.object));
    let found = host.ask(Get { keys: vec![key.clone()] })?.pop().flatten();
    found.map(|bytes| bytes.to_vec()).ok_or_else(|| format!("the record {key:?} is gone"))
}

fn file(data: &Path, extent: &Extent) -> Result<Vec<u8>, String> {
    let name = extent.object.to_string();
    let path = data.join("objects").join(&name[..2]).join(name);
    fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The file of a blob that is one object, of which only the bytes are known.
pub(crate) fn file_of(data: &Path, digest: &str) -> Option<PathBuf> {
    let digest: Digest = digest.parse().ok()?;
    let is_it = |file: &PathBuf| fs::read(file).is_ok_and(|bytes| digest.algorithm().digest(&bytes) == digest);
    files(&data.join("objects")).ok()?.into_iter().find(is_it)
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn scan(host: &mut InProcess, family: &str) -> Result<Vec<(Key, Bytes)>, String> {
    host.ask(Scan { prefix: Prefix::stored(family), after: None, limit: usize::MAX, bytes: usize::MAX })
}

fn keys(host: &mut InProcess, family: &str) -> Result<Vec<String>, String> {
    Ok(scan(host, family)?.into_iter().map(|(key, _)| key.as_str().to_owned()).collect())
}

/// Every file below a directory.
pub(crate) fn files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{}: {error}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}
