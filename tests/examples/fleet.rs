//! Three servers on PostgreSQL and an S3 server behind HAProxy, for clients that are no Rust: `tests/clients/run --fleet`.
//!
//!     fleet DIRECTORY [FLAG...]
//!
//! Prints where HAProxy listens, and ends when its standard input does. The logs are written to DIRECTORY; each server is
//! `orlop serve` with the flags. `ORLOP` names the program, or it is built like this one.

#[expect(dead_code, reason = "the tests of the fleet use more of it")]
#[path = "../integration/fleet/balanced.rs"]
mod balanced;
#[expect(dead_code, reason = "the tests of the fleet use more of it")]
#[path = "../integration/fleet/engines.rs"]
mod engines;
#[path = "../integration/program.rs"]
mod program;

use std::fs;
use std::io::{Write, stdin, stdout};
use std::path::PathBuf;

use balanced::Fleet;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("a directory for the logs"));
    fs::create_dir_all(&directory)?;
    let fleet = Fleet::start(program::program(), &directory, &arguments.collect::<Vec<_>>());
    writeln!(stdout(), "{}", fleet.address())?;
    stdout().flush()?;
    std::io::copy(&mut stdin(), &mut std::io::sink())?;
    Ok(())
}
