//! The place a check works in: repositories of its own, words nobody else uses, a record of everything said.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;

use super::capabilities::Capabilities;
use super::content::{ANY_MANIFEST, Image, sha256};
use super::exchange::{Answer, AnyTarget, Exchange, Payload, Record, Unreachable, with_parameter};

/// How many redirects are followed at most.
const REDIRECTS: usize = 3;

/// What a check finds.
pub type Verdict = Result<(), Stop>;

/// Why a check ends before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The registry does not do what it must.
    Wrong {
        /// What was expected.
        expected: String,
        /// What came.
        came: String,
    },
    /// The registry does not offer what the check is about, and need not.
    NotOffered(String),
    /// The registry is not there any more, or lets us in no longer.
    Lost(Unreachable),
}

/// What was made in a lab and is to be deleted at its end.
#[derive(Clone, Debug, Default)]
struct Made {
    /// Manifests, by digest.
    manifests: Vec<String>,
    /// Blobs.
    blobs: Vec<String>,
    /// Sessions that may still be open.
    sessions: Vec<String>,
}

/// What all labs of a run share.
#[derive(Clone)]
pub struct Run {
    /// The registry.
    pub target: Rc<dyn AnyTarget>,
    /// What it offers.
    pub can: Rc<Capabilities>,
    /// The repositories of this run all begin with this.
    pub prefix: String,
    /// Where random content comes from.
    pub seed: u64,
    /// Repositories that can be used again; none if each check has its own.
    pub emptied: Option<Rc<Emptied>>,
}

/// Repositories that were used and are empty again. A registry shows the name of an empty repository for a while, so a
/// run that uses them again leaves fewer.
#[derive(Debug, Default)]
pub struct Emptied {
    free: RefCell<Vec<String>>,
    named: Cell<usize>,
}

impl Emptied {
    /// The name of one, or a new name.
    fn take(&self) -> String {
        self.free.borrow_mut().pop().unwrap_or_else(|| {
            self.named.set(self.named.get() + 1);
            format!("r{}", self.named.get())
        })
    }
}

/// The place one check works in.
pub struct Lab {
    /// What all labs share.
    pub run: Run,
    /// A repository that only this check uses, as long as it does.
    pub repo: String,
    /// What is done here, unlike anything else in the run.
    name: String,
    /// The last component of `repo`, if it can be used again.
    place: Option<String>,
    /// Everything said so far.
    pub record: Record,
    made: RefCell<Made>,
    words: Cell<usize>,
}

impl Lab {
    /// A place of that name.
    pub fn new(run: &Run, name: &str) -> Self {
        let place = run.emptied.as_ref().map(|emptied| emptied.take());
        Self {
            run: run.clone(),
            repo: format!("{}/{}", run.prefix, place.as_deref().unwrap_or(name)),
            name: format!("{}/{name}", run.prefix),
            place,
            record: Record::default(),
            made: RefCell::default(),
            words: Cell::new(0),
        }
    }

    /// The same place in a run that knows more.
    #[must_use]
    pub fn within(self, run: &Run) -> Self {
        Self { run: run.clone(), ..self }
    }

    /// What the registry offers.
    pub fn can(&self) -> &Capabilities {
        &self.run.can
    }

    /// Another repository of this check.
    pub fn other(&self, name: &str) -> String {
        format!("{}-{name}", self.repo)
    }

    /// Words that nothing else in any registry contains.
    pub fn word(&self) -> String {
        self.words.set(self.words.get() + 1);
        format!("{} {:x} {}", self.name, self.run.seed, self.words.get())
    }

