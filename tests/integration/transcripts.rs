//! Golden transcripts: characteristic calls as text, effect by effect, in `tests/transcripts/`.
//!
//! The order of the effects is the design, so it is written down where a reviewer sees it change. `UPDATE=1 cargo
//! test --test transcripts` writes the files anew; read the difference before you commit it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest, OCI_INDEX, sha256, sha512};
use orlop_conformance::system::{
    Call, InMemory, System, blob, delete, get, head, manifest, patch, perform, post, put, uploads,
};
use orlop_core::config::Pattern;
use orlop_core::effect::{Commit, Durability, Expect, Fetch, Follow, Inquire, Scan, Step};
use orlop_core::memory::{RequestBody, Upstream as Other};
use orlop_core::mirror::{Followed, Mirror, Source, Unmet, Upstream, UpstreamName, Wanted};
use orlop_core::object::ObjectId;
use orlop_core::step::Ask;
use orlop_core::{Body, Config, Piece, Registry, Response};

/// What a mirror calls its upstream.
const UPSTREAM: &str = "upstream";

/// A registry whose calls are written down.
struct Scribe {
    registry: InMemory,
    text: String,
    /// By how many columns what is written down now is set to the right.
    indent: usize,
    names: Names,
}

#[test]
fn push_of_an_image() {
    let mut scribe = Scribe::new("A client pushes an image: blob by blob, then the manifest that names them.");
    let image = Manifest::image(AMD64, "layer");
    for (bytes, name) in image.blobs().iter().zip(["The configuration.", "The layer: the repository exists by now."]) {
        scribe.call(post(format!("{}?digest={}", uploads("app"), sha256(bytes))).body(bytes.clone()), name);
    }
    scribe.call(push("app", "v1", &image), "One commit makes the manifest, its tag and its maintained list visible.");
    scribe.end("push-image");
}

#[test]
fn push_of_a_blob_in_chunks() {
    let mut scribe = Scribe::new("A client opens a session, sends two chunks, and ends it with the digest.");
    scribe.call(post(uploads("app")), "Nothing has been sent yet: the session may be lost in a crash.");
    let session = scribe.session();
    let chunk = |range: &str, bytes: &'static str| patch(&session).header("Content-Range", range).body(bytes);
    scribe.call(
        chunk("0-4", "hello"),
        "Each chunk is an object of its own, a small one a record. One durable commit makes it the session's.",
    );
    scribe.call(chunk("5-10", " world"), "");
    scribe.call(chunk("5-10", " world"), "The same again: refused before a byte is read.");
    scribe.call(get(&session), "The status tells where to go on.");
    let digest = sha256("hello world");
    scribe.call(put(format!("{session}?digest={digest}")), "One commit makes the chunks of the session the blob.");
    scribe.end("push-chunks");
}

#[test]
fn chunk_that_is_cut_off() {
    let mut scribe = Scribe::new("The connection breaks in the middle of a chunk: what came is kept.");
    scribe.quietly(post(uploads("app")));
    let session = scribe.session();
    scribe.call(patch(&session).body("hel").chunked().cut(), "");
    scribe.call(get(&session), "");
    scribe.end("push-cut");
}

#[test]
fn chunk_that_loses_a_race() {
    let mut scribe = Scribe::new("Two chunks are sent for one place. The one that commits second has changed nothing.");
    scribe.quietly(post(uploads("app")));
    let session = scribe.session();
    let winner = patch(&session).body("winner");
    scribe.call_with(patch(&session).body("loser"), "", |registry, step| {
        if step.name() == "Commit" && registry.get(&session).header("Range") == Some("0-0") {
            registry.call(winner.clone()).expect(202);
            return Some("the other chunk is received and committed in between");
        }
        None
    });
    scribe.end("race-chunks");
}

