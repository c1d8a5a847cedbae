//! Referrers of a mirror: those that are here, and those that the upstream has.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;

use super::Route;
use crate::config::{REFERRER_PAGES, SCAN_BYTES};
use crate::digest::Digest;
use crate::error::Error;
use crate::flows::Call;
use crate::http::Method;
use crate::manifest::Descriptor;
use crate::media::ManifestType;
use crate::mirror::Unmet;

/// An index, as far as it lists something.
#[derive(Deserialize)]
struct Listed {
    manifests: Vec<Descriptor>,
}

impl Call {
    /// What the upstream lists as referrers of a subject: by the API or, of a registry that has none, by the tag that
    /// takes its place (OCI distribution-spec, "Referrers Tag Schema"). Nothing when it cannot be asked, or when what it
    /// says is no index: what is here is answered all the same.
    pub(in crate::flows) async fn upstream_referrers(
        &self,
        route: &Route<'_>,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, Error> {
        let tag = format!("manifests/{}-{}", subject.algorithm().name(), subject.encoded());
        for resource in [format!("referrers/{subject}"), tag] {
            match self.listed(route, resource).await? {
                Ok(listed) => return Ok(listed),
                Err(unmet) if unmet.is_absence() => {}
                Err(_) => break,
            }
        }
        Ok(Vec::new())
    }

    /// The descriptors of an index, and of the pages that follow it.
    async fn listed(&self, route: &Route<'_>, first: String) -> Result<Result<Vec<Descriptor>, Unmet>, Error> {
        let (mut listed, mut resource) = (Vec::new(), Some(first));
        for _ in 0..REFERRER_PAGES {
            let Some(page) = resource else { break };
            let accept = [ManifestType::OciIndex.as_str()];
            let answer = match self.inquire(route, Method::Get, &page, &accept, SCAN_BYTES as u64).await? {
                Ok(answer) => answer,
                Err(unmet) => return Ok(Err(unmet)),
            };
            let index: Option<Listed> = serde_json::from_slice(&answer.body).ok();
            listed.extend(index.into_iter().flat_map(|index| index.manifests));
            resource = answer.next;
        }
        Ok(Ok(listed))
    }
}
