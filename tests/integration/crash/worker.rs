//! A client that pushes, moves and deletes, and writes down what it was told.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use orlop_conformance::image::{Manifest, sha256, sha512};
use orlop_conformance::system::{self, Call, blob, get, manifest, patch, post, put, uploads};

use crate::journal::{Entry, Fact, Journal, Outcome, Value};
use crate::random::Random;
use crate::served::{Client, Reply, Served};

/// How many tags a client moves about in a repository: few, so that they move often.
const TAGS: usize = 4;

/// How many contents all clients push: what one deletes another still has.
const SHARED: u64 = 6;

/// An upload that is not finished.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    repository: String,
    path: String,
    whole: Bytes,
    received: usize,
}

/// A client with repositories of its own.
pub(crate) struct Worker {
    client: Client,
    pub(crate) random: Random,
    pub(crate) journal: Journal,
    /// Answers that say that the registry has failed, and what to.
    pub(crate) failures: Vec<(String, Reply)>,
    /// The largest blob it makes.
    largest: usize,
    repositories: Vec<String>,
    blobs: Vec<(String, String)>,
    images: Vec<(String, Manifest)>,
    tags: BTreeMap<(String, String), String>,
    open: Vec<Open>,
}

impl Worker {
    pub(crate) fn new(number: u64, seed: u64, address: &str, largest: usize) -> Self {
        let repositories = vec![format!("worker{number}/one"), format!("worker{number}/two")];
        let mut journal = Journal::default();
        journal.sent.repositories = repositories.clone();
        Self {
            client: Client::new(address),
            random: Random::stream(seed, number),
            journal,
            failures: Vec::new(),
            largest,
            repositories,
            blobs: Vec::new(),
            images: Vec::new(),
            tags: BTreeMap::new(),
            open: Vec::new(),
        }
    }

    /// Goes on with a server at another address.
    pub(crate) fn move_to(&mut self, address: &str) {
        self.client = Client::new(address);
    }

    /// Does something. An error is the end of the server.
    pub(crate) fn act(&mut self) -> io::Result<()> {
        match self.random.below(20) {
            0..=2 => self.push_whole(),
            3..=5 => self.push_in_chunks(true),
            6 => self.push_in_chunks(false),
            7 | 8 => self.resume(),
            9 => self.cut_chunk(),
            10 => self.cancel(),
            11 => self.push_wrong(),
            12 => self.push_by_sha512(),
            13 => self.mount(),
            14 | 15 => self.push_image(),
            16 => self.move_tag(),
            17 => self.delete_tag(),
            18 => self.delete_manifest(),
            _ => self.delete_blob(),
        }
    }

    /// Makes a call, and writes down before it what it may change and after it what its answer says.
    fn ask(
        &mut self,
        call: &Call,
        may: Vec<(Fact, Value)>,
        done: impl FnOnce(&Reply) -> Vec<(Fact, Vec<Value>)>,
    ) -> io::Result<Reply> {
        let place = self.client.next_place()?;
        self.journal.entries.push(Entry { place, call: call.to_string(), may, outcome: Outcome::Unanswered });
        let reply = self.client.send(call)?;
        let outcome = match reply.status {
            200..=299 => Outcome::Done(done(&reply)),
            400..=499 => Outcome::Refused,
            _ => {
                self.failures.push((call.to_string(), reply.clone()));
                Outcome::Failed
            }
        };
        if let Some(entry) = self.journal.entries.last_mut() {
            entry.outcome = outcome;
        }
        Ok(reply)
    }

    fn repository(&mut self) -> String {
        self.repositories[self.random.below(self.repositories.len())].clone()
    }

    /// New bytes of any size, now and then such as others have too. Never so few that a piece of them is a single
    /// byte: the `Range` of a session with one byte is that of an empty one.
    fn content(&mut self) -> Bytes {
        let length = match self.random.below(10) {
            0 => return Random::stream(SHARED, self.random.word() % SHARED).bytes(3000).into(),
            1 => 4096 * (1 + self.random.below(8)),
            2 => self.largest,
            _ => 8 + self.random.below(self.largest.min(6000)),
        };
        self.random.bytes(length).into()
    }

    fn keep(&mut self, repository: &str, digest: &str, bytes: &Bytes) -> Fact {
        self.journal.sent.blobs.insert(digest.into(), bytes.clone());
        Fact::Blob { repository: repository.into(), digest: digest.into() }
    }