    /// Sends a request as it is.
    pub async fn raw(&self, exchange: Exchange) -> Result<Answer, Stop> {
        let answer = self.run.target.send_any(exchange.clone()).await;
        self.record.borrow_mut().push((exchange.clone(), answer.clone()));
        match answer {
            Ok(answer) => {
                self.remember(&exchange, &answer);
                Ok(answer)
            }
            Err(Unreachable::Dropped(why)) => {
                // The registry closed this connection: is it still there?
                if let Err(lost @ Unreachable::Gone(_)) = self.run.target.send_any(Exchange::new("GET", "/v2/")).await {
                    return Err(Stop::Lost(lost));
                }
                let came = format!("the connection was closed without an answer ({why})");
                Err(Stop::Wrong { expected: format!("an answer to {exchange}"), came })
            }
            Err(lost) => Err(Stop::Lost(lost)),
        }
    }

    /// Sends a request without saying who is asking.
    pub async fn anonymous(&self, exchange: Exchange) -> Result<Answer, Stop> {
        let answer = self.run.target.send_anybody(exchange.clone()).await;
        self.record.borrow_mut().push((exchange, answer.clone()));
        answer.map_err(Stop::Lost)
    }

    /// Sends a request and follows redirects: the statuses of the specification are those after them (SPEC A6).
    pub async fn send(&self, exchange: Exchange) -> Result<Answer, Stop> {
        let mut answer = self.raw(exchange.clone()).await?;
        for _ in 0..REDIRECTS {
            let Some(location) =
                answer.header("Location").filter(|_| matches!(answer.status, 301 | 302 | 303 | 307 | 308))
            else {
                break;
            };
            let next = Exchange { target: location.to_owned(), ..exchange.clone() };
            answer = self.raw(next).await?;
        }
        Ok(answer)
    }

    /// `GET`.
    pub async fn get(&self, target: impl Into<String>) -> Result<Answer, Stop> {
        self.send(Exchange::new("GET", target)).await
    }

    /// `HEAD`.
    pub async fn head(&self, target: impl Into<String>) -> Result<Answer, Stop> {
        self.send(Exchange::new("HEAD", target)).await
    }

    /// `DELETE`.
    pub async fn delete(&self, target: impl Into<String>) -> Result<Answer, Stop> {
        self.send(Exchange::new("DELETE", target)).await
    }

    /// The path of a blob in this check's repository.
    pub fn blob(&self, digest: &str) -> String {
        format!("/v2/{}/blobs/{digest}", self.repo)
    }

