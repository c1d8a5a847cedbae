//! Images that a mirror does not fetch, because they are for other platforms than it is there for (SPEC V23).

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::Route;
use crate::config::PLATFORM_INDEXES;
use crate::digest::Digest;
use crate::effect::Scan;
use crate::error::Error;
use crate::flows::Call;
use crate::keys;
use crate::platform::left_out;

impl Call {
    /// The name of the platform of an image that is not to be fetched: every index of the repository that lists it says
    /// that it is for this platform, or for another one that the mirror is not there for.
    pub(super) async fn other_platform(&self, route: &Route<'_>, digest: &Digest) -> Result<Option<String>, Error> {
        if route.mirror.platforms.is_empty() {
            return Ok(None);
        }
        let prefix = keys::users(route.name, digest);
        let scan = Scan { prefix: prefix.clone(), after: None, limit: PLATFORM_INDEXES + 1, bytes: usize::MAX };
        let users = self.ask(scan).await?;
        if users.len() > PLATFORM_INDEXES {
            // One that is not read may list it for a platform that is wanted.
            return Ok(None);
        }
        let mut platform = None;
        for (key, _) in users {
            let Ok(index) = prefix.rest(&key).parse() else { continue };
            let Some(mut others) = self.other_platforms(route, &index).await? else { continue };
            match others.remove(digest) {
                Some(other) => platform = Some(other),
                None => return Ok(None),
            }
        }
        Ok(platform)
    }

    /// What an index of the repository lists for platforms that the mirror is not there for, and which; `None` when the
    /// repository does not have it.
    pub(super) async fn other_platforms(
        &self,
        route: &Route<'_>,
        index: &Digest,
    ) -> Result<Option<BTreeMap<Digest, String>>, Error> {
        if route.mirror.platforms.is_empty() {
            return Ok(Some(BTreeMap::new()));
        }
        let [payload] = self.get([keys::payload(route.name, index)]).await?;
        Ok(payload.map(|payload| left_out(&payload, &route.mirror.platforms)))
    }
}
