//! The reference host: everything in memory. It is what documentation and tests run on, and what another host may
//! be compared with.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;
use core::time::Duration;

use bytes::Bytes;

use crate::ambient::{Ambient, Timestamp};
use crate::effect::{
    Assemble, BodyEnd, Collected, Commit, Committed, Expect, Fault, Get, Inventory, Object, Receive, Received, Scan,
    Step, Stored, Value,
};
use crate::http::{Body, Piece, Request, Response};
use crate::keys::{Key, Prefix};
use crate::registry::Registry;

/// Records and bytes in memory, and a clock that stands still until it is told otherwise.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The records.
    pub records: BTreeMap<Key, Value>,
    /// The bytes at rest, and since when they are there.
    pub objects: BTreeMap<Object, (Bytes, Timestamp)>,
    /// The time.
    pub now: Timestamp,
    calls: u64,
}

/// The body of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestBody {
    /// The bytes that arrive.
    pub bytes: Bytes,
    /// Whether the connection breaks after them.
    pub cut: bool,
}

impl<T: Into<Bytes>> From<T> for RequestBody {
    fn from(bytes: T) -> Self {
        Self { bytes: bytes.into(), cut: false }
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Surroundings for the next call. The nonces are numbers in order: unlike those of a real host, they can be
    /// guessed, and a test can repeat them.
    pub fn ambient(&mut self) -> Ambient {
        self.calls += 1;
        let nonce = uuid::Builder::from_random_bytes(u128::from(self.calls).to_be_bytes()).into_uuid();
        Ambient { now: self.now, nonce }
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        self.now.0 += u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    }

    /// Makes a call from its beginning to its end. The response has its body in memory.
    pub fn call(&mut self, registry: &Registry, request: &Request, body: impl Into<RequestBody>) -> Response {
        let body = body.into();
        let ambient = self.ambient();
        let step = registry.call(request.clone(), ambient);
        let response = self.run(step, &body);
        self.fill(response)
    }

    /// Runs a call to its end.
    pub fn run<R>(&mut self, mut step: Step<R>, body: &RequestBody) -> R {
        loop {
            match step {
                Step::Respond(result) => return result,
                asked => step = self.perform(asked, body),
            }
        }
    }

    /// Performs the one effect that is asked for; a finished call stays finished.
    pub fn perform<R>(&mut self, step: Step<R>, body: &RequestBody) -> Step<R> {
        match step {
            Step::Collect(ask) => {
                let fits = body.bytes.len() as u64 <= ask.effect.limit;
                ask.answer(Ok(match fits {
                    false => Collected::TooLarge,
                    true if body.cut => Collected::Cut,
                    true => Collected::Whole(body.bytes.clone()),
                }))
            }
            Step::Receive(ask) => {
                let received = self.receive(ask.effect.clone(), body);
                ask.answer(Ok(received))
            }
            Step::Assemble(ask) => {
                let outcome = self.assemble(&ask.effect);
                ask.answer(outcome)
            }
            Step::Load(ask) => {
                let found = self.objects.get(&Object::Content(ask.effect.content)).map(|(bytes, _)| bytes.clone());
                let limit = ask.effect.limit;
                ask.answer(Ok(found.filter(|bytes| bytes.len() as u64 <= limit)))
            }
            Step::Measure(ask) => {
                let mut meter = ask.effect.meter.clone();
                let found = self.objects.get(&Object::Content(ask.effect.content));
                let measured = found.map(|(bytes, _)| {
                    meter.update(bytes);
                    meter
                });
                ask.answer(Ok(measured))
            }
            Step::Erase(ask) => {
                self.objects.remove(&ask.effect.target);
                ask.answer(Ok(()))
            }
            Step::Inventory(ask) => {
                let listed = self.inventory(&ask.effect);
                ask.answer(Ok(listed))
            }
            Step::Get(ask) => {
                let values = self.get(&ask.effect);
                ask.answer(Ok(values))
            }
            Step::Scan(ask) => {
                let entries = self.scan(&ask.effect);
                ask.answer(Ok(entries))
            }
            Step::Commit(ask) => {
                let committed = self.commit(&ask.effect);
                ask.answer(Ok(committed))
            }
            done @ Step::Respond(_) => done,
        }
    }

    /// Puts the bytes of a streamed body into the response; one whose content is gone becomes a 500.
    pub fn fill(&self, response: Response) -> Response {
        let Body::Content { content, pieces } = &response.body else { return response };
        let Some((stored, _)) = self.objects.get(&Object::Content(*content)) else {
            return Response { body: Body::Empty, status: 500, ..response };
        };
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Bytes(piece) => bytes.extend_from_slice(piece),
                // The core asks for nothing beyond the size it was told; an index of our own is in bounds.
                Piece::Slice(range) => bytes.extend_from_slice(&stored[range.start as usize..range.end as usize]),
            }
        }
        Response { body: Body::Bytes(bytes.into()), ..response }
    }

    fn receive(&mut self, Receive { part, mut meter }: Receive, body: &RequestBody) -> Received {
        let room = usize::try_from(meter.room()).unwrap_or(usize::MAX);
        let kept = body.bytes.slice(..body.bytes.len().min(room));
        let end = match body {
            _ if kept.len() < body.bytes.len() => BodyEnd::TooLarge,
            RequestBody { cut: true, .. } => BodyEnd::Cut,
            _ => BodyEnd::Whole,
        };
        meter.update(&kept);
        if !kept.is_empty() {
            self.objects.insert(Object::Part(part), (kept, self.now));
        }
        Received { meter, end }
    }

    fn assemble(&mut self, Assemble { parts, content }: &Assemble) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        for part in parts {
            let lost = || Fault::Failed(alloc::format!("the part {part} is not there"));
            bytes.extend_from_slice(&self.objects.get(&Object::Part(*part)).ok_or_else(lost)?.0);
        }
        self.objects.insert(Object::Content(*content), (bytes.into(), self.now));
        Ok(())
    }

    fn inventory(&self, Inventory { after, limit }: &Inventory) -> Vec<Stored> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let objects = self.objects.range((start, Bound::Unbounded)).take(*limit);
        objects
            .map(|(object, (bytes, since))| Stored {
                object: *object,
                size: bytes.len() as u64,
                age: self.now.since(*since),
            })
            .collect()
    }

    fn get(&self, Get { keys }: &Get) -> Vec<Option<Value>> {
        keys.iter().map(|key| self.records.get(key).cloned()).collect()
    }

    fn scan(&self, Scan { prefix, after, limit, bytes }: &Scan) -> Vec<(Key, Value)> {
        let mut page = Vec::new();
        let mut size = 0;
        for (key, value) in self.under(prefix, after.as_ref()).take(*limit) {
            size += value.len();
            if size > *bytes && !page.is_empty() {
                break;
            }
            page.push((key.clone(), value.clone()));
        }
        page
    }

    fn under<'a>(&'a self, prefix: &'a Prefix, after: Option<&Key>) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        let first = Key::stored(prefix.as_str());
        let start = match after {
            Some(after) if *after >= first => Bound::Excluded(after.clone()),
            _ => Bound::Included(first),
        };
        self.records.range((start, Bound::Unbounded)).take_while(|(key, _)| key.as_str().starts_with(prefix.as_str()))
    }

    fn commit(&mut self, Commit { expect, put, delete, .. }: &Commit) -> Committed {
        let holds = |expectation: &Expect| match expectation {
            Expect::Absent(key) => !self.records.contains_key(key),
            Expect::Present(key) => self.records.contains_key(key),
            Expect::Exactly(key, value) => self.records.get(key) == Some(value),
            Expect::NoneUnder(prefix) => self.under(prefix, None).next().is_none(),
        };
        if !expect.iter().all(holds) {
            return Committed::Conflict;
        }
        delete.iter().for_each(|key| drop(self.records.remove(key)));
        put.iter().for_each(|(key, value)| drop(self.records.insert(key.clone(), value.clone())));
        Committed::Done
    }
}

/// A request for tests and examples: `request("GET", "/v2/")`.
pub fn request(method: &str, target: impl Into<String>) -> Request {
    let headers = crate::Headers::new();
    Request { method: crate::Method::named(method), target: target.into(), headers, length: None, base: None }
}
