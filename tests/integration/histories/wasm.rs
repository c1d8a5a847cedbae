//! The core in WebAssembly, on the host that the JavaScript package has, under Node: `host-wasm/test/history.ts`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::Bytes;
use orlop_conformance::system::Call;
use orlop_core::{Ambient, Body, Config, Response};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::hosts::{Everything, Host, fault};
use super::operation::Failure;
use super::world::ASSEMBLED;

/// A process of Node that has one registry at a time: questions and answers are lines of JSON.
pub(crate) struct Node {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Where its registry keeps what it has: `memory`, or `IndexedDB`, which is opened anew for each garbage
    /// collection.
    storage: &'static str,
    /// The names of header fields that came.
    names: BTreeSet<&'static str>,
}

impl Node {
    /// Starts it, for registries on that storage; the packages of `host-wasm` are installed, and its module is built.
    pub(crate) fn start(storage: &'static str) -> Rc<RefCell<Self>> {
        let run = "import { runnerImport } from 'vite'; await runnerImport('./test/history.ts')";
        let mut child = Command::new("node")
            .args(["--input-type=module", "--eval", run])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../host-wasm"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node is needed");
        let to = child.stdin.take().expect("it is piped");
        let from = BufReader::new(child.stdout.take().expect("it is piped"));
        Rc::new(RefCell::new(Self { child, to, from, storage, names: BTreeSet::new() }))
    }

    fn ask(&mut self, question: &Json) -> Result<Json, String> {
        writeln!(self.to, "{question}").map_err(|error| format!("the process of Node ended: {error}"))?;
        let mut line = String::new();
        self.from.read_line(&mut line).map_err(|error| error.to_string())?;
        let answer: Json = serde_json::from_str(&line).map_err(|error| format!("{error}: {line:?}"))?;
        if answer["thrown"].is_null() { Ok(answer) } else { Err(format!("{} at {question}", answer["thrown"])) }
    }

    /// The same name, for as long as the test lives.
    fn name(&mut self, name: &str) -> &'static str {
        if let Some(known) = self.names.get(name) {
            return known;
        }
        let name = name.to_owned().leak();
        self.names.insert(name);
        name
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // That it has ended already is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The registry in the process.
pub(crate) struct Wasm(Rc<RefCell<Node>>);

/// A response as it comes.
#[derive(Deserialize)]
struct Told {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    fault: Option<String>,
}

/// What is stored, as it comes.
#[derive(Deserialize)]
struct Stored {
    records: Vec<(String, String)>,
    objects: Vec<(String, u64)>,
}

impl Wasm {
    /// Begins anew with an empty registry.
    pub(crate) fn open(node: &Rc<RefCell<Node>>, config: &Config) -> Box<dyn Host> {
        let options = json!({
            "manifestLimit": config.manifest_limit,
            "blobLimit": config.blob_limit,
            "allowSparse": config.allow_sparse,
            "allowDelete": config.allow_delete,
            "mountFromAnywhere": config.mount_from_anywhere,
            "assemble": [ASSEMBLED],
            "untaggedLifetimeMs": config.untagged_lifetime.map(millis),
            "keepErasedMs": millis(config.keep_erased),
            "callLifetimeMs": millis(config.call_lifetime),
            "smallObject": config.small_object,
            "blobObjects": config.blob_objects,
        });
        let storage = node.borrow().storage;
        let open = json!({ "ask": "open", "storage": storage, "options": options });
        node.borrow_mut().ask(&open).expect("a registry");
        Box::new(Self(node.clone()))
    }

    fn ask<A: for<'a> Deserialize<'a>>(&self, question: &Json) -> Result<A, String> {
        let answer = self.0.borrow_mut().ask(question)?;
        serde_json::from_value(answer).map_err(|error| error.to_string())
    }
}

impl Host for Wasm {
    /// Its clock is that of the calls.
    fn advance(&mut self, _: Duration) {}

    fn call(&mut self, call: &Call, ambient: Ambient, failure: Option<Failure>) -> Result<Response, String> {
        let Call { request, body } = call;
        let request = json!({
            "method": request.method.to_string(),
            "target": request.target,
            "headers": request.headers.iter().collect::<Vec<_>>(),
            "length": request.length,
            "body": BASE64.encode(&body.bytes),
            "cut": body.cut,
        });
        let told: Told = self.ask(&lent(json!({ "ask": "call", "request": request }), ambient, failure))?;
        let mut node = self.0.borrow_mut();
        let headers = told.headers.into_iter().map(|(name, value)| (node.name(&name), value.into())).collect();
        let fault = match (told.fault, failure.map(fault)) {
            (None, _) => None,
            (Some(text), Some(fault)) if fault.to_string() == text => Some(fault),
            (Some(text), _) => return Err(format!("the storage failed by itself: {text}")),
        };
        Ok(Response { status: told.status, headers, body: Body::Bytes(decoded(&told.body)?), fault, pulled: None })
    }

    fn gc(&mut self, ambient: Ambient, failure: Option<Failure>) -> Result<Json, String> {
        self.ask(&lent(json!({ "ask": "gc" }), ambient, failure))
    }

    fn everything(&mut self) -> Result<Everything, String> {
        let stored: Stored = self.ask(&json!({ "ask": "everything" }))?;
        let records = stored.records.into_iter().map(|(key, value)| Ok((key, decoded(&value)?)));
        let records = records.collect::<Result<BTreeMap<_, _>, String>>()?;
        Ok(Everything { records, objects: stored.objects.into_iter().collect() })
    }
}

/// The question with what is lent to the call, and how the storage fails.
fn lent(mut question: Json, ambient: Ambient, failure: Option<Failure>) -> Json {
    question["now"] = json!(ambient.now.0);
    question["random"] = json!(BASE64.encode(ambient.nonce.as_bytes()));
    question["failure"] = failure.map_or(Json::Null, |failure| {
        json!({ "effect": failure.effect, "afterwards": failure.done, "full": failure.full, "reason": "on purpose" })
    });
    question
}

fn decoded(text: &str) -> Result<Bytes, String> {
    BASE64.decode(text).map(Bytes::from).map_err(|error| error.to_string())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
