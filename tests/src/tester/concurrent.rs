//! Concurrent histories: several clients on one tag, one digest or one upload, checked for linearisability.
//!
//! Each history is explained by some order of its operations that a registry with one client at a time could have
//! seen, and in which nothing comes before what had ended when it began; or the registry has lost or invented
//! something.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use futures_util::future::join_all;

use super::chance::Chance;
use super::content::{Image, sha256};
use super::exchange::{Exchange, Unreachable};
use super::history::Failure;
use super::lab::{Lab, Run, Stop, get_manifest, put_manifest};
use super::linear::{Event, Seen, Thing, explain, shortest};

/// How many clients there are, and how many operations each does.
const CLIENTS: usize = 4;
const OPERATIONS: usize = 5;

/// What the clients of a history share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Tag,
    Blob,
    Upload,
}

/// What the clients have seen.
type Events = RefCell<Vec<Event<Seen>>>;

/// A history under way: what the clients share and what they have seen.
struct Stage<'a> {
    lab: &'a Lab,
    images: Vec<Image>,
    blob: Bytes,
    session: String,
    /// The Location of the chunk that reached furthest, and how far.
    newest: RefCell<(String, usize)>,
    /// Counts beginnings and ends of operations: the only clock there is.
    moment: Cell<u64>,
    events: &'a Events,
}

/// Runs one concurrent history: none if it could be explained.
///
/// # Errors
///
/// When the registry is gone.
pub async fn history(run: &Run, base: &str, number: usize) -> Result<Option<Failure>, Unreachable> {
    let lab = Lab::new(run, &format!("c{number}"));
    let subject = [Subject::Tag, Subject::Blob, Subject::Upload][number % 3];
    let events = RefCell::default();
    let played = play(&lab, subject, &mut Chance::of(run.seed, &format!("c{number}")), &events).await;
    let found = match played {
        Ok(found) => found,
        Err(Stop::Lost(lost)) => return Err(lost),
        Err(Stop::NotOffered(_)) => None,
        Err(Stop::Wrong { expected, came }) => Some((expected, came)),
    };
    let curl = found.as_ref().map(|_| super::curl::script(base, &lab.record.borrow()));
    lab.clean().await;
    let operations = events.into_inner().iter().map(ToString::to_string).collect();
    Ok(found.map(|(expected, came)| Failure {
        history: number,
        operations,
        signature: format!("{subject:?}: {expected}"),
        expected,
        came,
        curl: format!(
            "# {CLIENTS} clients sent these at once, each its own in this order\n{}",
            curl.unwrap_or_default()
        ),
    }))
}

/// What was expected and what came, if something was wrong.
type Found = Option<(String, String)>;

async fn play(lab: &Lab, subject: Subject, chance: &mut Chance, events: &Events) -> Result<Found, Stop> {
    let images: Vec<Image> = (0..3).map(|_| Image::oci(&lab.word())).collect();
    let mut stage = Stage {
        lab,
        blob: lab.word().into(),
        images,
        session: String::new(),
        newest: RefCell::default(),
        moment: Cell::new(0),
        events,
    };
    match subject {
        Subject::Tag => {
            for image in &stage.images {
                lab.push(&image.digest(), image).await?;
            }
        }
        Subject::Upload => stage.session = lab.open().await?,
        Subject::Blob => {}
    }
    let plans: Vec<Vec<usize>> = (0..CLIENTS).map(|_| (0..OPERATIONS).map(|_| chance.below(9)).collect()).collect();
    let clients = plans.iter().enumerate().map(|(client, plan)| stage.client(client, subject, plan));
    for done in join_all(clients).await {
        done?;
    }
    let events = stage.events.borrow().clone();
    let initial = if subject == Subject::Upload { Thing::OPENED } else { Thing::NOTHING };
    if explain(&initial, &events).is_err() {
        *stage.events.borrow_mut() = shortest(&initial, &events);
        let expected = format!("an order of these operations on one {subject:?} that explains what each saw");
        return Ok(Some((expected.to_lowercase(), "there is none".into())));
    }
    if subject == Subject::Upload {
        return stage.whole(&events).await;
    }
    Ok(None)
}

/// What a client sends as a chunk.
fn chunk(lab: &Lab, client: usize, n: usize) -> String {
    format!("{:.<1$}", format!("client {client}, chunk {n}"), 30 + client + lab.can().chunk_minimum)
}

