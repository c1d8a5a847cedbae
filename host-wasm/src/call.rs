//! A call that stands at an effect, or is over.

use std::time::Duration;

use bytes::Bytes;
use js_sys::{Array, Uint8Array};
use orlop_core::effect::{BodyEnd, Collected, Committed, Durability, Fault, Received, Step, Stored, Value};
use orlop_core::keys::Key;
use orlop_core::meter::Meter;
use orlop_core::mirror::{self, As, Followed, Relayed, Unmet};
use orlop_core::object::InvalidObjectId;
use orlop_core::registry::Report;
use orlop_core::stall::Stall;
use orlop_core::{Agreement, Body, Disagreement, Error, Eviction, Piece, Response};
use serde_json::{Value as Json, json};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use crate::bug::Bug;
use crate::engine::{Engine, ambient};
use crate::view::{View, view};

/// A call and where it stands. `effect` names the effect that it asks for; each effect is answered by one method.
#[wasm_bindgen]
pub struct Call {
    /// Nothing after a crash.
    step: Option<Step<End>>,
    /// What the call came to, as soon as that is known. Effects may follow: what it does behind its answer.
    end: Option<End>,
    /// What `Receive`, `Fetch` and `Measure` show the bytes to.
    meter: Option<Meter>,
    stall: Stall,
    bug: Bug,
    altered: bool,
    /// What the last effect came to.
    outcome: Json,
}

/// What a call comes to.
#[derive(Debug)]
pub(crate) enum End {
    Response(Response),
    Report(Report),
    /// Blobs were taken out of mirrors, or the storage failed.
    Evicted(Result<Eviction, Fault>),
    Agreed(Result<Agreement, Disagreement>),
    /// A blob of a mirror is kept, or why not.
    Fetched(Result<(), Error>),
    /// What was wrong in a case of the suite, if anything was.
    #[cfg(feature = "suite")]
    Checked(Result<(), String>),
    /// It has done what it left for after its answer.
    Rest,
}

/// Answers the effect `$effect`, which must be the one asked for.
macro_rules! answer {
    ($call:ident, $effect:ident, $outcome:expr) => {{
        let Some(Step::$effect(ask)) = $call.step.take() else {
            panic!(concat!("the call does not ask for ", stringify!($effect)))
        };
        let outcome = $outcome;
        $call.outcome = outcome.view();
        $call.step = Some(ask.answer(Ok(outcome)));
        $call.arrive();
    }};
}

/// The effect asked for, which must be `$effect`.
macro_rules! asked {
    ($call:ident, $effect:ident) => {
        match &$call.step {
            Some(Step::$effect(ask)) => &ask.effect,
            _ => panic!(concat!("the call does not ask for ", stringify!($effect))),
        }
    };
}

impl Call {
    pub(crate) fn new(step: Step<End>, call_lifetime: Duration, bug: Bug) -> Self {
        let stall = Stall::new(call_lifetime);
        let mut call =
            Self { step: Some(step), end: None, meter: None, stall, bug, altered: false, outcome: Json::Null };
        call.arrive();
        call
    }

    /// Keeps the result as soon as there is one, and makes ready for the effect that is asked for now.
    fn arrive(&mut self) {
        let bug = self.bug;
        let mut step = self.step.take();
        while let Some(Step::Answered(end, rest)) = step {
            self.ends(end);
            step = Some(rest.begin().map(|()| End::Rest));
        }
        if let Some(Step::Respond(end)) = step {
            self.ends(end);
            step = Some(Step::Respond(End::Rest));
        }
        self.altered = step.as_mut().is_some_and(|step| bug.alter(step));
        self.meter = match &step {
            Some(Step::Receive(ask)) => Some(ask.effect.meter.clone()),
            Some(Step::Fetch(ask)) => Some(ask.effect.meter.clone()),
            Some(Step::Measure(ask)) => Some(ask.effect.meter.clone()),
            _ => None,
        };
        self.step = step;
    }

