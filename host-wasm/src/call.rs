//! A call that stands at an effect, or is over.

use std::time::Duration;

use bytes::Bytes;
use js_sys::{Array, Uint8Array};
use orlop_core::effect::{
    BodyEnd, Collected, Commit, Committed, ContentId, Durability, Effect, Expect, Fault, Object, PartId, Received,
    Step, Stored,
};
use orlop_core::keys::Key;
use orlop_core::meter::Meter;
use orlop_core::registry::Report;
use orlop_core::step::Ask;
use orlop_core::{Body, Piece, Response};
use serde_json::{Value as Json, json};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use crate::bug::Bug;
use crate::engine::Engine;
use crate::view::View;

/// A call and where it stands. `effect` names the effect that it asks for; each effect is answered by one method.
#[wasm_bindgen]
pub struct Call {
    standing: Standing,
    /// What `Receive` and `Measure` show the bytes to.
    meter: Option<Meter>,
    bug: Bug,
    altered: bool,
    /// What the last effect came to.
    outcome: Json,
}

/// The step of a call, by what it ends with.
pub(crate) enum Standing {
    Asking(Step<Response>),
    Sweeping(Step<Report>),
    #[cfg(feature = "suite")]
    Checking(Step<Result<(), String>>),
    /// It was crashed, or its end was taken.
    Over,
}

/// Looks at the step, whatever it ends with.
macro_rules! step {
    ($standing:expr, $step:ident => $look:expr, over => $over:expr) => {
        match $standing {
            Standing::Asking($step) => $look,
            Standing::Sweeping($step) => $look,
            #[cfg(feature = "suite")]
            Standing::Checking($step) => $look,
            Standing::Over => $over,
        }
    };
}

/// Answers the effect `$effect`, which must be the one asked for.
macro_rules! answer {
    ($call:ident, $effect:ident, $ask:ident => $outcome:expr) => {{
        let wrong = || panic!(concat!("the call does not ask for ", stringify!($effect)));
        $call.standing = match std::mem::replace(&mut $call.standing, Standing::Over) {
            Standing::Asking(Step::$effect($ask)) => Standing::Asking($call.tell($ask, $outcome)),
            Standing::Sweeping(Step::$effect($ask)) => Standing::Sweeping($call.tell($ask, $outcome)),
            #[cfg(feature = "suite")]
            Standing::Checking(Step::$effect($ask)) => Standing::Checking($call.tell($ask, $outcome)),
            _ => wrong(),
        };
        $call.arrive();
    }};
}

/// The effect asked for, which must be `$effect`.
macro_rules! asked {
    ($call:ident, $effect:ident, $asked:ident => $look:expr) => {
        match &$call.standing {
            Standing::Asking(Step::$effect(ask)) => {
                let $asked = &ask.effect;
                $look
            }
            Standing::Sweeping(Step::$effect(ask)) => {
                let $asked = &ask.effect;
                $look
            }
            #[cfg(feature = "suite")]
            Standing::Checking(Step::$effect(ask)) => {
                let $asked = &ask.effect;
                $look
            }
            _ => panic!(concat!("the call does not ask for ", stringify!($effect))),
        }
    };
}

impl Call {
    pub(crate) fn new(standing: Standing, bug: Bug) -> Self {
        let mut call = Self { standing, meter: None, bug, altered: false, outcome: Json::Null };
        call.arrive();
        call
    }

    /// Makes ready for the effect that is asked for now.
    fn arrive(&mut self) {
        let bug = self.bug;
        self.altered = step!(&mut self.standing, step => bug.alter(step), over => false);
        self.meter = step!(&self.standing, step => match step {
            Step::Receive(ask) => Some(ask.effect.meter.clone()),
            Step::Measure(ask) => Some(ask.effect.meter.clone()),
            _ => None,
        }, over => None);
        if let Standing::Asking(Step::Respond(response)) = &mut self.standing {
            bug.answered(response);
        }
    }

    fn tell<E: Effect, R>(&mut self, ask: Ask<E, R>, outcome: E::Outcome) -> Step<R>
    where
        E::Outcome: View,
    {
        self.outcome = outcome.view();
        ask.answer(Ok(outcome))
    }

