//! Blobs: download and delete (OCI end-2, end-10; SPEC C, D).

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::batch::Batch;
use super::mirror::Cached;
use super::protect::Marks;
use super::quarantine::sound_blob;
use super::{Call, upload};
use crate::caller::Right;
use crate::conditional::{self, Condition};
use crate::config::ATTEMPTS;
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Get, Load, Value};
use crate::error::Error;
use crate::http::{Body, Method, Piece, Pieces, Request, Response};
use crate::keys;
use crate::name::Repository;
use crate::range::{self, Selection};
use crate::record::{self, BlobRecord, Extent};

/// Blobs never change: whoever has one may keep it (SPEC A7).
const FOR_EVER: &str = "max-age=31536000, immutable";

const BLOB_TYPE: &str = "application/octet-stream";

impl Call {
    /// `GET` and `HEAD`: the bytes, or some of them. A repository shows only what was pushed or mounted into
    /// it (SPEC C4), or what it mirrors (SPEC V).
    pub(crate) async fn blob(&self, name: &Repository, digest: &Digest, request: &Request) -> Result<Response, Error> {
        let asked = Asked { digest, request };
        let mut cached = self.config.mirror_of(name).map(|_| Cached::Hit);
        if self.may(Right::Pull, name) {
            let unknown = || Error::BlobUnknown(*digest);
            self.vouch(name, request, (Method::Head, &format!("blobs/{digest}")), unknown).await?;
        }
        for _ in 0..ATTEMPTS {
            let BlobRecord { size, extents, unverified, .. } =
                match self.blob_record(name, digest, request.method).await {
                    Err(unknown @ Error::BlobUnknown(_)) if self.may(Right::Pull, name) => {
                        let Some(route) = self.route(name, request) else { return Err(unknown) };
                        cached = Some(Cached::Miss);
                        match self.blob_through(&route, &asked).await? {
                            Some(response) => return Ok(said(response, cached)),
                            None => continue,
                        }
                    }
                    record => record?,
                };
            if let Some(unmodified) = asked.unmodified()? {
                return Ok(said(unmodified, cached));
            }
            if request.method == Method::Head {
                return Ok(said(asked.whole(size), cached));
            }
            let selection = asked.selection(size);
            if selection == Selection::Unsatisfiable {
                return Err(Error::RangeUnsatisfiable(size));
            }
            // Deleted since, and garbage collection has run: then look again.
            let Some(source) = self.source(&extents).await? else { continue };
            let whole = source.pieces(0..size);
            let verify = (unverified || self.config.verify_reads) && selection == Selection::Whole;
            if let (true, [Piece::Bytes(bytes)]) = (verify, whole.as_slice()) {
                // It is in memory: nothing of it is sent before it is known to be sound (SPEC W12).
                if digest.algorithm().digest(bytes) != *digest {
                    self.suspect(digest).await?;
                    continue;
                }
                if unverified {
                    self.verified_here(digest, &extents).await?;
                }
            }
            let response = match selection {
                Selection::Whole | Selection::Unsatisfiable => stream(asked.whole(size), (digest, verify), whole, None),
                Selection::Ranges(ranges) => match ranges.as_slice() {
                    [range] => {
                        stream(asked.part(range, size), (digest, false), whole, Some(source.pieces(range.clone())))
                    }
                    ranges => {
                        let boundary = self.ambient.nonce.simple().to_string();
                        let pieces = multipart(ranges, size, &source, &boundary);
                        let length: u64 = pieces.iter().map(Piece::length).sum();
                        let content_type = format!("multipart/byteranges; boundary={boundary}");
                        stream(asked.response(206, content_type, length), (digest, false), whole, Some(pieces))
                    }
                },
            };
            return Ok(said(response, cached));
        }
        Err(Error::Contention)
    }

