//! `cargo page` builds the console and the playground into `host-wasm/page-dist/`, from where release builds of the server
//! embed them. `cargo serve` does that where it can be done, then builds and runs the server.
//!
//! | command | |
//! |---|---|
//! | `cargo page` | builds the pages, unless they are up to date; fails when they cannot be built |
//! | `cargo page --optional` | without Node, or when the build fails, removes the pages, says so, and succeeds |
//! | `cargo page --all` | builds the npm package too, whether or not anything has changed |
//! | `cargo serve [OPTION...]` | `cargo page --optional`, then `orlop serve` in a release build, with these options |
//!
//! Only this command uses the network, and only when `package-lock.json` has changed: it runs `npm ci` then.

mod page;

use std::env;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo page [--optional] [--all]\n       cargo serve [OPTION OF orlop serve...]";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let done = match verb.as_str() {
        "page" => page(&rest),
        "serve" => serve(&rest),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn page(options: &[String]) -> Result<(), Box<dyn Error>> {
    if let Some(unknown) = options.iter().find(|option| !matches!(option.as_str(), "--optional" | "--all")) {
        return Err(format!("there is no option `{unknown}`\n{USAGE}").into());
    }
    let given = |name: &str| options.iter().any(|option| option == name);
    let extent = if given("--all") { page::Extent::All } else { page::Extent::Page };
    if given("--optional") { page::build_or_remove(&workspace()?) } else { page::build(&workspace()?, extent) }
}

fn serve(options: &[String]) -> Result<(), Box<dyn Error>> {
    page::build_or_remove(&workspace()?)?;
    let mut cargo = cargo();
    cargo.args(["run", "--release", "--locked", "--package", "orlop", "--manifest-path"]);
    cargo.arg(workspace()?.join("Cargo.toml")).args(["--", "serve"]).args(options);
    Err(format!("cargo run: {}", replace_process(&mut cargo)).into())
}

/// Runs a program in the place of this one, so that signals reach it. Returns only if it cannot be started.
#[cfg(unix)]
fn replace_process(command: &mut Command) -> io::Error {
    std::os::unix::process::CommandExt::exec(command)
}

#[cfg(not(unix))]
fn replace_process(command: &mut Command) -> io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

fn workspace() -> Result<PathBuf, Box<dyn Error>> {
    // Cargo says where it runs this from; what it was compiled in may have been a copy with the same target directory.
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let above = Path::new(&here).ancestors().nth(2);
    Ok(above.ok_or("this crate has been moved out of the workspace")?.to_owned())
}

/// Cargo, without the variables that the cargo that runs this program has set for it: build scripts that watch them would
/// run again each time.
fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_package(&mut cargo);
    cargo
}

/// Removes what describes this package from the environment of a program.
fn forget_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_is_found() {
        let workspace = super::workspace().expect("a workspace");
        assert!(workspace.join("host-wasm/build.mjs").exists(), "{}", workspace.display());
    }
}
