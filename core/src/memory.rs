//! The reference host: everything in memory. It is what documentation and tests run on, and what another host may
//! be compared with.

mod upstream;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;
use core::time::Duration;

use bytes::Bytes;

pub use self::upstream::Upstream;
use crate::ambient::{Ambient, Timestamp};
use crate::config::Config;
use crate::effect::{
    BodyEnd, Collected, Commit, Committed, Fault, Get, Inventory, Join, Receive, Received, Scan, Step, Stored, Value,
};
use crate::http::{Body, Piece, Request, Response};
use crate::judge::Snapshot;
use crate::keys::{Key, Prefix};
use crate::mirror::UpstreamName;
use crate::object::ObjectId;
use crate::registry::Registry;
use crate::stall::Stall;

/// Records and bytes in memory, and a clock that stands still until it is told otherwise.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The records.
    pub records: BTreeMap<Key, Value>,
    /// The bytes at rest, and since when they are there.
    pub objects: BTreeMap<ObjectId, (Bytes, Timestamp)>,
    /// The time.
    pub now: Timestamp,
    /// How much time passes with each effect: none, unless a test wants it.
    pub tick: Duration,
    /// The registries that mirrors stand in front of.
    pub upstreams: BTreeMap<UpstreamName, Upstream>,
    /// What an upstream has sent last to be passed on.
    relayed: Bytes,
    calls: u64,
}

/// The body of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestBody {
    /// The bytes that arrive.
    pub bytes: Bytes,
    /// Whether the connection breaks after them.
    pub cut: bool,
    /// Whether it comes in two halves, so far apart that the [pause](Receive) is over between them.
    pub slow: bool,
}