    fn pushed(&mut self, repository: &str, digest: &str) {
        self.blobs.push((repository.into(), digest.into()));
    }

    /// A blob in one request.
    pub(crate) fn push_whole(&mut self) -> io::Result<()> {
        let (repository, bytes) = (self.repository(), self.content());
        self.push_blob(&repository, bytes)
    }

    pub(crate) fn push_blob(&mut self, repository: &str, bytes: Bytes) -> io::Result<()> {
        let digest = sha256(&bytes);
        let fact = self.keep(repository, &digest, &bytes);
        let call = post(format!("{}?digest={digest}", uploads(repository))).body(bytes);
        let reply = self.ask(&call, vec![(fact.clone(), Value::Present)], |_| vec![(fact, vec![Value::Present])])?;
        if reply.status == 201 {
            self.pushed(repository, &digest);
        }
        Ok(())
    }

    fn open(&mut self, hint: &str) -> io::Result<Option<Open>> {
        let (repository, whole) = (self.repository(), self.content());
        let mut path = String::new();
        let reply = self.ask(&post(format!("{}{hint}", uploads(&repository))), Vec::new(), |reply| {
            path = reply.header("location").unwrap_or_default().into();
            let fact = Fact::Session { repository: repository.clone(), path: path.clone() };
            // A session to which nothing was sent may be lost: its client begins again and has lost nothing.
            vec![(fact, vec![Value::Received(0, 0), Value::Absent])]
        })?;
        self.journal.sent.sessions.insert(path.clone(), whole.clone());
        Ok((reply.status == 202).then_some(Open { repository, path, whole, received: 0 }))
    }

    /// The next piece of an upload; whether it was taken.
    fn chunk(&mut self, open: &mut Open, length: usize) -> io::Result<bool> {
        let end = (open.received + length).min(open.whole.len());
        let fact = Fact::Session { repository: open.repository.clone(), path: open.path.clone() };
        let call = patch(&open.path)
            .header("Content-Type", "application/octet-stream")
            .header("Content-Range", format!("{}-{}", open.received, end - 1))
            .body(open.whole.slice(open.received..end));
        let value = Value::Received(end as u64, end as u64);
        let reply = self.ask(&call, vec![(fact.clone(), value.clone())], |_| vec![(fact, vec![value])])?;
        if reply.status == 202 {
            open.received = end;
        }
        Ok(reply.status == 202)
    }

    /// Ends an upload with what is left of it, under the digest that `digest_of` makes.
    fn finish(&mut self, open: &Open, digest_of: impl Fn(&[u8]) -> String) -> io::Result<()> {
        let digest = digest_of(&open.whole);
        let fact = self.keep(&open.repository, &digest, &open.whole);
        let session = Fact::Session { repository: open.repository.clone(), path: open.path.clone() };
        let call = put(format!("{}?digest={digest}", open.path)).body(open.whole.slice(open.received..));
        let may = vec![(fact.clone(), Value::Present), (session.clone(), Value::Absent)];
        let reply = self.ask(&call, may, |_| vec![(fact, vec![Value::Present]), (session, vec![Value::Absent])])?;
        if reply.status == 201 {
            self.pushed(&open.repository, &digest);
        }
        Ok(())
    }

    /// A blob in several requests; the upload may be left open.
    pub(crate) fn push_in_chunks(&mut self, to_the_end: bool) -> io::Result<()> {
        let Some(mut open) = self.open("")? else { return Ok(()) };
        let pieces = 1 + self.random.below(3);
        for _ in 0..pieces {
            // At least two bytes each, so that no `Range` of one byte comes about.
            let left = open.whole.len() - open.received;
            if left < 4 || !self.chunk(&mut open, 2 + left / (pieces + 1))? {
                break;
            }
        }
        if !to_the_end {
            self.open.push(open);
            return Ok(());
        }
        // The last request may carry bytes, or none.
        if self.random.once_in(2) && open.received < open.whole.len() && !self.chunk(&mut open, usize::MAX / 2)? {
            return Ok(());
        }
        self.finish(&open, |bytes| sha256(bytes))
    }

    fn take_open(&mut self) -> Option<Open> {
        if self.open.is_empty() { None } else { Some(self.open.swap_remove(self.random.below(self.open.len()))) }
    }