    fn ends(&mut self, mut end: End) {
        if let End::Response(response) = &mut end {
            self.bug.answered(response);
        }
        self.end.get_or_insert(end);
    }

    fn name(&self) -> &'static str {
        self.step.as_ref().map_or("Over", Step::name)
    }

    fn meter(&mut self) -> &mut Meter {
        self.meter.as_mut().expect("bytes are shown to Receive, Fetch and Measure alone")
    }
}

#[wasm_bindgen]
impl Call {
    /// The name of the effect that is asked for, `Respond` at the end, `Over` after a crash.
    pub fn effect(&self) -> String {
        self.name().to_owned()
    }

    /// The effect in detail, as JSON; an altered one says so.
    pub fn describe(&self) -> String {
        let mut view = self.step.as_ref().map_or_else(|| json!({ "effect": "Over" }), view);
        if self.altered {
            view["altered"] = true.into();
        }
        view.to_string()
    }

    /// What the last effect came to, as JSON.
    pub fn outcome(&self) -> String {
        self.outcome.to_string()
    }

    // ── records ──────────────────────────────────────────────────────────────────────────────────────────

    /// Answers `Get` and `Scan` out of the records, one after the other, until something else is asked; with `once`
    /// only one.
    pub fn look_up(&mut self, engine: &mut Engine, once: bool) {
        loop {
            match self.name() {
                "Get" => {
                    let keys = asked!(self, Get).keys.clone();
                    let mut values: Vec<_> = keys.iter().map(|key| engine.memory.records.get(key).cloned()).collect();
                    self.bug.got(&keys, &mut values);
                    answer!(self, Get, values);
                }
                "Scan" => {
                    let entries = look(engine, asked!(self, Scan).clone());
                    answer!(self, Scan, entries);
                }
                _ => return,
            }
            if once {
                return;
            }
        }
    }

    /// What the commit changes, to be stored before it is [applied](Changes::apply); nothing when something that it
    /// expects is no longer so. `now` is in milliseconds, by the clock that [`made`](Self::made) was told.
    ///
    /// # Errors
    ///
    /// When the call was held up for so long that it may not commit any more.
    pub fn changes(&self, engine: &Engine, now: f64) -> Result<Option<Changes>, JsError> {
        let commit = asked!(self, Commit);
        self.stall.check(milliseconds(now))?;
        if !commit.holds(&engine.memory)? {
            return Ok(None);
        }
        let changes = commit.changes(&engine.memory)?;
        Ok(Some(Changes { changes, durable: commit.durability == Durability::Durable }))
    }

    /// Answers `Commit`: it is done, or met a conflict.
    pub fn committed(&mut self, done: bool) {
        let outcome = self.bug.committed(if done { Committed::Done } else { Committed::Conflict });
        answer!(self, Commit, outcome);
    }

    // ── the body of the request ──────────────────────────────────────────────────────────────────────────

    /// Answers `Collect`. `end` is `whole`, `too-large` or `cut`.
    pub fn collected(&mut self, bytes: Vec<u8>, end: &str) {
        let outcome = match end {
            "whole" => Collected::Whole(bytes.into()),
            "too-large" => Collected::TooLarge,
            _ => Collected::Cut,
        };
        answer!(self, Collect, outcome);
    }

    /// Shows bytes to the meter of `Receive`, `Fetch` or `Measure`, as many of them as it has room for: how many that were.
    pub fn show(&mut self, bytes: &[u8]) -> usize {
        let meter = self.meter();
        let room = usize::try_from(meter.room()).unwrap_or(usize::MAX);
        let taken = &bytes[..bytes.len().min(room)];
        meter.update(taken);
        taken.len()
    }