impl<T: Into<Bytes>> From<T> for RequestBody {
    fn from(bytes: T) -> Self {
        Self { bytes: bytes.into(), ..Self::default() }
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

    /// Flips a bit of an object, as a disk may.
    pub fn flip(&mut self, object: ObjectId) {
        if let Some((bytes, _)) = self.objects.get_mut(&object) {
            *bytes = flipped(bytes);
        }
    }

    /// Makes a call from its beginning to its end. The response has its body in memory.
    pub fn call(&mut self, registry: &Registry, request: &Request, body: impl Into<RequestBody>) -> Response {
        let body = body.into();
        let ambient = self.ambient();
        let step = registry.call(request.clone(), ambient);
        let response = self.run(step, &body);
        self.fill(response)
    }

    /// Runs a call to its end, and what it leaves for after its answer. It keeps the [stall rule](crate::stall) for the
    /// usual lifetime of calls.
    pub fn run<R>(&mut self, step: Step<R>, body: &RequestBody) -> R {
        self.run_within(Config::default().call_lifetime, step, body)
    }

    /// The same for another lifetime of calls.
    pub fn run_within<R>(&mut self, call_lifetime: Duration, mut step: Step<R>, body: &RequestBody) -> R {
        let mut stall = Stall::new(call_lifetime);
        let clock = |memory: &Self| Duration::from_millis(memory.now.0);
        loop {
            step = match step {
                Step::Respond(result) => return result,
                Step::Answered(result, rest) => {
                    self.run_within(call_lifetime, rest.begin(), &RequestBody::default());
                    return result;
                }
                Step::Commit(ask) => match stall.check(clock(self)) {
                    Ok(()) => self.perform(Step::Commit(ask), body),
                    Err(fault) => ask.answer(Err(fault)),
                },
                makes @ (Step::Receive(_) | Step::Join(_) | Step::Fetch(_)) => {
                    let objects = self.objects.len();
                    let next = self.perform(makes, body);
                    if self.objects.len() > objects {
                        stall.made(clock(self));
                    }
                    next
                }
                asks => self.perform(asks, body),
            };
            self.advance(self.tick);
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
            Step::Join(ask) => {
                let joined = self.join(&ask.effect);
                ask.answer(Ok(joined))
            }
            Step::Load(ask) => {
                let limit = ask.effect.limit;
                let loaded = self.concatenated(&ask.effect.objects).filter(|bytes| bytes.len() as u64 <= limit);
                ask.answer(Ok(loaded))
            }
            Step::Measure(ask) => {
                let mut meter = ask.effect.meter.clone();
                let measured = self.concatenated(&ask.effect.objects).map(|bytes| {
                    let room = usize::try_from(meter.room()).unwrap_or(usize::MAX);
                    meter.update(&bytes[..bytes.len().min(room)]);
                    meter
                });
                ask.answer(Ok(measured))
            }
            Step::Erase(ask) => {
                ask.effect.objects.iter().for_each(|object| drop(self.objects.remove(object)));
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
                ask.answer(committed)
            }
            Step::Inquire(ask) => {
                let answer = self.inquire(&ask.effect.wanted, ask.effect.limit);
                ask.answer(Ok(answer))
            }
            Step::Fetch(ask) => {
                let fetch = ask.effect.clone();
                let fetched = self.fetch(&fetch.source, fetch.object, fetch.meter, fetch.keep);
                ask.answer(Ok(fetched))
            }
            Step::Follow(ask) => {
                let fetching = ask.effect.fetching.clone();
                let followed = self.follow(|ambient| fetching.begin(ambient));
                ask.answer(Ok(followed))
            }
            Step::Relay(ask) => {
                let relayed = self.relay(&ask.effect.source, ask.effect.range.as_ref());
                ask.answer(Ok(relayed))
            }
            over @ (Step::Respond(_) | Step::Answered(..)) => over,
        }
    }

    /// Puts the bytes of a streamed body into the response; one of whose objects is gone becomes a 500.
    pub fn fill(&self, response: Response) -> Response {
        let pieces = match &response.body {
            Body::Pieces(pieces) => pieces,
            Body::Relayed => return Response { body: Body::Bytes(self.relayed.clone()), ..response },
            // A fetch is over here before a call learns of it.
            Body::Coming(_) => return Response { body: Body::Empty, status: 500, ..response },
            Body::Empty | Body::Bytes(_) => return response,
        };
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Bytes(piece) => bytes.extend_from_slice(piece),
                Piece::Slice(object, range) => match self.objects.get(object) {
                    // The core asks for nothing beyond the size it was told; an index of our own is in bounds.
                    Some((stored, _)) => bytes.extend_from_slice(&stored[range.start as usize..range.end as usize]),
                    None => return Response { body: Body::Empty, status: 500, ..response },
                },
            }
        }
        Response { body: Body::Bytes(bytes.into()), ..response }
    }

    fn receive(&mut self, Receive { object, mut meter, keep, pause }: Receive, body: &RequestBody) -> Received {
        // What an earlier question has received of the same body.
        let before = self.objects.get(&object).map(|(bytes, _)| bytes.clone()).unwrap_or_default();
        let rest = body.bytes.slice(before.len()..);
        let later = body.slow && before.is_empty() && rest.len() > 1;
        let coming = if later { rest.slice(..rest.len() / 2) } else { rest };
        let room = usize::try_from(meter.room()).unwrap_or(usize::MAX);
        let kept = coming.slice(..coming.len().min(room));
        let end = match body {
            _ if kept.len() < coming.len() => BodyEnd::TooLarge,
            _ if later => BodyEnd::Later,
            RequestBody { cut: true, .. } => BodyEnd::Cut,
            _ => BodyEnd::Whole,
        };
        meter.update(&kept);
        let took = if later { pause } else { Duration::ZERO };
        if end != BodyEnd::Later && before.is_empty() && kept.len() <= keep {
            return Received { meter, end, kept: Some(kept).filter(|kept| !kept.is_empty()), took };
        }
        if !kept.is_empty() {
            self.objects.insert(object, ([before, kept].concat().into(), self.now));
        }
        Received { meter, end, kept: None, took }
    }

    fn join(&mut self, Join { from, into }: &Join) -> bool {
        let Some(bytes) = self.concatenated(from) else { return false };
        self.objects.insert(*into, (bytes, self.now));
        true
    }

    /// The bytes of objects, one behind the other; `None` when one is not there.
    fn concatenated(&self, objects: &[ObjectId]) -> Option<Bytes> {
        let mut bytes = Vec::new();
        for object in objects {
            bytes.extend_from_slice(&self.objects.get(object)?.0);
        }
        Some(bytes.into())
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

    fn commit(&mut self, commit: &Commit) -> Result<Committed, Fault> {
        if !commit.holds(&*self)? {
            return Ok(Committed::Conflict);
        }
        for (key, value) in commit.changes(&*self)? {
            match value {
                Some(value) => drop(self.records.insert(key, value)),
                None => drop(self.records.remove(&key)),
            }
        }
        Ok(Committed::Done)
    }
}

impl Snapshot for Memory {
    fn value(&self, key: &Key) -> Result<Option<Value>, Fault> {
        Ok(self.records.get(key).cloned())
    }

    fn any_under(&self, prefix: &Prefix) -> Result<bool, Fault> {
        Ok(self.under(prefix, None).next().is_some())
    }
}

/// These bytes with another bit in the middle.
fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
    bytes.into()
}

/// A request for tests and examples: `request("GET", "/v2/")`.
pub fn request(method: &str, target: impl Into<String>) -> Request {
    let headers = crate::Headers::new();
    Request { method: crate::Method::named(method), target: target.into(), headers, length: None, base: None }
}
