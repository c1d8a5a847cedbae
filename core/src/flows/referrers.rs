//! Referrers: which manifests have this one as their subject (OCI end-12; SPEC M).

use alloc::string::ToString;
use alloc::vec::Vec;

use super::Call;
use super::listing::link;
use super::mirror::Others;
use crate::caller::Right;
use crate::config::SCAN_BYTES;
use crate::digest::Digest;
use crate::error::Error;
use crate::http::{Method, Request, Response};
use crate::keys::{self, Key, Prefix};
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
        request: &Request,
        query: &Query,
    ) -> Result<Response, Error> {
        let prefix = keys::referrers(name, subject);
        let types: Vec<&str> = query.all("artifactType").filter(|artifact_type| !artifact_type.is_empty()).collect();
        let mut page = Page { types: &types, manifests: Vec::new(), size: ENVELOPE, more: false };
        let after = query.get("last").map(|last| prefix.at(last));
        let seen = self.may(Right::Pull, name) && self.may_see(name, request, subject).await?;
        // What only the upstream of a mirror has.
        let mut others = Others::default();
        if let Some(route) = self.route(name, request).filter(|_| seen) {
            let follows = |digest: &Digest| query.get("last").is_none_or(|last| digest.to_string().as_str() > last);
            let wanted = |descriptor: &Descriptor| page.wants(descriptor) && follows(&descriptor.digest);
            others = self.upstream_referrers(&route, subject, wanted).await?;
        }
        if seen {
            self.fill(&mut page, &prefix, after, others).await?;
        }
        let Page { manifests, more, .. } = page;
        let last = manifests.last().filter(|_| more).map(|descriptor| descriptor.digest.to_string());
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

impl Call {
    /// Fills a page with what is here behind a key and what only others have, in the order of digests.
    async fn fill(
        &self,
        page: &mut Page<'_>,
        prefix: &Prefix,
        mut after: Option<Key>,
        others: Others,
    ) -> Result<(), Error> {
        let Others { first: mut others, beyond, .. } = others;
        loop {
            let entries = self.scan(prefix, after).await?;
            let Some((key, _)) = entries.last() else { break };
            after = Some(key.clone());
            for (key, value) in &entries {
                let digest = prefix.rest(key);
                others.remove(digest);
                while let Some(first) = others.first_entry().filter(|first| first.key().as_str() < digest) {
                    if !page.add(first.remove()) {
                        return Ok(());
                    }
                }
                // Between this one and the last may be others that were left out.
                if beyond.as_ref().is_some_and(|beyond| digest >= beyond.as_str()) {
                    page.more = true;
                    return Ok(());
                }
                // One that does not read is left out: the check names it.
                if decode(key, value).is_ok_and(|descriptor| !page.add(descriptor)) {
                    return Ok(());
                }
            }
        }
        page.more |= !others.into_values().all(|descriptor| page.add(descriptor)) || beyond.is_some();
        Ok(())
    }

    /// Whether the upstream, where it is to say so, gives the subject to the caller.
    async fn may_see(&self, name: &Repository, request: &Request, subject: &Digest) -> Result<bool, Error> {
        let resource = alloc::format!("manifests/{subject}");
        let unknown = || Error::ManifestUnknown(subject.to_string());
        match self.vouch(name, request, (Method::Head, &resource), unknown).await {
            Err(Error::ManifestUnknown(_)) => Ok(false),
            vouched => vouched.map(|()| true),
        }
    }
}

/// A page in the making.
struct Page<'t> {
    /// The artifact types that are wanted; none is all.
    types: &'t [&'t str],
    manifests: Vec<Descriptor>,
    /// How many bytes it has.
    size: usize,
    /// Whether something has found no room.
    more: bool,
}

impl Page<'_> {
    /// Whether it is of one of the types.
    fn wants(&self, descriptor: &Descriptor) -> bool {
        let given = descriptor.artifact_type.as_deref();
        self.types.is_empty() || given.is_some_and(|given| self.types.contains(&given))
    }

    /// Adds a descriptor, if it is wanted. `false` when the page is full.
    fn add(&mut self, descriptor: Descriptor) -> bool {
        if self.wants(&descriptor) {
            // The comma that follows counts, too.
            self.size += record::encode(&descriptor).len() + 1;
            self.more |= self.size > SCAN_BYTES && !self.manifests.is_empty();
            if !self.more {
                self.manifests.push(descriptor);
            }
        }
        !self.more
    }
}

/// The entry of one manifest under its subject.
pub(super) fn entry(name: &Repository, subject: &Digest, descriptor: &Descriptor) -> (Key, crate::effect::Value) {
    (keys::referrer(name, subject, &descriptor.digest), record::encode(descriptor))
}
