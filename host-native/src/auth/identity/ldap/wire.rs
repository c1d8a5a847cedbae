//! The connection to a directory: encrypted, and with bounds on what comes back.
//!
//! The library that speaks LDAP takes a message for as long and as deeply nested as it says to be, and panics at one that is
//! made up otherwise than answers are. So what a server sends goes through here first, message by message (RFC 4511, section
//! 5.1), and only what is sound and an answer is handed on.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream as Socket;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use url::Url;

/// The largest message, and the most that comes on one connection, in bytes.
const MESSAGE: usize = 1 << 20;
const ALL: usize = 8 << 20;

/// How deeply the elements of a message are nested at most. Those of an entry are four deep.
const DEPTH: usize = 16;

/// The request for StartTLS (RFC 4511, section 4.14): message 1, an extended request of that name.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// The beginning of the answer, behind its length: message 1, an extended response.
const STARTED: (&[u8], u8) = (b"\x02\x01\x01", 0x78);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to a server, and gives the end of a connection to it on which all that comes is sound. It ends when that is dropped.
///
/// # Errors
///
/// What keeps the connection from being made, or from being encrypted.
pub(super) async fn connect(url: &Url, start_tls: bool, tls: &Arc<ClientConfig>) -> Result<Socket, String> {
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let encrypted = url.scheme() == "ldaps";
    let port = url.port().unwrap_or(if encrypted { 636 } else { 389 });
    let mut tcp = TcpStream::connect((host, port)).await.map_err(|error| format!("it cannot be reached: {error}"))?;
    if !encrypted && start_tls {
        begin_tls(&mut tcp).await.map_err(|error| format!("it does not begin with StartTLS: {error}"))?;
    }
    let stream: Box<dyn Stream> = match encrypted || start_tls {
        true => {
            let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host}: {error}"))?;
            let connected = TlsConnector::from(tls.clone()).connect(name, tcp).await;
            Box::new(connected.map_err(|error| format!("the connection cannot be encrypted: {error}"))?)
        }
        false => Box::new(tcp),
    };
    let (ours, theirs) = Socket::pair().map_err(|error| error.to_string())?;
    let ours =
        ours.set_nonblocking(true).and_then(|()| UnixStream::from_std(ours)).map_err(|error| error.to_string())?;
    tokio::spawn(relay(stream, ours));
    Ok(theirs)
}

/// Asks for encryption. What a server sends behind its answer is not looked at: it is not encrypted.
async fn begin_tls(tcp: &mut TcpStream) -> io::Result<()> {
    tcp.write_all(START_TLS).await?;
    let message = read(tcp).await?.ok_or(ErrorKind::UnexpectedEof)?;
    let content = element(&message, 0, message.len()).map_or(message.len(), |element| element.content);
    let (id, kind) = STARTED;
    let response = message[content..].strip_prefix(id).filter(|rest| rest.first() == Some(&kind));
    let code = response.and_then(|response| {
        let inner = element(response, 0, response.len())?.content;
        response.get(inner..inner + 3)?.strip_prefix(b"\x0a\x01")?.first().copied()
    });
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::other(format!("it gives the result code {code}"))),
        None => Err(io::Error::other("its answer is none")),
    }
}

/// Hands on what is said, until either side ends.
async fn relay(stream: Box<dyn Stream>, ours: UnixStream) {
    let (mut from_server, mut to_server) = tokio::io::split(stream);
    let (mut from_library, mut to_library) = ours.into_split();
    let back = async {
        let mut came = 0;
        while let Some(message) = read(&mut from_server).await? {
            came += message.len();
            if came > ALL {
                return Err(io::Error::other(format!("it sends more than {ALL} bytes")));
            }
            to_library.write_all(&message).await?;
        }
        Ok(())
    };
    let forth = async { copy(&mut from_library, &mut to_server).await.map(drop) };
    let ended = tokio::select! {
        ended = back => ended,
        ended = forth => ended,
    };
    if let Err(error) = ended {
        tracing::debug!("a connection to a directory has ended: {error}");
    }
}

