//! Referrers: which manifests have this one as their subject (OCI end-12; SPEC M).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Call;
use super::listing::link;
use crate::caller::Right;
use crate::config::SCAN_BYTES;
use crate::digest::Digest;
use crate::error::Error;
use crate::http::Response;
use crate::keys::{self, Key};
use crate::manifest::{Descriptor, Index};
use crate::media::ManifestType;
use crate::name::Repository;
use crate::record::{self, decode};
use crate::target::Query;

/// What an index has around its descriptors, in bytes, rounded up: a page as a whole is no larger than a manifest
/// may be (SPEC M7).
const ENVELOPE: usize = 128;

impl Call {
    /// An index of the referrers, empty when there are none or the subject or repository is not there (SPEC M1):
    /// a referrer may come before its subject. The same when the caller may not see them. Pages of 4 MiB at most (SPEC M7).
    pub(crate) async fn referrers(
        &self,
        name: &Repository,
        subject: &Digest,
        query: &Query,
    ) -> Result<Response, Error> {
        let prefix = keys::referrers(name, subject);
        let types: Vec<&str> = query.all("artifactType").filter(|artifact_type| !artifact_type.is_empty()).collect();
        let mut manifests = Vec::new();
        let mut size = ENVELOPE;
        let mut after = query.get("last").map(|last| prefix.at(last));
        let mut last: Option<String> = None;
        'pages: while self.may(Right::Pull, name) {
            let entries = self.scan(&prefix, after).await?;
            let Some((key, _)) = entries.last() else { break };
            after = Some(key.clone());
            for (key, value) in &entries {
                let descriptor: Descriptor = decode(key, value)?;
                let wanted = descriptor.artifact_type.as_deref().is_some_and(|given| types.contains(&given));
                if !types.is_empty() && !wanted {
                    continue;
                }
                // The comma that follows counts, too.
                size += value.len() + 1;
                if size > SCAN_BYTES && !manifests.is_empty() {
                    last = last_listed(&manifests);
                    break 'pages;
                }
                manifests.push(descriptor);
            }
        }
        let index = Index::new(ManifestType::OciIndex, manifests);
        let mut response = Response::new(200).with_bytes(ManifestType::OciIndex.as_str(), record::encode(&index));
        if !types.is_empty() {
            response = response.with("OCI-Filters-Applied", "artifactType");
        }
        if let Some(link) = link(&alloc::format!("/v2/{name}/referrers/{subject}"), query, last.as_ref()) {
            response = response.with("Link", link);
        }
        Ok(response)
    }
}

/// Where the next page goes on.
fn last_listed(manifests: &[Descriptor]) -> Option<String> {
    manifests.last().map(|descriptor| descriptor.digest.to_string())
}

/// The entry of one manifest under its subject.
pub(super) fn entry(name: &Repository, subject: &Digest, descriptor: &Descriptor) -> (Key, crate::effect::Value) {
    (keys::referrer(name, subject, &descriptor.digest), record::encode(descriptor))
}
