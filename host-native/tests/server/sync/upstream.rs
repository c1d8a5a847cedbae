//! A registry of a few images that logs what it is asked, has a limit, and misbehaves when it is told to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use orlop_core::digest::{Algorithm, Digest};
use serde_json::{Value, json};

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// How many tags a page has, however many are asked for.
pub(super) const PAGE: usize = 40;

/// How lists of tags go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lists {
    #[default]
    Right,
    /// 403.
    Fail,
    /// The second page is broken off.
    Cut,
    /// It ends after the first page, and does not say that there is more.
    Short,
    /// There are no tags.
    Empty,
    /// 401: no login is good enough.
    Refuse,
}

/// A request at which the client is to be killed.
struct Trap {
    /// How many requests come before it.
    after: usize,
    /// Whether half of the body is sent.
    half: bool,
    caught: Sender<()>,
}

#[derive(Default)]
struct State {
    /// Media type and bytes of contents, by their digests.
    contents: HashMap<String, (String, Vec<u8>)>,
    tags: BTreeMap<String, Digest>,
    /// Which tag moves to which digest as soon as the manifest with this one was read.
    moves: HashMap<String, (String, Digest)>,
    lists: Lists,
    refuses_blobs: bool,
    asked: Vec<String>,
    /// When it was asked within the time of its limit.
    recent: VecDeque<Instant>,
    limit: Option<(usize, Duration)>,
    refused: usize,
    trap: Option<Trap>,
}

/// The registry, with one repository under two names: `app` and `team/app`.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) address: String,
    state: Arc<Mutex<State>>,
}

