//! Servers that do the least that can be done: what is above them is the cost of being a registry.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::Outcome;

/// What is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Any GET is answered from memory by axum, with the headers of a manifest.
    #[default]
    Answer,
    /// The body of any PUT is hashed and written, on one thread a connection, and made durable.
    Push,
    /// The same, each body in a file of its own, whose name and a record of it are durable too before the answer.
    Chunks,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Push => "push",
            Self::Chunks => "chunks",
        }
    }
}

/// How many bytes are read at once.
const READ: usize = 256 << 10;

/// Serves for ever.
pub(crate) fn serve(kind: Kind, port: u16, data: &Path) -> Outcome<()> {
    match kind {
        Kind::Answer => answer(port),
        Kind::Push | Kind::Chunks => receive(kind, port, data),
    }
}

/// The size of the manifest that is answered: that of an image of five layers.
const MANIFEST: usize = 1000;

fn answer(port: u16) -> Outcome<()> {
    let body = Bytes::from(vec![b' '; MANIFEST]);
    let digest = HeaderValue::from_str(&crate::data::digest(&body))?;
    let handler = move || {
        let (body, digest) = (body.clone(), digest.clone());
        async move {
            let mut headers = HeaderMap::new();
            let media_type = HeaderValue::from_static("application/vnd.oci.image.manifest.v1+json");
            headers.insert(header::CONTENT_TYPE, media_type);
            headers.insert(HeaderName::from_static("docker-content-digest"), digest);
            (headers, body)
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        use axum::serve::ListenerExt;
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        Ok(axum::serve(listener, Router::new().fallback(handler)).await?)
    })
}

/// How long the record of a chunk is: about what Orlop writes for one.
const RECORD: usize = 1000;

fn receive(kind: Kind, port: u16, data: &Path) -> Outcome<()> {
    fs::create_dir_all(data)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    for (number, stream) in listener.incoming().enumerate() {
        let (stream, path) = (stream?, data.join(number.to_string()));
        std::thread::spawn(move || {
            let done = match kind {
                Kind::Chunks => receive_chunks(stream, &path),
                _ => receive_into(stream, || Ok(File::create(&path)?), || Ok(())),
            };
            if let Err(error) = done {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

/// Takes chunks into files in a directory, until the client goes away.
fn receive_chunks(stream: TcpStream, directory: &Path) -> Outcome<()> {
    fs::create_dir_all(directory)?;
    let (names, mut log) = (File::open(directory)?, File::create(directory.join("log"))?);
    let mut number = 0;
    let begin = || {
        number += 1;
        Ok(File::create_new(directory.join(number.to_string()))?)
    };
    receive_into(stream, begin, || {
        names.sync_all()?;
        log.write_all(&[b'x'; RECORD])?;
        Ok(log.sync_data()?)
    })
}

/// Takes bodies whose length is told, each into a file that it begins, until the client goes away. `record` is called
/// when one is durable, before the answer.
fn receive_into(
    mut stream: TcpStream,
    mut begin: impl FnMut() -> Outcome<File>,
    mut record: impl FnMut() -> Outcome<()>,
) -> Outcome<()> {
    let mut buffer = vec![0; READ];
    loop {
        let (mut had, end) = (0, loop_head(&mut stream, &mut buffer)?);
        let Some((head, filled)) = end else { return Ok(()) };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or("0").trim();
        let mut left: usize = length.parse()?;
        let mut file = begin()?;
        let mut hash = Sha256::new();
        let first = head..filled;
        while left > 0 {
            let piece = if had == 0 && !first.is_empty() {
                &buffer[first.clone()]
            } else {
                let most = left.min(buffer.len());
                let read = stream.read(&mut buffer[..most])?;
                if read == 0 {
                    return Err("the client broke off".into());
                }
                &buffer[..read]
            };
            hash.update(piece);
            file.write_all(piece)?;
            (had, left) = (had + piece.len(), left - piece.len());
        }
        file.sync_data()?;
        record()?;
        let digest = hash.finalize();
        stream
            .write_all(format!("HTTP/1.1 201 Created\r\nContent-Length: 0\r\nETag: {digest:x?}\r\n\r\n").as_bytes())?;
    }
}

/// Reads to the end of a head: where it ends, and how much was read. Nothing when the client is gone.
fn loop_head(stream: &mut TcpStream, buffer: &mut [u8]) -> Outcome<Option<(usize, usize)>> {
    let mut filled = 0;
    loop {
        if let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(Some((end + 4, filled)));
        }
        match stream.read(&mut buffer[filled..])? {
            0 => return Ok(None),
            read => filled += read,
        }
    }
}