    /// Where the bytes of a blob of the repository are.
    async fn blob_record(&self, name: &Repository, digest: &Digest, method: Method) -> Result<BlobRecord, Error> {
        let mirrored = self.config.mirror_of(name).is_some();
        let pulled = mirrored.then(|| keys::pulled(name, digest));
        let keys = [keys::link(name, digest), keys::blob(digest)].into_iter().chain(pulled);
        let mut values = self.ask(Get { keys: keys.collect() }).await?.into_iter();
        let mut next = || values.next().flatten();
        let (link, blob, pulled): (Option<Value>, Option<Value>, Option<Value>) = (next(), next(), next());
        let unknown = Error::BlobUnknown(*digest);
        let link = link.filter(|_| self.may(Right::Pull, name)).ok_or(unknown.clone())?;
        if mirrored && method == Method::Get {
            self.note_pulled(name, digest, &link, pulled.as_ref());
        }
        // What is damaged is not there: then a client pushes it again, and a mirror fetches it (SPEC W3).
        sound_blob(digest, blob).map(|blob| blob.record).ok_or(unknown)
    }

    /// The objects of a blob, ready to be cut to pieces; `None` when bytes that lay among the records are gone.
    pub(super) async fn source<'e>(&self, extents: &'e [Extent]) -> Result<Option<Source<'e>>, Error> {
        let Some(small) = extents.first().filter(|extent| extent.small) else {
            return Ok(Some(Source { extents, first: None }));
        };
        let [bytes] = self.get([keys::bytes(&small.object)]).await?;
        Ok(bytes.map(|bytes| Source { extents, first: Some(bytes) }))
    }

    /// A blob whole in memory, if it has at most `limit` bytes; `None` when it is larger or its bytes are gone.
    pub(super) async fn load(&self, extents: &[Extent], limit: u64) -> Result<Option<Bytes>, Error> {
        let Some(Source { extents, first }) = self.source(extents).await? else { return Ok(None) };
        let objects = upload::objects(extents);
        match first {
            Some(first) if objects.is_empty() => Ok(Some(first)),
            Some(first) => {
                let limit = limit.saturating_sub(first.len() as u64);
                let rest = self.ask(Load { objects, limit }).await?;
                Ok(rest.map(|rest| [first.as_ref(), &rest].concat().into()))
            }
            None => self.ask(Load { objects, limit }).await,
        }
    }

    /// `DELETE`: takes the blob out of this repository and no other (SPEC D6), whether or not a manifest needs
    /// it (SPEC D5). The bytes go with garbage collection, once nobody holds them.
    pub(crate) async fn delete_blob(&self, name: &Repository, digest: &Digest) -> Result<Response, Error> {
        self.may_delete()?;
        let blob_key = keys::blob(digest);
        for _ in 0..ATTEMPTS {
            let [link, blob, marks] = self.get([keys::link(name, digest), blob_key.clone(), Marks::key()]).await?;
            if link.is_none() {
                return Err(Error::BlobUnknown(*digest));
            }
            // Of a record that does not read the size is not known: it is counted until a recount (SPEC W9).
            let blob = blob.and_then(|blob| record::decode::<BlobRecord>(&blob_key, &blob).ok());
            let size = blob.map_or(0, |blob| blob.size);
            let mut batch = Batch::reclaiming();
            let marks = Marks::read(marks)?;
            batch.expect(marks.unchanged());
            // What a protected tag may need stays as long as anything needs it (SPEC X22).
            let protected = self.caller.rights.protect_tags(name) || marks.speak_of(name);
            if protected {
                batch.expect(Expect::NoneUnder(keys::users(name, digest)));
            }
            take_blob(&mut batch, name, digest, size);
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                let accepted = Response::new(202).with("Docker-Content-Digest", digest.to_string());
                return Ok(accepted.with("Content-Length", "0"));
            }
            if protected && !self.is_empty(&keys::users(name, digest)).await? {
                return Err(Error::Denied("a manifest needs this blob, and some tags here may not be deleted".into()));
            }
        }
        Err(Error::Contention)
    }
}

/// Takes a blob of `size` bytes, which is in the repository, out of it.
pub(super) fn take_blob(batch: &mut Batch, name: &Repository, digest: &Digest, size: u64) {
    batch.expect(Expect::Present(keys::link(name, digest)));
    batch.take_usage(name, size);
    batch.delete(keys::link(name, digest));
    batch.delete(keys::holder(digest, name));
    batch.delete(keys::left(name, digest));
    batch.delete(keys::pulled(name, digest));
}

/// A blob that is asked for: what answers say of it.
pub(super) struct Asked<'a> {
    pub(super) digest: &'a Digest,
    pub(super) request: &'a Request,
}

