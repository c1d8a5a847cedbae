//! What is read of a repository before it is judged.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::ambient::Timestamp;
use crate::config::RETENTION_MOST;
use crate::digest::Digest;
use crate::effect::{Fault, Value};
use crate::error::Error;
use crate::flows::Call;
use crate::flows::batch::Found;
use crate::flows::delete::StoredManifest;
use crate::flows::pages::Pages;
use crate::flows::protect::Marks;
use crate::keys::{self, Key, Prefix};
use crate::name::{Repository, Tag};
use crate::record::{self, LeftRecord, PulledRecord, PullsSinceRecord, TagRecord};
use crate::retention::{Seen, SeenManifest, SeenTag};

/// What was read of a repository, and the bytes by which it is known again.
pub(super) struct Inventory {
    pub(super) seen: Seen,
    /// How each tag was read, in the same order.
    pub(super) tags: Vec<ReadTag>,
    /// How each manifest was read, in the same order; none when no rule asks for what no tag needs.
    pub(super) manifests: Vec<ReadManifest>,
    /// The tags whose records do not read.
    pub(super) unreadable_tags: Vec<String>,
}

pub(super) struct ReadTag {
    pub(super) value: Value,
    /// When it was pulled by its name, and by its digest.
    pub(super) pulls: [Option<Value>; 2],
}

pub(super) struct ReadManifest {
    pub(super) found: StoredManifest,
    /// When it was pulled.
    pub(super) pulled: Option<Value>,
}

