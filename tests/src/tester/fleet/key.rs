//! What the clients of a round share: one tag, blob, manifest or upload, and what they saw of it.

use std::cell::RefCell;
use std::time::Instant;

use bytes::Bytes;

use super::{Blob, Fleet, Reply, Wrong, content, still_in_time, wrong};
use crate::tester::chance::Chance;
use crate::tester::content::Image;
use crate::tester::exchange::{Answer, Exchange, with_parameter};
use crate::tester::lab::{get_manifest, put_manifest};
use crate::tester::linear::{Event, Seen, Thing, explain, shortest};

/// How many operations without an answer a key may have until it is left alone: each makes more orders possible.
const UNKNOWN: usize = 8;

/// How many bytes a chunk has: fewer and more than a registry may keep among its records.
const CHUNKS: [usize; 4] = [10, 1_000, 17_000, 40_000];

/// What a key is.
pub(super) enum Kind {
    /// A tag, which names one of the images of the round.
    Tag(&'static str),
    Blob(Blob),
    Manifest(Image),
    /// An upload, by the path of its session and what its bytes are made from.
    Upload(String, u64),
}

/// A key and its history.
pub(super) struct Key {
    pub(super) kind: Kind,
    repo: String,
    pub(super) events: RefCell<Vec<Event<Seen>>>,
}

/// A client at a key.
pub(super) struct Client<'a> {
    pub(super) fleet: &'a Fleet<'a>,
    pub(super) name: String,
    pub(super) images: &'a [Image],
}

/// What an answer says of a key; or that it cannot be right.
type Judged = Result<Option<Seen>, Wrong>;

impl Key {
    pub(super) fn new(kind: Kind, repo: &str) -> Self {
        Self { kind, repo: repo.to_owned(), events: RefCell::default() }
    }

    /// What it is called.
    pub(super) fn name(&self) -> String {
        let repo = &self.repo;
        match &self.kind {
            Kind::Tag(tag) => format!("tag {repo}:{tag}"),
            Kind::Blob(blob) => format!("blob {repo}@{} of {} bytes", blob.digest, blob.size),
            Kind::Manifest(image) => format!("manifest {repo}@{}", image.digest()),
            Kind::Upload(session, _) => format!("upload {session}"),
        }
    }

    fn initial(&self) -> Thing {
        match self.kind {
            Kind::Upload(..) => Thing::OPENED,
            _ => Thing::NOTHING,
        }
    }

    /// Whether so many operations had no answer that it is left alone.
    pub(super) fn is_worn(&self) -> bool {
        self.unanswered() >= UNKNOWN
    }

    pub(super) fn unanswered(&self) -> usize {
        self.events.borrow().iter().filter(|event| event.ended.is_none()).count()
    }

    /// What shows that no order explains what was seen, if none does.
    pub(super) fn unexplained(&self) -> Option<Vec<String>> {
        let events = self.events.borrow();
        let initial = self.initial();
        explain(&initial, &events).is_err().then(|| told(&shortest(&initial, &events)))
    }

    /// All that was seen.
    pub(super) fn told(&self) -> Vec<String> {
        told(&self.events.borrow())
    }

    fn blob(&self, blob: &Blob) -> String {
        format!("/v2/{}/blobs/{}", self.repo, blob.digest)
    }

    fn manifest(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.repo)
    }
}

/// Events as lines, their times in seconds since the first.
fn told(events: &[Event<Seen>]) -> Vec<String> {
    let first = events.iter().map(|event| event.called).min().unwrap_or(0);
    let seconds = |moment: u64| (moment - first) as f64 / 1e6;
    let line = |event: &Event<Seen>| {
        let Event { name, called, ended, seen } = event;
        match ended {
            Some(ended) => format!("{:.6} s to {:.6} s, {name}: {seen}", seconds(*called), seconds(*ended)),
            None => format!("{:.6} s and no answer, {name}: may have {seen}", seconds(*called)),
        }
    };
    events.iter().map(line).collect()
}

