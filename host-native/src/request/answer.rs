//! One request from its head to the last byte of its answer.

use std::fmt::Display;
use std::future::poll_fn;
use std::net::IpAddr;
use std::ops::DerefMut;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use http_body::Body as _;
use orlop_core::error::Code;
use orlop_core::step::Rest;
use orlop_core::{Asked, Caller, Fault, Summary, http};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use crate::auth::identity::sign_in::CSRF;
use crate::crowd::{Client, Crowd};
use crate::observe::Observer;
use crate::request::access::{AccessLine, Taken};
use crate::request::administer::{self, Work};
use crate::request::admit::{Admitted, Refused, admit, busy, give_token};
use crate::request::content::{self, Looking, Looks};
use crate::request::live::{Current, Live};
use crate::request::memory::{Memory, Name, is_small};
use crate::request::peer::Peer;
use crate::request::pulls::Pulls;
use crate::request::redirect::redirected;
use crate::request::response::with_body;
use crate::request::shares;
use crate::request::sign_in::{self, SignedInAs};
use crate::request::source::{Origin, source};
use crate::settings::Limits;
use crate::storage::{Belongings, Host, RequestBody, ambient};

/// How often a call is made again because an object it found was gone when it was opened. Each time, the blob was
/// deleted and garbage collection ran in between.
const ATTEMPTS: usize = 4;

/// How many calls may be finishing at once what nobody waits for. Beyond that, the next answer waits for its own.
const FINISHING: usize = 256;

/// What all requests share.
pub(crate) struct Service {
    pub(crate) host: Arc<Host>,
    pub(crate) current: Current,
    pub(crate) observer: Arc<Observer>,
    /// One permit for each request that may be worked on at once.
    pub(crate) room: Arc<Semaphore>,
    /// How many of these an address may have whose users are not known.
    pub(crate) strangers: Crowd,
    /// How many of these a user may have.
    users: Crowd,
    /// What answers may take of memory.
    pub(crate) memory: Memory,
    pub(crate) body_idle: Duration,
    /// The calls under way. They outlive their connections: a client that goes away ends its body, not the call.
    pub(crate) calls: TaskTracker,
    /// What clients have pulled lately.
    pub(crate) pulls: Arc<Pulls>,
    /// The blobs that may be damaged.
    looks: Arc<Looks>,
    /// One permit for each call that may be finishing what nobody waits for.
    finishing: Arc<Semaphore>,
    /// What tells this server from others: the name of its machine, and one of its own.
    pub(super) node: String,
    pub(super) instance: Uuid,
    /// What administrators have it do, where this is a server that can.
    pub(super) work: Option<Arc<dyn Work>>,
}

/// How long a request waits until there is room to work on it.
const PATIENCE: Duration = Duration::from_secs(1);

impl Service {
    /// A server of these limits.
    pub(crate) fn new(host: Arc<Host>, current: Current, observer: Arc<Observer>, limits: &Limits) -> Self {
        Self {
            host,
            current,
            observer,
            room: Arc::new(Semaphore::new(limits.requests)),
            strangers: Crowd::new(limits.client_requests, shares::QUEUE.max(limits.client_requests)),
            users: Crowd::new(limits.requests.div_ceil(2), limits.requests),
            memory: Memory::new(),
            body_idle: limits.body_idle,
            calls: TaskTracker::new(),
            pulls: Arc::default(),
            looks: Arc::default(),
            finishing: Arc::new(Semaphore::new(FINISHING)),
            node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            instance: Uuid::new_v4(),
            work: None,
        }
    }

    /// The same, which does this for administrators.
    pub(crate) fn doing(self, work: Arc<dyn Work>) -> Self {
        Self { work: Some(work), ..self }
    }

