//! Whether something writes to the directory at this moment.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Source;
use super::tree::{Item, What, regular_behind_links};

/// How long ago the last change of an upload was, for it to count as given up.
const RECENT: Duration = Duration::from_secs(600);

/// The programs of distribution and docker-registry.
const PROGRAMS: [&str; 2] = ["registry", "docker-registry"];

/// How many bytes of a configuration are read.
const CONFIGURATION: u64 = 1 << 20;

/// Where they keep their data without a configuration.
const USUAL_ROOT: &str = "/var/lib/registry";

/// What shows that something writes to the directory, if anything does: a process that has files open in it, a registry
/// that runs on it, or an upload that went on within the last minutes.
pub(crate) fn activity(source: &Source) -> Option<String> {
    let process = if source.is_remote() { None } else { processes(source.root()) };
    process.or_else(|| uploads(source))
}

fn processes(root: &Path) -> Option<String> {
    let own = std::process::id();
    let identity = identity(root)?;
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if id == own {
            continue;
        }
        let path = process.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned();
        let told = |what: &str| Some(format!("the process {id} ({name}) {what}"));
        let open = fs::read_dir(path.join("fd")).into_iter().flatten().flatten();
        if open.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file.starts_with(root)) {
            return told("has files open in it");
        }
        if PROGRAMS.contains(&name.as_str()) && serves(&path, identity) {
            return told("is a registry that serves it");
        }
    }
    None
}

/// Whether the registry of a process keeps its data in the layout with that identity. It may run in a container, and
/// see the directory under another name.
fn serves(process: &Path, identity: (u64, u64)) -> bool {
    let inside = process.join("root");
    let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
    let parts = |bytes: Vec<u8>| -> Vec<String> {
        bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    };
    let variable = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=";
    let environment = parts(read("environ"));
    let by_environment = environment.iter().filter_map(|line| line.strip_prefix(variable)).map(str::to_owned);
    let by_file = parts(read("cmdline")).into_iter().filter(|part| part.ends_with(".yml") || part.ends_with(".yaml"));
    let by_file = by_file.filter_map(|file| {
        let directory = if file.starts_with('/') { inside.clone() } else { process.join("cwd") };
        // Any process may be called so, and name any file.
        let mut text = String::new();
        let opened = regular_behind_links(&directory.join(file.trim_start_matches('/'))).ok()?;
        opened.take(CONFIGURATION).read_to_string(&mut text).ok()?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("rootdirectory:").map(str::to_owned))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned())
    });
    let roots: Vec<String> = by_environment.chain(by_file).chain([USUAL_ROOT.into()]).collect();
    roots.iter().any(|root| {
        let layout = inside.join(root.trim_start_matches('/')).join("docker/registry/v2");
        self::identity(&layout) == Some(identity)
    })
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// The upload that went on last, if that was within the last minutes.
fn uploads(source: &Source) -> Option<String> {
    let mut waiting: Vec<PathBuf> = vec![source.root().join("repositories")];
    let now = SystemTime::now();
    let mut last: Option<(Duration, PathBuf)> = None;
    while let Some(path) = waiting.pop() {
        for name in directories(source, &path) {
            match name.as_str() {
                "_uploads" => {
                    for upload in directories(source, &path.join(&name)) {
                        let upload = path.join(&name).join(upload);
                        let Some(changed) = source.tree().changed(&upload) else { continue };
                        let age = now.duration_since(changed).unwrap_or_default();
                        if age < RECENT && last.as_ref().is_none_or(|(least, _)| age < *least) {
                            last = Some((age, upload));
                        }
                    }
                }
                name if name.starts_with('_') => {}
                name => waiting.push(path.join(name)),
            }
        }
    }
    let (age, path) = last?;
    Some(format!("the upload {} went on {} seconds ago", path.display(), age.as_secs()))
}

/// The directories in one.
fn directories(source: &Source, path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    // What cannot be read is told of where everything is looked at.
    let _ = source.tree().list(path, &mut |item| {
        if let Item { name: Ok(name), what: What::Directory } = item {
            names.push(name);
        }
    });
    names
}