#[test]
fn push_of_a_blob_under_an_unexpected_algorithm() {
    let mut scribe =
        Scribe::new("A session was hashed with SHA-256 while it came in, and is ended with a SHA-512 digest.");
    scribe.quietly(post(uploads("app")));
    let session = scribe.session();
    scribe.quietly(patch(&session).body("content"));
    scribe.call(put(format!("{session}?digest={}", sha512("content"))), "The bytes are read once more.");
    scribe.end("push-late-sha512");
}

#[test]
fn push_of_a_blob_with_a_wrong_digest() {
    let mut scribe = Scribe::new("A client says that its bytes are others than they are.");
    scribe.quietly(post(uploads("app")));
    let session = scribe.session();
    scribe.quietly(patch(&session).body("content"));
    scribe.call(
        put(format!("{session}?digest={}", sha256("something else"))),
        "The session is over; its record goes before its bytes.",
    );
    scribe.end("push-wrong-digest");
}

#[test]
fn mounts() {
    let mut scribe = Scribe::new("A blob that another repository holds is linked. No byte moves.");
    let digest = scribe.registry.push_blob("base", "content");
    scribe.call(post(format!("{}?mount={digest}&from=base", uploads("app"))), "");
    scribe.call(
        post(format!("{}?mount={}&from=base", uploads("app"), sha256("x"))),
        "What cannot be mounted is an ordinary upload.",
    );
    scribe.end("mount");
}

#[test]
fn pull_of_an_image() {
    let mut scribe = Scribe::new("A client pulls: the tag, then the blobs that the manifest names.");
    let image = scribe.registry.push_image("app", "v1", AMD64, "layer");
    scribe.call(get(manifest("app", "v1")), "");
    scribe.call(
        get(blob("app", sha256("layer"))),
        "So small a blob is a record; the bytes of others the host streams, and the core sees none of them.",
    );
    scribe.call(get(blob("app", sha256("layer"))).header("Range", "bytes=1-2"), "");
    let etag = format!("\"{}\"", image.digest());
    scribe.call(get(manifest("app", "v1")).header("If-None-Match", etag), "The client asks whether the tag has moved.");
    scribe.end("pull");
}

#[test]
fn two_platforms_under_one_tag() {
    let mut scribe =
        Scribe::new("Two jobs push one platform each to a tag that is assembled: it becomes a list of both.");
    let (amd, arm) = (Manifest::image(AMD64, "amd"), Manifest::image(ARM64, "arm"));
    scribe.registry.push("multi/app", "v1", &amd);
    for bytes in arm.blobs() {
        scribe.registry.push_blob("multi/app", bytes.clone());
    }
    scribe
        .call(push("multi/app", "v1", &arm), "The list is part of the commit. The pusher is told of its own manifest.");
    scribe.call(get(manifest("multi/app", "v1")), "");
    let single = get(manifest("multi/app", "v1")).header("Accept", amd.media_type());
    scribe.call(single, "A client that accepts no list gets a plain image.");
    scribe.end("assemble");
}

#[test]
fn push_that_meets_another() {
    let mut scribe = Scribe::new(
        "Two clients push to one tag. Who commits second finds a conflict and looks again: no update is lost.",
    );
    let (amd, arm) = (Manifest::image(AMD64, "amd"), Manifest::image(ARM64, "arm"));
    for image in [&amd, &arm] {
        scribe.registry.push("app", image.digest(), image);
    }
    let mut met = false;
    let other = push("app", "v1", &arm);
    scribe.call_with(push("app", "v1", &amd), "", |registry, step| {
        if step.name() == "Commit" && !met {
            met = true;
            registry.call(other.clone()).expect(201);
            return Some("the other push runs from beginning to end in between");
        }
        None
    });
    scribe.call(get(manifest("app", "v1")).header("Accept", OCI_INDEX), "The list has both.");
    scribe.end("race-tag");
}

#[test]
fn manifest_without_its_blobs() {
    let mut scribe = Scribe::new("A manifest is pushed before its blobs: refused, naming each that is missing.");
    scribe.call(push("app", "v1", &Manifest::image(AMD64, "layer")), "");
    scribe.end("push-incomplete");
}

