//! This registry as a place that images are copied from and to: calls of the core in this process, so that quotas, events
//! and garbage collection are the same as for any client.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::unfold;
use http_body_util::BodyExt;
use orlop_core::digest::Digest;
use orlop_core::http::{self, Method, Piece};
use orlop_core::media::ManifestType;
use orlop_core::name::Repository;
use orlop_core::{Asked, Caller, Headers, Registry};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::copy::{Blob, Destination, Found, Role, Sink, Source, Writing};
use crate::remote::{Descriptor, Failure};
use crate::storage::{Host, RequestBody, ambient};

/// How long a blob may stand still on its way here: longer than a registry that says 429 is waited for.
const IDLE: Duration = Duration::from_secs(3600);

/// How many pieces of a blob wait to be received.
const WAITING: usize = 4;

/// How many names a page of a list has.
const PAGE: usize = 1000;

/// How often a blob is opened again that garbage collection has moved.
const ATTEMPTS: usize = 4;

/// This registry.
#[derive(Clone)]
pub(crate) struct Local {
    pub(super) host: Arc<Host>,
    pub(super) registry: Registry,
    pub(super) caller: Arc<Caller>,
}

/// A repository of this registry.
#[derive(Clone)]
pub(crate) struct Own {
    local: Local,
    name: String,
}

#[derive(Deserialize)]
struct Tags {
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

impl Local {
    /// One of its repositories.
    pub(super) fn repository(&self, name: &str) -> Own {
        Own { local: self.clone(), name: name.into() }
    }

    /// The names of all repositories.
    pub(super) async fn repositories(&self) -> Result<Vec<String>, Failure> {
        let pages = self.pages::<Catalog>(format!("/v2/_catalog?n={PAGE}")).await?;
        Ok(pages.into_iter().flat_map(|page| page.repositories).collect())
    }

    /// Makes a call. An answer of another status than 2xx is a failure.
    async fn call(&self, request: http::Request, body: &mut RequestBody) -> Result<http::Response, Failure> {
        let asked = Arc::new(self.registry.read(request, None));
        self.made(&asked, body).await
    }

    async fn made(&self, asked: &Arc<Asked>, body: &mut RequestBody) -> Result<http::Response, Failure> {
        let step = self.registry.call_of(self.caller.clone(), asked.clone(), ambient());
        // No upstream is asked: of a mirror, what is here is read.
        let response = self.host.run(step, body).await;
        let what = || format!("{} {}", asked.request.method, asked.request.target);
        match (response.status, &response.fault) {
            (200..=299, _) => Ok(response),
            (404, _) => Err(Failure::Absent),
            (_, Some(fault)) => Err(Failure::Unreachable(format!("this registry: {}: {fault}", what()))),
            (status, None) => {
                Err(Failure::Unusable(format!("this registry answers {status} to {}{}", what(), reason(&response))))
            }
        }
    }

    /// Reads all pages of a list.
    async fn pages<T: for<'de> Deserialize<'de>>(&self, first: String) -> Result<Vec<T>, Failure> {
        let (mut pages, mut next) = (Vec::new(), Some(first));
        while let Some(target) = next {
            let response = self.call(request(Method::Get, target, &[], None), &mut RequestBody::empty()).await?;
            let link = response.header("Link").and_then(|link| link.strip_prefix('<')?.split_once('>'));
            next = link.map(|(target, _)| target.to_owned());
            let http::Body::Bytes(bytes) = response.body else { return Err(unreadable("a list")) };
            pages.push(serde_json::from_slice(&bytes).map_err(|_| unreadable("a list"))?);
        }
        Ok(pages)
    }
}

impl Own {
    fn target(&self, resource: &str) -> String {
        format!("/v2/{}/{resource}", self.name)
    }

    /// All tags, in the order of their names.
    pub(super) async fn tags(&self) -> Result<Vec<String>, Failure> {
        let pages = self.local.pages::<Tags>(self.target(&format!("tags/list?n={PAGE}"))).await?;
        Ok(pages.into_iter().flat_map(|page| page.tags).collect())
    }

    /// The manifests that no tag leads to.
    pub(super) async fn loose(&self) -> Result<Vec<Digest>, Failure> {
        let name: Repository = self.name.parse().map_err(|_| Failure::Absent)?;
        let (mut digests, mut after) = (Vec::new(), None);
        loop {
            let step = self.local.registry.loose(name.clone(), after, ambient());
            let page = self.local.host.run(step, &mut RequestBody::empty()).await;
            let page = page.map_err(|fault| Failure::Unreachable(format!("this registry: {fault}")))?;
            digests.extend(page.digests);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(digests),
            }
        }
    }

