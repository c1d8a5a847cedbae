//! A registry that answers calls: the server behind a connection, or the disk host in this process.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use orlop::{Host, OpenError, Options, RequestBody};
use orlop_conformance::system::Call;
use orlop_core::effect::Load;
use orlop_core::step::start;
use orlop_core::{Ambient, Body, Config, Piece, Registry, Report, Timestamp};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::random::Random;

/// Longer than any answer takes, also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whatever answers calls.
pub(crate) trait Served {
    /// Makes a call. No answer is an error: the other side has died, or the call was one to be cut off.
    fn send(&mut self, call: &Call) -> io::Result<Reply>;
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body[..self.body.len().min(300)]))
    }
}

/// A client of the server, on one connection until that breaks.
pub(crate) struct Client {
    address: String,
    stream: Option<TcpStream>,
    /// How many requests went over this connection.
    asked: usize,
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.into(), stream: None, asked: 0 }
    }

    /// Where the next request will go: the port of this side, and how many requests went there before.
    pub(crate) fn next_place(&mut self) -> io::Result<(u16, usize)> {
        Ok((self.connected()?.local_addr()?.port(), self.asked))
    }

    fn connected(&mut self) -> io::Result<&TcpStream> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
            self.asked = 0;
        }
        self.stream.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn exchange(&mut self, call: &Call) -> io::Result<Reply> {
        let mut stream = self.connected()?;
        let mut head = format!("{} {} HTTP/1.1\r\nHost: orlop\r\n", call.request.method, call.request.target);
        for (name, value) in call.request.headers.iter() {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", call.request.length.unwrap_or_default());
        // An answer may come before the body is read to its end; then what is left to write fails, and it is the
        // answer that counts.
        let written = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&call.body.bytes));
        if call.body.cut {
            stream.shutdown(Shutdown::Both)?;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let (reply, keep) = read_reply(&mut stream).map_err(|error| written.err().unwrap_or(error))?;
        self.asked += 1;
        if !keep {
            self.stream = None;
        }
        Ok(reply)
    }
}

impl Served for Client {
    fn send(&mut self, call: &Call) -> io::Result<Reply> {
        self.exchange(call).inspect_err(|_| self.stream = None)
    }
}

/// Reads an answer, and whether the connection can be used again.
fn read_reply(stream: &mut &TcpStream) -> io::Result<(Reply, bool)> {
    let mut read = Vec::new();
    let mut buffer = [0; 16 << 10];
    let head = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            some => read.extend_from_slice(&buffer[..some]),
        }
    };
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let text = std::str::from_utf8(&read[..head]).map_err(|_| broken())?;
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(broken)?;
    let headers = lines.filter_map(|line| line.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned())));
    let mut reply = Reply { status, headers: headers.collect(), body: Bytes::new() };
    let length = reply.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let keep = reply.header("connection") != Some("close");
    let mut body = read.split_off(head);
    let there = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[there..])?;
    reply.body = body.into();
    Ok((reply, keep))
}

/// The registry on the disk host, in this process.
pub(crate) struct InProcess {
    runtime: Runtime,
    host: Host,
    registry: Registry,
    random: Random,
}

impl InProcess {
    /// Opens a data directory.
    pub(crate) fn open(data: &Path) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let options = Options { cache: 1 << 20, keep_free: 0, ..Options::default() };
        let began = Instant::now();
        let host = loop {
            match Host::open(data, &options) {
                Ok(host) => break host,
                // A program that another test starts holds the lock of whoever had the directory open in this process,
                // from its fork until its exec.
                Err(OpenError::InUse(_)) if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => return Err(format!("the store does not open: {error}")),
            }
        };
        Ok(Self { runtime, host, registry: Registry::new(Config::default()), random: Random::new(1) })
    }

    fn ambient(&mut self) -> Ambient {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nonce = u128::from(self.random.word()) << 64 | u128::from(self.random.word());
        Ambient { now: Timestamp(now.as_millis() as u64), nonce: Uuid::from_u128(nonce) }
    }

    /// Collects garbage as if every call, session and grace were long over.
    pub(crate) fn gc_everything(&mut self) -> Report {
        let over = Duration::ZERO;
        let config = Config { upload_lifetime: over, blob_grace: over, call_lifetime: over, ..Config::default() };
        let registry = Registry::new(config);
        let mut collect = || {
            // Ages count from now on, and what is younger than nothing at all is not collected.
            std::thread::sleep(Duration::from_millis(5));
            let step = registry.gc(self.ambient());
            self.runtime.block_on(self.host.run(step, &mut RequestBody::empty()))
        };
        // What was deleted is purged first: from then on its blobs have their grace.
        collect();
        collect()
    }

    /// Performs one effect of the core.
    pub(crate) fn ask<E: orlop_core::Effect>(&self, effect: E) -> Result<E::Outcome, String> {
        let step = start(|io| async move { io.ask(effect).await });
        self.runtime.block_on(self.host.run(step, &mut RequestBody::empty())).map_err(|fault| fault.to_string())
    }
}

impl Served for InProcess {
    fn send(&mut self, call: &Call) -> io::Result<Reply> {
        let bytes = call.body.bytes.clone();
        let mut body = if call.body.cut { RequestBody::cut_after(bytes) } else { RequestBody::from_bytes(bytes) };
        let ambient = self.ambient();
        let step = self.registry.call(call.request.clone(), ambient);
        let response = self.runtime.block_on(self.host.run(step, &mut body));
        let headers = response.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        let body = match response.body {
            Body::Empty => Bytes::new(),
            Body::Bytes(bytes) => bytes,
            Body::Coming(_) | Body::Relayed => return Err(io::Error::other("there is no upstream")),
            Body::Pieces(pieces) => {
                let mut bytes = Vec::new();
                for piece in pieces.into_sent() {
                    match piece {
                        Piece::Bytes(piece) => bytes.extend_from_slice(&piece),
                        // The requests of these tests have no ranges.
                        Piece::Slice(object, _) => {
                            let load = Load { objects: vec![object], limit: u64::MAX };
                            let loaded = self.ask(load).map_err(io::Error::other)?;
                            let gone = || io::Error::other(format!("the object {object} is gone"));
                            bytes.extend_from_slice(&loaded.ok_or_else(gone)?);
                        }
                    }
                }
                bytes.into()
            }
        };
        if let Some(fault) = response.fault {
            return Err(io::Error::other(format!("{call}: {} {fault}", response.status)));
        }
        Ok(Reply { status: response.status, headers, body })
    }
}