    /// Answers `Receive` or `Fetch`. `end` is `whole`, `too-large`, `cut` or `later`, `kept` the bytes if they make no
    /// object, `took` how long it took, in milliseconds.
    pub fn received(&mut self, end: &str, kept: Option<Vec<u8>>, took: f64) {
        let end = match end {
            "whole" => BodyEnd::Whole,
            "too-large" => BodyEnd::TooLarge,
            "later" => BodyEnd::Later,
            _ => BodyEnd::Cut,
        };
        let kept = kept.map(Bytes::from);
        let outcome = Received { meter: self.meter().clone(), end, kept, took: Duration::from_millis(took as u64) };
        match self.name() {
            "Fetch" => answer!(self, Fetch, Ok(outcome)),
            _ => answer!(self, Receive, outcome),
        }
    }

    /// Answers a `Fetch` that was to go on with an object that is gone.
    pub fn lost(&mut self) {
        self.meter = Some(Meter::new(self.meter().algorithm()));
        self.received("cut", None, 0.0);
    }

    /// The digest of the bytes that the meter of `Receive`, `Fetch` or `Measure` has been shown.
    pub fn digest(&mut self) -> String {
        self.meter().digest().to_string()
    }

    // ── upstreams ────────────────────────────────────────────────────────────────────────────────────────

    /// With which login of a caller `Inquire`, `Fetch` or `Relay` asks: the value of `Authorization`. It is kept out of
    /// [`describe`](Self::describe), which is shown.
    pub fn authorization(&self) -> Option<String> {
        let login = match self.step.as_ref()? {
            Step::Inquire(ask) => &ask.effect.wanted.login,
            Step::Fetch(ask) => &ask.effect.source.login,
            Step::Relay(ask) => &ask.effect.source.login,
            _ => return None,
        };
        let As::Caller(login) = login else { return None };
        login.as_ref().map(|login| login.authorization().to_owned())
    }

    /// Answers `Inquire` with `Content-Type`, `Docker-Content-Digest`, `Content-Length`, where the next page of a list is,
    /// and the body of an upstream's answer. A digest that is none is as if it were not there.
    pub fn inquired(
        &mut self,
        media_type: Option<String>,
        digest: Option<String>,
        length: Option<f64>,
        next: Option<String>,
        body: Vec<u8>,
    ) {
        let answer = mirror::Answer {
            media_type,
            digest: digest.and_then(|digest| digest.parse().ok()),
            length: length.map(|length| length as u64),
            next,
            body: body.into(),
        };
        answer!(self, Inquire, Ok(answer));
    }

    /// Answers `Inquire`, `Fetch` or `Relay`: the upstream has not given it. `kind` is `absent`, `denied`, `paused` for
    /// `pause` milliseconds, or `failed` for a reason.
    pub fn unmet(&mut self, kind: &str, reason: &str, pause: f64) {
        let unmet = match kind {
            "absent" => Unmet::Absent,
            "denied" => Unmet::Denied,
            "paused" => Unmet::Paused(milliseconds(pause)),
            _ => Unmet::Failed(reason.into()),
        };
        match self.name() {
            "Inquire" => answer!(self, Inquire, Err(unmet)),
            "Fetch" => answer!(self, Fetch, Err(unmet)),
            _ => answer!(self, Relay, Err(unmet)),
        }
    }

    /// Begins the fetch that `Follow` asks for, a call of its own.
    pub fn fetch(&self, engine: &Engine, now: f64, random: &[u8]) -> Call {
        let fetching = asked!(self, Follow).fetching.clone();
        engine.begin(fetching.begin(ambient(now, random)), End::Fetched)
    }

    /// What the fetch of a blob came to, once that is known.
    pub fn fetched(&self) -> Option<Fetched> {
        match &self.end {
            Some(End::Fetched(result)) => Some(Fetched { result: result.clone() }),
            _ => None,
        }
    }

    /// Answers `Follow`: so many bytes come in all.
    pub fn coming(&mut self, size: f64) {
        answer!(self, Follow, Followed::Coming(size as u64));
    }

    /// Answers `Follow`: the fetch is over.
    pub fn followed(&mut self, fetched: &Fetched) {
        answer!(self, Follow, Followed::Over(fetched.result.clone()));
    }

