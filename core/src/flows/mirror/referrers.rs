//! Referrers of a mirror: those that are here, and those that the upstream has.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Route;
use crate::config::{REFERRER_PAGES, SCAN_BYTES};
use crate::digest::Digest;
use crate::error::Error;
use crate::flows::Call;
use crate::http::Method;
use crate::manifest::Descriptor;
use crate::media::ManifestType;
use crate::mirror::{Answer, Unmet};
use crate::record;

/// An index, as far as it lists something.
#[derive(Deserialize)]
struct Listed {
    manifests: Vec<Entry>,
}

/// One that is listed.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Known(Box<Descriptor>),
    /// What this registry could not list, such as one with a digest of another algorithm. It leaves the others as they are.
    Other(IgnoredAny),
}

impl Listed {
    fn read(answer: &Answer) -> Option<Self> {
        serde_json::from_slice(&answer.body).ok()
    }

    fn descriptors(self) -> impl Iterator<Item = Descriptor> {
        self.manifests.into_iter().filter_map(|entry| match entry {
            Entry::Known(descriptor) => Some(*descriptor),
            Entry::Other(_) => None,
        })
    }
}

/// What an upstream lists, in the order of digests, as records are: as many of the first as one page can have. However much
/// it lists, no more is in memory.
#[derive(Default)]
pub(in crate::flows) struct Others {
    pub(in crate::flows) first: BTreeMap<String, Descriptor>,
    /// The digest of the first that is left out.
    pub(in crate::flows) beyond: Option<String>,
    /// How many bytes the descriptors have.
    size: usize,
}

impl Others {
    fn add(&mut self, descriptor: Descriptor) {
        let digest = descriptor.digest.to_string();
        if self.beyond.as_ref().is_some_and(|beyond| digest >= *beyond) {
            return;
        }
        self.size += record::encode(&descriptor).len();
        if let Some(twice) = self.first.insert(digest, descriptor) {
            self.size -= record::encode(&twice).len();
        }
        while self.size > SCAN_BYTES && self.first.len() > 1 {
            let Some((digest, descriptor)) = self.first.pop_last() else { break };
            self.size -= record::encode(&descriptor).len();
            self.beyond = Some(digest);
        }
    }
}

impl Call {
    /// What the upstream lists as referrers of a subject, as far as it is `wanted`: by the API or, of a registry that has
    /// none, by the tag that takes its place (OCI distribution-spec, "Referrers Tag Schema"). Nothing when it cannot be
    /// asked, or when what it says is no index: what is here is answered all the same.
    pub(in crate::flows) async fn upstream_referrers(
        &self,
        route: &Route<'_>,
        subject: &Digest,
        wanted: impl Fn(&Descriptor) -> bool,
    ) -> Result<Others, Error> {
        let tag = format!("manifests/{}-{}", subject.algorithm().name(), subject.encoded());
        for resource in [format!("referrers/{subject}"), tag] {
            match self.listed(route, resource, &wanted).await? {
                Ok(listed) => return Ok(listed),
                Err(unmet) if unmet.is_absence() => {}
                Err(_) => break,
            }
        }
        Ok(Others::default())
    }

    /// The descriptors of an index, and of the pages that follow it.
    async fn listed(
        &self,
        route: &Route<'_>,
        first: String,
        wanted: &impl Fn(&Descriptor) -> bool,
    ) -> Result<Result<Others, Unmet>, Error> {
        let accept = [ManifestType::OciIndex.as_str()];
        let limit = SCAN_BYTES as u64;
        let (teller, mut answer) = match self.inquire_any(route, Method::Get, &first, &accept, limit).await? {
            Ok(answered) => answered,
            Err(unmet) => return Ok(Err(unmet)),
        };
        let name = route.name;
        let Some(mut listed) = Listed::read(&answer) else { return Ok(Ok(Others::default())) };
        let mut others = Others::default();
        for _ in 0..REFERRER_PAGES {
            listed.descriptors().filter(wanted).for_each(|found| others.add(found));
            let Some(page) = answer.next else { return Ok(Ok(others)) };
            answer = self.next_page(route, &teller, &page, &accept, limit).await?;
            let unreadable =
                || Error::UpstreamFailed(format!("the upstream of {name} lists referrers that do not read"));
            listed = Listed::read(&answer).ok_or_else(unreadable)?;
        }
        // A part of them would be taken for all.
        Err(Error::UpstreamFailed(format!(
            "the upstream of {name} lists referrers on more than {REFERRER_PAGES} pages"
        )))
    }
}
