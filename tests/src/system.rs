//! A registry under test, spoken to in requests and responses.
//!
//! Whatever answers requests as a registry is a [`System`]; the suites know no more of it than that. The core on
//! its reference host, [`InMemory`], is the first. It can also let time pass, collect garbage, stop a call between two
//! effects and break the storage.

use std::fmt::{self, Display};
use std::time::Duration;

use bytes::Bytes;
use orlop_core::effect::{Fault, Scan, Step};
use orlop_core::keys::Key;
use orlop_core::memory::{Memory, RequestBody};
use orlop_core::mirror::Followed;
use orlop_core::registry::Report;
use orlop_core::step::start;
use orlop_core::{Body, Config, Headers, Method, Registry, Request, Response};
use serde_json::Value as Json;

use crate::image::{Manifest, Platform, sha256};

/// Whatever answers requests as a registry.
pub trait System {
    /// Makes one call. The body of the response is in memory, however the host would send it.
    fn send(&mut self, request: &Request, body: &RequestBody) -> Response;

    /// Makes a call.
    fn call(&mut self, call: Call) -> Answer {
        let response = self.send(&call.request, &call.body);
        Answer { to: call.to_string(), response }
    }

    /// `GET`.
    fn get(&mut self, target: impl AsRef<str>) -> Answer
    where
        Self: Sized,
    {
        self.call(get(target))
    }

    /// `HEAD`.
    fn head(&mut self, target: impl AsRef<str>) -> Answer
    where
        Self: Sized,
    {
        self.call(head(target))
    }

    /// `POST` without a body.
    fn post(&mut self, target: impl AsRef<str>) -> Answer
    where
        Self: Sized,
    {
        self.call(post(target))
    }

    /// `DELETE`.
    fn delete(&mut self, target: impl AsRef<str>) -> Answer
    where
        Self: Sized,
    {
        self.call(delete(target))
    }

    /// Opens an upload session: the path to it.
    #[track_caller]
    fn open(&mut self, repository: &str) -> String {
        self.call(post(uploads(repository))).expect(202).location()
    }

    /// Pushes a blob, in one request. Its digest.
    #[track_caller]
    fn push_blob(&mut self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        self.call(post(format!("{}?digest={digest}", uploads(repository))).body(bytes)).expect(201);
        digest
    }

    /// Puts a manifest, whatever comes of it.
    fn put_manifest(&mut self, repository: &str, reference: impl Display, pushed: &Manifest) -> Answer {
        self.call(put(manifest(repository, reference)).header("Content-Type", pushed.media_type()).body(pushed.bytes()))
    }

    /// Pushes the blobs of a manifest, and then the manifest under `reference`.
    #[track_caller]
    fn push(&mut self, repository: &str, reference: impl Display, pushed: &Manifest) -> Answer {
        for blob in pushed.blobs() {
            self.push_blob(repository, blob.clone());
        }
        self.put_manifest(repository, reference, pushed).expect(201)
    }

    /// Pushes an OCI image of that platform with one layer of these bytes, under `reference`.
    #[track_caller]
    fn push_image(&mut self, repository: &str, reference: impl Display, platform: Platform, layer: &str) -> Manifest {
        let image = Manifest::image(platform, layer);
        self.push(repository, reference, &image);
        image
    }

    /// The tags of a repository, in one list.
    #[track_caller]
    fn tags(&mut self, repository: &str) -> Vec<String> {
        strings(&self.call(get(format!("/v2/{repository}/tags/list"))).expect(200).json()["tags"])
    }
}

/// The path of a blob.
pub fn blob(repository: &str, digest: impl Display) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// The path of a manifest.
pub fn manifest(repository: &str, reference: impl Display) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

/// The path where uploads begin.
pub fn uploads(repository: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/")
}

/// The path of the referrers of a manifest.
pub fn referrers(repository: &str, subject: impl Display) -> String {
    format!("/v2/{repository}/referrers/{subject}")
}

/// The strings of a JSON list.
#[track_caller]
pub fn strings(list: &Json) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("{list} is no list"));
    list.iter().map(|entry| entry.as_str().unwrap_or_else(|| panic!("{entry} is no string")).into()).collect()
}

/// A request in the making, with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The request.
    pub request: Request,
    /// What arrives of its body.
    pub body: RequestBody,
}

/// A request of any method.
pub fn request(method: &str, target: impl AsRef<str>) -> Call {
    let request = Request {
        method: Method::named(method),
        target: target.as_ref().into(),
        headers: Headers::new(),
        length: Some(0),
        base: None,
    };
    Call { request, body: RequestBody::default() }
}

/// A `GET`.
pub fn get(target: impl AsRef<str>) -> Call {
    request("GET", target)
}

/// A `HEAD`.
pub fn head(target: impl AsRef<str>) -> Call {
    request("HEAD", target)
}

/// A `POST`.
pub fn post(target: impl AsRef<str>) -> Call {
    request("POST", target)
}