    /// Room to work on a request that may be made. Who asks is known by now: a user takes it from a share of its own, and
    /// whoever is not known from that of its address, so that none of them can take all there is.
    async fn enter(&self, live: &Live, client: &Client, address: IpAddr, taken: &mut Taken) -> Option<()> {
        if has_share(live, client, address) {
            let crowd = match client {
                Client::User(_) => &self.users,
                Client::Network(_) => &self.strangers,
            };
            taken.share = Some(crowd.enter_within(client, 1, shares::PATIENCE).await?);
        }
        taken.permit = Some(match self.room.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => timeout(PATIENCE, self.room.clone().acquire_owned()).await.ok()?.ok()?,
        });
        Some(())
    }

    /// Memory for the manifest that a request brings, if it brings one.
    async fn push(&self, client: &Client, asked: &Asked, taken: &mut Taken) -> Option<()> {
        if asked.summary().name == "push-manifest" {
            taken.slots.extend(self.memory.pushing(client, asked.request.length).await.ok()?);
        }
        Some(())
    }

    /// The answer, after which the call does what it has left for then: behind it, unless too many others do that already.
    async fn after(&self, response: Response, rest: Option<Rest>) -> Response {
        let Some(rest) = rest else { return response };
        match self.finishing.clone().try_acquire_owned() {
            Ok(permit) => {
                let host = self.host.clone();
                self.calls.spawn(async move {
                    host.finish(rest).await;
                    drop(permit);
                });
            }
            // Boxed, for it is large, and hardly ever there.
            Err(_) => Box::pin(self.host.finish(rest)).await,
        }
        response
    }
}

/// Whether a client has a share of its own of what all clients share. Our proxies have none, for they are many.
fn has_share(live: &Live, client: &Client, address: IpAddr) -> bool {
    matches!(client, Client::User(_)) || !live.proxies.trusts(address)
}

/// Answers a request.
pub(crate) async fn answer(service: Arc<Service>, peer: Peer, request: Request) -> Response {
    let live = service.current.get();
    let mut line = AccessLine::begin(&request, &peer, &live, service.observer.clone());
    let taken = Taken { _busy: peer.begin(), ..Taken::default() };
    if let Some(response) = live.cors.preflight(request.method(), request.uri().path(), request.headers()) {
        line.answered(&response);
        return line.write(response, taken);
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_short = request.body().size_hint().exact().is_some_and(|length| length <= SHORT);
    let (head, body) = request.into_parts();
    // A client that goes away until it is known who it is leaves nothing behind, neither a password to be hashed.
    let admitted = contained(pin!(admitted(&service, &live, &peer, &line, &head))).await;
    let answering = Box::pin(answer_in(service.clone(), live, peer, line, taken, (head, body), admitted));
    if is_read {
        return answering.await.write();
    }
    // A call that changes something goes on when the client goes away, with what it takes and what is written of it.
    if is_short {
        let (calls, counted) = (service.calls.clone(), service.calls.token());
        return Outliving { call: Some(answering), calls, _counted: counted }.await.write();
    }
    // A task of its own, so that one thread reads the body and another one hashes it.
    service.calls.spawn(answering).await.map_or_else(
        |error| {
            tracing::error!("a request ended without an answer: {error}");
            refusal(500, Code::Unknown, "an internal error, see the log")
        },
        Logged::write,
    )
}

/// How long a body is at most whose call is not worth a task of its own, in bytes.
const SHORT: u64 = 64 << 10;

/// A call that is part of its connection's task, and becomes a task of its own when the connection goes away.
struct Outliving<F: Future<Output: Send> + Send + 'static> {
    /// Nothing once it is over.
    call: Option<Pin<Box<F>>>,
    calls: TaskTracker,
    /// Among the calls under way from its beginning, so that the end of the server waits for it.
    _counted: TaskTrackerToken,
}

impl<F: Future<Output: Send> + Send + 'static> Future for Outliving<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(call) = &mut self.call else { return Poll::Pending };
        let output = ready!(call.as_mut().poll(context));
        self.call = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Outliving<F> {
    fn drop(&mut self) {
        // Without a runtime the process is about to end.
        if let (Some(call), Ok(runtime)) = (self.call.take(), Handle::try_current()) {
            drop(self.calls.spawn_on(call, &runtime));
        }
    }
}

/// An answer that is in the audit log, and in the access log when it was sent or is dropped.
struct Logged {
    response: Response,
    line: AccessLine,
    taken: Taken,
}

impl Logged {
    /// The response that the client gets.
    fn write(self) -> Response {
        self.line.write(self.response, self.taken)
    }
}

/// Whether a request may be made; if not, or if it is one for a token, the answer.
async fn admitted(
    service: &Service,
    live: &Live,
    peer: &Peer,
    line: &AccessLine,
    head: &Parts,
) -> Result<Admitted, Refused> {
    if let Some((response, caller)) = give_token(live, head, line, &service.observer).await {
        return Err(Refused { response, caller });
    }
    admit(live, &head.headers, peer, line, &service.observer).await
}

