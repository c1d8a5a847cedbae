//! Pushing to a registry: blobs in chunks that go on where they were cut off, mounts, manifests (OCI
//! distribution-spec, "Push").

use bytes::{Bytes, BytesMut};
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use orlop_core::digest::Digest;
use url::Url;

use super::exchange::{Arrived, Outgoing};
use super::failure::Failure;
use super::retry::{Retries, retried};
use super::{Get, Inner, Remote};

/// How many bytes a chunk has. It is kept in memory until the registry has it, so that it can be sent again.
const CHUNK: usize = 8 << 20;

/// The largest chunk that a registry may ask for as its smallest.
const LARGEST_CHUNK: usize = 64 << 20;

/// The field by which a registry says how small chunks may be.
const CHUNK_MIN: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// The field by which a registry says that it lists a manifest among the referrers of its subject.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// What a request to open an upload comes to.
pub enum Opened {
    /// The blob is there: it was mounted.
    Mounted,
    /// The registry waits for its bytes.
    Upload(Upload),
}

/// A blob that is being pushed.
pub struct Upload {
    remote: Remote,
    /// Where the next bytes go.
    location: Url,
    repository: String,
    /// How many bytes the registry has.
    offset: u64,
    chunk: usize,
    /// What it does not have yet.
    pending: BytesMut,
}

impl Remote {
    /// Whether a repository has a blob or manifest, and how large it is if that is told. `resource` is `blobs/DIGEST` or
    /// `manifests/REFERENCE`.
    ///
    /// # Errors
    ///
    /// What keeps that from being known. It is asked again where that may help.
    pub async fn has(&self, repository: &str, resource: &str, accept: &[&str]) -> Result<Option<Digest>, Failure> {
        let get = || Get { repository, resource, head: true, accept, ..Get::default() };
        match retried(|| self.get(get())).await {
            Ok(answer) => {
                let named = resource.rsplit_once('/').and_then(|(_, digest)| digest.parse().ok());
                Ok(answer.digest.or(named))
            }
            Err(Failure::Absent) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Opens an upload. With a blob of another repository of the registry, that is mounted if the registry does so.
    ///
    /// # Errors
    ///
    /// What keeps it from being opened. It is asked again where that may help.
    pub async fn open_upload(&self, repository: &str, mount: Option<(&Digest, &str)>) -> Result<Opened, Failure> {
        if mount.is_some() {
            let mut opened = self.try_to_open(repository, mount).await;
            if matches!(opened, Err(Failure::Paused(_))) {
                opened = retried(|| self.try_to_open(repository, mount)).await;
            }
            // Whatever keeps a blob from being mounted, its bytes can be sent.
            if opened.is_ok() {
                return opened;
            }
        }
        retried(|| self.try_to_open(repository, None)).await
    }

    async fn try_to_open(&self, repository: &str, mount: Option<(&Digest, &str)>) -> Result<Opened, Failure> {
        let mut request = self.0.request(Method::POST, repository, "blobs/uploads/", "pull,push")?;
        request.headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        if let Some((digest, from)) = mount {
            let mut query = request.url.query_pairs_mut();
            query.append_pair("mount", &digest.to_string()).append_pair("from", from);
            drop(query);
            if from != repository {
                request.scopes.push(format!("repository:{from}:pull"));
            }
        }
        let arrived = self.0.sent(&request).await?;
        match arrived.response.status() {
            StatusCode::CREATED if mount.is_some() => Ok(Opened::Mounted),
            StatusCode::ACCEPTED => {
                let location = self.0.location(&arrived)?;
                let least =
                    arrived.response.headers().get(CHUNK_MIN).and_then(|value| value.to_str().ok()?.parse().ok());
                let chunk = least.map_or(CHUNK, |least: usize| least.max(CHUNK));
                if chunk > LARGEST_CHUNK {
                    let host = self.host();
                    return Err(Failure::Unusable(format!("{host} wants chunks of {chunk} bytes, too large to keep")));
                }
                let (remote, pending) = (self.clone(), BytesMut::new());
                let repository = repository.to_owned();
                Ok(Opened::Upload(Upload { remote, location, repository, offset: 0, chunk, pending }))
            }
            _ => Err(self.0.failed(arrived).await),
        }
    }

    /// Pushes a manifest under a tag or its digest, and says whether the registry lists it as a referrer.
    ///
    /// # Errors
    ///
    /// What keeps it from being taken. It is sent again where that may help.
    pub async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<bool, Failure> {
        let resource = format!("manifests/{reference}");
        let mut request = self.0.request(Method::PUT, repository, &resource, "pull,push")?;
        request.headers.insert(CONTENT_TYPE, self.0.field(media_type)?);
        request.body = bytes;
        let arrived = retried(|| self.0.sent(&request)).await?;
        match arrived.response.status() {
            // 202 is no answer of the specification, but one that some registries give.
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => {
                Ok(arrived.response.headers().contains_key(SUBJECT))
            }
            _ => Err(self.0.failed(arrived).await),
        }
    }
}

impl Upload {
    /// The next bytes of the blob. They are sent as soon as they are a chunk.
    ///
    /// # Errors
    ///
    /// What keeps them from being taken, after it was tried again.
    pub async fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.pending.extend_from_slice(bytes);
        // What may be the last chunk waits for the end: a blob of one chunk is sent by one request.
        while self.pending.len() > self.chunk {
            let chunk = self.pending.split_to(self.chunk).freeze();
            self.send(chunk).await?;
        }
        Ok(())
    }

    /// Ends the upload with the blob of that digest.
    ///
    /// # Errors
    ///
    /// When the registry does not take it, for one because its bytes have another digest.
    pub async fn finish(mut self, digest: &Digest) -> Result<(), Failure> {
        let mut last = self.pending.split().freeze();
        if self.offset > 0 && !last.is_empty() {
            self.send(std::mem::take(&mut last)).await?;
        }
        let mut retries = Retries::new();
        let mut rest = last.clone();
        loop {
            let Err(failure) = self.end(digest, rest).await else { return Ok(()) };
            retries.after(failure).await?;
            // The answer may have been lost, or a part of the bytes.
            if self.remote.has(&self.repository, &format!("blobs/{digest}"), &[]).await?.is_some() {
                return Ok(());
            }
            let received = if last.is_empty() { 0 } else { self.received().await? };
            rest = last.slice(usize::try_from(received).unwrap_or(usize::MAX).min(last.len())..);
        }
    }

    async fn end(&self, digest: &Digest, rest: Bytes) -> Result<(), Failure> {
        let mut request = self.request(Method::PUT, rest);
        request.url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let arrived = self.remote.0.sent(&request).await?;
        match arrived.response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(()),
            _ => Err(self.remote.0.failed(arrived).await),
        }
    }

