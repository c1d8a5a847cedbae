//! The hosts that a history is played on: in memory, on disk, and in [`wasm`](super::wasm).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use orlop_conformance::model::Told;
use orlop_conformance::system::{Call, Performs, perform};
use orlop_core::effect::{Fault, Get, Inventory, Load, Scan, Step};
use orlop_core::keys::{Key, Prefix};
use orlop_core::memory::{Memory, RequestBody};
use orlop_core::step::start;
use orlop_core::{Ambient, Body, Config, Deleted, Piece, Purged, Refused, Registry, Response, Undeleted, Undeleting};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use super::operation::Failure;

/// A registry on some host. An error is something that no host may do, whatever is asked of it.
pub(crate) trait Host {
    /// Lets time pass on the clock by which the host counts ages.
    fn advance(&mut self, time: Duration);

    /// Makes a call, with this failure on its way. The response has its body in memory.
    fn call(&mut self, call: &Call, ambient: Ambient, failure: Option<Failure>) -> Result<Response, String>;

    /// Collects garbage, with this failure on its way: the report.
    fn gc(&mut self, ambient: Ambient, failure: Option<Failure>) -> Result<Json, String>;

    /// Does what an administrator asks for, with this failure on its way. `None` when the storage has failed.
    fn administer(
        &mut self,
        what: &Administering,
        _ambient: Ambient,
        _failure: Option<Failure>,
    ) -> Result<Option<Told>, String> {
        Err(format!("nobody administers this host: {what:?}"))
    }

    /// Reads everything that it holds.
    fn everything(&mut self) -> Result<Everything, String>;
}

/// What an administrator asks for.
#[derive(Clone, Debug)]
pub(crate) enum Administering {
    /// In a repository: a tag or digest, whether by force, and the name that the tag is to have.
    Undelete(String, String, bool, Option<String>),
    /// In a repository: a tag or digest, and whether by force.
    Purge(String, Option<String>, bool),
    /// A mark, and whether it is removed.
    Protect(String, bool),
    /// The list of what was deleted, as if all of it were tags.
    Deleted,
}

/// What an administrator is told of a refusal; `None` when the storage has failed.
fn refusal(refused: Refused) -> Result<Option<Told>, String> {
    Ok(Some(Told::refusal(match refused {
        Refused::NotDeleted(_) => "not deleted",
        Refused::Unknown(_) => "unknown",
        Refused::NoRepository(_) => "no repository",
        Refused::Purged(..) => "purged",
        Refused::Taken(..) => "taken",
        Refused::Protected(_) => "protected",
        Refused::TooManyMarks | Refused::Contention | Refused::Damaged(_) => return Err(refused.to_string()),
        Refused::Storage(_) => return Ok(None),
    })))
}

fn texts<T: ToString>(all: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    all.into_iter().map(|one| one.to_string()).collect()
}

/// What a host holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Everything {
    pub(crate) records: BTreeMap<String, Bytes>,
    /// The objects with their sizes.
    pub(crate) objects: BTreeMap<String, u64>,
}

/// Why the storage fails.
pub(crate) fn fault(failure: Failure) -> Fault {
    let what = "on purpose".into();
    if failure.full { Fault::Full(what) } else { Fault::Failed(what) }
}

/// The core, and what performs its effects.
pub(crate) struct Native {
    registry: Registry,
    performs: Storage,
}

enum Storage {
    Memory(Box<Memory>),
    /// A directory on disk, or a database and an object store.
    Native {
        host: Box<orlop::Host>,
        runtime: Runtime,
        _directory: Option<tempfile::TempDir>,
    },
}

impl Native {
    pub(crate) fn memory(config: &Config) -> Box<dyn Host> {
        Self::start(config, Storage::Memory(Box::default()))
    }

