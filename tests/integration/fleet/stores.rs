//! Other object stores than the one that most tests run on: a second opinion on S3, and that Azure and Google Cloud
//! Storage work at all. None of them checks as much as the service does.
//!
//! The client of Google Cloud Storage speaks the XML API, of which fake-gcs-server has no plain PUT, no list, no condition
//! and no multipart upload (fsouza/fake-gcs-server#331, #852). That API is the one of S3 but for the names of some header
//! fields, so moto stands in for it, behind a translation of these.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{self, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use orlop::{Engines, Host, RequestBody};
use orlop_core::digest::Algorithm;
use orlop_core::effect::{Erase, Inventory, Load, Measure, Receive};
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;
use orlop_core::step::start;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::contract::{find_an_upload_that_was_left_open, keep_the_contract};
use crate::engines::{Postgres, free_port, tools};
use crate::faulty::{Asked, Fault, Faulty};
use crate::outcomes::ask;
use crate::told::find_uploads_that_no_record_knows;

/// How long a server may take until it answers, on a machine that does other things too.
const START: Duration = Duration::from_secs(60);

/// The one account of azurite, which its manual names.
const ACCOUNT: (&str, &str) =
    ("devstoreaccount1", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==");

/// Makes a container in azurite, which wants a signature for it.
const CONTAINER: &str = r#"
const [port, account, key] = process.argv.slice(1);
const date = new Date().toUTCString(), path = `/${account}/bucket`;
const fields = `x-ms-date:${date}\nx-ms-version:2021-08-06\n`;
const signed = `PUT${"\n".repeat(12)}${fields}/${account}${path}\nrestype:container`;
const signature = require("crypto").createHmac("sha256", Buffer.from(key, "base64")).update(signed).digest("base64");
const headers = { "x-ms-date": date, "x-ms-version": "2021-08-06", authorization: `SharedKey ${account}:${signature}` };
fetch(`http://127.0.0.1:${port}${path}?restype=container`, { method: "PUT", headers }).then(async (answer) => {
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
});
"#;

/// A running server with an empty bucket.
struct Store {
    _process: Process,
    port: u16,
    url: &'static str,
    options: Vec<(String, String)>,
    prefixes: AtomicU32,
    _directory: TempDir,
}

impl Store {
    /// moto, of S3; nothing when it is not installed.
    fn moto() -> Option<Self> {
        let program = installed("moto/bin/moto_server")?;
        let port = free_port();
        let mut server = Command::new(program);
        server.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let options = vec![
            ("endpoint", format!("http://127.0.0.1:{port}")),
            ("region", "us-east-1".into()),
            ("access_key_id", "orlop".into()),
            ("secret_access_key", "secret".into()),
            ("allow_http", "true".into()),
        ];
        let store = Self::start(server, port, "s3://bucket", options);
        store.makes("/bucket");
        Some(store)
    }

    /// moto as Google Cloud Storage, as far as the two differ in what is asked of them.
    async fn google() -> Option<Self> {
        let moto = Self::moto()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let here = listener.local_addr().expect("an address");
        let port = moto.port;
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(translate(client, port, in_words_of_s3));
            }
        });
        let fields = r#""disable_oauth":true,"client_email":"","private_key":"","private_key_id":"""#;
        let account = format!(r#"{{"gcs_base_url":"http://{here}",{fields}}}"#);
        let options = [("service_account_key", account), ("allow_http", "true".into())];
        let options = options.map(|(name, value)| (name.to_owned(), value)).into();
        Some(Self { url: "gs://bucket", options, ..moto })
    }

    /// azurite, of Azure Blob Storage.
    fn azurite() -> Option<Self> {
        let program = installed("azurite/node_modules/.bin/azurite-blob")?;
        let port = free_port();
        let mut server = Command::new(program);
        server.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--inMemoryPersistence"]);
        server.args(["--skipApiVersionCheck", "--disableTelemetry"]);
        let (account, key) = ACCOUNT;
        let options = vec![
            ("endpoint", format!("http://127.0.0.1:{port}/{account}")),
            ("account_name", account.into()),
            ("account_key", key.into()),
            ("allow_http", "true".into()),
        ];
        let store = Self::start(server, port, "az://bucket", options);
        let made = Command::new("node").args(["-e", CONTAINER, &port.to_string(), account, key]).output();
        let made = made.expect("node runs");
        assert!(made.status.success(), "no container: {}", String::from_utf8_lossy(&made.stderr));
        Some(store)
    }

    fn start(mut server: Command, port: u16, url: &'static str, options: Vec<(&str, String)>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = File::create(directory.path().join("log")).expect("a log");
        server.current_dir(directory.path()).stdin(Stdio::null());
        server.stdout(log.try_clone().expect("a log")).stderr(log);
        let process = server.spawn().unwrap_or_else(|error| panic!("{server:?}: {error}"));
        let options = options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let _process = Process(process);
        let store = Self { _process, port, url, options, prefixes: AtomicU32::new(0), _directory: directory };
        let began = Instant::now();
        while net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(began.elapsed() < START, "{server:?} does not start");
            sleep(Duration::from_millis(50));
        }
        store
    }

    /// Makes a bucket, without credentials.
    fn makes(&self, target: &str) {
        let mut stream = net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        let request =
            format!("PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "PUT {target}: {answer}");
    }

    /// Where a registry of its own may keep its objects.
    fn engines(&self, records: String) -> Engines {
        let objects = format!("{}/registry{}", self.url, self.prefixes.fetch_add(1, Ordering::Relaxed));
        Engines { records, password_file: None, objects, options: self.options.clone(), ca: None, cache: None }
    }
}