#[test]
fn pulls_through_a_mirror() {
    let mut scribe =
        Scribe::in_front_of_another("Names below `hub/` are those of an upstream: its images are fetched once.");
    let image = Manifest::image(AMD64, "layer");
    scribe.at_upstream(|upstream| drop(upstream.push("app", "v1", &image)));
    scribe.call(get(manifest("hub/app", "v1")), "A miss: the manifest is fetched, and what it names is not yet.");
    let layer = get(blob("hub/app", sha256("layer")));
    scribe.call(layer.clone(), "The fetch of a blob is a call of its own, which outlives whoever waits for it.");
    scribe.call(layer, "A hit asks for records alone.");
    scribe.call(head(blob("hub/app", sha256("other"))), "What the upstream does not have.");
    scribe.registry.advance(Duration::from_secs(60));
    scribe.call(get(manifest("hub/app", "v1")), "A minute later: has the tag moved?");
    let moved = Manifest::image(ARM64, "moved");
    scribe.at_upstream(|upstream| drop(upstream.push("app", "v1", &moved)));
    scribe.registry.advance(Duration::from_secs(60));
    scribe.call(get(manifest("hub/app", "v1")), "It has: the manifest that it names now is fetched by its digest.");
    let down = Unmet::Failed("the upstream cannot be asked: it is down".into());
    scribe.upstream().unmet = Some(down);
    scribe.registry.advance(Duration::from_secs(60));
    scribe.call(get(manifest("hub/app", "v1")), "The upstream is down: the tag is answered as it was.");
    scribe.call(get(manifest("hub/app", "v2")), "What is not here cannot be had.");
    scribe.call(post(uploads("hub/app")), "Nothing is pushed to a mirror.");
    scribe.call(delete(manifest("hub/app", "v1")), "To delete is to evict.");
    scribe.end("mirror");
}

#[test]
fn deletes() {
    let mut scribe = Scribe::new("A tag, a manifest and a blob are deleted. Bytes stay until garbage collection.");
    let image = scribe.registry.push_image("app", "v1", AMD64, "layer");
    scribe.registry.push("app", "v2", &image);
    scribe.call(delete(manifest("app", "v1")), "");
    scribe.call(delete(manifest("app", image.digest())), "The manifest takes its tags along.");
    scribe.call(delete(blob("app", sha256("layer"))), "");
    let index = Manifest::index(&[&scribe.registry.push_image("app", "v1", AMD64, "layer")]);
    scribe.registry.push("app", "all", &index);
    scribe.call(delete(manifest("app", index.digest())), "An index: from now on it has left its child.");
    scribe.end("delete");
}

#[test]
fn collections() {
    let mut scribe = Scribe::new(
        "Garbage collection, a month later: an upload that was given up, a blob that nobody used, and what a crash left.",
    );
    scribe.registry.push_image("app", "v1", AMD64, "layer");
    scribe.registry.push_blob("app", "unused");
    let session = scribe.registry.open("app");
    scribe.registry.call(patch(&session).body("hello")).expect(202);
    let large = "x".repeat(20_000);
    let crashed = post(format!("{}?digest={}", uploads("app"), sha256(&large))).body(large);
    scribe.registry.begin(crashed).until("Commit", &mut scribe.registry).crash();
    scribe.registry.advance(Duration::from_secs(30 * 24 * 3600));
    scribe.gc();
    scribe.end("gc");
}

fn push(repository: &str, reference: &str, image: &Manifest) -> Call {
    put(manifest(repository, reference)).header("Content-Type", image.media_type()).body(image.bytes())
}

impl Scribe {
    fn new(title: &str) -> Self {
        let config = Config { assemble: vec![Pattern::new("multi/**")], ..Config::default() };
        Self { registry: InMemory::new(config), text: format!("{title}\n"), indent: 0, names: Names::default() }
    }

