//! Building the pages: what they are made of, whether they are up to date, and the programs that make them.

use std::error::Error;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the pages are made of, from the root of the workspace.
const SOURCES: [&str; 21] = [
    "Cargo.lock",
    "Cargo.toml",
    "rust-toolchain.toml",
    "core/Cargo.toml",
    "core/src",
    "host-wasm/Cargo.toml",
    "host-wasm/bindgen/src",
    "host-wasm/build.mjs",
    "host-wasm/console",
    "host-wasm/js",
    "host-wasm/package-lock.json",
    "host-wasm/package.json",
    "host-wasm/page",
    "host-wasm/parts",
    "host-wasm/src",
    "host-wasm/tester",
    "host-wasm/tsconfig.json",
    "host-wasm/vite.config.ts",
    "host-wasm/vite.console.config.ts",
    "tests/Cargo.toml",
    "tests/src",
];

/// The oldest Node that the build tools run on.
const NODE: (u32, u32) = (20, 19);

/// How much is built.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Extent {
    /// The pages, unless they are up to date.
    Page,
    /// The npm package and the pages.
    All,
}

/// Builds the pages, or says why not and removes those of other sources, which the server would embed.
pub(crate) fn build_or_remove(workspace: &Path) -> Result<(), Box<dyn Error>> {
    if let Err(why) = build(workspace, Extent::Page) {
        eprintln!("the console and the playground are left out: {why}");
        empty(&workspace.join("host-wasm/page-dist"))?;
    }
    Ok(())
}

/// Builds the console and the playground into `host-wasm/page-dist/`.
pub(crate) fn build(workspace: &Path, extent: Extent) -> Result<(), Box<dyn Error>> {
    let place = workspace.join("host-wasm");
    let page = place.join("page-dist");
    let stamp = page.join(".sources");
    let sources = fingerprint(workspace)?;
    if extent == Extent::Page && fs::read_to_string(&stamp).is_ok_and(|built| built == sources) {
        return Ok(());
    }
    node_is_missing(said(&place, "node").as_deref(), said(&place, "npm").as_deref()).map_or(Ok(()), Err)?;
    install_packages(&place)?;
    let mut node = Command::new("node");
    node.arg("build.mjs").current_dir(&place);
    if extent == Extent::Page {
        node.arg("--page");
    }
    // A relative one is relative to where this program was started.
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        node.env("CARGO_TARGET_DIR", std::path::absolute(target)?);
    }
    run(&mut node)?;
    Ok(fs::write(stamp, sources)?)
}

/// What a program answers to `--version`, if it runs.
fn said(place: &Path, program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").current_dir(place).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What is wrong with Node and npm, from what they say of their versions.
fn node_is_missing(node: Option<&str>, npm: Option<&str>) -> Option<String> {
    let Some(node) = node else { return Some("Node is not installed (apt-get install nodejs npm)".into()) };
    let mut numbers = node.trim_start_matches('v').split('.').map(|number| number.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < NODE {
        return Some(format!("Node {node} is older than {}.{}", NODE.0, NODE.1));
    }
    npm.is_none().then(|| "npm is not installed (apt-get install npm)".into())
}

/// Installs the packages of the lock file, if it has changed.
fn install_packages(place: &Path) -> Result<(), Box<dyn Error>> {
    let lock = fs::read(place.join("package-lock.json"))?;
    // `npm ci` begins by removing the directory, and with it the stamp.
    let stamp = place.join("node_modules/.installed-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(place))?;
    Ok(fs::write(stamp, lock)?)
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    super::forget_package(command);
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("{name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{name}` failed ({status})").into()) }
}

/// Removes what was built, but not the directory.
fn empty(page: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(page)?;
    for entry in fs::read_dir(page)? {
        let path = entry?.path();
        match path.file_name().is_some_and(|name| name == ".gitignore") {
            true => {}
            false if path.is_dir() => fs::remove_dir_all(path)?,
            false => fs::remove_file(path)?,
        }
    }
    Ok(())
}

/// A hash over all sources and their names.
fn fingerprint(workspace: &Path) -> Result<String, Box<dyn Error>> {
    let mut hasher = DefaultHasher::new();
    for path in SOURCES {
        for file in files_of(&workspace.join(path))? {
            file.strip_prefix(workspace)?.hash(&mut hasher);
            fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?.hash(&mut hasher);
        }
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

/// The file at a path, or those below it, but for what builds have made there.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let (mut files, mut pending) = (Vec::new(), vec![path.to_owned()]);
    while let Some(next) = pending.pop() {
        if next.file_name().is_some_and(|name| name == "pkg" || name == "pkg-suite") {
            continue;
        }
        if !next.is_dir() {
            files.push(next);
            continue;
        }
        for entry in fs::read_dir(&next).map_err(|error| format!("{}: {error}", next.display()))? {
            pending.push(entry?.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let check = |node, npm, expected: Option<&str>| {
            assert_eq!(node_is_missing(node, npm).as_deref(), expected, "{node:?} {npm:?}");
        };
        check(Some("v20.19.0"), Some("10.8"), None);
        check(Some("v24.1.0"), Some("11.0"), None);
        check(Some("v20.18.3"), Some("10.8"), Some("Node v20.18.3 is older than 20.19"));
        check(Some("what"), Some("10.8"), Some("Node what is older than 20.19"));
        check(Some("v22.0.0"), None, Some("npm is not installed (apt-get install npm)"));
        check(None, None, Some("Node is not installed (apt-get install nodejs npm)"));
    }

    #[test]
    fn every_source_counts() {
        let workspace = super::super::workspace().expect("a workspace");
        for path in SOURCES {
            let files = files_of(&workspace.join(path)).expect("they can be listed");
            assert!(files.iter().all(|file| file.exists()) && !files.is_empty(), "{path}");
        }
        let once = fingerprint(&workspace).expect("a fingerprint");
        assert_eq!(once, fingerprint(&workspace).expect("a fingerprint"));
    }

    #[test]
    fn a_directory_is_emptied_but_for_what_git_keeps() {
        let page = std::env::temp_dir().join(format!("orlop-page-{}", std::process::id()));
        fs::create_dir_all(page.join("assets")).expect("a directory");
        for name in [".gitignore", ".sources", "index.html", "assets/app.js"] {
            fs::write(page.join(name), name).expect("a file");
        }
        empty(&page).expect("it is emptied");
        let left = files_of(&page).expect("it can be listed");
        fs::remove_dir_all(&page).expect("it is removed");
        assert_eq!(left, [page.join(".gitignore")]);
    }
}
