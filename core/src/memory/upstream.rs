//! Other registries in memory, which mirrors stand in front of.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{Memory, RequestBody};
use crate::effect::{BodyEnd, Receive, Received, Step};
use crate::error::Error;
use crate::http::{Body, Headers, Method, Request, Response};
use crate::meter::Meter;
use crate::mirror::{Answer, As, Followed, Login, Relayed, Source, Unmet, UpstreamName, Wanted};
use crate::name::Repository;
use crate::object::ObjectId;
use crate::registry::Registry;

/// Another registry, and how it behaves.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The registry.
    pub registry: Registry,
    /// What it stores.
    pub memory: Memory,
    /// What it answers to everything, if it does not answer as it should.
    pub unmet: Option<Unmet>,
    /// The only logins of callers that it takes, if it does not take all.
    pub logins: Option<Vec<Login>>,
    /// After how many bytes the next connections break by which it sends a blob.
    pub breaks: Vec<usize>,
    /// Whether a byte of each manifest that it sends is another one.
    pub garbled: bool,
    /// What it was asked, such as `GET /v2/library/debian/manifests/latest`.
    pub asked: Vec<String>,
}

impl Upstream {
    /// A registry that answers.
    pub fn new(registry: Registry) -> Self {
        let memory = Memory::new();
        Self { registry, memory, unmet: None, logins: None, breaks: Vec::new(), garbled: false, asked: Vec::new() }
    }

    fn ask(&mut self, login: &As, method: Method, target: String, headers: Headers) -> Result<Response, Unmet> {
        self.asked.push(format!("{method} {target}"));
        if let Some(unmet) = &self.unmet {
            return Err(unmet.clone());
        }
        if let (As::Caller(login), Some(logins)) = (login, &self.logins)
            && !login.as_ref().is_some_and(|login| logins.contains(login))
        {
            return Err(Unmet::Denied);
        }
        let request = Request { method, target, headers, length: None, base: None };
        let mut response = self.memory.call(&self.registry, &request, RequestBody::default());
        if let (Body::Bytes(bytes), true) = (&response.body, self.garbled && request.target.contains("/manifests/")) {
            response.body = Body::Bytes(super::flipped(bytes));
        }
        match response.status {
            200 | 206 => Ok(response),
            404 => Err(Unmet::Absent),
            401 | 403 => Err(Unmet::Denied),
            429 => Err(Unmet::Paused(Duration::from_secs(1))),
            status => Err(Unmet::Failed(format!("the upstream has answered {status}"))),
        }
    }
}

impl Memory {
    fn ask_upstream(
        &mut self,
        upstream: &UpstreamName,
        login: &As,
        method: Method,
        target: String,
        headers: Headers,
    ) -> Result<Response, Unmet> {
        match self.upstreams.get_mut(upstream) {
            Some(upstream) => upstream.ask(login, method, target, headers),
            None => Err(Unmet::Failed(format!("there is no upstream {}", upstream.as_str()))),
        }
    }

    pub(super) fn inquire(&mut self, wanted: &Wanted, limit: u64) -> Result<Answer, Unmet> {
        let Wanted { upstream, method, repository, resource, accept, login, via } = wanted;
        let mut headers: Headers = accept.iter().map(|media_type| ("Accept", *media_type)).collect();
        headers.push("Via", via.as_str());
        let response = self.ask_upstream(upstream, login, *method, format!("/v2/{repository}/{resource}"), headers)?;
        let body = match &response.body {
            Body::Bytes(bytes) => bytes.clone(),
            _ => Bytes::new(),
        };
        if body.len() as u64 > limit {
            return Err(Unmet::Failed("the upstream has answered more than was to be read".into()));
        }
        Ok(Answer {
            media_type: response.header("Content-Type").map(Into::into),
            digest: response.header("Docker-Content-Digest").and_then(|digest| digest.parse().ok()),
            length: response.header("Content-Length").and_then(|length| length.parse().ok()),
            next: response.header("Link").and_then(|link| next(link, repository)),
            body,
        })
    }

    pub(super) fn fetch(
        &mut self,
        source: &Source,
        object: ObjectId,
        meter: Meter,
        keep: usize,
    ) -> Result<Received, Unmet> {
        let there = self.objects.get(&object).map_or(0, |(bytes, _)| bytes.len() as u64);
        if there != meter.count() {
            let meter = Meter::new(meter.algorithm());
            return Ok(Received { meter, end: BodyEnd::Cut, kept: None, took: Duration::ZERO });
        }
        let whole = self.blob_of(source, None)?;
        let breaks = self.upstreams.get_mut(&source.upstream).and_then(|upstream| upstream.breaks.pop());
        let until = breaks.map_or(whole.len(), |after| whole.len().min(meter.count() as usize + after));
        let body = RequestBody { bytes: whole.slice(..until), cut: until < whole.len(), slow: false };
        Ok(self.receive(Receive { object, meter, keep, pause: Duration::MAX }, &body))
    }

    pub(super) fn relay(&mut self, source: &Source, range: Option<&core::ops::Range<u64>>) -> Result<Relayed, Unmet> {
        let size = self.blob_of(source, None)?.len() as u64;
        self.relayed = self.blob_of(source, range)?;
        Ok(Relayed { size })
    }

    fn blob_of(&mut self, source: &Source, range: Option<&core::ops::Range<u64>>) -> Result<Bytes, Unmet> {
        let Source { upstream, repository, digest, login, via } = source;
        let mut headers: Headers = [("Via", via.as_str())].into_iter().collect();
        if let Some(range) = range {
            headers.push("Range", format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        let response =
            self.ask_upstream(upstream, login, Method::Get, format!("/v2/{repository}/blobs/{digest}"), headers)?;
        match response.body {
            Body::Bytes(bytes) => Ok(bytes),
            _ => Ok(Bytes::new()),
        }
    }

    /// Runs the fetch from its beginning to its end.
    pub(super) fn follow(&mut self, begin: impl FnOnce(crate::Ambient) -> Step<Result<(), Error>>) -> Followed {
        let ambient = self.ambient();
        Followed::Over(self.run(begin(ambient), &RequestBody::default()))
    }
}

/// What a `Link` says of the next page.
fn next(link: &str, repository: &Repository) -> Option<String> {
    let target = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    target.strip_prefix(&format!("/v2/{repository}/")).map(String::from)
}
