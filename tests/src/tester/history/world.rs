//! The world of one history: the registry, the oracle beside it, and what both were told.

use std::collections::BTreeMap;

use bytes::Bytes;
use orlop_core::Config;
use serde_json::json;

use super::operation::{BLOBS, Operation, Place, Reference, TAGS};
use crate::tester::content::{DOCKER_CONFIG, DOCKER_MANIFEST, Image, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use crate::tester::content::{descriptor, sha256};
use crate::tester::exchange::{Answer, Exchange, Unreachable, with_parameter};
use crate::tester::lab::{Lab, Stop, get_manifest, put_manifest};
use crate::tester::memory::InMemory;

/// The registry answered in another way than it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// What was expected.
    pub expected: String,
    /// What came.
    pub came: String,
    /// What tells this deviation from others.
    pub signature: String,
}

/// Why a history ends.
pub(super) enum End {
    Deviates(Deviation),
    Lost(Unreachable),
}

/// An upload session on both sides.
struct Session {
    repo: usize,
    target: String,
    oracle: String,
    /// The bytes that were acknowledged.
    bytes: Vec<u8>,
    state: State,
    /// The digest of the blob that it has become.
    became: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    /// The specifications do not say whether it still lives: nothing more is asked of it.
    Unclear,
}

/// The registry and the oracle.
pub struct World<'a> {
    lab: &'a Lab,
    oracle: InMemory,
    sparse: bool,
    repos: Vec<String>,
    blobs: Vec<Bytes>,
    images: Vec<Image>,
    sessions: BTreeMap<usize, Session>,
}

type Done = Result<(), End>;

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Lost(lost) => Self::Lost(lost),
            Stop::NotOffered(why) => deviation("offered", &why),
            Stop::Wrong { expected, came } => deviation(&expected, &came),
        }
    }
}

fn deviation(expected: &str, came: &str) -> End {
    // What was asked, and the status that came. Names, digests and numbers differ from history to history.
    let item = match expected.find("(SPEC") {
        Some(at) => expected[at..].split(')').next().unwrap_or_default().to_owned(),
        None => expected.split(' ').take_while(|word| !word.contains('/')).collect::<Vec<_>>().join(" "),
    };
    let first = |text: &str| text.split([':', ',', ' ']).next().unwrap_or_default().to_owned();
    let status = |text: &str| Some(first(text)).filter(|word| word.len() == 3).unwrap_or_default();
    let signature = format!("{} {item} / {}", status(expected), first(came));
    End::Deviates(Deviation { expected: expected.into(), came: came.into(), signature })
}

