//! Upstreams that speak HTTP in unusual ways, as old registries and what stands before registries do: what is right is
//! served, and what is not is refused in a clear way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::body::Bytes;
use orlop_conformance::image::sha256;
use tempfile::TempDir;

use crate::client::{Answer, accepted};
use crate::proxy::Fault;
use crate::scene::{Image, Scene, below_hub, content, scratch};
use crate::server::Server;
use crate::skipping::skipped;

/// Far less than an upstream is waited for that does not answer.
const SOON: Duration = Duration::from_secs(10);

/// What answers a request, given its head: bytes as they stand on the wire. The connection is closed behind them.
type Script = dyn Fn(&str) -> Vec<u8> + Send + Sync;

/// A mirror in front of an upstream that sends whatever bytes it is told to.
struct Wire {
    mirror: Server,
    heads: Arc<Mutex<Vec<String>>>,
    _directory: TempDir,
}

impl Wire {
    fn new(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").expect("a free port"), script)
    }

    fn at(listener: TcpListener, script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().expect("an address").to_string();
        let (heads, script): (Arc<Mutex<Vec<String>>>, Arc<Script>) = (Arc::default(), Arc::new(script));
        let keep = heads.clone();
        // Ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (keep, script) = (keep.clone(), script.clone());
                thread::spawn(move || serve(stream, &keep, &*script));
            }
        });
        let directory = scratch();
        let mirror = Server::start(&directory.path().join("mirror"), &below_hub(&address, ""), &[]);
        Self { mirror, heads, _directory: directory }
    }

    /// Asks the mirror, which answers soon, whatever it is.
    async fn get(&self, part: &str) -> Answer {
        let target = format!("/v2/hub/app/{part}");
        let fields = accepted();
        let asked = tokio::time::timeout(SOON, self.mirror.ask("GET", &target, &fields)).await;
        asked.unwrap_or_else(|_| panic!("{part} is not answered"))
    }
}

fn serve(mut stream: TcpStream, heads: &Mutex<Vec<String>>, script: &Script) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    heads.lock().expect("no test panicked in it").push(head.clone());
    let _ = stream.write_all(&script(&head));
}

/// An answer with these header fields, each with its line end, and this body.
fn said(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {status}\r\nConnection: close\r\n{fields}\r\n").as_bytes(), body].concat()
}

/// The same with the length of the body.
fn whole(fields: &str, body: &[u8]) -> Vec<u8> {
    said("200 OK", &format!("Content-Length: {}\r\n{fields}", body.len()), body)
}

/// A blob of so many bytes, and where it is found.
fn blob(bytes: usize) -> (Bytes, String) {
    let blob = Bytes::from(content(bytes));
    let part = format!("blobs/{}", sha256(&blob));
    (blob, part)
}

/// The bytes as gzip packs them.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new("gzip");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip runs");
    let (mut input, bytes) = (child.stdin.take().expect("a pipe"), bytes.to_vec());
    let writing = thread::spawn(move || input.write_all(&bytes));
    let packed = child.wait_with_output().expect("gzip ends").stdout;
    assert!(writing.join().is_ok_and(|written| written.is_ok()));
    packed
}

