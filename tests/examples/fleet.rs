//! Three servers on PostgreSQL and an S3 server behind HAProxy, for clients that no Rust test drives.
//!
//!     fleet DIRECTORY COMMAND [ARGUMENT...]
//!
//! Runs the command with `REGISTRY` set to where HAProxy listens, and ends as it does. The logs are written to the
//! directory. `ORLOP` names the program that serves, or it is built like this one; the variables that it reads
//! (`ORLOP_…`) are its settings.

#[expect(dead_code, reason = "the tests of the fleet use more of it")]
#[path = "../integration/fleet/balanced.rs"]
mod balanced;
#[expect(dead_code, reason = "the tests of the fleet use more of it")]
#[path = "../integration/fleet/engines.rs"]
mod engines;
#[path = "../integration/program.rs"]
mod program;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::{env, fs, io};

use balanced::Fleet;

fn main() -> io::Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let (Some(directory), Some(command)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        eprintln!("usage: fleet DIRECTORY COMMAND [ARGUMENT...]");
        return Ok(ExitCode::from(2));
    };
    fs::create_dir_all(&directory)?;
    let fleet = Fleet::start(program::program(), &directory, &[]);
    let ended = Command::new(command).args(arguments).env("REGISTRY", fleet.address()).status()?;
    let code = ended.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
