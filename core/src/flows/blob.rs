//! Blobs: download and delete (OCI end-2, end-10; SPEC C, D).

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::{Batch, Call};
use crate::caller::Right;
use crate::conditional::{self, Condition};
use crate::digest::Digest;
use crate::effect::{Committed, ContentId, Durability, Expect, Fault};
use crate::error::Error;
use crate::http::{Body, Method, Piece, Request, Response};
use crate::keys;
use crate::name::Repository;
use crate::range::{self, Selection};
use crate::record::{self, BlobRecord};

/// Blobs never change: whoever has one may keep it (SPEC A7).
const FOR_EVER: &str = "max-age=31536000, immutable";

const BLOB_TYPE: &str = "application/octet-stream";

impl Call {
    /// `GET` and `HEAD`: the bytes, or some of them. A repository shows only what was pushed or mounted into
    /// it (SPEC C4).
    pub(crate) async fn blob(&self, name: &Repository, digest: &Digest, request: &Request) -> Result<Response, Error> {
        let blob_key = keys::blob(digest);
        let [link, blob] = self.get([keys::link(name, digest), blob_key.clone()]).await?;
        if link.is_none() || !self.may(Right::Pull, name) {
            return Err(Error::BlobUnknown(*digest));
        }
        let blob = blob.ok_or_else(|| Fault::Failed(format!("{name} links {digest}, which has no record")))?;
        let BlobRecord { size, content } = record::decode(&blob_key, &blob)?;
        let content = ContentId { digest: *digest, nonce: content };

        let response = |status| {
            Response::new(status)
                .with("Docker-Content-Digest", digest.to_string())
                .with("ETag", conditional::etag(digest))
                .with("Cache-Control", FOR_EVER)
                .with("Accept-Ranges", "bytes")
        };
        match conditional::evaluate(&request.headers, Some(digest)) {
            Condition::Holds => {}
            Condition::NotModified => return Ok(response(304)),
            Condition::Fails(reason) => return Err(Error::Precondition(reason)),
        }
        let whole = || response(200).with("Content-Type", BLOB_TYPE).with("Content-Length", size.to_string());
        // RFC 9110, 14.2: Range is for GET alone; 13.1.5: If-Range makes it count only for these very bytes.
        let range = request.headers.get("range").filter(|_| conditional::range_applies(&request.headers, digest));
        let selection = range.map_or(Selection::Whole, |range| range::select(range, size));
        match selection {
            _ if request.method == Method::Head => Ok(whole()),
            Selection::Whole => Ok(stream(whole(), content, vec![Piece::Slice(0..size)])),
            Selection::Unsatisfiable => Err(Error::RangeUnsatisfiable(size)),
            Selection::Ranges(ranges) => match ranges.as_slice() {
                [range] => {
                    let response = response(206)
                        .with("Content-Type", BLOB_TYPE)
                        .with("Content-Range", content_range(range, size))
                        .with("Content-Length", (range.end - range.start).to_string());
                    Ok(stream(response, content, vec![Piece::Slice(range.clone())]))
                }
                ranges => {
                    let boundary = self.ambient.nonce.simple().to_string();
                    let pieces = multipart(ranges, size, &boundary);
                    let length: u64 = pieces.iter().map(length).sum();
                    let response = response(206)
                        .with("Content-Type", format!("multipart/byteranges; boundary={boundary}"))
                        .with("Content-Length", length.to_string());
                    Ok(stream(response, content, pieces))
                }
            },
        }
    }

    /// `DELETE`: takes the blob out of this repository and no other (SPEC D6), whether or not a manifest needs
    /// it (SPEC D5). The bytes go with the sweep, once nobody holds them.
    pub(crate) async fn delete_blob(&self, name: &Repository, digest: &Digest) -> Result<Response, Error> {
        self.may_delete()?;
        let mut batch = Batch::default();
        // What a protected tag may need stays as long as anything needs it.
        let protected = self.caller.rights.protect_tags(name);
        if protected {
            batch.expect(Expect::NoneUnder(keys::users(name, digest)));
        }
        batch.expect(Expect::Present(keys::link(name, digest)));
        take_blob(&mut batch, name, digest);
        match self.commit(batch, Durability::Durable).await? {
            Committed::Done => {
                Ok(Response::new(202).with("Docker-Content-Digest", digest.to_string()).with("Content-Length", "0"))
            }
            Committed::Conflict if protected && !self.is_empty(&keys::users(name, digest)).await? => {
                Err(Error::Denied("a manifest needs this blob, and some tags here may not be deleted".into()))
            }
            Committed::Conflict => Err(Error::BlobUnknown(*digest)),
        }
    }
}

/// Takes a blob out of a repository.
pub(super) fn take_blob(batch: &mut Batch, name: &Repository, digest: &Digest) {
    batch.delete(keys::link(name, digest));
    batch.delete(keys::holder(digest, name));
    batch.delete(keys::left(name, digest));
}

fn stream(response: Response, content: ContentId, pieces: Vec<Piece>) -> Response {
    Response { body: Body::Content { content, pieces }, ..response }
}

fn content_range(range: &Range<u64>, size: u64) -> alloc::string::String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

/// The ranges as `multipart/byteranges` (RFC 9110, 14.6).
fn multipart(ranges: &[Range<u64>], size: u64, boundary: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(2 * ranges.len() + 1);
    for range in ranges {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {BLOB_TYPE}\r\nContent-Range: {}\r\n\r\n",
            content_range(range, size)
        );
        pieces.push(Piece::Bytes(head.into()));
        pieces.push(Piece::Slice(range.clone()));
    }
    pieces.push(Piece::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    pieces
}

fn length(piece: &Piece) -> u64 {
    match piece {
        Piece::Bytes(bytes) => bytes.len() as u64,
        Piece::Slice(range) => range.end - range.start,
    }
}