    /// With a mirror, below `hub/`, of another registry.
    fn in_front_of_another(title: &str) -> Self {
        let upstreams = vec![Upstream { name: UpstreamName::new(UPSTREAM), official: String::new() }];
        let mirror = Mirror { prefix: "hub/".into(), upstreams, ..Mirror::default() };
        let config = Config { mirrors: vec![mirror], via: "mirror".into(), ..Config::default() };
        let mut registry = InMemory::new(config);
        let other = Other::new(Registry::new(Config { via: UPSTREAM.into(), ..Config::default() }));
        registry.memory.upstreams.insert(UpstreamName::new(UPSTREAM), other);
        Self { registry, text: format!("{title}\n"), indent: 0, names: Names::default() }
    }

    fn upstream(&mut self) -> &mut Other {
        self.registry.memory.upstreams.get_mut(&UpstreamName::new(UPSTREAM)).expect("an upstream")
    }

    /// Does something at the upstream that is not written down.
    fn at_upstream(&mut self, act: impl FnOnce(&mut InMemory)) {
        let Other { registry, memory, .. } = self.upstream();
        let mut there = InMemory { registry: registry.clone(), memory: std::mem::take(memory) };
        act(&mut there);
        self.upstream().memory = there.memory;
    }

    /// The session that was opened last.
    fn session(&mut self) -> String {
        let uploads = self.registry.memory.records.keys().filter_map(|key| key.as_str().strip_prefix("upload/"));
        let id = uploads.last().expect("a session").to_owned();
        format!("/v2/app/blobs/uploads/{id}")
    }

    /// A call that belongs to the story and is not written down.
    fn quietly(&mut self, call: Call) {
        let answer = self.registry.call(call);
        assert!(answer.status() < 300, "{answer}");
    }

    fn call(&mut self, call: Call, why: &str) {
        self.call_with(call, why, |_, _| None);
    }

    /// A call, with something that may happen before an effect.
    fn call_with(
        &mut self,
        call: Call,
        why: &str,
        mut meanwhile: impl FnMut(&mut InMemory, &Step) -> Option<&'static str>,
    ) {
        self.say("");
        if !why.is_empty() {
            self.say(&format!("# {why}"));
        }
        self.say(&request(&call));
        let ambient = self.registry.memory.ambient();
        let mut step = self.registry.registry.call(call.request.clone(), ambient);
        let (response, rest) = loop {
            if let Some(event) = meanwhile(&mut self.registry, &step) {
                self.say(&format!("  ~ {event}"));
            }
            step = match step {
                Step::Respond(response) => break (response, None),
                Step::Answered(response, rest) => break (response, Some(rest)),
                step => self.step(step, &call.body),
            };
        };
        self.say(&self::response(&response));
        if let Some(rest) = rest {
            self.run(rest.begin());
        }
    }

    /// Runs to the end what has no body, writing it down.
    fn run<R: std::fmt::Debug>(&mut self, mut step: Step<R>) -> R {
        loop {
            step = match step {
                Step::Respond(result) => return result,
                Step::Answered(result, rest) => {
                    self.run(rest.begin());
                    return result;
                }
                step => self.step(step, &RequestBody::default()),
            };
        }
    }

    fn gc(&mut self) {
        self.say("\ngc");
        let ambient = self.registry.memory.ambient();
        let step = self.registry.registry.gc(ambient);
        let report = self.run(step);
        self.say(&format!("= {report}"));
    }

    /// Performs one effect and writes it down.
    fn step<R: std::fmt::Debug>(&mut self, step: Step<R>, body: &RequestBody) -> Step<R> {
        let step = match step {
            Step::Follow(ask) => return self.follow(ask),
            step => step,
        };
        let asked = question(&step);
        let mut outcome = String::new();
        let step = perform(&mut self.registry.memory, step, body, |_, came| {
            outcome = format!("{came:?}");
            None
        });
        let outcome =
            outcome.strip_prefix("Ok(").and_then(|text| text.strip_suffix(')')).unwrap_or(&outcome).to_owned();
        self.say(&format!("  {asked}"));
        if outcome != "()" {
            self.say(&format!("    → {}", plain(&outcome)));
        }
        step
    }

