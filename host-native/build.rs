//! Embeds the console and the playground, which `cargo page` builds, or a plain page that says how to get them. It
//! downloads and builds nothing.
//!
//! `ORLOP_PAGES` decides:
//!
//! | value | |
//! |---|---|
//! | not set | release builds embed `host-wasm/page-dist/` if the pages have been built, others the plain page |
//! | `off` | the plain page |
//! | `require` | `host-wasm/page-dist/`; the build fails if the pages have not been built |
//! | a directory | the pages in this directory; the build fails if they are not there |

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The pages, each a directory of that name.
const PAGES: [&str; 2] = ["console", "playground"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=ORLOP_PAGES");
    println!("cargo::rerun-if-changed=build.rs");
    let crate_directory = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let plain = crate_directory.join("src/server/page/plain");
    let built = crate_directory.parent().ok_or("no workspace")?.join("host-wasm/page-dist");
    let pages = match env::var("ORLOP_PAGES").unwrap_or_default().as_str() {
        "off" => None,
        "require" => Some(required(built)?),
        "" if env::var("PROFILE")? != "release" => None,
        "" => {
            // Cargo would run this each time for a path that does not exist.
            if built.exists() {
                println!("cargo::rerun-if-changed={}", built.display());
            }
            let found = required(built);
            found.inspect_err(|why| println!("cargo::warning=the console and the playground are left out: {why}")).ok()
        }
        directory => Some(required(directory.into())?),
    };
    println!("cargo::rerun-if-changed={}", pages.as_deref().unwrap_or(&plain).display());
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for page in PAGES {
        let directory = pages.as_ref().map_or_else(|| plain.clone(), |pages| pages.join(page));
        fs::write(out.join(page).with_extension("rs"), embedding(&directory)?)?;
    }
    Ok(())
}

/// The directory, if all pages are in it.
fn required(pages: PathBuf) -> Result<PathBuf, String> {
    match PAGES.iter().find(|page| !pages.join(page).join("index.html").exists()) {
        None => Ok(pages),
        Some(page) => Err(format!("there is no {page} in {}: `cargo page` builds it", pages.display())),
    }
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
        text += &format!("    File {{ path: \"{path}\", plain: include_bytes!({file:?}), zipped: {zipped} }},\n");
    }
    Ok(text + "]\n")
}
