//! Many connections on one thread, each of which asks again as soon as it is answered.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::Outcome;

/// The most bytes that an answer may have here.
const ANSWER: usize = 1 << 20;

/// What came of it.
pub(crate) struct Loaded {
    /// How many requests were answered.
    pub(crate) answered: usize,
    pub(crate) took: Duration,
    /// How long each took, sorted.
    pub(crate) latencies: Vec<Duration>,
}

impl Loaded {
    /// The time within which this share of the requests was answered, in milliseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        percentile(&self.latencies, share)
    }
}

/// The time, in milliseconds, within which this share of sorted latencies lies.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
}

/// One connection.
struct Asking {
    stream: TcpStream,
    answer: Vec<u8>,
    asked: Instant,
}

/// Sends `request` on `connections` connections until `duration` is over, and then waits for the last answers. Each
/// must have the status 200.
pub(crate) fn load(address: SocketAddr, request: &[u8], connections: usize, duration: Duration) -> Outcome<Loaded> {
    let is_head = request.starts_with(b"HEAD ");
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut asking = Vec::with_capacity(connections);
    for index in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        asking.push(Asking { stream, answer: Vec::new(), asked: Instant::now() });
    }
    let began = Instant::now();
    for connection in &mut asking {
        connection.ask(request)?;
    }
    let (mut open, mut latencies) = (connections, Vec::new());
    let mut events = Vec::with_capacity(connections);
    let mut piece = vec![0; 64 << 10];
    while open > 0 {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in &events {
            let connection = &mut asking[event.data.u64() as usize];
            if !connection.read(&mut piece, is_head)? {
                continue;
            }
            latencies.push(connection.asked.elapsed());
            connection.answer.clear();
            if began.elapsed() < duration {
                connection.ask(request)?;
            } else {
                open -= 1;
            }
        }
    }
    let took = began.elapsed();
    latencies.sort_unstable();
    Ok(Loaded { answered: latencies.len(), took, latencies })
}

impl Asking {
    fn ask(&mut self, request: &[u8]) -> Outcome<()> {
        self.asked = Instant::now();
        // A request that is small fits into an empty socket.
        Ok(self.stream.write_all(request)?)
    }

    /// Reads what is there; true when it is the whole answer.
    fn read(&mut self, piece: &mut [u8], is_head: bool) -> Outcome<bool> {
        match self.stream.read(piece) {
            Ok(0) => return Err("the server closed the connection".into()),
            Ok(read) => self.answer.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let Some(end) = self.answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
        let head = &self.answer[..end];
        if !head.starts_with(b"HTTP/1.1 200") {
            return Err(format!("answered {}", String::from_utf8_lossy(head)).into());
        }
        let length = if is_head { 0 } else { length(head).ok_or("an answer without a length")? };
        if length > ANSWER {
            return Err("an answer that is no small one".into());
        }
        Ok(self.answer.len() >= end + 4 + length)
    }
}

fn length(head: &[u8]) -> Option<usize> {
    let name = b"\r\ncontent-length:";
    let at = head.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))?;
    let value = head[at + name.len()..].split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}