impl<'a> World<'a> {
    /// An empty world in the repositories of this lab.
    pub fn new(lab: &'a Lab) -> Self {
        let can = lab.can();
        let sparse = can.sparse && can.sparse_index;
        let word = lab.word();
        let mut blobs =
            vec![Bytes::from(json!({ "os": "linux", "architecture": "amd64", "author": word }).to_string())];
        blobs.extend((1..BLOBS).map(|n| Bytes::from(format!("blob {n} of {word}"))));
        let image = |media_type: &'static str, config: &str, layers: &[usize]| Image {
            media_type,
            document: json!({
                "schemaVersion": 2,
                "mediaType": media_type,
                "config": descriptor(config, &blobs[0]),
                "layers": layers.iter().map(|n| descriptor(OCI_LAYER, &blobs[*n])).collect::<Vec<_>>(),
            }),
            blobs: [0].iter().chain(layers).map(|n| blobs[*n].clone()).collect(),
        };
        let one = image(OCI_MANIFEST, OCI_CONFIG, &[1]);
        let two = image(OCI_MANIFEST, OCI_CONFIG, &[1, 2]);
        let docker = image(DOCKER_MANIFEST, DOCKER_CONFIG, &[2]);
        let about = image(OCI_MANIFEST, OCI_CONFIG, &[3]).about(&one);
        let typed = image(OCI_MANIFEST, OCI_CONFIG, &[]).field("artifactType", "application/vnd.orlop.a").about(&one);
        let index = Image::list(OCI_INDEX, &[&one, &two]);
        let images = vec![one, two, docker, about, typed, index];
        let repos = vec![format!("{}-a", lab.repo), format!("{}-b", lab.repo)];
        let oracle = InMemory::new(Config { allow_sparse: sparse, ..Config::default() });
        Self { lab, oracle, sparse, repos, blobs, images, sessions: BTreeMap::new() }
    }

    /// Tells the oracle which repositories are there already, if they are used again: emptied, but not unknown.
    pub(super) async fn catch_up(&self) -> Result<(), Unreachable> {
        for repo in self.repos.iter().filter(|_| self.lab.run.emptied.is_some()) {
            let tags = Exchange::new("GET", format!("/v2/{repo}/tags/list"));
            if self.lab.run.target.send_any(tags).await?.status == 200 {
                let bytes = Bytes::from(self.lab.word());
                let blob = format!("/v2/{repo}/blobs/{}", sha256(&bytes));
                self.oracle_push(repo, bytes);
                self.oracle.answer(&Exchange::new("DELETE", blob));
            }
        }
        Ok(())
    }

    /// Does one thing on both sides and compares.
    pub(super) async fn perform(&mut self, operation: &Operation) -> Done {
        match operation {
            Operation::Open { repo, session } => self.open(*repo, *session).await,
            Operation::Patch { session, place, size } => self.patch(*session, *place, *size).await,
            Operation::Status { session } => self.status(*session).await,
            Operation::Finish { session, right, size } => self.finish(*session, *right, *size).await,
            Operation::Cancel { session } => self.cancel(*session).await,
            Operation::PushBlob { repo, blob } => {
                let (repo, bytes) = (self.repos[*repo].clone(), self.blobs[*blob].clone());
                let digest = sha256(&bytes);
                self.lab.push_blob_as(&repo, bytes.clone(), &digest).await?;
                self.oracle_push(&repo, bytes);
                Ok(())
            }
            Operation::PostBlob { repo, blob } => {
                let (repo, bytes) = (self.repos[*repo].clone(), self.blobs[*blob].clone());
                let exchange = post(&repo, bytes);
                let answer = self.lab.send(exchange.clone()).await?;
                answer.must(&[201], "push of a blob by one POST (SPEC E7)")?;
                self.oracle.answer(&exchange);
                Ok(())
            }
            Operation::Mount { repo, blob } => self.mount(*repo, *blob).await,
            Operation::GetBlob { repo, blob, part } => {
                let get = Exchange::new("GET", self.blob(*repo, *blob));
                let get = if *part { get.header("Range", "bytes=2-5") } else { get };
                let (answer, oracle) = self.both(get).await?;
                same(&answer, &oracle, "a blob (SPEC C1, C4)")
            }
            Operation::HeadBlob { repo, blob } => {
                let (answer, oracle) = self.both(Exchange::new("HEAD", self.blob(*repo, *blob))).await?;
                same(&answer, &oracle, "the head of a blob (SPEC C2, C4)")?;
                length(&answer, &oracle)
            }
            Operation::DeleteBlob { repo, blob } => {
                self.delete(Exchange::new("DELETE", self.blob(*repo, *blob)), "a blob (SPEC D1, D2)").await
            }
            Operation::PutManifest { repo, image, tag } => self.put(*repo, *image, *tag).await,
            Operation::GetManifest { repo, reference, head } => self.pull(*repo, *reference, *head).await,
            Operation::DeleteManifest { repo, reference } => {
                let target = format!("/v2/{}/manifests/{}", self.repos[*repo], self.reference(*reference));
                self.delete(Exchange::new("DELETE", target), "a manifest or tag (SPEC L1, L3, L4)").await
            }
            Operation::Tags { repo, n, last } => self.tags(*repo, *n, *last).await,
            Operation::Referrers { repo, image } => self.referrers(*repo, *image).await,
        }
    }

    fn blob(&self, repo: usize, blob: usize) -> String {
        format!("/v2/{}/blobs/{}", self.repos[repo], sha256(&self.blobs[blob]))
    }

    fn reference(&self, reference: Reference) -> String {
        match reference {
            Reference::Tag(tag) => TAGS[tag].into(),
            Reference::Digest(image) => self.images[image].digest(),
        }
    }

    /// Asks both the same.
    async fn both(&self, exchange: Exchange) -> Result<(Answer, Answer), End> {
        let answer = self.lab.send(exchange.clone()).await?;
        Ok((answer, self.oracle.answer(&exchange)))
    }

    fn oracle_push(&self, repo: &str, bytes: Bytes) {
        self.oracle.answer(&post(repo, bytes));
    }

    async fn open(&mut self, repo: usize, session: usize) -> Done {
        let target = self.lab.open_in(&self.repos[repo]).await?;
        let opened = self.oracle.answer(&Exchange::new("POST", format!("/v2/{}/blobs/uploads/", self.repos[repo])));
        let oracle = opened.header("Location").unwrap_or_default().to_owned();
        self.sessions
            .insert(session, Session { repo, target, oracle, bytes: Vec::new(), state: State::Open, became: None });
        Ok(())
    }

    async fn patch(&mut self, session: usize, place: Place, size: usize) -> Done {
        let size = size.max(self.lab.can().chunk_minimum);
        let chunk = Bytes::from(format!("{:.<size$}", format!("{session}:")).into_bytes()[..size].to_vec());
        let Some(session) = self.sessions.get_mut(&session).filter(|session| session.state != State::Unclear) else {
            return Ok(());
        };
        let offset = session.bytes.len();
        let start = match place {
            Place::Beyond => offset + 3,
            Place::Again => 0,
            Place::Streamed | Place::Next => offset,
        };
        let range = (place != Place::Streamed).then(|| format!("{start}-{}", start + size - 1));
        let answer = self.lab.patch(&session.target, chunk.clone(), range.as_deref()).await?;
        let mut exchange = Exchange::new("PATCH", &session.oracle).body(chunk.clone());
        if let Some(range) = range {
            exchange = exchange.header("Content-Range", range);
        }
        if session.state == State::Ended {
            return ended(&answer);
        }
        if place == Place::Streamed && offset > 0 && answer.status == 400 {
            // Whether streams append is left open (SPEC F7).
            return Ok(());
        }
        let oracle = self.oracle.answer(&exchange);
        if answer.status != oracle.status {
            return Err(deviation(&format!("{}: a chunk (SPEC F1, F2)", oracle.status), &answer.to_string()));
        }
        if answer.status == 202 {
            session.bytes.extend_from_slice(&chunk);
            let location = answer.header("Location").filter(|location| !location.is_empty());
            session.target = location.unwrap_or(&session.target).to_owned();
            stands(&answer, session.bytes.len(), "the Range of a 202 to PATCH (SPEC F1)")?;
        }
        Ok(())
    }

    async fn status(&mut self, session: usize) -> Done {
        let Some(session) = self.sessions.get(&session).filter(|session| session.state != State::Unclear) else {
            return Ok(());
        };
        let answer = self.lab.get(&session.target).await?;
        if session.state == State::Ended {
            return ended(&answer);
        }
        answer.must(&[204], "the status of a session (SPEC G1)")?;
        stands(&answer, session.bytes.len(), "the Range of the status (SPEC G1)")
    }

    async fn finish(&mut self, session: usize, right: bool, size: usize) -> Done {
        let Some(session) = self.sessions.get_mut(&session).filter(|session| session.state != State::Unclear) else {
            return Ok(());
        };
        let last = Bytes::from("=".repeat(size));
        let whole = [&session.bytes, last.as_ref()].concat();
        let digest = if right { sha256(&whole) } else { sha256([whole.as_slice(), b"?"].concat()) };
        let answer = self.lab.finish(&session.target, &digest, last.clone()).await?;
        if session.state == State::Ended {
            // SPEC H7: who asks again for the same blob may be answered as before.
            let again = answer.status == 201 && session.became.as_ref() == Some(&digest);
            return if again { Ok(()) } else { ended(&answer) };
        }
        self.oracle.answer(&Exchange::new("PUT", with_parameter(&session.oracle, "digest", &digest)).body(last));
        if !right {
            session.state = State::Unclear;
            answer.must(&[400], "the end of an upload whose bytes have another digest (SPEC H3)")?;
            return Ok(());
        }
        session.state = State::Ended;
        session.became = Some(digest.clone());
        answer.must(&[201], "the end of an upload (SPEC H1)")?;
        let got = self.lab.get(format!("/v2/{}/blobs/{digest}", self.repos[session.repo])).await?;
        got.must(&[200], "a blob that was just pushed (SPEC H8)")?
            .must_be(&whole, "what was acknowledged (SPEC H8)")?;
        Ok(())
    }

    async fn cancel(&mut self, session: usize) -> Done {
        let Some(session) = self.sessions.get_mut(&session).filter(|session| session.state != State::Unclear) else {
            return Ok(());
        };
        let answer = self.lab.delete(&session.target).await?;
        if session.state == State::Ended {
            return ended(&answer);
        }
        answer.must(&[204, 202, 200], "cancelling an upload (SPEC I1)")?;
        self.oracle.answer(&Exchange::new("DELETE", &session.oracle));
        session.state = State::Ended;
        Ok(())
    }

    async fn mount(&mut self, repo: usize, blob: usize) -> Done {
        let (here, other) = (&self.repos[repo], &self.repos[1 - repo]);
        let bytes = self.blobs[blob].clone();
        let target = format!("/v2/{here}/blobs/uploads/?mount={}&from={other}", sha256(&bytes));
        let answer = self.lab.send(Exchange::new("POST", target).body(Bytes::new())).await?;
        answer.must(&[201, 202], "a mount (SPEC E10, E11)")?;
        if answer.status == 202 {
            // A registry may decline any mount: the session is given up.
            return Ok(());
        }
        let holds = |repo: usize| self.oracle.answer(&Exchange::new("HEAD", self.blob(repo, blob))).status == 200;
        if !holds(repo) && !holds(1 - repo) {
            return Err(deviation("202: a mount of a blob that no repository has (SPEC E11)", &answer.to_string()));
        }
        self.oracle_push(here, bytes);
        Ok(())
    }

    async fn delete(&mut self, exchange: Exchange, what: &str) -> Done {
        let answer = self.lab.send(exchange.clone()).await?;
        if matches!(answer.status, 403 | 405 | 409) {
            // Whether a registry deletes what is in use is its own decision.
            return Ok(());
        }
        let oracle = self.oracle.answer(&exchange);
        if answer.status != oracle.status {
            return Err(deviation(&format!("{}: deleting {what}", oracle.status), &answer.to_string()));
        }
        Ok(())
    }

    async fn put(&mut self, repo: usize, image: usize, tag: Option<usize>) -> Done {
        let (name, image) = (self.repos[repo].clone(), self.images[image].clone());
        let reference = tag.map_or_else(|| image.digest(), |tag| TAGS[tag].into());
        let there = |target: String| self.oracle.answer(&Exchange::new("HEAD", target)).status == 200;
        let blobs = image.blobs.iter().all(|blob| there(format!("/v2/{name}/blobs/{}", sha256(blob))));
        let children = image.document["manifests"].as_array().cloned().unwrap_or_default();
        let child = |child: &serde_json::Value| {
            there(format!("/v2/{name}/manifests/{}", child["digest"].as_str().unwrap_or_default()))
        };
        let complete = blobs && children.iter().all(child);
        let can = self.lab.can();
        if !complete && (can.sparse || can.sparse_index) != self.sparse {
            // It takes some incomplete manifests and not others, which the oracle does not know.
            return Ok(());
        }
        let (answer, oracle) = self.both(put_manifest(&name, &reference, &image)).await?;
        if !complete && !self.sparse {
            let refused = (400..500).contains(&answer.status);
            let expected = "400: a manifest that names what is not there (SPEC K9)";
            return if refused { Ok(()) } else { Err(deviation(expected, &answer.to_string())) };
        }
        if answer.status != oracle.status {
            return Err(deviation(&format!("{}: a push of a manifest (SPEC K1)", oracle.status), &answer.to_string()));
        }
        for header in ["Docker-Content-Digest", "OCI-Subject"] {
            let expected = oracle.header(header);
            let given = answer.header(header);
            let demanded = header == "OCI-Subject" && can.referrers;
            if given != expected && (demanded || given.is_some()) {
                let expected = format!("{header} {} (SPEC K1, K14)", expected.unwrap_or("not there"));
                return Err(deviation(&expected, &answer.to_string()));
            }
        }
        Ok(())
    }

    async fn pull(&mut self, repo: usize, reference: Reference, head: bool) -> Done {
        let mut get = get_manifest(&self.repos[repo], &self.reference(reference));
        if head {
            get.method = "HEAD".into();
        }
        let (answer, oracle) = self.both(get).await?;
        same(&answer, &oracle, "a manifest (SPEC J1, J4)")?;
        if oracle.status != 200 {
            return Ok(());
        }
        if head {
            length(&answer, &oracle)?;
        }
        for header in ["Docker-Content-Digest", "Content-Type"] {
            let (given, expected) = (answer.header(header), oracle.header(header));
            if given.is_some() && given != expected {
                let expected = format!("{header} {} of a manifest (SPEC J2, J3)", expected.unwrap_or_default());
                return Err(deviation(&expected, &answer.to_string()));
            }
        }
        Ok(())
    }

    async fn tags(&mut self, repo: usize, n: Option<usize>, last: Option<usize>) -> Done {
        let mut query = Vec::new();
        query.extend(n.map(|n| format!("n={n}")));
        query.extend(last.map(|last| format!("last={}", TAGS[last])));
        let target = format!("/v2/{}/tags/list?{}", self.repos[repo], query.join("&"));
        let target = target.trim_end_matches('?').to_owned();
        let whole = self.oracle.answer(&Exchange::new("GET", format!("/v2/{}/tags/list", self.repos[repo])));
        let (answer, oracle) = self.both(Exchange::new("GET", target)).await?;
        if whole.strings("tags").is_empty() {
            // A repository without tags may be one or none (SPEC N1).
            answer.must(&[200, 404], "the tags of an empty repository (SPEC N1)")?;
        } else {
            answer.must(&[200], "the tags (SPEC N1)")?;
        }
        let (mut given, expected) = (answer.strings("tags"), oracle.strings("tags"));
        if query.is_empty() {
            given.sort();
        }
        if given != expected {
            let what = if query.is_empty() { "tags (SPEC N1)" } else { "a page of tags (SPEC N3, N4, N7)" };
            return Err(deviation(&format!("{what}: {}", expected.join(" ")), &answer.to_string()));
        }
        Ok(())
    }

    async fn referrers(&mut self, repo: usize, image: usize) -> Done {
        let target = format!("/v2/{}/referrers/{}", self.repos[repo], self.images[image].digest());
        let (answer, oracle) = self.both(Exchange::new("GET", target)).await?;
        let listed = |answer: &Answer| {
            let mut listed: Vec<String> = answer.json()["manifests"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|entry| format!("{} {} {}", entry["digest"], entry["size"], entry["artifactType"]))
                .collect();
            listed.sort();
            listed
        };
        let expected = listed(&oracle);
        match expected.is_empty() {
            true => answer.must(&[200, 404], "the referrers of what has none (SPEC M1)")?,
            false => answer.must(&[200], "the referrers (SPEC M3)")?,
        };
        if listed(&answer) != expected {
            return Err(deviation(&format!("referrers (SPEC M3): {}", expected.join(", ")), &answer.to_string()));
        }
        Ok(())
    }
}