    /// The path of a manifest in this check's repository.
    pub fn manifest(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.repo)
    }

    /// The path where uploads to this check's repository begin.
    pub fn uploads(&self) -> String {
        format!("/v2/{}/blobs/uploads/", self.repo)
    }

    /// Opens an upload session: its URL.
    pub async fn open(&self) -> Result<String, Stop> {
        self.open_in(&self.repo).await
    }

    /// Opens an upload session in a repository.
    pub async fn open_in(&self, repo: &str) -> Result<String, Stop> {
        let answer = self.send(Exchange::new("POST", format!("/v2/{repo}/blobs/uploads/")).body(Bytes::new())).await?;
        answer.must(&[202], "a session is opened (SPEC E1)")?;
        answer.location("the URL of the session (SPEC E1)")
    }

    /// Sends a chunk to a session.
    pub async fn patch(&self, url: &str, bytes: impl Into<Bytes>, range: Option<&str>) -> Result<Answer, Stop> {
        let exchange = Exchange::new("PATCH", url).header("Content-Type", "application/octet-stream");
        let exchange = match range {
            Some(range) => exchange.header("Content-Range", range),
            None => exchange,
        };
        self.send(exchange.body(bytes)).await
    }

    /// Finishes a session.
    pub async fn finish(&self, url: &str, digest: &str, bytes: impl Into<Bytes>) -> Result<Answer, Stop> {
        let put = Exchange::new("PUT", with_parameter(url, "digest", digest));
        self.send(put.header("Content-Type", "application/octet-stream").body(bytes)).await
    }

    /// Pushes a blob, the way that every registry must know: its digest.
    pub async fn push_blob(&self, bytes: impl Into<Bytes>) -> Result<String, Stop> {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        self.push_blob_as(&self.repo, bytes, &digest).await?;
        Ok(digest)
    }

    /// Pushes a blob to a repository under that digest.
    pub async fn push_blob_as(&self, repo: &str, bytes: impl Into<Bytes>, digest: &str) -> Result<Answer, Stop> {
        let session = self.open_in(repo).await?;
        let answer = self.finish(&session, digest, bytes).await?;
        answer.must(&[201], "the blob is taken (SPEC H1)")?;
        Ok(answer)
    }

    /// A request that puts a manifest.
    pub fn put(&self, reference: &str, image: &Image) -> Exchange {
        put_manifest(&self.repo, reference, image)
    }

    /// Pushes the blobs of an image, and then the image under a tag or its digest.
    pub async fn push(&self, reference: &str, image: &Image) -> Result<Answer, Stop> {
        for blob in &image.blobs {
            self.push_blob(blob.clone()).await?;
        }
        let answer = self.send(self.put(reference, image)).await?;
        answer.must(&[201], "the manifest is taken (SPEC K1)")?;
        Ok(answer)
    }

    /// Pushes a new OCI image of one layer under a tag or its digest.
    pub async fn push_image(&self, tag: &str) -> Result<Image, Stop> {
        let image = Image::oci(&self.word());
        self.push(tag, &image).await?;
        Ok(image)
    }

    /// Asks for a manifest as clients do, with every type accepted.
    pub async fn pull(&self, reference: &str) -> Result<Answer, Stop> {
        self.send(get_manifest(&self.repo, reference)).await
    }

    /// The tags of this check's repository; none when it is not there.
    pub async fn tags(&self) -> Result<Vec<String>, Stop> {
        let answer = self.get(format!("/v2/{}/tags/list", self.repo)).await?;
        answer.must(&[200, 404], "the tags are listed (SPEC N1)")?;
        Ok(answer.strings("tags"))
    }

    /// Deletes what was made here, as far as the registry deletes anything. What it answers is not judged; but only a
    /// repository of which all is gone is used again.
    pub async fn clean(&self) {
        let Made { mut manifests, mut blobs, sessions } = self.made.take();
        let can = self.can();
        let newest_first = |paths: &mut Vec<String>| {
            paths.reverse();
            let mut seen = std::collections::BTreeSet::new();
            paths.retain(|path| seen.insert(path.clone()));
        };
        newest_first(&mut manifests);
        newest_first(&mut blobs);
        let wanted = [(can.delete_manifest, manifests), (can.delete_blob, blobs), (can.cancel, sessions)];
        let mut empty = wanted.iter().all(|(offered, paths)| *offered || paths.is_empty());
        for path in wanted.into_iter().filter(|(offered, _)| *offered).flat_map(|(_, paths)| paths) {
            match self.run.target.send_any(Exchange::new("DELETE", path)).await {
                Err(Unreachable::Gone(_)) => return,
                answer => empty &= answer.is_ok_and(|answer| answer.is_success() || answer.status == 404),
            }
        }
        if let (true, Some(emptied), Some(place)) = (empty, &self.run.emptied, &self.place) {
            emptied.free.borrow_mut().push(place.clone());
        }
    }

    /// Keeps in mind what has to be cleaned up.
    fn remember(&self, exchange: &Exchange, answer: &Answer) {
        let path = exchange.target.split('?').next().unwrap_or_default();
        if !answer.is_success() {
            return;
        }
        let mut made = self.made.borrow_mut();
        let parameter = |name: &str| {
            let query = exchange.target.split_once('?')?.1;
            query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('=')).map(|v| v.replace("%3A", ":"))
        };
        match exchange.method.as_str() {
            "PUT" if path.contains("/manifests/") => {
                if let Some((repo, _)) = path.rsplit_once("/manifests/") {
                    let digest = match path.rsplit('/').next() {
                        Some(reference) if reference.contains(':') => reference.to_owned(),
                        _ => sha256(exchange.body.bytes()),
                    };
                    made.manifests.push(format!("{repo}/manifests/{digest}"));
                }
            }
            "PUT" | "POST" if answer.status == 201 => {
                let digest = parameter("digest").or_else(|| parameter("mount"));
                if let (Some(digest), Some(at)) = (digest, path.rfind("/blobs/")) {
                    let start = path.find("/v2/").unwrap_or_default();
                    made.blobs.push(format!("{}/blobs/{digest}", &path[start..at]));
                    made.sessions.retain(|session| !exchange.target.starts_with(session.as_str()));
                }
            }
            "POST" if answer.status == 202 => made.sessions.extend(answer.header("Location").map(Into::into)),
            _ => {}
        }
    }
}