    /// Deletes a tag, if it is there.
    pub(super) async fn delete_tag(&self, tag: &str) -> Result<(), Failure> {
        let request = request(Method::Delete, self.target(&format!("manifests/{tag}")), &[], None);
        match self.local.call(request, &mut RequestBody::empty()).await {
            Ok(_) | Err(Failure::Absent) => Ok(()),
            Err(other) => Err(other),
        }
    }

    async fn head(&self, resource: &str) -> Result<Option<Digest>, Failure> {
        let accept: Vec<_> = ManifestType::ALL.iter().map(|kind| ("Accept", kind.as_str().to_owned())).collect();
        let request = request(Method::Head, self.target(resource), &accept, None);
        match self.local.call(request, &mut RequestBody::empty()).await {
            Ok(response) => {
                let digest = response.header("Docker-Content-Digest").and_then(|digest| digest.parse().ok());
                digest.map(Some).ok_or_else(|| unreadable("a digest"))
            }
            Err(Failure::Absent) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

fn request(method: Method, target: String, fields: &[(&str, String)], length: Option<u64>) -> http::Request {
    let headers: Headers = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    http::Request { method, target, headers, length, base: None }
}

fn unreadable(what: &str) -> Failure {
    Failure::Unusable(format!("this registry answers with {what} that cannot be read"))
}

/// What an error of the registry says (OCI distribution-spec, "Error Codes").
fn reason(response: &http::Response) -> String {
    let http::Body::Bytes(bytes) = &response.body else { return String::new() };
    let document: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let first = &document["errors"][0];
    match (first["code"].as_str(), first["message"].as_str()) {
        (Some(code), Some(message)) => format!(": {code}: {message}"),
        _ => String::new(),
    }
}

#[async_trait]
impl Source for Own {
    async fn manifest(&self, reference: &str) -> Result<Found, Failure> {
        let accept: Vec<_> = ManifestType::ALL.iter().map(|kind| ("Accept", kind.as_str().to_owned())).collect();
        let request = request(Method::Get, self.target(&format!("manifests/{reference}")), &accept, None);
        let response = self.local.call(request, &mut RequestBody::empty()).await?;
        let media_type = response.header("Content-Type").unwrap_or_default().to_owned();
        let digest = response.header("Docker-Content-Digest").and_then(|digest| digest.parse().ok());
        match (digest, response.body) {
            (Some(digest), http::Body::Bytes(bytes)) => Ok(Found { media_type, digest, bytes }),
            _ => Err(unreadable("a manifest")),
        }
    }

    async fn blob(&self, blob: &Descriptor, from: u64) -> Result<Box<dyn Blob>, Failure> {
        let target = self.target(&format!("blobs/{}", blob.digest));
        let range = if from > 0 { vec![("Range", format!("bytes={from}-"))] } else { Vec::new() };
        let asked = Arc::new(self.local.registry.read(request(Method::Get, target, &range, None), None));
        for _ in 0..ATTEMPTS {
            let response = self.local.made(&asked, &mut RequestBody::empty()).await?;
            let body = match response.body {
                http::Body::Empty => Body::empty(),
                http::Body::Bytes(bytes) => Body::from(bytes),
                http::Body::Pieces(pieces) => match self.local.host.open_pieces(pieces).await {
                    Ok(Some(opened)) => opened.into_body(None, asked.clone()),
                    Ok(None) => continue,
                    Err(fault) => return Err(Failure::Unreachable(format!("this registry: {fault}"))),
                },
                http::Body::Coming(_) | http::Body::Relayed => {
                    let told =
                        format!("the blob {} is not here yet: it is still being fetched for a mirror", blob.digest);
                    return Err(Failure::Unusable(told));
                }
            };
            return Ok(Box::new(Reading(body)));
        }
        Err(Failure::Unreachable(format!("an object of the blob {} is missing", blob.digest)))
    }

    async fn file(&self, blob: &Digest) -> Result<Option<PathBuf>, Failure> {
        let get = request(Method::Get, self.target(&format!("blobs/{blob}")), &[], None);
        let response = match self.local.call(get, &mut RequestBody::empty()).await {
            // Whoever reads it finds that out, too.
            Err(Failure::Absent) => return Ok(None),
            answered => answered?,
        };
        let size = response.header("Content-Length").and_then(|length| length.parse().ok());
        let http::Body::Pieces(pieces) = response.body else { return Ok(None) };
        Ok(match pieces.into_sent()[..] {
            [Piece::Slice(object, Range { start: 0, end })] if Some(end) == size => self.local.host.file(&object, end),
            _ => None,
        })
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Failure> {
        let pages = self.local.pages::<Index>(self.target(&format!("referrers/{subject}"))).await?;
        Ok(pages.into_iter().flat_map(|page| page.manifests).collect())
    }
}

/// A blob of this registry as it is read.
struct Reading(Body);

#[async_trait]
impl Blob for Reading {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.0.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => return Err(Failure::Unreachable(format!("a blob of this registry: {error}"))),
            }
        }
    }
}

#[async_trait]
impl Destination for Own {
    async fn has_manifest(&self, reference: &str) -> Result<Option<Digest>, Failure> {
        self.head(&format!("manifests/{reference}")).await
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, Failure> {
        Ok(self.head(&format!("blobs/{digest}")).await?.is_some())
    }

    /// A blob that any repository here has is mounted.
    async fn write(&self, digest: &Digest, _: &dyn Source) -> Result<Writing, Failure> {
        let target = self.target(&format!("blobs/uploads/?mount={digest}"));
        let opened = self.local.call(request(Method::Post, target, &[], Some(0)), &mut RequestBody::empty()).await?;
        if opened.status == 201 {
            return Ok(Writing::Mounted);
        }
        let location = opened.header("Location").ok_or_else(|| unreadable("an upload"))?.to_owned();
        let (sending, arriving) = mpsc::channel(WAITING);
        let body = Body::from_stream(unfold(arriving, async |mut arriving: mpsc::Receiver<io::Result<Bytes>>| {
            arriving.recv().await.map(|piece| (piece, arriving))
        }));
        let local = self.local.clone();
        let put = request(Method::Put, format!("{location}?digest={digest}"), &[], None);
        let receiving = tokio::spawn(async move {
            let mut body = RequestBody::new(body, IDLE);
            local.call(put, &mut body).await.map(drop)
        });
        Ok(Writing::Sink(Box::new(Receiving { local: self.local.clone(), location, sending, receiving })))
    }

    async fn put_manifest(&self, found: &Found, role: Role<'_>) -> Result<(), Failure> {
        let digest = found.digest.to_string();
        let reference = if let Role::Tagged(tag) = role { tag } else { &digest };
        let fields = [("Content-Type", found.media_type.clone())];
        let length = Some(found.bytes.len() as u64);
        let put = request(Method::Put, self.target(&format!("manifests/{reference}")), &fields, length);
        self.local.call(put, &mut RequestBody::from_bytes(found.bytes.clone())).await.map(drop)
    }
}

/// A blob on its way into this registry: a call that receives what is sent to it.
struct Receiving {
    local: Local,
    location: String,
    sending: mpsc::Sender<io::Result<Bytes>>,
    receiving: JoinHandle<Result<(), Failure>>,
}

#[async_trait]
impl Sink for Receiving {
    async fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self.sending.send(Ok(Bytes::copy_from_slice(bytes))).await {
            Ok(()) => Ok(()),
            // The call is over before its body is: it says why.
            Err(_) => match (&mut self.receiving).await {
                Ok(Err(failure)) => Err(failure),
                Ok(Ok(())) => Err(unreadable("a blob")),
                Err(error) => Err(Failure::Unreachable(format!("this registry: {error}"))),
            },
        }
    }

    async fn finish(self: Box<Self>, _: &Digest) -> Result<(), Failure> {
        drop(self.sending);
        let lost = |error| Err(Failure::Unreachable(format!("this registry: {error}")));
        self.receiving.await.unwrap_or_else(lost)
    }

    async fn abort(self: Box<Self>) {
        // A body that breaks off makes no blob, and its upload goes with what it has received.
        let _ = self.sending.send(Err(io::ErrorKind::ConnectionAborted.into())).await;
        drop(self.sending);
        if !self.receiving.is_finished() {
            let _ = self.receiving.await;
        }
        let delete = request(Method::Delete, self.location, &[], None);
        let _ = self.local.call(delete, &mut RequestBody::empty()).await;
    }
}