    /// Goes on with an upload where the registry says it stands.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        let Some(mut open) = self.take_open() else { return Ok(()) };
        let reply = self.ask(&get(&open.path), Vec::new(), |_| Vec::new())?;
        if reply.status != 204 {
            return Ok(());
        }
        open.received = received(&reply).unwrap_or_default() as usize;
        if open.whole.len() - open.received >= 4 && self.random.once_in(2) && !self.chunk(&mut open, 2)? {
            return Ok(());
        }
        self.finish(&open, |bytes| sha256(bytes))
    }

    /// A chunk whose connection breaks in the middle: what arrived is kept, however much that is.
    pub(crate) fn cut_chunk(&mut self) -> io::Result<()> {
        let Some(open) = self.open("")? else { return Ok(()) };
        let fact = Fact::Session { repository: open.repository.clone(), path: open.path.clone() };
        let sent = open.whole.len() / 2;
        // It says where it belongs. The connection is gone before the server has to take it up: it may do so after the
        // next request of this client, and would add these bytes to what that one sent.
        let call = patch(&open.path)
            .header("Content-Type", "application/octet-stream")
            .header("Content-Range", format!("0-{}", open.whole.len() - 1))
            .body(open.whole.slice(..sent))
            .length(open.whole.len());
        if call.body.cut {
            // Nobody answers, and that is no failure.
            let asked = self.ask(&call, vec![(fact, Value::Received(0, sent as u64))], |_| Vec::new());
            debug_assert!(asked.is_err());
        }
        self.open.push(open);
        Ok(())
    }

    /// Gives an upload up.
    pub(crate) fn cancel(&mut self) -> io::Result<()> {
        let Some(open) = self.take_open() else { return Ok(()) };
        let fact = Fact::Session { repository: open.repository.clone(), path: open.path.clone() };
        let gone = vec![(fact.clone(), Value::Absent)];
        self.ask(&system::delete(&open.path), gone, |_| vec![(fact, vec![Value::Absent])])?;
        Ok(())
    }

    /// Bytes under the digest of others: nothing comes of it, and a session ends.
    pub(crate) fn push_wrong(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open("")? else { return Ok(()) };
        if open.whole.len() < 4 || !self.chunk(&mut open, 2)? {
            return Ok(());
        }
        let wrong = sha256([open.whole.as_ref(), b"!"].concat());
        let session = Fact::Session { repository: open.repository.clone(), path: open.path.clone() };
        let call = put(format!("{}?digest={wrong}", open.path)).body(open.whole.slice(open.received..));
        // Whether the session outlives it is the registry's choice, so what it is now stays open.
        self.journal.sent.blobs.insert(wrong, Bytes::new());
        let end = open.whole.len() as u64;
        let may = vec![(session.clone(), Value::Absent), (session.clone(), Value::Received(end, end))];
        let before = open.received as u64;
        let reply = self.ask(&call, may, |_| Vec::new())?;
        assert!(reply.status >= 400, "{call}: {}", reply.text());
        if let Some(entry) = self.journal.entries.last_mut() {
            let left = vec![Value::Absent, Value::Received(before, before), Value::Received(end, end)];
            entry.outcome = Outcome::Done(vec![(session, left)]);
        }
        Ok(())
    }

    /// A blob known by its SHA-512, which the session is told of or has to find out late.
    pub(crate) fn push_by_sha512(&mut self) -> io::Result<()> {
        let hint = if self.random.once_in(2) { "?digest-algorithm=sha512" } else { "" };
        let Some(mut open) = self.open(hint)? else { return Ok(()) };
        if open.whole.len() >= 4 && self.random.once_in(2) && !self.chunk(&mut open, 2)? {
            return Ok(());
        }
        self.finish(&open, |bytes| sha512(bytes))
    }

    /// A blob of one repository into another.
    pub(crate) fn mount(&mut self) -> io::Result<()> {
        let Some((from, digest)) = self.random.pick(&self.blobs).cloned() else { return Ok(()) };
        let repository = self.repository();
        let from = if self.random.once_in(3) { String::new() } else { format!("&from={from}") };
        let fact = Fact::Blob { repository: repository.clone(), digest: digest.clone() };
        let call = post(format!("{}?mount={digest}{from}", uploads(&repository)));
        let reply = self.ask(&call, vec![(fact.clone(), Value::Present)], |reply| match reply.status {
            201 => vec![(fact, vec![Value::Present])],
            // It cannot be mounted and is an upload now, with which nobody goes on.
            _ => Vec::new(),
        })?;
        if reply.status == 201 {
            self.pushed(&repository, &digest);
        }
        Ok(())
    }

    /// An image under a tag, or under its digest alone.
    pub(crate) fn push_image(&mut self) -> io::Result<()> {
        let repository = self.repository();
        let layer = format!("layer {}", self.random.word());
        let image = Manifest::artifact("application/vnd.example", &layer);
        for bytes in image.blobs().to_vec() {
            self.push_blob(&repository, bytes)?;
        }
        let tag = format!("t{}", self.random.below(TAGS));
        let tag = (!self.random.once_in(4)).then_some(tag);
        self.put_manifest(&repository, &image, tag)
    }

    fn put_manifest(&mut self, repository: &str, image: &Manifest, tag: Option<String>) -> io::Result<()> {
        let digest = image.digest();
        self.journal.sent.manifests.insert(digest.clone(), image.bytes());
        let mut may = vec![(Fact::Manifest { repository: repository.into(), digest: digest.clone() }, Value::Present)];
        if let Some(tag) = &tag {
            may.push((Fact::Tag { repository: repository.into(), tag: tag.clone() }, Value::Names(digest.clone())));
        }
        let call = put(manifest(repository, tag.as_ref().unwrap_or(&digest)))
            .header("Content-Type", image.media_type())
            .body(image.bytes());
        let done = may.clone().into_iter().map(|(fact, value)| (fact, vec![value])).collect();
        let reply = self.ask(&call, may, |_| done)?;
        if reply.status == 201 {
            self.images.push((repository.into(), image.clone()));
            if let Some(tag) = tag {
                self.tags.insert((repository.into(), tag), digest);
            }
        }
        Ok(())
    }

    /// A tag to another image that is there.
    pub(crate) fn move_tag(&mut self) -> io::Result<()> {
        let Some((repository, image)) = self.random.pick(&self.images).cloned() else { return Ok(()) };
        let tag = format!("t{}", self.random.below(TAGS));
        self.put_manifest(&repository, &image, Some(tag))
    }

    pub(crate) fn delete_tag(&mut self) -> io::Result<()> {
        let tags: Vec<_> = self.tags.keys().cloned().collect();
        let Some((repository, tag)) = self.random.pick(&tags).cloned() else { return Ok(()) };
        let fact = Fact::Tag { repository: repository.clone(), tag: tag.clone() };
        let gone = vec![(fact.clone(), Value::Absent)];
        self.ask(&system::delete(manifest(&repository, &tag)), gone, |_| vec![(fact, vec![Value::Absent])])?;
        self.tags.remove(&(repository, tag));
        Ok(())
    }

    /// A manifest, and with it every tag that names it.
    pub(crate) fn delete_manifest(&mut self) -> io::Result<()> {
        let Some((repository, image)) = self.random.pick(&self.images).cloned() else { return Ok(()) };
        let digest = image.digest();
        let mut gone = vec![(Fact::Manifest { repository: repository.clone(), digest: digest.clone() }, Value::Absent)];
        let naming = self.tags.iter().filter(|((place, _), named)| *place == repository && **named == digest);
        gone.extend(naming.map(|((repository, tag), _)| {
            (Fact::Tag { repository: repository.clone(), tag: tag.clone() }, Value::Absent)
        }));
        let done = gone.clone().into_iter().map(|(fact, value)| (fact, vec![value])).collect();
        self.ask(&system::delete(manifest(&repository, &digest)), gone, |_| done)?;
        self.tags.retain(|(place, _), named| *place != repository || *named != digest);
        self.images.retain(|(place, other)| *place != repository || other.digest() != digest);
        Ok(())
    }

    /// A blob out of a repository, if no manifest there needs it.
    pub(crate) fn delete_blob(&mut self) -> io::Result<()> {
        let Some((repository, digest)) = self.random.pick(&self.blobs).cloned() else { return Ok(()) };
        let fact = Fact::Blob { repository: repository.clone(), digest: digest.clone() };
        let gone = vec![(fact.clone(), Value::Absent)];
        let reply =
            self.ask(&system::delete(blob(&repository, &digest)), gone, |_| vec![(fact, vec![Value::Absent])])?;
        if reply.status == 202 {
            self.blobs.retain(|(place, other)| *place != repository || *other != digest);
        }
        Ok(())
    }
}

/// How many bytes a session has, as its `Range` tells. An empty one says `0-0`, and ours never have one byte.
pub(crate) fn received(reply: &Reply) -> Option<u64> {
    let last: u64 = reply.header("range")?.rsplit('-').next()?.parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}
