//! `orlop serve` with a configuration file.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use hyper::Response;
use hyper::body::Incoming;
use orlop_conformance::image::{Manifest, sha256};

use crate::client::{self, Answer};
use crate::program::program;

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running `orlop serve`. It is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    /// Host and port.
    pub(crate) address: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts a server on a data directory, with the text of a configuration file and these flags.
    pub(crate) fn start(data: &Path, configuration: &str, flags: &[&str]) -> Self {
        let file = data.with_extension("toml");
        fs::write(&file, configuration).expect("a file");
        let mut command = Command::new(program());
        command.args(["serve", "--addr", "127.0.0.1:0", "--config"]).arg(&file).arg("--data").arg(data);
        // All clients have one address.
        command.args(["--max-client-requests", "512"]).args(flags);
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        let mut text = String::new();
        let address = loop {
            let before = text.len();
            assert_ne!(lines.read_line(&mut text).unwrap_or(0), 0, "the server ended before it listened:\n{text}");
            if let Some((_, address)) = text[before..].split_once("listening on http://") {
                break address.trim().to_owned();
            }
        };
        let log = Arc::new(Mutex::new(text));
        let into = log.clone();
        // A pipe that is not read stops its writer.
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut log = into.lock().expect("no test panicked in it");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, data: data.to_owned(), address, log }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no test panicked in it").clone()
    }

    /// Waits until the log has these words in it.
    pub(crate) async fn logs(&self, words: &str) {
        eventually(|| self.log().contains(words), || format!("`{words}` is not logged:\n{}", self.log())).await;
    }

    /// That every byte of the data directory is what its record says. Of a server that has ended.
    pub(crate) fn is_in_order(&self) {
        let checked =
            Command::new(program()).args(["check", "--data"]).arg(&self.data).env("ORLOP_CONFIG", "").output();
        let checked = checked.expect("it runs");
        let told = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{told}");
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[]).await
    }

    pub(crate) async fn head(&self, target: &str) -> Answer {
        self.ask("HEAD", target, &[]).await
    }

    /// A request without a body.
    pub(crate) async fn ask(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        client::ask(&self.address, method, target, fields).await
    }

    /// A request whose answer's body is not read.
    pub(crate) async fn begin(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Response<Incoming> {
        client::send(&self.address, method, target, fields, Bytes::new()).await
    }

    /// Pushes a blob in one request. Its digest.
    pub(crate) async fn push_blob(&self, repository: &str, bytes: &Bytes) -> String {
        let digest = sha256(bytes);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let response = client::send(&self.address, "POST", &target, &[], bytes.clone()).await;
        assert_eq!(response.status(), 201, "POST {target}");
        digest
    }

    /// Pushes a manifest and the blobs that it needs.
    pub(crate) async fn push(&self, repository: &str, reference: &str, pushed: &Manifest) {
        for blob in pushed.blobs() {
            self.push_blob(repository, blob).await;
        }
        let target = format!("/v2/{repository}/manifests/{reference}");
        let fields = [("content-type", pushed.media_type())];
        let response = client::send(&self.address, "PUT", &target, &fields, pushed.bytes()).await;
        assert_eq!(response.status(), 201, "PUT {target}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Makes a file of passwords with a user in it.
pub(crate) fn add_user(file: &Path, name: &str, password: &str) {
    let mut command = Command::new(program());
    command.args(["user", "add", name, "--auth-htpasswd"]).arg(file).env("ORLOP_CONFIG", "");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the program can be started");
    let written = child.stdin.take().expect("a pipe").write_all(password.as_bytes());
    assert!(written.is_ok() && child.wait().is_ok_and(|ended| ended.success()), "no user was added");
}

/// Waits until something is so.
pub(crate) async fn eventually(mut is_so: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{}", otherwise());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
