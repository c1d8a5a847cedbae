//! Servers are stopped and started again, one after the other, while clients push and pull: no request fails.

use std::convert::Infallible;
use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use orlop_core::digest::Algorithm;

use crate::balanced::{Fleet, SERVERS, Settings};
use crate::program::program;

/// How many clients push and pull images, and how many of each kind send and read slowly.
const CLIENTS: usize = 6;
const SLOW: usize = 2;

/// What a slow client sends or reads at once, how often, and how long it waits before each.
const PIECE: usize = 512 << 10;
const PIECES: usize = 30;
const PAUSE: Duration = Duration::from_millis(50);

/// Longer than HAProxy takes to see that a server is not ready, by some ten times.
const SETTINGS: Settings = &[("ORLOP_SHUTDOWN_DELAY", "2s")];

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What all clients have asked.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    asked: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

/// What a client got in the place of what it should get.
struct Failed(String);

/// A client that keeps its connections, and sends no request again.
#[derive(Clone)]
struct User {
    http: Client<HttpConnector, Body>,
    base: String,
    load: Arc<Load>,
}

impl User {
    fn new(address: &str, load: Arc<Load>) -> Self {
        let http = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        Self { http, base: format!("http://{address}"), load }
    }

    /// Does this again and again until it is over.
    async fn repeat(self, mut once: impl AsyncFnMut(&Self, usize) -> Result<(), Failed>) {
        for number in 0.. {
            if self.load.over.load(Ordering::SeqCst) {
                break;
            }
            if let Err(Failed(why)) = once(&self, number).await {
                self.load.failed.lock().expect("no client panics").push(why);
                // A failure in each turn would fill the memory.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Sends a request: an answer with that status.
    async fn ask(&self, method: &str, target: &str, body: Body, status: u16) -> Result<Response<Incoming>, Failed> {
        self.load.asked.fetch_add(1, Ordering::SeqCst);
        let at = if target.starts_with('/') { format!("{}{target}", self.base) } else { target.to_owned() };
        let request = Request::builder().method(method).uri(at).header("content-type", MANIFEST).body(body);
        let failed = |why: String| Failed(format!("{method} {target}: {why}"));
        let answer = self.http.request(request.map_err(|error| failed(error.to_string()))?).await;
        let answer = answer.map_err(|error| failed(format!("{error:?}")))?;
        if answer.status().as_u16() == status {
            return Ok(answer);
        }
        let got = answer.status();
        let told = answer.into_body().collect().await.map(|told| told.to_bytes()).unwrap_or_default();
        Err(failed(format!("{got} in the place of {status}: {}", String::from_utf8_lossy(&told))))
    }

    /// Reads an answer at once and holds it against what was pushed.
    async fn read(&self, target: &str, wanted: &[u8]) -> Result<(), Failed> {
        let answer = self.ask("GET", target, empty(), 200).await?;
        let got = answer.into_body().collect().await.map_err(|error| Failed(format!("GET {target}: {error:?}")))?;
        same(target, &got.to_bytes(), wanted)
    }

    /// Opens an upload.
    async fn open(&self, repository: &str) -> Result<String, Failed> {
        let opened = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), empty(), 202).await?;
        location(&opened)
    }

    /// Sends a chunk of an upload; where the next one goes.
    async fn send(&self, upload: &str, chunk: Body) -> Result<String, Failed> {
        location(&self.ask("PATCH", upload, chunk, 202).await?)
    }

    /// Ends an upload.
    async fn close(&self, upload: &str, bytes: &[u8]) -> Result<(), Failed> {
        let sign = if upload.contains('?') { '&' } else { '?' };
        let target = format!("{upload}{sign}digest={}", Algorithm::Sha256.digest(bytes));
        self.ask("PUT", &target, empty(), 201).await.map(drop)
    }

    /// Pushes an image, its layer in two chunks, moves a tag to it, and pulls it by that tag.
    async fn image(&self, repository: &str, number: usize) -> Result<(), Failed> {
        let layer = format!("{repository} {number} ").repeat(10_000);
        let (first, second) = layer.split_at(layer.len() / 2);
        let upload = self.open(repository).await?;
        let upload = self.send(&upload, full(first.to_owned())).await?;
        let upload = self.send(&upload, full(second.to_owned())).await?;
        self.close(&upload, layer.as_bytes()).await?;
        let digest = Algorithm::Sha256.digest(layer.as_bytes());
        let of = |media: &str| format!(r#"{{"mediaType":"{media}","digest":"{digest}","size":{}}}"#, layer.len());
        let (config, layers) =
            (of("application/vnd.oci.image.config.v1+json"), of("application/vnd.oci.image.layer.v1.tar"));
        let manifest =
            format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{layers}]}}"#);
        let tag = format!("/v2/{repository}/manifests/latest");
        self.ask("PUT", &tag, full(manifest.clone()), 201).await?;
        self.read(&tag, manifest.as_bytes()).await?;
        self.read(&format!("/v2/{repository}/blobs/{digest}"), layer.as_bytes()).await
    }

    /// Sends a chunk that takes some time.
    async fn push_slowly(&self, repository: &str, number: usize) -> Result<(), Failed> {
        let piece = Bytes::from(format!("{repository} {number:020} ").repeat(100));
        let upload = self.open(repository).await?;
        let pieces = stream::iter(vec![piece.clone(); PIECES]).then(async |piece| {
            tokio::time::sleep(PAUSE).await;
            Ok(Frame::data(piece))
        });
        let upload = self.send(&upload, StreamBody::new(pieces.boxed()).boxed_unsync()).await?;
        self.close(&upload, &piece.repeat(PIECES)).await
    }

    /// Reads a blob so slowly that it does not fit into what stands between.
    async fn pull_slowly(&self, target: &str, wanted: &[u8]) -> Result<(), Failed> {
        let mut body = self.ask("GET", target, empty(), 200).await?.into_body();
        let (mut got, mut next) = (Vec::with_capacity(wanted.len()), PIECE);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Failed(format!("GET {target}, after {}: {error:?}", got.len())))?;
            got.extend_from_slice(&frame.into_data().unwrap_or_default());
            if got.len() >= next {
                next += PIECE;
                tokio::time::sleep(PAUSE).await;
            }
        }
        same(target, &got, wanted)
    }
}

