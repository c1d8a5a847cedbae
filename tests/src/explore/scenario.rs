//! A scenario: a prepared store and a handful of calls that are made at the same time.

use std::collections::BTreeSet;
use std::time::Duration;

use orlop_core::ambient::Timestamp;
use orlop_core::memory::{Memory, RequestBody};
use orlop_core::{Ambient, Body, Config, Method, Registry, Request, Response};

/// A call that is to be made.
#[derive(Clone, Debug)]
pub enum Call {
    /// A request and its body.
    Request(Request, RequestBody),
    /// A garbage collection.
    Gc,
}

/// A store as it is found, and what happens at once.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is about.
    pub name: String,
    /// The registry.
    pub registry: Registry,
    /// The configuration of it.
    pub config: Config,
    /// The store before the calls.
    pub before: Memory,
    /// The calls, all of them made at the same moment.
    pub calls: Vec<Call>,
    /// The digests that are deleted explicitly, beforehand or by the calls.
    pub deleted: BTreeSet<String>,
}

/// An hour.
pub const HOUR: Duration = Duration::from_secs(3600);

impl Scenario {
    /// A scenario on an empty store. Bodies of up to four bytes are kept among the records, larger ones as objects, of
    /// which three are joined.
    pub fn new(name: impl Into<String>, config: Config) -> Self {
        let config = Config { small_object: 4, blob_objects: 2, ..config };
        let mut before = Memory::new();
        // A time of zero would hide what is compared with it.
        before.now = Timestamp(1_000_000);
        Self {
            name: name.into(),
            registry: Registry::new(config.clone()),
            config,
            before,
            calls: Vec::new(),
            deleted: BTreeSet::new(),
        }
    }

    /// Makes a call beforehand.
    ///
    /// # Panics
    ///
    /// When it is refused.
    #[must_use]
    pub fn given(mut self, call: &Call) -> Self {
        self.make(call);
        self
    }

    /// Opens an upload session beforehand and calls it by the name that [`session`](Self::session) knows.
    #[must_use]
    pub fn given_session(mut self, repository: &str, chunks: &[&'static [u8]]) -> Self {
        let opened = self.make(&super::sample::ask("POST", format!("/v2/{repository}/blobs/uploads/")));
        let session = opened.header("Location").expect("a session has a location").to_string();
        for chunk in chunks {
            self.make(&super::sample::patch(&session, None, chunk));
        }
        self
    }

    /// The location of the only upload session there is.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn session(&self) -> String {
        let (key, value) =
            self.before.records.iter().find(|(key, _)| key.as_str().starts_with("upload/")).expect("a session");
        let record: serde_json::Value = serde_json::from_slice(value).expect("a record is JSON");
        let repository = record["repository"].as_str().expect("a session belongs to a repository");
        format!("/v2/{repository}/blobs/uploads/{}", &key.as_str()["upload/".len()..])
    }

    /// Lets time pass.
    #[must_use]
    pub fn later(mut self, time: Duration) -> Self {
        self.before.advance(time);
        self
    }

    /// Makes these calls at the same time.
    #[must_use]
    pub fn at_once(mut self, calls: impl IntoIterator<Item = Call>) -> Self {
        for call in calls {
            self.take_down(&call);
            self.calls.push(call);
        }
        self
    }

    fn take_down(&mut self, call: &Call) {
        if let Call::Request(request, _) = call
            && request.method == Method::Delete
            && let Some((_, digest)) = request.target.rsplit_once('/')
        {
            self.deleted.insert(digest.into());
        }
    }

    fn make(&mut self, call: &Call) -> Response {
        self.take_down(call);
        let Call::Request(request, body) = call else {
            let step = self.registry.gc(self.before.ambient());
            let _ = self.before.run(step, &RequestBody::default());
            return Response::new(200);
        };
        let response = self.before.call(&self.registry, request, body.clone());
        assert!(response.status < 300, "{}: {request:?} was refused beforehand: {response:?}", self.name);
        response
    }

    /// What surrounds the call of that number. Its nonce is the same in every schedule, so that what two
    /// schedules result in can be compared.
    pub fn ambient(&self, call: usize) -> Ambient {
        let nonce = uuid::Builder::from_random_bytes((0xca11_u128 << 64 | call as u128).to_be_bytes()).into_uuid();
        Ambient { now: self.before.now, nonce }
    }

    /// Longer than every grace and lifetime.
    pub fn long_enough(&self) -> Duration {
        let Config { upload_lifetime, blob_grace, untagged_lifetime, call_lifetime, .. } = &self.config;
        *upload_lifetime + *blob_grace + untagged_lifetime.unwrap_or_default() + *call_lifetime + HOUR
    }
}

/// A response with the bytes that its client gets; `None` when an object went before it could be opened, so
/// that the host makes the call again.
pub(super) fn filled(store: &Memory, response: Response) -> Option<Response> {
    let streamed = matches!(response.body, Body::Pieces(_));
    let filled = store.fill(response);
    if streamed && filled.status == 500 { None } else { Some(filled) }
}
