//! Writes what is made of the command line: a man page for each command, and completions for bash, zsh and fish.
//!
//! `cargo run --example generate -- DIRECTORY`

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use orlop::command::cli::Cli;

fn main() -> Result<(), Box<dyn Error>> {
    let directory: PathBuf = std::env::args_os().nth(1).ok_or("which directory?")?.into();
    let man = directory.join("man");
    fs::create_dir_all(&man)?;
    let mut command = Cli::command();
    clap_mangen::generate_to(command.clone(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "orlop", &directory)?;
    }
    Ok(())
}
