//! The real server as a process, and where it keeps its data.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use tempfile::TempDir;

pub(crate) use crate::program::program;

/// A running `orlop serve`.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    log: Option<JoinHandle<String>>,
}

impl Server {
    pub(crate) fn start(data: &Path, flags: &[&str]) -> Self {
        Self::start_by(Command::new(program()), data, flags)
    }

    /// Starts it by a command that ends in the program, such as a tracer.
    pub(crate) fn start_by(command: Command, data: &Path, flags: &[&str]) -> Self {
        let mut child = spawn(command, data, flags);
        let mut lines = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        let mut log = String::new();
        let address = loop {
            let before = log.len();
            assert_ne!(lines.read_line(&mut log).unwrap_or(0), 0, "the server ended before it listened:\n{log}");
            if let Some((_, address)) = log[before..].split_once("listening on http://") {
                break address.trim().to_owned();
            }
        };
        // Whoever does not read a pipe stops the one who writes to it.
        let log = std::thread::spawn(move || {
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                log.push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
            log
        });
        Self { child, address, log: Some(log) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`. What it wrote into its log of trouble, and the last that it wrote.
    pub(crate) fn kill(mut self) -> String {
        let _ = self.child.kill();
        self.ended()
    }

    /// Waits for its end, which somebody else has seen to.
    pub(crate) fn ended(&mut self) -> String {
        let _ = self.child.wait();
        let log = self.log.take().and_then(|log| log.join().ok()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let troubled = |line: &&&str| [" ERROR ", " WARN ", "panicked"].iter().any(|word| line.contains(word));
        let trouble = lines.iter().filter(troubled);
        let last = &lines[lines.len().saturating_sub(5)..];
        trouble.chain(last).map(|line| format!("{line}\n")).collect()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program without waiting until it listens.
pub(crate) fn spawn(mut command: Command, data: &Path, flags: &[&str]) -> Child {
    command.arg("serve").args(["--addr", "127.0.0.1:0"]).arg("--data").arg(data).args(flags);
    command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A directory for a test. In memory where that can be: what is tested here is the order of writes and not a disk.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.or_else(|_| TempDir::new()).expect("a directory can be made")
}