/// The next message, if there is one.
///
/// # Errors
///
/// When it is too large, or no message.
async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let wrong = |reason: &str| Err(io::Error::new(ErrorKind::InvalidData, format!("it sends {reason}")));
    let mut message = vec![0; 2];
    match from.read_exact(&mut message).await {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    if message[0] != 0x30 {
        return wrong("what is no message of LDAP");
    }
    let more = usize::from(message[1]);
    let length = match more {
        0..=0x7f => more,
        0x81..=0x84 => {
            let from_here = message.len();
            message.resize(from_here + more - 0x80, 0);
            from.read_exact(&mut message[from_here..]).await?;
            message[from_here..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
        _ => return wrong("a message of no length"),
    };
    if length > MESSAGE {
        return wrong(&format!("a message of more than {MESSAGE} bytes"));
    }
    let from_here = message.len();
    message.resize(from_here + length, 0);
    from.read_exact(&mut message[from_here..]).await?;
    match is_sound(&message) && is_answer(&message).is_some() {
        true => Ok(Some(message)),
        false => wrong("a message that is not sound"),
    }
}

/// An element of BER.
struct Element {
    constructed: bool,
    /// Where its content begins, and where it ends.
    content: usize,
    end: usize,
}

/// The element that begins there and ends within `end`, in the form that LDAP has (RFC 4511, section 5.1).
fn element(bytes: &[u8], at: usize, end: usize) -> Option<Element> {
    let tag = *bytes.get(at)?;
    let first = usize::from(*bytes.get(at + 1)?);
    let (content, length) = match first {
        0..=0x7f => (at + 2, first),
        0x81..=0x84 => {
            let content = at + 2 + first - 0x80;
            (content, bytes.get(at + 2..content)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
        _ => return None,
    };
    let ends = content.checked_add(length).filter(|ends| *ends <= end)?;
    // No tag of LDAP takes a second byte.
    (tag & 0x1f != 0x1f).then_some(Element { constructed: tag & 0x20 != 0, content, end: ends })
}

/// Whether all elements of a message end within those that they are in, and none is nested too deeply.
fn is_sound(message: &[u8]) -> bool {
    let (mut at, mut ends) = (0, vec![message.len()]);
    while let Some(&end) = ends.last() {
        if at == end {
            ends.pop();
            continue;
        }
        let Some(element) = element(message, at, end) else { return false };
        at = element.end;
        if element.constructed {
            if ends.len() > DEPTH {
                return false;
            }
            ends.push(element.end);
            at = element.content;
        }
    }
    true
}

/// A part of a message, and the tag that says what it is.
type Part<'m> = (u8, &'m [u8]);

/// The elements that a part of a sound message is made up of.
fn parts(within: &[u8]) -> Option<Vec<Part<'_>>> {
    let (mut at, mut parts) = (0, Vec::new());
    while at < within.len() {
        let Element { content, end, .. } = element(within, at, within.len())?;
        parts.push((within[at], &within[content..end]));
        at = end;
    }
    Some(parts)
}

fn is_text((tag, bytes): &Part<'_>) -> Option<()> {
    (*tag == 0x04 && std::str::from_utf8(bytes).is_ok()).then_some(())
}

/// Sees that a message is made up as the answers to a bind and a search are: an id, the answer, and maybe controls.
fn is_answer(message: &[u8]) -> Option<()> {
    let whole = element(message, 0, message.len())?;
    let told = parts(&message[whole.content..whole.end])?;
    let [(0x02, id), (operation, answer), rest @ ..] = &told[..] else { return None };
    if !(1..=4).contains(&id.len()) {
        return None;
    }
    match rest {
        [] => {}
        // Active Directory puts the name of a notice here.
        [(0x8a, _)] => {}
        [(0xa0, controls)] => {
            for (tag, control) in parts(controls)? {
                let [name, more @ ..] = &parts(control)?[..] else { return None };
                is_text(name)?;
                (tag == 0x30 && matches!(more, [] | [(0x01 | 0x04, _)] | [(0x01, [_]), (0x04, _)])).then_some(())?;
            }
        }
        _ => return None,
    }
    let answer = parts(answer)?;
    match (operation, &answer[..]) {
        // An entry: its name, and attributes with their names and values.
        (0x64, [name, (0x30, attributes)]) => {
            is_text(name)?;
            for (tag, attribute) in parts(attributes)? {
                let [name, (0x31, values)] = &parts(attribute)?[..] else { return None };
                is_text(name)?;
                (tag == 0x30 && parts(values)?.iter().all(|(tag, _)| *tag == 0x04)).then_some(())?;
            }
            Some(())
        }
        (0x73, places) => places.iter().try_for_each(is_text),
        // The end of an operation: a code, a name, a text, and maybe other places.
        (0x61 | 0x65 | 0x78, [(0x0a, code), name, text, rest @ ..]) => {
            is_text(name).and(is_text(text))?;
            for (tag, part) in rest {
                match tag {
                    0xa3 => parts(part)?.iter().try_for_each(is_text)?,
                    0x87 | 0x8b => {}
                    0x8a => std::str::from_utf8(part).map(drop).ok()?,
                    _ => return None,
                }
            }
            (1..=4).contains(&code.len()).then_some(())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Vec<u8> {
        (1..depth).fold(vec![0x30, 0], |inner, _| {
            let length = u16::try_from(inner.len()).unwrap().to_be_bytes();
            [&[0x30, 0x82], &length[..], &inner].concat()
        })
    }

    /// An element with that tag and content.
    fn of(tag: u8, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        [&[tag, u8::try_from(content.len()).unwrap()], &content[..]].concat()
    }

    /// A message with that operation.
    fn told(operation: &[u8]) -> Vec<u8> {
        of(0x30, &[b"\x02\x01\x07", operation])
    }

    #[test]
    fn what_directories_answer_is_let_through_and_nothing_else() {
        let end: &[u8] = b"\x0a\x01\x00\x04\x00\x04\x00";
        let value = of(0x31, &[b"\x04\x01a\x04\x02\xff\xfe"]);
        let entry = |name: &[u8], of_it: u8, attribute: &[u8]| {
            let attribute = of(of_it, &[&of(0x04, &[attribute]), &value]);
            told(&of(0x64, &[&of(0x04, &[name]), &of(0x30, &[&attribute, &attribute])]))
        };
        let control = |content: &[u8]| {
            of(0x30, &[b"\x02\x01\x07", &of(0x65, &[end]), &of(0xa0, &[&of(0x30, &[b"\x04\x011", content])])])
        };
        for right in [
            told(&of(0x61, &[end])),
            told(&of(0x65, &[b"\x0a\x01\x0a\x04\x00\x04\x02no", &of(0xa3, &[b"\x04\x06ldap:/"])])),
            told(&of(0x78, &[end, b"\x8a\x011\x8b\x01\xff"])),
            told(&of(0x73, &[b"\x04\x06ldap:/"])),
            told(&of(0x64, &[b"\x04\x00\x30\x00"])),
            entry("dc=é".as_bytes(), 0x30, b"memberOf"),
            control(b""),
            control(b"\x04\x01\xff"),
            control(b"\x01\x01\xff\x04\x01x"),
            of(0x30, &[b"\x02\x01\x00", &of(0x78, &[end]), b"\x8a\x011"]),
        ] {
            assert!(is_sound(&right) && is_answer(&right).is_some(), "{}", right.escape_ascii());
        }
        for wrong in [
            of(0x30, &[]),
            of(0x30, &[b"\x02\x01\x07"]),
            of(0x30, &[&of(0x61, &[end])]),
            of(0x30, &[b"\x04\x01\x07", &of(0x61, &[end])]),
            of(0x30, &[b"\x02\x00", &of(0x61, &[end])]),
            of(0x30, &[b"\x02\x05\0\0\0\0\0", &of(0x61, &[end])]),
            told(&of(0x61, &[])),
            told(&of(0x61, &[b"\x0a\x01\x00\x04\x00"])),
            told(&of(0x61, &[b"\x02\x01\x00\x04\x00\x04\x00"])),
            told(&of(0x61, &[b"\x0a\x00\x04\x00\x04\x00"])),
            told(&of(0x61, &[b"\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x04\x00\x04\x00"])),
            told(&of(0x61, &[b"\x0a\x01\x00\x04\x01\xff\x04\x00"])),
            told(&of(0x61, &[b"\x0a\x01\x00\x04\x00\x24\x00"])),
            told(&of(0x65, &[end, b"\xa3\x02\x02\x00"])),
            told(&of(0x65, &[end, b"\xaa\x00"])),
            told(&of(0x41, &[end])),
            told(&of(0x64, &[])),
            told(&of(0x64, &[b"\x04\x00"])),
            told(&of(0x64, &[b"\x04\x00\x04\x00"])),
            entry(b"\xff", 0x30, b"uid"),
            entry(b"dc=x", 0x30, b"\xff"),
            entry(b"dc=x", 0x31, b"uid"),
            told(&of(0x64, &[b"\x04\x00", &of(0x30, &[&of(0x30, &[b"\x04\x00\x31\x02\x30\x00"])])])),
            told(&of(0x73, &[b"\x30\x00"])),
            control(b"\x02\x01\x00"),
            of(0x30, &[b"\x02\x01\x07", &of(0x65, &[end]), b"\x04\x00"]),
        ] {
            assert!(is_sound(&wrong) && is_answer(&wrong).is_none(), "{}", wrong.escape_ascii());
        }
    }

    #[tokio::test]
    async fn messages_are_read_within_bounds() {
        let bind = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00".to_vec();
        assert_eq!(read(&mut &bind[..]).await.unwrap().as_ref(), Some(&bind));
        assert_eq!(read(&mut &b""[..]).await.unwrap(), None);
        assert!(is_sound(&nested(DEPTH)) && !is_sound(&nested(DEPTH + 1)));
        for (wrong, expected) in [
            (b"HTTP/1.1 400".to_vec(), "no message of LDAP"),
            (b"\x30\x80\x00\x00".to_vec(), "no length"),
            (b"\x30\x84\xff\xff\xff\xff".to_vec(), "more than 1048576 bytes"),
            (b"\x30\x88\0\0\0\0\0\0\0\0".to_vec(), "no length"),
            (b"\x30\x03\x02\x05\x01".to_vec(), "not sound"),
            (b"\x30\x02\x1f\x00".to_vec(), "not sound"),
            (b"\x30\x01\x30".to_vec(), "not sound"),
            (nested(DEPTH + 1), "not sound"),
            (nested(5000), "not sound"),
        ] {
            let told = read(&mut &wrong[..]).await.unwrap_err().to_string();
            assert!(told.contains(expected), "{wrong:.20?}: {told}");
        }
        assert!(read(&mut &bind[..5]).await.is_err(), "it breaks off");
    }

    #[test]
    fn the_request_for_encryption_is_a_message() {
        assert!(is_sound(START_TLS));
        assert_eq!(usize::from(START_TLS[1]) + 2, START_TLS.len());
    }
}
