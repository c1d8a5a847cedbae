//! A way to an object store on which things go wrong, as they do with real ones: it asks to slow down, tells an error in
//! an answer of 200, its answers are lost or slow, and connections are cut at any byte.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orlop_conformance::tester::chance::Chance;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It is not done: 503, as S3 says it.
    SlowDown,
    /// It is not done, and its answer of 200 says so in its body. S3 does this to requests that end an upload.
    ErrorInside,
    /// It is done, and the connection breaks before the answer.
    AnswerLost,
    /// It is done, and the answer comes slowly.
    Slow,
    /// It is done, and the answer stands still for so long after its head.
    Pause(Duration),
    /// It is done, and the connection breaks after that part of the answer, of 1000.
    CutAnswer(usize),
    /// The connection breaks after that part of the request, of 1000.
    CutRequest(usize),
}

/// A request of HTTP/1.1.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
}

impl Asked {
    /// Whether it ends an upload of parts.
    pub(crate) fn completes(&self) -> bool {
        self.method == "POST" && self.target.contains("uploadId=")
    }
}

type Choose = dyn Fn(&Asked) -> Option<Fault> + Send + Sync;

/// A way to a server of objects.
pub(crate) struct Faulty {
    pub(crate) port: u16,
    /// What went wrong, and how often.
    happened: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Faulty {
    /// A way to a port of this machine, on which goes wrong what is chosen.
    pub(crate) async fn to(port: u16, choose: impl Fn(&Asked) -> Option<Fault> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let choose: Arc<Choose> = Arc::new(choose);
        let happened: Arc<Mutex<BTreeMap<&'static str, usize>>> = Arc::default();
        let counting = happened.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (choose, counting) = (choose.clone(), counting.clone());
                tokio::spawn(async move { pass(client, port, &*choose, &counting).await });
            }
        });
        Self { port: address.port(), happened }
    }

    /// One on which anything goes wrong with one request in so many; without cuts within answers, only what Orlop makes
    /// good by itself.
    pub(crate) async fn by_chance(port: u16, seed: u64, once_in: usize, cuts_answers: bool) -> Self {
        let chance = Mutex::new(Chance::of(seed, "faults of the object store"));
        let choose = move |asked: &Asked| {
            let mut chance = chance.lock().expect("nobody panics");
            if !chance.once_in(once_in) {
                return None;
            }
            Some(match chance.below(7) {
                0 | 1 => Fault::SlowDown,
                2 if asked.completes() => Fault::ErrorInside,
                2 | 3 => Fault::AnswerLost,
                4 => Fault::Slow,
                5 if cuts_answers => Fault::CutAnswer(chance.below(1000)),
                _ => Fault::CutRequest(chance.below(1000)),
            })
        };
        Self::to(port, choose).await
    }

    /// What went wrong, and how often.
    pub(crate) fn happened(&self) -> BTreeMap<&'static str, usize> {
        self.happened.lock().expect("nobody panics").clone()
    }
}

async fn pass(mut client: TcpStream, port: u16, choose: &Choose, happened: &Mutex<BTreeMap<&'static str, usize>>) {
    let _ = client.set_nodelay(true);
    let mut server: Option<TcpStream> = None;
    while let Ok(Some((asked, request))) = request(&mut client).await {
        let fault = choose(&asked);
        if let Some(fault) = fault {
            let name = match fault {
                Fault::SlowDown => "slow down",
                Fault::ErrorInside => "error in 200",
                Fault::AnswerLost => "answer lost",
                Fault::Slow => "slow",
                Fault::Pause(_) => "pause",
                Fault::CutAnswer(_) => "answer cut",
                Fault::CutRequest(_) => "request cut",
            };
            *happened.lock().expect("nobody panics").entry(name).or_default() += 1;
        }
        let answer = match fault {
            Some(Fault::SlowDown) => told("503 Slow Down", "SlowDown"),
            Some(Fault::ErrorInside) => told("200 OK", "InternalError"),
            _ => {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                let upstream = match &mut server {
                    Some(upstream) => upstream,
                    None => match TcpStream::connect(address).await {
                        Ok(connected) => server.insert(connected),
                        Err(_) => return,
                    },
                };
                let cut = match fault {
                    Some(Fault::CutRequest(part)) => request.len() * part / 1000,
                    _ => request.len(),
                };
                if upstream.write_all(&request[..cut]).await.is_err() || cut < request.len() {
                    return;
                }
                match answer(upstream, &asked.method).await {
                    Ok(answer) => answer,
                    Err(_) => return,
                }
            }
        };
        let sent = match fault {
            Some(Fault::AnswerLost) => return,
            Some(Fault::CutAnswer(part)) => {
                let _ = client.write_all(&answer[..answer.len() * part / 1000]).await;
                return;
            }
            Some(Fault::Slow) => slowly(&mut client, &answer).await,
            Some(Fault::Pause(pause)) => paused(&mut client, &answer, pause).await,
            _ => client.write_all(&answer).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn slowly(client: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    for piece in answer.chunks(answer.len().div_ceil(10).max(1)) {
        tokio::time::sleep(Duration::from_millis(30)).await;
        client.write_all(piece).await?;
    }
    Ok(())
}

async fn paused(client: &mut TcpStream, answer: &[u8], pause: Duration) -> io::Result<()> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let (head, body) = answer.split_at(end);
    client.write_all(head).await?;
    tokio::time::sleep(pause).await;
    client.write_all(body).await
}

fn told(status: &str, code: &str) -> Vec<u8> {
    let body =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}").into()
}

/// The next request as its bytes; none when there is none any more.
async fn request(client: &mut TcpStream) -> io::Result<Option<(Asked, Vec<u8>)>> {
    let Some(mut bytes) = head(client).await? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut words = text.split(' ');
    let asked = Asked {
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
    };
    assert!(field(&text, "transfer-encoding").is_none(), "object stores want to know how long a body is");
    let length = field(&text, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    exactly(client, &mut bytes, length).await?;
    Ok(Some((asked, bytes)))
}

/// An answer as its bytes.
async fn answer(server: &mut TcpStream, method: &str) -> io::Result<Vec<u8>> {
    let Some(mut bytes) = head(server).await? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).unwrap_or_default().to_owned();
    if method == "HEAD" || status == "204" || status == "304" {
        return Ok(bytes);
    }
    if field(&text, "transfer-encoding").is_some() {
        let mut last = String::new();
        while last != "0" {
            let begin = bytes.len();
            while !bytes[begin..].ends_with(b"\r\n") {
                bytes.push(server.read_u8().await?);
            }
            last = String::from_utf8_lossy(&bytes[begin..bytes.len() - 2]).into_owned();
            let size = usize::from_str_radix(&last, 16).map_err(io::Error::other)?;
            exactly(server, &mut bytes, size + 2).await?;
        }
        return Ok(bytes);
    }
    let length = field(&text, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    exactly(server, &mut bytes, length).await?;
    Ok(bytes)
}

/// Everything up to an empty line.
async fn head(from: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match from.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) if bytes.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(bytes))
}

async fn exactly(from: &mut TcpStream, bytes: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let begin = bytes.len();
    bytes.resize(begin + length, 0);
    from.read_exact(&mut bytes[begin..]).await.map(drop)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let named = |line: &'a str| line.split_once(':').filter(|(given, _)| given.eq_ignore_ascii_case(name));
    head.lines().find_map(named).map(|(_, value)| value.trim())
}
