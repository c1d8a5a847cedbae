//! Uploads (SPEC E–I).

use bytes::Bytes;

use super::grammar::{self, Query};
use super::{Blob, Finished, Model, Refusals, Says, Session, ranges};
use crate::system::Call;

fn bad_digest() -> Says {
    Says::refusal(400, "DIGEST_INVALID")
}

fn bad_size() -> Says {
    Says::refusal(400, "SIZE_INVALID")
}

fn too_large() -> Says {
    Says::refusal(413, "SIZE_INVALID")
}

/// Where a session stands (SPEC E2, F1, G1): `0-0` when it is empty, too.
fn standing(says: Says, id: &str, Session { repository, bytes, .. }: &Session) -> Says {
    says.with("Location", format!("/v2/{repository}/blobs/uploads/{id}"))
        .with("Range", format!("0-{}", bytes.len().max(1) - 1))
        .with("Docker-Upload-UUID", id)
}

/// The answer to a blob that the repository holds (SPEC H1, H2).
fn created(name: &str, digest: &str) -> Says {
    let says = Says::new(201).with("Location", format!("/v2/{name}/blobs/{digest}"));
    says.with("Docker-Content-Digest", digest)
}

/// What came of a body that a session may take.
enum Came {
    Whole(Vec<u8>),
    Cut(Vec<u8>),
}

impl Model {
    pub(super) fn start(&mut self, call: &Call, name: &str, query: &Query, id: &str) -> Result<Says, Refusals> {
        if let Some(digest) = query.get("digest") {
            // SPEC E16.
            let nothing = call.body.bytes.is_empty() && call.request.length.unwrap_or_default() == 0 && !call.body.cut;
            if !(nothing && grammar::is_digest(digest) && grammar::digest_like(digest, b"") != digest) {
                return self.single_post(call, name, digest);
            }
            return Ok(self.open(name, id));
        }
        // SPEC E4.
        if query.get("digest-algorithm").is_some_and(|algorithm| !matches!(algorithm, "sha256" | "sha512")) {
            return Err(vec![bad_digest()]);
        }
        if let Some(bytes) = query.get("mount").and_then(|digest| self.mountable(name, digest, query.get("from"))) {
            let digest = query.get("mount").unwrap_or_default();
            return Ok(self.store(name, digest, bytes));
        }
        Ok(self.open(name, id))
    }

    fn open(&mut self, name: &str, id: &str) -> Says {
        let session = Session { repository: name.into(), bytes: Vec::new(), touched: self.now };
        let says = standing(Says::new(202), id, &session);
        // One whose id nobody was told is as none.
        if !id.is_empty() {
            self.sessions.insert(id.into(), session);
        }
        says
    }

    /// The bytes of a blob that can be mounted (SPEC E10–E15).
    fn mountable(&self, name: &str, digest: &str, from: Option<&str>) -> Option<Bytes> {
        let held = |name: &str| self.repositories.get(name)?.blobs.get(digest).map(|blob| blob.bytes.clone());
        held(name).or_else(|| match from {
            Some(from) => held(from),
            None if self.config.mount_from_anywhere => self.repositories.keys().find_map(|name| held(name)),
            None => None,
        })
    }

    fn single_post(&mut self, call: &Call, name: &str, digest: &str) -> Result<Says, Refusals> {
        let bytes = &call.body.bytes;
        let mut wrong = Vec::new();
        if !grammar::is_digest(digest) || grammar::digest_like(digest, bytes) != digest {
            wrong.push(bad_digest());
        }
        wrong.extend(call.body.cut.then(bad_size));
        let length = call.request.length.unwrap_or_default().max(bytes.len() as u64);
        wrong.extend((length > self.config.blob_limit).then(too_large));
        if wrong.is_empty() { Ok(self.store(name, digest, bytes.clone())) } else { Err(wrong) }
    }

    /// The repository holds the blob from now on (SPEC H1, H2).
    fn store(&mut self, name: &str, digest: &str, bytes: Bytes) -> Says {
        let left = self.now;
        self.keep(name).blobs.insert(digest.into(), Blob { bytes, left });
        created(name, digest)
    }