impl Stage<'_> {
    async fn client(&self, client: usize, subject: Subject, plan: &[usize]) -> Result<(), Stop> {
        // Where this client believes that the session is, and how far.
        let mut at = (self.session.clone(), 0);
        for (n, &what) in plan.iter().enumerate() {
            let called = self.tick();
            let (what, seen) = match subject {
                Subject::Tag => self.on_tag(what).await?,
                Subject::Blob => self.on_blob(what).await?,
                Subject::Upload => self.on_upload(client, n, what, &mut at).await?,
            };
            let ended = self.tick();
            if let Some(seen) = seen {
                let name = format!("client {client}: {what}");
                self.events.borrow_mut().push(Event { name, called, ended: Some(ended), seen });
            }
        }
        Ok(())
    }

    fn tick(&self) -> u64 {
        self.moment.set(self.moment.get() + 1);
        self.moment.get()
    }

    async fn on_tag(&self, what: usize) -> Result<(String, Option<Seen>), Stop> {
        let (lab, can) = (self.lab, self.lab.can());
        match what {
            0..4 => {
                let image = &self.images[what % 3];
                lab.send(put_manifest(&lab.repo, "v1", image)).await?.must(&[201], "a push to a tag")?;
                Ok((format!("put image {} to tag v1", what % 3), Some(Seen::Put(what % 3))))
            }
            8 if can.delete_tag => {
                let answer = lab.delete(lab.manifest("v1")).await?;
                answer.must(&[202, 404], "deleting a tag")?;
                Ok(("delete tag v1".into(), Some(Seen::Deleted(answer.status == 202))))
            }
            _ => {
                let answer = lab.send(get_manifest(&lab.repo, "v1")).await?;
                answer.must(&[200, 404], "getting a tag")?;
                let found = self.images.iter().position(|image| image.bytes() == answer.body);
                Ok(("get tag v1".into(), Some(Seen::Got(found))))
            }
        }
    }

    async fn on_blob(&self, what: usize) -> Result<(String, Option<Seen>), Stop> {
        let (lab, can) = (self.lab, self.lab.can());
        let digest = sha256(&self.blob);
        match what {
            0..3 => {
                lab.push_blob(self.blob.clone()).await?;
                Ok(("push the blob".into(), Some(Seen::Put(0))))
            }
            7 | 8 if can.delete_blob => {
                let answer = lab.delete(lab.blob(&digest)).await?;
                answer.must(&[202, 404], "deleting a blob")?;
                Ok(("delete the blob".into(), Some(Seen::Deleted(answer.status == 202))))
            }
            _ => {
                let answer = lab.get(lab.blob(&digest)).await?;
                answer.must(&[200, 404], "getting a blob")?;
                if answer.status == 200 {
                    answer.must_be(&self.blob, "a blob is its digest's, also while others push and delete it")?;
                }
                Ok(("get the blob".into(), Some(Seen::Got((answer.status == 200).then_some(0)))))
            }
        }
    }

    async fn on_upload(
        &self,
        client: usize,
        n: usize,
        what: usize,
        (session, at): &mut (String, usize),
    ) -> Result<(String, Option<Seen>), Stop> {
        let lab = self.lab;
        if what < 3 {
            let answer = lab.get(&*session).await?;
            let Some(last) = answer.last_byte().filter(|_| answer.status == 204) else {
                return Ok(("ask the status".into(), None));
            };
            *at = if last <= 0 { 0 } else { usize::try_from(last + 1).unwrap_or(0) };
            *session = answer.header("Location").filter(|l| !l.is_empty()).unwrap_or(session).to_owned();
            return Ok(("ask the status".into(), Some(Seen::Stands(*at))));
        }
        let bytes = chunk(lab, client, n);
        let (start, size) = (*at, bytes.len());
        let range = format!("{start}-{}", start + size - 1);
        let exchange = Exchange::new("PATCH", &*session)
            .header("Content-Type", "application/octet-stream")
            .header("Content-Range", &range)
            .body(bytes);
        let answer = lab.send(exchange).await?;
        let name = format!("send chunk {n}, bytes {range}");
        match answer.status {
            202 => {
                *at = start + size;
                *session = answer.header("Location").filter(|l| !l.is_empty()).unwrap_or(session).to_owned();
                let mut newest = self.newest.borrow_mut();
                if *at > newest.1 {
                    *newest = (session.clone(), *at);
                }
                Ok((name, Some(Seen::Appended(start, size))))
            }
            400..500 => Ok((name, Some(Seen::Refused))),
            // Nobody knows whether it counts.
            _ => super::lab::wrong(
                "202 or 416: a chunk that another client may have been faster with",
                answer.to_string(),
            ),
        }
    }

    /// The upload, finished, is what was acknowledged.
    async fn whole(&self, events: &[Event<Seen>]) -> Result<Found, Stop> {
        let mut chunks = Vec::new();
        for event in events {
            if let Seen::Appended(start, _) = event.seen {
                let numbers: Vec<usize> =
                    event.name.split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse().ok()).collect();
                chunks.push((start, chunk(self.lab, numbers[0], numbers[1])));
            }
        }
        chunks.sort();
        let whole: String = chunks.into_iter().map(|(_, chunk)| chunk).collect();
        // The Location may have changed with every chunk.
        let session = match self.newest.borrow().0.as_str() {
            "" => self.session.clone(),
            newest => newest.to_owned(),
        };
        let answer = self.lab.finish(&session, &sha256(&whole), Bytes::new()).await?;
        if answer.status == 201 {
            return Ok(None);
        }
        let expected = "201: the acknowledged chunks, in order, are the upload".to_owned();
        Ok(Some((expected, answer.to_string())))
    }
}