fn same(target: &str, got: &[u8], wanted: &[u8]) -> Result<(), Failed> {
    if got == wanted {
        return Ok(());
    }
    Err(Failed(format!("GET {target}: {} other bytes in the place of {}", got.len(), wanted.len())))
}

fn location<B>(answer: &Response<B>) -> Result<String, Failed> {
    let location = answer.headers().get("location").and_then(|location| location.to_str().ok());
    location.map(str::to_owned).ok_or_else(|| Failed("an answer without Location".into()))
}

fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// `ORLOP_OLD` names a program of another version, by which the servers run until each is upgraded.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn servers_are_started_again_one_by_one_and_no_request_fails() {
    let new = program();
    let old = env::var_os("ORLOP_OLD").map_or_else(|| new.to_owned(), PathBuf::from);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let logs = directory.path().to_owned();
    let start = move || Fleet::start(&old, &logs, [SETTINGS; SERVERS]);
    let mut fleet = tokio::task::spawn_blocking(start).await.expect("it starts");
    let load = Arc::new(Load::default());
    let user = || User::new(&fleet.address(), load.clone());

    let large: Bytes = (0..PIECE * PIECES / 8).flat_map(|number| (number as u64).to_le_bytes()).collect();
    let blob = format!("/v2/large/blobs/{}", Algorithm::Sha256.digest(&large));
    let first = async |user: &User| {
        let upload = user.open("large").await?;
        let upload = user.send(&upload, full(large.clone())).await?;
        user.close(&upload, &large).await
    };
    first(&user()).await.unwrap_or_else(|Failed(why)| panic!("{why}"));

    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let repository = format!("image{number}");
        clients.push(tokio::spawn(user().repeat(async move |user, number| user.image(&repository, number).await)));
    }
    for number in 0..SLOW {
        let repository = format!("slow{number}");
        clients
            .push(tokio::spawn(user().repeat(async move |user, number| user.push_slowly(&repository, number).await)));
        let (blob, large) = (blob.clone(), large.clone());
        clients.push(tokio::spawn(user().repeat(async move |user, _| user.pull_slowly(&blob, &large).await)));
    }
    let restarting = tokio::task::spawn_blocking(move || {
        let ended: Vec<bool> = (0..SERVERS).map(|number| fleet.restart(number, new)).collect();
        (fleet, ended)
    });
    let (fleet, ended) = restarting.await.expect("they are started again");
    load.over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.expect("a client ends");
    }
    drop(fleet);
    let (asked, failed) = (load.asked.load(Ordering::SeqCst), load.failed.lock().expect("no client panics"));
    println!("{asked} requests, {} failed", failed.len());
    assert!(failed.is_empty(), "{} of {asked} requests failed: {:#?}", failed.len(), &failed[..failed.len().min(10)]);
    assert_eq!(ended, [true; SERVERS], "each server ends well");
    assert!(asked > 200, "{asked} requests are no load");
}