    /// Gives the upload up. Registries forget it after a time in any case.
    pub async fn abort(self) {
        let _ = self.remote.0.sent(&self.request(Method::DELETE, Bytes::new())).await;
    }

    /// Sends a chunk until the registry has all of it. After a failure it is asked how much it has, and gets the rest.
    async fn send(&mut self, chunk: Bytes) -> Result<(), Failure> {
        let begins = self.offset;
        let end = begins + chunk.len() as u64;
        let mut retries = Retries::new();
        while self.offset < end {
            let rest = chunk.slice(usize::try_from(self.offset - begins).unwrap_or(chunk.len())..);
            let Err(failure) = self.patch(rest).await else { continue };
            retries.after(failure).await?;
            match self.received().await {
                Ok(received) if (begins..=end).contains(&received) => self.offset = received,
                Ok(received) => {
                    let host = self.remote.host();
                    let told = format!("{host} has {received} bytes of an upload, not {begins} to {end}");
                    return Err(Failure::Unusable(told));
                }
                // The next try finds out.
                Err(Failure::Unreachable(_) | Failure::Paused(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    async fn patch(&mut self, bytes: Bytes) -> Result<(), Failure> {
        let end = self.offset + bytes.len() as u64;
        let mut request = self.request(Method::PATCH, bytes);
        let range = format!("{}-{}", self.offset, end - 1);
        request.headers.insert(CONTENT_RANGE, self.remote.0.field(&range)?);
        let arrived = self.remote.0.sent(&request).await?;
        match arrived.response.status() {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                self.location = self.remote.0.location(&arrived)?;
                self.offset = end;
                Ok(())
            }
            // It has another part of the upload than was thought: it is asked.
            StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(Failure::Unreachable(format!("{} has another part of an upload", self.remote.host())))
            }
            _ => Err(self.remote.0.failed(arrived).await),
        }
    }

    /// How many bytes the registry has.
    async fn received(&mut self) -> Result<u64, Failure> {
        let arrived = self.remote.0.sent(&self.request(Method::GET, Bytes::new())).await?;
        if !matches!(arrived.response.status(), StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::ACCEPTED) {
            return Err(self.remote.0.failed(arrived).await);
        }
        if arrived.response.headers().contains_key(LOCATION) {
            self.location = self.remote.0.location(&arrived)?;
        }
        let range = arrived.response.headers().get("range").and_then(|value| value.to_str().ok());
        // `0-0` is one byte, or none: registries differ. A chunk that begins anew after none is right in both.
        let last = range.and_then(|range| range.trim_start_matches("bytes=").split_once('-')?.1.parse::<u64>().ok());
        Ok(last.map_or(0, |last| if last == 0 { 0 } else { last + 1 }))
    }

    fn request(&self, method: Method, body: Bytes) -> Outgoing {
        let mut headers = HeaderMap::new();
        if matches!(method, Method::PATCH | Method::PUT) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let scopes = vec![format!("repository:{}:pull,push", self.repository)];
        Outgoing { method, url: self.location.clone(), headers, body, scopes, login: None, seen: None }
    }
}

impl Inner {
    /// Sends a request, with a 5xx for a failure that may be tried again.
    async fn sent(&self, request: &Outgoing) -> Result<Arrived, Failure> {
        let arrived = self.exchange(request).await?;
        if arrived.response.status().is_server_error() { Err(self.failed(arrived).await) } else { Ok(arrived) }
    }

    /// The `Location` of an answer: relative or absolute, with its query, and not out of encryption.
    fn location(&self, arrived: &Arrived) -> Result<Url, Failure> {
        let wrong = |reason: &str| Failure::Unusable(format!("{} opens an upload {reason}", self.host()));
        let location = arrived.response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| wrong("without a Location"))?;
        let url = arrived.url.join(location).map_err(|_| wrong("at a Location that is no URL"))?;
        match (arrived.url.scheme(), url.scheme()) {
            (_, "https") | ("http", "http") => Ok(url),
            _ => Err(wrong("at a Location that is not encrypted, though the registry is")),
        }
    }
}