/// A `PUT`.
pub fn put(target: impl AsRef<str>) -> Call {
    request("PUT", target)
}

/// A `PATCH`.
pub fn patch(target: impl AsRef<str>) -> Call {
    request("PATCH", target)
}

/// A `DELETE`.
pub fn delete(target: impl AsRef<str>) -> Call {
    request("DELETE", target)
}

impl Call {
    /// The same call with one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        self.request.headers.push(name, value.to_string());
        self
    }

    /// The same call with this body, and a `Content-Length` that says so.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body = RequestBody::from(bytes);
        self.request.length = Some(self.body.bytes.len() as u64);
        self
    }

    /// The same call as `Transfer-Encoding: chunked`: the length of the body is not told.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.request.length = None;
        self
    }

    /// The same call with another `Content-Length`. As on a connection, a shorter one ends the body there, and a
    /// longer one is a body that ends early.
    #[must_use]
    pub fn length(mut self, length: usize) -> Self {
        self.body.cut = length > self.body.bytes.len();
        self.body.bytes.truncate(length);
        self.request.length = Some(length as u64);
        self
    }

    /// The same call on a connection that breaks after the body that was given.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.body.cut = true;
        self
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.request.method, self.request.target)
    }
}

/// The response to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The call, for messages.
    pub to: String,
    /// The response.
    pub response: Response,
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.response.status
    }

    /// The first header field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    /// Every header field of that name.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let fields = self.response.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        fields.map(|(_, value)| value.as_ref()).collect()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        match &self.response.body {
            Body::Empty => &[],
            Body::Bytes(bytes) => bytes,
            Body::Pieces(_) | Body::Coming(_) | Body::Relayed => panic!("{}: the host has not sent the bytes", self.to),
        }
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_slice(self.body()).unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    /// The same answer, which has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status(), status, "{self}");
        self
    }

    /// The same answer, which has this header field.
    #[track_caller]
    pub fn with(self, name: &str, value: impl Display) -> Self {
        assert_eq!(self.header(name), Some(value.to_string().as_str()), "{name} of {self}");
        self
    }

    /// The same answer, which has no such header field.
    #[track_caller]
    pub fn without(self, name: &str) -> Self {
        assert_eq!(self.header(name), None, "{name} of {self}");
        self
    }

    /// The same answer, which is an error of this status and code, in the form of the specification (SPEC P1).
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status).with("Content-Type", "application/json");
        let codes = answer.codes();
        assert!(!codes.is_empty() && codes.iter().all(|given| given == code), "{code} of {answer}");
        let length = answer.body().len();
        answer.with("Content-Length", length)
    }

    /// The codes in the body of an error.
    #[track_caller]
    pub fn codes(&self) -> Vec<String> {
        let errors = self.json()["errors"].clone();
        let errors = errors.as_array().unwrap_or_else(|| panic!("no errors in {self}"));
        errors.iter().map(|error| error["code"].as_str().unwrap_or_default().into()).collect()
    }

    /// The path in `Location`.
    #[track_caller]
    pub fn location(&self) -> String {
        self.header("Location").unwrap_or_else(|| panic!("no Location in {self}")).into()
    }

    /// The target of the link to the next page, if there is one (RFC 8288).
    #[track_caller]
    pub fn next_page(&self) -> Option<String> {
        let link = self.header("Link")?;
        let target = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
        Some(target.unwrap_or_else(|| panic!("{link} is no link to a next page")).into())
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the answer to {}: {}", self.to, self.response.status)?;
        self.response.headers.iter().try_for_each(|(name, value)| writeln!(f, "{name}: {value}"))?;
        match &self.response.body {
            Body::Bytes(bytes) => write!(f, "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(1000)])),
            _ => Ok(()),
        }
    }
}

/// The core on its reference host.
#[derive(Clone, Debug)]
pub struct InMemory {
    /// The core.
    pub registry: Registry,
    /// The host.
    pub memory: Memory,
}

impl System for InMemory {
    fn send(&mut self, request: &Request, body: &RequestBody) -> Response {
        self.memory.call(&self.registry, request, body.clone())
    }
}

impl InMemory {
    /// An empty registry of that configuration.
    pub fn new(config: Config) -> Self {
        Self { registry: Registry::new(config), memory: Memory::new() }
    }

    /// The same storage under another configuration, as after a restart.
    #[must_use]
    pub fn restarted(&self, config: Config) -> Self {
        Self { registry: Registry::new(config), memory: self.memory.clone() }
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        self.memory.advance(time);
    }

    /// Collects garbage.
    pub fn gc(&mut self) -> Report {
        let ambient = self.memory.ambient();
        let step = self.registry.gc(ambient);
        self.memory.run(step, &RequestBody::default())
    }

