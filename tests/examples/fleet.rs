//! Three servers on PostgreSQL and an S3 server behind HAProxy, for clients that no Rust test drives.
//!
//!     fleet DIRECTORY COMMAND [ARGUMENT...]
//!
//! Runs the command with `REGISTRY` set to where HAProxy listens, and ends as it does. Two of the servers send clients to
//! the object store for blobs, so that each client meets both ways; what it was sent how is counted, by the name that it
//! gives itself. The logs are written to the directory. `ORLOP` names the program that serves, or it is built like this
//! one; the variables that it reads (`ORLOP_…`) are its settings.

#[expect(dead_code, reason = "the tests of the fleet use more of it")]
#[path = "../integration/fleet/balanced.rs"]
mod balanced;
#[expect(dead_code, reason = "the tests of the fleet use more of it")]
#[path = "../integration/fleet/engines.rs"]
mod engines;
#[path = "../integration/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

use balanced::{Fleet, SERVERS, Settings, server_log};

/// The settings of the servers, of which two send clients to the object store.
const SETTINGS: [Settings; SERVERS] = [&[], REDIRECTING, REDIRECTING];
const REDIRECTING: Settings = &[("ORLOP_REDIRECT", "**"), ("ORLOP_REDIRECT_FROM", "20KiB")];

/// A client that pulled so many blobs has been at every server.
const MANY: usize = 9;

/// Programs whose blobs are all too small to be sent by the object store.
const SMALL: [&str; 2] = ["Go-http-client", "distribution-spec-conformance-tests"];

fn main() -> io::Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let (Some(directory), Some(command)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        eprintln!("usage: fleet DIRECTORY COMMAND [ARGUMENT...]");
        return Ok(ExitCode::from(2));
    };
    fs::create_dir_all(&directory)?;
    let logs: Vec<PathBuf> = (0..SERVERS).map(|number| server_log(&directory, number)).collect();
    for log in logs.iter().filter(|log| log.exists()) {
        fs::remove_file(log)?;
    }
    let fleet = Fleet::start(program::program(), &directory, SETTINGS);
    let ended = Command::new(command).args(arguments).env("REGISTRY", fleet.address()).status()?;
    let code = ended.code().and_then(|code| u8::try_from(code).ok());
    let mut met = true;
    for (client, [sent, redirected]) in pulls(&logs)? {
        println!("{client}: {sent} pulls of blobs answered by a server, {redirected} by the object store");
        met &= SMALL.contains(&client.as_str()) || sent + redirected < MANY || (sent > 0 && redirected > 0);
    }
    if !met {
        eprintln!("fleet: a client pulled many blobs, and met only one of the two ways");
        return Ok(ExitCode::FAILURE);
    }
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// How many pulls of blobs of each client were answered with the bytes, and how many with where they are.
fn pulls(logs: &[impl AsRef<Path>]) -> io::Result<BTreeMap<String, [usize; 2]>> {
    let mut pulls: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for log in logs {
        let text = fs::read_to_string(log)?;
        for line in text.lines().filter(|line| line.contains("operation=\"pull-blob\" method=\"GET\"")) {
            let field = |name: &str| line.split_once(name).map_or("", |(_, rest)| rest);
            let way = match field(" status=").split(' ').next() {
                Some("200") => 0,
                Some("307") => 1,
                _ => continue,
            };
            let client = field(" agent=\"").split(['/', '"', ' ']).next().unwrap_or_default();
            pulls.entry(client.to_owned()).or_default()[way] += 1;
        }
    }
    Ok(pulls)
}
