//! The built program, run as an operator runs it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use orlop::Engines;

use crate::program::program;

/// How long the program may take for anything, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(120);

/// `orlop`, with these arguments. It is built when the first test asks for it.
pub(crate) fn orlop(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("ORLOP_CONFIG", "").stdin(Stdio::null());
    command
}

/// Has it use these engines, with the options of the store where its tools have them.
pub(crate) fn on<'c>(engines: &Engines, command: &'c mut Command) -> &'c mut Command {
    for (name, value) in &engines.options {
        command.env(format!("AWS_{}", name.to_uppercase()), value);
    }
    command.env("ORLOP_RECORDS", &engines.records).env("ORLOP_OBJECTS", &engines.objects)
}

/// What it says, if it ends in time.
pub(crate) fn ended(command: &mut Command) -> Output {
    command.output().expect("orlop runs")
}

/// What it says when it refuses to do something.
pub(crate) fn refusal(command: &mut Command) -> String {
    let ended = ended(command.env("ORLOP_ADDR", "127.0.0.1:0"));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    told
}

/// Tells a process to end, unless it has.
pub(crate) fn terminate(process: &Child) {
    let _ = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().expect("kill runs");
}

/// A server that runs.
pub(crate) struct Server {
    process: Child,
    address: String,
    /// What it has said until it listened.
    said: String,
}

impl Server {
    /// Starts one, and waits until it listens.
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.env("ORLOP_ADDR", "127.0.0.1:0").stderr(Stdio::piped());
        let mut process = command.spawn().expect("orlop runs");
        let mut log = BufReader::new(process.stderr.take().expect("it has a log"));
        let (mut line, mut all) = (String::new(), String::new());
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).expect("its log is text") > 0, "it does not start:\n{all}");
            all.push_str(&line);
            if let Some((_, address)) = line.trim().split_once("listening on http://") {
                break address.to_owned();
            }
        };
        std::thread::spawn(move || drop(std::io::copy(&mut log, &mut std::io::sink())));
        Self { process, address, said: all }
    }

    /// The address it listens on, with the port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it has said until it listened.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// Asks something of it: status, header fields in small letters, and body.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let body = answer.split_off(end + 4);
        let head = String::from_utf8(answer).expect("text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head.to_lowercase(), body)
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
        let began = Instant::now();
        while self.process.try_wait().expect("a process").is_none() {
            assert!(began.elapsed() < PATIENCE, "it does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The value of a header field.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
