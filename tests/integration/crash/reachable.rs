//! What is left on a disk after a sweep: what can be reached, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use orlop_core::digest::Digest;
use orlop_core::effect::Scan;
use orlop_core::keys::Prefix;

use crate::journal::{Ledger, Sent};
use crate::served::InProcess;
use crate::verify::needed;

/// Sweeps a data directory that no server has open, as if all graces were over, and looks at what is left: blobs of
/// manifests, byte for byte, one file each, and the records that belong to them.
pub(crate) fn sweep_and_look(data: &Path, ledger: &Ledger, sent: &Sent) -> Result<(), String> {
    let mut host = InProcess::open(data)?;
    let report = host.sweep_everything();
    let needed: BTreeSet<String> = needed(ledger, sent).into_keys().collect();
    let mut kept = BTreeSet::new();
    for file in files(&data.join("blobs"))? {
        let digest = digest_of(data, &file)?;
        let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        if digest.algorithm().digest(&bytes) != digest {
            return Err(format!("{} has other bytes than its name says", file.display()));
        }
        if !kept.insert(digest.to_string()) {
            return Err(format!("{digest} is there twice after {report:?}"));
        }
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
    for directory in ["uploads", "temporary"] {
        if let Some(left) = files(&data.join(directory))?.first() {
            return Err(format!("{} is left over after {report:?}", left.display()));
        }
    }
    for family in ["upload/", "part/", "blob/", "holder/", "link/"] {
        for key in keys(&mut host, family)? {
            let known = needed.iter().any(|digest| key.contains(digest.as_str()));
            if !known {
                return Err(format!("the record {key} is left over after {report:?}"));
            }
        }
    }
    Ok(())
}

fn keys(host: &mut InProcess, family: &str) -> Result<Vec<String>, String> {
    let scan = Scan { prefix: Prefix::stored(family), after: None, limit: usize::MAX, bytes: usize::MAX };
    Ok(host.ask(scan)?.into_iter().map(|(key, _)| key.as_str().to_owned()).collect())
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

/// The digest that the path of a content says: `blobs/<algorithm>/ab/<hex>/<nonce>`.
fn digest_of(data: &Path, file: &Path) -> Result<Digest, String> {
    let wrong = || format!("{} is no name of a content", file.display());
    let names: Vec<_> =
        file.strip_prefix(data).map_err(|_| wrong())?.iter().map(|name| name.to_string_lossy()).collect();
    match names.as_slice() {
        [_, algorithm, _, hex, _] => format!("{algorithm}:{hex}").parse().map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}
