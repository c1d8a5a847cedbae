//! Processes of `orlop` that share a database and an object store.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use orlop::Engines;
use tempfile::TempDir;

use crate::engines::free_port;
use crate::program::program;

/// How long a process may take until it listens, with an engine that is away meanwhile.
const START: Duration = Duration::from_secs(120);

/// A process that serves at an address which stays its own when it is started again.
pub(crate) struct Serving {
    engines: Engines,
    flags: Vec<String>,
    port: u16,
    child: Child,
    directory: TempDir,
}

impl Serving {
    /// Starts one with these flags, and a directory for a cache if it is to have one.
    pub(crate) fn start(engines: &Engines, flags: &[&str], cache: bool) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        if cache {
            flags.extend(["--object-cache".into(), directory.path().join("cache").display().to_string()]);
        }
        let child = spawn(engines, &flags, port, &directory);
        let mut serving = Self { engines: engines.clone(), flags, port, child, directory };
        serving.wait();
        serving
    }

    /// How many files its cache has.
    pub(crate) fn cached(&self) -> usize {
        let mut files = 0;
        let mut directories = vec![self.directory.path().join("cache/sha256")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => directories.push(path),
                    _ => files += 1,
                }
            }
        }
        files
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.engines, &self.flags, self.port, &self.directory);
        self.wait();
    }

    /// Stops the process where it stands, or lets it go on.
    pub(crate) fn suspend(&self, suspended: bool) {
        let signal = if suspended { "-STOP" } else { "-CONT" };
        let done = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status();
        assert!(done.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// What it has logged of trouble.
    pub(crate) fn trouble(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let troubled = |line: &&str| [" ERROR ", "panicked"].iter().any(|word| line.contains(word));
        log.lines().filter(troubled).map(str::to_owned).collect()
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Waits until it listens. Whoever keeps processes running starts one again that found an engine away.
    fn wait(&mut self) {
        let began = Instant::now();
        while TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).is_err() {
            assert!(began.elapsed() < START, "it does not start:\n{}", self.last_words());
            if let Ok(Some(_)) = self.child.try_wait() {
                sleep(Duration::from_millis(300));
                self.child = spawn(&self.engines, &self.flags, self.port, &self.directory);
            }
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(engines: &Engines, flags: &[String], port: u16, directory: &TempDir) -> Child {
    let log = File::options().create(true).append(true).open(directory.path().join("log")).expect("a log");
    let mut serve = command("serve", engines);
    serve.args(["--addr", &format!("127.0.0.1:{port}"), "--log", "info,orlop::access=off,orlop::audit=off"]);
    serve.args(flags);
    serve.stdout(Stdio::null()).stderr(log).spawn().expect("it is built")
}

fn command(verb: &str, engines: &Engines) -> Command {
    let mut command = Command::new(program());
    command.arg(verb).args(["--records", &engines.records, "--objects", &engines.objects]);
    for (name, value) in &engines.options {
        // What is secret stands in no list of processes.
        match name.as_str() {
            "access_key_id" => command.env("AWS_ACCESS_KEY_ID", value),
            "secret_access_key" => command.env("AWS_SECRET_ACCESS_KEY", value),
            _ => command.args(["--objects-option", &format!("{name}={value}")]),
        };
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Collects garbage as an administrator does, in a process of its own.
pub(crate) fn gc(engines: &Engines) -> Child {
    command("gc", engines).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it is built")
}

/// What a collection came to.
pub(crate) fn ended(gc: Child) -> Output {
    gc.wait_with_output().expect("it ends")
}