/// A process that ends when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What moto wants to see of a client, and does not verify.
const CREDENTIAL: &str = "authorization: AWS4-HMAC-SHA256 Credential=orlop/20260101/us-east-1/s3/aws4_request, \
                          SignedHeaders=host, Signature=0\r\n\r\n";

/// What becomes of a header field on the way to a store: other words, or none; as it is, if this says nothing.
type Words = fn(&str, &str) -> Option<&'static str>;

/// What the client of Google Cloud Storage says, in the words of S3.
fn in_words_of_s3(name: &str, value: &str) -> Option<&'static str> {
    match (name, value) {
        ("x-goog-if-generation-match", "0") => Some("if-none-match: *\r\n"),
        ("authorization", _) => Some(""),
        // The end of the head.
        ("", "") => Some(CREDENTIAL),
        _ => None,
    }
}

/// All but the condition under which an object is to be written.
fn without_conditions(name: &str, _: &str) -> Option<&'static str> {
    (name == "if-none-match").then_some("")
}

/// Passes requests on to moto in other words, one after the other.
async fn translate(client: TcpStream, port: u16, words: Words) -> io::Result<()> {
    let (requests, mut to_client) = client.into_split();
    let (mut answers, mut to_server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut answers, &mut to_client).await });
    let mut requests = BufReader::new(requests);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let mut line = String::new();
            if requests.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            // The line of the request, which has no field, is as it is.
            let blank = (line == "\r\n").then_some(("", ""));
            let Some((name, value)) = line.split_once(':').or(blank) else {
                head.push_str(&line);
                continue;
            };
            let (name, value) = (name.to_ascii_lowercase(), value.trim());
            if name == "content-length" {
                length = value.parse().unwrap_or_default();
            }
            head.push_str(words(&name, value).unwrap_or(&line));
        }
        to_server.write_all(head.as_bytes()).await?;
        tokio::io::copy(&mut (&mut requests).take(length), &mut to_server).await?;
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    // What it starts by itself is started elsewhere.
    let tools = Path::new(&tools()).canonicalize().ok()?;
    Some(tools.join(program)).filter(|program| program.exists())
}

const MISSING: &str = "SKIPPED  it is not installed: see what tests/fleet/install says";

