//! An HTTP client that costs as little as can be: it blocks, and it throws bodies away inside the kernel, so that what
//! is measured is the server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;

use crate::Outcome;

/// How many bytes are thrown away at once.
const DISCARDED: usize = 1 << 20;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to a server, used again for each request.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    /// What was read and not used yet.
    rest: Vec<u8>,
    scrap: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    text: String,
}

impl Head {
    /// A header field; names are compared without regard to case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.text.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn length(&self) -> Option<usize> {
        self.field("content-length")?.parse().ok()
    }

    /// Fails when the status is another.
    pub(crate) fn expect(&self, statuses: &[u16]) -> Outcome<()> {
        if statuses.contains(&self.status) { Ok(()) } else { Err(format!("answered {}", self.text).into()) }
    }
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { address, stream, rest: Vec::new(), scrap: Vec::new() })
    }

    /// Sends the head of a request; `fields` are whole lines.
    pub(crate) fn begin(&mut self, method: &str, target: &str, fields: &str) -> Outcome<()> {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.address);
        self.send(head.as_bytes())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Sends a piece of a body in chunked framing; an empty one ends it.
    pub(crate) fn send_chunk(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.send(format!("{:x}\r\n", bytes.len()).as_bytes())?;
        self.send(bytes)?;
        self.send(b"\r\n")
    }

    /// One request with a body in memory, and its answer.
    pub(crate) fn exchange(
        &mut self,
        method: &str,
        target: &str,
        fields: &str,
        body: &[u8],
    ) -> Outcome<(Head, Vec<u8>)> {
        let length = if body.is_empty() && matches!(method, "GET" | "HEAD") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{fields}{length}\r\n", self.address);
        if body.len() < 64 << 10 {
            self.send(&[head.as_bytes(), body].concat())?;
        } else {
            self.send(head.as_bytes())?;
            self.send(body)?;
        }
        let head = self.head()?;
        let body = if method == "HEAD" { Vec::new() } else { self.body(&head)? };
        self.renew_after(&head)?;
        Ok((head, body))
    }

    /// The head of the answer.
    pub(crate) fn head(&mut self) -> Outcome<Head> {
        loop {
            if let Some(end) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.rest[..end]).into_owned();
                self.rest.drain(..end + 4);
                let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
                if status == 100 {
                    continue;
                }
                return Ok(Head { status, text });
            }
            self.read_more()?;
        }
    }

    /// Throws the body away, and says how long it was.
    pub(crate) fn discard(&mut self, head: &Head) -> Outcome<usize> {
        let Some(length) = head.length() else { return Ok(self.body(head)?.len()) };
        let mut left = length;
        let had = left.min(self.rest.len());
        self.rest.drain(..had);
        left -= had;
        self.scrap.resize(DISCARDED, 0);
        while left > 0 {
            // The kernel forgets the bytes instead of copying them.
            let most = left.min(DISCARDED);
            let (_, thrown) = rustix::net::recv(&self.stream, &mut self.scrap[..most], RecvFlags::TRUNC)?;
            if thrown == 0 {
                return Err("the server broke off".into());
            }
            left -= thrown;
        }
        Ok(length)
    }

    fn body(&mut self, head: &Head) -> Outcome<Vec<u8>> {
        if head.status == 204 || head.status == 304 {
            return Ok(Vec::new());
        }
        if let Some(length) = head.length() {
            return self.take(length);
        }
        if head.field("transfer-encoding").is_none() {
            return Ok(Vec::new());
        }
        let mut body = Vec::new();
        loop {
            let end = loop {
                match self.rest.windows(2).position(|window| window == b"\r\n") {
                    Some(end) => break end,
                    None => self.read_more()?,
                }
            };
            let line = String::from_utf8_lossy(&self.rest[..end]).into_owned();
            self.rest.drain(..end + 2);
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)?;
            let chunk = self.take(size)?;
            self.take(2)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    fn take(&mut self, count: usize) -> Outcome<Vec<u8>> {
        while self.rest.len() < count {
            self.read_more()?;
        }
        let rest = self.rest.split_off(count);
        Ok(std::mem::replace(&mut self.rest, rest))
    }

    fn read_more(&mut self) -> Outcome<()> {
        let mut piece = [0; 16 << 10];
        let read = self.stream.read(&mut piece)?;
        if read == 0 {
            return Err("the server closed the connection".into());
        }
        self.rest.extend_from_slice(&piece[..read]);
        Ok(())
    }

    /// Connects again when the server is about to close.
    pub(crate) fn renew_after(&mut self, head: &Head) -> Outcome<()> {
        if head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            *self = Self::open(self.address)?;
        }
        Ok(())
    }
}

