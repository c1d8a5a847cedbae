//! Builds the playground for embedding, or takes a page that says how to get it.
//!
//! `ORLOP_PLAYGROUND` decides:
//!
//! | value | |
//! |---|---|
//! | not set | release builds build the playground if Node and npm are there, others take the plain page |
//! | `off` | the plain page |
//! | `require` | the playground; the build fails if it cannot be built |
//! | a directory | the playground that `host-wasm/build.mjs` has built there |
//!
//! Everything is made in `OUT_DIR`, with a target directory of its own: the cargo that runs this holds the lock of the
//! other one. Whatever goes wrong is a warning and the plain page, unless the playground is required.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is built from, below `host-wasm/`.
const SOURCES: [&str; 8] = [
    "build.mjs",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "tsconfig.package.json",
    "vite.config.ts",
    "js",
    "page",
];

/// What else it is made of, from the workspace.
const CRATES: [&str; 7] = [
    "Cargo.lock",
    "core/src",
    "host-wasm/Cargo.toml",
    "host-wasm/bindgen/src",
    "host-wasm/src",
    "host-wasm/tester/src",
    "tests/src",
];

/// The oldest Node that the build tools run on.
const NODE: (u32, u32) = (20, 19);

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=ORLOP_PLAYGROUND");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let wanted = env::var("ORLOP_PLAYGROUND").unwrap_or_default();
    let plain = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("src/server/playground/plain");
    let page = match wanted.as_str() {
        "off" => None,
        "require" => Some(build(&out)?),
        "" if env::var("PROFILE")? != "release" => None,
        "" => match build(&out) {
            Ok(page) => Some(page),
            Err(why) => {
                println!("cargo::warning=the playground is not built in: {why}");
                println!("cargo::warning=everything else is; see host-wasm/README.md for what the playground needs");
                try_again_later(&out);
                None
            }
        },
        directory => Some(PathBuf::from(directory)),
    };
    let page = page.unwrap_or(plain);
    fs::write(out.join("playground.rs"), embedding(&page)?)?;
    Ok(())
}

/// Builds the playground: where it is then.
fn build(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let workspace = Path::new(&env::var("CARGO_MANIFEST_DIR")?).parent().ok_or("no workspace")?.to_owned();
    let source = workspace.join("host-wasm");
    if !source.join("build.mjs").exists() {
        return Err("this is not the whole repository".into());
    }
    for path in CRATES.map(|path| workspace.join(path)).into_iter().chain(SOURCES.map(|path| source.join(path))) {
        // Files are named one by one: a directory would count what builds leave in it.
        for file in files_of(&path)? {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    check_node()?;
    let place = out.join("playground");
    copy_sources(&source, &place)?;
    install_packages(&place)?;
    let mut node = Command::new("node");
    node.arg("build.mjs").arg("--page").arg("--workspace").arg(&workspace).current_dir(&place);
    // What cargo has set for this crate is not meant for the one that is built there.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let meant = ["CARGO", "CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_MAKEFLAGS"].contains(&name.as_ref());
        let cargos = name.starts_with("CARGO") || name.starts_with("RUSTC") || name.starts_with("DEP_");
        if !meant && (cargos || name == "RUSTFLAGS" || name == "TARGET" || name == "HOST") {
            node.env_remove(name.as_ref());
        }
    }
    node.env("CARGO_TARGET_DIR", place.join("target"));
    run(&mut node)?;
    Ok(place.join("page-dist"))
}

/// Has cargo run this again once the machine has other programs, or, if it has all that it takes, each time: the network
/// may be back.
fn try_again_later(out: &Path) {
    if check_node().is_ok() {
        println!("cargo::rerun-if-changed={}", out.join("never").display());
        return;
    }
    for directory in env::split_paths(&env::var_os("PATH").unwrap_or_default()).filter(|path| path.is_dir()) {
        println!("cargo::rerun-if-changed={}", directory.display());
    }
}

fn check_node() -> Result<(), Box<dyn Error>> {
    let said =
        Command::new("node").arg("--version").output().map_err(|_| "there is no Node (apt-get install nodejs npm)")?;
    let version = String::from_utf8_lossy(&said.stdout).trim().trim_start_matches('v').to_owned();
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let have: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if have < NODE {
        return Err(format!("Node {version} is older than {}.{}", NODE.0, NODE.1).into());
    }
    let npm = Command::new("npm").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if npm.is_ok_and(|status| status.success()) { Ok(()) } else { Err("there is no npm (apt-get install npm)".into()) }
}

/// Copies what is built from, and takes away what an earlier copy had more.
fn copy_sources(source: &Path, place: &Path) -> Result<(), Box<dyn Error>> {
    for name in SOURCES {
        if place.join(name).is_dir() {
            fs::remove_dir_all(place.join(name))?;
        }
        for file in files_of(&source.join(name))? {
            let copy = place.join(file.strip_prefix(source)?);
            fs::create_dir_all(copy.parent().ok_or("a file without a directory")?)?;
            fs::copy(file, copy)?;
        }
    }
    Ok(())
}

/// Installs the packages of the lock file, if it has changed.
fn install_packages(place: &Path) -> Result<(), Box<dyn Error>> {
    let lock = fs::read(place.join("package-lock.json"))?;
    let stamp = place.join("installed.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let _ = fs::remove_file(&stamp);
    run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(place))?;
    Ok(fs::write(stamp, lock)?)
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let last: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(12).collect();
    Err(format!("{name} failed: {}", last.into_iter().rev().collect::<Vec<_>>().join(" | ")).into())
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

/// The table of files as Rust. A file beside which one with `.gz` lies is embedded in both forms.
fn embedding(page: &Path) -> Result<String, Box<dyn Error>> {
    let page = page.canonicalize()?;
    let mut text = String::from("[\n");
    for file in files_of(&page)?.iter().filter(|file| file.extension() != Some(OsStr::new("gz"))) {
        let mut zipped = file.clone().into_os_string();
        zipped.push(".gz");
        let zipped = match Path::new(&zipped).exists() {
            true => format!("Some(include_bytes!({zipped:?}))"),
            false => "None".into(),
        };
        let path = file.strip_prefix(&page)?.display();
        text += &format!("    File {{ path: \"/{path}\", plain: include_bytes!({file:?}), zipped: {zipped} }},\n");
    }
    Ok(text + "]\n")
}
