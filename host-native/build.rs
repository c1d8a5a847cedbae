//! Embeds the playground's page, which `cargo page` builds, or a plain page that says how to get it. It downloads and
//! builds nothing.
//!
//! `ORLOP_PLAYGROUND` decides:
//!
//! | value | |
//! |---|---|
//! | not set | release builds embed `host-wasm/page-dist/` if the page has been built, others the plain page |
//! | `off` | the plain page |
//! | `require` | `host-wasm/page-dist/`; the build fails if the page has not been built |
//! | a directory | the page in this directory; the build fails if there is none |

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=ORLOP_PLAYGROUND");
    println!("cargo::rerun-if-changed=build.rs");
    let crate_directory = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let plain = crate_directory.join("src/server/playground/plain");
    let built = crate_directory.parent().ok_or("no workspace")?.join("host-wasm/page-dist");
    let page = match env::var("ORLOP_PLAYGROUND").unwrap_or_default().as_str() {
        "off" => plain,
        "require" => required(built)?,
        "" if env::var("PROFILE")? != "release" => plain,
        "" => {
            // Cargo would run this each time for a path that does not exist.
            if built.exists() {
                println!("cargo::rerun-if-changed={}", built.display());
            }
            required(built).unwrap_or_else(|why| {
                println!("cargo::warning=the playground is left out: {why}");
                plain
            })
        }
        directory => required(directory.into())?,
    };
    println!("cargo::rerun-if-changed={}", page.display());
    let out = PathBuf::from(env::var("OUT_DIR")?).join("playground.rs");
    Ok(fs::write(out, embedding(&page)?)?)
}

/// The directory, if there is a page in it.
fn required(page: PathBuf) -> Result<PathBuf, String> {
    if page.join("index.html").exists() {
        return Ok(page);
    }
    Err(format!("there is no page in {}: `cargo page` builds it", page.display()))
}

/// The files below a directory, but for those whose names begin with a dot.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let (mut files, mut pending) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).map_err(|error| format!("{}: {error}", next.display()))? {
            let entry = entry?;
            match entry.file_name().as_encoded_bytes().starts_with(b".") {
                true => {}
                false if entry.file_type()?.is_dir() => pending.push(entry.path()),
                false => files.push(entry.path()),
            }
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