fn post(repo: &str, bytes: Bytes) -> Exchange {
    let target = with_parameter(&format!("/v2/{repo}/blobs/uploads/"), "digest", &sha256(&bytes));
    Exchange::new("POST", target).header("Content-Type", "application/octet-stream").body(bytes)
}

/// Status and body must be those of the oracle; of an error only the status.
fn same(answer: &Answer, oracle: &Answer, what: &str) -> Done {
    if answer.status != oracle.status {
        return Err(deviation(&format!("{}: {what}", oracle.status), &answer.to_string()));
    }
    if oracle.is_success() {
        answer.must_be(&oracle.body, what)?;
    }
    Ok(())
}

fn length(answer: &Answer, oracle: &Answer) -> Done {
    if let (200, Some(expected)) = (oracle.status, oracle.header("Content-Length")) {
        answer.must_have("Content-Length", expected, "the size, which HEAD tells (SPEC C2, J1)")?;
    }
    Ok(())
}

/// An ended session takes nothing more, whatever the registry calls that.
fn ended(answer: &Answer) -> Done {
    match answer.status {
        400..500 => Ok(()),
        _ => Err(deviation("404: the session has ended (SPEC F10)", &answer.to_string())),
    }
}

fn stands(answer: &Answer, received: usize, what: &str) -> Done {
    // An empty session has no last byte: `0-0` and `0--1` are both in use.
    if received == 0 || answer.last_byte() == Some(received as i64 - 1) {
        return Ok(());
    }
    Err(deviation(&format!("0-{}: {what}", received - 1), &answer.to_string()))
}