/// Answers a request by the settings that are in force when it begins.
async fn answer_in(
    service: Arc<Service>,
    live: Arc<Live>,
    peer: Peer,
    mut line: AccessLine,
    mut taken: Taken,
    (head, body): (Parts, Body),
    admitted: Result<Result<Admitted, Refused>, String>,
) -> Logged {
    let expects = head.headers.contains_key(header::EXPECT);
    let said = live.cors.says(head.uri.path(), &head.headers);
    let mut body = RequestBody::new(body, service.body_idle).counted(&service.observer.metrics.received);
    let called = match admitted {
        Ok(Ok(admitted)) => {
            line.of(admitted.caller.name.clone());
            let from = Origin { peer: &peer, head: &head, line: &line };
            contained(pin!(call(&service, &live, from, &mut body, admitted, &mut taken))).await
        }
        Ok(Err(Refused { response, caller })) => {
            line.of(caller);
            Ok(with_body(response, None))
        }
        Err(error) => Err(error),
    };
    let mut response = match called {
        Ok(response) => {
            if !body.is_ended() {
                // A client that sends what nobody wants, or does not send it, keeps no other waiting.
                taken.permit = None;
            }
            finish(response, &mut body, expects).await
        }
        Err(error) => {
            tracing::error!(id = line.id, "a call panicked: {error}");
            let failed = refusal(500, Code::Unknown, "an internal error, see the log");
            // Where in the body the panic came is not known.
            with(failed, header::CONNECTION, "close")
        }
    };
    sign_in::challenge_a_page(&live, &head.headers, &mut response);
    if let Some(SignedInAs(user)) = response.extensions_mut().remove() {
        line.of(user);
    }
    said.to(&mut response);
    line.answered(&response);
    Logged { response, line, taken }
}

/// Refuses a request that is wrong as HTTP, whatever it asks for (RFC 9112, section 3.2).
pub(crate) fn refuse(service: &Service, peer: &Peer, request: &Request, told: &str) -> Response {
    let mut line = AccessLine::begin(request, peer, &service.current.get(), service.observer.clone());
    let refused = with(refusal(400, Code::Unsupported, told), header::CONNECTION, "close");
    line.answered(&refused);
    line.write(refused, Taken::default())
}

/// Runs a call; if it panics, nothing else ends.
async fn contained<T>(mut call: Pin<impl DerefMut<Target: Future<Output = T>>>) -> Result<T, String> {
    poll_fn(|context| {
        // What a panic leaves half done is dropped with the call.
        match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err("a panic".into())),
        }
    })
    .await
}

/// Makes a call that may be made, when there is room for it.
async fn call(
    service: &Service,
    live: &Live,
    from: Origin<'_>,
    body: &mut RequestBody,
    admitted: Admitted,
    taken: &mut Taken,
) -> Response {
    let Admitted { mut caller, identity, client, slots } = admitted;
    taken.slots = slots;
    if !live.webhooks.is_empty() || live.registry.keeps_activity() && from.line.asked.summary().changes {
        caller.request = Some(source(service, live, from));
    }
    let entered = match service.enter(live, &client, from.line.client, taken).await {
        Some(()) => service.push(&client, &from.line.asked, taken).await,
        None => None,
    };
    if entered.is_some()
        && let Some(answered) = Box::pin(administer::answer(service, live, from, body, &identity)).await
    {
        let bound = service.memory.bound(&client, None, answered, None).await;
        return bound.unwrap_or_else(|_| no_memory());
    }
    let mut response = match entered {
        Some(()) => make_bounded(service, live, &client, caller.into(), body, from).await,
        None => with_body(busy("the registry is busy; retry later", PATIENCE), None),
    };
    if identity.signed().is_some() {
        sign_in::keep_private(&mut response);
    }
    response
}