    pub(crate) fn disk(config: &Config) -> Box<dyn Host> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let host =
            Box::new(orlop::Host::open(directory.path(), &orlop::Options::default()).expect("an empty directory"));
        Self::start(config, Storage::Native { host, runtime: runtime(), _directory: Some(directory) })
    }

    /// On a database and an object store.
    pub(crate) fn shared(config: &Config, engines: &orlop::Engines) -> Box<dyn Host> {
        let runtime = runtime();
        let host = runtime.block_on(orlop::Host::connect(engines, &orlop::Options::default())).expect("both answer");
        Self::start(config, Storage::Native { host: Box::new(host), runtime, _directory: None })
    }

    /// As a server starts, which signs no tokens.
    fn start(config: &Config, mut performs: Storage) -> Box<dyn Host> {
        let registry = Registry::new(config.clone());
        let agreed = performs.run(registry.agree(None, Memory::new().ambient()), &RequestBody::default());
        agreed.expect("an empty storage is for everybody");
        Box::new(Self { registry, performs })
    }
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime")
}

impl Host for Native {
    fn advance(&mut self, time: Duration) {
        match &mut self.performs {
            Storage::Memory(memory) => memory.advance(time),
            // Files of the last call must be older than nothing.
            Storage::Native { .. } => std::thread::sleep(time.min(Duration::from_millis(2))),
        }
    }

    fn call(&mut self, call: &Call, ambient: Ambient, failure: Option<Failure>) -> Result<Response, String> {
        let step = self.registry.call(call.request.clone(), ambient);
        let response = self.performs.run_failing(step, &call.body, failure);
        self.performs.fill(response)
    }

    fn gc(&mut self, ambient: Ambient, failure: Option<Failure>) -> Result<Json, String> {
        Ok(json!(self.performs.run_failing(self.registry.gc(ambient), &RequestBody::default(), failure)))
    }

    fn administer(
        &mut self,
        what: &Administering,
        ambient: Ambient,
        failure: Option<Failure>,
    ) -> Result<Option<Told>, String> {
        let body = RequestBody::default();
        let Self { registry, performs } = self;
        let parsed = |name: &str| name.parse().map_err(|_| format!("`{name}` is no repository"));
        let reference = |text: &str| text.parse().map_err(|_| format!("`{text}` is no reference"));
        match what {
            Administering::Undelete(name, what, force, named) => {
                let named = named.as_ref().map(|tag| tag.parse().expect("a tag"));
                let how = Undeleting { force: *force, named };
                let step = registry.undelete(parsed(name)?, reference(what)?, how, ambient);
                let Undeleted { manifests, tags, taken, missing } = match performs.run_failing(step, &body, failure) {
                    Ok(undeleted) => undeleted,
                    Err(refused) => return refusal(refused),
                };
                let taken = taken.into_iter().map(|tag| ("taken", tag));
                let others = taken.chain(missing.iter().map(|missing| ("missing", missing.to_string()))).collect();
                Ok(Some(Told { tags: texts(tags), manifests: texts(manifests), others, ..Told::default() }))
            }
            Administering::Purge(name, what, force) => {
                let what = what.as_ref().map(|what| reference(what)).transpose()?;
                let step = registry.purge(parsed(name)?, what, *force, ambient);
                let Purged { tags, manifests, blobs, remaining, fault, .. } =
                    match performs.run_failing(step, &body, failure) {
                        Ok(purged) => purged,
                        Err(refused) => return refusal(refused),
                    };
                if let Some(fault) = fault {
                    return Err(format!("a purge ended early: {fault}"));
                }
                let others = remaining.iter().map(|left| ("remains", left.digest.to_string())).collect();
                let (tags, manifests, blobs) = (texts(tags), texts(manifests), texts(blobs));
                Ok(Some(Told { refused: None, tags, manifests, blobs, others }))
            }
            Administering::Protect(mark, remove) => {
                let mark = mark.parse().map_err(|_| format!("`{mark}` is no mark"))?;
                let step = if *remove { registry.unprotect(mark, ambient) } else { registry.protect(mark, ambient) };
                match performs.run_failing(step, &body, failure) {
                    Ok(true) => Ok(Some(Told::default())),
                    Ok(false) => Ok(Some(Told::refusal("unchanged"))),
                    Err(refused) => refusal(refused),
                }
            }
            Administering::Deleted => {
                let (mut all, mut after) = (BTreeSet::new(), None);
                loop {
                    let page = performs.run(registry.deleted(None, after, ambient), &body).expect("no fault");
                    all.extend(page.deleted.into_iter().map(|Deleted { repository, tag, digest, .. }| match tag {
                        Some(tag) => format!("{repository}:{tag} {digest}"),
                        None => format!("{repository}@{digest}"),
                    }));
                    after = page.after;
                    if after.is_none() {
                        return Ok(Some(Told { tags: all, ..Told::default() }));
                    }
                }
            }
        }
    }