impl Asked<'_> {
    /// The answer when the client has it already; an error when it wants another one.
    pub(super) fn unmodified(&self) -> Result<Option<Response>, Error> {
        match conditional::evaluate(&self.request.headers, Some(self.digest)) {
            Condition::Holds => Ok(None),
            Condition::NotModified => Ok(Some(self.identified(304))),
            Condition::Fails(reason) => Err(Error::Precondition(reason)),
        }
    }

    /// What of its `size` bytes is asked for.
    pub(super) fn selection(&self, size: u64) -> Selection {
        // RFC 9110, 14.2: Range is for GET alone; 13.1.5: If-Range makes it count only for these very bytes.
        let headers = &self.request.headers;
        let range = headers.get("range").filter(|_| conditional::range_applies(headers, self.digest));
        range.map_or(Selection::Whole, |range| range::select(range, size))
    }

    /// The answer with all of its bytes.
    pub(super) fn whole(&self, size: u64) -> Response {
        self.response(200, BLOB_TYPE, size)
    }

    /// The answer with these bytes.
    pub(super) fn part(&self, range: &Range<u64>, size: u64) -> Response {
        let response = self.response(206, BLOB_TYPE, range.end - range.start);
        response.with("Content-Range", content_range(range, size))
    }

    fn response(&self, status: u16, content_type: impl Into<Cow<'static, str>>, length: u64) -> Response {
        let response = self.identified(status).with("Content-Type", content_type);
        response.with("Content-Length", length.to_string())
    }

    fn identified(&self, status: u16) -> Response {
        let response = conditional::identified(status, self.digest);
        response.with("Cache-Control", FOR_EVER).with("Accept-Ranges", "bytes")
    }
}

/// The answer of a mirror with how it came about.
pub(super) fn said(response: Response, cached: Option<Cached>) -> Response {
    match cached {
        Some(cached) => response.with("X-Cache", cached.as_str()),
        None => response,
    }
}

/// The objects of a blob.
pub(super) struct Source<'e> {
    pub(super) extents: &'e [Extent],
    /// The bytes of the first, when they lay among the records.
    pub(super) first: Option<Bytes>,
}

impl Source<'_> {
    /// These bytes of the blob, within its size.
    fn pieces(&self, range: Range<u64>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut begin = 0;
        for (number, extent) in self.extents.iter().enumerate() {
            let here = begin..begin + extent.size;
            begin = here.end;
            let within = range.start.max(here.start)..range.end.min(here.end);
            if within.is_empty() {
                continue;
            }
            let within = within.start - here.start..within.end - here.start;
            pieces.push(match &self.first {
                // The bytes are as many as the extent says, and in memory; a damaged record gives fewer, not a panic.
                Some(bytes) if number == 0 => {
                    let end = bytes.len().min(within.end as usize);
                    Piece::Bytes(bytes.slice(end.min(within.start as usize)..end))
                }
                _ => Piece::Slice(extent.object, within),
            });
        }
        pieces
    }
}

/// The response with a body: a part of a blob, or all of it, which may be to be held against its digest.
fn stream(
    response: Response,
    (digest, verify): (&Digest, bool),
    blob: Vec<Piece>,
    part: Option<Vec<Piece>>,
) -> Response {
    let body = match part.as_ref().unwrap_or(&blob).as_slice() {
        [] => Body::Empty,
        [Piece::Bytes(bytes)] => Body::Bytes(bytes.clone()),
        _ => Body::Pieces(Pieces { digest: Some(*digest), blob, part, verify }),
    };
    Response { body, ..response }
}

fn content_range(range: &Range<u64>, size: u64) -> alloc::string::String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

/// The ranges as `multipart/byteranges` (RFC 9110, 14.6).
fn multipart(ranges: &[Range<u64>], size: u64, source: &Source<'_>, boundary: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(2 * ranges.len() + 1);
    for range in ranges {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {BLOB_TYPE}\r\nContent-Range: {}\r\n\r\n",
            content_range(range, size)
        );
        pieces.push(Piece::Bytes(head.into()));
        pieces.extend(source.pieces(range.clone()));
    }
    pieces.push(Piece::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    pieces
}
