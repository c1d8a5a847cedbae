//! What each repository takes: a report for whoever wants to know where the space is.
//!
//! All records of a family are read once, in their order, by pages; nothing is held up by it. What is pushed meanwhile may
//! be in it or not.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ambient::Timestamp;
use crate::config::Quota;
use crate::digest::Digest;
use crate::effect::Get;
use crate::error::Error;
use crate::flows::Call;
use crate::flows::pages::Pages;
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::record::{self, BlobRecord, DeletedRecord, ManifestRecord, PulledRecord, TagRecord};

/// What repositories take. In memory it has some two hundred bytes for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Each, in the order of their names.
    pub repositories: Vec<RepositoryUsage>,
    /// Each quota of the settings, in their order.
    pub quotas: Vec<QuotaUsage>,
}

/// What one repository takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryUsage {
    /// Its name.
    pub repository: String,
    /// The bytes of its blobs, manifests and open uploads, as they are counted for quotas: a blob that other repositories
    /// have as well counts in each.
    pub bytes: u64,
    /// The bytes of its blobs that no other repository holds, and of its manifests, also of those that can be undeleted: what
    /// is freed when it is deleted for good.
    pub unshared: u64,
    /// Its tags.
    pub tags: u64,
    /// Its manifests.
    pub manifests: u64,
    /// Its blobs.
    pub blobs: u64,
    /// When a manifest was last pushed to it, or a tag.
    pub last_push: Option<Timestamp>,
    /// When something was last pulled from it, to the hour, as far as that is noted.
    pub last_pull: Option<Timestamp>,
    /// How often clients got a manifest from it, as far as that is counted: of the manifests that are still there.
    pub pulls: u64,
    /// The name of the quota that it is closest to, be it for it alone or for several together.
    pub quota: Option<String>,
    /// How much of that is used, in parts of a hundred.
    pub used_percent: Option<u64>,
}

/// How full a quota is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaUsage {
    /// Its name, or its patterns when it has none.
    pub quota: String,
    /// Whether it is for all its repositories together.
    pub together: bool,
    /// How many repositories it speaks of.
    pub repositories: u64,
    /// The bytes of all of them together; of a quota for each by itself, of the one that has most.
    pub bytes: u64,
    /// Which repository that is.
    pub fullest: Option<String>,
    /// From how many on there is a warning.
    pub soft: Option<u64>,
    /// How many there may be.
    pub limit: Option<u64>,
}

impl QuotaUsage {
    /// How much of a limit is used, in parts of a hundred: of the one that refuses or, without it, of the soft one.
    pub fn used_percent(&self) -> u64 {
        percent(self.bytes, self.limit.or(self.soft).unwrap_or(u64::MAX))
    }
}

fn percent(bytes: u64, limit: u64) -> u64 {
    // Of nothing all is used.
    if limit == 0 {
        return 100;
    }
    let percent = u128::from(bytes) * 100 / u128::from(limit);
    u64::try_from(percent).unwrap_or(u64::MAX)
}

fn limit(bytes: u64) -> Option<u64> {
    Some(bytes).filter(|bytes| *bytes < u64::MAX)
}

/// Rows under the names of repositories.
#[derive(Default)]
struct Rows(BTreeMap<String, RepositoryUsage>);

impl Rows {
    fn of(&mut self, name: &str) -> &mut RepositoryUsage {
        if !self.0.contains_key(name) {
            self.0.insert(name.into(), RepositoryUsage { repository: name.into(), ..RepositoryUsage::default() });
        }
        self.0.entry(name.into()).or_default()
    }
}

impl Call {
    /// What each repository takes, and how full each quota is.
    pub(crate) async fn usage(&self) -> Result<Usage, Error> {
        let mut rows = Rows::default();
        self.count_repositories(&mut rows).await?;
        self.count_tags(&mut rows).await?;
        self.count_manifests(&mut rows).await?;
        self.count_deleted(&mut rows).await?;
        self.count_pulls(&mut rows).await?;
        self.count_blobs(&mut rows).await?;
        let mut repositories: Vec<RepositoryUsage> = rows.0.into_values().collect();
        let quotas = self.quota_usage(&mut repositories);
        Ok(Usage { repositories, quotas })
    }

    /// How full each quota is, without what only a whole report knows.
    pub(crate) async fn quotas(&self) -> Result<Vec<QuotaUsage>, Error> {
        if self.config.quotas.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows = Rows::default();
        self.count_repositories(&mut rows).await?;
        let mut repositories: Vec<RepositoryUsage> = rows.0.into_values().collect();
        Ok(self.quota_usage(&mut repositories))
    }

    async fn count_repositories(&self, rows: &mut Rows) -> Result<(), Error> {
        let (repositories, usages) = (keys::repositories(), keys::usages());
        let mut pages = Pages::new(&repositories);
        while let Some(page) = pages.next(self).await? {
            for (key, _) in &page {
                rows.of(repositories.rest(key));
            }
        }
        let mut pages = Pages::new(&usages);
        while let Some(page) = pages.next(self).await? {
            page.iter().for_each(|(key, value)| rows.of(usages.rest(key)).bytes = record::count(Some(value)));
        }
        Ok(())
    }