    fn commit_asked(&self) -> &Commit {
        asked!(self, Commit, commit => commit)
    }

    fn meter(&mut self) -> &mut Meter {
        self.meter.as_mut().expect("bytes are shown to Receive and Measure alone")
    }
}

#[wasm_bindgen]
impl Call {
    /// The name of the effect that is asked for, `Respond` at the end, `Over` after a crash.
    pub fn effect(&self) -> String {
        step!(&self.standing, step => step.name(), over => "Over").to_owned()
    }

    /// The effect in detail, as JSON; an altered one says so.
    pub fn describe(&self) -> String {
        let view = step!(&self.standing, step => match step {
            Step::Collect(ask) => ask.effect.view(),
            Step::Receive(ask) => ask.effect.view(),
            Step::Assemble(ask) => ask.effect.view(),
            Step::Load(ask) => ask.effect.view(),
            Step::Measure(ask) => ask.effect.view(),
            Step::Erase(ask) => ask.effect.view(),
            Step::Inventory(ask) => ask.effect.view(),
            Step::Get(ask) => ask.effect.view(),
            Step::Scan(ask) => ask.effect.view(),
            Step::Commit(ask) => ask.effect.view(),
            Step::Respond(_) => json!({ "effect": "Respond" }),
        }, over => json!({ "effect": "Over" }));
        let mut view = view;
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
            match step!(&self.standing, step => step.name(), over => "Over") {
                "Get" => {
                    let keys = asked!(self, Get, get => get.keys.clone());
                    let mut values: Vec<_> = keys.iter().map(|key| engine.map().get(key).cloned()).collect();
                    self.bug.got(&keys, &mut values);
                    answer!(self, Get, ask => values);
                }
                "Scan" => {
                    let scan = asked!(self, Scan, scan => scan.clone());
                    let entries = look(engine, scan);
                    answer!(self, Scan, ask => entries);
                }
                _ => return,
            }
            if once {
                return;
            }
        }
    }

    /// Whether all that the commit expects holds.
    pub fn holds(&self, engine: &Engine) -> bool {
        let records = engine.map();
        self.commit_asked().expect.iter().all(|expectation| match expectation {
            Expect::Absent(key) => !records.contains_key(key),
            Expect::Present(key) => records.contains_key(key),
            Expect::Exactly(key, value) => records.get(key) == Some(value),
            Expect::NoneUnder(prefix) => {
                let first = records.range(Key::stored(prefix.as_str())..).next();
                !first.is_some_and(|(key, _)| key.as_str().starts_with(prefix.as_str()))
            }
        })
    }

    /// What the commit changes: to be stored before it is done.
    pub fn changes(&self) -> Changes {
        let commit = self.commit_asked();
        let (put, delete) = (Array::new(), Array::new());
        for (key, value) in &commit.put {
            put.push(&key.as_str().into());
            put.push(&Uint8Array::from(&value[..]));
        }
        for key in &commit.delete {
            delete.push(&key.as_str().into());
        }
        Changes { put, delete, durable: commit.durability == Durability::Durable }
    }

    /// Changes the records as the commit says, without an answer yet: first the deletes, then the puts.
    pub fn apply(&self, engine: &mut Engine) {
        let commit = self.commit_asked();
        commit.delete.iter().for_each(|key| drop(engine.memory.records.remove(key)));
        commit.put.iter().for_each(|(key, value)| drop(engine.memory.records.insert(key.clone(), value.clone())));
    }

    /// Answers `Commit`: it is done, or met a conflict.
    pub fn committed(&mut self, done: bool) {
        let outcome = self.bug.committed(if done { Committed::Done } else { Committed::Conflict });
        answer!(self, Commit, ask => outcome);
    }

    // ── the body of the request ──────────────────────────────────────────────────────────────────────────

    /// How many bytes `Collect` and `Load` take at most, and how many more `Receive` does; infinite if any number.
    pub fn limit(&self) -> f64 {
        let limit = step!(&self.standing, step => match step {
            Step::Collect(ask) => ask.effect.limit,
            Step::Load(ask) => ask.effect.limit,
            _ => self.meter.as_ref().map_or(0, Meter::room),
        }, over => 0);
        if limit == u64::MAX { f64::INFINITY } else { limit as f64 }
    }

    /// Answers `Collect`. `end` is `whole`, `too-large` or `cut`.
    pub fn collected(&mut self, bytes: Vec<u8>, end: &str) {
        let outcome = match end {
            "whole" => Collected::Whole(bytes.into()),
            "too-large" => Collected::TooLarge,
            _ => Collected::Cut,
        };
        answer!(self, Collect, ask => outcome);
    }

    /// Shows bytes to the meter of `Receive` or `Measure`, as many of them as it has room for: how many that were.
    pub fn show(&mut self, bytes: &[u8]) -> usize {
        let meter = self.meter();
        let room = usize::try_from(meter.room()).unwrap_or(usize::MAX);
        let taken = &bytes[..bytes.len().min(room)];
        meter.update(taken);
        taken.len()
    }

    /// Answers `Receive`. `end` is `whole`, `too-large` or `cut`.
    pub fn received(&mut self, end: &str) {
        let end = match end {
            "whole" => BodyEnd::Whole,
            "too-large" => BodyEnd::TooLarge,
            _ => BodyEnd::Cut,
        };
        let outcome = Received { meter: self.meter().clone(), end };
        answer!(self, Receive, ask => outcome);
    }

    // ── bytes at rest ────────────────────────────────────────────────────────────────────────────────────

    /// The object that the effect is about: the part of `Receive`, the content of `Assemble`, `Load` and `Measure`,
    /// the target of `Erase`, where an `Inventory` goes on. Names of parts begin with `part/`, of contents with
    /// `content/`.
    pub fn object(&self) -> Option<String> {
        let object = step!(&self.standing, step => match step {
            Step::Receive(ask) => Some(Object::Part(ask.effect.part)),
            Step::Assemble(ask) => Some(Object::Content(ask.effect.content)),
            Step::Load(ask) => Some(Object::Content(ask.effect.content)),
            Step::Measure(ask) => Some(Object::Content(ask.effect.content)),
            Step::Erase(ask) => Some(ask.effect.target),
            Step::Inventory(ask) => ask.effect.after,
            _ => None,
        }, over => None);
        object.map(|object| name(&object))
    }

    /// The parts that `Assemble` puts together.
    pub fn parts(&self) -> Vec<String> {
        asked!(self, Assemble, assemble => assemble.parts.iter().map(|part| name(&Object::Part(*part))).collect())
    }

    /// How many objects `Inventory` lists at most.
    pub fn page(&self) -> usize {
        asked!(self, Inventory, inventory => inventory.limit)
    }

    /// Answers `Assemble`.
    pub fn assembled(&mut self) {
        answer!(self, Assemble, ask => ());
    }

    /// Answers `Erase`.
    pub fn erased(&mut self) {
        answer!(self, Erase, ask => ());
    }

    /// Answers `Load`.
    pub fn loaded(&mut self, bytes: Option<Vec<u8>>) {
        answer!(self, Load, ask => bytes.map(Bytes::from));
    }

    /// Answers `Measure`: all bytes have been shown, or there is no such content.
    pub fn measured(&mut self, found: bool) {
        let meter = found.then(|| self.meter().clone());
        answer!(self, Measure, ask => meter);
    }

    /// Answers `Inventory`: names, sizes in bytes and ages in milliseconds.
    ///
    /// # Errors
    ///
    /// When a name is none of an object.
    pub fn listed(&mut self, names: Vec<String>, sizes: &[f64], ages: &[f64]) -> Result<(), JsError> {
        let mut stored = Vec::new();
        for ((text, size), age) in names.iter().zip(sizes).zip(ages) {
            let object = named(text).ok_or_else(|| JsError::new(&format!("{text} is no name of an object")))?;
            stored.push(Stored { object, size: *size as u64, age: Duration::from_millis(*age as u64) });
        }
        stored.sort_by_key(|stored| stored.object);
        let limit = asked!(self, Inventory, inventory => inventory.limit);
        stored.truncate(limit);
        answer!(self, Inventory, ask => stored);
        Ok(())
    }

    // ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    /// Answers whatever is asked with a fault: no space left, or any other.
    pub fn fail(&mut self, reason: &str, full: bool) {
        let fault = if full { Fault::Full(reason.into()) } else { Fault::Failed(reason.into()) };
        self.outcome = json!({ "fault": fault.to_string() });
        self.standing = match std::mem::replace(&mut self.standing, Standing::Over) {
            Standing::Asking(step) => Standing::Asking(step.fail(fault)),
            Standing::Sweeping(step) => Standing::Sweeping(step.fail(fault)),
            #[cfg(feature = "suite")]
            Standing::Checking(step) => Standing::Checking(step.fail(fault)),
            Standing::Over => Standing::Over,
        };
        self.arrive();
    }

    /// Ends the call where it stands, as a crash does.
    pub fn crash(&mut self) {
        self.standing = Standing::Over;
    }

    /// The response, once there is one.
    pub fn response(&self) -> Option<Answer> {
        match &self.standing {
            Standing::Asking(Step::Respond(response)) => Some(Answer { response: response.clone() }),
            _ => None,
        }
    }

    /// The report of a sweep, once there is one, as JSON.
    pub fn report(&self) -> Option<String> {
        match &self.standing {
            Standing::Sweeping(Step::Respond(report)) => serde_json::to_string(report).ok(),
            _ => None,
        }
    }

    /// What was wrong in a case of the suite, nothing if all was well.
    #[cfg(feature = "suite")]
    pub fn wrong(&self) -> Option<String> {
        match &self.standing {
            Standing::Checking(Step::Respond(result)) => result.clone().err(),
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

fn name(object: &Object) -> String {
    match object {
        Object::Part(part) => format!("part/{part}"),
        Object::Content(content) => format!("content/{content}"),
    }
}

fn named(text: &str) -> Option<Object> {
    Some(match text.split_once('/')? {
        ("part", part) => {
            let (upload, nonce) = part.split_once('.')?;
            Object::Part(PartId { upload: upload.parse().ok()?, nonce: nonce.parse().ok()? })
        }
        ("content", content) => {
            let (digest, nonce) = content.split_once('/')?;
            Object::Content(ContentId { digest: digest.parse().ok()?, nonce: nonce.parse().ok()? })
        }
        _ => return None,
    })
}

/// What a commit changes.
#[wasm_bindgen]
pub struct Changes {
    put: Array,
    delete: Array,
    durable: bool,
}

#[wasm_bindgen]
impl Changes {
    /// Keys and values in turns.
    #[wasm_bindgen(getter)]
    pub fn put(&self) -> Array {
        self.put.clone()
    }

    /// Keys.
    #[wasm_bindgen(getter)]
    pub fn delete(&self) -> Array {
        self.delete.clone()
    }

    /// Whether it must outlive a power cut once it is acknowledged.
    #[wasm_bindgen(getter)]
    pub fn durable(&self) -> bool {
        self.durable
    }
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
        self.response.headers.iter().flat_map(|(name, value)| [(*name).to_owned(), value.clone()]).collect()
    }

    /// The content that the body comes from, if it is streamed.
    #[wasm_bindgen(getter)]
    pub fn content(&self) -> Option<String> {
        match &self.response.body {
            Body::Content { content, .. } => Some(name(&Object::Content(*content))),
            _ => None,
        }
    }

    /// The body: bytes as they are, pieces of the content as `[start, end]`.
    #[wasm_bindgen(getter)]
    pub fn pieces(&self) -> Array {
        let list = Array::new();
        match &self.response.body {
            Body::Empty => {}
            Body::Bytes(bytes) => {
                list.push(&Uint8Array::from(&bytes[..]));
            }
            Body::Content { pieces, .. } => {
                for piece in pieces {
                    list.push(&match piece {
                        Piece::Bytes(bytes) => Uint8Array::from(&bytes[..]).into(),
                        Piece::Slice(range) => {
                            let (start, end) = (JsValue::from(range.start as f64), JsValue::from(range.end as f64));
                            Array::of2(&start, &end).into()
                        }
                    });
                }
            }
        }
        list
    }

    /// Why the storage failed, if that is what the status tells.
    #[wasm_bindgen(getter)]
    pub fn fault(&self) -> Option<String> {
        self.response.fault.as_ref().map(ToString::to_string)
    }
}