    /// What a collection would do now.
    ///
    /// # Panics
    ///
    /// When finding out changes anything.
    pub fn gc_dry_run(&mut self) -> Report {
        let mut step = self.registry.gc_dry_run(self.memory.ambient());
        loop {
            step = match step {
                Step::Respond(report) => return report,
                Step::Commit(ask) => panic!("a dry run commits {:?}", ask.effect),
                Step::Erase(ask) => panic!("a dry run erases {:?}", ask.effect),
                asks => self.memory.perform(asks, &RequestBody::default()),
            };
        }
    }

    /// Begins a call and stops it before its first effect.
    pub fn begin(&mut self, call: Call) -> Running {
        let ambient = self.memory.ambient();
        Running { step: self.registry.call(call.request.clone(), ambient), call }
    }
}

/// A call that stands before an effect, or at its end. Dropping it is a crash.
#[must_use = "a call that is not driven on has crashed"]
#[derive(Debug)]
pub struct Running {
    call: Call,
    step: Step,
}

impl Running {
    /// Whether the client has its answer.
    pub fn is_over(&self) -> bool {
        matches!(self.step, Step::Respond(_) | Step::Answered(..))
    }

    /// The name of the effect it stands before, or `Respond` or `Answered`.
    pub fn before(&self) -> &'static str {
        self.step.name()
    }

    /// How many records the effect that it stands before reads.
    pub fn reads(&self, system: &InMemory) -> usize {
        let records = &system.memory.records;
        match &self.step {
            Step::Get(ask) => ask.effect.keys.iter().filter(|key| records.contains_key(key)).count(),
            Step::Scan(ask) => {
                let Scan { prefix, after, limit, .. } = &ask.effect;
                let first = after.clone().unwrap_or_else(|| Key::stored(prefix.as_str()));
                let under = records.range(first..).filter(|(key, _)| Some(*key) != after.as_ref());
                under.take_while(|(key, _)| key.as_str().starts_with(prefix.as_str())).take(*limit).count()
            }
            _ => 0,
        }
    }

    /// Performs one effect.
    pub fn step(self, system: &mut InMemory) -> Self {
        Self { step: system.memory.perform(self.step, &self.call.body), ..self }
    }

    /// Performs effects until it stands before one of that name.
    #[track_caller]
    pub fn until(mut self, effect: &str, system: &mut InMemory) -> Self {
        while self.before() != effect {
            assert!(!self.is_over(), "{} never asks for {effect}", self.call);
            self = self.step(system);
        }
        self
    }

    /// Answers the effect it stands before with a fault; `done` says whether it happened all the same.
    pub fn fail(self, fault: Fault, done: bool, system: &mut InMemory) -> Self {
        let step = if done {
            perform(&mut system.memory, self.step, &self.call.body, |_, _| Some(fault))
        } else {
            self.step.fail(fault)
        };
        Self { step, ..self }
    }

    /// Tells a call that waits for a [fetch](orlop_core::effect::Follow) how that stands.
    #[track_caller]
    pub fn told(self, followed: Followed) -> Self {
        match self.step {
            Step::Follow(ask) => Self { step: ask.answer(Ok(followed)), ..self },
            other => panic!("{} waits for no fetch, but for {}", self.call, other.name()),
        }
    }

    /// Runs it to its end, and leaves the body of the answer for a host to send.
    pub fn end_unsent(self, system: &mut InMemory) -> Answer {
        let response = system.memory.run(self.step, &self.call.body);
        Answer { to: self.call.to_string(), response }
    }

    /// Drops it where it stands: a crash.
    pub fn crash(self) {}

    /// Runs it to its end.
    pub fn end(self, system: &mut InMemory) -> Answer {
        let response = system.memory.run(self.step, &self.call.body);
        Answer { to: self.call.to_string(), response: system.memory.fill(response) }
    }
}

/// Whatever performs effects: a storage host.
pub trait Performs {
    /// Runs a call to its end.
    fn run<R: Send>(&mut self, step: Step<R>, body: &RequestBody) -> R;
}

impl Performs for Memory {
    fn run<R: Send>(&mut self, step: Step<R>, body: &RequestBody) -> R {
        Memory::run(self, step, body)
    }
}

/// Performs the effect that is asked for, shows the question and its outcome, and answers with the outcome, or
/// with the fault that whoever was shown them wants instead.
pub fn perform<R>(
    host: &mut impl Performs,
    step: Step<R>,
    body: &RequestBody,
    show: impl FnOnce(&dyn fmt::Debug, &dyn fmt::Debug) -> Option<Fault>,
) -> Step<R> {
    macro_rules! each_effect {
        ($($effect:ident { $($field:ident)* })*) => {
            match step {
                $(Step::$effect(ask) => {
                    // The host performs it for a call of one question.
                    let effect = ask.effect.clone();
                    let outcome = host.run(start(|io| async move { io.ask(effect).await }), body);
                    match show(&ask.effect, &outcome) {
                        Some(fault) => ask.answer(Err(fault)),
                        None => ask.answer(outcome),
                    }
                })*
                over @ (Step::Respond(_) | Step::Answered(..)) => over,
            }
        };
    }
    orlop_core::for_each_effect!(each_effect)
}