/// What every store must do for a registry.
async fn serves(name: &str, store: Option<Store>) {
    let Some(store) = store else {
        // `tests/run` shows and counts it.
        println!("{name} {MISSING}");
        return;
    };
    let began = Instant::now();
    let database = Postgres::start();
    keep_the_contract(|| store.engines(database.database())).await;
    find_an_upload_that_was_left_open(&store.engines(database.database())).await;
    keep_a_long_object(&store.engines(database.database())).await;
    println!("{name}: {:.0} s", began.elapsed().as_secs_f64());
}

/// An object of several parts comes back as it came, and goes.
async fn keep_a_long_object(engines: &Engines) {
    let host = Host::connect(engines, &orlop::Options::default()).await.expect("both answer");
    let whole: Bytes = (0..(20_u32 << 20) / 4).flat_map(u32::to_le_bytes).collect();
    let pieces: Vec<std::io::Result<Bytes>> = whole.chunks(1 << 20).map(|piece| Ok(whole.slice_ref(piece))).collect();
    let mut body = RequestBody::new(axum::body::Body::from_stream(stream::iter(pieces)), Duration::from_secs(600));
    let object = ObjectId::received_by(Uuid::from_u128(2));
    let receive = Receive { object, meter: Meter::new(Algorithm::Sha256), keep: 0, pause: Duration::MAX };
    host.run(start(move |io| async move { io.ask(receive).await }), &mut body).await.expect("it is received");
    let listed = ask(&host, Inventory { after: None, limit: 9 }).await.expect("it is listed");
    let listed: Vec<_> = listed.iter().map(|stored| (stored.object, stored.size)).collect();
    assert_eq!(listed, [(object, whole.len() as u64)]);
    let loaded = ask(&host, Load { objects: vec![object], limit: whole.len() as u64 }).await;
    assert!(loaded == Ok(Some(whole)), "it comes back as it came");
    ask(&host, Erase { objects: vec![object] }).await.expect("it is erased");
    assert_eq!(ask(&host, Inventory { after: None, limit: 9 }).await, Ok(vec![]));
    let measure = Measure { objects: vec![object], meter: Meter::new(Algorithm::Sha256) };
    assert_eq!(ask(&host, measure).await.map(|measured| measured.is_some()), Ok(false));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn moto_serves_a_registry() {
    serves("moto", Store::moto()).await;
}

/// Engines whose store is reached by another port.
fn through(engines: Engines, port: u16, other: u16) -> Engines {
    let (port, other) = (format!(":{port}"), format!(":{other}"));
    let options = engines.options.iter().map(|(name, value)| (name.clone(), value.replace(&port, &other))).collect();
    Engines { options, ..engines }
}

/// moto does not know an upload that has ended, as S3 does for a while.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn an_upload_whose_end_was_answered_to_nobody_is_an_object() {
    let Some(store) = Store::moto() else { return println!("moto {MISSING}") };
    let database = Postgres::start();
    let lost = AtomicU32::new(0);
    let once = move |asked: &Asked| {
        (asked.completes() && lost.fetch_add(1, Ordering::Relaxed) == 0).then_some(Fault::AnswerLost)
    };
    let faulty = Faulty::to(store.port, once).await;
    keep_a_long_object(&through(store.engines(database.database()), store.port, faulty.port)).await;
    assert_eq!(faulty.happened().into_iter().collect::<Vec<_>>(), [("answer lost", 1)]);
    // It says of each that it was begun in 2010.
    find_uploads_that_no_record_knows(&store.engines(database.database()), store.port, false).await;
}

/// One that does not look at the condition under which an object is to be written would let two calls write one object.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn a_store_without_conditional_writes_is_refused() {
    let Some(store) = Store::moto() else { return println!("moto {MISSING}") };
    let database = Postgres::start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let (here, port) = (listener.local_addr().expect("an address"), store.port);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(translate(client, port, without_conditions));
        }
    });
    let engines = through(store.engines(database.database()), port, here.port());
    let refused = Host::connect(&engines, &orlop::Options::default()).await.err().expect("it is refused");
    assert!(refused.contains("use a store that enforces conditional writes"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn azurite_serves_a_registry() {
    serves("azurite", Store::azurite()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn the_client_of_google_cloud_storage_serves_a_registry() {
    serves("google", Store::google().await).await;
}
