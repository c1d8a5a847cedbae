//! A way to a registry that keeps a log of what is asked, and on which things go wrong by rule.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long a connection stays open after its last bytes before it is cut, so that they arrive.
const LAST_BYTES: Duration = Duration::from_millis(30);

/// How long a connection that crawls stays open after its last bytes.
const CRAWL: Duration = Duration::from_millis(1200);

/// The time between two pieces of a slow answer.
const BEAT: Duration = Duration::from_millis(20);

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The registry is not asked: this status, these header fields and no body.
    Answer(u16, Vec<(&'static str, String)>),
    /// The registry is not asked: 307 to the same path of this scheme and host.
    Redirect(String),
    /// There is no answer, for as long as the client waits.
    Silence,
    /// Only after this time comes this status, or what the registry answers.
    Late(Duration, Option<u16>),
    /// The connection is cut after so many bytes of the body.
    Cut(usize),
    /// So many bytes of the body come, hardly any more for a second, and then the connection is cut.
    Crawl(usize),
    /// One bit of the byte at this place of the body is another.
    Corrupt(usize),
    /// Every 20 ms come so many bytes.
    Trickle(usize),
    /// The body, and Content-Length, end so many bytes early.
    Shorter(usize),
    /// The body, and Content-Length, have so many bytes more.
    Longer(usize),
    /// The answer has another value in this field.
    Field(&'static str, String),
    /// The whole answer is this text of a type, with 200.
    Page(&'static str, &'static str),
}

impl Fault {
    /// This status and nothing else.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new())
    }

    /// 429, with the time after which to ask again.
    pub(crate) fn too_many(seconds: u64) -> Self {
        Self::Answer(429, vec![("retry-after", seconds.to_string())])
    }

    /// 401, with the address of a token server.
    pub(crate) fn challenge(realm: &str) -> Self {
        let scope = "repository:app:pull";
        Self::Answer(401, vec![("www-authenticate", format!(r#"Bearer realm="{realm}",service="it",scope="{scope}""#))])
    }
}

/// A request that was seen, and what came of it.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Method, path and query, as in `GET /v2/`.
    pub(crate) line: String,
    fields: HeaderMap,
    status: AtomicU16,
    sent: AtomicU64,
}

impl Seen {
    /// The value of a header field of the request; empty when there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The status of its answer; 0 before there is one.
    pub(crate) fn status(&self) -> u16 {
        self.status.load(Ordering::SeqCst)
    }

    /// The bytes of the answer's body that were passed on.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

/// What goes wrong with requests whose line has these words in it.
struct Rule {
    words: String,
    /// The value of `Authorization`; none is any.
    login: Option<String>,
    fault: Fault,
    /// How many more times; none is always.
    left: Option<usize>,
}

struct Passing {
    upstream: String,
    client: Client<HttpConnector, Body>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Arc<Seen>>>,
}

/// A way to a registry. It ends when it is dropped.
pub(crate) struct Proxy {
    /// Host and port.
    pub(crate) address: String,
    passing: Arc<Passing>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// A way to the registry at that host and port.
    pub(crate) async fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let passing = Arc::new(Passing {
            upstream: upstream.to_owned(),
            client: Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http(),
            rules: Mutex::default(),
            seen: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(passing.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, passing, serving }
    }

    /// The same port by a name, which makes it another host for whoever compares them.
    pub(crate) fn by_name(&self) -> String {
        self.address.replace("127.0.0.1", "localhost")
    }

    /// From now on this goes wrong with every request whose line (`GET /v2/…`) has these words in it. The rule that was
    /// made first counts.
    pub(crate) fn fails(&self, words: &str, fault: Fault) {
        self.rule(words, None, fault, None);
    }

    /// The same for requests with this value of `Authorization`.
    pub(crate) fn fails_for(&self, login: &str, words: &str, fault: Fault) {
        self.rule(words, Some(login), fault, None);
    }

    /// This goes wrong with so many requests of that kind.
    pub(crate) fn fails_times(&self, words: &str, fault: Fault, times: usize) {
        self.rule(words, None, fault, Some(times));
    }

    fn rule(&self, words: &str, login: Option<&str>, fault: Fault, left: Option<usize>) {
        let rule = Rule { words: words.into(), login: login.map(str::to_owned), fault, left };
        self.passing.rules.lock().expect("no test panicked in it").push(rule);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heals(&self) {
        self.passing.rules.lock().expect("no test panicked in it").clear();
    }

    /// Nothing goes wrong any more by the rules that were made with these words.
    pub(crate) fn heals_of(&self, words: &str) {
        self.passing.rules.lock().expect("no test panicked in it").retain(|rule| rule.words != words);
    }

    /// The requests since the log was cleared whose line has these words in it.
    pub(crate) fn seen(&self, words: &str) -> Vec<Arc<Seen>> {
        let seen = self.passing.seen.lock().expect("no test panicked in it");
        seen.iter().filter(|seen| seen.line.contains(words)).cloned().collect()
    }

    /// The lines of all requests since the log was cleared.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen("").iter().map(|seen| seen.line.clone()).collect()
    }

    /// Forgets what was asked.
    pub(crate) fn clear(&self) {
        self.passing.seen.lock().expect("no test panicked in it").clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Passing {
    fn fault(&self, line: &str, fields: &HeaderMap) -> Option<Fault> {
        let mut rules = self.rules.lock().expect("no test panicked in it");
        let login = fields.get("authorization").and_then(|value| value.to_str().ok());
        let matches = |rule: &&mut Rule| {
            let of_login = rule.login.is_none() || rule.login.as_deref() == login;
            rule.left != Some(0) && of_login && line.contains(&rule.words)
        };
        let rule = rules.iter_mut().find(matches)?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.fault.clone())
    }
}

async fn answer(State(passing): State<Arc<Passing>>, request: Request) -> Response {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let line = format!("{} {target}", request.method());
    let fields = request.headers().clone();
    let fault = passing.fault(&line, &fields);
    let seen = Arc::new(Seen { line, fields, status: AtomicU16::default(), sent: AtomicU64::default() });
    passing.seen.lock().expect("no test panicked in it").push(seen.clone());
    let response = match &fault {
        Some(Fault::Answer(status, fields)) => told(*status, fields),
        Some(Fault::Redirect(base)) => told(307, &[("location", format!("{base}{target}"))]),
        Some(Fault::Page(media, text)) => {
            (StatusCode::OK, [("content-type", *media), ("docker-distribution-api-version", "registry/2.0")], *text)
                .into_response()
        }
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Late(time, status)) => {
            tokio::time::sleep(*time).await;
            match status {
                Some(status) => told(*status, &[]),
                None => pass(&passing, request, &target).await,
            }
        }
        _ => pass(&passing, request, &target).await,
    };
    seen.status.store(response.status().as_u16(), Ordering::SeqCst);
    bent(response, fault, seen)
}

fn told(status: u16, fields: &[(&'static str, String)]) -> Response {
    let mut response = StatusCode::from_u16(status).expect("a status").into_response();
    for (name, value) in fields {
        response.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a value"));
    }
    response
}

/// What the registry answers. It is told the host that the client asked for.
async fn pass(passing: &Passing, mut request: Request, target: &str) -> Response {
    let uri = format!("http://{}{target}", passing.upstream);
    *request.uri_mut() = Uri::try_from(uri).expect("a path that came is one that can be sent");
    match passing.client.request(request).await {
        Ok(response) => response.map(Body::new),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// The answer, counted, with what goes wrong in it.
fn bent(mut response: Response, fault: Option<Fault>, seen: Arc<Seen>) -> Response {
    let field = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()?.parse().ok());
    let length: Option<usize> = field("content-length");
    let announced = match &fault {
        Some(Fault::Shorter(less)) => length.map(|length| length.saturating_sub(*less)),
        Some(Fault::Longer(more)) => length.map(|length| length + more),
        _ => None,
    };
    if let Some(announced) = announced {
        response.headers_mut().insert("content-length", announced.into());
    }
    if let Some(Fault::Field(name, value)) = &fault {
        let value = HeaderValue::from_str(value).expect("a value");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response.map(|body| {
        let most = match fault {
            Some(Fault::Trickle(bytes)) => bytes,
            _ => usize::MAX,
        };
        let pieces = body.into_data_stream().flat_map(move |piece| stream::iter(split(piece, most)));
        let more = match &fault {
            Some(Fault::Longer(more)) => Some(Ok(Bytes::from(vec![b'x'; *more]))),
            _ => None,
        };
        let pieces = pieces.chain(stream::iter(more));
        let cut = match fault {
            Some(Fault::Shorter(_)) => announced,
            Some(Fault::Cut(after) | Fault::Crawl(after)) => Some(after),
            _ => None,
        };
        let end = Bending { fault, cut, passed: 0, seen };
        Body::from_stream(stream::try_unfold((pieces.boxed(), end), |(mut pieces, mut bending)| async {
            // Where the body ends, it is not known yet whether its connection is cut.
            let piece = pieces.next().await.unwrap_or(Ok(Bytes::new()));
            let piece = bending.bend(piece?).await?;
            Ok::<_, axum::Error>(piece.map(|piece| (piece, (pieces, bending))))
        }))
    })
}

/// A piece of a body in pieces of at most so many bytes.
fn split(piece: Result<Bytes, axum::Error>, most: usize) -> Vec<Result<Bytes, axum::Error>> {
    let Ok(mut bytes) = piece else { return vec![piece] };
    let mut pieces = Vec::new();
    while bytes.len() > most {
        pieces.push(Ok(bytes.split_to(most)));
    }
    pieces.push(Ok(bytes));
    pieces
}

/// A body on its way to the client.
struct Bending {
    fault: Option<Fault>,
    /// Where the body ends.
    cut: Option<usize>,
    passed: usize,
    seen: Arc<Seen>,
}

impl Bending {
    /// What becomes of the next piece of the body, which is empty at its end; none ends it.
    async fn bend(&mut self, mut piece: Bytes) -> Result<Option<Bytes>, axum::Error> {
        piece.truncate(self.cut.map_or(usize::MAX, |cut| cut - self.passed));
        if piece.is_empty() {
            let time = match self.fault {
                Some(Fault::Cut(_)) => LAST_BYTES,
                Some(Fault::Crawl(_)) => CRAWL,
                _ => return Ok(None),
            };
            tokio::time::sleep(time).await;
            return Err(axum::Error::new("the connection is cut"));
        }
        match self.fault {
            Some(Fault::Corrupt(place)) if (self.passed..self.passed + piece.len()).contains(&place) => {
                let mut bytes = piece.to_vec();
                bytes[place - self.passed] ^= 1;
                piece = bytes.into();
            }
            Some(Fault::Trickle(_)) => tokio::time::sleep(BEAT).await,
            _ => {}
        }
        self.passed += piece.len();
        self.seen.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
        Ok(Some(piece))
    }
}