impl Call {
    /// Reads what the rules ask of a repository.
    pub(super) async fn inventory(&self, name: &Repository) -> Result<Inventory, Error> {
        let [since] = self.get([keys::pulls_since()]).await?;
        let marks = self.marks().await?;
        let since = since.and_then(|since| record::decode::<PullsSinceRecord>(&keys::pulls_since(), &since).ok());
        let pulls_since = since.map(|since| since.since);
        let undelete_within = self.config.undelete_within.unwrap_or_default();
        let seen = Seen { pulls_since, undelete_within, ..Seen::default() };
        let mut inventory = Inventory { seen, tags: Vec::new(), manifests: Vec::new(), unreadable_tags: Vec::new() };
        let by_tag = self.values_under::<Tag>(&keys::pulled_tags(name)).await?;
        let by_digest = self.values_under::<Digest>(&keys::pulled_manifests(name)).await?;
        let prefix = keys::tags(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Ok(tag) = prefix.rest(&key).parse::<Tag>() else { continue };
                let Ok(Some(found)) = Found::<TagRecord>::read(key, Some(value)) else {
                    inventory.seen.unreadable += 1;
                    inventory.unreadable_tags.push(tag.as_str().into());
                    continue;
                };
                let digest = found.record.digest;
                let pulls = [by_tag.get(&tag).cloned(), by_digest.get(&digest).cloned()];
                let pulled = [
                    pulled(keys::pulled_tag(name, &tag), &pulls[0]),
                    pulled(keys::pulled_manifest(name, &digest), &pulls[1]),
                ];
                let pulled = pulled.into_iter().max().flatten();
                let TagRecord { pushed, imported, undeleted, .. } = found.record;
                let protected = denied(marks.tag(name, &tag))?;
                inventory.seen.tags.push(SeenTag { tag, digest, pushed, imported, pulled, undeleted, protected });
                inventory.tags.push(ReadTag { value: found.value, pulls });
            }
            bounded(name, "tags", inventory.tags.len())?;
        }
        if self.rules_of(name).iter().any(|rule| rule.is_about(name) && rule.untagged_after.is_some()) {
            self.look_at_manifests(name, &by_digest, &marks, &mut inventory).await?;
        }
        Ok(inventory)
    }

    async fn look_at_manifests(
        &self,
        name: &Repository,
        by_digest: &BTreeMap<Digest, Value>,
        marks: &Marks,
        inventory: &mut Inventory,
    ) -> Result<(), Error> {
        let lefts = self.values_under::<Digest>(&keys::lefts(name)).await?;
        let prefix = keys::manifests(name);
        let mut manifests: BTreeMap<Digest, (StoredManifest, SeenManifest)> = BTreeMap::new();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                let Ok(Some(found)) = StoredManifest::read(key, Some(value)) else {
                    inventory.seen.unreadable += 1;
                    continue;
                };
                let left =
                    lefts.get(&digest).map(|left| record::decode::<LeftRecord>(&keys::left(name, &digest), left));
                let left = match left {
                    Some(Ok(record)) => record.left,
                    Some(Err(_)) => {
                        inventory.seen.unreadable += 1;
                        self.ambient.now
                    }
                    None => Timestamp::default(),
                };
                let seen = SeenManifest {
                    digest,
                    subject: found.record.subject,
                    since: left.max(found.record.came()),
                    pulled: pulled(keys::pulled_manifest(name, &digest), &by_digest.get(&digest).cloned()),
                    tagged: false,
                    needed_by: Vec::new(),
                    maintained: found.record.maintained,
                    protected: denied(marks.manifest(name, &digest))?,
                };
                manifests.insert(digest, (found, seen));
            }
            bounded(name, "manifests", manifests.len())?;
        }
        let mut named = self.named_under(&keys::all_tagged(name)).await?;
        // A tag that comes back is to find what it named.
        named.extend(self.named_under(&keys::all_deleted_tagged(name)).await?);
        for digest in named {
            if let Some((_, seen)) = manifests.get_mut(&digest) {
                seen.tagged = true;
            }
        }
        // Blobs are needed as well, and are no matter here.
        let prefix = keys::uses(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, _) in page {
                let Some((needed, by)) = prefix.rest(&key).split_once('/') else { continue };
                let (Ok(needed), Ok(by)) = (needed.parse::<Digest>(), by.parse::<Digest>()) else { continue };
                if let Some((_, seen)) = manifests.get_mut(&needed) {
                    seen.needed_by.push(by);
                }
            }
        }
        // One that may come back finds its referrers.
        let deleted = self.values_under::<Digest>(&keys::deleted_in(name)).await?;
        for (_, seen) in manifests.values_mut() {
            seen.needed_by.extend(seen.subject.filter(|subject| deleted.contains_key(subject)));
        }
        for (digest, (found, seen)) in manifests {
            inventory.seen.manifests.push(seen);
            inventory.manifests.push(ReadManifest { found, pulled: by_digest.get(&digest).cloned() });
        }
        Ok(())
    }

    /// The values under a prefix, by what stands behind it.
    async fn values_under<T: Ord + core::str::FromStr>(&self, prefix: &Prefix) -> Result<BTreeMap<T, Value>, Error> {
        let mut values = BTreeMap::new();
        let mut pages = Pages::new(prefix);
        while let Some(page) = pages.next(self).await? {
            values.extend(page.into_iter().filter_map(|(key, value)| Some((prefix.rest(&key).parse().ok()?, value))));
        }
        Ok(values)
    }

    /// The digests that keys under a prefix begin with.
    async fn named_under(&self, prefix: &Prefix) -> Result<BTreeSet<Digest>, Error> {
        let mut named = BTreeSet::new();
        let mut pages = Pages::new(prefix);
        while let Some(page) = pages.next(self).await? {
            named.extend(page.iter().filter_map(|(key, _)| prefix.rest(key).split_once('/')?.0.parse::<Digest>().ok()));
        }
        Ok(named)
    }
}

/// When something was pulled, if that reads.
fn pulled(key: Key, value: &Option<Value>) -> Option<Timestamp> {
    value.as_ref().and_then(|value| record::decode::<PulledRecord>(&key, value).ok()).map(|record| record.pulled)
}

/// Why something may not be deleted.
fn denied(marked: Result<(), Error>) -> Result<Option<String>, Error> {
    match marked {
        Ok(()) => Ok(None),
        Err(Error::Denied(reason)) => Ok(Some(reason)),
        Err(error) => Err(error),
    }
}

/// Refuses what would take too much memory: of each tag and manifest there are some hundred bytes.
fn bounded(name: &Repository, what: &str, count: usize) -> Result<(), Error> {
    if count <= RETENTION_MOST {
        return Ok(());
    }
    let reason = format!("{name} has more than {RETENTION_MOST} {what}, too many for retention: delete some by hand");
    Err(Error::Storage(Fault::Failed(reason)))
}