    /// Answers `Relay`: the bytes come, of a blob of so many.
    pub fn relayed(&mut self, size: f64) {
        answer!(self, Relay, Ok(Relayed { size: size as u64 }));
    }

    // ── bytes at rest ────────────────────────────────────────────────────────────────────────────────────

    /// An object of the call is complete, `now` in milliseconds: from then on it must not be held up for too long.
    pub fn made(&mut self, now: f64) {
        self.stall.made(milliseconds(now));
    }

    /// Answers `Join`: it is done, or an object was not there.
    pub fn joined(&mut self, done: bool) {
        answer!(self, Join, done);
    }

    /// Answers `Erase`.
    pub fn erased(&mut self) {
        answer!(self, Erase, ());
    }

    /// Answers `Load`.
    pub fn loaded(&mut self, bytes: Option<Vec<u8>>) {
        answer!(self, Load, bytes.map(Bytes::from));
    }

    /// Answers `Measure`: all bytes have been shown, or an object was not there.
    pub fn measured(&mut self, found: bool) {
        let meter = found.then(|| self.meter().clone());
        answer!(self, Measure, meter);
    }

    /// Answers `Inventory` out of all objects: their names, sizes in bytes and ages in milliseconds.
    ///
    /// # Errors
    ///
    /// When a name is none of an object.
    pub fn listed(&mut self, names: Vec<String>, sizes: &[f64], ages: &[f64]) -> Result<(), JsError> {
        let inventory = asked!(self, Inventory);
        let (after, limit) = (inventory.after, inventory.limit);
        let all = names.iter().zip(sizes).zip(ages).map(|((name, size), age)| {
            Ok(Stored { object: name.parse()?, size: *size as u64, age: milliseconds(*age) })
        });
        let mut page: Vec<Stored> = all.collect::<Result<_, InvalidObjectId>>()?;
        page.retain(|stored| after.is_none_or(|after| stored.object > after));
        page.sort_unstable_by_key(|stored| stored.object);
        page.truncate(limit);
        answer!(self, Inventory, page);
        Ok(())
    }

    // ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    /// Answers whatever is asked with a fault. `kind` is `full`, `unavailable` or `failed`.
    pub fn fail(&mut self, reason: &str, kind: &str) {
        let fault = match kind {
            "full" => Fault::Full(reason.into()),
            "unavailable" => Fault::Unavailable(reason.into()),
            _ => Fault::Failed(reason.into()),
        };
        self.outcome = json!({ "fault": fault.to_string() });
        self.step = self.step.take().map(|step| step.fail(fault));
        self.arrive();
    }

    /// Ends the call where it stands, as a crash does. A response that was there is still there.
    pub fn crash(&mut self) {
        self.step = None;
        self.arrive();
    }

    /// Whether the result is there. Effects may follow all the same.
    pub fn answered(&self) -> bool {
        self.end.is_some()
    }

    /// The response, once there is one.
    pub fn response(&self) -> Option<Answer> {
        match &self.end {
            Some(End::Response(response)) => Some(Answer { response: response.clone() }),
            _ => None,
        }
    }

    /// The report of a garbage collection or an eviction, once there is one, as JSON. An eviction that failed says `fault`
    /// alone.
    pub fn report(&self) -> Option<String> {
        match &self.end {
            Some(End::Report(report)) => serde_json::to_string(report).ok(),
            Some(End::Evicted(Ok(eviction))) => serde_json::to_string(eviction).ok(),
            Some(End::Evicted(Err(fault))) => Some(json!({ "fault": fault.to_string() }).to_string()),
            _ => None,
        }
    }

    /// Why the records are not for this registry, once that is known; nothing if they are.
    pub fn refused(&self) -> Option<String> {
        match &self.end {
            Some(End::Agreed(agreed)) => agreed.as_ref().err().map(ToString::to_string),
            _ => None,
        }
    }

