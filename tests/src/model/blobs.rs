//! Blobs (SPEC C, D).

use orlop_core::Method;

use super::ranges::{Condition, condition, ranges};
use super::{Model, Refusals, Says};
use crate::system::Call;

impl Model {
    pub(super) fn pull_blob(&self, call: &Call, name: &str, digest: &str) -> Result<Says, Refusals> {
        // SPEC C4: what another repository has is not here.
        let blob = self.repositories.get(name).and_then(|repository| repository.blobs.get(digest));
        let bytes = &blob.ok_or_else(|| vec![Says::refusal(404, "BLOB_UNKNOWN")])?.bytes;
        let size = bytes.len();
        let etag = format!("\"{digest}\"");
        let says = |status| {
            let says = Says::new(status).with("Docker-Content-Digest", digest).with("ETag", &etag);
            says.with("Accept-Ranges", "bytes")
        };
        let headers = &call.request.headers;
        match condition(headers, Some(digest)) {
            Condition::Holds => {}
            Condition::Known => return Ok(says(304)),
            Condition::Fails => return Err(vec![Says::refusal(412, "DENIED")]),
        }
        const TYPE: &str = "application/octet-stream";
        let whole = says(200).bytes(TYPE, bytes.clone());
        // SPEC C11.
        let current = headers.get("If-Range").is_none_or(|validator| validator == etag);
        let Some(field) = headers.get("Range").filter(|_| current && call.request.method == Method::Get) else {
            return Ok(whole);
        };
        match ranges(field, size) {
            Ok(None) => Ok(whole),
            Err(()) => Err(vec![Says::refusal(416, "RANGE_INVALID").with("Content-Range", format!("bytes */{size}"))]),
            Ok(Some(ranges)) => match ranges.as_slice() {
                [range] => {
                    let place = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                    Ok(says(206).bytes(TYPE, bytes.slice(range.clone())).with("Content-Range", place))
                }
                _ => Ok(says(206).parts(ranges, bytes.clone())),
            },
        }
    }

    pub(super) fn delete_blob(&mut self, name: &str, digest: &str) -> Result<Says, Refusals> {
        self.may_delete()?;
        // SPEC X22.
        let repository = self.repositories.get(name).filter(|repository| repository.blobs.contains_key(digest));
        if self.protects_in(name) && repository.is_some_and(|repository| repository.needed().contains(digest)) {
            return Err(vec![Says::refusal(403, "DENIED")]);
        }
        // SPEC D5, D6: here and nowhere else, whether or not a manifest needs it.
        let removed = self.repositories.get_mut(name).and_then(|repository| repository.blobs.remove(digest));
        removed.ok_or_else(|| vec![Says::refusal(404, "BLOB_UNKNOWN")])?;
        Ok(Says::new(202).with("Docker-Content-Digest", digest))
    }

    /// SPEC D4, L2, L5.
    pub(super) fn may_delete(&self) -> Result<(), Refusals> {
        if self.config.allow_delete { Ok(()) } else { Err(vec![Says::refusal(405, "UNSUPPORTED")]) }
    }
}