impl Client<'_> {
    /// Does one thing to a key. `at` is where this client believes that the upload stands.
    pub(super) async fn act(&self, key: &Key, at: &mut usize, chance: &mut Chance) -> Result<(), Wrong> {
        let what = chance.below(9);
        match &key.kind {
            Kind::Tag(tag) => match what {
                0..4 => {
                    let image = what % self.images.len();
                    let put = put_manifest(&key.repo, tag, &self.images[image]);
                    let done = must(201, Seen::Put(image));
                    self.change(key, &format!("put image {image}"), put, done, Seen::Put(image), chance).await
                }
                4 => self.delete(key, key.manifest(tag), chance).await,
                _ => self.read(key, chance).await,
            },
            Kind::Blob(blob) => match what {
                0 => {
                    let target = format!("/v2/{}/blobs/uploads/?digest={}", key.repo, blob.digest);
                    let post = Exchange::new("POST", target).header("Content-Type", "application/octet-stream");
                    let judged = |answer: &Answer| match answer.status {
                        201 => Ok(Some(Seen::Put(0))),
                        202 => Ok(None),
                        _ => wrong("201, or 202 where that is not offered", answer),
                    };
                    let post = post.body(blob.bytes());
                    self.change(key, "push by one POST", post, judged, Seen::Put(0), chance).await
                }
                1..4 => self.push(key, blob, chance).await,
                4 => self.delete(key, key.blob(blob), chance).await,
                _ => self.read(key, chance).await,
            },
            Kind::Manifest(image) => match what {
                0..4 => {
                    let put = put_manifest(&key.repo, &image.digest(), image);
                    self.change(key, "put", put, must(201, Seen::Put(0)), Seen::Put(0), chance).await
                }
                4 => self.delete(key, key.manifest(&image.digest()), chance).await,
                _ => self.read(key, chance).await,
            },
            Kind::Upload(session, seed) => match what {
                0..3 => {
                    let read = self.read(key, chance).await;
                    if let Some(Seen::Stands(offset)) = key.events.borrow().last().map(|event| event.seen) {
                        *at = offset;
                    }
                    read
                }
                _ => self.append(key, session, *seed, at, chance).await,
            },
        }
    }

    /// Sends a request and keeps what came of it; `unknown` is the effect that it may have had without an answer.
    async fn tell(
        &self,
        key: &Key,
        what: &str,
        exchange: Exchange,
        judged: impl FnOnce(&Answer) -> Judged,
        unknown: Option<Seen>,
        chance: &mut Chance,
    ) -> Result<Option<Seen>, Wrong> {
        let called = self.fleet.now();
        let (reply, door) = self.fleet.ask(chance, exchange).await?;
        let name = format!("{} at {door}: {what}", self.name);
        let (ended, seen) = match reply {
            Reply::Answer(answer) => (Some(self.fleet.now()), judged(&answer)?),
            Reply::Unknown => (None, unknown),
            Reply::Never => (None, None),
        };
        if let Some(seen) = seen {
            key.events.borrow_mut().push(Event { name, called, ended, seen });
        }
        Ok(seen.filter(|_| ended.is_some()))
    }

    async fn change(
        &self,
        key: &Key,
        what: &str,
        exchange: Exchange,
        judged: impl FnOnce(&Answer) -> Judged,
        effect: Seen,
        chance: &mut Chance,
    ) -> Result<(), Wrong> {
        let seen = self.tell(key, what, exchange, judged, Some(effect), chance).await?;
        if matches!(seen, Some(Seen::Put(_) | Seen::Deleted(true) | Seen::Appended(..))) {
            self.fleet.acknowledged();
        }
        Ok(())
    }

    async fn delete(&self, key: &Key, target: String, chance: &mut Chance) -> Result<(), Wrong> {
        let judged = |answer: &Answer| match answer.status {
            202 => Ok(Some(Seen::Deleted(true))),
            404 => Ok(Some(Seen::Deleted(false))),
            // Not offered, and need not be.
            400 | 405 => Ok(None),
            _ => wrong("202 or 404 of a deletion", answer),
        };
        self.change(key, "delete", Exchange::new("DELETE", target), judged, Seen::Deleted(true), chance).await
    }

    /// Pushes a blob the way that every registry must know.
    async fn push(&self, key: &Key, blob: &Blob, chance: &mut Chance) -> Result<(), Wrong> {
        let open = Exchange::new("POST", format!("/v2/{}/blobs/uploads/", key.repo)).body(Bytes::new());
        let Reply::Answer(opened) = self.fleet.ask(chance, open).await?.0 else { return Ok(()) };
        let session = path(&opened)?;
        let put = Exchange::new("PUT", with_parameter(&session, "digest", &blob.digest));
        let put = put.header("Content-Type", "application/octet-stream").body(blob.bytes());
        let judged = |answer: &Answer| match answer.status {
            201 => Ok(Some(Seen::Put(0))),
            // The session was forgotten with the process or database that had it.
            404 => {
                self.fleet.played.borrow_mut().forgotten += 1;
                Ok(None)
            }
            _ => wrong("201 of a push", answer),
        };
        self.change(key, "push", put, judged, Seen::Put(0), chance).await
    }

    async fn append(
        &self,
        key: &Key,
        session: &str,
        seed: u64,
        at: &mut usize,
        chance: &mut Chance,
    ) -> Result<(), Wrong> {
        let (start, size) = (*at, CHUNKS[chance.below(CHUNKS.len())]);
        let range = format!("{start}-{}", start + size - 1);
        let patch = Exchange::new("PATCH", session)
            .header("Content-Type", "application/octet-stream")
            .header("Content-Range", &range)
            .body(content(seed, start, size));
        let judged = |answer: &Answer| match answer.status {
            202 if answer.last_byte() == i64::try_from(start + size - 1).ok() => Ok(Some(Seen::Appended(start, size))),
            404 => Ok(Some(Seen::Gone)),
            416 => Ok(Some(Seen::Late(start))),
            _ => wrong(format!("202 with Range: 0-{}, or 416", start + size - 1), answer),
        };
        let what = format!("send a chunk, bytes {range}");
        let seen = self.tell(key, &what, patch, judged, Some(Seen::Sent(start, size)), chance).await?;
        if let Some(Seen::Appended(..)) = seen {
            *at = start + size;
            self.fleet.acknowledged();
        }
        Ok(())
    }

    /// Reads a key.
    pub(super) async fn read(&self, key: &Key, chance: &mut Chance) -> Result<(), Wrong> {
        let head = chance.once_in(3);
        let method = if head { "HEAD" } else { "GET" };
        match &key.kind {
            Kind::Tag(tag) => {
                let get = Exchange { method: method.into(), ..get_manifest(&key.repo, tag) };
                let judged = |answer: &Answer| match answer.status {
                    404 => Ok(Some(Seen::Got(None))),
                    200 => {
                        let named = |image: &Image| answer.header("Docker-Content-Digest") == Some(&image.digest());
                        let is = |image: &Image| if head { named(image) } else { image.bytes() == answer.body };
                        match self.images.iter().position(is) {
                            Some(image) => Ok(Some(Seen::Got(Some(image)))),
                            None => wrong("one of the images that were put to the tag", answer),
                        }
                    }
                    _ => wrong("200 or 404", answer),
                };
                self.tell(key, "get", get, judged, None, chance).await?;
            }
            Kind::Blob(blob) => {
                let get = Exchange::new(method, key.blob(blob));
                self.tell(key, "get", get, |answer| there(answer, &blob.bytes(), head), None, chance).await?;
            }
            Kind::Manifest(image) => {
                let get = Exchange { method: method.into(), ..get_manifest(&key.repo, &image.digest()) };
                self.tell(key, "get", get, |answer| there(answer, &image.bytes(), head), None, chance).await?;
            }
            Kind::Upload(session, _) => {
                let judged = |answer: &Answer| match (answer.status, answer.last_byte()) {
                    (404, _) => Ok(Some(Seen::Gone)),
                    (204, Some(last)) => Ok(Some(Seen::Stands(if last <= 0 { 0 } else { last as usize + 1 }))),
                    _ => wrong("204 with a Range, or 404", answer),
                };
                self.tell(key, "ask the status", Exchange::new("GET", session), judged, None, chance).await?;
            }
        }
        Ok(())
    }

    /// Finishes an upload as it stands, and reads what it has become.
    pub(super) async fn finish(
        &self,
        key: &Key,
        session: &str,
        seed: u64,
        chance: &mut Chance,
    ) -> Result<Option<Blob>, Wrong> {
        let began = Instant::now();
        loop {
            let before = key.events.borrow().len();
            self.read(key, chance).await?;
            let last = key.events.borrow().get(before..).and_then(|new| new.last()).map(|event| event.seen);
            let offset = match last {
                Some(Seen::Stands(offset)) => offset,
                Some(_) => return Ok(None),
                None => {
                    still_in_time(began, || format!("GET {session}"))?;
                    continue;
                }
            };
            let whole = Blob::new(seed, offset);
            let called = self.fleet.now();
            let put = Exchange::new("PUT", with_parameter(session, "digest", &whole.digest)).body(Bytes::new());
            // The same once more is answered in the same way.
            let answer = self.fleet.insist(chance, put).await?;
            let finished = match answer.status {
                201 => true,
                // A chunk without an answer has come in between: it ends the session as well.
                400 if key.unanswered() > 0 => false,
                404 => {
                    let got = self.fleet.insist(chance, Exchange::new("GET", key.blob(&whole))).await?;
                    there(&got, &whole.bytes(), false)? == Some(Seen::Got(Some(0)))
                }
                _ => false,
            };
            if !finished && answer.status != 400 {
                return wrong(format!("201: the {offset} bytes that were taken, in order, are the upload"), answer);
            }
            let (name, ended) = (format!("{}: finish the upload", self.name), Some(self.fleet.now()));
            key.events.borrow_mut().push(Event { name, called, ended, seen: Seen::Finished });
            if !finished {
                return Ok(None);
            }
            self.fleet.acknowledged();
            let got = self.fleet.insist(chance, Exchange::new("GET", key.blob(&whole))).await?;
            return match there(&got, &whole.bytes(), false)? {
                Some(Seen::Got(Some(_))) => Ok(Some(whole)),
                _ => wrong("200: the blob that was just finished", got),
            };
        }
    }
}

