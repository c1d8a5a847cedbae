//! A server that was started for a test, and the plainest of clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orlop_core::digest::Algorithm;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `orlop serve` with a data directory of its own.
pub(crate) struct Started {
    child: Child,
    address: String,
    data: PathBuf,
    told: Arc<Mutex<String>>,
    _directory: Option<TempDir>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Started {
    /// Starts a server with these flags.
    pub(crate) fn with(flags: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("data");
        let mut started = Self::on(&path, flags);
        started._directory = Some(directory);
        started
    }

    /// Starts a server on that data directory.
    pub(crate) fn on(data: &Path, flags: &[&str]) -> Self {
        Self::by(orlop("serve", data).args(["--addr", "127.0.0.1:0"]).args(flags), data)
    }

    /// Starts a server with that command line.
    pub(crate) fn by(command: &mut Command, data: &Path) -> Self {
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server ended before it listened");
            if let Some((_, address)) = line.split_once("listening on http").and_then(|(_, rest)| rest.split_once("//"))
            {
                break address.trim().split('"').next().unwrap().to_owned();
            }
        };
        let told = Arc::new(Mutex::new(String::new()));
        // Whoever does not read a pipe stops the one who writes to it.
        let keep = told.clone();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                keep.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { child, address, data: data.to_owned(), told, _directory: None }
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection from another address of this machine.
    pub(crate) fn connect_from(&self, from: [u8; 4]) -> TcpStream {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
        // No server that is started meanwhile is to inherit it.
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &SocketAddr::from((from, 0))).unwrap();
        connect(&socket, &self.address.parse::<SocketAddr>().unwrap()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A chunk of two bytes of which one is sent, to a server that has no room for another request meanwhile.
    pub(crate) fn half_a_chunk(&self, session: &str) -> TcpStream {
        let half = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na");
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let mut stream = self.connect();
            stream.write_all(half.as_bytes()).unwrap();
            let no_room = || self.get("/v2/").status == 429;
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            // While a request before it is still ending, it is the chunk that is told to come again.
            if no_room() && stream.peek(&mut [0]).is_err() && no_room() {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            assert!(std::time::Instant::now() < deadline, "there is always or never room");
        }
    }

    /// What the server has logged since it listened.
    pub(crate) fn log(&self) -> String {
        self.told.lock().unwrap().clone()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request with a body and reads the answer.
    pub(crate) fn send(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        self.send_as("", method, target, body)
    }

    /// Sends a request with these header fields, each with its line end, and reads the answer.
    pub(crate) fn send_as(&self, fields: &str, method: &str, target: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {}\r\n", body.len());
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
        let mut sending = stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            // An answer may come before the body is sent, and then the rest of the body is not wanted.
            scope.spawn(move || sending.write_all(body));
            answer(&mut stream, method == "HEAD")
        })
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, b"")
    }

    /// Opens an upload session and returns its path.
    pub(crate) fn session(&self) -> String {
        let opened = self.send("POST", "/v2/a/blobs/uploads/", b"");
        assert_eq!(opened.status, 202, "{opened:?}");
        opened.header("location").unwrap()
    }

    /// Pushes a blob in one request and returns the answer and the path of the blob.
    pub(crate) fn push(&self, bytes: &[u8]) -> (Answer, String) {
        let digest = Algorithm::Sha256.digest(bytes);
        let pushed = self.send("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), bytes);
        (pushed, format!("/v2/a/blobs/{digest}"))
    }

    /// How many bytes of a session are there, as its `Range` tells.
    pub(crate) fn received(&self, session: &str) -> u64 {
        let status = self.get(session);
        assert_eq!(status.status, 204, "{status:?}");
        let range = status.header("range").unwrap();
        range.split_once('-').unwrap().1.parse::<u64>().unwrap() + 1
    }

    /// A line of `/proc/<pid>/status` in KiB, such as `VmHWM`, the most memory there ever was.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the server to end; whether it was content.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, with its output to be read.
pub(crate) fn orlop(command: &str, data: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_orlop"));
    program.args(command.split(' ')).arg("--data").arg(data).env("NO_COLOR", "1");
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    program
}

/// Reads one answer.
pub(crate) fn answer(stream: &mut impl Read, to_head: bool) -> Answer {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    answer.body.resize(if to_head { 0 } else { length }, 0);
    stream.read_exact(&mut answer.body).unwrap();
    answer
}

impl Answer {
    /// Every field of that name.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let value = |line: &str| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        self.head.lines().find_map(value)
    }
}

/// Waits for something to become true.
pub(crate) fn eventually(mut truth: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !truth() {
        assert!(std::time::Instant::now() < deadline, "it did not become true");
        std::thread::sleep(Duration::from_millis(20));
    }
}
