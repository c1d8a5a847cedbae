//! What must hold after a crash: everything that was acknowledged is there, byte for byte, and nothing else.

use std::collections::BTreeMap;

use bytes::Bytes;
use orlop_conformance::image::{OCI_MANIFEST, sha256};
use orlop_conformance::system::{Call, blob, get, manifest, put};
use orlop_core::digest::Digest;
use serde_json::Value as Json;

use crate::journal::{Fact, Ledger, Sent, Value};
use crate::served::{Reply, Served};
use crate::worker::received;

/// Asks for every fact, and says what was found; an error is a promise that was not kept. Sessions that `finish`
/// wants finished are brought to their end, and must give the blob they were meant to be.
pub(crate) fn verify(
    served: &mut dyn Served,
    ledger: &Ledger,
    sent: &Sent,
    mut finish: impl FnMut() -> bool,
) -> Result<Ledger, String> {
    let mut found = Ledger::default();
    let mut note = |fact: Fact, value: Value| -> Result<(), String> {
        if !ledger.admits(&fact, &value) {
            let told = ledger.facts.get(&fact);
            return Err(format!("{fact} is {value:?}, but may only be {told:?}"));
        }
        found.facts.insert(fact, vec![value]);
        Ok(())
    };
    let mut to_finish = Vec::new();
    for fact in ledger.facts.keys() {
        match fact {
            Fact::Blob { repository, digest } => {
                let bytes = sent.blobs.get(digest);
                note(fact.clone(), ask_for_bytes(served, &get(blob(repository, digest)), digest, bytes)?)?;
            }
            Fact::Manifest { repository, digest } => {
                let call = get(manifest(repository, digest)).header("Accept", OCI_MANIFEST);
                note(fact.clone(), ask_for_bytes(served, &call, digest, sent.manifests.get(digest))?)?;
            }
            Fact::Tag { repository, tag } => note(fact.clone(), named(served, sent, repository, tag)?)?,
            Fact::Session { repository, path } => {
                let reply = send(served, &get(path))?;
                let value = match reply.status {
                    404 => Value::Absent,
                    204 => {
                        let received = received(&reply).ok_or_else(|| format!("{fact} has no Range"))?;
                        to_finish.push((repository.clone(), path.clone(), received));
                        Value::Received(received, received)
                    }
                    _ => return Err(format!("{fact}: {}", reply.text())),
                };
                note(fact.clone(), value)?;
            }
        }
    }
    nothing_else(served, ledger, sent)?;
    for (repository, path, received) in to_finish {
        if finish() {
            finish_session(served, sent, &repository, &path, received)?;
            let digest = sha256(&sent.sessions[&path]);
            found.facts.insert(Fact::Session { repository: repository.clone(), path }, vec![Value::Absent]);
            found.facts.insert(Fact::Blob { repository, digest }, vec![Value::Present]);
        }
    }
    Ok(found)
}

/// Makes a call that must be answered, and not with a failure.
fn send(served: &mut dyn Served, call: &Call) -> Result<Reply, String> {
    let reply = served.send(call).map_err(|error| format!("{call}: {error}"))?;
    if reply.status >= 500 { Err(format!("{call}: {}", reply.text())) } else { Ok(reply) }
}

/// Whether the bytes of a digest are there; if they are, they must be those that were sent.
fn ask_for_bytes(served: &mut dyn Served, call: &Call, digest: &str, sent: Option<&Bytes>) -> Result<Value, String> {
    let reply = send(served, call)?;
    match reply.status {
        404 => Ok(Value::Absent),
        200 => {
            let hashed = digest.parse::<Digest>().map(|parsed| parsed.algorithm().digest(&reply.body).to_string());
            if hashed.as_deref() != Ok(digest) {
                return Err(format!("{call} has {} bytes that are not of its digest", reply.body.len()));
            }
            if sent.is_some_and(|sent| *sent != reply.body) {
                return Err(format!("{call} has other bytes than were sent"));
            }
            Ok(Value::Present)
        }
        _ => Err(format!("{call}: {}", reply.text())),
    }
}