/// An answer about bytes that are there or not.
pub(super) fn there(answer: &Answer, bytes: &[u8], head: bool) -> Judged {
    match answer.status {
        404 => Ok(Some(Seen::Got(None))),
        200 if head || answer.body == bytes => Ok(Some(Seen::Got(Some(0)))),
        200 => {
            let same = answer.body.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            let came = format!("{} bytes, the first {same} of them right", answer.body.len());
            wrong(format!("the {} bytes that were pushed", bytes.len()), came)
        }
        _ => wrong("200 or 404", answer),
    }
}

/// What is seen by an answer of that status alone.
fn must(status: u16, seen: Seen) -> impl FnOnce(&Answer) -> Judged {
    move |answer| if answer.status == status { Ok(Some(seen)) } else { wrong(status.to_string(), answer) }
}

/// The path of a session that was opened, at whatever address.
pub(super) fn path(opened: &Answer) -> Result<String, Wrong> {
    match opened.header("Location").filter(|location| opened.status == 202 && !location.is_empty()) {
        Some(location) => {
            let path = location.split_once("://").and_then(|(_, rest)| Some(&rest[rest.find('/')?..]));
            Ok(path.unwrap_or(location).to_owned())
        }
        None => wrong("202 with the Location of a session", opened),
    }
}
