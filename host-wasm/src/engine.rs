//! The registry and its records.

use std::sync::Arc;
use std::time::Duration;

use js_sys::{Array, Uint8Array};
use orlop_core::effect::{Step, Value};
use orlop_core::keys::Key;
use orlop_core::memory::Memory;
use orlop_core::mirror::Login;
use orlop_core::{Ambient, Caller, Headers, Method, Registry, Request, Timestamp};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use crate::bug::Bug;
use crate::call::{Call, End};
use crate::options::Options;

/// A registry: the core, and the records of the reference host. Bytes at rest are with JavaScript.
#[wasm_bindgen]
pub struct Engine {
    registry: Registry,
    call_lifetime: Duration,
    /// Of the reference host, the records alone are used.
    pub(crate) memory: Memory,
    bug: Bug,
}

#[wasm_bindgen]
impl Engine {
    /// An empty registry. `options` is JSON, see `Options` in the TypeScript.
    ///
    /// # Errors
    ///
    /// When the options are not understood, or contradict each other.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &str) -> Result<Engine, JsError> {
        let options: Options = serde_json::from_str(options)?;
        let bug = Bug::named(options.bug()).ok_or_else(|| JsError::new("there is no bug of that name"))?;
        let config = options.config().map_err(|reason| JsError::new(&reason))?;
        let call_lifetime = config.call_lifetime;
        Ok(Self { registry: Registry::new(config), call_lifetime, memory: Memory::new(), bug })
    }

    /// Begins a call. `headers` are names and values in turns, `length` that of the body in bytes where it is known
    /// beforehand, `now` milliseconds since 1970, `random` sixteen random bytes.
    pub fn call(
        &self,
        method: &str,
        target: &str,
        headers: Vec<String>,
        length: Option<f64>,
        now: f64,
        random: &[u8],
    ) -> Call {
        let mut fields = Headers::new();
        let mut rest = headers.into_iter();
        while let (Some(name), Some(value)) = (rest.next(), rest.next()) {
            if self.bug.takes_header(method, &name) {
                fields.push(name, value);
            }
        }
        let request = Request {
            method: Method::named(method),
            target: target.to_owned(),
            headers: fields,
            // A length that JavaScript can count is a whole number.
            length: length.map(|length| length as u64),
            base: None,
        };
        // Who calls is nobody's business but that of an upstream that is to say what the caller may see.
        let login = request.headers.get("authorization").map(Login::new);
        let caller = Arc::new(Caller { login, ..Caller::anybody() });
        let asked = Arc::new(self.registry.read(request, None));
        self.begin(self.registry.call_of(caller, asked, ambient(now, random)), End::Response)
    }

    /// Begins to agree with the hosts that have used the records before: the first call on a storage. A browser signs no
    /// tokens, so it offers no session key.
    pub fn agree(&self, now: f64) -> Call {
        // What it writes is the same whoever does.
        self.begin(self.registry.agree(None, ambient(now, &[])), End::Agreed)
    }

    /// Begins a garbage collection.
    pub fn gc(&self, now: f64, random: &[u8]) -> Call {
        self.begin(self.registry.gc(ambient(now, random)), End::Report)
    }

    /// Begins to take blobs out of the mirrors that have more bytes than they may.
    pub fn evict(&self, now: f64, random: &[u8]) -> Call {
        self.begin(self.registry.evict(ambient(now, random)), End::Evicted)
    }

    /// Puts a record back that was stored before.
    pub fn restore(&mut self, key: String, value: Vec<u8>) {
        self.memory.records.insert(Key::stored(key), Value::from(value));
    }

    /// Forgets every record.
    pub fn clear(&mut self) {
        self.memory.records.clear();
    }

    /// The records whose keys begin with `prefix`, as keys and values in turns.
    pub fn records(&self, prefix: &str) -> Array {
        let list = Array::new();
        let from = Key::stored(prefix);
        let under = self.memory.records.range(from..).take_while(|(key, _)| key.as_str().starts_with(prefix));
        for (key, value) in under {
            list.push(&key.as_str().into());
            list.push(&Uint8Array::from(&value[..]));
        }
        list
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.memory.records.len()
    }

    /// The bugs that can be planted, as JSON: `[{ "name", "text" }]`.
    pub fn bugs() -> String {
        Bug::list()
    }
}

impl Engine {
    /// A call that begins.
    pub(crate) fn begin<R: 'static>(&self, step: Step<R>, end: fn(R) -> End) -> Call {
        Call::new(step.map(end), self.call_lifetime, self.bug)
    }

    /// Changes records: each gets its new value, or goes.
    pub(crate) fn apply(&mut self, changes: Vec<(Key, Option<Value>)>) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.memory.records.insert(key, value)),
                None => drop(self.memory.records.remove(&key)),
            }
        }
    }
}

/// What a call is lent: `now` in milliseconds since 1970, sixteen random bytes.
pub(crate) fn ambient(now: f64, random: &[u8]) -> Ambient {
    let mut bytes = [0; 16];
    for (byte, random) in bytes.iter_mut().zip(random) {
        *byte = *random;
    }
    Ambient { now: Timestamp(now as u64), nonce: uuid::Builder::from_random_bytes(bytes).into_uuid() }
}