/// Makes the call. An answer that stands in memory is made when there is memory for it. What the call leaves for after
/// its answer is done for the answer that the client gets, and for none that is thrown away.
async fn make_bounded(
    service: &Service,
    live: &Live,
    client: &Client,
    caller: Arc<Caller>,
    body: &mut RequestBody,
    from: Origin<'_>,
) -> Response {
    let asked = &from.line.asked;
    let operation = asked.summary();
    // Of a list the head costs as much as the whole.
    let (get, head) = (asked.request.method == http::Method::Get, asked.request.method == http::Method::Head);
    let list = (get || head) && operation.is_list();
    let mirrored = operation.repository.is_some_and(|repository| live.registry.mirrors(repository));
    // The head of a manifest may have a mirror read the whole.
    let manifest = operation.name == "pull-manifest" && (get || head && mirrored);
    if !list && !manifest {
        let (response, rest) = make(service, live, client, caller, body, from).await;
        return service.after(response, rest).await;
    }
    let mut held = None;
    // Its size is only known once it is made, and may have changed when it is made again.
    for _ in 1..=ATTEMPTS {
        let Some(making) = service.memory.making(client, list, mirrored).await else {
            let told = if list { "you ask for too many lists at once" } else { "the registry is busy" };
            return with_body(busy(&format!("{told}; retry later"), PATIENCE), None);
        };
        let (response, rest) = make(service, live, client, caller.clone(), body, from).await;
        let shared = shared(&operation, &response);
        match service.memory.bound(client, shared.as_ref(), response, held).await {
            Ok(response) => {
                drop(making);
                return service.after(response, rest).await;
            }
            Err(size) => {
                drop(making);
                held = service.memory.wait(client, shared.as_ref(), size).await;
                if held.is_none() {
                    break;
                }
            }
        }
    }
    no_memory()
}

fn no_memory() -> Response {
    let told = "there is no memory for the answer, because others read theirs slowly; retry later";
    with(refusal(503, Code::Unavailable, told), header::RETRY_AFTER, "1")
}

/// What an answer is that takes memory, when it is the same for all who get it: a manifest.
fn shared(operation: &Summary<'_>, response: &Response) -> Option<Name> {
    if operation.name != "pull-manifest" || response.status() != StatusCode::OK || is_small(response) {
        return None;
    }
    let digest = response.headers().get("docker-content-digest")?.to_str().ok()?.to_owned();
    Some(Name { repository: operation.repository?.as_str().to_owned(), digest })
}

/// Makes the call, and again if an object it answers with is gone.
async fn make(
    service: &Service,
    live: &Live,
    client: &Client,
    caller: Arc<Caller>,
    body: &mut RequestBody,
    from: Origin<'_>,
) -> (Response, Option<Rest>) {
    let asked = &from.line.asked;
    let failed = |fault: &dyn Display| {
        let http::Request { method, target, .. } = &asked.request;
        tracing::error!(id = from.line.id, %method, target, "{fault}");
    };
    let mut attempt = 0;
    loop {
        attempt += 1;
        let step = live.registry.call_of(caller.clone(), asked.clone(), ambient());
        let share = Some(client).filter(|client| has_share(live, client, from.line.client));
        let mut own = Belongings::new(body, &live.upstreams).of(share);
        let (mut response, rest) = service.host.answer(step, &mut own).await;
        // The console looks at what is there, and pulls nothing.
        if let Some(pull) = response.pulled.take().filter(|_| !from.head.headers.contains_key(&CSRF)) {
            service.pulls.note(pull);
        }
        match &response.fault {
            // That an upstream fails is logged once, and not for each request.
            Some(fault) if response.status == 502 => tracing::debug!(id = from.line.id, "{fault}"),
            Some(fault) => failed(fault),
            None => {}
        }
        let http::Body::Pieces(pieces) = &mut response.body else {
            let incoming = own.incoming(&response.body, from.peer.outbox.clone(), asked);
            return (with_body(response, incoming), rest);
        };
        let pieces = pieces.take();
        // The console may ask this server alone: it could not follow.
        if !from.head.headers.contains_key(&CSRF)
            && let Some(elsewhere) = redirected(&service.host, live, asked, &pieces).await
        {
            return (with_body(elsewhere, None), rest);
        }
        let verify = pieces.verify && pieces.digest.is_some();
        let looking = Looking::at(&pieces, &service.host, &live.registry, &service.looks);
        match service.host.open_pieces(pieces).await {
            Ok(Some(opened)) => {
                // What is to be hashed is not sent by the kernel.
                let outbox = from.peer.outbox.clone().filter(|_| !verify);
                let streamed = content::watched(looking, opened.into_body(outbox, asked.clone()), verify);
                return (with_body(response, Some(streamed)), rest);
            }
            Ok(None) if attempt < ATTEMPTS => {
                tracing::debug!("an object was gone, the call is made again");
                continue;
            }
            Ok(None) => failed(&"an object of the blob is missing"),
            Err(fault) => {
                failed(&fault);
                if matches!(fault, Fault::Unavailable(_)) {
                    let told = "the blob cannot be read now; retry later";
                    return (with(refusal(503, Code::Unavailable, told), header::RETRY_AFTER, "1"), None);
                }
            }
        }
        // If it is damaged, the call is made once more, and says that there is no such blob.
        if attempt > ATTEMPTS || !content::is_judged(looking).await {
            break;
        }
        attempt = ATTEMPTS;
    }
    (refusal(500, Code::Unknown, "the blob cannot be read"), None)
}