impl Upstream {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let upstream = Self { address, state: Arc::default() };
        let serving = upstream.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                std::thread::spawn(move || while serving.answer(&stream).is_some() {});
            }
        });
        upstream
    }

    /// A content of any kind: its descriptor.
    pub(super) fn content(&self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = Algorithm::Sha256.digest(&bytes);
        let descriptor = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
        self.state.lock().unwrap().contents.insert(digest.to_string(), (media_type.into(), bytes));
        descriptor
    }

    /// An image whose config says when it was made: its descriptor.
    pub(super) fn image(&self, created: &str, layer: &[u8]) -> Value {
        let config = json!({ "created": created, "os": "linux", "architecture": "amd64" });
        let config = self.content("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
        let layer = self.content("application/vnd.oci.image.layer.v1.tar", layer.to_vec());
        let image = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        self.content(MANIFEST, image.to_string().into_bytes())
    }

    /// An index of these.
    pub(super) fn index(&self, manifests: &[Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        self.content(INDEX, index.to_string().into_bytes())
    }

    pub(super) fn tag(&self, tag: &str, of: &Value) {
        let digest = of["digest"].as_str().unwrap().parse().unwrap();
        self.state.lock().unwrap().tags.insert(tag.into(), digest);
    }

    pub(super) fn untag(&self, tag: &str) {
        self.state.lock().unwrap().tags.remove(tag);
    }

    /// The tag moves there as soon as the first one was read by its digest.
    pub(super) fn moves(&self, tag: &str, from: &Value, to: &Value) {
        let (from, to) = (from["digest"].as_str().unwrap(), to["digest"].as_str().unwrap().parse().unwrap());
        self.state.lock().unwrap().moves.insert(from.into(), (tag.into(), to));
    }

    pub(super) fn lists(&self, lists: Lists) {
        self.state.lock().unwrap().lists = lists;
    }

    /// From now on no login is good enough for blobs.
    pub(super) fn refuse_blobs(&self) {
        self.state.lock().unwrap().refuses_blobs = true;
    }

    /// From now on it answers 429 to more requests in any such time.
    pub(super) fn limit(&self, limit: usize, within: Duration) {
        self.state.lock().unwrap().limit = Some((limit, within));
    }

    /// After so many requests the next one gets no answer, or half of one. Who waits for that is told of it.
    pub(super) fn trap(&self, after: usize, half: bool) -> Receiver<()> {
        let (caught, wait) = channel();
        self.state.lock().unwrap().trap = Some(Trap { after, half, caught });
        wait
    }

    /// What it was asked since this was called last.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    pub(super) fn count(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }

    pub(super) fn refused(&self) -> usize {
        self.state.lock().unwrap().refused
    }

    fn answer(&self, stream: &TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next()?.ok()?;
        while !lines.next()?.ok()?.is_empty() {}
        let (method, target) = request.split_once(' ')?;
        let target = target.split(' ').next()?;
        let (status, fields, mut body) = self.answered(method, target);
        let mut stream = stream;
        let head = format!("HTTP/1.1 {status} x\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        let trap = self.sprung();
        if method == "HEAD" || trap.as_ref().is_some_and(|trap| !trap.half) {
            body.clear();
        }
        if let Some(trap) = trap {
            body.truncate(body.len() / 2);
            if trap.half && method != "HEAD" {
                stream.write_all(&[head.as_bytes(), &body].concat()).ok()?;
            }
            trap.caught.send(()).ok()?;
            // Until the client is gone.
            let _ = stream.read(&mut [0]);
            return None;
        }
        stream.write_all(&[head.as_bytes(), &body].concat()).ok()
    }

    /// The trap, if it is this request that it waits for.
    fn sprung(&self) -> Option<Trap> {
        let mut state = self.state.lock().unwrap();
        match &mut state.trap {
            Some(trap) if trap.after > 0 => {
                trap.after -= 1;
                None
            }
            trap => trap.take(),
        }
    }

    fn answered(&self, method: &str, target: &str) -> (u16, String, Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        state.asked.push(format!("{method} {target}"));
        let now = Instant::now();
        if let Some((limit, within)) = state.limit {
            while state.recent.front().is_some_and(|then| now - *then >= within) {
                state.recent.pop_front();
            }
            state.recent.push_back(now);
            if state.recent.len() > limit {
                state.refused += 1;
                return (429, "Retry-After: 1\r\n".into(), Vec::new());
            }
        }
        let Some(resource) = target.strip_prefix("/v2/").map(|path| path.trim_start_matches("team/")) else {
            return (404, String::new(), Vec::new());
        };
        let Some(resource) = resource.strip_prefix("app/") else { return (404, String::new(), Vec::new()) };
        match resource.split_once('/') {
            Some(("tags", query)) => list(&state, query),
            Some(("blobs", _)) if state.refuses_blobs => refusal(),
            Some(("manifests" | "blobs", reference)) => {
                if let Some((tag, to)) = state.moves.remove(reference) {
                    state.tags.insert(tag, to);
                }
                let digest = state.tags.get(reference).map_or_else(|| reference.to_owned(), ToString::to_string);
                match state.contents.get(&digest) {
                    Some((media_type, bytes)) => {
                        let fields = format!("Content-Type: {media_type}\r\nDocker-Content-Digest: {digest}\r\n");
                        (200, fields, bytes.clone())
                    }
                    None => (404, String::new(), Vec::new()),
                }
            }
            _ => (404, String::new(), Vec::new()),
        }
    }
}

fn refusal() -> (u16, String, Vec<u8>) {
    (401, "WWW-Authenticate: Basic realm=\"x\"\r\n".into(), Vec::new())
}

fn list(state: &State, query: &str) -> (u16, String, Vec<u8>) {
    let last = query.split_once("last=").map(|(_, last)| last.to_owned());
    let all = || state.tags.keys().filter(|tag| last.as_ref().is_none_or(|last| *tag > last));
    let page: Vec<_> = match state.lists {
        Lists::Refuse => return refusal(),
        Lists::Fail => return (403, String::new(), Vec::new()),
        Lists::Cut if last.is_some() => return (200, String::new(), b"{\"tags\":[".to_vec()),
        Lists::Empty => Vec::new(),
        _ => all().take(PAGE).collect(),
    };
    let more = page.len() < all().count() && !matches!(state.lists, Lists::Empty | Lists::Short);
    let link = page.last().filter(|_| more);
    let link = link.map(|last| format!("Link: </v2/app/tags/list?n={PAGE}&last={last}>; rel=\"next\"\r\n"));
    (200, link.unwrap_or_default(), json!({ "name": "app", "tags": page }).to_string().into_bytes())
}