    /// SPEC F10, F11.
    fn session(&self, name: &str, id: &str) -> Result<&Session, Refusals> {
        let session = self.sessions.get(id).filter(|session| session.repository == name);
        session.ok_or_else(|| vec![Says::refusal(404, "BLOB_UPLOAD_UNKNOWN")])
    }

    pub(super) fn status(&self, name: &str, id: &str) -> Result<Says, Refusals> {
        Ok(standing(Says::new(204), id, self.session(name, id)?))
    }

    pub(super) fn cancel(&mut self, name: &str, id: &str) -> Result<Says, Refusals> {
        self.session(name, id)?;
        self.sessions.remove(id);
        Ok(Says::new(204).with("Docker-Upload-UUID", id))
    }

    /// The body as the next bytes of a session (SPEC F2–F6, H5).
    fn receive(&self, call: &Call, name: &str, id: &str) -> Result<Came, Refusals> {
        let session = self.session(name, id)?;
        let (body, announced) = (&call.body.bytes, call.request.length);
        let mut wrong = Vec::new();
        if let Some(field) = call.request.headers.get("Content-Range") {
            let Some((first, last)) = ranges::chunk(field).filter(|(first, _)| *first == session.bytes.len() as u64)
            else {
                return Err(vec![standing(Says::refusal(416, "RANGE_INVALID"), id, session)]);
            };
            let length = last - first + 1;
            let shorter = (body.len() as u64) < length && !call.body.cut;
            let differs = announced.is_some_and(|announced| announced != length);
            wrong.extend((differs || shorter || body.len() as u64 > length).then(bad_size));
            wrong.extend((last >= self.config.blob_limit).then(too_large));
        }
        let whole = session.bytes.len() as u64 + announced.unwrap_or(body.len() as u64);
        wrong.extend((whole > self.config.blob_limit).then(too_large));
        match call.body.cut {
            _ if !wrong.is_empty() => Err(wrong),
            true => Ok(Came::Cut(body.to_vec())),
            false => Ok(Came::Whole(body.to_vec())),
        }
    }

    pub(super) fn chunk(&mut self, call: &Call, name: &str, id: &str) -> Result<Says, Refusals> {
        let (bytes, cut) = match self.receive(call, name, id)? {
            Came::Whole(bytes) => (bytes, false),
            Came::Cut(bytes) => (bytes, true),
        };
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else { return Err(Vec::new()) };
        if !bytes.is_empty() {
            session.bytes.extend(bytes);
            session.touched = now;
        }
        // SPEC F14: what came is kept.
        if cut { Err(vec![bad_size()]) } else { Ok(standing(Says::new(202), id, session)) }
    }

    pub(super) fn finish(&mut self, call: &Call, name: &str, id: &str, query: &Query) -> Result<Says, Refusals> {
        // SPEC H4, H6.
        let digest = query.get("digest").filter(|digest| grammar::is_digest(digest));
        // SPEC H7.
        if let (Some(digest), Some(finished)) = (digest, self.finished.get(id))
            && finished.repository == name
            && finished.digest == digest
            && let Some(held) = self.repositories.get(name)
            && held.blobs.contains_key(digest)
        {
            return Ok(created(name, digest));
        }
        let received = self.receive(call, name, id);
        let Some(digest) = digest else {
            return Err([vec![bad_digest()], received.err().unwrap_or_default()].concat());
        };
        // SPEC F14: a PUT that is cut off changes nothing.
        let Came::Whole(last) = received? else { return Err(vec![bad_size()]) };
        let Some(session) = self.sessions.remove(id) else { return Err(Vec::new()) };
        let whole = [session.bytes, last].concat();
        // SPEC H3: the session is over.
        if grammar::digest_like(digest, &whole) != digest {
            return Err(vec![bad_digest()]);
        }
        let finished = Finished { repository: name.into(), digest: digest.into(), at: self.now };
        self.finished.insert(id.into(), finished);
        Ok(self.store(name, digest, whole.into()))
    }
}