/// A request that puts a manifest.
pub fn put_manifest(repo: &str, reference: &str, image: &Image) -> Exchange {
    Exchange::new("PUT", format!("/v2/{repo}/manifests/{reference}"))
        .header("Content-Type", image.media_type)
        .body(image.bytes())
}

/// A request for a manifest that accepts every type.
pub fn get_manifest(repo: &str, reference: &str) -> Exchange {
    Exchange::new("GET", format!("/v2/{repo}/manifests/{reference}")).header("Accept", ANY_MANIFEST)
}

/// Ends a check: the registry does not do what it must.
pub fn wrong<T>(expected: impl Into<String>, came: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Wrong { expected: expected.into(), came: came.into() })
}

/// Ends a check: what it is about is not offered.
pub fn not_offered<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::NotOffered(why.into()))
}

/// Ends a check that does not hold.
pub fn ensure(holds: bool, expected: impl Into<String>, came: impl Into<String>) -> Verdict {
    if holds { Ok(()) } else { wrong(expected, came) }
}

impl Answer {
    /// The status is one of these.
    pub fn must(&self, statuses: &[u16], why: &str) -> Result<&Self, Stop> {
        let list: Vec<String> = statuses.iter().map(u16::to_string).collect();
        match statuses.contains(&self.status) {
            true => Ok(self),
            false => wrong(format!("{}: {why}", list.join(" or ")), self.to_string()),
        }
    }

    /// The status is one of these, and if there is a body with codes, they are among those.
    pub fn refused(&self, statuses: &[u16], codes: &[&str], why: &str) -> Result<&Self, Stop> {
        self.must(statuses, why)?;
        let given = self.codes();
        let right = !given.is_empty() && given.iter().all(|code| codes.contains(&code.as_str()));
        match right || self.to_head() {
            true => Ok(self),
            false => wrong(format!("an error body with code {}: {why}", codes.join(" or ")), self.to_string()),
        }
    }

    fn to_head(&self) -> bool {
        self.body.is_empty() && self.header("Content-Length") != Some("0")
    }

    /// The header field has this value.
    pub fn must_have(&self, name: &str, value: &str, why: &str) -> Result<&Self, Stop> {
        match self.header(name) {
            Some(given) if given == value => Ok(self),
            Some(given) => wrong(format!("{name}: {value}: {why}"), format!("{name}: {given}")),
            None => wrong(format!("{name}: {value}: {why}"), format!("no {name} in {self}")),
        }
    }

    /// `Location`, whatever it is.
    pub fn location(&self, why: &str) -> Result<String, Stop> {
        match self.header("Location") {
            Some(location) if !location.is_empty() => Ok(location.into()),
            _ => wrong(format!("a Location: {why}"), format!("no Location in {self}")),
        }
    }

    /// The body is this.
    pub fn must_be(&self, bytes: &[u8], why: &str) -> Result<&Self, Stop> {
        match self.body == bytes {
            true => Ok(self),
            false => {
                let same = self.body.iter().zip(bytes).take_while(|(a, b)| a == b).count();
                let came = format!("{} bytes, the first {same} of them right", self.body.len());
                wrong(format!("the {} bytes that were pushed: {why}", bytes.len()), came)
            }
        }
    }
}

impl Exchange {
    /// The same request, cut off after these bytes although that many are promised.
    #[must_use]
    pub fn cut(mut self, bytes: impl Into<Bytes>, promised: u64) -> Self {
        self.body = Payload::Cut(bytes.into(), promised);
        self
    }
}