/// What a tag names: its manifest must come with it.
fn named(served: &mut dyn Served, sent: &Sent, repository: &str, tag: &str) -> Result<Value, String> {
    let call = get(manifest(repository, tag)).header("Accept", OCI_MANIFEST);
    let reply = send(served, &call)?;
    if reply.status == 404 {
        return Ok(Value::Absent);
    }
    let digest = sha256(&reply.body);
    if reply.status != 200 || sent.manifests.get(&digest) != Some(&reply.body) {
        return Err(format!("{call} is none of the manifests that were sent: {}", reply.text()));
    }
    Ok(Value::Names(digest))
}

/// No repository has what was not pushed or mounted into it, and lists are as complete as what was acknowledged.
fn nothing_else(served: &mut dyn Served, ledger: &Ledger, sent: &Sent) -> Result<(), String> {
    for repository in &sent.repositories {
        for digest in sent.blobs.keys() {
            let fact = Fact::Blob { repository: repository.clone(), digest: digest.clone() };
            if !ledger.facts.contains_key(&fact) && send(served, &get(blob(repository, digest)))?.status != 404 {
                return Err(format!("{fact} was never pushed there"));
            }
        }
        let reply = send(served, &get(format!("/v2/{repository}/tags/list")))?;
        let listed = if reply.status == 404 { Vec::new() } else { strings(&reply, "tags")? };
        for tag in &listed {
            let fact = Fact::Tag { repository: repository.clone(), tag: tag.clone() };
            if !ledger.facts.contains_key(&fact) || ledger.is(&fact, &Value::Absent) {
                return Err(format!("{fact} is listed"));
            }
        }
        for (fact, values) in &ledger.facts {
            if let Fact::Tag { repository: place, tag } = fact
                && place == repository
                && !values.contains(&Value::Absent)
                && !listed.contains(tag)
            {
                return Err(format!("{fact} is not listed"));
            }
        }
    }
    let catalog = strings(&send(served, &get("/v2/_catalog"))?, "repositories")?;
    match catalog.iter().find(|repository| !sent.repositories.contains(repository)) {
        Some(repository) => Err(format!("there is a repository {repository}")),
        None => Ok(()),
    }
}

fn strings(reply: &Reply, field: &str) -> Result<Vec<String>, String> {
    let json: Json = serde_json::from_slice(&reply.body).map_err(|error| format!("{}: {error}", reply.text()))?;
    let list = json[field].as_array().ok_or_else(|| reply.text())?;
    Ok(list.iter().filter_map(|entry| entry.as_str().map(String::from)).collect())
}

/// Sends what a session lacks, and asks for the blob that it makes.
fn finish_session(
    served: &mut dyn Served,
    sent: &Sent,
    repository: &str,
    path: &str,
    received: u64,
) -> Result<(), String> {
    let whole = sent.sessions.get(path).ok_or_else(|| format!("nobody opened {path}"))?;
    let digest = sha256(whole);
    let call = put(format!("{path}?digest={digest}")).body(whole.slice(received as usize..));
    let reply = send(served, &call)?;
    if reply.status != 201 {
        return Err(format!("{call} after {received} bytes: {}", reply.text()));
    }
    match ask_for_bytes(served, &get(blob(repository, &digest)), &digest, Some(whole))? {
        Value::Present => Ok(()),
        other => Err(format!("{call} was acknowledged, and the blob is {other:?}")),
    }
}

/// The blobs that manifests need which are there, and the repositories of those manifests.
pub(crate) fn needed(ledger: &Ledger, sent: &Sent) -> BTreeMap<String, Vec<String>> {
    let mut needed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (fact, values) in &ledger.facts {
        let Fact::Manifest { repository, digest } = fact else { continue };
        if values.contains(&Value::Absent) {
            continue;
        }
        let document: Json = serde_json::from_slice(&sent.manifests[digest]).unwrap_or_default();
        let layers = document["layers"].as_array().cloned().unwrap_or_default();
        for descriptor in layers.iter().chain([&document["config"]]) {
            let digest = descriptor["digest"].as_str().unwrap_or_default().to_owned();
            // A client may delete a blob that a manifest needs, and has been told so.
            let blob = Fact::Blob { repository: repository.clone(), digest: digest.clone() };
            if !ledger.is(&blob, &Value::Absent) {
                needed.entry(digest).or_default().push(repository.clone());
            }
        }
    }
    needed
}
