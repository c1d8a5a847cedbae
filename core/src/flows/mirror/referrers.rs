//! Referrers of a mirror: those that are here, and those that the upstream has.

use alloc::format;
use alloc::vec::Vec;

use serde::Deserialize;

use super::Route;
use crate::digest::Digest;
use crate::error::Error;
use crate::flows::Call;
use crate::http::Method;
use crate::manifest::Descriptor;
use crate::media::ManifestType;

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
            let accept = [ManifestType::OciIndex.as_str()];
            match self.inquire(route, Method::Get, &resource, &accept, self.config.manifest_limit).await? {
                Ok(answer) => {
                    let listed: Option<Listed> = serde_json::from_slice(&answer.body).ok();
                    return Ok(listed.map_or_else(Vec::new, |listed| listed.manifests));
                }
                Err(unmet) if unmet.is_absence() => {}
                Err(_) => break,
            }
        }
        Ok(Vec::new())
    }
}