    fn everything(&mut self) -> Result<Everything, String> {
        let step = start(|io| async move {
            let mut records = BTreeMap::new();
            let mut after = None;
            loop {
                let scan = Scan { prefix: Prefix::stored(""), after, limit: 100, bytes: 1 << 20 };
                let page = io.ask(scan).await.expect("no fault");
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                // Look-ups and lists agree.
                let keys = page.iter().map(|(key, _)| key.clone()).collect();
                let got = io.ask(Get { keys }).await.expect("no fault");
                if !page.iter().map(|(_, value)| Some(value)).eq(got.iter().map(Option::as_ref)) {
                    return Err(format!("listed is {page:?}, but looked up {got:?}"));
                }
                records.extend(page.into_iter().map(|(key, value)| (Key::as_str(&key).to_owned(), value)));
            }
            let stored = io.ask(Inventory { after: None, limit: usize::MAX }).await.expect("no fault");
            let objects = stored.into_iter().map(|stored| (stored.object.to_string(), stored.size));
            Ok(Everything { records, objects: objects.collect() })
        });
        self.performs.run(step, &RequestBody::default())
    }
}

impl Storage {
    /// Runs a call to its end, with this failure on its way.
    fn run_failing<R: Send>(&mut self, mut step: Step<R>, body: &RequestBody, failure: Option<Failure>) -> R {
        if let Some(failure) = failure {
            for _ in 0..failure.effect {
                step = perform(self, step, body, |_, _| None);
            }
            step = match failure.done {
                true => perform(self, step, body, |_, _| Some(fault(failure))),
                false => step.fail(fault(failure)),
            };
        }
        self.run(step, body)
    }

    /// The response with its body in memory.
    fn fill(&mut self, response: Response) -> Result<Response, String> {
        let body = match &response.body {
            Body::Empty => Bytes::new(),
            Body::Bytes(bytes) => bytes.clone(),
            Body::Coming(_) | Body::Relayed => return Err("these histories have no upstream".into()),
            Body::Pieces(pieces) => {
                let mut sent = Vec::new();
                for piece in pieces {
                    let (object, range) = match piece {
                        Piece::Bytes(bytes) => {
                            sent.extend_from_slice(bytes);
                            continue;
                        }
                        Piece::Slice(object, range) => (object, range.start as usize..range.end as usize),
                    };
                    let load = Load { objects: vec![*object], limit: u64::MAX };
                    let load = start(|io| async move { io.ask(load).await.expect("no fault") });
                    let stored: Option<Bytes> = self.run(load, &RequestBody::default());
                    sent.extend_from_slice(&stored.ok_or_else(|| format!("{object} is gone"))?[range]);
                }
                sent.into()
            }
        };
        Ok(Response { body: Body::Bytes(body), ..response })
    }
}

impl Performs for Storage {
    fn run<R: Send>(&mut self, step: Step<R>, body: &RequestBody) -> R {
        match self {
            Self::Memory(memory) => memory.run(step, body),
            Self::Native { host, runtime, .. } => {
                // In small pieces, as on a connection.
                let frames = body.bytes.chunks(7).map(|piece| Ok(piece.to_vec()));
                let broken = body.cut.then(|| Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
                let frames: Vec<std::io::Result<Vec<u8>>> = frames.chain(broken).collect();
                let body = axum::body::Body::from_stream(futures_util::stream::iter(frames));
                let mut body = orlop::RequestBody::new(body, Duration::from_secs(60));
                runtime.block_on(host.run(step, &mut body))
            }
        }
    }
}