    /// Runs the fetch that a call follows to its end, writing it down one step to the right.
    fn follow<R>(&mut self, ask: Ask<Follow, R>) -> Step<R> {
        self.say(&format!("  Follow {:?}", ask.effect.fetching));
        let ambient = self.registry.memory.ambient();
        self.indent += 2;
        let over = self.run(ask.effect.fetching.clone().begin(ambient));
        self.indent -= 2;
        let followed = Followed::Over(over);
        self.say(&format!("    → {followed:?}"));
        ask.answer(Ok(followed))
    }

    fn say(&mut self, line: &str) {
        let text = self.names.shorten(line);
        let indent = self.indent;
        for line in text.split('\n') {
            writeln!(self.text, "{}", format!("{:indent$}{line}", "").trim_end()).expect("a string takes everything");
        }
    }

    /// Compares with the file, or writes it.
    #[track_caller]
    fn end(self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts").join(name).with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            return std::fs::write(&path, self.text).expect("the transcripts can be written");
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        if golden != self.text {
            panic!("{} has changed (UPDATE=1 writes it anew):\n{}", path.display(), difference(&golden, &self.text));
        }
    }
}

fn request(call: &Call) -> String {
    let mut text = format!("> {call}");
    for (name, value) in call.request.headers.iter() {
        write!(text, "\n>   {name}: {value}").expect("a string takes everything");
    }
    let length = call.body.bytes.len();
    if length > 0 {
        let framing = if call.request.length.is_some() { "" } else { ", chunked" };
        let cut = if call.body.cut { ", then the connection breaks" } else { "" };
        write!(text, "\n>   ({length} bytes{framing}{cut})").expect("a string takes everything");
    }
    text
}

/// A response, without what every response has.
fn response(response: &Response) -> String {
    let mut text = format!("< {}", response.status);
    let always = ["Docker-Distribution-API-Version", "X-Content-Type-Options"];
    for (name, value) in response.headers.iter().filter(|(name, _)| !always.contains(name)) {
        write!(text, "\n<   {name}: {value}").expect("a string takes everything");
    }
    match &response.body {
        Body::Empty => {}
        Body::Coming(range) => write!(text, "\n<   ({range:?} of what comes)").expect("a string takes everything"),
        Body::Relayed => write!(text, "\n<   (what the upstream sends)").expect("a string takes everything"),
        Body::Bytes(bytes) => {
            write!(text, "\n<   {}", String::from_utf8_lossy(bytes)).expect("a string takes everything")
        }
        Body::Pieces(pieces) => {
            for piece in pieces {
                let line = match piece {
                    Piece::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    Piece::Slice(object, range) => format!("({range:?} of object {object})"),
                };
                write!(text, "\n<   {line}").expect("a string takes everything");
            }
        }
    }
    text
}

/// What is asked, one line for each thing that a commit expects or changes.
fn question<R: std::fmt::Debug>(step: &Step<R>) -> String {
    match step {
        Step::Commit(ask) => commit(&ask.effect),
        Step::Get(ask) => format!("Get {}", list(&ask.effect.keys)),
        Step::Scan(ask) => {
            let Scan { prefix, after, .. } = &ask.effect;
            let after = after.as_ref().map(|after| format!(" after {after:?}")).unwrap_or_default();
            format!("Scan {prefix:?}{after}")
        }
        Step::Receive(ask) => format!("Receive into object {}, past {:?}", ask.effect.object, ask.effect.meter),
        Step::Join(ask) => format!("Join objects {} into {}", names(&ask.effect.from), ask.effect.into),
        Step::Load(ask) => format!("Load objects {}", names(&ask.effect.objects)),
        Step::Measure(ask) => {
            format!("Measure objects {}, past {:?}", names(&ask.effect.objects), ask.effect.meter)
        }
        Step::Erase(ask) => format!("Erase objects {}", names(&ask.effect.objects)),
        Step::Inventory(ask) => match &ask.effect.after {
            Some(after) => format!("Inventory after {after}"),
            None => "Inventory".into(),
        },
        Step::Inquire(ask) => {
            let Inquire { wanted: Wanted { upstream, method, repository, resource, via, .. }, .. } = &ask.effect;
            format!("Inquire of {upstream:?}: {method} /v2/{repository}/{resource}, via {via}")
        }
        Step::Fetch(ask) => {
            let Fetch { source: Source { upstream, repository, digest, via, .. }, object, meter, .. } = &ask.effect;
            format!("Fetch {repository}@{digest} from {upstream:?}, via {via}, into object {object}, past {meter:?}")
        }
        other => other.describe(),
    }
}