/// Small enough to be kept in a record, and larger than any buffer on the way.
const SIZES: [usize; 2] = [1000, 300_000];

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bytes_are_not_taken_for_those_of_the_digest() {
    for size in SIZES {
        let (blob, part) = blob(size);
        let packed = packed(&blob);
        let wire = Wire::new(move |_| whole("Content-Encoding: gzip\r\n", &packed));
        wire.get(&part).await.is_no_success();
        let heads = wire.heads.lock().expect("no test panicked in it").join("").to_lowercase();
        assert!(heads.contains("accept-encoding: identity\r\n"), "{heads}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_a_length_and_answers_before_the_answer_are_understood() {
    for size in SIZES {
        let (blob, part) = blob(size);
        let (start, end) = blob.split_at(size / 3);
        let chunks =
            [start, end, &[]].map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        let early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n".to_vec();
        for answer in [
            said("200 OK", "Transfer-Encoding: chunked\r\n", &chunks.concat()),
            said("200 OK", "", &blob),
            [early.repeat(3), whole("", &blob)].concat(),
        ] {
            let wire = Wire::new(move |_| answer.clone());
            wire.get(&part).await.is(&blob);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_without_measure_or_against_the_rules_are_refused() {
    let (blob, part) = blob(1000);
    let long = format!("X-Long: {}\r\n", "x".repeat(2 << 20));
    let many = "X-Many: x\r\n".repeat(20_000);
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000).into_bytes();
    let two = "Content-Length: 1000\r\nContent-Length: 999\r\n";
    for answer in [
        whole(&long, &blob),
        whole(&many, &blob),
        endless,
        said("200 OK", two, &blob),
        said("200 OK", "Content-Length: -1\r\n", &blob),
        said("200 OK", "Content-Length: 99999999999999999999\r\n", &blob),
        said("999 What", "", b""),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
    ] {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let mut wire = Wire::new(move |_| answer.clone());
        let got = wire.get(&part).await;
        println!("{shown:?}: {}", got.status);
        got.is_no_success();
        assert!(wire.mirror.is_running());
    }
}

/// A length that another one contradicts which decides (RFC 9112, 6.3).
#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_makes_nothing_wrong() {
    let (blob, part) = blob(300_000);
    let chunk = [format!("{:x}\r\n", blob.len()).as_bytes(), &blob, b"\r\n0\r\n\r\n"].concat();
    for length in [10, 300_000, 300_010] {
        let answer = said("200 OK", &format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), &chunk);
        let wire = Wire::new(move |_| answer.clone());
        let got = wire.get(&part).await;
        if got.status == 200 && got.whole {
            got.is(&blob);
        } else {
            got.is_no_success();
        }
    }
}

/// Old registries name no digest, and say nothing to HEAD.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_names_no_digest_is_mirrored() {
    let image = Image::new(1000);
    let (manifest, layer) = (image.manifest.bytes(), image.content().clone());
    let media_type = format!("Content-Type: {}\r\n", image.manifest.media_type());
    let sent = manifest.clone();
    let wire = Wire::new(move |head| match (head.starts_with("HEAD"), head.contains("/manifests/")) {
        (true, true) => whole(&media_type, &sent)[..].split(|byte| *byte == b'{').next().unwrap_or_default().to_vec(),
        (true, false) => said("405 Method Not Allowed", "Content-Length: 0\r\n", b""),
        (false, true) => whole(&media_type, &sent),
        (false, false) => whole("", &layer),
    });
    for reference in ["manifests/v1".to_owned(), "manifests/v1".into(), format!("manifests/{}", image.digest())] {
        let got = wire.get(&reference).await;
        got.is(&manifest);
        assert_eq!(got.field("docker-content-digest"), image.digest());
    }
    wire.get(&format!("blobs/{}", image.layer())).await.is(image.content());
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_in_a_circle_or_to_addresses_that_are_no_registry_s_are_not_followed_for_ever() {
    let scene = Scene::new("").await;
    let image = scene.push("app", "v1", 1000).await;
    let own = format!("http://{}", scene.proxy.address);
    for to in [own.as_str(), "http://[::ffff:169.254.169.254]", "http://[fe80::1]", "http://0.0.0.0:1"] {
        scene.proxy.heals();
        scene.proxy.clear();
        scene.proxy.fails("/blobs/", Fault::Redirect(to.into()));
        let got = tokio::time::timeout(SOON, scene.blob("app", &image.layer())).await;
        got.unwrap_or_else(|_| panic!("{to} is followed")).is_refused(502);
        assert!(scene.proxy.lines().len() <= 24, "{to}: {} requests", scene.proxy.lines().len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_may_have_an_address_of_ipv6() {
    let listener = match TcpListener::bind("[::1]:0") {
        Ok(listener) => listener,
        Err(error) => return skipped("an upstream by IPv6, which this machine does not have", &error.to_string()),
    };
    let (blob, part) = blob(300_000);
    let sent = blob.clone();
    Wire::at(listener, move |_| whole("", &sent)).get(&part).await.is(&blob);
}