/// Reads what is left of the body, so that the connection can be used again, or says that it cannot.
async fn finish(response: Response, body: &mut RequestBody, expects: bool) -> Response {
    // A client that waits for leave to send its body gets its answer first: reading would give it leave.
    let reusable = if expects && body.is_untouched() { false } else { body.drain().await };
    if reusable { response } else { with(response, header::CONNECTION, "close") }
}

fn with(mut response: Response, name: HeaderName, value: &'static str) -> Response {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// An answer of the host itself, in the form of the registry's.
fn refusal(status: u16, code: Code, message: &str) -> Response {
    with_body(orlop_core::error::refusal(status, code, message), None)
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use http_body::Frame;
    use orlop_core::{Config, Registry};
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;
    use crate::settings::Options;

    struct Panicking;

    impl http_body::Body for Panicking {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            panic!("as a test asks")
        }
    }

    /// A body whose end comes late.
    struct Late(oneshot::Receiver<()>);

    impl http_body::Body for Late {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Pin::new(&mut self.0).poll(context).map(|_| None)
        }
    }

    /// A server for one request at once.
    fn service(directory: &TempDir) -> Arc<Service> {
        let host = Arc::new(Host::open(directory.path(), &Options::default()).unwrap());
        let observer = Arc::new(Observer::new(&host, None));
        let current = Current::new(Live::open(Registry::new(Config::default())));
        let limits =
            Limits { requests: 1, client_requests: 1, body_idle: Duration::from_secs(10), ..Limits::default() };
        Arc::new(Service::new(host, current, observer, &limits))
    }

    #[tokio::test]
    async fn a_change_whose_client_is_gone_keeps_its_permit_and_its_counts_to_its_end() {
        let directory = TempDir::new().unwrap();
        let service = service(&directory);
        let (end, late) = oneshot::channel();
        let request = Request::put("/v2/a/manifests/v1").body(Body::new(Late(late))).unwrap();
        let answering = answer(service.clone(), Peer::nobody(), request);
        assert!(timeout(Duration::from_millis(100), answering).await.is_err(), "its client is gone");
        let metrics = || service.observer.metrics.text();
        assert!(metrics().contains("\norlop_requests_running 1\n"), "{}", metrics());
        assert_eq!(service.room.available_permits(), 0);
        end.send(()).unwrap();
        service.calls.close();
        service.calls.wait().await;
        let told = metrics();
        assert!(told.contains("\norlop_requests_running 0\n"), "{told}");
        assert!(told.contains("orlop_requests_total{operation=\"push-manifest\",status=\"400\"} 1\n"), "{told}");
        assert_eq!(service.room.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_panic_in_a_call_is_answered_and_ends_nothing_else() {
        let directory = TempDir::new().unwrap();
        let service = service(&directory);
        let digest = orlop_core::digest::Algorithm::Sha256.digest(b"");
        let ask = async |method: &str, target: &str, body: Body| {
            let request = Request::builder().method(method).uri(target).body(body).unwrap();
            answer(service.clone(), Peer::nobody(), request).await.status().as_u16()
        };
        let target = format!("/v2/a/blobs/uploads/?digest={digest}");
        assert_eq!(ask("POST", &target, Body::new(Panicking)).await, 500);
        let tag = "/v2/a/manifests/v1";
        assert_eq!(ask("PUT", tag, Body::new(Panicking)).await, 500);
        assert_eq!(ask("GET", "/v2/", Body::empty()).await, 200);
    }
}
