//! Small contents and the requests that carry them: what scenarios are made of.

use bytes::Bytes;
use orlop_core::Request;
use orlop_core::digest::{Algorithm, Digest};
use orlop_core::memory::{RequestBody, request};
use serde_json::{Value, json};

use super::scenario::Call;

/// An OCI image manifest.
pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The SHA-256 digest of some bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Algorithm::Sha256.digest(bytes)
}

/// The SHA-512 digest of some bytes.
pub fn digest512(bytes: &[u8]) -> Digest {
    Algorithm::Sha512.digest(bytes)
}

/// The configuration of an image for that architecture.
pub fn config(architecture: &str) -> Bytes {
    json!({ "os": "linux", "architecture": architecture }).to_string().into()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes).to_string(), "size": bytes.len() })
}

/// An image of one layer for that architecture.
pub fn image(architecture: &str, layer: &[u8]) -> Bytes {
    let layers = [descriptor(LAYER, layer)];
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(CONFIG, &config(architecture)), "layers": layers })
        .to_string()
        .into()
}

/// An artifact of one blob, which it has as its config too, about `subject`.
pub fn artifact(blob: &[u8], subject: &[u8]) -> Bytes {
    let config = descriptor("application/vnd.example.signature", blob);
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [], "subject": descriptor(IMAGE, subject) })
        .to_string()
        .into()
}

/// An index of these images.
pub fn index(children: &[&[u8]]) -> Bytes {
    let manifests: Vec<_> = children.iter().map(|child| descriptor(IMAGE, child)).collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string().into()
}

/// An index of these images, each for an architecture.
pub fn index_of(children: &[(&[u8], &str)]) -> Bytes {
    let entry = |(child, architecture): &(&[u8], &str)| {
        let mut entry = descriptor(IMAGE, child);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    };
    let manifests: Vec<_> = children.iter().map(entry).collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string().into()
}

/// A request whose body has a known length.
pub fn send(method: &str, target: impl Into<String>, body: impl Into<RequestBody>) -> Call {
    let body = body.into();
    let length = Some(body.bytes.len() as u64);
    Call::Request(Request { length, ..request(method, target) }, body)
}

/// A request without a body.
pub fn ask(method: &str, target: impl Into<String>) -> Call {
    send(method, target, Bytes::new())
}

impl Call {
    /// The same request with one more header field.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        if let Self::Request(request, _) = &mut self {
            request.headers.push(name, value);
        }
        self
    }
}

/// Pushes a whole blob.
pub fn push_blob(repository: &str, bytes: &[u8]) -> Call {
    let target = format!("/v2/{repository}/blobs/uploads/?digest={}", digest(bytes));
    send("POST", target, Bytes::copy_from_slice(bytes))
}

/// Deletes a blob.
pub fn delete_blob(repository: &str, bytes: &[u8]) -> Call {
    ask("DELETE", format!("/v2/{repository}/blobs/{}", digest(bytes)))
}

/// Downloads a blob.
pub fn get_blob(repository: &str, bytes: &[u8]) -> Call {
    ask("GET", format!("/v2/{repository}/blobs/{}", digest(bytes)))
}

/// Mounts a blob out of another repository.
pub fn mount(repository: &str, bytes: &[u8], from: &str) -> Call {
    ask("POST", format!("/v2/{repository}/blobs/uploads/?mount={}&from={from}", digest(bytes)))
}

/// Mounts a blob from wherever it is.
pub fn mount_from_anywhere(repository: &str, bytes: &[u8]) -> Call {
    ask("POST", format!("/v2/{repository}/blobs/uploads/?mount={}", digest(bytes)))
}

/// Pushes a manifest to a tag or digest, with what else the query says.
pub fn push(repository: &str, reference: impl std::fmt::Display, manifest: &Bytes) -> Call {
    let list = serde_json::from_slice::<Value>(manifest).is_ok_and(|manifest| manifest["mediaType"] == INDEX);
    send("PUT", format!("/v2/{repository}/manifests/{reference}"), manifest.clone())
        .header("Content-Type", if list { INDEX } else { IMAGE })
}

/// Deletes a tag or manifest.
pub fn delete(repository: &str, reference: impl std::fmt::Display) -> Call {
    ask("DELETE", format!("/v2/{repository}/manifests/{reference}"))
}

/// Deletes all tags and manifests of a repository.
pub fn empty(repository: &str) -> Call {
    ask("DELETE", format!("/api/v1/repositories/{repository}/contents"))
}

/// Downloads a manifest.
pub fn get(repository: &str, reference: impl std::fmt::Display) -> Call {
    ask("GET", format!("/v2/{repository}/manifests/{reference}"))
}

/// Downloads the list behind a tag, as a client does that takes nothing else.
pub fn get_list(repository: &str, tag: &str) -> Call {
    get(repository, tag).header("Accept", INDEX)
}

/// Sends a chunk to a session, at `offset` if that is said.
pub fn patch(session: &str, offset: Option<usize>, bytes: &'static [u8]) -> Call {
    let call = send("PATCH", session, Bytes::from_static(bytes));
    match offset {
        Some(offset) => call.header("Content-Range", format!("{offset}-{}", offset + bytes.len() - 1)),
        None => call,
    }
}

/// The same call with a body that comes in two halves, with a long pause between them.
pub fn slow(mut call: Call) -> Call {
    if let Call::Request(_, body) = &mut call {
        body.slow = true;
    }
    call
}

/// Ends a session with a last chunk.
pub fn finish(session: &str, digest: &Digest, bytes: &'static [u8]) -> Call {
    send("PUT", format!("{session}?digest={digest}"), Bytes::from_static(bytes))
}

/// Gives up a session.
pub fn cancel(session: &str) -> Call {
    ask("DELETE", session)
}
