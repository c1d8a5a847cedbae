//! Registries on a port of this machine: the native host, and the core behind a door.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, Response, Uri};
use orlop::server::serve;
use orlop::{Host, Limits, Options};
use orlop_core::memory::Memory;
use orlop_core::{Body as CoreBody, Config, Headers, Registry};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// An address where nobody listens.
pub(crate) fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// A server on a thread of its own. It stops when it is dropped.
struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs a server: its address, and what stops it.
fn start<F, S>(server: S) -> (String, Running)
where
    F: Future<Output = ()>,
    S: FnOnce(TcpListener, oneshot::Receiver<()>) -> F + Send + 'static,
{
    let (tell, told) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            tell.send(listener.local_addr().expect("an address")).expect("somebody waits");
            server(listener, stopped).await;
        });
    });
    let address = format!("http://{}", told.recv().expect("it starts"));
    (address, Running { stop: Some(stop), thread: Some(thread) })
}

/// The native host on an empty directory.
pub(crate) struct Native {
    pub(crate) address: String,
    _running: Running,
    _directory: tempfile::TempDir,
}

impl Native {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_owned();
        let (address, running) = start(move |listener, stopped| async move {
            let host = Arc::new(Host::open(&path, &Options::default()).expect("it opens"));
            let registry = Registry::new(Config::default());
            let stop = async { drop(stopped.await) };
            serve::serve(listener, registry, host, &Limits::default(), stop).await;
        });
        Self { address, _running: running, _directory: directory }
    }
}

/// What stands before the core.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Nothing that looks like a registry.
    NoRegistry,
    /// It asks for `anna` with the password `right`.
    Basic,
    /// It asks for a token, which it gives to `anna` with the password `right`.
    Bearer,
    /// It is gone after that many requests.
    DiesAfter(usize),
}

/// The core in memory behind a door.
pub(crate) struct Stub {
    pub(crate) address: String,
    _running: Running,
}

struct Behind {
    door: Door,
    core: Mutex<(Registry, Memory)>,
    answered: AtomicUsize,
    died: tokio::sync::Notify,
}

impl Stub {
    pub(crate) fn start(door: Door) -> Self {
        let core = Mutex::new((Registry::new(Config::default()), Memory::new()));
        let behind = Behind { door, core, answered: AtomicUsize::new(0), died: tokio::sync::Notify::new() };
        let behind = Arc::new(behind);
        let (address, running) = start(move |listener, stopped| async move {
            let router = Router::new().fallback(answer).with_state(behind.clone());
            tokio::select! {
                served = async { axum::serve(listener, router).await } => served.expect("it serves"),
                _ = stopped => {}
                () = behind.died.notified() => {}
            }
        });
        Self { address, _running: running }
    }
}

/// `anna:right`
const CREDENTIALS: &str = "Basic YW5uYTpyaWdodA==";

async fn answer(State(behind): State<Arc<Behind>>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 64 << 20).await.unwrap_or_default();
    let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    let allowed = authorization == Some(CREDENTIALS);
    // Some registries want to be told also that there is no body (RFC 9110, 8.6).
    let told = ["content-length", "transfer-encoding"].iter().any(|name| head.headers.contains_key(*name));
    if !told && [Method::POST, Method::PUT, Method::PATCH].contains(&head.method) {
        return plain(411, &[], "");
    }
    match behind.door {
        Door::NoRegistry => return plain(404, &[], "a page that is not there"),
        Door::Basic if !allowed => return refuse("Basic realm=\"here\""),
        Door::Bearer if head.uri.path() == "/token" => {
            let scope = head.uri.query().unwrap_or_default();
            let token = if allowed { format!("{{\"token\":\"for {scope}\"}}") } else { "{}".into() };
            return plain(if allowed { 200 } else { 401 }, &[], &token);
        }
        Door::Bearer => {
            // A token is for one action in one repository: scopes of other requests do not do.
            let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
            let scope = scope(&head.method, &head.uri);
            let token =
                format!("Bearer for service=stub&scope={}&account=anna", scope.replace(':', "%3A").replace('/', "%2F"));
            if authorization != Some(token.as_str()) {
                return refuse(&format!("Bearer realm=\"http://{host}/token\",service=\"stub\",scope=\"{scope}\""));
            }
        }
        Door::DiesAfter(requests) if behind.answered.fetch_add(1, Ordering::Relaxed) == requests => {
            behind.died.notify_one();
        }
        Door::Basic | Door::DiesAfter(_) => {}
    }
    core(&behind, &head.method, &head.uri, &head.headers, body)
}

fn scope(method: &Method, uri: &Uri) -> String {
    let action = match method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "push",
    };
    // A token is for the name, however a client writes it.
    let path = uri.path().trim_start_matches("/v2/").replace("%2F", "/");
    let ends = ["/blobs/", "/manifests/", "/tags/", "/referrers/"];
    let end = ends.iter().filter_map(|end| path.rfind(end)).max().unwrap_or(0);
    format!("repository:{}:{action}", &path[..end])
}

fn core(behind: &Behind, method: &Method, uri: &Uri, headers: &HeaderMap, body: bytes::Bytes) -> Response<Body> {
    let fields = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
    let headers: Headers = fields.collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let length = if headers.get("transfer-encoding").is_some() { None } else { length.or(Some(0)) };
    let target = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let request =
        orlop_core::Request { method: orlop_core::Method::named(method.as_str()), target, headers, length, base: None };
    let mut core = behind.core.lock().expect("nobody panics");
    let (registry, memory) = &mut *core;
    let response = memory.call(registry, &request, body);
    let mut answer = Response::builder().status(response.status);
    for (name, value) in &response.headers {
        answer = answer.header(*name, &**value);
    }
    let body = match response.body {
        CoreBody::Bytes(bytes) => Body::from(bytes),
        _ => Body::empty(),
    };
    answer.body(body).expect("the core makes valid headers")
}

fn refuse(challenge: &str) -> Response<Body> {
    let body = "{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}";
    plain(401, &[("www-authenticate", challenge), ("content-type", "application/json")], body)
}

fn plain(status: u16, headers: &[(&str, &str)], body: &str) -> Response<Body> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(Body::from(body.to_owned())).expect("valid headers")
}