fn commit(Commit { expect, put, add, delete, durability, reclaims }: &Commit) -> String {
    let mut text = match durability {
        Durability::Durable => String::from("Commit, durably"),
        Durability::Eventual => String::from("Commit, eventually"),
    };
    if *reclaims {
        text.push_str(", to free space");
    }
    let mut line = |line: String| write!(text, "\n    {line}").expect("a string takes everything");
    for expectation in expect {
        line(match expectation {
            Expect::Absent(key) => format!("expect no {key:?}"),
            Expect::Present(key) => format!("expect {key:?}"),
            Expect::Exactly(key, _) => format!("expect {key:?} unchanged"),
            Expect::NoneUnder(prefix) => format!("expect none under {prefix:?}"),
        });
    }
    for (key, value) in put {
        line(format!("put {key:?} {}", String::from_utf8_lossy(value)));
    }
    for (key, more) in add {
        line(format!("add {more} to {key:?}"));
    }
    for key in delete {
        line(format!("delete {key:?}"));
    }
    text
}

fn names(objects: &[ObjectId]) -> String {
    objects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn list<T: std::fmt::Debug>(items: &[T]) -> String {
    items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", ")
}

/// Debug text with byte strings as the text that they are.
fn plain(outcome: &str) -> String {
    let mut text = String::new();
    let mut rest = outcome;
    while let Some(start) = rest.find("b\"") {
        text.push_str(&rest[..start]);
        let mut escaped = false;
        rest = &rest[start + 2..];
        let end = rest.find(|c| {
            let closing = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closing
        });
        let end = end.expect("a byte string is closed");
        text.push_str(&rest[..end].replace("\\\"", "\""));
        rest = &rest[end + 1..];
    }
    text + rest
}

/// Short names for what is long: the first digits of digests, the number of the call in its ids.
#[derive(Default)]
struct Names {
    calls: BTreeMap<String, usize>,
}

impl Names {
    fn shorten(&mut self, text: &str) -> String {
        let mut short = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let hex = rest.bytes().take_while(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)).count();
            if rest.len() >= 36 && rest.is_char_boundary(36) && is_nonce(&rest[..36]) {
                let next = self.calls.len() + 1;
                let call = *self.calls.entry(rest[..36].into()).or_insert(next);
                write!(short, "#{call}").expect("a string takes everything");
                rest = &rest[36..];
            } else if hex >= 64 {
                short.push_str(&rest[..8]);
                short.push('…');
                rest = &rest[hex..];
            } else {
                short.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        short
    }
}

fn is_nonce(text: &str) -> bool {
    text.bytes().enumerate().all(|(i, byte)| match i {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// The lines that are not in both, where they begin to differ.
fn difference(golden: &str, now: &str) -> String {
    let (golden, now): (Vec<_>, Vec<_>) = (golden.lines().collect(), now.lines().collect());
    let same = golden.iter().zip(&now).take_while(|(a, b)| a == b).count();
    let tail = golden[same..].iter().rev().zip(now[same..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    for line in &golden[same.saturating_sub(3)..same] {
        writeln!(text, "  {line}").expect("a string takes everything");
    }
    for line in &golden[same..golden.len() - tail] {
        writeln!(text, "- {line}").expect("a string takes everything");
    }
    for line in &now[same..now.len() - tail] {
        writeln!(text, "+ {line}").expect("a string takes everything");
    }
    text
}