    /// What was wrong in a case of the suite, nothing if all was well.
    #[cfg(feature = "suite")]
    pub fn wrong(&self) -> Option<String> {
        match &self.end {
            Some(End::Checked(result)) => result.clone().err(),
            _ => Some("the case has not ended".into()),
        }
    }
}

/// A scan as the reference host does it.
fn look(engine: &mut Engine, scan: orlop_core::effect::Scan) -> Vec<(Key, Bytes)> {
    let question = orlop_core::step::start(|io| async move { io.ask(scan).await });
    // The reference host refuses nothing.
    engine.memory.run(question, &orlop_core::memory::RequestBody::default()).unwrap_or_default()
}

fn milliseconds(number: f64) -> Duration {
    Duration::from_millis(number as u64)
}

/// What a commit changes.
#[wasm_bindgen]
pub struct Changes {
    changes: Vec<(Key, Option<Value>)>,
    durable: bool,
}

#[wasm_bindgen]
impl Changes {
    /// In the order in which they are made: keys and their new values in turns, no value to remove the record.
    pub fn list(&self) -> Array {
        let list = Array::new();
        for (key, value) in &self.changes {
            list.push(&key.as_str().into());
            list.push(&value.as_ref().map_or(JsValue::UNDEFINED, |value| Uint8Array::from(&value[..]).into()));
        }
        list
    }

    /// Whether they must outlive a power cut once the commit is acknowledged.
    #[wasm_bindgen(getter)]
    pub fn durable(&self) -> bool {
        self.durable
    }

    /// Makes them in the records. Nothing else may have changed these since the changes were asked for.
    pub fn apply(self, engine: &mut Engine) {
        engine.apply(self.changes);
    }
}

/// What the fetch of a blob came to.
#[wasm_bindgen]
pub struct Fetched {
    result: Result<(), Error>,
}

/// A response.
#[wasm_bindgen]
pub struct Answer {
    response: Response,
}

#[wasm_bindgen]
impl Answer {
    /// The status code.
    #[wasm_bindgen(getter)]
    pub fn status(&self) -> u16 {
        self.response.status
    }

    /// Names and values in turns.
    #[wasm_bindgen(getter)]
    pub fn headers(&self) -> Vec<String> {
        self.response
            .headers
            .iter()
            .flat_map(|(name, value)| [(*name).to_owned(), value.clone().into_owned()])
            .collect()
    }

    /// The body: bytes as they are, pieces of objects as `[name, start, end]`. Nothing of what is not here yet: see
    /// `coming` and `relayed`.
    #[wasm_bindgen(getter)]
    pub fn pieces(&self) -> Array {
        match &self.response.body {
            Body::Empty | Body::Coming(_) | Body::Relayed => Array::new(),
            Body::Bytes(bytes) => Array::of1(&Uint8Array::from(&bytes[..])),
            Body::Pieces(pieces) => pieces.iter().map(piece).collect(),
        }
    }

    /// Which bytes of the blob that the call follows are the body: the first of them, and the end. Nothing, if that is not
    /// what the body is.
    #[wasm_bindgen(getter)]
    pub fn coming(&self) -> Option<Vec<f64>> {
        match &self.response.body {
            Body::Coming(range) => Some(vec![range.start as f64, range.end as f64]),
            _ => None,
        }
    }

    /// Whether the body is what the call has asked an upstream for last.
    #[wasm_bindgen(getter)]
    pub fn relayed(&self) -> bool {
        self.response.body == Body::Relayed
    }

    /// Why the storage or an upstream failed, if that is what the status tells.
    #[wasm_bindgen(getter)]
    pub fn fault(&self) -> Option<String> {
        self.response.fault.as_ref().map(ToString::to_string)
    }
}

fn piece(piece: &Piece) -> JsValue {
    match piece {
        Piece::Bytes(bytes) => Uint8Array::from(&bytes[..]).into(),
        Piece::Slice(object, range) => {
            let (start, end) = (JsValue::from(range.start as f64), JsValue::from(range.end as f64));
            Array::of3(&object.to_string().into(), &start, &end).into()
        }
    }
}