/// How a blob is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// One PATCH of unknown length, then an empty PUT: docker.
    Streamed,
    /// One PUT with the whole of it: containerd.
    Monolithic,
    /// PATCHes of so many bytes, then an empty PUT.
    Chunked(usize),
}

/// Pushes a blob whose pieces `pieces` gives, `length` bytes in all, and says how long the request took that ended it.
pub(crate) fn push_blob<'b>(
    connection: &mut Connection,
    repository: &str,
    digest: &str,
    length: usize,
    pieces: impl Iterator<Item = &'b [u8]>,
    way: Way,
) -> Outcome<Duration> {
    let (head, _) = connection.exchange("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[])?;
    head.expect(&[202])?;
    let mut location = target(&head)?;
    let octets = "Content-Type: application/octet-stream\r\n";
    if way == Way::Monolithic {
        let began = Instant::now();
        let fields = format!("{octets}Content-Length: {length}\r\n");
        connection.begin("PUT", &with_digest(&location, digest), &fields)?;
        for piece in pieces {
            connection.send(piece)?;
        }
        let head = connection.head()?;
        connection.discard(&head)?;
        connection.renew_after(&head)?;
        head.expect(&[201])?;
        return Ok(began.elapsed());
    }
    if way == Way::Streamed {
        connection.begin("PATCH", &location, &format!("{octets}Transfer-Encoding: chunked\r\n"))?;
        for piece in pieces {
            connection.send_chunk(piece)?;
        }
        connection.send_chunk(&[])?;
        let head = connection.head()?;
        head.expect(&[202])?;
        connection.discard(&head)?;
        connection.renew_after(&head)?;
        location = target(&head)?;
    } else if let Way::Chunked(size) = way {
        let mut from = 0;
        let mut chunk: Vec<&[u8]> = Vec::new();
        let mut pieces = pieces.peekable();
        while let Some(piece) = pieces.next() {
            chunk.push(piece);
            let bytes: usize = chunk.iter().map(|piece| piece.len()).sum();
            if bytes < size && pieces.peek().is_some() {
                continue;
            }
            let to = from + bytes;
            let fields = format!("{octets}Content-Length: {bytes}\r\nContent-Range: {from}-{}\r\n", to - 1);
            connection.begin("PATCH", &location, &fields)?;
            for piece in chunk.drain(..) {
                connection.send(piece)?;
            }
            let head = connection.head()?;
            head.expect(&[202])?;
            connection.discard(&head)?;
            connection.renew_after(&head)?;
            (location, from) = (target(&head)?, to);
        }
    }
    let began = Instant::now();
    connection.exchange("PUT", &with_digest(&location, digest), "", &[])?.0.expect(&[201])?;
    Ok(began.elapsed())
}

/// Pushes a manifest under a tag or its digest.
pub(crate) fn push_manifest(
    connection: &mut Connection,
    repository: &str,
    reference: &str,
    manifest: &[u8],
) -> Outcome<()> {
    let fields = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
    let target = format!("/v2/{repository}/manifests/{reference}");
    connection.exchange("PUT", &target, fields, manifest)?.0.expect(&[201])
}

fn with_digest(location: &str, digest: &str) -> String {
    let sign = if location.contains('?') { '&' } else { '?' };
    format!("{location}{sign}digest={digest}")
}

/// Where the server says to go on, without scheme and host.
fn target(head: &Head) -> Outcome<String> {
    let location = head.field("location").ok_or("no Location")?;
    let after_scheme = location.split_once("://").map_or(location, |(_, rest)| rest);
    let path = after_scheme.find('/').ok_or("a Location without a path")?;
    Ok(after_scheme[path..].to_owned())
}
