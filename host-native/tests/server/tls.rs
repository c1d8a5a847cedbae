//! Encryption: certificates exchanged under load, clients that are slow to agree, names in certificates.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use orlop_core::digest::Algorithm;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::started::{Answer, Started, answer, eventually};

/// An authority, and the files of a server that it vouches for.
pub(crate) struct Place {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let place = Self { directory: TempDir::new().unwrap(), authority };
        std::fs::write(place.path("ca.pem"), place.authority.pem()).unwrap();
        place.renew();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a certificate of these names; its serial number tells it apart.
    pub(crate) fn certificate(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.push(SanType::DnsName(format!("{name}.example").try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.authority).unwrap(), key)
    }

    /// Puts a new certificate in the place of the server's.
    fn renew(&self) -> Vec<u8> {
        let (certificate, key) = self.certificate("server");
        std::fs::write(self.path("server.pem"), certificate.pem()).unwrap();
        std::fs::write(self.path("server.key"), key.serialize_pem()).unwrap();
        certificate.der().to_vec()
    }

    pub(crate) fn start(&self, more: &[&str]) -> Started {
        let (certificate, key) = (self.path("server.pem"), self.path("server.key"));
        let flags = ["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        Started::with(&[&flags, more].concat())
    }

    pub(crate) fn client(
        &self,
        certificate: Option<(rcgen::Certificate, KeyPair)>,
        alpn: &[&[u8]],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                let chain = vec![CertificateDer::from(certificate.der().to_vec())];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // Each connection sees the certificate of its time.
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }
}

pub(crate) type Encrypted = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn connect(server: &Started, client: &Arc<ClientConfig>) -> Encrypted {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(client.clone(), name).unwrap();
    StreamOwned::new(connection, server.connect())
}

fn get(server: &Started, client: &Arc<ClientConfig>, target: &str) -> (Answer, Vec<u8>) {
    let mut stream = connect(server, client);
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let answer = answer(&mut stream, false);
    let shown = stream.conn.peer_certificates().unwrap()[0].to_vec();
    (answer, shown)
}

#[test]
fn a_certificate_is_exchanged_under_load_without_a_failed_request() {
    let place = Place::new();
    let server = place.start(&[]);
    let client = place.client(None, &[]);
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(get(&server, &client, "/v2/").0.status, 200);
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..3 {
            let new = place.renew();
            eventually(|| get(&server, &client, "/v2/").1 == new);
        }
        // What is broken is not taken: the last good one stays.
        let (_, kept) = get(&server, &client, "/v2/");
        std::fs::write(place.path("server.pem"), "nothing").unwrap();
        eventually(|| server.log().contains("what was read before stays in force"));
        assert_eq!(get(&server, &client, "/v2/").1, kept);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(made.load(Ordering::Relaxed) > 20);
}

#[test]
fn who_is_slow_to_agree_holds_up_nobody() {
    let place = Place::new();
    let server = place.start(&["--head-timeout", "3s"]);
    let client = place.client(None, &[]);
    // Silent ones, and one that sends a byte now and then.
    let mut silent: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    silent[0].write_all(&[22, 3, 1]).unwrap();
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(get(&server, &client, "/v2/").0.status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    for mut stream in silent {
        let mut end = Vec::new();
        let _ = stream.read_to_end(&mut end);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "they are given up");
}

#[test]
fn plain_text_is_not_spoken_where_there_is_a_certificate() {
    let place = Place::new();
    let server = place.start(&[]);
    let mut stream = server.connect();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut end = Vec::new();
    let _ = stream.read_to_end(&mut end);
    let told = String::from_utf8_lossy(&end);
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    assert!(told.contains("HTTP request to an HTTPS server"), "it says what is wrong: {told}");
    // What is neither gets no answer that it could take for one.
    let mut stream = server.connect();
    stream.write_all(b"\x16\x03\x01 no handshake").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut end = Vec::new();
    let _ = stream.read_to_end(&mut end);
    assert!(!end.starts_with(b"HTTP/"), "{end:?}");
}

/// Over TLS the kernel can send no file: the bytes are the same.
#[test]
fn contents_and_ranges_of_them_come_encrypted_as_they_are() {
    let place = Place::new();
    let server = place.start(&[]);
    let mut stream = connect(&server, &place.client(None, &[]));
    let whole: Vec<u8> = (0..3_000_000_u32).map(|index| (index.wrapping_mul(index) >> 7) as u8).collect();
    let digest = Algorithm::Sha256.digest(&whole);
    let push = format!(
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        whole.len()
    );
    stream.write_all(push.as_bytes()).unwrap();
    stream.write_all(&whole).unwrap();
    assert_eq!(answer(&mut stream, false).status, 201);
    for range in [0..whole.len(), 0..1, 1..1_500_000, 999_999..3_000_000, 2_999_999..3_000_000] {
        let (first, last) = (range.start, range.end - 1);
        let asked = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\nRange: bytes={first}-{last}\r\n\r\n");
        stream.write_all(asked.as_bytes()).unwrap();
        let got = answer(&mut stream, false);
        assert_eq!(got.status, 206, "{range:?}");
        assert!(got.body == whole[range.clone()], "{range:?}");
    }
}

/// HTTP/2, with curl as the client where it is there.
#[test]
fn http_2_is_spoken_to_those_who_ask_for_it() {
    let place = Place::new();
    let server = place.start(&[]);
    let mut stream = connect(&server, &place.client(None, &[b"h2", b"http/1.1"]));
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(b"h2" as &[u8]));
    assert_eq!(frame[3], 4, "settings come first (RFC 9113, 3.4)");
    let url = format!("https://localhost:{}/v2/", server.address().rsplit(':').next().unwrap());
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--cacert"]);
    match curl.arg(place.path("ca.pem")).arg(&url).output() {
        Ok(done) => assert_eq!(String::from_utf8_lossy(&done.stdout), "2 200"),
        Err(_) => eprintln!("not tried with curl: it is not there"),
    }
}

#[test]
fn a_certificate_says_who_its_holder_is() {
    let place = Place::new();
    let ca = place.path("ca.pem");
    let server = place.start(&[
        "--tls-client-ca",
        ca.to_str().unwrap(),
        "--rule={ who = ['certificate:ci', 'certificate:deploy.example'], allow = ['all'], repositories = ['team/**'] }",
    ]);
    let status = |client: &Arc<ClientConfig>| get(&server, client, "/v2/team/app/tags/list").0;
    let named = |name: &str| place.client(Some(place.certificate(name)), &[]);
    assert!(String::from_utf8(status(&named("ci")).body).unwrap().contains("NAME_UNKNOWN"));
    assert_eq!(get(&server, &named("ci"), "/v2/").0.status, 200);
    let mut stream = connect(&server, &named("deploy"));
    stream.write_all(b"POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream, false).status, 202);
    for stranger in [named("other"), place.client(None, &[])] {
        let mut stream = connect(&server, &stranger);
        stream.write_all(b"POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert_eq!(answer(&mut stream, false).status, 403);
    }
    // An authority that nobody named.
    let forged = Place::new().certificate("ci");
    let mut stream = connect(&server, &place.client(Some(forged), &[]));
    let _ = stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut end = Vec::new();
    let _ = stream.read_to_end(&mut end);
    assert!(end.is_empty(), "{end:?}");
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Requests that are taken back at once, heads that never end, a settings flood: the connection ends, or it goes on, and
/// the server is there for others and within its memory.
#[test]
fn whoever_abuses_http_2_is_cut_off_or_harms_nobody() {
    let place = Place::new();
    let server = place.start(&[]);
    // GET https://x/ (RFC 7541, appendix A).
    let head = [0x82, 0x87, 0x84, 0x41, 1, b'x'];
    let reset: Vec<Vec<u8>> = (0..20_000_u32)
        .map(|number| [frame(1, 5, 2 * number + 1, &head), frame(3, 0, 2 * number + 1, &[0, 0, 0, 8])].concat())
        .collect();
    let mut endless = vec![frame(1, 1, 1, &head)];
    let field = [&[0x40, 1, b'a', 0x7f, 0x81, 0x7f][..], &vec![b'x'; 16_000]].concat();
    endless.extend((0..4000).map(|_| frame(9, 0, 1, &field)));
    let settings = (0..50_000).map(|_| frame(4, 0, 0, &[])).collect();
    for flood in [reset, endless, settings] {
        let mut stream = connect(&server, &place.client(None, &[b"h2"]));
        stream.sock.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.sock.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stream.write_all(&frame(4, 0, 0, &[])).unwrap();
        let client = place.client(None, &[]);
        for (number, frames) in flood.chunks(100).enumerate() {
            if stream.write_all(&frames.concat()).is_err() {
                break;
            }
            if number % 20 == 0 {
                let began = Instant::now();
                assert_eq!(get(&server, &client, "/v2/").0.status, 200);
                assert!(began.elapsed() < Duration::from_secs(3));
            }
        }
        assert_eq!(get(&server, &client, "/v2/").0.status, 200);
    }
    let most = server.memory("VmHWM");
    assert!(most < 128 << 10, "{most} KiB");
}