    async fn count_tags(&self, rows: &mut Rows) -> Result<(), Error> {
        let prefix = keys::all_tags();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Some((name, _)) = prefix.rest(&key).split_once(':') else { continue };
                let row = rows.of(name);
                row.tags += 1;
                // Of one that does not read, the time is not known.
                let pushed = record::decode::<TagRecord>(&key, &value).ok().map(|tag| tag.pushed);
                row.last_push = row.last_push.max(pushed);
            }
        }
        Ok(())
    }

    async fn count_manifests(&self, rows: &mut Rows) -> Result<(), Error> {
        let prefix = keys::all_manifests();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Some((name, _)) = prefix.rest(&key).split_once('@') else { continue };
                let row = rows.of(name);
                row.manifests += 1;
                let Ok(manifest) = record::decode::<ManifestRecord>(&key, &value) else { continue };
                row.unshared = row.unshared.saturating_add(manifest.size);
                // A list that the registry makes itself, also for what is imported or deleted, is no push.
                let pushed = (!manifest.maintained).then_some(manifest.pushed);
                row.last_push = row.last_push.max(pushed);
            }
        }
        Ok(())
    }

    async fn count_deleted(&self, rows: &mut Rows) -> Result<(), Error> {
        let prefix = keys::all_deleted();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Some((name, _)) = prefix.rest(&key).split_once('@') else { continue };
                let Ok(deleted) = record::decode::<DeletedRecord>(&key, &value) else { continue };
                let row = rows.of(name);
                row.unshared = row.unshared.saturating_add(deleted.manifest.size);
            }
        }
        Ok(())
    }

    async fn count_pulls(&self, rows: &mut Rows) -> Result<(), Error> {
        let [blobs, manifests, by_tag] = keys::all_pulls();
        for prefix in [blobs, manifests, by_tag.clone()] {
            let mut pages = Pages::new(&prefix);
            while let Some(page) = pages.next(self).await? {
                for (key, value) in page {
                    let Some((name, _)) = prefix.rest(&key).split_once(['@', ':']) else { continue };
                    let Ok(pulled) = record::decode::<PulledRecord>(&key, &value) else { continue };
                    let row = rows.of(name);
                    row.last_pull = row.last_pull.max(Some(pulled.pulled));
                    // A tag is asked for, a manifest is got.
                    if prefix != by_tag {
                        row.pulls = row.pulls.saturating_add(pulled.times);
                    }
                }
            }
        }
        Ok(())
    }

    /// Goes through who holds which blob: all holders of one stand together.
    async fn count_blobs(&self, rows: &mut Rows) -> Result<(), Error> {
        let prefix = keys::all_holders();
        let mut pages = Pages::new(&prefix);
        // The blob that is looked at, and who alone holds it as far as is known.
        let (mut blob, mut alone) = (String::new(), None::<String>);
        let mut unshared: Vec<(Digest, String)> = Vec::new();
        while let Some(page) = pages.next(self).await? {
            for (key, _) in &page {
                let Some((digest, name)) = prefix.rest(key).split_once('/') else { continue };
                rows.of(name).blobs += 1;
                if digest == blob {
                    alone = None;
                    continue;
                }
                unshared.extend(alone.take().and_then(|name| Some((blob.parse().ok()?, name))));
                blob.clear();
                blob.push_str(digest);
                alone = Some(name.into());
            }
            self.count_unshared(rows, core::mem::take(&mut unshared)).await?;
        }
        unshared.extend(alone.and_then(|name| Some((blob.parse().ok()?, name))));
        self.count_unshared(rows, unshared).await
    }

    async fn count_unshared(&self, rows: &mut Rows, unshared: Vec<(Digest, String)>) -> Result<(), Error> {
        if unshared.is_empty() {
            return Ok(());
        }
        let blobs: Vec<Key> = unshared.iter().map(|(digest, _)| keys::blob(digest)).collect();
        let found = self.ask(Get { keys: blobs.clone() }).await?;
        for ((key, value), (_, name)) in blobs.iter().zip(found).zip(&unshared) {
            let Some(blob) = value.and_then(|value| record::decode::<BlobRecord>(key, &value).ok()) else { continue };
            let row = rows.of(name);
            row.unshared = row.unshared.saturating_add(blob.size);
        }
        Ok(())
    }

    /// How full each quota is, and for each repository which it is closest to.
    fn quota_usage(&self, rows: &mut [RepositoryUsage]) -> Vec<QuotaUsage> {
        let speaks_of = |quota: &Quota, row: &RepositoryUsage| {
            let name = row.repository.parse::<Repository>();
            name.is_ok_and(|name| quota.speaks_of(&name) && self.config.mirror_of(&name).is_none())
        };
        let mut usages = Vec::new();
        for quota in &self.config.quotas {
            let its = || rows.iter().filter(|row| speaks_of(quota, row));
            let (repositories, sum) =
                its().fold((0, 0_u64), |(number, sum), row| (number + 1, sum.saturating_add(row.bytes)));
            let fullest = its().max_by_key(|row| row.bytes).filter(|_| !quota.together);
            let usage = QuotaUsage {
                quota: quota.title(),
                together: quota.together,
                repositories,
                bytes: if quota.together { sum } else { fullest.map_or(0, |row| row.bytes) },
                fullest: fullest.map(|row| row.repository.clone()),
                soft: limit(quota.soft),
                limit: limit(quota.bytes),
            };
            for row in rows.iter_mut().filter(|row| speaks_of(quota, row)) {
                let used = match quota.together {
                    true => usage.used_percent(),
                    false => QuotaUsage { bytes: row.bytes, ..usage.clone() }.used_percent(),
                };
                if row.used_percent.is_none_or(|percent| percent < used) {
                    (row.quota, row.used_percent) = (Some(usage.quota.clone()), Some(used));
                }
            }
            usages.push(usage);
        }
        usages
    }
}
