//! Hosts compared: random histories of requests give the same responses and leave the same records and bytes,
//! in memory and on disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use orlop::Host;
use orlop_conformance::image::{Manifest, sha256, sha512};
use orlop_conformance::system::{self, Call, delete, get, head, patch, post, put, uploads};
use orlop_core::config::Pattern;
use orlop_core::effect::{ContentId, Get, Inventory, Load, Object, Scan, Step};
use orlop_core::keys::{Key, Prefix};
use orlop_core::memory::{Memory, RequestBody};
use orlop_core::step::start;
use orlop_core::{Body, Config, Piece, Registry, Response};
use proptest::prelude::*;
use tokio::runtime::Runtime;

/// One step of a history. Numbers choose among few names, so that steps meet.
#[derive(Clone, Debug)]
enum Operation {
    PostBlob { repository: usize, blob: usize, wrong: bool },
    OpenUpload { repository: usize, sha512: bool },
    Mount { repository: usize, blob: usize, from: Option<usize> },
    Chunk { session: usize, bytes: usize, at: Option<usize>, cut: bool },
    Finish { session: usize, last: usize, right: bool, sha512: bool },
    Cancel { session: usize },
    Status { session: usize },
    PutManifest { repository: usize, manifest: usize, tag: Option<usize>, condition: Option<&'static str> },
    GetManifest { repository: usize, manifest: usize, tag: Option<usize>, accept: Option<&'static str>, head: bool },
    GetBlob { repository: usize, blob: usize, range: Option<&'static str> },
    DeleteManifest { repository: usize, manifest: usize, tag: Option<usize> },
    DeleteBlob { repository: usize, blob: usize },
    List { repository: usize, what: &'static str },
    Sweep { after: u64 },
}

const REPOSITORIES: [&str; 3] = ["a", "a/b", "assembled/c"];
const TAGS: [&str; 3] = ["v1", "v2", "latest"];
const CHUNKS: [&str; 3] = ["", "one", "chunk after chunk"];

/// The manifests of a history, with everything that they need.
fn manifests() -> Vec<Manifest> {
    let amd64 = Manifest::image(("linux", "amd64"), "layer");
    let arm64 = Manifest::image(("linux", "arm64"), "layer");
    let docker = Manifest::docker_image(("linux", "amd64"), "other");
    let index = Manifest::index(&[&amd64, &arm64]);
    let signature = Manifest::artifact("application/x-signature", "signed").about(&amd64);
    vec![amd64, arm64, docker, index, signature]
}

fn blobs() -> Vec<Bytes> {
    let mut blobs: Vec<Bytes> = manifests().iter().flat_map(|manifest| manifest.blobs().to_vec()).collect();
    blobs.push(Bytes::new());
    blobs
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let repository = || 0..REPOSITORIES.len();
    let blob = || 0..blobs().len();
    let manifest = || 0..manifests().len();
    let tag = || proptest::option::of(0..TAGS.len());
    let session = || 0..4usize;
    prop_oneof![
        8 => (repository(), blob(), prop::bool::weighted(0.1)).prop_map(|(repository, blob, wrong)| PostBlob { repository, blob, wrong }),
        3 => (repository(), any::<bool>()).prop_map(|(repository, sha512)| OpenUpload { repository, sha512 }),
        3 => (repository(), blob(), proptest::option::of(repository())).prop_map(|(repository, blob, from)| Mount { repository, blob, from }),
        5 => (session(), 0..CHUNKS.len(), proptest::option::of(0..8usize), prop::bool::weighted(0.2))
            .prop_map(|(session, bytes, at, cut)| Chunk { session, bytes, at, cut }),
        4 => (session(), 0..CHUNKS.len(), prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(session, last, right, sha512)| Finish { session, last, right, sha512 }),
        1 => session().prop_map(|session| Cancel { session }),
        2 => session().prop_map(|session| Status { session }),
        8 => (repository(), manifest(), tag(), prop::option::weighted(0.2, prop_oneof![Just("If-None-Match"), Just("If-Match")]))
            .prop_map(|(repository, manifest, tag, condition)| PutManifest { repository, manifest, tag, condition }),
        4 => (repository(), manifest(), tag(), proptest::option::of(prop_oneof![
                Just("application/vnd.oci.image.index.v1+json"), Just("application/vnd.oci.image.manifest.v1+json")]), any::<bool>())
            .prop_map(|(repository, manifest, tag, accept, head)| GetManifest { repository, manifest, tag, accept, head }),
        3 => (repository(), blob(), proptest::option::of(prop_oneof![Just("bytes=1-2"), Just("bytes=0-0,2-"), Just("bytes=999-")]))
            .prop_map(|(repository, blob, range)| GetBlob { repository, blob, range }),
        2 => (repository(), manifest(), tag()).prop_map(|(repository, manifest, tag)| DeleteManifest { repository, manifest, tag }),
        1 => (repository(), blob()).prop_map(|(repository, blob)| DeleteBlob { repository, blob }),
        3 => (repository(), prop_oneof![Just("tags/list?n=2"), Just("tags/list"), Just("referrers"), Just("_catalog")])
            .prop_map(|(repository, what)| List { repository, what }),
        1 => prop_oneof![Just(0), Just(3600), Just(8 * 24 * 3600)].prop_map(|after| Sweep { after }),
    ]
}

/// The core on both hosts, told the same at the same time.
struct Twins {
    registry: Registry,
    memory: Memory,
    disk: Host,
    runtime: Runtime,
    /// The sessions that were opened, by their paths, and the bytes that each has taken.
    sessions: Vec<(String, Vec<u8>)>,
}

impl Twins {
    fn new(directory: &Path) -> Self {
        let config = Config {
            assemble: vec![Pattern::new("assembled/**")],
            untagged_lifetime: Some(Duration::from_secs(3600)),
            // Both hosts count ages on clocks of their own: what nobody names goes at once.
            call_lifetime: Duration::ZERO,
            ..Config::default()
        };
        Self {
            registry: Registry::new(config),
            memory: Memory::new(),
            disk: Host::open(directory, &orlop::Options::default()).expect("an empty directory"),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime"),
            sessions: Vec::new(),
        }
    }

    fn on_disk<R: Send>(&self, step: Step<R>, body: &RequestBody) -> R {
        let frames = body.bytes.chunks(7).map(|piece| Ok(piece.to_vec()));
        let broken = body.cut.then(|| Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        let frames: Vec<std::io::Result<Vec<u8>>> = frames.chain(broken).collect();
        let body = axum::body::Body::from_stream(futures_util::stream::iter(frames));
        let mut body = orlop::RequestBody::new(body, Duration::from_secs(60));
        self.runtime.block_on(self.disk.run(step, &mut body))
    }

    /// Makes a call on both: their responses must be one.
    fn call(&mut self, call: &Call) -> Response {
        self.memory.advance(Duration::from_millis(1));
        let ambient = self.memory.ambient();
        let on_disk = self.on_disk(self.registry.call(call.request.clone(), ambient), &call.body);
        let in_memory = self.memory.run(self.registry.call(call.request.clone(), ambient), &call.body);
        assert_eq!(on_disk, in_memory, "{call}");
        if let Body::Content { content, pieces } = &on_disk.body {
            let stored = self.content(*content).unwrap_or_else(|| panic!("{call}: {content} is not on disk"));
            let sent = pieces.iter().flat_map(|piece| match piece {
                Piece::Bytes(bytes) => bytes.to_vec(),
                Piece::Slice(range) => stored[range.start as usize..range.end as usize].to_vec(),
            });
            let Body::Bytes(expected) = self.memory.fill(in_memory.clone()).body else { panic!("{call}: no content") };
            assert_eq!(sent.collect::<Vec<u8>>(), expected, "{call}");
        }
        assert!(in_memory.status < 500, "{call} gave {}", in_memory.status);
        in_memory
    }

    fn content(&self, content: ContentId) -> Option<Bytes> {
        let load = start(|io| async move { io.ask(Load { content, limit: u64::MAX }).await.expect("no fault") });
        self.on_disk(load, &RequestBody::default())
    }

    fn sweep(&mut self) {
        self.memory.advance(Duration::from_millis(1));
        let ambient = self.memory.ambient();
        // The files of the last call are younger than a clock tick may tell.
        std::thread::sleep(Duration::from_millis(2));
        let on_disk = self.on_disk(self.registry.sweep(ambient), &RequestBody::default());
        assert_eq!(on_disk, self.memory.run(self.registry.sweep(ambient), &RequestBody::default()));
        assert_eq!(on_disk.fault, None);
    }

    /// Both hold the same records and the same objects.
    fn compare(&self) {
        let (records, objects) = self.on_disk(everything(), &RequestBody::default());
        assert_eq!(records, self.memory.records);
        let in_memory = self.memory.objects.iter().map(|(object, (bytes, _))| (*object, bytes.len() as u64));
        assert_eq!(objects, in_memory.collect::<Vec<_>>());
    }

    fn perform(&mut self, operation: &Operation) {
        match self.translate(operation) {
            Some(call) => {
                let before = self.sessions.len();
                let response = self.call(&call);
                self.follow(operation, &call, &response);
                assert!(self.sessions.len() <= before + 1);
            }
            None => {
                let Operation::Sweep { after } = operation else { return };
                self.memory.advance(Duration::from_secs(*after));
                self.sweep();
            }
        }
    }

    /// The request that an operation is. None for a sweep, or for a session that was never opened.
    fn translate(&self, operation: &Operation) -> Option<Call> {
        use Operation::*;
        let reference = |manifest: usize, tag: &Option<usize>| {
            tag.map_or_else(|| manifests()[manifest].digest(), |tag| TAGS[tag].into())
        };
        let manifest_path = |repository: usize, manifest, tag: &Option<usize>| {
            system::manifest(REPOSITORIES[repository], reference(manifest, tag))
        };
        let session = |session: usize| self.sessions.get(session % self.sessions.len().max(1));
        Some(match operation {
            PostBlob { repository, blob, wrong } => {
                let bytes = blobs()[*blob].clone();
                let digest = if *wrong { sha256(b"something else") } else { sha256(&bytes) };
                post(format!("{}?digest={digest}", uploads(REPOSITORIES[*repository]))).body(bytes)
            }
            OpenUpload { repository, sha512 } => {
                let hint = if *sha512 { "?digest-algorithm=sha512" } else { "" };
                post(format!("{}{hint}", uploads(REPOSITORIES[*repository])))
            }
            Mount { repository, blob, from } => {
                let from = from.map_or_else(String::new, |from| format!("&from={}", REPOSITORIES[from]));
                post(format!("{}?mount={}{from}", uploads(REPOSITORIES[*repository]), sha256(&blobs()[*blob])))
            }
            Chunk { session: number, bytes, at, cut } => {
                let bytes = CHUNKS[*bytes];
                let call = patch(&session(*number)?.0).body(bytes);
                let call = match at {
                    Some(at) if !bytes.is_empty() => {
                        call.header("Content-Range", format!("{at}-{}", at + bytes.len() - 1))
                    }
                    _ => call.chunked(),
                };
                if *cut { call.cut() } else { call }
            }
            Finish { session: number, last, right, sha512: long } => {
                let (path, taken) = session(*number)?;
                let whole = [taken.as_slice(), CHUNKS[*last].as_bytes()].concat();
                let whole: &[u8] = if *right { &whole } else { b"something else" };
                let digest = if *long { sha512(whole) } else { sha256(whole) };
                put(format!("{path}?digest={digest}")).body(CHUNKS[*last])
            }
            Cancel { session: number } => delete(&session(*number)?.0),
            Status { session: number } => get(&session(*number)?.0),
            PutManifest { repository, manifest, tag, condition } => {
                let pushed = &manifests()[*manifest];
                let call = put(manifest_path(*repository, *manifest, tag)).header("Content-Type", pushed.media_type());
                condition.iter().fold(call.body(pushed.bytes()), |call, condition| call.header(condition, "*"))
            }
            GetManifest { repository, manifest, tag, accept, head: only_head } => {
                let path = manifest_path(*repository, *manifest, tag);
                let call = if *only_head { head(path) } else { get(path) };
                accept.iter().fold(call, |call, accept| call.header("Accept", accept))
            }
            GetBlob { repository, blob, range } => {
                let call = get(system::blob(REPOSITORIES[*repository], sha256(&blobs()[*blob])));
                range.iter().fold(call, |call, range| call.header("Range", range))
            }
            DeleteManifest { repository, manifest, tag } => delete(manifest_path(*repository, *manifest, tag)),
            DeleteBlob { repository, blob } => delete(system::blob(REPOSITORIES[*repository], sha256(&blobs()[*blob]))),
            List { what: "_catalog", .. } => get("/v2/_catalog"),
            List { repository, what: "referrers" } => {
                get(system::referrers(REPOSITORIES[*repository], manifests()[0].digest()))
            }
            List { repository, what } => get(format!("/v2/{}/{what}", REPOSITORIES[*repository])),
            Sweep { .. } => return None,
        })
    }

    /// Takes note of what a session has taken: as much as the registry says.
    fn follow(&mut self, operation: &Operation, call: &Call, response: &Response) {
        match operation {
            Operation::OpenUpload { .. } | Operation::Mount { .. } if response.status == 202 => {
                let location = response.header("Location").expect("a session has a location");
                self.sessions.push((location.into(), Vec::new()));
            }
            Operation::Chunk { session, .. } if response.status == 202 || call.body.cut => {
                let sent = &call.body.bytes;
                let number = session % self.sessions.len();
                let (path, taken) = &mut self.sessions[number];
                let grown = [taken.as_slice(), sent].concat();
                let path = path.clone();
                let status = self.call(&get(path));
                if status.header("Range") == Some(format!("0-{}", grown.len().saturating_sub(1)).as_str()) {
                    self.sessions[number].1 = grown;
                }
            }
            _ => {}
        }
    }
}

type Everything = (BTreeMap<Key, Bytes>, Vec<(Object, u64)>);

/// Reads everything that a host holds.
fn everything() -> Step<Everything> {
    start(|io| async move {
        let mut records = BTreeMap::new();
        let mut after = None;
        loop {
            let scan = Scan { prefix: Prefix::stored(""), after, limit: 100, bytes: 1 << 20 };
            let page = io.ask(scan).await.expect("no fault");
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            // Look-ups and lists agree.
            let got = io.ask(Get { keys: page.iter().map(|(key, _)| key.clone()).collect() }).await.expect("no fault");
            assert!(page.iter().map(|(_, value)| Some(value)).eq(got.iter().map(Option::as_ref)));
            records.extend(page);
        }
        let stored = io.ask(Inventory { after: None, limit: usize::MAX }).await.expect("no fault");
        (records, stored.into_iter().map(|stored| (stored.object, stored.size)).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_disk_answer_and_store_the_same(history in proptest::collection::vec(operation(), 1..60)) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut twins = Twins::new(directory.path());
        for operation in &history {
            twins.perform(operation);
        }
        twins.compare();
        twins.memory.advance(Duration::from_secs(30 * 24 * 3600));
        twins.sweep();
        twins.sweep();
        twins.compare();
    }
}
